"""Engines behind the CPU painter: libraries that run a lowered network's integers, each only where it is exact.

Kernels are exact only where the machine's own are (x86 without VNNI saturates sums of u8 x s8 products), so before
its first frame an engine is compared with the reference on this machine: with the network itself and with the worst
integers that the contract allows in a network of its shape, whole and in a window. The first of an engine's variants
that is exact is taken; an engine without one is refused.
"""

from __future__ import annotations

import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from pleinair.engines import fastest as engine_memory
from pleinair.engines.lowering import Program, lower
from pleinair.errors import EngineError, OptionError
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Layer, Residual
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
    """A library that runs programs. ``least_outputs`` as :func:`pleinair.engines.lowering.lower` takes it."""

    name: str
    least_outputs: int

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        """uint8 [h, w, 3] of what the program reads to a new array, uint8 [h, w, 3], of what it paints."""


_Compiled = OrderedDict[tuple[int, int, Window], tuple[Program, Callable[[np.ndarray], np.ndarray]]]


class EngineRunner:
    """A network on an engine, for pieces of any size, multiples of the network's stride.

    Several threads may paint at once: engines are not made for that, so each thread has programs of its own.
    """

    def __init__(self, network: IntegerNetwork, engine: Engine) -> None:
        self.network, self.engine = network, engine
        self._threads = threading.local()

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to the same shape."""
        return self.window(image, Window(0, 0, *image.shape[:2]))

    def window(self, piece: np.ndarray, window: Window) -> np.ndarray:
        """The window's pixels of the painted piece: uint8 [H, W, 3] to the window's shape."""
        height, width, _ = piece.shape
        key = height, width, window
        compiled = self._compiled()
        if key not in compiled:
            program = lower(self.network, height, width, window, least_outputs=self.engine.least_outputs)
            while len(compiled) >= _KEPT:
                compiled.popitem(last=False)
            compiled[key] = program, self.engine.compile(program)
        compiled.move_to_end(key)
        program, run = compiled[key]
        return window.within(program.paints).of(run(program.reads.of(piece)))

    def _compiled(self) -> _Compiled:
        """This thread's programs, the latest used last."""
        if not hasattr(self._threads, "compiled"):
            self._threads.compiled = OrderedDict()
        compiled: _Compiled = self._threads.compiled
        return compiled


def check_engine(name: str) -> None:
    """Raise OptionError for a name that is no engine's."""
    if name != AUTO and name not in ENGINES:
        raise OptionError(f"--engine {name!r}: choose from {AUTO}, {', '.join(ENGINES)}")


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


def _variants(name: str, threads: int) -> Iterator[Engine]:
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
        full = min(count, int(0.9 * (1 << (47 if wide else 24)) / input_high / greatest))
        position = np.arange(count)
        rows = []
        for o in range(c.outputs):
            # Runs of equal sign along the kernel in NHWC order, in which engines group products.
            signs = np.where((position + o) // (1, 2, 4, 8)[o % 4] % 2 == 0, greatest, -greatest)
            rows.append(np.where(position < full, signs, 0).reshape(c.kernel, c.kernel, c.inputs).transpose(2, 0, 1))
        spread = 0.3 * input_high * greatest * full**0.5
        shift = np.full(c.outputs, max(1, round(np.log2(4 * spread / (1 << c.out_bits)))), np.int64)
        middle = np.full(c.outputs, 0 if c.signed else 1 << (c.out_bits - 1), np.int64)
        return replace(c, weight=np.stack(rows).astype(c.weight.dtype), bias=middle << shift, shift=shift)

    layers: list[Layer] = []
    high = (1 << network.bits) - 1
    for layer in network.layers:
        if isinstance(layer, Convolution):
            layers.append(worst(layer, 255 if not layers else high))
        elif isinstance(layer, Residual):
            layers.append(Residual(tuple(worst(c, high) for c in layer.body)))
        else:
            layers.append(layer)
    return IntegerNetwork(network.bits, tuple(layers))


def differing(network: IntegerNetwork, run: Runner, image: np.ndarray) -> int:
    """How many of the image's values a runner paints differently from the reference."""
    return int((run(image) != reference.run(network, image)).sum())


def _wrong(network: IntegerNetwork, engine: Engine) -> int:
    """Values that an engine paints differently: of a whole picture, and of a window, which is computed otherwise."""
    reach = round_up(network.halo, network.stride)
    side = 2 * reach + 16
    image = check_image(side)
    wanted = reference.run(network, image)
    runner = EngineRunner(network, engine)
    inner = Window(reach, reach, side - reach, side - reach)
    return sum(
        int((runner.window(image, window) != window.of(wanted)).sum())
        for window in (Window(0, 0, side, side), inner)
    )  # fmt: skip


def exact_runner(network: IntegerNetwork, threads: int = 0, engine: str = DEFAULT_ENGINE) -> EngineRunner:
    """The network on the first of an engine's variants that equals the reference on this machine.

    ``threads`` 0 means every core; ``engine`` "auto" the one that `pleinair bench` found fastest here. Raises
    EngineError when the engine is not installed or nowhere exact, OptionError for an unknown one.
    """
    if engine == AUTO:
        return _automatic(network, threads)
    check_engine(engine)
    if network.wide and engine not in WIDE_ENGINES:
        raise EngineError(f"--engine {engine}: paints up to 8 bits; for more there is {', '.join(WIDE_ENGINES)}")
    if not runs_here(engine):
        raise EngineError(
            f"--engine {engine}: not on {platform.machine()}; try one of {', '.join(installed_engines())}"
        )
    hardest = worst_case(network)
    found = []
    for variant in _variants(engine, threads):
        wrong = _wrong(hardest, variant) + _wrong(network, variant)
        if wrong == 0:
            return EngineRunner(network, variant)
        found.append(f"{variant.name}: {wrong} values differ")
    raise EngineError(f"--engine {engine}: not exact on this machine ({'; '.join(found)}); use --backend reference")


def _automatic(network: IntegerNetwork, threads: int) -> EngineRunner:
    fastest = engine_memory.remembered(network, threads)
    if fastest in installed_engines(network.wide):
        try:
            return exact_runner(network, threads, fastest)
        except EngineError:
            pass  # the machine has changed since
    return exact_runner(network, threads)
