"""`pleinair train --style FILE` alone, in miniature: what it chooses, what it leaves; the small loss network."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import torch

from pleinair.cli.main import main
from pleinair.errors import TrainingError
from pleinair.images import read_image
from pleinair.models import find_style, read_card, user_styles
from pleinair_training import evening, loss_network, stages
from pleinair_training.loss_network import LossNetwork, reduce_network
from tests.training.conftest import CHANNELS, random_vgg16


@pytest.fixture
def evening_place(workshop, tmp_path, monkeypatch):
    """A working folder of a user without styles, where an evening has two steps, two valleys and a short film."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PLEINAIR_MODELS", raising=False)
    monkeypatch.setattr(stages, "WARM_STEPS", 2)
    monkeypatch.setattr(evening, "_VALLEYS", 2)
    monkeypatch.setattr(evening, "_SIZE", (160, 112))
    monkeypatch.setattr("pleinair.cli.training._SAMPLE_SIZE", (64, 48))
    monkeypatch.setattr("pleinair.cli.training._SAMPLE_EVERY", 6 * 3600.0)
    (tmp_path / "My Dog (2).png").write_bytes((workshop / "painting.png").read_bytes())
    return tmp_path


def test_a_painting_alone_becomes_a_style_and_a_film(evening_place, workshop, monkeypatch, capsys):
    # The small file is made of the published one, which is never fetched here.
    monkeypatch.setattr(evening, "fetch_published", lambda kind: workshop / "vgg.npz")
    command = ["train", "--style", "My Dog (2).png", "--crop", "80", "--hold-out", "1", "--style-size", "96"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    run = evening_place / "runs" / "my-dog-2"
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert settings["parent_steps"] == 2 and settings["content"] == "runs/my-dog-2/photos"
    assert settings["loss_network"] == f"vgg16:{evening_place / 'cache/pleinair/vgg16-half.npz'}"
    assert len(list((run / "photos").iterdir())) == 8
    assert find_style("my-dog-2") == user_styles() / "my-dog-2"
    card = read_card(find_style("my-dog-2"))
    assert sorted(card.networks) == [8] and card.parent_sha256 is not None and card.painting.title == "My Dog (2)"
    with av.open(str(run / "my-dog-2.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 4 and frames[0].shape == (48, 64, 3)
    assert "index.html" in err and "my-dog-2: added to your styles" in out
    page = (run / "index.html").read_text()
    assert "parent: step 2 of 2; it is one of your styles now: my-dog-2" in page
    assert (
        page.count("data:image/jpeg") == 1 and '<a href="my-dog-2.mp4">' in page and 'http-equiv="refresh"' not in page
    )
    assert "photos: 8 of 8" in err
    # It began with the shipped parent: two steps change it little.
    from pleinair_training.trainer import load_start

    shape = load_start(find_style("starry-night"), card_shape(card))
    trained = load_start(run / "parent.pt", card_shape(card))
    moved = [float((a - b).detach().abs().max()) for a, b in zip(shape.parameters(), trained.parameters(), strict=True)]
    assert 0 < max(moved) < 0.05


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (["--parent-steps", "40"], "starry-night"),
        (["--from", "great-wave"], "great-wave"),
        (["--width", "8"], None),
        (["--content", "photos"], None),
    ],
    ids=str,
)
def test_what_it_begins_with(evening_place, monkeypatch, capsys, options, start):
    asked = {}

    def begun(run, **settings):
        asked.update(settings)
        raise TrainingError("enough")

    monkeypatch.setattr(stages, "train_stages", begun)
    monkeypatch.setattr(evening, "reduced_loss_network", lambda: "vgg16:x")
    assert main(["train", "--style", "My Dog (2).png", *options]) == 2 and "enough" in capsys.readouterr().err
    assert asked["start"] == (None if start is None else find_style(start))


def test_who_stops_it_hears_how_it_goes_on(evening_place, monkeypatch, capsys):
    def stopped(run, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train_stages", stopped)
    monkeypatch.setattr(evening, "reduced_loss_network", lambda: "vgg16:x")
    assert main(["train", "--style", "My Dog (2).png", "--content", "photos"]) == 130
    assert "the same command goes on with it" in capsys.readouterr().err


def card_shape(card):
    from pleinair_training.architecture import Architecture

    return Architecture(**card.architecture)


def test_the_time_is_told_beforehand_and_the_page_follows(tmp_path):
    from pleinair.cli.training import _Follower
    from pleinair.images import write_image
    from pleinair_training.trainer import Progress

    class Bars:
        def __init__(self):
            self.told = []

        def show(self, *_):
            pass

        def tell(self, text):
            self.told.append(text)

    bars = Bars()
    follow = _Follower(tmp_path, bars)
    (tmp_path / "previews").mkdir()
    for step in range(1, 801):
        if step == 21:
            write_image(tmp_path / "previews" / "parent-000020.png", np.zeros((20, 30, 3), np.uint8))
        follow(Progress("parent", step, 800, 1.0, 1.0, 1.5))
        assert (tmp_path / "index.html").exists() == (step > 20)
        if step in (21, 799):
            page = (tmp_path / "index.html").read_text()
            assert "parent: step 21 of 800, about 19 min more" in page and "parent, step 20" in page
            assert 'http-equiv="refresh"' in page
    assert "index.html" in bars.told.pop(0) and bars.told == ["stage parent: about 20 min more, 1.50 s a step"]
    follow.write()
    assert "<p>parent: step 800 of 800</p>" in (tmp_path / "index.html").read_text()


def test_a_name_that_is_taken_is_told_before_the_evening(evening_place, monkeypatch, capsys):
    monkeypatch.setattr(evening, "fetch_published", lambda kind: pytest.fail("too late"))
    for name, said in (("starry-night", "there is a style of that name"), ("../x", "a style's name")):
        assert main(["train", "--style", "My Dog (2).png", "--name", name]) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "--style", "My Dog (2).png", "--bits", "32"]) == 2
    assert "--no-add" in capsys.readouterr().err and not (evening_place / "runs").exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [("Water Lilies.jpeg", "water-lilies"), ("ÄÖ.png", "painting"), ("--a__b--.jpg", "a-b"), ("x" * 99, "x" * 40)],
)
def test_styles_are_called_after_their_files(file, name, tmp_path):
    assert evening.style_name(tmp_path / file) == name


def test_starter_photos_differ_and_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setattr(evening, "_VALLEYS", 2)
    monkeypatch.setattr(evening, "_SIZE", (64, 48))
    folder = evening.starter_photos(tmp_path / "a" / "photos")
    files = sorted(folder.iterdir())
    pictures = [read_image(path).astype(int) for path in files]
    assert len(files) == 8 and all(np.abs(a - b).mean() > 3 for i, a in enumerate(pictures) for b in pictures[:i])
    before = {path: path.stat().st_mtime_ns for path in files[1:]}
    data = files[0].read_bytes()
    files[0].unlink()
    evening.starter_photos(folder)
    assert files[0].read_bytes() == data and before == {path: path.stat().st_mtime_ns for path in files[1:]}


# The small loss network


def features(path, layers=("relu2_2", "relu4_3")):
    with torch.no_grad():
        pixels = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 48, 48)).astype(np.float32))
        return LossNetwork("vgg16", path, layers)(pixels)


def torchvision_file(path, seed=1):
    """A state file as torchvision publishes them: down to conv5_3, and the classifier that nobody reads."""
    rng, state, inputs, index = np.random.default_rng(seed), {}, 3, 0
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        outputs = CHANNELS.get(block, 512)
        for _ in range(count):
            weight = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3)).astype(np.float32)
            state[f"features.{index}.weight"] = torch.from_numpy(weight)
            state[f"features.{index}.bias"] = torch.zeros(outputs)
            inputs, index = outputs, index + 2
        index += 1
    torch.save(state, path)
    return path


@pytest.mark.parametrize("make", [torchvision_file, lambda path: random_vgg16(path.with_suffix(".npz"))])
def test_a_reduced_network_judges_as_the_whole_one(tmp_path, make):
    whole = make(tmp_path / "vgg16.pth")
    size = reduce_network("vgg16", whole, tmp_path / "deep" / "half.npz")
    assert size == (tmp_path / "deep" / "half.npz").stat().st_size < 15.4e6
    for name, full in features(whole).items():
        half = features(tmp_path / "deep" / "half.npz")[name]
        # Half precision rounds weights by 2 ** -11 at most.
        assert float((half - full).norm() / full.norm()) < 1e-3


def test_the_command_that_reduces(tmp_path, workshop, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["loss-network", "--reduce", f"vgg16:{workshop / 'vgg.npz'}"]) == 0
    path = tmp_path / "pleinair" / "vgg16-half.npz"
    assert f"--loss-network vgg16:{path}" in capsys.readouterr().out and path.is_file()
    assert evening.reduced_loss_network() == f"vgg16:{path}"
    assert main(["loss-network", "--reduce", f"vgg16:{workshop / 'vgg.npz'}", "--out", str(tmp_path / "x.pth")]) == 2
    assert main(["loss-network", "--reduce", f"vgg19:{workshop / 'vgg.npz'}"]) == 2
    assert main(["loss-network", "--reduce", f"vgg16:{workshop / 'painting.png'}"]) == 2
    assert all(len(line.splitlines()) == 1 for line in capsys.readouterr().err.strip().splitlines())


def test_a_network_that_half_precision_cannot_hold_is_refused(tmp_path, workshop):
    with np.load(workshop / "vgg.npz") as archive:
        arrays = dict(archive)
    arrays["conv1_1.weight"] = arrays["conv1_1.weight"].astype(np.float32) * 1e7
    np.savez(tmp_path / "large.npz", **arrays)
    with pytest.raises(TrainingError, match="half precision"):
        reduce_network("vgg16", tmp_path / "large.npz", tmp_path / "half.npz")
    assert not (tmp_path / "half.npz").exists()
    arrays = {**dict(np.load(workshop / "vgg.npz")), "mean": np.zeros(2), "deviation": np.ones(3)}
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(TrainingError, match="not a vgg16 weight file"):
        loss_network.LossNetwork("vgg16", tmp_path / "odd.npz", ("relu1_2",))
