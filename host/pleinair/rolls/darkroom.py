"""The darkroom: originals in, painted film in closed pieces out, at its own pace and again where it was cut off.

:class:`Developer` does the work: deflicker, steady, paint, steady, record, frame by frame in order. What its filters
remember is kept at each piece's end, so that a film that was cut off and painted on is the film that was not, byte
for byte. :class:`Darkroom` runs one in a process of its own, which may hang, crash or be killed for want of memory
without touching the capture: it is started again, and a frame that keeps killing it is left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import multiprocessing
import os
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair import durable
from pleinair.errors import ImageError, ModelError, PleinairError
from pleinair.models import Model, load_model
from pleinair.painting.painter import NetworkPainter, Painter, open_painter
from pleinair.processes import as_child
from pleinair.rolls.originals import load_original, original_path
from pleinair.rolls.roll import Look
from pleinair.rolls.segments import SegmentRecorder, find_segments, uncovered

#: Frames looked at before a piece whose filters' memory is gone, to bring them near what they were.
_WARM_UP = 8
#: A frame at which painting died so often is left out.
_CHANCES = 3
#: Seconds between two pictures for those who watch.
_SHOW = 2.0


@dataclass(frozen=True)
class Event:
    """What a developer tells: ``painted`` (a frame), ``lost`` (its original is damaged), ``left out`` (a frame of no
    use, or missing), ``sealed`` (a piece), ``died``, ``idle``."""

    kind: str
    seq: int = -1
    seconds: float = 0.0
    message: str = ""
    last: int = -1
    frames: int = 0
    sha256: str = ""
    file: str = ""


class Developer:
    """Paints the originals of a roll into the pieces of one painting. Holds the painting's lock until closed."""

    def __init__(self, originals: Path, suffix: str, folder: Path, look: Look, painter: Painter, piece: int) -> None:
        """Raises OSError when the painting's folder cannot be written."""
        self._originals, self._suffix, self._folder, self._look = originals, suffix, folder, look
        self._painter, self._piece = painter, piece
        self._treatment = look.treatment()
        self._recorder: SegmentRecorder | None = None
        self._next = -1
        self._shown = 0.0
        #: Frames that are left out unseen: painting died of them.
        self.avoid: set[int] = set()
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # One that was orphaned by a kill is at its last frame.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for part in folder.glob(f"*{durable.PART}"):
            part.unlink()

    def develop(self, first: int, last: int, complete: bool) -> Iterator[Event]:
        """Paint what of first .. last no piece holds. The end of it stays open unless ``complete``.

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
        """Leave the last painted frame where those who watch find it."""
        now = time.monotonic()
        if now - self._shown >= _SHOW:
            done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if done:
                durable.write_file(self._folder / "latest.jpg", data.tobytes(), durable=False)
            self._shown = time.monotonic()

    def _seal(self) -> Iterator[Event]:
        if self._recorder is None:
            return
        # The memory first: a piece that is closed can always be gone on from.
        self._keep_filters()
        sealed = self._recorder.seal(self._next - 1)
        frames, first = self._recorder.frames, self._recorder.first
        self._recorder = None
        for old in self._folder.glob("filters-*.npz"):
            if int(old.stem.partition("-")[2]) < first - self._piece:
                old.unlink()
        if sealed is not None:
            segment, digest = sealed
            yield Event(
                "sealed", segment.first, last=segment.last, frames=frames, sha256=digest, file=segment.path.name
            )

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
    """What a frame's record says of its time, for people: the wall clock, the scene's clock, or its number."""
    if record.get("live"):
        local = time.strftime("%Y-%m-%d %H:%M", time.localtime(record["wall"]))
        return local if record.get("clock", True) else f"{record['seq']:06d}"
    return str(record.get("name") or f"{record['seq']:06d}")


def open_look(look: Look, backend: str, threads: int) -> NetworkPainter:
    """The painter that a look names. Raises ModelError when its network is another than the roll began with."""
    model = load_model(look.style, look.bits)
    if look.network and network_sha256(model) != look.network:
        raise ModelError(
            f"--style {look.style}: its {look.bits}-bit network is not the one that the roll began with; "
            "paint the roll anew with pleinair repaint"
        )
    return open_painter(model, backend, threads)


def network_sha256(model: Model) -> str:
    """What tells a model's network from another one, as its card has it."""
    return str(model.card["networks"][str(model.bits)].get("sha256", {}).get("network", ""))


@dataclass(frozen=True)
class Work:
    """What a darkroom is to paint: numbers ``first`` .. ``last``, to the end of the film when ``complete``, resting
    after each frame ``rest`` times as long as it took. ``avoid`` are frames to leave out."""

    first: int = 0
    last: int = -1
    complete: bool = False
    rest: float = 0.0
    avoid: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Place:
    """Where a darkroom finds its originals and puts its paintings, and what it paints with."""

    originals: Path
    suffix: str
    folder: Path
    look: Look
    backend: str
    threads: int
    piece: int


def _develop(connection: Any, place: Place, open_painter: Callable[[Look, str, int], Painter]) -> None:
    """The child process: paints what :class:`Work` says, tells each :class:`Event`, ends with its parent."""
    as_child()
    os.nice(5)
    cv2.setNumThreads(1)  # OpenCV's own threads spin for a while after each call, on the painter's cores
    try:
        painter = open_painter(place.look, place.backend, place.threads)
        connection.send(Event("ready", message=painter.name))
        developer = Developer(place.originals, place.suffix, place.folder, place.look, painter, place.piece)
        work: Work = connection.recv()
        while True:
            developer.avoid = set(work.avoid)
            for event in developer.develop(work.first, work.last, work.complete):
                # Between frames, so that no event of one that was begun is lost.
                if event.kind == "begins" and connection.poll():
                    break
                connection.send(event)
                if event.kind == "painted" and work.rest:
                    time.sleep(work.rest * event.seconds)
            else:
                connection.send(Event("idle", work.last, message="complete" if work.complete else ""))
            work = connection.recv()
            while connection.poll():
                work = connection.recv()
    except EOFError:
        return
    except (PleinairError, OSError) as error:
        text = str(error) if isinstance(error, PleinairError) else f"painting: {error.strerror}"
        with contextlib.suppress(OSError):
            connection.send(Event("failed", message=text))
    except Exception as error:
        # A mistake of ours, or of a library: let it be known outside, where somebody reads.
        with contextlib.suppress(OSError):
            connection.send(Event("crashed", message=f"{type(error).__name__}: {error}"))
        raise


class Darkroom:
    """A developer in a process of its own, watched by a thread of this one.

    ``tell`` is called in that thread with each event; besides the developer's there are ``ready``, ``failed`` (the
    process could not paint and says why), ``died`` and ``hung`` (it did not say anything). After those it is started
    again, after a while that doubles up to a minute.
    """

    def __init__(
        self, place: Place, tell: Callable[[Event], None], patience: float = 600.0,
        painter: Callable[[Look, str, int], Painter] = open_look,
    ) -> None:  # fmt: skip
        """``patience``: seconds without a word, until the first frame is painted; then ten times the slowest one."""
        self.work = Work()
        self.done = threading.Event()
        self._place, self._tell, self._patience, self._painter = place, tell, patience, painter
        self._stop = threading.Event()
        self._strikes: dict[int, int] = {}
        self._slowest = 0.0
        self._thread = threading.Thread(target=self._watch, name="darkroom", daemon=True)

    def start(self) -> None:
        """Begin to paint."""
        self._thread.start()

    def close(self) -> None:
        """End painting, at the frame it is at, and wait for it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        wait = 0.25
        while not self._stop.is_set() and not self.done.is_set():
            painted = self._run_child()
            wait = 0.25 if painted else min(60.0, 2 * wait)
            if not self.done.is_set():
                self._stop.wait(wait)

    def _run_child(self) -> bool:
        """One life of the process; whether it painted a frame."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_develop, args=(theirs, self._place, self._painter), daemon=True)
        process.start()
        theirs.close()
        sent, current, painted, ended, cause = None, -1, 0, "", ""
        heard, busy = time.monotonic(), True
        try:
            while not self._stop.is_set() and not self.done.is_set():
                work = self.work
                if sent is not None and work != sent:
                    ours.send(work)
                    sent, busy, heard = work, True, time.monotonic()
                if not ours.poll(0.1):
                    limit = max(self._patience if not painted else min(60.0, self._patience), 10 * self._slowest)
                    if busy and time.monotonic() - heard > limit:
                        ended = f"hung: nothing for {limit:.0f} s"
                        break
                    continue
                event: Event = ours.recv()
                heard = time.monotonic()
                if event.kind == "ready":
                    sent = self.work
                    ours.send(sent)
                elif event.kind == "crashed":
                    cause = event.message
                    continue
                elif event.kind == "begins":
                    current = event.seq
                    continue
                elif event.kind == "painted":
                    painted += 1
                    self._slowest = max(self._slowest, event.seconds)
                elif event.kind == "idle":
                    busy = False
                    if event.message and sent == self.work:
                        self.done.set()
                current = -1 if event.kind != "failed" else current
                self._tell(event)
                if event.kind == "failed":
                    return painted > 0
        except (EOFError, OSError):
            process.join(1)
            ended = f"died ({cause or _cause(process.exitcode)})"
        finally:
            if process.is_alive():
                process.kill()
            process.join()
            ours.close()
        if ended:
            self._strike(current, ended)
        return painted > 0

    def _strike(self, seq: int, ended: str) -> None:
        kind = ended.partition(" ")[0].rstrip(":")
        self._tell(Event(kind, seq, message=f"the painting process {ended}" + (f" at frame {seq}" if seq >= 0 else "")))
        if seq < 0:
            return
        self._strikes[seq] = self._strikes.get(seq, 0) + 1
        if self._strikes[seq] >= _CHANCES:
            self.work = replace(self.work, avoid=self.work.avoid | {seq})
            self._tell(
                Event("left out", seq, message=f"painting ended {_CHANCES} times at frame {seq}; it is left out")
            )


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {-status}"
    return f"status {status}"
