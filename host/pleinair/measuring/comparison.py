"""``pleinair compare``: bits against machines for one style; every figure says how it was found.

On this machine everything is timed in one run, in turns (:mod:`pleinair.measuring.timing`). Each number of threads has
a process of its own, as libraries size their pools when they start. Boards are planned, simulated (the report of a
build that `pleinair simulate` ran), or measured elsewhere (the file that `pleinair bench` wrote there).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from pleinair.engines.exact import DEFAULT_ENGINE
from pleinair.errors import EngineError, ModelError, OptionError, PleinairError
from pleinair.machine import Machine, cores, kernel_bytes, this_machine
from pleinair.measuring.comparison_files import read_bench, read_build, read_evaluation, resources, stated
from pleinair.measuring.comparison_rows import (
    BASE,
    EMULATED,
    ENGINE_NAMES,
    JOHNSON,
    MEASURED,
    OUR_TORCH,
    PLANNED,
    REFERENCE,
    BitPrice,
    Comparison,
    Energy,
    Price,
    Quality,
    Request,
    Row,
    thread_name,
    width_name,
)
from pleinair.measuring.outside import Board, BoardPlan, OpenTorch, Planner, Torch
from pleinair.measuring.timing import Timing, measure
from pleinair.models import FILES, Model, find_style, load_model, read_card
from pleinair.network.floating import FLOAT_BITS, FloatNetwork
from pleinair.network.integer import BITS
from pleinair.painting.painter import TILE_PIXELS, NetworkPainter
from pleinair.painting.whole import WholePainter

WARMUP = 2
#: Seconds before each call for the threads of the one before to go to sleep: OpenMP's and ONNX Runtime's spin first.
_REST = 0.02
#: What Johnson's network holds at its widest: some 5 activations of 32 float32 channels at full resolution.
_JOHNSON_BYTES_PER_PIXEL = 5 * 32 * 4
#: Variables by which libraries size their pools of threads when they are loaded.
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_RAPL = Path("/sys/class/powercap")

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


# -- energy of the processor


class PackageEnergy:
    """The joules that the processor's packages have used, by Intel's and AMD's counters (RAPL).

    All of the package counts: idle cores and other programs too. Linux lets only root read it, unless told otherwise.
    """

    def __init__(self, root: Path = _RAPL) -> None:
        self._counters: list[tuple[Path, int]] = []
        for folder in sorted(root.glob("intel-rapl:*")):
            try:
                if not (folder / "name").read_text().startswith("package"):
                    continue
                span = int((folder / "max_energy_range_uj").read_text())
                int((folder / "energy_uj").read_text())
            except (OSError, ValueError):
                continue
            self._counters.append((folder / "energy_uj", span))

    @property
    def readable(self) -> bool:
        """Whether there is a counter that this process may read."""
        return bool(self._counters)

    def counts(self) -> list[int]:
        """Microjoules of each package, from anywhere; they wrap."""
        return [int(path.read_text()) for path, _ in self._counters]

    def joules_since(self, before: Sequence[int]) -> float:
        """Joules since ``before``, which must be less than a wrap (minutes) ago."""
        now = self.counts()
        return sum((b - a) % (span + 1) for a, b, (_, span) in zip(before, now, self._counters, strict=True)) / 1e6


# -- this machine


@dataclass(frozen=True)
class _Subject:
    """Something to time here: a frame in, a painting out."""

    backend: str
    bits: int
    engine: str
    paint: Callable[[np.ndarray], np.ndarray]
    macs_per_pixel: float
    bytes: int
    note: str = ""


@dataclass
class _Timed:
    """What the process that timed hands back: everything of a row, the timings apart."""

    rows: list[Row] = field(default_factory=list)
    timings: dict[tuple[str, int], Timing] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def _network_bytes(model: Model) -> int:
    return (model.folder / FILES["network"].format(bits=model.bits)).stat().st_size


def _available_memory() -> int | None:
    """Bytes that programs may still take, as Linux estimates them."""
    return kernel_bytes(Path("/proc/meminfo"), "MemAvailable")


def _torch_subjects(
    request: Request, bits: Sequence[int], threads: int, open_torch: OpenTorch | None, left_out: list[str]
) -> Iterator[_Subject]:
    """Johnson's network and, where the style has it, its float network, in PyTorch's eager mode."""
    if open_torch is None:
        left_out.append("PyTorch: not asked for")
        return
    try:
        torch = open_torch(threads)
    except ImportError as error:
        left_out.append(f"PyTorch: not installed ({error.name}); pip install '.[train]' in a checkout of pleinair")
        return
    needed, available = _JOHNSON_BYTES_PER_PIXEL * request.size[0] * request.size[1], _available_memory()
    if available is not None and needed > 0.8 * available:
        left_out.append(f"{JOHNSON}: would need {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free")
    else:
        johnson = torch.johnson()
        note = "32-64-128 channels, five blocks, instance norm, nearest-neighbour upsampling; random weights"
        yield _Subject(
            JOHNSON, FLOAT_BITS, torch.name, johnson.run, johnson.macs_per_pixel, bytes=johnson.bytes, note=note
        )
    if FLOAT_BITS in bits:
        model = load_model(request.style, FLOAT_BITS)
        assert isinstance(model.network, FloatNetwork)
        painter, macs = _torch_painter(torch, model, model.network), model.network.macs_per_pixel()
        yield _Subject(OUR_TORCH, FLOAT_BITS, torch.name, painter.paint, macs, bytes=_network_bytes(model))


def _torch_painter(torch: Torch, model: Model, network: FloatNetwork) -> NetworkPainter:
    """The float network of a model in PyTorch."""
    run = torch.plain(network)
    if network.adaptive:
        return WholePainter(
            torch.name, network, model.margin, run, model.grain, bytes_per_pixel=_JOHNSON_BYTES_PER_PIXEL
        )
    return NetworkPainter(torch.name, network, model.margin, run, TILE_PIXELS // 2, model.grain)


def _engine_subjects(
    request: Request, bits: Sequence[int], threads: int, stack: ExitStack, left_out: list[str]
) -> Iterator[_Subject]:
    """Every installed engine at every integer width, the float network in ONNX Runtime."""
    from pleinair.backends import open_painter
    from pleinair.engines.exact import installed_engines

    for width in bits:
        model = load_model(request.style, width)
        for engine in installed_engines() if width != FLOAT_BITS else [DEFAULT_ENGINE]:
            label = ENGINE_NAMES.get(engine, engine)
            try:
                painter = stack.enter_context(closing(open_painter(model, f"cpu:{engine}", threads)))
            except EngineError as error:
                left_out.append(f"{label} at {width_name(width)}: {error}")
                continue
            yield _Subject(
                label, width, painter.name, painter.paint, model.network.macs_per_pixel(), _network_bytes(model)
            )


class _Meter:
    """Wraps callables so that what each call used is noted, where the processor's counters can be read."""

    def __init__(self) -> None:
        self._package = PackageEnergy()
        self._joules: dict[tuple[str, int], list[float]] = {}

    def wrap(self, subject: _Subject, frame: np.ndarray) -> Callable[[], object]:
        if not self._package.readable:
            return lambda: subject.paint(frame)
        noted = self._joules[subject.backend, subject.bits] = []

        def call() -> None:
            before = self._package.counts()
            subject.paint(frame)
            noted.append(self._package.joules_since(before))

        return call

    def energy(self, key: tuple[str, int], rounds: int) -> Energy | None:
        """The median of the last ``rounds`` calls; those before were the warm-up."""
        if key not in self._joules:
            return None
        source = "the processor's counters (RAPL), idle cores and other programs included"
        return Energy(statistics.median(self._joules[key][-rounds:]), MEASURED, source)


def _timed_row(request: Request, style: str, s: _Subject, t: Timing, threads: int, energy: Energy | None) -> Row:
    """The row of something that was timed here."""
    return Row(
        backend=s.backend,
        kind="cpu",
        style=style,
        bits=s.bits,
        how=MEASURED,
        where=this_machine().processor,
        size=request.size,
        fps=1 / t.median,
        engine=s.engine,
        threads=threads,
        low_ms=1e3 * t.low,
        high_ms=1e3 * t.high,
        rounds=request.rounds,
        macs_per_pixel=s.macs_per_pixel,
        bytes=s.bytes,
        energy=energy,
        note=s.note,
    )


def time_here(
    request: Request,
    bits: Sequence[int],
    threads: int,
    with_reference: bool,
    progress: Progress | None = None,
    open_torch: OpenTorch | None = None,
) -> _Timed:
    """Time everything that runs on this machine with so many threads, in this process, whose libraries take that many.

    The reference paints once: it is hundreds of times as slow.
    """
    import cv2

    cv2.setNumThreads(threads)
    found = _Timed()
    machine, style = this_machine(), find_style(request.style).resolve().name
    frame = np.random.default_rng(0).integers(0, 256, (request.size[1], request.size[0], 3), dtype=np.uint8)
    say = progress or (lambda what, done, total: None)
    label = thread_name(threads)
    with ExitStack() as stack:
        say(f"open, {label}", 0, 1)
        subjects = {
            f"{s.backend}, {width_name(s.bits)}": s
            for s in (
                *_engine_subjects(request, bits, threads, stack, found.left_out),
                *_torch_subjects(request, bits, threads, open_torch, found.left_out),
            )
        }
        meter = _Meter()
        timings = measure(
            {name: meter.wrap(s, frame) for name, s in subjects.items()},
            request.rounds,
            WARMUP,
            lambda name, done, total: say(f"{label}: {name}", done, total),
            _REST,
        )
        for name, s in subjects.items():
            t = found.timings[s.backend, s.bits] = timings[name]
            energy = meter.energy((s.backend, s.bits), request.rounds)
            found.rows.append(_timed_row(request, style, s, t, threads, energy))
        whole = [b for b in bits if b != FLOAT_BITS]
        if with_reference and whole:
            width = 8 if 8 in whole else whole[0]
            found.rows.append(_time_reference(request, width, frame, machine, say))
    return found


def _time_reference(request: Request, bits: int, frame: np.ndarray, machine: Machine, say: Progress) -> Row:
    from pleinair.backends import open_painter

    say(f"{REFERENCE}, once", 0, 1)
    model = load_model(request.style, bits)
    with closing(open_painter(model, "reference")) as painter:
        t = measure({REFERENCE: lambda: painter.paint(frame)}, 1, 0)[REFERENCE]
    return Row(
        backend=REFERENCE,
        kind="cpu",
        style=model.style,
        bits=bits,
        how=MEASURED,
        where=machine.processor,
        size=request.size,
        fps=1 / t.median,
        engine=f"NumPy {np.__version__}",
        threads=1,
        rounds=1,
        macs_per_pixel=model.network.macs_per_pixel(),
        bytes=_network_bytes(model),
        note="one frame, without warm-up; it is there to be right, not fast",
    )


def _work(
    pipe: Connection,
    request: Request,
    bits: Sequence[int],
    threads: int,
    with_reference: bool,
    open_torch: OpenTorch | None,
) -> None:
    """The process that times: says how far it is, then what it found or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    try:
        pipe.send(time_here(request, bits, threads, with_reference, lambda *line: pipe.send(line), open_torch))
    except PleinairError as error:
        pipe.send(error)
    except Exception:
        pipe.send(traceback.format_exc())  # not every exception can be sent


@contextmanager
def _pools_of(threads: int) -> Iterator[None]:
    """Processes that are started inside get pools of so many threads."""
    before = {name: os.environ.get(name) for name in _POOLS}
    os.environ.update(dict.fromkeys(_POOLS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _time_apart(
    request: Request,
    bits: Sequence[int],
    threads: int,
    with_reference: bool,
    progress: Progress,
    open_torch: OpenTorch | None = None,
) -> _Timed:
    """:func:`time_here` in a fresh process. Raises what that does, EngineError when the process is killed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(theirs, request, bits, threads, with_reference, open_torch), daemon=True
    )
    with _pools_of(threads):
        process.start()
    theirs.close()
    try:
        while True:
            said = ours.recv()
            if isinstance(said, _Timed):
                return said
            if isinstance(said, PleinairError):
                raise said
            if isinstance(said, str):
                raise RuntimeError(f"timing with {thread_name(threads)} failed:\n{said}")
            progress(*said)
    except EOFError as error:
        raise EngineError(
            f"the process that timed with {thread_name(threads)} was killed, perhaps for want of memory; "
            "try smaller frames, or leave PyTorch out"
        ) from error
    finally:
        process.terminate()
        process.join()
        ours.close()


def _relative(timed: Sequence[tuple[int, _Timed]]) -> tuple[list[Row], Row | None, Row | None]:
    """Rows of this machine with their speeds; and those that boards are compared with, of the most threads.

    Ratios are the medians of those within rounds.
    """
    rows: list[Row] = []
    johnson = base = None
    for _, found in timed:
        for row in found.rows:
            own = found.timings.get((row.backend, row.bits))
            speeds: list[float | None] = []
            for key in ((JOHNSON, FLOAT_BITS), (BASE, 8)):
                other, fps = found.timings.get(key), row.fps
                if other is None or fps is None:
                    speeds.append(None)
                else:
                    speeds.append(fps * other.median if own is None else own.speed_over(other))
            rows.append(replace(row, speed_johnson=speeds[0], speed_8bit=speeds[1]))
    for row in rows:
        key = row.backend, row.bits
        if key == (JOHNSON, FLOAT_BITS) and (johnson is None or (row.threads or 0) > (johnson.threads or 0)):
            johnson = row
        if key == (BASE, 8) and (base is None or (row.threads or 0) > (base.threads or 0)):
            base = row
    return rows, johnson, base


# -- boards


def _plan_rows(request: Request, bits: Sequence[int], planner: Planner | None, progress: Progress) -> list[Row]:
    """The fastest plan for each board and width."""
    whole = [b for b in bits if b != FLOAT_BITS]
    if planner is None or not request.boards or not whole:
        return []
    found = planner.fastest(
        request.style,
        request.boards,
        request.size,
        whole,
        lambda done, total: progress("plan boards", done, total),
    )
    return [_planned(plan, request.size, load_model(request.style, plan.bits)) for plan in found]


def _planned(plan: BoardPlan, size: tuple[int, int], model: Model) -> Row:
    board, fits = plan.board, plan.fps is not None
    counts = {"dsp": plan.dsp, "lut": plan.lut, "bram": plan.bram18, "uram": plan.uram}
    return Row(
        backend=board.title,
        kind="board",
        style=model.style,
        bits=plan.bits,
        how=PLANNED,
        where=f"{board.title}, {plan.clock_hz / 1e6:g} MHz",
        size=size,
        fps=plan.fps,
        engine="accelerator",
        macs_per_pixel=model.network.macs_per_pixel(),
        bytes=_network_bytes(model),
        energy=stated(board.name, plan.fps),
        resources=resources(counts) if fits else None,
        note=f"bound by {plan.binds}" if fits else f"does not fit: {plan.binds}",
    )


def _price(
    request: Request,
    bits: Sequence[int],
    rows: Sequence[Row],
    quality: Mapping[int, Quality],
    planner: Planner | None,
    progress: Progress,
) -> Price:
    """What each width costs: time on this machine, on the largest board, and that board's resources at one rate."""
    prices = {b: BitPrice() for b in bits}
    one = min((r.threads or 0 for r in rows if r.kind == "cpu" and r.rounds != 1), default=0)
    for r in rows:
        if r.bits in prices and r.backend == BASE and r.threads == one:
            prices[r.bits] = replace(prices[r.bits], cpu_ms=r.ms)
    for b in bits:
        loss = quality[b].loss if b in quality else None
        prices[b] = replace(prices[b], bytes=_network_bytes(load_model(request.style, b)), loss=loss)
    planned = [r for r in rows if r.how == PLANNED and r.engine == "accelerator"]
    board = None if planner is None else _largest_board(planner, request.boards, planned)
    if planner is None or board is None:
        return Price(None, None, prices)
    rates = {r.bits: r.fps for r in planned if r.backend == board.title and r.fps}
    # A little less than the slowest's best, which must not be missed by the rounding of cycles.
    fps = 0.99 * min(rates.values())
    for done, (b, rate) in enumerate(rates.items()):
        progress(f"plan {board.name} at one rate", done, len(rates))
        prices[b] = replace(prices[b], board_ms=1e3 / rate)
        plan = planner.at_rate(load_model(request.style, b), request.size, board, fps)
        if plan is not None:
            memory = plan.bram18 * 18 * 1024 + plan.uram * 288 * 1024
            prices[b] = replace(prices[b], dsp=plan.dsp, lut=plan.lut, memory_bits=memory)
    return Price(board.name, fps, prices)


def _largest_board(planner: Planner, names: Sequence[str], planned: Sequence[Row]) -> Board | None:
    """The board on which the most widths fit; among those the one with the most DSPs. None where nothing fits."""
    if not planned:
        return None
    boards = [planner.board(name) for name in names]
    fitting = {b.name: sum(r.backend == b.title and r.fps is not None for r in planned) for b in boards}
    best = max(boards, key=lambda b: (fitting[b.name], b.dsp))
    return best if fitting[best.name] else None


# -- all of it


def check(request: Request, planner: Planner | None = None) -> tuple[list[int], list[int]]:
    """The widths and the numbers of threads to compare. Raises OptionError and ModelError."""
    folder = find_style(request.style)
    has = sorted(read_card(folder).networks)
    for bits in request.bits:
        if bits not in (*BITS, FLOAT_BITS):
            raise OptionError(f"{bits}: allowed are {', '.join(map(str, (*BITS, FLOAT_BITS)))}", option="bits")
        if bits not in has:
            raise ModelError(f"{bits}: style {folder.resolve().name} has {', '.join(map(str, has))}", option="bits")
    if request.boards and planner is None:
        raise ValueError("boards: need a planner")
    for name in request.boards:
        assert planner is not None
        planner.board(name)
    threads = [n or cores() for n in request.threads] or [1, cores()]
    return sorted(set(request.bits)) or has, sorted(set(threads))


def compare(
    request: Request,
    progress: Progress | None = None,
    *,
    planner: Planner | None = None,
    open_torch: OpenTorch | None = None,
) -> Comparison:
    """Collect everything.

    ``planner`` is needed for boards; without ``open_torch``, a function that another process can import, PyTorch is
    left out. Raises OptionError and ModelError before anything is timed, EngineError.
    """
    say = progress or (lambda what, done, total: None)
    bits, threads = check(request, planner)
    style = find_style(request.style).resolve().name
    titles = {} if planner is None else planner.titles()
    given = [*map(read_build, request.builds), *(row for path in request.benches for row in read_bench(path, titles))]
    quality = {} if request.evaluation is None else read_evaluation(request.evaluation, style)
    timed = [(n, _time_apart(request, bits, n, n == threads[0], say, open_torch)) for n in threads]
    rows, johnson, base = _relative(timed)
    left_out: list[str] = []
    for _, found in timed:
        left_out += [line for line in found.left_out if line not in left_out]
    boards = [*_plan_rows(request, bits, planner, say), *given]
    if not any(r.fps is not None and r.size == request.size for r in (*rows, *boards)):
        raise OptionError(f"nothing to compare: {'; '.join(left_out) or 'no machine, no board'}")

    def against(row: Row, other: Row | None) -> float | None:
        comparable = other is not None and other.fps and row.fps and row.size == other.size and row.how != EMULATED
        return row.fps / other.fps if comparable and other and other.fps and row.fps else None

    rows += [replace(r, speed_johnson=against(r, johnson), speed_8bit=against(r, base)) for r in boards]
    price = _price(request, bits, rows, quality, planner, say)
    return Comparison(style, request.size, request.rounds, this_machine(), rows, quality, price, left_out)
