"""FINN over our plans: its hardware graph computes the reference's integers after every step, and all of it is RTL."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from pleinair.models import load_model
from pleinair.network import reference
from pleinair_hw.finn.compiler import CompileError, compile_plan, run_graph
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.search import plan_for_cycles
from tests.hw.finn.test_environment import needs_finn
from tests.hw.plan.test_dataflow import all_forms, synthetic_frames
from tests.networks import adaptive_network, random_network, without_norms

pytestmark = needs_finn

STEPS = ["graph", "convert to hardware layers", "partition", "specialise", "fold", "connect", "generate HDL"]


@pytest.fixture(autouse=True)
def quiet():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def check(network, frame, plan, folder, exact_from=0):
    """Compile and compare after every step; the finished graph."""
    inset = plan.dataflow.inset
    expected = reference.run(network, frame)[inset : frame.shape[0] - inset, inset : frame.shape[1] - inset]
    seen = []

    def watch(step, model):
        seen.append(step)
        if STEPS.index(step) >= exact_from:
            differing = int(np.count_nonzero(run_graph(model, frame) != expected))
            assert differing == 0, f"{differing} of {expected.size} values differ after: {step}"

    model = compile_plan(plan, folder, watch)
    assert seen == STEPS
    return model


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_random_networks_after_every_step(bits, form, tmp_path):
    seed = 10 * bits + form
    network = random_network(seed, width=4, blocks=1, bits=bits)
    frame = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    board = list(BOARDS.values())[form]
    plan = plan_for_cycles(network, 16, 24, board, 9000, forms=all_forms(network)[form])
    # Before its products are hardware layers, qonnx runs them in float32, which 16 bits exceed.
    check(network, frame, plan, tmp_path, exact_from=1 if bits == 16 else 0)


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_space_to_depth_and_back_after_every_step(bits, form, tmp_path):
    seed = 10 * bits + form
    network = without_norms(adaptive_network(seed, width=4, blocks=1, bits=bits))
    frame = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    board = list(BOARDS.values())[form]
    plan = plan_for_cycles(network, 16, 24, board, 9000, forms=all_forms(network)[form])
    kinds = {s.kind for s in plan.stages}
    assert {"SpaceToDepth", "PixelShuffle"} <= kinds
    check(network, frame, plan, tmp_path, exact_from=1 if bits == 16 else 0)


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_adaptive_networks_after_every_step(bits, form, tmp_path):
    """In the light that they hold; each adaptive convolution becomes a station."""
    seed = 10 * bits + form
    network = adaptive_network(seed, width=2, blocks=1, bits=bits)
    frame = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    plan = plan_for_cycles(network, 16, 24, list(BOARDS.values())[form], 9000, forms=all_forms(network)[form])
    model = check(network, frame, plan, tmp_path, exact_from=1 if bits == 16 else 0)
    stations = [node for node in model.graph.node if node.op_type == "RequantLight_rtl"]
    assert len(stations) == sum(c.norm is not None for c in network.convolutions())


@pytest.mark.parametrize(("cycles", "whole"), [(9000, False), (120, True)])
def test_centred_blocks_after_every_step(cycles, whole, tmp_path):
    """Windows that come in words, and whole ones."""
    network = adaptive_network(5, width=2, blocks=2)
    frame = np.random.default_rng(5).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    plan = plan_for_cycles(network, 16, 24, BOARDS["zcu104"], cycles, forms=all_forms(network)[3])
    centres = [s for s in plan.stages if s.kind == "WindowCentre"]
    assert [s.parallel_window for s in centres] == [whole, whole]
    check(network, frame, plan, tmp_path)


@pytest.mark.parametrize("form", [0, 1, 2, 3])
def test_trimmed_networks_after_every_step(form, tmp_path):
    """Nothing pads; what is past a block is trimmed, before its windows or behind them."""
    network = adaptive_network(7 + form, width=2, blocks=1, bits=(8, 4, 16, 8)[form])
    frame = np.random.default_rng(form).integers(0, 256, (60, 56, 3), dtype=np.uint8)
    plan = plan_for_cycles(
        network,
        60,
        56,
        list(BOARDS.values())[form],
        9000,
        forms=all_forms(network)[form],
        options=BuildOptions(trimmed=True),
    )
    kinds = [s.kind for s in plan.stages]
    assert kinds.count("TrimBorder") == 1 and "FMPadding" not in kinds
    check(network, frame, plan, tmp_path, exact_from=1 if network.bits == 16 else 0)


@pytest.mark.parametrize(("style", "bits"), [("starry-night-small", 8), ("starry-night-board", 4)])
def test_shipped_networks_after_every_step(style, bits, tmp_path):
    network = load_model(style, bits).network
    frame = next(iter(synthetic_frames(1, 48, 64)))
    plan = plan_for_cycles(network, 48, 64, BOARDS["zcu104"], 60_000)
    assert set(plan.forms.values()) == {"direct", "taps", "phases"}
    check(network, frame, plan, tmp_path)


@pytest.mark.parametrize("board", sorted(BOARDS))
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_hdl_without_a_node_of_hls_on_every_board(board, bits, tmp_path):
    network = random_network(bits, width=4, blocks=1, bits=bits)
    plan = plan_for_cycles(network, 16, 16, BOARDS[board], 4000)
    model = compile_plan(plan, tmp_path)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds and all(kind.endswith("_rtl") for kind in kinds)
    assert {s.name.replace(".", "_") for s in plan.stages} == {node.name for node in model.graph.node}
    for node in model.graph.node:
        folder = next(a.s.decode() for a in node.attribute if a.name == "code_gen_dir_ipgen")
        assert list((tmp_path / folder).glob("*.v")) or list((tmp_path / folder).glob("*.sv")), node.name


def test_a_plan_that_finn_sees_otherwise_is_refused(tmp_path):
    network = random_network(1, width=4, blocks=1)
    plan = plan_for_cycles(network, 16, 16, BOARDS["zcu104"], 4000)
    from dataclasses import replace

    stages = tuple(replace(s, cycles=s.cycles + 1) if s.name == "enter.product" else s for s in plan.stages)
    with pytest.raises(CompileError, match=r"stage enter\.product: FINN expects \d+ cycles a frame, planned are"):
        compile_plan(replace(plan, stages=stages), tmp_path)
