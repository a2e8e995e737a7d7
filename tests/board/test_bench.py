"""``pleinair bench`` on emulated boards: its file says what was measured, and that it was no board."""

from __future__ import annotations

import json

import pytest

from pleinair.cli.main import main
from pleinair.measuring.bench import begin, measure_accelerator


def test_the_file_of_an_emulated_board_says_so(board, tmp_path, capsys):
    b = board()
    file = tmp_path / "bench.json"
    options = ["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}", "--frames", "5"]
    assert main(["bench", *options, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    data = json.loads(file.read_text())
    (found,) = data["measurements"]
    assert found["backend"] == "fpga" and found["board"] == "zcu104" and found["emulated"] is True
    assert found["watts"] is None and found["bits"] == data["bits"] == 8
    margin = b.model.margin
    assert data["size"] == [b.deployment.width - 2 * margin, b.deployment.height - 2 * margin]
    assert found["fps"] == pytest.approx(1000 / found["ms"]) and f"{found['fps']:.2f} frames a second" in out
    assert set(found["stages"]) == {"prepare", "dma", "wait", "collect"} and all(found["stages"].values())


def test_power_is_the_mean_of_what_the_rails_say(board, monkeypatch):
    b = board()
    painter = b.painter()
    readings = iter(({"12V": 9.0, "INT": 2.0}, {"12V": 11.0, "INT": 4.0}))
    monkeypatch.setattr(painter.accelerator, "power", lambda: next(readings))
    figures = begin(b.model, (30, 20))
    tiles = measure_accelerator(figures, painter, 12)
    assert figures.measurements[0].watts == {"12V": 10.0, "INT": 3.0}
    assert (tiles.count, tiles.replaced, tiles.reloads) == (12, 0, 0)
