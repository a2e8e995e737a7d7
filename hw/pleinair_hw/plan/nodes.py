"""The hardware nodes that an operator becomes: what each is called, how fast it is, and what it takes.

A node class has the name of FINN's operator (finn-plus 1.6.1) or of our own block. It knows the lanes it can have, its
clock cycles a frame and its resources at that many lanes; ``pleinair_hw.plan.folding`` chooses the lanes. Cycles of
FINN's nodes are FINN's own ``get_exp_cycles``; our blocks pass a word a cycle. Resources are the formulas of
``pleinair_hw.plan.resources``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar

from pleinair_hw.plan import dataflow, resources
from pleinair_hw.plan.dataflow import Dataflow, Operator, Tensor, Window, rounding_offset, signed_bits
from pleinair_hw.plan.resources import Resources


@lru_cache(maxsize=1024)
def divisors(number: int) -> tuple[int, ...]:
    """Divisors, ascending."""
    return tuple(d for d in range(1, number + 1) if number % d == 0)


@dataclass(frozen=True)
class Buffer:
    """Memory that a node needs: ``words`` x ``bits``; ``cost`` gives its resources in a memory style."""

    words: int
    bits: int
    cost: Callable[[str], Resources]


@dataclass(frozen=True)
class Node:
    """A node between two streams; ``source`` is what it reads.

    ``attribute`` is FINN's name for its lanes. ``buffered_rows`` are the rows of its output that a memory in it or
    behind it holds.
    """

    operator: Operator
    source: Tensor
    attribute: ClassVar[str] = "PE"
    buffered_rows: ClassVar[int] = 0

    @property
    def kind(self) -> str:
        """FINN's operator name."""
        return type(self).__name__

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.operator.name

    @property
    def output(self) -> Tensor:
        """What it gives."""
        return self.operator.output

    @property
    def channels(self) -> int:
        """What its lanes must divide."""
        return self.output.channels

    @property
    def follows(self) -> bool:
        """Whether it has its source's lanes, whatever they are."""
        return False

    @property
    def values(self) -> int:
        """Values of a frame that pass through its lanes."""
        return max(self.source.pixels * self.channels, self.output.elements)

    def cycles(self, lanes: int) -> int:
        """Clock cycles a frame."""
        return self.values // lanes

    def reads(self, lanes: int) -> int:
        """Values in a word of its input."""
        return lanes

    def gives(self, lanes: int) -> int:
        """Values in a word of its output."""
        return lanes

    def logic(self, lanes: int) -> Resources:
        """What it takes without its buffer."""
        return Resources()

    def buffer(self, lanes: int) -> Buffer | None:
        """The memory in it that may live in LUT RAM, block RAM or UltraRAM."""
        return None


class FMPadding(Node):
    """Zeros around the frame."""

    attribute = "SIMD"

    @property
    def name(self) -> str:
        return f"{self.operator.name}.pad"

    @property
    def output(self) -> Tensor:
        assert isinstance(self.operator, Window)
        return self.operator.padded

    def logic(self, lanes: int) -> Resources:
        out = self.output
        return resources.pad(out.channels, lanes, out.height, out.width, out.bits)


@dataclass(frozen=True)
class ConvolutionInputGenerator(Node):
    """The sliding window over the padded frame ``source``. The ``parallel`` one shows all its pixels at a time."""

    parallel: bool = False
    attribute = "SIMD"

    @property
    def window(self) -> Window:
        """The operator."""
        assert isinstance(self.operator, Window)
        return self.operator

    @property
    def channels(self) -> int:
        return self.source.channels

    def in_parallel(self) -> ConvolutionInputGenerator:
        """The same window in the parallel style, which has as many lanes as the frame has channels."""
        return replace(self, parallel=True)

    def cycles(self, lanes: int) -> int:
        """ConvolutionInputGenerator_rtl, get_exp_cycles."""
        o, s, folds = self.window, self.source, self.channels // lanes
        if self.parallel:
            return s.pixels * folds + 2
        rows, columns = o.kernel
        filled = ((rows - 1) * s.width + columns) * folds
        out = o.output
        return filled + out.height * max(out.width * rows * columns * folds, o.stride * s.width * folds)

    def gives(self, lanes: int) -> int:
        return lanes * (self.window.kernel[0] * self.window.kernel[1] if self.parallel else 1)

    def buffer(self, lanes: int) -> Buffer:
        o, s = self.window, self.source
        words = resources.window_depth(s.channels, lanes, o.kernel, o.stride, s.width, self.parallel)

        def cost(style: str) -> Resources:
            return resources.window(
                s.channels, lanes, o.kernel, o.stride, s.height, s.width, s.bits, style, self.parallel
            )

        return Buffer(words, lanes * s.bits, cost)


class TapSum(Node):
    """Our tap_sum.sv."""

    @property
    def taps(self) -> int:
        """Partial sums for each output."""
        assert isinstance(self.operator, dataflow.TapSum)
        return self.operator.taps

    def reads(self, lanes: int) -> int:
        return lanes * self.taps

    def logic(self, lanes: int) -> Resources:
        return resources.tap_sum(lanes, self.channels, self.taps, self.source.bits, self.output.bits)


class RequantShift(Node):
    """Our requant_shift.sv."""

    def logic(self, lanes: int) -> Resources:
        o = self.operator
        assert isinstance(o, dataflow.Requantise)
        least, offset = int(o.shift.min()), rounding_offset(o.bias, o.shift)
        bias_bits = signed_bits(int(offset.min()), int(offset.max()))
        spread = int(o.shift.max()) - least + 1
        return resources.requant(lanes, self.channels, self.source.bits, bias_bits, spread, self.output.bits, least)


class RequantLight(Node):
    """Our requant_light.sv: a station."""

    def logic(self, lanes: int) -> Resources:
        o = self.operator
        assert isinstance(o, dataflow.RequantiseLight)
        return resources.requant_light(
            lanes, self.channels, self.source.bits, o.bias_bits, o.longest, self.output.bits, self.source.pixels
        )


class PixelShuffle(Node):
    """Our pixel_shuffle.sv."""

    buffered_rows = 1

    @property
    def values(self) -> int:
        return max(self.source.elements, self.output.elements)

    def buffer(self, lanes: int) -> Buffer:
        words, bits = self.output.width * (self.channels // lanes), lanes * self.source.bits
        return Buffer(words, bits, lambda style: resources.pixel_shuffle(words, bits, style))


class SpaceToDepth(Node):
    """Our space_to_depth.sv."""

    @property
    def block(self) -> int:
        """Rows and columns of a block."""
        assert isinstance(self.operator, dataflow.SpaceToDepth)
        return self.operator.block

    @property
    def channels(self) -> int:
        return self.source.channels

    def cycles(self, lanes: int) -> int:
        """The upper rows of blocks come in, then whole blocks go out."""
        return self.source.elements // lanes // self.block * (2 * self.block - 1)

    def buffer(self, lanes: int) -> Buffer:
        words = (self.block - 1) * self.source.width * (self.channels // lanes)
        bits = lanes * self.source.bits
        return Buffer(words, bits, lambda style: resources.space_to_depth(words, bits, style))


class UpsampleNearestNeighbour(Node):
    """Our upsample.sv behind FINN's operator."""

    attribute = "SIMD"
    buffered_rows = 1

    def buffer(self, lanes: int) -> Buffer:
        words, bits = self.source.width * (self.channels // lanes), lanes * self.source.bits
        return Buffer(2 * words, bits, lambda style: resources.upsample(words, bits, style))


class DuplicateStreams(Node):
    """FINN's operator with our stream_fork.sv: a residual block's stream to its body and past it."""

    buffered_rows = 2  # the FIFO past the body

    @property
    def follows(self) -> bool:
        return self.operator.inputs[0].endswith(".window")

    def logic(self, lanes: int) -> Resources:
        return resources.fork(lanes * self.source.bits, 2)


@dataclass(frozen=True)
class WindowCentre(Node):
    """Our window_centre.sv. ``whole``: a word of its input holds all channels of a window, or a part of one pixel's."""

    whole: bool = False

    @property
    def follows(self) -> bool:
        return True

    @property
    def pixels(self) -> int:
        """Pixels of a window."""
        assert isinstance(self.operator, dataflow.WindowCentre)
        return self.operator.pixels

    def cycles(self, lanes: int) -> int:
        """It takes every word."""
        return self.source.elements // self.reads(lanes)

    def reads(self, lanes: int) -> int:
        return lanes * (self.pixels if self.whole else 1)

    def logic(self, lanes: int) -> Resources:
        return resources.window_centre(lanes * self.source.bits)


class TrimBorder(Node):
    """Our trim_border.sv."""

    buffered_rows = 2  # the FIFO past the body

    def logic(self, lanes: int) -> Resources:
        s = self.source
        return resources.trim_border(self.channels // lanes, s.height, s.width, lanes * s.bits)


class AddClamp(Node):
    """Our add_clamp.sv."""

    buffered_rows = 2  # the FIFO past the body

    def logic(self, lanes: int) -> Resources:
        return resources.add(lanes, self.output.bits)


@dataclass(frozen=True)
class MVAU:
    """FINN's matrix-vector unit: a matrix of ``rows`` inputs and ``outputs`` outputs at each of ``pixels``.

    ``pumped``: its core runs at twice the clock, which halves its DSPs.
    """

    rows: int
    outputs: int
    pixels: int
    weight_bits: int
    activation_bits: int
    sum_bits: int
    dsp_block: str
    pumped: bool
    kind: ClassVar[str] = "MVAU"

    def pumps(self, simd: int) -> bool:
        """Whether the core is pumped at that SIMD; one input cannot be halved."""
        return self.pumped and simd > 1

    def cycles(self, simd: int, pe: int) -> int:
        """Clock cycles a frame."""
        return self.pixels * (self.rows // simd) * (self.outputs // pe)

    def logic(self, simd: int, pe: int) -> Resources:
        """What it takes without its weights."""
        return resources.mvu(
            self.rows,
            self.outputs,
            pe,
            simd,
            self.weight_bits,
            self.activation_bits,
            self.sum_bits,
            self.dsp_block,
            pumped=self.pumps(simd),
        )

    def weights(self, simd: int, pe: int, writeable: bool) -> Buffer:
        """The memory of the weights; UltraRAM only for writeable ones, as it cannot hold initial contents."""

        def cost(style: str) -> Resources:
            return resources.weights(self.rows, self.outputs, pe, simd, self.weight_bits, style, writable=writeable)

        return Buffer(self.rows * self.outputs // (simd * pe), simd * pe * self.weight_bits, cost)

    def lanes(self, dsps: int, simd: int) -> int:
        """Products a cycle of so many DSPs."""
        products = resources.lanes(self.dsp_block, self.weight_bits, self.activation_bits)
        return products * dsps * (2 if self.pumps(simd) else 1)


@dataclass(frozen=True)
class StreamingDataWidthConverter:
    """A change of lanes, from ``into`` to ``out`` values of ``bits`` bits, over ``elements`` values a frame."""

    into: int
    out: int
    bits: int
    elements: int
    kind: ClassVar[str] = "StreamingDataWidthConverter"

    @property
    def cycles(self) -> int:
        """Clock cycles a frame."""
        return convert_cycles(self.elements, self.into, self.out)

    @cached_property
    def logic(self) -> Resources:
        """What it takes."""
        return resources.width_converter(self.into * self.bits, self.out * self.bits)


def convert_cycles(elements: int, have: int, lanes: int) -> int:
    """Cycles of FINN's StreamingDataWidthConverter_rtl (vpc.sv), measured in simulation; FINN has no estimate of them.

    It moves a word of its narrower side a cycle where one width divides the other. Otherwise it loses one cycle at
    every common multiple of both widths.
    """
    multiple = math.lcm(have, lanes)
    return elements * (multiple // have + multiple // lanes - 1) // multiple


def conversion(elements: int, have: int, lanes: int, bits: int, target: int) -> list[StreamingDataWidthConverter]:
    """Converters from ``have`` to ``lanes`` lanes: one, or two by way of the common multiple where one is too slow."""
    if have == lanes:
        return []
    direct, multiple = StreamingDataWidthConverter(have, lanes, bits, elements), math.lcm(have, lanes)
    if direct.cycles <= target or multiple in (have, lanes):
        return [direct]
    return [
        StreamingDataWidthConverter(have, multiple, bits, elements),
        StreamingDataWidthConverter(multiple, lanes, bits, elements),
    ]


#: The node of every operator but windows and matrix products.
_NODES: dict[type[Operator], type[Node]] = {
    dataflow.TapSum: TapSum,
    dataflow.Requantise: RequantShift,
    dataflow.RequantiseLight: RequantLight,
    dataflow.PixelShuffle: PixelShuffle,
    dataflow.SpaceToDepth: SpaceToDepth,
    dataflow.UpsampleNearest: UpsampleNearestNeighbour,
    dataflow.Fork: DuplicateStreams,
    dataflow.WindowCentre: WindowCentre,
    dataflow.TrimBorder: TrimBorder,
    dataflow.AddClamp: AddClamp,
}


def node_of(flow: Dataflow, operator: Operator) -> Node:
    """The node of an operator that is neither a window nor a matrix product."""
    return _NODES[type(operator)](operator, flow.input_of(operator))
