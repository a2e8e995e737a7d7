"""Many accelerators at once: each style, number of bits, board and frame size is planned, built and simulated.

    OUT/sweep.json           the figures of every configuration, in their order
    OUT/NAME/result.json     those of one; NAME is such as ``starry-night-8bit-kv260-640x480``
    OUT/NAME/build/          its build (:mod:`pleinair_hw.build`), where it was built

A configuration is a step for :func:`pleinair.farm.steps.run_steps`, so they may be done on one machine after another or
on many at once; all see OUT and the styles under the same paths, as on a shared disk. What is done already stays done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.durable import write_file
from pleinair.errors import OptionError, OutputError, PleinairError
from pleinair.farm.cluster import Cluster
from pleinair.farm.steps import Step, run_steps
from pleinair.models import Model, absolute, load_model
from pleinair.network.integer import IntegerNetwork
from pleinair_hw.build import Request, build, check_trim
from pleinair_hw.plan.boards import find_board
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.survey import survey_network, widths_of
from pleinair_hw.simulate.proof import prove

if TYPE_CHECKING:
    from rich.table import Table

#: How far configurations are taken; each includes those before it.
PLAN, BUILD, SIMULATE = STAGES = ("plan", "build", "simulate")
_RESULT, _ALL = "result.json", "sweep.json"


@dataclass(frozen=True)
class Configuration:
    """One accelerator. ``style``: a name or an absolute folder; ``size``: (width, height) of the frame.

    ``fps``: frames a second that it is built for; None for the most that fits.
    """

    style: str
    bits: int
    board: str
    size: tuple[int, int]
    fps: float | None = None
    clock_mhz: int | None = None
    pumped: bool = False
    trimmed: bool = False

    @property
    def name(self) -> str:
        """Its folder in OUT."""
        rate = f"-{self.fps:g}fps" if self.fps else ""
        clock = f"-{self.clock_mhz}mhz" if self.clock_mhz else ""
        form = ("-pumped" if self.pumped else "") + ("-trimmed" if self.trimmed else "")
        width, height = self.size
        return f"{Path(self.style).name}-{self.bits}bit-{self.board}-{width}x{height}{rate}{clock}{form}"


@dataclass(frozen=True)
class Task:
    """A configuration to take as far as ``until``, one of :data:`STAGES`, in ``folder``, an absolute path."""

    configuration: Configuration
    folder: Path
    until: str


@dataclass(frozen=True)
class Result:
    """What came of a configuration; None is what was not asked for.

    Figures are those of the accelerator that was built, else of the fastest plan; ``fps`` is None where that does not
    fit or cannot be trimmed. ``binds`` says what keeps the fastest plan from being faster, or from fitting, or why the
    network cannot be trimmed. Shares are of the board's.
    ``differing``: bytes of the simulated painting of one frame of the synthetic day that are not the reference's.
    ``seconds`` of all work. ``failed`` says why it was not taken to the end.
    """

    configuration: Configuration
    until: str
    network: str
    fps: float | None = None
    binds: str = ""
    dsp: float = 0.0
    bram: float = 0.0
    uram: float = 0.0
    lut: float = 0.0
    lanes_busy: float = 0.0
    nodes: int | None = None
    latency: int | None = None
    differing: int | None = None
    seconds: float = 0.0
    worker: str = ""
    failed: str = ""

    @property
    def right(self) -> bool:
        """Whether it was taken to the end, and the simulated painting is the reference's."""
        return not self.failed and not self.differing


def tasks(
    styles: Sequence[str],
    boards: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    bits: Sequence[int],
    out: Path,
    *,
    until: str = BUILD,
    fps: float | None = None,
    clock_mhz: int | None = None,
    pumped: bool = False,
    trimmed: bool = False,
) -> list[Task]:
    """Every combination, in this order; a style is passed over at bits that it has not. Raises OptionError, ModelError.

    Two that would share a folder are refused.
    """
    found = dict[str, Configuration]()
    for style in styles:
        for number in (b for b in bits if b in widths_of(style)):
            for board in boards:
                for size in sizes:
                    one = Configuration(
                        style=absolute(style),
                        bits=number,
                        board=find_board(board).name,
                        size=size,
                        fps=fps,
                        clock_mhz=clock_mhz,
                        pumped=pumped,
                        trimmed=trimmed,
                    )
                    if found.setdefault(one.name, one) != one:
                        raise OptionError(f"{style}: another style is called {Path(style).name}", option="style")
    if not found:
        raise OptionError(f"{', '.join(map(str, bits))}: no style has a network of these", option="bits")
    return [Task(one, out.absolute() / name, until) for name, one in found.items()]


def left(all_tasks: Sequence[Task]) -> tuple[list[Step], dict[str, Result]]:
    """The steps that are still to be done, and the results that are there, by name. Raises ModelError.

    A configuration that failed is tried again; so is one whose network has changed.
    """
    steps, known = list[Step](), dict[str, Result]()
    for task in all_tasks:
        name = task.configuration.name
        result = read_result(task)
        if result is not None and result.right:
            known[name] = result
        else:
            steps.append(Step(name, task))
    return steps, known


def read_result(task: Task) -> Result | None:
    """What came of a task before; None where that is not known or was another task. Raises ModelError."""
    try:
        values = json.loads((task.folder / _RESULT).read_bytes())
        size = tuple(values["configuration"]["size"])
        result = Result(**{**values, "configuration": Configuration(**{**values["configuration"], "size": size})})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    model = load_model(task.configuration.style, task.configuration.bits)
    same = (result.configuration, result.until, result.network) == (task.configuration, task.until, model.sha256)
    return result if same else None


def do(task: Task, fetch: Callable[[], None] = lambda: None) -> Result:
    """Do a task; this runs on a worker. What goes wrong with it stands in its result. Raises OutputError."""
    began, one = time.monotonic(), task.configuration
    result = Result(one, task.until, "")
    try:
        model = load_model(one.style, one.bits)
        result = replace(result, network=model.sha256)
        assert isinstance(model.network, IntegerNetwork)
        options = BuildOptions(pumped=one.pumped, trimmed=one.trimmed)
        clock = one.clock_mhz * 1e6 if one.clock_mhz else None
        untrimmable = _why_not(model, one)
        if untrimmable:
            result = replace(result, binds=untrimmable)
        else:
            row = survey_network(
                model.network, one.style, model.margin, find_board(one.board), one.size, clock, options=options
            )
            result = replace(_with_figures(result, row.fps, row.shares, row.lanes_busy), binds=row.binds)
            if row.fps is not None and task.until != PLAN:
                result = _build(task, options, result)
    except PleinairError as error:
        result = replace(result, failed=str(error))
    result = replace(result, seconds=round(time.monotonic() - began, 1))
    try:
        task.folder.mkdir(parents=True, exist_ok=True)
        write_file(task.folder / _RESULT, _json(asdict(result)))
    except OSError as error:
        raise OutputError(f"{task.folder}: {error.strerror}") from error
    return result


def _why_not(model: Model, one: Configuration) -> str:
    """Why a configuration cannot be trimmed as it says; "" where it can, or does not say so."""
    if one.trimmed:
        assert isinstance(model.network, IntegerNetwork)
        try:
            check_trim(model.network, model.margin, one.size)
        except OptionError as error:
            return str(error)
    return ""


def _with_figures(result: Result, fps: float | None, shares: Mapping[str, float], lanes_busy: float) -> Result:
    dsp, bram, uram, lut = (shares[kind] for kind in ("dsp", "bram", "uram", "lut"))
    return replace(result, fps=fps, dsp=dsp, bram=bram, uram=uram, lut=lut, lanes_busy=lanes_busy)


def _build(task: Task, options: BuildOptions, result: Result) -> Result:
    one, folder = task.configuration, task.folder / "build"
    task.folder.mkdir(parents=True, exist_ok=True)
    request = Request(
        model=one.style,
        board=one.board,
        size=one.size,
        out=folder,
        bits=one.bits,
        fps=one.fps,
        clock_mhz=one.clock_mhz,
        options=options,
    )
    made = build(request)
    result = replace(_with_figures(result, made.plan.fps, made.plan.shares, made.plan.lanes_busy), nodes=made.nodes)
    if task.until == SIMULATE:
        (frame,) = SyntheticCamera(_drawn(one.size), 1, start=12 * 3600.0).frames()
        proof = prove(folder, [frame.image])
        result = replace(result, latency=proof.result.latency, differing=proof.differing)
    return result


def _drawn(size: tuple[int, int]) -> tuple[int, int]:
    """The size that the synthetic day is drawn at for frames of ``size``, to which the picture is then scaled."""
    factor = max(1, -(-160 // min(size)))
    return size[0] * factor, size[1] * factor


def run(
    wanted: Sequence[Task],
    cluster: Cluster | None = None,
    *,
    report: Callable[[int, int, str], None] = lambda done, of, name: None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Do what is left of some tasks, on a cluster or here, one after another; the results of all, in their order.

    ``report`` gets how many are done of how many, and the name of the last. Raises FarmError, OutputError, ModelError.
    """
    steps, results = left(wanted)

    def done(name: str, result: Result) -> None:
        results[name] = result
        report(len(results), len(wanted), name)

    if cluster is None:
        for step in steps:
            done(step.name, do(step.job))
    else:
        run_steps(
            cluster, do, steps, done=lambda name, got: done(name, replace(got.value, worker=got.worker)), tell=tell
        )
    return [results[task.configuration.name] for task in wanted]


def _json(values: Any) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def write_results(out: Path, results: Sequence[Result]) -> Path:
    """Write ``OUT/sweep.json``; its path. Raises OutputError."""
    try:
        write_file(out / _ALL, _json([asdict(result) for result in results]))
    except OSError as error:
        raise OutputError(f"{out / _ALL}: {error.strerror}") from error
    return out / _ALL


def results_table(results: Sequence[Result]) -> Table:
    """For a terminal."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("configuration")
    for head in ("frames/s", "DSP", "BRAM", "LUT", "lanes busy", "nodes", "latency", "differing"):
        table.add_column(head, justify="right")
    table.add_column("what binds")
    for one in results:
        fits = one.fps is not None
        figures = [f"{one.fps:.1f}" if fits else "none fits" if not one.failed else "failed"]
        figures += [f"{share:.0%}" if fits else "" for share in (one.dsp, one.bram, one.lut, one.lanes_busy)]
        figures += ["" if value is None else f"{value:,}" for value in (one.nodes, one.latency, one.differing)]
        table.add_row(one.configuration.name, *figures, one.failed or one.binds)
    return table
