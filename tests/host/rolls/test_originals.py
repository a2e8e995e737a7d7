"""Originals: each carries its record where any viewer shows it, and knows when it is torn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pleinair.errors import ImageError
from pleinair.rolls.originals import encode, find_originals, keep_original, load_original, original_path, read_original
from pleinair.rolls.records import Captured
from tests.rolls import Still, coded_frame, film_roll, frames_of, new_roll

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_an_original_carries_its_record_where_others_find_it(tmp_path):
    film_roll(new_roll(tmp_path / "roll", spool="jpg"), Still())
    record = frames_of(tmp_path / "roll")[7]
    data = original_path(tmp_path / "roll" / "originals", 7, "jpg").read_bytes()
    at = data.index(b"\xff\xfe")  # a JPEG's comment
    assert f'"sha256":"{record["sha256"]}"'.encode() in data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    kept, _ = read_original(original_path(tmp_path / "roll" / "originals", 7, "jpg"))
    assert {**kept.line(), "crc": record["crc"]} == record


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_original_comes_back_with_its_record(tmp_path, suffix):
    data, full = encode(coded_frame(77), Captured(seq=1234, t=0.0, wall=0.0), suffix)
    path = keep_original(tmp_path, 1234, suffix, data)
    assert path == tmp_path / "000001" / f"00001234.{suffix}" == original_path(tmp_path, 1234, suffix)
    record, image = load_original(path)
    assert record == full and record.seq == 1234
    assert np.abs(image.astype(int) - coded_frame(77)).max() <= (0 if suffix == "png" else 40)
    assert list(find_originals(tmp_path, suffix)) == [1234]
    with pytest.raises(FileExistsError):
        keep_original(tmp_path, 1234, suffix, data)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_torn_changed_and_foreign_ones_are_known(tmp_path, suffix):
    data, _ = encode(coded_frame(5), Captured(seq=5, t=0.0, wall=0.0), suffix)
    path = tmp_path / f"frame.{suffix}"
    foreign = cv2.imencode(f".{suffix}", coded_frame(5))[1].tobytes()
    for wrong in (data[:-9], data[:-40] + bytes(40), data[:20], foreign, b""):
        path.write_bytes(wrong)
        with pytest.raises(ImageError, match="damaged"):
            read_original(path)
