"""What is installed: sdist -> wheel -> an empty environment, far from the checkout, where it paints and films.

The other tests run from the checkout, so they would not notice a wheel without its models or its page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.house import ROOT

pytest.importorskip("hatchling", reason="building needs hatchling, which the extra dev brings")

#: What a training is asked for; it must not come so far as to look for these.
_TRAIN = ("--style", "a.jpg", "--content", ".", "--loss-network", "vgg16", "--out", "r")
#: Variables that would let the environment see the checkout.
_HIDDEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PLEINAIR_MODELS")


def run(*command: str | Path, cwd: Path, deadline: float = 300) -> str:
    """What a command prints; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (file,) = folder.glob("pleinair-*.tar.gz")
    return file


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution, not from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.glob("pleinair-*")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=source)
    (file,) = (folder / "dist").glob("pleinair-*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel and what painting needs; its ``bin``."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{wheel}[cpu]",
        cwd=folder,
        deadline=900,
    )
    return folder / "bin"


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"pleinair", "pleinair_training", "pleinair_hw", "pleinair_pi"}
    assert not [name for name in names if name.endswith((".sh", ".md")) or name.split("/")[-1].startswith("test_")]


def test_the_wheel_holds_what_is_read_at_run_time(wheel: Path):
    """Every file of the packages in the checkout that is not a script or a text for people, and every model."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = set()
    for room, package in (
        ("host", "pleinair"),
        ("training", "pleinair_training"),
        ("hw", "pleinair_hw"),
        ("pi", "pleinair_pi"),
    ):
        files = (
            path for path in (ROOT / room / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        wanted |= {path.relative_to(ROOT / room).as_posix() for path in files}
    wanted |= {
        f"pleinair/models/{path.relative_to(ROOT / 'models').as_posix()}" for path in (ROOT / "models").rglob("*.*")
    }
    assert wanted <= names, sorted(wanted - names)[:10]
    assert {
        f"{package}/py.typed" for package in ("pleinair", "pleinair_training", "pleinair_hw", "pleinair_pi")
    } <= names


def test_it_paints_and_films_where_only_the_wheel_is(environment: Path, tmp_path: Path):
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    # A stranger's folders of these names must not matter.
    for name in ("training", "host", "hw", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    assert "starry-night" in run(environment / "pleinair", "styles", cwd=tmp_path)
    run(environment / "pleinair", "paint", "photo.png", "command.png", cwd=tmp_path)
    code = (
        "import cv2, pleinair; p = cv2.imread('photo.png')[..., ::-1].copy(); "
        "cv2.imwrite('library.png', pleinair.paint(p, style='starry-night')[..., ::-1])"
    )
    run(environment / "python", "-c", code, cwd=tmp_path)
    command, library = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("command", "library"))
    assert command.shape == photo.shape and np.array_equal(command, library)
    run(
        environment / "pleinair",
        "run",
        "--camera",
        "synthetic",
        "--size",
        "64x48",
        "--every",
        "6h",
        "--frames",
        "3",
        "--out",
        "film.mp4",
        cwd=tmp_path,
    )
    assert (tmp_path / "film.mp4").stat().st_size > 1000


def test_a_missing_extra_is_named_even_beside_a_folder_called_training(environment: Path, tmp_path: Path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("")
    done = subprocess.run(
        [environment / "pleinair", "train", *_TRAIN],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in _HIDDEN},
    )
    assert done.returncode == 2 and "torch" in done.stderr and "Traceback" not in done.stderr, done.stderr
