"""The painter of an adaptive network: every frame is metered first, and painted in its own light.

A frame's light depends on that frame alone, so paintings do not depend on what was painted before: a roll that was
killed, painted in pieces or painted again has the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import Light, in_light
from pleinair.painting.painter import NetworkPainter, checked_frame
from pleinair.painting.tiles import Runner, Window, WindowRunner, add_margin, paint_tiled


class Measure(Protocol):
    """Meters what a network is given; see :func:`pleinair.painting.meter.measure`."""

    def __call__(self, pixels: np.ndarray, frame: Window) -> Light:
        """The light of the window ``frame`` of ``pixels``, uint8 [H, W, 3]."""


class AdaptivePainter(NetworkPainter):
    """Paints each frame in its own light."""

    def __init__(
        self,
        name: str,
        network: IntegerNetwork,
        margin: int,
        tile_pixels: int,
        grain: int = 0,
        *,
        threads: int = 1,
        measure_with: Callable[[int], Measure],
        run_in: Callable[[IntegerNetwork, int], Runner | WindowRunner],
        side_by_side: bool = True,
    ) -> None:
        """``measure_with`` and ``run_in`` make a meter, and a runner of a network in a light, of so many threads.

        ``side_by_side``: small frames of a film may be painted at the same time, with fewer threads each.
        """
        self._meters: dict[int, Measure] = {}
        self._measure_with, self._run_in = measure_with, run_in
        super().__init__(
            name,
            network,
            margin,
            run_in(network, threads),
            tile_pixels,
            grain,
            threads=threads,
            run_with=(lambda threads: run_in(network, threads)) if side_by_side else None,
        )

    def light(self, frame: np.ndarray, threads: int = 0) -> Light:
        """The light of uint8 [H, W, 3]: metered on all of the frame, with the grain that is painted."""
        assert isinstance(self.network, IntegerNetwork)
        pixels = add_margin(self._grain(checked_frame(frame)), self.margin, self.network.stride)
        height, width = frame.shape[:2]
        meter = self._meters.setdefault(threads, self._measure_with(threads))
        return meter(pixels, Window(self.margin, self.margin, self.margin + height, self.margin + width))

    def _paint(self, frame: np.ndarray, threads: int) -> np.ndarray:
        frame, n = checked_frame(frame), self.network
        self._runner(threads)  # raises where the painter is closed
        assert isinstance(n, IntegerNetwork)
        run = self._run_in(in_light(n, self.light(frame, threads)), threads)
        return paint_tiled(self._grain(frame), run, self.margin, n.halo, n.stride, self.tile)
