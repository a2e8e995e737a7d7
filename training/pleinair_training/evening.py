"""One's own painting in an evening: what ``pleinair train --style FILE`` chooses where nothing else is said.

Photos are drawn by the synthetic camera (60 of them, from 15 valleys at four hours of the day), the judge is VGG-16
with half-precision weights, and the network starts from the parent of a shipped style. A page beside the run shows how
it goes.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.errors import OutputError, PleinairError
from pleinair.images import encode_image, read_image, write_bytes, write_image
from pleinair.page import element, image, page, paragraph
from pleinair_training.loss_network import fetch_published, reduce_network, reduced_path

#: Valleys, and the hours at which each is drawn, in seconds: dawn, noon, afternoon, dusk.
_VALLEYS, _HOURS = 15, (6.5 * 3600, 12.0 * 3600, 16.0 * 3600, 20.0 * 3600)
_SIZE = (640, 448)
#: Pictures on the page, and their longest side.
_SHOWN, _SIDE = 6, 900
#: Seconds after which a browser asks for the page again.
_REFRESH = 20
PAGE = "index.html"


def starter_photos(folder: Path) -> Path:
    """The folder, with the starter set in it; a picture that is there already is left as it is. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    for seed in range(1, _VALLEYS + 1):
        missing = [(i, s) for i, s in enumerate(_HOURS) if not (folder / f"valley-{seed:02d}-{i}.jpg").exists()]
        for number, seconds in missing:
            (frame,) = SyntheticCamera(_SIZE, 1, seed=seed, start=seconds).frames()
            write_image(folder / f"valley-{seed:02d}-{number}.jpg", frame.image)
    return folder


def reduced_loss_network() -> str:
    """VGG-16 as ``--loss-network`` takes it, with the half-precision file in the cache.

    Where that is missing it is made from torchvision's, which is fetched first (0.5 GB). Raises TrainingError.
    """
    path = reduced_path("vgg16")
    if not path.is_file():
        reduce_network("vgg16", fetch_published("vgg16"), path)
    return f"vgg16:{path}"


def style_name(painting: Path) -> str:
    """A style's name from its painting's file: ``My Dog (2).JPG`` gives ``my-dog-2``."""
    plain = re.sub(r"[^a-z0-9]+", "-", painting.stem.lower()).strip("-")[:40]
    return plain or "painting"


def write_page(run: Path, progress: str) -> None:
    """Write ``index.html`` into a run's folder: its newest pictures, each with its step. Raises OutputError."""
    pictures = sorted((run / "previews").glob("*.png"), key=lambda path: path.stat().st_mtime, reverse=True)[:_SHOWN]
    parts = [
        element("h1", f"Training {run.resolve().name}"),
        paragraph(progress),
        paragraph(
            "Each picture has photos on the left and their paintings on the right; the newest is on top.", kind="soft"
        ),
    ]
    for path in pictures:
        try:
            picture = read_image(path)
        except PleinairError:
            continue  # it is being replaced
        stage, _, step = path.stem.rpartition("-")
        caption = f"{stage}, step {int(step)}" if step.isdigit() else path.stem
        parts += [element("h2", caption), image(_jpeg(picture), "jpeg", f"Photos and paintings at {caption}")]
    text = page(f"Training {run.resolve().name}", parts, rules="img { max-width: 100%; }", refresh=_REFRESH)
    write_bytes(run / PAGE, text.encode())


def _jpeg(picture: np.ndarray) -> bytes:
    scale = _SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return encode_image(".jpg", picture)
