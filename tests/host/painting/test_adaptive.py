"""Adaptive models from the command line's side: every backend paints the reference's pixels, each frame by itself."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.engines.exact import installed_engines
from pleinair.models import load_model
from pleinair.painting import meter
from pleinair.painting.grain import Grain
from pleinair.painting.tiles import Window, add_margin
from tests.models import write_model
from tests.networks import adaptive_network

MARGIN = 28


def frames(count: int, height: int = 45, width: int = 61) -> list[np.ndarray]:
    """Odd sizes; each frame darker than the one before."""
    rng = np.random.default_rng(count)
    scene = rng.integers(0, 256, (height, width, 3))
    return [(scene * (1 - 0.8 * k / count)).astype(np.uint8) for k in range(count)]


def expected(network, frame: np.ndarray) -> np.ndarray:
    """From the document: grain, reflection, metering over the frame, the network in that light."""
    pixels = add_margin(Grain(2)(frame), MARGIN, network.stride, adaptive=True)
    height, width = frame.shape[:2]
    return meter.paint(network, pixels, Window(MARGIN, MARGIN, MARGIN + height, MARGIN + width))


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_every_backend_paints_each_frame_in_its_own_light(tmp_path, bits):
    network = adaptive_network(bits, bits=bits)
    model = load_model(str(write_model(tmp_path / "model", network, MARGIN)), bits)
    shown = frames(3)
    wanted = [expected(network, frame) for frame in shown]
    assert len({w.tobytes() for w in wanted}) == 3
    for backend in ("reference", *(f"cpu:{engine}" for engine in installed_engines(bits > 8))):
        with open_painter(model, backend, 2) as painter:
            assert "own light" in painter.name
            for frame, painting in zip(shown, wanted, strict=True):
                assert np.array_equal(painter.paint(frame), painting), backend
            for painted, painting in zip(painter.paint_each(shown), wanted, strict=True):
                assert np.array_equal(painted, painting), backend


def test_a_frame_s_painting_does_not_depend_on_the_frames_before(tmp_path):
    model = load_model(str(write_model(tmp_path / "model", adaptive_network(1), MARGIN)), 8)
    shown = frames(4)
    with open_painter(model, "cpu", 1) as painter:
        forwards = list(painter.paint_each(shown))
        backwards = list(painter.paint_each(shown[::-1]))[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))


@pytest.mark.parametrize("level", [0, 255])
def test_a_covered_lens_and_a_blown_out_sky_are_painted(tmp_path, level):
    model = load_model(str(write_model(tmp_path / "model", adaptive_network(2), MARGIN)), 8)
    flat = np.full((16, 16, 3), level, np.uint8)
    with open_painter(model, "cpu", 1) as painter, open_painter(model, "reference") as plain:
        assert np.array_equal(painter.paint(flat), plain.paint(flat))
