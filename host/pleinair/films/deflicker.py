"""Deflicker: evens out exposure that jumps from frame to frame, before painting, and lets real changes of light pass.

A camera measures the light anew for each frame and changes its exposure in steps, so a time-lapse pulses. A step of
exposure multiplies everything that stands still by one factor, in linear light, and so also in the power-law values of
an image. The factor is measured in the frames: at each point of the scene, take the logarithm now minus the logarithm a
frame ago; the factor is the median over all points. Moving things, or a cloud over less than half of the scene, do not
change a median. Each frame is then brought to a wanted level, which follows the measured level slowly: by one part in
``frames`` with each frame. Steps that come and go are divided by about ``frames``; dusk and dawn pass with a lag of
``frames``.

With t = 1024 x log2, everything in integers, so that every machine computes the same pixels::

    r  = median over a 64 x 48 grid, where both frames are within 10 .. 245, of t(now) - t(before)
    d  = (d - r) x (frames - 1) / frames                          d: level wanted less level measured
    out = value x 2^(d / 1024), white kept white                  d within +-0.6 x 1024; starts anew where |r| > 1024

More than a doubling means that the scene changed (a lamp, another view); it is shown at once.
"""

from __future__ import annotations

import cv2
import numpy as np

MAX_FRAMES = 240
#: ``frames`` where deflicker is on by default.
DEFAULT_FRAMES = 16
_UNIT = 1024
_REACH = 614
_GRID = (64, 48)
_LOW, _HIGH = 10, 245
#: With fewer usable points than this, of 3072, nothing is measured.
_FEWEST = 60
#: From this value on, the curve of a darkened frame bends back up to white. Else a burnt-out sky would pulse grey.
_KNEE = 215
_LOG = np.rint(_UNIT * np.log2(np.maximum(np.arange(256), 1))).astype(np.int32)


class Deflicker:
    """Evens out the exposure of successive frames; ``frames`` 0 changes nothing."""

    def __init__(self, frames: int = DEFAULT_FRAMES) -> None:
        """Raises ValueError for a number outside 0 .. MAX_FRAMES."""
        if not 0 <= frames <= MAX_FRAMES:
            raise ValueError(f"frames {frames}: 0 to {MAX_FRAMES}")
        self.frames = frames
        self._before = np.zeros((0, 0), np.uint8)
        # In 256ths of a unit, so that division does not stall small corrections.
        self._lift = 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same; the first one unchanged."""
        if self.frames == 0:
            return frame
        grid = _grid(frame)
        if self._before.shape == grid.shape:
            self._follow(grid)
        self._before = grid
        lift = (self._lift + 128) >> 8
        return frame if lift == 0 else cv2.LUT(frame, _curve(lift))

    def _follow(self, grid: np.ndarray) -> None:
        usable = (np.minimum(grid, self._before) >= _LOW) & (np.maximum(grid, self._before) <= _HIGH)
        ratios = np.sort(_LOG[grid[usable]] - _LOG[self._before[usable]])
        step = int(ratios[len(ratios) // 2]) if len(ratios) >= _FEWEST else 0
        if abs(step) > _UNIT:
            self._lift = 0
            return
        lift = (self._lift - 256 * step) * (self.frames - 1) // self.frames
        self._lift = max(-256 * _REACH, min(256 * _REACH, lift))

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays."""
        return {"before": self._before, "lift": np.array(self._lift, np.int64)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        self._before, self._lift = np.asarray(state["before"], np.uint8), int(state["lift"])


def _grid(frame: np.ndarray) -> np.ndarray:
    """(R + 2 G + B) / 4 averaged over the grid's cells, uint8, rounded down: integers, alike on every machine."""
    red, green, blue = cv2.split(frame)
    luma = ((red.astype(np.uint16) + blue + 2 * green.astype(np.uint16)) >> 2).astype(np.uint8)
    rows, columns = (
        np.linspace(0, side, min(side, cells) + 1).astype(np.intp)
        for side, cells in zip(luma.shape, _GRID[::-1], strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(luma, rows[:-1], 0, dtype=np.uint32), columns[:-1], 1, dtype=np.uint32)
    grid: np.ndarray = (sums // np.outer(np.diff(rows), np.diff(columns)).astype(np.uint32)).astype(np.uint8)
    return grid


def _curve(lift: int) -> np.ndarray:
    """The look-up table of a lift, uint8 [256]."""
    values = np.arange(256, dtype=np.float64) * 2.0 ** (lift / _UNIT)
    if lift < 0:
        knee = values[_KNEE]
        values[_KNEE:] = knee + (255.0 - knee) * (np.arange(_KNEE, 256) - _KNEE) / (255 - _KNEE)
    curve: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return curve
