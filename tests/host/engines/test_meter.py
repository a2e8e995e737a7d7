"""Metering on an engine equals the plain one, number for number."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.engines import meter as module
from pleinair.engines.exact import variants
from pleinair.engines.meter import EngineMeter, sums_of_bytes
from pleinair.network import reference
from pleinair.network.light import in_light, sums_of
from pleinair.painting import meter
from pleinair.painting.tiles import Window
from tests.host.engines.test_adaptive import CASES, picture
from tests.networks import adaptive_network


# LiteRT keeps every value at one scale and saturates there, so it cannot give the levels of 4-bit networks.
@pytest.mark.parametrize(("bits", "engine"), [case for case in CASES if case[1] != "litert"])
def test_engines_meter_what_the_reference_meters(bits, engine, monkeypatch):
    monkeypatch.setattr(module, "_BAND", 200)  # many bands, uneven ones at the end
    network = adaptive_network(bits, blocks=2, bits=bits)
    rng = np.random.default_rng(bits)
    for seed in range(3):
        pixels = picture(seed, 56, 72)
        top, left = (int(v) for v in rng.integers(0, 20, 2))
        frame = Window(top, left, top + int(rng.integers(16, 36)), left + int(rng.integers(16, 50)))
        plain = meter.sums(network, pixels, frame)
        for variant in variants(engine, 1):
            fast = EngineMeter(network, variant)
            assert fast.sums(pixels, frame) == plain, f"{variant.name} {frame}"
            light = meter.measure(network, pixels, frame)
            assert fast.measure(pixels, frame) == light
            if bits <= 8:
                painted = frame.of(reference.run(in_light(network, light), pixels))
                assert np.array_equal(fast.paint(pixels, frame), painted), f"{variant.name} {frame}"


def test_the_sums_of_bytes_are_exact_where_float32_would_not_be():
    levels = np.full((300, 300, 2), 255, np.uint8)
    assert sums_of_bytes(levels) == sums_of(levels.transpose(2, 0, 1))
    levels = np.random.default_rng(0).integers(0, 256, (191, 257, 3), dtype=np.uint8)
    assert sums_of_bytes(levels) == sums_of(levels.transpose(2, 0, 1))


def test_positions_count_where_they_share_a_pixel_with_the_frame():
    window = meter.Meter(Window(5, 8, 21, 16)).window(4)
    assert (window.top, window.left, window.bottom, window.right) == (1, 2, 6, 4)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_of_one_colour_is_metered(level):
    """A covered lens, a blown-out sky: no division by zero, and a painting."""
    network = adaptive_network(4)
    pixels = np.full((48, 48, 3), level, np.uint8)
    lit = in_light(network, meter.measure(network, pixels, Window(0, 0, 48, 48)))
    assert reference.run(lit, pixels).shape == (48, 48, 3)
