"""A frame goes from the host through pynq and the engines' registers to generated RTL in Verilator, and back.

The RTL is made by tests/host/fpga/test_under_pynq.py, where FINN is; it names the folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cli.fpga import simulate_build
from pleinair.emulator.board import EmulatedDevice, frame_by_frame, simulated_network
from pleinair.emulator.stand_in import stand_in
from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
from pleinair.fpga.deployment import read_light
from pleinair.fpga.driver import Accelerator
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import load
from pleinair.painting.painter import NetworkPainter
from tests.board.boards import FAMILIES, forget_clocks
from tests.models import write_model

FOLDER = os.environ.get("PLEINAIR_TEST_RTL", "")

pytestmark = pytest.mark.skipif(not FOLDER, reason="PLEINAIR_TEST_RTL names no folder of RTL")


def test_a_frame_through_the_rtl(tmp_path):
    from pleinair_hw.simulate import simulation

    build = Path(FOLDER)
    network = load(build / "network.npz")
    if network.adaptive:
        pytest.skip("an adaptive network: below")
    rows, columns, _ = simulation.load(build).manifest.inputs[0].shape
    margin = 8
    model = load_model(str(write_model(tmp_path / "model", network, margin)), 8)
    deployment = stand_in(
        tmp_path / "deploy", model.folder, 8, board=FAMILIES[-1], clock_mhz=100, height=rows, width=columns
    )
    device = EmulatedDevice(deployment, frame_by_frame(simulate_build(build), rows, columns))
    forget_clocks()
    painter = AcceleratorPainter(model, Accelerator(deployment, device, 600))
    plain = NetworkPainter("reference", network, margin, lambda i: reference.run(network, i), 1 << 20, model.grain)
    rng = np.random.default_rng(0)
    for height, width in ((rows - 2 * margin, columns - 2 * margin), (rows, columns - 2 * margin - 3)):
        frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert np.array_equal(painter.paint(frame), plain.paint(frame))
    assert painter.reloads == 0 and not device.fabric.violations
    # The check's two tiles, one for the first frame, more for the second.
    assert device.power.frames > 4
    painter.close()
    assert not device.memory.live


def test_a_frame_in_its_own_light_through_the_rtl(tmp_path):
    """The light is written, read and metered by the RTL, and so is the check before the first frame."""
    from pleinair_hw.simulate import simulation

    build = Path(FOLDER)
    network = load(build / "network.npz")
    if not network.adaptive:
        pytest.skip("not an adaptive network: above")
    manifest = simulation.load(build).manifest
    rows, columns, _ = manifest.inputs[0].shape
    margin = network.halo
    model = load_model(str(write_model(tmp_path / "model", network, margin)), 8)
    light_map = read_light(build / "rtl" / "manifest.json", rows, columns)
    assert light_map is not None and light_map.meters
    options = {"board": FAMILIES[-1], "clock_mhz": 100, "height": rows, "width": columns, "light": light_map}
    options["trimmed"] = manifest.inset > 0
    deployment = stand_in(tmp_path / "deploy", model.folder, 8, **options)
    device = EmulatedDevice(deployment, simulated_network(deployment, simulate_build(build)))
    forget_clocks()
    painter, plain = (
        AdaptiveAcceleratorPainter(model, Accelerator(deployment, device, 600)),
        open_painter(model, "reference"),
    )
    frame = np.random.default_rng(0).integers(0, 90, (rows - 2 * margin, columns - 2 * margin, 3), dtype=np.uint8)
    assert painter.sums(frame) == plain.sums(frame)
    assert np.array_equal(painter.paint(frame), plain.paint(frame))
    assert np.array_equal(painter.paint_in(frame, painter.average), plain.paint_in(frame, plain.average))
    assert painter.reloads == 0 and painter.accelerator.stages.metered and not device.fabric.violations
    painter.close()
    assert not device.memory.live
