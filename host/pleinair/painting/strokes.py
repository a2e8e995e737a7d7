"""Strokes: a frame is painted at 1/N of its size and enlarged again, so that a large photo gets brush strokes.

A network paints strokes of so many pixels, whatever the size of the frame: on 12 megapixels they are a texture. Painted
at a third of the size and enlarged, they are three times as wide, and painting costs a ninth.

Both filters are exact in integers, so every machine paints the same pixels. A frame whose sides are no multiples of N
is continued by its last row and column first, and its painting is cut::

    small = (sum of N x N pixels + N * N // 2) // (N * N)
    large = clip((sum over 4 x 4 small pixels of w * w' * pixel + D * D // 2) // D * D, 0, 255)

w and w' are the weights of a Catmull-Rom spline (a cubic filter with a = -1/2; Keys 1981) between the centres of the
small pixels. With d = 2 N and a place u / d behind the second of four pixels in a row, they are whole numbers, and
their sum is D = 2 d^3::

    -u^3 + 2 u^2 d - u d^2    3 u^3 - 5 u^2 d + 2 d^3    -3 u^3 + 4 u^2 d + u d^2    u^3 - u^2 d

Pixels beyond an edge are those at the edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from pleinair.errors import ImageError, OptionError
from pleinair.painting.painter import Painter, Spent, checked_frame
from pleinair.painting.tiles import MIN_SIDE

MOST = 4
AUTO = "auto"
#: Small rows that are enlarged at a time, which bounds memory.
_BAND = 64


def choose_strokes(strokes: int | str, size: tuple[int, int], trained: int | None) -> int:
    """The whole number of ``strokes``, 1 to :data:`MOST` or "auto", for frames of ``size`` (width, height).

    ``auto`` brings the shorter side as near as it can to ``trained``, that of the photos in training (None where nobody
    knows). Raises OptionError.
    """
    side = min(size)
    if strokes == AUTO:
        if trained is None:
            raise OptionError(
                f"{AUTO}: this style does not say how large photos were in training; give 1 to {MOST}", option="strokes"
            )
        return min(range(1, MOST + 1), key=lambda n: (abs(side - n * trained), n) if side >= n * MIN_SIDE else (1e9, n))
    if not isinstance(strokes, int) or isinstance(strokes, bool) or not 1 <= strokes <= MOST:
        raise OptionError(f"{strokes!r}: 1 to {MOST}, or {AUTO}", option="strokes")
    if side < strokes * MIN_SIDE:
        raise OptionError(
            f"{strokes}: frames of {size[0]}x{size[1]} would be painted at {side // strokes} pixels a side, "
            f"painted are {MIN_SIDE} and more",
            option="strokes",
        )
    return strokes


def shrink(frame: np.ndarray, strokes: int) -> np.ndarray:
    """uint8 [H, W, 3] to [ceil(H / N), ceil(W / N), 3]: the mean of N x N pixels, rounded."""
    height, width = frame.shape[:2]
    padded = np.pad(frame, [(0, -height % strokes), (0, -width % strokes), (0, 0)], mode="edge")
    sums = np.full((padded.shape[0] // strokes, padded.shape[1] // strokes, 3), strokes * strokes // 2, np.uint16)
    for row in range(strokes):
        for column in range(strokes):
            sums += padded[row::strokes, column::strokes]
    small: np.ndarray = (sums // np.uint16(strokes * strokes)).astype(np.uint8)
    return small


def weights(strokes: int) -> list[tuple[int, tuple[int, int, int, int]]]:
    """For each of the N large pixels of a small one: the first of four small pixels, from its own on, and weights."""
    d, found = 2 * strokes, list[tuple[int, tuple[int, int, int, int]]]()
    for place in range(strokes):
        second, u = divmod(2 * place + 1 - strokes, d)
        found.append(
            (
                second - 1,
                (
                    -(u**3) + 2 * u**2 * d - u * d**2,
                    3 * u**3 - 5 * u**2 * d + 2 * d**3,
                    -3 * u**3 + 4 * u**2 * d + u * d**2,
                    u**3 - u**2 * d,
                ),
            )
        )
    return found


def enlarge(small: np.ndarray, strokes: int, height: int, width: int) -> np.ndarray:
    """uint8 [h, w, 3] to [height, width, 3], which is N times as large less what was continued."""
    taps, unit = weights(strokes), 2 * (2 * strokes) ** 3
    # Sums stay below 255 x 1.25^2 x 1024^2, so int32 holds them.
    edged = np.pad(small, [(2, 2), (2, 2), (0, 0)], mode="edge")
    large = np.empty((height, width, 3), np.uint8)
    for top in range(0, len(small), _BAND):
        rows = min(_BAND, len(small) - top)
        band = edged[top : top + rows + 4].astype(np.int32)
        tall = np.empty((rows * strokes, band.shape[1], 3), np.int32)
        for place, (first, factors) in enumerate(taps):
            parts = (band[2 + first + k : 2 + first + k + rows] * factor for k, factor in enumerate(factors))
            tall[place::strokes] = _sum(parts)
        tall = tall[: max(0, height - top * strokes)]
        for place, (first, factors) in enumerate(taps):
            across = -(-(width - place) // strokes)
            parts = (tall[:, 2 + first + k : 2 + first + k + across] * factor for k, factor in enumerate(factors))
            sums = _sum(parts)
            sums += unit * unit // 2
            sums //= unit * unit
            np.clip(sums, 0, 255, out=sums)
            large[top * strokes : top * strokes + len(tall), place::strokes] = sums
    return large


def _sum(parts: Iterator[np.ndarray]) -> np.ndarray:
    total = next(parts)
    for part in parts:
        total += part
    return total


class StrokesPainter(Painter):
    """Paints frames at 1/N of their size with another painter, and enlarges the paintings. Closing it closes both."""

    def __init__(self, painter: Painter, strokes: int) -> None:
        """Raises ValueError for ``strokes`` outside 2 .. :data:`MOST`."""
        if not 2 <= strokes <= MOST:
            raise ValueError(f"strokes {strokes}: 2 to {MOST}")
        self.name = f"{painter.name}, strokes {strokes} times as large"
        self.adaptive, self.own_light_only = painter.adaptive, painter.own_light_only
        self.strokes, self._painter = strokes, painter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._painter!r}>"

    @property
    def spent(self) -> Spent:  # type: ignore[override]
        """What the other painter has taken; the filters are not counted."""
        return self._painter.spent

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See :class:`~pleinair.painting.painter.Painter`; frames are at least 16 N pixels a side."""
        painting = self._painter.paint(self._small(frame))
        return enlarge(painting, self.strokes, *frame.shape[:2])

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See :class:`~pleinair.painting.painter.Painter`."""
        shapes = deque[tuple[int, int]]()

        def small() -> Iterator[np.ndarray]:
            for frame in frames:
                shrunk = self._small(frame)
                shapes.append((frame.shape[0], frame.shape[1]))
                yield shrunk

        with closing(self._painter.paint_each(small())) as paintings:
            for painting in paintings:
                yield enlarge(painting, self.strokes, *shapes.popleft())

    def _small(self, frame: np.ndarray) -> np.ndarray:
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        if min(height, width) < self.strokes * MIN_SIDE:
            least = self.strokes * MIN_SIDE
            raise ImageError(
                f"frame of {width}x{height}: with strokes {self.strokes} it needs {least}x{least} and more"
            )
        return shrink(frame, self.strokes)

    def lit_by(self, light: Any) -> Painter:
        """See :class:`~pleinair.painting.painter.Painter`; light is metered in the small frames."""
        lit = self._painter.lit_by(light)
        return self if lit is self._painter else StrokesPainter(lit, self.strokes)

    def close(self) -> None:
        """See :class:`~pleinair.painting.painter.Painter`."""
        self._painter.close()


def with_strokes(painter: Painter, strokes: int) -> Painter:
    """A painter with strokes N times as large; 1 leaves it as it is."""
    return painter if strokes == 1 else StrokesPainter(painter, strokes)
