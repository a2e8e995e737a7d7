"""Lights that burn after dark: a pane that shines, and a halo about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pleinair.scenery.exact import F32, F64, Colour, ramp
from pleinair.scenery.layers import ASPECT, Point, View
from pleinair.scenery.light import Moment


class Burning(NamedTuple):
    """When a lamp burns: hours of the evening, past 24 after midnight, and of the morning.

    morning_on is 0 for a lamp that is not lit in the morning.
    """

    on: float
    off: float
    morning_on: float = 0.0
    morning_off: float = 0.0

    def level(self, hour: float) -> float:
        """How brightly the lamp burns at an hour of the day, 0..1; it comes and goes in a quarter of an hour."""
        level = 0.0
        for late in (hour, hour + 24.0):
            level = max(level, ramp(late, self.on, self.on + 0.25) * ramp(late, self.off + 0.25, self.off))
        if self.morning_on > 0.0:
            rising = ramp(hour, self.morning_on, self.morning_on + 0.25)
            level = max(level, rising * ramp(hour, self.morning_off + 0.25, self.morning_off))
        return level


class _Lamp(NamedTuple):
    """A lamp: its first row and column in the frame, its shine per channel, float32 [h, w], and its hours."""

    y0: int
    x0: int
    shine: tuple[F32, F32, F32]
    burning: Burning


class Lamps:
    """The layer of all lamps, in the order they were added."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._lamps: list[_Lamp] = []

    def add(self, points: Sequence[Point], *, halo: float, burning: Burning, colour: Colour) -> None:
        """Add a light whose pane is an upright rectangle, with a halo of the given radius about it."""
        view = self._view
        y0, x0, pane = view.polygon(points)
        xs = [view.column(p[0]) for p in points]
        vs = [p[1] for p in points]
        cx = 0.5 * (min(xs) + max(xs))
        cy = 0.5 * (min(vs) + max(vs)) * view.height
        reach_x = halo * view.width / ASPECT
        reach_y = halo * view.height
        xa, xb = max(0, math.floor(cx - reach_x)), min(view.width, math.ceil(cx + reach_x))
        ya, yb = max(0, math.floor(cy - reach_y)), min(view.height, math.ceil(cy + reach_y))
        xa, ya = min(xa, max(0, x0)), min(ya, max(0, y0))
        xb = max(xb, min(view.width, x0 + pane.shape[1]))
        yb = max(yb, min(view.height, y0 + pane.shape[0]))
        yb = min(yb, view.land_end)
        if xa >= xb or ya >= yb:
            return
        dx = (np.arange(xa, xb, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / reach_x)
        dy = (np.arange(ya, yb, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / reach_y)
        q = dx * dx + dy * dy
        fall = np.maximum(1.0 - q, 0.0)
        glow = 0.34 * fall * fall / (1.0 + 9.0 * q)
        core: F64 = np.zeros_like(glow)
        sy, sx = max(y0, ya), max(x0, xa)
        # of a pane beyond the frame's edge only the halo is seen
        part = pane[sy - y0 : max(sy, yb) - y0, sx - x0 : max(sx, xb) - x0]
        core[sy - ya : sy - ya + part.shape[0], sx - xa : sx - xa + part.shape[1]] = part
        shine = [
            (core * (0.95 * c) + glow * c * g).astype(np.float32)
            for c, g in zip(colour, (1.0, 0.72, 0.42), strict=True)
        ]
        self._lamps.append(_Lamp(ya, xa, (shine[0], shine[1], shine[2]), burning))

    def hide(self, y0: int, x0: int, cover: F64) -> None:
        """Hide what lies behind paint of coverage ``cover``, float64 [h, w], laid at row y0 and column x0."""
        h, w = cover.shape
        for lamp in self._lamps:
            lh, lw = lamp.shine[0].shape
            ya, yb = max(y0, lamp.y0), min(y0 + h, lamp.y0 + lh)
            xa, xb = max(x0, lamp.x0), min(x0 + w, lamp.x0 + lw)
            if ya >= yb or xa >= xb:
                continue
            keep = 1.0 - 0.9 * cover[ya - y0 : yb - y0, xa - x0 : xb - x0]
            for plane in lamp.shine:
                part = plane[ya - lamp.y0 : yb - lamp.y0, xa - lamp.x0 : xb - lamp.x0]
                part[...] = (part * keep).astype(np.float32)

    def paint(self, canvas: F32, moment: Moment) -> None:
        """See :class:`~pleinair.scenery.layers.Layer`: add the lamps that burn at the moment's hour."""
        for lamp in self._lamps:
            level = lamp.burning.level(moment.heavens.hour)
            if level <= 0.0:
                continue
            h, w = lamp.shine[0].shape
            for c in range(3):
                out = canvas[c, lamp.y0 : lamp.y0 + h, lamp.x0 : lamp.x0 + w]
                room = 1.12 - out
                room *= lamp.shine[c]
                room *= level
                out += room
