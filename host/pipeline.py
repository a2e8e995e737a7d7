"""The time-lapse: capture, paint and record, each in its own thread, at its own pace.

Bounded queues stand between them, so memory does not grow with the film. When a stage fails, everything that
came before it still passes through, and the film is completed before the error is raised. The recorder's
thread also completes the film, so that no signal, which Python raises in the main thread, cuts into it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from host.cameras import Camera, Frame
from host.deflicker import Deflicker
from host.errors import CameraError, PleinairError
from host.film import Recorder
from host.framing import stamp
from host.painters import Painter
from host.steadiness import Steady

T = TypeVar("T")
_POLL = 0.1


class ReadAhead(Generic[T]):
    """Iterates over ``source`` in a thread of its own, at most ``depth`` items ahead of its reader.

    The source's error is raised to the reader in its place, after the items before it. Once ``stop`` is set
    the reader gets nothing more, and the source is closed after the item it is at.
    """

    def __init__(self, source: Iterator[T], depth: int = 4, stop: threading.Event | None = None) -> None:
        self._source = source
        self._queue: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(depth)
        self._stop = stop or threading.Event()
        #: What the source raised; set by the time it is closed, also when ``stop`` kept it from the reader.
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _put(self, items: list[T], error: BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put((items, error), timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def _work(self) -> None:
        try:
            for item in self._source:
                if not self._put([item], None):
                    break
        except BaseException as error:
            self.failure = error
        try:
            # What a generator cleans up belongs in this thread, and before close() returns.
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self.failure = self.failure or error
        self._put([], self.failure)

    def __iter__(self) -> Iterator[T]:
        while not self._stop.is_set():
            try:
                items, error = self._queue.get(timeout=_POLL)
            except queue.Empty:
                if self._thread.is_alive() or not self._queue.empty():
                    continue
                return
            if error is not None:
                raise error
            if not items:
                return
            yield items[0]

    def close(self) -> None:
        """Stop reading ahead, end whoever still reads, and wait for the source to come to rest."""
        self._stop.set()
        self._thread.join()

    def close_patiently(self) -> None:
        """Like :meth:`close`, and no KeyboardInterrupt ends the wait."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt:
                continue


def plural(count: int, noun: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass
class Progress:
    """Frames through each stage so far, the seconds each was busy, and the latest frame's name."""

    total: int | None
    captured: int = 0
    painted: int = 0
    recorded: int = 0
    capture_seconds: float = 0.0
    paint_seconds: float = 0.0
    record_seconds: float = 0.0
    elapsed: float = 0.0
    latest: str = ""


@dataclass(frozen=True)
class Outcome:
    """A finished run: the film, what went through, and what did not."""

    film: Path
    progress: Progress
    skipped: list[str] = field(default_factory=list)
    interrupted: bool = False


def _captured(camera: Camera, progress: Progress) -> Iterator[Frame]:
    mark = time.monotonic()
    for frame in camera.frames():
        progress.capture_seconds += time.monotonic() - mark
        progress.captured += 1
        yield frame
        mark = time.monotonic()


def _painted(
    frames: ReadAhead[Frame], painter: Painter, steady: int, deflicker: int, timestamp: bool, progress: Progress
) -> Iterator[tuple[np.ndarray, str]]:
    even_light = Deflicker(deflicker)
    # The painting too: a steadied frame still differs by a level here and there, which tips roundings everywhere.
    steady_frame, steady_painting = Steady(steady), Steady(steady)
    for frame in frames:
        mark = time.monotonic()
        picture = steady_painting(painter.paint(steady_frame(even_light(frame.image))))
        if timestamp:
            picture = stamp(picture, frame.name)
        progress.paint_seconds += time.monotonic() - mark
        progress.painted += 1
        yield picture, frame.name


def _recorded(
    paintings: ReadAhead[tuple[np.ndarray, str]], recorder: Recorder, progress: Progress, films: list[Path]
) -> Iterator[None]:
    """Records each painting; in the end, whatever ended it, completes the film or leaves nothing."""
    began = time.monotonic()
    try:
        for picture, name in paintings:
            mark = time.monotonic()
            recorder.add(picture)
            now = time.monotonic()
            progress.record_seconds += now - mark
            progress.recorded += 1
            progress.latest, progress.elapsed = name, now - began
            yield
    finally:
        if recorder.frames:
            films.append(recorder.finish())
        else:
            recorder.discard()


def run(
    camera: Camera,
    painter: Painter,
    recorder: Recorder,
    report: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    steady: int = 0,
    deflicker: int = 0,
    timestamp: bool = False,
) -> Outcome:
    """Film all of a camera's frames; ``report`` is called in this thread once for each recorded one.

    The stages do not wait for it, so the progress that it is given may be further already. ``steady`` is the
    strength (see :class:`~host.steadiness.Steady`) that frames before painting and paintings after are steadied with,
    ``deflicker`` the frames that light is evened out over before that, and ``timestamp`` writes a frame's name on it.

    Raises the first failing stage's error, after completing the film of what came before it; nothing is left
    behind when that is no frame at all. Setting ``stop`` or a KeyboardInterrupt completes the film and comes
    back as ``interrupted``, or raises KeyboardInterrupt where there is no frame yet.
    """
    progress, films = Progress(camera.count), list[Path]()
    stop = stop or threading.Event()
    frames = ReadAhead(_captured(camera, progress), stop=stop)
    paintings = ReadAhead(_painted(frames, painter, steady, deflicker, timestamp, progress), stop=stop)
    recording = ReadAhead(_recorded(paintings, recorder, progress, films), stop=stop)
    interrupted = False
    try:
        for _ in recording:
            if report is not None:
                report(progress)
        interrupted = stop.is_set()
    except KeyboardInterrupt:
        interrupted = True
    except PleinairError as error:
        if not films:
            raise
        kept = f"{error}; {films[0]} holds the {plural(recorder.frames, 'frame')} before that"
        raise type(error)(kept) from error
    finally:
        # The film first: a camera or painter may take long to come to rest, and a second Ctrl-C gives it up.
        recording.close_patiently()
        frames.close()
        paintings.close()
    if films:
        return Outcome(films[0], progress, list(camera.skipped), interrupted)
    if recording.failure is not None:
        raise recording.failure
    if interrupted:
        raise KeyboardInterrupt
    raise CameraError(f"{camera.name}: gave no frame, so there is no film")
