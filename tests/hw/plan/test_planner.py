"""The planner that comparisons ask: its answers are those of the searches themselves."""

from __future__ import annotations

import pytest

from pleinair.errors import OptionError
from pleinair.models import load_model
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.planner import Planner
from pleinair_hw.plan.search import fastest_plan, plan_for_rate
from tests.models import write_model
from tests.networks import random_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "tiny", random_network(7, width=4, blocks=1, kernel=3), 5)


def test_boards_are_those_of_the_table():
    planner = Planner()
    assert planner.titles() == {name: board.title for name, board in BOARDS.items()}
    board = planner.board("ZCU104")
    assert (board.name, board.title, board.dsp) == ("zcu104", "AMD ZCU104", 1728)
    with pytest.raises(OptionError, match="arty"):
        planner.board("arty")


def test_the_fastest_plans_are_the_searchs(folder):
    network = load_model(str(folder), 8).network
    told: list[tuple[int, int]] = []
    rows = Planner().fastest(str(folder), ["kv260", "pynq-z2"], (48, 32), (4, 8), lambda *n: told.append(n))
    assert [(row.board.name, row.bits) for row in rows] == [("kv260", 8), ("pynq-z2", 8)]
    assert told == [(1, 2), (2, 2)]
    for row in rows:
        plan = fastest_plan(network, 44, 60, BOARDS[row.board.name])  # with five pixels around, in multiples of 4
        assert (row.fps, row.clock_hz, row.dsp) == (plan.fps, plan.clock_hz, plan.total.dsp)
        assert row.lut == plan.total.lut + plan.total.lutram
        assert (row.bram18, row.uram) == (plan.total.bram18, plan.total.uram)


def test_a_plan_at_a_rate_is_the_cheapest_and_none_where_nothing_is_that_fast(folder):
    planner, model = Planner(), load_model(str(folder), 8)
    board = planner.board("pynq-z2")
    found = planner.at_rate(model, (48, 32), board, 500)
    plan = plan_for_rate(model.network, 44, 60, BOARDS["pynq-z2"], 500)
    assert found is not None and (found.fps, found.dsp) == (plan.fps, plan.total.dsp) and found.bits == 8
    assert planner.at_rate(model, (48, 32), board, 1e6) is None
