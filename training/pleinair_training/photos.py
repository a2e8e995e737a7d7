"""Photos to train on: any folder tree, bad files skipped and listed, batches that depend on nothing but the seed.

A batch is a function of (seed, stream, step): training that was interrupted goes on with the same crops.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pleinair.durable import file_sha256
from pleinair.errors import ImageError, OptionError, TrainingError
from pleinair.images import SUFFIXES, read_image, within


def held_out(names: list[str], count: int) -> frozenset[str]:
    """The ``count`` file names whose SHA-256 digests are smallest: kept from training, for evaluation."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return frozenset(ranked[:count])


_GEOMETRY = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")


def load_painting(path: Path, long_side: int, crop: str = "") -> np.ndarray:
    """The style image, uint8 [H, W, 3] RGB, its longer side ``long_side`` pixels (never enlarged).

    ``crop`` cuts WIDTHxHEIGHT+LEFT+TOP (pixels of the file) out of it first. Raises ImageError, OptionError
    for a crop outside of the image, TrainingError for less than 64 pixels a side.
    """
    image = read_image(path)
    height, width = image.shape[:2]
    if crop:
        fields = _GEOMETRY.fullmatch(crop)
        if fields is None:
            raise OptionError(f"{crop!r}: write WIDTHxHEIGHT+LEFT+TOP in pixels", option="style_crop")
        w, h, left, top = map(int, fields.groups())
        if left + w > width or top + h > height:
            raise OptionError(f"{crop}: reaches beyond the painting's {width}x{height} pixels", option="style_crop")
        image, width, height = image[top : top + h, left : left + w], w, h
    if min(height, width) < 64:
        raise TrainingError(f"painting {path}: {width}x{height} is too small, its sides need 64 pixels or more")
    return within(image, long_side)


@dataclass
class Photos:
    """Random crops of the photos below ``folder``, less ``hold_out`` of them.

    ``crop``: the batch's pixels per side; ``batch``: photos per batch. A square between ``crop`` pixels and
    the photo's short side is cut anywhere, scaled to ``crop``, mirrored half of the time, and one in four is
    darkened by up to two stops, since a time-lapse camera sees the evening too.
    """

    folder: Path
    crop: int
    batch: int
    seed: int
    hold_out: int = 0
    limit: int = 900
    files: list[Path] = field(init=False)
    skipped: dict[str, str] = field(init=False, default_factory=dict)
    kept_apart: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Lists and tries every file once. Raises TrainingError when fewer than two photos can be used."""
        if not self.folder.is_dir():
            raise TrainingError(f"photos {self.folder}: no such folder")
        found = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        apart = held_out([p.name for p in found], self.hold_out)
        self.kept_apart = sorted(apart)
        self.files = []
        for path in found:
            if path.name in apart:
                continue
            try:
                image = read_image(path)
            except ImageError as error:
                self.skipped[str(path.relative_to(self.folder))] = str(error)
                continue
            if min(image.shape[:2]) < 64:
                self.skipped[str(path.relative_to(self.folder))] = "a side under 64 pixels"
                continue
            self.files.append(path)
        if len(self.files) < 2:
            raise TrainingError(
                f"photos {self.folder}: {len(self.files)} usable of {len(found)} found, training needs 2 or more"
            )
        self._decoded = lru_cache(maxsize=256)(self._decode)

    def sha256(self) -> str:
        """The SHA-256 of the photos that are used, one after the other: their contents, not their places.

        Raises OSError.
        """
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()

    def _decode(self, index: int) -> np.ndarray:
        return within(read_image(self.files[index]), self.limit)

    def _crop(self, rng: random.Random) -> np.ndarray:
        image = self._decoded(rng.randrange(len(self.files)))
        height, width = image.shape[:2]
        side = rng.randint(min(self.crop, height, width), min(height, width))
        top, left = rng.randint(0, height - side), rng.randint(0, width - side)
        square = image[top : top + side, left : left + side]
        square = cv2.resize(square, (self.crop, self.crop), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            square = square[:, ::-1]
        if rng.random() < 0.25:
            square = np.rint(square * 2.0 ** rng.uniform(-2, 0)).astype(np.uint8)
        return np.asarray(square)

    def crops(self, stream: str, step: int) -> np.ndarray:
        """Batch number ``step`` of ``stream``: uint8 [batch, crop, crop, 3] RGB."""
        rng = random.Random(f"{self.seed}/{stream}/{step}")
        return np.stack([self._crop(rng) for _ in range(self.batch)])

    def stream(self, name: str, start: int, stop: int) -> Iterator[np.ndarray]:
        """Batches ``start`` .. ``stop - 1``, read ahead in a thread."""
        with ThreadPoolExecutor(1) as pool:
            ahead: list[Future[np.ndarray]] = []
            for step in range(start, stop):
                while len(ahead) < 3 and step + len(ahead) < stop:
                    ahead.append(pool.submit(self.crops, name, step + len(ahead)))
                yield ahead.pop(0).result()
