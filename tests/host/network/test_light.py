"""The light's formula against fractions, and what a light may not do."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pleinair.errors import LightError
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork, dump, metering, parse, validate
from pleinair.network.light import in_light, layer_light, light_of, requantiser, sums_of
from tests.networks import adaptive_network


def expected(sums, norm, *, longest, room):
    """The same from the text alone: mean and variance as fractions, the gain compared with a square, not rooted."""
    (n, first, second), (gamma, beta, meter_bias, meter_gain, meter_shift) = sums, norm
    level = Fraction(2**meter_shift, meter_gain)  # of metering, in units of the accumulator
    mean = Fraction(first, n) * level - meter_bias
    variance = (Fraction(second, n) - Fraction(first, n) ** 2 + 4) * level**2
    # gain = gamma / (256 sqrt(variance)); m is gain * 2^s rounded to the nearest, half up.
    square = Fraction(gamma * gamma, 65536) / variance

    def rounded(shift):
        m = 0
        while Fraction(2 * m + 1, 2) ** 2 <= square * 4**shift and m < 40:
            m += 1
        return m

    shift = max([s for s in range(longest + 1) if rounded(s) <= 31], default=0)
    m = min(max(rounded(shift), 1), 31)
    exact = Fraction(beta * 2**shift, 256 * m) - mean
    bias = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    limit = room - (2 ** (shift - 1) if shift else 0)
    return min(max(bias, -limit), limit), m, shift


@pytest.mark.parametrize("seed", range(300))
def test_a_requantiser_is_what_the_text_says(seed):
    rng = random.Random(seed)
    low = rng.randint(0, 255)
    levels = [rng.randint(low, rng.randint(low, 255)) for _ in range(rng.randint(1, 40))]
    sums = len(levels), sum(levels), sum(v * v for v in levels)
    norm = (
        rng.choice([0, 1, rng.randint(0, 1 << 16)]),
        rng.randint(-(1 << 16), 1 << 16),
        rng.randint(-(1 << 22), 1 << 22),
        rng.randint(1, 31),
        rng.randint(0, 16),
    )
    bounds = {"longest": rng.choice([16, 20, 40]), "room": 1 << 23}
    assert requantiser(sums, norm, **bounds) == expected(sums, norm, **bounds), f"seed {seed}"


def test_a_channel_without_contrast_gives_its_beta():
    """No division by zero, and the one value there is becomes beta."""
    for accumulator in (0, 12345, -777):
        level = round((accumulator + 40000) * 17 / 2**12)
        sums = 10, 10 * level, 10 * level * level
        bias, gain, shift = requantiser(sums, (5120, 100 * 256, 40000, 17, 12), longest=16, room=1 << 23)
        assert abs((accumulator + bias) * gain / 2**shift - 100) <= 1.5 * 5120 / 256 / 2


def test_sums_of_pieces_add_up():
    levels = np.random.default_rng(0).integers(0, 256, (3, 7, 11), dtype=np.uint8)
    whole = sums_of(levels)
    assert whole == sums_of(levels[:, :3]) + sums_of(levels[:, 3:])
    assert whole.second[1] == sum(int(v) ** 2 for v in levels[1].ravel())


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_an_adaptive_network_survives_its_file(bits):
    network = adaptive_network(3, bits=bits)
    data = dump(network)
    again = parse(data, "given")
    assert dump(again) == data and light_of(again) == light_of(network) and again.adaptive


def test_the_outputs_have_the_mean_and_deviation_that_the_norm_asks_for():
    """What instance norm is for: whatever comes in, before clamping each channel has beta and gamma."""
    network = adaptive_network(1)
    c = next(c for c in network.convolutions() if c.norm is not None)
    x = np.random.default_rng(1).integers(0, 256, (c.inputs, 64, 64)).astype(np.int64)
    bare = reference.convolve(x, replace(c, bias=np.zeros_like(c.bias)))
    light = layer_light(c, sums_of(reference.run_layer(x, metering(c), 8)), bits=8, input_high=255)
    out = (bare + light.bias[:, None, None]) * light.multiplier[:, None, None] / 2.0 ** light.shift[:, None, None]
    np.testing.assert_allclose(out.mean((1, 2)), c.norm.beta / 256, atol=1.5)
    # Half a step of the multiplier is what rounding may cost; the floor takes 1 - 16 / sqrt(16^2 + 2^2), 0.8 %.
    assert np.all(np.abs(out.std((1, 2)) * 256 / c.norm.gamma - 1) <= 0.51 / light.multiplier + 0.03)


def test_a_light_of_another_network_or_out_of_bounds_is_refused_in_one_line():
    network, other = adaptive_network(1), adaptive_network(2)
    light = light_of(network)
    assert dump(in_light(network, light)) == dump(network)
    with pytest.raises(LightError, match="another network"):
        in_light(other, light)
    first = light.layers[0]
    for change in (
        {"multiplier": first.multiplier + 31},
        {"multiplier": first.multiplier * 0},
        {"shift": first.shift + 17},
        {"shift": -first.shift - 1},
        {"bias": first.bias + (1 << 24)},
        {"bias": first.bias[:1]},
        {"multiplier": first.multiplier.astype(float)},
    ):
        bad = replace(light, layers=(replace(first, **change), *light.layers[1:]))
        with pytest.raises(LightError) as caught:
            in_light(network, bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(LightError, match="other layers"):
        in_light(network, replace(light, layers=light.layers[1:]))


def test_a_network_in_a_light_is_an_integer_network():
    network = adaptive_network(5)
    assert isinstance(validate(in_light(network, light_of(network))), IntegerNetwork)
