"""Blending: the average of neighbouring frames of a film, in exact integers.

The value of a pixel is ``(sum + n // 2) // n`` over the n frames that are blended. A film that shows every hundredth
frame flickers with every cloud; blended with its neighbours, each of its frames shows what is common to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np


class Blend:
    """Averages runs of frames; ``read`` gives the frame of a number, uint8 [H, W, 3], all of one size.

    Where runs do not go back, each frame is read once and added once. No more frames are held than are averaged.
    """

    def __init__(self, read: Callable[[int], np.ndarray]) -> None:
        self._read = read
        self._held: deque[tuple[int, np.ndarray]] = deque()
        self._sum = np.zeros((0, 0, 3), np.uint16)

    def __call__(self, first: int, end: int) -> np.ndarray:
        """The average of the frames ``first`` to ``end`` - 1, up to 257 of them, uint8 [H, W, 3]."""
        if self._held and first < self._held[0][0]:
            # From the beginning again.
            self._held.clear()
            self._sum = np.zeros((0, 0, 3), np.uint16)
        while self._held and self._held[0][0] < first:
            self._sum -= self._held.popleft()[1]
        for number in range(self._held[-1][0] + 1 if self._held else first, end):
            image = self._read(number)
            if not self._held and self._sum.shape != image.shape:
                self._sum = np.zeros(image.shape, np.uint16)  # 257 x 255 is the most that it holds
            self._sum += image
            self._held.append((number, image))
        count = len(self._held)
        if count == 1:
            return self._held[0][1]
        blended: np.ndarray = ((self._sum + np.uint16(count // 2)) // np.uint16(count)).astype(np.uint8)
        return blended
