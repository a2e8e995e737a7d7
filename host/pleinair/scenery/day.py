"""One day outdoors after another, drawn from a seed and a time.

A lake between hills, a village with a church on its shore, cypresses on the near bank; a sky that runs from night
through dawn, day and dusk to night again, with a sun, a moon that has a phase, turning stars and three layers of
drifting clouds. It stands in for a camera where there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pleinair.scenery.bank import Bank, Cypresses
from pleinair.scenery.clouds import Clouds, SkyGrid
from pleinair.scenery.exact import F32, U8
from pleinair.scenery.lake import Boat, Lake
from pleinair.scenery.land import Land
from pleinair.scenery.layers import Layer, View, painting_bands
from pleinair.scenery.light import Moment, air_colours, daylight, heavens_at
from pleinair.scenery.noise import cells, make_key
from pleinair.scenery.sky import Sky
from pleinair.scenery.village import Village

MIN_SIDE = 16
MAX_WIDTH = 4096
MAX_HEIGHT = 4096

_DITHER_ROWS = 64


@dataclass(frozen=True)
class Scene:
    """The layers of a seed's scene, from the sky to the near bank, and the clouds that decide on its light."""

    view: View
    clouds: Clouds
    layers: tuple[Layer, ...]

    @classmethod
    def prepare(cls, view: View) -> Scene:
        """Draw all that stands still."""
        grid = SkyGrid.over(view)
        clouds = Clouds(view, grid)
        sky = Sky.prepare(view, grid)
        land = Land.prepare(view)
        village = Village.prepare(view, land)
        lake = Lake.prepare(view)
        boat = Boat.prepare(view)
        bank = Bank.prepare(view)
        return cls(view, clouds, (sky, land, village, lake, boat, Cypresses.prepare(view), bank))

    def moment(self, seconds: float) -> Moment:
        """All that the layers need to know of a time, in seconds since midnight of day 0."""
        heavens = heavens_at(seconds, self.view.noon_x, self.view.seed)
        cloudy = self.clouds.at(heavens)
        base, slope = daylight(heavens, cloudy.clear, self.view.noon_x)
        return Moment(
            heavens=heavens,
            sky=cloudy.rgb,
            through=cloudy.through,
            clear=cloudy.clear,
            base=base,
            slope=slope,
            air=air_colours(heavens, self.view.screen_x),
        )

    def paint(self, moment: Moment) -> F32:
        """The picture at a moment, float32 [3, height, width], 0 black and 1 white."""
        canvas: F32 = np.empty((3, self.view.height, self.view.width), np.float32)
        for layer in self.layers:
            layer.paint(canvas, moment)
        return canvas


class SyntheticDay:
    """A day outdoors, and the days after it, as a camera would see them.

    width, height: pixels, 16 to 4096 each, odd ones included; the scene is laid out relative to them, so every size
    shows the same. seed: any int; another seed is another valley, village and weather. ValueError for a size outside
    the range.

    A frame depends on (width, height, seed, seconds) and on nothing else, so frames may be asked for in any order.
    """

    def __init__(self, width: int, height: int, seed: int = 0) -> None:
        if not (MIN_SIDE <= width <= MAX_WIDTH and MIN_SIDE <= height <= MAX_HEIGHT):
            raise ValueError(f"size must be {MIN_SIDE}x{MIN_SIDE} to {MAX_WIDTH}x{MAX_HEIGHT}, not {width}x{height}")
        self._scene = Scene.prepare(View.of(int(width), int(height), int(seed)))
        self._dither: F32 = cells(
            np.arange(width, dtype=np.float64)[None, :],
            np.arange(_DITHER_ROWS, dtype=np.float64)[:, None],
            make_key(0, 99),
        ).astype(np.float32)

    def frame(self, seconds: float) -> U8:
        """The picture at a time.

        seconds: since local midnight of day 0, finite, >= 0; ValueError otherwise.
        Returns uint8 [height, width, 3], RGB, a fresh array.
        """
        t = float(seconds)
        if not 0.0 <= t < math.inf:
            raise ValueError(f"seconds must be finite and not negative, not {seconds!r}")
        moment = self._scene.moment(t)
        return self._develop(self._scene.paint(moment))

    def _develop(self, canvas: F32) -> U8:
        """To bytes: a soft shoulder under white, and a still dither so that no sky shows bands."""
        _, h, w = canvas.shape
        out: U8 = np.empty((h, w, 3), np.uint8)
        for s in painting_bands(0, h, w):
            dither = self._dither[np.arange(s.start, s.stop, dtype=np.intp) % _DITHER_ROWS]
            for c in range(3):
                a = canvas[c, s]
                # above 0.8 the slope halves: 1.2 is white
                over = a - 0.8
                np.maximum(over, 0.0, out=over)
                over *= 0.5
                a = a - over
                a *= 255.0
                a += dither
                np.maximum(a, 0.0, out=a)
                np.minimum(a, 255.0, out=a)
                out[s, :, c] = a.astype(np.uint8)
        return out
