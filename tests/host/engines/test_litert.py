"""Programs in LiteRT: the reference's pixels, and XNNPACK for every operator, on which that rests."""

from __future__ import annotations

import sys
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from pleinair.engines import litert as litert_engine
from pleinair.engines.exact import check_image, worst_case
from pleinair.engines.litert import LitertEngine, build
from pleinair.engines.lowering import Convolve, Double, Join, Program, Unblock, View, lower
from pleinair.errors import EngineError
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, validate
from pleinair.painting.tiles import Window
from tests.children import python
from tests.house import ROOT
from tests.networks import random_network

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")


def differing(network: IntegerNetwork, image: np.ndarray, window: Window | None = None, threads: int = 1) -> int:
    window = window or Window(0, 0, *image.shape[:2])
    program = lower(network, *image.shape[:2], window)
    painted = LitertEngine(threads).compile(program)(program.reads.of(image))
    assert painted.dtype == np.uint8 and painted.shape == program.paints.shape
    return int((window.within(program.paints).of(painted) != window.of(reference.run(network, image))).sum())


def kinds(program: Program) -> set[type]:
    return {type(o) for o in program.operations}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("width", "blocks", "kernel"), [(1, 1, 5), (5, 2, 7), (8, 1, 9)])
def test_random_networks_equal_the_reference(width, blocks, kernel, bits):
    network = random_network(width, width, blocks, bits, kernel)
    image = np.random.default_rng(width).integers(0, 256, (48, 56, 3), dtype=np.uint8)
    assert len(np.unique(reference.run(network, image))) > 20
    for threads, window in enumerate((None, Window(20, 24, 41, 53), Window(0, 16, 32, 56))):
        assert differing(network, image, window, threads) == 0
    assert differing(worst_case(network), check_image(48)) == 0


@pytest.mark.parametrize("bits", [4, 8])
def test_shipped_networks_equal_the_reference_in_a_window(bits):
    network = load_model("starry-night-board", bits).network
    window = Window(40, 40, 57, 69)
    program = lower(network, 96, 112, window)
    # All kinds of operations are among those of one or the other, and padded convolutions, too.
    assert kinds(program) >= {View, Join, Unblock} | ({Double} if bits == 8 else set())
    assert any(any(o.pads) for o in lower(network, 96, 112).operations if isinstance(o, Convolve))
    image = np.random.default_rng(bits).integers(0, 256, (96, 112, 3), dtype=np.uint8)
    for asked in (window, None):
        assert differing(network, image, asked, 2) == 0
    assert differing(worst_case(network), check_image(48)) == 0


@pytest.mark.parametrize(("halves", "black"), [(1, [0, 0, 1]), (3, [1, 2, 2])])
@pytest.mark.parametrize("shift", [1, 2, 7, 8, 16, 22])
def test_ties_go_to_even_and_no_unit_beside_a_tie_is_lost(shift, halves, black):
    """Up to the contract's greatest sums. Black gives a tie, with a unit less before it and a unit more after it."""
    half = (1 << shift) // 2
    weight = np.zeros((3, 3, 1, 1), np.int8)
    weight[:, 0] = min(127, half)
    bias = halves * half + np.array([-1, 0, 1])
    network = validate(IntegerNetwork(8, (Convolution("c", weight, bias, np.full(3, shift), 1, 8, 8),)))
    greys = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert reference.run(network, greys)[0, 0].tolist() == black
    assert differing(network, greys) == 0


def on_xnnpack(program: Program, without: bool = False) -> tuple[bool, np.ndarray]:
    """Whether one delegate goes from the graph's input to its output; and what white is painted as.

    All ways from input to output are the delegate's then, or it would have to wait for itself.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if without else OpResolverType.AUTO
    interpreter = Interpreter(model_content=build(program), num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    pixels = program.reads.of(check_image())
    interpreter.set_tensor(source["index"], (pixels ^ 128).view(np.int8)[None])
    interpreter.invoke()
    painted = (interpreter.get_tensor(result["index"]).view(np.uint8) ^ 128).reshape(program.paints.shape)
    delegates = [o for o in interpreter._get_ops_details() if o["op_name"] == "DELEGATE"]
    whole = [o for o in delegates if source["index"] in o["inputs"] and result["index"] in o["outputs"]]
    return len(whole) == len(delegates) == 1, painted


@pytest.mark.parametrize("bits", [4, 8])
def test_all_is_xnnpacks_and_without_it_the_comparison_fails(bits):
    network = load_model("starry-night-small", bits).network
    wanted = reference.run(network, check_image())
    program = lower(network, 64, 64)
    whole, painted = on_xnnpack(program)
    assert whole
    np.testing.assert_array_equal(painted, wanted)
    whole, painted = on_xnnpack(program, without=True)
    # TensorFlow Lite's own kernels round half up.
    assert not whole and (painted != wanted).any()


def test_a_painting_is_the_callers_own_and_the_pixels_stay_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    run = LitertEngine(1).compile(lower(random_network(1, 4, 0), 32, 48))
    image.flags.writeable = False
    first = run(image)
    kept = first.copy()
    assert not np.array_equal(run(image[::-1, ::-1]), kept)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(run(image), kept)


def test_threads_may_share_what_was_compiled():
    network = random_network(1, 4, 1)
    images = [np.random.default_rng(i).integers(0, 256, (32, 48, 3), dtype=np.uint8) for i in range(4)]
    run = LitertEngine(1).compile(lower(network, 32, 48))
    wrong: list[int] = []

    def paint(image: np.ndarray, wanted: np.ndarray) -> None:
        wrong.extend(int((run(image) != wanted).sum()) for _ in range(50))

    workers = [Thread(target=paint, args=(i, reference.run(network, i))) for i in images]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == [0] * 200


_TALKATIVE = """
import os
from pleinair.engines.litert import LitertEngine, _quiet
from pleinair.engines.lowering import lower
from tests.networks import random_network
LitertEngine(1).compile(lower(random_network(1, 4, 0), 16, 16))
with _quiet():
    os.write(2, b"INFO: chatter\\nERROR: kept\\n")
os.write(2, b"INFO: ours\\n")
"""


def test_litert_says_nothing_where_nothing_is_wrong():
    run = python("-c", _TALKATIVE, cwd=ROOT, check=True)
    assert run.stderr == "ERROR: kept\nINFO: ours\n"


def test_more_than_8_bits_are_refused():
    network = random_network(1, 4, 0, 8)
    first = network.layers[0]
    assert isinstance(first, Convolution)
    wide = replace(first, weight=first.weight.astype(np.int16), weight_bits=16)
    for n in (random_network(1, 4, 0, 16), validate(IntegerNetwork(8, (wide, *network.layers[1:])))):
        with pytest.raises(EngineError, match="networks of up to 8 bits"):
            LitertEngine(1).compile(lower(n, 16, 16))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(EngineError, match=r"needs ai-edge-litert: pip install '\.\[litert\]' in a checkout"):
        litert_engine.LitertEngine(1)
