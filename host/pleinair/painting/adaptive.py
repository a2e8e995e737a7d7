"""The painter of an adaptive network: every frame is painted in its own light.

A frame's light depends on that frame alone, so paintings do not depend on what was painted before: a roll that was
killed, painted in pieces or painted again has the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pleinair.network.integer import IntegerNetwork
from pleinair.painting.painter import NetworkPainter, checked_frame
from pleinair.painting.tiles import Runner, Window, WindowRunner, add_margin

#: Meters the window (the frame) of the network's input, uint8 [H, W, 3], and gives its painting in its own light.
LitRunner = Callable[[np.ndarray, Window], np.ndarray]


class AdaptivePainter(NetworkPainter):
    """Paints each frame in its own light; :meth:`NetworkPainter.paint_each` does the same for many."""

    def __init__(
        self,
        name: str,
        network: IntegerNetwork,
        margin: int,
        run: Runner | WindowRunner,
        tile_pixels: int,
        grain: int = 0,
        *,
        threads: int = 1,
        lit_with: Callable[[Runner | WindowRunner, int], LitRunner],
        run_with: Callable[[int], Runner | WindowRunner] | None = None,
    ) -> None:
        """``lit_with`` makes what meters and paints, of a checked runner and its threads; else as in NetworkPainter.

        ``run`` paints in the average light, which is what self-checks and benchmarks of engines use.
        """
        super().__init__(name, network, margin, run, tile_pixels, grain, threads=threads, run_with=run_with)
        self._lit_with = lit_with
        self._lit: dict[int, LitRunner] = {}

    def _paint(self, frame: np.ndarray, threads: int) -> np.ndarray:
        run = self._runner(threads)  # raises where the painter is closed
        frame, margin = checked_frame(frame), self.margin
        height, width = frame.shape[:2]
        pixels = add_margin(self._grain(frame), margin, self.network.stride)
        if threads not in self._lit:
            self._lit[threads] = self._lit_with(run, threads)
        return self._lit[threads](pixels, Window(margin, margin, margin + height, margin + width))
