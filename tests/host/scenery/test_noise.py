"""Tests of pleinair.scenery.noise: against a hash and a gradient noise written out for one point at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pleinair.scenery.noise import Octave, cells, crowns, fbm, make_key, noise, profile, uniform

M32 = 2**32


def _hash(x: int, y: int, key: int) -> int:
    """The hash of one lattice point, in Python's integers."""
    a = x * 0x9E3779B1 % M32
    b = y * 0x85EBCA77 % M32
    b ^= b >> 13
    h = ((a ^ key) + b) % M32
    for factor, shift in ((0x2C1B3C6D, 15), (0x297A2D39, 12)):
        h = (h ^ (h >> shift)) * factor % M32
    return h ^ (h >> 15)


def _perlin(x: float, y: float, key: int) -> float:
    """Perlin's improved noise (2002) at one point: four corners' gradients, quintic weights."""
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = x - x0, y - y0

    def corner(i: int, j: int) -> float:
        turn = 2 * math.pi * (_hash(x0 + i, y0 + j, key) >> 26) / 64
        return 1.45 * (math.cos(turn) * (fx - i) + math.sin(turn) * (fy - j))

    def fade(t: float) -> float:
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    top = corner(0, 0) + fade(fx) * (corner(1, 0) - corner(0, 0))
    low = corner(0, 1) + fade(fx) * (corner(1, 1) - corner(0, 1))
    return top + fade(fy) * (low - top)


@pytest.mark.parametrize("key", [0, 7, M32 - 1])
def test_noise_is_perlins(key: int) -> None:
    rng = np.random.default_rng(key)
    x, y = rng.uniform(-40, 40, (2, 5, 7))
    expected = [
        [_perlin(float(a), float(b), key) for a, b in zip(p, q, strict=True)] for p, q in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(noise(x, y, key), expected, atol=1e-6)


def test_an_octave_moved_is_the_noise_of_the_points_moved() -> None:
    x, y = np.random.default_rng(1).uniform(-3, 3, (2, 6, 5))
    octave = Octave(x, y, 11)
    for dx, dy in ((0.0, 0.0), (0.3, -0.8), (-5.0, 12.25), (1e6 + 0.5, -7e5 + 0.25)):
        np.testing.assert_allclose(octave.at(dx, dy), noise(x + dx, y + dy, 11), atol=1e-8)


def test_cells_are_the_hash_of_the_cell() -> None:
    x = np.array([-1.5, -0.1, 0.0, 0.9, 1.0, 3e9])
    y = np.array([2.2, 2.9, -7.0, -6.1, 0.0, 0.0])
    expected = [_hash(math.floor(a), math.floor(b), 5) / M32 for a, b in zip(x, y, strict=True)]
    assert cells(x, y, 5).tolist() == expected


def test_random_numbers_fill_the_unit_interval_and_differ_by_each_argument() -> None:
    numbers = [uniform(3, i, j) for i in range(40) for j in range(40)]
    assert min(numbers) >= 0.0 and max(numbers) < 1.0
    assert len(set(numbers)) == 1600
    counts, _ = np.histogram(numbers, bins=16, range=(0, 1))
    # chi-squared of 15 degrees of freedom exceeds 37.7 once in a thousand
    assert ((counts - 100) ** 2 / 100).sum() < 37.7


def test_every_bit_of_a_seed_counts() -> None:
    seeds = [0, -1, *(1 << bit for bit in range(128))]
    assert len({make_key(seed, 1) for seed in seeds}) == len(seeds)
    assert len({make_key(0, purpose) for purpose in range(1000)}) == 1000


def test_fractal_noise_adds_finer_octaves() -> None:
    x, y = np.random.default_rng(2).uniform(0, 9, (2, 4, 4))
    assert np.array_equal(fbm(x, y, 3, 1), noise(x, y, 3))
    second = noise(1.6 * x - 1.2 * y + 3.1, 1.2 * x + 1.6 * y + 7.7, 3 + 7919)
    np.testing.assert_allclose(fbm(x, y, 3, 2, 0.25), noise(x, y, 3) + 0.25 * second)


def test_outlines_stay_in_their_range() -> None:
    x = np.linspace(0, 30, 3001)
    for ridged in (False, True):
        line = profile(x, 8, 4, ridged=ridged)
        assert -2.0 < line.min() < -0.2 and 0.2 < line.max() < 2.0
    tops = crowns(x, 0.5, 8)
    assert tops.min() >= 0.0 and 0.7 < tops.max() <= 1.0
    # about one crown every pitch: count the peaks
    peaks = ((tops[1:-1] > tops[:-2]) & (tops[1:-1] >= tops[2:])).sum()
    assert 30 <= peaks <= 70
