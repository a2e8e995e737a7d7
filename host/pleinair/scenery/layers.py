"""The frame, what a layer of the scene can do, and the layers whose shapes stand still.

A layer is prepared once, by its class's ``prepare(view, ...)``, which draws what stands still. Then :meth:`Layer.paint`
paints it over what is behind it, in the light of one :class:`~pleinair.scenery.light.Moment`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pleinair.scenery.exact import F32, F64, clip01, ramp, ramps
from pleinair.scenery.light import Moment
from pleinair.scenery.noise import make_key, uniform

#: Width of the scene, in frame heights.
ASPECT = 16.0 / 9.0
#: Scene x of the frame's middle.
MIDDLE = ASPECT / 2.0
#: Scene v below which the lake's mirror may begin; the shore lies at or below it.
SHORE = 0.612
_BAND_PIXELS = 40960  # the temporaries of a band of this size stay in a small core's second-level cache

#: A scene point: x, v.
Point = tuple[float, float]


@dataclass(frozen=True)
class View:
    """A frame's size and where the scene lies in it.

    ``flip`` mirrors the scene. screen_x: scene x of every column, left to right; x: the same in the scene as it was
    laid out, so it runs backwards where the scene is mirrored; v: of every row. float64.
    """

    width: int
    height: int
    seed: int
    flip: bool
    screen_x: F64
    x: F64
    v: F64

    @classmethod
    def of(cls, width: int, height: int, seed: int) -> View:
        """The view of a seed's scene."""
        # seed 0 is the demo's and has its village on the right
        flip = seed != 0 and uniform(make_key(seed, 1)) < 0.5
        columns: F64 = (np.arange(width, dtype=np.float64) + 0.5) * (ASPECT / width)
        rows: F64 = (np.arange(height, dtype=np.float64) + 0.5) * (1.0 / height)
        return cls(
            width=width,
            height=height,
            seed=seed,
            flip=flip,
            screen_x=columns,
            x=ASPECT - columns if flip else columns,
            v=rows,
        )

    @property
    def noon_x(self) -> float:
        """Scene x on the screen at which the sun stands at noon."""
        return ASPECT - 0.80 if self.flip else 0.80

    @property
    def land_end(self) -> int:
        """The first row in which there is neither sky nor land: from it on all is water or near bank."""
        return min(self.height, int(0.655 * self.height) + 3)

    def key(self, purpose: int) -> int:
        """The key of one purpose of this scene's seed."""
        return make_key(self.seed, purpose)

    def column(self, x: float) -> float:
        """Frame column of a scene x, fractional, pixel edges at integers."""
        return (ASPECT - x if self.flip else x) * (self.width / ASPECT)

    def polygon(self, points: Sequence[Point]) -> tuple[int, int, F64]:
        """Coverage of a convex polygon of scene points, antialiased: first row, first column, float64 [h, w]."""
        corners = [(self.column(x), v * self.height) for x, v in points]
        x0 = math.floor(min(p[0] for p in corners)) - 1
        x1 = math.ceil(max(p[0] for p in corners)) + 1
        y0 = math.floor(min(p[1] for p in corners)) - 1
        y1 = math.ceil(max(p[1] for p in corners)) + 1
        gx = np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5
        gy = np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5
        edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
        area = 0.0
        for (ax, ay), (bx, by) in edges:
            area += ax * by - bx * ay
        turn = 1.0 if area > 0.0 else -1.0
        cover: F64 = np.ones((y1 - y0, x1 - x0), np.float64)
        for (ax, ay), (bx, by) in edges:
            ex, ey = bx - ax, by - ay
            length = math.sqrt(ex * ex + ey * ey)
            if length < 1e-9:
                continue
            inside = ((gy - ay) * ex - (gx - ax) * ey) * (turn / length)
            # a product, not a minimum: a wall thinner than a pixel must fade, not vanish
            cover = cover * clip01(inside + 0.5)
        return y0, x0, cover


def painting_bands(start: int, stop: int, width: int) -> Iterator[slice]:
    """Rows start..stop of a width, in the bands in which a frame is painted; the last one may be lower."""
    return _bands(start, stop, _BAND_PIXELS // width)


def preparing_bands(start: int, stop: int, width: int) -> Iterator[slice]:
    """Rows start..stop of a width, in the bands in which a layer is prepared; the last one may be lower.

    They are part of the picture: noise counts from the corner of its band, and so rounds.
    """
    return _bands(start, stop, 4 * _BAND_PIXELS // width)


def _bands(start: int, stop: int, rows: int) -> Iterator[slice]:
    rows = max(1, rows)
    for first in range(start, stop, rows):
        yield slice(first, min(first + rows, stop))


def shore(x: float) -> float:
    """The far shore's v at scene x."""
    return SHORE + 0.038 * ramp(x, 0.85, 1.75)


def shores(x: F64) -> F64:
    """The far shore's v at every scene x."""
    return SHORE + 0.038 * ramps(x, 0.85, 1.75)


class Layer(Protocol):
    """A part of the scene."""

    def paint(self, canvas: F32, moment: Moment) -> None:
        """Paint this layer over what is behind it.

        canvas: float32 [3, height, width], the whole frame, 0 black and 1 white.
        """


class Relief:
    """A layer whose shapes stand still and whose light changes.

    It covers rows y0..y1 and columns x0..x1 of the frame. Its planes are float32 [rows, columns]: ``albedo`` (red,
    green, blue), ``side`` (-1 faces left, 1 faces right), ``haze`` (0 near, 1 lost in the air) ``alpha`` (coverage).
    """

    def __init__(self, y0: int, y1: int, x0: int, x1: int) -> None:
        self.y0, self.y1, self.x0, self.x1 = y0, y1, x0, x1
        shape = (max(0, y1 - y0), max(0, x1 - x0))
        self.albedo: list[F32] = [np.zeros(shape, np.float32) for _ in range(3)]
        self.side: F32 = np.zeros(shape, np.float32)
        self.haze: F32 = np.zeros(shape, np.float32)
        self.alpha: F32 = np.zeros(shape, np.float32)

    def lay(
        self,
        y0: int,
        x0: int,
        cover: F64,
        *,
        colour: Sequence[float | F64],
        side: float | F64,
        haze: float | F64,
    ) -> None:
        """Lay paint over a rectangle whose first pixel is (y0, x0) of the frame; it is cut to this layer.

        cover: float64 [h, w] in 0..1; colour: three scalars or arrays that broadcast to [h, w]; side, haze alike.
        """
        h, w = cover.shape
        ya, yb = max(y0, self.y0), min(y0 + h, self.y1)
        xa, xb = max(x0, self.x0), min(x0 + w, self.x1)
        if ya >= yb or xa >= xb:
            return
        source = (slice(ya - y0, yb - y0), slice(xa - x0, xb - x0))
        target = (slice(ya - self.y0, yb - self.y0), slice(xa - self.x0, xb - self.x0))
        c = cover[source]
        under = self.alpha[target].astype(np.float64)
        both = c + under * (1.0 - c)
        # paint over nothing keeps its full colour, or every outline would have a dark rim
        c = c / np.maximum(both, 1e-6)
        self.alpha[target] = both.astype(np.float32)
        planes = (*self.albedo, self.side, self.haze)
        for plane, value in zip(planes, (*colour, side, haze), strict=True):
            full: F64 = np.broadcast_to(np.asarray(value, np.float64), cover.shape)[source]
            part = plane[target]
            old = part.astype(np.float64)
            part[...] = (old + c * (full - old)).astype(np.float32)

    def mirror_sides(self) -> None:
        """Turn every face to the other side, for a scene that is mirrored."""
        np.negative(self.side, out=self.side)

    def paint(self, canvas: F32, moment: Moment) -> None:
        """See :class:`Layer`: a face of side s shows its albedo times base + slope * s, behind the air."""
        width = self.x1 - self.x0
        if width <= 0:
            return
        base, slope = moment.base, moment.slope
        for s in painting_bands(0, self.y1 - self.y0, width):
            side, fog, alpha = self.side[s], self.haze[s], self.alpha[s]
            rows = slice(self.y0 + s.start, self.y0 + s.stop)
            for c in range(3):
                col = side * slope[c]
                col += base[c]
                col *= self.albedo[c][s]
                air = moment.air[c][None, self.x0 : self.x1] - col
                air *= fog
                col += air
                out = canvas[c, rows, self.x0 : self.x1]
                col -= out
                col *= alpha
                out += col
