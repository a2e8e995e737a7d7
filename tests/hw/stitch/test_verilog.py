"""The header of a Verilog module: ports, widths, and what is refused."""

from __future__ import annotations

import pytest

from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.verilog import Module


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
