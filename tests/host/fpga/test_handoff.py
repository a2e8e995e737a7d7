"""The hardware handoff: which clock an overlay wants from the processing system."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from pleinair.fpga.deployment import MANIFEST, DeploymentError, read_deployment
from pleinair.fpga.handoff import handoff, shell_clock

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
