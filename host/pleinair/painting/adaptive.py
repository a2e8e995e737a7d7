"""The painter of an adaptive network: each frame is painted in a light.

By itself the painter takes each frame's own light, which depends on that frame alone. In a film the light follows from
the film's frames so far; :meth:`AdaptivePainter.lit_by` paints that way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import Light, Sums, light_of, light_of_sums
from pleinair.painting.painter import NetworkPainter, Painter, SideBySidePainter, checked_frame
from pleinair.painting.side_by_side import Task
from pleinair.painting.tiles import Runner, Window, WindowRunner, add_margin

#: Lights whose programs are kept: the present one, and the last one for frames that are still being painted.
_LIGHTS = 2


class Metering(Protocol):
    """What meters and paints with one adaptive network and so many threads; it may be used by several at a time."""

    def sums(self, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
        """What is metered in the window ``frame`` of the network's input, uint8 [H, W, 3]."""
        ...

    def paint(self, pixels: np.ndarray, frame: Window) -> np.ndarray:
        """The painting of that window in its own light, uint8."""
        ...

    def lit(self, light: Light) -> Runner | WindowRunner:
        """What paints pieces of frames in a light."""
        ...


class LightMeter(Protocol):
    """What a film's light asks a painter for."""

    #: The light of an average photo.
    average: Light

    def sums(self, frame: np.ndarray) -> tuple[Sums, ...]:
        """What is metered in a frame, uint8 [H, W, 3], of each adaptive convolution."""
        ...

    def light_of(self, sums: tuple[Sums, ...]) -> Light:
        """The light of one frame's sums, or of several frames' together."""
        ...


class FrameLight(Protocol):
    """Says in which light the next frame of a film is painted."""

    def __call__(self, frame: np.ndarray, meter: LightMeter) -> Light | None:
        """The light of the next frame, uint8 [H, W, 3]; None for its own. Called once for each frame, in order."""
        ...


class AdaptivePainter(NetworkPainter):
    """Paints each frame in its own light, or in a given one."""

    adaptive = True

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
        meter_with: Callable[[Runner | WindowRunner, int], Metering],
        run_with: Callable[[int], Runner | WindowRunner] | None = None,
    ) -> None:
        """``meter_with`` makes what meters, of a checked runner and its threads; else as in NetworkPainter.

        ``run`` paints in the average light, which is what self-checks and benchmarks of engines use.
        """
        super().__init__(name, network, margin, run, tile_pixels, grain, threads=threads, run_with=run_with)
        self._adaptive = network
        self._meter_with = meter_with
        self._meters: dict[int, Metering] = {}
        self._lit: OrderedDict[tuple[int, Light], Runner | WindowRunner] = OrderedDict()
        #: The light of an average photo.
        self.average = light_of(network)

    def open_meter(self) -> None:
        """Open what meters and compare it with the reference now, not with the first frame. Raises EngineError."""
        self._meter(self._threads)

    def sums(self, frame: np.ndarray) -> tuple[Sums, ...]:
        """What is metered in a frame, uint8 [H, W, 3], of each adaptive convolution: the same on every machine."""
        return self._meter(self._threads).sums(*self._input(checked_frame(frame)))

    def light_of(self, sums: tuple[Sums, ...]) -> Light:
        """The light of one frame's sums, or of several frames' together."""
        return light_of_sums(self._adaptive, sums)

    def measure(self, frame: np.ndarray) -> Light:
        """A frame's own light."""
        return self.light_of(self.sums(frame))

    def paint_in(self, frame: np.ndarray, light: Light) -> np.ndarray:
        """Paint a frame in a light. Raises LightError for another network's light, else what :meth:`paint` raises."""
        return self._paint_with(frame, self._in_light(light, self._threads))

    def lit_by(self, light: FrameLight | None) -> Painter:
        """See :class:`Painter`."""
        return self if light is None else _FilmPainter(self, light)

    def _input(self, frame: np.ndarray) -> tuple[np.ndarray, Window]:
        margin, (height, width) = self.margin, frame.shape[:2]
        pixels = add_margin(self._grain(frame), margin, self.network.stride, adaptive=True)
        return pixels, Window(margin, margin, margin + height, margin + width)

    def _meter(self, threads: int) -> Metering:
        run = self._runner(threads)  # raises where the painter is closed
        if threads not in self._meters:
            self._meters[threads] = self._meter_with(run, threads)
        return self._meters[threads]

    def _task(self, frame: np.ndarray) -> Task:
        frame = checked_frame(frame)
        # Made here, not in the thread that paints: it compares itself with the reference.
        self._meter(self.side_by_side(frame.shape[1], frame.shape[0])[0])
        return super()._task(frame)

    def _paint(self, frame: np.ndarray, threads: int) -> np.ndarray:
        return self._meter(threads).paint(*self._input(checked_frame(frame)))

    def _in_light(self, light: Light, threads: int) -> Runner | WindowRunner:
        meter = self._meter(threads)
        if light == self.average:
            return self._runner(threads)
        key = threads, light
        if key not in self._lit:
            self._lit[key] = meter.lit(light)
            if len(self._lit) > _LIGHTS:
                self._lit.popitem(last=False)
        return self._lit[key]

    def _task_in(self, frame: np.ndarray, light: Light | None) -> Task:
        """How a frame is painted in a light, or in its own."""
        if light is None:
            return self._task(frame)
        frame = checked_frame(frame)
        threads, at_once = self.side_by_side(frame.shape[1], frame.shape[0])
        return Task(partial(self._paint_with, frame, self._in_light(light, threads)), at_once)

    def close(self) -> None:
        """See :class:`Painter`."""
        super().close()
        self._meters.clear()
        self._lit.clear()


class _FilmPainter(SideBySidePainter):
    """Paints the frames of one film in the light that the film gives them."""

    adaptive = True

    def __init__(self, painter: AdaptivePainter, light: FrameLight) -> None:
        self.name, self._painter, self._light = painter.name, painter, light

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._painter!r}>"

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """Paint the film's next frame."""
        light = self._light(frame, self._painter)
        return self._painter.paint(frame) if light is None else self._painter.paint_in(frame, light)

    def _task(self, frame: np.ndarray) -> Task:
        return self._painter._task_in(frame, self._light(frame, self._painter))

    def lit_by(self, light: FrameLight | None) -> Painter:
        """See :class:`Painter`."""
        return self._painter.lit_by(light)

    def close(self) -> None:
        """See :class:`Painter`."""
        self._painter.close()
