"""Backends: every text form there and back, nonsense refused in one line, painters opened by text and by value."""

from __future__ import annotations

import random
import string
from pathlib import Path

import numpy as np
import pytest

from pleinair.backends import Backend, open_painter
from pleinair.errors import OptionError
from pleinair.fpga.overlay import Overlay
from pleinair.models import load_model
from tests.models import write_model
from tests.networks import random_network

#: Each text that a roll on somebody's disk may hold, and what it means.
TEXTS = {
    "cpu": Backend(),
    "cpu:onnxruntime": Backend("cpu", engine="onnxruntime"),
    "cpu:openvino": Backend("cpu", engine="openvino"),
    "cpu:litert": Backend("cpu", engine="litert"),
    "reference": Backend("reference"),
    "fpga:/home/a b/deploy": Backend("fpga", overlay=Overlay(Path("/home/a b/deploy"))),
    "fpga+cpu:/d": Backend("fpga", overlay=Overlay(Path("/d")), fallback="cpu"),
    "fpga+reference:/d:e+f": Backend("fpga", overlay=Overlay(Path("/d:e+f")), fallback="reference"),
    "fpga:emulated:/d": Backend("fpga", overlay=Overlay(Path("/d"), "emulated")),
    "fpga+cpu:emulated:/d": Backend("fpga", overlay=Overlay(Path("/d"), "emulated"), fallback="cpu"),
    "fpga+reference:simulated:/b": Backend("fpga", overlay=Overlay(Path("/b"), "simulated"), fallback="reference"),
    "fpga:./emulated:x": Backend("fpga", overlay=Overlay(Path("emulated:x"))),
    "fpga:emulated:emulated:x": Backend("fpga", overlay=Overlay(Path("emulated:x"), "emulated")),
}


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_means_one_backend_and_each_backend_one_text(text):
    assert Backend.parse(text) == TEXTS[text]
    assert str(TEXTS[text]) == text


def test_auto_is_what_a_processor_paints_with_unless_told_otherwise():
    assert Backend.parse("cpu:auto") == Backend.parse("cpu") and str(Backend.parse("cpu:auto")) == "cpu"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "backend '': choose from cpu, reference, fpga"),
        ("gpu", "backend 'gpu': choose from"),
        ("CPU", "backend 'CPU': choose from"),
        ("cpu\n", r"backend 'cpu\\n': choose from"),
        ("cpu:", "engine '': choose from auto, onnxruntime"),
        ("cpu:tensorflow", "engine 'tensorflow': choose from"),
        ("cpu+reference", "backend 'cpu.reference': choose from"),
        ("cpu+cpu:onnxruntime", "choose from"),
        ("reference:onnxruntime", "backend 'reference:onnxruntime': choose from"),
        ("fpga", "backend fpga: needs an overlay"),
        ("fpga+cpu", "backend 'fpga.cpu': choose from"),
        ("fpga:", "overlay '': name a folder"),
        ("fpga:emulated:", "overlay 'emulated:': name a folder"),
        ("fpga:/d\0", "name a folder"),
        ("fpga+:/d", "fallback '': choose from cpu, reference"),
        ("fpga+fpga:/d", "fallback 'fpga': choose from cpu, reference"),
    ],
)
def test_other_texts_are_refused_in_one_line(text, said):
    with pytest.raises(OptionError, match=said) as refused:
        Backend.parse(text)
    assert str(refused.value).isprintable()


def test_random_texts_are_refused_or_come_back_as_they_were():
    rng = random.Random(20)
    parts = ["cpu", "reference", "fpga", "emulated", "simulated", "openvino", "litert", ":", "+", "/", ".", "\0", "\n"]
    for _ in range(20_000):
        words = [rng.choice([*parts, rng.choice(string.printable)]) for _ in range(rng.randrange(6))]
        text = "".join(words)
        try:
            backend = Backend.parse(text)
        except OptionError as error:
            assert str(error).isprintable() and len(str(error)) < 200, text
        else:
            assert Backend.parse(str(backend)) == backend, text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "tpu"}, "backend 'tpu'"),
        ({"kind": "reference", "engine": "litert"}, "engine litert: needs the backend cpu, not reference"),
        ({"kind": "fpga"}, "backend fpga: needs an overlay"),
        ({"overlay": Overlay(Path("/d"))}, "overlay /d: needs the backend fpga, not cpu"),
        ({"fallback": "reference"}, "fallback reference: needs the backend fpga, not cpu"),
        ({"kind": "fpga", "overlay": Overlay(Path("/d")), "fallback": "fpga"}, "fallback 'fpga': choose from"),
    ],
)
def test_what_cannot_paint_is_no_backend(fields, said):
    with pytest.raises(OptionError, match=said):
        Backend(**fields)


def test_an_absolute_backend_means_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = Backend.parse("fpga+cpu:emulated:deploy").absolute()
    assert str(backend) == f"fpga+cpu:emulated:{tmp_path}/deploy"
    assert Backend.parse("cpu:litert").absolute() == Backend.parse("cpu:litert")


def test_painters_open_by_text_and_by_value(tmp_path):
    network = random_network(3, 4, 1)
    model = load_model(str(write_model(tmp_path / "model", network, 16)), 8)
    frame = np.random.default_rng(0).integers(0, 256, (40, 33, 3), dtype=np.uint8)
    with open_painter(model, "reference") as painter:
        wanted = painter.paint(frame)
    for backend in ("cpu", "cpu:onnxruntime", Backend("cpu"), Backend("reference")):
        with open_painter(model, backend, 1) as painter:
            assert painter.name in repr(painter) and "8-bit" in repr(painter)
            np.testing.assert_array_equal(painter.paint(frame), wanted)
        assert "closed" in repr(painter)
        with pytest.raises(RuntimeError, match="closed"):
            painter.paint(frame)
