"""Painters: a frame in, the same frame painted out. All give the same pixels of an integer network.

``reference`` runs the network in NumPy, ``cpu`` in ONNX Runtime's int8 kernels. Those are exact only
where the machine's own are (x86 without VNNI saturates sums of u8 x s8 products), so a CPU painter checks
itself against the reference before its first frame, once with its own network and once with the worst
integers the contract allows, takes the first variant that is exact, and refuses to paint when none is.

The float network (``--bits 32``) is there for comparison: it has no such check, and its painters may differ from
each other, and from machine to machine, by a grey level; their names say so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from host import float_network, reference
from host.errors import EngineError, ImageError, OptionError
from host.float_network import FloatNetwork
from host.grain import Grain
from host.images import MAX_PIXELS
from host.models import Model
from host.network import Convolution, IntegerNetwork, Layer, Residual
from host.onnx_graph import build_onnx, is_wide
from host.tiles import MIN_SIDE, Runner, paint_tiled, tile_side

BACKENDS = ("cpu", "reference")
#: Pixels of a tile, chosen so that 12 megapixels stay under 600 MB in ONNX Runtime at 8 bits.
TILE_PIXELS = 1_000_000
#: By how much smaller tiles keep the other engines there.
_WIDE_SHARE, _FLOAT_SHARE, _REFERENCE_SHARE = 4, 2, 8
_INEXACT = "not exact across machines"


class Painter(Protocol):
    """Paints frames with one network."""

    name: str

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] RGB, 16 x 16 to 64 megapixels, to the same shape. Raises ImageError."""

    def close(self) -> None:
        """Give back what the painter holds; painting afterwards is an error."""


class NetworkPainter:
    """A painter around any runner of a network: grain, margin, tiles, crop."""

    def __init__(
        self, name: str, network: IntegerNetwork | FloatNetwork, margin: int, run: Runner, tile_pixels: int,
        grain: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.network, self.margin = name, network, margin
        self._grain = Grain(grain)
        self._run: Runner | None = run
        side = tile_side(network.stride, network.halo, tile_pixels)
        self.tile = (side, side)

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See :class:`Painter`."""
        if self._run is None:
            raise RuntimeError("the painter is closed")
        check_frame(frame)
        n = self.network
        return paint_tiled(self._grain(frame), self._run, self.margin, n.halo, n.stride, self.tile)

    def close(self) -> None:
        """See :class:`Painter`."""
        self._run = None


def check_frame(frame: np.ndarray) -> None:
    """Raise ImageError for a frame too small or too large, ValueError for one that is not uint8 RGB."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"uint8 [H, W, 3] needed, not {frame.dtype} {frame.shape}")
    height, width = frame.shape[:2]
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        raise ImageError(
            f"frame of {width}x{height}: painted are {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
        )


# -- ONNX Runtime


@dataclass(frozen=True)
class Variant:
    """One way to run the graph: session settings of ONNX Runtime."""

    name: str
    settings: tuple[tuple[str, str], ...]


#: In order of speed. The second makes x86 kernels without VNNI widen before they add.
VARIANTS = (Variant("int8", ()), Variant("int8, wide sums", (("session.x64quantprecision", "1"),)))


class OnnxRunner:
    """A network in an ONNX Runtime session. ``threads`` 0 means every core."""

    def __init__(
        self, network: IntegerNetwork | FloatNetwork, threads: int = 0, variant: Variant = VARIANTS[0],
        optimise: bool = True,
    ) -> None:  # fmt: skip
        """Raises EngineError when onnxruntime or onnx is not installed."""
        try:
            import onnxruntime as ort

            graph = build_onnx(network)
        except ImportError as error:
            raise EngineError(f"--backend cpu needs {error.name}: pip install 'pleinair[cpu]'") from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        for key, value in variant.settings:
            options.add_session_config_entry(key, value)
        self._session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.version = f"ONNX Runtime {ort.__version__}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3], multiples of the stride, to the same shape."""
        (out,) = self._session.run(None, {"x": np.ascontiguousarray(image)[None]})
        painted: np.ndarray = out[0]
        return painted


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


def exact_runner(
    network: IntegerNetwork, threads: int = 0, variants: Sequence[Variant] = VARIANTS
) -> tuple[OnnxRunner, Variant]:
    """The first variant that equals the reference on this machine. Raises EngineError when none does."""
    image, hardest = check_image(), worst_case(network)
    found = []
    for variant in variants:
        runner = OnnxRunner(network, threads, variant)
        wrong = differing(hardest, OnnxRunner(hardest, threads, variant), image) + differing(network, runner, image)
        if wrong == 0:
            return runner, variant
        found.append(f"{variant.name}: {wrong} of {2 * image.size} values differ")
    raise EngineError(
        f"no variant of {runner.version} is exact on this machine ({'; '.join(found)}); use --backend reference"
    )


def open_painter(
    model: Model, backend: str = "cpu", threads: int = 0, tile_pixels: int = TILE_PIXELS
) -> NetworkPainter:
    """The painter of a model on a backend: cpu, reference, or an accelerator (host/accelerator_painter.py).

    Raises OptionError, EngineError; for an accelerator DeploymentError and AcceleratorError, too.
    """
    from host.accelerator_painter import is_accelerator, open_accelerator_painter

    if is_accelerator(backend):
        return open_accelerator_painter(model, backend, threads)
    network = model.network
    run: Runner
    if backend == "reference":
        if isinstance(network, IntegerNetwork):
            run, name = partial(reference.run, network), "reference"
        else:
            run, name = partial(float_network.run, network), f"reference (float64, {_INEXACT})"
        share = _REFERENCE_SHARE
    elif backend != "cpu":
        raise OptionError(f"--backend {backend!r}: choose from {', '.join(BACKENDS)}")
    elif isinstance(network, IntegerNetwork):
        run, variant = exact_runner(network, threads)
        name, share = f"{run.version} ({variant.name})", _WIDE_SHARE if is_wide(network) else 1
    else:
        run = OnnxRunner(network, threads)
        name, share = f"{run.version} (float32, {_INEXACT})", _FLOAT_SHARE
    return NetworkPainter(name, network, model.margin, run, tile_pixels // share, model.grain)
