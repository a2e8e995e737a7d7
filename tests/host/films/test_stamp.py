"""The stamp: readable on any ground, and the picture under it untouched elsewhere."""

from __future__ import annotations

import numpy as np

from pleinair.films.stamp import stamp


def test_a_stamp_is_read_on_white_and_on_black():
    for level in (0, 128, 255):
        image = np.full((360, 640, 3), level, np.uint8)
        marked = stamp(image, "2026-05-03 14:20")
        changed = np.abs(marked.astype(int) - level).max(2) > 60
        rows, columns = np.nonzero(changed)
        assert rows.min() > 300 and columns.max() < 320 and changed.sum() > 250
        assert (image == level).all()


def test_without_a_text_nothing_changes():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(stamp(image, ""), image)
