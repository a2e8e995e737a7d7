"""Plans beside what place and route gave: rows that record_routed.py noted (routed.json)."""

from __future__ import annotations

import json

import pytest

from tests.hw.open.record_routed import CONFIGURATIONS, FILE, plan_of

ROWS = json.loads(FILE.read_text())
#: What the shell takes by itself after synthesis (docs/bitstream.md), in place of what plans allow for it.
SHELL = {"lut": 1378, "dsp": 0, "bram18": 0}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row["configuration"])))
def test_a_plan_expects_what_was_routed(row):
    assert tuple(row["configuration"]) in CONFIGURATIONS
    plan = plan_of(row["configuration"])
    stages = {kind: sum(getattr(stage.total, kind) for stage in plan.stages) for kind in SHELL}
    synthesised, routed = row["synthesised"], row["routed"]
    assert stages["dsp"] == synthesised["dsp"] == routed["dsp"]
    assert stages["bram18"] == routed["ramb18"] + 2 * routed["ramb36"]
    assert synthesised["ff"] == routed["ff"]
    expected = stages["lut"] + SHELL["lut"]
    found = synthesised["lut"] + synthesised["lutram"] + synthesised["srl"]
    assert abs(found / expected - 1) < 0.1, f"{found} LUTs where the plan and the shell have {expected}"
    # Place and route add tables that only pass a signal on into carry chains.
    assert found < routed["lut_sites"] < 1.5 * found
    assert row["clock_mhz"] <= row["fmax_mhz"] * 0.85 and row["untimed"] == []
