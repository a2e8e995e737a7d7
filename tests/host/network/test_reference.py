"""The reference against definitions that share nothing with it: fractions, and plain loops."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pleinair.network import reference
from pleinair.network.integer import Convolution, Residual, Upsample
from tests.networks import random_network


def test_rounding_is_half_to_even_as_python_rounds_fractions():
    values = np.arange(-4000, 4000)
    for shift in (0, 1, 2, 5, 11):
        got = reference.round_half_even_shift(values, np.int64(shift))
        wanted = [round(Fraction(int(v), 1 << shift)) for v in values]
        np.testing.assert_array_equal(got, wanted)
    for value, shift in ((3 << 44, 45), (-(3 << 44), 45), ((1 << 46) - 1, 40)):
        got = reference.round_half_even_shift(np.array([value]), np.array([shift]))
        assert int(got[0]) == round(Fraction(value, 1 << shift))


def by_hand(x: np.ndarray, c: Convolution) -> np.ndarray:
    """A convolution in Python integers, value by value."""
    channels, height, width = x.shape
    k, s = c.kernel, c.stride
    out = np.zeros((c.outputs, -(-height // s), -(-width // s)), object)
    for o in range(c.outputs):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                total = int(c.bias[o])
                for i in range(k):
                    for j in range(k):
                        y, z = row * s + i - k // 2, column * s + j - k // 2
                        if 0 <= y < height and 0 <= z < width:
                            total += sum(int(c.weight[o, n, i, j]) * int(x[n, y, z]) for n in range(channels))
                out[o, row, column] = total
    return out


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_layers_are_what_the_contract_says(bits):
    network = random_network(bits, width=2, blocks=1, bits=bits, kernel=3)
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 12)).astype(np.int64)
    for layer in network.layers:
        got = reference.run_layer(x, layer, bits)
        if isinstance(layer, Upsample):
            for row in range(got.shape[1]):
                for column in range(got.shape[2]):
                    assert (got[:, row, column] == x[:, row // 2, column // 2]).all()
        else:
            inner = x
            for c in layer.body if isinstance(layer, Residual) else (layer,):
                sums = by_hand(inner, c)
                low = -(1 << (c.out_bits - 1)) if c.signed else 0
                high = (1 << (c.out_bits - (1 if c.signed else 0))) - 1
                inner = np.array(
                    [
                        [[min(max(round(Fraction(v, 1 << int(c.shift[o]))), low), high) for v in r] for r in plane]
                        for o, plane in enumerate(sums)
                    ],
                    np.int64,
                )
            wanted = np.clip(x + inner, 0, (1 << bits) - 1) if isinstance(layer, Residual) else inner
            np.testing.assert_array_equal(got, wanted)
        x = got


def test_ties_do_occur_and_decide():
    """The random networks must hold ties, or no comparison with them would see the rounding."""
    network = random_network(8, width=8, blocks=1)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    x, ties = image.transpose(2, 0, 1).astype(np.int64), 0
    for layer in network.layers:
        if isinstance(layer, Convolution):
            sums = reference.convolve(x, layer)
            half = (1 << (layer.shift - 1))[:, None, None]
            ties += int((sums % (2 * half) == half).sum())
        x = reference.run_layer(x, layer, 8)
    assert ties > 20


def test_wrong_images_are_a_callers_error():
    network = random_network(0, width=2, blocks=0, kernel=3)
    for shape, kind in (((16, 18, 3), np.uint8), ((16, 16), np.uint8), ((16, 16, 3), np.int32)):
        with pytest.raises(ValueError, match="needed|multiple"):
            reference.run(network, np.zeros(shape, kind))


def test_zero_shift_keeps_the_sum():
    c = replace(next(random_network(0, width=2, blocks=0, kernel=3).convolutions()), shift=np.zeros(2, np.int64))
    x = np.array([[[-5, 300]], [[0, 7]]], np.int64)
    np.testing.assert_array_equal(reference.requantise(x, c), [[[0, 255]], [[0, 7]]])
