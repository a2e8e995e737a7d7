"""Pseudo-random numbers and gradient noise from an integer hash, and the outlines made of them.

Everything here is a function of a 32-bit key; :func:`make_key` makes one for each purpose of a seed.
"""

from __future__ import annotations

import math

import numpy as np

from pleinair.scenery.exact import F64, I64, U32, cos, sin

_M32 = 0xFFFFFFFF


def _mix(h: int) -> int:
    """Scramble 32 bits: what :func:`_hash` ends with, for one integer."""
    h &= _M32
    h ^= h >> 15
    h = (h * 0x2C1B3C6D) & _M32
    h ^= h >> 12
    h = (h * 0x297A2D39) & _M32
    return h ^ (h >> 15)


def uniform(key: int, *numbers: int) -> float:
    """A fixed pseudo-random number in [0, 1) for a key and any further integers."""
    h = _mix(key + 0x9E3779B9)
    for n in numbers:
        h = _mix(_mix((h ^ (n & _M32)) * 0x85EBCA77 + 0x165667B1) + 0x9E3779B9)
    return h / 4294967296.0


def make_key(seed: int, purpose: int) -> int:
    """A 32-bit key for one purpose of one seed; the seed's low 128 bits count."""
    h = _mix(purpose * 0x9E3779B1 + 0x7F4A7C15)
    s = seed & ((1 << 128) - 1)
    for _ in range(4):
        h = _mix((h ^ (s & _M32)) * 0x85EBCA77 + 0x27D4EB2F)
        s >>= 32
    return h


def _hash(x: I64, y: I64, key: int) -> U32:
    """A 32-bit hash of every integer point (x, y), broadcast against each other."""
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


def cells(x: F64, y: F64, key: int) -> F64:
    """A pseudo-random number in [0, 1) for the unit cell (floor x, floor y) of every point."""
    h = _hash(np.floor(x).astype(np.int64), np.floor(y).astype(np.int64), key)
    return h.astype(np.float64) * (1.0 / 4294967296.0)


_GRADIENT_X: F64 = np.array([1.45 * cos(i / 64.0) for i in range(64)], dtype=np.float64)
_GRADIENT_Y: F64 = np.array([1.45 * sin(i / 64.0) for i in range(64)], dtype=np.float64)


class Octave:
    """Gradient noise at fixed points of a plane that can be shifted under the noise's lattice.

    x, y: float64 that broadcast to one shape; :meth:`at` returns that shape.
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
        """The noise with the points moved by (dx, dy): float64, about -1 to 1."""
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


def noise(x: F64, y: F64, key: int) -> F64:
    """Gradient noise, about -1 to 1, at float64 points."""
    return Octave(x, y, key).at()


def fbm(x: F64, y: F64, key: int, octaves: int, gain: float = 0.5) -> F64:
    """Fractal noise: octaves of :func:`noise`, each finer and fainter than the one before.

    Each octave is turned against the one before, so that no lattice lines up with another.
    """
    total = noise(x, y, key)
    amp = 1.0
    for k in range(1, octaves):
        x, y = 1.6 * x - 1.2 * y + 3.1, 1.2 * x + 1.6 * y + 7.7
        amp *= gain
        total = total + amp * noise(x, y, key + k * 7919)
    return total


def profile(x: F64, key: int, octaves: int, ridged: bool = False) -> F64:
    """A hill's outline along x, of any shape: about -1 to 1. ``ridged`` gives sharp crests."""
    total: F64 = np.zeros_like(x)
    amp = 1.0
    for k in range(octaves):
        row: F64 = np.full_like(x, 0.37 + k)
        n = noise(x, row, key + k * 7919)
        total = total + amp * ((1.0 - 2.2 * np.abs(n)) if ridged else n)
        x = 2.03 * x + 5.3
        amp *= 0.48
    return total


def crowns(x: F64, pitch: float, key: int) -> F64:
    """The outline of a row of round tree tops along x, in 0..1, about one every ``pitch``."""
    best: F64 = np.zeros_like(x)
    cell = np.floor(x * (1.0 / pitch))
    for k in (-1.0, 0.0, 1.0):
        c = cell + k
        zero: F64 = np.zeros_like(c)
        centre = (c + 0.2 + 0.6 * cells(c, zero, key)) * pitch
        tall = 0.35 + 0.65 * cells(c, zero + 1.0, key)
        r = (x - centre) * (1.0 / (pitch * (0.5 + 0.45 * tall)))
        best = np.maximum(best, tall * np.sqrt(np.maximum(1.0 - r * r, 0.0)))
    return best
