"""Painters: any size of frame, tiled or not, to the reference's pixels, in bounded memory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.engines.exact import exact_runner
from pleinair.errors import ImageError
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.painting.painter import NetworkPainter
from tests.children import python
from tests.house import PATHS
from tests.networks import random_network


@pytest.mark.parametrize("bits", [8, 16])
def test_painter_takes_any_size_and_equals_the_reference(bits):
    network = random_network(3, 4, 1, bits)
    run = exact_runner(network, 1)
    fast = NetworkPainter("cpu", network, 24, run, 1_000_000)
    tiled = NetworkPainter("cpu", network, 24, run, 100)
    plain = NetworkPainter("reference", network, 24, lambda i: reference.run(network, i), 1_000_000)
    rng = np.random.default_rng(1)
    for height, width in ((16, 16), (17, 31), (45, 64), (71, 129)):
        frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        wanted = plain.paint(frame)
        assert wanted.shape == frame.shape
        np.testing.assert_array_equal(fast.paint(frame), wanted)
        np.testing.assert_array_equal(tiled.paint(frame), wanted)


def test_a_flat_area_is_painted_with_strokes():
    """What grain is for: without it the shipped network, like any, paints a white sky flat."""
    model = load_model("starry-night-board", 8)
    sky = np.full((96, 128, 3), 255, np.uint8)
    flat = open_painter(replace(model, grain=0), threads=1).paint(sky)
    painted = open_painter(model, threads=1).paint(sky)
    assert flat.std((0, 1)).max() < 1 and painted.std((0, 1)).min() > 8


@pytest.mark.parametrize("shape", [(15, 40, 3), (40, 15, 3), (8001, 8000, 3)])
def test_sizes_out_of_range_are_refused(shape):
    painter = NetworkPainter("x", random_network(3, 4, 0), 24, lambda i: i, 10_000)
    with pytest.raises(ImageError, match=f"{shape[1]}x{shape[0]}"):
        painter.paint(np.broadcast_to(np.uint8(0), shape))


_LARGE = r"""
import hashlib, re, sys
from pathlib import Path
sys.path[:0] = {paths!r}
import numpy as np
from pleinair.models import Model
from pleinair.backends import open_painter
from tests.networks import random_network
n = random_network(4, 16, 1, {bits})
frame = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
painting = open_painter(Model("large", {bits}, 40, 0, n, Path(), dict()), "cpu", 1).paint(frame)
print(hashlib.sha256(painting[:600, :800].tobytes()).hexdigest())
# Not getrusage's: that counts the parent's before exec, too.
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.parametrize("bits", [8, pytest.param(16, marks=pytest.mark.slow)])
def test_twelve_megapixels_in_bounded_memory(bits):
    """4000 x 3000 within 600 MB, and its corner as a frame that ends there would be but for the far edges."""
    done = python("-c", _LARGE.format(paths=PATHS, bits=bits))
    assert done.returncode == 0, done.stderr[-2000:]
    digest, peak = done.stdout.split()
    assert int(peak) < 600
    network = random_network(4, 16, 1, bits)
    frame = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    run = exact_runner(network, 1)
    corner = NetworkPainter("cpu", network, 40, run, 10**8).paint(frame[:800, :1000])[:600, :800]
    assert hashlib.sha256(corner.tobytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("threads", "size", "wanted"),
    [
        (1, (640, 480), (1, 1)),
        (2, (640, 480), (1, 2)),
        (4, (640, 480), (1, 3)),
        (4, (768, 512), (2, 2)),
        (4, (4000, 3000), (4, 1)),
        (256, (16, 16), (1, 256)),
    ],
)
def test_threads_go_to_frames_at_once_where_frames_are_small(threads, size, wanted):
    painter = NetworkPainter(
        "x", random_network(3, 4, 0), 24, lambda i: i, 10_000, threads=threads, run_with=lambda n: lambda i: i
    )
    assert painter.side_by_side(*size) == wanted


def test_a_painter_without_other_runners_paints_one_frame_at_a_time():
    painter = NetworkPainter("x", random_network(3, 4, 0), 24, lambda i: i, 10_000, threads=2)
    assert painter.side_by_side(64, 64) == (2, 1)


def test_a_film_with_no_threads_named_takes_every_core():
    with open_painter(load_model("starry-night-small", 8), "cpu", 0) as painter:
        each, at_once = painter.side_by_side(64, 64)
    assert each * at_once == len(os.sched_getaffinity(0))
