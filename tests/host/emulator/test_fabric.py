"""The emulated accelerator itself: registers as Vitis HLS makes them, memory, faults."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pleinair.emulator.fabric import BusError, Fabric, Fault, Memory, Power, parse_faults
from pleinair.errors import OptionError

IN, OUT, WEIGHTS = 0xA0000000, 0xA0010000, 0xA0020000


@pytest.fixture
def make():
    """Fabrics that invert frames of 256 bytes, and are switched off afterwards."""
    made = []

    def fabric(faults="", compute=lambda frame: 255 - frame, late=5.0, error_register=None):
        memory, ports = Memory(1 << 20), {WEIGHTS: 0x2000}
        power = Power(parse_faults(faults), late)
        made.append(Fabric(memory, power, (IN, OUT), 256, compute, ports, error_register=error_register))
        return made[-1], memory

    yield fabric
    for f in made:
        f.switch_off()


def start(fabric, given, taken, frames=1):
    for base, address in ((OUT, taken), (IN, given)):
        fabric.write(base + 0x10, address)
        fabric.write(base + 0x14, 0)
        fabric.write(base + 0x1C, frames)
        fabric.write(base, 1)


def done(fabric, base=OUT, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fabric.read(base) & 2:
            return True
        time.sleep(0.001)
    return False


@pytest.mark.parametrize("frames", (1, 3))
def test_frames_are_computed_once_both_engines_are_started(make, frames):
    fabric, memory = make()
    given, taken = memory.allocate(256 * frames), memory.allocate(256 * frames)
    memory.view(given, 256 * frames)[:] = np.arange(256 * frames) % 251
    assert fabric.read(IN) == fabric.read(OUT) == 4
    fabric.write(OUT + 0x10, taken)
    fabric.write(OUT + 0x1C, frames)
    fabric.write(OUT, 1)
    time.sleep(0.05)
    assert fabric.read(OUT) == 1
    fabric.write(IN + 0x10, given)
    fabric.write(IN + 0x1C, frames)
    fabric.write(IN, 1)
    assert done(fabric)
    # Done is cleared by reading, idle stays.
    assert fabric.read(OUT) & 6 == 4 and fabric.read(IN) & 6 == 6
    assert np.array_equal(memory.view(taken, 256 * frames), 255 - np.arange(256 * frames) % 251)
    assert not fabric.violations


def test_an_error_on_the_bus_ends_an_engine_of_ours(make):
    fabric, memory = make("bus-error@0", error_register=0x40)
    given, taken = memory.allocate(256), memory.allocate(256)
    assert fabric.read(IN + 0x40) == 0
    start(fabric, given, taken)
    assert done(fabric, IN)
    assert [fabric.read(IN + at) for at in (0x40, 0x44, 0x48)] == [2, given, 0]
    assert fabric.read(OUT) == 1 and fabric.read(OUT + 0x40) == 0
    fabric, memory = make("bus-error@0")
    start(fabric, memory.allocate(256), memory.allocate(256))
    assert not done(fabric, IN, 0.1) and not done(fabric, OUT, 0.1)


def test_memory_that_is_not_there_is_an_error_on_the_bus(make):
    fabric, memory = make(error_register=0x40)
    start(fabric, memory.allocate(256), 0x4000)
    assert done(fabric, OUT)
    assert [fabric.read(OUT + at) for at in (0x40, 0x44)] == [3, 0x4000] and fabric.violations


def test_addresses_that_are_no_buffers(make):
    fabric, memory = make()
    taken = memory.allocate(256)
    start(fabric, taken - 4096, taken)
    assert not done(fabric, seconds=0.2)
    assert fabric.violations == [f"bus error: 256 bytes at {taken - 4096:#x} are no buffer's"]
    with pytest.raises(BusError):
        fabric.read(0xB0000000)
    with pytest.raises(BusError):
        memory.view(taken, 4097)


def test_a_running_engine_is_not_to_be_touched(make):
    fabric, memory = make("hang@0")
    given, taken = memory.allocate(256), memory.allocate(256)
    start(fabric, given, taken)
    fabric.write(IN + 0x10, taken)
    assert fabric.violations == ["register 0x10 of the in engine written while it runs"]


def test_memory_is_given_back_and_given_again():
    memory = Memory(3 * 4096)
    one, two, three = memory.allocate(1), memory.allocate(4096), memory.allocate(4095)
    assert (two, three) == (one + 4096, one + 8192)
    with pytest.raises(MemoryError, match="no 4096 bytes"):
        memory.allocate(1)
    memory.free(two)
    assert memory.allocate(4096) == two and memory.allocations == 4
    with pytest.raises(KeyError):
        memory.free(one + 1)


def test_what_runs_ends_with_its_bitstream(make):
    """A late frame of an accelerator that is no more must not be written."""
    fabric, memory = make("late@0", late=0.3)
    given, taken = memory.allocate(256), memory.allocate(256)
    start(fabric, given, taken)
    time.sleep(0.1)
    before = memory.view(taken, 256).copy()
    fabric.switch_off()
    time.sleep(0.4)
    assert np.array_equal(memory.view(taken, 256), before)


def test_faults(make):
    fabric, memory = make("short@1 late@2 hang@3 bus@4", late=0.2)
    given, taken = memory.allocate(256), memory.allocate(256)
    memory.view(given, 256)[:] = 1
    start(fabric, given, taken)
    assert done(fabric) and (memory.view(taken, 256) == 254).all()
    memory.view(taken, 256)[:] = 7
    start(fabric, given, taken)
    assert done(fabric) and (memory.view(taken, 256)[:192] == 254).all() and (memory.view(taken, 256)[192:] == 7).all()
    start(fabric, given, taken)
    assert not done(fabric, seconds=0.1) and done(fabric)
    start(fabric, given, taken)
    assert not done(fabric, seconds=0.3)
    other, memory = make("bus@0")
    start(other, memory.allocate(256), memory.allocate(256))
    with pytest.raises(BusError, match="no answer"):
        other.read(OUT)


def test_weights_are_kept(make):
    fabric, _ = make()
    fabric.write(WEIGHTS + 0x1FFC, 5)
    assert fabric.read(WEIGHTS + 0x1FFC) == 5 and fabric.weights == {WEIGHTS: {0x1FFC: 5}}
    with pytest.raises(BusError):
        fabric.write(WEIGHTS + 0x2000, 5)


def test_faults_are_read_from_text():
    assert parse_faults(" hang@3 memory@0+") == [Fault("hang", 3), Fault("memory", 0, True)]
    assert [Fault("hang", 3).strikes(n) for n in (2, 3, 4)] == [False, True, False]
    assert [Fault("hang", 3, True).strikes(n) for n in (2, 3, 4)] == [False, True, True]
    for text in ("hang", "hang@", "fire@3", "hang@-1", "hang@3++"):
        with pytest.raises(OptionError, match="must be KIND@NUMBER"):
            parse_faults(text)
