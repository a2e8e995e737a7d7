"""From a plan to its report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from pleinair.network.trimming import grids
from pleinair_hw.plan.dataflow import PIXELS, AddClamp, Fork, Tensor, TrimBorder, Window, WindowCentre
from pleinair_hw.plan.plan import BUDGET, Plan, Stage
from pleinair_hw.plan.resources import Resources
from pleinair_hw.report.data import (
    ESTIMATES,
    Asked,
    BoardFacts,
    ConvolutionFigures,
    Counts,
    Filling,
    Fullest,
    Measured,
    MemoryFigures,
    Rate,
    Report,
    StageFigures,
    Work,
)


def describe(
    plan: Plan,
    *,
    title: str,
    bits: int,
    size: tuple[int, int],
    margin: int,
    network_sha256: str,
    target_fps: float | None = None,
    finn: Mapping[str, Mapping[str, float]] | None = None,
    measured: Measured | None = None,
) -> Report:
    """The report of a plan; the same plan always gives the same.

    Args:
        plan: the accelerator.
        title: of the style.
        bits: of the network's weights and activations.
        size: the frame that the user sees, (width, height) in pixels; ``margin`` pixels around it.
        margin: see ``size``.
        network_sha256: of the network's file.
        target_fps: frames per second that were asked for; None for as fast as can be.
        finn: FINN's own estimates by stage (dots or underscores), any of those in :data:`ESTIMATES`.
        measured: what simulation gave.
    """
    source, board = plan.dataflow.source, plan.board
    return Report(
        title=title,
        asked=Asked(
            bits=bits,
            size=size,
            margin=margin,
            input=(source.width, source.height),
            fps=target_fps,
            writeable_weights=plan.options.writeable,
            pumped=plan.options.pumped,
            network_sha256=network_sha256,
        ),
        board=BoardFacts(name=board.name, title=board.title, part=board.part, dsp_block=board.dsp_block),
        clock_mhz=plan.clock_hz / 1e6,
        rate=_rate(plan),
        work=Work(
            macs_executed=plan.dataflow.macs,
            macs_network=_written(plan),
            lanes=plan.lanes,
            lanes_busy=plan.lanes_busy,
            ideal_cycles=math.ceil(plan.dataflow.macs / plan.lanes),
        ),
        resources=_fillings(plan),
        shell=_counts(_shell(plan)),
        convolutions=tuple(_convolutions(plan)),
        stages=tuple(_stages(plan, finn or {})),
        measured=measured,
    )


def _counts(resources: Resources) -> Counts:
    """By the board's kinds; ``lut`` includes LUTs as memory."""
    return {
        "dsp": resources.dsp,
        "lut": resources.total_lut,
        "lutram": resources.lutram,
        "ff": resources.ff,
        "bram": resources.bram18,
        "uram": resources.uram,
    }


def _finite(share: float) -> float | None:
    return share if math.isfinite(share) else None


def _rate(plan: Plan) -> Rate:
    fullest = max(plan.shares, key=lambda kind: plan.shares[kind] / BUDGET[kind])
    return Rate(
        fps=plan.fps,
        interval=plan.cycles,
        binding_stages=tuple(s.name for s in plan.stages if s.cycles == plan.cycles),
        fullest=Fullest(resource=fullest, share=_finite(plan.shares[fullest]), budget=BUDGET[fullest]),
    )


def _fillings(plan: Plan) -> dict[str, Filling]:
    board = plan.board
    available = {"dsp": board.dsp, "lut": board.lut, "lutram": board.lutram, "ff": board.ff}
    available |= {"bram": board.bram18, "uram": board.uram}
    return {
        kind: Filling(used=used, available=available[kind], share=_finite(plan.shares[kind]), budget=BUDGET[kind])
        for kind, used in _counts(plan.total).items()
    }


def _written(plan: Plan) -> int:
    """Multiply-accumulates a frame of the network as it is written."""
    network, source = plan.dataflow.network, plan.dataflow.source
    places = zip(network.convolutions(), grids(network, trimmed=plan.options.trimmed), strict=True)
    return sum(
        c.weight.size * (source.height // grid.scale - 2 * grid.inset) * (source.width // grid.scale - 2 * grid.inset)
        for c, grid in places
    )


def _shell(plan: Plan) -> Resources:
    """What the plan takes beside its stages."""
    total, staged = plan.total, sum((s.total for s in plan.stages), Resources())
    return Resources(*(getattr(total, f.name) - getattr(staged, f.name) for f in fields(Resources)))


def _convolutions(plan: Plan) -> Iterable[ConvolutionFigures]:
    for c in plan.dataflow.network.convolutions():
        own = [s for s in plan.stages if s.layer == c.name]
        product = next(s for s in own if s.kind == "MVAU")
        slowest = max(own, key=lambda s: s.cycles)
        yield ConvolutionFigures(
            name=c.name,
            form=plan.forms.get(c.name, "direct"),
            kernel=c.kernel,
            stride=c.stride,
            inputs=c.inputs,
            outputs=c.outputs,
            weight_bits=c.weight_bits,
            macs=product.macs,
            simd=product.simd,
            pe=product.pe,
            lanes=product.lanes,
            lanes_busy=product.macs / (product.lanes * plan.cycles),
            cycles=slowest.cycles,
            slowest=slowest.name,
            resources=_counts(sum((s.total for s in own), Resources())),
        )


# -- stages


def _reads(plan: Plan) -> dict[str, list[str]]:
    """The stages that each stage reads, in order of its inputs; none for the pixels from outside."""
    names = {s.name for s in plan.stages}
    reads: dict[str, list[str]] = {}

    def connect(consumer: str, source: str | None, number: int = 0, skip: bool = False) -> None:
        """Source, its FIFO, the consumer's width converters, up and down, each with its FIFO, consumer."""
        converter = f"{consumer}.width{number or ''}"
        stream = f"{source}.skip" if skip else source
        between = (f"{name}{end}" for name in (f"{converter}.up", converter) for end in ("", ".fifo"))
        for name in (f"{stream}.fifo", *between, consumer):
            if name in names:
                reads.setdefault(name, []).extend([] if source is None else [source])
                source = name

    for o in plan.dataflow.operators:
        for number, name in enumerate(o.inputs):
            source = name if name in names else None
            if f"{o.name}.pad" in names:
                connect(f"{o.name}.pad", source)
                source = f"{o.name}.pad"
            forks = name != PIXELS and isinstance(plan.dataflow.operator(name), Fork)
            connect(o.name, source, number, forks and isinstance(o, AddClamp | WindowCentre | TrimBorder))
    for stage in plan.stages:  # a FIFO behind the last stage
        if stage.name not in reads:
            reads[stage.name] = [stage.name.removesuffix(".fifo")] if stage.kind == "StreamingFIFO" else []
    return reads


def _frame(plan: Plan, stage: Stage, reads: Mapping[str, Sequence[str]]) -> Tensor:
    """What a stage gives for a frame."""
    if stage.kind == "StreamingFIFO":
        return _frame(plan, plan.stage(reads[stage.name][0]), reads)
    o = plan.dataflow.operator(stage.operator)
    if stage.kind == "StreamingDataWidthConverter":
        name = stage.name.removesuffix(".up")
        number = name.rsplit(".width", 1)[1]
        if isinstance(o, Window) and name == f"{o.name}.width":
            return o.padded  # the source's, where nothing is padded
        return plan.dataflow.input_of(o, int(number or 0))
    return o.padded if stage.kind == "FMPadding" and isinstance(o, Window) else o.output


def _memory(stage: Stage) -> MemoryFigures | None:
    m = stage.memory
    return None if m is None else MemoryFigures(m.words, m.bits, m.style, _counts(m.chosen))


def _finn(estimates: Mapping[str, Mapping[str, float]], stage: Stage) -> dict[str, float] | None:
    found = estimates.get(stage.name) or estimates.get(stage.name.replace(".", "_"))
    return None if found is None else {key: found[key] for key in ESTIMATES if key in found}


def _stages(plan: Plan, finn: Mapping[str, Mapping[str, float]]) -> Iterable[StageFigures]:
    reads = _reads(plan)
    for s in plan.stages:
        frame = _frame(plan, s, reads)
        yield StageFigures(
            name=s.name,
            kind=s.kind,
            layer=s.layer,
            reads=tuple(reads[s.name]),
            simd=s.simd,
            pe=s.pe,
            shape=(frame.height, frame.width, frame.channels),
            stream_bits=s.out_width,
            cycles=s.cycles,
            busy=s.cycles / plan.cycles,
            macs=s.macs,
            lanes=s.lanes,
            depth=s.depth,
            parallel_window=s.parallel_window,
            resources=_counts(s.total),
            memory=_memory(s),
            finn=_finn(finn, s),
        )
