"""A workshop in miniature: photos, a painting and a loss network made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.images import write_image
from pleinair_training.trainer import Settings
from tests.house import SHARED

VGG16_FILE = SHARED / "data" / "vgg16" / "vgg16_imagenet_relu4_3_fp16.npz"
CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512}


def random_vgg16(path: Path, seed: int = 0) -> Path:
    """An npz with VGG-16's shapes up to conv4_3 and He-scaled random weights."""
    rng = np.random.default_rng(seed)
    arrays, inputs = {}, 3
    for block, count in ((1, 2), (2, 2), (3, 3), (4, 3)):
        for c in range(1, count + 1):
            outputs = CHANNELS[block]
            scale = (2 / (9 * inputs)) ** 0.5
            arrays[f"conv{block}_{c}.weight"] = rng.normal(0, scale, (outputs, inputs, 3, 3)).astype(np.float16)
            arrays[f"conv{block}_{c}.bias"] = np.zeros(outputs, np.float16)
            inputs = outputs
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Path:
    """A folder with ``vgg.npz``, ``painting.png`` and ``photos/`` in a tree."""
    folder = tmp_path_factory.mktemp("workshop")
    random_vgg16(folder / "vgg.npz")
    (folder / "photos" / "deep").mkdir(parents=True)
    for i, frame in enumerate(SyntheticCamera((160, 120), 5, every=3600, seed=3).frames()):
        write_image(folder / "photos" / ("deep" if i % 2 else "") / f"{i}.jpg", frame.image)
    swirl = np.random.default_rng(1).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    write_image(folder / "painting.png", cv2.resize(swirl, (96, 80), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture
def settings(workshop: Path) -> Settings:
    return Settings(
        str(workshop / "painting.png"),
        str(workshop / "photos"),
        f"vgg16:{workshop / 'vgg.npz'}",
        width=4,
        blocks=1,
        crop=64,
        batch=2,
        style_size=96,
        hold_out=1,
        parent_steps=4,
        plain_steps=4,
        quantised_steps=4,
    )


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
