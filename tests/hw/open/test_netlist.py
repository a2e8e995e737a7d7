"""A routed design back to primitives: each kind of cell as nextpnr writes it, against what it must be in Verilog."""

from __future__ import annotations

import json
import re

import pytest

from pleinair_hw.open.netlist import processing_system, write_verilog
from pleinair_hw.open.steps import OpenToolError


def cell(kind, connections, *, bel="SLICE_X0Y0.A6LUT", parameters=None, **attributes):
    return {
        "type": kind,
        "attributes": {"NEXTPNR_BEL": bel, **attributes},
        "parameters": parameters or {},
        "connections": {pin: [bit] for pin, bit in connections.items()},
    }


def verilog(tmp_path, **cells) -> tuple[str, dict[str, int]]:
    path = tmp_path / "routed.json"
    path.write_text(json.dumps({"modules": {"empty": {"cells": {}}, "top": {"cells": cells}}}))
    counts = write_verilog(path, tmp_path / "routed.v", "chip")
    return (tmp_path / "routed.v").read_text(), counts


def instance(text: str, kind: str) -> str:
    (line,) = re.findall(rf"^{kind} .*$", text, re.M)
    return line


def test_a_tables_inputs_are_those_that_the_router_chose(tmp_path):
    """The router may move I0 to any pin; a pin may even stand for two inputs."""
    table = cell(
        "SLICE_LUTX",
        {"A1": 7, "A3": 5, "A5": 6, "A6": "1", "O6": 9},
        parameters={"INIT": "1000 "},
        X_ORIG_TYPE="LUT3",
        X_ORIG_PORT_A5="I0",
        X_ORIG_PORT_A1="I1",
        X_ORIG_PORT_A3="I2",
        X_ORIG_PORT_O6="O",
    )
    text, counts = verilog(tmp_path, table=table)
    assert instance(text, "LUT3") == "LUT3 #(.INIT(4'b1000)) c0 (.I0(n6), .I1(n7), .I2(n5), .O(n9));"
    assert counts == {"LUT3": 1}
    assert text.startswith("module chip();\nwire n5;\nwire n6;\nwire n7;\nwire n9;\n") and text.endswith("endmodule\n")


def test_a_pin_for_two_inputs_drives_both(tmp_path):
    table = cell(
        "SLICE_LUTX", {"A2": 4, "O6": 5}, parameters={"INIT": "0110"}, X_ORIG_TYPE="LUT2", X_ORIG_PORT_A2="I0 I1"
    )
    text, _ = verilog(tmp_path, table=table)
    assert ".I0(n4), .I1(n4)" in instance(text, "LUT2")


def test_constants_and_the_clock_buffer_are_assignments(tmp_path):
    text, counts = verilog(
        tmp_path,
        one=cell("PSEUDO_VCC", {"Y": 2}),
        zero=cell("PSEUDO_GND", {"Y": 3}),
        buffer=cell("BUFGCTRL", {"I0": 10, "O": 11}, X_ORIG_TYPE="BUFGCTRL"),
    )
    assert "assign n2 = 1'b1;" in text and "assign n3 = 1'b0;" in text and "assign n11 = n10;" in text
    assert counts == {}


def test_a_deep_memorys_half_follows_from_its_table(tmp_path):
    wires = {f"A{i + 1}": 20 + i for i in range(6)} | {"WA1": 30, "WA7": 31, "DI1": 32, "CLK": 33, "WE": 34, "O6": 35}
    ports = {f"X_ORIG_PORT_A{i + 1}": f"RADR{i}" for i in range(6)}
    ports |= {"X_ORIG_PORT_WA1": "WADR0", "X_ORIG_PORT_WA7": "WADR6", "X_ORIG_PORT_DI1": "I", "X_ORIG_PORT_O6": "O"}
    ports |= {"X_ORIG_PORT_CLK": "CLK", "X_ORIG_PORT_WE": "WE"}
    for table, half in zip("ABCD", "1010", strict=True):
        memory = cell("SLICE_LUTX", wires, bel=f"SLICE_X0Y0.{table}6LUT", X_ORIG_TYPE="RAMD64E", **ports)
        text, _ = verilog(tmp_path, memory=memory)
        assert f"#(.DEEP(1'b1), .HALF(1'b{half}))" in instance(text, "RAMD64E")
    shallow = {pin: bit for pin, bit in wires.items() if pin != "WA7"}
    text, _ = verilog(tmp_path, memory=cell("SLICE_LUTX", shallow, X_ORIG_TYPE="RAMD64E", **ports))
    assert "DEEP" not in instance(text, "RAMD64E")


def test_inverters_at_a_dsps_pins_go_into_its_connections(tmp_path):
    dsp = cell(
        "DSP48E1_DSP48E1",
        {"CLK": 5, "OPMODE0": 6, "P47": 7},
        parameters={
            "AREG": "00000001",
            "IS_CLK_INVERTED": "0",
            "IS_OPMODE_INVERTED": "0",
            "IS_OPMODE[0]_INVERTED": "1",
        },
        X_ORIG_TYPE="DSP48E1",
        X_ORIG_PORT_CLK="CLK",
        X_ORIG_PORT_OPMODE0="OPMODE[0]",
        X_ORIG_PORT_P47="P[47]",
        DSP_VCC_PINS="B17 CEP",
        DSP_GND_PINS="A0",
    )
    text, _ = verilog(tmp_path, dsp=dsp)
    line = instance(text, "DSP48E1")
    assert ".CLK(n5)" in line and ".CEP(1'b1)" in line and ".AREG(8'b00000001)" in line and "INVERTED" not in line
    assert re.search(r"\.OPMODE\(\{(open0_OPMODE_\d, ){6}~n6\}\)", line)
    assert ".B({1'b1, open0_B_16" in line and re.search(r"\.A\(\{.*open0_A_1, 1'b0\}\)", line)
    # Inputs that nobody drives are 0, outputs that nobody reads are loose.
    assert "wire open0_OPMODE_6 = 1'b0;" in text and "wire open0_P_0;" in text


def test_a_block_rams_pins_that_stand_for_one_port_are_one(tmp_path):
    ram = cell(
        "RAMB36E1_RAMB36E1",
        {"ADDRARDADDRL3": 5, "ADDRARDADDRU3": 5, "ADDRARDADDRL15": 6, "WEA0": 7, "WEBWEL7": 8, "DOADO31": 9},
        parameters={"INIT_00": "0" * 256, "READ_WIDTH_A": "0" * 32},
        X_ORIG_TYPE="RAMB36E1",
        X_ORIG_PORT_ADDRARDADDRL3="ADDRARDADDR[3]",
        X_ORIG_PORT_ADDRARDADDRU3="ADDRARDADDR[3]",
        X_ORIG_PORT_WEA0="WEA[0]",
        X_ORIG_PORT_DOADO31="DOADO[31]",
    )
    line = instance(verilog(tmp_path, ram=ram)[0], "RAMB36E1")
    assert re.search(r"\.ADDRARDADDR\(\{(open0_ADDRARDADDR_\d+, ){12}n5, (open0_ADDRARDADDR_\d, ){2}open", line)
    assert "n6" not in line and "n8" not in line, "pins that the packer ties stand for no port"
    assert ".INIT_00(256'b" in line and re.search(r"\.WEA\(\{(open0_WEA_\d, ){3}n7\}\)", line)
    assert ".DOADO({n9, open0_DOADO_30" in line


def test_the_processing_system_has_the_ports_of_its_model_alone(tmp_path):
    system = processing_system()
    assert system["MAXIGP0AWID"] == (True, 12) and system["SAXIHP0WDATA"] == (False, 64)
    ps7 = cell(
        "PS7_PS7",
        {"FCLKCLK0": 5, "SAXIHP0WDATA63": 6, "DMA0ACLK": 7},
        X_ORIG_TYPE="PS7",
        X_ORIG_PORT_FCLKCLK0="FCLKCLK[0]",
        X_ORIG_PORT_SAXIHP0WDATA63="SAXIHP0WDATA[63]",
        X_ORIG_PORT_DMA0ACLK="DMA0ACLK",
    )
    text, counts = verilog(tmp_path, ps7=ps7)
    line = instance(text, "PS7")
    assert line.startswith("PS7 ps7 (") and "DMA0ACLK" not in line and counts == {"PS7": 1}
    assert ".FCLKCLK({open0_FCLKCLK_3, open0_FCLKCLK_2, open0_FCLKCLK_1, n5})" in line
    assert "wire open0_FCLKCLK_3;" in text and "wire open0_SAXIHP0WDATA_0 = 1'b0;" in text


@pytest.mark.parametrize("data", ["", "{}", '{"modules": {}}', '{"modules": {"a": {"cells": {}}}}', "[1]", "null"])
def test_what_is_no_routed_design_is_refused(tmp_path, data):
    path = tmp_path / "routed.json"
    path.write_text(data)
    with pytest.raises(OpenToolError, match="is no routed design of nextpnr's"):
        write_verilog(path, tmp_path / "routed.v", "chip")
    assert not (tmp_path / "routed.v").exists()
