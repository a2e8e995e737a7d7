"""Canvas grain: the same everywhere, at every size, and enough to keep a flat area from staying flat."""

from __future__ import annotations

import hashlib

import numpy as np

from pleinair.painting.grain import MAX_GRAIN, Grain, grain_pattern


def test_pattern_is_the_hash_it_says():
    """Against MurmurHash3's finalizer in Python integers."""
    pattern = grain_pattern(40, 70, 2)
    for row, column in ((0, 0), (0, 69), (39, 0), (17, 23), (39, 69)):
        h = (row * 0x85EBCA77 & 0xFFFFFFFF) ^ (column * 0x9E3779B1 & 0xFFFFFFFF)
        h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        assert (pattern[row, column] == (h ^ h >> 16) % 5 - 2).all()


def test_pattern_is_pinned_for_every_machine():
    data = grain_pattern(64, 96, 2).astype("<i2").tobytes()
    assert hashlib.sha256(data).hexdigest() == "63c8456f9feb684dc630981cd9feaf2246a15886cd890be2ce7df48e6ef26e09"


def test_pattern_is_even_and_anchored():
    pattern = grain_pattern(300, 400, 3)[:, :, 0]
    counts = np.bincount((pattern + 3).ravel(), minlength=7) / pattern.size
    assert np.abs(counts - 1 / 7).max() < 0.01
    np.testing.assert_array_equal(grain_pattern(100, 100, 3)[:, :, 0], pattern[:100, :100])
    for lag in range(1, 40):  # no neighbourly lines
        assert abs(np.corrcoef(pattern[:, lag:].ravel(), pattern[:, :-lag].ravel())[0, 1]) < 0.02
        assert abs(np.corrcoef(pattern[lag:].ravel(), pattern[:-lag].ravel())[0, 1]) < 0.02


def test_grain_saturates_and_follows_the_size():
    grain = Grain(4)
    for value in (0, 2, 128, 254, 255):
        for size in ((20, 30), (31, 17)):
            frame = np.full((*size, 3), value, np.uint8)
            wanted = np.clip(value + grain_pattern(*size, 4).astype(int), 0, 255)
            np.testing.assert_array_equal(grain(frame), wanted)
            assert (frame == value).all()
    noise = np.random.default_rng(0)
    for amplitude in range(1, MAX_GRAIN + 1):
        frame = noise.integers(0, 256, (33, 47, 3), np.uint8)
        wanted = np.clip(frame + grain_pattern(33, 47, amplitude).astype(int), 0, 255)
        np.testing.assert_array_equal(Grain(amplitude)(frame), wanted)
    frame = np.full((8, 8, 3), 9, np.uint8)
    assert Grain(0)(frame) is frame
