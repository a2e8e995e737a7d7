"""finn-plus-driver 1.6.1, unmodified, over the same emulated board: the same registers, the same bytes.

Runs in an environment of its own, as finn-plus-driver brings much along.
"""

from __future__ import annotations

import warnings

import numpy as np
import pynq
import pytest
from finn_plus_driver import get_driver_class

from tests.board.boards import Board, forget_clocks


@pytest.fixture
def boards(tmp_path):
    """The same board twice: for our driver, and for FINN's."""
    pair = [Board(tmp_path / name, height=64, width=96) for name in ("ours", "finns")]
    yield pair
    for b in pair:
        b.close()


def finns(b: Board):
    """FINN's driver as its own command opens it: with settings.json's driver_information."""
    information = dict(b.deployment.settings)
    kind = information.pop("driver_type")
    forget_clocks()
    # It allocates buffers on the active device.
    pynq.Device.active_device = b.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_driver_class(kind)(str(b.deployment.bitfile), device=b.device, **information)


def without_repeats(traffic):
    """How often the end of a frame is asked for depends on time."""
    kept = []
    for access in traffic:
        if not (kept and access[0] == "read" and kept[-1][:3] == access[:3]):
            kept.append(access)
    return [access[:3] if access[0] == "read" else access for access in kept]


def test_the_same_registers_and_the_same_bytes(boards):
    ours, theirs = boards
    accelerator, driver = ours.accelerator(), finns(theirs)
    shift = None
    for seed in range(4):
        frame = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        ours.fabric.traffic.clear()
        theirs.fabric.traffic.clear()
        painted = accelerator.run(frame)
        oracle = driver.execute(frame[None])
        assert oracle.shape == (1, 64, 96, 3) and np.array_equal(painted, oracle[0])
        mine, its = without_repeats(ours.fabric.traffic), without_repeats(theirs.fabric.traffic)
        # Both allocate in before out, from the same address on; FINN's driver once more, for its batch.
        if shift is None:
            shift = its[1][3] - mine[1][3]
        assert shift % 4096 == 0
        moved = [
            (*access[:3], access[3] + shift) if access[0] == "write" and access[2] == 0x10 else access
            for access in mine
        ]
        assert moved == its
    assert not theirs.fabric.violations


def test_the_same_clock_and_the_same_order_of_buffers(boards):
    ours, theirs = boards
    accelerator = ours.accelerator()
    clock = pynq.ps.Clocks.fclk0_mhz
    driver = finns(theirs)
    assert pynq.ps.Clocks.fclk0_mhz == pytest.approx(clock)
    assert driver.fclk_mhz_actual == ours.deployment.clock_mhz
    assert accelerator.input(0).shape == driver.ishape_normal()[1:]
