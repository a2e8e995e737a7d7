"""The painter of a float network with instance norm: each frame whole, in its own statistics.

A tile of a frame has other statistics than the frame, so there are no tiles here. What a frame takes of memory grows
with it, and its size is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np

from pleinair.errors import ImageError
from pleinair.machine import available_memory
from pleinair.network.floating import FloatNetwork, Place
from pleinair.painting.painter import TILE_PIXELS, NetworkPainter, checked_frame
from pleinair.painting.tiles import Runner, Window, WindowRunner, add_margin

#: Greatest frame, in pixels: what a camera of 24 megapixels takes.
MAX_WHOLE_PIXELS = 25_000_000


class FrameRunner(Protocol):
    """Runs a network on an image that a frame fills without its margin."""

    def __call__(self, pixels: np.ndarray, place: Place | None = None) -> np.ndarray:
        """The painting of uint8 [H, W, 3], multiples of the stride, in the same shape.

        ``place``: the frame's rows and columns, whose statistics are taken; None for the whole image.
        """
        ...


class WholePainter(NetworkPainter):
    """Paints each frame in its own statistics."""

    adaptive = True
    own_light_only = True

    def __init__(
        self,
        name: str,
        network: FloatNetwork,
        margin: int,
        run: FrameRunner,
        grain: int = 0,
        *,
        bytes_per_pixel: int,
        threads: int = 1,
        run_with: Callable[[int], FrameRunner] | None = None,
    ) -> None:
        """``bytes_per_pixel`` is the memory that ``run`` takes; else as in NetworkPainter."""
        super().__init__(name, network, margin, run, TILE_PIXELS, grain, threads=threads, run_with=run_with)
        self._bytes_per_pixel = bytes_per_pixel

    def _paint_with(self, frame: np.ndarray, run: Runner | WindowRunner) -> np.ndarray:
        frame = self._checked(frame)
        (height, width), margin = frame.shape[:2], self.margin
        window = Window(margin, margin, margin + height, margin + width)
        pixels = add_margin(self._grain(frame), margin, self.network.stride, adaptive=True)
        rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
        return np.ascontiguousarray(window.of(cast(FrameRunner, run)(pixels, (rows, columns))))

    def _checked(self, frame: np.ndarray) -> np.ndarray:
        """The frame. Raises ImageError for one that there is not the memory for."""
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        what = f"frame of {width}x{height}: at 32 bits an adaptive style paints it whole"
        if height * width > MAX_WHOLE_PIXELS:
            most = MAX_WHOLE_PIXELS // 1_000_000
            raise ImageError(f"{what}, up to {most} megapixels; with fewer bits there may be more")
        needed, free = self._bytes_per_pixel * height * width, available_memory()
        if height * width > TILE_PIXELS and 0 < free < needed:
            raise ImageError(
                f"{what}, which takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
                "with fewer bits it takes less"
            )
        return frame
