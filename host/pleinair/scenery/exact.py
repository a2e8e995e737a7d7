"""Arithmetic whose result is the same to the last bit on every machine, and the types it works on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
#: Red, green and blue, about 0 to 1.
Colour = tuple[float, float, float]


def sin(turns: float) -> float:
    """Sine of an angle in turns; the absolute error is below 1e-8."""
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


def cos(turns: float) -> float:
    """Cosine of an angle in turns; the absolute error is below 1e-8."""
    return sin(turns + 0.25)


def ramp(x: float, a: float, b: float) -> float:
    """Smoothstep: 0 at ``a``, 1 at ``b``, level beyond. ``b`` may lie below ``a``."""
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)


def ramps(x: F64, a: float, b: float) -> F64:
    """:func:`ramp` of every element of a float64 array."""
    t = np.minimum(np.maximum((x - a) * (1.0 / (b - a)), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def clip01(x: F64) -> F64:
    """Every element limited to 0..1."""
    return np.minimum(np.maximum(x, 0.0), 1.0)


def clip11(x: F64) -> F64:
    """Every element limited to -1..1."""
    return np.minimum(np.maximum(x, -1.0), 1.0)


def triangles(x: F64) -> F64:
    """A triangle wave of period 1: 1 where an element is whole, -1 half-way between."""
    return np.abs(x - np.floor(x) - 0.5) * 4.0 - 1.0


def blend(a: Colour, b: Colour, t: float) -> Colour:
    """The colour the fraction ``t`` of the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def rgb(red: float, green: float, blue: float) -> Colour:
    """A colour in 0..1 from one in 0..255."""
    return (red / 255.0, green / 255.0, blue / 255.0)
