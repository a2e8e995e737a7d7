"""The golden models against fractions, a plain convolution and their formulas; tests/hw/rtl has the blocks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pleinair_hw.finn import golden
from tests.hw.streams import tie_values


def test_requantisation_equals_fractions() -> None:
    seed = 7
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    ties = 0
    for bits, signed in ((4, False), (8, False), (8, True), (16, False), (16, True)):
        shift = rng.integers(0, 24, 16)
        bias = rng.integers(-(1 << 20), 1 << 20, 16)
        x = tie_values(rng, (40, 16), bias, shift, -(1 << 40), 1 << 40)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        got = golden.requant_shift(x, bias, shift, bits, signed)
        for pixel in range(len(x)):
            for c in range(16):
                exact = Fraction(int(x[pixel, c]) + int(bias[c]), 1 << int(shift[c]))
                ties += exact.denominator == 2
                assert got[pixel, c] == min(max(round(exact), low), high)  # Python rounds halves to even
    assert ties > 200


@pytest.mark.parametrize(("bits", "signed"), [(4, False), (8, False), (8, True), (16, True)])
def test_requantisation_in_a_light_equals_fractions(bits, signed):
    rng = np.random.default_rng(bits)
    shift, bias = rng.integers(0, 17, 16), rng.integers(-(1 << 20), 1 << 20, 16)
    multiplier = rng.integers(1, 32, 16)
    # Around the output's range, so that half of the values are not clamped.
    x = (rng.integers(-1 << bits, 2 << bits, (400, 16)) << shift) // multiplier - bias + rng.integers(-3, 4, (400, 16))
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    got = golden.requant_light(x, bias, multiplier, shift, bits=bits, signed=signed)
    ties = 0
    for pixel, c in np.ndindex(400, 16):
        exact = Fraction((int(x[pixel, c]) + int(bias[c])) * int(multiplier[c]), 1 << int(shift[c]))
        ties += exact.denominator == 2
        assert got[pixel, c] == min(max(round(exact), low), high)
    assert ties > 20


def test_a_tap_sum_is_a_convolution() -> None:
    seed = 8
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for taps in (3, 5, 9):
        width, channels, outputs, reach = 11, 4, 3, taps // 2
        image = rng.integers(0, 256, (width, channels))
        weight = rng.integers(-127, 128, (outputs, taps, channels))
        partial = np.zeros((1, width + reach, outputs * taps), np.int64)
        partial[0, :width] = np.einsum("wc,otc->wot", image, weight).reshape(width, -1)
        want = np.zeros((width, outputs), np.int64)
        for x in range(width):
            for t in range(taps):
                if 0 <= x + t - reach < width:
                    want[x] += weight[:, t] @ image[x + t - reach]
        assert np.array_equal(golden.tap_sum(partial, taps, reach)[0], want)


def test_a_pixel_shuffle_is_its_formula() -> None:
    seed = 9
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    height, width, outputs = 3, 5, 2
    x = rng.integers(0, 1000, (height + 1, width + 1, 4 * outputs))
    got = golden.pixel_shuffle(x)
    seen = 0
    for i, j, a, b in np.ndindex(height + 1, width + 1, 2, 2):
        row, column = 2 * i - 1 + a, 2 * j - 1 + b
        if 0 <= row < 2 * height and 0 <= column < 2 * width:
            seen += 1
            assert np.array_equal(got[row, column], x[i, j, (2 * a + b) * outputs : (2 * a + b + 1) * outputs])
    assert seen == got.shape[0] * got.shape[1]


def test_a_pixel_shuffle_without_a_border_keeps_every_phase():
    x = np.random.default_rng(10).integers(0, 1000, (3, 5, 12))
    got = golden.pixel_shuffle(x, border=False)
    assert got.shape == (6, 10, 3)
    for i, j, a, b, c in np.ndindex(3, 5, 2, 2, 3):
        assert got[2 * i + a, 2 * j + b, c] == x[i, j, (2 * a + b) * 3 + c]


@pytest.mark.parametrize("block", [2, 4])
def test_space_to_depth_is_its_formula(block):
    x = np.random.default_rng(11).integers(0, 256, (3 * block, 2 * block, 3))
    got = golden.space_to_depth(x, block)
    assert got.shape == (3, 2, block * block * 3)
    for y, column, i, j, c in np.ndindex(3, 2, block, block, 3):
        assert got[y, column, (i * block + j) * 3 + c] == x[y * block + i, column * block + j, c]


@pytest.mark.parametrize(("bits", "signed", "low", "high"), [(8, False, 0, 255), (4, True, -8, 7)])
def test_a_sum_is_clamped(bits, signed, low, high):
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 256, (2, 40))
    b -= 128
    wanted = [min(max(int(x) + int(y), low), high) for x, y in zip(a, b, strict=True)]
    assert golden.add_clamp(a, b, bits, signed).tolist() == wanted
    assert {low, high} <= set(wanted)


def test_every_pixel_becomes_four():
    x = np.random.default_rng(3).integers(0, 256, (3, 5, 2))
    got = golden.upsample(x)
    assert got.shape == (6, 10, 2)
    assert all(np.array_equal(got[i, j], x[i // 2, j // 2]) for i, j in np.ndindex(6, 10))
