"""A board on the network, by the remote device of PYNQ 4.0: gRPC on a loopback socket, the rest as on a board."""

from __future__ import annotations

import time

import numpy as np
import pynq
import pytest

from pleinair.durable import file_sha256
from pleinair.emulator.board import frame_by_frame
from pleinair.emulator.fabric import Fabric, Power
from pleinair.emulator.stations import Stations
from pleinair.fpga import driver
from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
from pleinair.fpga.deployment import write_manifest
from pleinair.fpga.driver import Accelerator, AcceleratorError
from pleinair.fpga.handoff import bitstream, light_port
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.network import reference

if not pynq.__version__.startswith("4."):
    pytest.skip("PYNQ 3 has no remote device", allow_module_level=True)

from pynq.pl_server.remote_device import RemoteDevice

from tests.board.boards import Board, forget_clocks
from tests.board.remote import FIRMWARE, RemoteBoard

ENGINES = (0xA0000000, 0xA0010000)


@pytest.fixture
def network_board(tmp_path):
    """A deployment, and a board on the network that paints it."""
    b = Board(tmp_path / "board")
    size = b.deployment.height * b.deployment.width * 3
    remote = RemoteBoard(lambda memory, _: Fabric(memory, Power(), ENGINES, size, b.compute))
    yield b, remote
    remote.stop()


def connect(remote):
    forget_clocks()
    return RemoteDevice(0, "127.0.0.1", remote.port)


def test_frames_are_painted_over_the_network(network_board):
    b, remote = network_board
    accelerator = Accelerator(b.deployment, connect(remote))
    assert not accelerator.emulated
    painter = AcceleratorPainter(b.model, accelerator)
    frames = b.frames(3, 60, 30) + b.frames(1, 150, 70)
    for painting, frame in zip(painter.paint_each(frames), frames, strict=True):
        assert np.array_equal(painting, b.reference().paint(frame))
    accelerator.load()
    assert np.array_equal(painter.paint(frames[0]), b.reference().paint(frames[0]))
    painter.close()
    assert not remote.memory.live and not remote.fabric.violations


def test_another_bitstream_of_the_same_name_is_sent(network_board, tmp_path):
    """PYNQ would find finn-accel.bin there and load that."""
    b, remote = network_board
    Accelerator(b.deployment, connect(remote)).close()
    other = Board(tmp_path / "other", seed=9)
    other.deployment.bitfile.write_bytes(bitstream("xczu3eg"))
    write_manifest(other.deployment.folder, board="ultra96", clock_mhz=100, style="other", bits=8)
    Accelerator(other.deployment, connect(remote)).close()
    assert remote.loaded == [f"finn-accel-{file_sha256(d.bitfile)[:16]}.bin" for d in (b.deployment, other.deployment)]
    one, two = (remote.files[FIRMWARE + name] for name in remote.loaded)
    assert one and two


def test_a_board_that_goes_away(network_board):
    b, remote = network_board
    accelerator = Accelerator(b.deployment, connect(remote))
    tile = np.zeros((b.deployment.height, b.deployment.width, 3), np.uint8)
    assert np.array_equal(accelerator.run(tile), reference.run(b.network, tile))
    remote.stop()
    with pytest.raises(AcceleratorError, match="the board failed to start the accelerator"):
        accelerator.run(tile)
    accelerator.close()


def test_a_board_that_does_not_answer(network_board, monkeypatch):
    b, remote = network_board
    monkeypatch.setattr(driver, "_ANSWER", 0.5)
    accelerator = Accelerator(b.deployment, connect(remote))
    tile = np.zeros((b.deployment.height, b.deployment.width, 3), np.uint8)
    remote.answering.clear()
    began = time.monotonic()
    with pytest.raises(AcceleratorError, match="the board has not answered for"):
        accelerator.run(tile)
    assert time.monotonic() - began < 5
    remote.answering.set()
    time.sleep(0.2)
    accelerator.load()
    assert np.array_equal(accelerator.run(tile), reference.run(b.network, tile))
    accelerator.close()


def test_lights_are_written_over_the_network(tmp_path):
    """Runs of registers are written in one message, and read in a message for each."""
    b = Board(tmp_path / "board", adaptive=True)
    port = light_port(b.deployment.bitfile.with_suffix(".hwh"))

    def load(memory, _):
        stations = Stations(b.network, b.deployment.light, paint=b.compute_lit)
        compute = frame_by_frame(stations.paint, b.deployment.height, b.deployment.width)
        size = b.deployment.height * b.deployment.width * 3
        return Fabric(memory, Power(), ENGINES, size, compute, light=(*port, stations))

    remote = RemoteBoard(load)
    try:
        painter = AdaptiveAcceleratorPainter(b.model, Accelerator(b.deployment, connect(remote)))
        frames = b.frames(2, 40, 30)
        for painting, frame in zip(painter.paint_each(frames), frames, strict=True):
            assert np.array_equal(painting, b.adaptive_reference().paint(frame))
        assert painter.reloads == 0
        painter.close()
        assert not remote.memory.live and not remote.fabric.violations
    finally:
        remote.stop()
