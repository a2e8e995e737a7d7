"""The driver on emulated boards of either family: bytes, registers, cache maintenance, deadlines, memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pynq
import pytest
from pynq.ps import Clocks

from pleinair.errors import EngineError
from pleinair.fpga.driver import AcceleratorError
from pleinair.network import reference
from tests.board.boards import FAMILIES, PATIENCE


def tile_of(board, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (board.deployment.height, board.deployment.width, 3), np.uint8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", (4, 8, 16))
def test_tiles_come_back_painted(board, family, bits):
    b = board(family, bits)
    accelerator = b.accelerator()
    for seed in range(3):
        tile = tile_of(b, seed)
        painted = accelerator.run(tile)
        assert painted.dtype == np.uint8 and painted.flags.owndata
        assert np.array_equal(painted, reference.run(b.network, tile))
    assert Clocks.fclk0_mhz == pytest.approx(100, abs=0.01)


@pytest.mark.skipif(int(pynq.__version__.split(".")[0]) < 4, reason="pynq 3 reads both families")
def test_pynq_4_says_that_it_cannot_load_a_zynq_7000(board):
    with pytest.raises(EngineError, match=r"of a Zynq-7000, which pynq 4\.\S+ cannot load; PYNQ 3\.1 can"):
        board("pynq-z2").accelerator()


def test_the_engines_are_started_as_finn_starts_them(board):
    b = board()
    accelerator = b.accelerator()
    accelerator.run(tile_of(b))
    given, taken = sorted(b.device.memory.live)[:2]
    accesses = [(kind, engine, offset, value) for kind, engine, offset, value in b.fabric.traffic if kind == "write"]
    assert accesses == [
        ("write", engine, offset, value)
        for engine, address in (("out", taken), ("in", given))
        for offset, value in ((0x10, address), (0x14, 0), (0x1C, 1), (0x00, 1))
    ]
    assert b.fabric.traffic[0] == ("read", "out", 0, 4)
    assert {(engine, offset) for kind, engine, offset, _ in b.fabric.traffic if kind == "read"} == {("out", 0)}


def test_both_slots_have_memory_of_their_own(board):
    b = board()
    accelerator = b.accelerator()
    one, two = tile_of(b, 1), tile_of(b, 2)
    accelerator.input(0)[:] = one
    accelerator.start(0)
    accelerator.input(1)[:] = two
    accelerator.finish(0)
    accelerator.start(1)
    assert np.array_equal(accelerator.output(0), reference.run(b.network, one))
    accelerator.finish(1)
    assert np.array_equal(accelerator.output(0), reference.run(b.network, one))
    assert np.array_equal(accelerator.output(1), reference.run(b.network, two))


@pytest.mark.parametrize("call", ("flush", "invalidate"))
def test_the_emulation_shows_a_forgotten_cache_operation(board, call, monkeypatch):
    """Not of the driver, but of what it is tested with."""
    b = board()
    accelerator = b.accelerator()
    tile = tile_of(b)
    expected = reference.run(b.network, tile)
    assert np.array_equal(accelerator.run(tile), expected)
    monkeypatch.setattr(type(b.device), call, lambda *_: None)
    other = tile_of(b, 1)
    try:
        painted = accelerator.run(other)
    except AcceleratorError:
        return
    assert not np.array_equal(painted, reference.run(b.network, other))


def test_the_emulation_shows_an_input_changed_too_early(board):
    changed = threading.Event()

    def compute(data):
        assert changed.wait(PATIENCE)
        return b.compute(data)

    b = board(compute=compute)
    accelerator = b.accelerator()
    accelerator.input(0)[:] = tile_of(b)
    accelerator.start(0)
    time.sleep(0.1)
    accelerator.input(0)[:] = 0
    accelerator._slots[0].given.flush()
    changed.set()
    accelerator.finish(0)
    assert b.fabric.violations == ["the input was changed while it was read"]
    b.forgiven = True


@pytest.mark.parametrize("kind", ("hang", "late"))
def test_a_tile_that_is_not_done_in_time(board, kind):
    b = board(faults=f"{kind}@1")
    accelerator = b.accelerator()
    tile = tile_of(b)
    expected = accelerator.run(tile)
    deadline = accelerator.deadline
    assert deadline >= 1
    began = time.monotonic()
    with pytest.raises(AcceleratorError, match=r"not done with a tile of 96x64 after \d"):
        accelerator.run(tile)
    assert time.monotonic() - began < deadline + 1
    accelerator.load()
    assert np.array_equal(accelerator.run(tile), expected)
    # What was late then must not come in now.
    b.device.power.late = 0
    assert np.array_equal(accelerator.run(tile), expected)


def test_a_frame_cut_short(board):
    b = board(faults="short@1")
    accelerator = b.accelerator()
    tile = tile_of(b)
    expected = accelerator.run(tile)
    with pytest.raises(AcceleratorError, match="fewer bytes"):
        accelerator.run(tile)
    assert np.array_equal(accelerator.run(tile), expected)


def test_a_bus_error(board):
    b = board(faults="bus@0")
    accelerator = b.accelerator()
    with pytest.raises(AcceleratorError, match="failed to wait for the accelerator: bus error: no answer at 0x"):
        accelerator.run(tile_of(b))
    accelerator.load()
    assert np.array_equal(accelerator.run(tile_of(b)), reference.run(b.network, tile_of(b)))


def test_an_error_that_memory_answers_is_told_at_once(board):
    b = board(faults="bus-error@0")
    accelerator = b.accelerator()
    address = accelerator._slots[0].input_address
    with pytest.raises(
        AcceleratorError,
        match=rf"on the bus while reading the tile: memory at {address:#x} answered with an error \(SLVERR\)",
    ):
        accelerator.run(tile_of(b))
    accelerator.load()
    assert np.array_equal(accelerator.run(tile_of(b)), reference.run(b.network, tile_of(b)))


def test_finns_engines_do_not_say_and_are_not_asked(board):
    b = board(faults="bus-error@0", errors=False)
    assert b.deployment.error_register is None
    accelerator = b.accelerator(first_deadline=0.5)
    with pytest.raises(AcceleratorError, match="is not done with a tile"):
        accelerator.run(tile_of(b))
    assert all(offset != 0x40 for _, _, offset, _ in b.fabric.traffic)


@pytest.mark.parametrize("number", range(4))
def test_no_memory_for_a_buffer(board, number):
    b = board(faults=f"memory@{number}")
    with pytest.raises(AcceleratorError, match="failed to allocate buffers: BO allocation failed"):
        b.accelerator()
    assert not b.device.memory.live
    b.accelerator()
    assert len(b.device.memory.live) == 4


def test_reloading_frees_what_it_replaces(board):
    b = board()
    accelerator = b.accelerator()
    for _ in range(5):
        accelerator.load()
        assert len(b.device.memory.live) == 4
    assert b.device.downloads == 6


def test_closing_waits_for_what_runs(board):
    b = board()
    accelerator = b.accelerator()
    accelerator.input(0)[:] = tile_of(b)
    accelerator.start(0)
    accelerator.close()
    assert not b.device.memory.live and not b.fabric.violations


def test_closing_stops_what_hangs_before_it_frees_its_memory(board):
    b = board(faults="hang@1")
    accelerator = b.accelerator()
    accelerator.run(tile_of(b))
    accelerator.start(0)
    accelerator.close()
    assert b.device.downloads == 2 and not b.device.memory.live


def test_another_program_uses_the_accelerator(board):
    b = board(faults="hang@0")
    accelerator = b.accelerator()
    for engine in (accelerator._out, accelerator._in):
        engine.write(0x1C, 1)
        engine.write(0x00, 1)
    with pytest.raises(AcceleratorError, match="not idle"):
        accelerator.run(tile_of(b))
    b.forgiven = True


def test_weights_are_written_before_the_first_tile(board):
    b = board(writeable=2)
    words = {0: [1, 0xFFFFFFFF, 0x80000000], 1: list(range(1000))}
    folder = b.deployment.folder / "driver" / "runtime_weights"
    folder.mkdir()
    for layer, values in words.items():
        (folder / f"1_{layer}_MVAU_rtl_{layer}.dat").write_text("".join(f"{v:08x}\n" for v in values))
    b.accelerator()
    first, second = sorted(b.fabric.weights)
    assert list(b.fabric.weights[first].values()) == words[0]
    assert b.fabric.weights[second] == {4 * k: v for k, v in enumerate(words[1])}
    # One frame to wash the old weights out of the streams.
    assert b.power.frames == 1
    (folder / "1_2_MVAU_rtl_2.dat").write_text("00000001\n")
    with pytest.raises(AcceleratorError, match="no port for all of 1_2_MVAU_rtl_2.dat"):
        b.accelerator()


def test_where_pynq_finds_no_board(board):
    from pleinair.fpga.driver import Accelerator

    b = board()
    b.accelerator()
    with pytest.raises(EngineError, match="pynq finds no board here"):
        Accelerator(b.deployment)


def test_power_of_the_rails_that_have_a_sensor(board, monkeypatch):
    class Rail:
        def __init__(self, watts=None):
            self.power = None if watts is None else self
            self.value = watts

    monkeypatch.setattr(pynq, "get_rails", lambda: {"12V": Rail(9.5), "0V85": Rail(3.25), "fan": Rail()})
    b = board()
    accelerator = b.accelerator()
    assert accelerator.power() == {}, "an emulated board draws no power"
    b.device.name = "ZCU104"
    assert accelerator.power() == {"12V": 9.5, "0V85": 3.25}
