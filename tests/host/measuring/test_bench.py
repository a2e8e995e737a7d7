"""What the bench measures is what it says: shares, work and memory; and nothing inexact wins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from contextlib import closing

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cli.compare import open_torch
from pleinair.engines import exact as engines
from pleinair.engines import fastest as engine_memory
from pleinair.engines.exact import installed_engines
from pleinair.errors import EngineError
from pleinair.measuring import bench as benching
from pleinair.measuring import footprint
from pleinair.measuring.bench import (
    FLOAT,
    INTEGER,
    JOHNSON,
    Examiner,
    Refusal,
    begin,
    executed_macs,
    measure_processor,
    measure_reference,
    profile,
)
from pleinair.measuring.footprint import UNTILED, noise, paint_alone, peak_bytes
from pleinair.measuring.operator_profile import read_profile
from pleinair.measuring.roofline import MatrixProduct, roofline
from pleinair.measuring.scaling import Film, Painting, Scaling, plot
from pleinair.measuring.timing import Timing
from pleinair.models import load_model
from pleinair.network.floating import FloatConvolution, FloatNetwork, FloatResidual
from pleinair.network.integer import Residual, Upsample
from tests.models import write_model, write_models
from tests.networks import adaptive_network, floats_like, random_network

pytest.importorskip("onnxruntime", reason="the bench's roofline and engines need onnxruntime")
pytest.importorskip("onnx", reason="the bench's roofline and engines need onnx")
SIZE = (44, 30)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "integers"
    write_model(folder, random_network(3, width=4, blocks=1, kernel=3))
    return load_model(str(folder), 8)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "wide"
    write_model(folder, random_network(3, width=4, blocks=1, kernel=3, bits=16))
    return load_model(str(folder), 16)


# -- the roofline


@pytest.mark.parametrize("threads", (1, 2))
def test_the_roofline_multiplies(threads):
    product = MatrixProduct((5, 300, 7), threads)
    rng = np.random.Generator(np.random.PCG64(5))
    right = rng.integers(-127, 128, (300, 7), dtype=np.int8)
    left = rng.integers(0, 256, (5, 300), dtype=np.uint8)
    assert np.array_equal(product(), left.astype(np.int64) @ right.astype(np.int64))


def test_the_best_median_is_the_roofline():
    def timing(*seconds):
        return Timing(seconds, seconds)

    found = roofline(2, {(1000, 1000, 1000): timing(0.9, 0.1, 1.0), (10, 1000, 1000): timing(0.01, 0.005, 0.005)})
    assert (found.threads, found.shape) == (2, (10, 1000, 1000)) and found.gmacs == pytest.approx(2.0)
    assert dict(found.shapes)[1000, 1000, 1000] == pytest.approx(1 / 0.9)


# -- work


class Spy:
    """Every program that ONNX Runtime is given, as often as it is run."""

    def __init__(self, monkeypatch):
        from pleinair.engines.onnxruntime import OrtEngine

        self.programs, compiled = [], OrtEngine.compile

        def compile_noted(engine, program, *more):
            run = compiled(engine, program, *more)

            def run_noted(pixels):
                self.programs.append(program)
                return run(pixels)

            return run_noted

        monkeypatch.setattr(OrtEngine, "compile", compile_noted)

    def products(self, bytes_of):
        return sum(
            int(np.prod(c.shape[:2])) * c.weight.size * bytes_of(k)
            for program in self.programs
            for k, c in enumerate(program.convolutions())
        )


@pytest.mark.parametrize("size, tile_pixels", ((SIZE, None), ((150, 110), 4000)), ids=("whole", "tiled"))
def test_executed_work_is_what_the_engine_was_given(monkeypatch, model, size, tile_pixels):
    spy = Spy(monkeypatch)
    with opened(model, tile_pixels) as painter:
        spy.programs.clear()
        painter.paint(noise(*size))
        assert len(spy.programs) > 1 or tile_pixels is None
        assert executed_macs(painter, size) == spy.products(lambda k: 1)
        assert executed_macs(painter, size) > model.network.macs_per_pixel() * size[0] * size[1]


def test_a_number_of_16_bits_is_two_of_8(monkeypatch, wide):
    spy = Spy(monkeypatch)
    with opened(wide) as painter:
        spy.programs.clear()
        painter.paint(noise(*SIZE))
        assert executed_macs(painter, SIZE) == spy.products(lambda k: 4 if k else 2)


def opened(model, tile_pixels=None):
    more = {} if tile_pixels is None else {"tile_pixels": tile_pixels}
    return closing(open_painter(model, "cpu:onnxruntime", 1, **more))


# -- exactness


def test_an_engine_that_sees_its_own_error_is_refused(monkeypatch, model):
    damage(monkeypatch)
    refusal = Examiner(model).open("onnxruntime", 1)
    assert isinstance(refusal, Refusal) and "not exact on this machine" in refusal.reason
    assert re.search(r"\d+ values differ", refusal.reason)


def test_an_engine_that_does_not_is_counted_against_the_reference(monkeypatch, model):
    examiner = Examiner(model)
    damage(monkeypatch)
    monkeypatch.setattr(engines.Yardstick, "wrong", lambda *_: 0)
    refusal = examiner.open("onnxruntime", 1)
    assert isinstance(refusal, Refusal)
    assert (refusal.differing, refusal.values) == (2, 2 * 64 * 64 * 3)  # one in either network's painting


def test_an_exact_engine_is_opened(model):
    painter = Examiner(model).open("onnxruntime", 1)
    with opened(model) as other:
        assert np.array_equal(painter.paint(noise(*SIZE)), other.paint(noise(*SIZE)))
    painter.close()


def damage(monkeypatch):
    """ONNX Runtime's middle value is off by one."""
    from pleinair.engines.onnxruntime import OrtEngine

    compiled = OrtEngine.compile

    def compile_wrongly(engine, program, *more):
        run = compiled(engine, program, *more)

        def run_wrongly(pixels):
            painted = run(pixels).copy()
            painted[painted.shape[0] // 2, painted.shape[1] // 2, 1] ^= 1
            return painted

        return run_wrongly

    monkeypatch.setattr(OrtEngine, "compile", compile_wrongly)


# -- the processor


def float_twin(network):
    """A float network of the same shapes."""

    def convolution(c):
        weight = np.full(c.weight.shape, 1e-3, np.float32)
        return FloatConvolution(c.name, weight, np.zeros(c.outputs, np.float32), c.stride, not c.signed)

    layers = []
    for layer in network.layers:
        if isinstance(layer, Residual):
            layers.append(FloatResidual(tuple(convolution(c) for c in layer.body)))
        else:
            layers.append(layer if isinstance(layer, Upsample) else convolution(layer))
    return FloatNetwork(tuple(layers))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A style with a float network, measured with two threads."""
    root = tmp_path_factory.mktemp("measured")
    network = random_network(3, width=4, blocks=1, kernel=3)
    folder = write_model(root / "both", network)
    card = json.loads((folder / "card.json").read_text())
    write_model(folder, float_twin(network))
    other = json.loads((folder / "card.json").read_text())
    other["networks"] |= card["networks"]
    (folder / "card.json").write_text(json.dumps(other))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        model = load_model(str(folder), 8)
        figures = begin(model, SIZE)
        fastest = measure_processor(figures, model, 2, 3, open_torch=open_torch)
        remembered = engine_memory.remembered(model.network, 2)
    return figures, fastest, remembered


def test_every_installed_engine_is_measured_or_refused(measured):
    figures, _, _ = measured
    own = [m.engine for m in figures.measurements if m.network == INTEGER]
    assert sorted(own + [r.engine for r in figures.refused]) == sorted(installed_engines())
    assert {m.network for m in figures.measurements} - {JOHNSON} == {INTEGER, FLOAT}
    assert all(m.exact for m in figures.measurements if m.network == INTEGER)


def test_the_fastest_is_remembered(measured):
    figures, fastest, remembered = measured
    exact = {m.engine: m.ms for m in figures.measurements if m.exact}
    assert fastest == min(exact, key=exact.get) == remembered == figures.fastest[2]


def test_figures_agree_with_one_another(measured):
    figures, _, _ = measured
    (top,) = figures.rooflines
    assert top.threads == 2 and top.gmacs == max(gmacs for _, gmacs in top.shapes)
    pixels = SIZE[0] * SIZE[1]
    for m in figures.measurements:
        assert m.fps == pytest.approx(1000 / m.ms) and m.megapixels == pytest.approx(m.fps * pixels / 1e6)
        assert m.ms_low <= m.ms <= m.ms_high and m.frames == 3 and m.threads == 2
        if m.network == INTEGER:
            assert m.useful_gmacs == pytest.approx(figures.macs_per_pixel * pixels * m.fps / 1e9)
            # Both shares are of the same rounds: their ratio is that of the work.
            assert m.executed_share / m.useful_share == pytest.approx(m.executed_gmacs / m.useful_gmacs)
            assert m.times_float > 0


def test_an_adaptive_style_is_compared_with_its_float_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    network = adaptive_network(3, width=4)
    folder = write_models(tmp_path / "both", network, floats_like(network), margin=28)
    figures = begin(load_model(str(folder), 8), SIZE)
    measure_processor(figures, load_model(str(folder), 8), 1, 1, engines=["onnxruntime"])
    measure_reference(figures, open_painter(load_model(str(folder), 32), "reference"), 1)
    assert [m.network for m in figures.measurements] == [INTEGER, FLOAT, FLOAT]
    assert figures.measurements[0].times_float > 0 and figures.skipped == []
    assert figures.measurements[1].useful_gmacs > 0


def test_an_inexact_engine_never_wins(monkeypatch, model):
    others = [name for name in installed_engines() if name != "onnxruntime"]
    damage(monkeypatch)
    figures = begin(model, SIZE)
    fastest = measure_processor(figures, model, 1, 1)
    assert [r.engine for r in figures.refused] == ["onnxruntime"]
    assert sorted(m.engine for m in figures.measurements if m.network == INTEGER) == sorted(others)
    assert fastest == engine_memory.remembered(model.network, 1) and fastest != "onnxruntime"
    assert (fastest is None) == (not others)


def test_what_cannot_be_compared_with_is_said(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "torch", None)
    figures = begin(model, SIZE)
    measure_processor(figures, model, 1, 1, open_torch=open_torch)
    measure_processor(figures, model, 2, 1, open_torch=open_torch)
    text = "\n".join(figures.skipped)
    assert len(figures.skipped) == 2 and "style integers has 8" in text and "needs torch" in text
    assert all(m.times_float is None and m.times_johnson is None for m in figures.measurements)


def test_what_would_need_more_memory_than_there_is_is_left_out(monkeypatch, model):
    pytest.importorskip("torch", reason="Johnson's network needs torch")
    monkeypatch.setattr(benching, "available_memory", lambda: SIZE[0] * SIZE[1] * 100)
    figures = begin(model, SIZE)
    measure_processor(figures, model, 1, 1, engines=[], open_torch=open_torch)
    assert any("Johnson's float network: needs 0.0 GB of memory" in line for line in figures.skipped)
    assert JOHNSON not in {m.network for m in figures.measurements}


def test_the_file_holds_every_figure_that_its_description_names(measured):
    figures, _, _ = measured
    data = json.loads(figures.to_json())
    described = set(re.findall(r"``(\w+)``", benching.__doc__))
    assert (data["format"], data["version"], data["size"]) == ("pleinair-bench", 1, list(SIZE))
    assert set(data) <= described and set(data["machine"]) <= described
    for kind in (benching.Measurement, Refusal, benching.Large, Scaling, Painting, Film):
        assert {field.name for field in dataclasses.fields(kind)} <= described, kind
    assert len(data["measurements"]) == len(figures.measurements)
    assert data["fastest"] == {"2": figures.fastest[2]}


def test_a_comparison_reads_the_file(tmp_path, measured):
    read_bench = pytest.importorskip("pleinair.measuring.comparison_files").read_bench
    figures, _, _ = measured
    figures.write(tmp_path / "bench.json")
    rows = read_bench(tmp_path / "bench.json", {})
    assert [row.fps for row in rows] == pytest.approx([m.fps for m in figures.measurements])


# -- the profile


def event(name, ts, dur, operator="Op", cat="Node"):
    return {"cat": cat, "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": operator}}


def run_event(ts, dur):
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur}


def test_a_profile_adds_up_the_last_runs():
    events = [
        run_event(0, 9000),
        event("a", 1, 5000),
        event("b", 5500, 3000, "Other"),
        run_event(10_000, 900),
        event("a", 10_001, 500),
        event("b", 10_502, 200, "Other"),
        run_event(20_000, 900),
        event("a", 20_001, 700),
        event("b", 20_702, 100, "Other"),
        event("c", 20_803, 300),
        {"cat": "Node", "name": "a_fence_before", "ts": 20_001, "dur": 7, "args": {"op_name": "Op"}},
    ]
    found = read_profile(events[::-1], 2)
    assert {c.name: c.ms for c in found.nodes} == pytest.approx({"a": 0.6, "c": 0.15, "b": 0.15})
    assert [c.name for c in found.nodes] == ["a", "c", "b"] and found.ms == pytest.approx(0.9)
    assert [(c.operator, c.nodes) for c in found.operators] == [("Op", 2), ("Other", 1)]
    assert found.operators[0].share == pytest.approx(0.75 / 0.9)


def test_a_graph_within_a_node_counts_once():
    events = [
        run_event(0, 1000),
        event("scan", 10, 800, "Scan"),
        event("inner", 20, 300),
        event("inner", 400, 300),
        event("after", 820, 100),
    ]
    found = read_profile(events, 1)
    assert {c.name: c.ms for c in found.nodes} == pytest.approx({"scan": 0.2, "inner": 0.6, "after": 0.1})


@pytest.mark.parametrize("bits", (8, 16))
def test_a_real_profile_knows_every_convolution(bits, model, wide):
    chosen = model if bits == 8 else wide
    found = profile(chosen, SIZE, 1, 3)
    assert found.runs == 3 and sum(c.share for c in found.nodes) == pytest.approx(1)
    assert sum(c.ms for c in found.operators) == pytest.approx(found.ms) and all(c.ms >= 0 for c in found.nodes)
    if bits == 8:
        names = " ".join(c.name for c in found.nodes)
        assert all(c.name in names for c in chosen.network.convolutions())


# -- memory


def test_memory_is_the_painters_alone(model):
    held = np.ones(700_000_000, np.uint8)
    found = paint_alone(model, "onnxruntime", 1, SIZE)
    assert peak_bytes() > held.nbytes > found.peak_bytes >= found.opened_bytes > 10_000_000
    with opened(model) as painter:
        painting = painter.paint(noise(*SIZE))
    assert found.sha256 == hashlib.sha256(painting.tobytes()).hexdigest()


def test_other_tiles_give_the_same_pixels_and_the_frame_shows_in_the_peak(model):
    tiled, whole = (paint_alone(model, "onnxruntime", 1, (900, 800), pixels) for pixels in (20_000, UNTILED))
    assert tiled.sha256 == whole.sha256 and whole.peak_bytes > tiled.peak_bytes > tiled.opened_bytes


def test_what_the_fresh_process_refuses_is_one_sentence(model):
    with pytest.raises(EngineError, match="^engine 'abacus': choose from"):
        paint_alone(model, "abacus", 1, SIZE)


def test_a_fresh_process_that_dies_is_told(model, monkeypatch):
    monkeypatch.setattr(footprint, "_ROOT", "/nowhere")
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(footprint.sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="the process that measures memory died: status 1"):
        paint_alone(model, "onnxruntime", 1, SIZE)


def test_a_kernel_without_peaks_is_told(tmp_path):
    (tmp_path / "status").write_text("Name: x\nVmHWM:\t   123 kB\n")
    assert peak_bytes(tmp_path / "status") == 123 * 1024
    with pytest.raises(EngineError, match="does not tell the peak of memory"):
        peak_bytes(tmp_path / "nothing")


# -- scaling


def test_scaling_is_plotted(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    import cv2

    paintings = tuple(Painting(m, 100 * m, 190 * m) for m in (0.25, 1.0, 4.0, 12.0))
    films = tuple(Film(n, 0.01 * n, 200_000_000) for n in (100, 1000, 5000))
    scaling = Scaling("onnxruntime", 2, (160, 120), paintings, films)
    plot(scaling, "a title", tmp_path / "plot.png")
    drawn = cv2.imread(str(tmp_path / "plot.png"))
    assert drawn.shape[1] == 1800 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
    plot(scaling, "a title", tmp_path / "plot.svg")
    assert "a title" in (tmp_path / "plot.svg").read_text() or "<svg" in (tmp_path / "plot.svg").read_text()
