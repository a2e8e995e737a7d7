"""The land behind the lake: mountains, wooded hills, fields, the village's hill and the strand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pleinair.scenery.exact import F64, clip01, clip11, ramps, triangles
from pleinair.scenery.layers import Relief, View, preparing_bands, shores
from pleinair.scenery.noise import cells, crowns, fbm, noise, profile, uniform


class Land(Relief):
    """The far side of the valley. The village is drawn on it, see :class:`~pleinair.scenery.village.Village`."""

    @classmethod
    def prepare(cls, view: View) -> Land:
        """Draw the land from far to near."""
        land = cls(int(0.34 * view.height), view.land_end, 0, view.width)
        outlines = _Outlines.of(view)
        for band in preparing_bands(land.y0, land.y1, view.width):
            strip = _Strip(view, band.start, view.v[band][:, None], view.x[None, :])
            land._mountains(strip, outlines)
            land._woods(strip, outlines)
            land._shore_fields(strip, outlines)
            land._village_hill(strip, outlines)
            land._strand(strip, outlines)
        if view.flip:
            land.mirror_sides()
        return land

    def _mountains(self, strip: _Strip, outlines: _Outlines) -> None:
        """Facets of rock, from noise that runs down the slopes from each crest, and snow."""
        x, far = strip.x, outlines.far
        d = strip.v - far[None, :]
        n = fbm(x * 13.0 + d * 16.0, d * 15.0 - x * 2.0, strip.view.key(40), 5, 0.58)
        snow = ramps(0.035 - d + 0.02 * n, 0.0, 0.02) * ramps(0.47 - far[None, :], 0.0, 0.05)
        self.lay(
            strip.y,
            0,
            strip.below(far),
            colour=(0.42 + 0.08 * n + 0.46 * snow, 0.44 + 0.08 * n + 0.44 * snow, 0.52 + 0.07 * n + 0.40 * snow),
            side=clip11(2.3 * n),
            haze=np.broadcast_to(0.34 + 1.9 * np.maximum(d, 0.0), strip.shape),
        )

    def _woods(self, strip: _Strip, outlines: _Outlines) -> None:
        """Wooded hills with glades."""
        x, v, view = strip.x, strip.v, strip.view
        d = v - outlines.middle[None, :]
        n = fbm(x * 34.0, v * 60.0, view.key(41), 3)
        glade = ramps(noise(x * 7.0, v * 22.0, view.key(42)), 0.1, 0.3)
        self.lay(
            strip.y,
            0,
            strip.below(outlines.middle_trees),
            colour=(
                0.26 + 0.05 * n + 0.26 * glade,
                0.38 + 0.07 * n + 0.2 * glade,
                0.28 + 0.04 * n + 0.06 * glade,
            ),
            side=clip11(0.9 * n + 0.5 * noise(x * 6.0, v * 9.0, view.key(30))),
            haze=np.broadcast_to(0.20 + 1.9 * np.maximum(d, 0.0), strip.shape),
        )

    def _shore_fields(self, strip: _Strip, outlines: _Outlines) -> None:
        """Fields along the far shore."""
        rgb, side = _fields(strip.x, strip.v, across=9.0, down=46.0, key=strip.view.key(43))
        self.lay(strip.y, 0, strip.below(outlines.low), colour=rgb, side=side, haze=0.22)

    def _village_hill(self, strip: _Strip, outlines: _Outlines) -> None:
        """The village's hill: fields, and woods towards its top."""
        x, v, view = strip.x, strip.v, strip.view
        d = np.maximum(v - outlines.hill[None, :], 0.0)
        rgb, side = _fields(x + 0.5 * d, v + 0.15 * x, across=6.5, down=26.0, key=view.key(44))
        n = fbm(x * 60.0, v * 60.0, view.key(45), 3)
        wooded = clip01(
            (0.012 - d) * 180.0 * outlines.wood[None, :] + ramps(noise(x * 8.0, v * 17.0, view.key(46)), 0.28, 0.4)
        )
        tree = (0.17 + 0.07 * n, 0.30 + 0.10 * n, 0.16 + 0.05 * n)
        self.lay(
            strip.y,
            0,
            strip.below(outlines.hill_trees),
            colour=[c + wooded * (t - c) for c, t in zip(rgb, tree, strict=True)],
            side=side + wooded * (clip11(1.4 * n) - side),
            haze=0.09,
        )

    def _strand(self, strip: _Strip, outlines: _Outlines) -> None:
        """A pale strand at the water."""
        s = (outlines.shore[None, :] - strip.v) * (1.0 / 0.006)
        strand = clip01(1.0 - s + 0.5 * noise(strip.x * 30.0, strip.v * 10.0, strip.view.key(47)))
        self.lay(strip.y, 0, 0.8 * strand, colour=(0.62, 0.56, 0.45), side=0.0, haze=0.1)


@dataclass(frozen=True)
class _Strip:
    """Rows of the frame that are drawn together, from row ``y``; ``v`` [rows, 1] and ``x`` [1, columns] are places."""

    view: View
    y: int
    v: F64
    x: F64

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.v.shape[0], self.x.shape[1]

    def below(self, outline: F64) -> F64:
        """How much of each pixel lies below an outline, 0 to 1."""
        return clip01((self.v - outline[None, :]) * self.view.height + 0.5)


@dataclass(frozen=True)
class _Outlines:
    """Where each part of the land begins, as v of every column; ``wood`` is how wooded the village's hill is there."""

    far: F64
    middle: F64
    middle_trees: F64
    low: F64
    hill: F64
    hill_trees: F64
    wood: F64
    shore: F64

    @classmethod
    def of(cls, view: View) -> _Outlines:
        """The outlines of a view's valley."""
        x = view.x
        massif = 0.02 + 0.03 * uniform(view.key(30), 1)
        far = 0.492 - 0.042 * profile(x * 2.1 + 40.0, view.key(31), 6, ridged=True)
        middle = 0.548 - 0.030 * profile(x * 2.4 + 90.0, view.key(32), 4)
        hill = _hill(view)
        wood = ramps(profile(x * 3.0 + 5.0, view.key(36), 2), -0.35, 0.25)
        return cls(
            far=far - massif * (1.0 - ramps(np.abs(x - 0.62), 0.0, 0.5)),
            middle=middle,
            middle_trees=middle - 0.0075 * crowns(x, 0.011, view.key(33)),
            low=0.584 - 0.016 * profile(x * 2.0 + 17.0, view.key(34), 3),
            hill=hill,
            hill_trees=hill - 0.024 * wood * crowns(x, 0.024, view.key(35)),
            wood=wood,
            shore=shores(x),
        )


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
