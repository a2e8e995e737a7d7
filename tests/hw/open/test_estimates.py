"""Plans beside what place and route gave: rows that record_routed.py noted (routed.json)."""

from __future__ import annotations

import json
import statistics
from functools import cache

import pytest

from pleinair_hw.plan.resources import Resources
from pleinair_hw.plan.survey import ROUTED
from tests.hw.open.record_routed import CONFIGURATIONS, plan_of

ROWS = json.loads(ROUTED.read_text())
#: Networks that narrow some hundred bits to a fifth, which a plan counts too large, by up to which share.
NARROWING = {(13, 4, 4, 1, 5, 16, 4000): 0.12, (14, 4, 8, 1, 5, 16, 4000): 0.19}


@cache
def planned(configuration: tuple[object, ...]) -> Resources:
    """What today's plan expects, its shell with it."""
    return plan_of(configuration).total


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row["configuration"])))
def test_a_plan_expects_what_was_routed(row):
    configuration = tuple(row["configuration"])
    assert configuration in CONFIGURATIONS
    plan, synthesised, routed = planned(configuration), row["synthesised"], row["routed"]
    assert plan.dsp == synthesised["dsp"] == routed["dsp"]
    assert plan.bram18 == routed["ramb18"] + 2 * routed["ramb36"]
    assert synthesised["ff"] == routed["ff"]
    least = 1 - NARROWING.get(configuration, 0.1)
    assert least < routed["lut_sites"] / plan.total_lut < 1.1, f"{routed['lut_sites']} LUT sites, {plan} planned"
    assert abs(routed["ff"] / plan.ff - 1) < 0.3, f"{routed['ff']} flip-flops, {plan} planned"
    # Place and route add tables that invert a signal or pass it on into carry chains.
    found = synthesised["lut"] + synthesised["lutram"] + synthesised["srl"]
    assert found < routed["lut_sites"] < 1.5 * found
    assert row["clock_mhz"] <= row["fmax_mhz"] * 0.85
    assert row["untimed"] == [] and row["fmax_mhz"] <= row["placer_mhz"]


def test_half_of_all_plans_expect_the_tables_to_a_tenth():
    errors = [row["routed"]["lut_sites"] / planned(tuple(row["configuration"])).total_lut - 1 for row in ROWS]
    print("tables, routed against planned:", ", ".join(f"{error:+.1%}" for error in sorted(errors)))
    assert statistics.median(map(abs, errors)) <= 0.1
