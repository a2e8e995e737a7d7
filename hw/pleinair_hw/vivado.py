"""What goes on where Vivado is installed: from generated RTL to the folder that a board runs.

:func:`synthesise` writes an accelerator as RTL, puts our own shell around it (:mod:`pleinair_hw.shell.write`), and lets
Vivado join it to the processing system in a block design (``shell/block_design.tcl``) and make the bitstream. Nothing
is compiled from C++, so Vitis HLS is not needed. :func:`assemble` puts the result into a deployment folder, which
pleinair.fpga.deployment describes and reads.

docs/vivado.md says what of this has been run. Nothing is imported from FINN before it is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError, OutputError, PleinairError
from pleinair.fpga.deployment import (
    BITFILE,
    HANDOFF,
    MANIFEST,
    MODEL,
    RUNTIME_WEIGHTS,
    SETTINGS,
    Deployment,
    driver_settings,
    read_deployment,
    write_manifest,
)
from pleinair.fpga.handoff import with_windows
from pleinair.models import CARD, FILES, read_card, read_file
from pleinair_hw.finn.environment import ToolchainError, Vivado
from pleinair_hw.open.steps import Limits, ToolFailure, run_tool
from pleinair_hw.plan.boards import Board
from pleinair_hw.shell.write import Family, Shell, write_shell
from pleinair_hw.stitch.manifest import Manifest
from pleinair_hw.stitch.write import write_rtl

#: What FINN downloads (finn.interface: external_dependencies.yaml) for boards whose description Vivado does not bring:
#: the download's name, and the folder of the description in it.
_BOARD_FILES: Mapping[str, tuple[str, str]] = {
    "pynq-z2": ("pynq-z2", "pynq-z2"),
    "ultra96": ("avnet-bdf", "ultra96v1"),
    "aup-zu3": ("aupzu3-8gb-bdf", "aup-zu3-8gb"),
    "kv260": ("kv260-som-bdf", "kv260_som"),
}
#: What Vivado calls each board.
BOARD_PARTS: Mapping[str, str] = {
    "pynq-z2": "tul.com.tw:pynq-z2:part0:1.0",
    "ultra96": "avnet.com:ultra96v1:part0:1.2",
    "aup-zu3": "realdigital.org:aup-zu3-8gb:part0:1.0",
    "kv260": "xilinx.com:kv260_som:part0:1.3",
    "zcu104": "xilinx.com:zcu104:part0:1.1",
}
_BLOCK_DESIGN = Path(__file__).resolve().parent / "shell" / "block_design.tcl"
#: The cell of the accelerator in its shell in the block design.
_CELL = "shell"
#: A week: large networks take hours, and nobody has measured how many.
_LIMITS = Limits(seconds=7 * 24 * 3600, memory=0)


class VivadoError(PleinairError):
    """Vivado failed, or the design does not reach its clock; the message names the log to read."""


@dataclass(frozen=True)
class Bitstream:
    """What Vivado made, still in its own folder. ``driver``: the folder of settings.json and runtime weights."""

    bitfile: Path
    handoff: Path
    driver: Path
    utilisation: Path
    timing: Path


def fetch_board_files(board: Board) -> Path:
    """Download the board's description for Vivado, once, where Vivado does not bring it; the folder it lies in.

    Needs git and the network the first time, for pynq-z2 also wget and unzip.

    Raises:
        ToolchainError: it could not be fetched; the message names it.
    """
    management = import_module("finn.interface.manage_deps")
    failures = import_module("finn.util.exception").FINNError
    settings = import_module("finn.util.settings").get_settings()
    folder = Path(settings.finn_deps)
    if board.name not in _BOARD_FILES:
        (folder / "board_files").mkdir(parents=True, exist_ok=True)
        return folder / "board_files"
    name, directory = _BOARD_FILES[board.name]
    files, clone = folder / "board_files" / directory, folder / "board_files_downloads" / name
    if files.is_dir():
        return files.parent
    updater = management.DependencyUpdater(
        folder, settings.finn_deps_definitions, settings.deps_git_timeout, non_interactive=True
    )
    # A clone that was interrupted would stop the next one.
    shutil.rmtree(clone, ignore_errors=True)
    files.parent.mkdir(parents=True, exist_ok=True)
    url = updater.deps.get_dependency_data(name).url
    try:
        fetched = updater.install_dependency(name)
    except (failures, OSError) as error:
        raise ToolchainError(f"{name}, which Vivado needs, could not be fetched from {url}: {error}") from error
    if not fetched:
        raise ToolchainError(f"{name}, which Vivado needs, could not be fetched from {url} into {folder}")
    # FINN copies a repository of many boards by a shell's pattern without a shell: nothing arrives.
    if not files.is_dir() and (clone / directory).is_dir():
        shutil.copytree(clone / directory, files)
    if not files.is_dir():
        raise ToolchainError(f"{name}, fetched for {board.name}, has no folder {directory}")
    return files.parent


def make_driver(model: Any, manifest: Manifest, clock_mhz: float, folder: Path) -> None:
    """Write the driver's folder of an accelerator: settings.json, and weights that are written at run time.

    Args:
        model: qonnx ModelWrapper of the accelerator.
        manifest: of its RTL.
        clock_mhz: the accelerator's clock, MHz.
        folder: where to write; what lies there is replaced.
    """
    custom_op = import_module("qonnx.custom_op.registry").getCustomOp
    source, sink = manifest.inputs[0], manifest.outputs[0]
    weights = folder / Path(RUNTIME_WEIGHTS).name
    shutil.rmtree(folder, ignore_errors=True)
    weights.mkdir(parents=True)
    number = 0
    for node in model.graph.node:
        if node.op_type.startswith("MVAU") and custom_op(node).get_nodeattr("runtime_writeable_weights"):
            # Named as FINN's driver does: partition, layer, node. The port s_axilite_N is the layer's.
            file = weights / f"1_{number}_{node.name}.dat"
            custom_op(node).make_weight_file(model.get_initializer(node.input[1]), "decoupled_runtime", str(file))
            number += 1
    if number != len(manifest.weights):
        raise VivadoError(f"{number} layers have weights that can be written, their RTL has {len(manifest.weights)}")
    settings = driver_settings(
        source.shape[0],
        source.shape[1],
        clock_mhz,
        lanes=(source.lanes, sink.lanes),
        writeable=number > 0,
        light=manifest.light_map,
        inset=(source.shape[0] - sink.shape[0]) // 2,
    )
    (folder / Path(SETTINGS).name).write_text(json.dumps(settings, indent=2))


def _tcl_list(values: list[Path]) -> str:
    return "[list " + " ".join(f"{{{value}}}" for value in values) + "]"


def write_script(shell: Shell, board: Board, clock_mhz: int, board_files: Path, jobs: int, file: Path) -> None:
    """Write what Vivado is told: this design's own lines, then ``block_design.tcl``."""
    own = {
        "part": f"{{{board.part}}}",
        "board_part": f"{{{BOARD_PARTS[board.name]}}}",
        "board_files": f"{{{board_files}}}",
        "family": f"{{{shell.family}}}",
        "clock_mhz": str(clock_mhz),
        "pumped": str(int(shell.pumped)),
        "jobs": str(jobs),
        "sources": _tcl_list(list(shell.sources)),
        "block_source": f"{{{shell.block_source}}}",
        "base": f"0x{shell.base:08X}",
        "map_bytes": str(shell.map_bytes),
    }
    lines = [f"set {name} {value}" for name, value in own.items()]
    file.write_text("\n".join([*lines, "", _BLOCK_DESIGN.read_text()]))


def synthesise(model: Any, board: Board, clock_mhz: int, vivado: Vivado, folder: Path) -> Bitstream:
    """Vivado's bitstream for a generated accelerator. Takes hours, and needs the network once.

    Before it, :func:`pleinair_hw.finn.environment.prepare` has been called with the build's folder,
    pleinair_hw.finn.operators is imported, and every node has its RTL generated there (PrepareIP). The accelerator is
    taken as it stands, FIFOs and all.

    Args:
        model: qonnx ModelWrapper of the accelerator (the dataflow partition's graph); uint8 NHWC in and out.
        board: its board.
        clock_mhz: the accelerator's clock, whole MHz.
        vivado: the installation, from :func:`pleinair_hw.finn.environment.find_vivado`.
        folder: where all is written, and where Vivado works; made anew.

    Raises:
        ToolchainError: what Vivado needs besides could not be fetched.
        OptionError: the folder has a name that Vivado's scripts cannot hold.
        VivadoError: Vivado failed, or the clock was not reached.
    """
    folder = folder.resolve()
    for path in (folder, vivado.folder):
        if any(c.isspace() or c in "{}\\" for c in str(path)):
            raise OptionError(f"{path}: Vivado's scripts cannot hold a path with spaces, braces or backslashes")
    board_files = fetch_board_files(board)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = write_rtl(model, folder / "rtl", "vivado")
    family: Family = "zynq7000" if board.is_zynq_7000 else "zynqmp"
    shell = write_shell(folder / "rtl", folder / "shell", family)
    make_driver(model, manifest, clock_mhz, folder / "driver")
    script, log = folder / "build.tcl", folder / "vivado.log"
    write_script(shell, board, clock_mhz, board_files, len(os.sched_getaffinity(0)), script)
    command = [str(vivado.command), "-mode", "batch", "-nojournal", "-nolog", "-source", str(script)]
    # Without it Vivado asks AMD's server for patches of its own.
    environment = {"XILINX_VIVADO": str(vivado.folder), "XILINX_LOCAL_USER_DATA": "no"}
    environment["PATH"] = os.pathsep.join([str(vivado.command.parent), os.environ.get("PATH", "")])
    try:
        run_tool(vivado.name, command, folder, log, _LIMITS, environment=environment)
    except ToolFailure as error:
        raise VivadoError(f"{vivado.name}: {error.error} (its log is {log})") from error
    made = {name: folder / f"pleinair.{name}" for name in ("bit", "hwh")}
    for path in made.values():
        if not path.is_file():
            raise VivadoError(f"{vivado.name} ended and left no {path.name} (its log is {log})")
    check_timing(folder / "timing.rpt", clock_mhz)
    handoff = folder / "driver.hwh"
    handoff.write_text(with_windows(made["hwh"].read_text(), _CELL, shell.windows))
    return Bitstream(made["bit"], handoff, folder / "driver", folder / "utilisation.rpt", folder / "timing.rpt")


def check_timing(report: Path, clock_mhz: int) -> None:
    """Refuse a bitstream that Vivado wrote although signals arrive too late; VivadoError."""
    try:
        text = report.read_text(errors="replace")
    except OSError as error:
        raise VivadoError(f"{report}: Vivado's timing report cannot be read: {error.strerror}") from error
    if "All user specified timing constraints are met" not in text:
        raise VivadoError(
            f"the design does not reach {clock_mhz} MHz on this board, see {report}; build it with a lower clock"
        )


def assemble(
    folder: Path,
    bitstream: Bitstream,
    *,
    model: Path,
    bits: int,
    board: Board,
    clock_mhz: float,
) -> Deployment:
    """Make the deployment folder; it appears whole or not at all, in place of one that was there before.

    Args:
        folder: a new folder, an empty one, or an earlier deployment.
        bitstream: from :func:`synthesise`.
        model: the model's folder, with its card.
        bits: the network's width.
        board: the accelerator's board.
        clock_mhz: the accelerator's clock, MHz.

    Raises:
        ModelError: the model is damaged.
        DeploymentError: settings.json is not that of an accelerator of ours.
        OutputError: the folder holds something else, or cannot be written.
    """
    card = read_card(model)
    network = read_file(model, card, bits, "network")
    if folder.exists() and not (folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise OutputError(f"{folder} is there and is no deployment folder; name another, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    try:
        for source, name in ((bitstream.bitfile, BITFILE), (bitstream.handoff, HANDOFF)):
            (part / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, part / name)
        shutil.copytree(bitstream.driver, part / "driver", copy_function=shutil.copyfile)
        (part / MODEL).mkdir()
        shutil.copyfile(model / CARD, part / MODEL / CARD)
        (part / MODEL / FILES["network"].format(bits=bits)).write_bytes(network)
        write_manifest(part, board=board.name, clock_mhz=clock_mhz, style=model.resolve().name, bits=bits)
        part.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return read_deployment(folder)
