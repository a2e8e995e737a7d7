"""Blending, against NumPy's own average."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.films.blend import Blend

FRAMES = np.random.default_rng(3).integers(0, 256, (60, 6, 8, 3)).astype(np.uint8)


def average(first: int, end: int) -> np.ndarray:
    """Rounded half up, by Python's own whole numbers."""
    count = end - first
    sums = FRAMES[first:end].astype(object).sum(axis=0)
    return ((sums + count // 2) // count).astype(np.uint8)


@pytest.mark.parametrize(
    "runs",
    [
        [(n, n + 5) for n in range(50)],
        [(n, n + 60) for n in (0, 0)],
        [(0, 1), (0, 3), (10, 11), (10, 20), (30, 40), (39, 60)],
        [(20, 30), (5, 9), (0, 60)],
    ],
)
def test_runs_are_averaged_exactly(runs):
    read = []
    blend = Blend(lambda number: (read.append(number), FRAMES[number])[1])
    for first, end in runs:
        assert np.array_equal(blend(first, end), average(first, end))
    if all(a[0] <= b[0] for a, b in zip(runs, runs[1:], strict=False)):
        assert read == sorted(set(read))


def test_white_stays_white():
    white = Blend(lambda number: np.full((2, 2, 3), 255, np.uint8))
    assert (white(0, 60) == 255).all()
