"""The time-lapse: capture, paint and record, each in its own thread, at its own pace.

Bounded queues stand between them, so memory does not grow with the film. When a stage fails, everything that
came before it still passes through, and the film is completed before the error is raised.
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
from host.film import Recorder
from host.painters import Painter

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Iterates over ``source`` in a thread of its own, at most ``depth`` items ahead of its reader.

    The source's error is raised to the reader in its place, after the items before it.
    """

    def __init__(self, source: Iterator[T], depth: int = 4) -> None:
        self._source = source
        self._queue: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _put(self, items: list[T], error: BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put((items, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _work(self) -> None:
        try:
            for item in self._source:
                if not self._put([item], None):
                    return
        except BaseException as error:
            self._put([], error)
            return
        self._put([], None)

    def __iter__(self) -> Iterator[T]:
        while True:
            items, error = self._queue.get()
            if error is not None:
                raise error
            if not items:
                return
            yield items[0]

    def close(self) -> None:
        """Stop reading ahead, wait for the source to come to rest, and end whoever still reads."""
        self._stop.set()
        self._thread.join()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put(([], None))


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


def _painted(frames: ReadAhead[Frame], painter: Painter, progress: Progress) -> Iterator[tuple[np.ndarray, str]]:
    for frame in frames:
        mark = time.monotonic()
        picture = painter.paint(frame.image)
        progress.paint_seconds += time.monotonic() - mark
        progress.painted += 1
        yield picture, frame.name


def run(
    camera: Camera, painter: Painter, recorder: Recorder, report: Callable[[Progress], None] | None = None
) -> Outcome:
    """Film all of a camera's frames; ``report`` is called in this thread after each recorded one.

    Raises the first failing stage's error, after completing the film of what came before it; nothing is left
    behind when that is no frame at all. KeyboardInterrupt completes the film and comes back as
    ``interrupted``.
    """
    progress = Progress(camera.count)
    began = time.monotonic()
    frames = ReadAhead(_captured(camera, progress))
    paintings = ReadAhead(_painted(frames, painter, progress))
    interrupted = False
    try:
        for picture, name in paintings:
            mark = time.monotonic()
            recorder.add(picture)
            now = time.monotonic()
            progress.record_seconds += now - mark
            progress.recorded += 1
            progress.latest, progress.elapsed = name, now - began
            if report is not None:
                report(progress)
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        if recorder.frames:
            recorder.finish()
        else:
            recorder.discard()
        raise
    finally:
        # The painter's thread reads from the camera's: that one must let go first.
        frames.close()
        paintings.close()
    return Outcome(recorder.finish(), progress, list(camera.skipped), interrupted)
