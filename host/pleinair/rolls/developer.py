"""The developer: originals in, painted film in closed pieces out, and on again where it was cut off.

It treats, paints and records the frames in order; the painter reads a few of them ahead, so that it never waits for
one. No frame is read ahead over the end of a piece. There it keeps what the film's filters remember, so a film resumed
after a kill is byte-identical to an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pleinair import durable
from pleinair.backends import open_painter
from pleinair.emulator.fabric import Simulator
from pleinair.errors import ImageError, ModelError
from pleinair.models import Model, load_model
from pleinair.painting.painter import Painter
from pleinair.painting.strokes import with_strokes
from pleinair.rolls.originals import load_original, original_path, with_number
from pleinair.rolls.records import Captured, Sealed
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import SegmentRecorder, find_segments, uncovered
from pleinair.rolls.settings import Look

#: Frames looked at before a piece whose filters' memory is gone, to bring them near what they were.
_WARM_UP = 8
#: Stands before the checksum at the end of what the filters remember.
_SEAL = b"sha256:"
#: Seconds between two pictures for the page.
_SHOW = 2.0

#: Opens the painter of a look on a backend with so many threads.
OpenLook = Callable[[Look, str, int], Painter]


@dataclass(frozen=True)
class Event:
    """What a developer tells.

    ``kind`` is ``painted`` (a frame), ``lost`` (its original is damaged), ``left out`` (it is of no use, or missing),
    or ``sealed`` (a piece). A darkroom adds ``begins`` (a frame), ``ready``, ``idle``, ``failed``, ``died`` and
    ``hung``.
    """

    kind: str
    seq: int = -1
    #: What a painted frame took, from reading it to recording it, without the time that frames before it took.
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


@dataclass(frozen=True)
class Read:
    """A frame whose turn to be told of comes: when its reading began, and what becomes of it.

    ``outcome`` is None for a frame that is being painted; ``caption`` is its time.
    """

    seq: int
    began: float
    outcome: Event | None = None
    caption: str = ""


def _always(seq: int) -> bool:
    """Begin every frame."""
    return True


class Developer:
    """Paints the originals of a roll into the pieces of one painting. Holds the painting's lock until it is closed."""

    def __init__(self, place: Place, painter: Painter) -> None:
        """Raises OSError when the painting's folder cannot be written."""
        self._originals, self._suffix, self._folder = place.originals, place.suffix, place.folder
        self._look, self._piece, self._painter = place.look, place.piece, painter
        self._treatment = self._look.treatment()
        self._lit = painter.lit_by(self._treatment.light)
        self._recorder: SegmentRecorder | None = None
        self._next = -1
        self._shown = self._recorded = 0.0
        self._unseen: tuple[np.ndarray, int] | None = None
        #: Frames that are left out unseen, because painting died of them.
        self.avoid: set[int] = set()
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # A developer that a kill orphaned may still be at its last frame.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for part in self._folder.glob(f"*{durable.PART}"):
            part.unlink()

    def develop(
        self,
        first: int,
        last: int,
        complete: bool,
        *,
        begin: Callable[[int], bool] = _always,
        alone_to: int = -1,
    ) -> Generator[Event, None, None]:
        """Paint what of first .. last no piece holds. The last piece stays open unless ``complete``.

        ``begin`` is called with each frame's number before it is read, in the caller's thread. Where it says no,
        the frames that were begun are painted and told of, and painting ends there; a later call goes on. Frames up
        to ``alone_to`` are painted one at a time: none is begun before the one before it is told of. Close the
        iterator when you leave it early; the open piece is painted anew then.

        Raises OSError when the disk does not take it, PleinairError when the painter does not paint.
        """
        for start, end in uncovered(find_segments(self._folder), first, last):
            going_on = self._recorder is not None and self._recorder.first == start
            if not going_on and self._next != start:
                self._begin(start)
            while self._next <= end:
                alone = self._next <= alone_to
                piece_end = self._next - self._next % self._piece + self._piece - 1
                stretch_end = self._next if alone else min(end, piece_end)
                yield from self._advance(stretch_end, begin, alone)
                if self._next <= stretch_end:
                    return
                if self._next % self._piece == 0:
                    yield from self._seal()
            # A gap between two pieces is closed where the second begins.
            if complete or end < last:
                yield from self._seal()

    def _begin(self, seq: int) -> None:
        self._discard()
        self._next = seq
        self._treatment = self._look.treatment()
        self._lit = self._painter.lit_by(self._treatment.light)
        try:
            self._treatment.restore(read_filters(self._folder, seq) or {})
        except (ValueError, KeyError):
            self._treatment = self._look.treatment()
            self._lit = self._painter.lit_by(self._treatment.light)
            for before in range(max(0, seq - _WARM_UP), seq):
                with contextlib.suppress(ImageError):
                    record, image = load_original(original_path(self._originals, before, self._suffix))
                    if record.suspect is None:
                        self._treatment.after(self._lit.paint(self._treatment.before(image)))

    def _filters_path(self, seq: int) -> Path:
        return filters_path(self._folder, seq)

    def _advance(self, last: int, begin: Callable[[int], bool], alone: bool) -> Iterator[Event]:
        """Paint from the next frame to ``last``, within one piece, or as far as ``begin`` lets it."""
        read = deque[Read]()

        def images() -> Iterator[np.ndarray]:
            for seq in range(self._next, last + 1):
                if not begin(seq):
                    return
                self._open_piece(seq)
                frame, image = self._read(seq)
                read.append(frame)
                if image is not None:
                    yield self._treatment.before(image)

        try:
            paintings = self._paint_alone(images()) if alone else self._lit.paint_each(images())
            with contextlib.closing(paintings):
                for painting in paintings:
                    yield from self._without_painting(read)
                    frame = read.popleft()
                    yield self._record(frame, self._treatment.after(painting, frame.caption))
            yield from self._without_painting(read)
        except BaseException:
            # The filters have seen frames that are in no piece.
            self._discard()
            self._next = -1
            raise

    def _paint_alone(self, images: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        for image in images:
            yield self._lit.paint(image)

    def _open_piece(self, seq: int) -> None:
        """Frame ``seq`` belongs to the open piece, or begins one where none is open."""
        if self._recorder is None:
            self._recorder = SegmentRecorder(self._folder, seq, self._look.fps)

    def _read(self, seq: int) -> tuple[Read, np.ndarray | None]:
        """A frame, and its pixels where it is to be painted."""
        began = time.monotonic()
        path = original_path(self._originals, seq, self._suffix)
        if seq in self.avoid or not path.exists():
            return Read(seq, began, Event("left out", seq)), None
        try:
            record, image = load_original(path)
        except ImageError as error:
            return Read(seq, began, Event("lost", seq, message=str(error))), None
        if record.suspect is not None:
            return Read(seq, began, Event("left out", seq)), None
        return Read(seq, began, caption=caption(record)), image

    def _without_painting(self, read: deque[Read]) -> Iterator[Event]:
        """Tell of the next frames that are not painted."""
        while read and (outcome := read[0].outcome) is not None:
            self._next = read.popleft().seq + 1
            yield outcome

    def _record(self, frame: Read, picture: np.ndarray) -> Event:
        assert self._recorder is not None
        self._show(picture, frame.seq)
        self._recorder.add(picture)
        self._next = frame.seq + 1
        before, self._recorded = self._recorded, time.monotonic()
        return Event("painted", frame.seq, self._recorded - max(frame.began, before))

    def _show(self, picture: np.ndarray, seq: int) -> None:
        """Leave the last painted frame, with its number, for the page: now and then, and at a piece's end."""
        self._unseen = picture, seq
        if time.monotonic() - self._shown >= _SHOW:
            self._show_last()

    def _show_last(self) -> None:
        if self._unseen is None:
            return
        picture, seq = self._unseen
        done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if done:
            durable.write_file(self._folder / "latest.jpg", with_number(data.tobytes(), seq), durable=False)
        self._shown, self._unseen = time.monotonic(), None

    def _seal(self) -> Iterator[Event]:
        if self._recorder is None:
            return
        self._show_last()
        # What the filters remember comes first, so that painting can go on after every closed piece.
        self._keep_filters()
        sealed = self._recorder.seal(self._next - 1)
        frames, first = self._recorder.frames, self._recorder.first
        self._recorder = None
        self._forget_filters(first - self._piece)
        if sealed is not None:
            segment, digest = sealed
            piece = Sealed(
                file=self._look.file(segment.path.name),
                first=segment.first,
                last=segment.last,
                frames=frames,
                sha256=digest,
            )
            yield Event("sealed", segment.first, piece=piece)

    def _forget_filters(self, below: int) -> None:
        """Delete what the filters remembered before frames under ``below``: nothing goes on from there any more."""
        for old in self._folder.glob("filters-*.npz"):
            if int(old.stem.partition("-")[2]) < below:
                old.unlink()

    def _memory(self) -> dict[str, np.ndarray]:
        """What the filters remember behind the open piece."""
        return self._treatment.state()

    def _keep_filters(self) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._memory())  # type: ignore[arg-type]
        data = buffer.getvalue()
        durable.write_file(self._filters_path(self._next), data + _SEAL + hashlib.sha256(data).hexdigest().encode())

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


def filters_path(folder: Path, seq: int) -> Path:
    """Where the folder of a painting keeps what its filters remember before frame ``seq``."""
    return folder / f"filters-{seq:08d}.npz"


def read_filters(folder: Path, seq: int) -> dict[str, np.ndarray] | None:
    """What the filters of a painting remember before frame ``seq``; None where that is missing or damaged."""
    try:
        with np.load(io.BytesIO(_unsealed(filters_path(folder, seq).read_bytes())), allow_pickle=False) as state:
            return dict(state)
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return None


def _unsealed(data: bytes) -> bytes:
    """What the filters remember, without its checksum. Raises ValueError where that says that it is damaged."""
    bare, mark, digest = data.rpartition(_SEAL)
    if not mark or len(digest) != 64:
        return data  # as 0.1.0 wrote it
    if hashlib.sha256(bare).hexdigest().encode() != digest:
        raise ValueError("damaged")
    return bare


def caption(record: Captured) -> str:
    """The time of a frame as people read it: the wall clock's, the scene's, or the frame's number."""
    if record.live:
        local = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.wall))
        return local if record.clock is not False else f"{record.seq:06d}"
    taken = (record.metadata or {}).get("taken")
    return taken if isinstance(taken, str) else record.name or f"{record.seq:06d}"


def open_look(look: Look, backend: str, threads: int, simulator: Simulator | None = None) -> Painter:
    """The painter that a look names; for ``simulator`` see :func:`pleinair.backends.open_painter`.

    Raises ModelError when the look's network is not the one that the roll began with.
    """
    return with_strokes(open_painter(load_network(look), backend, threads, simulator=simulator), look.strokes)


def load_network(look: Look) -> Model:
    """The model that a look names. Raises ModelError when its network is not the one that the roll began with."""
    model = load_model(look.style, look.bits)
    if look.network and model.sha256 != look.network:
        raise ModelError(
            f"{look.style}: its {look.bits}-bit network is not the one that the roll began with; "
            "paint the roll anew with pleinair repaint",
            option="style",
        )
    return model
