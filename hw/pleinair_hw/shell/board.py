"""A whole design in Verilator: processor, memory, shell and accelerator, cycle by cycle.

The processor follows a :class:`Program` of accesses to registers, as a driver would make them; memory is an array of
bytes. What is simulated is the RTL of :func:`pleinair_hw.shell.write.write_shell`, or a netlist of its top module.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pleinair.fpga.light_map import LightMap
from pleinair.fpga.light_port import APPLY, FRAMES, STATUS, table_of
from pleinair.network.light import Light
from pleinair_hw.shell.write import Shell
from pleinair_hw.simulate.verilator import SimulationError, build

_HERE = Path(__file__).resolve().parent
#: Where memory lies, in the addresses of the accelerator's master.
MEMORY = 0x1000_0000
#: Registers of an engine.
CONTROL, ADDRESS_LOW, ADDRESS_HIGH, FRAME_COUNT, ERROR, ERROR_LOW, ERROR_HIGH = 0x00, 0x10, 0x14, 0x1C, 0x40, 0x44, 0x48
START, DONE = 1, 2
_WORD = 8


@dataclass
class Program:
    """Accesses to registers, in order. Each method that reads gives the number of its reply."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def _add(self, kind: str, address: int, value: int) -> int:
        self.lines.append(f"{kind} {address} {value % (1 << 32)}")
        return len(self.lines) - 1

    def write(self, address: int, value: int) -> int:
        """Write a register."""
        return self._add("w", address, value)

    def read(self, address: int) -> int:
        """Read a register."""
        return self._add("r", address, 0)

    def await_value(self, address: int, value: int) -> int:
        """Read a register until it holds ``value``."""
        return self._add("p", address, value)

    def await_bits(self, address: int, bits: int) -> int:
        """Read a register until it has any of ``bits``."""
        return self._add("b", address, bits)

    def fail_burst(self, number: int, response: int) -> None:
        """Let memory answer the burst of that number, of reads and writes together from 0, with 2 or 3."""
        self.faults.append(f"f {number} {response}")


@dataclass(frozen=True)
class Run:
    """``replies`` are uint64, a response above 32 bits of data, for each line; ``memory`` is uint8, as it was left."""

    replies: np.ndarray
    memory: np.ndarray
    cycles: int
    bursts: int

    def value(self, reply: int) -> int:
        """What a line read. Raises SimulationError where its answer was an error."""
        response, value = divmod(int(self.replies[reply]), 1 << 32)
        if response:
            raise SimulationError(f"line {reply} of the program was answered with {response}")
        return value


@dataclass(frozen=True)
class Board:
    """A compiled design."""

    shell: Shell
    executable: Path
    data: tuple[Path, ...]

    @property
    def mask(self) -> int:
        """The bits of a register's address that the design's port has."""
        return (self.shell.map_bytes if self.shell.top is None else 1 << 32) - 1

    def address(self, instance: str, port: str = "s_axi_control_0") -> int:
        """Where the registers of a port begin."""
        return next(self.shell.base + w.offset for w in self.shell.windows if (w.instance, w.port) == (instance, port))

    def run(
        self, program: Program, memory: np.ndarray, *, stalls: int = 0, seed: int = 0, max_cycles: int = 100_000_000
    ) -> Run:
        """Follow a program with uint8 ``memory`` at MEMORY; ``stalls`` in per cent of cycles.

        Raises:
            SimulationError: a rule of AXI was broken, or the program has not ended after ``max_cycles``.
        """
        with tempfile.TemporaryDirectory(prefix="pleinair-run-") as name:
            folder = Path(name)
            for file in self.data:
                (folder / file.name).write_bytes(file.read_bytes())
            np.ascontiguousarray(memory, np.uint8).tofile(folder / "memory.bin")
            (folder / "program.txt").write_text("\n".join([*program.faults, *program.lines]) + "\n")
            command = [str(self.executable), *map(str, (seed, stalls, max_cycles, MEMORY, self.mask))]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SimulationError(
                    f"the simulated board failed: {' '.join((done.stdout + done.stderr).split())[:500]}"
                )
            told = json.loads((folder / "result.json").read_text())
            replies = np.fromfile(folder / "replies.bin", np.uint64)
            return Run(replies, np.fromfile(folder / "memory.out", np.uint8), told["cycles"], told["bursts"])


def compile_board(
    shell: Shell,
    *,
    netlist: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    optimise: int = 1,
    jobs: int | None = None,
    cache: Path | None = None,
) -> Board:
    """Compile a design.

    Args:
        shell: what :func:`~pleinair_hw.shell.write.write_shell` wrote.
        netlist: Verilog of a netlist of ``pleinair_top`` and of its cells, BUFG among them, in place of the RTL.
        defines: macros for the netlist's cells.
        optimise, jobs, cache: see :func:`pleinair_hw.simulate.verilator.build`.

    Raises SimulationError, ToolchainError.
    """
    if netlist and shell.top is None:
        raise ValueError("only a design with its processing system has a netlist")
    sources = [*netlist] if netlist else [*shell.sources]
    macros = {**(defines or {}), **({"NETLIST": "1"} if netlist else {})}
    compiled = build(
        shell.core if shell.top is None else "bench",
        sources if shell.top is None else [*sources, _HERE / "bench.sv"],
        [],
        [],
        defines=macros,
        data_files=() if netlist else shell.data,
        optimise=optimise,
        unique=not netlist,
        jobs=jobs,
        cache=cache,
        harness=_HERE / "board.cpp",
    )
    return Board(shell, compiled.executable, compiled.data_files)


def _set_light(program: Program, at: int, light_map: LightMap, light: Light, frame: int) -> list[int]:
    """Write a light for a frame that is to come; the replies that hold each station's STATUS."""
    found = []
    for station, layer in zip(light_map.stations, light.layers, strict=True):
        registers = at + station.registers
        if frame:
            program.await_value(registers + 4 * FRAMES, frame)
        for k, word in enumerate(table_of(layer).reshape(-1).tolist()):
            program.write(at + station.table + 4 * k, word)
        program.write(registers + 4 * APPLY, frame)
        found.append(program.read(registers + 4 * STATUS))
    return found


def paint(
    board: Board,
    frames: np.ndarray,
    *,
    lights: Sequence[Light] = (),
    light_map: LightMap | None = None,
    before: Program | None = None,
    inset: int = 0,
    stalls: int = 0,
    seed: int = 0,
    max_cycles: int = 100_000_000,
) -> tuple[np.ndarray, Run]:
    """Paint frames, uint8 [n, H, W, 3], as the driver does; the paintings, and what was run.

    Without ``lights`` all frames go in one start. With a light for each frame, each has a start of its own, and its
    light is written while the frame before is painted. ``before`` is what the processor does first. ``inset``: pixels
    that a painting is without on each side.

    Raises SimulationError, also where a station does not take a light in time.
    """
    count, size = len(frames), frames[0].size
    shape = count, frames.shape[1] - 2 * inset, frames.shape[2] - 2 * inset, 3
    painted = shape[1] * shape[2] * 3
    room = -(-count * size // 4096) * 4096
    memory = np.full(2 * room, 0xA5, np.uint8)
    memory[: count * size] = frames.reshape(-1)
    program = Program() if before is None else Program([*before.lines], [*before.faults])
    first, last = (board.address(name) for name in ("idma0", "odma0"))
    states = []
    port = board.address(board.shell.windows[2].instance, board.shell.windows[2].port) if light_map is not None else 0

    def start(number: int, of: int) -> None:
        for engine, address in ((last, MEMORY + room + number * painted), (first, MEMORY + number * size)):
            program.write(engine + ADDRESS_LOW, address)
            program.write(engine + ADDRESS_HIGH, address >> 32)
            program.write(engine + FRAME_COUNT, of)
            program.write(engine + CONTROL, START)

    if light_map is None:
        start(0, count)
        program.await_bits(last + CONTROL, DONE)
        program.await_bits(first + CONTROL, DONE)
    else:
        states += _set_light(program, port, light_map, lights[0], 0)
        for number in range(count):
            start(number, 1)
            if number + 1 < count:
                states += _set_light(program, port, light_map, lights[number + 1], number + 1)
            program.await_bits(last + CONTROL, DONE)
            program.await_bits(first + CONTROL, DONE)
    errors = [program.read(engine + ERROR) for engine in (first, last)]
    run = board.run(program, memory, stalls=stalls, seed=seed, max_cycles=max_cycles)
    refused = np.flatnonzero(run.replies >> np.uint64(32))
    if refused.size:
        raise SimulationError(f"line {refused[0]} of the program was refused: {program.lines[refused[0]]}")
    if any(run.value(reply) for reply in errors):
        raise SimulationError("an engine tells of an error on the bus")
    if any(run.value(reply) & ~1 for reply in states):
        raise SimulationError("a station did not take its light in time")
    return run.memory[room : room + count * painted].reshape(shape), run
