"""The pipeline: order and count, errors in every stage, interruption, bounded memory; no thread stays behind."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import Frame
from pleinair.cameras.opening import open_camera
from pleinair.errors import CameraError, ImageError, OutputError
from pleinair.films.pipeline import Progress, ReadAhead, plural, run
from pleinair.films.recorder import FilmRecorder
from pleinair.films.steadiness import Steady
from pleinair.painting.painter import Painter
from pleinair.painting.side_by_side import Task, paint_side_by_side
from tests.films import frame_of, read_video
from tests.house import SHARED

TIMELAPSES = SHARED / "data" / "timelapse"


class Levels:
    """A camera that gives a frame for each level and then, perhaps, fails."""

    name, size, count = "levels", (64, 48), None

    def __init__(self, levels, error: Exception | None = None) -> None:
        self.levels, self.error, self.skipped = levels, error, list[str]()
        self.given, self.at_rest = 0, False

    def frames(self) -> Iterator[Frame]:
        """See Camera."""
        try:
            for index, level in enumerate(self.levels):
                self.given += 1
                yield Frame(frame_of(level), index, float(index), str(level))
            if self.error is not None:
                raise self.error
        finally:
            self.at_rest = True


class Negative(Painter):
    """A painter whose work can be told: 255 - x; fails at the frame of number ``fails_at``."""

    name = "negative"

    def __init__(self, fails_at: int = -1, pause: float = 0.0) -> None:
        self.fails_at, self.pause, self.count = fails_at, pause, 0

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        if self.count == self.fails_at:
            raise ImageError("frame of 1x1: too small")
        self.count += 1
        time.sleep(self.pause)
        return 255 - frame

    def close(self) -> None:
        """See Painter."""


class Team(Painter):
    """Several painters, each of which paints a frame at a time beside the others."""

    name = "team"

    def __init__(self, *painters: Painter) -> None:
        self.idle: queue.SimpleQueue[Painter] = queue.SimpleQueue()
        self.count = len(painters)
        for painter in painters:
            self.idle.put(painter)

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        painter = self.idle.get()
        try:
            return painter.paint(frame)
        finally:
            self.idle.put(painter)

    def paint_each(self, frames):
        """See Painter."""
        with closing(paint_side_by_side(frames, lambda f: Task(partial(self.paint, f), self.count))) as paintings:
            for painted in paintings:
                self.spent = self.spent.plus(painted.seconds, painted.processor_seconds)
                yield painted.painting

    def close(self) -> None:
        """See Painter."""


class Memory:
    """A recorder that keeps means; fails at the frame of number ``fails_at``."""

    def __init__(self, fails_at: int = -1, pause: float = 0.0) -> None:
        self.fails_at, self.pause, self.frames = fails_at, pause, 0
        self.means: list[float] = []
        self.ends: list[str] = []

    def add(self, image: np.ndarray) -> None:
        """See Recorder."""
        if self.frames == self.fails_at:
            raise OutputError("--out memory: No space left on device")
        time.sleep(self.pause)
        self.means.append(float(image.mean()))
        self.frames += 1

    def finish(self) -> Path:
        """See Recorder."""
        self.ends.append(f"finish in {threading.current_thread() is threading.main_thread()}")
        return Path("memory.mp4")

    def discard(self) -> None:
        """See Recorder."""
        self.ends.append("discard")


@pytest.fixture(autouse=True)
def in_time(no_thread_stays):
    """Every test ends with the threads that it began with, and in time."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


LEVELS = list(range(30, 210, 6))
WANTED = [255 - level for level in LEVELS]


def test_every_frame_once_in_order_and_reported():
    memory, seen = Memory(), list[tuple[int, str]]()
    main = threading.current_thread()

    def report(progress: Progress) -> None:
        assert threading.current_thread() is main
        seen.append((progress.recorded, progress.latest))

    outcome = run(Levels(LEVELS), Negative(), memory, report=report)
    np.testing.assert_allclose(memory.means, WANTED, atol=1)
    assert len(seen) == len(LEVELS) and seen[-1] == (len(LEVELS), str(LEVELS[-1]))
    p = outcome.progress
    assert (p.captured, p.painted, p.recorded) == (len(LEVELS),) * 3
    assert outcome.film == Path("memory.mp4") and not outcome.interrupted and memory.ends == ["finish in False"]


@pytest.mark.parametrize("strength", [0, 3])
def test_frames_and_paintings_are_steadied_in_order(strength):
    films = list[np.ndarray]()

    class Whole(Memory):
        def add(self, image: np.ndarray) -> None:
            films.append(image.copy())
            self.frames += 1

    class Coarse(Negative):
        """Amplifies, as networks do."""

        def paint(self, frame: np.ndarray) -> np.ndarray:
            return super().paint(frame) // 8 * 8

    camera = Levels([90, 90, 91, 92, 90, 140, 141, 141])
    run(camera, Coarse(), Whole(), steady=strength)
    frames, paintings = Steady(strength), Steady(strength)
    wanted = [paintings((255 - frames(frame_of(level))) // 8 * 8) for level in camera.levels]
    np.testing.assert_array_equal(films, wanted)
    plain = [(255 - frame_of(level)) // 8 * 8 for level in camera.levels]
    np.testing.assert_array_equal(films[0], plain[0])
    assert (np.array(films) == plain).all() == (strength == 0)


def test_stages_run_at_the_same_time():
    class Slow(Levels):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                time.sleep(0.03)
                yield frame

    began = time.monotonic()
    run(Slow(LEVELS[:20]), Negative(pause=0.03), Memory(pause=0.03))
    assert time.monotonic() - began < 1.5 * 20 * 0.03 + 0.3  # one after the other: 1.8 s


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_painters_paint_at_the_same_time_and_in_order(count):
    """The first one is slow, so that the others overtake it."""
    meeting = threading.Barrier(count)

    class Meeting(Negative):
        def paint(self, frame: np.ndarray) -> np.ndarray:
            if self.count == 0:
                meeting.wait(5)  # breaks unless all of them are painting
            return super().paint(frame)

    painters = [Meeting(pause=0.02 if i == 0 else 0.0) for i in range(count)]
    memory = Memory()
    outcome = run(Levels(LEVELS), Team(*painters), memory, steady=2)
    frames, paintings = Steady(2), Steady(2)
    wanted = [paintings(255 - frames(frame_of(level))).mean() for level in LEVELS]
    np.testing.assert_allclose(memory.means, wanted, atol=1e-9)
    assert sum(painter.count for painter in painters) == outcome.progress.painted == len(LEVELS)


@pytest.mark.parametrize("done", [0, 1, 2, 7])
def test_several_painters_and_a_failure(done):
    """What came before the failure is in the film, and nothing after it."""
    memory = Memory()
    with pytest.raises(CameraError, match="unplugged"):
        run(
            Levels(LEVELS[:done], CameraError("--camera x: unplugged")),
            Team(Negative(pause=0.01), Negative(pause=0.01)),
            memory,
        )
    np.testing.assert_allclose(memory.means, WANTED[:done], atol=1)

    class Refuses(Negative):
        def paint(self, frame: np.ndarray) -> np.ndarray:
            if abs(frame.mean() - LEVELS[done]) < 2:
                raise ImageError("frame of 1x1: too small")
            return super().paint(frame)

    camera, memory = Levels(itertools.cycle(LEVELS)), Memory()
    with pytest.raises(ImageError, match="too small"):
        run(camera, Team(Refuses(), Refuses(pause=0.02)), memory)
    np.testing.assert_allclose(memory.means, WANTED[:done], atol=1)
    assert camera.at_rest and memory.ends == (["finish in False"] if done else ["discard"])


def test_several_painters_stop():
    camera, memory, stop = Levels(itertools.cycle(LEVELS)), Memory(), threading.Event()
    outcome = run(
        camera, Team(Negative(), Negative()), memory, report=lambda p: p.recorded >= 5 and stop.set(), stop=stop
    )
    assert outcome.interrupted and memory.ends == ["finish in False"] and camera.at_rest
    np.testing.assert_allclose(memory.means, (WANTED * 2)[: memory.frames], atol=1)


def test_opencv_has_its_threads_back():
    before, within = cv2.getNumThreads(), list[int]()
    try:
        cv2.setNumThreads(3)
        run(Levels(LEVELS[:3]), Negative(), Memory(), report=lambda p: within.append(cv2.getNumThreads()))
        assert within == [1] * 3 and cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_each_stage_says_how_long_it_was_busy_and_what_it_computed():
    def spin() -> None:
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass

    class Busy(Negative):
        def paint(self, frame: np.ndarray) -> np.ndarray:
            spin()
            return super().paint(frame)

    class Idle(Memory):
        def add(self, image: np.ndarray) -> None:
            time.sleep(0.01)
            super().add(image)

    for painter in (Busy(), Team(Busy(), Busy())):
        p = run(Levels(LEVELS[:10]), painter, Idle()).progress
        assert p.paint_seconds >= p.paint_cpu_seconds >= 0.1
        assert p.record_seconds >= 0.1 > p.record_cpu_seconds and 0 < p.capture_cpu_seconds < 0.1


def test_a_fast_camera_waits(tmp_path):
    camera, memory = Levels([100] * 60), Memory(pause=0.01)
    ahead = list[int]()
    run(camera, Negative(), memory, report=lambda p: ahead.append(camera.given - memory.frames))
    assert max(ahead) <= 2 * 4 + 4


@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_failing_camera_leaves_the_film_of_what_came_before(done):
    camera, memory = Levels(LEVELS[:done], CameraError("--camera x: unplugged")), Memory()
    with pytest.raises(CameraError, match="unplugged") as caught:
        run(camera, Negative(), memory)
    np.testing.assert_allclose(memory.means, WANTED[:done], atol=1)
    assert memory.ends == (["finish in False"] if done else ["discard"])
    assert (f"memory.mp4 holds the {plural(done, 'frame')}" in str(caught.value)) == (done > 0)


@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_failing_painter_too(done):
    camera, memory = Levels(itertools.cycle(LEVELS)), Memory()
    with pytest.raises(ImageError, match="too small"):
        run(camera, Negative(done), memory)
    np.testing.assert_allclose(memory.means, WANTED[:done], atol=1)
    assert memory.ends == (["finish in False"] if done else ["discard"]) and camera.at_rest


@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_failing_recorder_too(done):
    camera, memory = Levels(itertools.cycle(LEVELS)), Memory(done)
    with pytest.raises(OutputError, match="No space left"):
        run(camera, Negative(), memory)
    assert memory.ends == (["finish in False"] if done else ["discard"]) and camera.at_rest


def test_the_error_of_completing_the_film_is_told_also_when_interrupted():
    class Full(Memory):
        def finish(self) -> Path:
            raise OutputError("--out memory: No space left; what was recorded is in raw")

    with pytest.raises(OutputError, match="is in raw"):
        run(Levels(LEVELS), Negative(), Full(7))
    stop = threading.Event()
    with pytest.raises(OutputError, match="is in raw"):
        run(Levels(itertools.cycle(LEVELS)), Negative(), Full(), report=lambda p: stop.set(), stop=stop)


def test_a_mistake_of_ours_is_raised_as_it_is():
    memory = Memory()
    with pytest.raises(ZeroDivisionError):
        run(Levels(LEVELS), Negative(), memory, report=lambda p: 1 // max(0, 3 - p.recorded))
    assert memory.ends == ["finish in False"]
    with pytest.raises(CameraError, match="no frame"):
        run(Levels([]), Negative(), Memory())


def test_stop_completes_the_film():
    camera, memory, stop = Levels(itertools.cycle(LEVELS)), Memory(), threading.Event()

    def report(progress: Progress) -> None:
        if progress.recorded >= 5:
            stop.set()

    outcome = run(camera, Negative(), memory, report=report, stop=stop)
    assert outcome.interrupted and memory.ends == ["finish in False"] and camera.at_rest
    assert 5 <= memory.frames < 20
    np.testing.assert_allclose(memory.means, (WANTED * 2)[: memory.frames], atol=1)


def test_keyboard_interrupt_completes_the_film():
    def report(progress: Progress) -> None:
        if progress.recorded >= 5:
            raise KeyboardInterrupt

    memory = Memory()
    assert run(Levels(itertools.cycle(LEVELS)), Negative(), memory, report=report).interrupted
    assert memory.ends == ["finish in False"] and memory.frames >= 5


def test_stop_before_the_first_frame_leaves_nothing():
    stop, memory = threading.Event(), Memory()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        run(Levels(LEVELS), Negative(), memory, stop=stop)
    assert memory.ends == ["discard"]


def test_the_film_is_complete_before_a_slow_camera_is_at_rest():
    release, stop, memory = threading.Event(), threading.Event(), Memory()

    class Hanging(Levels):
        def frames(self) -> Iterator[Frame]:
            yield from super().frames()
            release.wait()

    threading.Timer(0.3, stop.set).start()
    threading.Timer(0.8, lambda: (memory.ends.append("released"), release.set())).start()
    assert run(Hanging(LEVELS[:3]), Negative(), memory, stop=stop).interrupted
    assert memory.ends == ["finish in False", "released"]


def test_read_ahead_stops_early_and_ends_its_reader():
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            ended.set()

    ahead = ReadAhead(source())
    assert list(itertools.islice(ahead, 3)) == [0, 1, 2]
    ahead.close()
    assert ended.is_set() and list(ahead) == []
    done = ReadAhead(iter([1, 2]))
    assert list(done) == [1, 2] and list(done) == []
    done.close()


def test_memory_stays_flat():
    peaks = dict[int, int]()

    class Count(Memory):
        def add(self, image: np.ndarray) -> None:
            self.frames += 1
            if self.frames in (1000, 4000):
                peaks[self.frames] = tracemalloc.get_traced_memory()[1]
                tracemalloc.reset_peak()

    class Many(Levels):
        def frames(self) -> Iterator[Frame]:
            for index in range(4000):
                yield Frame(np.zeros((16, 16, 3), np.uint8), index, 0.0, "")

    tracemalloc.start()
    try:
        run(Many([]), Negative(), Count())
    finally:
        tracemalloc.stop()
    assert peaks[4000] < peaks[1000] + 20_000  # ten frames and a little; all of them were 2.3 MB


def test_grammar():
    assert [plural(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]


# -- real material, to a real film


def assert_in_order(film: Path, sources: list[np.ndarray]) -> None:
    """The film holds each source's negative once; no other source comes closer at its place."""
    small = [255 - source[::4, ::4].astype(int) for source in sources]
    shots = [shot[::4, ::4].astype(int) for shot in read_video(film)]
    assert len(shots) == len(small)
    for i, shot in enumerate(shots):
        errors = [np.abs(shot - source).mean() for source in small]
        assert int(np.argmin(errors)) == i and errors[i] < 6


@pytest.mark.skipif(not (TIMELAPSES / "icecube").is_dir(), reason="../shared/data/timelapse/icecube is not there")
def test_seventy_real_frames_in_seventy_out_in_order(tmp_path):
    run(open_camera(f"frames:{TIMELAPSES / 'icecube'}"), Negative(), FilmRecorder(tmp_path / "film.mp4"))
    sources = [cv2.imread(str(path))[..., ::-1] for path in sorted((TIMELAPSES / "icecube").glob("*.jpg"))]
    assert len(sources) == 70
    assert_in_order(tmp_path / "film.mp4", sources)


@pytest.mark.skipif(not TIMELAPSES.is_dir(), reason="../shared/data/timelapse is not there")
def test_a_real_video_at_one_frame_in_five_seconds(tmp_path):
    sources = read_video(TIMELAPSES / "vtest.avi")[::50]  # of ten frames a second
    assert len(sources) == 16
    run(open_camera(f"video:{TIMELAPSES / 'vtest.avi'}", every=5.0), Negative(), FilmRecorder(tmp_path / "film.mkv"))
    assert_in_order(tmp_path / "film.mkv", sources)
