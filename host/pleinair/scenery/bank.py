"""The near bank with its grass, wheat and flowers, and the cypresses that stand on it."""

from __future__ import annotations

import numpy as np

from pleinair.scenery.exact import F64, clip01, clip11, ramps, triangles
from pleinair.scenery.layers import ASPECT, Relief, View, preparing_bands
from pleinair.scenery.noise import cells, fbm, make_key, noise, profile, uniform

_FOOT = 0.93  # scene v of the cypresses' foot, behind the bank


class Bank(Relief):
    """The meadow at the picture's lower edge."""

    @classmethod
    def prepare(cls, view: View) -> Bank:
        """Draw the bank."""
        w, h, x = view.width, view.height, view.x
        key = view.key(80)
        edge = (
            0.925
            - 0.055 * (1.0 - ramps(x, 0.10, 0.75))
            - 0.02 * ramps(x, 1.1, 1.78)
            - 0.012 * profile(x * 2.5 + 3.0, view.key(81), 3)
        )
        tuft = ramps(profile(x * 6.0, view.key(83), 2), -0.6, 0.6)
        grass = 0.020 * tuft * ramps(profile(x * 55.0, view.key(82), 3, ridged=True), -1.2, 1.9)
        bank = cls(int(0.80 * h), h, 0, w)
        # fmt: off
        # meadow, wheat, poppies, white flowers
        palette = (
            (0.30, 0.78, 0.82, 0.92),  # red
            (0.44, 0.62, 0.20, 0.86),  # green
            (0.18, 0.26, 0.14, 0.62),  # blue
        )
        # fmt: on
        xx = x[None, :]
        for band in preparing_bands(bank.y0, h, w):
            v = view.v[band][:, None]
            d = v - edge[None, :]
            near = 1.0 / (0.16 + np.maximum(d, 0.0))
            lean = 0.5 * noise(xx * 4.0, v * 6.0, key)
            blade = fbm((xx + 0.10 * lean) * 70.0 * (0.10 * near + 0.4), v * 14.0 + lean * 2.0, view.key(84), 3)
            patch = fbm(xx * 3.2, v * 9.0, view.key(85), 2)
            wheat = ramps(patch + 1.3 * (xx - 0.95), -0.25, 0.35)
            rows = triangles((xx - 1.3) * near * 3.6)
            lift = 0.13 * blade + 0.07 * wheat * rows
            fx, fv = xx * 36.0 + 0.0 * v, v * 52.0 + 0.0 * xx
            ox = fx - np.floor(fx) - 0.25 - 0.5 * cells(fx, fv, key + 1)
            ov = fv - np.floor(fv) - 0.25 - 0.5 * cells(fx, fv, key + 2)
            bloom = cells(fx, fv, key + 3)
            flower = ramps(0.20 - np.sqrt(ox * ox + ov * ov), 0.0, 0.12)
            flower = flower * ramps(bloom, 0.72, 0.74)
            flower = flower * (1.0 - 0.55 * wheat) * ramps(d, 0.008, 0.03)
            poppy = ramps(bloom, 0.86, 0.87)
            rgb: list[F64] = []
            for meadow, corn, red, white in palette:
                c = meadow + wheat * (corn - meadow) + lift
                c = c + flower * (white + poppy * (red - white) - c)
                rgb.append(c * (1.0 - 0.9 * np.maximum(d - 0.04, 0.0)))
            bank.lay(
                band.start,
                0,
                clip01((d + grass[None, :]) * h + 0.5),
                colour=rgb,
                side=clip11(1.1 * blade + 0.3 * rows * wheat),
                haze=0.0,
            )
        if view.flip:
            bank.mirror_sides()
        return bank


class Cypresses(Relief):
    """Three cypresses at the picture's edge, like dark flames."""

    @classmethod
    def prepare(cls, view: View) -> Cypresses:
        """Draw the trees, the nearest last."""
        h = view.height
        key = view.key(80)
        edge = sorted((view.column(0.02), view.column(0.52)))
        x0, x1 = max(0, int(edge[0]) - 1), min(view.width, int(edge[1]) + 2)
        trees = cls(int(0.14 * h), min(h, int(0.95 * h)), x0, x1)
        r = [uniform(key, 10, j) for j in range(5)]
        lead = 0.185 + 0.05 * r[0]
        # scene x of the axis, v of the top, half the width
        group = (
            (lead + 0.125 + 0.02 * r[1], 0.46 + 0.05 * r[2], 0.034),
            (lead - 0.085, 0.50 + 0.06 * r[3], 0.030),
            (lead, 0.17 + 0.05 * r[4], 0.058),
        )
        for j, (axis, top, girth) in enumerate(group):
            for band in preparing_bands(trees.y0, trees.y1, max(1, x1 - x0)):
                trees._draw(view, band, axis=axis, top=top, girth=girth, key=make_key(key, 20 + j))
        if view.flip:
            trees.mirror_sides()
        return trees

    def _draw(self, view: View, band: slice, *, axis: float, top: float, girth: float, key: int) -> None:
        """Paint rows of one tree.

        axis: its scene x; top: v of its tip; girth: half its width.
        """
        x = view.x[self.x0 : self.x1][None, :]
        v = view.v[band][:, None]
        s = clip01((v - top) * (1.0 / (_FOOT - top))) + 0.0 * x
        sway = 0.012 * noise(s * 2.6 + 0.0 * x, 0.0 * s + 0.3, key) * (1.0 - s)
        body = girth * np.sqrt(s * np.sqrt(s)) * (1.62 - 0.95 * s * s)
        dx = x - axis - sway
        q = dx * (1.0 / girth)
        # tongues of flame: noise drawn out upwards and outwards
        n = fbm(q * 1.7 + 0.0 * s, v * 17.0 - np.abs(q) * 1.5, key + 1, 4, 0.6)
        rim = body * (1.0 + 0.36 * n) - np.abs(dx)
        cover = clip01(rim * (view.width / ASPECT) + 0.5) * ramps(v - top + 0.0 * x, -0.004, 0.01)
        inner = clip01(rim * (1.0 / girth) * 1.6)
        stroke = fbm(q * 3.4 + 0.5 * n, v * 12.0 - np.abs(q) * 2.2, key + 2, 3)
        lift = 0.085 * stroke + 0.06 * (1.0 - inner)
        self.lay(
            band.start,
            self.x0,
            cover,
            colour=(0.125 + lift, 0.215 + 1.3 * lift, 0.145 + 0.7 * lift),
            side=clip11(dx / np.maximum(body, 1e-4) * 0.7 + 0.8 * stroke),
            haze=0.0,
        )
