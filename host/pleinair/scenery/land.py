"""The land behind the lake: mountains, wooded hills, fields, the village's hill and the strand."""

from __future__ import annotations

import numpy as np

from pleinair.scenery.exact import F64, clip01, clip11, ramps, triangles
from pleinair.scenery.layers import Relief, View, preparing_bands, shores
from pleinair.scenery.noise import cells, crowns, fbm, noise, profile, uniform


class Land(Relief):
    """The far side of the valley. The village is drawn on it, see :class:`~pleinair.scenery.village.Village`."""

    @classmethod
    def prepare(cls, view: View) -> Land:
        """Draw the land from far to near."""
        w, h, x = view.width, view.height, view.x
        land = cls(int(0.34 * h), view.land_end, 0, w)

        k = view.key(30)
        massif = 0.02 + 0.03 * uniform(k, 1)
        far = 0.492 - 0.042 * profile(x * 2.1 + 40.0, view.key(31), 6, ridged=True)
        far = far - massif * (1.0 - ramps(np.abs(x - 0.62), 0.0, 0.5))
        middle = 0.548 - 0.030 * profile(x * 2.4 + 90.0, view.key(32), 4)
        middle_trees = middle - 0.0075 * crowns(x, 0.011, view.key(33))
        low = 0.584 - 0.016 * profile(x * 2.0 + 17.0, view.key(34), 3)
        hill = _hill(view)
        wood = ramps(profile(x * 3.0 + 5.0, view.key(36), 2), -0.35, 0.25)
        hill_trees = hill - 0.024 * wood * crowns(x, 0.024, view.key(35))
        shore = shores(x)

        xx = x[None, :]
        for band in preparing_bands(land.y0, land.y1, w):
            v = view.v[band][:, None]
            y = band.start
            shape = (v.shape[0], w)

            # facets of rock: noise that runs down the slopes from each crest
            d = v - far[None, :]
            n = fbm(xx * 13.0 + d * 16.0, d * 15.0 - xx * 2.0, view.key(40), 5, 0.58)
            snow = ramps(0.035 - d + 0.02 * n, 0.0, 0.02) * ramps(0.47 - far[None, :], 0.0, 0.05)
            land.lay(
                y,
                0,
                clip01((v - far[None, :]) * h + 0.5),
                colour=(0.42 + 0.08 * n + 0.46 * snow, 0.44 + 0.08 * n + 0.44 * snow, 0.52 + 0.07 * n + 0.40 * snow),
                side=clip11(2.3 * n),
                haze=np.broadcast_to(0.34 + 1.9 * np.maximum(d, 0.0), shape),
            )

            # wooded hills
            d = v - middle[None, :]
            n = fbm(xx * 34.0, v * 60.0, view.key(41), 3)
            glade = ramps(noise(xx * 7.0, v * 22.0, view.key(42)), 0.1, 0.3)
            land.lay(
                y,
                0,
                clip01((v - middle_trees[None, :]) * h + 0.5),
                colour=(
                    0.26 + 0.05 * n + 0.26 * glade,
                    0.38 + 0.07 * n + 0.2 * glade,
                    0.28 + 0.04 * n + 0.06 * glade,
                ),
                side=clip11(0.9 * n + 0.5 * noise(xx * 6.0, v * 9.0, k)),
                haze=np.broadcast_to(0.20 + 1.9 * np.maximum(d, 0.0), shape),
            )

            # fields along the far shore
            rgb, side = _fields(xx, v, across=9.0, down=46.0, key=view.key(43))
            land.lay(y, 0, clip01((v - low[None, :]) * h + 0.5), colour=rgb, side=side, haze=0.22)

            # the village's hill
            d = np.maximum(v - hill[None, :], 0.0)
            rgb, side = _fields(xx + 0.5 * d, v + 0.15 * xx, across=6.5, down=26.0, key=view.key(44))
            n = fbm(xx * 60.0, v * 60.0, view.key(45), 3)
            wooded = clip01(
                (0.012 - d) * 180.0 * wood[None, :] + ramps(noise(xx * 8.0, v * 17.0, view.key(46)), 0.28, 0.4)
            )
            tree = (0.17 + 0.07 * n, 0.30 + 0.10 * n, 0.16 + 0.05 * n)
            land.lay(
                y,
                0,
                clip01((v - hill_trees[None, :]) * h + 0.5),
                colour=[c + wooded * (t - c) for c, t in zip(rgb, tree, strict=True)],
                side=side + wooded * (clip11(1.4 * n) - side),
                haze=0.09,
            )

            # a pale strand at the water
            s = (shore[None, :] - v) * (1.0 / 0.006)
            strand = clip01(1.0 - s + 0.5 * noise(xx * 30.0, v * 10.0, view.key(47)))
            land.lay(y, 0, 0.8 * strand, colour=(0.62, 0.56, 0.45), side=0.0, haze=0.1)
        if view.flip:
            land.mirror_sides()
        return land


def _hill(view: View) -> F64:
    """The outline v of the village's hill, for every column."""
    x = view.x
    rise = ramps(x, 0.80, 1.62)
    bump = 0.014 * profile(x * 3.1 + 60.0, view.key(38), 3)
    tall = 0.135 + 0.05 * uniform(view.key(39))
    foot: F64 = 0.618 + 0.038 * ramps(x, 0.85, 1.75)
    return foot - rise * (tall + bump) - 0.012 * ramps(x, 0.72, 0.9)


def _fields(x: F64, v: F64, *, across: float, down: float, key: int) -> tuple[tuple[F64, F64, F64], F64]:
    """A patchwork of meadow, wheat and ploughed land: its colours and its side, float64 [h, w].

    across, down: fields a scene unit, along the shore and towards it.
    """
    warp = 0.5 * noise(x * 5.0, v * 14.0, key)
    fx = x * across + 0.35 * v * down + warp
    fv = v * down + 0.6 * x + 0.6 * warp
    kind = cells(fx, fv, key + 1)
    tone = cells(fx, fv, key + 2)
    wheat = ramps(kind, 0.58, 0.60)
    earth = ramps(kind, 0.86, 0.88)
    ex = fx - np.floor(fx)
    ev = fv - np.floor(fv)
    edge = np.minimum(np.minimum(ex, 1.0 - ex) * (2.6 / across * 9.0), np.minimum(ev, 1.0 - ev) * 1.6)
    hedge = 1.0 - ramps(edge, 0.10, 0.30)
    # furrows run along the field, each field in its own direction
    furrow = triangles(fx * (5.0 + 3.0 * tone) + (tone - 0.5) * 6.0 * fv)
    n = fbm(x * 40.0, v * 80.0, key + 3, 2)
    lift = 0.05 * furrow + 0.05 * n + 0.10 * (tone - 0.5)
    # fmt: off
    # meadow, wheat, ploughed earth, hedge
    palette = (
        (0.42, 0.80, 0.56, 0.18),  # red
        (0.57, 0.68, 0.42, 0.31),  # green
        (0.28, 0.34, 0.32, 0.17),  # blue
    )
    # fmt: on
    rgb: list[F64] = []
    for meadow, corn, soil, bush in palette:
        c = meadow + wheat * (corn - meadow) + earth * (soil - corn) + lift
        rgb.append(c + hedge * (bush - c))
    side = clip11(0.5 * furrow + 0.7 * n + 0.3 * warp)
    return (rgb[0], rgb[1], rgb[2]), side
