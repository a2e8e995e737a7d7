"""Scene tuning: a style fitted to the frames of one scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pleinair.backends import open_painter
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.errors import ModelError, OptionError
from pleinair.models import load_model, read_card, read_parent
from pleinair_training.architecture import Architecture
from pleinair_training.export import export_run
from pleinair_training.parent import dump_parent, parse_parent
from pleinair_training.trainer import Run
from pleinair_training.transform_net import TransformNet
from pleinair_training.tuning import Scene, tune_style


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [frame.image for frame in SyntheticCamera((112, 80), 3, every=1800, seed=5).frames()]


@pytest.fixture
def model(tmp_path, settings):
    run = Run(tmp_path / "run", settings)
    run.train_parent()
    run.train_plain()
    run.train_quantised(8)
    export_run(
        tmp_path / "run",
        tmp_path / "model",
        painting="A swirl",
        painting_licence="CC0-1.0",
        licence="CC0-1.0",
        margin=None,
        grain=2,
    )
    return tmp_path / "model"


def test_a_parent_survives_its_file(tmp_path):
    torch.manual_seed(0)
    parent = TransformNet(Architecture(4, 1, 9))
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    again = parse_parent(dump_parent(parent), tmp_path / "parent.npz", parent.architecture)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert 0 < float((parent(x) - again(x)).abs().max()) < 0.02  # float16
    with pytest.raises(ModelError, match=r"parent\.npz: enter\.weight is of shape"):
        parse_parent(dump_parent(parent), tmp_path / "parent.npz", Architecture(8, 1, 9))
    for data in (b"", b"PK\x03\x04", dump_parent(parent)[:-40]):
        with pytest.raises(ModelError, match=r"parent\.npz: damaged"):
            parse_parent(data, tmp_path / "parent.npz", parent.architecture)


def test_a_tuned_network_paints_the_scene_as_the_parent_does(tmp_path, model, frames):
    card = read_card(model)
    parent = parse_parent(read_parent(model, card), model, Architecture(4, 1, 9))
    said: list[tuple[str, int]] = []
    distances = tune_style(
        str(model), frames, 8, 20, tmp_path / "tuned", lambda stage, step, steps, _: said.append((stage, step))
    )
    assert said == [("plain", i + 1) for i in range(20)] + [("quantised", i + 1) for i in range(10)]
    scene = Scene(frames, parent, card["grain"], 40)
    off = {}
    for style in (model, tmp_path / "tuned"):
        painter = open_painter(load_model(str(style), 8), "cpu", 1)
        wanted = [p[0].permute(1, 2, 0).numpy() * 256 for p in scene.paintings]
        errors = [(painter.paint(f).astype(float) - w) ** 2 for f, w in zip(frames, wanted, strict=True)]
        off[style.name] = float(np.mean(errors)) ** 0.5
    # What it says of itself is what its painter does, and the scene is nearer than before.
    assert off["tuned"] == pytest.approx(distances["8bit"], rel=0.1)
    assert off["tuned"] < 0.7 * off["model"]
    tuned = read_card(tmp_path / "tuned")
    assert tuned["painting"] == card["painting"] and tuned["architecture"] == card["architecture"]
    assert tuned["tuned"] == {"frames": 3, "size": "112x80", "steps": 20}


def test_what_cannot_be_tuned_is_refused(tmp_path, model, frames):
    with pytest.raises(OptionError, match="of one size"):
        tune_style(str(model), [frames[0], frames[1][:70]], 8, 1, tmp_path / "tuned")
    with pytest.raises(OptionError, match="64 pixels or more"):
        tune_style(str(model), [frames[0][:60]], 8, 1, tmp_path / "tuned")
    card = json.loads((model / "card.json").read_text())
    del card["parent"]
    (model / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="has no parent to tune from"):
        tune_style(str(model), frames, 8, 1, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()
