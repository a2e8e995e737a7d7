"""Window buffers whose counters are kept as differences, and whose steps in registers, do what FINN's own do.

Both forms of a window buffer that FINN generates stand side by side, get and give pixels at random, and must agree in
every cycle.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.finn import patches
from pleinair_hw.simulate.verilator import Port, SimulationError, build
from tests.hw.finn.test_patches import LIBRARY, needs_finn

TEMPLATE = "swg/swg_template_default.sv"
BITS = 8
#: Kernel, frame, channels, stride, and whether channels stay apart: each as (rows, columns).
WINDOWS = {
    "3x3": ((3, 3), (7, 9), 4, (1, 1), 0),
    "a column": ((9, 1), (13, 6), 3, (1, 1), 0),
    "two apart": ((3, 3), (8, 10), 2, (2, 2), 0),
    "channels apart": ((3, 3), (6, 7), 4, (1, 1), 1),
}
BENCH = """\
module bench (
	input ap_clk, ap_rst_n,
	input [7:0] in0_V_TDATA, input in0_V_TVALID, output in0_V_TREADY,
	output [7:0] out0_V_TDATA, output out0_V_TVALID, input out0_V_TREADY
);
	wire ready, valid;
	wire [7:0] data;
	theirs_impl #(.BIT_WIDTH(8), .SIMD(1), .MMV_IN(1), .MMV_OUT(1)) one (
		.ap_clk, .ap_rst_n, .in0_V_V_TDATA(in0_V_TDATA), .in0_V_V_TVALID(in0_V_TVALID), .in0_V_V_TREADY(in0_V_TREADY),
		.out_V_V_TDATA(out0_V_TDATA), .out_V_V_TVALID(out0_V_TVALID), .out_V_V_TREADY(out0_V_TREADY)
	);
	ours_impl #(.BIT_WIDTH(8), .SIMD(1), .MMV_IN(1), .MMV_OUT(1)) two (
		.ap_clk, .ap_rst_n, .in0_V_V_TDATA(in0_V_TDATA), .in0_V_V_TVALID(in0_V_TVALID), .in0_V_V_TREADY(ready),
		.out_V_V_TDATA(data), .out_V_V_TVALID(valid), .out_V_V_TREADY(out0_V_TREADY)
	);
	always_ff @(posedge ap_clk) if (ap_rst_n) begin
		if (ready != in0_V_TREADY) $error("one takes a pixel, the other does not");
		if (valid != out0_V_TVALID) $error("one gives a pixel, the other does not");
		if (valid && data != out0_V_TDATA) $error("the pixels differ");
	end
endmodule
"""


def simulator(tmp_path: Path, name: str, spoil=lambda text: text):
    """Both forms of a window buffer side by side, and how many pixels go in and come out of each frame."""
    from onnx import helper
    from qonnx.custom_op.registry import getCustomOp

    from pleinair_hw.finn.environment import prepare

    prepare(tmp_path / "finn", workers=1)
    kernel, frame, channels, stride, apart = WINDOWS[name]
    places = [(n - k) // s + 1 for n, k, s in zip(frame, kernel, stride, strict=True)]
    node = helper.make_node(
        "ConvolutionInputGenerator_rtl",
        ["in"],
        ["out"],
        domain="finn.custom_op.fpgadataflow.rtl",
        backend="fpgadataflow",
        ConvKernelDim=kernel,
        IFMChannels=channels,
        IFMDim=frame,
        OFMDim=places,
        SIMD=1,
        Stride=stride,
        Dilation=(1, 1),
        inputDataType=f"UINT{BITS}",
        outputDataType=f"UINT{BITS}",
        depthwise=apart,
    )
    _, values = getCustomOp(node).prepare_codegen_default()
    common = LIBRARY / "swg/swg_common.sv"
    controller = re.search(
        r"^module swg_controller\b.*?^endmodule", patches.register_increment(common.read_text()), re.M | re.S
    )
    assert controller is not None
    (tmp_path / "our_controller.sv").write_text(
        spoil(controller[0]).replace("module swg_controller", "module our_controller")
    )
    sources = [LIBRARY / "swg/swg_pkg.sv", common, tmp_path / "our_controller.sv"]
    for kind in ("theirs", "ours"):
        text = (LIBRARY / TEMPLATE).read_text()
        if kind == "ours":
            text = spoil(patches.keep_differences(text)).replace("swg_controller #", "our_controller #")
        for key, lines in {**values, "$TOP_MODULE_NAME$": [kind], "$RAM_STYLE$": ['"auto"']}.items():
            text = text.replace(key, "\n".join(lines))
        sources.append(tmp_path / f"{kind}.sv")
        sources[-1].write_text(text)
    (tmp_path / "bench.sv").write_text(BENCH)
    ports = [Port("in0_V", BITS)], [Port("out0_V", BITS)]
    made = build("bench", [*sources, tmp_path / "bench.sv"], *ports, unique=True)
    count = kernel[0] * kernel[1] * channels * places[0] * places[1]
    return made, frame[0] * frame[1] * channels, count


@needs_finn
@pytest.mark.parametrize("name", WINDOWS)
def test_both_forms_agree_in_every_cycle(tmp_path, name):
    made, pixels, windows = simulator(tmp_path, name)
    frames = 4
    words = np.random.default_rng(1).integers(0, 256, (frames * pixels, 1), dtype=np.uint8)
    for stall_in, stall_out in ((0, 0), (0, 70), (70, 0), (40, 40)):
        run = made.run([words], [frames * windows], stall_in=stall_in, stall_out=stall_out, seed=stall_in)
        assert run.stuck is None and len(run.outputs[0]) == frames * windows
    assert made.run([words], [frames * windows], stall_in=30, seed=2, restart_at=200).stuck is None


@needs_finn
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Window <= Window - next", "Window <= Window - 2*next"),
        ("Incr <= incr_next;", "Incr <= incr_next + (state_next == STATE_LOOP_KH);"),
    ],
    ids=["a difference", "an increment"],
)
def test_what_is_kept_wrongly_is_noticed(tmp_path, right, wrong):
    made, pixels, windows = simulator(tmp_path, "3x3", lambda text: text.replace(right, wrong))
    words = np.zeros((2 * pixels, 1), np.uint8)
    with pytest.raises(SimulationError, match="the other does not"):
        made.run([words], [2 * windows])
