"""``pleinair bench``: what it prints and writes, and one line and status 2 for whatever is wrong."""

from __future__ import annotations

import json
import sys

import pytest

from pleinair.cli import bench as cli_bench
from pleinair.cli.main import main
from pleinair.engines import fastest as engine_memory
from pleinair.engines.exact import installed_engines
from pleinair.measuring import scaling
from pleinair.models import load_model
from tests.models import write_model
from tests.networks import adaptive_network, random_network

FILM = ["--film-frames", "0"]


@pytest.fixture
def style(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cli_bench, "LARGE", (200, 150))
    return write_model(tmp_path / "integers", random_network(3, width=4, blocks=1, kernel=3))


@pytest.fixture
def engines(monkeypatch):
    pytest.importorskip("onnxruntime", reason="the roofline needs onnxruntime")
    pytest.importorskip("onnx", reason="the roofline needs onnx")
    # The real shapes and Johnson's network take long.
    monkeypatch.setattr("pleinair.measuring.bench.SHAPES", ((64, 64, 64), (32, 256, 32)))
    monkeypatch.setitem(sys.modules, "torch", None)


def bench(style, *options):
    return main(["bench", "--style", str(style), "--size", "40x30", "--frames", "2", *map(str, options)])


def test_the_processor_with_one_thread_and_all(engines, style, tmp_path, capsys):
    assert bench(style, *FILM, "--profile", "--json", tmp_path / "bench.json") == 0
    out, err = capsys.readouterr()
    data = json.loads((tmp_path / "bench.json").read_text())
    counts = sorted({1, data["machine"]["cores"]})
    assert [top["threads"] for top in data["rooflines"]] == counts
    assert list(data["fastest"]) == list(data["profiles"]) == [str(n) for n in counts] and data["pipelines"] == {}
    model = load_model(str(style), 8)
    assert [engine_memory.remembered(model.network, n) for n in counts] == list(data["fastest"].values())
    for m in data["measurements"]:
        if m["network"] == "integer":
            assert m["name"] in out and f"{m['fps']:,.1f}" in out and f"{100 * m['useful_share']:.1f} %" in out
    assert "int8 roofline" in out and "QLinearConv" in out and "4000x3000" not in out
    large = data["large"]
    assert large["size"] == [200, 150] and large["same_pixels"] and f"{large['peak_bytes'] / 1e6:.0f} MB" in out
    assert f"not measured: the float network: bits 32: style {style.name} has 8" in out
    assert err == "" and f"{tmp_path / 'bench.json'}: all figures" in out


def test_what_a_light_of_its_own_costs(engines, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    style = write_model(tmp_path / "adaptive", adaptive_network(3, width=4))
    assert bench(style, *FILM, "--no-large", "--threads", "1", "--json", tmp_path / "bench.json") == 0
    out, _ = capsys.readouterr()
    found = json.loads((tmp_path / "bench.json").read_text())["lights"]
    assert [figures["engine"] for figures in found] == installed_engines()
    assert "own / known" in out and all(f"{figures['own_ratio']:.2f}" in out for figures in found)


def test_threads_and_what_takes_long_are_asked_for(engines, style, tmp_path, capsys):
    assert bench(style, *FILM, "--threads", 1, "--no-large", "--json", tmp_path / "bench.json") == 0
    data = json.loads((tmp_path / "bench.json").read_text())
    assert {m["threads"] for m in data["measurements"]} == {1} and data["large"] is None and data["profiles"] == {}
    capsys.readouterr()


def test_a_large_frame_that_takes_long_is_left_out_and_told(engines, style, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli_bench, "LARGE", (2_000_000, 1_000_000))
    assert bench(style, *FILM, "--threads", 1, "--json", tmp_path / "bench.json") == 0
    assert "2000000x1000000, which takes" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text())["large"] is None


def test_film_and_scaling(engines, style, tmp_path, capsys, monkeypatch):
    pytest.importorskip("av", reason="films need PyAV")
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    monkeypatch.setattr(scaling, "FILM_SIZE", (32, 24))
    monkeypatch.setattr(scaling.measure_scaling, "__defaults__", (None, ((20, 16), (40, 32)), (3, 6)))
    options = ["--threads", 1, "--film-frames", 8, "--no-large", "--scaling", "--plot", tmp_path / "plot.svg"]
    assert bench(style, *options, "--json", tmp_path / "bench.json") == 0
    out = capsys.readouterr().out
    data = json.loads((tmp_path / "bench.json").read_text())
    assert data["pipelines"]["1"]["frames"] == 8 and "a film of 8 frames, 40x30" in out
    assert [p["megapixels"] for p in data["scaling"]["paintings"]] == pytest.approx([20 * 16e-6, 40 * 32e-6])
    assert [film["frames"] for film in data["scaling"]["films"]] == [3, 6]
    assert all(film["peak_bytes"] > 10_000_000 and film["seconds"] > 0 for film in data["scaling"]["films"])
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_the_reference_alone(style, tmp_path, capsys):
    assert bench(style, "--backend", "reference", "--json", tmp_path / "bench.json") == 0
    out = capsys.readouterr().out
    (found,) = json.loads((tmp_path / "bench.json").read_text())["measurements"]
    assert found["backend"] == "reference" and found["frames"] == 2 and found["ms"] > 0
    assert f"8-bit, 40x30, reference\n{found['fps']:.2f} frames a second" in out


def test_json_without_a_file_is_all_of_standard_output(style, capsys):
    assert bench(style, "--backend", "reference", "--json") == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["measurements"]
    assert found["backend"] == "reference" and f"{found['fps']:.2f} frames a second" in err


@pytest.mark.parametrize(
    "options, said",
    (
        (["--backend", "gpu"], "--backend 'gpu': choose from cpu, reference, fpga"),
        (["--backend", "cpu:openvino"], "--backend 'cpu:openvino': choose from cpu, reference, fpga"),
        (["--bits", "7"], "--bits 7: choose from 4, 8, 16, 32"),
        (["--bits", "4"], "--bits 4: style integers has 8"),
        (["--size", "8x8"], "--size '8x8': write WIDTHxHEIGHT"),
        (["--threads", "-1"], "-1 is not in the range"),
        (["--json", "nowhere/bench.json"], "output nowhere/bench.json: the folder nowhere does not exist"),
        (["--plot", "plot.png"], "--plot plot.png: needs --scaling"),
        (["--plot", "plot.jpg", "--scaling"], "--plot plot.jpg: write .png or .svg"),
        (["--overlay", "x"], "--overlay x: needs --backend fpga"),
    ),
)
def test_what_is_wrong_is_one_line(style, capsys, options, said):
    assert bench(style, *options) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and said in err


def test_without_onnx_runtime_the_line_says_what_to_install(style, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("pleinair.measuring.bench.installed_engines", lambda: [])
    assert bench(style, *FILM) == 2
    err = capsys.readouterr().err
    assert err == "pleinair: bench needs onnxruntime: pip install '.[cpu]' in a checkout of pleinair\n"


def test_where_no_engine_is_exact_nothing_is_chosen(engines, style, capsys, monkeypatch):
    monkeypatch.setattr("pleinair.engines.exact.Yardstick.wrong", lambda *_: 3)
    assert bench(style, *FILM, "--threads", 1) == 2
    out, err = capsys.readouterr()
    assert err == "pleinair: no engine paints the reference's pixels here; use --backend reference\n"
    assert all(f"refused, 1 thread: {name}: " in out for name in installed_engines())
    assert engine_memory.remembered(load_model(str(style), 8).network, 1) is None


def test_without_matplotlib_a_plot_is_refused_before_the_work(style, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bench(style, "--scaling", "--plot", "plot.png") == 2
    assert capsys.readouterr().err == "pleinair: --plot plot.png: needs matplotlib: pip install matplotlib\n"
