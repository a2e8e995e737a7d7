"""Programs in OpenVINO: the reference's pixels in every variant, in int8 where that is promised."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pleinair.engines.exact import check_image, worst_case
from pleinair.engines.lowering import Double, Join, Unblock, View, lower
from pleinair.engines.openvino import VARIANTS, OpenVinoEngine, build, compiled
from pleinair.errors import EngineError
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, validate
from pleinair.painting.tiles import Window
from tests.children import python
from tests.house import PYTHONPATH, ROOT
from tests.networks import random_network

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

INT8, MIXED, FLOAT = VARIANTS
_X86 = platform.machine() in ("x86_64", "AMD64")
_CPUINFO = Path("/proc/cpuinfo")
_VNNI = _CPUINFO.exists() and "vnni" in _CPUINFO.read_text()
EXACT_HERE = [
    pytest.param(
        v,
        id=v.name,
        marks=pytest.mark.skipif(v is INT8 and _X86 and not _VNNI, reason="int8 saturates on x86 without VNNI"),
    )
    for v in VARIANTS
]


def differing(network: IntegerNetwork, engine: OpenVinoEngine, image: np.ndarray, window: Window | None = None) -> int:
    window = window or Window(0, 0, *image.shape[:2])
    program = lower(network, *image.shape[:2], window)
    painted = engine.compile(program)(program.reads.of(image))
    wanted = window.of(reference.run(network, image))
    assert painted.dtype == np.uint8
    return int((window.within(program.paints).of(painted) != wanted).sum())


def operations(network: IntegerNetwork, size: tuple[int, int], window: Window | None) -> set[type]:
    return {type(o) for o in lower(network, *size, window).operations}


@pytest.mark.parametrize("variant", EXACT_HERE)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("width", "blocks", "kernel"), [(1, 1, 5), (5, 2, 7), (8, 1, 9)])
def test_random_networks_equal_the_reference(width, blocks, kernel, bits, variant):
    network = random_network(width, width, blocks, bits, kernel)
    image = np.random.default_rng(width).integers(0, 256, (48, 56, 3), dtype=np.uint8)
    assert len(np.unique(reference.run(network, image))) > 20
    for threads, window in enumerate((None, Window(20, 24, 41, 53), Window(0, 16, 32, 56)), 1):
        assert differing(network, OpenVinoEngine(threads % 3, variant), image, window) == 0
    assert differing(worst_case(network), OpenVinoEngine(1, variant), check_image(48)) == 0


@pytest.mark.parametrize("variant", EXACT_HERE)
@pytest.mark.parametrize("bits", [4, 8])
def test_shipped_networks_equal_the_reference_in_a_window(bits, variant):
    network = load_model("starry-night-board", bits).network
    window = Window(40, 40, 57, 69)
    # All kinds of operations are among those of one or the other.
    assert operations(network, (96, 112), window) >= {View, Join, Unblock} | ({Double} if bits == 8 else set())
    image = np.random.default_rng(bits).integers(0, 256, (96, 112, 3), dtype=np.uint8)
    assert differing(network, OpenVinoEngine(2, variant), image, window) == 0
    assert differing(worst_case(network), OpenVinoEngine(2, variant), check_image(48)) == 0


@pytest.mark.parametrize("variant", EXACT_HERE)
@pytest.mark.parametrize("seed", [6, 17, 33])
def test_equal_biases_and_shifts_in_a_layer_stay_exact(seed, variant):
    """OpenVINO takes equal ones for one of the whole tensor, and moves it where it can round."""

    def even(c: Convolution) -> Convolution:
        bias, shift = (np.full_like(v, int(np.median(v))) for v in (c.bias, c.shift))
        return replace(c, bias=bias, shift=shift)

    network = random_network(seed, 8, 1, 8, 9)
    layers = tuple(
        Residual(tuple(map(even, p.body))) if isinstance(p, Residual) else even(p) if isinstance(p, Convolution) else p
        for p in network.layers
    )
    network = validate(IntegerNetwork(8, layers))
    assert differing(network, OpenVinoEngine(1, variant), check_image(96)[:, :20]) == 0


def kernels(network: IntegerNetwork, variant: Any, size: int = 96) -> list[str]:
    """The primitives that convolutions run as: "brgconv_avx512_I8"."""
    model = compiled(build(lower(network, size, size), variant), 1).get_runtime_model()
    return [
        op.get_rt_info()["primitiveType"].astype(str)
        for op in model.get_ordered_ops()
        if op.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]


@pytest.mark.skipif(not _X86, reason="kernels have these names on x86")
def test_convolutions_run_in_int8():
    network = random_network(1, 16, 1, 4)
    count = len(list(network.convolutions()))
    assert [k.endswith("_I8") for k in kernels(network, INT8)] == [True] * count
    assert [k.endswith("_I8") for k in kernels(random_network(1, 16, 1, 8), INT8)] == [True] * count
    # 4-bit products of two fit 16 bits; the pixels' do not.
    assert [k.endswith("_I8") for k in kernels(network, MIXED)] == [False] + [True] * (count - 1)
    assert not any(k.endswith("_I8") for k in kernels(network, FLOAT))


_WITHOUT_VNNI = """
from pleinair.engines.exact import check_image, exact_runner, worst_case
from pleinair.engines.openvino import VARIANTS, OpenVinoEngine
from tests.host.engines.test_openvino import differing
from tests.networks import random_network
network = random_network(1, 8, 1, 8, 5)
print(*(differing(worst_case(network), OpenVinoEngine(1, v), check_image()) for v in VARIANTS))
print(exact_runner(network, 1, "openvino").name)
"""


@pytest.mark.skipif(not _X86, reason="oneDNN's instruction sets are x86's")
def test_without_vnni_int8_is_refused_and_the_next_variant_taken():
    run = python("-c", _WITHOUT_VNNI, variables={"ONEDNN_MAX_CPU_ISA": "AVX2"}, cwd=ROOT, check=True)
    counts, name = run.stdout.splitlines()
    int8, mixed, floats = map(int, counts.split())
    assert int8 > 0 and mixed == floats == 0
    assert name.endswith(f"({MIXED.name})")


def test_a_painting_is_the_callers_own_and_the_pixels_stay_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    run = OpenVinoEngine(1).compile(lower(random_network(1, 4, 0), 32, 48))
    image.flags.writeable = False
    first = run(image)
    kept = first.copy()
    assert not np.array_equal(run(image[::-1, ::-1]), kept)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(run(image), kept)


def test_more_than_8_bits_are_refused():
    network = random_network(1, 4, 0, 8)
    first = network.layers[0]
    assert isinstance(first, Convolution)
    wide = replace(first, weight=first.weight.astype(np.int16), weight_bits=16)
    for n in (random_network(1, 4, 0, 16), validate(IntegerNetwork(8, (wide, *network.layers[1:])))):
        with pytest.raises(EngineError, match="networks of 4 and 8 bits, this one has 16"):
            OpenVinoEngine(1).compile(lower(n, 16, 16))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"needs openvino: pip install '\.\[openvino\]' in a checkout"):
        OpenVinoEngine(1)


def test_importing_openvino_leaves_nothing_at_home_and_calls_nobody(tmp_path):
    program = """
import socket, sys
def refuse(*_, **__):
    raise SystemExit("asks the network")
socket.getaddrinfo = socket.socket.connect = refuse
from pleinair.engines.openvino import OpenVinoEngine
OpenVinoEngine(1)
assert "openvino" in sys.modules and not any(m.startswith("openvino_telemetry.") for m in sys.modules)
"""
    environment = {k: v for k, v in os.environ.items() if k != "CI"}
    python("-c", program, env=environment | {"HOME": str(tmp_path), "PYTHONPATH": PYTHONPATH}, cwd=ROOT, check=True)
    assert list(tmp_path.iterdir()) == []


def test_what_openvino_cannot_compile_is_one_sentence(monkeypatch):
    import openvino

    def fail(*_: Any) -> None:
        raise RuntimeError("Exception from plugin.cpp:54:\nbad combination\n\n")

    monkeypatch.setattr(openvino.Core, "compile_model", fail)
    with pytest.raises(EngineError, match=r"OpenVINO [\d.]+ \(int8\) cannot run here \(bad combination\)$"):
        OpenVinoEngine(1).compile(lower(random_network(1, 4, 0), 16, 16))
