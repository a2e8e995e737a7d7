"""Painting many frames: the pixels of one by one, errors in their place, bounded reading, nothing left behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
import pytest

from pleinair.backends import Backend, open_painter
from pleinair.engines.exact import installed_engines
from pleinair.errors import ImageError
from pleinair.models import load_model
from pleinair.painting.painter import NetworkPainter, Painter
from pleinair.painting.side_by_side import Task, paint_side_by_side
from tests.models import write_model
from tests.networks import floats_like, random_network

#: Seconds after which a test gives up.
DEADLINE = 60.0
NETWORK = random_network(3, 4, 1)


def within_deadline(act: Callable[[], None]) -> None:
    """Do it in another thread; fail instead of waiting for ever."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            act()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=work, daemon=True).start()
    error = ended.get(timeout=DEADLINE)
    if error is not None:
        raise error


def frames_of(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def painter_of(run: Callable[[np.ndarray], np.ndarray], threads: int = 2) -> NetworkPainter:
    """Paints ``threads`` small frames at a time; ``run`` gets frames with their margin."""
    return NetworkPainter("test", NETWORK, 16, run, 1 << 20, threads=threads, run_with=lambda _: run)


def painting_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("painter")]


@pytest.mark.parametrize("backend", ["reference", *(f"cpu:{engine}" for engine in installed_engines())])
def test_the_pixels_are_those_of_painting_one_by_one(backend, tmp_path):
    """Sizes change on the way; one is large enough that its painter takes all threads."""
    network = random_network(5, 4, 0 if backend == "reference" else 1, 8)
    model = load_model(str(write_model(tmp_path / "model", network, 16)), 8)
    frames = frames_of((20, 30), (20, 30), (33, 17), (20, 30), (16, 16), (90, 121), (20, 30))
    if backend != "reference":
        frames.insert(4, frames_of((1001, 1000))[0])

    def compare() -> None:
        with open_painter(model, backend, 2) as painter, open_painter(model, "reference") as plain:
            paintings = list(painter.paint_each(iter(frames)))
            assert len(paintings) == len(frames) == painter.spent.frames
            for frame, painting in zip(frames, paintings, strict=True):
                np.testing.assert_array_equal(painting, painter.paint(frame))
                if frame.size < 100_000:
                    np.testing.assert_array_equal(painting, plain.paint(frame))

    within_deadline(compare)


def test_the_float_network_too(tmp_path):
    model = load_model(str(write_model(tmp_path / "floats", floats_like(NETWORK), 16)), 32)
    frames = frames_of((40, 50), (40, 50), (40, 50))
    with open_painter(model, Backend("cpu"), 2) as painter:
        for frame, painting in zip(frames, painter.paint_each(frames), strict=True):
            np.testing.assert_array_equal(painting, painter.paint(frame))


def test_small_frames_are_painted_at_the_same_time():
    meeting = threading.Barrier(3)

    def run(image: np.ndarray) -> np.ndarray:
        meeting.wait(DEADLINE)  # breaks unless three are painting
        return 255 - image

    frames = frames_of(*[(20, 20)] * 6)

    def film() -> None:
        paintings = list(painter_of(run, 3).paint_each(frames))
        assert all(np.array_equal(p, 255 - f) for p, f in zip(paintings, frames, strict=True))

    within_deadline(film)


@pytest.mark.parametrize("done", [0, 1, 2, 5])
def test_an_error_of_the_frames_comes_after_the_paintings_before_it(done):
    frames = frames_of(*[(20, 20)] * done)

    def broken():
        yield from frames
        raise OSError("the camera is gone")

    def film() -> None:
        paintings = list[np.ndarray]()
        with pytest.raises(OSError, match="the camera is gone"):
            paintings.extend(painter_of(lambda image: 255 - image).paint_each(broken()))
        assert not painting_threads()
        paintings = []
        with pytest.raises(OSError, match="camera"):
            for painting in painter_of(lambda image: 255 - image).paint_each(broken()):
                paintings.append(painting)  # noqa: PERF402
        assert len(paintings) == done

    within_deadline(film)


@pytest.mark.parametrize("wrong", [0, 1, 4])
def test_a_wrong_frame_is_refused_in_its_place(wrong):
    frames: list[np.ndarray] = frames_of(*[(20, 20)] * 6)
    frames[wrong] = np.zeros((20, 20), np.float32)

    def film() -> None:
        count = 0
        with pytest.raises(ImageError, match="float32"):
            for _ in painter_of(lambda image: image).paint_each(frames):
                count += 1
        assert count == wrong and not painting_threads()

    within_deadline(film)


@pytest.mark.parametrize("fails", [0, 1, 4])
def test_an_error_of_painting_comes_in_its_place(fails):
    frames = frames_of(*[(20, 20)] * 8)
    for number, frame in enumerate(frames):
        frame[:] = number

    def run(image: np.ndarray) -> np.ndarray:
        if image[0, 0, 0] == fails:
            raise ZeroDivisionError("in the engine")
        time.sleep(0.01)
        return image

    def film() -> None:
        levels = list[int]()
        with pytest.raises(ZeroDivisionError, match="in the engine"):
            for painting in painter_of(run).paint_each(frames):
                levels.append(int(painting[0, 0, 0]))
        assert levels == list(range(fails)) and not painting_threads()

    within_deadline(film)


def test_who_stops_early_leaves_no_thread_and_reads_no_further():
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield np.zeros((20, 20, 3), np.uint8)

    def film() -> None:
        painter = painter_of(lambda image: image)
        paintings = painter.paint_each(endless())
        next(paintings)
        assert painting_threads()
        before = read
        paintings.close()
        assert not painting_threads() and read == before
        assert next(painter.paint_each(endless())).shape == (20, 20, 3), "the painter can go on"

    within_deadline(film)
    gc.collect()
    assert not painting_threads()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_it_reads_on_only_when_the_next_painting_is_asked_for(threads):
    alive, most, read = 0, 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def frames():
        nonlocal alive, read
        for _ in range(50):
            frame = np.zeros((20, 20, 3), np.uint8)
            weakref.finalize(frame, gone)
            alive, read = alive + 1, read + 1
            yield frame

    def film() -> None:
        nonlocal most
        paintings = painter_of(lambda image: image.copy(), threads).paint_each(frames())
        for given, _ in enumerate(paintings, 1):
            assert read - given <= threads + 1
            most = max(most, alive)
        assert read == 50
        # Those that are read ahead, the one that is handed over, and the one that its source still names.
        assert threads <= most <= threads + 3

    within_deadline(film)


def test_closing_the_painter_ends_its_films():
    painter = painter_of(lambda image: image)
    paintings = painter.paint_each(np.zeros((20, 20, 3), np.uint8) for _ in range(100))
    next(paintings)
    painter.close()
    with pytest.raises(RuntimeError, match="the painter is closed"):
        list(paintings)
    assert not painting_threads()


def test_what_painting_took_is_told():
    def run(image: np.ndarray) -> np.ndarray:
        until = time.thread_time() + 0.004
        while time.thread_time() < until:
            pass
        time.sleep(0.006)
        return image

    painter = painter_of(run)
    before = painter.spent
    for count, _ in enumerate(painter.paint_each(frames_of(*[(20, 20)] * 6)), 1):
        assert painter.spent.since(before).frames == count
    spent = painter.spent
    assert spent.seconds >= 6 * 0.01 and 6 * 0.004 <= spent.processor_seconds < spent.seconds
    list(painter.paint_each(frames_of((20, 20))))
    assert painter.spent.since(spent).frames == 1


def test_a_painter_needs_only_paint():
    class Negative(Painter):
        name = "negative"

        def paint(self, frame: np.ndarray) -> np.ndarray:
            return 255 - frame

        def close(self) -> None:
            self.closed = True

    with Negative() as painter:
        frames = frames_of((20, 20), (17, 30))
        for frame, painting in zip(frames, painter.paint_each(frames), strict=True):
            np.testing.assert_array_equal(painting, 255 - frame)
        assert painter.spent.frames == 2
    assert painter.closed


def test_no_frames_no_threads():
    assert list(painter_of(lambda image: image).paint_each([])) == []
    assert list(paint_side_by_side([], lambda frame: Task(lambda: frame, 2))) == []
    assert not painting_threads()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (None, "not a NoneType"),
        ([[[0, 0, 0]]], "not a list"),
        ("photo.jpg", "not a str"),
        (np.zeros((20, 20, 3)), r"not of float64 \[20, 20, 3\]"),
        (np.zeros((20, 20, 3), np.int8), r"not of int8 \[20, 20, 3\]"),
        (np.zeros((20, 20), np.uint8), r"not of uint8 \[20, 20\]"),
        (np.zeros((20, 20, 4), np.uint8), r"not of uint8 \[20, 20, 4\]"),
        (np.zeros((1, 20, 20, 3), np.uint8), r"not of uint8 \[1, 20, 20, 3\]"),
        (np.zeros((0, 20, 3), np.uint8), "frame of 20x0: painted are 16x16 to"),
    ],
)
def test_wrong_frames_are_refused_in_one_sentence(frame, said):
    painter = painter_of(lambda image: image)
    for act in (lambda: painter.paint(frame), lambda: list(painter.paint_each([frame]))):
        with pytest.raises(ImageError, match=said) as refused:
            act()
        assert str(refused.value).startswith("frame") and str(refused.value).isprintable()


def test_frames_may_lie_in_memory_in_any_way():
    painter = painter_of(lambda image: image)
    (whole,) = frames_of((60, 80))
    read_only = whole.copy()
    read_only.flags.writeable = False
    for view in (whole[::2, ::2], whole[::-1, ::-1], whole[..., ::-1], whole.transpose(1, 0, 2), read_only):
        np.testing.assert_array_equal(painter.paint(view), view)
