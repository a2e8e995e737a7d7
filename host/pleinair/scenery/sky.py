"""The sky of the frame: the cloudy sky enlarged, with stars behind its clouds, the moon and the sun."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pleinair.scenery.clouds import SkyGrid
from pleinair.scenery.exact import F32, F64, Colour, blend, cos, ramp, ramps, sin
from pleinair.scenery.layers import ASPECT, MIDDLE, View, painting_bands
from pleinair.scenery.light import Heavens, Moment, Moon
from pleinair.scenery.noise import fbm, uniform

_STARS = 900


class _Patch(NamedTuple):
    """The pixels about a scene point.

    dx, dy: offsets from the point in frame heights, float64 [1, columns] and [rows, 1], round on the screen whatever
    the frame's shape; pixel: a pixel's size in the same unit.
    """

    rows: slice
    columns: slice
    dx: F64
    dy: F64
    pixel: float


@dataclass(frozen=True)
class Sky:
    """The layer behind all others. stars: float64 [n, 4]: x and y on their disc, brightness, size."""

    view: View
    grid: SkyGrid
    stars: F64

    @classmethod
    def prepare(cls, view: View, grid: SkyGrid) -> Sky:
        """Strew stars over a disc that turns about a point below the lake."""
        key = view.key(20)
        rows: list[tuple[float, float, float, float]] = []
        for k in range(_STARS):
            r = math.sqrt(0.12 + 1.9 * uniform(key, k, 0))
            turn = uniform(key, k, 1)
            m = uniform(key, k, 2)
            bright = 0.16 + 0.84 * m * m * m
            size = 1.0 + 0.5 * m
            if k % 26 == 0:
                bright, size = 1.0, 2.1 + 1.1 * uniform(key, k, 3)
            rows.append((r * cos(turn), r * sin(turn), bright, size))
        return cls(view, grid, np.array(rows, dtype=np.float64))

    def paint(self, canvas: F32, moment: Moment) -> None:
        """See :class:`~pleinair.scenery.layers.Layer`: the rows down to the land's end."""
        heavens = moment.heavens
        stars = self._star_plane(heavens.hours, heavens.moon) if heavens.dark > 0.3 else None
        self._paint_air(canvas, moment, stars)
        self._paint_moon(canvas, moment.through, heavens)
        if heavens.sun.altitude > -0.12:
            self._paint_sun(canvas, moment.through, heavens)

    def _paint_air(self, canvas: F32, moment: Moment, stars: F32 | None) -> None:
        """Bring the coarse sky up to the frame's size, with the stars behind the clouds."""
        shine = ramp(moment.heavens.dark, 0.3, 1.0)
        tint: Colour = (1.0 * shine, 0.97 * shine, 0.84 * shine)
        for s in painting_bands(0, self.view.land_end, self.view.width):
            for c in range(3):
                canvas[c, s] = self.grid.enlarge(moment.sky[c], s)
            if stars is None or s.start >= stars.shape[0]:
                continue
            bright = stars[s] * self.grid.enlarge(moment.through, s)[: stars.shape[0] - s.start]
            for c in range(3):
                canvas[c, s.start : s.start + bright.shape[0]] += bright * tint[c]

    def _star_plane(self, hours: float, moon: Moon) -> F32:
        """The stars at a time on the frame's upper rows, float32 [rows, width]; those near the moon drown."""
        w, h = self.view.width, self.view.height
        rows = int(0.60 * h)
        turn = hours / 60.0
        co, si = cos(turn), sin(turn)
        sx, sy = self.stars[:, 0], self.stars[:, 1]
        x = (MIDDLE + sx * co - sy * si) * (w / ASPECT)
        v = 1.02 + sx * si + sy * co
        keep = (v > -0.02) & (v < 0.58) & (x > -8.0) & (x < w + 8.0)
        x, y = x[keep], v[keep] * h
        bright = self.stars[keep, 2] * (1.0 - ramps(v[keep], 0.30, 0.58))
        size = self.stars[keep, 3]
        ux, uy = x * (ASPECT / w) - moon.x, v[keep] - moon.v
        bright = bright * (1.0 - moon.shine / (1.0 + 60.0 * (ux * ux + uy * uy)))
        want = size * (0.0031 * h)
        radius = np.maximum(want, 1.2)
        bright = bright * (want / radius) * (want / radius)
        plane: NDArray[np.int32] = np.zeros(rows * w, np.int32)
        for big in (False, True):
            pick = (size > 1.9) == big
            if not bool(np.any(pick)):
                continue
            reach = 2.6 if big else 1.0
            m = int(math.ceil(float(np.max(radius[pick])) * reach)) + 1
            o = np.arange(-m, m + 1, dtype=np.float64)
            px = np.floor(x[pick])[:, None, None] + o[None, None, :]
            py = np.floor(y[pick])[:, None, None] + o[None, :, None]
            ex = px + 0.5 - x[pick][:, None, None]
            ey = py + 0.5 - y[pick][:, None, None]
            q = (ex * ex + ey * ey) / (radius[pick] * radius[pick])[:, None, None]
            f = np.maximum(1.0 - q, 0.0)
            f = f * f
            if big:
                g = np.maximum(1.0 - q * (1.0 / (reach * reach)), 0.0)
                f = 0.85 * f + 0.42 * g * g * g
            value = f * bright[pick][:, None, None]
            inside = (px >= 0.0) & (px < w) & (py >= 0.0) & (py < rows) & (value > 0.0)
            at = (py * float(w) + px)[inside].astype(np.intp)
            # whole numbers, because stars that touch are added in no promised order
            np.add.at(plane, at, np.floor(value[inside] * 65536.0).astype(np.int32))
        out = plane.astype(np.float32).reshape(rows, w)
        out *= 1.0 / 65536.0
        return out

    def _patch(self, x: float, v: float, reach: float) -> _Patch | None:
        """The pixels within ``reach`` frame heights of a scene point, or None where the frame has none."""
        w, h = self.view.width, self.view.height
        unit = float(min(h, w * 9.0 / 16.0))
        cx, cy = x * (w / ASPECT), v * h
        r = reach * unit
        x0, x1 = max(0, math.floor(cx - r)), min(w, math.ceil(cx + r) + 1)
        y0, y1 = max(0, math.floor(cy - r)), min(self.view.land_end, math.ceil(cy + r) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        dx = (np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / unit)
        dy = (np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / unit)
        return _Patch(slice(y0, y1), slice(x0, x1), dx, dy, 1.0 / unit)

    def _paint_sun(self, canvas: F32, through: F32, heavens: Heavens) -> None:
        """The sun's disc and the glare close about it."""
        patch = self._patch(heavens.sun.x, heavens.sun.v, 0.16)
        if patch is None:
            return
        rows, columns, dx, dy, pixel = patch
        low = ramp(heavens.sun.altitude, 0.5, 0.0)
        r = np.sqrt(dx * dx + dy * dy)
        t = self.grid.patch(through, rows, columns)
        disc = ramps(r, 0.030 + pixel, 0.026 - pixel) * (0.18 + 0.82 * t)
        glare = np.maximum(1.0 - r * (1.0 / 0.16), 0.0)
        glare = glare * glare * glare * (0.06 + 0.22 * t)
        core = blend((1.0, 0.98, 0.84), (1.0, 0.92, 0.62), low)
        halo = blend((0.9, 0.85, 0.66), (0.85, 0.48, 0.16), low)
        for c in range(3):
            out = canvas[c, rows, columns]
            old = out.astype(np.float64)
            new = old + glare * halo[c]
            new = new + disc * (np.maximum(1.16 * core[c], new + 0.10) - new)
            out[...] = new.astype(np.float32)

    def _paint_moon(self, canvas: F32, through: F32, heavens: Heavens) -> None:
        """The moon's disc, lit from the side that its phase tells, pale by day."""
        moon, dark = heavens.moon, heavens.dark
        patch = self._patch(moon.x, moon.v, 0.04)
        if patch is None:
            return
        rows, columns, dx, dy, pixel = patch
        radius = 0.027
        ux, uy = dx * (1.0 / radius), dy * (1.0 / radius)
        q = ux * ux + uy * uy
        r = np.sqrt(q)
        uz = np.sqrt(np.maximum(1.0 - q, 0.0))
        # tipped a little, as the moon is seen from the temperate north
        lx, lz = sin(moon.phase), -cos(moon.phase)
        face = (ux * 0.92 + uy * 0.39) * lx + uz * lz
        lit = ramps(face, -0.06, 0.22)
        seas = fbm(ux * 1.3 + 0.0 * uy, uy * 1.3 + 0.0 * ux, 4242, 3)
        tone = 1.0 - 0.16 * ramps(seas, -0.1, 0.6)
        edge = pixel / radius
        t = self.grid.patch(through, rows, columns)
        disc = ramps(r, 1.0 + edge, 1.0 - edge) * (0.10 + 0.90 * t)
        strength = 0.42 + 0.58 * dark
        for c, tint in enumerate((1.0, 0.97, 0.86)):
            out = canvas[c, rows, columns]
            old = out.astype(np.float64)
            shade = old + 0.05 * dark
            bright = old + strength * (tint * tone - old)
            out[...] = (old + disc * (shade + lit * (bright - shade) - old)).astype(np.float32)
