"""What a frame's own light costs: painting in a known light, in a new one, and in the frame's own.

All four are timed in turns on one frame (:mod:`pleinair.measuring.timing`), so their ratios hold where clocks drift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from pleinair.backends import open_painter
from pleinair.measuring.timing import Report, measure
from pleinair.models import Model
from pleinair.painting.adaptive import AdaptivePainter

_WARMUP, _REST = 2, 0.02


@dataclass(frozen=True)
class LightFigures:
    """Medians of one engine and number of threads.

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
    rng = np.random.default_rng(0)
    width, height = size
    frames = [rng.integers(0, 256 - 60 * k, (height, width, 3)).astype(np.uint8) for k in range(4)]
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
