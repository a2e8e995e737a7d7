"""The village: houses along the shore and up the hill, a church, trees and quay lamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pleinair.scenery.exact import F32, Colour, blend, clip01, clip11, rgb
from pleinair.scenery.lamps import Burning, Lamps
from pleinair.scenery.land import Land
from pleinair.scenery.layers import ASPECT, SHORE, Point, View, shore
from pleinair.scenery.light import Moment
from pleinair.scenery.noise import fbm, make_key, uniform

_WALLS = (rgb(236, 224, 200), rgb(226, 206, 170), rgb(240, 234, 222), rgb(214, 190, 160), rgb(226, 196, 178))
_ROOFS = (rgb(176, 84, 58), rgb(158, 70, 54), rgb(190, 104, 66), rgb(116, 98, 104))
_BRICK = rgb(150, 96, 78)
_STONE = rgb(222, 208, 184)
_SLATE = rgb(104, 108, 128)
_PANE: Colour = (0.20, 0.22, 0.27)
_IRON: Colour = (0.16, 0.16, 0.18)
_HAZE = 0.07  # of houses and church


class _Site(NamedTuple):
    """Where a house stands: scene x of its left edge, v of its foot, and its size in frame heights."""

    x: float
    base: float
    size: float


def _rectangle(x0: float, x1: float, top: float, foot: float) -> list[Point]:
    """The corners of an upright rectangle."""
    return [(x0, top), (x1, top), (x1, foot), (x0, foot)]


def _sites(key: int, church: float) -> tuple[list[_Site], list[_Site]]:
    """The houses up the hill, apart from the church at scene x ``church``, and those along the quay."""
    uphill: list[_Site] = []
    for i in range(5):
        x = 1.08 + 0.135 * i + 0.05 * (uniform(key, 2, i) - 0.5)
        if not church - 0.10 < x < church + 0.10:
            uphill.append(_Site(x, shore(x) - 0.058 - 0.022 * uniform(key, 3, i), 0.046))
    quay: list[_Site] = []
    x = 1.00 + 0.03 * uniform(key, 4)
    while x < 1.70:
        i = len(quay)
        size = 0.056 + 0.016 * uniform(key, 5, i)
        quay.append(_Site(x, shore(x) - 0.010 - 0.014 * uniform(key, 6, i), size))
        x += size * (1.35 + 1.1 * uniform(key, 7, i))
    return uphill, quay


class Village:
    """The village's walls and trees are drawn on the land; as a layer of its own it is the lights after dark."""

    def __init__(self, view: View, land: Land) -> None:
        self._view = view
        self._land = land
        self._lamps = Lamps(view)

    @classmethod
    def prepare(cls, view: View, land: Land) -> Village:
        """Draw the village on the land, from far to near."""
        village = cls(view, land)
        key = view.key(50)
        village._draw_poplars(key)
        church = 1.22 + 0.16 * uniform(key, 1)
        uphill, quay = _sites(key, church)
        for index, site in enumerate(uphill):
            village._draw_house(site, index)
        village._draw_church(church, shore(church) - 0.046)
        village._draw_trees(key)
        for index, site in enumerate(quay, start=len(uphill)):
            village._draw_house(site, index)
        village._draw_bushes(key)
        village._draw_quay_lamps(key)
        return village

    def paint(self, canvas: F32, moment: Moment) -> None:
        """See :class:`~pleinair.scenery.layers.Layer`: the windows and lamps that burn."""
        self._lamps.paint(canvas, moment)

    def _draw(self, points: Sequence[Point], colour: Colour, *, side: float, haze: float = _HAZE) -> None:
        """Paint a convex polygon on the land; it hides the lamps behind it."""
        y0, x0, cover = self._view.polygon(points)
        self._land.lay(y0, x0, cover, colour=colour, side=-side if self._view.flip else side, haze=haze)
        self._lamps.hide(y0, x0, cover)

    def _draw_crown(
        self,
        x: float,
        v: float,
        *,
        radius_x: float,
        radius_v: float,
        colour: Colour,
        haze: float,
        key: int,
    ) -> None:
        """Paint a tree's crown on the land: a ragged ball about (x, v); it hides the lamps behind it."""
        view = self._view
        cx, cy = view.column(x), v * view.height
        sx, sy = radius_x * view.width / ASPECT, radius_v * view.height
        x0, x1 = math.floor(cx - 1.3 * sx) - 1, math.ceil(cx + 1.3 * sx) + 1
        y0, y1 = math.floor(cy - 1.3 * sy) - 1, math.ceil(cy + 1.3 * sy) + 1
        dx = (np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / sx)
        dy = (np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / sy)
        n = fbm(dx * 1.9 + 0.0 * dy, dy * 1.9 + 0.0 * dx, key, 3)
        r = np.sqrt(dx * dx + dy * dy) + 0.22 * n
        cover = clip01((1.0 - r) * min(sx, sy) + 0.5)
        lift = 1.0 + 0.45 * n - 0.45 * dy
        self._land.lay(y0, x0, cover, colour=[c * lift for c in colour], side=clip11(0.75 * dx + 0.4 * n), haze=haze)
        self._lamps.hide(y0, x0, cover)

    def _draw_poplars(self, key: int) -> None:
        """A row of poplars across the lake."""
        start = 0.44 + 0.12 * uniform(key, 900)
        for i in range(7 + int(4 * uniform(key, 901))):
            tall = 0.028 + 0.014 * uniform(key, 903, i)
            self._draw_crown(
                start + i * 0.021 + 0.008 * uniform(key, 902, i),
                SHORE - tall,
                radius_x=0.0062,
                radius_v=tall,
                colour=(0.20, 0.33, 0.18),
                haze=0.16,
                key=make_key(key, 904 + i),
            )

    def _draw_trees(self, key: int) -> None:
        """Trees between the houses of the hill and those of the quay."""
        count = 16
        for i in range(count):
            x = 0.98 + 0.78 * (i + uniform(key, 8, i)) / count
            base = shore(x) - 0.02 - 0.05 * uniform(key, 9, i)
            r = 0.012 + 0.012 * uniform(key, 10, i)
            green = blend((0.17, 0.31, 0.15), (0.30, 0.38, 0.16), uniform(key, 11, i))
            crown = make_key(key, 40 + i)
            self._draw_crown(x, base - r, radius_x=r, radius_v=r * 1.15, colour=green, haze=_HAZE, key=crown)

    def _draw_bushes(self, key: int) -> None:
        """Bushes at the water."""
        count = 9
        for i in range(count):
            x = 0.96 + 0.8 * (i + uniform(key, 12, i)) / count
            r = 0.007 + 0.009 * uniform(key, 13, i)
            crown = make_key(key, 70 + i)
            self._draw_crown(x, shore(x) - r, radius_x=r, radius_v=r, colour=(0.21, 0.35, 0.15), haze=0.05, key=crown)

    def _draw_quay_lamps(self, key: int) -> None:
        """The lamps of the quay, lit before the windows and burning all night."""
        for i in range(4):
            x = 1.06 + 0.17 * i + 0.03 * uniform(key, 14, i)
            v = shore(x) - 0.036
            self._draw(_rectangle(x - 0.0012, x + 0.0012, v, shore(x)), _IRON, side=0.0, haze=0.03)
            self._lamps.add(
                _rectangle(x - 0.0045, x + 0.0045, v - 0.006, v + 0.003),
                halo=0.05,
                burning=Burning(on=19.25 + 0.08 * i, off=30.0),
                colour=(1.0, 0.90, 0.55),
            )

    def _draw_window(self, x: float, v: float, w: float, h: float, index: int) -> None:
        """A window centred at (x, v): dark by day, lit for some of the dark hours."""
        key = self._view.key(51)
        pane = _rectangle(x - w / 2, x + w / 2, v - h / 2, v + h / 2)
        self._draw(pane, _PANE, side=0.0, haze=0.06)
        a, b, c = uniform(key, index, 0), uniform(key, index, 1), uniform(key, index, 2)
        # somebody never sleeps
        off = 31.0 if c < 0.22 else 22.2 + 3.6 * b
        burning = Burning(on=18.9 + 2.0 * a, off=off)
        if c > 0.55:
            burning = burning._replace(morning_on=4.6 + 1.3 * uniform(key, index, 3), morning_off=6.3 + 0.6 * b)
        hue = uniform(key, index, 4)
        self._lamps.add(pane, halo=0.026, burning=burning, colour=blend((1.0, 0.80, 0.34), (1.0, 0.66, 0.26), hue))

    def _draw_house(self, site: _Site, index: int) -> None:
        """A house with its gable to the left and its long wall to the right."""
        key = self._view.key(52)
        r = [uniform(key, index, j) for j in range(8)]
        x, base, size = site
        gable = size * (0.42 + 0.12 * r[0])
        long = size * (0.75 + 0.5 * r[1])
        wall = size * (0.46 + 0.18 * r[2])
        roof = size * (0.36 + 0.10 * r[3])
        paint = _WALLS[int(r[4] * len(_WALLS))]
        tiles = _ROOFS[int(r[5] * len(_ROOFS))]
        eave = base - wall
        ridge = eave - roof
        x1, x2 = x + gable, x + gable + long
        foot = base + 0.01
        # the long wall reaches behind the gable, or a seam would show where they meet
        self._draw(_rectangle(x1 - 0.003, x2, eave, foot), paint, side=0.45)
        self._draw([(x, eave), (x + gable / 2, ridge), (x1, eave), (x1, foot), (x, foot)], paint, side=-0.75)
        over = 0.06 * size
        self._draw(
            [
                (x + gable / 2, ridge - 0.2 * over),
                (x2 - gable / 2 + over, ridge),
                (x2 + over, eave + over),
                (x1 - 0.3 * over, eave + over),
            ],
            tiles,
            side=0.35,
        )
        chimney = x + gable / 2 + long * (0.3 + 0.4 * r[6])
        self._draw(_rectangle(chimney, chimney + 0.10 * size, eave - roof * 1.3, eave - roof * 0.75), _BRICK, side=0.0)
        w, h = 0.15 * size, 0.21 * size
        self._draw_window(x + gable / 2, eave + 0.42 * wall, w, h, index * 8)
        count = 2 if long < size else 3
        for j in range(count):
            at = x1 + long * (j + 0.5) / count
            self._draw_window(at, eave + 0.48 * wall, w, h, index * 8 + 1 + j)

    def _draw_church(self, x: float, base: float) -> None:
        """A church, its foot at (x, base): a tower with a spire, the nave to its right."""
        w, tall, spire = 0.034, 0.105, 0.078
        foot = base + 0.02
        nave, eave = 0.088, base - 0.045
        self._draw(_rectangle(x + w, x + w + nave, eave, foot), _STONE, side=0.4)
        self._draw(
            [
                (x + w * 0.7, eave - 0.034),
                (x + w + nave * 0.9, eave - 0.034),
                (x + w + nave + 0.004, eave + 0.003),
                (x + w, eave + 0.003),
            ],
            _SLATE,
            side=0.3,
        )
        top = base - tall
        self._draw(_rectangle(x, x + w, top, foot), _STONE, side=0.5)
        self._draw(_rectangle(x, x + 0.42 * w, top, foot), _STONE, side=-0.8)
        e = 0.004
        self._draw([(x - e, top), (x + 0.5 * w, top - spire), (x + w + e, top)], _SLATE, side=0.5)
        self._draw([(x - e, top), (x + 0.5 * w, top - spire), (x + 0.45 * w, top)], _SLATE, side=-0.8)
        self._draw_window(x + 0.70 * w, top + 0.020, 0.009, 0.016, 401)
        self._draw_window(x + 0.70 * w, top + 0.055, 0.007, 0.012, 402)
        for j in range(4):
            self._draw_window(x + w + nave * (j + 0.5) / 4.0, eave + 0.022, 0.0085, 0.019, 410 + j)
