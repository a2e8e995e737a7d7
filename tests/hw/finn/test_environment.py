"""The toolchain: what is there, what is missing and said so, FINN turned from folder to folder; its install script."""

import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pleinair_hw.finn import environment, patches
from pleinair_hw.finn.environment import ToolchainError
from tests import children
from tests.house import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPT = ROOT / "hw" / "toolchain.sh"
DOCKERFILE = ROOT / "Dockerfile.finn"


def have_finn() -> bool:
    try:
        environment.check_finn()
    except ToolchainError:
        return False
    return True


needs_finn = pytest.mark.skipif(not have_finn(), reason="finn-plus 1.6.1 is not installed")


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch):
    """Variables that prepare() sets are put back after each test, and FINN's downloads of the user's are left alone."""
    before = dict(os.environ)
    monkeypatch.setenv("FINN_DEPS", str(tmp_path / "deps"))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    yield
    monkeypatch.undo()
    os.environ.clear()
    os.environ.update(before)


def program(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


# finn-plus


def test_missing_and_foreign_finn_are_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment, "version", missing)
    with pytest.raises(
        ToolchainError, match=r"finn-plus 1\.6\.1 is not installed .*: run `\S+ .*\(Python 3\.11 or later\)"
    ):
        environment.check_finn()
    monkeypatch.setattr(environment, "version", lambda name: "1.7.0")
    with pytest.raises(ToolchainError, match=r"finn-plus 1\.7\.0 is installed .* only 1\.6\.1 is supported"):
        environment.prepare(Path("unused"))
    assert not Path("unused").exists()


def remedy(monkeypatch, module: Path, prefix: Path) -> str:
    """What is said to run, for the module at that place in a Python at that prefix."""
    monkeypatch.setattr(environment, "__file__", str(module))
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment, "version", missing)
    with pytest.raises(ToolchainError) as error:
        environment.check_finn()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_remedy_is_a_command_that_is_there(tmp_path, monkeypatch):
    """From a checkout its own script, or make in its own environment; from a wheel, which has neither, a checkout's."""
    module = Path(environment.__file__)
    assert module == ROOT / "hw" / "pleinair_hw" / "finn" / "environment.py"
    said = remedy(monkeypatch, module, ROOT / ".venv")
    assert f"run `make setup` in {ROOT} " in said and (ROOT / "Makefile").is_file()
    said = remedy(monkeypatch, module, tmp_path / "other")
    assert f"run `{SCRIPT} {tmp_path / 'other' / 'bin' / 'python'}` " in said and os.access(SCRIPT, os.X_OK)
    installed = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "pleinair_hw" / "finn" / "environment.py"
    said = remedy(monkeypatch, installed, tmp_path / "env")
    assert f"run `hw/toolchain.sh {tmp_path / 'env' / 'bin' / 'python'}` in a checkout of pleinair" in said
    assert str(ROOT) not in said and "site-packages" not in said


@needs_finn
def test_prepare_turns_one_process_from_folder_to_folder(tmp_path):
    from finn.util.basic import make_build_dir
    from finn.util.settings import get_settings

    for name in ("one", "two", "one"):
        environment.prepare(tmp_path / name, workers=3)
        made = Path(make_build_dir("some_"))
        assert made.is_dir() and made.parent == tmp_path / name
        assert get_settings().finn_build_dir == tmp_path / name
        assert get_settings().num_default_workers == 3
        assert Path(get_settings().finn_rtllib) == tmp_path / name / patches.LIBRARY
        assert os.environ["FINN_RTLLIB"] == str(tmp_path / name / patches.LIBRARY)
        assert (Path(os.environ["FINN_CUSTOM_HLS"]) / "checksum.hpp").is_file()
        logging.getLogger("finn_logger").info("a line for %s", name)
    assert (tmp_path / "one" / "finn.log").read_text().count("a line for one") == 2
    assert (tmp_path / "two" / "finn.log").read_text().count("a line for two") == 1
    with pytest.raises(ValueError, match="workers is 0"):
        environment.prepare(tmp_path / "one", workers=0)


@needs_finn
def test_finn_generates_from_the_corrected_library(tmp_path):
    environment.prepare(tmp_path)
    unit = "mvu/mvu_vvu_axi.sv"
    original = (patches.installed_rtllib() / unit).read_text()
    used = (Path(os.environ["FINN_RTLLIB"]) / unit).read_text()
    assert used == patches.lengthen_output_queue(original) != original


@needs_finn
def test_builder_imports_without_vivado_and_children_find_the_folder(tmp_path):
    """In a process of its own: what other tests have imported must not help. Its child is started afresh."""
    code = """
import multiprocessing, os, sys
from pathlib import Path
from pleinair_hw.finn import environment
folder = Path(sys.argv[1])
environment.prepare(folder)
import finn.builder.build_dataflow_steps, finn.transformation.fpgadataflow.make_zynq_proj
from finn.util.settings import get_settings
from finn.xsi import SimEngine
try:
    SimEngine()
except environment.ToolchainError as error:
    print(error)
def report():
    return str(get_settings().finn_build_dir), get_settings().finn_rtllib
from finn.util.basic import make_build_dir
with multiprocessing.get_context("spawn").Pool(1) as pool:
    assert Path(pool.apply(make_build_dir, ("child_",))).parent == folder
assert not (Path.home() / ".finn").exists()
"""
    home = tmp_path / "home"
    home.mkdir()
    done = children.python("-c", code, tmp_path / "build", variables={"HOME": str(home)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "finn.xsi.SimEngine simulates with Vivado; pleinair simulates with Verilator\n"


@needs_finn
def test_every_tool_runs():
    if any(shutil.which(tool) is None for tool in ("perl", "make", "g++")):
        pytest.skip("perl, make or g++ is not installed")
    done = children.python("-m", "pleinair_hw.finn.environment", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert re.fullmatch(r"finn-plus 1\.6\.1, \d\d RTL operators", lines["finn"])
    assert lines["verilator"] == "Verilator 5.48.0"
    assert lines["yosys"].startswith("Yosys 0.")


# Vivado


def test_no_vivado(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.find_vivado() is None


@pytest.mark.parametrize(("place", "expected"), [("Vivado/2022.2", (2022, 2)), ("2025.1/Vivado", (2025, 1))])
def test_vivado_by_its_path(monkeypatch, tmp_path, place, expected):
    command = program(tmp_path / place / "bin" / "vivado", "exit 1\n")
    monkeypatch.setenv("XILINX_VIVADO", str(tmp_path / place))
    monkeypatch.setenv("PATH", "")
    found = environment.find_vivado()
    assert found is not None and found.version == expected and found.command == command


def test_vivado_on_the_path_tells_its_version(monkeypatch, tmp_path):
    said = "vivado v2023.1.2 (64-bit)\nTool Version Limit: 2023.05\n"
    program(tmp_path / "opt" / "bin" / "vivado", f"printf '{said}'\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vivado").symlink_to(tmp_path / "opt" / "bin" / "vivado")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = environment.find_vivado()
    assert found is not None and found.folder == tmp_path / "opt"
    assert found.version == (2023, 1, 2) and found.name == "Vivado 2023.1.2"


def test_unusable_vivado_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XILINX_VIVADO", str(tmp_path))
    with pytest.raises(ToolchainError, match="no program bin/vivado"):
        environment.find_vivado()
    program(tmp_path / "bin" / "vivado", "echo nothing to say\n")
    with pytest.raises(ToolchainError, match="names no version"):
        environment.find_vivado()


# The install script


def stub_pip(folder: Path, versions: dict[str, str], requires: str = "") -> Path:
    """A Python whose pip only writes down how it was called, and whose packages have these versions."""
    site = folder / "site"
    for name, number in versions.items():
        info = site / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{requires}")
    (site / "pip").mkdir(parents=True)
    (site / "pip" / "__main__.py").write_text(
        f"import sys\nopen({str(folder / 'calls')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
    )
    return program(folder / "python", f'PYTHONPATH={site} exec {sys.executable} -S "$@"\n')


def run_script(python: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    return children.run([SCRIPT, *options, python], env={**os.environ, **variables})


needs_compiler = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("perl", "make", "g++")), reason="perl, make or g++ is not installed"
)


@needs_compiler
def test_script_asks_for_torch_first_then_the_extra_then_finn_alone(tmp_path):
    done = run_script(stub_pip(tmp_path, {}))
    calls = [call.split("install --quiet ")[-1] for call in (tmp_path / "calls").read_text().splitlines()]
    assert calls == [
        "--no-deps torch==2.13.0",
        f"torch==2.13.0 --editable {ROOT}[hw]",
        "--no-deps finn-plus==1.6.1",
    ]
    # The stub installed nothing, and the script notices.
    assert done.returncode == 1 and "toolchain is not whole" in done.stderr


@needs_compiler
def test_script_goes_on_where_it_was_interrupted(tmp_path):
    run_script(stub_pip(tmp_path, {"torch": "2.13.0+cpu", "finn-plus": "1.6.1"}))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1 and calls[0].endswith("[hw]")
    assert run_script(tmp_path / "python", "--verify").returncode == 1
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


@needs_compiler
def test_script_says_what_a_torch_with_cuda_brings_along_and_goes_on(tmp_path):
    python = stub_pip(tmp_path, {"torch": "2.13.0"}, requires="Requires-Dist: nvidia-cublas-cu12==12.8\n")
    done = run_script(python)
    assert "brings CUDA along" in done.stdout and "PIP_EXTRA_INDEX_URL" in done.stdout
    assert "--no-deps finn-plus" in (tmp_path / "calls").read_text()
    assert "CUDA" not in run_script(stub_pip(tmp_path / "other", {"torch": "2.13.0+cpu"})).stdout


def test_script_names_what_is_missing(tmp_path):
    old = program(tmp_path / "old", 'case "$*" in *version_info*) exit 1;; *--version*) echo Python 3.10.2;; esac\n')
    done = run_script(old)
    assert done.returncode == 1 and "needs Python 3.11 or later" in done.stderr and "3.10.2" in done.stderr
    assert "is no Python" in run_script(tmp_path / "none").stderr
    shell = Path(shutil.which("sh") or "/bin/sh")
    for tool in ("dirname", "basename", "perl", "make"):
        if found := shutil.which(tool):
            program(tmp_path / "bin" / tool, f'exec {found} "$@"\n')
    (tmp_path / "bin" / "sh").symlink_to(shell)
    done = run_script(Path(sys.executable), PATH=str(tmp_path / "bin"))
    assert done.returncode == 1 and "g++" in done.stderr and "apt-get install" in done.stderr


def test_pins_agree():
    """finn-plus's own needs hold under the extra's pins, and all places name one release of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [re.match(r"([\w-]+)(?:\[\w+\])?==([^;]+)", need) for need in project["optional-dependencies"]["hw"]]
    pins = {need[1]: need[2] for need in needs if need}
    assert f"FINN=finn-plus=={environment.FINN_VERSION}\n" in SCRIPT.read_text()
    assert re.search(r"TORCH:=(\S+)\}", SCRIPT.read_text()).group(1) in (ROOT / "Makefile").read_text()
    if not have_finn():
        pytest.skip("finn-plus is not installed: its needs cannot be read")
    from packaging.requirements import Requirement

    # Not wanted: one that fails, and those that only build Vivado's simulator interface.
    left_out = {"brevitas", "cmake", "pybind11"} | {"bitstring", "click"} - set(pins)
    for text in importlib.metadata.requires("finn-plus") or []:
        need = Requirement(text)
        if need.marker is None and need.name not in left_out:
            assert need.specifier.contains(pins[need.name.lower()]), f"{need} is pinned to {pins[need.name]}"


# The container


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions and their arguments, continued lines joined, comments dropped."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps the file away: the last pattern that fits it or a folder above it decides."""
    from fnmatch import fnmatchcase

    above = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    verdict = False
    for pattern in patterns:
        if any(fnmatchcase(name, pattern.lstrip("!").strip("/").removeprefix("**/")) for name in above):
            verdict = not pattern.startswith("!")
    return verdict


def test_dockerfile():
    steps = instructions(DOCKERFILE.read_text())
    assert steps[0][0] in ("FROM", "ARG")
    bases = [argument.split()[0] for name, argument in steps if name == "FROM"]
    # A tag that moves (latest, 3.11, bookworm) would make another image tomorrow.
    assert all(re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+\.\d+-slim-\w+$", base) for base in bases), bases
    patterns = (ROOT / ".dockerignore").read_text().split()
    copied = []
    for name, argument in steps:
        if name in ("COPY", "ADD"):
            *sources, _ = [word for word in argument.split() if not word.startswith("--")]
            copied += sources
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), f"{source} is copied and does not exist"
        assert not ignored(source.rstrip("/"), patterns), f"{source} is copied and in .dockerignore"
    run = " && ".join(argument for name, argument in steps if name == "RUN")
    assert "hw/toolchain.sh" in run and "hw" in [source.rstrip("/") for source in copied]
    for tool in ("perl", "make", "g++", "git", "wget", "unzip"):
        assert re.search(rf"\s{re.escape(tool)}\s", run), f"{tool} is not installed"
    assert dict(steps)["ENTRYPOINT"].split('"')[1].endswith("pleinair")
    users = [argument for name, argument in steps if name == "USER"]
    assert users and users[-1] not in ("root", "0")
    # The compiler needs its blocks and the script; neither pip's environment nor the history is sent to Docker.
    assert not ignored("hw/pleinair_hw/rtl/requant_shift.sv", patterns) and not ignored("hw/toolchain.sh", patterns)
    assert ignored(".venv/bin/python", patterns) and ignored(".git/config", patterns)


def test_make_says_that_docker_is_missing(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in ("finn-image", "finn"):
        done = children.run(["make", target, "DOCKER=no-such-docker"], cwd=ROOT)
        assert done.returncode == 2 and "no-such-docker was not found" in done.stderr


def test_make_mounts_vivado_and_the_working_folder():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = children.run(
        [
            "make",
            "--no-print-directory",
            "-n",
            "finn",
            "DOCKER=echo",
            "XILINX_VIVADO=/tools/Xilinx/Vivado/2022.2",
            "ARGS=models/x --bits 8",
        ],
        cwd=ROOT,
        check=True,
    )
    assert "--volume /tools/Xilinx:/tools/Xilinx:ro" in done.stdout.replace('"', "")
    assert f"--volume {ROOT}:/work" in done.stdout.replace('"', "")
    assert done.stdout.rstrip().endswith("pleinair-finn build models/x --bits 8")
