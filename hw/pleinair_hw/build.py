"""``pleinair build``: a network in, a folder out that holds its accelerator.

    BUILD/build.json        what was asked for, and how far the build has come
    BUILD/plan.json         folding, forms and FIFO depths, as ``Request.folding`` takes them
    BUILD/accelerator.onnx  FINN's hardware graph
    BUILD/finn/             what FINN generated, node by node
    BUILD/rtl/              the whole accelerator as Verilog with a manifest, all that simulation and synthesis need
    BUILD/network.npz       the integer network, to compare with
    BUILD/report.json, report.html
    BUILD/deploy/           the deployment folder, where Vivado is installed, or the open tools are and were asked for
    BUILD/vivado/           the RTL as Vivado reads it, its script, log and reports, where Vivado is installed
    BUILD/synthesis/, open/ with --toolchain open: the RTL for synthesis, and what the open tools made of it

The folder is ours alone: a new build into it, also after one that was interrupted, starts from nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.durable import write_file
from pleinair.errors import OptionError, OutputError
from pleinair.fpga import build_folder
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork, dump
from pleinair.network.trimming import check_trimmable, inner, inset_of
from pleinair.painting.tiles import padded_size
from pleinair_hw.finn import environment
from pleinair_hw.finn.compiler import CompileError, compile_plan, run_graph
from pleinair_hw.open import tools
from pleinair_hw.open.flow import MARGIN, MOST_SEEDS, Made, make_bitstream
from pleinair_hw.plan.boards import Board, find_board
from pleinair_hw.plan.dataflow import Form
from pleinair_hw.plan.frontend import Source, read_source
from pleinair_hw.plan.plan import PLAIN, BuildOptions, Folding, Plan
from pleinair_hw.plan.search import fastest_plan, plan_for_rate, plan_with_folding
from pleinair_hw.report.data import Report
from pleinair_hw.report.describe import describe
from pleinair_hw.report.page import write_report

#: Who makes the bitstream: Vivado where it is installed, or the open tools.
VIVADO, OPEN = TOOLCHAINS = ("vivado", "open")
PLAN = "plan.json"
SYNTHESIS = "synthesis"
GRAPH = "accelerator.onnx"
NETWORK = "network.npz"
_MAX_FOLDING = 1 << 20
#: Frames up to so many pixels are run through FINN's graph in Python and compared with the reference.
_CHECKED_PIXELS = 1 << 16
_FIFO_SIZING = ("estimate", "simulate")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is asked for. ``size``: the frame's width and height; ``fps``: None for the most that fits."""

    model: str
    board: str
    size: tuple[int, int]
    out: Path
    bits: int | None = None
    fps: float | None = None
    clock_mhz: int | None = None
    margin: int | None = None
    folding: Path | None = None
    options: BuildOptions = PLAIN
    fifo_sizing: str = "estimate"
    toolchain: str = VIVADO
    seeds: int = 1
    clock_margin: float = MARGIN

    def record(self) -> dict[str, Any]:
        """What build.json says of it: everything but the folder."""
        # Who makes the bitstream is said by the toolchain.
        ways = {name: value for name, value in asdict(self.options).items() if name != "open_tools"}
        routing = {"toolchain": self.toolchain, "seeds": self.seeds, "clock_margin": self.clock_margin}
        return {
            "model": self.model,
            "board": self.board,
            "size": self.size,
            "bits": self.bits,
            "fps": self.fps,
            "clock_mhz": self.clock_mhz,
            "margin": self.margin,
            "folding": None if self.folding is None else str(self.folding),
            "ways": ways,
            "fifo_sizing": self.fifo_sizing,
            **(routing if self.toolchain == OPEN else {}),
        }


@dataclass(frozen=True)
class Build:
    """A finished build. ``checked``: values of FINN's graph compared with the reference, 0 if the frame is too large.

    ``deployment``: the folder for the board, or None where there are no tools to make a bitstream, or no card of the
    model to go with it. ``routed``: what the open tools made; ``missing``: those of them that were not found.
    """

    folder: Path
    plan: Plan
    nodes: int
    checked: int
    deployment: Path | None
    routed: Made | None = None
    missing: tuple[str, ...] = ()


def _unfit(path: Path, problem: object) -> OptionError:
    return OptionError(f"{path}: {problem}", option="folding")


def _read_folding(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FOLDING + 1)
    except OSError as error:
        raise _unfit(path, error.strerror or str(error)) from error
    if len(data) > _MAX_FOLDING:
        raise _unfit(path, f"larger than {_MAX_FOLDING >> 20} MiB")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unfit(path, f"not JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise _unfit(path, "must hold an object of objects, node name to attributes")
    return content


def read_folding(path: Path, plan: Plan) -> tuple[Folding, dict[str, Form], dict[str, int]]:
    """A folding file: ours (plan.json) or FINN's (``{"MVAU_rtl_0": {"PE": 4, "SIMD": 8}, "Defaults": {}}``).

    FINN numbers nodes by kind in the order of the graph, which ``plan`` gives. Returns folding by stage, forms by
    convolution and FIFO depths by stream, the last two empty for FINN's. Raises OptionError.
    """
    content = _read_folding(path)
    forms: dict[str, Form] = {}
    depths: dict[str, int] = {}
    if "stages" in content:
        known = {"direct", "taps", "phases", "centred"}
        for name, form in content.get("forms", {}).items():
            if form not in known:
                raise _unfit(path, f"form {form!r} of {name}; allowed are {', '.join(sorted(known))}")
            forms[name] = form
        for name, depth in content.get("fifos", {}).items():
            if not isinstance(depth, int) or not 0 <= depth <= 1 << 22:
                raise _unfit(path, f"FIFO depth {depth!r} of {name}; allowed are 0 to {1 << 22}")
            depths[name] = depth
        content = content["stages"]
    numbered: dict[str, str] = {}
    counts: dict[str, int] = {}
    for stage in plan.stages:
        number = counts.get(stage.kind, 0)
        counts[stage.kind] = number + 1
        for kind in (stage.kind, f"{stage.kind}_rtl", f"{stage.kind}_hls"):
            numbered[f"{kind}_{number}"] = stage.name
    wanted = {"PE", "SIMD", "parallel_window", "ram_style"}
    given: dict[str, dict[str, int | str]] = {}
    for name, attributes in content.items():
        if name == "Defaults":
            continue
        if not isinstance(attributes, dict):
            raise _unfit(path, f"{name} must hold attributes")
        chosen = {k: v for k, v in attributes.items() if k in wanted and v not in ("auto", None)}
        for key, value in chosen.items():
            if not isinstance(value, str if key == "ram_style" else int) or isinstance(value, bool):
                raise _unfit(path, f"{key} {value!r} of {name}")
        if re.match(r"(StreamingFIFO|StreamingDataWidthConverter)", name):
            continue  # both follow from the rest
        given[numbered.get(name, name)] = chosen
    return given, forms, depths


def check_trim(network: IntegerNetwork, margin: int, size: tuple[int, int]) -> None:
    """Raise OptionError where a network cannot be trimmed for frames of ``size`` (width, height) in that margin."""
    check_trimmable(network, *padded_size(size[1], size[0], margin, network.stride))
    if margin < inset_of(network):
        raise OptionError(
            f"cannot be: takes {inset_of(network)} pixels from each side, the margin has {margin}", option="trim"
        )


def make_plan(request: Request, source: Source, board: Board) -> Plan:
    """The plan that a request asks for. Raises OptionError and DoesNotFitError."""
    network = source.network
    height, width = padded_size(request.size[1], request.size[0], source.margin, network.stride)
    clock = request.clock_mhz * 1e6 if request.clock_mhz else board.clock_hz
    options = replace(request.options, open_tools=request.toolchain == OPEN)
    if options.trimmed:
        check_trim(network, source.margin, request.size)
    if request.folding is None:
        if request.fps is None:
            return fastest_plan(network, height, width, board, clock_hz=clock, options=options)
        return plan_for_rate(network, height, width, board, request.fps, clock_hz=clock, options=options)
    plain = plan_with_folding(network, height, width, board, {}, {}, clock_hz=clock, options=options)
    given, forms, depths = read_folding(request.folding, plain)
    plan = plan_with_folding(network, height, width, board, given, forms, clock_hz=clock, options=options)
    return plan.with_fifos(depths) if depths else plan


def _check_folder(request: Request) -> None:
    """Refuse a folder whose name FINN's scripts cannot hold, before any work. Raises OptionError, ToolchainError."""
    path = str(request.out.absolute())
    # A blank is kept, but the scripts part one file from the next by a blank and a slash.
    if not path.isprintable() or " /" in path or path.endswith(" "):
        raise OptionError(
            f"{path!r}: allowed are printable characters, and no folder's name that ends in a blank", option="out"
        )
    if " " in path and (vivado := environment.find_vivado()) is not None:
        raise OptionError(f"{path}: our scripts for {vivado.name} cannot hold a path with blanks", option="out")
    _check_ours(request.out)


def _check_ours(folder: Path) -> None:
    """Raise OutputError for a folder that holds somebody else's files."""
    try:
        if folder.exists() and (
            not folder.is_dir() or (any(folder.iterdir()) and not (folder / build_folder.STATE).is_file())
        ):
            raise OutputError(f"{folder} is there and holds no build; name another folder, or remove it")
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error


def _claim(folder: Path) -> None:
    """Make ``folder`` ours and empty. Raises OutputError when it holds somebody else's files."""
    _check_ours(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            # The state last: an interrupted removal must leave the folder recognisable.
            if path.name != build_folder.STATE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


@contextlib.contextmanager
def _into_folder(folder: Path) -> Iterator[None]:
    """A full disk while FINN writes is one clear line, not a traceback; what FINN prints goes to its log's folder."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            yield
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error


def check_graph(model: Any, network: IntegerNetwork, height: int, width: int) -> int:
    """Run FINN's hardware graph in Python on one random frame; the number of values, all equal to the reference's.

    Raises CompileError when one differs.
    """
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    painted = run_graph(model, frame)
    expected = inner(reference.run(network, frame), (height - painted.shape[0]) // 2)
    differing = int(np.count_nonzero(painted != expected))
    if differing:
        raise CompileError(f"FINN's hardware graph differs from the reference in {differing} of {expected.size} values")
    return int(expected.size)


def finn_estimates(model: Any, part: str) -> dict[str, dict[str, float]]:
    """FINN's own resource estimates by node, to stand beside ours."""
    from finn.analysis.fpgadataflow.res_estimation import res_estimation

    found = model.analysis(lambda m: res_estimation(m, part))
    return {str(name): {str(k): float(v) for k, v in entry.items()} for name, entry in found.items()}


def plan_file(plan: Plan) -> dict[str, Any]:
    """What plan.json holds."""
    fifos = {s.name.removesuffix(".fifo"): s.depth for s in plan.stages if s.kind == "StreamingFIFO"}
    return {"forms": dict(plan.forms), "stages": plan.folding, "fifos": fifos}


def build(request: Request, progress: Progress | None = None) -> Build:
    """Compile an accelerator. ``progress`` is called with what is being done.

    Raises ModelError, OptionError, DoesNotFitError, ToolchainError, CompileError, OutputError.
    """
    say = progress or (lambda step: None)
    board = find_board(request.board)
    if request.toolchain == OPEN:
        _check_open(request, board)
    if request.fifo_sizing not in _FIFO_SIZING:
        raise OptionError(f"{request.fifo_sizing!r}: allowed are {', '.join(_FIFO_SIZING)}", option="fifo_sizing")
    _check_folder(request)
    say("read the network")
    source = read_source(request.model, request.bits, request.margin)
    environment.check_finn()
    say("fold")
    plan = make_plan(request, source, board)
    folder = request.out
    _claim(folder)
    network_file = dump(source.network)
    digest = hashlib.sha256(network_file).hexdigest()
    record = build_folder.Build(
        request=request.record(),
        style=source.title,
        bits=source.network.bits,
        margin=source.margin,
        grain=source.grain,
        height=plan.dataflow.source.height,
        width=plan.dataflow.source.width,
        board=board.name,
        clock_mhz=plan.clock_hz / 1e6,
        network_sha256=digest,
        inset=plan.dataflow.inset,
    )
    with _into_folder(folder):
        record.write(folder, build_folder.STARTED)
        write_file(folder / NETWORK, network_file)
        if request.fifo_sizing == "simulate":
            plan = _size_fifos(plan, folder, say)
        made, model, report = _generate(request, source, plan, digest, say)
        record.write(folder, build_folder.COMPLETE)
        if request.toolchain == OPEN:
            made = _route(request, source, made, model, report, say)
    return made


def _check_open(request: Request, board: Board) -> None:
    """Refuse at once what the open tools cannot make. Raises OptionError."""
    if board.name not in tools.OPEN_BOARDS:
        allowed = ", ".join(tools.OPEN_BOARDS)
        raise OptionError(f"open: makes bitstreams for {allowed}, not for {board.name}", option="toolchain")
    if request.options.pumped:
        raise OptionError("cannot be with the open tools: their shell has no clock of twice the rate", option="pumped")
    if not 1 <= request.seeds <= MOST_SEEDS:
        raise OptionError(f"{request.seeds}: allowed are 1 to {MOST_SEEDS}", option="seeds")
    if not 0 <= request.clock_margin <= 90:
        raise OptionError(f"{request.clock_margin:g}: allowed are 0 to 90 per cent", option="clock_margin")


def _route(request: Request, source: Source, made: Build, model: Any, report: Report, say: Progress) -> Build:
    """The build with its bitstream, where the open tools are; else with the names of those that are not."""
    from pleinair_hw.open.deploy import deploy, figures
    from pleinair_hw.stitch.write import write_rtl

    folder, plan, board = made.folder, made.plan, made.plan.board
    say("write RTL for synthesis")
    write_rtl(model, folder / SYNTHESIS, "routing")
    found = tools.search(board)
    if found.missing:
        return replace(made, missing=tuple(found.missing))
    routed = make_bitstream(
        folder / SYNTHESIS,
        folder,
        board,
        tools.require(found),
        plan.clock_hz / 1e6,
        margin=request.clock_margin,
        seeds=request.seeds,
        progress=say,
    )
    write_report(folder, replace(report, routed=figures(routed, plan.fps)))
    if source.folder is None:
        return replace(made, routed=routed)
    say("assemble the deployment folder")
    from pleinair_hw.stitch.manifest import Manifest
    from pleinair_hw.vivado import make_driver

    driver = routed.folder / "driver"
    make_driver(model, Manifest.read(folder / SYNTHESIS), routed.clock.mhz, driver)
    deployment = deploy(routed, driver, folder / "deploy", model=source.folder, bits=source.network.bits, board=board)
    return replace(made, routed=routed, deployment=deployment.folder)


def _generate(request: Request, source: Source, plan: Plan, digest: str, say: Progress) -> tuple[Build, Any, Report]:
    """Everything that a build's folder holds besides its state and its network, of which ``digest`` is the SHA-256.

    Also FINN's graph with generated RTL, and the report.
    """
    folder, board, network = request.out, plan.board, source.network
    model = compile_plan(plan, folder / "finn", lambda step, _: say(step))
    checked = 0
    height, width = plan.dataflow.source.height, plan.dataflow.source.width
    if height * width <= _CHECKED_PIXELS:
        say("compare with the reference")
        checked = check_graph(model, network, height, width)
    say("write RTL")
    from pleinair_hw.stitch.write import write_rtl

    write_rtl(model, folder / "rtl")
    model.save(str(folder / GRAPH))
    _write_json(folder / PLAN, plan_file(plan))
    report = describe(
        plan,
        title=source.title,
        bits=network.bits,
        size=request.size,
        margin=source.margin,
        network_sha256=digest,
        target_fps=request.fps,
        finn=finn_estimates(model, board.part),
    )
    write_report(folder, report)
    deployment = None
    if request.toolchain == VIVADO:
        deployment = _synthesise(model, source, network.bits, board, plan, folder, say)
    return Build(folder, plan, len(model.graph.node), checked, deployment), model, report


def _synthesise(
    model: Any, source: Source, bits: int, board: Board, plan: Plan, folder: Path, say: Progress
) -> Path | None:
    vivado = environment.find_vivado()
    if vivado is None or source.folder is None:
        return None
    from pleinair_hw.vivado import assemble, synthesise

    clock = round(plan.clock_hz / 1e6)
    say(f"synthesise with {vivado.name}, hours")
    bitstream = synthesise(model, board, clock, vivado, folder / "vivado")
    say("assemble the deployment folder")
    return assemble(folder / "deploy", bitstream, model=source.folder, bits=bits, board=board, clock_mhz=clock).folder


def _size_fifos(plan: Plan, folder: Path, say: Progress) -> Plan:
    """FIFO depths from simulation of the accelerator itself; see pleinair_hw.simulate.simulation."""
    from pleinair_hw.simulate.simulation import load, size_fifos
    from pleinair_hw.stitch.write import write_rtl

    say("compile for FIFO sizing")
    makers: dict[str, str] = {}
    model = compile_plan(plan.with_fifos({}), folder / "finn", None, makers)
    sizing = folder / "sizing"
    write_rtl(model, sizing, "sizing")
    source = plan.dataflow.source
    frames = np.random.default_rng(0).integers(0, 256, (3, source.height, source.width, 3), dtype=np.uint8)
    say("simulate for FIFO sizes")
    depths = size_fifos(load(sizing), frames, progress=lambda step, *_: say(step)).depths
    shutil.rmtree(sizing)
    shutil.rmtree(folder / "finn")
    return plan.with_fifos({makers[tensor]: depth for tensor, depth in depths.items()})
