"""Folding: how parallel every stage is made, so that the accelerator reaches a rate with the fewest DSPs and LUTs.

Every stage of the pipeline takes some clock cycles for a frame; the slowest sets the rate. For a target in cycles each
stage gets the least parallelism that meets it: SIMD (inputs) and PE (outputs) of the matrix products, lanes of all
others. Every convolution takes the form (``pleinair_hw.plan.dataflow``) that costs the smallest share of the board, and then
every memory (line buffers, weights, skip and row buffers) goes to LUT RAM, block RAM or UltraRAM so that the fullest of
them is as empty as can be. Runs anywhere: no FINN, no Vivado.

Sources: cycles of FINN's stages are its own ``get_exp_cycles`` (finn-plus 1.6.1), resources are ``pleinair_hw.plan.resources``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from pleinair.errors import OptionError, PleinairError
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, Upsample
from pleinair_hw.plan import resources
from pleinair_hw.plan.boards import Board
from pleinair_hw.plan.dataflow import (
    AddClamp,
    Dataflow,
    Fork,
    Form,
    MatrixProduct,
    Operator,
    PixelShuffle,
    Requantise,
    TapSum,
    UpsampleNearest,
    Window,
    build_dataflow,
    possible_forms,
    rounding_offset,
    signed_bits,
)
from pleinair_hw.plan.resources import Resources


class DoesNotFitError(PleinairError):
    """A network at that size and rate is more than the board holds; the message says what binds and what fits."""


#: Shares of a board that a plan may fill. Routing fails long before all LUTs are used; our LUT figures are from
#: open synthesis, which packs worse than Vivado.
BUDGET = {"dsp": 1.0, "lut": 0.80, "lutram": 0.80, "ff": 0.80, "bram": 0.95, "uram": 0.95}
_STYLES = ("distributed", "block", "ultra")
_URAM_BITS = 72
#: Bits from which a buffer is worth an UltraRAM of 288 Kib.
_LARGE_BUFFER = 1 << 15
#: Frames of fewer rows get FIFOs before padding; at this height borders cost about one per cent without.
_LOW_FRAME = 320
#: Targets around the fastest that are tried too, and the share of its rate that they must keep.
_NEARLY = (1.003, 1.007, 1.011, 1.015)
_WORTH = 0.985
_HASTE = (0.9, 0.8, 0.65, 0.5)
_DSP_PRICES = (1.0, 4.0, 0.25)


@dataclass(frozen=True)
class Ways:
    """Ways to make an accelerator that are not folding.

    ``writeable``: weights that the processor can change at run time. ``pumped``: matrix products at twice the clock,
    with half the DSPs for the same rate.
    """

    writeable: bool = False
    pumped: bool = False


PLAIN = Ways()


@dataclass(frozen=True)
class Memory:
    """A buffer that may live in LUT RAM, block RAM or UltraRAM: ``words`` x ``bits``; ``cost`` by style."""

    words: int
    bits: int
    cost: Mapping[str, Resources]
    style: str = ""

    @property
    def chosen(self) -> Resources:
        """What it takes where it lives."""
        return self.cost[self.style]


@dataclass(frozen=True)
class Stage:
    """One hardware node: its kind, lanes in and out, cycles a frame, and what it takes.

    ``kind`` is FINN's operator name. ``simd`` and ``pe`` as FINN names them (0 where a node has no such attribute); a
    width converter's are its lanes in and out. ``macs`` and ``lanes`` (multipliers that could be busy) are for matrix
    products, ``depth`` in words for FIFOs. ``out_width``: bits of an output word.
    """

    name: str
    kind: str
    operator: str
    simd: int
    pe: int
    cycles: int
    logic: Resources
    memory: Memory | None = None
    parallel_window: bool = False
    macs: int = 0
    lanes: int = 0
    depth: int = 0
    out_width: int = 0

    @cached_property
    def total(self) -> Resources:
        """Logic and memory."""
        return self.logic if self.memory is None else self.logic + self.memory.chosen


@dataclass(frozen=True)
class Plan:
    """An accelerator on paper: a board, a dataflow and its stages in order."""

    board: Board
    dataflow: Dataflow
    stages: tuple[Stage, ...]
    clock_hz: float
    forms: Mapping[str, Form] = field(default_factory=dict)
    ways: Ways = PLAIN

    @cached_property
    def total(self) -> Resources:
        """All stages and the shell's DMA."""
        return sum((s.total for s in self.stages), _shell(self.dataflow, self.stages))

    @cached_property
    def slowest(self) -> Stage:
        """The stage that sets the rate; a matrix product, if one is among the slowest."""
        return max(self.stages, key=lambda s: (s.cycles, s.kind == "MVAU"))

    @property
    def cycles(self) -> int:
        """Clock cycles between frames."""
        return self.slowest.cycles

    @property
    def fps(self) -> float:
        """Frames per second at the planned clock."""
        return self.clock_hz / self.cycles

    @property
    def lanes(self) -> int:
        """Multiplier lanes of the DSPs in use."""
        return sum(s.lanes for s in self.stages)

    @property
    def lanes_busy(self) -> float:
        """Share of the used DSPs' multiplier lanes that do useful products, over a frame's interval."""
        return self.dataflow.macs / (self.lanes * self.cycles)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the board's resources by kind; infinite where the board has none of it."""
        return self.total.shares(self.board)

    @property
    def over(self) -> dict[str, float]:
        """What is beyond its budget, as share of the board."""
        return {k: v for k, v in self.shares.items() if v > BUDGET[k]}

    @property
    def fullest(self) -> float:
        """The greatest share of a budget that is used."""
        return max(self.shares[k] / BUDGET[k] for k in BUDGET)

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(s for s in self.stages if s.name == name)

    def with_fifos(self, depths: Mapping[str, int]) -> Plan:
        """The same plan with these FIFOs and no others: words by stream, named after the stage that makes it.

        A fork's second stream is its name with ``.skip``. Depths of two and less are the stages' own registers.
        """
        stages = [s for s in self.stages if s.kind != "StreamingFIFO"]
        makers = {s.name: s for s in stages}
        for stream, words in depths.items():
            if words > 2:
                stages.append(_fifo(f"{stream}.fifo", makers[stream.removesuffix(".skip")], words, self.board))
        return replace(self, stages=tuple(place_memories(stages, self.board, _shell(self.dataflow, stages))))

    @property
    def folding(self) -> dict[str, dict[str, int | str]]:
        """SIMD, PE, window and memory style of every stage by name, as :func:`plan_with_folding` takes them."""
        chosen: dict[str, dict[str, int | str]] = {}
        for s in self.stages:
            if s.kind in ("StreamingDataWidthConverter", "StreamingFIFO"):
                continue
            chosen[s.name] = {k: v for k, v in (("SIMD", s.simd), ("PE", s.pe)) if v}
            if s.parallel_window:
                chosen[s.name]["parallel_window"] = 1
            if s.memory is not None:
                chosen[s.name]["ram_style"] = s.memory.style
        return chosen


@lru_cache(maxsize=1024)
def divisors(number: int) -> tuple[int, ...]:
    """Divisors, ascending."""
    return tuple(d for d in range(1, number + 1) if number % d == 0)


def _first(options: Iterable[int], cycles: Callable[[int], int], target: int) -> int:
    """The least parallelism that meets the target, or the greatest there is."""
    chosen = 1
    for option in options:
        chosen = option
        if cycles(option) <= target:
            break
    return chosen


def convert_cycles(elements: int, have: int, lanes: int) -> int:
    """FINN's StreamingDataWidthConverter_rtl (vpc.sv), as measured in simulation; FINN itself expects nothing of it.

    A word of the narrower side a cycle where one width divides the other; else it loses one at every common multiple.
    """
    multiple = math.lcm(have, lanes)
    return elements * (multiple // have + multiple // lanes - 1) // multiple


@dataclass(frozen=True)
class _Converter:
    """One width converter: lanes in and out, cycles a frame, and what it takes."""

    into: int
    out: int
    cycles: int
    logic: Resources


def _conversion(elements: int, have: int, lanes: int, bits: int, target: int) -> list[_Converter]:
    """Converters from ``have`` to ``lanes`` lanes: one, or two by way of the common multiple where one is too slow."""

    def one(into: int, out: int) -> _Converter:
        return _Converter(
            into, out, convert_cycles(elements, into, out), resources.width_converter(into * bits, out * bits)
        )

    if have == lanes:
        return []
    direct, multiple = one(have, lanes), math.lcm(have, lanes)
    if direct.cycles <= target or multiple in (have, lanes):
        return [direct]
    return [one(have, multiple), one(multiple, lanes)]


def window_cycles(o: Window, simd: int, parallel: bool) -> int:
    """FINN's ConvolutionInputGenerator_rtl, get_exp_cycles."""
    s = o.padded
    folds = s.channels // simd
    if parallel:
        return s.pixels * folds + 2
    rows, columns = o.kernel
    buffer = ((rows - 1) * s.width + columns) * folds
    out = o.output
    block = max(out.width * rows * columns * folds, o.stride * s.width * folds)
    return buffer + out.height * block


@lru_cache(maxsize=1 << 14)
def _cheapest_product(
    rows: int, outputs: int, pixels: int, bits: tuple[int, int, int], have: int, wanted: int, target: int,
    board: Board, dsp_price: float, pumped: bool,
) -> tuple[int, int]:  # fmt: skip
    """SIMD and PE of a matrix product that meets ``target`` at the least cost, its width converters included.

    ``bits``: of weights, activations and sums. ``have`` lanes come in (0: any), ``wanted`` go out. Where nothing meets
    the target, the fastest.
    """
    weight_bits, activation_bits, sum_bits = bits
    best: tuple[tuple[float, ...], int, int] | None = None
    for simd in divisors(rows):
        if simd == rows and rows > 1:
            continue  # one fold: the MVU's output queue is sized for two or more
        if simd == 1 and pumped:
            continue  # nothing to halve
        before = _conversion(pixels * rows, have or simd, simd, activation_bits, target)
        for pe in divisors(outputs):
            after = _conversion(pixels * outputs, pe, wanted, sum_bits, target)
            cycles = max([pixels * (rows // simd) * (outputs // pe), *(c.cycles for c in (*before, *after))])
            if cycles > target:
                key: tuple[float, ...] = (1, cycles)
            else:
                unit = resources.mvu(
                    rows, outputs, pe, simd, weight_bits, activation_bits, sum_bits, board.dsp_block, pumped=pumped
                )
                total = sum((c.logic for c in (*before, *after)), unit)
                key = (0, _weight(total, board, dsp_price))
            if best is None or key < best[0]:
                best = (key, simd, pe)
    assert best is not None
    return best[1], best[2]


#: Attributes of stages that somebody has chosen already: SIMD, PE, parallel_window, ram_style by stage name.
Given = Mapping[str, Mapping[str, int | str]]


class _Folder:
    """Chooses parallelism for one dataflow, board and target."""

    def __init__(
        self, dataflow: Dataflow, board: Board, target: int, ways: Ways, dsp_price: float, given: Given
    ) -> None:
        self.dataflow, self.board, self.target = dataflow, board, target
        self.ways, self.dsp_price, self.given = ways, dsp_price, given
        self.stages: list[Stage] = []
        self.out_lanes: dict[str, int] = {}

    def memory(self, words: int, bits: int, cost: Callable[[str], Resources], *, ultra: bool = True) -> Memory:
        """Options of a buffer; UltraRAM only where the board has it and contents need no initialisation."""
        styles = [s for s in _STYLES if s != "ultra" or (ultra and self.board.uram)]
        return Memory(words, bits, {s: cost(s) for s in styles}, "block")

    def convert(self, o: Operator, number: int, lanes: int, bits: int, consumer: str) -> None:
        """A width converter before the stage ``consumer`` where lanes differ from its source's."""
        # The pixels come as the first stage wants them.
        have = self.out_lanes.get(o.inputs[number], lanes)
        self.width(consumer, o, number, have, lanes, bits, self.dataflow.input_of(o, number).elements)

    def width(self, consumer: str, o: Operator, number: int, have: int, lanes: int, bits: int, elements: int) -> None:
        name, kind = f"{consumer}.width{number or ''}", "StreamingDataWidthConverter"
        for way in _conversion(elements, have, lanes, bits, self.target):
            step = name if way.out == lanes else f"{name}.up"
            logic, out = way.logic, way.out * bits
            self.stages.append(Stage(step, kind, o.name, way.into, way.out, way.cycles, logic, out_width=out))

    def lanes(self, o: Operator) -> int:
        """The fewest lanes with which an operator between products meets the target."""
        words = max(self.dataflow.input_of(o).pixels * o.output.channels, o.output.elements)
        if isinstance(o, PixelShuffle):
            words = max(self.dataflow.input_of(o).elements, o.output.elements)
        least = _first(divisors(o.output.channels), lambda v: words // v, self.target)
        if isinstance(o, (Fork, AddClamp, PixelShuffle, UpsampleNearest)):
            # These have a row or more of memory behind them, or feed the one that has.
            rows = 2 if isinstance(o, (Fork, AddClamp)) else 1
            least = self.wide(least, o.output.channels, o.output.bits, rows * o.output.width)
        return self.chosen(o.name, "SIMD" if isinstance(o, UpsampleNearest) else "PE", least, o.output.channels)

    def wide(self, lanes: int, channels: int, bits: int, pixels: int) -> int:
        """More lanes for a large buffer where there is UltraRAM, whose words of 72 bits are not to be had narrower."""
        if not self.board.uram or pixels * channels * bits < _LARGE_BUFFER:
            return lanes
        return max([lanes, *(d for d in divisors(channels) if d * bits <= _URAM_BITS)])

    def chosen(self, stage: str, attribute: str, planned: int, of: int) -> int:
        """Somebody's choice for an attribute, which must divide ``of``, or the planned one."""
        value = self.given.get(stage, {}).get(attribute, planned)
        if not isinstance(value, int) or value < 1 or of % value:
            raise OptionError(f"--folding: {attribute} {value} of {stage} does not divide {of}")
        return value

    def add(self, o: Operator) -> None:
        source = self.dataflow.input_of(o)
        if isinstance(o, Window):
            self.window(o)
            return
        if isinstance(o, MatrixProduct):
            self.product(o)
            return
        out, bits, lanes = o.output, source.bits, self.lanes(o)
        memory, logic, simd = None, Resources(), 0
        cycles = out.elements // lanes
        for number in range(len(o.inputs)):
            taps = o.taps if isinstance(o, TapSum) else 1
            self.convert(o, number, lanes * taps, self.dataflow.input_of(o, number).bits, o.name)
        if isinstance(o, TapSum):
            kind, cycles = "TapSum", source.pixels * (out.channels // lanes)
            logic = resources.tap_sum(lanes, out.channels, o.taps, bits, out.bits)
        elif isinstance(o, PixelShuffle):
            kind, cycles = "PixelShuffle", max(source.elements, out.elements) // lanes
            words = out.width * (out.channels // lanes)
            memory = self.memory(words, lanes * bits, lambda s: resources.pixel_shuffle(words, lanes * bits, s))
        elif isinstance(o, UpsampleNearest):
            kind, simd = "UpsampleNearestNeighbour", lanes
            words = source.width * (out.channels // lanes)
            memory = self.memory(2 * words, lanes * bits, lambda s: resources.upsample(words, lanes * bits, s))
        elif isinstance(o, Requantise):
            kind, least = "RequantShift", int(o.shift.min())
            offset = rounding_offset(o.bias, o.shift)
            bias_bits = signed_bits(int(offset.min()), int(offset.max()))
            spread = int(o.shift.max()) - least + 1
            logic = resources.requant(lanes, out.channels, bits, bias_bits, spread, out.bits, least)
        elif isinstance(o, Fork):
            kind, logic = "DuplicateStreams", resources.fork(lanes * bits, 2)
        else:
            kind, logic = "AddClamp", resources.add(lanes, out.bits)
        pe, width = 0 if simd else lanes, lanes * out.bits
        self.stages.append(Stage(o.name, kind, o.name, simd, pe, cycles, logic, memory, out_width=width))
        self.out_lanes[o.name] = lanes

    def window(self, o: Window) -> None:
        s, bits = o.padded, o.source.bits
        options = divisors(s.channels)
        have = self.out_lanes.get(o.inputs[0], 0)
        if any(o.pad):
            pad = _first(options, lambda v: s.elements // v, self.target)
            pad = self.chosen(f"{o.name}.pad", "SIMD", pad, s.channels)
            self.convert(o, 0, pad, bits, f"{o.name}.pad")
            logic = resources.pad(s.channels, pad, s.height, s.width, bits)
            name, width = f"{o.name}.pad", pad * bits
            self.stages.append(Stage(name, "FMPadding", o.name, pad, 0, s.elements // pad, logic, out_width=width))
            have = pad
        simd = _first(options, lambda v: window_cycles(o, v, False), self.target)
        parallel = window_cycles(o, simd, False) > self.target
        simd = s.channels if parallel else self.wide(simd, s.channels, bits, o.kernel[0] * s.width)
        simd = self.chosen(o.name, "SIMD", simd, s.channels)
        parallel = bool(self.given.get(o.name, {}).get("parallel_window", parallel))
        if parallel and simd != s.channels:
            raise OptionError(f"--folding: a parallel window needs SIMD {s.channels} of {o.name}, which has {simd}")
        self.width(o.name, o, 0, have or simd, simd, bits, s.elements)
        memory = self.memory(
            resources.window_depth(s.channels, simd, o.kernel, o.stride, s.width, parallel),
            simd * bits,
            lambda style: resources.window(
                s.channels, simd, o.kernel, o.stride, s.height, s.width, bits, style, parallel
            ),
        )
        cycles, none = window_cycles(o, simd, parallel), Resources()
        out = simd * (o.kernel[0] * o.kernel[1] if parallel else 1)
        self.stages.append(
            Stage(
                o.name, "ConvolutionInputGenerator", o.name, simd, 0, cycles, none, memory, parallel,
                out_width=out * bits,
            )
        )  # fmt: skip
        self.out_lanes[o.name] = out

    def product(self, o: MatrixProduct) -> None:
        rows, outputs = o.weight.shape
        pixels, board, bits = o.output.pixels, self.board, o.activation_bits
        have = self.out_lanes.get(o.inputs[0], 0)
        consumer = self.dataflow.consumers(o.name)[0]
        wanted = self.lanes(consumer) * (consumer.taps if isinstance(consumer, TapSum) else 1)
        simd, pe = _cheapest_product(
            rows, outputs, pixels, (o.weight_bits, bits, o.output.bits), have, wanted, self.target, board,
            self.dsp_price, self.ways.pumped,
        )  # fmt: skip
        simd = self.chosen(o.name, "SIMD", simd, rows)
        pe = self.chosen(o.name, "PE", pe, outputs)
        self.convert(o, 0, simd, bits, o.name)
        cycles = pixels * (rows // simd) * (outputs // pe)
        pumped = self.ways.pumped and simd > 1
        logic = resources.mvu(
            rows, outputs, pe, simd, o.weight_bits, bits, o.output.bits, board.dsp_block, pumped=pumped
        )
        depth = rows * outputs // (simd * pe)
        width = simd * pe * o.weight_bits
        memory = self.memory(
            depth,
            width,
            lambda s: resources.weights(rows, outputs, pe, simd, o.weight_bits, s, board, self.ways.writeable),
            ultra=self.ways.writeable,
        )
        lanes = resources.lanes(board.dsp_block, o.weight_bits, bits) * logic.dsp * (2 if pumped else 1)
        width = pe * o.output.bits
        self.stages.append(
            Stage(o.name, "MVAU", o.name, simd, pe, cycles, logic, memory, False, o.macs, lanes, out_width=width)
        )
        self.out_lanes[o.name] = pe


def _skip_words(dataflow: Dataflow, add: AddClamp, lanes: int) -> int:
    """Words that wait on the way past a residual block's body.

    A window can give its first output once it has seen ``reach`` rows and pixels ahead, so every convolution of the
    body holds back that many pixels; some more stand in its pipeline.
    """
    pixels, at = 0, dataflow.operator(add.inputs[1])
    while at.name != add.inputs[0]:
        if isinstance(at, Window):
            reach = at.kernel[0] // 2
            pixels += reach * (at.source.width + 1) + 4
        at = dataflow.operator(at.inputs[0])
    return pixels * (add.output.channels // lanes) + 64


def _fifo(name: str, maker: Stage, words: int, board: Board) -> Stage:
    """A FIFO of ``words`` words on a stage's output."""
    width = maker.out_width
    styles = [s for s in _STYLES if s != "ultra" or board.uram]
    memory = Memory(words, width, {s: resources.fifo(words, width, s) for s in styles}, "block")
    lanes = maker.pe or maker.simd
    return Stage(
        name, "StreamingFIFO", maker.operator, 0, lanes, maker.cycles, Resources(), memory, depth=words, out_width=width
    )


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


def _product(dataflow: Dataflow, stage: Stage) -> MatrixProduct:
    o = dataflow.operator(stage.operator)
    assert isinstance(o, MatrixProduct)
    return o


def _fifos(folder: _Folder) -> None:
    """FIFOs by rule: one for each residual block on the fork's second stream, and those that keep stages busy."""
    dataflow, order = folder.dataflow, tuple(folder.stages)
    makers = {s.name: s for s in order}
    depths = _before_products(dataflow, order) | _before_borders(dataflow, order)
    for o in dataflow.operators:
        if isinstance(o, AddClamp):
            depths[f"{o.inputs[0]}.skip"] = _skip_words(dataflow, o, makers[o.inputs[0]].pe)
    for stream, words in depths.items():
        folder.stages.append(_fifo(f"{stream}.fifo", makers[stream.removesuffix(".skip")], words, folder.board))


def _fold(
    dataflow: Dataflow, board: Board, target: int, ways: Ways, dsp_price: float, given: Given | None = None
) -> list[Stage]:
    folder = _Folder(dataflow, board, target, ways, dsp_price, given or {})
    for o in dataflow.operators:
        folder.add(o)
    _fifos(folder)
    return folder.stages


def _shell(dataflow: Dataflow, stages: Sequence[Stage]) -> Resources:
    """DMA engines and what joins them to the processor."""
    last = next(s for s in stages if s.name == dataflow.operators[-1].name)
    return resources.dma((stages[0].simd or stages[0].pe) * 8, last.out_width)


def _weight(r: Resources, board: Board, dsp_price: float) -> float:
    """Share of the board, summed over kinds: what a choice costs. ``dsp_price`` is that of DSPs against all others."""
    shares = r.shares(board)
    return shares["lut"] + dsp_price * shares["dsp"] + shares["bram"] + shares["uram"]


def _layer(operator: str) -> str:
    return operator.rsplit(".", 1)[0]


def choose_forms(
    network: IntegerNetwork, height: int, width: int, board: Board, target: int, dsp_price: float = 1.0,
    ways: Ways = PLAIN,
) -> dict[str, Form]:  # fmt: skip
    """The cheapest form of every convolution that meets ``target`` cycles a frame."""
    every: tuple[Form, ...] = ("direct", "taps", "phases")
    layers = network.layers
    allowed: dict[str, tuple[Form, ...]] = {}
    for number, layer in enumerate(layers):
        upsampled = number > 0 and isinstance(layers[number - 1], Upsample)
        if isinstance(layer, Convolution):
            allowed[layer.name] = possible_forms(layer, upsampled)
        elif isinstance(layer, Residual):
            allowed.update({c.name: possible_forms(c, False) for c in layer.body})
    costs: dict[str, list[tuple[bool, float, Form]]] = {name: [] for name in allowed}
    for form in every:
        forms = {name: form for name, options in allowed.items() if form in options}
        stages = _fold(build_dataflow(network, height, width, forms), board, target, ways, dsp_price)
        for name in forms:
            own = [s for s in stages if _layer(s.operator) == name]
            late = any(s.cycles > target for s in own)
            costs[name].append((late, sum(_weight(s.total, board, dsp_price) for s in own), form))
    return {name: min(options)[2] for name, options in costs.items()}


def place_memories(stages: Sequence[Stage], board: Board, base: Resources) -> list[Stage]:
    """Give every memory the style that leaves the board's fullest resource as empty as can be.

    Starts from every memory's cheapest style at several prices of LUT RAM and UltraRAM against block RAM (a Lagrangian
    relaxation of the multiple-choice knapsack) and moves single memories as long as that helps.
    """
    fixed = sum((s.logic for s in stages), base)
    memories = [s.memory for s in stages if s.memory is not None]

    def worth(styles: Sequence[str]) -> tuple[float, float]:
        shares = sum((m.cost[style] for m, style in zip(memories, styles, strict=True)), fixed).shares(board)
        ratios = [shares[k] / BUDGET[k] for k in BUDGET]
        return max(1.0, *ratios), 2 * shares["lut"] + shares["bram"] + shares["uram"]

    best: tuple[tuple[float, float], list[str]] | None = None
    for lut_price in (0.25, 1.0, 4.0):
        for uram_price in (0.25, 1.0, 4.0) if board.uram else (1.0,):

            def price(r: Resources, lut: float = lut_price, uram: float = uram_price) -> float:
                shares = r.shares(board)
                return lut * (shares["lut"] + 0.2 * shares["lutram"]) + shares["bram"] + uram * shares["uram"]

            styles = [min(m.cost, key=lambda k, m=m: price(m.cost[k])) for m in memories]  # type: ignore[misc]
            found = worth(styles)
            if best is None or found < best[0]:
                best = (found, styles)
    assert best is not None
    value, styles = best
    improved = value[0] > 1.0
    while improved:
        improved = False
        for number, m in enumerate(memories):
            for style in m.cost:
                trial = [*styles[:number], style, *styles[number + 1 :]]
                found = worth(trial)
                if found < value:
                    value, styles, improved = found, trial, True
    chosen = iter(styles)
    return [s if s.memory is None else replace(s, memory=replace(s.memory, style=next(chosen))) for s in stages]


def plan_for_cycles(
    network: IntegerNetwork, height: int, width: int, board: Board, target: int, *,
    clock_hz: float | None = None, ways: Ways = PLAIN, forms: Mapping[str, Form] | None = None,
) -> Plan:  # fmt: skip
    """The cheapest plan of at most ``target`` cycles a frame where parallelism allows it; it may be over budget.

    ``height`` and ``width`` with margin, in pixels. ``ways``: see :class:`Ways`. ``forms``:
    of every convolution, if they shall not be chosen.

    What is cheap depends on what the board runs out of first, so several prices of a DSP are tried until a plan fits.
    """
    best: Plan | None = None
    for dsp_price in _DSP_PRICES:
        chosen = (
            dict(forms) if forms is not None else choose_forms(network, height, width, board, target, dsp_price, ways)
        )
        dataflow = build_dataflow(network, height, width, chosen)
        stages = _fold(dataflow, board, target, ways, dsp_price)
        slowest = max(s.cycles for s in stages)
        if slowest < target:
            # No other stage need be faster than the slowest has become.
            stages = _fold(dataflow, board, slowest, ways, dsp_price)
        stages = place_memories(stages, board, _shell(dataflow, stages))
        plan = Plan(board, dataflow, tuple(stages), clock_hz or board.clock_hz, chosen, ways)
        if best is None or plan.fullest < best.fullest:
            best = plan
        if not plan.over:
            break
    assert best is not None
    return best


def plan_with_folding(
    network: IntegerNetwork, height: int, width: int, board: Board, given: Given, forms: Mapping[str, Form], *,
    clock_hz: float | None = None, ways: Ways = PLAIN,
) -> Plan:  # fmt: skip
    """A plan with somebody's folding; what ``given`` leaves out is as slow as the slowest stage allows.

    Raises OptionError for a stage that there is not, or parallelism that does not divide.
    """
    dataflow = build_dataflow(network, height, width, forms)
    # A first pass with no target shows the names and what the given stages can do.
    relaxed = _fold(dataflow, board, 1 << 62, ways, 1.0, given)
    unknown = set(given) - {s.name for s in relaxed}
    if unknown:
        raise OptionError(f"--folding: no stage {sorted(unknown)[0]}; there are {', '.join(s.name for s in relaxed)}")
    target = max(s.cycles for s in relaxed if s.name in given) if given else 1 << 62
    stages = _fold(dataflow, board, target, ways, 1.0, given)
    stages = place_memories(stages, board, _shell(dataflow, stages))
    for number, s in enumerate(stages):
        style = given.get(s.name, {}).get("ram_style")
        if style is not None and s.memory is not None:
            if style not in s.memory.cost:
                allowed = ", ".join(s.memory.cost)
                raise OptionError(f"--folding: ram_style {style} of {s.name}: allowed are {allowed}")
            stages[number] = replace(s, memory=replace(s.memory, style=str(style)))
    return Plan(board, dataflow, tuple(stages), clock_hz or board.clock_hz, dict(forms), ways)


def fastest_plan(
    network: IntegerNetwork, height: int, width: int, board: Board, *,
    clock_hz: float | None = None, ways: Ways = PLAIN,
) -> Plan:  # fmt: skip
    """The plan with the highest rate that the board holds. Raises DoesNotFitError when none fits."""

    def attempt(target: int) -> Plan:
        return plan_for_cycles(network, height, width, board, target, clock_hz=clock_hz, ways=ways)

    # One word a cycle is the limit: no stage is faster than the frame's pixels.
    low, high = height * width, height * width * 4096
    best = attempt(high)
    if best.over:
        raise DoesNotFitError(
            f"{board.name}: not even one frame in {best.cycles / best.clock_hz:.1f} s fits: {binding(best)}; "
            "build for a smaller size, frames larger than that are painted in tiles"
        )
    while high / low > 1.004:
        middle = math.isqrt(low * high)
        plan = attempt(middle)
        if plan.over or plan.cycles > middle:
            low = middle
        else:
            best, high = plan, min(middle, plan.cycles)
    # The last per cent can be dear: among the plans hardly slower, take the one that leaves the board emptiest.
    nearly = [attempt(int(best.cycles * share)) for share in _NEARLY]
    return min([best, *(p for p in nearly if p.fps >= _WORTH * best.fps)], key=lambda p: p.fullest)


def binding(plan: Plan) -> str:
    """What is over its budget, in words."""
    names = {
        "dsp": "DSPs",
        "lut": "LUTs",
        "lutram": "LUTs as memory",
        "ff": "flip-flops",
        "bram": "block RAM",
        "uram": "UltraRAM",
    }
    over = plan.over
    if not over:
        fullest = max(plan.shares, key=lambda k: plan.shares[k] / BUDGET[k])
        return f"{names[fullest]} at {plan.shares[fullest]:.0%}"
    return ", ".join(
        f"{names[k]} at {v:.0%} of the board (of which {BUDGET[k]:.0%} may be used)" for k, v in over.items()
    )


def plan_for_rate(
    network: IntegerNetwork, height: int, width: int, board: Board, fps: float, *,
    clock_hz: float | None = None, ways: Ways = PLAIN,
) -> Plan:  # fmt: skip
    """The cheapest plan of at least ``fps`` frames a second.

    Raises DoesNotFitError, which says what binds and the best rate that fits.
    """
    clock = clock_hz or board.clock_hz
    target = int(clock / fps)
    plan = plan_for_cycles(network, height, width, board, target, clock_hz=clock, ways=ways)
    for share in _HASTE:
        # Wider memories are shallower, so that a faster plan can fit where a slower one does not.
        if plan.over and plan.cycles <= target:
            hasty = plan_for_cycles(network, height, width, board, int(target * share), clock_hz=clock, ways=ways)
            plan = plan if hasty.over or hasty.cycles > target else hasty
    if plan.cycles <= target and not plan.over:
        return plan
    reason = binding(plan) if plan.over else f"stage {plan.slowest.name} needs {plan.cycles} cycles, {target} allowed"
    best = fastest_plan(network, height, width, board, clock_hz=clock, ways=ways)
    raise DoesNotFitError(
        f"--fps {fps:g}: does not fit {board.name} at {clock / 1e6:g} MHz: {reason}; "
        f"the best that fits is {best.fps:.2f}"
    )
