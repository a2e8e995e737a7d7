"""What users get wrong with `pleinair train`: one line, exit status 2, nothing lost."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from pleinair.cli.main import main
from pleinair_training.photos import load_painting
from tests.training.conftest import random_vgg16

SMALL = [
    *["--shape", "johnson", "--width", "4", "--blocks", "1", "--crop", "64", "--batch", "1", "--style-size", "96"],
    *["--hold-out", "0", "--parent-steps", "1", "--plain-steps", "1", "--quantised-steps", "1"],
]


def train(workshop: Path, out: Path, *changes: object, **options: object) -> int:
    given = {
        "style": workshop / "painting.png",
        "content": workshop / "photos",
        "loss_network": f"vgg16:{workshop / 'vgg.npz'}",
        "out": out,
        **options,
    }
    arguments = [text for key, value in given.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return main(["train", *arguments, *SMALL, *map(str, changes)])


def refused(capsys, status: int, says: str) -> None:
    error = capsys.readouterr().err.strip().splitlines()
    assert status == 2 and error and says in error[-1], error
    assert error[-1].startswith("pleinair: ") and "Traceback" not in "".join(error)


def picture(path: Path, array: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, array)[1].tobytes())
    return path


def test_paintings_of_every_kind_become_rgb(workshop, tmp_path):
    wanted = load_painting(workshop / "painting.png", 96)
    bgr = cv2.imread(str(workshop / "painting.png"))
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    alpha = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
    for name, array in (("deep", bgr.astype(np.uint16) * 257), ("alpha", alpha)):
        np.testing.assert_array_equal(load_painting(picture(tmp_path / f"{name}.png", array), 96), wanted)
    alpha[..., 3] = 0  # what is transparent is white paper
    assert load_painting(picture(tmp_path / "clear.png", alpha), 96).min() == 255
    np.testing.assert_array_equal(
        load_painting(picture(tmp_path / "grey.png", grey), 96), np.repeat(grey[..., None], 3, 2)
    )
    assert train(workshop, tmp_path / "run", style=tmp_path / "grey.png", bits=32) == 0


def test_paintings_that_cannot_serve(workshop, tmp_path, capsys):
    tiny = picture(tmp_path / "tiny.png", np.zeros((63, 300, 3), np.uint8))
    refused(capsys, train(workshop, tmp_path / "run", style=tiny), "tiny.png: 300x63 is too small")
    refused(capsys, train(workshop, tmp_path / "run", style=tmp_path / "no.png"), "no.png: No such file")
    (tmp_path / "text.png").write_text("a painting")
    refused(capsys, train(workshop, tmp_path / "run", style=tmp_path / "text.png"), "text.png: not an image")
    refused(capsys, train(workshop, tmp_path / "run", style_crop="64x64+90+0"), "beyond the painting's 96x80")
    assert not (tmp_path / "run").exists()


def test_too_few_photos(workshop, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    refused(capsys, train(workshop, tmp_path / "run", content=folder), "0 usable of 0 found, training needs 2")
    picture(folder / "one.png", np.full((80, 80, 3), 9, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    refused(capsys, train(workshop, tmp_path / "run", content=folder), "1 usable of 2 found, training needs 2")
    assert not (tmp_path / "run").exists()


def test_a_loss_network_s_file_of_another_kind(workshop, tmp_path, capsys):
    random_vgg16(tmp_path / "vgg16.npz")
    status = train(workshop, tmp_path / "run", loss_network=f"vgg19:{tmp_path / 'vgg16.npz'}")
    refused(capsys, status, "vgg16.npz: layer conv3_4 is missing, vgg19 needs")
    status = train(workshop, tmp_path / "run", content_layer="relu9_1")
    refused(capsys, status, "layer 'relu9_1': vgg16 has relu1_1")


def test_checkpoints_of_another_architecture(workshop, tmp_path, capsys):
    assert train(workshop, tmp_path / "first", bits=8) == 0
    for start in (tmp_path / "first", tmp_path / "first/plain.pt", tmp_path / "first/8bit.pt"):
        status = train(workshop, tmp_path / "other", "--from", start, "--width", 8)
        refused(capsys, status, "a network of {'width': 4, 'blocks': 1, 'kernel': 9}, not {'width': 8")
    torch.save({"stage": "8bit", "architecture": {"width": 4}, "network": {}}, tmp_path / "odd.pt")
    refused(capsys, train(workshop, tmp_path / "odd", "--from", tmp_path / "odd.pt"), "odd.pt: not a 8-bit network")
