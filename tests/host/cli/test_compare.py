"""``pleinair compare``: a report for what is asked, one line and status 2 for whatever is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pleinair.cli import compare as cli_compare
from pleinair.cli.main import app, main
from pleinair.errors import OptionError
from tests.models import write_model
from tests.networks import random_network


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder; the random style is the only one there is; the subcommand is there."""
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    if "compare" not in app.commands:
        cli_compare.register(app)
        monkeypatch.setattr(app, "commands", dict(app.commands))
    style = write_model(tmp_path / "models" / "integers", random_network(3, width=4, blocks=1, kernel=3))
    monkeypatch.setenv("PLEINAIR_MODELS", str(style.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


ASKED = ["compare", "--style", "integers", "--size", "64x48", "--rounds", "1", "--skip-torch", "--boards", "none"]


def test_a_report_is_written(place, capsys) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    assert main([*ASKED, "--threads", "1", "--out", "report"]) == 0
    out, err = capsys.readouterr()
    assert "ONNX Runtime" in out and "report/report.html" in out
    assert "left out: PyTorch: not asked for" in err
    data = json.loads((place / "report" / "report.json").read_text())
    assert {"ONNX Runtime", "NumPy reference"} <= {row["backend"] for row in data["rows"]}
    page = (place / "report" / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert sorted(path.name for path in (place / "report").iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--style", "none"], "--style 'none': unknown"),
        (["--bits", "7"], "--bits 7: choose from 4, 8, 16, 32"),
        (["--bits", "16"], "--bits 16: style integers has 8"),
        (["--size", "64"], "--size '64'"),
        (["--threads", "-1"], "--threads"),
        (["--rounds", "0"], "--rounds"),
        (["--boards", "zcu104"], "--boards none: give none, or boards, not both"),
        (["--bench", "none.json"], "--bench none.json: No such file"),
        (["--build", "models"], "--build models/report.json: No such file"),
        (["--evaluation", "models"], "--evaluation models/scores.csv: No such file"),
        (["--evaluation", "models/integers/card.json"], "not the scores of `pleinair evaluate`"),
        (["--out", "none/report"], "--out none/report: No such file or directory"),
        (["--out", "models/integers/card.json"], "--out models/integers/card.json: "),
        (["--config", "none.toml"], "--config none.toml"),
    ],
)
def test_wrong_values_are_refused_in_one_line_before_anything_is_timed(
    place, capsys, monkeypatch, arguments, says
) -> None:
    monkeypatch.setattr("pleinair.measuring.comparison._time_apart", lambda *_: pytest.fail("timed"))
    assert main([*ASKED, "--out", "report", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and says in err


def test_an_unknown_board_is_refused(place, capsys) -> None:
    assert main(["compare", "--style", "integers", "--boards", "pynq-z9", "--out", "report"]) == 2
    assert "There is no board 'pynq-z9'" in capsys.readouterr().err


def test_without_matplotlib_one_line_says_what_to_install(place, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*ASKED, "--out", "report"]) == 2
    assert "compare needs matplotlib" in capsys.readouterr().err and not (place / "report").exists()


def test_options_can_stand_in_a_file(place, capsys, monkeypatch) -> None:
    (place / "compare.toml").write_text("bits = 7\n")
    assert main(["compare", "--config", "compare.toml", "--out", "report"]) == 2
    assert "--bits 7: choose from" in capsys.readouterr().err
    asked = []

    def note(request, _, *, planner, open_torch):
        asked.append(request)
        assert open_torch is None and planner is not None
        raise OptionError("enough")

    monkeypatch.setattr("pleinair.measuring.comparison.compare", note)
    (place / "compare.toml").write_text('bits = "4, 8"\nboards = "kv260,zcu104"\nthreads = 2\nskip-torch = 1\n')
    assert main(["compare", "--config", "compare.toml", "--out", "report", "--threads", "1"]) == 2
    (request,) = asked
    assert request.bits == (4, 8) and request.boards == ("kv260", "zcu104") and request.threads == (1,)
