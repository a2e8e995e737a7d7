"""The hardware handoff: which clock an overlay wants from the processing system."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from pleinair.fpga.deployment import MANIFEST, DeploymentError, read_deployment
from pleinair.fpga.handoff import ACCELERATOR, handoff, light_port, shell_clock, weight_ports, windows, with_windows

ENGINES = ("idma0", "odma0")


def write(path, **how):
    path.write_text(handoff(how.pop("zynq_7000", True), ENGINES, how.pop("clock_mhz", 100.0), **how))
    return path


@pytest.mark.parametrize(("divisors", "mhz"), [((5, 2), 100), ((4, 3), 1000 / 12), ((11, 1), 1000 / 11)])
def test_an_accelerator_on_fclk0_wants_what_the_divisors_make(tmp_path, divisors, mhz):
    path = write(tmp_path / "a.hwh", clock_mhz=mhz, divisors=divisors)
    assert shell_clock(path) == pytest.approx(mhz)
    values = {p.get("NAME"): p.get("VALUE") for p in ElementTree.parse(path).iter("PARAMETER")}
    assert float(values["PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"]) == pytest.approx(mhz, abs=1e-5)
    assert not any(m.get("MODTYPE") == "clk_wiz" for m in ElementTree.parse(path).iter("MODULE"))


@pytest.mark.parametrize("zynq_7000", [True, False])
@pytest.mark.parametrize("clock_mhz", [75.0, 300.0])
def test_finns_shell_makes_its_clock_from_100_mhz(tmp_path, zynq_7000, clock_mhz):
    assert shell_clock(write(tmp_path / "a.hwh", zynq_7000=zynq_7000, clock_mhz=clock_mhz)) == 100


@pytest.mark.parametrize("value", ["0", "x", ""])
def test_divisors_that_cannot_be_are_refused(tmp_path, value):
    path = write(tmp_path / "a.hwh", divisors=(5, 2))
    text = path.read_text().replace(
        'NAME="PCW_FCLK0_PERIPHERAL_DIVISOR0" VALUE="5"', f'NAME="PCW_FCLK0_PERIPHERAL_DIVISOR0" VALUE="{value}"'
    )
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(DeploymentError, match="does not say what clock its overlay needs"):
        shell_clock(path)


def test_a_deployment_may_have_a_clock_between_whole_megahertz(tmp_path):
    from pleinair.emulator.stand_in import stand_in
    from tests.models import write_model
    from tests.networks import random_network

    model = write_model(tmp_path / "model", random_network(3, width=4, blocks=1, kernel=3))
    made = stand_in(tmp_path / "deploy", model, 8, board="pynq-z2", clock_mhz=1000 / 12, height=64, width=96)
    assert made.clock_mhz == 1000 / 12
    manifest = json.loads((made.folder / MANIFEST).read_text())
    for wrong in ("83", None, True):
        (made.folder / MANIFEST).write_text(json.dumps({**manifest, "clock_mhz": wrong}))
        with pytest.raises(DeploymentError, match="clock_mhz is"):
            read_deployment(made.folder)


def test_windows_lie_at_multiples_of_their_size_and_do_not_overlap():
    found = windows(ENGINES, light=0x24000, weights=(0x1000, 0x20001, 0x10000))
    assert [(w.instance, w.port, w.offset, w.size) for w in found] == [
        ("idma0", "s_axi_control_0", 0, 0x10000),
        ("odma0", "s_axi_control_0", 0x10000, 0x10000),
        (ACCELERATOR, "s_axilite_light", 0x40000, 0x40000),
        (ACCELERATOR, "s_axilite_0", 0x80000, 0x10000),
        (ACCELERATOR, "s_axilite_1", 0xC0000, 0x40000),
        (ACCELERATOR, "s_axilite_2", 0x100000, 0x10000),
    ]
    assert windows(ENGINES) == found[:2]


VIVADO = """<?xml version="1.0"?>
<EDKSYSTEM><SYSTEMINFO ARCH="zynquplus" DEVICE="xczu7ev"/><MODULES>
<MODULE INSTANCE="shell" MODTYPE="pleinair_block"><PORTS/></MODULE>
<MODULE INSTANCE="zynq_ps" MODTYPE="zynq_ultra_ps_e"><PARAMETERS><PARAMETER NAME="A" VALUE="7"/></PARAMETERS><MEMORYMAP>
<MEMRANGE BASEVALUE="0xA0000000" HIGHVALUE="0xA007FFFF" INSTANCE="shell" MASTERBUSINTERFACE="M_AXI_HPM0_FPD"
 SLAVEBUSINTERFACE="s_axi"/></MEMORYMAP></MODULE></MODULES></EDKSYSTEM>"""


def test_vivados_handoff_names_what_drivers_look_for(tmp_path):
    path = tmp_path / "a.hwh"
    path.write_text(with_windows(VIVADO, "shell", windows(ENGINES, light=0x20000, weights=(0x4000,))))
    root = ElementTree.parse(path).getroot()
    ranges = {(r.get("INSTANCE"), r.get("SLAVEBUSINTERFACE")): r for r in root.iter("MEMRANGE")}
    assert [(key[0], int(r.get("BASEVALUE"), 16)) for key, r in ranges.items()] == [
        ("idma0", 0xA0000000),
        ("odma0", 0xA0010000),
        (ACCELERATOR, 0xA0020000),
        (ACCELERATOR, 0xA0040000),
    ]
    assert {r.get("MASTERBUSINTERFACE") for r in ranges.values()} == {"M_AXI_HPM0_FPD"}
    assert {m.get("INSTANCE") for m in root.iter("MODULE")} == {"shell", "zynq_ps", *ENGINES, ACCELERATOR}
    assert light_port(path) == (0xA0020000, 0x20000) and weight_ports(path) == {(1, 0): (0xA0040000, 0x10000)}
    assert root.find(".//PARAMETER[@NAME='A']").get("VALUE") == "7"
    for text, message in (
        (VIVADO.replace('INSTANCE="shell" M', 'INSTANCE="other" M'), "has 0 ranges"),
        ("<", "damaged"),
    ):
        with pytest.raises(DeploymentError, match=message):
            with_windows(text, "shell", windows(ENGINES))
