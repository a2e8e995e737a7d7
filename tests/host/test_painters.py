"""Engines against the reference: equal, not close; and proof that the comparison can fail."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host import painters, reference
from host.cameras import SyntheticCamera
from host.errors import EngineError, ImageError
from host.models import load_model
from host.network import Convolution, IntegerNetwork, Residual, validate
from host.painters import (
    VARIANTS,
    NetworkPainter,
    OnnxRunner,
    Variant,
    check_image,
    differing,
    exact_runner,
    open_painter,
    worst_case,
)
from tests.networks import random_network

ROOT = Path(__file__).parents[2]


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 64), (32, 100), (64, 64))]
    day = [f.image for f in SyntheticCamera((96, 64), 4, every=6 * 3600).frames()]
    return [*noise, *day, check_image(), np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)]


@pytest.mark.parametrize(("width", "blocks", "kernel"), [(4, 0, 9), (8, 2, 9), (16, 1, 9), (24, 1, 5), (5, 3, 3)])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_onnx_runtime_equals_the_reference(width, blocks, kernel, bits):
    network = random_network(width + bits, width, blocks, bits, kernel)
    wanted = [reference.run(network, p) for p in pictures()]
    for optimise in (True, False):
        for threads in (1, 2):
            run = OnnxRunner(network, threads, optimise=optimise)
            for picture, painting in zip(pictures(), wanted, strict=True):
                np.testing.assert_array_equal(run(picture), painting)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_every_variant_is_exact_here_on_the_worst_integers(variant, bits):
    hardest = validate(worst_case(random_network(0, 16, 1, bits)))
    for c in hardest.convolutions():
        assert c.weight.max() == -c.weight.min() == (1 << (c.weight_bits - 1)) - 1
    assert len(np.unique(reference.run(hardest, check_image()))) > 20
    if variant is VARIANTS[0] and bits == 8 and not painters_have_vnni():
        pytest.skip("this x86 has no VNNI: the fast variant is inexact, as the design says")
    assert differing(hardest, OnnxRunner(hardest, 1, variant), check_image()) == 0


def painters_have_vnni() -> bool:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "vnni" in text or not text.count("sse2")


# -- the comparison itself: each of these changes must be seen


def _swap(network: IntegerNetwork, name: str, change) -> IntegerNetwork:
    def one(c: Convolution) -> Convolution:
        return change(c) if c.name == name else c

    return replace(
        network,
        layers=tuple(
            Residual(tuple(map(one, p.body)))
            if isinstance(p, Residual)
            else one(p)
            if isinstance(p, Convolution)
            else p
            for p in network.layers
        ),
    )


def _weight_off_by_one(c: Convolution) -> Convolution:
    weight = c.weight.copy()
    weight[0, 0, 1, 1] += 1 if weight[0, 0, 1, 1] < 100 else -1
    return replace(c, weight=weight)


LAYERS = [
    "enter",
    "down1",
    "down2",
    "block1.conv1",
    "block1.conv2",
    "block2.conv1",
    "block2.conv2",
    "up1",
    "up2",
    "leave",
]


@pytest.mark.parametrize("layer", LAYERS)
def test_one_weight_off_by_one_is_seen(layer):
    network = random_network(8, 8, 2)
    wrong = _swap(network, layer, _weight_off_by_one)
    assert differing(network, OnnxRunner(wrong, 1), np.concatenate(pictures()[:1] * 4)) > 0


@pytest.mark.parametrize("layer", LAYERS)
def test_a_dropped_bias_is_seen(layer):
    network = random_network(8, 8, 2)
    wrong = _swap(network, layer, lambda c: replace(c, bias=np.zeros_like(c.bias)))
    assert differing(network, OnnxRunner(wrong, 1), check_image()) > 0


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_half_up_is_seen(monkeypatch, bits):
    network = random_network(8, 8, 2, bits)
    run = OnnxRunner(network, 1)
    assert differing(network, run, check_image()) == 0
    monkeypatch.setattr(
        reference, "round_half_even_shift", lambda v, s: np.where(s > 0, (v + (1 << np.maximum(s - 1, 0))) >> s, v)
    )
    assert differing(network, run, check_image()) > 0


# -- painters


@pytest.mark.parametrize("bits", [8, 16])
def test_painter_takes_any_size_and_equals_the_reference(bits):
    network = random_network(3, 4, 1, bits)
    run, _ = exact_runner(network, 1)
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
    model = load_model("starry-night", 8)
    sky = np.full((96, 128, 3), 255, np.uint8)
    flat = open_painter(replace(model, grain=0), threads=1).paint(sky)
    painted = open_painter(model, threads=1).paint(sky)
    assert flat.std((0, 1)).max() < 1 and painted.std((0, 1)).min() > 8


@pytest.mark.parametrize("shape", [(15, 40, 3), (40, 15, 3), (8001, 8000, 3)])
def test_sizes_out_of_range_are_refused(shape):
    painter = NetworkPainter("x", random_network(3, 4, 0), 24, lambda i: i, 10_000)
    with pytest.raises(ImageError, match=f"{shape[1]}x{shape[0]}"):
        painter.paint(np.broadcast_to(np.uint8(0), shape))


def test_a_machine_without_an_exact_variant_is_told(monkeypatch):
    class Saturating(OnnxRunner):
        def __call__(self, image: np.ndarray) -> np.ndarray:
            return super().__call__(image) & 0xFE

    monkeypatch.setattr(painters, "OnnxRunner", Saturating)
    with pytest.raises(EngineError, match=r"no variant.*exact.*values differ.*--backend reference"):
        exact_runner(random_network(3, 4, 0), 1)


def test_the_second_variant_is_taken_where_the_first_is_wrong(monkeypatch):
    class OnlyWide(OnnxRunner):
        def __init__(self, network: IntegerNetwork, threads: int = 0, variant: Variant = VARIANTS[0]) -> None:
            super().__init__(network, threads, variant)
            self.wrong = variant is VARIANTS[0]

        def __call__(self, image: np.ndarray) -> np.ndarray:
            return np.minimum(super().__call__(image), 200) if self.wrong else super().__call__(image)

    monkeypatch.setattr(painters, "OnnxRunner", OnlyWide)
    assert exact_runner(random_network(3, 4, 0), 1)[1] is VARIANTS[1]


_HASWELL = """
import sys; sys.path.insert(0, {root!r})
from tests.networks import random_network
from host.painters import *
n = random_network(11, 16, 1, {bits})
r, v = exact_runner(n, 1)
h = worst_case(n)
print(v.name, differing(n, r, check_image()), differing(h, OnnxRunner(h, 1, VARIANTS[0]), check_image()))
"""


@pytest.mark.parametrize("bits", [8, 16])
def test_x86_without_vnni_gets_the_exact_variant(bits):
    """At 8 bits the second; the graph of 16 has unsigned weights alone, which do not saturate anywhere."""
    qemu = shutil.which("qemu-x86_64-static")
    if qemu is None or os.uname().machine != "x86_64":
        pytest.skip("needs qemu-x86_64-static (Debian: qemu-user-static) on x86-64, to be a processor without VNNI")
    done = subprocess.run(
        [qemu, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", _HASWELL.format(root=str(ROOT), bits=bits)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    name, wrong, fast_wrong = done.stdout.strip().rsplit(" ", 2)
    assert name == VARIANTS[bits == 8].name and int(wrong) == 0
    assert (int(fast_wrong) > 0) == (bits == 8), "the probe did not see the saturation it is there for"


_LARGE = r"""
import hashlib, re, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import numpy as np
from host.models import Model
from host.painters import open_painter
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
    done = subprocess.run(
        [sys.executable, "-c", _LARGE.format(root=str(ROOT), bits=bits)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    digest, peak = done.stdout.split()
    assert int(peak) < 600
    network = random_network(4, 16, 1, bits)
    frame = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    run, _ = exact_runner(network, 1)
    corner = NetworkPainter("cpu", network, 40, run, 10**8).paint(frame[:800, :1000])[:600, :800]
    assert hashlib.sha256(corner.tobytes()).hexdigest() == digest
