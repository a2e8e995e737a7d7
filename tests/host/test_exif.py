"""EXIF parts: found in files, read by a second hand, carried into paintings; damaged ones do no harm."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from pleinair.cameras.opening import open_camera
from pleinair.cli.main import main
from pleinair.exif import find_exif, for_painting, taken_at, with_exif
from pleinair.images import decode_image, read_photo
from tests.models import write_model
from tests.rolls import identity_network


def part(order: str = "<", orientation: int = 6) -> bytes:
    """Orientation, a place's latitude and the time taken; then a directory for a small picture (EXIF 2.32, 4.6)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main_ = struct.pack(order + "H", 3)
    main_ += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    main_ += struct.pack(order + "HHII", 0x8769, 4, 1, 50)
    main_ += struct.pack(order + "HHII", 0x8825, 4, 1, 88)
    main_ += struct.pack(order + "I", 130)  # the small picture's
    more = struct.pack(order + "HHHIII", 1, 0x9003, 2, 20, 68, 0) + b"2026:05:03 14:20:07\0"
    place = struct.pack(order + "HHHI4sI", 1, 1, 2, 2, b"N\0\0\0", 0)
    whole = head + main_ + more + place
    return whole + bytes(130 - len(whole)) + struct.pack(order + "HHHIII", 1, 0x0201, 4, 1, 7, 0)


@pytest.mark.parametrize("kind", [".jpg", ".png"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_part_comes_back_as_it_was_put_in(kind, order):
    bare = cv2.imencode(kind, np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    data = with_exif(bare, part(order))
    assert find_exif(bare) is None and find_exif(data) == part(order)
    assert taken_at(part(order)) == "2026-05-03 14:20"
    assert decode_image(data, "x").shape in ((30, 20, 3), (20, 30, 3))


@pytest.mark.parametrize("order", ["<", ">"])
def test_for_a_painting_only_orientation_and_the_small_picture_change(order):
    kept = for_painting(part(order))
    changed = [i for i, (a, b) in enumerate(zip(kept, part(order), strict=True)) if a != b]
    assert changed and set(changed) <= {18, 19, 46, 47, 48, 49}
    assert kept[18:20] == struct.pack(order + "H", 1) and kept[46:50] == bytes(4)


def test_damaged_parts_do_no_harm():
    chance = np.random.default_rng(0)
    for _ in range(3000):
        broken = bytearray(part())
        for at in chance.integers(0, len(broken), 4):
            broken[at] = chance.integers(0, 256)
        taken_at(bytes(broken))
        for_painting(bytes(broken)[: int(chance.integers(0, 140))])
        find_exif(b"\xff\xd8" + bytes(broken))
        find_exif(b"\x89PNG\r\n\x1a\n" + bytes(broken))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_painting_keeps_date_and_place_and_stands_upright(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "plain", identity_network(), margin=0, grain=0)
    photo = with_exif(cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes(), part())
    (tmp_path / "photo.jpg").write_bytes(photo)
    out = f"painting{suffix}"
    assert main(["paint", "photo.jpg", out, "--style", str(tmp_path / "plain"), "--backend", "reference"]) == 0
    assert read_photo(tmp_path / out)[1] == for_painting(part())
    assert decode_image((tmp_path / out).read_bytes(), out).shape == (60, 40, 3)


def test_stored_photos_have_their_own_time(tmp_path):
    photo = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(with_exif(photo, part()))
    (tmp_path / "b.jpg").write_bytes(photo)
    first, second = open_camera(f"frames:{tmp_path}").frames()
    assert first.metadata == {"taken": "2026-05-03 14:20"} and second.metadata == {}
