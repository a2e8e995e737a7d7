"""Photos: bad ones skipped and listed, batches that depend on seed, stream and step alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pleinair.errors import TrainingError
from pleinair.images import write_image
from pleinair_training.photos import Photos, held_out, load_painting


def test_batches_depend_on_seed_stream_and_step_alone(workshop):
    one, other = (Photos(workshop / "photos", 64, 2, 5) for _ in range(2))
    wanted = one.crops("plain", 7)
    other.crops("plain", 3)
    np.testing.assert_array_equal(other.crops("plain", 7), wanted)
    np.testing.assert_array_equal(list(one.stream("plain", 6, 9))[1], wanted)
    assert wanted.shape == (2, 64, 64, 3) and wanted.dtype == np.uint8
    for another in (
        one.crops("plain", 8),
        one.crops("parent", 7),
        Photos(workshop / "photos", 64, 2, 6).crops("plain", 7),
    ):
        assert (another != wanted).any()


def test_bad_photos_are_skipped_and_listed(workshop, tmp_path):
    shutil.copytree(workshop / "photos", tmp_path / "photos")
    good = len(Photos(tmp_path / "photos", 64, 1, 0).files)
    data = (tmp_path / "photos" / "0.jpg").read_bytes()
    (tmp_path / "photos" / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "photos" / "deep" / "text.png").write_text("no")
    (tmp_path / "photos" / "notes.txt").write_text("ignored")
    write_image(tmp_path / "photos" / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    photos = Photos(tmp_path / "photos", 64, 1, 0)
    assert len(photos.files) == good
    assert sorted(photos.skipped) == ["cut.jpg", "deep/text.png", "tiny.png"]
    assert "truncated" in photos.skipped["cut.jpg"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_photos_with_a_lost_sector_do_not_train(workshop, tmp_path, suffix):
    shutil.copytree(workshop / "photos", tmp_path / "photos")
    good = len(Photos(tmp_path / "photos", 64, 1, 0).files)
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8) // 8 + 90
    write_image(tmp_path / "photos" / f"whole.{suffix}", picture)
    data = bytearray((tmp_path / "photos" / f"whole.{suffix}").read_bytes())
    data[8192:8704] = bytes(512)
    (tmp_path / "photos" / f"lost.{suffix}").write_bytes(data)
    photos = Photos(tmp_path / "photos", 64, 1, 0)
    assert len(photos.files) == good + 1 and list(photos.skipped) == [f"lost.{suffix}"]
    assert "damaged" in photos.skipped[f"lost.{suffix}"]


def test_too_few_photos(tmp_path, workshop):
    with pytest.raises(TrainingError, match="no such folder"):
        Photos(tmp_path / "none", 64, 1, 0)
    with pytest.raises(TrainingError, match="0 usable of 0"):
        Photos(tmp_path, 64, 1, 0)
    shutil.copy(workshop / "photos" / "0.jpg", tmp_path)
    with pytest.raises(TrainingError, match="1 usable of 1"):
        Photos(tmp_path, 64, 1, 0)


def test_held_out_photos_never_train(workshop):
    photos = Photos(workshop / "photos", 64, 1, 0, hold_out=2)
    assert len(photos.kept_apart) == 2 and len(photos.files) == 3
    assert not {p.name for p in photos.files} & set(photos.kept_apart)
    names = [f"{i}.jpg" for i in range(50)]
    assert held_out(names, 5) == held_out(names[::-1], 5) and len(held_out(names, 5)) == 5


def test_painting_is_scaled_and_checked(workshop, tmp_path):
    assert max(load_painting(workshop / "painting.png", 64).shape[:2]) == 64
    assert load_painting(workshop / "painting.png", 4096).shape == (80, 96, 3)
    write_image(tmp_path / "tiny.png", np.zeros((20, 300, 3), np.uint8))
    with pytest.raises(TrainingError, match=r"tiny\.png: 300x20 is too small"):
        load_painting(tmp_path / "tiny.png", 64)
