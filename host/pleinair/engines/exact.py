"""Engines behind the CPU painter: libraries that run a lowered network's integers, each only where it is exact.

Kernels are exact only where the machine's own are (x86 without VNNI saturates sums of u8 x s8 products), so before
its first frame an engine is compared with the reference on this machine: with the network itself and with the worst
integers that the contract allows in a network of its shape, whole and in a window. The first of an engine's variants
that is exact is taken; an engine without one is refused.
"""

from __future__ import annotations

import contextlib
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import numpy as np

from pleinair.engines import fastest as engine_memory
from pleinair.engines.lowering import Program, lower
from pleinair.errors import EngineError, OptionError
from pleinair.network import reference
from pleinair.network.integer import MOST_GAIN, Convolution, IntegerNetwork, Layer, Residual
from pleinair.painting.tiles import Runner, Window, round_up

#: By name, in the order in which they are tried: the packages that an engine needs.
ENGINES = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino",), "litert": ("ai_edge_litert",)}
WIDE_ENGINES = ("onnxruntime",)
#: OpenVINO compiles its kernels; on (emulated) Arm that ended in a crash, which no check can answer.
_MACHINES = {"openvino": ("x86_64", "AMD64")}
DEFAULT_ENGINE = "onnxruntime"
AUTO = "auto"
#: Programs that a runner keeps: a film has one size of frame, a tiled frame one of tile.
_KEPT = 4


class Engine(Protocol):
    """A library that runs programs on ``threads`` threads.

    ``least_outputs`` as :func:`pleinair.engines.lowering.lower` takes it.
    """

    name: str
    least_outputs: int
    threads: int

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        """uint8 [h, w, 3] of what the program reads to a new array, uint8 [h, w, 3], of what it paints."""


#: uint8 [h, w, C] of what a program reads, and a contiguous array of its result's shape, which is written.
Fill = Callable[[np.ndarray, np.ndarray], None]


@runtime_checkable
class Relighting(Protocol):
    """An engine whose programs soon run in another light."""

    def relightable(self, program: Program, changing: Collection[str], *, alone: bool) -> Callable[[Program], Fill]:
        """What makes of the same program in any light what runs it; several threads may call that at a time.

        Only the convolutions named in ``changing`` have other numbers then. The program may read any number of
        channels, and give any; a signed result is given plus 128. ``alone``: each call computes on one thread.
        """


_Compiled = OrderedDict[tuple[int, int, Window], tuple[Program, Callable[[np.ndarray], np.ndarray]]]


class EngineRunner:
    """A network on an engine, for pieces of any size, multiples of the network's stride.

    Several threads may paint at once. Engines are not made for that, so each call takes a set of programs for itself
    and puts it back afterwards.
    """

    def __init__(
        self, network: IntegerNetwork, engine: Engine, again: Callable[[int], EngineRunner] | None = None
    ) -> None:
        """``again`` opens the same network on the same library with another number of threads."""
        self.network, self.engine, self._again = network, engine, again
        self._idle: list[_Compiled] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same shape."""
        return self.window(image, Window(0, 0, *image.shape[:2]))

    def with_threads(self, threads: int) -> EngineRunner:
        """The same network on the same library, computed with so many threads and checked again. Raises EngineError."""
        if self._again is None:
            raise ValueError("this runner was not made by exact_runner")
        return self._again(threads)

    def window(self, piece: np.ndarray, window: Window) -> np.ndarray:
        """The window's pixels of the painted piece: uint8 [H, W, 3] to the window's shape."""
        with self._programs() as compiled:
            program, run = self._program(compiled, piece.shape[0], piece.shape[1], window)
            return window.within(program.paints).of(run(program.reads.of(piece)))

    def _program(
        self, compiled: _Compiled, height: int, width: int, window: Window
    ) -> tuple[Program, Callable[[np.ndarray], np.ndarray]]:
        """The program for pieces of this size, from ``compiled`` or made anew."""
        key = height, width, window
        if key not in compiled:
            program = lower(self.network, height, width, window, least_outputs=self.engine.least_outputs)
            while len(compiled) >= _KEPT:
                compiled.popitem(last=False)
            compiled[key] = program, self.engine.compile(program)
        compiled.move_to_end(key)
        return compiled[key]

    @contextlib.contextmanager
    def _programs(self) -> Iterator[_Compiled]:
        """A set of programs, the latest used last, that nobody else has meanwhile."""
        with self._lock:
            compiled = self._idle.pop() if self._idle else OrderedDict()
        try:
            yield compiled
        finally:
            with self._lock:
                self._idle.append(compiled)


def check_engine(name: str) -> None:
    """Raise OptionError for a name that is no engine's."""
    if name != AUTO and name not in ENGINES:
        raise OptionError(f"{name!r}: choose from {AUTO}, {', '.join(ENGINES)}", option="engine")


def installed_engines(wide: bool = False) -> list[str]:
    """Names of the engines that are there; ``wide``: of those that paint networks of more than 8 bits."""
    return [
        name
        for name, packages in ENGINES.items()
        if all(map(find_spec, packages)) and runs_here(name) and (name in WIDE_ENGINES or not wide)
    ]


def runs_here(name: str) -> bool:
    """Whether an engine may be tried on this kind of machine."""
    return platform.machine() in _MACHINES.get(name, (platform.machine(),))


def variants(name: str, threads: int) -> Iterator[Engine]:
    """An engine's variants, the fastest first. Raises EngineError where its package is missing."""
    if name == "onnxruntime":
        from pleinair.engines import onnxruntime as ort_engine

        yield from (ort_engine.OrtEngine(threads, variant) for variant in ort_engine.VARIANTS)
    elif name == "openvino":
        from pleinair.engines import openvino as openvino_engine

        yield from (openvino_engine.OpenVinoEngine(threads, variant) for variant in openvino_engine.VARIANTS)
    else:
        from pleinair.engines import litert as litert_engine

        yield litert_engine.LitertEngine(threads)


def check_image(side: int = 64) -> np.ndarray:
    """A small picture that goes to the ends of the range: white, black, primaries, a ramp and noise."""
    rng = np.random.Generator(np.random.PCG64(7))
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    half, quarter = side // 2, side // 4
    image[:quarter, :half] = 255
    image[:quarter, half:] = 0
    image[quarter:half, :half] = np.linspace(0, 255, half, dtype=np.uint8)[:, None]
    for channel in range(3):
        image[quarter:half, half + channel * 8 : half + channel * 8 + 8] = np.eye(3, dtype=np.uint8)[channel] * 255
    return image


def worst_case(network: IntegerNetwork) -> IntegerNetwork:
    """The same layers with the largest integers the contract allows, neighbours of one sign.

    Whatever saturates or loses bits between products and requantisation shows here, be the trained weights
    ever so tame: pairs of ++ and -- drive partial sums as far out as they can go.
    """

    def worst(c: Convolution, input_high: int) -> Convolution:
        greatest = (1 << (c.weight_bits - 1)) - 1
        count = c.weight[0].size
        wide = max(network.bits, c.weight_bits) > 8
        # Adaptive sums may take half of the range.
        share = 0.9 if c.norm is None else 0.45
        full = min(count, int(share * (1 << (47 if wide else 24)) / input_high / greatest))
        position = np.arange(count)
        rows = []
        for o in range(c.outputs):
            # Runs of equal sign along the kernel in NHWC order, in which engines group products.
            signs = np.where((position + o) // (1, 2, 4, 8)[o % 4] % 2 == 0, greatest, -greatest)
            rows.append(np.where(position < full, signs, 0).reshape(c.kernel, c.kernel, c.inputs).transpose(2, 0, 1))
        spread = 0.3 * input_high * greatest * full**0.5
        shift = np.full(c.outputs, max(1, round(np.log2(4 * spread / (1 << c.out_bits)))), np.int64)
        middle = np.full(c.outputs, 0 if c.signed else 1 << (c.out_bits - 1), np.int64)
        weight = np.stack(rows).astype(c.weight.dtype)
        if c.norm is None:
            return replace(c, weight=weight, bias=middle << shift, shift=shift)
        # The longest multipliers, odd ones, at the same gain as without.
        multiplier = MOST_GAIN - 2 * (np.arange(c.outputs, dtype=np.int64) % 8)
        shift = np.minimum(shift + 4, c.longest_shift(network.bits))
        bias = (middle << shift) // multiplier
        # Metered likewise, as unsigned numbers of 8 bits.
        meter_shift = np.minimum(max(1, round(np.log2(4 * spread / 256))) + 4, np.full(c.outputs, 16))
        norm = replace(
            c.norm,
            meter_bias=(np.int64(128) << meter_shift) // multiplier,
            meter_multiplier=multiplier,
            meter_shift=meter_shift,
        )
        return replace(c, weight=weight, bias=bias, multiplier=multiplier, shift=shift, norm=norm)

    layers: list[Layer] = []
    high, first = (1 << network.bits) - 1, next(network.convolutions())
    for layer in network.layers:
        if isinstance(layer, Convolution):
            layers.append(worst(layer, 255 if layer is first else high))
        elif isinstance(layer, Residual):
            layers.append(Residual(tuple(worst(c, high) for c in layer.body)))
        else:
            layers.append(layer)
    return IntegerNetwork(network.bits, tuple(layers))


def differing(network: IntegerNetwork, run: Runner, image: np.ndarray) -> int:
    """How many of the image's values a runner paints differently from the reference."""
    return int((run(image) != reference.run(network, image)).sum())


#: Multiply-accumulates for which the reference is asked at most, once for each of two networks: a few seconds.
_CHECKED = 1.5e9


class Yardstick:
    """What a network and the worst of its shape must paint, computed once and compared with any number of engines."""

    def __init__(self, network: IntegerNetwork) -> None:
        stride = network.stride
        reach = round_up(network.halo, stride)
        side = 2 * reach + 16
        affordable = int((_CHECKED / network.macs_per_pixel()) ** 0.5)
        if side > affordable:  # a heavy network: a smaller picture, and a window that sees its borders
            side = max(round_up(16, stride), affordable // stride * stride)
            reach = side // 4 // stride * stride
        self._image = check_image(side)
        # A window is computed otherwise than a whole picture.
        self._windows = (Window(0, 0, side, side), Window(reach, reach, side - reach, side - reach))
        self._wanted = [(n, reference.run(n, self._image)) for n in (worst_case(network), network)]

    def wrong(self, engine: Engine) -> int:
        """How many values an engine paints differently, with either network, whole and in a window."""
        wrong = 0
        for network, wanted in self._wanted:
            runner = EngineRunner(network, engine)
            for window in self._windows:
                wrong += int((runner.window(self._image, window) != window.of(wanted)).sum())
        return wrong


def exact_runner(network: IntegerNetwork, threads: int = 0, engine: str = DEFAULT_ENGINE) -> EngineRunner:
    """The network on the first of an engine's variants that equals the reference on this machine.

    ``threads`` 0 means every core; ``engine`` "auto" the one that `pleinair bench` found fastest here. Raises
    EngineError when the engine is not installed or nowhere exact, OptionError for an unknown one.
    """
    yardstick = Yardstick(network)
    if engine != AUTO:
        return _exact(network, threads, engine, yardstick)
    fastest = engine_memory.remembered(network, threads)
    if fastest in installed_engines(network.wide):
        with contextlib.suppress(EngineError):  # the machine may have changed since
            return _exact(network, threads, fastest, yardstick)
    return _exact(network, threads, DEFAULT_ENGINE, yardstick)


def _exact(network: IntegerNetwork, threads: int, engine: str, yardstick: Yardstick) -> EngineRunner:
    check_engine(engine)
    if network.wide and engine not in WIDE_ENGINES:
        raise EngineError(
            f"{engine}: paints up to 8 bits; for more there is {', '.join(WIDE_ENGINES)}", option="engine"
        )
    if not runs_here(engine):
        raise EngineError(
            f"{engine}: not on {platform.machine()}; try one of {', '.join(installed_engines())}", option="engine"
        )
    found = []
    for variant in variants(engine, threads):
        wrong = yardstick.wrong(variant)
        if wrong == 0:
            return EngineRunner(network, variant, lambda fewer: _exact(network, fewer, engine, yardstick))
        found.append(f"{variant.name}: {wrong} values differ")
    raise EngineError(
        f"{engine}: not exact on this machine ({'; '.join(found)}); use the backend reference", option="engine"
    )
