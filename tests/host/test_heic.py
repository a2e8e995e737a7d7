"""HEIC photos, as phones take them: read in their place, bounded; the extra is named where nothing reads them."""

from __future__ import annotations

import importlib.util
import io
import os

import numpy as np
import pytest

from pleinair import images
from pleinair.cameras.opening import open_camera
from pleinair.errors import CameraError, ImageError
from pleinair.exif import about, find_exif
from pleinair.heif import heif_fault
from pleinair.images import NO_HEIC, decode_image, read_photo
from tests.host.test_exif import camera_part
from tests.host.test_images import damaged, picture, scene
from tests.host.test_profiles import expected, profile

pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs pillow-heif")
Image = pytest.importorskip("PIL.Image")


def heic(image: np.ndarray, **options) -> bytes:
    """A photo as pillow-heif writes it; uint8 [H, W, 3] or [H, W, 4]."""
    pillow, file = Image.fromarray(image), io.BytesIO()
    for key in ("icc_profile",):
        if key in options:
            pillow.info[key] = options.pop(key)
    pillow_heif.from_pillow(pillow).save(file, quality=100, chroma=444, **options)
    return file.getvalue()


def test_a_photo_is_read_with_its_time_and_place(tmp_path):
    data = heic(picture(), exif=b"Exif\0\0" + camera_part())
    (tmp_path / "IMG_1.HEIC").write_bytes(data)
    photo = read_photo(tmp_path / "IMG_1.HEIC")
    assert photo.image.shape == (48, 64, 3) and np.abs(photo.image.astype(int) - picture()).mean() < 3
    assert photo.exif is not None and about(photo.exif) == about(camera_part())
    found = find_exif(data)  # without decoding it
    assert found is not None and about(found) == about(camera_part())
    frame = next(open_camera(f"frames:{tmp_path}", order="time").frames())
    assert frame.metadata["taken"] == "2026-05-03 14:20"


def test_a_turned_photo_stands_upright():
    turned = heic(
        picture(), exif=b"Exif\0\0II*\0" + bytes((8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0)) + bytes(4)
    )
    image = decode_image(turned, "x")
    assert image.shape == (64, 48, 3) and np.abs(image.astype(int) - np.rot90(picture(), -1)).mean() < 3


def test_colours_and_transparency():
    image = np.kron(
        np.array([[[0, 255, 0], [200, 30, 60]], [[90, 90, 90], [20, 60, 250]]], np.uint8),
        np.ones((32, 32, 1), np.uint8),
    )
    read = decode_image(heic(image, icc_profile=profile()), "x")
    assert np.abs(read - expected(image)).mean() < 3
    clear = np.dstack([image, np.where(np.arange(64)[:, None] < 32, 255, 0).astype(np.uint8).repeat(64, 1)])
    read = decode_image(heic(clear), "x")
    assert np.abs(read[:30] - image[:30].astype(int)).mean() < 4 and read[34:].min() > 245


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_photo_that_is_cut_off_is_damaged(kept):
    data = heic(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="^image x: (damaged|truncated)"):
        decode_image(data[: int(len(data) * kept)], "x")


def test_holes_are_damage_and_good_photos_stay():
    """Of the four ways in which a block is lost, all but bytes of another file; MEASURE=500 gives the table's row."""
    count, found, refused = int(os.environ.get("MEASURE", "16")), [0] * 4, 0
    for seed in range(count):
        file = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(scene(seed))).save(file, quality=60 + seed % 40)
        for data in (file.getvalue(), damaged(file.getvalue(), seed)):
            try:
                decode_image(data, "x")
            except ImageError:
                refused += data == file.getvalue()
                found[seed % 4] += data != file.getvalue()
    print(f".heic: {sum(found)} of {count} damaged found {found}, {refused} of {count} good refused")
    assert refused == 0 and sum(found) - found[2] >= 0.95 * count * 3 // 4


def test_flat_photos_are_whole():
    for level in (0, 90, 255):
        for quality in (10, 90, -1):
            file = io.BytesIO()
            pillow_heif.from_pillow(Image.new("RGB", (700, 500), (level,) * 3)).save(file, quality=quality)
            assert (decode_image(file.getvalue(), "x") == level).mean() > 0.9


def test_parts_that_stand_nowhere_are_damage():
    data = heic(picture())
    at = data.index(b"iloc")
    for place in range(at + 4, at + 40):
        for value in (0, 1, 15, 0x44, 255):
            heif_fault(data[:place] + bytes((value,)) + data[place + 1 :])
    for cut in range(0, len(data), 7):
        heif_fault(data[:cut])


def test_size_and_kind_are_bounded(monkeypatch):
    data = heic(picture())
    at = data.index(b"ispe") + 8
    with pytest.raises(ImageError, match="larger than|damaged"):
        decode_image(data[:at] + (60_000).to_bytes(4, "big") * 2 + data[at + 8 :], "x")
    # The brand of AVIF, which is not read.
    with pytest.raises(ImageError, match="not an image that is read here"):
        decode_image(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + data[28:], "x")


def test_broken_files_end_in_one_line():
    data, chance = heic(picture()), np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for at in chance.integers(28, len(data), 4):
            broken[at] = chance.integers(0, 256)
        try:
            decode_image(bytes(broken), "x")
        except ImageError as error:
            assert "\n" not in str(error)


def test_without_it_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(heic(picture()))
    there = importlib.util.find_spec
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else there(name))
    with pytest.raises(ImageError) as caught:
        read_photo(tmp_path / "a.heic")
    assert str(caught.value) == f"image {tmp_path / 'a.heic'}: {NO_HEIC}" and "[heic]" in NO_HEIC
    with pytest.raises(CameraError, match=r"none of its images can be read; the first: .*pip install '\.\[heic\]'"):
        open_camera(f"frames:{tmp_path}")
