"""The lake: a mirror of what stands above it, shaken by ripples, with paths of light; and a boat on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pleinair.scenery.exact import F32, F64, Colour, blend, clip01, cos, ramp, ramps, sin
from pleinair.scenery.layers import MIDDLE, SHORE, Point, Relief, View, painting_bands, preparing_bands, shores
from pleinair.scenery.light import Moment
from pleinair.scenery.noise import fbm, noise, uniform

_WAVES = ((2.2, 4.2, 1.0), (4.4, 9.0, 0.75), (9.0, 19.0, 0.6), (19.0, 40.0, 0.4))  # across, towards, height


@dataclass(frozen=True)
class _Path:
    """A path of light on the water below sun or moon: the light's scene x, strength and colour."""

    x: float
    strength: float
    colour: Colour


@dataclass(frozen=True)
class Lake:
    """The lake, between two still patterns of ripples, ``waves``, between which the water sways.

    top: the lake's first row. Planes of the lake's rows, float32 [rows, width]: waves; calm, smooth streaks being
    lower; cover, the water's coverage. A number a row, float32 [rows]: depth, how far below the shore it lies; swing,
    how many rows a ripple displaces the mirrored picture; glitter, how narrow a path of light is. mirror: for each
    column the row of the frame that lies in the lake's row 0, counted down from the shore, float32 [width].
    """

    view: View
    top: int
    waves: tuple[F32, F32]
    calm: F32
    cover: F32
    depth: F32
    swing: F32
    glitter: F32
    mirror: F32

    @classmethod
    def prepare(cls, view: View) -> Lake:
        """Draw the ripples."""
        w, h = view.width, view.height
        top = max(0, int(SHORE * h) - 1)
        rows = h - top
        waves: tuple[F32, F32] = (np.zeros((rows, w), np.float32), np.zeros((rows, w), np.float32))
        calm: F32 = np.zeros((rows, w), np.float32)
        cover: F32 = np.zeros((rows, w), np.float32)
        shore = shores(view.x)
        v = view.v[top:][:, None]
        depth = np.maximum(v - 0.606, 0.0)
        far = 1.0 / (depth + 0.05)
        xx = (view.screen_x - MIDDLE)[None, :]
        for s in preparing_bands(0, rows, w):
            for k, wave in enumerate(waves):
                total: F64 = np.zeros((s.stop - s.start, w), np.float64)
                for j, (across, towards, height) in enumerate(_WAVES):
                    # waves finer than two pixels would only glitter at random
                    fine = far[s] * far[s] * (towards / h)
                    fade = 1.0 - ramps(fine, 0.22, 0.55)
                    n = noise(
                        xx * far[s] * (0.5 * across) + 0.0 * far[s],
                        far[s] * towards + 0.35 * xx * across,
                        view.key(600 + 2 * j + k),
                    )
                    total += height * fade * n
                wave[s] = total.astype(np.float32)
            y = v[s] + 0.0 * xx
            streak = fbm(xx * 2.2 + 0.0 * y, y * 26.0, view.key(68), 3)
            calm[s] = (0.55 + 0.45 * ramps(streak, -0.5, 0.5)).astype(np.float32)
            cover[s] = clip01((y - shore[None, :]) * h + 0.5).astype(np.float32)
        return cls(
            view=view,
            top=top,
            waves=waves,
            calm=calm,
            cover=cover,
            depth=depth[:, 0].astype(np.float32),
            swing=((0.0035 + 0.055 * depth[:, 0]) * h).astype(np.float32),
            glitter=(1.0 / (0.030 + 0.30 * depth[:, 0])).astype(np.float32),
            mirror=(2.0 * shore * h - 0.5).astype(np.float32),
        )

    def paint(self, canvas: F32, moment: Moment) -> None:
        """See :class:`~pleinair.scenery.layers.Layer`: what stands above the lake upside down, and paths of light."""
        w, h = self.view.width, self.view.height
        sway = moment.heavens.hours / 2.7
        turn = (cos(sway), sin(sway))
        paths = [path for path in _paths_of_light(moment) if path.strength > 0.0]
        zenith = moment.heavens.light.zenith
        deep = [0.30 * zenith[c] + tone * moment.base[c] * 0.9 for c, tone in enumerate((0.10, 0.26, 0.34))]
        flat = canvas.reshape(3, h * w)
        # the mirror reads rows that the bands below write over
        source = [flat[c, : self.view.land_end * w].copy() for c in range(3)]
        for s in painting_bands(0, h - self.top, w):
            n = self.waves[0][s] * turn[0]
            n += self.waves[1][s] * turn[1]
            i, between = self._mirrored(s, n)
            own = self._own_colour(s, n)
            sparks = [(self._glitter(s, n, path), path.colour) for path in paths]
            for c in range(3):
                col = source[c].take(i)
                i += w
                nxt = source[c].take(i)
                i -= w
                nxt -= col
                nxt *= between
                col += nxt
                nxt = deep[c] - col
                nxt *= own
                col += nxt
                for spark, colour in sparks:
                    col += spark * colour[c]
                self._lay(canvas[c], s, col)

    def _mirrored(self, s: slice, n: F32) -> tuple[NDArray[np.intp], F32]:
        """Where each pixel of lake rows ``s`` reads the picture above, under ripples n.

        Returns flat indices into the picture, and how far to the row below each lies, 0..1.
        """
        row = n * self.swing[s][:, None]
        row += self.mirror[None, :]
        lines = np.arange(self.top + s.start, self.top + s.stop, dtype=np.float64).astype(np.float32)
        row -= lines[:, None]
        np.maximum(row, 0.0, out=row)
        np.minimum(row, float(self.view.land_end - 2), out=row)
        whole = np.floor(row)
        row -= whole
        i = whole.astype(np.intp)
        i *= self.view.width
        i += np.arange(self.view.width, dtype=np.intp)[None, :]
        return i, row

    def _own_colour(self, s: slice, n: F32) -> F32:
        """How much of its own colour the water shows in lake rows ``s``, under ripples n: 0..0.8."""
        # seen more steeply, near water shows more of itself; so do wave flanks
        own = n * 0.16
        own += 0.14 + self.depth[s][:, None] * 0.85
        own *= self.calm[s]
        np.maximum(own, 0.0, out=own)
        np.minimum(own, 0.8, out=own)
        return own

    def _glitter(self, s: slice, n: F32, path: _Path) -> F32:
        """A path's light on lake rows ``s``, under ripples n."""
        q = (self.view.screen_x.astype(np.float32) - path.x)[None, :] * self.glitter[s][:, None]
        q *= q
        q *= -1.0
        q += 1.0
        np.maximum(q, 0.0, out=q)
        g = n * 1.5
        g += 0.10
        np.maximum(g, 0.0, out=g)
        np.minimum(g, 1.0, out=g)
        q *= g
        q *= path.strength
        return q

    def _lay(self, plane: F32, s: slice, water: F32) -> None:
        """Lay one channel of lake rows ``s`` over the canvas: by coverage as far as the land goes, whole below it."""
        out = plane[self.top + s.start : self.top + s.stop]
        k = min(max(self.view.land_end - self.top - s.start, 0), s.stop - s.start)
        above = water[:k]
        above -= out[:k]
        above *= self.cover[s][:k]
        out[:k] += above
        out[k:] = water[k:]


def _paths_of_light(moment: Moment) -> tuple[_Path, _Path]:
    """The sun's path and the moon's."""
    sun, moon = moment.heavens.sun, moment.heavens.moon
    low = ramp(sun.altitude, 0.6, 0.0)
    gold = blend((1.0, 0.96, 0.84), (1.0, 0.70, 0.34), low)
    strength = ramp(sun.altitude, -0.05, 0.20) * (0.25 + 0.75 * moment.clear) * (0.30 + 0.45 * low)
    return _Path(sun.x, strength, gold), _Path(moon.x, 0.62 * moon.shine * moon.shine, (0.80, 0.88, 1.0))


_SAIL: Colour = (0.90, 0.82, 0.64)
_MAST: Colour = (0.28, 0.20, 0.15)
_HULL: Colour = (0.58, 0.20, 0.14)
# Polygons of the boat about the middle of its waterline, their colour and their side.
_PARTS: tuple[tuple[Sequence[Point], Colour, float], ...] = (
    (((0.001, -0.098), (0.034, -0.018), (0.001, -0.016)), _SAIL, 0.5),
    (((-0.002, -0.088), (-0.002, -0.016), (-0.022, -0.016)), _SAIL, -0.5),
    (((-0.0016, -0.102), (0.0016, -0.102), (0.0016, -0.010), (-0.0016, -0.010)), _MAST, 0.0),
    (((-0.034, -0.013), (0.042, -0.013), (0.030, 0.0), (-0.026, 0.0)), _HULL, 0.2),
)


class Boat(Relief):
    """A little boat under sail, with its reflection."""

    @classmethod
    def prepare(cls, view: View) -> Boat:
        """Draw the reflection, then the boat."""
        key = view.key(70)
        x, v = 0.74 + 0.16 * uniform(key, 0), 0.705 + 0.02 * uniform(key, 1)
        edge = sorted((view.column(x - 0.07), view.column(x + 0.07)))
        x0, x1 = max(0, int(edge[0])), min(view.width, int(edge[1]) + 2)
        boat = cls(int((v - 0.13) * view.height), min(view.height, int(0.85 * view.height)), x0, x1)
        for points, colour, side in _PARTS:
            y0, x0, cover = view.polygon([(x + a, v - 0.82 * b) for a, b in points])
            # the water breaks the image up, more the farther from the hull
            rows = np.arange(y0, y0 + cover.shape[0], dtype=np.float64)[:, None]
            deep = (rows * (1.0 / view.height) - v) * 9.0
            wave = noise(rows * (110.0 / view.height) + 0.0 * cover, 0.4 + 0.0 * cover, key)
            cover = cover * clip01(0.5 + 0.6 * wave * deep - 0.3 * deep)
            boat.lay(y0, x0, cover, colour=colour, side=-side if view.flip else side, haze=0.0)
        for points, colour, side in _PARTS:
            y0, x0, cover = view.polygon([(x + a, v + b) for a, b in points])
            boat.lay(y0, x0, cover, colour=colour, side=-side if view.flip else side, haze=0.0)
        return boat
