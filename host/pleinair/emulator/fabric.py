"""The programmable logic of a board, emulated: memory, two memory-access engines, an accelerator between them.

What a driver may do wrong shows here as on silicon, or louder:

- Memory is addressed physically, and apart from the host's copies of buffers; what was not flushed is not there.
- An engine given an address that belongs to no buffer, or to one that was freed, never gets done.
- The input is read while the accelerator works, and the output holds garbage until it is done.
- Starting an engine that runs, or changing its input, is noted in :attr:`Fabric.violations`.

The engines are FINN's IODMA as Vitis HLS compiles it (finn-plus 1.6.1, ``IODMA_hls``; UG1399, "S_AXILITE Control
Register Map"): 0x00 control (bit 0 start, 1 done, cleared by reading, 2 idle, 3 ready), 0x10 and 0x14 address, 0x1C
frames. Where the deployment says so they are ours (``hw/pleinair_hw/rtl/shell.sv``), with registers for errors on the
bus behind these: the bus's answer, 2 or 3, and where the burst began. Needs NumPy, not pynq.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from pleinair.errors import OptionError

CONTROL, ADDRESS_LOW, ADDRESS_HIGH, FRAMES = 0x00, 0x10, 0x14, 0x1C
START, DONE, IDLE, READY = 1, 2, 4, 8
#: Bytes of the address space that an engine occupies.
WINDOW = 0x10000
_GARBAGE = 0xA5

#: One frame's bytes in, flat uint8, to its bytes out.
Compute = Callable[[np.ndarray], np.ndarray]


#: Opens a build's folder and gives what paints uint8 [H, W, 3] of the accelerator's size with the build's hardware; of
#: an adaptive network, a :data:`pleinair.emulator.stations.Through`.
Simulator = Callable[[Path], Callable[..., Any]]


class BusError(OSError):
    """An access that no device answers."""


class Memory:
    """The board's memory for buffers: whole pages, first fit. ``allocations`` counts all that ever were made."""

    def __init__(self, size: int = 128 << 20, base: int = 0x1000_0000) -> None:
        self.base, self.size = base, size
        self.live: dict[int, np.ndarray] = {}
        self.allocations = 0

    def allocate(self, count: int) -> int:
        """The address of ``count`` fresh bytes. Raises MemoryError."""
        pages = max(1, -(-count // 4096)) * 4096
        at = self.base
        for address, block in sorted(self.live.items()):
            if address - at >= pages:
                break
            at = address + block.size
        if at + pages > self.base + self.size:
            raise MemoryError(f"no {pages} bytes of contiguous memory left")
        self.live[at] = np.full(pages, _GARBAGE, np.uint8)
        self.allocations += 1
        return at

    def free(self, address: int) -> None:
        """Give a buffer back; KeyError if it is none."""
        del self.live[address]

    def view(self, address: int, count: int) -> np.ndarray:
        """The bytes at ``address``; BusError unless one buffer holds them all."""
        for start, block in self.live.items():
            if start <= address and address + count <= start + block.size:
                return block[address - start : address - start + count]
        raise BusError(f"bus error: {count} bytes at {address:#x} are no buffer's")


# -- faults

#: hang: a frame is never done. late: it is done long after its time. short: it is done with its last quarter unwritten.
#: bus: reading an engine's register fails once it has been started. memory: a buffer cannot be allocated.
#: bus-error: memory answers the engine that reads with an error; one of ours stops and tells, FINN's hangs.
#: torn: a word that is written to the registers of the light is lost. stuck0, stuck1: a bit of them is always 0 or 1.
FAULTS = ("hang", "late", "short", "bus", "bus-error", "memory", "torn", "stuck0", "stuck1")
_FAULT = re.compile(rf"({'|'.join(FAULTS)})@(\d+)(\+?)")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, at which frame since power-up, once or from there on.

    The number is that of an allocation for ``memory``, of a word written for ``torn``. For ``stuck0`` and ``stuck1``,
    which always last, it is that of a bit, counted from the first of the light's registers.
    """

    kind: str
    number: int
    lasting: bool = False

    def strikes(self, number: int) -> bool:
        """Whether it is due."""
        return number >= self.number if self.lasting else number == self.number


def parse_faults(text: str) -> list[Fault]:
    """``"hang@3 memory@0+"``: faults with their numbers, from 0; a plus makes one last. Raises OptionError."""
    faults = []
    for word in text.split():
        match = _FAULT.fullmatch(word)
        if match is None:
            raise OptionError(f"fault {word!r}: must be KIND@NUMBER or KIND@NUMBER+, KIND one of {', '.join(FAULTS)}")
        faults.append(Fault(match[1], int(match[2]), bool(match[3])))
    return faults


# -- engines


class _Engine:
    """One IODMA's registers."""

    def __init__(self) -> None:
        self.registers = {CONTROL: IDLE, ADDRESS_LOW: 0, ADDRESS_HIGH: 0, FRAMES: 0}

    @property
    def address(self) -> int:
        return self.registers[ADDRESS_LOW] | self.registers[ADDRESS_HIGH] << 32

    @property
    def frames(self) -> int:
        return self.registers[FRAMES]

    @property
    def started(self) -> bool:
        return bool(self.registers[CONTROL] & START)

    def finish(self) -> None:
        self.registers[CONTROL] = DONE | IDLE | READY


class Power:
    """What outlives a bitstream: how much has been started and written since power-up, and what goes wrong when."""

    def __init__(self, faults: list[Fault] | None = None, late: float = 5.0) -> None:
        """``late``: by how many seconds a late frame is late."""
        self.faults, self.late = faults or [], late
        self.frames = self.allocations = self.light_writes = 0

    def strikes(self, kind: str, number: int) -> bool:
        """Whether a fault of this kind is due."""
        return any(fault.kind == kind and fault.strikes(number) for fault in self.faults)


class LightRegisters(Protocol):
    """The registers of an accelerator's light, by byte offset."""

    #: Bits, counted from the first register's, that are always 0 or 1.
    stuck: dict[int, int]

    def read(self, offset: int) -> int:
        """A 32-bit register."""
        ...

    def write(self, offset: int, value: int) -> None:
        """A 32-bit register."""
        ...


class Fabric:
    """An accelerator between two engines, from one bitstream's loading to the next."""

    def __init__(
        self,
        memory: Memory,
        power: Power,
        engines: tuple[int, int],
        frame_bytes: int,
        compute: Compute,
        weight_ports: Mapping[int, int] | None = None,
        light: tuple[int, int, LightRegisters] | None = None,
        error_register: int | None = None,
        painted_bytes: int | None = None,
    ) -> None:
        """``frame_bytes``: of a frame, and of its painting unless ``painted_bytes`` says otherwise.

        ``engines``: base addresses; ``weight_ports``: base addresses and bytes; ``light``: those and registers.

        ``error_register``: where an engine tells of errors on the bus, None where it does not.
        """
        self._error_register = error_register
        self._memory, self._power, self._bytes, self._compute = memory, power, frame_bytes, compute
        self._painted_bytes = frame_bytes if painted_bytes is None else painted_bytes
        self._in, self._out = _Engine(), _Engine()
        self._engines = {engines[0]: self._in, engines[1]: self._out}
        self._names = {engines[0]: "in", engines[1]: "out"}
        #: Words written to the accelerator's weights, by port and offset.
        self.weights: dict[int, dict[int, int]] = {port: {} for port in weight_ports or {}}
        self._windows = {**dict.fromkeys(self._engines, WINDOW), **(weight_ports or {})}
        self.light: LightRegisters | None = None
        self._light_base = -1
        if light is not None:
            self._light_base, size, self.light = light
            self._windows[self._light_base] = size
            self.light.stuck.update({f.number: int(f.kind[-1]) for f in power.faults if f.kind.startswith("stuck")})
        #: Accesses to registers, newest last: ("write" or "read", "in" or "out", offset, value). A read that is
        #: repeated, and gives the same again, stands there once.
        self.traffic: deque[tuple[str, str, int, int]] = deque(maxlen=10_000)
        self.violations: list[str] = []
        self._lock = threading.RLock()
        self._off = threading.Event()
        self._broken = False
        # One thread for all frames: starting one takes longer than a driver's whole work.
        self._started: SimpleQueue[int | None] = SimpleQueue()
        threading.Thread(target=self._work, name="fabric", daemon=True).start()

    def switch_off(self) -> None:
        """Another bitstream is loaded, or the power fails: whatever runs stops where it is."""
        self._off.set()
        self._started.put(None)
        with self._lock:
            pass

    def _find(self, address: int) -> tuple[int, int]:
        for base, size in self._windows.items():
            if base <= address < base + size:
                return base, address - base
        raise BusError(f"bus error: nothing answers at {address:#x}")

    def read(self, address: int) -> int:
        """A 32-bit register. Raises BusError."""
        base, offset = self._find(address)
        with self._lock:
            if base in self.weights:
                return self.weights[base].get(offset, 0)
            if self._broken:
                raise BusError(f"bus error: no answer at {address:#x}")
            if base == self._light_base and self.light is not None:
                return self.light.read(offset)
            registers = self._engines[base].registers
            value = registers.get(offset, 0)
            if offset == CONTROL:
                registers[CONTROL] &= ~DONE
            access = ("read", self._names[base], offset, value)
            if offset == self._error_register and not value:
                return value  # looked at all the time
            if not self.traffic or self.traffic[-1] != access:
                self.traffic.append(access)
            return value

    def write(self, address: int, value: int) -> None:
        """A 32-bit register. Raises BusError."""
        base, offset = self._find(address)
        with self._lock:
            if base in self.weights:
                self.weights[base][offset] = value
                return
            if self._broken:
                raise BusError(f"bus error: no answer at {address:#x}")
            if base == self._light_base and self.light is not None:
                self._power.light_writes += 1
                if not self._power.strikes("torn", self._power.light_writes - 1):
                    self.light.write(offset, value)
                return
            engine = self._engines[base]
            self.traffic.append(("write", self._names[base], offset, value))
            if engine.started:
                self.violations.append(f"register {offset:#x} of the {self._names[base]} engine written while it runs")
            if offset != CONTROL:
                engine.registers[offset] = value
                return
            if not value & START:
                return
            engine.registers[CONTROL] = START
            if self._in.started and self._out.started:
                number = self._power.frames
                self._power.frames += 1
                self._broken = self._power.strikes("bus", number)
                self._started.put(number)

    def _work(self) -> None:
        while (number := self._started.get()) is not None:
            self._run(number)

    def _fail(self, engine: _Engine, answer: int) -> None:
        """Memory has answered an engine with an error: it is done, if it is one of ours, and the other one waits."""
        at = self._error_register
        if at is None:
            return
        with self._lock:
            if not self._off.is_set():
                engine.registers.update({at: answer, at + 4: engine.registers[ADDRESS_LOW]})
                engine.registers[at + 8] = engine.registers[ADDRESS_HIGH]
                engine.finish()

    def _run(self, number: int) -> None:
        strikes = self._power.strikes
        if strikes("bus-error", number):
            self._fail(self._in, 2)
            return
        engine = self._in
        try:
            source = self._memory.view(self._in.address, self._in.frames * self._bytes)
            engine = self._out
            sink = self._memory.view(self._out.address, self._out.frames * self._painted_bytes)
        except BusError as error:
            self.violations.append(str(error))
            self._fail(engine, 3)
            return
        if self._in.frames != self._out.frames:
            self.violations.append("the engines were given different numbers of frames")
            return
        if strikes("hang", number):
            return
        given = source.copy()
        sink[: sink.size - 64] = _GARBAGE
        painted = np.concatenate([self._compute(frame) for frame in given.reshape(-1, self._bytes)])
        if strikes("late", number):
            self._off.wait(self._power.late)
        with self._lock:
            if self._off.is_set():
                return
            if (source != given).any():
                self.violations.append("the input was changed while it was read")
            written = painted.size * 3 // 4 if strikes("short", number) else painted.size
            sink[:written] = painted[:written]
            self._in.finish()
            self._out.finish()
