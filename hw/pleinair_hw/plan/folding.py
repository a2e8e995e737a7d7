"""Folding: how many lanes every stage gets, so that the accelerator reaches a rate with the fewest DSPs and LUTs.

Every stage of the pipeline takes some clock cycles for a frame; the slowest sets the rate. For a target in cycles each
stage gets the least parallelism that meets it: SIMD (inputs) and PE (outputs) of the matrix products, lanes of all
others. Width converters stand where lanes differ, FIFOs where one stage would stop another. What nodes cost is their
own knowledge (``pleinair_hw.plan.nodes``). Runs anywhere: no FINN, no Vivado.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from pleinair.errors import OptionError
from pleinair_hw.plan.boards import Board
from pleinair_hw.plan.dataflow import AddClamp, Dataflow, Fork, MatrixProduct, Operator, SpaceToDepth, Window
from pleinair_hw.plan.nodes import (
    MVAU,
    Buffer,
    ConvolutionInputGenerator,
    FMPadding,
    Node,
    WindowCentre,
    conversion,
    divisors,
    node_of,
)
from pleinair_hw.plan.plan import MEMORY_STYLES, PLAIN, BuildOptions, Folding, Memory, Stage, fifo_stage, share_of

_URAM_BITS = 72
#: Bits from which a buffer is worth an UltraRAM of 288 Kib.
_LARGE_BUFFER = 1 << 15
#: Frames of fewer rows get FIFOs before padding; at this height borders cost about one per cent without.
_LOW_FRAME = 320


@lru_cache(maxsize=1 << 14)
def _cheapest_product(
    unit: MVAU, have: int, wanted: int, target: int, board: Board, dsp_price: float
) -> tuple[int, int]:
    """SIMD and PE of a matrix product that meets ``target`` at the least cost.

    Its width converters are included, and its weights: block RAM holds them best in 512 or 1024 words.

    ``have`` lanes come in (0: any), ``wanted`` go out. Where nothing meets the target, the fastest.
    """
    best: tuple[tuple[float, ...], int, int] | None = None
    for simd in divisors(unit.rows):
        if simd == unit.rows and unit.rows > 1:
            continue  # one fold: the MVU's output queue is sized for two or more
        if simd == 1 and unit.pumped:
            continue  # nothing to halve
        before = conversion(unit.pixels * unit.rows, have or simd, simd, unit.activation_bits, target)
        for pe in divisors(unit.outputs):
            after = conversion(unit.pixels * unit.outputs, pe, wanted, unit.sum_bits, target)
            cycles = max([unit.cycles(simd, pe), *(c.cycles for c in (*before, *after))])
            if cycles > target:
                key: tuple[float, ...] = (1, cycles)
            else:
                total = sum((c.logic for c in (*before, *after)), unit.logic(simd, pe))
                weights = unit.weights(simd, pe, writeable=False)
                stored = min(share_of(weights.cost(style), board, dsp_price) for style in ("distributed", "block"))
                key = (0, share_of(total, board, dsp_price) + stored)
            if best is None or key < best[0]:
                best = (key, simd, pe)
    assert best is not None
    return best[1], best[2]


class _Folder:
    """Chooses parallelism for one dataflow, board and target. ``folding`` holds what somebody has chosen already."""

    def __init__(
        self,
        dataflow: Dataflow,
        board: Board,
        target: int,
        *,
        options: BuildOptions,
        dsp_price: float,
        folding: Folding,
    ) -> None:
        self.dataflow, self.board, self.target = dataflow, board, target
        self.options, self.dsp_price, self.folding = options, dsp_price, folding
        self.stages: list[Stage] = []
        self.out_lanes: dict[str, int] = {}

    def add(self, o: Operator) -> None:
        """Add an operator's stages, width converters before them."""
        if isinstance(o, Window):
            self.window(o)
        elif isinstance(o, MatrixProduct):
            self.product(o)
        else:
            node = node_of(self.dataflow, o)
            lanes = self.lanes(node)
            if node.follows:
                lanes = self.out_lanes[o.inputs[0]]
            if isinstance(node, WindowCentre) and lanes > node.channels:
                node, lanes = replace(node, whole=True), node.channels
            for number in range(len(o.inputs)):
                self.convert(o, number, node.reads(lanes), self.dataflow.input_of(o, number).bits, node.name)
            self.node(node, lanes)
            self.out_lanes[o.name] = node.gives(lanes)

    def node(self, node: Node, lanes: int) -> None:
        """The stage of a node with that many lanes."""
        simd, pe = (lanes, 0) if node.attribute == "SIMD" else (0, lanes)
        buffer = node.buffer(lanes)
        self.stages.append(
            Stage(
                name=node.name,
                kind=node.kind,
                operator=node.operator.name,
                simd=simd,
                pe=pe,
                cycles=node.cycles(lanes),
                logic=node.logic(lanes),
                memory=None if buffer is None else self.memory(buffer),
                parallel_window=(isinstance(node, ConvolutionInputGenerator) and node.parallel)
                or (isinstance(node, WindowCentre) and node.whole),
                out_width=node.gives(lanes) * node.output.bits,
            )
        )

    def memory(self, buffer: Buffer, *, ultra: bool = True) -> Memory:
        """Options of a buffer; UltraRAM only where the board has it and contents need no initialisation."""
        styles = [s for s in MEMORY_STYLES if s != "ultra" or (ultra and self.board.uram)]
        costs = {s: buffer.cost(self.options.priced_as(s)) for s in styles}
        return Memory(buffer.words, buffer.bits, costs, "block")

    def convert(self, o: Operator, number: int, lanes: int, bits: int, consumer: str) -> None:
        """A width converter before the stage ``consumer`` where lanes differ from its source's."""
        # The pixels come as the first stage wants them.
        have = self.out_lanes.get(o.inputs[number], lanes)
        elements = self.dataflow.input_of(o, number).elements
        self.width(f"{consumer}.width{number or ''}", o, have, lanes, bits, elements)

    def width(self, name: str, o: Operator, have: int, lanes: int, bits: int, elements: int) -> None:
        """The width converters ``name``, none where lanes do not differ."""
        for converter in conversion(elements, have, lanes, bits, self.target):
            self.stages.append(
                Stage(
                    name=name if converter.out == lanes else f"{name}.up",
                    kind=converter.kind,
                    operator=o.name,
                    simd=converter.into,
                    pe=converter.out,
                    cycles=converter.cycles,
                    logic=converter.logic,
                    out_width=converter.out * bits,
                )
            )

    def lanes(self, node: Node) -> int:
        """The fewest lanes with which a node meets the target, more before a large buffer, or somebody's choice."""
        lanes = self.wide(self.fewest(node), node.channels, node.output.bits, node.buffered_rows * node.output.width)
        return self.chosen(node, lanes)

    def fewest(self, node: Node) -> int:
        """The fewest lanes with which a node meets the target, or the most that it can have."""
        options = divisors(node.channels)
        return next((lanes for lanes in options if node.cycles(lanes) <= self.target), options[-1])

    def wide(self, lanes: int, channels: int, bits: int, pixels: int) -> int:
        """More lanes for a large buffer where there is UltraRAM, whose words always have 72 bits."""
        if not self.board.uram or pixels * channels * bits < _LARGE_BUFFER:
            return lanes
        return max([lanes, *(d for d in divisors(channels) if d * bits <= _URAM_BITS)])

    def chosen(self, node: Node, planned: int) -> int:
        """Somebody's choice of a node's lanes, or the planned ones."""
        return self.attribute(node.name, node.attribute, planned, node.channels)

    def attribute(self, stage: str, attribute: str, planned: int, of: int) -> int:
        """Somebody's choice of an attribute, which must divide ``of``, or the planned one."""
        value = self.folding.get(stage, {}).get(attribute, planned)
        if not isinstance(value, int) or value < 1 or of % value:
            raise OptionError(f"is refused: {attribute} {value} of {stage} does not divide {of}", option="folding")
        return value

    def window(self, o: Window) -> None:
        """Padding, where there is any, and the sliding window."""
        s, bits = o.padded, o.source.bits
        have = self.out_lanes.get(o.inputs[0], 0)
        if any(o.pad):
            padding = FMPadding(o, o.source)
            have = self.chosen(padding, self.fewest(padding))
            self.convert(o, 0, have, bits, padding.name)
            self.node(padding, have)
        node = ConvolutionInputGenerator(o, s)
        simd = self.fewest(node)
        parallel = node.cycles(simd) > self.target
        simd = s.channels if parallel else self.wide(simd, s.channels, bits, o.kernel[0] * s.width)
        simd = self.chosen(node, simd)
        if self.folding.get(o.name, {}).get("parallel_window", parallel):
            if simd != s.channels:
                raise OptionError(
                    f"is refused: a parallel window needs SIMD {s.channels} of {o.name}, which has {simd}",
                    option="folding",
                )
            node = node.in_parallel()
        self.width(f"{o.name}.width", o, have or simd, simd, bits, s.elements)
        self.node(node, simd)
        self.out_lanes[o.name] = node.gives(simd)

    def product(self, o: MatrixProduct) -> None:
        """A matrix product."""
        rows, outputs = o.weight.shape
        unit = MVAU(
            rows=rows,
            outputs=outputs,
            pixels=o.output.pixels,
            weight_bits=o.weight_bits,
            activation_bits=o.activation_bits,
            sum_bits=o.output.bits,
            dsp_block=self.board.dsp_block,
            pumped=self.options.pumped,
        )
        have = self.out_lanes.get(o.inputs[0], 0)
        consumer = node_of(self.dataflow, self.dataflow.consumers(o.name)[0])
        wanted = consumer.reads(self.lanes(consumer))
        simd, pe = _cheapest_product(unit, have, wanted, self.target, self.board, self.dsp_price)
        simd = self.attribute(o.name, "SIMD", simd, rows)
        pe = self.attribute(o.name, "PE", pe, outputs)
        self.convert(o, 0, simd, o.activation_bits, o.name)
        logic, writeable = unit.logic(simd, pe), self.options.writeable
        self.stages.append(
            Stage(
                name=o.name,
                kind=unit.kind,
                operator=o.name,
                simd=simd,
                pe=pe,
                cycles=unit.cycles(simd, pe),
                logic=logic,
                memory=self.memory(unit.weights(simd, pe, writeable), ultra=writeable),
                macs=o.macs,
                lanes=unit.lanes(logic.dsp, simd),
                out_width=pe * o.output.bits,
            )
        )
        self.out_lanes[o.name] = pe


def _skip_words(dataflow: Dataflow, add: AddClamp, lanes: int) -> int:
    """Words that wait on the way past a residual block's body.

    A window can give its first output once it has seen ``reach`` rows and pixels ahead, so every convolution of the
    body behind the fork holds back that many pixels; some more stand in its pipeline.
    """
    pixels, at = 4, dataflow.operator(add.inputs[1])
    while not isinstance(at, Fork):
        if isinstance(at, Window):
            reach = at.kernel[0] // 2
            pixels += reach * (at.source.width + 1) + 4
        at = dataflow.operator(at.inputs[0])
    return pixels * (add.output.channels // lanes) + 64


def _before_products(dataflow: Dataflow, order: Sequence[Stage]) -> dict[str, int]:
    """Words for the streams into matrix products that are fed more slowly than they read.

    A product reads a window's words once and replays them for its other outputs, taking nothing in meanwhile. A FIFO
    that holds the next window keeps it from waiting for that one's words; without, a stage can take a third longer than
    planned.
    """
    found = {}
    for before, stage in zip(order, order[1:], strict=False):
        if stage.kind == "MVAU" and before.kind == "StreamingDataWidthConverter":
            rows, outputs = _product(dataflow, stage).weight.shape
            if outputs > stage.pe:
                found[before.name] = rows // stage.simd + 2
    return found


def _before_borders(dataflow: Dataflow, order: Sequence[Stage]) -> dict[str, int]:
    """Words for the streams into padding, a row or two, where frames are so low that borders count.

    Padding takes nothing in while it gives rows of zeros, and everything before it stands still.
    """
    if dataflow.source.height >= _LOW_FRAME:
        return {}
    found = {}
    for before, stage in zip(order, order[1:], strict=False):
        if stage.kind == "FMPadding":
            o = dataflow.operator(stage.operator)
            assert isinstance(o, Window)
            row = o.source.width * o.source.channels * o.source.bits // before.out_width
            found[before.name] = min(o.kernel[0] // 2, 2) * row + 16
    return found


def _behind_blocks(dataflow: Dataflow, order: Sequence[Stage], target: int) -> dict[str, int]:
    """Words behind space to depth, which gives nothing while the upper rows of its blocks come in.

    What is behind it reads as many in that time, if it is as slow as ``target`` allows.
    """
    found = {}
    for stage in order:
        o = dataflow.operator(stage.operator)
        if isinstance(o, SpaceToDepth):
            source = dataflow.input_of(o)
            words = source.elements // stage.pe
            silent = words // o.block * (o.block - 1)  # cycles a frame in which it only takes
            found[stage.name] = -(-silent * words // (o.output.height * max(target, stage.cycles))) + 16
    return found


def _product(dataflow: Dataflow, stage: Stage) -> MatrixProduct:
    o = dataflow.operator(stage.operator)
    assert isinstance(o, MatrixProduct)
    return o


def _fifos(folder: _Folder) -> None:
    """FIFOs by rule: one for each residual block on the fork's second stream, and those that keep stages busy."""
    dataflow, order = folder.dataflow, tuple(folder.stages)
    makers = {s.name: s for s in order}
    depths = _before_products(dataflow, order) | _before_borders(dataflow, order)
    depths |= _behind_blocks(dataflow, order, folder.target)
    for o in dataflow.operators:
        if isinstance(o, AddClamp):
            past = dataflow.operator(o.inputs[0])
            depths[past.name + ".skip" * isinstance(past, Fork)] = _skip_words(dataflow, o, makers[past.name].pe)
    for stream, words in depths.items():
        maker = makers[stream.removesuffix(".skip")]
        folder.stages.append(fifo_stage(f"{stream}.fifo", maker, words, folder.board, folder.options))


def fold(
    dataflow: Dataflow,
    board: Board,
    target: int,
    *,
    options: BuildOptions = PLAIN,
    dsp_price: float = 1.0,
    folding: Folding | None = None,
) -> list[Stage]:
    """The stages of a dataflow, each as slow as ``target`` cycles a frame allow; memories have no place yet.

    ``dsp_price`` is that of DSPs against all else. ``folding`` is kept where it names a stage. Raises OptionError when
    its numbers do not divide what they must.
    """
    folder = _Folder(dataflow, board, target, options=options, dsp_price=dsp_price, folding=folding or {})
    for o in dataflow.operators:
        folder.add(o)
    _fifos(folder)
    return folder.stages
