"""Tone: against the formula in Python's integers, and what it is for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.films.tone import DEFAULT_TONE, Tone, choose_tone


def edges(side: int, cells: int) -> list[int]:
    return [side * i // cells for i in range(cells + 1)]


def plain_cells(frame: np.ndarray) -> list[list[int]]:
    height, width = frame.shape[:2]
    short = min(height, width)
    rows, columns = (edges(side, min(24, short) * side // short) for side in (height, width))
    cells = []
    for top, bottom in zip(rows, rows[1:], strict=False):
        line = []
        for left, right in zip(columns, columns[1:], strict=False):
            part = frame[top:bottom, left:right].astype(int)
            total = int((part[..., 0] + 2 * part[..., 1] + part[..., 2]).sum())
            line.append(16 * total // (4 * (bottom - top) * (right - left)))
        cells.append(line)

    def at(line: list[int], i: int) -> int:
        return line[min(max(i, 0), len(line) - 1)]

    for _ in range(2):
        for _ in range(2):  # along one axis, then, turned over, along the other
            turned = [list(column) for column in zip(*cells, strict=True)]
            cells = [[at(line, i - 1) + 2 * line[i] + at(line, i + 1) for i in range(len(line))] for line in turned]
    return [[value // 256 for value in line] for line in cells]


def plain(tone: int, painting: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The module's formula, pixel by pixel; ``tone`` in 256ths."""
    height, width = painting.shape[:2]
    scene, own = plain_cells(frame), plain_cells(painting)
    gains = [
        [min(256, 128 * (p + tone * (s - p) // 256) // p) if p else 256 for s, p in zip(a, b, strict=True)]
        for a, b in zip(scene, own, strict=True)
    ]

    def place(pixel: int, side: int, cells: int) -> tuple[int, int, int]:
        at = min(max((2 * pixel + 1) * cells * 32 // side - 32, 0), 64 * (cells - 1))
        return at // 64, min(at // 64 + 1, cells - 1), at % 64

    out = np.empty_like(painting)
    for y in range(height):
        top, bottom, down = place(y, height, len(gains))
        for x in range(width):
            left, right, along = place(x, width, len(gains[0]))
            upper = gains[top][left] * (64 - along) + gains[top][right] * along
            lower = gains[bottom][left] * (64 - along) + gains[bottom][right] * along
            gain = (upper * (64 - down) + lower * down) // 4096
            out[y, x] = [min(255, int(value) * gain + 64 >> 7) for value in painting[y, x]]
    return out


@pytest.mark.parametrize(("height", "width"), [(16, 16), (37, 51), (48, 25)])
@pytest.mark.parametrize("tone", [0.25, 0.5, 1.0])
def test_it_is_the_formula(height, width, tone):
    chance = np.random.default_rng(height + width)
    frame, painting = (chance.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(2))
    frame[: height // 2] //= 4  # dark above
    painting[:, : width // 2] //= 3
    painting[:4, :4] = 0
    filter_ = Tone(tone)
    np.testing.assert_array_equal(filter_(painting, filter_.of(frame)), plain(int(256 * tone), painting, frame))


def test_all_of_it_gives_a_painting_the_brightness_of_its_frame():
    rng = np.random.default_rng(5)
    ramp = np.repeat(np.linspace(30, 150, 320)[None, :, None], 240, 0).repeat(3, 2)
    frame = np.rint(ramp).astype(np.uint8)
    painting = rng.integers(60, 120, (240, 320, 3)).astype(np.uint8)
    tone = Tone(1.0)
    toned = tone(painting, tone.of(frame))
    assert np.abs(toned.mean((0, 2)) - ramp[0, :, 0])[20:-20].max() < 6
    half = Tone(0.5)
    between = half(painting, half.of(frame)).mean()
    assert abs(between - (painting.mean() + toned.mean()) / 2) < 1


def test_nothing_changes_at_0_and_where_brightness_agrees():
    picture = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    off = Tone(0)
    assert off(picture, off.of(picture * 0)) is picture
    on = Tone(1)
    np.testing.assert_array_equal(on(picture, on.of(picture)), picture)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames_and_paintings(level):
    flat = np.full((20, 30, 3), level, np.uint8)
    painting = np.random.default_rng(2).integers(0, 256, flat.shape).astype(np.uint8)
    tone = Tone(1)
    toned = tone(painting, tone.of(flat))
    assert (toned <= painting).all() if level == 0 else (toned >= painting).all()
    assert tone(flat, tone.of(painting)).shape == flat.shape


@pytest.mark.parametrize("tone", [-0.1, 1.01, float("nan")])
def test_out_of_range(tone):
    with pytest.raises(ValueError):
        Tone(tone)
    with pytest.raises(OptionError, match="0 to 1") as caught:
        choose_tone(tone, adaptive=True)
    assert caught.value.option == "tone"


def test_the_default_is_for_networks_that_even_brightness_out():
    assert choose_tone(None, adaptive=True) == DEFAULT_TONE
    assert choose_tone(None, adaptive=False) == 0
    assert choose_tone(0.2, adaptive=False) == 0.2


def test_tone_leaves_no_thread_behind_that_keeps_another_core_busy():
    """As NumPy's matrix products do for many milliseconds after each."""
    code = """
import time
import cv2
import subprocess
import sys

import numpy as np
from pleinair.films.tone import Tone

cv2.setNumThreads(1)
frame = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
tone = Tone(0.5)
scene = tone.of(frame[::-1])
tone(frame, scene)
time.sleep(0.5)  # threads that NumPy begins with come to rest
whole, own = time.process_time(), time.thread_time()
for _ in range(10):
    tone(frame, scene)
    time.sleep(0.02)
print(time.process_time() - whole, time.thread_time() - own)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    whole, own = map(float, told.stdout.split())
    assert whole < 1.5 * own + 0.02
