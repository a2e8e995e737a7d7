"""The pipeline of a direct film: capture, paint and record, each in its own thread, at its own pace.

Painting takes by far the longest, so its thread does nothing else. The capture's thread also does what a film does to
frames before painting (:class:`~pleinair.films.treatment.Treatment`); the recorder's does what comes after it.

Bounded queues stand between the stages, so memory does not grow with the film. When a stage fails, the frames before
the failure still pass through, and the film is completed before the error is raised. The recorder's thread completes
the film, because Python raises signals in the main thread: none can interrupt it there.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np

from pleinair.cameras.camera import Camera, Frame, remarks_of
from pleinair.errors import AwayError, CameraError, PleinairError
from pleinair.exif import film_tags
from pleinair.films.lighting import Lighting
from pleinair.films.recorder import Recorder
from pleinair.films.treatment import Treatment
from pleinair.painting.painter import Painter

T = TypeVar("T")
_POLL = 0.1
#: Seconds before a source that is away is asked again: at first, and at most.
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0


class ReadAhead(Generic[T]):
    """Iterates over ``source`` in a thread of its own, at most ``depth`` items ahead of its reader.

    An error of the source is raised to the reader after the items before it. Once ``stop`` is set, the reader gets
    nothing more, and the source is closed when it has given its present item.
    """

    def __init__(self, source: Iterator[T], depth: int = 4, stop: threading.Event | None = None) -> None:
        self._source = source
        self._queue: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(depth)
        self._stop = stop or threading.Event()
        #: Processor seconds that the thread took; set by the time it is closed.
        self.spent = 0.0
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
        self.spent = time.thread_time()
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
    """Frames through each stage so far, the seconds each was busy, and the latest frame's name.

    ``..._cpu_seconds`` is what the stage's own thread computed, without what a library's other threads did for it.
    """

    total: int | None
    captured: int = 0
    painted: int = 0
    recorded: int = 0
    capture_seconds: float = 0.0
    paint_seconds: float = 0.0
    record_seconds: float = 0.0
    capture_cpu_seconds: float = 0.0
    paint_cpu_seconds: float = 0.0
    record_cpu_seconds: float = 0.0
    elapsed: float = 0.0
    latest: str = ""


@dataclass(frozen=True)
class Outcome:
    """A finished run: the film, what went through, and what did not."""

    film: Path
    progress: Progress
    skipped: list[str] = field(default_factory=list)
    interrupted: bool = False


@contextlib.contextmanager
def _busy(progress: Progress, stage: str) -> Iterator[None]:
    """Adds the time of what is done within to a stage's."""
    began, computed = time.monotonic(), time.thread_time()
    try:
        yield
    finally:
        seconds, cpu = f"{stage}_seconds", f"{stage}_cpu_seconds"
        setattr(progress, seconds, getattr(progress, seconds) + time.monotonic() - began)
        setattr(progress, cpu, getattr(progress, cpu) + time.thread_time() - computed)


def patient(camera: Camera, stop: threading.Event, tell: Callable[[str], None]) -> Iterator[Frame]:
    """A camera's frames; while its source is away, it is asked again after ever longer pauses, and that is told.

    So are the camera's remarks.
    """
    source, following, wait = camera.frames(), 0, _FIRST_WAIT
    remarks = remarks_of(camera)
    while True:
        try:
            frame = next(source, None)
        except AwayError as error:
            if wait == _FIRST_WAIT:
                tell(f"{error}; waiting for it to come back")
            if stop.wait(wait):
                return
            wait = min(_LONGEST_WAIT, 2 * wait)
            source = camera.frames(following)
            continue
        while remarks:
            tell(remarks.pop(0))
        if frame is None:
            return
        if wait > _FIRST_WAIT:
            tell(f"{camera.name}: goes on")
        following, wait = frame.position + 1, _FIRST_WAIT
        yield frame


def _captured(source: Iterator[Frame], treatment: Treatment, progress: Progress, recorder: Recorder) -> Iterator[Frame]:
    while True:
        with _busy(progress, "capture"):
            frame = next(source, None)
            if frame is None:
                return
            image = treatment.before(frame.image)
        if not progress.captured:
            recorder.tags = film_tags(frame.metadata)
        progress.captured += 1
        yield replace(frame, image=image)


def _painted(frames: ReadAhead[Frame], painter: Painter, progress: Progress) -> Iterator[tuple[np.ndarray, str]]:
    """Paintings with their frames' names."""
    names, before = deque[str](), painter.spent

    def images() -> Iterator[np.ndarray]:
        for frame in frames:
            names.append(str(frame.metadata.get("taken") or frame.name))
            yield frame.image

    with contextlib.closing(painter.paint_each(images())) as paintings:
        for picture in paintings:
            spent = painter.spent.since(before)
            progress.paint_seconds, progress.paint_cpu_seconds = spent.seconds, spent.processor_seconds
            progress.painted += 1
            yield picture, names.popleft()


def _recorded(
    paintings: ReadAhead[tuple[np.ndarray, str]],
    recorder: Recorder,
    treatment: Treatment,
    progress: Progress,
    films: list[Path],
) -> Iterator[None]:
    """Record each painting. Whatever ends the recording, complete the film, or leave nothing where it has no frame."""
    began = time.monotonic()
    try:
        for picture, name in paintings:
            with _busy(progress, "record"):
                recorder.add(treatment.after(picture, name))
            progress.recorded += 1
            progress.latest, progress.elapsed = name, time.monotonic() - began
            yield
    finally:
        if recorder.frames:
            films.append(recorder.finish())
        else:
            recorder.discard()


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """The stages are what runs at the same time; OpenCV's own threads spin for a while after each call."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def run(
    camera: Camera,
    painter: Painter,
    recorder: Recorder,
    *,
    steady: int = 0,
    deflicker: int = 0,
    timestamp: bool = False,
    lighting: Lighting | None = None,
    tone: float = 0.0,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Film all of a camera's frames.

    ``steady`` to ``tone`` are the film's :class:`~pleinair.films.treatment.Treatment`. ``report``
    is called in this thread once for each recorded frame. The stages do not wait for it, so the progress that it gets
    may be further already. ``tell`` is told, in another thread, when the camera's source is away and when it is back;
    meanwhile the film waits. It is told the camera's remarks, too.

    When a stage fails, the film of the frames before is completed, and the stage's error is raised; without a frame,
    no file is left behind. Setting ``stop``, or a KeyboardInterrupt, completes the film, and the outcome says
    ``interrupted``; where there is no frame yet, KeyboardInterrupt is raised.
    """
    treatment = Treatment(steady=steady, deflicker=deflicker, timestamp=timestamp, lighting=lighting, tone=tone)
    with _one_opencv_thread():
        return _run(camera, painter, recorder, treatment, report, tell, stop or threading.Event())


def _run(
    camera: Camera,
    painter: Painter,
    recorder: Recorder,
    treatment: Treatment,
    report: Callable[[Progress], None] | None,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> Outcome:
    progress, films = Progress(camera.count), list[Path]()
    frames = ReadAhead(_captured(patient(camera, stop, tell), treatment, progress, recorder), stop=stop)
    paintings = ReadAhead(_painted(frames, painter.lit_by(treatment.light), progress), stop=stop)
    recording = ReadAhead(_recorded(paintings, recorder, treatment, progress, films), stop=stop)
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
