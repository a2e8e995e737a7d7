"""The synthetic camera's scene: one day outdoors after another, drawn from a seed and a time.

A lake between hills, a village with a church on its shore, cypresses on the near bank; a sky that
runs from night through dawn, day and dusk to night again, with a sun, a moon that has a phase,
turning stars, and three layers of drifting clouds.  It stands in for a camera where there is none.

The same on every machine, bit for bit
--------------------------------------
The first film and the tests compare frames by their hash, on x86-64, aarch64 and 32-bit Arm, under
any NumPy from 1.21.  So whatever reaches a pixel is made of operations whose result IEEE 754 fixes
to the last bit, one element at a time: ``+ - *`` on floats, ``/`` and ``sqrt`` on float64 only,
floor, minimum, maximum, comparisons, integer arithmetic and indexing.  Not used, on purpose:

* sin, cos, exp, log, power and their like, from NumPy or from ``math``: their last bit differs
  between C libraries and between NumPy's SIMD builds.  A polynomial sine is below.
* sum, mean, dot, matmul, einsum, interp, convolve, cumsum over floats: the order in which they add
  differs between builds (and Python's own sum rounds differently from 3.12 on).
* float32 division and square root: NumPy on 32-bit Arm makes them from NEON estimates.
* np.random: streams have changed between NumPy versions.  An integer hash is below.

Scalars that meet a float32 array are Python floats, never NumPy scalars: NumPy 1 and NumPy 2
promote the latter differently.

Coordinates
-----------
Scene units are frame heights: x runs from 0 to 16/9 across the frame whatever its shape (other
shapes stretch the scene), v runs from 0 at the top to 1 at the bottom.  Hours are local, 0 to 24.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
Colour = tuple[float, float, float]

MIN_SIDE = 16
MAX_WIDTH = 4096
MAX_HEIGHT = 4096

_ASPECT = 16.0 / 9.0
_MID = _ASPECT / 2.0
_DAY = 86400.0
_SUNRISE = 6.0
_SUNSET = 19.5
_NOON = (_SUNRISE + _SUNSET) / 2.0
_SKYLINE = 0.53  # v at which sun and moon rise and set: just below the mountains' crest
_MONTH = 29.530588  # days from new moon to new moon
_BAND_PIXELS = 40960  # a band's temporaries stay in a small core's second-level cache
_DITHER_ROWS = 64


# ---------------------------------------------------------------- exact arithmetic


def _sin(turns: float) -> float:
    """Sine of an angle in turns (1.0 is a full circle); absolute error below 1e-8."""
    y = turns - math.floor(turns) - 0.5
    if y > 0.25:
        y = 0.5 - y
    elif y < -0.25:
        y = -0.5 - y
    z = -6.283185307179586 * y
    q = z * z
    p = 1.0 / 6227020800.0
    for c in (-1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0):
        p = p * q + c
    return z * p


def _cos(turns: float) -> float:
    """Cosine of an angle in turns."""
    return _sin(turns + 0.25)


def _ramp(x: float, a: float, b: float) -> float:
    """Smoothstep from 0 at a to 1 at b; b may lie below a."""
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)


def _ramps(x: F64, a: float, b: float) -> F64:
    """Smoothstep of every element of a float64 array, as `_ramp`."""
    t = np.minimum(np.maximum((x - a) * (1.0 / (b - a)), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def _clip01(x: F64) -> F64:
    """Every element brought into 0..1."""
    return np.minimum(np.maximum(x, 0.0), 1.0)


def _mix3(a: Colour, b: Colour, t: float) -> Colour:
    """The colour the fraction t of the way from a to b."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def _rgb(r: float, g: float, b: float) -> Colour:
    """A colour in 0..1 from one in 0..255."""
    return (r / 255.0, g / 255.0, b / 255.0)


# ---------------------------------------------------------------- hash and noise

_M32 = 0xFFFFFFFF


def _mix(h: int) -> int:
    """Scramble 32 bits (the scalar twin of what `_hash` ends with)."""
    h &= _M32
    h ^= h >> 15
    h = (h * 0x2C1B3C6D) & _M32
    h ^= h >> 12
    h = (h * 0x297A2D39) & _M32
    return h ^ (h >> 15)


def _rand(key: int, *numbers: int) -> float:
    """A fixed pseudo-random number in [0, 1) for a key and any further integers."""
    h = _mix(key + 0x9E3779B9)
    for n in numbers:
        h = _mix(_mix((h ^ (n & _M32)) * 0x85EBCA77 + 0x165667B1) + 0x9E3779B9)
    return h / 4294967296.0


def _key(seed: int, purpose: int) -> int:
    """A 32-bit key for one purpose of one seed; every bit of a large seed counts."""
    h = _mix(purpose * 0x9E3779B1 + 0x7F4A7C15)
    s = seed & ((1 << 128) - 1)
    for _ in range(4):
        h = _mix((h ^ (s & _M32)) * 0x85EBCA77 + 0x27D4EB2F)
        s >>= 32
    return h


def _hash(x: I64, y: I64, key: int) -> U32:
    """A 32-bit hash of every integer point (x, y), with broadcasting; int64 in, uint32 out."""
    a = (x & _M32).astype(np.uint32) * np.uint32(0x9E3779B1)
    b = (y & _M32).astype(np.uint32) * np.uint32(0x85EBCA77)
    b ^= b >> np.uint32(13)
    h = (a ^ np.uint32(key & _M32)) + b
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h


def _hash01(x: F64, y: F64, key: int) -> F64:
    """A number in [0, 1) for every cell (floor x, floor y)."""
    h = _hash(np.floor(x).astype(np.int64), np.floor(y).astype(np.int64), key)
    return h.astype(np.float64) * (1.0 / 4294967296.0)


_GRADIENT_X: F64 = np.array([1.45 * _cos(i / 64.0) for i in range(64)], dtype=np.float64)
_GRADIENT_Y: F64 = np.array([1.45 * _sin(i / 64.0) for i in range(64)], dtype=np.float64)


class _Octave:
    """Gradient noise at fixed points of a plane that can be shifted under its lattice.

    x, y: float64 of one common shape.  `at` gives float64 of that shape, about -1 to 1.
    """

    def __init__(self, x: F64, y: F64, key: int) -> None:
        self._x, self._y = np.broadcast_arrays(x, y)
        self._key = key
        self._x0 = math.floor(float(np.min(x)))
        self._y0 = math.floor(float(np.min(y)))
        # a cell for the far corner, one for the shift's fraction, one for its rounding up
        self._nx = math.floor(float(np.max(x))) - self._x0 + 4
        self._ny = math.floor(float(np.max(y))) - self._y0 + 4

    def at(self, dx: float = 0.0, dy: float = 0.0) -> F64:
        """The noise with the points moved by (dx, dy)."""
        # whole cells go to the hash, so that months of drift cost no precision
        cx, cy = math.floor(dx), math.floor(dy)
        ax = (cx + self._x0) & _M32
        ay = (cy + self._y0) & _M32
        ix = np.arange(self._nx, dtype=np.int64)[None, :] + ax
        iy = np.arange(self._ny, dtype=np.int64)[:, None] + ay
        turn = (_hash(ix, iy, self._key) >> np.uint32(26)).astype(np.intp)
        gx = _GRADIENT_X[turn].ravel()
        gy = _GRADIENT_Y[turn].ravel()

        x = self._x + (dx - cx - self._x0)
        y = self._y + (dy - cy - self._y0)
        fx = np.floor(x)
        fy = np.floor(y)
        i = (fy * float(self._nx) + fx).astype(np.intp)
        x -= fx
        y -= fy
        x1 = x - 1.0
        y1 = y - 1.0
        u = x * x * x * (x * (x * 6.0 - 15.0) + 10.0)
        w = y * y * y * (y * (y * 6.0 - 15.0) + 10.0)
        a = gx.take(i) * x + gy.take(i) * y
        i += 1
        b = gx.take(i) * x1 + gy.take(i) * y
        b -= a
        b *= u
        a += b
        i += self._nx
        d = gx.take(i) * x1 + gy.take(i) * y1
        i -= 1
        c = gx.take(i) * x + gy.take(i) * y1
        d -= c
        d *= u
        c += d
        c -= a
        c *= w
        a += c
        return a


def _noise(x: F64, y: F64, key: int) -> F64:
    """Gradient noise, about -1 to 1, at float64 points."""
    return _Octave(x, y, key).at()


def _fbm(x: F64, y: F64, key: int, octaves: int, gain: float = 0.5) -> F64:
    """Octaves of gradient noise, each turned against the one before so no lattice lines up."""
    total = _noise(x, y, key)
    amp = 1.0
    for k in range(1, octaves):
        x, y = 1.6 * x - 1.2 * y + 3.1, 1.2 * x + 1.6 * y + 7.7
        amp *= gain
        total = total + amp * _noise(x, y, key + k * 7919)
    return total


def _profile(x: F64, key: int, octaves: int, ridged: bool = False) -> F64:
    """A hill's outline along x (any shape), about -1 to 1; ridged gives sharp crests."""
    total: F64 = np.zeros_like(x)
    amp = 1.0
    for k in range(octaves):
        row: F64 = np.full_like(x, 0.37 + k)
        n = _noise(x, row, key + k * 7919)
        total = total + amp * ((1.0 - 2.2 * np.abs(n)) if ridged else n)
        x = 2.03 * x + 5.3
        amp *= 0.48
    return total


def _crowns(x: F64, pitch: float, key: int) -> F64:
    """The outline of a row of round tree tops along x, in 0..1, about one every `pitch`."""
    best: F64 = np.zeros_like(x)
    cell = np.floor(x * (1.0 / pitch))
    for k in (-1.0, 0.0, 1.0):
        c = cell + k
        zero: F64 = np.zeros_like(c)
        centre = (c + 0.2 + 0.6 * _hash01(c, zero, key)) * pitch
        tall = 0.35 + 0.65 * _hash01(c, zero + 1.0, key)
        r = (x - centre) * (1.0 / (pitch * (0.5 + 0.45 * tall)))
        best = np.maximum(best, tall * np.sqrt(np.maximum(1.0 - r * r, 0.0)))
    return best


# ---------------------------------------------------------------- the light of the hours


class _Light(NamedTuple):
    """The colours of one moment; all RGB, about 0 to 1."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    ambient: Colour
    sun: Colour
    cloud_lit: Colour
    cloud_shade: Colour


def _hour_light(
    zenith: Colour,
    middle: Colour,
    horizon: Colour,
    ambient: Colour,
    sun: Colour,
    lit: Colour,
    shade: Colour,
) -> _Light:
    """A row of the table below, from colours in 0..255."""
    return _Light(*(_rgb(*c) for c in (zenith, middle, horizon, ambient, sun, lit, shade)))


_NIGHT = _hour_light(
    (13, 22, 66),
    (24, 44, 100),
    (58, 84, 138),
    (62, 78, 128),
    (0, 0, 0),
    (92, 114, 164),
    (30, 44, 90),
)
_HOURS: tuple[tuple[float, _Light], ...] = (
    (0.0, _NIGHT),
    (3.8, _NIGHT),
    (
        4.8,
        _hour_light(
            (22, 38, 98), (62, 82, 146), (168, 136, 148), (78, 88, 138), (0, 0, 0), (128, 108, 146), (46, 56, 106)
        ),
    ),
    (
        5.6,
        _hour_light(
            (48, 80, 150),
            (142, 136, 184),
            (250, 172, 130),
            (112, 108, 146),
            (24, 10, 4),
            (246, 152, 138),
            (96, 88, 142),
        ),
    ),
    (
        6.3,
        _hour_light(
            (78, 124, 194),
            (176, 178, 208),
            (255, 208, 146),
            (132, 130, 152),
            (150, 92, 40),
            (255, 200, 150),
            (138, 124, 164),
        ),
    ),
    (
        7.5,
        _hour_light(
            (66, 132, 212),
            (134, 184, 230),
            (238, 224, 196),
            (136, 144, 162),
            (164, 134, 88),
            (255, 238, 210),
            (148, 158, 190),
        ),
    ),
    (
        10.0,
        _hour_light(
            (44, 114, 206),
            (104, 172, 232),
            (204, 226, 236),
            (138, 148, 164),
            (164, 154, 128),
            (255, 253, 246),
            (154, 170, 200),
        ),
    ),
    (
        14.0,
        _hour_light(
            (40, 108, 202),
            (102, 170, 230),
            (206, 226, 234),
            (138, 148, 164),
            (166, 154, 126),
            (255, 252, 242),
            (154, 168, 198),
        ),
    ),
    (
        16.8,
        _hour_light(
            (50, 114, 198),
            (124, 176, 222),
            (232, 222, 198),
            (136, 140, 158),
            (172, 144, 98),
            (255, 243, 214),
            (150, 156, 186),
        ),
    ),
    (
        18.4,
        _hour_light(
            (64, 112, 184),
            (172, 172, 196),
            (255, 208, 132),
            (130, 122, 144),
            (184, 116, 48),
            (255, 212, 146),
            (140, 124, 158),
        ),
    ),
    (
        19.3,
        _hour_light(
            (54, 76, 150),
            (180, 124, 158),
            (255, 150, 76),
            (110, 94, 130),
            (116, 48, 18),
            (255, 142, 94),
            (104, 78, 130),
        ),
    ),
    (
        20.0,
        _hour_light(
            (34, 48, 118), (104, 82, 148), (230, 118, 96), (84, 80, 128), (18, 6, 2), (204, 100, 110), (62, 56, 112)
        ),
    ),
    (
        20.8,
        _hour_light(
            (20, 32, 88), (48, 60, 124), (122, 102, 144), (68, 78, 128), (0, 0, 0), (102, 96, 142), (36, 46, 96)
        ),
    ),
    (22.2, _NIGHT),
    (24.0, _NIGHT),
)


def _light_at(hour: float) -> _Light:
    """The table's colours at an hour in [0, 24], between rows in proportion."""
    for (h0, a), (h1, b) in zip(_HOURS, _HOURS[1:]):  # noqa: B905 (the ends differ on purpose)
        if hour <= h1:
            t = (hour - h0) / (h1 - h0)
            return _Light(*(_mix3(p, q, t) for p, q in zip(a, b)))  # noqa: B905
    return _NIGHT


def _altitude(hour_angle: float) -> float:
    """Height above the skyline, 1 at the top of the path, for an hour angle in turns."""
    rim = _cos((_NOON - _SUNRISE) / 24.0)
    return (_cos(hour_angle) - rim) / (1.0 - rim)


# ---------------------------------------------------------------- layers that stand still


class _Layer:
    """A part of the picture whose shapes stand still and whose light changes.

    Covers rows y0..y1 and columns x0..x1 of the frame.  Planes are float32 [rows, columns]:
    albedo red, green, blue, `side` (-1 faces left, 1 faces right), `haze` (0 near, 1 lost in the
    air) and `alpha` (coverage).
    """

    def __init__(self, y0: int, y1: int, x0: int, x1: int) -> None:
        self.y0, self.y1, self.x0, self.x1 = y0, y1, x0, x1
        shape = (max(0, y1 - y0), max(0, x1 - x0))
        self.albedo: list[F32] = [np.zeros(shape, np.float32) for _ in range(3)]
        self.side: F32 = np.zeros(shape, np.float32)
        self.haze: F32 = np.zeros(shape, np.float32)
        self.alpha: F32 = np.zeros(shape, np.float32)

    def paint(self, y0: int, x0: int, cover: F64, colour: Sequence[object], side: object, haze: object) -> None:
        """Lay paint over a rectangle whose first pixel is (y0, x0) of the frame.

        cover: float64 [h, w] in 0..1; colour: three scalars or arrays [h, w]; side, haze alike.
        The rectangle is cut to the layer.
        """
        h, w = cover.shape
        ya, yb = max(y0, self.y0), min(y0 + h, self.y1)
        xa, xb = max(x0, self.x0), min(x0 + w, self.x1)
        if ya >= yb or xa >= xb:
            return
        src = (slice(ya - y0, yb - y0), slice(xa - x0, xb - x0))
        dst = (slice(ya - self.y0, yb - self.y0), slice(xa - self.x0, xb - self.x0))
        c = cover[src]
        under = self.alpha[dst].astype(np.float64)
        both = c + under * (1.0 - c)
        # paint over nothing keeps its full colour, or every outline would have a dark rim
        c = c / np.maximum(both, 1e-6)
        self.alpha[dst] = both.astype(np.float32)
        values = (colour[0], colour[1], colour[2], side, haze)
        planes = (*self.albedo, self.side, self.haze)
        for plane, value in zip(planes, values):  # noqa: B905
            full: F64 = np.broadcast_to(np.asarray(value, np.float64), cover.shape)[src]
            part = plane[dst]
            old = part.astype(np.float64)
            part[...] = (old + c * (full - old)).astype(np.float32)

    def relight(self, buf: F32, base: Colour, slope: Colour, haze: Sequence[F32]) -> None:
        """Composite onto buf, float32 [3, height, width], in the light of one moment.

        A face of side s has its albedo times base + slope * s; haze: per channel the air's colour
        along the frame, float32 [width].
        """
        width = self.x1 - self.x0
        if width <= 0:
            return
        step = max(1, _BAND_PIXELS // width)
        for r in range(0, self.y1 - self.y0, step):
            s = slice(r, min(r + step, self.y1 - self.y0))
            side, fog, alpha = self.side[s], self.haze[s], self.alpha[s]
            rows = slice(self.y0 + s.start, self.y0 + s.stop)
            for c in range(3):
                col = side * slope[c]
                col += base[c]
                col *= self.albedo[c][s]
                air = haze[c][None, self.x0 : self.x1] - col
                air *= fog
                col += air
                out = buf[c, rows, self.x0 : self.x1]
                col -= out
                col *= alpha
                out += col


class _Lamp(NamedTuple):
    """A light after dark: its shine, its place in the frame, its hours of the evening."""

    y0: int
    x0: int
    shine: tuple[F32, F32, F32]
    on: float
    off: float
    morning_on: float
    morning_off: float


class _CloudField:
    """Fractal noise on the coarse sky grid that drifts; each octave at its own pace, so it boils.

    x, y: float64 [rows, columns], the plane the clouds lie in.
    """

    def __init__(self, x: F64, y: F64, key: int, octaves: int, gain: float, billow: bool) -> None:
        self._parts: list[tuple[_Octave, float, float, float, float]] = []
        a, b = 1.0, 0.0
        amp = 1.0
        for k in range(octaves):
            octave = _Octave(a * x - b * y, b * x + a * y, _key(key, k))
            pace = 1.0 + 0.16 * (_rand(key, k) - 0.35) * k
            self._parts.append((octave, a, b, amp, pace))
            a, b = 1.65 * a - 1.2 * b, 1.2 * a + 1.65 * b
            amp *= gain
        self._billow = billow

    def at(self, dx: float, dy: float) -> F64:
        """Density with the plane moved by (dx, dy); about -1 to 1, float64 [rows, columns]."""
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


# ---------------------------------------------------------------- the scene


class SyntheticDay:
    """A day outdoors, and the days after it, as a camera would see them.

    width, height: pixels, 16 to 4096 each, odd ones included; the scene is laid out relative to
    them, so every size shows the same.  seed: any int; another seed is another valley, village and
    weather.  ValueError for a size outside the range.

    A frame depends on (width, height, seed, seconds) and on nothing else, so frames may be asked
    for in any order.
    """

    def __init__(self, width: int, height: int, seed: int = 0) -> None:
        if not (MIN_SIDE <= width <= MAX_WIDTH and MIN_SIDE <= height <= MAX_HEIGHT):
            raise ValueError(f"size must be {MIN_SIDE}x{MIN_SIDE} to {MAX_WIDTH}x{MAX_HEIGHT}, not {width}x{height}")
        self._w, self._h, self._seed = int(width), int(height), int(seed)
        # seed 0 is the demo's and has its village on the right
        self._flip = self._seed != 0 and _rand(_key(self._seed, 1)) < 0.5
        cols = (np.arange(self._w, dtype=np.float64) + 0.5) * (_ASPECT / self._w)
        self._screen_x: F64 = cols
        self._x: F64 = _ASPECT - cols if self._flip else cols
        self._v: F64 = (np.arange(self._h, dtype=np.float64) + 0.5) * (1.0 / self._h)
        self._shore: F64 = 0.612 + 0.038 * _ramps(self._x, 0.85, 1.75)
        self._lamps: list[_Lamp] = []

        self._make_sky_grid()
        self._make_stars()
        self._make_land()
        self._make_village()
        self._make_water()
        self._make_boat()
        self._make_near()
        tile = _hash01(
            np.arange(self._w, dtype=np.float64)[None, :],
            np.arange(_DITHER_ROWS, dtype=np.float64)[:, None],
            _key(0, 99),
        )
        self._dither: F32 = tile.astype(np.float32)

    # ------------------------------------------------------------ what stands still

    def _make_sky_grid(self) -> None:
        """The coarse grid the sky and the clouds are computed on, and the way up from it."""
        # soft things only: half the frame's resolution is enough, and never more than 512 columns
        nx = min(513, max(65, (self._w + 1) // 2 + 1))
        ny = (nx - 1) * 22 // 64 + 1
        bottom = 0.66
        gx = np.arange(nx, dtype=np.float64)[None, :] * (_ASPECT / (nx - 1))
        gy = np.arange(ny, dtype=np.float64)[:, None] * (bottom / (ny - 1))
        self._gx, self._gy = gx, gy
        self._gstep_x = float(nx - 1) / _ASPECT
        self._gstep_y = float(ny - 1) / bottom

        px = self._screen_x * ((nx - 1) / _ASPECT)
        py = self._v * ((ny - 1) / bottom)
        ix = np.minimum(np.floor(px), nx - 2.0)
        iy = np.minimum(np.floor(py), ny - 2.0)
        self._up_x = ix.astype(np.intp)
        self._up_y = iy.astype(np.intp)
        self._up_fx: F32 = (px - ix).astype(np.float32)
        self._up_fy: F32 = np.minimum(py - iy, 1.0).astype(np.float32)

        seed = self._seed
        flat = gx - _MID + 0.0 * gy
        # a ceiling of clouds in perspective: 1/distance to the skyline
        far = 1.0 / (0.78 - gy)
        self._puffs = _CloudField(flat * far * 1.55, far * 1.25 + 0.0 * gx, _key(seed, 10), 6, 0.52, True)
        # a bank of heaped clouds low over the mountains, seen from the side
        self._bank = _CloudField(flat * 2.6, gy * 4.4 + 0.0 * gx, _key(seed, 11), 6, 0.5, True)
        # streaks of ice, bent a little
        bend = 0.22 * flat + 0.12 * flat * flat
        self._cirrus = _CloudField(flat * 1.3 + gy * 0.6, (gy + bend) * 5.2, _key(seed, 12), 5, 0.55, False)

    def _make_stars(self) -> None:
        """Stars on a disc that turns about a point below the lake."""
        key = _key(self._seed, 20)
        n = 900
        rows: list[tuple[float, float, float, float]] = []
        for k in range(n):
            r = math.sqrt(0.12 + 1.9 * _rand(key, k, 0))
            turn = _rand(key, k, 1)
            m = _rand(key, k, 2)
            bright = 0.16 + 0.84 * m * m * m
            size = 1.0 + 0.5 * m
            if k % 26 == 0:
                bright, size = 1.0, 2.1 + 1.1 * _rand(key, k, 3)
            rows.append((r * _cos(turn), r * _sin(turn), bright, size))
        self._stars: F64 = np.array(rows, dtype=np.float64)

    def _make_land(self) -> None:
        """Mountains, hills and fields behind the lake, from far to near."""
        w, h, seed = self._w, self._h, self._seed
        x = self._x
        top = 0.34
        y0 = int(top * h)
        y1 = min(h, int(0.655 * h) + 3)
        self._land = land = _Layer(y0, y1, 0, w)

        k = _key(seed, 30)
        massif = 0.02 + 0.03 * _rand(k, 1)
        far = 0.492 - 0.042 * _profile(x * 2.1 + 40.0, _key(seed, 31), 6, True)
        far = far - massif * (1.0 - _ramps(np.abs(x - 0.62), 0.0, 0.5))
        mid = 0.548 - 0.030 * _profile(x * 2.4 + 90.0, _key(seed, 32), 4)
        mid_trees = mid - 0.0075 * _crowns(x, 0.011, _key(seed, 33))
        low = 0.584 - 0.016 * _profile(x * 2.0 + 17.0, _key(seed, 34), 3)
        hill = self._hill(x)
        wood = _ramps(_profile(x * 3.0 + 5.0, _key(seed, 36), 2), -0.35, 0.25)
        hill_trees = hill - 0.024 * wood * _crowns(x, 0.024, _key(seed, 35))

        step = max(1, 4 * _BAND_PIXELS // w)
        xx = x[None, :]
        for r in range(y0, y1, step):
            v = self._v[r : min(r + step, y1)][:, None]
            shape = (v.shape[0], w)

            # facets of rock: noise that runs down the slopes from each crest
            d = v - far[None, :]
            n = _fbm(xx * 13.0 + d * 16.0, d * 15.0 - xx * 2.0, _key(seed, 40), 5, 0.58)
            snow = _ramps(0.035 - d + 0.02 * n, 0.0, 0.02) * _ramps(0.47 - far[None, :], 0.0, 0.05)
            side = np.minimum(np.maximum(2.3 * n, -1.0), 1.0)
            cover = _clip01((v - far[None, :]) * h + 0.5)
            land.paint(
                r,
                0,
                cover,
                (0.42 + 0.08 * n + 0.46 * snow, 0.44 + 0.08 * n + 0.44 * snow, 0.52 + 0.07 * n + 0.40 * snow),
                side,
                np.broadcast_to(0.34 + 1.9 * np.maximum(d, 0.0), shape),
            )

            # wooded hills
            d = v - mid[None, :]
            n = _fbm(xx * 34.0, v * 60.0, _key(seed, 41), 3)
            glade = _ramps(_noise(xx * 7.0, v * 22.0, _key(seed, 42)), 0.1, 0.3)
            side = np.minimum(np.maximum(0.9 * n + 0.5 * _noise(xx * 6.0, v * 9.0, k), -1.0), 1.0)
            cover = _clip01((v - mid_trees[None, :]) * h + 0.5)
            land.paint(
                r,
                0,
                cover,
                (0.26 + 0.05 * n + 0.26 * glade, 0.38 + 0.07 * n + 0.2 * glade, 0.28 + 0.04 * n + 0.06 * glade),
                side,
                np.broadcast_to(0.20 + 1.9 * np.maximum(d, 0.0), shape),
            )

            # fields along the far shore
            cover = _clip01((v - low[None, :]) * h + 0.5)
            rgb, side = self._fields(xx, v, 9.0, 46.0, 43)
            land.paint(r, 0, cover, rgb, side, 0.22)

            # the village's hill
            d = np.maximum(v - hill[None, :], 0.0)
            cover = _clip01((v - hill_trees[None, :]) * h + 0.5)
            rgb, side = self._fields(xx + 0.5 * d, v + 0.15 * xx, 6.5, 26.0, 44)
            n = _fbm(xx * 60.0, v * 60.0, _key(seed, 45), 3)
            wooded = _clip01(
                (0.012 - d) * 180.0 * wood[None, :] + _ramps(_noise(xx * 8.0, v * 17.0, _key(seed, 46)), 0.28, 0.4)
            )
            tree = (0.17 + 0.07 * n, 0.30 + 0.10 * n, 0.16 + 0.05 * n)
            land.paint(
                r,
                0,
                cover,
                [c + wooded * (t - c) for c, t in zip(rgb, tree)],  # noqa: B905
                side + wooded * (np.minimum(np.maximum(1.4 * n, -1.0), 1.0) - side),
                0.09,
            )

            # a pale strand at the water
            s = (self._shore[None, :] - v) * (1.0 / 0.006)
            strand = _clip01(1.0 - s + 0.5 * _noise(xx * 30.0, v * 10.0, _key(seed, 47)))
            land.paint(r, 0, 0.8 * strand, (0.62, 0.56, 0.45), 0.0, 0.1)
        if self._flip:
            np.negative(land.side, out=land.side)

    def _hill(self, x: F64) -> F64:
        """The outline v of the village's hill at scene x."""
        rise = _ramps(x, 0.80, 1.62)
        bump = 0.014 * _profile(x * 3.1 + 60.0, _key(self._seed, 38), 3)
        tall = 0.135 + 0.05 * _rand(_key(self._seed, 39))
        start: F64 = 0.618 + 0.038 * _ramps(x, 0.85, 1.75)
        return start - rise * (tall + bump) - 0.012 * _ramps(x, 0.72, 0.9)

    def _fields(self, x: F64, v: F64, across: float, down: float, purpose: int) -> tuple[tuple[F64, F64, F64], F64]:
        """A patchwork of meadow, wheat and ploughed land: its colours and its side, [h, w]."""
        key = _key(self._seed, purpose)
        warp = 0.5 * _noise(x * 5.0, v * 14.0, key)
        fx = x * across + 0.35 * v * down + warp
        fv = v * down + 0.6 * x + 0.6 * warp
        kind = _hash01(fx, fv, key + 1)
        tone = _hash01(fx, fv, key + 2)
        wheat = _ramps(kind, 0.58, 0.60)
        earth = _ramps(kind, 0.86, 0.88)
        ex = fx - np.floor(fx)
        ev = fv - np.floor(fv)
        edge = np.minimum(np.minimum(ex, 1.0 - ex) * (2.6 / across * 9.0), np.minimum(ev, 1.0 - ev) * 1.6)
        hedge = 1.0 - _ramps(edge, 0.10, 0.30)
        # furrows: a triangle wave along the field, its direction the field's own
        furrow = fx * (5.0 + 3.0 * tone) + (tone - 0.5) * 6.0 * fv
        furrow = np.abs(furrow - np.floor(furrow) - 0.5) * 4.0 - 1.0
        n = _fbm(x * 40.0, v * 80.0, key + 3, 2)
        lift = 0.05 * furrow + 0.05 * n + 0.10 * (tone - 0.5)
        rgb: list[F64] = []
        for meadow, corn, soil, bush in ((0.42, 0.80, 0.56, 0.18), (0.57, 0.68, 0.42, 0.31), (0.28, 0.34, 0.32, 0.17)):
            c = meadow + wheat * (corn - meadow) + earth * (soil - corn) + lift
            rgb.append(c + hedge * (bush - c))
        side = np.minimum(np.maximum(0.5 * furrow + 0.7 * n + 0.3 * warp, -1.0), 1.0)
        return (rgb[0], rgb[1], rgb[2]), side

    # sprites ------------------------------------------------------

    def _px(self, x: float) -> float:
        """Frame column (fractional, pixel edges at integers) of a scene x."""
        return (_ASPECT - x if self._flip else x) * (self._w / _ASPECT)

    def _polygon(self, points: Sequence[tuple[float, float]]) -> tuple[int, int, F64]:
        """Coverage of a convex polygon of scene points, antialiased: first row, first column, map."""
        pts = [(self._px(x), v * self._h) for x, v in points]
        x0 = math.floor(min(p[0] for p in pts)) - 1
        x1 = math.ceil(max(p[0] for p in pts)) + 1
        y0 = math.floor(min(p[1] for p in pts)) - 1
        y1 = math.ceil(max(p[1] for p in pts)) + 1
        gx = np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5
        gy = np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5
        area = 0.0
        for (ax, ay), (bx, by) in zip(pts, pts[1:] + pts[:1]):  # noqa: B905
            area += ax * by - bx * ay
        turn = 1.0 if area > 0.0 else -1.0
        cover: F64 = np.ones((y1 - y0, x1 - x0), np.float64)
        for (ax, ay), (bx, by) in zip(pts, pts[1:] + pts[:1]):  # noqa: B905
            ex, ey = bx - ax, by - ay
            length = math.sqrt(ex * ex + ey * ey)
            if length < 1e-9:
                continue
            inside = ((gy - ay) * ex - (gx - ax) * ey) * (turn / length)
            # a product, not a minimum: a wall thinner than a pixel must fade, not vanish
            cover = cover * _clip01(inside + 0.5)
        return y0, x0, cover

    def _draw(self, points: Sequence[tuple[float, float]], colour: Colour, side: float, haze: float) -> None:
        """Paint a convex polygon on the land."""
        y0, x0, cover = self._polygon(points)
        if self._flip:
            side = -side
        self._land.paint(y0, x0, cover, colour, side, haze)
        self._hide_lamps(y0, x0, cover)

    def _hide_lamps(self, y0: int, x0: int, cover: F64) -> None:
        """Take from the lamps so far what paint laid at (y0, x0) stands in front of."""
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

    def _blob(
        self,
        layer: _Layer,
        x: float,
        v: float,
        rx: float,
        rv: float,
        colour: Colour,
        haze: float,
        key: int,
    ) -> None:
        """Paint a tree's crown: a ragged ball about (x, v), radii rx, rv."""
        cx, cy = self._px(x), v * self._h
        sx, sy = rx * self._w / _ASPECT, rv * self._h
        x0, x1 = math.floor(cx - 1.3 * sx) - 1, math.ceil(cx + 1.3 * sx) + 1
        y0, y1 = math.floor(cy - 1.3 * sy) - 1, math.ceil(cy + 1.3 * sy) + 1
        dx = (np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / sx)
        dy = (np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / sy)
        n = _fbm(dx * 1.9 + 0.0 * dy, dy * 1.9 + 0.0 * dx, key, 3)
        r = np.sqrt(dx * dx + dy * dy) + 0.22 * n
        cover = _clip01((1.0 - r) * min(sx, sy) + 0.5)
        lift = 1.0 + 0.45 * n - 0.45 * dy
        side = np.minimum(np.maximum(0.75 * dx + 0.4 * n, -1.0), 1.0)
        layer.paint(y0, x0, cover, [c * lift for c in colour], side, haze)
        self._hide_lamps(y0, x0, cover)

    def _lamp(
        self,
        points: Sequence[tuple[float, float]],
        halo: float,
        hours: tuple[float, ...],
        warm: Colour,
    ) -> None:
        """Add a light whose pane is a polygon, with a halo of the given radius about it."""
        y0, x0, pane = self._polygon(points)
        # the middle of the bounding box, as every pane here is upright
        xs = [self._px(p[0]) for p in points]
        vs = [p[1] for p in points]
        cx = 0.5 * (min(xs) + max(xs))
        cy = 0.5 * (min(vs) + max(vs)) * self._h
        reach_x = halo * self._w / _ASPECT
        reach_y = halo * self._h
        xa, xb = max(0, math.floor(cx - reach_x)), min(self._w, math.ceil(cx + reach_x))
        ya, yb = max(0, math.floor(cy - reach_y)), min(self._h, math.ceil(cy + reach_y))
        xa, ya = min(xa, max(0, x0)), min(ya, max(0, y0))
        xb = max(xb, min(self._w, x0 + pane.shape[1]))
        yb = max(yb, min(self._h, y0 + pane.shape[0]))
        yb = min(yb, self._land.y1)
        if xa >= xb or ya >= yb:
            return
        dx = (np.arange(xa, xb, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / reach_x)
        dy = (np.arange(ya, yb, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / reach_y)
        q = dx * dx + dy * dy
        fall = np.maximum(1.0 - q, 0.0)
        glow = 0.34 * fall * fall / (1.0 + 9.0 * q)
        core: F64 = np.zeros_like(glow)
        sy, sx = max(y0, ya), max(x0, xa)
        part = pane[sy - y0 : yb - y0, sx - x0 : xb - x0]
        core[sy - ya : sy - ya + part.shape[0], sx - xa : sx - xa + part.shape[1]] = part
        shine = [
            (core * (0.95 * c) + glow * c * g).astype(np.float32)
            for c, g in zip(warm, (1.0, 0.72, 0.42))  # noqa: B905
        ]
        self._lamps.append(_Lamp(ya, xa, (shine[0], shine[1], shine[2]), hours[0], hours[1], hours[2], hours[3]))

    def _window(self, x: float, v: float, w: float, h: float, index: int) -> None:
        """A window centred at (x, v): dark by day, lit for some of the dark hours."""
        key = _key(self._seed, 51)
        pts = [(x - w / 2, v - h / 2), (x + w / 2, v - h / 2), (x + w / 2, v + h / 2), (x - w / 2, v + h / 2)]
        self._draw(pts, (0.20, 0.22, 0.27), 0.0, 0.06)
        a, b, c = _rand(key, index, 0), _rand(key, index, 1), _rand(key, index, 2)
        on = 18.9 + 2.0 * a
        off = 22.2 + 3.6 * b
        if c < 0.22:
            off = 31.0  # somebody never sleeps
        early = 4.6 + 1.3 * _rand(key, index, 3) if c > 0.55 else 0.0
        hue = _rand(key, index, 4)
        warm = _mix3((1.0, 0.80, 0.34), (1.0, 0.66, 0.26), hue)
        hours = (on, off, early, 6.3 + 0.6 * b if early else 0.0)
        self._lamp(pts, 0.026, hours, warm)

    def _house(self, x: float, base: float, size: float, index: int) -> None:
        """A house with its gable to the left, its long wall to the right, foot at (x, base)."""
        key = _key(self._seed, 52)
        r = [_rand(key, index, j) for j in range(8)]
        gable = size * (0.42 + 0.12 * r[0])
        long = size * (0.75 + 0.5 * r[1])
        wall = size * (0.46 + 0.18 * r[2])
        roof = size * (0.36 + 0.10 * r[3])
        walls = (
            _rgb(236, 224, 200),
            _rgb(226, 206, 170),
            _rgb(240, 234, 222),
            _rgb(214, 190, 160),
            _rgb(226, 196, 178),
        )
        roofs = (_rgb(176, 84, 58), _rgb(158, 70, 54), _rgb(190, 104, 66), _rgb(116, 98, 104))
        paint = walls[int(r[4] * len(walls))]
        tiles = roofs[int(r[5] * len(roofs))]
        eave = base - wall
        x1, x2 = x + gable, x + gable + long
        foot = base + 0.01
        # the long wall reaches behind the gable, or a seam would show where they meet
        self._draw([(x1 - 0.003, eave), (x2, eave), (x2, foot), (x1 - 0.003, foot)], paint, 0.45, 0.07)
        self._draw([(x, eave), (x + gable / 2, eave - roof), (x1, eave), (x1, foot), (x, foot)], paint, -0.75, 0.07)
        over = 0.06 * size
        self._draw(
            [
                (x + gable / 2, eave - roof - 0.2 * over),
                (x2 - gable / 2 + over, eave - roof),
                (x2 + over, eave + over),
                (x1 - 0.3 * over, eave + over),
            ],
            tiles,
            0.35,
            0.07,
        )
        chimney = x + gable / 2 + long * (0.3 + 0.4 * r[6])
        self._draw(
            [
                (chimney, eave - roof * 1.3),
                (chimney + 0.10 * size, eave - roof * 1.3),
                (chimney + 0.10 * size, eave - roof * 0.75),
                (chimney, eave - roof * 0.75),
            ],
            _rgb(150, 96, 78),
            0.0,
            0.07,
        )
        w, h = 0.15 * size, 0.21 * size
        self._window(x + gable / 2, eave + 0.42 * wall, w, h, index * 8)
        count = 2 if long < size else 3
        for j in range(count):
            at = x1 + long * (j + 0.5) / count
            self._window(at, eave + 0.48 * wall, w, h, index * 8 + 1 + j)

    def _make_village(self) -> None:
        """Houses along the shore and up the hill, a church, trees, a row of poplars."""
        seed = self._seed
        key = _key(seed, 50)

        def ground(x: float) -> float:
            return 0.612 + 0.038 * _ramp(x, 0.85, 1.75)

        # poplars across the lake
        start = 0.44 + 0.12 * _rand(key, 900)
        for i in range(7 + int(4 * _rand(key, 901))):
            px = start + i * 0.021 + 0.008 * _rand(key, 902, i)
            tall = 0.028 + 0.014 * _rand(key, 903, i)
            self._blob(self._land, px, 0.612 - tall, 0.0062, tall, (0.20, 0.33, 0.18), 0.16, _key(key, 904 + i))

        church_x = 1.22 + 0.16 * _rand(key, 1)
        church_v = ground(church_x) - 0.046
        houses: list[tuple[float, float, float]] = []
        for i in range(5):
            x = 1.08 + 0.135 * i + 0.05 * (_rand(key, 2, i) - 0.5)
            if not church_x - 0.10 < x < church_x + 0.10:
                houses.append((x, ground(x) - 0.058 - 0.022 * _rand(key, 3, i), 0.046))
        x = 1.00 + 0.03 * _rand(key, 4)
        i = 0
        while x < 1.70:
            size = 0.056 + 0.016 * _rand(key, 5, i)
            houses.append((x, ground(x) - 0.010 - 0.014 * _rand(key, 6, i), size))
            x += size * (1.35 + 1.1 * _rand(key, 7, i))
            i += 1

        for n, (x, base, size) in enumerate(houses[:5]):
            if base < ground(x) - 0.03:
                self._house(x, base, size, n)
        self._church(church_x, church_v)
        trees = 16
        for i in range(trees):
            x = 0.98 + 0.78 * (i + _rand(key, 8, i)) / trees
            base = ground(x) - 0.02 - 0.05 * _rand(key, 9, i)
            r = 0.012 + 0.012 * _rand(key, 10, i)
            green = _mix3((0.17, 0.31, 0.15), (0.30, 0.38, 0.16), _rand(key, 11, i))
            self._blob(self._land, x, base - r, r, r * 1.15, green, 0.07, _key(key, 40 + i))
        for n, (x, base, size) in enumerate(houses):
            if base >= ground(x) - 0.03:
                self._house(x, base, size, n)
        for i in range(9):
            x = 0.96 + 0.8 * (i + _rand(key, 12, i)) / 9
            r = 0.007 + 0.009 * _rand(key, 13, i)
            self._blob(self._land, x, ground(x) - r, r, r, (0.21, 0.35, 0.15), 0.05, _key(key, 70 + i))
        # quay lamps, lit first and all night
        for i in range(4):
            x = 1.06 + 0.17 * i + 0.03 * _rand(key, 14, i)
            v = ground(x) - 0.036
            self._draw(
                [(x - 0.0012, v), (x + 0.0012, v), (x + 0.0012, ground(x)), (x - 0.0012, ground(x))],
                (0.16, 0.16, 0.18),
                0.0,
                0.03,
            )
            self._lamp(
                [(x - 0.0045, v - 0.006), (x + 0.0045, v - 0.006), (x + 0.0045, v + 0.003), (x - 0.0045, v + 0.003)],
                0.05,
                (19.25 + 0.08 * i, 30.0, 0.0, 0.0),
                (1.0, 0.90, 0.55),
            )

    def _church(self, x: float, base: float) -> None:
        """A church: nave to the right of a tower with a spire, its foot at (x, base)."""
        stone, slate = _rgb(222, 208, 184), _rgb(104, 108, 128)
        w, tall, spire = 0.034, 0.105, 0.078
        foot = base + 0.02
        nave, eave = 0.088, base - 0.045
        self._draw([(x + w, eave), (x + w + nave, eave), (x + w + nave, foot), (x + w, foot)], stone, 0.4, 0.07)
        self._draw(
            [
                (x + w * 0.7, eave - 0.034),
                (x + w + nave * 0.9, eave - 0.034),
                (x + w + nave + 0.004, eave + 0.003),
                (x + w, eave + 0.003),
            ],
            slate,
            0.3,
            0.07,
        )
        top = base - tall
        self._draw([(x, top), (x + w, top), (x + w, foot), (x, foot)], stone, 0.5, 0.07)
        self._draw([(x, top), (x + 0.42 * w, top), (x + 0.42 * w, foot), (x, foot)], stone, -0.8, 0.07)
        e = 0.004
        self._draw([(x - e, top), (x + 0.5 * w, top - spire), (x + w + e, top)], slate, 0.5, 0.07)
        self._draw([(x - e, top), (x + 0.5 * w, top - spire), (x + 0.45 * w, top)], slate, -0.8, 0.07)
        self._window(x + 0.70 * w, top + 0.020, 0.009, 0.016, 401)
        self._window(x + 0.70 * w, top + 0.055, 0.007, 0.012, 402)
        for j in range(4):
            self._window(x + w + nave * (j + 0.5) / 4.0, eave + 0.022, 0.0085, 0.019, 410 + j)

    def _make_water(self) -> None:
        """The lake's ripples, two still patterns between which the water sways."""
        w, h, seed = self._w, self._h, self._seed
        self._wy0 = y0 = max(0, int(0.612 * h) - 1)
        rows = h - y0
        self._wave: list[F32] = [np.zeros((rows, w), np.float32) for _ in range(2)]
        self._wcalm: F32 = np.zeros((rows, w), np.float32)
        self._wcover: F32 = np.zeros((rows, w), np.float32)
        v = self._v[y0:][:, None]
        depth = np.maximum(v - 0.606, 0.0)
        far = 1.0 / (depth + 0.05)
        xx = (self._screen_x - _MID)[None, :]
        step = max(1, 4 * _BAND_PIXELS // w)
        for r in range(0, rows, step):
            s = slice(r, min(r + step, rows))
            for k in range(2):
                total: F64 = np.zeros((s.stop - s.start, w), np.float64)
                for j, (fx, fv, amp) in enumerate(
                    ((2.2, 4.2, 1.0), (4.4, 9.0, 0.75), (9.0, 19.0, 0.6), (19.0, 40.0, 0.4))
                ):
                    # waves finer than two pixels would only glitter at random
                    fine = far[s] * far[s] * (fv / h)
                    fade = 1.0 - _ramps(fine, 0.22, 0.55)
                    n = _noise(
                        xx * far[s] * (0.5 * fx) + 0.0 * far[s],
                        far[s] * fv + 0.35 * xx * fx,
                        _key(seed, 600 + 2 * j + k),
                    )
                    total += amp * fade * n
                self._wave[k][s] = total.astype(np.float32)
            y = v[s] + 0.0 * xx
            streak = _fbm(xx * 2.2 + 0.0 * y, y * 26.0, _key(seed, 68), 3)
            self._wcalm[s] = (0.55 + 0.45 * _ramps(streak, -0.5, 0.5)).astype(np.float32)
            self._wcover[s] = _clip01((y - self._shore[None, :]) * h + 0.5).astype(np.float32)
        self._wdepth: F32 = depth[:, 0].astype(np.float32)
        self._wswing: F32 = ((0.0035 + 0.055 * depth[:, 0]) * h).astype(np.float32)
        self._wmirror: F32 = (2.0 * self._shore * h - 0.5).astype(np.float32)
        self._wglit: F32 = (1.0 / (0.030 + 0.30 * depth[:, 0])).astype(np.float32)

    def _make_boat(self) -> None:
        """A little boat under sail, with its reflection."""
        key = _key(self._seed, 70)
        x, v = 0.74 + 0.16 * _rand(key, 0), 0.705 + 0.02 * _rand(key, 1)
        edge = sorted((self._px(x - 0.07), self._px(x + 0.07)))
        x0, x1 = max(0, int(edge[0])), min(self._w, int(edge[1]) + 2)
        self._boat = layer = _Layer(int((v - 0.13) * self._h), min(self._h, int(0.85 * self._h)), x0, x1)
        red, cloth = (0.58, 0.20, 0.14), (0.90, 0.82, 0.64)
        parts: tuple[tuple[tuple[tuple[float, float], ...], Colour, float], ...] = (
            (((0.001, -0.098), (0.034, -0.018), (0.001, -0.016)), cloth, 0.5),
            (((-0.002, -0.088), (-0.002, -0.016), (-0.022, -0.016)), cloth, -0.5),
            (((-0.0016, -0.102), (0.0016, -0.102), (0.0016, -0.010), (-0.0016, -0.010)), (0.28, 0.20, 0.15), 0.0),
            (((-0.034, -0.013), (0.042, -0.013), (0.030, 0.0), (-0.026, 0.0)), red, 0.2),
        )
        for up, strength in ((-0.82, 0.5), (1.0, 1.0)):
            for points, colour, side in parts:
                y0, x0, cover = self._polygon([(x + a, v + up * b) for a, b in points])
                rows = np.arange(y0, y0 + cover.shape[0], dtype=np.float64)[:, None]
                if up < 0.0:
                    # the water breaks the image up, more the farther from the hull
                    deep = (rows * (1.0 / self._h) - v) * 9.0
                    wave = _noise(rows * (110.0 / self._h) + 0.0 * cover, 0.4 + 0.0 * cover, key)
                    cover = cover * _clip01(strength + 0.6 * wave * deep - 0.3 * deep)
                layer.paint(y0, x0, cover, colour, -side if self._flip else side, 0.0)

    def _make_near(self) -> None:
        """The near bank with its grass and wheat, and the cypresses on it."""
        w, h, seed = self._w, self._h, self._seed
        key = _key(seed, 80)
        bank = (
            0.925
            - 0.055 * (1.0 - _ramps(self._x, 0.10, 0.75))
            - 0.02 * _ramps(self._x, 1.1, 1.78)
            - 0.012 * _profile(self._x * 2.5 + 3.0, _key(seed, 81), 3)
        )
        tuft = _ramps(_profile(self._x * 6.0, _key(seed, 83), 2), -0.6, 0.6)
        grass = 0.020 * tuft * _ramps(_profile(self._x * 55.0, _key(seed, 82), 3, True), -1.2, 1.9)
        y0 = int(0.80 * h)
        self._bank_layer = layer = _Layer(y0, h, 0, w)
        xx = self._x[None, :]
        step = max(1, 4 * _BAND_PIXELS // w)
        for y in range(y0, h, step):
            v = self._v[y : min(y + step, h)][:, None]
            d = v - bank[None, :]
            near = 1.0 / (0.16 + np.maximum(d, 0.0))
            lean = 0.5 * _noise(xx * 4.0, v * 6.0, key)
            blade = _fbm((xx + 0.10 * lean) * 70.0 * (0.10 * near + 0.4), v * 14.0 + lean * 2.0, _key(seed, 84), 3)
            patch = _fbm(xx * 3.2, v * 9.0, _key(seed, 85), 2)
            wheat = _ramps(patch + 1.3 * (xx - 0.95), -0.25, 0.35)
            rows_ = (xx - 1.3) * near * 3.6
            rows_ = np.abs(rows_ - np.floor(rows_) - 0.5) * 4.0 - 1.0
            lift = 0.13 * blade + 0.07 * wheat * rows_
            fx, fv = xx * 36.0 + 0.0 * v, v * 52.0 + 0.0 * xx
            ox = fx - np.floor(fx) - 0.25 - 0.5 * _hash01(fx, fv, key + 1)
            ov = fv - np.floor(fv) - 0.25 - 0.5 * _hash01(fx, fv, key + 2)
            bloom = _hash01(fx, fv, key + 3)
            flower = _ramps(0.20 - np.sqrt(ox * ox + ov * ov), 0.0, 0.12)
            flower = flower * _ramps(bloom, 0.72, 0.74)
            flower = flower * (1.0 - 0.55 * wheat) * _ramps(d, 0.008, 0.03)
            poppy = _ramps(bloom, 0.86, 0.87)
            cover = _clip01((d + grass[None, :]) * h + 0.5)
            rgb: list[F64] = []
            for meadow, corn, red, white in (
                (0.30, 0.78, 0.82, 0.92),
                (0.44, 0.62, 0.20, 0.86),
                (0.18, 0.26, 0.14, 0.62),
            ):
                c = meadow + wheat * (corn - meadow) + lift
                c = c + flower * (white + poppy * (red - white) - c)
                rgb.append(c * (1.0 - 0.9 * np.maximum(d - 0.04, 0.0)))
            side = np.minimum(np.maximum(1.1 * blade + 0.3 * rows_ * wheat, -1.0), 1.0)
            layer.paint(y, 0, cover, rgb, side, 0.0)

        edge = sorted((self._px(0.02), self._px(0.52)))
        x0, x1 = max(0, int(edge[0]) - 1), min(w, int(edge[1]) + 2)
        self._trees = trees = _Layer(int(0.14 * h), min(h, int(0.95 * h)), x0, x1)
        r = [_rand(key, 10, j) for j in range(8)]
        lead = 0.185 + 0.05 * r[0]
        group = (
            (lead + 0.125 + 0.02 * r[1], 0.46 + 0.05 * r[2], 0.034),
            (lead - 0.085, 0.50 + 0.06 * r[3], 0.030),
            (lead, 0.17 + 0.05 * r[4], 0.058),
        )
        for j, (cx, top, girth) in enumerate(group):
            step = max(1, 4 * _BAND_PIXELS // max(1, x1 - x0))
            for y in range(trees.y0, trees.y1, step):
                self._cypress(trees, y, min(y + step, trees.y1), cx, top, 0.93, girth, _key(key, 20 + j))
        if self._flip:
            np.negative(layer.side, out=layer.side)
            np.negative(trees.side, out=trees.side)

    def _cypress(
        self,
        layer: _Layer,
        y0: int,
        y1: int,
        cx: float,
        top: float,
        foot: float,
        girth: float,
        key: int,
    ) -> None:
        """Paint rows y0..y1 of a cypress like a dark flame.

        cx: scene x of its axis; top, foot: v of its ends; girth: half its width.
        """
        x = self._x[layer.x0 : layer.x1][None, :]
        v = self._v[y0:y1][:, None]
        s = _clip01((v - top) * (1.0 / (foot - top))) + 0.0 * x
        sway = 0.012 * _noise(s * 2.6 + 0.0 * x, 0.0 * s + 0.3, key) * (1.0 - s)
        body = girth * np.sqrt(s * np.sqrt(s)) * (1.62 - 0.95 * s * s)
        dx = x - cx - sway
        q = dx * (1.0 / girth)
        # tongues of flame: noise drawn out upwards and outwards
        n = _fbm(q * 1.7 + 0.0 * s, v * 17.0 - np.abs(q) * 1.5, key + 1, 4, 0.6)
        rim = body * (1.0 + 0.36 * n) - np.abs(dx)
        cover = _clip01(rim * (self._w / _ASPECT) + 0.5) * _ramps(v - top + 0.0 * x, -0.004, 0.01)
        inner = _clip01(rim * (1.0 / girth) * 1.6)
        stroke = _fbm(q * 3.4 + 0.5 * n, v * 12.0 - np.abs(q) * 2.2, key + 2, 3)
        lift = 0.085 * stroke + 0.06 * (1.0 - inner)
        side = np.minimum(np.maximum(dx / np.maximum(body, 1e-4) * 0.7 + 0.8 * stroke, -1.0), 1.0)
        layer.paint(
            y0,
            layer.x0,
            cover,
            (0.125 + lift, 0.215 + 1.3 * lift, 0.145 + 0.7 * lift),
            side,
            0.0,
        )

    # ------------------------------------------------------------ what moves

    def frame(self, seconds: float) -> U8:
        """The picture at a time.

        seconds: since local midnight of day 0, finite, >= 0; ValueError otherwise.
        Returns uint8 [height, width, 3], RGB, a fresh array.
        """
        t = float(seconds)
        if not 0.0 <= t < math.inf:
            raise ValueError(f"seconds must be finite and not negative, not {seconds!r}")
        day = math.floor(t / _DAY)
        hour = min(24.0, max(0.0, (t - day * _DAY) / 3600.0))
        hours = t / 3600.0
        light = _light_at(hour)
        mid = _ASPECT - 0.80 if self._flip else 0.80

        sun_angle = (hour - _NOON) / 24.0
        sun_alt = _altitude(sun_angle)
        sun_x = mid + 0.40 * _sin(sun_angle)
        sun_v = _SKYLINE - 0.44 * sun_alt
        age = 11.2 + 3.0 * _rand(_key(self._seed, 2)) + t / _DAY
        phase = age / _MONTH
        phase -= math.floor(phase)
        moon_angle = sun_angle - phase
        moon_alt = _altitude(moon_angle)
        moon_x = mid + 0.46 * _sin(moon_angle)
        moon_v = _SKYLINE - 0.37 * moon_alt
        full = 0.5 - 0.5 * _cos(phase)
        dark = _ramp(sun_alt, 0.06, -0.22)  # how far the night has come
        moonshine = dark * _ramp(moon_alt, 0.0, 0.30) * full

        sky, clear = self._sky(hours, light, (sun_x, sun_v, sun_alt), (moon_x, moon_v, moonshine), dark)
        buf: F32 = np.empty((3, self._h, self._w), np.float32)
        stars = self._star_plane(hours, (moon_x, moon_v, moonshine)) if dark > 0.3 else None
        self._lay_sky(buf, sky, stars, _ramp(dark, 0.3, 1.0))
        self._lay_moon(buf, sky[3], moon_x, moon_v, phase, dark, light)
        if sun_alt > -0.12:
            self._lay_sun(buf, sky[3], sun_x, sun_v, sun_alt)

        # a side's share of light: the sun's and the moon's, each from where it stands
        up = _ramp(sun_alt, -0.08, 0.26) * (0.66 + 0.34 * clear)
        sun = (light.sun[0] * up, light.sun[1] * up, light.sun[2] * up)
        lean = min(1.0, max(-1.0, (sun_x - mid) * 2.6))
        moon_lean = min(1.0, max(-1.0, (moon_x - mid) * 2.4))
        glim = 0.24 * moonshine
        moon = (0.62 * glim, 0.80 * glim, 1.15 * glim)
        base: list[float] = []
        slope: list[float] = []
        for c in range(3):
            base.append(1.04 * light.ambient[c] + 0.78 * sun[c] + 0.9 * moon[c])
            slope.append(0.75 * lean * sun[c] + 0.8 * moon_lean * moon[c] - 0.12 * light.ambient[c])
        base3, slope3 = (base[0], base[1], base[2]), (slope[0], slope[1], slope[2])

        dx = self._screen_x - sun_x
        near = 1.0 / (1.0 + 7.0 * dx * dx) * (0.5 * _ramp(sun_alt, -0.2, 0.03))
        mx = self._screen_x - moon_x
        near_moon = 0.16 * moonshine / (1.0 + 9.0 * mx * mx)
        air: list[F32] = []
        for c in range(3):
            a = 0.5 * light.horizon[c] + 0.5 * light.middle[c]
            a = a * (1.0 - 0.25 * dark)
            air.append((a + near * (light.horizon[c] - a) + near_moon).astype(np.float32))
        self._land.relight(buf, base3, slope3, air)
        self._light_lamps(buf, hour)
        self._lay_water(buf, hours, light, (sun_x, sun_alt, clear), (moon_x, moonshine), base3)
        self._boat.relight(buf, base3, slope3, air)
        self._trees.relight(buf, base3, slope3, air)
        self._bank_layer.relight(buf, base3, slope3, air)
        return self._develop(buf)

    def _sky(
        self,
        hours: float,
        light: _Light,
        sun: tuple[float, float, float],
        moon: tuple[float, float, float],
        dark: float,
    ) -> tuple[list[F32], float]:
        """Sky and clouds on the coarse grid.

        Returns red, green, blue and what the clouds let through, float32 [rows, columns], and
        that last at the sun's place, 0..1.
        """
        gx, gy = self._gx, self._gy
        seed_key = _key(self._seed, 13)
        phases = [_rand(seed_key, j) for j in range(6)]
        # weather: slow waves whose periods never meet, so no two days are alike
        cover = 0.60 * _sin(hours / 17.3 + phases[0]) + 0.40 * _sin(hours / 7.9 + phases[1])
        high = 0.7 * _sin(hours / 13.1 + phases[2]) + 0.3 * _sin(hours / 5.3 + phases[3])
        heap = 0.7 * _sin(hours / 19.7 + phases[4]) + 0.3 * _sin(hours / 9.1 + phases[5])

        sx, sv, sun_alt = sun
        mx, mv, moonshine = moon
        dx, dy = sx - gx, sv - gy
        sun_q = dx * dx + dy * dy
        low = _ramp(sun_alt, 0.55, 0.0)
        up = _ramp(sun_alt, -0.30, 0.04)
        # wide and flat at the horizon, close about the sun
        wide = up * (0.20 + 0.42 * low) / (1.0 + 5.0 * dx * dx + 30.0 * dy * dy)
        tight = _ramp(sun_alt, -0.20, 0.16) / (1.0 + 130.0 * sun_q)
        ux, uy = mx - gx, mv - gy
        moon_q = ux * ux + uy * uy
        moon_glow = moonshine * (0.30 / (1.0 + 26.0 * moon_q) + 0.32 / (1.0 + 330.0 * moon_q))

        ease = _ramps(gy, 0.0, 0.34)
        fall = _ramps(gy, 0.22, 0.60)
        warm = _mix3((1.0, 0.97, 0.88), (1.0, 0.74, 0.40), low)
        cool: Colour = (0.70, 0.80, 1.0)
        rgb: list[F64] = []
        for c in range(3):
            column = light.zenith[c] + ease * (light.middle[c] - light.zenith[c])
            column = column + fall * (light.horizon[c] - column)
            s = column + wide * (1.05 * warm[c] - column) + 0.36 * tight * warm[c]
            rgb.append(s + moon_glow * cool[c])

        # where the light on the clouds comes from: the sun, at night the moon
        day = 1.0 - dark
        sn = day / (0.12 + np.sqrt(sun_q))
        mn = moonshine / (0.12 + np.sqrt(moon_q))
        to_x = dx * sn + ux * mn
        to_y = dy * sn + uy * mn - 0.45
        silver = tight * 0.9 + moon_glow * 0.8

        drift = hours * 0.15
        through: F64 = np.ones(rgb[0].shape, np.float64)

        n = self._cirrus.at(-drift * 0.85 + 11.0, -drift * 0.10)
        a = _ramps(n, 0.30 - 0.35 * high, 1.25 - 0.25 * high) * (0.50 + 0.08 * high)
        a = a * (1.0 - 0.6 * fall)
        self._lay_cloud(rgb, through, a, 0.75 + 0.0 * n, light, silver)

        n = self._bank.at(-drift * 1.3 + 3.0, drift * 0.35)
        # heaped: flat below, towering where the noise allows
        crest = _ramps(gy, 0.14, 0.40) * 1.15 - 1.25 * _ramps(gy, 0.47, 0.60)
        n = 0.85 * n + crest - 0.72 + 0.30 * heap
        self._lay_billow(rgb, through, n, 0.0, 0.30, 1.10, 0.95, to_x, to_y, light, silver)

        n = self._puffs.at(-drift * 1.25, drift * 0.35 + 5.0)
        n = n - 0.55 * fall
        self._lay_billow(rgb, through, n, 0.22 - 0.30 * cover, 0.34, 1.3, 0.96, to_x, to_y, light, silver)

        # over an area wider than the disc: the valley does not blink when one puff passes
        clear = self._sample(through, sx, sv)
        for k in range(8):
            for reach in (0.05, 0.11):
                across, down = reach * _cos(k / 8.0), reach * _sin(k / 8.0)
                clear += self._sample(through, sx + across, sv + down)
        clear /= 17.0
        out = [c.astype(np.float32) for c in rgb]
        out.append(through.astype(np.float32))
        return out, clear

    def _sample(self, plane: F64, x: float, v: float) -> float:
        """A coarse plane's value at a scene point, bilinear, the point brought inside."""
        ny, nx = plane.shape
        px: float = min(nx - 1.001, max(0.0, x * self._gstep_x))
        py: float = min(ny - 1.001, max(0.0, v * self._gstep_y))
        i, j = int(py), int(px)
        a, b = py - i, px - j
        top = float(plane[i, j]) * (1.0 - b) + float(plane[i, j + 1]) * b
        low = float(plane[i + 1, j]) * (1.0 - b) + float(plane[i + 1, j + 1]) * b
        return top * (1.0 - a) + low * a

    def _lay_billow(
        self,
        rgb: list[F64],
        through: F64,
        n: F64,
        edge: float,
        soft: float,
        depth: float,
        opaque: float,
        to_x: F64,
        to_y: F64,
        light: _Light,
        silver: F64,
    ) -> None:
        """Lay heaped clouds of density n over the sky, lit on the side that faces the light."""
        a = _ramps(n, edge, edge + soft)
        thick = _clip01((n - edge) * (1.0 / depth))
        body = thick * (2.0 - thick)
        ex: F64 = np.zeros_like(n)
        ey: F64 = np.zeros_like(n)
        ex[:, 1:-1] = (body[:, 2:] - body[:, :-2]) * (0.5 * self._gstep_x)
        ey[1:-1, :] = (body[2:, :] - body[:-2, :]) * (0.5 * self._gstep_y)
        relief = -(ex * to_x + ey * to_y)
        lit = _clip01(0.80 - 0.52 * thick + 0.050 * relief)
        self._lay_cloud(rgb, through, a * opaque, lit, light, silver * (1.0 - 0.8 * thick))

    def _lay_cloud(self, rgb: list[F64], through: F64, a: F64, lit: F64, light: _Light, silver: F64) -> None:
        """Lay one layer of clouds over the sky: coverage, share of light, light that seeps in."""
        for c in range(3):
            col = light.cloud_shade[c] + lit * (light.cloud_lit[c] - light.cloud_shade[c])
            col += silver * 0.55
            rgb[c] += a * (col - rgb[c])
        through *= 1.0 - a

    def _lay_sky(self, buf: F32, sky: list[F32], stars: F32 | None, shine: float) -> None:
        """Bring the coarse sky up to the frame's size, with the stars behind the clouds."""
        rows = min(self._h, self._land.y1)
        step = max(1, _BAND_PIXELS // self._w)
        tint: Colour = (1.0 * shine, 0.97 * shine, 0.84 * shine)
        for r in range(0, rows, step):
            s = slice(r, min(r + step, rows))
            iy, fy = self._up_y[s], self._up_fy[s][:, None]
            grown: list[F32] = []
            for c in range(4 if stars is not None else 3):
                top = sky[c][iy]
                low = sky[c][iy + 1]
                low -= top
                low *= fy
                low += top
                left = low.take(self._up_x, axis=1)
                right = low.take(self._up_x + 1, axis=1)
                right -= left
                right *= self._up_fx
                right += left
                grown.append(right)
            for c in range(3):
                out = buf[c, s]
                out[...] = grown[c]
                if stars is not None and r < stars.shape[0]:
                    part = stars[s] * grown[3][: stars.shape[0] - r]
                    part *= tint[c]
                    out[: part.shape[0]] += part

    def _star_plane(self, hours: float, moon: tuple[float, float, float]) -> F32:
        """The stars at a time on a plane of the sky's rows, float32 [rows, width].

        moon: its scene x, v, and how strongly it shines; the stars near it drown.
        """
        w, h = self._w, self._h
        rows = int(0.60 * h)
        turn = hours / 60.0
        co, si = _cos(turn), _sin(turn)
        sx, sy = self._stars[:, 0], self._stars[:, 1]
        x = (_MID + sx * co - sy * si) * (w / _ASPECT)
        v = 1.02 + sx * si + sy * co
        keep = (v > -0.02) & (v < 0.58) & (x > -8.0) & (x < w + 8.0)
        x, y = x[keep], v[keep] * h
        bright = self._stars[keep, 2] * (1.0 - _ramps(v[keep], 0.30, 0.58))
        size = self._stars[keep, 3]
        ux, uy = x * (_ASPECT / w) - moon[0], v[keep] - moon[1]
        bright = bright * (1.0 - moon[2] / (1.0 + 60.0 * (ux * ux + uy * uy)))
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

    def _patch(self, x: float, v: float, reach: float) -> tuple[slice, slice, F64, F64, float] | None:
        """The pixels within `reach` heights of a scene point: rows, columns, offsets, pixel size.

        Offsets are in heights and round on the screen whatever the frame's shape.
        """
        unit = float(min(self._h, self._w * 9.0 / 16.0))
        cx, cy = x * (self._w / _ASPECT), v * self._h
        r = reach * unit
        x0, x1 = max(0, math.floor(cx - r)), min(self._w, math.ceil(cx + r) + 1)
        y0, y1 = max(0, math.floor(cy - r)), min(self._land.y1, math.ceil(cy + r) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        dx = (np.arange(x0, x1, dtype=np.float64)[None, :] + 0.5 - cx) * (1.0 / unit)
        dy = (np.arange(y0, y1, dtype=np.float64)[:, None] + 0.5 - cy) * (1.0 / unit)
        return slice(y0, y1), slice(x0, x1), dx, dy, 1.0 / unit

    def _clear_patch(self, through: F32, rows: slice, cols: slice) -> F64:
        """What the clouds let through at a patch of the frame, float64."""
        iy, ix = self._up_y[rows], self._up_x[cols]
        fy = self._up_fy[rows].astype(np.float64)[:, None]
        fx = self._up_fx[cols].astype(np.float64)[None, :]
        t = through.astype(np.float64)
        a = t[iy[:, None], ix[None, :]]
        b = t[iy[:, None], ix[None, :] + 1]
        c = t[iy[:, None] + 1, ix[None, :]]
        d = t[iy[:, None] + 1, ix[None, :] + 1]
        top = a + (b - a) * fx
        return top + (c + (d - c) * fx - top) * fy

    def _lay_sun(self, buf: F32, through: F32, x: float, v: float, alt: float) -> None:
        """The sun's disc and the glare close about it."""
        got = self._patch(x, v, 0.16)
        if got is None:
            return
        rows, cols, dx, dy, pixel = got
        low = _ramp(alt, 0.5, 0.0)
        r = np.sqrt(dx * dx + dy * dy)
        t = self._clear_patch(through, rows, cols)
        disc = _ramps(r, 0.030 + pixel, 0.026 - pixel) * (0.18 + 0.82 * t)
        glare = np.maximum(1.0 - r * (1.0 / 0.16), 0.0)
        glare = glare * glare * glare * (0.06 + 0.22 * t)
        core = _mix3((1.0, 0.98, 0.84), (1.0, 0.92, 0.62), low)
        halo = _mix3((0.9, 0.85, 0.66), (0.85, 0.48, 0.16), low)
        for c in range(3):
            out = buf[c, rows, cols]
            old = out.astype(np.float64)
            new = old + glare * halo[c]
            new = new + disc * (np.maximum(1.16 * core[c], new + 0.10) - new)
            out[...] = new.astype(np.float32)

    def _lay_moon(self, buf: F32, through: F32, x: float, v: float, phase: float, dark: float, light: _Light) -> None:
        """The moon's disc, lit from the side the phase tells, pale by day."""
        got = self._patch(x, v, 0.04)
        if got is None:
            return
        rows, cols, dx, dy, pixel = got
        radius = 0.027
        ux, uy = dx * (1.0 / radius), dy * (1.0 / radius)
        q = ux * ux + uy * uy
        r = np.sqrt(q)
        uz = np.sqrt(np.maximum(1.0 - q, 0.0))
        # tipped a little, as the moon is seen from the temperate north
        lx, lz = _sin(phase), -_cos(phase)
        face = (ux * 0.92 + uy * 0.39) * lx + uz * lz
        lit = _ramps(face, -0.06, 0.22)
        seas = _fbm(ux * 1.3 + 0.0 * uy, uy * 1.3 + 0.0 * ux, 4242, 3)
        tone = 1.0 - 0.16 * _ramps(seas, -0.1, 0.6)
        edge = pixel / radius
        t = self._clear_patch(through, rows, cols)
        disc = _ramps(r, 1.0 + edge, 1.0 - edge) * (0.10 + 0.90 * t)
        strength = 0.42 + 0.58 * dark
        for c, tint in enumerate((1.0, 0.97, 0.86)):
            out = buf[c, rows, cols]
            old = out.astype(np.float64)
            shade = old + 0.05 * dark
            bright = old + strength * (tint * tone - old)
            out[...] = (old + disc * (shade + lit * (bright - shade) - old)).astype(np.float32)

    def _light_lamps(self, buf: F32, hour: float) -> None:
        """Add the windows and lamps that burn at an hour."""
        for lamp in self._lamps:
            level = 0.0
            for late in (hour, hour + 24.0):
                level = max(level, _ramp(late, lamp.on, lamp.on + 0.25) * _ramp(late, lamp.off + 0.25, lamp.off))
            if lamp.morning_on > 0.0:
                level = max(
                    level,
                    _ramp(hour, lamp.morning_on, lamp.morning_on + 0.25)
                    * _ramp(hour, lamp.morning_off + 0.25, lamp.morning_off),
                )
            if level <= 0.0:
                continue
            h, w = lamp.shine[0].shape
            for c in range(3):
                out = buf[c, lamp.y0 : lamp.y0 + h, lamp.x0 : lamp.x0 + w]
                room = 1.12 - out
                room *= lamp.shine[c]
                room *= level
                out += room

    def _lay_water(
        self,
        buf: F32,
        hours: float,
        light: _Light,
        sun: tuple[float, float, float],
        moon: tuple[float, float],
        base: Colour,
    ) -> None:
        """The lake: what stands above it upside down, shaken by ripples, and a path of light."""
        w, h = self._w, self._h
        y0 = self._wy0
        sway = hours / 2.7
        ka, kb = _cos(sway), _sin(sway)
        sun_x, sun_alt, clear = sun
        moon_x, moonshine = moon
        low = _ramp(sun_alt, 0.6, 0.0)
        glit_sun = _ramp(sun_alt, -0.05, 0.20) * (0.25 + 0.75 * clear) * (0.30 + 0.45 * low)
        gold = _mix3((1.0, 0.96, 0.84), (1.0, 0.70, 0.34), low)
        paths = (
            (sun_x, glit_sun, gold),
            (moon_x, 0.62 * moonshine * moonshine, (0.80, 0.88, 1.0)),
        )
        deep: list[float] = []
        for c, tone in enumerate((0.10, 0.26, 0.34)):
            deep.append(0.30 * light.zenith[c] + tone * base[c] * 0.9)
        xs = self._screen_x.astype(np.float32)
        column = np.arange(w, dtype=np.intp)[None, :]
        limit = float(self._land.y1 - 2)
        flat = buf.reshape(3, h * w)
        # the mirror reads rows that the bands below write over
        source = [flat[c, : self._land.y1 * w].copy() for c in range(3)]
        step = max(1, _BAND_PIXELS // w)
        for r in range(0, h - y0, step):
            s = slice(r, min(r + step, h - y0))
            n = self._wave[0][s] * ka
            n += self._wave[1][s] * kb
            row = n * self._wswing[s][:, None]
            row += self._wmirror[None, :]
            lines = np.arange(y0 + s.start, y0 + s.stop, dtype=np.float64).astype(np.float32)
            row -= lines[:, None]
            np.maximum(row, 0.0, out=row)
            np.minimum(row, limit, out=row)
            whole = np.floor(row)
            row -= whole
            i = whole.astype(np.intp)
            i *= w
            i += column
            depth = self._wdepth[s][:, None]
            # seen more steeply, near water shows more of itself; so do wave flanks
            own = n * 0.16
            own += 0.14 + depth * 0.85
            own *= self._wcalm[s]
            np.maximum(own, 0.0, out=own)
            np.minimum(own, 0.8, out=own)
            spark: list[tuple[F32, Colour]] = []
            for px, strength, tint in paths:
                if strength <= 0.0:
                    continue
                q = (xs - px)[None, :] * self._wglit[s][:, None]
                q *= q
                q *= -1.0
                q += 1.0
                np.maximum(q, 0.0, out=q)
                g = n * 1.5
                g += 0.10
                np.maximum(g, 0.0, out=g)
                np.minimum(g, 1.0, out=g)
                q *= g
                q *= strength
                spark.append((q, tint))
            cover = self._wcover[s]
            for c in range(3):
                col = source[c].take(i)
                i += w
                nxt = source[c].take(i)
                i -= w
                nxt -= col
                nxt *= row
                col += nxt
                nxt = deep[c] - col
                nxt *= own
                col += nxt
                for q, tint in spark:
                    col += q * tint[c]
                out = buf[c, y0 + s.start : y0 + s.stop]
                if s.stop + y0 <= self._land.y1:
                    col -= out
                    col *= cover
                    out += col
                elif s.start + y0 >= self._land.y1:
                    out[...] = col
                else:
                    k = self._land.y1 - y0 - s.start
                    out[:k] += (col[:k] - out[:k]) * cover[:k]
                    out[k:] = col[k:]

    def _develop(self, buf: F32) -> U8:
        """To bytes: a soft shoulder under white, and a still dither so that no sky shows bands."""
        w, h = self._w, self._h
        out: U8 = np.empty((h, w, 3), np.uint8)
        step = max(1, _BAND_PIXELS // w)
        for r in range(0, h, step):
            s = slice(r, min(r + step, h))
            lines = np.arange(s.start, s.stop, dtype=np.intp) % _DITHER_ROWS
            dither = self._dither[lines]
            for c in range(3):
                a = buf[c, s]
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
