"""``--on``: a roll repainted by a cluster from the command line, and what is refused."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from pleinair.cli.main import main
from pleinair.farm import ray_cluster
from tests.farms import Village, flips, honest
from tests.house import ROOT
from tests.rolls import give_styles, write_coded


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder: ``roll`` of 12 frames, painted in ``plain``, and the style ``integers``."""
    write_coded(tmp_path / "frames", 12)
    give_styles(tmp_path / "models", monkeypatch)
    monkeypatch.chdir(tmp_path)
    film = ["run", "--style", "plain", "--camera", "frames:frames", "--roll", "roll", "--keep-free", "0"]
    assert main([*film, "--backend", "reference"]) == 0
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    """Runs a command that must be refused: status 2, one line on stderr, no painting begun; the line."""

    def check(*arguments: str) -> str:
        capsys.readouterr()
        before = sorted(place.rglob("*"))
        assert main(list(arguments)) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ")
        assert sorted(place.rglob("*")) == before
        return err

    return check


REPAINT = ("repaint", "roll", "--style", "integers")


def test_a_roll_is_repainted_by_a_cluster(place, capsys, monkeypatch):
    assert main([*REPAINT, "--out", "alone.mp4"]) == 0
    (place / "roll/paintings/integers-8bit").rename(place / "alone")
    monkeypatch.setattr(ray_cluster, "import_ray", lambda where: None)
    village = Village({"anna": honest, "liar": flips(0.5)})
    monkeypatch.setattr(ray_cluster, "RayCluster", lambda where: village)
    capsys.readouterr()
    assert main([*REPAINT, "--on", "ray:10.0.0.1:6379", "--audit", "100%", "--out", "farm.mp4"]) == 0
    out, err = capsys.readouterr()
    assert (place / "farm.mp4").read_bytes() == (place / "alone.mp4").read_bytes()
    assert out.startswith("farm.mp4: 12 frames")
    assert "10.0.0.0 (anna): " in err and "worker 10.0.0.1 (liar) painted a frame falsely" in err


def test_a_folder_is_filmed_by_a_cluster(place, capsys, monkeypatch):
    film = ["run", "--style", "integers", "--camera", "frames:frames", "--keep-free", "0", "--spool", "png"]
    assert main([*film, "--out", "alone.mp4", "--roll", "other"]) == 0
    monkeypatch.setattr(ray_cluster, "import_ray", lambda where: None)
    village = Village({"anna": honest, "bert": honest})
    monkeypatch.setattr(ray_cluster, "RayCluster", lambda where: village)
    # Without --roll it is FILM.roll.
    assert main([*film, "--out", "farm.mp4", "--on", "ray"]) == 0
    alone, farm = (sorted((place / r / "paintings").rglob("*.mkv")) for r in ("other", "farm.roll"))
    assert [piece.read_bytes() for piece in alone] == [piece.read_bytes() for piece in farm] and len(farm) == 1
    assert "12 frames painted" in capsys.readouterr().err
    # What is missing is painted by `finish` and by `resume`, too.
    for command in (["finish", "farm.roll", "--out", "again.mp4"], ["resume", "farm.roll"]):
        farm[0].unlink()
        before = village.done
        assert main([*command, "--on", "ray", "--force"][: -1 if command[0] == "resume" else None]) == 0
        assert farm[0].read_bytes() == alone[0].read_bytes() and village.done > before


def test_a_live_camera_and_films_of_days_are_no_work_for_a_cluster(refused, monkeypatch):
    monkeypatch.setattr(ray_cluster, "import_ray", lambda where: None)
    live = ("run", "--camera", "v4l2:0", "--out", "film.mp4", "--on", "ray")
    assert "--camera 'v4l2:0': with --on, frames come from a stored camera" in refused(*live)
    assert "--daily does not go with --on" in refused(
        "run", "--camera", "frames:frames", "--roll", "new", "--daily", "--on", "ray"
    )


def test_without_ray_one_line_names_the_extra(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(*REPAINT, "--on", "ray") == "pleinair: --on needs Ray: pip install 'pleinair[farm]'\n"


def test_what_is_refused(refused, monkeypatch):
    monkeypatch.setattr(ray_cluster, "import_ray", lambda where: None)
    assert "--on 'dask': give ray for this machine" in refused(*REPAINT, "--on", "dask")
    assert "--audit 5%: needs --on" in refused(*REPAINT, "--audit", "5%")
    assert "--audit '2': give a share such as 1%" in refused(*REPAINT, "--on", "ray", "--audit", "2")
    assert "--bits 32: floats differ" in refused(*REPAINT, "--on", "ray", "--bits", "32")
    assert "--backend reference: with --on" in refused(*REPAINT, "--on", "ray", "--backend", "reference")
    assert "--engine openvino: with --on" in refused(*REPAINT, "--on", "ray", "--engine", "openvino")


def test_only_one_file_imports_ray():
    """So that nobody who has no farm needs it, or waits for it."""
    found = set()
    for room in ("host", "training", "hw", "pi"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "ray" for name in names):
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == {"host/pleinair/farm/ray_cluster.py"}
