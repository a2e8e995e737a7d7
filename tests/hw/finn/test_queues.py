"""Queues that lie in memory for a bitstream give, cycle by cycle, what the library's shift registers give.

Either queue is a block of its own in FINN's RTL. Both forms of it are cut out, stand side by side, are pushed and
drained at random, and must agree in every cycle.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from pleinair_hw.finn import patches
from pleinair_hw.simulate.verilator import Port, SimulationError, build
from tests.hw.finn.test_patches import LIBRARY, needs_finn

WIDTH = 24
#: Of each queue: its file, its block, how many words it holds, and what it needs around it.
QUEUES = {
    "weights": (
        "memstream/hdl/memstream.sv",
        "blkStreamOut",
        7,
        """\
	localparam int unsigned FULL_CREDIT = 8;
	typedef logic [23:0] data_t;
	wire Rs3 = push, ordy = ready;
	wire ovld; data_t odat;
	wire [23:0] Dat3 = offered;
	assign valid = ovld, word = odat;
""",
    ),
    "results": (
        "mvu/mvu_vvu_axi.sv",
        "blkOutput",
        9,
        """\
	localparam int unsigned PE = 3, ACCU_WIDTH = 8, VERSION = 1, SEGMENTLEN = 0, SIMD = 5;
	localparam int unsigned OUTPUT_STREAM_WIDTH = 24, OUTPUT_STREAM_WIDTH_BA = 24;
	wire ap_clk = clk, m_axis_output_tready = ready, ovld = push, idle;
	wire [23:0] odat = offered, m_axis_output_tdata;
	wire m_axis_output_tvalid;
	assign valid = m_axis_output_tvalid, word = m_axis_output_tdata;
""",
    ),
}
MODULE = """\
module @NAME@ (input clk, rst, push, ready, input [23:0] offered, output valid, output [23:0] word);
@DECLARATIONS@	@BLOCK@
endmodule
"""
BENCH = """\
module bench (
	input ap_clk, ap_rst_n,
	input [23:0] in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
	output [23:0] out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY
);
	wire clk = ap_clk, rst = !ap_rst_n, ready = out0_V_TREADY, valid;
	wire [23:0] offered = in0_V_TDATA, word;
	logic [4:0] held = 0;
	wire push = in0_V_TVALID && in0_V_TREADY, pop = out0_V_TVALID && out0_V_TREADY;
	assign in0_V_TREADY = ap_rst_n && held < @HOLDS@;
	always_ff @(posedge ap_clk) held <= rst? 0 : held + push - pop;
	theirs one (.clk, .rst, .push, .ready, .offered, .valid(out0_V_TVALID), .word(out0_V_TDATA));
	ours two (.clk, .rst, .push, .ready, .offered, .valid, .word);
	always_ff @(posedge ap_clk) if (ap_rst_n) begin
		if (valid != out0_V_TVALID) $error("one has a word, the other has none");
		if (valid && word != out0_V_TDATA) $error("the words differ");
	end
endmodule
"""


def block(text: str, name: str) -> str:
    """A named block of a module, with a condition that holds."""
    found = re.search(rf"begin : {name}\n.*?end : {name}$", text, re.M | re.S)
    assert found is not None
    return f"if(1) {found[0]}"


def simulator(tmp_path, queue: str, spoil=lambda text: text):
    path, name, holds, declarations = QUEUES[queue]
    texts = {"theirs": "simulation", "ours": "routing"}
    sources = []
    for kind, purpose in texts.items():
        whole = patches.patched_text(path, (LIBRARY / path).read_text(), purpose)
        part = block(whole, name)
        part = spoil(part) if kind == "ours" else part
        sources.append(tmp_path / f"{kind}.sv")
        sources[-1].write_text(
            MODULE.replace("@NAME@", kind).replace("@DECLARATIONS@", declarations).replace("@BLOCK@", part)
        )
    (tmp_path / "bench.sv").write_text(BENCH.replace("@HOLDS@", str(holds)))
    return build(
        "bench", [*sources, tmp_path / "bench.sv"], [Port("in0_V", WIDTH)], [Port("out0_V", WIDTH)], unique=True
    )


@needs_finn
@pytest.mark.parametrize("queue", QUEUES)
def test_both_forms_agree_in_every_cycle(tmp_path, queue):
    made = simulator(tmp_path, queue)
    words = np.random.default_rng(1).integers(0, 256, (3000, WIDTH // 8), dtype=np.uint8)
    for stall_in, stall_out in ((0, 0), (0, 80), (80, 0), (50, 50)):
        run = made.run([words], [len(words)], stall_in=stall_in, stall_out=stall_out, seed=stall_in + stall_out)
        assert run.stuck is None and np.array_equal(run.outputs[0][: len(words)], words)
    assert made.run([words], [len(words)], stall_out=60, seed=4, restart_at=500).stuck is None


@needs_finn
def test_a_wrong_ring_is_noticed(tmp_path):
    made = simulator(tmp_path, "weights", lambda text: text.replace("OHead - OPtr", "OHead - OPtr - 1"))
    words = np.random.default_rng(1).integers(0, 256, (300, WIDTH // 8), dtype=np.uint8)
    with pytest.raises(SimulationError, match="words differ"):
        made.run([words], [len(words)], stall_out=70, seed=1)
