"""`pleinair train`, shape by shape: what each trains by default, what it starts from, what it refuses; in miniature."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from pleinair.backends import open_painter
from pleinair.cli.main import main
from pleinair.errors import OptionError, TrainingError
from pleinair.images import read_image
from pleinair.models import CARD, FILES, load_model, read_card, read_file
from pleinair.network.integer import dump
from pleinair.network.light import identity
from pleinair.network.qonnx import read_qonnx
from pleinair.painting import meter
from pleinair.painting.grain import Grain
from pleinair.painting.tiles import Window, add_margin
from pleinair_training import trainer
from pleinair_training.architecture import Architecture
from pleinair_training.export import brevitas_painting, export_run
from pleinair_training.losses import StabilityLoss
from pleinair_training.parent import parse_parent
from pleinair_training.stages import train_stages
from pleinair_training.trainer import (
    Run,
    Settings,
    load_checkpoint,
    load_float,
    load_quantised,
    load_start,
    save_checkpoint,
)
from pleinair_training.transform_net import TransformNet
from tests.models import card_of

ADAPTIVE = Architecture(4, 1, 3, 4, 2)


@pytest.fixture
def given(workshop: Path) -> dict:
    """What a run is told, less all that has a default by shape."""
    return {
        "style": str(workshop / "painting.png"),
        "content": str(workshop / "photos"),
        "loss_network": f"vgg16:{workshop / 'vgg.npz'}",
        "width": 4,
        "blocks": 1,
        "style_size": 96,
        "hold_out": 1,
    }


def begun(out: Path, given: dict, monkeypatch, **options) -> Settings:
    """The settings that a run is begun with; nothing is trained."""
    with monkeypatch.context() as patch:
        for stage in ("train_parent", "train_plain", "train_quantised"):
            patch.setattr(Run, stage, lambda *_: None)
        train_stages(out, **{**given, **options})
    return Settings(**json.loads((out / "run.json").read_text())["settings"])


@pytest.fixture(scope="module")
def made(workshop, tmp_path_factory) -> Path:
    """A run of the second generation of three steps, and in ``model`` beside it what 4 and 8 bits make of it."""
    folder = tmp_path_factory.mktemp("second")
    torch.set_num_threads(2)
    train_stages(
        folder / "run",
        style=str(workshop / "painting.png"),
        content=str(workshop / "photos"),
        loss_network=f"vgg16:{workshop / 'vgg.npz'}",
        width=4,
        blocks=1,
        crop=96,
        style_size=96,
        hold_out=1,
        parent_steps=3,
    )
    export_run(
        folder / "run",
        folder / "model",
        painting="",
        painting_licence="public domain",
        licence="CC0-1.0",
        margin=None,
        grain=2,
        bits=(8, 4),
    )
    return folder


# -- defaults


def test_a_new_run_is_of_the_second_generation(tmp_path, given, monkeypatch):
    s = begun(tmp_path / "run", given, monkeypatch)
    assert s.architecture == ADAPTIVE and (s.crop, s.batch, s.parent_steps, s.parent_rate) == (320, 1, 3000, 1.5e-3)
    assert (s.stability_weight, s.grid_weight, s.light_weight, s.variation_weight) == (1e6, 2e3, 4e4, 2e5)
    assert (s.style_weight, s.plain_steps, s.quantised_steps) == (1.5, 0, 0)


def test_a_run_from_another_parent_is_shorter(tmp_path, given, monkeypatch, made):
    assert begun(tmp_path / "warm", given, monkeypatch, start=made / "run").parent_steps == 800
    assert begun(tmp_path / "told", given, monkeypatch, start=made / "run", parent_steps=9).parent_steps == 9


def test_johnson_s_shape_keeps_its_defaults(tmp_path, given, monkeypatch):
    s = begun(tmp_path / "run", given, monkeypatch, shape="johnson")
    assert s.architecture == Architecture(4, 1) and (s.crop, s.batch, s.stability_weight) == (224, 3, 4e6)
    assert (s.parent_steps, s.plain_steps, s.quantised_steps) == (1500, 1500, 300)
    assert (s.parent_rate, s.grid_weight, s.light_weight, s.style_weight) == (2e-3, 0, 0, 1.5)


def test_an_old_run_goes_on_as_it_is(tmp_path, given, monkeypatch):
    """Its run.json has no word of shapes, its checkpoints neither; the same command continues it."""
    begun(tmp_path / "run", given, monkeypatch, shape="johnson", crop=64, parent_steps=1, plain_steps=1)
    record = json.loads((tmp_path / "run/run.json").read_text())
    for name in ("entry", "exit", "grid_weight", "light_weight"):
        del record["settings"][name]
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    network = TransformNet(Architecture(4, 1))
    old = {"stage": "parent", "steps": 1, "architecture": {"width": 4, "blocks": 1, "kernel": 9}, "losses": {}}
    save_checkpoint(tmp_path / "run/parent.pt", {**old, "network": network.state_dict()})
    last = train_stages(tmp_path / "run", bits=32, crop=64, parent_steps=1, plain_steps=1, **given)
    assert last.name == "plain.pt" and load_float(last).architecture == Architecture(4, 1)
    # What is written of Johnson's shape now reads as it did.
    assert load_checkpoint(last)["architecture"] == old["architecture"]


# -- a run


def test_a_run_has_one_stage_and_logs_every_loss(made):
    assert sorted(p.name for p in (made / "run").glob("*.pt")) == ["parent.pt"]
    state = load_checkpoint(made / "run/parent.pt")
    assert state["architecture"] == asdict(ADAPTIVE) and not load_float(made / "run/parent.pt").frozen
    assert all(state["losses"][name] > 0 for name in ("content", "style", "stability", "grid", "light"))


def test_a_killed_run_ends_as_if_it_had_not_been(made, tmp_path, given, monkeypatch):
    class Stop(Exception):
        pass

    def stop(progress) -> None:
        assert (progress.stage, progress.steps) == ("parent", 3)
        if progress.step == 2:
            raise Stop

    monkeypatch.setattr(Run.__init__, "__defaults__", ("cpu", 0.0, False))  # a checkpoint after every step
    with pytest.raises(Stop):
        train_stages(tmp_path / "cut", crop=96, parent_steps=3, report=stop, **given)
    assert (tmp_path / "cut/progress.pt").is_file()
    train_stages(tmp_path / "cut", crop=96, parent_steps=3, **given)
    whole, cut = (load_checkpoint(f / "parent.pt")["network"] for f in (made / "run", tmp_path / "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert (made / "run/losses.csv").read_bytes() == (tmp_path / "cut/losses.csv").read_bytes()


@torch.no_grad()
def test_previews_show_each_photo_in_its_own_statistics(made, monkeypatch):
    """Against the norms written out anew: mean and variance over the photo, without what is reflected around it."""
    settings = Settings(**json.loads((made / "run/run.json").read_text())["settings"])
    run = Run(made / "run", settings)
    network = load_float(made / "run/parent.pt")
    shown = run.preview(network, made / "preview.png")
    photo = read_image(run.photos.files[0])
    height, width = 384, 512
    seen = []

    def norm(self, x, border=(0, 0)):
        first, last = border
        seen.append(border)
        inner = x[:, :, first : x.shape[2] - last, first : x.shape[3] - last]
        mean, deviation = (
            inner.mean((2, 3), keepdim=True),
            (inner.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt(),
        )
        return (x - mean) / deviation * self.weight[:, None, None] + self.bias[:, None, None]

    monkeypatch.setattr("pleinair_training.transform_net.Norm.forward", norm)
    again = run.preview(network, made / "again.png")
    assert set(seen) == {(6, 6), (12, 12)}  # 24 pixels at a quarter and at half of the resolution
    assert photo.shape[0] * width == photo.shape[1] * height and shown.shape == (2 * height, 2 * width, 3)
    assert np.abs(shown.astype(int) - again).max() <= 1 and network.training


# -- 4 bits


@pytest.fixture(scope="module")
def narrow(made, workshop, tmp_path_factory) -> Path:
    """The run again, with a quantised stage of 4 bits, killed in its second step of three and gone on with."""

    class Stop(Exception):
        pass

    def stop(progress) -> None:
        assert (progress.stage, progress.steps) == ("4bit", 3)
        if progress.step == 2:
            raise Stop

    folder = tmp_path_factory.mktemp("narrow")
    torch.set_num_threads(2)
    options = quantised(workshop, bits=4, quantised_steps=3)
    for name in ("whole", "cut"):
        shutil.copytree(made / "run", folder / name)
    train_stages(folder / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run.__init__, "__defaults__", ("cpu", 0.0, False))  # a checkpoint after every step
        with pytest.raises(Stop):
            train_stages(folder / "cut", report=stop, **options)
    assert (folder / "cut/progress.pt").is_file()
    assert train_stages(folder / "cut", **options) == folder / "cut/4bit.pt"
    return folder


def quantised(workshop: Path, **more) -> dict:
    """What the run of :func:`made` was told, and more."""
    return {
        "style": str(workshop / "painting.png"),
        "content": str(workshop / "photos"),
        "loss_network": f"vgg16:{workshop / 'vgg.npz'}",
        "width": 4,
        "blocks": 1,
        "crop": 96,
        "style_size": 96,
        "hold_out": 1,
        "parent_steps": 3,
        **more,
    }


def test_4_bits_add_a_stage_to_a_finished_run(narrow, made):
    state = load_checkpoint(narrow / "whole/4bit.pt")
    assert (state["stage"], state["steps"], state["architecture"]) == ("4bit", 3, asdict(ADAPTIVE))
    assert all(state["losses"][name] > 0 for name in ("content", "style", "stability", "grid", "light", "distillation"))
    assert (state["settings"]["distillation_weight"], state["settings"]["quantised_rate"]) == (4e7, 6e-4)
    assert (narrow / "whole/parent.pt").read_bytes() == (made / "run/parent.pt").read_bytes()


@torch.no_grad()
def test_a_quantised_stage_asks_for_rest(made):
    """Stability is measured on the same frame with a level of noise, and the parent's on one that has moved, too."""
    run = Run(made / "run", Settings(**json.loads((made / "run/run.json").read_text())["settings"]))
    network, pixels = load_float(made / "run/parent.pt"), torch.rand(1, 3, 96, 96) * 255
    painting = run.painted(network, pixels)
    for stage, loss, weight in (
        ("4bit", StabilityLoss(noise=1.0, gain=0.01, shift=0), 1e8),
        ("parent", StabilityLoss(), 1e6),
    ):
        wanted = loss(lambda photos: run.painted(network, photos), pixels, painting, (1 << 32) + 5)
        torch.testing.assert_close(run.losses(network, pixels, stage, 5)["stability"], wanted)
        assert run.weights_in(stage)["stability"] == weight and run.weights_in(stage)["light"] == 4e4


def test_a_killed_quantised_stage_ends_as_if_it_had_not_been(narrow):
    whole, cut = (load_checkpoint(narrow / name / "4bit.pt")["network"] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[key], cut[key]) for key in whole)
    assert (narrow / "whole/losses.csv").read_bytes() == (narrow / "cut/losses.csv").read_bytes()
    networks = [load_quantised(narrow / name / "4bit.pt", 4)[0].to_integers() for name in ("whole", "cut")]
    assert dump(networks[0]) == dump(networks[1])


def test_8_and_16_bits_are_rounded_unless_they_are_asked_for(made, workshop, monkeypatch):
    stages = []
    monkeypatch.setattr(
        Run, "train_quantised", lambda run, bits, _: stages.append((bits, run.settings.quantised_steps))
    )
    for bits in (32, 16, 8):
        assert train_stages(made / "run", **quantised(workshop, bits=bits)).name == "parent.pt"
    assert train_stages(made / "run", **quantised(workshop, bits=4, quantised_steps=0)).name == "parent.pt"
    assert stages == []
    assert train_stages(made / "run", **quantised(workshop, bits=8, quantised_steps=1)).name == "8bit.pt"
    assert train_stages(made / "run", **quantised(workshop, bits=4)).name == "4bit.pt"
    assert stages == [(8, 1), (4, 500)]


def test_export_takes_the_stage_s_network_and_rounds_the_others(narrow, made, tmp_path):
    told = {"painting": "", "painting_licence": "", "licence": "CC0-1.0", "margin": None, "grain": 2}
    export_run(narrow / "whole", tmp_path / "model", bits=(8, 4), **told)
    name = FILES["network"]
    eight, rounded = (folder / name.format(bits=8) for folder in (tmp_path / "model", made / "model"))
    assert eight.read_bytes() == rounded.read_bytes()
    network, own = load_model(str(tmp_path / "model"), 4).network, load_quantised(narrow / "whole/4bit.pt", 4)[0]
    assert identity(network) == identity(own.to_integers())  # weights and norms; the light is the photos' average
    assert identity(network) != identity(load_model(str(made / "model"), 4).network)
    card = card_of(tmp_path / "model")["networks"]
    assert (card["4"]["steps"], card["8"]["steps"]) == (3, 3) and card["4"]["training_losses"]["distillation"] > 0
    for picture in (np.zeros((24, 40, 3), np.uint8), np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)):
        padded = add_margin(picture, 24, 4, adaptive=True)
        wanted = meter.paint(network, padded, Window(24, 24, 48, 64))
        assert (brevitas_painting(own, padded, 24)[24:48, 24:64] == wanted).all()


def test_a_run_and_a_model_give_the_same_float_network(made, tmp_path, capsys):
    """That of the parent's file, painted within a level of the parent; a model that is there already gets it added."""
    told = {"painting": "", "painting_licence": "", "licence": "CC0-1.0", "margin": 28, "grain": 2}
    export_run(made / "run", tmp_path / "exported", bits=(8,), with_float=True, **told)
    export_run(made / "run", tmp_path / "added", bits=(8,), **told)
    before = card_of(tmp_path / "added")
    assert main(["export", str(tmp_path / "added"), "--float"]) == 0
    assert "32 bits" in capsys.readouterr().out
    file = FILES["network"].format(bits=32)
    assert (tmp_path / "exported" / file).read_bytes() == (tmp_path / "added" / file).read_bytes()
    model = load_model(str(tmp_path / "added"), 32)
    assert model.adaptive and model.card.networks[32].adaptive
    after = card_of(tmp_path / "added")
    assert after["networks"].pop("32")["macs_per_pixel"] == after["networks"]["8"]["macs_per_pixel"]
    assert after == before
    frame = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    with torch.no_grad():
        parent = parse_parent((tmp_path / "added/parent.npz").read_bytes(), Path("given"), ADAPTIVE)
        x = torch.from_numpy(add_margin(Grain(2)(frame), 28, 4, adaptive=True)).permute(2, 0, 1)[None] / 256
        wanted = (parent(x, 28)[0, :, 28:52, 28:68] * 256).permute(1, 2, 0).numpy()
    with open_painter(model, "cpu", 1) as painter:
        assert np.abs(painter.paint(frame) - wanted).max() < 0.51


def test_what_a_float_network_cannot_be_added_to_is_refused(made, tmp_path, capsys):
    def refused(*arguments: str) -> str:
        assert main(["export", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    model = str(tmp_path / "model")
    shutil.copytree(made / "model", model)
    assert "a model's folder, not a run; with --float" in refused(model)
    assert "--bits goes with a run" in refused(model, "--float", "--bits", "8")
    assert "--grain goes with a run" in refused(model, "--float", "--grain", "3")
    assert "give --out models/NAME" in refused(str(made / "run"))
    (tmp_path / "model/parent.npz").write_bytes(b"nothing")
    assert "parent.npz: damaged or exchanged" in refused(model, "--float")
    (tmp_path / "model" / CARD).write_text(
        json.dumps({name: value for name, value in card_of(made / "model").items() if name != "parent"})
    )
    assert "style model: has no float parent" in refused(model, "--float")


def test_a_parent_is_taken_as_it_is(made, tmp_path, given):
    train_stages(tmp_path / "run", crop=96, start=made / "model", parent_steps=0, **given)
    wanted, found = (load_float(f / "run/parent.pt").state_dict() for f in (made, tmp_path))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)  # a model's weights are in half precision
    assert load_checkpoint(tmp_path / "run/parent.pt")["steps"] == 0


def test_a_run_starts_from_a_quantised_stage(narrow):
    found = load_start(narrow / "whole/4bit.pt", ADAPTIVE)
    assert not found.frozen and found.architecture == ADAPTIVE


# -- from


@pytest.mark.parametrize("start", ["run", "run/parent.pt", "model"])
def test_a_run_starts_from_a_run_a_checkpoint_or_a_model(made, start):
    wanted = load_float(made / "run/parent.pt").state_dict()
    found = load_start(made / start, ADAPTIVE).state_dict()
    for name, tensor in wanted.items():
        # A model's parent has its weights in half precision.
        torch.testing.assert_close(found[name], tensor, rtol=1e-3 if start == "model" else 0, atol=1e-6)


@pytest.mark.parametrize("start", ["run", "run/parent.pt", "model"])
def test_a_start_of_another_shape_is_refused(made, start):
    with pytest.raises(TrainingError, match=r"a network of .*'entry': 4.*, not {'width': 4, 'blocks': 1, 'kernel': 9}"):
        load_start(made / start, Architecture(4, 1))


def test_a_model_whose_parent_is_damaged_is_refused(made, tmp_path):
    shutil.copytree(made / "model", tmp_path / "model")
    (tmp_path / "model/parent.npz").write_bytes(b"nothing")
    with pytest.raises(Exception, match=r"parent\.npz: damaged or exchanged"):
        load_start(tmp_path / "model", ADAPTIVE)
    card = card_of(made / "model")
    card["architecture"] = {"depth": 3}
    (tmp_path / "model" / CARD).write_text(json.dumps(card))
    with pytest.raises(Exception, match="architecture {'depth': 3}: unknown"):
        load_start(tmp_path / "model", ADAPTIVE)


# -- what comes after


def test_export_rounds_to_the_bits_it_is_told(made):
    card = read_card(made / "model")
    assert sorted(card.networks) == [4, 8] and card.architecture == asdict(ADAPTIVE)
    for bits in (4, 8):
        network = load_model(str(made / "model"), bits).network
        assert network.bits == bits and network.adaptive
        qonnx = read_file(made / "model", card, bits, "qonnx")
        assert dump(read_qonnx(qonnx, "exported")) == dump(network)


def test_the_command_trains_and_says_what_is_next(tmp_path, workshop, capsys):
    run, model = str(tmp_path / "run"), str(tmp_path / "model")
    train = [
        "train",
        "--style",
        workshop / "painting.png",
        "--content",
        workshop / "photos",
        "--hold-out",
        "1",
        "--loss-network",
        f"vgg16:{workshop / 'vgg.npz'}",
        "--out",
        run,
        *["--width", "4", "--blocks", "1", "--crop", "96", "--style-size", "96", "--parent-steps", "1", "--bits", "4"],
        *["--quantised-steps", "1"],
    ]
    assert main([str(word) for word in train]) == 0
    assert (Path(run) / "4bit.pt").is_file()
    assert f"next: pleinair export {run} --bits 4 --out models/NAME" in " ".join(capsys.readouterr().err.split())
    assert main(["export", run, "--bits", "4", "--bits", "8", "--out", model]) == 0
    assert sorted(card_of(Path(model))["networks"]) == ["4", "8"]
    assert main(["export", run, "--bits", "5", "--out", model]) == 2
    assert "--bits 5: choose from" in capsys.readouterr().err
    assert main([*map(str, train), "--plain-steps", "3"]) == 2
    assert "--plain-steps is for the shape johnson" in capsys.readouterr().err


def test_bits_are_not_for_the_export_of_quantised_stages(tmp_path, given, monkeypatch):
    begun(tmp_path / "run", given, monkeypatch, shape="johnson")
    with pytest.raises(OptionError, match="have the bits that they were trained with"):
        export_run(
            tmp_path / "run",
            tmp_path / "model",
            painting="",
            painting_licence="",
            licence="",
            margin=None,
            grain=2,
            bits=(8,),
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"crop": 64}, "at least 80"),
        ({"shape": "square"}, "choose from adaptive, johnson"),
        ({"crop": 98}, "multiple of 4"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, given, change, says):
    with pytest.raises(OptionError, match=says):
        train_stages(tmp_path / "run", **{**given, **change})
    assert not (tmp_path / "run").exists()


def test_shapes_and_settings_know_the_same_names():
    """A default of a setting that does not exist would be an error at the first run only."""
    from pleinair_training.stages import DEFAULTS

    for defaults in DEFAULTS.values():
        assert set(defaults) <= set(trainer.Settings.__dataclass_fields__)
