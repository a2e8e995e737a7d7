"""Comparing bits and machines: what is timed here, planned, read from files; and the page."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pleinair.cli.compare import open_torch
from pleinair.engines.exact import installed_engines
from pleinair.errors import EngineError, OptionError, PleinairError
from pleinair.machine import this_machine
from pleinair.measuring import comparison, comparison_files
from pleinair.measuring.comparison import PackageEnergy, compare, time_here
from pleinair.measuring.comparison_files import read_bench, read_build, read_evaluation, stated
from pleinair.measuring.comparison_rows import (
    BASE,
    EMULATED,
    JOHNSON,
    MEASURED,
    OUR_TORCH,
    PLANNED,
    REFERENCE,
    SIMULATED,
    STATED,
    BitPrice,
    Comparison,
    Price,
    Quality,
    Request,
    Row,
    as_json,
)
from pleinair.measuring.timing import Timing
from pleinair.models import load_model
from pleinair_hw.plan.planner import Planner
from tests.models import write_model, write_models
from tests.networks import adaptive_network, floats_like, random_network

#: Boards' names for people.
TITLES = Planner().titles()
HOSTILE = "<script>alert(1)</script>$x_$&\"'\x1b[31m"


@pytest.fixture
def style(tmp_path) -> str:
    return str(write_model(tmp_path / "integers", random_network(3, width=4, blocks=1, kernel=3)))


# -- files from elsewhere


def bench_file(folder: Path, file: str = "bench.json", **changes: Any) -> Path:
    """A file of `pleinair bench --json` on a board; ``changes`` are of its one measurement or, in capitals, above."""
    measurement = {
        "backend": "fpga",
        "engine": None,
        "name": "zcu104 accelerator",
        "network": "integer",
        "bits": 8,
        "threads": 1,
        "exact": True,
        "frames": 50,
        "ms": 12.5,
        "fps": 80.0,
        "megapixels": 24.576,
        "ms_low": None,
        "ms_high": None,
        "board": "zcu104",
        "emulated": False,
        "watts": {"PS": 2.0, "PL": 6.0},
        "stages": None,
    }
    bench: dict[str, Any] = {
        "format": "pleinair-bench",
        "version": 1,
        "style": "starry-night-board",
        "bits": 8,
        "size": [640, 480],
        "macs_per_pixel": 33120.0,
        "machine": {"processor": "Cortex-A53", "board": "ZynqMP ZCU104"},
    }
    bench |= {key.lower(): value for key, value in changes.items() if key.isupper()}
    measurement |= {key: value for key, value in changes.items() if not key.isupper()}
    path = folder / file
    path.write_text(json.dumps({"measurements": [measurement], **bench}))
    return path


def test_a_boards_own_bench_is_measured(tmp_path) -> None:
    (row,) = read_bench(bench_file(tmp_path), TITLES)
    assert (row.backend, row.kind, row.how, row.fps, row.ms) == ("AMD ZCU104", "board", MEASURED, 80, 12.5)
    assert row.energy is not None and row.energy.how == MEASURED
    assert row.energy.joules == pytest.approx((2 + 6) / 80)
    assert row.megapixels == pytest.approx(80 * 640 * 480 / 1e6)


def test_the_rail_that_feeds_the_board_is_not_added_to_those_it_feeds(tmp_path) -> None:
    (row,) = read_bench(bench_file(tmp_path, watts={"12V": 11.0, "PS": 2.0, "PL": 6.0}), TITLES)
    assert row.energy is not None and row.energy.joules == pytest.approx(11 / 80)


def test_without_sensors_the_power_supply_bounds_energy(tmp_path) -> None:
    (row,) = read_bench(bench_file(tmp_path, watts=None, board="ultra96"), TITLES)
    assert row.energy is not None and row.energy.how == STATED
    assert row.energy.joules == pytest.approx(comparison_files.STATED_POWER["ultra96"].watts / 80)
    assert stated("unheard-of", 80) is None and stated("ultra96", None) is None


def test_a_board_whose_power_supply_is_not_stated_has_no_energy(tmp_path) -> None:
    (row,) = read_bench(bench_file(tmp_path, watts=None, board="zcu104"), TITLES)
    assert row.how == MEASURED and row.energy is None and stated("zcu104", 80) is None


def test_an_emulated_board_is_called_so_and_has_no_energy(tmp_path) -> None:
    (row,) = read_bench(bench_file(tmp_path, emulated=True), TITLES)
    assert row.how == EMULATED and row.energy is None and row.where == "ZynqMP ZCU104"


def test_another_machines_processor_is_not_a_board(tmp_path) -> None:
    machine = {"processor": "Cortex-A76", "board": "Raspberry Pi 5"}
    path = bench_file(
        tmp_path,
        backend="cpu",
        engine="litert",
        threads=4,
        ms_low=11.0,
        ms_high=14.0,
        board=None,
        watts=None,
        MACHINE=machine,
    )
    (row,) = read_bench(path, TITLES)
    assert (row.kind, row.how, row.threads) == ("other", MEASURED, 4)
    assert row.backend == "LiteRT, Raspberry Pi 5" and (row.low_ms, row.high_ms) == (11, 14)


def test_what_bench_writes_is_read(tmp_path) -> None:
    """The file of pleinair.measuring.bench itself, for its names and types."""
    bench = pytest.importorskip("pleinair.measuring.bench", reason="needs pleinair.measuring.bench and ONNX Runtime")
    made = bench.Bench(this_machine(), "starry-night-board", 4, (320, 240), 33_120.0)
    made.measurements.append(
        bench.Measurement(
            backend="cpu",
            engine="openvino",
            name="OpenVINO",
            network="integer",
            bits=4,
            threads=2,
            exact=True,
            frames=15,
            ms=5.0,
            fps=200.0,
            megapixels=15.36,
            useful_gmacs=500.0,
            ms_low=4.0,
            ms_high=9.0,
        )
    )
    made.write(tmp_path / "bench.json")
    (row,) = read_bench(tmp_path / "bench.json", TITLES)
    assert (row.style, row.bits, row.size, row.fps, row.low_ms) == ("starry-night-board", 4, (320, 240), 200, 4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fps": 0}, "fps 0;"),
        ({"fps": True}, "fps True;"),
        ({"fps": "80"}, "fps '80';"),
        ({"fps": 10**400}, "fps"),
        ({"bits": 7}, "bits 7; allowed is 4, 8, 16, 32"),
        ({"bits": [8]}, "bits"),
        ({"bits": 8.5}, "bits"),
        ({"threads": 1.5}, "threads 1.5; allowed is a whole number"),
        ({"emulated": "no"}, "emulated 'no'; allowed is true or false"),
        ({"watts": [1]}, "watts: not an object"),
        ({"watts": {"PL": -1}}, "PL -1;"),
        ({"board": None}, "board None;"),
        ({"name": "x" * 300}, "allowed is text of up to 200"),
        ({"FORMAT": "other"}, "format 'other'; allowed is 'pleinair-bench', version 1"),
        ({"VERSION": 2}, "version 1"),
        ({"SIZE": [640]}, "size [640]; allowed is [width, height]"),
        ({"SIZE": [640, -1]}, "[width, height]"),
        ({"MEASUREMENTS": []}, "a list of at least one"),
        ({"MEASUREMENTS": {}}, "measurements {}; allowed is a list"),
        ({"MEASUREMENTS": [3]}, "measurements 1: not an object"),
        ({"MEASUREMENTS": [{}] * 300}, "a list of up to 256"),
        ({"MACHINE": None}, "machine: not an object"),
    ],
)
def test_a_bench_file_of_wrong_values_is_refused_in_one_line(tmp_path, changes, says) -> None:
    path = bench_file(tmp_path, **changes)
    with pytest.raises(OptionError) as refusal:
        read_bench(path, TITLES)
    assert str(refusal.value).startswith(f"bench {path}") and says in str(refusal.value)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b"1" * 10_000],
    ids=["empty", "list", "torn", "not UTF-8", "deep", "NaN", "long number"],
)
def test_files_that_are_no_bench_are_refused(tmp_path, data) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(data)
    with pytest.raises(OptionError, match="^bench "):
        read_bench(path, TITLES)


def test_files_that_cannot_be_read_are_refused(tmp_path, monkeypatch) -> None:
    for path in (tmp_path, tmp_path / "none", Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(OptionError, match="^bench "):
            read_bench(path, TITLES)
    monkeypatch.setattr(comparison_files, "_MAX_FILE", 50)
    with pytest.raises(OptionError, match="larger than"):
        read_bench(bench_file(tmp_path), TITLES)


def build_folder(folder: Path, measured: Any = None) -> Path:
    report = {
        "format": "pleinair-build-report",
        "version": 1,
        "title": "starry-night-board",
        "clock_mhz": 300.0,
        "asked": {"bits": 8, "size": [64, 64]},
        "board": {"name": "kv260", "title": "AMD Kria KV260"},
        "rate": {"interval": 100_000},
        "measured": measured,
        "resources": {kind: {"used": used} for kind, used in (("dsp", 64), ("lut", 9000), ("bram", 21), ("uram", 2))},
    }
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_build_is_planned_until_it_is_simulated(tmp_path) -> None:
    row = read_build(build_folder(tmp_path))
    assert (row.how, row.fps, row.size) == (PLANNED, 300e6 / 100_000, (64, 64))
    assert row.resources == {"dsp": 64, "lut": 9000, "bram36": 10.5, "uram": 2}
    # One photo alone has no interval between frames.
    assert read_build(build_folder(tmp_path, {"differing": 0, "latency": 5})).how == PLANNED
    row = read_build(build_folder(tmp_path, {"differing": 0, "interval": 125_000}))
    assert (row.how, row.fps) == (SIMULATED, 2400) and "+25.0%" in row.note


def test_a_simulation_that_differs_is_no_speed(tmp_path) -> None:
    with pytest.raises(OptionError, match="differed from the reference"):
        read_build(build_folder(tmp_path, {"differing": 3, "interval": 125_000}))
    with pytest.raises(OptionError, match="^build "):
        read_build(tmp_path / "none")


SCORES = """subject,network,photos,content,style,total,border,bits,ratio,ssim,distance,flicker
starry,photos,14,0.0,580527.0,580527.0,-5.7,,,,,0.38
starry,parent,14,1.0,2.0,3.0,0.1,32,0.9,0.5,0.6,0.9
starry,32bit,14,100.0,60.0,160.0,0.1,32,1.0,,,1.4
starry,8bit,14,110.0,90.0,200.0,0.1,8,1.25,0.95,0.2,1.9
other,8bit,14,1.0,1.0,2.0,0.1,8,1.0,,,
"""


def test_scores_are_by_bits_without_photos_parent_and_other_styles(tmp_path) -> None:
    (tmp_path / "scores.csv").write_text(SCORES)
    found = read_evaluation(tmp_path, "starry")
    assert found == {
        32: Quality(160.0, 100.0, 60.0, 1.0, None, 1.4),
        8: Quality(200.0, 110.0, 90.0, 1.25, 0.95, 1.9),
    }
    assert read_evaluation(tmp_path / "scores.csv", "other")[8].loss == 2
    with pytest.raises(OptionError, match="has no scores of wave; there are other, starry"):
        read_evaluation(tmp_path, "wave")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        SCORES.replace("110.0", "many"),
        SCORES.replace("110.0", "nan"),
        SCORES.replace("110.0", ""),
        'subject,network,content,style\n"starry\n',
    ],
)
def test_scores_that_are_none_are_refused(tmp_path, text) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(OptionError, match="^evaluation "):
        read_evaluation(tmp_path, "starry")


# -- the processor's counters


def counter(root: Path, name: str, label: str, energy: int, span: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{span}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_counters_wrap(tmp_path) -> None:
    first = counter(tmp_path, "intel-rapl:0", "package-0", 500_000)
    second = counter(tmp_path, "intel-rapl:1", "package-1", 999_900)
    counter(tmp_path, "intel-rapl:0:0", "core", 0)  # a part of the package
    energy = PackageEnergy(tmp_path)
    before = energy.counts()
    first.write_text("700000\n")
    second.write_text("99\n")
    assert energy.joules_since(before) == pytest.approx((200_000 + 200) / 1e6)


def test_no_counters_or_unreadable_ones_measure_nothing(tmp_path) -> None:
    assert not PackageEnergy(tmp_path).readable and not PackageEnergy(tmp_path / "none").readable
    counter(tmp_path, "intel-rapl:0", "package-0", 0).unlink()  # as for anybody but root
    assert not PackageEnergy(tmp_path).readable


def test_energy_is_the_rounds_median_without_the_warm_up(tmp_path, style, monkeypatch) -> None:
    path = counter(tmp_path, "intel-rapl:0", "package-0", 0, 1 << 40)
    monkeypatch.setattr(comparison, "PackageEnergy", lambda: PackageEnergy(tmp_path))
    used = iter([900_000, 800_000, 30_000, 10_000, 20_000])  # two rounds of warm-up

    def paint(_: Any) -> None:
        path.write_text(str(int(path.read_text()) + next(used)))

    subject = comparison._Subject("engine", 8, "", paint, 1.0, 1)
    monkeypatch.setattr(comparison, "_engine_subjects", lambda *_: iter([subject]))
    found = time_here(Request(style, (64, 48), rounds=3), [8], 1, False)
    assert found.rows[0].energy is not None and found.rows[0].energy.joules == pytest.approx(0.02)


# -- this machine


def test_ratios_are_those_within_rounds() -> None:
    found = comparison._Timed()
    here = this_machine().processor
    base = Row(BASE, "cpu", "s", 8, MEASURED, here, (64, 48), 1.0, threads=2)
    johnson = replace(base, backend=JOHNSON, bits=32)
    reference = replace(base, backend=REFERENCE, fps=0.01, threads=1)
    found.rows = [base, johnson, reference]
    # The machine was three times as slow in the second round.
    found.timings = {
        (BASE, 8): Timing((1.0, 3.0, 1.0), (1.0,) * 3),
        (JOHNSON, 32): Timing((40.0, 120.0, 44.0), (1.0,) * 3),
    }
    rows, against, fastest = comparison._relative([(2, found)])
    assert rows[0].speed_johnson == statistics.median([40, 40, 44]) and rows[0].speed_8bit == 1
    assert rows[1].speed_8bit == pytest.approx(1 / 40)
    assert rows[2].speed_8bit == pytest.approx(0.01)  # against the median
    assert against is not None and fastest is not None and (against.backend, fastest.backend) == (JOHNSON, BASE)


def test_what_runs_here_is_timed_in_a_process_of_its_own(style) -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    told: list[str] = []
    request = Request(style, (64, 48), threads=(1,), rounds=2)
    before = dict(os.environ)
    began = time.perf_counter()
    found = compare(request, lambda what, done, total: told.append(what))
    spent = time.perf_counter() - began
    assert dict(os.environ) == before
    by_backend = {row.backend: row for row in found.rows}
    assert {BASE, REFERENCE} <= set(by_backend)
    assert len(found.rows) + len(found.left_out) == len(installed_engines()) + 2
    assert any(line.startswith("PyTorch: not asked for") for line in found.left_out)
    file = load_model(style, 8).folder / "network-8bit.npz"
    for row in found.rows:
        assert row.kind == "cpu" and row.how == MEASURED and row.bits == 8 and row.size == (64, 48)
        assert row.bytes == file.stat().st_size and row.macs_per_pixel == load_model(style, 8).network.macs_per_pixel()
        assert row.fps is not None and 1 / spent < row.fps < 1e6
        if row.backend != REFERENCE:
            assert row.low_ms is not None and row.high_ms is not None and row.ms is not None
            assert row.low_ms <= row.ms <= row.high_ms
    assert by_backend[BASE].speed_8bit == 1 and by_backend[BASE].speed_johnson is None
    assert any(BASE in what for what in told) and any(REFERENCE in what for what in told)
    assert found.price.by_bits[8].cpu_ms == by_backend[BASE].ms and found.price.board is None


def test_johnsons_network_is_timed_where_pytorch_is(style, monkeypatch) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    monkeypatch.setattr("pleinair.engines.exact.installed_engines", lambda: [])
    before = torch.get_num_threads()
    try:
        found = time_here(Request(style, (32, 24), rounds=1), [8], 1, False, None, open_torch)
        assert torch.get_num_threads() == 1
        assert [row.backend for row in found.rows] == [JOHNSON]  # the style has no float network
        assert found.rows[0].macs_per_pixel == 153_792 and found.rows[0].bytes == 4 * 1_679_235
        monkeypatch.setattr(comparison, "_available_memory", lambda: 100_000)
        found = time_here(Request(style, (32, 24), rounds=1), [8], 1, False, None, open_torch)
        assert found.rows == [] and "would need 0.0 GB" in found.left_out[0]
    finally:
        torch.set_num_threads(before)


def test_the_float_network_of_an_adaptive_style_is_timed(tmp_path, monkeypatch) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    network = adaptive_network(3, width=4)
    both = str(write_models(tmp_path / "both", network, floats_like(network), margin=28))
    monkeypatch.setattr(comparison, "_available_memory", lambda: 100_000)  # not Johnson's too
    before = torch.get_num_threads()
    try:
        found = time_here(Request(both, (32, 24), rounds=1), [8, 32], 1, False, None, open_torch)
    finally:
        torch.set_num_threads(before)
    rows = {(row.backend, row.bits): row for row in found.rows}
    assert {(BASE, 8), (BASE, 32), (OUR_TORCH, 32)} <= rows.keys()
    assert len({row.macs_per_pixel for row in found.rows}) == 1 and all(row.fps for row in found.rows)


def test_without_pytorch_a_line_says_so(style, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("pleinair.engines.exact.installed_engines", lambda: [])
    found = time_here(Request(style, (32, 24), rounds=1), [8], 1, False, None, open_torch)
    assert found.rows == [] and found.left_out == [
        "PyTorch: not installed (torch); pip install '.[train]' in a checkout of pleinair"
    ]


def test_an_engine_that_refuses_is_left_out_and_said(style, monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EngineError("not exact on this machine")

    monkeypatch.setattr("pleinair.backends.open_painter", refuse)
    monkeypatch.setattr("pleinair.engines.exact.installed_engines", lambda: ["onnxruntime", "litert"])
    found = time_here(Request(style, (32, 24), rounds=1), [8], 1, False)
    assert found.left_out[:2] == [f"{name} at 8 bits: not exact on this machine" for name in ("ONNX Runtime", "LiteRT")]


def _killed(*_: Any) -> None:
    os._exit(9)


def _refused(pipe: Any, *_: Any) -> None:
    pipe.send(OptionError("no such thing"))


def _broken(pipe: Any, *_: Any) -> None:
    pipe.send("Traceback: it was our fault")


@pytest.mark.parametrize(
    ("work", "error", "says"),
    [
        (_killed, EngineError, "1 thread was killed"),
        (_refused, OptionError, "no such thing"),
        (_broken, RuntimeError, "our fault"),
    ],
)
def test_how_the_process_that_times_may_end(style, monkeypatch, work, error, says) -> None:
    monkeypatch.setattr(comparison, "_work", work)
    with pytest.raises(error, match=says) as raised:
        comparison._time_apart(Request(style), [8], 1, False, lambda *_: None)
    assert isinstance(raised.value, PleinairError) is (work is not _broken)


# -- boards


def test_boards_are_planned_and_compared_at_one_rate(monkeypatch) -> None:
    """Small frames of a small style; the plans themselves are hw's business."""
    from pleinair.painting.tiles import padded_size
    from pleinair_hw.plan.boards import find_board
    from pleinair_hw.plan.search import plan_for_rate

    monkeypatch.setattr(comparison, "_time_apart", lambda *_: comparison._Timed())
    request = Request("starry-night-small", (64, 48), boards=("ultra96",), threads=(1,))
    found = compare(request, planner=Planner())
    rows = {row.bits: row for row in found.rows}
    assert set(rows) == {4, 8} and all(row.how == PLANNED and row.backend == "Avnet Ultra96" for row in rows.values())
    assert rows[4].fps is not None and rows[8].fps is not None and rows[4].fps > rows[8].fps
    assert rows[8].energy is not None and rows[8].energy.how == STATED
    price = found.price
    assert price.board == "ultra96" and price.fps == pytest.approx(0.99 * rows[8].fps)
    for bits, cost in price.by_bits.items():
        model = load_model("starry-night-small", bits)
        height, width = padded_size(48, 64, model.margin, model.network.stride)
        plan = plan_for_rate(model.network, height, width, find_board("ultra96"), price.fps)  # type: ignore[arg-type]
        assert plan.fps >= price.fps and cost.dsp == plan.total.dsp and cost.lut == plan.total.total_lut
    assert (price.by_bits[4].dsp or 0) < (price.by_bits[8].dsp or 0)


def test_a_board_is_compared_with_frames_of_its_size_alone(style, tmp_path, monkeypatch) -> None:
    timed = comparison._Timed()
    base = Row(BASE, "cpu", "integers", 8, MEASURED, "here", (640, 480), 20.0, threads=1)
    timed.rows, timed.timings = [base], {(BASE, 8): Timing((0.05,), (0.05,))}
    monkeypatch.setattr(comparison, "_time_apart", lambda *_: timed)
    benches = (
        bench_file(tmp_path),
        bench_file(tmp_path, "other.json", SIZE=[320, 240]),
        bench_file(tmp_path, "emulated.json", emulated=True),
    )
    found = compare(Request(style, benches=benches, threads=(1,)))
    assert [row.speed_8bit for row in found.rows] == [1, 4, None, None]


# -- the report


def example(tmp_path: Path) -> Comparison:
    """A comparison that has something of everything, with a name that is hostile."""
    benches = [
        bench_file(tmp_path, "a.json", board=HOSTILE),
        bench_file(tmp_path, "b.json", emulated=True, fps=123456.0, board="pynq-z2"),
        bench_file(tmp_path, "c.json", SIZE=[64, 48], fps=77777.0),
    ]
    here, size = this_machine(), (640, 480)
    rows = [
        Row(
            BASE,
            "cpu",
            "starry-night-board",
            bits,
            MEASURED,
            here.processor,
            size,
            fps,
            "engine",
            threads,
            1e3 / fps,
            2e3 / fps,
            7,
            30.0,
            1.0,
            33_120.0,
            250_000,
        )
        for bits, fps in ((8, 30.0), (4, 31.0))
        for threads in (1, 2)
    ]
    rows += [replace(rows[0], backend=name, bits=32, fps=1.0) for name in (JOHNSON, OUR_TORCH)]
    rows.append(
        Row("TUL PYNQ-Z2", "board", "starry-night-board", 8, PLANNED, "TUL PYNQ-Z2", size, None, note="does not fit")
    )
    rows += [row for path in benches for row in read_bench(path, TITLES)]
    prices = {
        4: BitPrice(31.0, 8.0, 150_000, 540, 73_000, 6_000_000, 192e3),
        8: BitPrice(33.0, 12.0, 250_000, loss=188e3),
    }
    quality = {4: Quality(192e3, 120e3, 72e3, 1.017), 8: Quality(188e3, 130e3, 58e3, 0.991)}
    return Comparison(
        "starry-night-board", size, 7, here, rows, quality, Price("zcu104", 40.7, prices), ["LiteRT: " + HOSTILE]
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href", "action"):
                self.sources.append(str(value))
            if key == "id":
                self.ids.append(str(value))


def test_the_page_is_whole_in_itself_and_hostile_names_are_text(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from pleinair.measuring.comparison_report import html_page

    text = html_page(example(tmp_path))
    page = _Page()
    page.feed(text)
    assert page.tags.count("svg") == 3 and page.tags.count("table") == 1
    assert "script" not in page.tags and "link" not in page.tags
    assert all(source.startswith("#") for source in page.sources)
    assert len(page.ids) == len(set(page.ids)) > 10
    wanted = {source[1:] for source in page.sources} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(page.ids)
    assert "\x1b" not in text and text.count("&lt;script&gt;") >= 3  # bar, table and left out
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)
        assert not re.search(r"#[0-9a-f]{6}\b", svg)  # colours are the style sheet's


def test_plots_leave_out_what_is_no_board_and_other_sizes(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from pleinair.measuring.comparison_report import html_page, quality_plot, speed_plot

    made = example(tmp_path)
    for plot in (speed_plot(made), quality_plot(made)):
        assert plot is not None and "123,456" not in plot and "77,777" not in plot and "PYNQ" not in plot
    table = html_page(made).partition("<tbody>")[2]
    assert "EMULATED" in table and "123,456" in table and "frames of 64x48" in table and "does not fit" in table


def test_without_an_evaluation_there_is_no_quality_plot(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from pleinair.measuring.comparison_report import html_page, quality_plot

    made = replace(example(tmp_path), quality={})
    assert quality_plot(made) is None and "pleinair evaluate" in html_page(made)


def test_random_weights_have_no_quality(tmp_path) -> None:
    from pleinair.measuring.comparison_report import quality_of

    made = example(tmp_path)
    made = replace(made, quality={**made.quality, 32: Quality(1.0, 1.0, 0.0)})
    by_backend = {row.backend: quality_of(row, made) for row in made.rows if row.bits == 32}
    assert by_backend == {JOHNSON: None, OUR_TORCH: made.quality[32]}
    assert quality_of(replace(made.rows[0], style="great-wave"), made) is None


def test_json_holds_every_row_and_how_it_was_come_by(tmp_path) -> None:
    made = example(tmp_path)
    data = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert (data["format"], data["version"], len(data["rows"])) == ("pleinair-comparison", 1, len(made.rows))
    assert {row["how"] for row in data["rows"]} == {MEASURED, PLANNED, EMULATED}
    first = data["rows"][0]
    assert first["ms"] == pytest.approx(1e3 / 30) and first["megapixels"] == pytest.approx(30 * 0.3072)
    assert data["price"]["by_bits"]["4"]["dsp"] == 540 and data["quality"]["8"]["loss"] == 188e3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0494, "0.0494"),
        (0.458, "0.458"),
        (1.8, "1.80"),
        (14.84, "14.8"),
        (99.96, "100"),
        (123.4, "123"),
        (20258, "20,258"),
    ],
)
def test_figures_have_three_digits(value, text) -> None:
    from pleinair.measuring.comparison_report import rate

    assert rate(value) == text
