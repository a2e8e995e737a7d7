"""Pins without figures: what nextpnr's file of delays leaves out."""

from __future__ import annotations

import pytest

from pleinair_hw.open.untimed import untimed
from tests.hw.open.stand_ins import TIMED, cell, cells, delays


def found(ways: str, **more: dict[str, object]) -> tuple[str, ...]:
    return untimed({**cells(), **more}, delays(ways).splitlines(keepends=True))


def test_nothing_is_named_where_every_pin_has_a_figure():
    assert found(TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0") == ()


def test_a_primitive_without_any_figure_is_named():
    assert found(TIMED) == ("DSP48E1", "LUT5")
    assert found("") == ("DSP48E1", "FDRE", "LUT5", "LUT6")


def test_of_a_primitive_with_some_figures_the_pins_without_are_named():
    assert found(TIMED + " b/A1>O5 dsp/A0@CLK") == ("DSP48E1.P",)
    assert found(TIMED + " b/A1>O5 dsp/CLK>P0") == ("DSP48E1.A",)


def test_one_cell_of_many_that_lacks_a_figure_is_enough():
    assert found(TIMED.replace("c/A1>O6", "") + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0") == ("LUT6.A",)


def test_a_figure_from_a_clock_that_the_cell_does_not_have_is_none():
    """A RAMB36 has a clock for either half; its figures once named one clock for both, and nothing was timed."""
    ram = cell("RAMB36E1_RAMB36E1", "RAMB36E1", inputs="ADDRARDADDRL0=1 CLKARDCLKL=9 CLKBWRCLKL=", DOADO0=6)
    ram["connections"]["DOADO1"], ram["port_directions"]["DOADO1"] = [7], "output"
    reader = cell("SLICE_LUTX", "LUT6", inputs="A1=6", O6=10)
    ways = TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0"
    wrong = " reader/A1>O6 ram/ADDRARDADDRL0@CLKARDCLK ram/CLKARDCLK>DOADO0 ram/CLKBWRCLKL>DOADO0"
    assert found(ways + wrong, ram=ram, reader=reader) == ("RAMB36E1",)
    right = " ram/ADDRARDADDRL0@CLKARDCLKL ram/CLKARDCLKL>DOADO0 reader/A1>O6"
    assert found(ways + right, ram=ram, reader=reader) == ()


def test_what_nobody_reads_and_constants_and_clocks_need_no_figure():
    idle = cell("SLICE_LUTX", "LUT3", inputs="A1=0", O6=11)
    assert found(TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0", idle=idle) == ()


def test_a_memory_that_nobody_reads_is_addressed_where_it_is_written():
    """Of a RAM32M that is read three times, the fourth table only carries the address for writing."""
    fourth = cell("SLICE_LUTX", "RAMD32", inputs="A1=1 WA1=1 WE=2 DI1=1 CLK=9", O6=12)
    ways = TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0"
    assert found(ways + " fourth/WA1@CLK fourth/WE@CLK fourth/DI1@CLK", fourth=fourth) == ()
    assert found(ways + " fourth/WA1@CLK fourth/WE@CLK", fourth=fourth) == ("RAMD32.DI",)
    reader = cell("SLICE_FFX", "FDRE", inputs="D=12 CK=9", Q=13)
    read = ways + " fourth/WA1@CLK fourth/WE@CLK fourth/DI1@CLK reader/D@CK reader/CK>Q"
    assert found(read, fourth=fourth, reader=reader) == ("RAMD32.A", "RAMD32.O")


def test_the_processors_resets_stand_still():
    ps7 = cell("PS7_PS7", "PS7", FCLKRESETN0=14)
    reset = cell("SLICE_FFX", "FDRE", inputs="D=14 CK=9", Q=15)
    assert found(TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0 reset/D@CK reset/CK>Q", ps7=ps7, reset=reset) == ()


def test_names_are_read_as_they_are_escaped():
    name = "$abc$1.slice[2]:x"
    more = cell("SLICE_LUTX", "LUT2", inputs="A1=1", O6=16)
    reader = cell("SLICE_FFX", "FDRE", inputs="D=16 CK=9", Q=17)
    ways = TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0 reader/D@CK reader/CK>Q"
    escaped = r" \$abc\$1.slice\[2\]\:x/A1>O6"
    assert found(ways, **{name: more, "reader": reader}) == ("LUT2",)
    assert found(ways + escaped, **{name: more, "reader": reader}) == ()


def test_a_file_that_is_not_whole_or_of_another_design_is_refused():
    whole = delays(TIMED).splitlines(keepends=True)
    with pytest.raises(ValueError, match="ends too early"):
        untimed(cells(), whole[:-1])
    with pytest.raises(ValueError, match="ends too early"):
        untimed(cells(), [])
    with pytest.raises(KeyError):
        untimed(cells(), delays("other/A1>O6").splitlines(keepends=True))
