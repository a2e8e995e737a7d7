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
        # Kept from frame to frame: new memory of this size costs more than the arithmetic in it.
        self._products = np.empty((0, 0, 3), np.uint16)

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
        gains = _between(gain, painting)
        # At most 255 x 256 + 64, which uint16 holds.
        if self._products.shape != painting.shape:
            self._products = np.empty(painting.shape, np.uint16)
        products = np.multiply(painting, cv2.merge((gains, gains, gains)), out=self._products)
        products += _ONE // 2
        products >>= 7
        toned: np.ndarray = cv2.convertScaleAbs(products)  # to uint8; what is greater than 255 becomes 255
        return toned


def _cells(frame: np.ndarray) -> np.ndarray:
    """Brightness of the cells of uint8 [H, W, 3], int64 [rows, columns] in 16ths of a level."""
    height, width = frame.shape[:2]
    short = min(height, width)
    count = min(_CELLS, short)
    rows, columns = (
        np.arange(cells + 1) * side // cells
        for side, cells in ((height, count * height // short), (width, count * width // short))
    )
    lines = frame.reshape(height, width * 3)
    bands = [
        cv2.reduce(lines[top:bottom], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
        for top, bottom in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
    ]
    colours = np.array(bands, np.int64).reshape(len(bands), width, 3)
    sums = np.add.reduceat(colours @ np.array([1, 2, 1]), columns[:-1], 1)
    cells: np.ndarray = _UNIT * sums // (4 * np.outer(np.diff(rows), np.diff(columns)))
    return cells


def _smooth(cells: np.ndarray) -> np.ndarray:
    for _ in range(2):
        for axis in (0, 1):
            padded = np.pad(cells, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            count = cells.shape[axis]
            before, own, after = (np.take(padded, range(i, i + count), axis) for i in range(3))
            cells = before + 2 * own + after
    smoothed: np.ndarray = cells // 256
    return smoothed


def _between(cells: np.ndarray, painting: np.ndarray) -> np.ndarray:
    """Values 0 .. 256 between the cells' centres, uint16 [H, W]. Sums stay below 2^24.

    Not a matrix product: libraries for those have threads, which spin for a while after each, on the painter's cores.
    """
    (above, part), (left, weight) = (_places(side, cells.shape[axis]) for axis, side in enumerate(painting.shape[:2]))
    cells = cells.astype(np.int32)
    right = np.minimum(left + 1, cells.shape[1] - 1)
    lines = cells[:, left] * (64 - weight) + cells[:, right] * weight
    steps = np.diff(lines, axis=0, append=lines[-1:])
    lines <<= 6
    spread = np.take(steps, above, axis=0, mode="clip")
    spread *= part[:, None]
    spread += np.take(lines, above, axis=0, mode="clip")
    spread >>= 12
    between: np.ndarray = spread.astype(np.uint16)
    return between


@lru_cache(maxsize=8)
def _places(side: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a side the cell before it, and the 64ths behind that one's centre; int32 [side]."""
    places = np.clip(((2 * np.arange(side, dtype=np.int64) + 1) * cells * 32) // side - 32, 0, 64 * (cells - 1))
    return (places // 64).astype(np.int32), (places % 64).astype(np.int32)
