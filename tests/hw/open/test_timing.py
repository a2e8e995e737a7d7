"""Delays that nextpnr writes and those that it lacks; the slowest path; pins without figures."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pleinair_hw.open.delays import read_delays
from pleinair_hw.open.timing import Hop, slowest
from tests.hw.open.stand_ins import TIMED, cell, cells, delays

ALL = TIMED + " b/A1>O5 dsp/A0@CLK dsp/CLK>P0"


def timed(ways: str, wires: str = "", /, **more: dict[str, Any]) -> tuple[tuple[Hop, ...], tuple[str, ...]]:
    design = {**cells(), **more}
    return slowest(design, read_delays(design, delays(ways, wires).splitlines(keepends=True)))


def found(ways: str, **more: dict[str, Any]) -> tuple[str, ...]:
    return timed(ways, **more)[1]


def period(ways: str, wires: str = "", /, **more: dict[str, Any]) -> float:
    return round(sum(hop.ns for hop in timed(ways, wires, **more)[0]), 3)


def ram(kind: str, inputs: str, parameters: str = "", **outputs: int) -> dict[str, Any]:
    made = cell(f"{kind}_{kind}", kind, inputs=inputs, **outputs)
    made["parameters"] = dict(pair.split("=") for pair in parameters.split())
    return made


def test_the_slowest_path_is_followed_from_clock_to_clock():
    path, missing = timed(ALL, "a/A1:500 b/A1:200 dsp/A0:50 ff/D:40 ff/CK:30 dsp/CLK:10")
    assert missing == ()
    assert path == (
        Hop("clk-skew", "ff.CK", "ff.CK", 0.0),
        Hop("clk-to-q", "ff.CK", "ff.Q", 0.1),
        Hop("routing", "ff.Q", "a.A1", 0.5),
        Hop("logic", "a.A1", "a.O6", 0.1),
        Hop("routing", "a.O6", "ff.D", 0.04),
        Hop("setup", "ff.D", "ff.D", 0.1),
    )


def test_a_clock_that_comes_late_to_the_end_gives_time_and_at_the_beginning_takes_it():
    wires = "a/A1:100 b/A1:2000 dsp/A0:50 ff/D:40 ff/CK:30 dsp/CLK:10"
    # clock to output, wire, table, wire, setup, and 20 ps that the DSP's clock comes earlier
    assert period(ALL, wires) == 0.1 + 2.0 + 0.1 + 0.05 + 0.1 + 0.02


def random_design(number: random.Random) -> tuple[dict[str, Any], str, str]:
    """Flip-flops, and tables in layers between them; ways and wires with random delays."""
    made: dict[str, Any] = {"clock": cell("BUFGCTRL", "BUFG", I0=0, O=1)}
    ways, wires, nets = [], [], []
    for index in range(number.randint(1, 4)):
        nets.append(10 + index)
        made[f"f{index}"] = cell("SLICE_FFX", "FDRE", inputs="D= CK=1", Q=10 + index)
        ways += [f"f{index}/CK>Q:{number.randint(1, 400)}", f"f{index}/D@CK:{number.randint(1, 400)}"]
        wires.append(f"f{index}/CK:{number.randint(1, 100)}")
    flops = len(nets)
    for index in range(number.randint(1, 12)):
        reads = [number.choice(nets) for _ in range(number.randint(1, 3))]
        pins = " ".join(f"A{pin}={net}" for pin, net in enumerate(reads, 1))
        made[f"l{index}"] = cell("SLICE_LUTX", "LUT6", inputs=pins, O6=100 + index)
        for pin in range(1, len(reads) + 1):
            ways.append(f"l{index}/A{pin}>O6:{number.randint(1, 300)}")
            wires.append(f"l{index}/A{pin}:{number.randint(1, 2000)}")
        nets.append(100 + index)
    for index in range(flops):
        made[f"f{index}"]["connections"]["D"] = [number.choice(nets)]
        wires.append(f"f{index}/D:{number.randint(1, 2000)}")
    return made, " ".join(ways), " ".join(wires)


def every_path(made: dict[str, Any], ways: str, wires: str) -> float:
    """The longest of all paths, each followed by itself, in ps."""
    wire = {pin: int(ps) for pin, ps in (w.split(":") for w in wires.split())}
    through = {what: int(ps) for what, ps in (w.split(":") for w in ways.split())}
    driver = {
        c["connections"][out][0]: name for name, c in made.items() for out in ("Q", "O6") if out in c["connections"]
    }

    def back(net: int) -> list[int]:
        name = driver[net]
        if name.startswith("f"):
            return [wire[f"{name}/CK"] + through[f"{name}/CK>Q"]]
        pins = [pin for pin in made[name]["connections"] if pin != "O6"]
        return [
            before + wire[f"{name}/{pin}"] + through[f"{name}/{pin}>O6"]
            for pin in pins
            for before in back(made[name]["connections"][pin][0])
        ]

    return max(
        before + wire[f"{name}/D"] + through[f"{name}/D@CK"] - wire[f"{name}/CK"]
        for name, c in made.items()
        if name.startswith("f")
        for before in back(c["connections"]["D"][0])
    )


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_longest_of_all_paths(seed):
    made, ways, wires = random_design(random.Random(seed))
    path, _ = slowest(made, read_delays(made, delays(ways, wires).splitlines(keepends=True)))
    assert round(sum(hop.ns for hop in path) * 1000) == every_path(made, ways, wires)


def test_nothing_is_named_where_every_pin_has_a_figure():
    assert found(ALL) == ()


def test_a_primitive_without_any_figure_is_named():
    assert found(TIMED) == ("DSP48E1", "LUT5")
    assert found("") == ("DSP48E1", "FDRE", "LUT5", "LUT6")


def test_of_a_primitive_with_some_figures_the_pins_without_are_named():
    assert found(TIMED + " b/A1>O5 dsp/A0@CLK") == ("DSP48E1.P",)
    assert found(TIMED + " b/A1>O5 dsp/CLK>P0") == ("DSP48E1.A",)


def test_one_cell_of_many_that_lacks_a_figure_is_enough():
    reader = cell("SLICE_FFX", "FDRE", inputs="D=5 CK=9", Q=21)
    ways = ALL.replace("c/A1>O6", "") + " reader/D@CK reader/CK>Q"
    assert found(ways, reader=reader) == ("LUT6",)
    assert found(ways + " c/A1>O6", reader=reader) == ()


def test_a_block_ram_has_figures_even_where_nextpnr_has_none():
    """nextpnr names one clock for a RAMB36, which has one for either half: it times no address and no output."""
    wrong = " reader/A1>O6 ram/ADDRARDADDRL0@CLKARDCLK ram/CLKARDCLK>DOADO0"
    reader = cell("SLICE_LUTX", "LUT6", inputs="A1=6", O6=10)
    last = cell("SLICE_FFX", "FDRE", inputs="D=10 CK=9", Q=11)
    more = {"reader": reader, "last": last}
    inputs = "ADDRARDADDRL0=1 ADDRARDADDRU14=1 ENARDENL=1 WEAL0=1 DIADI0=1 CLKARDCLKL=9 CLKBWRCLKL="
    end = wrong + " last/D@CK last/CK>Q"
    made = ram("RAMB36E1", inputs, DOADO0=6)
    assert found(ALL + end, ram=made, **more) == ()
    # clock to output 2.454, the table, the setup; a register at the output makes it faster
    assert period(ALL + end, ram=made, **more) == 2.654
    assert period(ALL + end, ram=ram("RAMB36E1", inputs, "DOA_REG=1", DOADO0=6), **more) == 1.082


@pytest.mark.parametrize(
    ("parameters", "written"),
    [("", 0.737), ("WRITE_MODE_A=WRITE_FIRST", 0.737), ("WRITE_MODE_A=READ_FIRST WRITE_MODE_B=NO_CHANGE", 0.241)],
)
def test_what_a_block_ram_gives_of_old_decides_how_early_its_data_must_stand(parameters, written):
    made = ram("RAMB18E1", "DIADI0=1 CLKARDCLK=9 CLKBWRCLK=9", parameters)
    assert period(ALL, "ram/DIADI0:9000", ram=made) == round(0.1 + 9.0 + written, 3)


def test_a_wide_memory_is_read_by_one_port_and_written_by_the_other():
    """nextpnr takes half of its outputs for the other port's, whose clock a memory that is only read does not have."""
    inputs = "ADDRBWRADDR0=1 DIADI0=1 CLKARDCLK=9 CLKBWRCLK="
    last = cell("SLICE_FFX", "FDRE", inputs="D=6 CK=9", Q=11)
    ways = ALL + " last/D@CK last/CK>Q ram/CLKBWRCLK>DOBDO0:2454"
    wide = "RAM_MODE=SDP WRITE_MODE_B=READ_FIRST WRITE_MODE_A=NO_CHANGE"
    made = ram("RAMB18E1", inputs + "9", wide, DOBDO0=6)
    assert period(ways, "ram/DIADI0:9000 ram/CLKBWRCLK:300", ram=made, last=last) == round(0.1 + 9 + 0.241 - 0.3, 3)
    read_only = ram("RAMB18E1", "ADDRARDADDR0=1 CLKARDCLK=9 CLKBWRCLK=0", wide, DOBDO0=6)
    for memory in (made, read_only):
        assert found(ways, ram=memory, last=last) == ()
        assert period(ways, "ram/CLKARDCLK:700 ram/CLKBWRCLK:300", ram=memory, last=last) == round(0.7 + 2.454 + 0.1, 3)
    read_only["parameters"]["RAM_MODE"] = "TDP"
    assert found(ways, ram=read_only, last=last) == ("RAMB18E1.DOBDO",)  # a port without a clock gives nothing


def test_constants_that_are_passed_on_need_no_figure():
    """A table that reads only a constant, before a carry chain."""
    passed = cell("SLICE_LUTX", "LUT1", inputs="A1=0", O5=30)
    chain = cell("CARRY4", "CARRY4", inputs="DI0=30 S0=1", O2=6)
    last = cell("SLICE_FFX", "FDRE", inputs="D=6 CK=9", Q=11)
    ways = ALL + " passed/A1>O5 chain/S0>O2 last/D@CK last/CK>Q"
    assert found(ways, passed=passed, chain=chain, last=last) == ()


def test_carry_chains_are_timed_from_di():
    chain = cell("CARRY4", "CARRY4", inputs="DI0=1 DI3=1 S0=1", O2=6, CO3=7)
    last = cell("SLICE_FFX", "FDRE", inputs="D=6 CK=9", Q=11)
    ways = ALL + " chain/S0>O2 last/D@CK last/CK>Q"
    assert found(ways, chain=chain, last=last) == ()  # nobody reads CO3, the only one that DI3 leads to
    assert period(ways, "chain/DI0:1000", chain=chain, last=last) == round(0.1 + 1.0 + 0.596 + 0.1, 3)
    last = cell("SLICE_FFX", "FDRE", inputs="D=7 CK=9", Q=11)
    assert period(ways, "chain/DI3:1000", chain=chain, last=last) == round(0.1 + 1.0 + 0.396 + 0.1, 3)


def test_figures_that_nextpnr_has_are_taken():
    chain = cell("CARRY4", "CARRY4", inputs="DI0=1", O2=6)
    last = cell("SLICE_FFX", "FDRE", inputs="D=6 CK=9", Q=11)
    ways = ALL + " chain/DI0>O2:3000 last/D@CK last/CK>Q"
    assert period(ways, chain=chain, last=last) == 0.1 + 3.0 + 0.1


def test_what_nobody_reads_and_constants_and_clocks_need_no_figure():
    idle = cell("SLICE_LUTX", "LUT3", inputs="A1=0", O6=11)
    assert found(ALL, idle=idle) == ()


def test_an_input_of_the_other_table_of_a_site_is_none_of_this_one():
    """nextpnr joins them all: a way through it would be a way that is not there."""
    shared = cell("SLICE_LUTX", "LUT1", inputs="A1=1 (A2)=4", O6=12)
    last = cell("SLICE_FFX", "FDRE", inputs="D=12 CK=9", Q=13)
    ways = ALL + " shared/A1>O6 shared/A2>O6:9000 last/D@CK last/CK>Q"
    assert period(ways, "shared/A1:1000", shared=shared, last=last) == 1.3


def test_a_memory_that_nobody_reads_is_addressed_where_it_is_written():
    """Of a RAM32M that is read three times, the fourth table only carries the address for writing."""
    fourth = cell("SLICE_LUTX", "RAMD32", inputs="A1=1 WA1=1 WE=1 DI1=1 DI2=1 CLK=9", O6=12)
    other = cell("SLICE_LUTX", "RAMD32", inputs="A1=1 WE=1 CLK=9", O6=14)
    last = cell("SLICE_FFX", "FDRE", inputs="D=14 CK=9", Q=15)
    more = {"fourth": fourth, "other": other, "last": last}
    ways = ALL + " other/A1>O6 other/WE@CLK last/D@CK last/CK>Q fourth/WE@CLK"
    assert found(ways + " fourth/WA1@CLK", **more) == ()
    assert found(ways, **more) == ("RAMD32.WA",)
    read = {**more, "reader": cell("SLICE_FFX", "FDRE", inputs="D=12 CK=9", Q=16)}
    assert found(ways + " fourth/WA1@CLK reader/D@CK reader/CK>Q", **read) == ("RAMD32.A", "RAMD32.O")


def test_the_processors_resets_stand_still_and_its_clock_is_none_of_the_signals():
    ps7 = cell("PS7_PS7", "PS7", FCLKRESETN0=14, FCLKCLK0=8)
    reset = cell("SLICE_FFX", "FDRE", inputs="D=14 CK=9", Q=15)
    assert found(ALL + " reset/D@CK reset/CK>Q", ps7=ps7, reset=reset) == ()


def test_a_loop_of_tables_is_named_and_ends():
    one = cell("SLICE_LUTX", "LUT2", inputs="A1=21 A2=1", O6=20)
    two = cell("SLICE_LUTX", "LUT4", inputs="A1=20", O6=21)
    assert found(ALL + " one/A1>O6 one/A2>O6 two/A1>O6", one=one, two=two) == ("LUT2", "LUT4")


def test_names_are_read_as_they_are_escaped():
    name = "$abc$1.slice[2]:x/y"
    more = cell("SLICE_LUTX", "LUT2", inputs="A1=1", O6=16)
    reader = cell("SLICE_FFX", "FDRE", inputs="D=16 CK=9", Q=17)
    ways = ALL + " reader/D@CK reader/CK>Q"
    escaped = r"\$abc\$1.slice\[2\]\:x/y/A1"
    assert found(ways, **{name: more, "reader": reader}) == ("LUT2",)
    assert found(f"{ways} {escaped}>O6", **{name: more, "reader": reader}) == ()
    design = {name: more, "reader": reader}
    assert period(f"{ways} {escaped}>O6", f"{escaped}:4000", **design) == round(0.1 + 4.0 + 0.1 + 0.1, 3)


def test_a_file_that_is_not_whole_or_of_another_design_is_refused():
    whole = delays(TIMED).splitlines(keepends=True)
    with pytest.raises(ValueError, match="ends too early"):
        read_delays(cells(), whole[:-1])
    with pytest.raises(ValueError, match="ends too early"):
        read_delays(cells(), [])
    with pytest.raises(KeyError):
        read_delays(cells(), delays("other/A1>O6").splitlines(keepends=True))
