"""Borders and tiles: whole frame = tiled frame, for every size."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.engines.onnxruntime import OnnxRunner
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.tiles import add_margin, paint_tiled, round_up, spans
from tests.networks import random_network


@pytest.mark.parametrize("length", [16, 64, 100, 128, 132, 1000, 2048])
@pytest.mark.parametrize("tile", [88, 92, 128, 512])
@pytest.mark.parametrize("halo", [0, 1, 31, 40])
def test_spans_cover_once_and_keep_the_halo(length, tile, halo):
    stride = 4
    done = 0
    for span in spans(length, tile, halo, stride):
        assert span.first == done < span.last
        assert span.start % stride == 0 and span.stop <= length and span.stop - span.start <= tile
        assert span.start == 0 or span.first - span.start >= halo
        assert span.stop == length or span.stop - span.last >= halo
        done = span.last
    assert done == length


def test_a_tile_within_its_own_halo_is_refused():
    with pytest.raises(ValueError, match="above 80"):
        spans(500, 80, 39, 4)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("margin", [10, 40])  # 40, more than the frame: mirrored again and again
def test_margin_is_made_of_the_frame_and_rounds_up(adaptive, margin):
    frame = np.random.default_rng(0).integers(0, 256, (17, 22, 3), dtype=np.uint8)
    sides = ((margin, margin + 3), (margin, margin + 2), (0, 0))
    expected = np.pad(frame, sides, "reflect")
    if adaptive:
        edge = np.pad(frame, sides, "edge").astype(int)
        expected = np.clip((3 * edge - expected + 1) >> 1, 0, 255)
    np.testing.assert_array_equal(add_margin(frame, margin, 4, adaptive=adaptive), expected)


def test_the_margin_of_adaptive_networks_goes_on_with_half_the_slope():
    frame = np.repeat(np.arange(100, 180, 4, dtype=np.uint8)[None, :, None], 16, 0).repeat(3, 2)
    row = add_margin(frame, 3, 1, adaptive=True)[8, :, 0].tolist()
    assert row[:4] == [94, 96, 98, 100] and row[-4:] == [176, 178, 180, 182]


SIZES = [(16, 16), (17, 23), (64, 96), (97, 61), (120, 200), (131, 77), (150, 150), (33, 260), (201, 19), (90, 91)]


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    # halo = 1 (mod 4): cutting it by one pixel moves a tile's edge by a whole stride
    network = random_network(5, width=4, blocks=1, kernel=5)
    assert network.halo % network.stride == 1
    return network


TILES = [(56, 52), (52, 52), (52, 96), (60, 88), (64, 64), (64, 128), (72, 52), (100, 76), (128, 128), (192, 60)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiled_is_whole(network, height, width):
    run = OnnxRunner(network, 1)
    frame = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    n = network
    whole = paint_tiled(frame, run, 24, n.halo, n.stride, (4096, 4096), adaptive=False)
    for tile in TILES:
        np.testing.assert_array_equal(
            paint_tiled(frame, run, 24, n.halo, n.stride, tile, adaptive=False), whole, err_msg=str(tile)
        )
    bottom, right = (round_up(side + 48, 4) - side - 24 for side in (height, width))
    padded = np.pad(frame, ((24, bottom), (24, right), (0, 0)), "reflect")
    np.testing.assert_array_equal(whole, reference.run(n, padded)[24 : 24 + height, 24 : 24 + width])


def test_a_halo_one_pixel_short_shows(network):
    run = OnnxRunner(network, 1)
    frame = np.random.default_rng(9).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    n = network
    whole = paint_tiled(frame, run, 24, n.halo, n.stride, (4096, 4096), adaptive=False)
    short = paint_tiled(frame, run, 24, n.halo - 1, n.stride, (64, 64), adaptive=False)
    assert (short != whole).any()


def test_halo_grows_with_the_layers():
    assert random_network(0, width=2, blocks=2, kernel=9).halo > random_network(0, width=2, blocks=1, kernel=9).halo
