"""The complete accelerator, simulated cycle by cycle in Verilator and compared with the integer reference.

A simulation needs Verilator and the folder that :func:`pleinair_hw.stitch.write.write_rtl` leaves (``BUILD/rtl``), but
not FINN. The folder may have been moved. It is refused when a file in it has changed since it was written, unless a
change is wanted (a test of what a fault does). Compiled simulations are cached by content; weights are read when a
simulation starts, so other weights need no compiling.

- :func:`simulate` paints frames and measures latency, interval, FIFO occupancies and lane utilisation.
- :func:`compare` counts the bytes that differ from the reference.
- :func:`size_fifos` finds FIFO depths, on RTL written for "sizing".

A run in which nothing moves any more raises :class:`DeadlockError`, which names the stream that is stuck.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from pleinair.errors import ImageError
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.network.trimming import inner
from pleinair_hw.simulate import verilator
from pleinair_hw.simulate.script import Reply, Script
from pleinair_hw.simulate.verilator import SimulationError, Simulator
from pleinair_hw.stitch.manifest import CAPACITIES, DEBUG_BITS, LIGHT_PORT, MANIFEST, PERIODS, Manifest, Port

RTL = "rtl"
#: Called with what is being done and how much of it is done, 0 to 1.
Progress = Callable[[str, float], None]
#: More words than any stream holds of a few frames.
_UNBOUNDED = (1 << 31) - 1
#: Words that a FIFO of the least size holds.
_SHALLOW = 5


class DeadlockError(SimulationError):
    """The accelerator stopped before all frames were through; the message names the stream that is stuck."""


class MismatchError(SimulationError):
    """The accelerator's output is not the reference's."""


@dataclass(frozen=True)
class Accelerator:
    """Stitched RTL in a folder."""

    folder: Path
    manifest: Manifest

    @property
    def slowest(self) -> int:
        """Estimated cycles a frame of the slowest node: the least interval that can be hoped for."""
        return max(node.cycles for node in self.manifest.nodes)

    def compile(
        self,
        *,
        data_files: Sequence[Path] = (),
        optimise: int = 2,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> Simulator:
        """The program that simulates it, from the cache where possible; see :func:`.verilator.build`."""
        if progress is not None:
            progress("compile", 0.0)
        groups = range(ceil(len(self.manifest.streams) / DEBUG_BITS))
        counters = [f"{signal}_{number}" for signal in ("valid", "ready") for number in groups]
        counters += [f"maxcount_{number}" for number in range(len(self.manifest.fifos))]
        simulator = verilator.build(
            self.manifest.top,
            [self.folder / name for name in self.manifest.sources],
            [verilator.Port(port.name, port.width) for port in self.manifest.inputs],
            [verilator.Port(port.name, port.width) for port in self.manifest.outputs],
            data_files=[*(self.folder / name for name in self.manifest.data), *data_files],
            counters=counters,
            bus="" if self.manifest.light is None else LIGHT_PORT,
            optimise=optimise,
            cache=cache,
        )
        if progress is not None:
            progress("compile", 1.0)
        return simulator


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation gave and how long it took.

    ``frames`` is [n, H, W, C], uint8 where the output is (else int64). Latency is cycles from the first word in to the
    first frame's last word out; intervals are those between the last words of successive frames. ``occupancies`` is the
    most words that each FIFO has held, by the FIFO's name. ``replies`` are those to a script's lines.
    """

    frames: np.ndarray
    latency: int
    intervals: tuple[int, ...]
    occupancies: Mapping[str, int]
    cycles: int
    seconds: float
    build_seconds: float
    cached: bool
    manifest: Manifest
    replies: tuple[Reply, ...] = ()

    @property
    def interval(self) -> int | None:
        """Cycles between frames, on average and without the first ones; None for fewer than two frames."""
        settled = self.intervals[len(self.intervals) // 2 :]
        return ceil(sum(settled) / len(settled)) if settled else None

    @property
    def rate(self) -> float:
        """Simulated cycles a second."""
        return self.cycles / max(self.seconds, 1e-9)

    @property
    def utilisation(self) -> float | None:
        """Share of all multiplier lanes that work in a cycle, once the pipeline is full."""
        lanes = sum(node.lanes for node in self.manifest.nodes)
        macs = sum(node.macs for node in self.manifest.nodes)
        return macs / (lanes * self.interval) if self.interval and lanes else None

    def busy(self) -> dict[str, float]:
        """Share of the interval in which each node works, by the estimate of its cycles."""
        return {node.name: node.cycles / self.interval for node in self.manifest.nodes} if self.interval else {}


def load(folder: Path, *, accept_changes: bool = False) -> Accelerator:
    """The stitched RTL in a build's folder, or in ``folder`` itself.

    Raises:
        StitchError: there is none.
        SimulationError: files are missing or changed, and that is not accepted.
    """
    inside = folder / RTL
    place = inside if (inside / MANIFEST).is_file() else folder
    manifest = Manifest.read(place)
    changed = manifest.changed_files(place)
    missing = [name for name in changed if not (place / name).is_file()]
    if missing or (changed and not accept_changes):
        state = "missing from" if missing else "not as they were written in"
        raise SimulationError(
            f"{len(missing or changed)} files are {state} {place}: {', '.join((missing or changed)[:3])}"
        )
    return Accelerator(place, manifest)


def simulate(
    build: Path | Accelerator,
    frames: np.ndarray,
    *,
    stall_in: int = 0,
    stall_out: int = 0,
    seed: int = 0,
    script: Script | None = None,
    progress: Progress | None = None,
    optimise: int = 2,
    cache: Path | None = None,
) -> SimulationResult:
    """Send frames through the accelerator, back to back.

    Args:
        build: a build's folder, or what :func:`load` gave.
        frames: [n, H, W, C] integers of the accelerator's own size, uint8 for images.
        stall_in, stall_out: per cent of cycles, at random, in which no word is offered and none is taken.
        seed: of the stalls.
        script: what is done at the port of the light meanwhile; see :mod:`.light`.
        progress: called with "compile" and "simulate", and how much of it is done.
        optimise, cache: of the compiled simulation; see :func:`pleinair_hw.simulate.verilator.build`.

    Raises:
        ImageError: frames of another shape.
        DeadlockError: nothing moves any more.
        SimulationError: the RTL does not compile, or an assertion in it failed.
    """
    accelerator = build if isinstance(build, Accelerator) else load(build)
    if accelerator.manifest.purpose != "simulation":
        raise SimulationError(f"{accelerator.folder} holds RTL for {accelerator.manifest.purpose}, not for simulation")
    source, _ = _ends(accelerator.manifest)
    words = _to_words(frames, source)
    simulator = accelerator.compile(optimise=optimise, cache=cache, progress=progress)
    return _run(accelerator, simulator, words, len(frames), stall_in, stall_out, seed, progress, script=script)


def _ends(manifest: Manifest) -> tuple[Port, Port]:
    if len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
        raise SimulationError(
            f"the accelerator has {len(manifest.inputs)} inputs and {len(manifest.outputs)} outputs, not one of each"
        )
    return manifest.inputs[0], manifest.outputs[0]


def _to_words(frames: np.ndarray, port: Port) -> np.ndarray:
    if frames.ndim != 4 or frames.shape[1:] != port.shape or not len(frames):
        rows, columns, channels = port.shape
        raise ImageError(
            f"frames of the shape {frames.shape}: the accelerator takes one or more of {rows} rows, {columns} columns "
            f"and {channels} channels"
        )
    words = verilator.pack(frames.reshape(-1, port.lanes), port.bits)
    return np.pad(words, ((0, 0), (0, port.width // 8 - words.shape[1])))


def _run(
    accelerator: Accelerator,
    simulator: Simulator,
    words: np.ndarray,
    count: int,
    stall_in: int = 0,
    stall_out: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    max_cycles: int | None = None,
    script: Script | None = None,
) -> SimulationResult:
    manifest = accelerator.manifest
    _, sink = _ends(manifest)

    def report(p: verilator.Progress) -> None:
        if progress is not None:
            progress("simulate", (p.words_in + p.words_out) / (p.total_in + p.total_out))

    # While one frame fills the pipeline the ends may rest for as long as the slowest node takes for several.
    slack = 100 / (100 - max(stall_in, stall_out)) if max(stall_in, stall_out) < 100 else 1
    result = simulator.run(
        [words],
        [count * sink.words],
        stall_in=stall_in,
        stall_out=stall_out,
        seed=seed,
        idle_limit=int(20_000 + 3 * slack * accelerator.slowest),
        max_cycles=max_cycles,
        script=script,
        progress=report,
    )
    if result.stuck is not None:
        raise DeadlockError(f"{result.stuck}; {_stuck(manifest, result.counters)}")
    given = result.outputs[0]
    if len(given) != count * sink.words:
        raise MismatchError(f"the accelerator gave {len(given)} words for {count} frames of {sink.words}")
    values = verilator.unpack(given, sink.lanes, sink.bits, sink.signed).reshape(count, *sink.shape)
    ends = result.output_cycles[0].astype(np.int64)[sink.words - 1 :: sink.words]
    if progress is not None:
        progress("simulate", 1.0)
    return SimulationResult(
        frames=values.astype(np.uint8) if sink.bits == 8 and not sink.signed else values,
        latency=int(ends[0] - int(result.input_cycles[0][0])) + 1,
        intervals=tuple(int(n) for n in np.diff(ends)),
        occupancies={fifo.name: result.counters[f"maxcount_{k}"] for k, fifo in enumerate(manifest.fifos)},
        cycles=result.cycles,
        seconds=result.seconds,
        build_seconds=simulator.build_seconds,
        cached=simulator.cached,
        manifest=manifest,
        replies=result.replies,
    )


def _stuck(manifest: Manifest, counters: Mapping[str, int]) -> str:
    """What holds a deadlocked accelerator up: the last stream down the pipeline whose word is not taken, and why."""

    def bit(signal: str, number: int) -> bool:
        group, place = divmod(number, DEBUG_BITS)
        return bool(counters[f"{signal}_{group}"] >> place & 1)

    state = [(s, bit("valid", n), bit("ready", n)) for n, s in enumerate(manifest.streams)]
    blocked = [s for s, valid, ready in state if valid and not ready]
    for stream in reversed(blocked):
        starved = [s for s, valid, _ in state if s.consumer == stream.consumer and not valid]
        if starved or stream is blocked[0]:
            break
    else:
        starving = [s for s, valid, ready in state if ready and not valid]
        return "every stream is empty" if starving else "no stream moves"
    full = {s.consumer for s in blocked}
    capacities = {fifo.name: fifo.depth for fifo in manifest.fifos}
    text = f"stream {stream.tensor} is stuck: {stream.consumer or 'the output'} does not take the word that "
    text += f"{stream.producer or 'the input'} offers"
    if starved:
        text += f" while it waits for {', '.join(s.tensor for s in starved)}"
    if stream.producer in capacities and stream.producer in full:
        text += f"; FIFO {stream.producer} of {capacities[stream.producer]} words is full"
    return text


def compare(result: SimulationResult, network: IntegerNetwork, frames: np.ndarray) -> int:
    """How many bytes of a simulation's output differ from the integer reference's, which is run on the same frames."""
    inset = result.manifest.inset
    expected = np.stack([inner(reference.run(network, frame), inset) for frame in frames])
    if expected.shape != result.frames.shape:
        raise MismatchError(f"the output's shape is {result.frames.shape}, the reference's {expected.shape}")
    return int(np.count_nonzero(expected != result.frames))


@dataclass(frozen=True)
class Sizing:
    """FIFO depths for an accelerator.

    ``depths`` is by the tensor that the FIFO holds, under the name that it has in FINN's graph before the FIFO; streams
    that need none are left out. ``occupancies``, by the same, is the most words that each stream held with FIFOs
    without end and frames coming in every ``best`` cycles. ``interval`` is the one measured with these depths, ``best``
    the one with FIFOs without end. All ``runs`` simulated ``cycles`` in ``seconds``.
    """

    depths: Mapping[str, int]
    occupancies: Mapping[str, int]
    interval: int
    best: int
    runs: int
    cycles: int
    seconds: float
    build_seconds: float


class _Gauged:
    """An accelerator with gauges for FIFOs, run with other capacities as often as needed."""

    def __init__(self, accelerator: Accelerator, frames: np.ndarray, folder: Path, simulator: Simulator) -> None:
        self.accelerator, self.folder, self.simulator = accelerator, folder, simulator
        self.words = _to_words(frames, _ends(accelerator.manifest)[0])
        self.frames = len(frames)
        self.limit: int | None = None
        self.runs = self.cycles = 0
        self.seconds = 0.0

    def run(self, capacities: Sequence[int], period: int = 0) -> SimulationResult:
        """The frames, at most one in ``period`` cycles; DeadlockError if they do not get through."""
        _write_numbers(self.folder / CAPACITIES, capacities or [0])
        _write_numbers(self.folder / PERIODS, [period])
        self.runs += 1
        result = _run(self.accelerator, self.simulator, self.words, self.frames, max_cycles=self.limit)
        self.cycles += result.cycles
        self.seconds += result.seconds
        return result

    def interval(self, capacities: Sequence[int]) -> int:
        """Cycles between frames; more than any if they do not get through."""
        try:
            return self.run(capacities).intervals[-1]
        except DeadlockError:
            return _UNBOUNDED


def _write_numbers(file: Path, numbers: Sequence[int]) -> None:
    file.write_text("".join(f"{number:x}\n" for number in numbers))


def _lower(
    depths: list[int], bits: Sequence[int], skips: Sequence[int], flows: Callable[[Sequence[int]], bool]
) -> list[int]:
    """``depths`` with as many as possible 0 and the others lowered, the most expensive first, while ``flows``.

    ``bits`` of a word; ``skips`` are left as they are.
    """

    def attempt(changes: Mapping[int, int]) -> bool:
        nonlocal depths
        changed = [changes.get(k, depth) for k, depth in enumerate(depths)]
        if changed == depths or flows(changed):
            depths = changed
            return True
        return False

    def remove(group: Sequence[int]) -> None:
        if not attempt(dict.fromkeys(group, 0)) and len(group) > 1:
            remove(group[: len(group) // 2])
            remove(group[len(group) // 2 :])

    def by_cost() -> list[int]:
        rest = [k for k in range(len(depths)) if k not in skips and depths[k]]
        return sorted(rest, key=lambda k: -depths[k] * bits[k])

    remove(by_cost())
    for k in by_cost():
        low, high = 0, depths[k]  # more than low is needed, high suffices
        if high <= _SHALLOW:
            continue
        while high - low > max(1, high // 16):
            middle = (low + high) // 2
            if attempt({k: middle}):
                high = middle
            else:
                low = middle
    return depths


def _skips(manifest: Manifest, held: Sequence[int]) -> list[int]:
    """Gauges that wait for what the other outputs of their producer became: the fullest behind every fork."""
    producers = {stream.name: stream.producer for stream in manifest.streams}
    behind: dict[str, list[int]] = {}
    for k, fifo in enumerate(manifest.fifos):
        behind.setdefault(producers[fifo.source], []).append(k)
    return [max(group, key=lambda k: held[k]) for group in behind.values() if len(group) > 1]


def _find_depths(
    gauged: _Gauged, tolerance: float, margin: float, budget: int, progress: Progress | None
) -> tuple[int, list[int], list[int]]:
    """The best interval, and for each gauge the most words that it held and the depth found; see :func:`size_fifos`."""
    fifos = gauged.accelerator.manifest.fifos
    best = gauged.run([_UNBOUNDED] * len(fifos)).intervals[-1]
    paced = gauged.run([_UNBOUNDED] * len(fifos), best)
    held = [paced.occupancies[fifo.name] for fifo in fifos]
    allowed = int(best * (1 + tolerance))
    # A queue that is ready only once it has room loses a cycle at its limit.
    depths = [n + 1 if n else 0 for n in held]
    while (interval := gauged.interval(depths)) > allowed:
        if max(depths) > _UNBOUNDED // 4:
            raise DeadlockError(f"no FIFO depths give an interval of {allowed} cycles; the last gave {interval}")
        depths = [2 * n + 1 for n in depths]
    gauged.limit = paced.cycles + gauged.frames * (allowed - best) + best // 4

    def flows(capacities: Sequence[int]) -> bool:
        if progress is not None:
            progress("size", min(1.0, gauged.cycles / budget))
        return gauged.cycles < budget and gauged.interval(capacities) <= allowed

    widths = [fifo.width for fifo in fifos]
    depths = _lower(depths, widths, _skips(gauged.accelerator.manifest, held), flows)
    gauged.limit = None
    return best, held, [max(_SHALLOW, ceil(n * (1 + margin))) if n else 0 for n in depths]


def size_fifos(
    accelerator: Accelerator,
    frames: np.ndarray,
    *,
    tolerance: float = 0.01,
    margin: float = 0.05,
    budget: int = 50_000_000,
    optimise: int = 1,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Sizing:
    """FIFO depths with which frames follow each other as fast as with FIFOs without end.

    A FIFO must hold what piles up in it while frames come in evenly at the rate of the slowest node: the accelerator is
    a network of deterministic processes, so with queues as long as in one schedule that it can follow it is at least as
    fast as that schedule, whatever its ends do. One simulation finds the rate, a second the occupancies. Most streams
    then turn out to need no FIFO, since nodes hold a few words themselves and few are busy all the time; so depths
    are lowered again, the most expensive first, for as long as the interval stays. Not so the ones past a residual
    block's body, which would stop everything.

    Args:
        accelerator: RTL written for "sizing".
        frames: [n, H, W, C], three or more; what they show does not matter.
        tolerance: by how much the interval may exceed the best.
        margin: share by which depths exceed what was found.
        budget: cycles to simulate for lowering depths.
        optimise, cache: of the compiled simulation; see :func:`pleinair_hw.simulate.verilator.build`.
        progress: called with "compile" and "size" and how much of it is done.

    Raises:
        SimulationError: RTL for another purpose, or too few frames.
        DeadlockError: the accelerator stops even with FIFOs without end.
    """
    manifest = accelerator.manifest
    if manifest.purpose != "sizing":
        raise SimulationError(f"{accelerator.folder} holds RTL for {manifest.purpose}, not for sizing FIFOs")
    if len(frames) < 3:
        raise SimulationError(f"{len(frames)} frames are too few to size FIFOs: 3 are needed")
    tensors = {stream.name: stream.tensor for stream in manifest.streams}
    streams = [tensors[fifo.source] for fifo in manifest.fifos]
    with tempfile.TemporaryDirectory(prefix="pleinair-sizing-") as name:
        folder = Path(name)
        files = [folder / CAPACITIES, folder / PERIODS]
        simulator = accelerator.compile(data_files=files, optimise=optimise, cache=cache, progress=progress)
        gauged = _Gauged(accelerator, frames, folder, simulator)
        best, held, depths = _find_depths(gauged, tolerance, margin, budget, progress)
        interval = gauged.run(depths).intervals[-1]
    if progress is not None:
        progress("size", 1.0)
    return Sizing(
        depths={stream: depth for stream, depth in zip(streams, depths, strict=True) if depth},
        occupancies=dict(zip(streams, held, strict=True)),
        interval=interval,
        best=best,
        runs=gauged.runs,
        cycles=gauged.cycles,
        seconds=gauged.seconds,
        build_seconds=simulator.build_seconds,
    )
