"""The shell's own clock: placed and routed around an accelerator that is a queue, where the open tools are."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.open import tools
from pleinair_hw.open.place import place
from pleinair_hw.open.steps import Limits
from pleinair_hw.open.synthesis import find_yosys, synthesise
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.shell.write import write_shell
from pleinair_hw.stitch.manifest import Manifest, Port, file_digest

QUEUE = (
    """module accelerator (input ap_clk, input ap_rst_n,
 input [23:0] in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
 output [23:0] out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY);
 dma_queue #(.W(24), .DEPTH(32)) q (.ap_clk, .ap_rst_n, .push(in0_V_TVALID && in0_V_TREADY), """
    """.in_data(~in0_V_TDATA), .out_data(out0_V_TDATA), .out_valid(out0_V_TVALID), .out_ready(out0_V_TREADY));
 logic [5:0] n; logic room; assign in0_V_TREADY = room;
 always_ff @(posedge ap_clk) begin
  room <= n < 28;
  n <= n + (in0_V_TVALID && in0_V_TREADY) - (out0_V_TVALID && out0_V_TREADY);
  if(!ap_rst_n) begin n <= 0; room <= 0; end
 end
endmodule
"""
)


@pytest.mark.rtl
def test_the_shell_is_faster_than_accelerators_are(tmp_path: Path):
    """Frames of 704x544, for the Pynq-Z2's chip, the processing system's ports timed: above 120 MHz."""
    board = BOARDS["pynq-z2"]
    try:
        found = tools.require(tools.search(board))
    except ToolchainError as error:
        pytest.skip(str(error))
    if find_yosys() is None:
        pytest.skip("no Yosys is installed")
    folder = tmp_path / "rtl"
    folder.mkdir()
    (folder / "accelerator.sv").write_text(QUEUE)
    ends = [Port(name, 24, 3, 8, False, (544, 704, 3)) for name in ("in0_V", "out0_V")]
    files = {"accelerator.sv": file_digest(folder / "accelerator.sv")}
    Manifest("accelerator", "synthesis", ("accelerator.sv",), (), (ends[0],), (ends[1],), (), (), (), files).write(
        folder
    )
    shell = write_shell(folder, tmp_path / "shell")
    assert shell.top is not None
    limits = Limits(3600, 8 << 30)
    netlist = synthesise(shell.sources, shell.data, shell.top, tmp_path / "synthesis.log", limits)
    routed = place(netlist, found, board.part, 150.0, 1, tmp_path / "route.log", limits)
    print(f"{routed.figures.fmax_mhz:.1f} MHz")
    assert routed.figures.fmax_mhz > 120
