"""Transparent parts of every kind of picture: white paper, upright, and nothing of the colour below."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from pleinair.exif import with_exif
from pleinair.images import decode_image
from tests.host.test_images import orientation


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("kind", [".png", ".webp"])
def test_what_is_transparent_and_turned_stands_upright(kind, turned):
    image = np.zeros((20, 40, 4), np.uint8)
    image[..., :3] = np.arange(40)[None, :, None] * 3 + np.arange(20)[:, None, None]
    image[3:9, 5:20, 3] = 255
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if kind == ".webp" else []
    clear, opaque = (cv2.imencode(kind, part, options)[1].tobytes() for part in (image, image[..., :3]))
    part = orientation(turned)
    shown = decode_image(with_exif(clear, part), "x")
    # The same picture without transparency, turned by OpenCV, where it is not white.
    wanted = decode_image(with_exif(opaque, part), "x")
    assert shown.shape == wanted.shape and (shown == 255).all(2).sum() == 20 * 40 - 6 * 15
    seen = (shown != 255).any(2)
    np.testing.assert_array_equal(shown[seen], wanted[seen])


def test_every_kind_of_transparency_is_white_paper():
    Image = pytest.importorskip("PIL.Image")
    grey = np.full((20, 40), 200, np.uint8)
    grey[:, 10:] = 40
    clear = np.dstack([grey // 2, grey, grey, np.where(grey == 200, 0, 255).astype(np.uint8)])
    palette = Image.fromarray(grey // 40, "P")
    palette.putpalette([0, 0, 0, *[40] * 9, 9, 9, 9, 200, 0, 0])
    written = (
        (Image.fromarray(clear), "PNG", {}),
        (Image.fromarray(clear).convert("LA"), "PNG", {}),
        (Image.fromarray(clear), "TIFF", {"compression": "tiff_lzw"}),
        (Image.fromarray(clear), "TIFF", {}),
        (Image.fromarray(clear), "WEBP", {"lossless": True, "exact": True}),
        (Image.fromarray(clear), "WEBP", {"quality": 90, "exact": True}),
        (Image.fromarray(clear[..., :3]), "PNG", {"transparency": (100, 200, 200)}),
        (Image.fromarray(grey), "PNG", {"transparency": 200}),
        (palette, "PNG", {"transparency": bytes([255] * 5 + [0])}),
    )
    for image, kind, options in written:
        file = io.BytesIO()
        image.save(file, kind, **options)
        seen = decode_image(file.getvalue(), "x").astype(int)
        assert (seen[:, :8] == 255).all() and (seen[:, 14:] < 60).all(), (kind, options)
