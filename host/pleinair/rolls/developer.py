"""The developer: originals in, painted film in closed pieces out, and on again where it was cut off.

It treats, paints and records frame after frame in order. At the end of each piece it keeps what the film's filters
remember, so a film resumed after a kill is byte-identical to an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair import durable
from pleinair.backends import open_painter
from pleinair.emulator.fabric import Simulator
from pleinair.errors import ImageError, ModelError
from pleinair.models import load_model
from pleinair.painting.painter import NetworkPainter, Painter
from pleinair.rolls.ledger import Sealed
from pleinair.rolls.originals import load_original, original_path
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import SegmentRecorder, find_segments, uncovered
from pleinair.rolls.settings import Look

#: Frames looked at before a piece whose filters' memory is gone, to bring them near what they were.
_WARM_UP = 8
#: Seconds between two pictures for the preview.
_SHOW = 2.0

#: Opens the painter of a look on a backend with so many threads.
OpenLook = Callable[[Look, str, int], Painter]


@dataclass(frozen=True)
class Event:
    """What a developer tells.

    ``kind`` is ``begins`` or ``painted`` (a frame), ``lost`` (its original is damaged), ``left out`` (it is of no use,
    or missing), or ``sealed`` (a piece). A darkroom adds ``ready``, ``idle``, ``failed``, ``died`` and ``hung``.
    """

    kind: str
    seq: int = -1
    seconds: float = 0.0
    message: str = ""
    #: The closed piece, of ``sealed``.
    piece: Sealed | None = None


@dataclass(frozen=True)
class Place:
    """Where a developer finds originals and puts its paintings, and how it paints them."""

    originals: Path
    suffix: str
    folder: Path
    look: Look
    backend: str
    threads: int
    piece: int

    @classmethod
    def of(cls, roll: Roll, look: Look) -> Place:
        """A painting of a roll, found from any working folder."""
        return cls(
            originals=roll.originals.absolute(),
            suffix=roll.settings.spool,
            folder=roll.painting_folder(look).absolute(),
            look=look,
            backend=roll.settings.backend,
            threads=roll.settings.threads,
            piece=roll.settings.piece,
        )


class Developer:
    """Paints the originals of a roll into the pieces of one painting. Holds the painting's lock until it is closed."""

    def __init__(self, place: Place, painter: Painter) -> None:
        """Raises OSError when the painting's folder cannot be written."""
        self._originals, self._suffix, self._folder = place.originals, place.suffix, place.folder
        self._look, self._piece, self._painter = place.look, place.piece, painter
        self._treatment = self._look.treatment()
        self._recorder: SegmentRecorder | None = None
        self._next = -1
        self._shown = 0.0
        #: Frames that are left out unseen, because painting died of them.
        self.avoid: set[int] = set()
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # A developer that a kill orphaned may still be at its last frame.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for part in self._folder.glob(f"*{durable.PART}"):
            part.unlink()

    def develop(self, first: int, last: int, complete: bool) -> Iterator[Event]:
        """Paint what of first .. last no piece holds. The last piece stays open unless ``complete``.

        Raises OSError when the disk does not take it, PleinairError when the painter does not paint.
        """
        for start, end in uncovered(find_segments(self._folder), first, last):
            going_on = self._recorder is not None and self._recorder.first == start
            if not going_on and self._next != start:
                self._begin(start)
            # A gap between two pieces is closed where the second begins.
            yield from self._advance(end, complete or end < last)

    def _begin(self, seq: int) -> None:
        self._discard()
        self._next = seq
        self._treatment = self._look.treatment()
        try:
            with np.load(self._filters_path(seq), allow_pickle=False) as state:
                self._treatment.restore(state)
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
            for before in range(max(0, seq - _WARM_UP), seq):
                with contextlib.suppress(ImageError):
                    record, image = load_original(original_path(self._originals, before, self._suffix))
                    if "suspect" not in record:
                        self._paint(image, "")

    def _filters_path(self, seq: int) -> Path:
        return self._folder / f"filters-{seq:08d}.npz"

    def _paint(self, image: np.ndarray, caption: str) -> np.ndarray:
        return self._treatment.after(self._painter.paint(self._treatment.before(image)), caption)

    def _advance(self, last: int, close: bool) -> Iterator[Event]:
        while self._next <= last:
            seq = self._next
            yield Event("begins", seq)
            event = self._develop(seq)
            self._next = seq + 1
            yield event
            if self._next % self._piece == 0:
                yield from self._seal()
        if close:
            yield from self._seal()

    def _develop(self, seq: int) -> Event:
        began = time.monotonic()
        path = original_path(self._originals, seq, self._suffix)
        if self._recorder is None:
            self._recorder = SegmentRecorder(self._folder, seq, self._look.fps)
        if seq in self.avoid or not path.exists():
            return Event("left out", seq)
        try:
            record, image = load_original(path)
        except ImageError as error:
            return Event("lost", seq, message=str(error))
        if "suspect" in record:
            return Event("left out", seq)
        picture = self._paint(image, caption(record))
        self._show(picture)
        self._recorder.add(picture)
        return Event("painted", seq, time.monotonic() - began)

    def _show(self, picture: np.ndarray) -> None:
        """Leave the last painted frame for the preview."""
        now = time.monotonic()
        if now - self._shown >= _SHOW:
            done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if done:
                durable.write_file(self._folder / "latest.jpg", data.tobytes(), durable=False)
            self._shown = time.monotonic()

    def _seal(self) -> Iterator[Event]:
        if self._recorder is None:
            return
        # What the filters remember comes first, so that painting can go on after every closed piece.
        self._keep_filters()
        sealed = self._recorder.seal(self._next - 1)
        frames, first = self._recorder.frames, self._recorder.first
        self._recorder = None
        for old in self._folder.glob("filters-*.npz"):
            if int(old.stem.partition("-")[2]) < first - self._piece:
                old.unlink()
        if sealed is not None:
            segment, digest = sealed
            file = self._look.file(segment.path.name)
            yield Event("sealed", segment.first, piece=Sealed(file, segment.first, segment.last, frames, digest))

    def _keep_filters(self) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._treatment.state())  # type: ignore[arg-type]
        durable.write_file(self._filters_path(self._next), buffer.getvalue())

    def _discard(self) -> None:
        if self._recorder is not None:
            self._recorder.discard()
            self._recorder = None

    def close(self) -> None:
        """Drop the open piece and give the painting back."""
        self._discard()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def caption(record: dict[str, Any]) -> str:
    """The time of a frame as people read it: the wall clock's, the scene's, or the frame's number."""
    if record.get("live"):
        local = time.strftime("%Y-%m-%d %H:%M", time.localtime(record["wall"]))
        return local if record.get("clock", True) else f"{record['seq']:06d}"
    return str(record.get("name") or f"{record['seq']:06d}")


def open_look(look: Look, backend: str, threads: int, simulator: Simulator | None = None) -> NetworkPainter:
    """The painter that a look names; for ``simulator`` see :func:`pleinair.backends.open_painter`.

    Raises ModelError when the look's network is not the one that the roll began with.
    """
    model = load_model(look.style, look.bits)
    if look.network and model.sha256 != look.network:
        raise ModelError(
            f"{look.style}: its {look.bits}-bit network is not the one that the roll began with; "
            "paint the roll anew with pleinair repaint",
            option="style",
        )
    return open_painter(model, backend, threads, simulator=simulator)
