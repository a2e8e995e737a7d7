"""Steadiness: what stands still in a scene stays still in its film.

A painting network amplifies a camera's noise about five times. In an integer network, one grey level at a few pixels
can tip roundings and change the painting by some levels everywhere. So a film is steadied twice: each frame before it
is painted, and each painting afterwards. The filter is recursive and adapts to motion (in video it is called 3DNR). It
holds a picture. Where the new picture differs from the held one by noise only, the held one moves towards it by a
sixteenth; where they truly differ, it moves all the way. Noise averages out over an area, and a real change does not.
So the area around a pixel shows a small or slow change of light, and the pixel itself shows a small thing that moves.

The same integers on every machine, per pixel, with s the strength and // and >> rounding down::

    held  = 128 x frame                                                       at first and where the size changes
    D[c]  = 128 x frame[c] - held[c]                                          c = red, green, blue
    P     = |D[0]| + |D[1]| + |D[2]|
    B     = |sum9(D[0])| + |sum9(D[1])| + |sum9(D[2])|                        sum9: over the 9 x 9 pixels around
    w     = min(16, max(1, P // (36 s) - 16, B // (972 s) - 8))
    held += (w x D + 8) >> 4
    out   = (held + 64) >> 7

sum9 mirrors the frame at its edges without repeating the edge pixel (row -1 is row 1). In grey levels, averaged over
the channels: a pixel follows faster from a difference of 1.7 s on and at once from 3 s; an area from 0.3 s and 0.75 s.
At s = 4, light that drifts evenly by a level a frame is followed about one level behind. When the exposure changes the
mean of the frame, that counts as a change of light, and is followed.
"""

from __future__ import annotations

import cv2
import numpy as np

MAX_STRENGTH = 16
DEFAULT_STRENGTH = 4
_REACH = 4
_WINDOW = (2 * _REACH + 1,) * 2
#: Values in a strip of rows: its working arrays stay near the core, whatever the frame's size.
_STRIP = 300_000
_ONES = np.ones((1, 3), np.float32)


class Steady:
    """Steadies frames that come one after another. ``strength`` is in grey levels of noise; 0 changes nothing."""

    def __init__(self, strength: int = DEFAULT_STRENGTH) -> None:
        """Raises ValueError for a strength outside 0 .. MAX_STRENGTH."""
        if not 0 <= strength <= MAX_STRENGTH:
            raise ValueError(f"strength {strength}: 0 to {MAX_STRENGTH}")
        self.strength = strength
        self._held = np.zeros((0, 0, 3), np.int16)
        self._bench: _Bench | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same, at least 5 x 5; the first one, and the first of another size, unchanged."""
        if self.strength == 0:
            return frame
        if self._held.shape != frame.shape:
            self._held = frame.astype(np.int16)
            self._held *= 128
            self._bench = None
            return frame
        height, width = frame.shape[:2]
        rows = min(height, max(1, _STRIP // (3 * width)))
        if self._bench is None or self._bench.rows != rows:
            self._bench = _Bench(rows, min(height, rows + 2 * _REACH), width)
        out = np.empty(frame.shape, np.uint8)
        low = known = 0  # the first row whose D is at hand, and the one after the last
        for top in range(0, height, rows):
            end, before = min(top + rows, height), low
            # The rows around a strip, too. Those above it are kept from the last strip: they have moved on since.
            low, high = max(0, top - _REACH), min(height, end + _REACH)
            difference = self._bench.difference[: high - low]
            difference[: known - low] = self._bench.difference[low - before : known - before]
            new = difference[known - low :]
            np.copyto(new, frame[known:high])
            new *= 128  # int16 holds 128 x 255
            new -= self._held[known:high]
            known = high
            held = self._held[top:end]
            held += self._bench.step(difference, top - low, end - top, self.strength)
            # A 256th more, so that no value lies between two: rounding to even would differ there.
            cv2.convertScaleAbs(held, dst=out[top:end], alpha=1 / 128, beta=1 / 256)
        return out

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays."""
        return {"held": self._held}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        self._held = np.array(state["held"], np.int16)
        self._bench = None


class _Bench:
    """The working arrays for strips of up to ``rows`` rows, used again and again: new ones cost more than the sums."""

    def __init__(self, rows: int, tall: int, width: int) -> None:
        self.rows = rows
        self.difference = np.empty((tall, width, 3), np.int16)
        self._areas = np.empty((tall, width, 3), np.float32)
        self._high, self._low, self._weight = (np.empty((rows, width, 3), np.int16) for _ in range(3))
        self._weights = np.empty((rows, width, 3), np.uint8)
        self._planes = [np.empty((rows, width), np.int16) for _ in range(3)]
        self._area = np.empty((rows, width), np.float32)
        self._by_area, self._by_pixel = (np.empty((rows, width), np.uint8) for _ in range(2))

    def step(self, difference: np.ndarray, first: int, rows: int, strength: int) -> np.ndarray:
        """(w x D + 8) >> 4 of ``rows`` rows from ``first`` on in D, int16 [rows, W, 3]; valid until the next one.

        Every sum in float32 is of whole numbers below 2^24, and so exact.
        """
        areas = self._areas[: len(difference)]
        cv2.boxFilter(difference, cv2.CV_32F, _WINDOW, areas, normalize=False, borderType=cv2.BORDER_REFLECT_101)
        areas, difference = areas[first : first + rows], difference[first : first + rows]
        area = cv2.transform(np.abs(areas, out=areas), _ONES, self._area[:rows])
        high, low, weight = self._high[:rows], self._low[:rows], self._weight[:rows]
        pixel, green, blue = cv2.split(np.abs(difference, out=high), [plane[:rows] for plane in self._planes])
        # Saturated at 32767, where w has been 16 for long, at any strength.
        cv2.add(cv2.add(pixel, green, pixel), blue, pixel)
        by_area = _whole_parts(area, 972 * strength, self._by_area[:rows])
        by_pixel = _whole_parts(pixel, 36 * strength, self._by_pixel[:rows])
        # uint8 saturates at 0, below w's least value.
        w = cv2.max(cv2.subtract(by_area, 8, by_area), cv2.subtract(by_pixel, 16, by_pixel), by_pixel)
        w = cv2.min(cv2.max(w, 1, w), 16, w)
        np.copyto(weight, cv2.merge((w, w, w), self._weights[:rows]))
        # w x D has 20 bits. D = 16 x high + low, so w x high + (w x low + 8 >> 4), which stays within 16.
        np.right_shift(difference, 4, out=high)
        np.bitwise_and(difference, 15, out=low)
        high *= weight
        low *= weight
        low += 8
        low >>= 4
        high += low
        return high


def _whole_parts(values: np.ndarray, divisor: int, out: np.ndarray) -> np.ndarray:
    """values // divisor up to 255, uint8, for whole values from 0 on and a divisor below 16,000.

    round((value + 1/2) / divisor - 1/2): what is rounded stays 1/32,000 or more from where rounding turns, and up
    to 32, beyond which nobody looks, float32 strays by less than a sixth of that.
    """
    quotients: np.ndarray = cv2.convertScaleAbs(values, dst=out, alpha=1 / divisor, beta=0.5 / divisor - 0.5)
    return quotients
