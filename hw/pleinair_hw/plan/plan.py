"""A plan: an accelerator on paper. A board, a dataflow, and its stages with what each takes.

A plan may be over budget; ``over`` says where. Every memory (line buffers, weights, skip and row buffers, FIFOs) goes
to LUT RAM, block RAM or UltraRAM so that the fullest of them is as empty as can be (:func:`place_memories`). Runs
anywhere: no FINN, no Vivado.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pleinair.fpga.light_map import Station, lay_out
from pleinair_hw.plan import resources
from pleinair_hw.plan.boards import Board
from pleinair_hw.plan.dataflow import Dataflow, Form
from pleinair_hw.plan.resources import Resources

#: Shares of a board that a plan may fill. Routing fails long before all LUTs are used; our LUT figures are from
#: open synthesis, which packs worse than Vivado.
BUDGET = {"dsp": 1.0, "lut": 0.80, "lutram": 0.80, "ff": 0.80, "bram": 0.95, "uram": 0.95}
#: What memories may be made of.
MEMORY_STYLES = ("distributed", "block", "ultra")
#: SIMD, PE, parallel_window and ram_style by stage name.
Folding = Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True)
class BuildOptions:
    """Options that change the hardware but not the folding.

    ``writeable``: weights that the processor can change at run time. ``pumped``: matrix products at twice the clock,
    with half the DSPs for the same rate. ``trimmed``: no padding, so that what only serves as margin is not computed
    (``pleinair_hw.plan.dataflow``). ``open_tools``: the bitstream is made by open tools, which need no interconnect of
    Vivado's.
    """

    writeable: bool = False
    pumped: bool = False
    trimmed: bool = False
    open_tools: bool = False

    def priced_as(self, style: str) -> str:
        """The memory style of :mod:`pleinair_hw.plan.resources` whose cost a memory of ``style`` has here."""
        return "uniform" if self.open_tools and style == "block" else style


PLAIN = BuildOptions()


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

    @property
    def layer(self) -> str:
        """The convolution that it belongs to."""
        return self.operator.rsplit(".", 1)[0]

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
    options: BuildOptions = PLAIN

    @cached_property
    def total(self) -> Resources:
        """All stages and the shell, and with open tools the tables that placing adds."""
        total = sum((s.total for s in self.stages), shell(self.dataflow, self.stages, self.board, self.options))
        return total + resources.passing(total) if self.options.open_tools else total

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
                maker = makers[stream.removesuffix(".skip")]
                stages.append(fifo_stage(f"{stream}.fifo", maker, words, self.board, self.options))
        beside = shell(self.dataflow, stages, self.board, self.options)
        return replace(self, stages=tuple(place_memories(stages, self.board, beside)))

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


def fifo_stage(name: str, maker: Stage, words: int, board: Board, options: BuildOptions = PLAIN) -> Stage:
    """A FIFO of ``words`` words on a stage's output."""
    width = maker.out_width
    styles = [s for s in MEMORY_STYLES if s != "ultra" or board.uram]
    memory = Memory(words, width, {s: resources.fifo(words, width, options.priced_as(s)) for s in styles}, "block")
    lanes = maker.pe or maker.simd
    return Stage(
        name, "StreamingFIFO", maker.operator, 0, lanes, maker.cycles, Resources(), memory, depth=words, out_width=width
    )


def shell(dataflow: Dataflow, stages: Sequence[Stage], board: Board, options: BuildOptions) -> Resources:
    """DMA engines, what joins them to the processor, and the port of the light where there is one."""
    last = next(s for s in stages if s.name == dataflow.operators[-1].name)
    dma = resources.dma((stages[0].simd or stages[0].pe) * 8, last.out_width, wide=board.is_ultrascale)
    if not options.open_tools:
        dma += resources.interconnect()
    if not dataflow.stations:
        return dma
    # Addresses follow from the channels alone.
    places = lay_out("", [Station(o.layer, o.output.channels, 1, 1, 1) for o in dataflow.stations])
    return dma + resources.light_port(len(places.stations), places.address_bits)


def share_of(r: Resources, board: Board, dsp_price: float) -> float:
    """Share of the board, summed over kinds: what a choice costs. ``dsp_price`` is that of DSPs against all others."""
    shares = r.shares(board)
    return shares["lut"] + dsp_price * shares["dsp"] + shares["bram"] + shares["uram"]


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
