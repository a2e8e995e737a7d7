"""One's own painting in an evening: what ``pleinair train --style FILE`` chooses where nothing else is said.

Photos are drawn by the synthetic camera (60 of them, from 15 valleys at four hours of the day), the judge is VGG-16
with half-precision weights, and the network starts from the parent of a shipped style. A page beside the run shows how
it goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

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


def starter_photos(folder: Path, report: Callable[[int, int], None] | None = None) -> Path:
    """The folder, with the starter set in it; a picture that is there already is left as it is. Raises OutputError.

    ``report`` is told how many are there, and of how many.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    wanted = [
        (folder / f"valley-{seed:02d}-{number}.jpg", seed, seconds)
        for seed in range(1, _VALLEYS + 1)
        for number, seconds in enumerate(_HOURS)
    ]
    missing = [(path, seed, seconds) for path, seed, seconds in wanted if not path.exists()]
    for done, (path, seed, seconds) in enumerate(missing, len(wanted) - len(missing) + 1):
        (frame,) = SyntheticCamera(_SIZE, 1, seed=seed, start=seconds).frames()
        write_image(path, frame.image)
        if report is not None:
            report(done, len(wanted))
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


def write_page(run: Path, progress: str, *, film: Path | None = None, over: bool = False) -> None:
    """Write ``index.html`` into a run's folder: its newest pictures, each with its step. Raises OutputError.

    ``film`` is a sample film in that folder, to be opened from there. Until it is ``over``, a browser renews the page.
    """
    pictures = sorted((run / "previews").glob("*.png"), key=lambda path: path.stat().st_mtime, reverse=True)[:_SHOWN]
    parts = [element("h1", f"{'Trained' if over else 'Training'} {run.resolve().name}"), paragraph(progress)]
    if film is not None:
        parts.append(paragraph(element("a", "A sample film: a day painted in it", href=quote(film.name))))
    parts.append(
        paragraph(
            "Each picture has photos on the left and their paintings on the right; the newest is on top.", kind="soft"
        )
    )
    for path in pictures:
        try:
            picture = read_image(path)
        except PleinairError:
            continue  # it is being replaced
        stage, _, step = path.stem.rpartition("-")
        caption = f"{stage}, step {int(step)}" if step.isdigit() else path.stem
        parts += [element("h2", caption), image(_jpeg(picture), "jpeg", f"Photos and paintings at {caption}")]
    rules, refresh = "img { max-width: 100%; }", None if over else _REFRESH
    write_bytes(run / PAGE, page(f"Training {run.resolve().name}", parts, rules=rules, refresh=refresh).encode())


def _jpeg(picture: np.ndarray) -> bytes:
    scale = _SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return encode_image(".jpg", picture)
