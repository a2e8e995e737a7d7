"""Sky and clouds on a coarse grid: soft things need no more than half the frame's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pleinair.scenery.exact import F32, F64, Colour, blend, clip01, cos, ramp, ramps, sin
from pleinair.scenery.layers import ASPECT, MIDDLE, View
from pleinair.scenery.light import Heavens, Light
from pleinair.scenery.noise import Octave, make_key, uniform

_BOTTOM = 0.66  # scene v of the grid's last row


@dataclass(frozen=True)
class SkyGrid:
    """The coarse grid over the sky, and the way up from it to the frame.

    x: float64 [1, columns], v: float64 [rows, 1], the grid's points in the scene; per_x, per_v: grid steps a scene
    unit; column, row: of every frame column and row, the grid's point left of it and above it; beyond_x, beyond_y: how
    far beyond that point it lies, float32 in 0..1.
    """

    x: F64
    v: F64
    per_x: float
    per_v: float
    column: NDArray[np.intp]
    row: NDArray[np.intp]
    beyond_x: F32
    beyond_y: F32

    @classmethod
    def over(cls, view: View) -> SkyGrid:
        """The grid for a frame: half its columns, 65 to 513."""
        nx = min(513, max(65, (view.width + 1) // 2 + 1))
        ny = (nx - 1) * 22 // 64 + 1
        px = view.screen_x * ((nx - 1) / ASPECT)
        py = view.v * ((ny - 1) / _BOTTOM)
        ix = np.minimum(np.floor(px), nx - 2.0)
        iy = np.minimum(np.floor(py), ny - 2.0)
        return cls(
            x=np.arange(nx, dtype=np.float64)[None, :] * (ASPECT / (nx - 1)),
            v=np.arange(ny, dtype=np.float64)[:, None] * (_BOTTOM / (ny - 1)),
            per_x=float(nx - 1) / ASPECT,
            per_v=float(ny - 1) / _BOTTOM,
            column=ix.astype(np.intp),
            row=iy.astype(np.intp),
            beyond_x=(px - ix).astype(np.float32),
            beyond_y=np.minimum(py - iy, 1.0).astype(np.float32),
        )

    def enlarge(self, plane: F32, rows: slice) -> F32:
        """A grid plane brought up to rows of the frame, bilinear: float32 [rows, width]."""
        row, beyond = self.row[rows], self.beyond_y[rows][:, None]
        top = plane[row]
        low = plane[row + 1]
        low -= top
        low *= beyond
        low += top
        left = low.take(self.column, axis=1)
        right = low.take(self.column + 1, axis=1)
        right -= left
        right *= self.beyond_x
        right += left
        return right

    def patch(self, plane: F32, rows: slice, columns: slice) -> F64:
        """A grid plane at a patch of the frame, bilinear in float64."""
        iy, ix = self.row[rows], self.column[columns]
        fy = self.beyond_y[rows].astype(np.float64)[:, None]
        fx = self.beyond_x[columns].astype(np.float64)[None, :]
        t = plane.astype(np.float64)
        a = t[iy[:, None], ix[None, :]]
        b = t[iy[:, None], ix[None, :] + 1]
        c = t[iy[:, None] + 1, ix[None, :]]
        d = t[iy[:, None] + 1, ix[None, :] + 1]
        top = a + (b - a) * fx
        return top + (c + (d - c) * fx - top) * fy

    def sample(self, plane: F64, x: float, v: float) -> float:
        """A grid plane's value at a scene point, bilinear; a point outside counts as the nearest inside."""
        ny, nx = plane.shape
        px: float = min(nx - 1.001, max(0.0, x * self.per_x))
        py: float = min(ny - 1.001, max(0.0, v * self.per_v))
        i, j = int(py), int(px)
        a, b = py - i, px - j
        top = float(plane[i, j]) * (1.0 - b) + float(plane[i, j + 1]) * b
        low = float(plane[i + 1, j]) * (1.0 - b) + float(plane[i + 1, j + 1]) * b
        return top * (1.0 - a) + low * a


class CloudField:
    """Fractal noise on the grid that drifts; each octave drifts at its own pace, so the clouds change shape.

    x, y: float64 [rows, columns], the plane the clouds lie in.
    """

    def __init__(self, x: F64, y: F64, *, key: int, octaves: int, gain: float, billow: bool) -> None:
        self._parts: list[tuple[Octave, float, float, float, float]] = []
        a, b = 1.0, 0.0
        amp = 1.0
        for k in range(octaves):
            octave = Octave(a * x - b * y, b * x + a * y, make_key(key, k))
            pace = 1.0 + 0.16 * (uniform(key, k) - 0.35) * k
            self._parts.append((octave, a, b, amp, pace))
            a, b = 1.65 * a - 1.2 * b, 1.2 * a + 1.65 * b
            amp *= gain
        self._billow = billow

    def at(self, dx: float, dy: float) -> F64:
        """Density with the plane moved by (dx, dy): about -1 to 1, float64 [rows, columns]."""
        total: F64 | None = None
        for k, (octave, a, b, amp, pace) in enumerate(self._parts):
            u, w = dx * pace, dy * pace
            n = octave.at(a * u - b * w, b * u + a * w)
            if self._billow and k >= 1:
                n = np.abs(n)
                n *= 2.0
                n -= 0.62
            n *= amp
            if total is None:
                total = n
            else:
                total += n
        assert total is not None
        return total


@dataclass(frozen=True)
class _Glow:
    """The light of sun and moon in the sky, float64 on the grid.

    wide, tight: the sun's glow along the horizon and close about it; moon: the moon's; to_x, to_y: the direction light
    comes from, as far as clouds care; silver: the light that seeps through thin clouds.
    """

    wide: F64
    tight: F64
    moon: F64
    to_x: F64
    to_y: F64
    silver: F64


@dataclass(frozen=True)
class CloudySky:
    """The sky of one time on the grid, float32 [rows, columns].

    rgb: the sky with its clouds; through: what the clouds let through, 0..1; clear: that at the sun's place.
    """

    rgb: tuple[F32, F32, F32]
    through: F32
    clear: float


class Clouds:
    """Three layers of drifting clouds before a sky that glows about sun and moon."""

    def __init__(self, view: View, grid: SkyGrid) -> None:
        self._grid = grid
        self._seed = view.seed
        x, v = grid.x, grid.v
        flat = x - MIDDLE + 0.0 * v
        # a ceiling of clouds in perspective: 1/distance to the skyline
        far = 1.0 / (0.78 - v)
        self._puffs = CloudField(
            flat * far * 1.55,
            far * 1.25 + 0.0 * x,
            key=view.key(10),
            octaves=6,
            gain=0.52,
            billow=True,
        )
        # a bank of heaped clouds low over the mountains, seen from the side
        self._bank = CloudField(flat * 2.6, v * 4.4 + 0.0 * x, key=view.key(11), octaves=6, gain=0.5, billow=True)
        # streaks of ice, bent a little
        bend = 0.22 * flat + 0.12 * flat * flat
        self._cirrus = CloudField(
            flat * 1.3 + v * 0.6,
            (v + bend) * 5.2,
            key=view.key(12),
            octaves=5,
            gain=0.55,
            billow=False,
        )

    def at(self, heavens: Heavens) -> CloudySky:
        """Sky and clouds of one time."""
        hours, light, v = heavens.hours, heavens.light, self._grid.v
        seed_key = make_key(self._seed, 13)
        phases = [uniform(seed_key, j) for j in range(6)]
        # weather: slow waves whose periods never meet, so no two days are alike
        cover = 0.60 * sin(hours / 17.3 + phases[0]) + 0.40 * sin(hours / 7.9 + phases[1])
        high = 0.7 * sin(hours / 13.1 + phases[2]) + 0.3 * sin(hours / 5.3 + phases[3])
        heap = 0.7 * sin(hours / 19.7 + phases[4]) + 0.3 * sin(hours / 9.1 + phases[5])

        glow = self._glow(heavens)
        ease = ramps(v, 0.0, 0.34)
        fall = ramps(v, 0.22, 0.60)
        warm = blend((1.0, 0.97, 0.88), (1.0, 0.74, 0.40), ramp(heavens.sun.altitude, 0.55, 0.0))
        cool: Colour = (0.70, 0.80, 1.0)
        rgb: list[F64] = []
        for c in range(3):
            column = light.zenith[c] + ease * (light.middle[c] - light.zenith[c])
            column = column + fall * (light.horizon[c] - column)
            s = column + glow.wide * (1.05 * warm[c] - column) + 0.36 * glow.tight * warm[c]
            rgb.append(s + glow.moon * cool[c])

        drift = hours * 0.15
        through: F64 = np.ones(rgb[0].shape, np.float64)

        n = self._cirrus.at(-drift * 0.85 + 11.0, -drift * 0.10)
        a = ramps(n, 0.30 - 0.35 * high, 1.25 - 0.25 * high) * (0.50 + 0.08 * high)
        a = a * (1.0 - 0.6 * fall)
        _lay_cloud(rgb, through, a, lit=0.75 + 0.0 * n, light=light, silver=glow.silver)

        n = self._bank.at(-drift * 1.3 + 3.0, drift * 0.35)
        # heaped: flat below, towering where the noise allows
        crest = ramps(v, 0.14, 0.40) * 1.15 - 1.25 * ramps(v, 0.47, 0.60)
        n = 0.85 * n + crest - 0.72 + 0.30 * heap
        self._lay_billow(rgb, through, n, edge=0.0, soft=0.30, depth=1.10, opaque=0.95, light=light, glow=glow)

        n = self._puffs.at(-drift * 1.25, drift * 0.35 + 5.0)
        n = n - 0.55 * fall
        edge = 0.22 - 0.30 * cover
        self._lay_billow(rgb, through, n, edge=edge, soft=0.34, depth=1.3, opaque=0.96, light=light, glow=glow)

        return CloudySky(
            rgb=(rgb[0].astype(np.float32), rgb[1].astype(np.float32), rgb[2].astype(np.float32)),
            through=through.astype(np.float32),
            clear=self._clear(through, heavens.sun.x, heavens.sun.v),
        )

    def _glow(self, heavens: Heavens) -> _Glow:
        """The light of sun and moon in the sky at one time."""
        sun, moon = heavens.sun, heavens.moon
        dx, dy = sun.x - self._grid.x, sun.v - self._grid.v
        sun_q = dx * dx + dy * dy
        low = ramp(sun.altitude, 0.55, 0.0)
        up = ramp(sun.altitude, -0.30, 0.04)
        # wide and flat at the horizon, close about the sun
        wide = up * (0.20 + 0.42 * low) / (1.0 + 5.0 * dx * dx + 30.0 * dy * dy)
        tight = ramp(sun.altitude, -0.20, 0.16) / (1.0 + 130.0 * sun_q)
        ux, uy = moon.x - self._grid.x, moon.v - self._grid.v
        moon_q = ux * ux + uy * uy
        moon_glow = moon.shine * (0.30 / (1.0 + 26.0 * moon_q) + 0.32 / (1.0 + 330.0 * moon_q))
        # the light on the clouds comes from the sun, at night from the moon
        sun_share = (1.0 - heavens.dark) / (0.12 + np.sqrt(sun_q))
        moon_share = moon.shine / (0.12 + np.sqrt(moon_q))
        return _Glow(
            wide=wide,
            tight=tight,
            moon=moon_glow,
            to_x=dx * sun_share + ux * moon_share,
            to_y=dy * sun_share + uy * moon_share - 0.45,
            silver=tight * 0.9 + moon_glow * 0.8,
        )

    def _clear(self, through: F64, x: float, v: float) -> float:
        """What the clouds let through about a scene point, 0..1."""
        # over an area wider than the sun's disc: the valley does not blink when one puff passes
        clear = self._grid.sample(through, x, v)
        for k in range(8):
            for reach in (0.05, 0.11):
                across, down = reach * cos(k / 8.0), reach * sin(k / 8.0)
                clear += self._grid.sample(through, x + across, v + down)
        return clear / 17.0

    def _lay_billow(
        self,
        rgb: list[F64],
        through: F64,
        n: F64,
        *,
        edge: float,
        soft: float,
        depth: float,
        opaque: float,
        light: Light,
        glow: _Glow,
    ) -> None:
        """Lay heaped clouds of density ``n`` over the sky, lit on the side that faces the light.

        Clouds begin where n is ``edge``, cover fully ``soft`` above it and are thickest ``depth`` above it.
        """
        a = ramps(n, edge, edge + soft)
        thick = clip01((n - edge) * (1.0 / depth))
        body = thick * (2.0 - thick)
        ex: F64 = np.zeros_like(n)
        ey: F64 = np.zeros_like(n)
        ex[:, 1:-1] = (body[:, 2:] - body[:, :-2]) * (0.5 * self._grid.per_x)
        ey[1:-1, :] = (body[2:, :] - body[:-2, :]) * (0.5 * self._grid.per_v)
        relief = -(ex * glow.to_x + ey * glow.to_y)
        lit = clip01(0.80 - 0.52 * thick + 0.050 * relief)
        _lay_cloud(rgb, through, a * opaque, lit=lit, light=light, silver=glow.silver * (1.0 - 0.8 * thick))


def _lay_cloud(rgb: list[F64], through: F64, cover: F64, *, lit: F64, light: Light, silver: F64) -> None:
    """Lay one layer of clouds over the sky; changes ``rgb`` and ``through``.

    cover: 0..1; lit: the share of light, 0 in shade and 1 lit; silver: the light that seeps in.
    """
    for c in range(3):
        col = light.cloud_shade[c] + lit * (light.cloud_lit[c] - light.cloud_shade[c])
        col += silver * 0.55
        rgb[c] += cover * (col - rgb[c])
    through *= 1.0 - cover
