"""Golden models: what each RTL block of ``hw/rtl`` computes, in int64 NumPy.

Arrays are NHWC, int64, with any leading axes: ``[..., H, W, C]``. The models know nothing of words, lanes or
handshakes. (A stream fork is the identity.)
"""

from __future__ import annotations

import numpy as np

from pleinair.network.reference import round_half_even_shift


def requant_shift(x: np.ndarray, bias: np.ndarray, shift: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """``clamp(round_half_even((x + bias[c]) / 2**shift[c]))`` of int64 [..., C] to ``bits`` bits, same shape."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    sums = x.astype(np.int64) + bias.astype(np.int64)
    rounded: np.ndarray = np.clip(
        round_half_even_shift(sums, np.broadcast_to(shift.astype(np.int64), x.shape)), low, high
    )
    return rounded


def requant_light(
    x: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, *, bits: int, signed: bool
) -> np.ndarray:
    """``clamp(round_half_even((x + bias[c]) * multiplier[c] / 2**shift[c]))`` of int64 [..., C] to ``bits`` bits."""
    product = (x.astype(np.int64) + bias.astype(np.int64)) * multiplier.astype(np.int64)
    return requant_shift(product, np.zeros_like(shift), shift, bits, signed)


def space_to_depth(x: np.ndarray, block: int) -> np.ndarray:
    """[..., H, W, C] to [..., H / block, W / block, block**2 * C].

    Channel c of row i and column j of a block becomes channel ``(i * block + j) * C + c``.
    """
    *outer, height, width, channels = x.shape
    blocks = x.reshape(*outer, height // block, block, width // block, block, channels)
    return np.moveaxis(blocks, -4, -3).reshape(*outer, height // block, width // block, block * block * channels)


def window_centre(x: np.ndarray, pixels: int) -> np.ndarray:
    """The middle one of ``pixels`` pixels, an odd number, of each window: [..., C * pixels] to [..., C]."""
    channels = x.shape[-1] // pixels
    return x[..., pixels // 2 * channels :][..., :channels]


def trim_border(x: np.ndarray, border: int) -> np.ndarray:
    """Without ``border`` pixels on each side: [..., H, W, C] to [..., H - 2 border, W - 2 border, C]."""
    return x[..., border : x.shape[-3] - border, border : x.shape[-2] - border, :]


def add_clamp(a: np.ndarray, b: np.ndarray, bits: int, signed: bool = False) -> np.ndarray:
    """``a + b`` clamped to ``bits`` bits; int64 of equal shapes."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    total: np.ndarray = np.clip(a.astype(np.int64) + b.astype(np.int64), low, high)
    return total


def upsample(x: np.ndarray) -> np.ndarray:
    """Every pixel of [..., H, W, C] becomes 2 x 2 equal ones: [..., 2H, 2W, C]."""
    return x.repeat(2, axis=-3).repeat(2, axis=-2)


def tap_sum(x: np.ndarray, taps: int, lead: int) -> np.ndarray:
    """Sums partial results along rows: [..., H, W + lead, O * taps] to [..., H, W, O].

    Channel ``o * taps + t`` of column ``n`` is what tap ``t`` contributes to pixel ``n - t + taps - 1 - lead`` of
    output ``o``; contributions from columns left of the row are zero. With ``lead = taps // 2`` this is a convolution's
    row with zero padding whose right-hand zeros are part of ``x``.
    """
    *outer, columns, channels = x.shape
    partial = x.astype(np.int64).reshape(*outer, columns, channels // taps, taps)
    out = np.zeros((*outer, columns - lead, channels // taps), np.int64)
    for t in range(taps):
        for pixel in range(columns - lead):
            column = pixel + lead + t - (taps - 1)
            if column >= 0:
                out[..., pixel, :] += partial[..., column, :, t]
    return out


def pixel_shuffle(x: np.ndarray, *, border: bool = True) -> np.ndarray:
    """Four phases to pixels: [..., H, W, 4 O] to [..., 2H, 2W, O], or with a border to [..., 2H - 2, 2W - 2, O].

    Phase ``2a + b`` of window (i, j), channels ``(2a + b) * O`` and on, is pixel (2i + a, 2j + b). With a border the
    windows overlap the image by one at each side, and the outermost row and column of pixels is dropped.
    """
    *outer, rows, columns, channels = x.shape
    phases = x.reshape(*outer, rows, columns, 2, 2, channels // 4)
    # (i, a) and (j, b) count pixels, row by row and column by column
    raster = np.moveaxis(phases, -3, -4).reshape(*outer, 2 * rows, 2 * columns, channels // 4)
    return raster[..., 1:-1, 1:-1, :] if border else raster
