"""The pipeline's figures: each adds up with the others, of what was filmed, with one frame at a time or several."""

from __future__ import annotations

import dataclasses
import time
from functools import partial

import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.machine import cores
from pleinair.measuring.bench_pipeline import DISTINCT, measure_pipeline
from pleinair.network.light import Sums
from pleinair.painting.painter import Painter
from pleinair.painting.side_by_side import Task, paint_side_by_side

pytest.importorskip("av", reason="films need PyAV")

SIZE = (64, 48)


class Slow(Painter):
    """Paints in 10 ms, 4 of them the processor's."""

    name = "slow"

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        self.seen.append(frame)
        until = time.thread_time() + 0.004
        while time.thread_time() < until:
            pass
        time.sleep(0.006)
        return 255 - frame

    def close(self) -> None:
        """See Painter."""


class Together(Slow):
    """The same, so many frames at a time."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once

    def paint_each(self, frames):
        """See Painter."""
        for painted in paint_side_by_side(frames, lambda frame: Task(partial(self.paint, frame), self.at_once)):
            self.spent = self.spent.plus(painted.seconds, painted.processor_seconds)
            yield painted.painting


class Metered(Slow):
    """Paints in a light, and counts the frames that it meters and paints in one."""

    adaptive = True

    def __init__(self) -> None:
        super().__init__()
        self.light, self.metered, self.lit = None, 0, 0

    def sums(self, frame):
        """See AdaptivePainter."""
        self.metered += 1
        return (Sums(1, (1,), (1,)),)

    def light_of(self, sums):
        """See AdaptivePainter."""
        return f"of {sums[0].count}"

    def lit_by(self, light):
        """See Painter."""
        self.light = light
        return self

    def paint(self, frame):
        """See Painter."""
        assert str(self.light(frame, self)).startswith("of")
        self.lit += 1
        return super().paint(frame)


@pytest.mark.parametrize("painters", [1, 2])
def test_figures_add_up(painters):
    steps = list[tuple[int, int]]()
    frames = DISTINCT + 8
    began = time.perf_counter()
    f = measure_pipeline(Slow() if painters == 1 else Together(painters), SIZE, frames, lambda *s: steps.append(s))
    whole = 1e3 * (time.perf_counter() - began)
    assert (f.width_px, f.height_px, f.frames) == (*SIZE, frames) and f.film_bytes > 1000
    # All that is computed costs what the painter says, at least, and all together no more than it took.
    assert f.painter_ms >= 10 / painters and f.painter_cpu_ms >= 4 and f.pipeline_cpu_ms >= 4
    assert f.paint_ms >= 10 and f.paint_cpu_ms >= 4 and f.capture_ms > 0 and f.record_ms > 0
    assert 0 < f.capture_cpu_ms + f.paint_cpu_ms + f.record_cpu_ms <= f.pipeline_cpu_ms * 1.01
    assert f.frames * 1e3 / f.pipeline_fps + frames * f.painter_ms / 2 < whole
    assert f.painter_fps == pytest.approx(1e3 / f.painter_ms)
    assert f.ratio == pytest.approx(f.pipeline_fps / f.painter_fps)
    assert f.pipeline_fps <= painters * 100
    assert all(0 < value < float("inf") for value in dataclasses.astuple(f))
    # Every painted frame is a step, and so is every rendered one; the warm-up is none.
    total = DISTINCT + 2 * frames
    assert steps == [(i, total) for i in range(1, total + 1)]


def test_the_painter_sees_moving_frames_of_the_size():
    slow = Slow()
    measure_pipeline(slow, SIZE, 6)
    assert {frame.shape for frame in slow.seen} == {(48, 64, 3)}
    assert len({frame.tobytes() for frame in slow.seen}) >= 6


def test_an_adaptive_network_meters_as_it_does_in_a_video():
    metered = Metered()
    measure_pipeline(metered, SIZE, 24)
    warm_up = 2 * cores()
    # A light of its own for the painter alone, warm-up included, and one for the film.
    assert metered.lit == warm_up + 48 and metered.metered == -(-(warm_up + 24) // 12) + 2


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="frames 0"):
        measure_pipeline(Slow(), SIZE, 0)
    with pytest.raises(OptionError, match="the synthetic day"):
        measure_pipeline(Slow(), (8, 8), 1)
