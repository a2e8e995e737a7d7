"""Metering on an engine: a frame's light, equal to that of :func:`pleinair.painting.meter.measure`, much sooner.

The network is walked block by block. What a block gives is kept as one image of bytes, so a frame of 12 megapixels
takes some 50 MB; what is metered is computed in bands of rows and only summed. A block's layers run as one program,
with those that are already in their new light before the one that is metered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pleinair.engines.exact import (
    DEFAULT_ENGINE,
    Engine,
    EngineRunner,
    check_image,
    installed_engines,
    variants,
)
from pleinair.engines.lowering import lower
from pleinair.errors import EngineError
from pleinair.network.integer import Convolution, IntegerNetwork, Layer, Residual, metering
from pleinair.network.light import LayerLight, Light, Sums, in_light, layer_light, light_of_sums
from pleinair.painting import meter
from pleinair.painting.meter import Meter
from pleinair.painting.tiles import Runner, Window, WindowRunner

#: Positions that one program computes at the most.
_BAND = 1 << 18


class EngineMeter:
    """Meters frames for one adaptive network with an engine. Programs that hold no light are kept for one size."""

    def __init__(self, network: IntegerNetwork, engine: Engine) -> None:
        self.network, self._engine = network, engine

    def measure(self, pixels: np.ndarray, frame: Window) -> Light:
        """See :func:`pleinair.painting.meter.measure`. Networks of more than 8 bits are metered there."""
        return light_of_sums(self.network, self.sums(pixels, frame))

    def sums(self, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
        """What is summed of each adaptive convolution, each behind the ones before it in this frame's own light."""
        if self.network.wide:
            return meter.sums(self.network, pixels, frame)
        return tuple(self._walked(pixels, frame).sums)

    def paint(self, pixels: np.ndarray, frame: Window) -> np.ndarray:
        """The frame's painting in its own light, uint8 [H, W, 3], of a network of up to 8 bits.

        What metering has computed is not computed again: the painting goes on from the last metered layer.
        """
        walk = self._walked(pixels, frame)
        return np.concatenate(list(self.run(walk.pending, walk.image, frame)))

    def lit(self, light: Light) -> EngineRunner:
        """What paints pieces of frames in a light."""
        return EngineRunner(in_light(self.network, light), self._engine)

    def _walked(self, pixels: np.ndarray, frame: Window) -> _Walk:
        walk = _Walk(self, pixels, Meter(frame))
        for piece in _pieces(self.network.layers):
            walk.through(piece)
        return walk

    def run(self, layers: tuple[Layer, ...], image: np.ndarray, window: Window) -> Iterator[np.ndarray]:
        """The window of what the layers make of uint8 [h, w, C], in bands of rows, uint8 [rows, columns, O]."""
        piece = IntegerNetwork(self.network.bits, layers)
        height, width, channels = image.shape
        step = max(2, _BAND // (window.right - window.left) // 2 * 2)
        for top in range(window.top, window.bottom, step):
            band = replace(window, top=top, bottom=min(top + step, window.bottom))
            program = lower(piece, height, width, band, self._engine.least_outputs, channels)
            computed = self._engine.compile(program)(program.reads.of(image))
            yield band.within(program.paints).of(computed)


def _pieces(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, ...]]:
    """The layers in groups that end with a convolution or a residual block."""
    group: list[Layer] = []
    for layer in layers:
        group.append(layer)
        if isinstance(layer, Convolution | Residual):
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


class _Walk:
    """One frame on its way through the network."""

    def __init__(self, owner: EngineMeter, pixels: np.ndarray, frame: Meter) -> None:
        self._owner, self._meter = owner, frame
        #: What has been computed, and the layers, in their light, that have not run on it yet.
        self.image, self.pending = pixels, tuple[Layer, ...]()
        self._size, self._scale, self._high = pixels.shape[:2], 1, 255
        self.sums: list[Sums] = []
        self._left = sum(c.norm is not None for c in owner.network.convolutions())

    def through(self, piece: tuple[Layer, ...]) -> None:
        """Meter the adaptive convolutions of a piece, then run it in its light if more are to be metered behind it."""
        *before, last = piece
        for layer in piece:
            self._scale = self._scale * layer.down // layer.up
        if isinstance(last, Residual):
            body: list[Convolution] = []
            for c in last.body:
                body.append(self._lit(tuple(before), tuple(body), c))
                self._high = (1 << self._owner.network.bits) - 1
            last = Residual(tuple(body))
        elif isinstance(last, Convolution):
            last = self._lit(tuple(before), (), last)
            self._high = (1 << self._owner.network.bits) - 1
        self.pending = (*self.pending, *before, last)
        if self._left:
            self.image, self.pending = self._whole(self.pending), ()

    def _lit(self, before: tuple[Layer, ...], body: tuple[Convolution, ...], c: Convolution) -> Convolution:
        if c.norm is None:
            return c
        window = self._meter.window(self._scale)
        parts = self._owner.run((*before, *body, metering(c)), self.image, window)
        sums = [sums_of_bytes(part) for part in parts]
        total = sum(sums[1:], sums[0])
        self.sums.append(total)
        self._left -= 1
        light: LayerLight = layer_light(c, total, bits=self._owner.network.bits, input_high=self._high)
        return replace(c, bias=light.bias, multiplier=light.multiplier, shift=light.shift)

    def _whole(self, layers: tuple[Layer, ...]) -> np.ndarray:
        height, width = (length // self._scale for length in self._size)
        return np.concatenate(list(self._owner.run(layers, self.image, Window(0, 0, height, width))))


def sums_of_bytes(levels: np.ndarray) -> Sums:
    """The sums of uint8 [H, W, O]; :func:`pleinair.network.light.sums_of` of the same values.

    Sums of up to 2^15 positions stay exact in float32 for q (2^23) and are taken in int64 for q^2.
    """
    flat = levels.reshape(-1, levels.shape[2])
    first = flat.sum(0, dtype=np.int64)
    second = np.zeros(flat.shape[1], np.int64)
    for start in range(0, len(flat), 1 << 15):
        part = flat[start : start + (1 << 15)].astype(np.float32)
        # Products of bytes are below 2^16, and 2^8 of them below 2^24: exact in float32.
        rest = len(part) % 256
        whole = part[: len(part) - rest].reshape(-1, 256, part.shape[1])
        second += np.einsum("kpo,kpo->ko", whole, whole).astype(np.int64).sum(0)
        second += np.einsum("po,po->o", part[len(part) - rest :], part[len(part) - rest :]).astype(np.int64)
    return Sums(len(flat), tuple(first.tolist()), tuple(second.tolist()))


class _WideMetering:
    """Meters in NumPy and paints with an engine: for networks of more than 8 bits."""

    def __init__(self, network: IntegerNetwork, engine: Engine) -> None:
        self._network, self._engine = network, engine

    def sums(self, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
        """What is metered in the window ``frame`` of the network's input."""
        return meter.sums(self._network, pixels, frame)

    def paint(self, pixels: np.ndarray, frame: Window) -> np.ndarray:
        """The painting of that window in its own light."""
        return self.lit(meter.measure(self._network, pixels, frame)).window(pixels, frame)

    def lit(self, light: Light) -> EngineRunner:
        """What paints pieces of frames in a light."""
        return EngineRunner(in_light(self._network, light), self._engine)


def exact_meter(network: IntegerNetwork, run: Runner | WindowRunner, threads: int) -> EngineMeter | _WideMetering:
    """What meters frames and paints them in their own light on this machine, equal to :func:`meter.paint`.

    ``run``: the network's exact runner of so many threads. Its engine is tried first, then ONNX Runtime, which
    can meter where LiteRT cannot. Networks of more than 8 bits are metered in NumPy and painted by the engine.
    """
    assert isinstance(run, EngineRunner)
    first = run.engine
    if network.wide:
        return _WideMetering(network, first)
    side = 64
    pixels, frame = check_image(side), Window(side // 8, side // 8, side - 6, side - 9)
    wanted = meter.paint(network, pixels, frame)
    engines = [first]
    if DEFAULT_ENGINE in installed_engines():
        engines += variants(DEFAULT_ENGINE, threads)
    for engine in engines:
        metered = EngineMeter(network, engine)
        if np.array_equal(metered.paint(pixels, frame), wanted):
            return metered
    raise EngineError("no engine here meters a frame exactly; use the backend reference")
