"""The Tcl of a node: what is read from it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.tcl import read_tcl


def test_tcl_of_a_node_of_one_cell():
    design = read_tcl(
        "pad",
        ["add_files -norecurse /x/a.sv", "add_files -norecurse {/x/b.v}\ncreate_bd_cell -type module -reference B pad"],
    )
    assert design.files == [Path("/x/a.sv"), Path("/x/b.v")]
    assert design.cells == {"": "B"} and not design.hierarchy


def test_folders_with_blanks_in_their_names():
    design = read_tcl("pad", ["add_files -norecurse /my build/a.sv", "add_files -norecurse {/my build/b.v /x y/c.v}"])
    assert design.files == [Path("/my build/a.sv"), Path("/my build/b.v"), Path("/x y/c.v")]


def test_tcl_of_a_node_of_several_cells():
    design = read_tcl(
        "mv",
        [
            "create_bd_cell -type hier mv",
            "create_bd_pin -dir I -type clk /mv/ap_clk",
            "create_bd_intf_pin -mode Slave -vlnv xilinx.com:interface:axis_rtl:1.0 /mv/in0_V",
            "create_bd_intf_pin -mode Slave -vlnv xilinx.com:interface:aximm_rtl:1.0 /mv/s_axilite",
            "create_bd_cell -type hier -reference Core /mv/mv",
            "connect_bd_net [get_bd_pins mv/ap_clk] [get_bd_pins mv/mv/ap_clk2x]",
            "connect_bd_intf_net [get_bd_intf_pins mv/in0_V] [get_bd_intf_pins mv/mv/in0_V]",
            "assign_bd_address",
            "save_bd_design",
        ],
    )
    assert design.hierarchy and design.cells == {"mv": "Core"}
    assert (design.pins, design.streams, design.axilite) == (["ap_clk"], {"in0_V": True}, ["s_axilite"])
    assert design.nets == [("ap_clk", "mv/ap_clk2x")] and design.stream_nets == [("in0_V", "mv/in0_V")]


@pytest.mark.parametrize(
    "command",
    [
        "create_ip -name axis_dwidth_converter -vendor xilinx.com -library ip -version 1.1 -module_name x",
        "set_property CONFIG.ID 1 [get_bd_cells node]",
        "create_bd_pin -dir O -type clk /node/out",
        "create_bd_intf_pin -mode Master -vlnv xilinx.com:interface:aximm_rtl:1.0 /node/axi_mm",
    ],
)
def test_unknown_tcl_is_refused_with_its_text(command):
    with pytest.raises(StitchError) as error:
        read_tcl("node", ["add_files -norecurse /x/a.sv", command])
    assert command in str(error.value) and str(error.value).startswith("node: ")


def test_tcl_that_reaches_into_another_node_is_refused():
    with pytest.raises(StitchError, match="other/ap_clk lies outside"):
        read_tcl("node", ["connect_bd_net [get_bd_pins other/ap_clk] [get_bd_pins node/x/ap_clk]"])
