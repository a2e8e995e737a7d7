"""Metering: the light of a frame, measured with the network itself.

Each adaptive convolution is measured behind the layers before it in their new light, so measuring is one walk through
the network. What is summed is said in :mod:`pleinair.network.light`; over which positions, in :class:`Meter`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, metering
from pleinair.network.light import LayerLight, Light, Sums, identity, in_light, layer_light, sums_of
from pleinair.painting.tiles import Runner, Window


@dataclass(frozen=True)
class Meter:
    """Where a network's light is measured: positions of each layer that lie in the frame, not in its margin.

    A layer's position covers ``scale`` x ``scale`` pixels of the input. It counts where that square and the frame
    share a pixel. ``frame`` is the window of the input that the frame fills.
    """

    frame: Window

    def window(self, scale: int) -> Window:
        """The positions that count in a layer of 1 / ``scale`` of the input's size."""
        f = self.frame
        return Window(f.top // scale, f.left // scale, -(-f.bottom // scale), -(-f.right // scale))


def measure(network: IntegerNetwork, pixels: np.ndarray, frame: Window) -> Light:
    """The light of a frame, in int64 NumPy, plainly.

    ``pixels``: uint8 [H, W, 3], what the network is given: the frame with grain, margin and rounding up. ``frame``:
    the window of it that the frame itself fills; only positions that share a pixel with it are counted. Each layer is
    metered behind the layers before it in their new light.
    """
    return Light(identity(network), tuple(layer for layer, _ in _walk(network, pixels, frame)))


def paint(network: IntegerNetwork, pixels: np.ndarray, frame: Window) -> np.ndarray:
    """The painting of the window ``frame`` in its own light, uint8 [H, W, 3], plainly."""
    return frame.of(reference.run(in_light(network, measure(network, pixels, frame)), pixels))


def sums(network: IntegerNetwork, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
    """What :func:`measure` sums of each adaptive convolution."""
    return tuple(total for _, total in _walk(network, pixels, frame))


class PlainMetering:
    """See :class:`pleinair.painting.adaptive.Metering`: in int64 NumPy, plainly."""

    def __init__(self, network: IntegerNetwork) -> None:
        self._network = network

    def sums(self, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
        """What is metered in the window ``frame`` of the network's input."""
        return sums(self._network, pixels, frame)

    def paint(self, pixels: np.ndarray, frame: Window) -> np.ndarray:
        """The painting of that window in its own light."""
        return paint(self._network, pixels, frame)

    def lit(self, light: Light) -> Runner:
        """What paints pieces of frames in a light."""
        return partial(reference.run, in_light(self._network, light))


def _walk(network: IntegerNetwork, pixels: np.ndarray, frame: Window) -> list[tuple[LayerLight, Sums]]:
    meter, x, scale, high = Meter(frame), pixels.transpose(2, 0, 1).astype(np.int64), 1, 255
    layers: list[tuple[LayerLight, Sums]] = []

    def lit(c: Convolution, x: np.ndarray, high: int, scale: int) -> Convolution:
        if c.norm is None:
            return c
        levels = reference.run_layer(x, metering(c), network.bits)
        counted = meter.window(scale).of(levels.transpose(1, 2, 0)).transpose(2, 0, 1)
        total = sums_of(counted)
        own = layer_light(c, total, bits=network.bits, input_high=high)
        layers.append((own, total))
        return replace(c, bias=own.bias, multiplier=own.multiplier, shift=own.shift)

    for layer in network.layers:
        if isinstance(layer, Residual):
            branch, inner, body = x, high, []
            for c in layer.body:
                body.append(lit(c, branch, inner, scale))
                branch, inner = reference.run_layer(branch, body[-1], network.bits), c.high
            x = reference.run_layer(x, Residual(tuple(body)), network.bits)
            continue
        scale = scale * layer.down // layer.up
        if isinstance(layer, Convolution):
            layer, high = lit(layer, x, high, scale), layer.high
        x = reference.run_layer(x, layer, network.bits)
    return layers
