"""Folding: rates are met, costs are those of the formulas, and what does not fit is said."""

from __future__ import annotations

import pytest

from pleinair.errors import OptionError
from pleinair.models import load_model
from pleinair.painting.tiles import round_up
from pleinair_hw.plan import resources
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.nodes import convert_cycles
from pleinair_hw.plan.plan import BUDGET, BuildOptions
from pleinair_hw.plan.search import (
    DoesNotFitError,
    fastest_plan,
    plan_for_cycles,
    plan_for_rate,
    plan_with_folding,
)
from tests.networks import random_network

SIZE = (round_up(480 + 80, 4), round_up(640 + 80, 4))


@pytest.fixture(scope="module")
def network():
    return random_network(1, width=8, blocks=2)


@pytest.mark.parametrize("board", sorted(BOARDS))
@pytest.mark.parametrize("target", [40_000, 400_000, 4_000_000])
def test_every_stage_meets_the_target(network, board, target):
    plan = plan_for_cycles(network, 96, 128, BOARDS[board], target)
    assert all(stage.cycles <= target for stage in plan.stages)
    assert plan.cycles == max(stage.cycles for stage in plan.stages)
    assert plan.fps == pytest.approx(BOARDS[board].clock_hz / plan.cycles)


def test_width_converters_take_longer_where_neither_width_divides_the_other():
    assert convert_cycles(1200, 1, 12) == convert_cycles(1200, 12, 1) == 1200
    assert convert_cycles(1200, 4, 12) == 300
    assert convert_cycles(1200, 4, 4) == 300
    assert convert_cycles(1200, 16, 12) == 1200 // 48 * (3 + 4 - 1)


def test_slower_is_cheaper(network):
    board = BOARDS["zcu104"]
    costs = [plan_for_cycles(network, 96, 128, board, target).total.dsp for target in (2**14, 2**16, 2**18, 2**20)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 8 * costs[-1]


def test_dsps_and_lanes_are_the_formulas(network):
    board = BOARDS["pynq-z2"]
    plan = plan_for_cycles(network, 96, 128, board, 300_000)
    total = busy = 0
    for stage in plan.stages:
        if stage.kind == "MVAU":
            product = plan.dataflow.operator(stage.operator)
            lanes = resources.lanes("DSP48E1", product.weight_bits, product.activation_bits)
            dsp = -(-stage.pe // lanes) * stage.simd
            total += dsp
            busy += dsp * lanes
            rows, outputs = product.weight.shape
            assert stage.cycles == product.output.pixels * rows * outputs // (stage.simd * stage.pe)
            assert rows // stage.simd >= 2  # one fold is where FINN's output queue was too short
    assert plan.total.dsp == total
    assert plan.lanes_busy == pytest.approx(plan.dataflow.macs / (busy * plan.cycles))


def test_no_stage_with_logic_is_free(network):
    for board in BOARDS.values():
        for stage in plan_for_cycles(network, 96, 128, board, 100_000).stages:
            assert stage.total.lut + stage.total.lutram > 0, stage.name


def test_memories_stay_within_what_the_board_has(network):
    for board in BOARDS.values():
        plan = plan_for_cycles(network, 96, 128, board, 400_000)
        assert all(plan.shares[kind] <= BUDGET[kind] for kind in BUDGET)
        if not board.uram:
            assert plan.total.uram == 0


@pytest.mark.parametrize(
    ("style", "board", "fps"),
    [("starry-night", "zcu104", 60), ("starry-night", "kv260", 30), ("starry-night-small", "pynq-z2", 10)],
)
def test_640x480_at_8_bits_reaches_its_rate_with_busy_lanes(style, board, fps):
    plan = plan_for_rate(load_model(style, 8).network, *SIZE, BOARDS[board], fps)
    assert plan.fps >= fps
    assert plan.lanes_busy >= 0.85
    assert not plan.over


def test_twice_the_clock_halves_the_dsps_and_reaches_20_on_the_small_board_at_4_bits():
    network = load_model("starry-night-small", 4).network
    board, pumped = BOARDS["pynq-z2"], BuildOptions(pumped=True)
    plan = plan_for_rate(network, *SIZE, board, 20, options=pumped)
    assert plan.fps >= 20 and not plan.over
    half = plan_for_cycles(network, *SIZE, board, 12_000_000, options=pumped)
    whole = plan_for_cycles(network, *SIZE, board, 12_000_000)
    assert half.total.dsp < 0.65 * whole.total.dsp
    assert half.lanes_busy == pytest.approx(half.dataflow.macs / (half.lanes * half.cycles))


def test_a_rate_beyond_the_board_is_refused_with_the_best_there_is(network):
    board = BOARDS["pynq-z2"]
    with pytest.raises(DoesNotFitError, match=r"fps 5000: does not fit pynq-z2 at 100 MHz: .*best that fits is ") as e:
        plan_for_rate(network, 96, 128, board, 5000)
    best = float(str(e.value).rsplit(" ", 1)[1])
    assert plan_for_rate(network, 96, 128, board, best * 0.99).fps >= best * 0.99
    assert fastest_plan(network, 96, 128, board).fps == pytest.approx(best, abs=0.01)


def test_a_network_that_never_fits_says_what_binds():
    network = load_model("starry-night", 16).network
    with pytest.raises(DoesNotFitError, match="pynq-z2: .*block RAM"):
        fastest_plan(network, 720 + 80, 1280 + 80, BOARDS["pynq-z2"])


def test_a_plans_own_folding_gives_the_same_plan(network):
    board = BOARDS["kv260"]
    plan = plan_for_cycles(network, 96, 128, board, 200_000)
    again = plan_with_folding(network, 96, 128, board, plan.folding, plan.forms)
    assert again.folding == plan.folding
    assert again.total == plan.total


def test_foldings_that_cannot_be_are_refused(network):
    board = BOARDS["kv260"]
    for given, message in (
        ({"nowhere.product": {"PE": 2}}, "no stage nowhere.product"),
        ({"enter.product": {"PE": 3}}, "PE 3 of enter.product does not divide 8"),
        ({"enter.product": {"ram_style": "ultra"}}, "ram_style ultra of enter.product: allowed are"),
        ({"enter.window": {"SIMD": 1, "parallel_window": 1}}, "parallel window needs SIMD 3"),
    ):
        with pytest.raises(OptionError, match=message):
            plan_with_folding(network, 96, 128, board, given, {})


def test_fifos_replace_those_that_were_planned(network):
    plan = plan_for_cycles(network, 96, 128, BOARDS["zcu104"], 200_000)
    skips = {s.name for s in plan.stages if s.name.endswith(".skip.fifo")}
    assert skips == {"block1.conv1.fork.skip.fifo", "block2.conv1.fork.skip.fifo"}
    sized = plan.with_fifos({"block1.conv1.fork.skip": 900, "enter.product": 40, "down1.window": 2})
    found = {s.name: s.depth for s in sized.stages if s.kind == "StreamingFIFO"}
    assert found == {"block1.conv1.fork.skip.fifo": 900, "enter.product.fifo": 40}
    assert sized.cycles == plan.cycles


def test_products_have_the_next_window_waiting(network):
    """A product that replays its window for several groups of outputs takes nothing in meanwhile."""
    plan = plan_for_cycles(network, 400, 400, BOARDS["zcu104"], 4_000_000)
    order = [s for s in plan.stages if s.kind != "StreamingFIFO"]
    depths = {s.name.removesuffix(".fifo"): s.depth for s in plan.stages if s.kind == "StreamingFIFO"}
    waiting = 0
    for before, stage in zip(order, order[1:], strict=False):
        if stage.kind == "MVAU" and before.kind == "StreamingDataWidthConverter":
            rows, outputs = plan.dataflow.operator(stage.operator).weight.shape
            if outputs > stage.pe:
                assert depths[before.name] >= rows // stage.simd
                waiting += 1
    assert waiting >= 6


def test_low_frames_have_rows_waiting_before_borders(network):
    def before_borders(height):
        plan = plan_for_cycles(network, height, 128, BOARDS["zcu104"], 4_000_000)
        order = [s for s in plan.stages if s.kind != "StreamingFIFO"]
        makers = {a.name for a, b in zip(order, order[1:], strict=False) if b.kind == "FMPadding"}
        return makers & {s.name.removesuffix(".fifo") for s in plan.stages if s.kind == "StreamingFIFO"}

    assert len(before_borders(96)) == sum(1 for c in network.convolutions()) - 1
    assert not before_borders(560)
