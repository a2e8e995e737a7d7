"""The light of the hours: where sun and moon stand, the colours they give, and what falls on the land."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pleinair.scenery.exact import F32, F64, Colour, blend, cos, ramp, rgb, sin
from pleinair.scenery.noise import make_key, uniform

_DAY = 86400.0
_SUNRISE = 6.0
_SUNSET = 19.5
_NOON = (_SUNRISE + _SUNSET) / 2.0
_SKYLINE = 0.53  # v at which sun and moon rise and set: just below the mountains' crest
_MONTH = 29.530588  # days from new moon to new moon


class Light(NamedTuple):
    """The colours of one hour, before any cloud."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    ambient: Colour
    sun: Colour
    cloud_lit: Colour
    cloud_shade: Colour


# fmt: off
# The colours of a Light in 0..255, hour by hour.
_TABLE = (
    # hour zenith         middle         horizon        ambient        sun            cloud, lit     cloud, shade
    ( 0.0, ( 13, 22, 66), ( 24, 44,100), ( 58, 84,138), ( 62, 78,128), (  0,  0,  0), ( 92,114,164), ( 30, 44, 90)),
    ( 3.8, ( 13, 22, 66), ( 24, 44,100), ( 58, 84,138), ( 62, 78,128), (  0,  0,  0), ( 92,114,164), ( 30, 44, 90)),
    ( 4.8, ( 22, 38, 98), ( 62, 82,146), (168,136,148), ( 78, 88,138), (  0,  0,  0), (128,108,146), ( 46, 56,106)),
    ( 5.6, ( 48, 80,150), (142,136,184), (250,172,130), (112,108,146), ( 24, 10,  4), (246,152,138), ( 96, 88,142)),
    ( 6.3, ( 78,124,194), (176,178,208), (255,208,146), (132,130,152), (150, 92, 40), (255,200,150), (138,124,164)),
    ( 7.5, ( 66,132,212), (134,184,230), (238,224,196), (136,144,162), (164,134, 88), (255,238,210), (148,158,190)),
    (10.0, ( 44,114,206), (104,172,232), (204,226,236), (138,148,164), (164,154,128), (255,253,246), (154,170,200)),
    (14.0, ( 40,108,202), (102,170,230), (206,226,234), (138,148,164), (166,154,126), (255,252,242), (154,168,198)),
    (16.8, ( 50,114,198), (124,176,222), (232,222,198), (136,140,158), (172,144, 98), (255,243,214), (150,156,186)),
    (18.4, ( 64,112,184), (172,172,196), (255,208,132), (130,122,144), (184,116, 48), (255,212,146), (140,124,158)),
    (19.3, ( 54, 76,150), (180,124,158), (255,150, 76), (110, 94,130), (116, 48, 18), (255,142, 94), (104, 78,130)),
    (20.0, ( 34, 48,118), (104, 82,148), (230,118, 96), ( 84, 80,128), ( 18,  6,  2), (204,100,110), ( 62, 56,112)),
    (20.8, ( 20, 32, 88), ( 48, 60,124), (122,102,144), ( 68, 78,128), (  0,  0,  0), (102, 96,142), ( 36, 46, 96)),
    (22.2, ( 13, 22, 66), ( 24, 44,100), ( 58, 84,138), ( 62, 78,128), (  0,  0,  0), ( 92,114,164), ( 30, 44, 90)),
    (24.0, ( 13, 22, 66), ( 24, 44,100), ( 58, 84,138), ( 62, 78,128), (  0,  0,  0), ( 92,114,164), ( 30, 44, 90)),
)
# fmt: on
_HOURS: tuple[tuple[float, Light], ...] = tuple((hour, Light(*(rgb(*c) for c in row))) for hour, *row in _TABLE)


def light_at(hour: float) -> Light:
    """The table's colours at an hour in [0, 24], in proportion between two rows."""
    for (h0, a), (h1, b) in zip(_HOURS, _HOURS[1:], strict=False):
        if hour <= h1:
            t = (hour - h0) / (h1 - h0)
            return Light(*(blend(p, q, t) for p, q in zip(a, b, strict=True)))
    return _HOURS[-1][1]


def _altitude(hour_angle: float) -> float:
    """Height above the skyline, 1 at the top of the path, for an hour angle in turns."""
    rim = cos((_NOON - _SUNRISE) / 24.0)
    return (cos(hour_angle) - rim) / (1.0 - rim)


class Sun(NamedTuple):
    """Where the sun stands: scene x and v, and its altitude, 1 at noon and 0 on the skyline."""

    x: float
    v: float
    altitude: float


class Moon(NamedTuple):
    """Where the moon stands, its phase in turns (0 is new, 0.5 full), and how strongly it shines, 0..1."""

    x: float
    v: float
    phase: float
    shine: float


@dataclass(frozen=True)
class Heavens:
    """Sun, moon and the colours of one time, before any cloud.

    hours since midnight of day 0; hour of the day, 0..24; dark: how far the night has come, 0..1.
    """

    hours: float
    hour: float
    light: Light
    sun: Sun
    moon: Moon
    dark: float


def heavens_at(seconds: float, middle: float, seed: int) -> Heavens:
    """The heavens at a time.

    seconds: since midnight of day 0, finite, >= 0; middle: the scene x at which the sun stands at noon.
    """
    day = math.floor(seconds / _DAY)
    hour = min(24.0, max(0.0, (seconds - day * _DAY) / 3600.0))
    angle = (hour - _NOON) / 24.0
    altitude = _altitude(angle)
    sun = Sun(middle + 0.40 * sin(angle), _SKYLINE - 0.44 * altitude, altitude)

    age = 11.2 + 3.0 * uniform(make_key(seed, 2)) + seconds / _DAY
    phase = age / _MONTH
    phase -= math.floor(phase)
    angle -= phase
    altitude = _altitude(angle)
    full = 0.5 - 0.5 * cos(phase)
    dark = ramp(sun.altitude, 0.06, -0.22)
    shine = dark * ramp(altitude, 0.0, 0.30) * full
    moon = Moon(middle + 0.46 * sin(angle), _SKYLINE - 0.37 * altitude, phase, shine)
    return Heavens(seconds / 3600.0, hour, light_at(hour), sun, moon, dark)


@dataclass(frozen=True)
class Moment:
    """All that a layer needs to know of one time.

    sky, through: the sky with its clouds and what the clouds let through, float32 on the coarse grid of ``clouds``.
    clear: how much of the sun the clouds let through, 0..1.
    base, slope: the light on the land: a face that leans ``s`` to the right receives base + slope * s.
    air: per channel, the colour of the air in front of the land, float32 [width].
    """

    heavens: Heavens
    sky: tuple[F32, F32, F32]
    through: F32
    clear: float
    base: Colour
    slope: Colour
    air: tuple[F32, F32, F32]


def daylight(heavens: Heavens, clear: float, middle: float) -> tuple[Colour, Colour]:
    """The light on the land, ``base`` and ``slope`` of a :class:`Moment`.

    Sun and moon each light the faces turned to where they stand.
    """
    light, moonshine = heavens.light, heavens.moon.shine
    up = ramp(heavens.sun.altitude, -0.08, 0.26) * (0.66 + 0.34 * clear)
    sun = (light.sun[0] * up, light.sun[1] * up, light.sun[2] * up)
    lean = min(1.0, max(-1.0, (heavens.sun.x - middle) * 2.6))
    moon_lean = min(1.0, max(-1.0, (heavens.moon.x - middle) * 2.4))
    glim = 0.24 * moonshine
    moon = (0.62 * glim, 0.80 * glim, 1.15 * glim)
    base: list[float] = []
    slope: list[float] = []
    for c in range(3):
        base.append(1.04 * light.ambient[c] + 0.78 * sun[c] + 0.9 * moon[c])
        slope.append(0.75 * lean * sun[c] + 0.8 * moon_lean * moon[c] - 0.12 * light.ambient[c])
    return (base[0], base[1], base[2]), (slope[0], slope[1], slope[2])


def air_colours(heavens: Heavens, x: F64) -> tuple[F32, F32, F32]:
    """The air's colour at scene x of every column: paler under the sun and under the moon."""
    light, sun, moon = heavens.light, heavens.sun, heavens.moon
    dx = x - sun.x
    near = 1.0 / (1.0 + 7.0 * dx * dx) * (0.5 * ramp(sun.altitude, -0.2, 0.03))
    mx = x - moon.x
    near_moon = 0.16 * moon.shine / (1.0 + 9.0 * mx * mx)
    air: list[F32] = []
    for c in range(3):
        a = 0.5 * light.horizon[c] + 0.5 * light.middle[c]
        a = a * (1.0 - 0.25 * heavens.dark)
        air.append((a + near * (light.horizon[c] - a) + near_moon).astype(np.float32))
    return (air[0], air[1], air[2])
