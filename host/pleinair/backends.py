"""Backends: what paints, named by a short text, and the painter of a model on one.

==============================  ======================================================================================
``cpu``                         the processor, with the engine that `pleinair bench` found fastest here
``cpu:ENGINE``                  the processor with one engine: onnxruntime, openvino, litert
``reference``                   NumPy, slowly: what all others are compared with
``fpga:OVERLAY``                an accelerator on a board; for OVERLAY see :mod:`pleinair.fpga.overlay`
``fpga+FALLBACK:OVERLAY``       the same, and ``cpu`` or ``reference`` paints while the accelerator does not
==============================  ======================================================================================

These texts stand in rolls on people's disks: they may become more, but never mean something else.

All backends paint the same pixels of an integer network. The float network (32 bits) is there for comparison: nothing
checks it, and its painters may differ from each other, and from machine to machine, by a grey level. Their names say
so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from pleinair.emulator.fabric import Simulator
from pleinair.engines.exact import AUTO, DEFAULT_ENGINE, check_engine, exact_runner
from pleinair.engines.meter import exact_meter
from pleinair.errors import OptionError
from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
from pleinair.fpga.deployment import read_deployment
from pleinair.fpga.driver import Accelerator, import_pynq
from pleinair.fpga.overlay import Overlay, check_model
from pleinair.fpga.painter import AcceleratorPainter
from pleinair.models import Model
from pleinair.network import floating as float_network
from pleinair.network import reference
from pleinair.network.floating import FloatNetwork
from pleinair.network.integer import IntegerNetwork
from pleinair.painting import meter
from pleinair.painting.adaptive import AdaptivePainter
from pleinair.painting.painter import TILE_PIXELS, NetworkPainter
from pleinair.painting.tiles import Runner
from pleinair.painting.whole import WholePainter

CPU, REFERENCE, FPGA = "cpu", "reference", "fpga"
KINDS = (CPU, REFERENCE, FPGA)
FALLBACKS = (CPU, REFERENCE)
#: Tile-area divisors that keep the float network and the reference under the memory that TILE_PIXELS stands for.
_FLOAT_SHARE, _REFERENCE_SHARE = 1.6, 8
#: Bytes a pixel that painting whole in floats takes, with room to spare, in ONNX Runtime and in NumPy.
_WHOLE_BYTES, _WHOLE_REFERENCE_BYTES = 120, 800
_INEXACT = "not exact across machines"


@dataclass(frozen=True)
class Backend:
    """What paints.

    ``kind`` is "cpu", "reference" or "fpga". ``engine`` is the library that the processor computes with. ``overlay``
    is what an FPGA is loaded with, and ``fallback`` ("cpu", "reference" or None) what paints while it does not.
    """

    kind: str = CPU
    engine: str = AUTO
    overlay: Overlay | None = None
    fallback: str | None = None

    def __post_init__(self) -> None:
        """Raises OptionError for a combination that cannot paint."""
        if self.kind not in KINDS:
            raise OptionError(f"{self.kind!r}: choose from {', '.join(KINDS)}", option="backend")
        check_engine(self.engine)
        if self.engine != AUTO and self.kind != CPU:
            raise OptionError(f"{self.engine}: needs the backend {CPU}, not {self.kind}", option="engine")
        if self.fallback is not None and self.fallback not in FALLBACKS:
            raise OptionError(f"{self.fallback!r}: choose from {', '.join(FALLBACKS)}", option="fallback")
        if self.kind == FPGA and self.overlay is None:
            raise OptionError(f"{FPGA}: needs an overlay, the folder that `pleinair build` leaves", option="backend")
        if self.kind != FPGA:
            for name, value in (("overlay", self.overlay), ("fallback", self.fallback)):
                if value is not None:
                    raise OptionError(f"{value}: needs the backend {FPGA}, not {self.kind}", option=name)

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read one of the texts at the top of this file. Raises OptionError."""
        head, colon, rest = text.partition(":")
        kind, plus, fallback = head.partition("+")
        if kind == FPGA and colon:
            return cls(FPGA, overlay=Overlay.parse(rest), fallback=fallback if plus else None)
        if kind == CPU and colon and not plus:
            return cls(CPU, engine=rest)
        if text not in KINDS:
            raise OptionError(f"{text!r}: choose from {', '.join(KINDS)}", option="backend")
        return cls(text)

    def __str__(self) -> str:
        """The text that :meth:`parse` reads as this backend."""
        if self.overlay is not None:
            return f"{FPGA}+{self.fallback}:{self.overlay}" if self.fallback else f"{FPGA}:{self.overlay}"
        return self.kind if self.engine == AUTO else f"{self.kind}:{self.engine}"

    def absolute(self) -> Backend:
        """The same backend from any working folder."""
        return self if self.overlay is None else replace(self, overlay=self.overlay.absolute())


def open_painter(
    model: Model,
    backend: Backend | str = CPU,
    threads: int = 0,
    *,
    tile_pixels: int = TILE_PIXELS,
    simulator: Simulator | None = None,
) -> NetworkPainter:
    """The painter of a model on a backend.

    ``threads`` 0 means every core; ``tile_pixels`` bounds the memory of a large frame; ``simulator`` runs the hardware
    of a ``simulated:BUILD`` overlay (see :func:`pleinair.emulator.board.open_board`).

    Raises OptionError, EngineError; for an FPGA also DeploymentError and AcceleratorError.
    """
    if isinstance(backend, str):
        backend = Backend.parse(backend)
    if backend.kind == FPGA:
        return _open_accelerator_painter(model, backend, threads, simulator)
    if backend.kind == REFERENCE:
        return _open_reference(model, tile_pixels)
    if isinstance(model.network, IntegerNetwork):
        return _open_exact(model, backend.engine, threads, tile_pixels)
    return _open_float(model, backend.engine, threads, tile_pixels)


def _open_reference(model: Model, tile_pixels: int) -> NetworkPainter:
    network = model.network
    if isinstance(network, IntegerNetwork) and network.adaptive:
        return AdaptivePainter(
            f"{REFERENCE}, each frame in its own light",
            network,
            model.margin,
            partial(reference.run, network),
            tile_pixels // _REFERENCE_SHARE,
            model.grain,
            meter_with=lambda *_: meter.PlainMetering(network),
        )
    run: Runner
    if isinstance(network, IntegerNetwork):
        run, name = partial(reference.run, network), REFERENCE
    else:
        run, name = partial(float_network.run, network), f"{REFERENCE} (float64, {_INEXACT})"
        if network.adaptive:
            frames = partial(float_network.run, network)
            return WholePainter(
                name, network, model.margin, frames, model.grain, bytes_per_pixel=_WHOLE_REFERENCE_BYTES
            )
    return NetworkPainter(name, network, model.margin, run, tile_pixels // _REFERENCE_SHARE, model.grain)


def _open_exact(model: Model, engine: str, threads: int, tile_pixels: int) -> NetworkPainter:
    assert isinstance(model.network, IntegerNetwork)
    run = exact_runner(model.network, threads, engine)
    if model.network.adaptive:
        return AdaptivePainter(
            f"{run.name}, each frame in its own light",
            model.network,
            model.margin,
            run,
            tile_pixels,
            model.grain,
            threads=threads,
            meter_with=partial(exact_meter, model.network),
            run_with=run.with_threads,
        )
    return NetworkPainter(
        run.name,
        model.network,
        model.margin,
        run,
        tile_pixels,
        model.grain,
        threads=threads,
        run_with=run.with_threads,
    )


def _open_float(model: Model, engine: str, threads: int, tile_pixels: int) -> NetworkPainter:
    from pleinair.engines.onnxruntime import FloatFrameRunner, OnnxRunner, version

    network = model.network
    assert isinstance(network, FloatNetwork)
    if engine not in (AUTO, DEFAULT_ENGINE):
        raise OptionError(f"{engine}: the float network is painted by {DEFAULT_ENGINE}", option="engine")
    name = f"{version()} (float32, {_INEXACT})"
    if network.adaptive:
        return WholePainter(
            name,
            network,
            model.margin,
            FloatFrameRunner(network, threads),
            model.grain,
            bytes_per_pixel=_WHOLE_BYTES,
            threads=threads,
            run_with=partial(FloatFrameRunner, network),
        )
    return NetworkPainter(
        name,
        network,
        model.margin,
        OnnxRunner(network, threads),
        int(tile_pixels / _FLOAT_SHARE),
        model.grain,
        threads=threads,
        run_with=partial(OnnxRunner, network),
    )


def open_accelerator(overlay: Overlay, simulator: Simulator | None = None) -> Accelerator:
    """The accelerator of an overlay, not loaded yet. Raises DeploymentError, EngineError, OptionError."""
    if not overlay.kind:
        return Accelerator(read_deployment(overlay.folder), load=False)
    import_pynq()
    from pleinair.emulator.board import open_board

    return open_board(overlay, simulator)


def _open_accelerator_painter(
    model: Model, backend: Backend, threads: int, simulator: Simulator | None
) -> AcceleratorPainter:
    assert backend.overlay is not None
    accelerator = open_accelerator(backend.overlay, simulator)
    try:
        check_model(accelerator.deployment, model)
        fallback = None if backend.fallback is None else open_painter(model, backend.fallback, threads)
        if model.adaptive and isinstance(model.network, IntegerNetwork):
            assert fallback is None or isinstance(fallback, AdaptivePainter)
            return AdaptiveAcceleratorPainter(model, accelerator, fallback, threads)
        return AcceleratorPainter(model, accelerator, fallback)
    except BaseException:
        accelerator.close()
        raise
