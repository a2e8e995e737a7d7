"""What painting costs on this machine: ``pleinair bench``, and the file that it writes.

Everything of one thread count is timed in turns within one measurement (pleinair.measuring.timing): all engines that
are exact here, the int8 roofline, and the float networks that they are compared with. So ratios stand where clocks
drift.

The file is one JSON object; lengths in pixels, numbers of bytes and 10**9 multiply-accumulates a second:

- ``format`` "pleinair-bench", ``version`` 1.
- ``machine``: ``processor``, ``board`` (of the device tree; empty without one), ``architecture``, ``cores``,
  ``features`` (instructions that multiply small integers), ``memory``, ``system``, ``python``, ``packages``
  ({name: version}).
- ``style``, ``bits``, ``size`` [width, height], ``macs_per_pixel``: the network, and the frame that was painted.
- ``measurements``: a list, an entry for each way of painting and number of threads:

  - ``backend``: "cpu", "reference" or "fpga". ``engine``: "onnxruntime", "openvino", "litert", "pytorch", "numpy", or
    null with an accelerator. ``name``: of the painter, for people. ``threads``.
  - ``network``: "integer"; "float" (the style's at 32 bits) or "johnson" (PyTorch's usual 32-64-128 with five blocks,
    instance norm), which are measured beside it. ``bits``: 4, 8, 16, or 32 of the float ones.
  - ``exact``: true where it was compared with the reference and no value differed, null for floats and for what is
    the reference. (What is not exact stands in ``refused``.)
  - ``frames``: painted so many. ``ms`` a frame, the median (the mean with an accelerator, which has two in flight);
    ``ms_low``, ``ms_high``: fastest and slowest, or null; ``processor_ms``: of all threads together, or null.
  - ``fps`` frames and ``megapixels`` (10**6 visible pixels) a second.
  - ``useful_gmacs``: ``macs_per_pixel`` x visible pixels: nothing for margins or rearranging. ``executed_gmacs``: what
    the engine was given to compute, zeros of blocks and pads included, in 8-bit ones (a 16-bit one is four); null
    where that is not known.
  - ``useful_share``, ``executed_share``: of the roofline of as many threads; null where there is none.
  - ``times_float``, ``times_johnson``: how many times as fast as those; null where they were not measured.
  - ``board``: an accelerator's, else null. ``emulated``: whether this machine's processor stood in for the board.
    ``watts``: {rail: mean} by the board's sensors, processor included; null where nothing was measured.
  - ``stages``: with an accelerator, milliseconds a tile: ``prepare``, ``dma``, ``wait``, ``collect``, and ``light`` of
    an adaptive network; else null.

- ``refused``: a list of ``engine``, ``threads``, ``reason``, and ``differing`` of ``values`` that differ from the
  reference (null where it was not even compared).
- ``rooflines``: a list of ``threads``, ``gmacs``, ``shape`` [M, K, N] and all ``shapes`` ([[M, K, N], gmacs]).
- ``fastest``: {threads: engine}, which is what the engine "auto" is from now on.
- ``skipped``: a list of sentences: what was not measured, and why.
- ``profiles``: {threads: {``ms``, ``runs``, ``pieces``, ``operators``, ``nodes``}} of the graph in ONNX Runtime, for
  one of so many pieces of the frame; the last two are lists of ``operator``, ``name``, ``ms``, ``share``, ``nodes``.
  Empty unless asked for, as the next ones are.
- ``pipelines``: {threads: figures of pleinair.measuring.bench_pipeline}: the stages of a film, and the whole film
  against painting alone.
- ``lights``: of an adaptive network a list of pleinair.measuring.lights' figures, one for each exact engine and number
  of threads, or for the accelerator: ``known_ms``, ``new_ms``, ``sums_ms``, ``own_ms`` and ``own_ratio``.
- ``large``: ``size``, ``engine``, ``threads``, ``peak_bytes``, ``opened_bytes`` (before the frame), ``seconds``;
  whether it has the ``same_pixels`` as ``other`` ("untiled", or "in smaller tiles" where there is too little memory
  for that) and ``other_peak_bytes``; or null.
- ``scaling``: ``paintings``: a list of ``megapixels``, ``ms``, ``processor_ms``; ``films``: ``size``, and a list of
  ``frames``, ``seconds``, ``peak_bytes``; ``threads``, ``engine``; or null.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pleinair.backends import open_painter
from pleinair.engines import fastest as engine_memory
from pleinair.engines.exact import EngineRunner, check_image, exact_runner, installed_engines, worst_case
from pleinair.engines.lowering import Program, lower
from pleinair.errors import EngineError, ModelError
from pleinair.images import write_bytes
from pleinair.machine import Machine, available_memory, this_machine
from pleinair.measuring.footprint import UNTILED, noise, paint_alone
from pleinair.measuring.lights import LightFigures
from pleinair.measuring.operator_profile import Profile, profile_run
from pleinair.measuring.outside import OpenTorch
from pleinair.measuring.roofline import SHAPES, MatrixProduct, Roofline, macs, roofline
from pleinair.measuring.timing import Report, Timing, measure
from pleinair.models import Model, load_model
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.painter import TILE_PIXELS, NetworkPainter
from pleinair.painting.tiles import Window, paint_tiled

if TYPE_CHECKING:
    from pleinair.fpga.painter import AcceleratorPainter
    from pleinair.measuring.bench_pipeline import PipelineFigures
    from pleinair.measuring.scaling import Scaling

FORMAT, VERSION = "pleinair-bench", 1
INTEGER, FLOAT, JOHNSON = "integer", "float", "johnson"
#: Rounds that do not count: engines compile for the frame's size, memory is asked for, caches fill.
_WARMUP = 2
#: Seconds before each call in which the threads of the one before go to sleep.
_REST = 0.02
#: Bytes a pixel that Johnson's network takes in PyTorch: five activations of 32 float32 channels, with room to spare.
_JOHNSON_BYTES = 800
#: Bytes a pixel that painting a whole frame at once may take, with room to spare.
_UNTILED_BYTES = 400
#: Between two looks at a board's power, frames.
_POWER_EVERY = 10


@dataclass(frozen=True)
class Measurement:
    """One way of painting with so many threads; see this file's description."""

    backend: str
    engine: str | None
    name: str
    network: str
    bits: int
    threads: int
    exact: bool | None
    frames: int
    ms: float
    fps: float
    megapixels: float
    useful_gmacs: float
    ms_low: float | None = None
    ms_high: float | None = None
    processor_ms: float | None = None
    executed_gmacs: float | None = None
    useful_share: float | None = None
    executed_share: float | None = None
    times_float: float | None = None
    times_johnson: float | None = None
    board: str | None = None
    emulated: bool = False
    watts: dict[str, float] | None = None
    stages: dict[str, float] | None = None


@dataclass(frozen=True)
class Refusal:
    """An engine that may not paint here; ``differing`` of ``values``, where it could be compared at all."""

    engine: str
    threads: int
    reason: str
    differing: int | None = None
    values: int | None = None


@dataclass(frozen=True)
class Large:
    """A large frame painted in a process of its own, and once more in another way."""

    size: tuple[int, int]
    engine: str
    threads: int
    peak_bytes: int
    opened_bytes: int
    seconds: float
    same_pixels: bool
    other: str
    other_peak_bytes: int


@dataclass
class Bench:
    """All that was measured; :meth:`to_json` is the file."""

    machine: Machine
    style: str
    bits: int
    size: tuple[int, int]
    macs_per_pixel: float
    measurements: list[Measurement] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    rooflines: list[Roofline] = field(default_factory=list)
    fastest: dict[int, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    profiles: dict[int, Profile] = field(default_factory=dict)
    pipelines: dict[int, PipelineFigures] = field(default_factory=dict)
    lights: list[LightFigures] = field(default_factory=list)
    large: Large | None = None
    scaling: Scaling | None = None

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.size[0] * self.size[1]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OutputError."""
        write_bytes(path, self.to_json().encode())


def begin(model: Model, size: tuple[int, int]) -> Bench:
    """A bench of this machine without measurements; ``size`` is (width, height)."""
    return Bench(this_machine(), model.style, model.bits, size, model.network.macs_per_pixel())


# -- what an engine is given to compute


class _Ledger:
    """A runner that only keeps which programs it would have run, and how often."""

    def __init__(self, runner: EngineRunner) -> None:
        self._lower = lru_cache(partial(lower, runner.network, least_outputs=runner.engine.least_outputs))
        self.programs = Counter[tuple[int, int, Window]]()

    def program(self, key: tuple[int, int, Window]) -> Program:
        return self._lower(*key)

    def window(self, piece: np.ndarray, window: Window) -> np.ndarray:
        self.programs[(*piece.shape[:2], window)] += 1
        return np.zeros(window.shape, np.uint8)


def _ledger(painter: NetworkPainter, size: tuple[int, int]) -> _Ledger:
    n, runner = painter.network, painter.runner
    assert isinstance(runner, EngineRunner)
    ledger = _Ledger(runner)
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    paint_tiled(frame, ledger, painter.margin, n.halo, n.stride, painter.tile, adaptive=n.adaptive)
    return ledger


def executed_macs(painter: NetworkPainter, size: tuple[int, int]) -> int:
    """Multiply-accumulates of 8 bits in all programs that an engine's painter runs for a frame of (width, height)."""
    ledger = _ledger(painter, size)
    return sum(count * _byte_macs(ledger.program(key)) for key, count in ledger.programs.items())


def _byte_macs(program: Program) -> int:
    """A number of more than 8 bits is two of 8; the first convolution reads pixels."""
    total = 0
    for k, c in enumerate(program.convolutions()):
        total += c.macs * (2 if c.weight_bits > 8 else 1) * (2 if k and program.bits > 8 else 1)
    return total


def profile(model: Model, size: tuple[int, int], threads: int, runs: int) -> Profile:
    """The profile, in ONNX Runtime, of the program that most of such a frame is painted with.

    Raises EngineError where ONNX Runtime is not installed, or not exact here.
    """
    from pleinair.engines import onnxruntime as ort_engine

    assert isinstance(model.network, IntegerNetwork)
    with closing(open_painter(model, "cpu:onnxruntime", threads)) as painter:
        ledger = _ledger(painter, size)
    program = ledger.program(ledger.programs.most_common(1)[0][0])
    engine = exact_runner(model.network, threads, "onnxruntime").engine
    assert isinstance(engine, ort_engine.OrtEngine)
    graph = engine.graph(program)
    pixels = noise(program.reads.shape[1], program.reads.shape[0])

    def compile_with(prefix: str) -> Callable[[], object]:
        session = ort_engine.open_session(graph, threads, prefix)
        (x,) = session.get_inputs()
        return partial(session.run, None, {x.name: pixels.reshape(x.shape)})

    return replace(profile_run(compile_with, runs), pieces=ledger.programs.total())


# -- exactness


class Examiner:
    """Compares painters with the reference: a check image by the network itself, and by the worst there may be."""

    def __init__(self, model: Model) -> None:
        assert isinstance(model.network, IntegerNetwork)
        self._image = check_image()
        self._models = (model, replace(model, network=worst_case(model.network)))
        self._expected: list[np.ndarray] = []
        for each in self._models:
            with closing(open_painter(each, "reference")) as painter:
                self._expected.append(painter.paint(self._image))

    @property
    def values(self) -> int:
        """How many values are compared."""
        return sum(painting.size for painting in self._expected)

    def open(self, engine: str, threads: int) -> NetworkPainter | Refusal:
        """The engine's painter of the model, where no value differs."""
        own, worst = self._models
        try:
            painter = open_painter(own, f"cpu:{engine}", threads)
            with closing(open_painter(worst, f"cpu:{engine}", threads)) as other:
                paintings = [painter.paint(self._image), other.paint(self._image)]
        except EngineError as error:
            return Refusal(engine, threads, str(error))
        differing = sum(int((a != b).sum()) for a, b in zip(paintings, self._expected, strict=True))
        if differing:
            painter.close()
            return Refusal(engine, threads, "paints other pixels than the reference", differing, self.values)
        return painter


# -- the processor


@dataclass(frozen=True)
class _Entrant:
    """Something that paints, in turns with others; multiply-accumulates of a frame, None where they are not known."""

    paint: Callable[[np.ndarray], object]
    engine: str
    name: str
    network: str
    bits: int
    exact: bool | None
    useful: float
    executed: float | None = None


def measure_processor(
    bench: Bench,
    model: Model,
    threads: int,
    rounds: int,
    report: Report | None = None,
    *,
    engines: Sequence[str] | None = None,
    open_torch: OpenTorch | None = None,
) -> str | None:
    """Measure every installed engine (or ``engines``) and what they are compared with, into ``bench``.

    Without ``open_torch`` Johnson's network is not measured. The fastest engine that is exact is remembered for the
    engine "auto" and returned; None where there is none, or for the float network, which has one engine. Raises
    EngineError where ONNX Runtime, which the roofline needs, is missing.
    """
    frame = noise(*bench.size)
    with ExitStack() as opened:
        entrants = _engines(bench, model, threads, installed_engines() if engines is None else engines, opened)
        exact = list(entrants)
        entrants |= _floats(bench, model, threads, opened) | _johnson(bench, threads, open_torch)
        calls: dict[str, Callable[[], object]] = {f"{shape}": MatrixProduct(shape, threads) for shape in SHAPES}
        calls |= {key: partial(entrant.paint, frame) for key, entrant in entrants.items()}
        opened.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(threads)  # grain and margin are painting, too
        timings = measure(calls, rounds, _WARMUP, report, _REST)
        top = roofline(threads, {shape: timings[f"{shape}"] for shape in SHAPES})
    bench.rooflines.append(top)
    for key, entrant in entrants.items():
        bench.measurements.append(_measurement(bench, key, entrant, timings, top))
    if not exact:
        return None
    fastest = min(exact, key=lambda name: timings[name].median)
    bench.fastest[threads] = fastest
    assert isinstance(model.network, IntegerNetwork)
    engine_memory.remember(model.network, threads, fastest)
    return fastest


def _measurement(
    bench: Bench, key: str, entrant: _Entrant, timings: Mapping[str, Timing], top: Roofline
) -> Measurement:
    """What the timing of one entrant says, beside those of the others."""
    t = timings[key]

    def share(work: float) -> float:
        return work / macs(top.shape) * t.speed_over(timings[f"{top.shape}"])

    def times(other: str) -> float | None:
        return t.speed_over(timings[other]) if other in timings and other != key else None

    executed = entrant.executed
    return Measurement(
        backend="cpu",
        engine=entrant.engine,
        name=entrant.name,
        network=entrant.network,
        bits=entrant.bits,
        threads=top.threads,
        exact=entrant.exact,
        frames=len(t.seconds),
        ms=1e3 * t.median,
        fps=1 / t.median,
        megapixels=bench.pixels / t.median / 1e6,
        useful_gmacs=entrant.useful / t.median / 1e9,
        ms_low=1e3 * t.low,
        ms_high=1e3 * t.high,
        processor_ms=1e3 * t.processor_median,
        executed_gmacs=None if executed is None else executed / t.median / 1e9,
        useful_share=share(entrant.useful) if entrant.network == INTEGER else None,
        executed_share=None if executed is None else share(executed),
        times_float=times(FLOAT),
        times_johnson=times(JOHNSON),
    )


def _engines(bench: Bench, model: Model, threads: int, names: Sequence[str], opened: ExitStack) -> dict[str, _Entrant]:
    """The engines that are exact here, open; the others are noted as refused."""
    if not isinstance(model.network, IntegerNetwork):
        return {}
    examiner, entrants = Examiner(model), dict[str, _Entrant]()
    for name in names:
        found = examiner.open(name, threads)
        if isinstance(found, Refusal):
            bench.refused.append(found)
            continue
        opened.enter_context(found)
        entrants[name] = _Entrant(
            paint=found.paint,
            engine=name,
            name=found.name,
            network=INTEGER,
            bits=model.bits,
            exact=True,
            useful=bench.macs_per_pixel * bench.pixels,
            executed=executed_macs(found, bench.size),
        )
    return entrants


def _skip(bench: Bench, sentence: str) -> None:
    if sentence not in bench.skipped:
        bench.skipped.append(sentence)


def _floats(bench: Bench, model: Model, threads: int, opened: ExitStack) -> dict[str, _Entrant]:
    """The style's float network in ONNX Runtime, where it has one."""
    try:
        floats = model if model.bits == FLOAT_BITS else load_model(str(model.folder), FLOAT_BITS)
    except ModelError as error:
        _skip(bench, f"the float network: {error}")
        return {}
    painter = opened.enter_context(open_painter(floats, "cpu", threads))
    entrant = _Entrant(
        paint=painter.paint,
        engine="onnxruntime",
        name=painter.name,
        network=FLOAT,
        bits=FLOAT_BITS,
        exact=None,
        useful=painter.network.macs_per_pixel() * bench.pixels,
    )
    return {FLOAT: entrant}


def _johnson(bench: Bench, threads: int, open_torch: OpenTorch | None) -> dict[str, _Entrant]:
    """Johnson's network in PyTorch, where that is installed and there is the memory."""
    if open_torch is None:
        return {}
    try:
        torch = open_torch(threads)
    except ImportError as error:
        _skip(bench, f"Johnson's float network: needs {error.name}, which is not installed")
        return {}
    needed, free = _JOHNSON_BYTES * bench.pixels, available_memory()
    if needed > free:
        _skip(bench, f"Johnson's float network: needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")
        return {}
    johnson = torch.johnson()
    entrant = _Entrant(
        paint=johnson.run,
        engine="pytorch",
        name=f"{torch.name} (float32)",
        network=JOHNSON,
        bits=FLOAT_BITS,
        exact=None,
        useful=johnson.macs_per_pixel * bench.pixels,
    )
    return {JOHNSON: entrant}


def measure_reference(bench: Bench, painter: NetworkPainter, frames: int, report: Report | None = None) -> None:
    """The reference, alone."""
    t = measure({"reference": partial(painter.paint, noise(*bench.size))}, frames, 1, report)["reference"]
    bench.measurements.append(
        Measurement(
            backend="reference",
            engine="numpy",
            name=painter.name,
            network=INTEGER if isinstance(painter.network, IntegerNetwork) else FLOAT,
            bits=bench.bits,
            threads=1,
            exact=None,
            frames=frames,
            ms=1e3 * t.median,
            fps=1 / t.median,
            megapixels=bench.pixels / t.median / 1e6,
            useful_gmacs=bench.macs_per_pixel * bench.pixels / t.median / 1e9,
            ms_low=1e3 * t.low,
            ms_high=1e3 * t.high,
            processor_ms=1e3 * t.processor_median,
        )
    )


def measure_pipeline(
    model: Model,
    engine: str,
    threads: int,
    size: tuple[int, int],
    frames: int,
    report: Callable[[int, int], None] | None = None,
) -> PipelineFigures:
    """Film so many frames, see pleinair.measuring.bench_pipeline; ``report`` is called with steps done and their total.

    Raises EngineError; OptionError for a size that no film can be measured at, OutputError.
    """
    from pleinair.measuring import bench_pipeline

    with open_painter(model, f"cpu:{engine}", threads) as painter:
        return bench_pipeline.measure_pipeline(painter, size, frames, report)


def measure_large(model: Model, engine: str, threads: int, size: tuple[int, int]) -> Large:
    """Paint a large frame, and again untiled where there is the memory, else in smaller tiles: each alone.

    Raises EngineError.
    """
    found = paint_alone(model, engine, threads, size)
    whole = available_memory() > _UNTILED_BYTES * size[0] * size[1]
    again = paint_alone(model, engine, threads, size, UNTILED if whole else TILE_PIXELS // 3)
    return Large(
        size=size,
        engine=engine,
        threads=threads,
        peak_bytes=found.peak_bytes,
        opened_bytes=found.opened_bytes,
        seconds=found.seconds,
        same_pixels=found.sha256 == again.sha256,
        other="untiled" if whole else "in smaller tiles",
        other_peak_bytes=again.peak_bytes,
    )


# -- accelerators


@dataclass(frozen=True)
class Tiles:
    """What an accelerator's frames were made of: tiles, frames that the fallback painted, overlays loaded anew.

    ``metered`` of the tiles were passes that measure light.
    """

    count: int
    replaced: int
    reloads: int
    metered: int = 0


def measure_accelerator(bench: Bench, painter: AcceleratorPainter, frames: int) -> Tiles:
    """Paint a film of so many frames, two tiles in flight; stages, and power where the board has sensors.

    An adaptive network paints each frame in its own light; pleinair.measuring.lights takes that apart.
    """
    from pleinair.fpga.driver import Stages

    accelerator = painter.accelerator
    frame = noise(*bench.size)
    painter.paint(frame)
    accelerator.stages = stages = Stages()
    watts: dict[str, list[float]] = {}

    def film() -> Iterator[np.ndarray]:
        for _ in range(frames):
            yield frame

    began = time.perf_counter()
    for k, _ in enumerate(painter.paint_each(film())):
        for rail, power in accelerator.power().items() if k % _POWER_EVERY == 0 else ():
            watts.setdefault(rail, []).append(power)
    seconds = (time.perf_counter() - began) / frames
    bench.measurements.append(
        Measurement(
            backend="fpga",
            engine=None,
            name=painter.name,
            network=INTEGER,
            bits=bench.bits,
            threads=1,
            exact=True,
            frames=frames,
            ms=1e3 * seconds,
            fps=1 / seconds,
            megapixels=bench.pixels / seconds / 1e6,
            useful_gmacs=bench.macs_per_pixel * bench.pixels / seconds / 1e9,
            board=accelerator.deployment.board,
            emulated=accelerator.emulated,
            watts={rail: sum(values) / len(values) for rail, values in watts.items()} or None,
            stages={
                name: 1e3 * getattr(stages, name) / max(1, stages.tiles)
                for name in ("prepare", "dma", "wait", "collect", *(["light"] if painter.adaptive else []))
            },
        )
    )
    return Tiles(stages.tiles, painter.replaced, painter.reloads, stages.metered)
