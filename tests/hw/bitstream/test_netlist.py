"""From bits back to a netlist, on an invented chip: small designs, whose netlists were worked out by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.bitstream.assemble import place_text
from pleinair_hw.bitstream.database import BitstreamError
from pleinair_hw.bitstream.netlist import CELLS, Netlist, netlist, split_table
from pleinair_hw.bitstream.read import features
from tests.hw.bitstream.fabric import fabric

#: A flip-flop that turns round whenever the processing system says so; it is clocked and reset from there, too.
TOGGLE = """\
INT_L_X0Y0.CLK0.FROM_PS0
INT_L_X0Y0.IMUX0.FROM_PS1
INT_L_X0Y0.IMUX1.LOGIC_OUTS1
INT_L_X0Y0.TO_PS0.LOGIC_OUTS1
CLBLL_L_X0Y0.SLICEL_X0.ALUT.INIT[63:0] = 64'h6666666666666666
CLBLL_L_X0Y0.SLICEL_X0.AFFMUX.O6
CLBLL_L_X0Y0.SLICEL_X0.AFF.ZINI
CLBLL_L_X0Y0.SLICEL_X0.AFF.ZRST
CLBLL_L_X0Y0.SLICEL_X0.FFSYNC
"""
CLOCK, READY = "PSS2_X0Y0_PS7_X0Y0_FCLKCLK0", "PSS2_X0Y0_PS7_X0Y0_MAXIGP0RREADY"
SLICE = "CLBLL_L_X0Y0_SLICE_X0Y0"


def read_back(folder: Path, text: str) -> Netlist:
    """Features to frames, frames to features, features to a netlist."""
    database, wires = fabric(folder)
    return netlist(database, wires, features(database, place_text(database, text).frames))


def lines(made: Netlist) -> set[str]:
    """The netlist's lines without the wires' declarations."""
    return {line for line in made.verilog.splitlines() if not line.startswith(("wire", "module", "endmodule"))}


def test_a_toggling_flip_flop_comes_back(tmp_path: Path):
    made = read_back(tmp_path, TOGGLE)
    assert made.cells == Counter({"LUT2": 1, "FDRE": 1, "PS7": 1})
    assert lines(made) == {
        f"LUT2 #(.INIT(4'h6)) \\{SLICE}_A6_lut  (.O({SLICE}_A6_), .I0({READY}), .I1({SLICE}_AQ));",
        f"FDRE #(.INIT(1'b0)) \\{SLICE}_AFF_ff  (.Q({SLICE}_AFF_), .C({CLOCK}), .CE(1'b1), .D({SLICE}_A6_), .R(1'b0));",
        f"assign {SLICE}_AQ = {SLICE}_AFF_;",
        f"PS7 \\ps7  (.MAXIGP0ARREADY({SLICE}_AQ), .FCLKCLK({{open_FCLKCLK_1_, {CLOCK}}}), .MAXIGP0RREADY({READY}));",
    }
    declared = {line.split()[-1][:-1] for line in made.verilog.splitlines() if line.startswith("wire")}
    assert {CLOCK, READY, f"{SLICE}_AQ", f"{SLICE}_A6_", "open_FCLKCLK_1_"} <= declared


@pytest.mark.parametrize(
    "more, primitive",
    [
        ("", "FDPE #(.INIT(1'b1))"),
        ("AFF.ZINI", "FDPE #(.INIT(1'b0))"),
        ("AFF.ZRST", "FDCE #(.INIT(1'b1))"),
        ("FFSYNC", "FDSE #(.INIT(1'b1))"),
        ("AFF.ZRST FFSYNC CLKINV", "FDRE #(.INIT(1'b1), .IS_C_INVERTED(1'b1))"),
    ],
)
def test_every_kind_of_flip_flop(tmp_path: Path, more: str, primitive: str):
    text = "".join(line + "\n" for line in TOGGLE.splitlines() if not line.endswith(("ZINI", "ZRST", "FFSYNC")))
    text += "".join(f"CLBLL_L_X0Y0.SLICEL_X0.{flag}\n" for flag in (*more.split(), "SRUSEDMUX", "CEUSEDMUX"))
    made = read_back(tmp_path, text + "INT_L_X0Y0.CTRL0.FROM_PS1\n")
    (line,) = (line for line in lines(made) if line.startswith("FD"))
    reset = {"FDRE": "R", "FDSE": "S", "FDCE": "CLR", "FDPE": "PRE"}[primitive[:4]]
    assert line.startswith(primitive) and line.endswith(f".{reset}({READY}));")
    # Nothing drives the slice's enable, so it reads 1.
    assert ".CE(1'b1)" in line and made.undriven == 1


def test_constants_are_worked_into_a_table(tmp_path: Path):
    """An input that is tied, or that nothing drives, is gone from the table; so is one that does not matter."""
    text = TOGGLE.replace("h6666666666666666", "h6666666666666660").replace("INT_L_X0Y0.IMUX1.LOGIC_OUTS1\n", "")
    made = read_back(tmp_path, text)
    (line,) = (line for line in lines(made) if line.startswith("LUT"))
    assert line.startswith("LUT1 #(.INIT(2'h1))") and f".I0({READY})" in line  # A1 xor 1


def test_a_carry_chain_comes_back_whole(tmp_path: Path):
    text = TOGGLE.replace("AFFMUX.O6", "AFFMUX.XOR") + "INT_L_X0Y0.TO_PS1.LOGIC_OUTS2\nINT_L_X0Y0.IMUX2.GND_WIRE\n"
    text += "CLBLL_L_X0Y0.SLICEL_X0.PRECYINIT.C1\n"
    made = read_back(tmp_path, text)
    (line,) = (line for line in lines(made) if line.startswith("CARRY4"))
    assert f".CO({SLICE}_CO_), .O({SLICE}_O_), .CI(1'b0), .CYINIT(1'b1), .DI({{1'b1, 1'b1, 1'b1, 1'b0}})" in line
    assert line.endswith(f".S({{{SLICE}_D6_, {SLICE}_C6_, {SLICE}_B6_, {SLICE}_A6_}}));")
    assert f"assign {SLICE}_B6_ = 1'b0;" in lines(made)
    (line,) = (line for line in lines(made) if line.startswith("PS7"))
    # Bit 0 of the bus reads 1, as nothing drives it.
    assert f".MAXIGP0BID({{{SLICE}_COUT, 1'b1}})" in line
    (line,) = (line for line in lines(made) if line.startswith("FDRE"))
    assert f".D({SLICE}_O_[0])" in line


@pytest.mark.parametrize(
    "change, said",
    [
        (
            ("INT_L_X0Y0.TO_PS0.LOGIC_OUTS1", "INT_L_X0Y0.TO_PS0.LOGIC_OUTS1\nINT_L_X0Y0.TO_PS0.LOGIC_OUTS0"),
            "both drive",
        ),
        (("FFSYNC", "LATCH"), "SLICE_X0Y0 has latches"),
        (("CLBLL_L_X0Y0.SLICEL_X0.AFFMUX.O6\n", ""), "has AFFMUX set to nothing"),
        (("AFFMUX.O6", "AFFMUX.O6\nCLBLL_L_X0Y0.SLICEL_X0.AFFMUX.XOR"), "has AFFMUX set to O6 and XOR"),
        (
            ("CLBLL_L_X0Y0.SLICEL_X0.FFSYNC", "CLBLL_L_X0Y0.SLICEL_X0.ALUT.RAM"),
            "the chip database has no pin SLICE_X0Y0",
        ),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, change: tuple[str, str], said: str):
    with pytest.raises(BitstreamError, match=said) as refused:
        read_back(tmp_path, TOGGLE.replace(*change))
    assert "\n" not in str(refused.value)


def test_an_empty_chip_is_an_empty_netlist(tmp_path: Path):
    made = read_back(tmp_path, "")
    assert made.cells == Counter({"PS7": 1}) and lines(made) == {"PS7 \\ps7  (.MAXIGP0ARREADY(1'b0));"}


def test_tables_are_split_as_their_addresses_say():
    rng = np.random.default_rng(4)
    for inputs in range(1, 7):
        for at in range(inputs):
            table = int(rng.integers(1 << 62)) << 2 & (1 << (1 << inputs)) - 1
            halves = split_table(table, at, inputs)
            for address in range(1 << inputs):
                rest = "".join(bit for k, bit in enumerate(reversed(f"{address:0{inputs}b}")) if k != at)[::-1]
                half = halves[address >> at & 1]
                assert half >> int(rest or "0", 2) & 1 == table >> address & 1


def test_our_cells_are_in_the_package():
    assert {"pleinair_ram64", "pleinair_ram32", "pleinair_srl32", "pleinair_srl16"} <= set(CELLS.read_text().split())
