"""A .hwh as Vivado writes it for the shell, edited as `pleinair build` does it, read by pynq itself."""

from xml.etree import ElementTree

import pytest
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime import RuntimeMetadataParser

from pleinair.fpga.handoff import ACCELERATOR, handoff, windows, with_windows
from tests.board.boards import FAMILIES

ENGINES = ("idma0", "odma0")


def module(modules, name, kind, interfaces):
    found = ElementTree.SubElement(
        modules,
        "MODULE",
        FULLNAME=f"/{name}",
        HWVERSION="1.0",
        INSTANCE=name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE="1",
        IS_PL="1",
        MODCLASS="PERIPHERAL",
        MODTYPE=kind.split(":")[2],
        VLNV=kind,
    )
    ElementTree.SubElement(found, "PARAMETERS")
    ElementTree.SubElement(found, "PORTS")
    buses = ElementTree.SubElement(found, "BUSINTERFACES")
    for port, way, bus in interfaces:
        ElementTree.SubElement(
            buses,
            "BUSINTERFACE",
            BUSNAME=bus,
            DATAWIDTH="32",
            NAME=port,
            TYPE=way,
            VLNV="xilinx.com:interface:aximm:1.0",
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_pynq_finds_engines_and_light_in_vivados_file(tmp_path, family):
    zynq_7000 = family == "pynq-z2"
    root = ElementTree.fromstring(handoff(zynq_7000, ENGINES, 100.0).split("?>", 1)[1])
    modules, ranges = root.find("MODULES"), next(root.iter("MEMORYMAP"))
    for engine in list(modules):
        if engine.get("INSTANCE") in ENGINES:
            modules.remove(engine)
    master, base = ranges[0].get("MASTERBUSINTERFACE"), int(ranges[0].get("BASEVALUE"), 16)
    for entry in list(ranges):
        ranges.remove(entry)
    smart = "xilinx.com:ip:smartconnect:1.0"
    module(modules, "control", smart, [("S00_AXI", "SLAVE", f"zynq_ps_{master}"), ("M00_AXI", "MASTER", "control_M00")])
    module(modules, "data", smart, [("S00_AXI", "SLAVE", "shell_m_axi"), ("M00_AXI", "MASTER", "data_M00")])
    own = [("s_axi", "SLAVE", "control_M00"), ("m_axi", "MASTER", "shell_m_axi")]
    module(modules, "shell", "xilinx.com:module_ref:pleinair_block:1.0", own)
    ElementTree.SubElement(
        ranges,
        "MEMRANGE",
        ADDRESSBLOCK="reg0",
        BASENAME="C_BASEADDR",
        BASEVALUE=f"0x{base:08X}",
        HIGHNAME="C_HIGHADDR",
        HIGHVALUE=f"0x{base + 0x3FFFF:08X}",
        INSTANCE="shell",
        IS_DATA="TRUE",
        IS_INSTRUCTION="TRUE",
        MASTERBUSINTERFACE=master,
        MEMTYPE="REGISTER",
        SLAVEBUSINTERFACE="s_axi",
    )

    def blocks(text):
        (tmp_path / "a.hwh").write_text(text)
        found = RuntimeMetadataParser(Metadata(input=str(tmp_path / "a.hwh"))).ip_dict
        return {name: (b["phys_addr"] - base, b["addr_range"]) for name, b in found.items() if "phys_addr" in b}

    text = ElementTree.tostring(root, encoding="unicode")
    assert blocks(text) == {"shell": (0, 0x40000)}
    assert blocks(with_windows(text, "shell", windows(ENGINES, light=0x1000))) == {
        "idma0": (0, 0x10000),
        "odma0": (0x10000, 0x10000),
        ACCELERATOR: (0x20000, 0x10000),
    }
