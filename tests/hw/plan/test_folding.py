"""Folding: every stage meets the target with the fewest lanes, and costs are those of the formulas."""

from __future__ import annotations

import pytest

from pleinair.errors import OptionError
from pleinair_hw.plan import resources
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.search import plan_for_cycles, plan_with_folding
from tests.networks import adaptive_network, random_network


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


def test_lanes_that_cannot_be_are_refused(network):
    board = BOARDS["kv260"]
    for given, message in (
        ({"enter.product": {"PE": 3}}, "PE 3 of enter.product does not divide 8"),
        ({"enter.window": {"SIMD": 1, "parallel_window": 1}}, "parallel window needs SIMD 3"),
    ):
        with pytest.raises(OptionError, match=message):
            plan_with_folding(network, 96, 128, board, given, {})


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


@pytest.mark.parametrize("target", [200_000, 1_000_000])
def test_what_waits_behind_blocks_lasts_while_their_upper_rows_come_in(target):
    plan = plan_for_cycles(adaptive_network(1, width=4), 96, 128, BOARDS["zcu104"], target)
    depths = {s.name: s.depth for s in plan.stages if s.kind == "StreamingFIFO"}
    (blocks,) = [s for s in plan.stages if s.kind == "SpaceToDepth"]
    # Three rows of 128 pixels come in while the slowest stage takes its share of a row of 32 blocks of 48 values.
    silent = 3 * 128 * 3 // blocks.pe
    taken = silent / (plan.cycles / 24) * (32 * 48 // blocks.pe)
    assert taken <= depths["enter.blocks.fifo"] <= 1.2 * taken + 17


def test_low_frames_have_rows_waiting_before_borders(network):
    def before_borders(height):
        plan = plan_for_cycles(network, height, 128, BOARDS["zcu104"], 4_000_000)
        order = [s for s in plan.stages if s.kind != "StreamingFIFO"]
        makers = {a.name for a, b in zip(order, order[1:], strict=False) if b.kind == "FMPadding"}
        return makers & {s.name.removesuffix(".fifo") for s in plan.stages if s.kind == "StreamingFIFO"}

    assert len(before_borders(96)) == sum(1 for c in network.convolutions()) - 1
    assert not before_borders(560)
