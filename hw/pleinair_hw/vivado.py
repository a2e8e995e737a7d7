"""What goes on where Vivado is installed: from generated RTL to the folder that a board runs.

:func:`synthesise` gives a generated accelerator to FINN's flow for Zynq, which packs it as an IP block, joins it to
the processing system by two memory-access engines (IODMA, the only part that is compiled from C++, by Vitis HLS), and
lets Vivado make the bitstream. :func:`assemble` puts the result into a deployment folder, which
pleinair.fpga.deployment describes and reads.

The calls follow finn-plus 1.6.1 (``ZynqBuild``, ``MakePYNQDriver``, ``DependencyUpdater``). docs/vivado.md says what of
this has been run. Nothing is imported from FINN before it is needed.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError, OutputError, PleinairError
from pleinair.fpga.deployment import (
    BITFILE,
    DRIVER,
    HANDOFF,
    MANIFEST,
    MODEL,
    PLATFORM,
    SETTINGS,
    Deployment,
    read_deployment,
    write_manifest,
)
from pleinair.fpga.light_map import LightMap
from pleinair.models import CARD, FILES, read_card, read_file
from pleinair_hw.finn.environment import ToolchainError, Vivado
from pleinair_hw.plan.boards import Board

#: Memory-access engines: one for the frames in, one for those out. FINN numbers their partitions first.
_ENGINES = 2

#: What FINN downloads (finn.interface: external_dependencies.yaml) for its memory-access engines, and for boards whose
#: description Vivado does not bring.
_ENGINE_SOURCES = ("finn-hlslib", "attention-hlslib")
_BOARD_FILES: Mapping[str, tuple[str, str]] = {
    "Pynq-Z2": ("pynq-z2", "pynq-z2"),
    "Ultra96": ("avnet-bdf", "ultra96v1"),
    "KV260_SOM": ("kv260-som-bdf", "kv260_som"),
}


class VivadoError(PleinairError):
    """Vivado or Vitis HLS failed, or the design does not reach its clock; the message names the log to read."""


@dataclass(frozen=True)
class Bitstream:
    """What Vivado made, still in its own folders. ``driver``: the folder of settings.json and runtime weights."""

    bitfile: Path
    handoff: Path
    driver: Path
    utilisation: Path
    timing: Path


def clock_period(megahertz: int) -> float:
    """The period in ns from which FINN computes just this frequency: it truncates ``1 / (period / 1000)``."""
    period = 1000 / megahertz
    while int(1 / (period * 0.001)) < megahertz:
        period = math.nextafter(period, 0)
    return period


def check_tools(vivado: Vivado) -> None:
    """Whether FINN can call this Vivado and its Vitis HLS.

    Raises:
        ToolchainError: FINN would not find the version, or the compiler for the memory-access engines is missing.
    """
    year, part = vivado.version[:2]
    if f"{year}.{part}" not in str(vivado.folder):
        raise ToolchainError(
            f"FINN reads the version from the path in XILINX_VIVADO, and {vivado.folder} does not name {year}.{part}: "
            f"make a link to it that ends in {year}.{part} and set XILINX_VIVADO to the link"
        )
    with _vivado_environment(vivado):
        if shutil.which(vivado.hls_name) is None:
            raise ToolchainError(
                f"{vivado.name} is there, but {vivado.hls_name} of the same version is not on PATH: install Vitis HLS "
                "and run its settings64.sh first"
            )


@contextlib.contextmanager
def _vivado_environment(vivado: Vivado) -> Iterator[None]:
    """PATH and variables for FINN's calls of Vivado and Vitis HLS; restored afterwards."""
    before = dict(os.environ)
    # Where the installers have put Vitis HLS: beside Vivado, under its own name or Vitis'.
    beside = (Path(str(vivado.folder).replace("Vivado", name)) / "bin" for name in ("Vitis_HLS", "Vitis"))
    places = [vivado.command.parent, *beside]
    os.environ["PATH"] = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    os.environ["XILINX_VIVADO"] = str(vivado.folder)
    os.environ.setdefault("XILINX_LOCAL_USER_DATA", "no")
    # Kernels are then built one after the other in this process, the only one where our operators are sure to be
    # registered; of the three, two are small. How many jobs Vivado itself starts is in FINN's settings.
    os.environ["NUM_DEFAULT_WORKERS"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def fetch_sources(board: Board) -> Path:
    """Download what FINN needs besides Vivado for this board, once, and give the folder it lies in (FINN_DEPS).

    Needs git and the network the first time, for pynq-z2 also wget and unzip.

    Raises:
        ToolchainError: something could not be fetched; the message names it.
    """
    management = import_module("finn.interface.manage_deps")
    failures = import_module("finn.util.exception").FINNError
    settings = import_module("finn.util.settings").get_settings()
    folder = Path(settings.finn_deps)
    updater = management.DependencyUpdater(
        folder, settings.finn_deps_definitions, settings.deps_git_timeout, non_interactive=True
    )

    def fetch(name: str, url: str) -> None:
        try:
            fetched = updater.install_dependency(name)
        except (failures, OSError) as error:
            raise ToolchainError(f"{name}, which FINN needs, could not be fetched from {url}: {error}") from error
        if not fetched:
            raise ToolchainError(f"{name}, which FINN needs, could not be fetched from {url} into {folder}")

    for name in _ENGINE_SOURCES:
        if updater.is_outdated(name):
            fetch(name, str(updater.deps.git_deps[name].url))
    if board.finn_name in _BOARD_FILES:
        name, directory = _BOARD_FILES[board.finn_name]
        files, clone = folder / "board_files" / directory, folder / "board_files_downloads" / name
        if not files.is_dir():
            # A clone that was interrupted would stop the next one.
            shutil.rmtree(clone, ignore_errors=True)
            files.parent.mkdir(parents=True, exist_ok=True)
            fetch(name, str(updater.deps.get_dependency_data(name).url))
            # FINN copies a repository of many boards by a shell's pattern without a shell: nothing arrives.
            if not files.is_dir() and (clone / directory).is_dir():
                shutil.copytree(clone / directory, files)
        if not files.is_dir():
            raise ToolchainError(f"{name}, fetched for {board.name}, has no folder {directory}")
    return folder


def _with_fixed_fifos(model: Any) -> Any:
    """A copy of the model to which FINN's flow adds no FIFOs: what was simulated is what is built.

    ``ZynqBuild`` inserts one wherever a stream has none and its ends' attributes wish for more than two words.
    """
    custom_op = import_module("qonnx.custom_op.registry").getCustomOp
    model = copy.deepcopy(model)
    for node in model.graph.node:
        operator = custom_op(node)
        for attribute in ("inFIFODepths", "outFIFODepths"):
            operator.set_nodeattr(attribute, [2] * len(operator.get_nodeattr(attribute)))
    return model


def _transformations() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two that follow each step of FINN's flow."""
    general = import_module("qonnx.transformation.general")
    return general.GiveUniqueNodeNames, general.GiveReadableTensorNames


def _floorplan() -> type:
    """FINN's Floorplan, but with the whole accelerator in one partition between the two engines.

    FINN starts another one at every layer with writeable weights. Inside a residual branch that would make a partition
    which the next one both feeds and reads, and FINN gives up ("partition depends on itself").
    """
    base = import_module("finn.transformation.fpgadataflow.floorplan").Floorplan
    custom_op = import_module("qonnx.custom_op.registry").getCustomOp

    class OnePartition(base):  # type: ignore[misc, valid-type]
        def apply(self, model: Any) -> tuple[Any, bool]:
            model, _ = super().apply(model)
            for node in model.graph.node:
                if node.op_type != "IODMA_hls":
                    custom_op(node).set_nodeattr("partition_id", _ENGINES)
            return model, False

    return OnePartition


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: object) -> Iterator[None]:
    """A module's global is another for a while."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _write_driver(linked: Any, period: float) -> Path:
    """settings.json and runtime weights by FINN, for a graph of partitions whose engines have their names."""
    make = import_module("finn.transformation.fpgadataflow.make_driver").MakePYNQDriver
    return Path(linked.transform(make(PLATFORM, DRIVER, clk_period_ns=period)).get_metadata_prop("pynq_driver_dir"))


def make_driver(model: Any, board: Board, clock_mhz: int) -> Path:
    """The driver's folder (settings.json, runtime weights) of an accelerator, before and without Vivado.

    Splits the accelerator as :func:`synthesise` will, memory-access engines included, and lets FINN describe it.

    Args:
        model: qonnx ModelWrapper of the accelerator, all nodes specialised; uint8 NHWC in and out.
        board: its board.
        clock_mhz: the accelerator's clock, MHz.
    """
    flow, basic = "finn.transformation.fpgadataflow", import_module("finn.util.basic")
    custom_op = import_module("qonnx.custom_op.registry").getCustomOp
    linked = _with_fixed_fifos(model).transform(
        import_module("qonnx.transformation.infer_data_layouts").InferDataLayouts()
    )
    for step in (
        import_module(f"{flow}.insert_iodma").InsertIODMA(basic.pynq_native_port_width[board.finn_name]),
        import_module(f"{flow}.insert_dwc").InsertDWC(),
        import_module(f"{flow}.specialize_layers").SpecializeLayers(board.part),
        _floorplan()(),
        import_module(f"{flow}.create_dataflow_partition").CreateDataflowPartition(),
    ):
        for transformation in (step, *(kind() for kind in _transformations())):
            linked = linked.transform(transformation)
    # As MakeZYNQProject names them while it writes Vivado's project.
    engines = {"idma": 0, "odma": 0}
    for node in linked.graph.node:
        reads, gives = linked.find_producer(node.input[0]) is None, not linked.find_consumers(node.output[0])
        name = node.name
        if reads or gives:
            kind = "idma" if reads else "odma"
            name, engines[kind] = f"{kind}{engines[kind]}", engines[kind] + 1
        custom_op(node).set_nodeattr("instance_name", name)
    return _write_driver(linked, clock_period(clock_mhz))


def synthesise(model: Any, board: Board, clock_mhz: int, vivado: Vivado) -> Bitstream:
    """Vivado's bitstream for a generated accelerator. Takes hours, and needs the network once.

    Before it, :func:`pleinair_hw.finn.environment.prepare` has been called with the build's folder,
    pleinair_hw.finn.operators is imported, and every node has its RTL generated there (PrepareIP). The accelerator is
    taken as it stands, FIFOs and all.

    Args:
        model: qonnx ModelWrapper of the accelerator (the dataflow partition's graph); uint8 NHWC in and out.
        board: its board.
        clock_mhz: the clock that FINN's shell gives to the accelerator, whole MHz.
        vivado: the installation, from :func:`pleinair_hw.finn.environment.find_vivado`.

    Raises:
        ToolchainError: FINN cannot use this Vivado, or what it needs besides could not be fetched.
        OptionError: the build's folder has a name that Vivado's scripts cannot hold, or products are pumped.
        VivadoError: Vivado or Vitis HLS failed, or the clock was not reached; or the network is adaptive.
    """
    check_tools(vivado)
    settings = import_module("finn.util.settings").get_settings()
    for path in (settings.finn_build_dir, settings.finn_deps, vivado.folder):
        if any(c.isspace() for c in str(path)):
            raise OptionError(f"{path}: FINN's scripts for Vivado cannot hold a path with spaces")
    if any(a.name == "pumpedCompute" and a.i for node in model.graph.node for a in node.attribute):
        # The stitched IP has the port, and nothing drives it: the shell of finn-plus 1.6.1 knows one clock.
        raise OptionError(
            "cannot be: FINN's shell for Zynq gives no clock of twice the rate; such a build ends with RTL",
            option="pumped",
        )
    if any(node.op_type.startswith("RequantLight") for node in model.graph.node):
        # FINN's stitching joins streams alone: the stations would have no port.
        raise VivadoError(
            "an adaptive network ends with RTL: FINN's stitching for Vivado knows no port that several nodes share"
        )
    fetch_sources(board)
    zynq: Any = import_module("finn.transformation.fpgadataflow.make_zynq_proj")
    failures = import_module("finn.util.exception").FINNError
    period = clock_period(clock_mhz)
    try:
        with _vivado_environment(vivado), _replaced(zynq, "Floorplan", _floorplan()):
            linked = _with_fixed_fifos(model).transform(zynq.ZynqBuild(board.finn_name, period))
    except (failures, OSError) as error:
        reason = " ".join(str(error).split())
        raise VivadoError(f"{vivado.name}: {reason} (its logs are below {settings.finn_build_dir})") from error
    project = Path(linked.get_metadata_prop("vivado_pynq_proj"))
    bitstream = Bitstream(
        bitfile=Path(linked.get_metadata_prop("bitfile")),
        handoff=Path(linked.get_metadata_prop("hw_handoff")),
        driver=_write_driver(linked, period),
        utilisation=Path(linked.get_metadata_prop("vivado_synth_rpt")),
        timing=project / "finn_zynq_link.runs" / "impl_1" / "top_wrapper_timing_summary_routed.rpt",
    )
    check_timing(bitstream.timing, clock_mhz)
    return bitstream


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
    light: LightMap | None = None,
) -> Deployment:
    """Make the deployment folder; it appears whole or not at all, in place of one that was there before.

    Args:
        folder: a new folder, an empty one, or an earlier deployment.
        bitstream: from :func:`synthesise`.
        model: the model's folder, with its card.
        bits: the network's width.
        board: the accelerator's board.
        clock_mhz: the accelerator's clock, MHz.
        light: the map of an adaptive network's registers, which settings.json is given beside what FINN wrote.

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
        if light is not None:
            settings = json.loads((part / SETTINGS).read_text())
            (part / SETTINGS).write_text(json.dumps({**settings, "light": light.to_json()}, indent=2))
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
