"""The search for plans: rates are reached, none that is faster fits, and what does not fit is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pleinair.errors import OptionError
from pleinair.models import load_model
from pleinair.painting.tiles import round_up
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.search import (
    DoesNotFitError,
    binding,
    centred,
    choose_forms,
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


@pytest.mark.parametrize(
    ("style", "board", "fps"),
    [("starry-night-board", "zcu104", 60), ("starry-night-board", "kv260", 30), ("starry-night-small", "pynq-z2", 10)],
)
def test_640x480_at_8_bits_reaches_its_rate_with_busy_lanes(style, board, fps):
    plan = plan_for_rate(load_model(style, 8).network, *SIZE, BOARDS[board], fps)
    assert plan.fps >= fps
    assert plan.lanes_busy >= 0.85
    assert not plan.over


def test_blocks_are_centred_where_memories_bind_and_the_rest_is_as_fast(network):
    """The FIFO past a block holds one row in place of two, and the plan is emptier; where it fits nothing changes."""
    roomy = plan_for_cycles(network, 96, 128, BOARDS["kv260"], 300_000)
    assert not roomy.over and "centred" not in roomy.forms.values()
    poor = replace(BOARDS["pynq-z2"], bram36=14, lut=60_000, lutram=6_000)
    forms = choose_forms(network, 96, 512, poor, 1_200_000) | {"block1.conv1": "direct", "block2.conv1": "direct"}
    wide = plan_for_cycles(network, 96, 512, poor, 1_200_000, forms=forms)
    plan = plan_for_cycles(network, 96, 512, poor, 1_200_000)
    assert {name for name, form in plan.forms.items() if form == "centred"} == {"block1.conv1", "block2.conv1"}
    assert centred(network, forms) == {**forms, "block1.conv1": "centred", "block2.conv1": "centred"}
    assert plan.fullest < wide.fullest and "bram" in wide.over and plan.cycles <= 1_200_000
    past = [s for s in plan.stages if s.name == "block1.conv1.centre.fifo"]
    before = [s for s in wide.stages if s.name == "block1.conv1.fork.skip.fifo"]
    row = past[0].depth * past[0].pe / plan.dataflow.operator("block1.conv1.centre").output.channels
    assert len(past) == len(before) == 1 and 1 < row / 128 < 1.25
    assert past[0].depth * past[0].pe < 0.6 * before[0].depth * before[0].pe
    for name in ("block1.conv1.fork", "block1.conv1.centre"):
        window, stage = plan.stage("block1.conv1.window"), plan.stage(name)
        assert stage.out_width == window.out_width and stage.cycles <= window.cycles


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
    network = load_model("starry-night-board", 16).network
    with pytest.raises(DoesNotFitError, match="pynq-z2: .*block RAM"):
        fastest_plan(network, 720 + 80, 1280 + 80, BOARDS["pynq-z2"])


def test_a_plans_own_folding_gives_the_same_plan(network):
    board = BOARDS["kv260"]
    plan = plan_for_cycles(network, 96, 128, board, 200_000)
    again = plan_with_folding(network, 96, 128, board, plan.folding, plan.forms)
    assert again.folding == plan.folding
    assert again.total == plan.total


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_no_plan_is_noticeably_faster_than_the_fastest(network, board):
    best = fastest_plan(network, 64, 64, BOARDS[board])
    assert not best.over
    for share in (0.97, 0.94, 0.9, 0.8, 0.6):
        faster = plan_for_cycles(network, 64, 64, BOARDS[board], int(best.cycles * share))
        assert faster.over or faster.cycles > best.cycles * share, share


def test_no_other_form_of_one_convolution_is_cheaper():
    """Of the whole plan's DSPs and tables, with every other convolution in the form that was chosen."""
    network, board, target = random_network(1, width=8, blocks=1), BOARDS["zcu104"], 60_000
    chosen = choose_forms(network, 64, 64, board, target)
    assert set(chosen) == {c.name for c in network.convolutions()}

    def cost(forms):
        plan = plan_for_cycles(network, 64, 64, board, target, forms=forms)
        assert plan.cycles <= target
        return plan.shares["dsp"] + plan.shares["lut"] + plan.shares["bram"]

    least = cost(chosen)
    others = {"enter": "taps", "up1": "phases", "up2": "phases", "leave": "taps", "block1.conv1": "taps"}
    for name, form in others.items():
        other = "direct" if chosen[name] == form else form
        # Neighbours differ in width converters, which the choice does not see.
        assert cost({**chosen, name: other}) >= 0.97 * least, (name, other)


def test_foldings_of_unknown_stages_and_styles_are_refused(network):
    for given, message in (
        ({"nowhere.product": {"PE": 2}}, "folding is refused: no stage nowhere.product; there are "),
        (
            {"enter.product": {"ram_style": "ultra"}},
            "ram_style ultra of enter.product: allowed are distributed, block$",
        ),
    ):
        with pytest.raises(OptionError, match=message):
            plan_with_folding(network, 96, 128, BOARDS["kv260"], given, {})


def test_what_binds_is_what_is_over(network):
    over = plan_for_cycles(network, 96, 128, BOARDS["pynq-z2"], 20_000)
    assert f"DSPs at {over.total.dsp / 220:.0%} of the board (of which 100% may be used)" in binding(over)
    fits = plan_for_cycles(network, 96, 128, BOARDS["zcu104"], 4_000_000)
    assert "of the board" not in binding(fits)
