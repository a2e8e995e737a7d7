"""Canvas grain: a fixed pattern of a few grey levels under every frame.

A convolutional network paints a perfectly flat area (a blown-out sky, a black night) perfectly flat: there is
nothing that could tell one pixel from the next. Grain gives it something to hold on to, as canvas does, and
since it stays where it is from frame to frame, so do the strokes. The pattern is an integer hash of the
pixel's place: the same on every machine, at every time. Each painter (``pleinair.painting.painter``, ``.adaptive``,
``pleinair.fpga.painter``) adds it to a frame before the margin and the network.
"""

from __future__ import annotations

import cv2
import numpy as np

MAX_GRAIN = 16


def grain_pattern(height: int, width: int, amplitude: int) -> np.ndarray:
    """int16 [H, W, 3] in -amplitude .. amplitude, evenly spread, equal in all channels (finalizer of MurmurHash3)."""
    x = np.arange(width, dtype=np.uint32)[None, :] * np.uint32(0x9E3779B1)
    h = np.arange(height, dtype=np.uint32)[:, None] * np.uint32(0x85EBCA77) ^ x
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    levels = (h % np.uint32(2 * amplitude + 1)).astype(np.int16) - np.int16(amplitude)
    return np.repeat(levels[:, :, None], 3, axis=2)


class Grain:
    """Adds the pattern to frames; keeps the one of the last size."""

    def __init__(self, amplitude: int) -> None:
        self.amplitude = amplitude
        # What it adds and what it takes away, apart: uint8 saturates at both ends, several times as fast as a sum of
        # both kinds.
        self._parts = (np.zeros((0, 0, 3), np.uint8),) * 2

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same, saturated at 0 and 255."""
        if self.amplitude == 0:
            return frame
        lighter, darker = self._parts
        if lighter.shape != frame.shape:
            pattern = grain_pattern(frame.shape[0], frame.shape[1], self.amplitude)
            lighter, darker = (np.maximum(part, 0).astype(np.uint8) for part in (pattern, -pattern))
            self._parts = lighter, darker
        grained: np.ndarray = cv2.add(frame, lighter)
        cv2.subtract(grained, darker, grained)
        return grained
