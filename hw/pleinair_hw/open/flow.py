"""The whole way from an accelerator's RTL to a .bit: shell, synthesis, place and route, the clock, bits, checks.

What a build keeps of it lies in ``BUILD/open``::

    shell/            the sources around the accelerator (pleinair_hw.shell)
    design.v          the netlist after synthesis, Verilog of Yosys' cells
    routed.json       the netlist after place and route, as nextpnr writes it
    design.fasm       the bitstream's features
    design.bit        the bitstream
    open.json         what was reached: clock, use of the chip, tools and their versions, time and memory
    *.log             what each tool said
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pleinair.durable import file_sha256, write_file
from pleinair_hw.bitstream.database import BitstreamError
from pleinair_hw.open.clock import Clock, choose
from pleinair_hw.open.place import FASM, ROUTED, Figures, Routed, place
from pleinair_hw.open.steps import (
    Limits,
    OpenToolError,
    ToolFailure,
    cached,
    digest_of,
    digest_of_files,
    run_tool,
    take,
    writing_to,
)
from pleinair_hw.open.synthesis import VERILOG, Netlist, find_yosys, synthesise
from pleinair_hw.open.tools import OpenTools
from pleinair_hw.plan.boards import Board
from pleinair_hw.shell.write import Shell, write_shell
from pleinair_hw.stitch.manifest import Manifest

FOLDER, RECORD, BIT = "open", "open.json", "design.bit"
#: Part of the cache's key of the bitstream.
_RECIPE = 1
_CHECKED = "checked.json"
#: Per cent below the router's highest clock: its figures know neither voltage nor temperature nor hold times.
MARGIN = 15.0
MOST_SEEDS = 20
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Bounds:
    """What the tools may take: seconds for synthesis, place and route of one seed, the bits; bytes of memory."""

    synthesis: float = 4 * 3600
    route: float = 8 * 3600
    bits: float = 1800
    memory: int = 12 << 30


@dataclass(frozen=True)
class Made:
    """A bitstream that the open tools made.

    Attributes:
        folder: ``BUILD/open``.
        shell: what lies around the accelerator, and the map of its registers.
        clock: what the accelerator runs at.
        planned_mhz: what was planned.
        margin: per cent that were kept below ``figures.fmax_mhz``.
        figures: of the seed that won.
        seeds: the highest clock of each seed in MHz, None for one that failed.
        netlist: cells after synthesis.
        delays: how many of its LUTs do nothing but delay the write addresses of memories.
        usage: seconds, cpu_seconds and memory of each step.
        versions: of the tools.
        checked: how many features were asked for, and how many read back from the bits.
        reused: steps that were taken from the cache.
    """

    folder: Path
    shell: Shell
    clock: Clock
    planned_mhz: float
    margin: float
    figures: Figures
    seeds: Mapping[str, float | None]
    netlist: Mapping[str, int]
    delays: int
    usage: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, str]
    checked: Mapping[str, int]
    reused: tuple[str, ...]

    @property
    def bitfile(self) -> Path:
        """The bitstream."""
        return self.folder / BIT

    def record(self) -> dict[str, Any]:
        """What open.json holds: the same for the same result, but for the time that the tools took."""
        values = {name: value for name, value in vars(self).items() if name not in ("folder", "shell", "reused")}
        values |= {"clock": asdict(self.clock), "figures": asdict(self.figures)}
        return {"format": "pleinair-open", "version": 1, **values, "clock_mhz": self.clock.mhz}


def _route(
    netlist: Netlist,
    tools: OpenTools,
    board: Board,
    clock_mhz: float,
    seeds: int,
    folder: Path,
    bounds: Bounds,
    say: Progress,
) -> tuple[Routed, dict[str, float | None], list[str]]:
    """The fastest of several seeds, what each reached, and which were in the cache. Raises what the first raised."""
    best: Routed | None = None
    reached: dict[str, float | None] = {}
    reused, first = [], None
    for seed in range(1, seeds + 1):
        say(f"place and route, seed {seed} of {seeds}")
        limits = Limits(bounds.route, bounds.memory)
        try:
            log = folder / f"route-{seed}.log"
            routed = place(netlist, tools, board.part, clock_mhz, seed, log, limits, progress=say)
        except OpenToolError as error:
            first, reached[str(seed)] = first or error, None
            continue
        reached[str(seed)] = round(routed.figures.fmax_mhz, 2)
        reused += [f"seed {seed}"] * routed.was_there
        if best is None or routed.figures.fmax_mhz > best.figures.fmax_mhz:
            best = routed
    if best is None:
        assert first is not None
        raise first
    return best, reached, reused


#: Assembles and checks in a process of its own; the last line says what was found.
_ASSEMBLER = """
import json, sys
from pathlib import Path
from pleinair.errors import PleinairError
from pleinair_hw.bitstream.assemble import assemble
from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.read import check
folder, part, fasm, bit, found = sys.argv[1:]
try:
    database = Database(Path(folder), part)
    assemble(database, Path(fasm), Path(bit))
    report = check(database, Path(bit), Path(fasm))
except PleinairError as error:
    sys.exit(f"ERROR: {error}")
for fault in report.faults:
    print(f"ERROR: the bitstream, read back, differs: {fault}")
if report.faults:
    sys.exit(1)
values = {"asked": report.asked, "found": report.features, "frames": report.frames, "used_frames": report.used}
Path(found).write_text(json.dumps(values) + "\\n")
"""


def _bits(
    routed: Routed, tools: OpenTools, board: Board, log: Path, bounds: Bounds
) -> tuple[Path, dict[str, int], dict[str, float], bool]:
    """The .bit of a routed design, checked; what the check counted, its use, and whether it was in the cache."""
    tables = {path.name: path for path in sorted(tools.database.glob("*.db"))}
    folders = (tools.database / board.part, tools.database / board.part.partition("clg")[0])
    tables |= {f"{folder.name}/{path.name}": path for folder in folders for path in sorted(folder.glob("*.json"))}
    key = digest_of(f"{_RECIPE} {board.part} {_sources_digest()}", file_sha256(routed.fasm), digest_of_files(tables))

    def work(folder: Path) -> None:
        arguments = [str(tools.database), board.part, str(routed.fasm), BIT, _CHECKED]
        environment = {"PYTHONPATH": ":".join(path for path in sys.path if path), "SOURCE_DATE_EPOCH": "0"}
        limits = Limits(bounds.bits, bounds.memory)
        command = [sys.executable, "-c", _ASSEMBLER, *arguments]
        try:
            run = run_tool("the assembler", command, folder, log, limits, environment=environment)
        except ToolFailure as failure:
            raise BitstreamError(failure.error) from failure
        with writing_to(folder):
            (folder / "usage.json").write_text(json.dumps(run.usage) + "\n")

    folder, was_there = cached("bits", key, (BIT, _CHECKED, "usage.json"), work)
    usage = json.loads((folder / "usage.json").read_text())
    return folder / BIT, json.loads((folder / _CHECKED).read_text()), usage, was_there


def _sources_digest() -> str:
    """Of the assembler's own code: another one makes its bits anew."""
    folder = Path(__file__).resolve().parents[1] / "bitstream"
    return digest_of_files({path.name: path for path in folder.glob("*.py")})


def make_bitstream(
    rtl: Path,
    build: Path,
    board: Board,
    tools: OpenTools,
    planned_mhz: float,
    *,
    margin: float = MARGIN,
    seeds: int = 1,
    bounds: Bounds | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make a .bit, or take from the cache whichever steps of it were made before.

    Args:
        rtl: a folder that ``write_rtl(..., "routing")`` wrote.
        build: the build's folder; ``BUILD/open`` is made in it anew.
        board: one of OPEN_BOARDS.
        tools: from ``pleinair_hw.open.tools.require``.
        planned_mhz: the clock to aim for, and the most that is chosen.
        margin: per cent to stay below the router's highest clock.
        seeds: how many to try; the fastest wins.
        bounds: what the tools may take.
        progress: called with what is being done.

    Raises:
        ToolchainError: the tools do not belong together.
        OpenToolError: the design does not fit, cannot be routed, or a tool failed or took too much.
        BitstreamError: the features cannot be turned to bits, or the bits read back differ.
        OptionError: no clock is slow enough.
        OutputError: the disk is full.
    """
    say = progress or (lambda _: None)
    bounds = bounds or Bounds()
    folder = build / FOLDER
    with writing_to(build):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    say("write the shell")
    changed = Manifest.read(rtl).changed_files(rtl)
    if changed:
        raise OpenToolError(f"{rtl / changed[0]} is not as it was written; build it again")
    shell = write_shell(rtl, folder / "shell", family="zynq7000")
    say("synthesise")
    assert shell.top is not None
    limits = Limits(bounds.synthesis, bounds.memory)
    netlist = synthesise(shell.sources, shell.data, shell.top, folder / "synthesis.log", limits, progress=say)
    routed, reached, reused = _route(netlist, tools, board, planned_mhz, seeds, folder, bounds, say)
    clock = choose(routed.figures.fmax_mhz, margin, planned_mhz)
    say("make the bits and read them back")
    bitfile, checked, bits_usage, bits_reused = _bits(routed, tools, board, folder / "bits.log", bounds)
    yosys = find_yosys()
    made = Made(
        folder=folder,
        shell=shell,
        clock=clock,
        planned_mhz=planned_mhz,
        margin=margin,
        figures=routed.figures,
        seeds=reached,
        netlist=asdict(netlist.cells),
        delays=netlist.delays,
        usage={"synthesis": netlist.usage, "place and route": routed.figures.usage, "bits": bits_usage},
        versions={
            "yosys": f"{yosys.wheel} {yosys.version}" if yosys else "",
            "nextpnr-himbaechel": tools.version,
            "chip database": file_sha256(tools.chip_database)[:16],
        },
        checked=checked,
        reused=tuple([*["synthesis"] * netlist.was_there, *reused, *["bits"] * bits_reused]),
    )
    with writing_to(folder):
        for source, name in ((netlist.verilog, VERILOG), (routed.netlist, ROUTED), (routed.fasm, FASM)):
            take(source, folder / name)
        shutil.copyfile(bitfile, folder / BIT)
        write_file(folder / RECORD, (json.dumps(made.record(), indent=1) + "\n").encode())
    return made
