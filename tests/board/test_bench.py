"""``pleinair bench`` on emulated boards: its file says what was measured, and that it was no board."""

from __future__ import annotations

import json

import pytest

from pleinair.cli.main import main
from pleinair.measuring.bench import begin, measure_accelerator
from pleinair.measuring.lights import measure_accelerator_lights


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


def test_what_light_costs_is_measured_apart(board, tmp_path, capsys):
    b = board(adaptive=True)
    file = tmp_path / "bench.json"
    options = ["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}", "--frames", "3"]
    assert main(["bench", *options, "--json", str(file)]) == 0
    out, data = capsys.readouterr().out, json.loads(file.read_text())
    assert set(data["measurements"][0]["stages"]) == {"prepare", "dma", "wait", "collect", "light"}
    (light,) = data["lights"]
    assert (light["engine"], light["threads"], light["frames"]) == ("fpga", 1, 3)
    assert min(light[f"{name}_ms"] for name in ("known", "new", "sums", "own")) > 0
    # Two passes that meter and one that paints, for each frame.
    assert "of which there were 9" in out and "6 of them were metered" in out and ", light " in out, out


def test_each_figure_of_light_is_of_what_it_says(board, monkeypatch):
    b = board(adaptive=True)
    painter = b.adaptive_painter()
    seen = []
    for name in ("paint", "paint_in", "sums"):
        real = getattr(painter, name)
        monkeypatch.setattr(painter, name, lambda *a, real=real, name=name: seen.append((name, *a[1:])) or real(*a))
    found = measure_accelerator_lights(painter, (30, 20), 2)
    assert found.own_ratio > 0
    assert [entry[0] for entry in seen][-5:] == ["paint_in", "paint_in", "paint_in", "sums", "paint"]
    first, known, new = (entry[1] for entry in seen[-5:-2])
    assert first == known == painter.average != new
