"""Tone: brings the scene's own brightness back into a painting, so that a day's film has its noon, dusk and night.

A painting in a frame's own light evens out exposure: noon and midnight are painted alike. Tone compares the blurred
brightness of frame and painting, and multiplies the painting so that a part of the difference goes. Strokes and hues
stay, and at most doubles what was there. (Moving values towards white instead made paintings grey when it was tried.)

The same integers on every machine, with // rounding down. T is ``tone`` in 256ths. The frame is divided into about
square cells, 24 along its shorter side, or as many as that has pixels. Cell i of n along a side of s pixels begins at
pixel s * i // n::

    Y    = 16 x the sum of R + 2 G + B over a cell // (4 x its pixels)              16ths of a level
    S, P = Y of frame and painting, smoothed twice along both axes by (1, 2, 1), the edge cell repeated, // 256
    a    = min(256, 128 (P + T (S - P) // 256) // P)                                256 where P is 0
    out  = min(255, (value x a' + 64) >> 7)          a': a between the cells' centres, bilinear in 64ths, // 4096
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from pleinair.errors import OptionError

#: ``tone`` of an adaptive network's paintings where none is given; others evened nothing out.
DEFAULT_TONE = 0.5
_CELLS = 24
_UNIT = 16
#: A gain of 1; the greatest is twice that.
_ONE = 128
#: Pixels in a strip of rows: its working arrays stay near the core, whatever the frame's size.
_STRIP = 1 << 15


def choose_tone(tone: float | None, *, adaptive: bool) -> float:
    """``tone``, or its default for a network that is ``adaptive`` or is not. Raises OptionError outside 0 .. 1."""
    if tone is None:
        return DEFAULT_TONE if adaptive else 0.0
    if not 0 <= tone <= 1:  # refuses nan, too
        raise OptionError(f"{tone:g}: 0 to 1", option="tone")
    return tone


class Tone:
    """Brings back ``tone`` of the scene's brightness: 0 nothing, 1 all of it. One thread at a time may use it."""

    def __init__(self, tone: float = DEFAULT_TONE) -> None:
        """Raises ValueError for a number outside 0 .. 1."""
        if not 0 <= tone <= 1:
            raise ValueError(f"tone {tone}: 0 to 1")
        self.tone = tone
        self._part = round(256 * tone)
        self._bench: _Bench | None = None

    def of(self, frame: np.ndarray) -> np.ndarray:
        """The blurred brightness of uint8 [H, W, 3]: int64 [rows, columns], 16ths of a level. Empty at tone 0."""
        if not self._part:
            return np.zeros((0, 0), np.int64)
        return _smooth(_cells(frame))

    def __call__(self, painting: np.ndarray, scene: np.ndarray) -> np.ndarray:
        """A painting, uint8 [H, W, 3], with the brightness ``scene``, which is :meth:`of` its frame, brought back."""
        if not self._part:
            return painting
        own = self.of(painting)
        wanted = own + self._part * (scene - own) // 256
        gain = np.where(own > 0, np.minimum(2 * _ONE, _ONE * wanted // np.maximum(own, 1)), 2 * _ONE)
        height, width = painting.shape[:2]
        rows = min(height, max(1, _STRIP // width))
        if self._bench is None or self._bench.shape != (rows, width):
            self._bench = _Bench(rows, width)
        between, toned = _Between(gain, height, width), np.empty(painting.shape, np.uint8)
        for top in range(0, height, rows):
            end = min(top + rows, height)
            self._bench.multiply(painting[top:end], between, top, toned[top:end])
        return toned


class _Bench:
    """The working arrays for strips of up to ``rows`` rows, used again and again: new ones cost more than the sums."""

    def __init__(self, rows: int, width: int) -> None:
        self.shape = rows, width
        self._gains = np.empty((rows, width), np.uint16)
        self._three, self._products = (np.empty((rows, width, 3), np.uint16) for _ in range(2))
        self._sums, self._lines = (np.empty((rows, width), np.int32) for _ in range(2))

    def multiply(self, strip: np.ndarray, between: _Between, top: int, out: np.ndarray) -> None:
        """Multiply rows of a painting, uint8 [n, W, 3], of which the first is its row ``top``, into ``out``."""
        count = len(strip)
        gains = self._gains[:count]
        between.rows(top, gains, self._sums[:count], self._lines[:count])
        # At most 255 x 256 + 64, which uint16 holds.
        products = np.multiply(strip, cv2.merge((gains, gains, gains), self._three[:count]), out=self._products[:count])
        products += _ONE // 2
        products >>= 7
        cv2.convertScaleAbs(products, dst=out)  # to uint8; what is greater than 255 becomes 255


class _Between:
    """Values 0 .. 256 between the centres of a frame's cells. Sums stay below 2^24.

    Not a matrix product: libraries for those have threads, which spin for a while after each, on the painter's cores.
    """

    def __init__(self, cells: np.ndarray, height: int, width: int) -> None:
        """``cells``: int64 [rows, columns], of a frame of so many pixels."""
        self._above, part = _places(height, cells.shape[0])
        self._part = part[:, None]
        left, weight = _places(width, cells.shape[1])
        cells = cells.astype(np.int32)
        right = np.minimum(left + 1, cells.shape[1] - 1)
        lines = cells[:, left] * (64 - weight) + cells[:, right] * weight
        self._steps = np.diff(lines, axis=0, append=lines[-1:])
        self._lines = lines << 6

    def rows(self, top: int, out: np.ndarray, sums: np.ndarray, lines: np.ndarray) -> None:
        """The rows from ``top`` on, as many as ``out`` has, uint16 [n, W]; two int32 [n, W] are to work with."""
        above = self._above[top : top + len(out)]
        np.take(self._steps, above, axis=0, out=sums, mode="clip")
        sums *= self._part[top : top + len(out)]
        sums += np.take(self._lines, above, axis=0, out=lines, mode="clip")
        np.right_shift(sums, 12, out=sums)
        np.copyto(out, sums, casting="unsafe")


def _cells(frame: np.ndarray) -> np.ndarray:
    """Brightness of the cells of uint8 [H, W, 3], int64 [rows, columns] in 16ths of a level."""
    height, width = frame.shape[:2]
    rows, columns, weights = _grid(height, width)
    lines = frame.reshape(height, width * 3)
    bands = [
        cv2.reduce(lines[top:bottom], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
        for top, bottom in zip(rows[:-1], rows[1:], strict=True)
    ]
    colours = np.array(bands, np.int64).reshape(len(bands), width, 3)
    sums = np.add.reduceat(colours @ np.array([1, 2, 1]), columns, 1)
    cells: np.ndarray = _UNIT * sums // weights
    return cells


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Where the rows of cells begin and the last ends, where columns begin, and 4 x each cell's pixels, int64."""
    short = min(height, width)
    count = min(_CELLS, short)
    rows, columns = (
        np.arange(cells + 1) * side // cells
        for side, cells in ((height, count * height // short), (width, count * width // short))
    )
    return rows.tolist(), columns[:-1], 4 * np.outer(np.diff(rows), np.diff(columns))


def _smooth(cells: np.ndarray) -> np.ndarray:
    """int64 [rows, columns], smoothed twice along both axes by (1, 2, 1), the edge cell repeated, // 256."""
    for _ in range(2):
        for turned in (False, True):
            own = cells.T if turned else cells
            smoothed = 2 * own
            smoothed[1:] += own[:-1]
            smoothed[:-1] += own[1:]
            smoothed[0] += own[0]
            smoothed[-1] += own[-1]
            cells = smoothed.T if turned else smoothed
    done: np.ndarray = cells // 256
    return done


@lru_cache(maxsize=8)
def _places(side: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a side the cell before it, and the 64ths behind that one's centre; int32 [side]."""
    places = np.clip(((2 * np.arange(side, dtype=np.int64) + 1) * cells * 32) // side - 32, 0, 64 * (cells - 1))
    return (places // 64).astype(np.int32), (places % 64).astype(np.int32)
