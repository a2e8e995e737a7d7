"""Steadiness: what stands still in a scene stays still in its film.

Painting networks amplify the small noise of a camera, about five times, and an integer network answers even one
grey level here and there with a change of some levels everywhere, as roundings tip over. So a film is steadied
at both ends: each frame before it is painted and each painting after. The filter is recursive and adapts to
motion (what video calls 3DNR): it moves the picture that it holds towards the new one by a sixteenth where the
two differ by noise only, and all the way where they truly differ. Noise averages out over an area and change
does not, so a small or slow change of light is noticed by the area around a pixel, a small thing that moves by
the pixel itself.

The same integers on every machine, per pixel, with s the strength and // and >> rounding down::

    held  = 128 x frame                                                       at first and where the size changes
    D[c]  = 128 x frame[c] - held[c]                                          c = red, green, blue
    P     = |D[0]| + |D[1]| + |D[2]|
    B     = |sum9(D[0])| + |sum9(D[1])| + |sum9(D[2])|                        sum9: over the 9 x 9 pixels around
    w     = min(16, max(1, P // (36 s) - 16, B // (972 s) - 8))
    held += (w x D + 8) >> 4
    out   = (held + 64) >> 7

sum9 mirrors the frame at its edges without repeating the edge pixel (row -1 is row 1). In grey levels, averaged
over the channels: a pixel follows faster from a difference of 1.7 s and at once from 3 s, an area from 0.3 s and
0.75 s. Light that drifts evenly by a level a frame is followed about one level behind at s = 4. The frame's mean may
swing with the exposure from one frame to the next: that is a change of light, and is followed.
"""

from __future__ import annotations

import cv2
import numpy as np

MAX_STRENGTH = 16
DEFAULT_STRENGTH = 4
_REACH = 4
#: Values in a strip of rows: its working arrays stay in a core's cache, whatever the frame's size.
_STRIP = 100_000


class Steady:
    """Steadies frames that come one after another. ``strength`` is in grey levels of noise; 0 changes nothing."""

    def __init__(self, strength: int = DEFAULT_STRENGTH) -> None:
        """Raises ValueError for a strength outside 0 .. MAX_STRENGTH."""
        if not 0 <= strength <= MAX_STRENGTH:
            raise ValueError(f"strength {strength}: 0 to {MAX_STRENGTH}")
        self.strength = strength
        self._held = np.zeros((0, 0, 3), np.int16)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same, at least 5 x 5; the first one, and the first of another size, unchanged."""
        if self.strength == 0:
            return frame
        if self._held.shape != frame.shape:
            self._held = frame.astype(np.int16) << 7
            return frame
        height, width = frame.shape[:2]
        rows = max(1, _STRIP // (3 * width))
        strips = [(top, min(top + rows, height)) for top in range(0, height, rows)]
        weights = np.empty((height, width), np.uint8)
        for top, end in strips:
            # The rows around a strip, too; all weights come before any change to what is held.
            low, high = max(0, top - _REACH), min(height, end + _REACH)
            weights[top:end] = self._weights(self._difference(frame, low, high))[top - low : end - low]
        out = np.empty_like(frame)
        for top, end in strips:
            weight = cv2.merge([weights[top:end]] * 3).astype(np.int32)
            weight *= self._difference(frame, top, end)
            weight += 8
            weight >>= 4
            held = self._held[top:end]
            held += weight.astype(np.int16)
            out[top:end] = (held + np.int16(64)) >> 7
        return out

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays."""
        return {"held": self._held}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        self._held = np.array(state["held"], np.int16)

    def _difference(self, frame: np.ndarray, top: int, end: int) -> np.ndarray:
        """D of some rows, int16: 128 x 255 just fits."""
        difference: np.ndarray = (frame[top:end].astype(np.int16) << 7) - self._held[top:end]
        return difference

    def _weights(self, difference: np.ndarray) -> np.ndarray:
        """w for each D [H, W, 3], int32 [H, W]."""
        areas = cv2.boxFilter(
            difference, cv2.CV_32S, (2 * _REACH + 1,) * 2, normalize=False, borderType=cv2.BORDER_REFLECT_101
        )
        area, pixel = _total(areas), _total(difference)
        by_pixel = pixel // np.int32(36 * self.strength) - np.int32(16)
        by_area = area // np.int32(972 * self.strength) - np.int32(8)
        weights: np.ndarray = np.clip(np.maximum(by_pixel, by_area), 1, 16)
        return weights


def _total(values: np.ndarray) -> np.ndarray:
    """The channels' absolute values together, int32 [H, W]."""
    red, green, blue = cv2.split(np.abs(values))
    total: np.ndarray = red.astype(np.int32) + green + blue
    return total
