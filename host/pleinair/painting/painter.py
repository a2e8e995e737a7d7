"""Painters: a frame in, the same frame painted out. All give the same pixels of an integer network.

``reference`` runs the network in NumPy, ``cpu`` in an engine's int8 kernels (pleinair.engines.exact), which checks itself
against the reference before its first frame.

The float network (``--bits 32``) is there for comparison: it has no such check, and its painters may differ from
each other, and from machine to machine, by a grey level; their names say so.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np

from pleinair.engines.exact import AUTO, DEFAULT_ENGINE, check_engine, exact_runner
from pleinair.engines.onnxruntime import open_session, version
from pleinair.errors import EngineError, ImageError, OptionError
from pleinair.images import MAX_PIXELS
from pleinair.machine import cores
from pleinair.models import Model
from pleinair.network import floating as float_network
from pleinair.network import reference
from pleinair.network.floating import FloatNetwork
from pleinair.network.integer import IntegerNetwork
from pleinair.network.onnx import build_onnx
from pleinair.painting.grain import Grain
from pleinair.painting.tiles import MIN_SIDE, Runner, WindowRunner, paint_tiled, tile_side

BACKENDS = ("cpu", "reference")
#: Pixels of a tile, chosen so that 12 megapixels stay under 600 MB in ONNX Runtime at 8 bits.
TILE_PIXELS = 1_000_000
#: By how much smaller tiles keep the other engines there.
_FLOAT_SHARE, _REFERENCE_SHARE = 1.6, 8
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
        self, name: str, network: IntegerNetwork | FloatNetwork, margin: int, run: Runner | WindowRunner,
        tile_pixels: int, grain: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.network, self.margin = name, network, margin
        self._grain = Grain(grain)
        self._run: Runner | WindowRunner | None = run
        side = tile_side(network.stride, network.halo, tile_pixels)
        self.tile = (side, side)

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See :class:`Painter`."""
        if self._run is None:
            raise RuntimeError("the painter is closed")
        check_frame(frame)
        n = self.network
        return paint_tiled(self._grain(frame), self._run, self.margin, n.halo, n.stride, self.tile)

    @property
    def runner(self) -> Runner | WindowRunner | None:
        """What paints the tiles; None once closed."""
        return self._run

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


class OnnxRunner:
    """A network's interchange graph (pleinair.network.onnx) in ONNX Runtime. ``threads`` 0 means every core."""

    def __init__(
        self, network: IntegerNetwork | FloatNetwork, threads: int = 0, optimise: bool = True, wide_sums: bool = False
    ) -> None:
        """Raises EngineError when onnxruntime or onnx is not installed."""
        try:
            graph = build_onnx(network)
        except ImportError as error:
            raise EngineError(f"--backend cpu needs {error.name}: pip install 'pleinair[cpu]'") from error
        self._session = open_session(graph, threads, None, optimise, wide_sums)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3], multiples of the stride, to the same shape."""
        (out,) = self._session.run(None, {"x": np.ascontiguousarray(image)[None]})
        painted: np.ndarray = out[0]
        return painted


def check_backend(backend: str) -> None:
    """Raise OptionError for a backend that is neither of BACKENDS nor one of them with its engine."""
    name, _, engine = backend.partition(":")
    if name not in BACKENDS or (engine and name != "cpu"):
        raise OptionError(f"--backend {backend!r}: choose from {', '.join(BACKENDS)}")
    if engine:
        check_engine(engine)


def share_threads(backend: str, threads: int, size: tuple[int, int]) -> tuple[int, int]:
    """For a film of (width, height): threads that each frame is painted with, and frames that are painted at once.

    On the CPU small frames are painted side by side: nothing waits within a frame, and a core that other stages of the
    film have taken holds up one frame only. ``threads`` 0 means every core, in the answer, too.
    """
    if backend.partition(":")[0] != "cpu":
        return threads, 1
    workers = threads or cores()
    at_once = max(1, min(workers, TILE_PIXELS // (size[0] * size[1])))
    return workers // at_once, at_once


def open_painter(
    model: Model, backend: str = "cpu", threads: int = 0, tile_pixels: int = TILE_PIXELS, engine: str = AUTO
) -> NetworkPainter:
    """The painter of a model on a backend: cpu, reference, or an accelerator (pleinair.fpga.painter).

    ``engine`` is the library that the CPU paints integer networks with, see :mod:`pleinair.engines.exact`; ``cpu:ENGINE`` as
    ``backend`` says the same.

    Raises OptionError, EngineError; for an accelerator DeploymentError and AcceleratorError, too.
    """
    from pleinair.fpga.painter import is_accelerator, open_accelerator_painter

    if is_accelerator(backend):
        return open_accelerator_painter(model, backend, threads)
    check_backend(backend)
    if backend.startswith("cpu:"):
        backend, engine = "cpu", backend.removeprefix("cpu:")
    network, share = model.network, 1.0
    run: Runner | WindowRunner
    if backend == "reference":
        if isinstance(network, IntegerNetwork):
            run, name = partial(reference.run, network), "reference"
        else:
            run, name = partial(float_network.run, network), f"reference (float64, {_INEXACT})"
        share = _REFERENCE_SHARE
    elif isinstance(network, IntegerNetwork):
        exact = exact_runner(network, threads, engine)
        run, name = exact, exact.name
    elif engine not in (AUTO, DEFAULT_ENGINE):
        raise OptionError(f"--engine {engine}: the float network is painted by {DEFAULT_ENGINE}")
    else:
        run = OnnxRunner(network, threads)
        name, share = f"{version()} (float32, {_INEXACT})", _FLOAT_SHARE
    return NetworkPainter(name, network, model.margin, run, int(tile_pixels / share), model.grain)
