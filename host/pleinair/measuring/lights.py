"""What a frame's own light costs: painting in a known light, in a new one, and in the frame's own.

All four are timed in turns on one frame (:mod:`pleinair.measuring.timing`), so their ratios hold where clocks drift.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from pleinair.backends import FPGA, open_painter
from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
from pleinair.measuring.timing import Report, measure
from pleinair.models import Model
from pleinair.painting.adaptive import AdaptivePainter

_WARMUP, _REST = 2, 0.02


@dataclass(frozen=True)
class LightFigures:
    """Medians of one engine and number of threads. An accelerator is called fpga, and its threads are 1.

    ``known_ms``: painting in a known light. ``new_ms``: the same in a light that was not painted in before.
    ``sums_ms``: metering. ``own_ms``: metering and painting in the frame's own light; ``own_ratio`` is the median over
    rounds of own / known.
    """

    engine: str
    threads: int
    frames: int
    known_ms: float
    new_ms: float
    sums_ms: float
    own_ms: float
    own_ratio: float


def measure_lights(
    model: Model, engine: str, threads: int, size: tuple[int, int], rounds: int, report: Report | None = None
) -> LightFigures:
    """Time an adaptive model; ValueError for another one. Raises EngineError."""
    frames = _shades(size, 4)
    with open_painter(model, f"cpu:{engine}", threads) as painter:
        if not isinstance(painter, AdaptivePainter):
            raise ValueError(f"{model.style}: no frame has a light of its own")
        paint, (frame, *others) = painter, frames
        known = painter.average
        # A painter keeps two lights, so of three in turns each is new when it comes.
        turns = cycle([painter.measure(other) for other in others])
        calls: dict[str, Callable[[], object]] = {
            "known light": lambda: paint.paint_in(frame, known),
            "new light": lambda: paint.paint_in(frame, next(turns)),
            "metering": lambda: paint.sums(frame),
            "own light": lambda: paint.paint(frame),
        }
        timings = measure(calls, rounds, _WARMUP, report, _REST)
    ms = {name: 1e3 * timing.median for name, timing in timings.items()}
    return LightFigures(
        engine=engine,
        threads=threads,
        frames=rounds,
        known_ms=ms["known light"],
        new_ms=ms["new light"],
        sums_ms=ms["metering"],
        own_ms=ms["own light"],
        own_ratio=timings["known light"].speed_over(timings["own light"]),
    )


def measure_accelerator_lights(painter: AdaptiveAcceleratorPainter, size: tuple[int, int], rounds: int) -> LightFigures:
    """Time an accelerator, a frame at a time, so that nothing of it is hidden: ``new_ms`` less ``known_ms`` is what the
    registers of a whole light cost. Raises AcceleratorError, unless there is a fallback."""
    frame, other = _shades(size, 2)
    known, new = painter.average, painter.measure(other)
    calls: dict[str, Callable[[], object]] = {
        # It has one light: the first call of a round writes it, and is not counted.
        "": lambda: painter.paint_in(frame, known),
        "known": lambda: painter.paint_in(frame, known),
        "new": lambda: painter.paint_in(frame, new),
        "sums": lambda: painter.sums(frame),
        "own": lambda: painter.paint(frame),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    ms = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    ratios = [own / one for own, one in zip(seconds["own"], seconds["known"], strict=True)]
    return LightFigures(
        engine=FPGA,
        threads=1,
        frames=rounds,
        known_ms=ms["known"],
        new_ms=ms["new"],
        sums_ms=ms["sums"],
        own_ms=ms["own"],
        own_ratio=statistics.median(ratios),
    )


def _shades(size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Frames of noise, each darker than the one before."""
    rng = np.random.default_rng(0)
    width, height = size
    return [rng.integers(0, 256 - 60 * k, (height, width, 3)).astype(np.uint8) for k in range(count)]
