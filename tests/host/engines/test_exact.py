"""Every installed engine against the reference: equal, not close; and proof that the comparison can fail."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing as closing_painter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.engines import exact as engines
from pleinair.engines.exact import (
    ENGINES,
    WIDE_ENGINES,
    EngineRunner,
    Yardstick,
    check_image,
    differing,
    exact_runner,
    installed_engines,
    worst_case,
)
from pleinair.engines.lowering import Program
from pleinair.engines.onnxruntime import VARIANTS, OrtEngine
from pleinair.errors import EngineError, OptionError
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, validate
from pleinair.painting.tiles import Window
from tests import children
from tests.house import PATHS
from tests.models import write_model
from tests.networks import floats_like, random_network

INSTALLED = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in installed_engines(), reason=f"{packages[0]} is not installed, or not for this machine"
        ),
    )
    for name, packages in ENGINES.items()
]


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 64), (32, 100), (64, 64))]
    day = [f.image for f in SyntheticCamera((96, 64), 4, every=6 * 3600).frames()]
    return [*noise, *day, check_image(), np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)]


def runner(network: IntegerNetwork, engine: str, threads: int = 1) -> EngineRunner:
    """The engine's, or a skip where it is not for such networks."""
    if network.wide and engine not in WIDE_ENGINES:
        with pytest.raises(EngineError, match="up to 8 bits"):
            exact_runner(network, threads, engine)
        pytest.skip("an engine of up to 8 bits")
    return exact_runner(network, threads, engine)


@pytest.mark.parametrize(("width", "blocks", "kernel"), [(4, 0, 9), (8, 2, 9), (16, 1, 9), (24, 1, 5), (5, 3, 3)])
@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("engine", INSTALLED)
def test_engines_equal_the_reference(engine, bits, width, blocks, kernel):
    network = random_network(width + bits, width, blocks, bits, kernel)
    for threads in (1, 2):
        run = runner(network, engine, threads)
        for picture in pictures():
            np.testing.assert_array_equal(run(picture), reference.run(network, picture))


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("engine", INSTALLED)
def test_engines_equal_the_reference_in_windows_of_shipped_networks(engine, bits):
    network = load_model("starry-night-board", bits).network
    run = runner(network, engine)
    picture = np.random.default_rng(bits).integers(0, 256, (104, 120, 3), dtype=np.uint8)
    wanted = reference.run(network, picture)
    for window in (Window(40, 40, 64, 80), Window(40, 40, 61, 77), Window(0, 8, 60, 120), Window(41, 39, 104, 120)):
        np.testing.assert_array_equal(run.window(picture, window), window.of(wanted))


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_painting_is_the_callers_own(engine):
    run = runner(random_network(1, 4, 0), engine)
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    first = run(black)
    kept = first.copy()
    run(white)
    np.testing.assert_array_equal(first, kept)
    first[:] = 7
    np.testing.assert_array_equal(run(black), kept)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_every_variant_is_exact_here_on_the_worst_integers(variant, bits):
    hardest = validate(worst_case(random_network(0, 16, 1, bits)))
    for c in hardest.convolutions():
        assert c.weight.max() == -c.weight.min() == (1 << (c.weight_bits - 1)) - 1
    assert len(np.unique(reference.run(hardest, check_image()))) > 20
    if variant is VARIANTS[0] and bits == 8 and not has_vnni():
        pytest.skip("this x86 has no VNNI: the fast variant is inexact, as the design says")
    assert differing(hardest, EngineRunner(hardest, OrtEngine(1, variant)), check_image()) == 0


def has_vnni() -> bool:
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
    assert differing(network, EngineRunner(wrong, OrtEngine(1)), np.concatenate(pictures()[:1] * 4)) > 0


@pytest.mark.parametrize("layer", LAYERS)
def test_a_dropped_bias_is_seen(layer):
    network = random_network(8, 8, 2)
    wrong = _swap(network, layer, lambda c: replace(c, bias=np.zeros_like(c.bias)))
    assert differing(network, EngineRunner(wrong, OrtEngine(1)), check_image()) > 0


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_half_up_is_seen(monkeypatch, bits):
    network = random_network(8, 8, 2, bits)
    run = EngineRunner(network, OrtEngine(1))
    assert differing(network, run, check_image()) == 0
    monkeypatch.setattr(
        reference, "round_half_even_shift", lambda v, s: np.where(s > 0, (v + (1 << np.maximum(s - 1, 0))) >> s, v)
    )
    assert differing(network, run, check_image()) > 0


# -- the choice


class _Twisted(OrtEngine):
    """An engine whose values are changed on their way out."""

    def __init__(self, twist: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(1)
        self.twist, self.name = twist, f"twisted by {twist.__name__}"

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        run = super().compile(program)
        return lambda pixels: self.twist(run(pixels))


def even(values: np.ndarray) -> np.ndarray:
    return values & 0xFE


def test_a_machine_without_an_exact_variant_is_told(monkeypatch):
    monkeypatch.setattr(engines, "variants", lambda name, threads: iter([_Twisted(even)]))
    with pytest.raises(EngineError, match=r"not exact.*twisted by even: \d+ values differ.*the backend reference"):
        exact_runner(random_network(3, 4, 0), 1)


def test_the_second_variant_is_taken_where_the_first_is_wrong(monkeypatch):
    second = OrtEngine(1, VARIANTS[1])
    monkeypatch.setattr(engines, "variants", lambda name, threads: iter([_Twisted(even), second]))
    assert exact_runner(random_network(3, 4, 0), 1).engine is second


def test_a_fault_in_windows_alone_is_seen(monkeypatch):
    """What a frame is painted with is the program of a window, which the whole picture's says nothing about."""

    def windows(values: np.ndarray) -> np.ndarray:
        return values if values.shape[0] > 80 else values & 0xFE

    monkeypatch.setattr(engines, "variants", lambda name, threads: iter([_Twisted(windows)]))
    with pytest.raises(EngineError, match="twisted by windows"):
        exact_runner(random_network(3, 4, 1), 1)


def test_auto_takes_the_remembered_engine_and_else_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = random_network(3, 4, 0)
    assert exact_runner(network, 1, "auto").name.startswith("ONNX Runtime")
    made: list[str] = []

    def variants(name: str, threads: int):
        made.append(name)
        return iter([OrtEngine(threads) if name == "onnxruntime" else _Twisted(even)])

    monkeypatch.setattr(engines, "variants", variants)
    monkeypatch.setattr(engines, "installed_engines", lambda wide: ["onnxruntime", "openvino"])
    engines.engine_memory.remember(network, 1, "openvino")
    assert exact_runner(network, 1, "auto").name.startswith("ONNX Runtime")
    assert made == ["openvino", "onnxruntime"]  # the remembered one is not exact any more
    monkeypatch.setattr(engines, "installed_engines", lambda wide: ["onnxruntime"])
    exact_runner(network, 1, "auto")
    assert made[2:] == ["onnxruntime"]


@pytest.mark.parametrize("name", ["tensorflow", "ORT", "openvino:1"])
def test_an_unknown_engine_is_named(name):
    with pytest.raises(OptionError, match=f"engine '{name}': choose from auto, onnxruntime"):
        exact_runner(random_network(3, 4, 0), 1, name)


def test_openvino_is_for_x86_alone(monkeypatch):
    monkeypatch.setattr(engines.platform, "machine", lambda: "aarch64")
    assert "openvino" not in installed_engines()
    with pytest.raises(EngineError, match="engine openvino: not on aarch64; try one of onnxruntime"):
        exact_runner(random_network(3, 4, 0), 1, "openvino")


def test_an_engine_belongs_to_the_cpu(tmp_path):
    floats = write_model(tmp_path / "floats", floats_like(random_network(3, 4, 0)))
    with pytest.raises(OptionError, match="engine litert: the float network is painted by onnxruntime"):
        open_painter(load_model(str(floats), 32), "cpu:litert")
    model = load_model("starry-night-small", 8)
    with pytest.raises(OptionError, match="reference:onnxruntime"):
        open_painter(model, "reference:onnxruntime")
    with closing_painter(open_painter(model, "cpu:onnxruntime", 1)) as painter:
        assert painter.name.startswith("ONNX Runtime")


def test_a_runner_keeps_few_programs():
    run = EngineRunner(random_network(3, 4, 0), OrtEngine(1))
    for side in (16, 20, 24, 28, 32, 36, 16):
        assert run(np.zeros((side, side, 3), np.uint8)).shape == (side, side, 3)
    assert [len(programs) for programs in run._idle] == [4]


@pytest.mark.parametrize("engine", INSTALLED)
def test_threads_may_paint_at_once(engine):
    network = random_network(6, 8, 1)
    run = runner(network, engine)
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for image, painting in zip(images, pool.map(run, images), strict=True):
            np.testing.assert_array_equal(painting, reference.run(network, image))


_HASWELL = """
import sys; sys.path[:0] = {paths!r}
from tests.models import write_model
from tests.networks import floats_like, random_network
from pleinair.engines.exact import *
from pleinair.engines.onnxruntime import *
n = random_network(11, 16, 1, {bits})
r = exact_runner(n, 1, "onnxruntime")
h = worst_case(n)
fast = EngineRunner(h, OrtEngine(1, VARIANTS[0]))
print(r.engine.variant.name, differing(n, r, check_image()), differing(h, fast, check_image()))
"""


@pytest.mark.parametrize("bits", [8, 16])
def test_x86_without_vnni_gets_the_exact_variant(bits):
    qemu = shutil.which("qemu-x86_64-static")
    if qemu is None or os.uname().machine != "x86_64":
        pytest.skip("needs qemu-x86_64-static (Debian: qemu-user-static) on x86-64, to be a processor without VNNI")
    code = _HASWELL.format(paths=PATHS, bits=bits)
    command = [qemu, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", code]
    done = children.run(command, variables={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr[-2000:]
    name, wrong, fast_wrong = done.stdout.strip().rsplit(" ", 2)
    assert name == VARIANTS[1].name and int(wrong) == 0
    assert int(fast_wrong) > 0, "the probe did not see the saturation it is there for"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [(480, 640), (717, 1283)])
def test_engines_agree_on_whole_frames(bits, size):
    """Some choose their kernels by the size, which checks on small pictures cannot see."""
    if len(installed_engines()) < 2:
        pytest.skip("one engine is installed, there is nothing to compare it with")
    model = load_model("starry-night-small", bits)
    frame = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
    paintings = [open_painter(model, f"cpu:{engine}", 2).paint(frame) for engine in installed_engines()]
    for painting in paintings[1:]:
        np.testing.assert_array_equal(painting, paintings[0])


@pytest.mark.slow
@pytest.mark.parametrize("engine", INSTALLED)
def test_a_whole_frame_is_the_references(engine):
    model = load_model("starry-night-board", 8)
    frame = np.random.default_rng(5).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    wanted = open_painter(model, "reference").paint(frame)
    np.testing.assert_array_equal(open_painter(model, f"cpu:{engine}", 2).paint(frame), wanted)


def test_a_heavy_network_is_checked_in_seconds(monkeypatch):
    """What the reference is asked for is bounded, and an engine that is wrong is found out all the same."""
    heavy = validate(
        IntegerNetwork(
            8,
            (_copying("a", 3, 250), *(_copying(f"b{i}", 250, 250) for i in range(4)), _copying("z", 250, 3)),
        )
    )
    asked, real = [], reference.run
    monkeypatch.setattr(reference, "run", lambda n, image: asked.append(image.shape) or real(n, image))
    yardstick = Yardstick(heavy)
    (height, width, _), again = asked
    assert again == (height, width, 3) and 16 <= height == width < 2 * heavy.halo + 16
    assert height * width * heavy.macs_per_pixel() <= 1.5e9

    class Off(OrtEngine):
        def compile(self, program):
            right = super().compile(program)
            return lambda pixels: right(pixels) ^ 1

    assert yardstick.wrong(OrtEngine(1, VARIANTS[0])) == 0 < yardstick.wrong(Off(1, VARIANTS[0]))


def _copying(name: str, inputs: int, outputs: int) -> Convolution:
    weight, zero = np.zeros((outputs, inputs, 3, 3), np.int8), np.zeros(outputs, np.int64)
    weight[range(3), range(3), 1, 1] = 64
    return Convolution(name, weight, zero, zero + 6, 1, 8, 8, False)
