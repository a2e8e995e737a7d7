"""Lowering: from a network to a program for one size of frame, in the few operations that integer engines do fast.

All values are NHWC of fixed shape without the batch: [height, width, channels]. Lowering rewrites the network in four
ways. None of them changes a pixel.

- *Window*: a program computes only the pixels that are asked for, and of each layer only what those depend on. So a
  frame's reflected margin shrinks from layer to layer. The zeros that the network pads with are used only where the
  window depends on pixels beyond the end of the piece.
- *Blocks*: a convolution from or to few channels leaves most of a vector unit idle. ``b`` neighbours in a row are the
  same bytes as one pixel with b times the channels (:class:`View`). A k x k convolution then becomes one with fewer
  columns and longer vectors that computes ``b`` outputs at once, as channels. Rows can be blocked too: their outputs
  come out as channels and are sorted afterwards (:class:`Unblock`).
- *Merged doubling*: a doubling followed by a 3 x 3 convolution equals a 2 x 2 convolution at half the size with four
  times the outputs. Its weights are sums of the old ones. It is done where the sums fit into 8 bits, as they do in
  4-bit networks.
- *Requantisation* is part of its convolution.

Source of the blocks and of the merged doubling: Shi et al. 2016, "Is the deconvolution layer the same as a
convolutional layer?", arXiv:1609.07009, read backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from pleinair.network.integer import (
    MAX_KERNEL,
    Convolution,
    DepthToSpace,
    IntegerNetwork,
    Residual,
    SpaceToDepth,
    Upsample,
)
from pleinair.painting.tiles import Window

#: [height, width, channels]
Shape = tuple[int, int, int]
#: Half-open range of pixels along one axis.
Range = tuple[int, int]
#: Rows and columns that a blocked convolution may compute as one.
_BLOCKS = (1, 2, 4)
#: What a block costs, in multiply-accumulates. Matrix kernels compute multiples of _OUTPUTS channels, and LEAST_OUTPUTS
#: at least unless the engine says otherwise. Gathering what lies under one tap costs _TAP, sorting one row of a block
#: _SORTING. Fitted to ONNX Runtime's times on x86-64.
_OUTPUTS, LEAST_OUTPUTS, _TAP, _SORTING = 16, 32, 220, 3000
#: Most pixels by which a window may grow at either end of an axis, so that blocks and doublings come out even.
_SLACK = 16


@dataclass(frozen=True)
class Input:
    """The pixels, uint8."""

    shape: Shape


@dataclass(frozen=True)
class Convolve:
    """``clamp(round_half_even((sum(w * x) + bias) * gain / 2**shift), low, high)`` of value ``source``.

    ``weight``: int16 or int8 [O, kh, kw, I]; ``bias``, ``gain``, ``shift``: int64 [O]; ``strides``: down, right;
    ``pads``, rows and columns of zeros: top, left, bottom, right. The output is signed where ``low`` is below 0.
    ``weight_bits`` is what the network says; merged weights, being sums, keep the width of the weights that they sum.
    """

    shape: Shape
    source: int
    name: str
    weight: np.ndarray
    bias: np.ndarray
    gain: np.ndarray
    shift: np.ndarray
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    low: int
    high: int
    weight_bits: int

    @property
    def scale(self) -> np.ndarray:
        """``gain / 2**shift``, float64 [O]: five bits at most, which any float holds."""
        scale: np.ndarray = self.gain * np.exp2(-self.shift.astype(np.float64))
        return scale

    @property
    def macs(self) -> int:
        """Multiply-accumulates, including those with the zeros of blocks and pads."""
        return int(self.shape[0] * self.shape[1] * self.weight.size)


@dataclass(frozen=True)
class View:
    """The same bytes as ``source``, read in another shape."""

    shape: Shape
    source: int


@dataclass(frozen=True)
class Double:
    """Nearest neighbour x2 in height and width."""

    shape: Shape
    source: int


@dataclass(frozen=True)
class Unblock:
    """[h, w, rows * c] as [h * rows, w, c]: channel r * c + i of row y is channel i of row y * rows + r."""

    shape: Shape
    source: int
    rows: int


@dataclass(frozen=True)
class Join:
    """``clamp(trunk[top : top + h, left : left + w] + branch, 0, high)``; the branch has the output's shape."""

    shape: Shape
    trunk: int
    branch: int
    top: int
    left: int
    high: int


Operation = Input | Convolve | View | Double | Unblock | Join


@dataclass(frozen=True)
class Program:
    """Operations in order of execution. A value is named by its operation's number; the last one is the painting.

    ``reads`` is the window of the piece that goes in and ``paints`` the one that comes out. ``paints`` contains the
    window that was asked for and may be some pixels larger. The pixels beyond the one asked for are not right.
    """

    bits: int
    operations: tuple[Operation, ...]
    reads: Window
    paints: Window

    @property
    def source(self) -> Shape:
        """Shape of what goes in."""
        return self.operations[0].shape

    @property
    def result(self) -> Shape:
        """Shape of what comes out."""
        return self.operations[-1].shape

    def convolutions(self) -> Iterator[Convolve]:
        """All convolutions in order of execution."""
        return (o for o in self.operations if isinstance(o, Convolve))

    @property
    def wide(self) -> bool:
        """Whether int8 operators cannot hold it: there are more than 8 bits somewhere."""
        return self.bits > 8 or any(c.weight_bits > 8 for c in self.convolutions())

    def macs(self) -> int:
        """Multiply-accumulates of one run, including those with zeros."""
        return sum(c.macs for c in self.convolutions())


def in_numbers_of(program: Program, convolutions: Iterable[Convolution]) -> Program:
    """The program with bias, multiplier and shift of these convolutions, which have the program's names and weights.

    They may not be those before a depth to space, whose outputs a program sorts.
    """
    given = {c.name: c for c in convolutions}

    def changed(o: Operation) -> Operation:
        if not isinstance(o, Convolve) or o.name not in given:
            return o
        c = given[o.name]
        repeat = len(o.weight) // c.outputs
        return replace(o, bias=np.tile(c.bias, repeat), gain=np.tile(c.gain, repeat), shift=np.tile(c.shift, repeat))

    return replace(program, operations=tuple(map(changed, program.operations)))


# -- one axis: which pixels each layer gives


@dataclass(frozen=True)
class _Merged:
    """A doubling and the 3 x 3 convolution that follows it, as one."""

    convolution: Convolution


#: Layers that only change how large an image is.
_RESIZING = (Upsample, SpaceToDepth, DepthToSpace)
_Link = Convolution | Upsample | SpaceToDepth | DepthToSpace | _Merged


@dataclass(frozen=True)
class _Form:
    """How a layer is computed along one axis, in pixels."""

    layer: _Link
    extent: int  # of what the layer gives
    view: int = 1  # neighbours of the source that are read as one
    step: int = 1  # outputs that one position computes

    @property
    def stride(self) -> int:
        assert isinstance(self.layer, Convolution)
        return self.layer.stride

    @property
    def reach(self) -> int:
        """Pixels read before the one at the same place."""
        assert isinstance(self.layer, Convolution)
        return self.layer.kernel // 2

    def needs(self, wanted: Range, extent: int) -> Range:
        """The pixels of a source of ``extent`` that the wanted ones depend on."""
        low, high = wanted
        if isinstance(self.layer, _RESIZING):
            return self.source_of(wanted)
        if isinstance(self.layer, _Merged):
            return max(0, low - 1) // 2, (min(2 * extent, high + 1) + 1) // 2
        reach = self.layer.kernel // 2
        return max(0, low * self.stride - reach), min(extent, (high - 1) * self.stride + reach + 1)

    def source_of(self, gives: Range) -> Range:
        """The pixels that a layer which only changes the size makes ``gives`` of."""
        assert isinstance(self.layer, _RESIZING)
        down, up = self.layer.down, self.layer.up
        return gives[0] * down // up, -(-gives[1] * down // up)

    def gives_evenly(self, gives: Range) -> bool:
        """Whether the layer can give exactly the pixels ``gives``."""
        if isinstance(self.layer, _RESIZING):
            return gives[0] % self.layer.up == gives[1] % self.layer.up == 0
        if isinstance(self.layer, _Merged):
            return gives[0] % 2 == gives[1] % 2 == 1
        return (gives[1] - gives[0]) % self.step == 0

    def pads(self, gives: Range, source: Range) -> Range | None:
        """Zeros to put before and after ``source`` so that the layer gives ``gives``; None where it cannot."""
        if isinstance(self.layer, _RESIZING):
            return 0, 0
        if isinstance(self.layer, _Merged):
            return source[0] - gives[0] // 2, (gives[1] + 1) // 2 - source[1]
        low = source[0] - (gives[0] * self.stride - self.reach)
        # The last position ends before the stride's last pixels, and with whole views.
        last = gives[1] - self.step - self.reach + _span(self.layer.kernel, self.view, self.view)
        if self.view == 1:
            last = (gives[1] - 1) * self.stride + self.reach + 1
        high = last - source[1]
        if high < 0 and -high < self.stride:
            high = 0
        if min(low, high) < 0 or low % self.view or high % self.view or (source[1] - source[0]) % self.view:
            return None
        return low, high


@dataclass(frozen=True)
class _Step:
    """A layer's work along one axis: the source's range, the zeros around it, what the layer gives."""

    reads: Range
    pads: Range
    gives: Range


def _axis(chain: list[_Form], needed: list[Range], extent: int, gives: Range) -> list[_Step] | None:
    """Steps of all layers so that the last one gives ``gives``; None where that is not possible.

    What a layer gives is right at ``needed`` pixels at least: ``needed[k + 1]`` for layer k, and ``needed[0]`` is what
    the first layer reads of the piece. A layer gives more than is needed of it only where something would not come
    out even. The extra pixels are wrong, because zeros stand in for the neighbours that were not computed.

    Example, with half-open ranges: a piece of 16 pixels, of which 0-4 are asked for. Read it upwards.

        layer             needs of its source   is needed   gives   reads   zeros before
        3 tap             0-7                   0-6         0-6     0-7     1
        3 tap, stride 2   0-6                   0-3         0-3     0-6     1
        doubling          0-3                   0-5         0-6     0-3
        3 tap             0-5                   0-4         0-5     0-6     1

    The doubling gives pairs, so it gives 0-6 though 0-5 would do, and the last layer gives 0-5. Zeros stand before
    pixel 0 alone, since it is an end of the piece; at the other end each layer reads pixels of the one before.

    ``extent`` is the length of the piece.
    """
    if not chain:
        return []
    form, before = chain[-1], chain[:-1]
    low, high = needed[-2]
    limit = before[-1].extent if before else extent
    if isinstance(form.layer, _RESIZING):
        sources = [form.source_of(gives)]
    elif isinstance(form.layer, _Merged):
        start, stop = gives[0] // 2, (gives[1] + 1) // 2
        sources = [(start + a, stop - b) for a, b in product((0, 1), repeat=2)]
        sources = [(first, last) for first, last in sources if first <= low and last >= high]
    else:
        first, last = gives[0] * form.stride, gives[1] * form.stride
        starts = range(min(low, first), max(0, first - form.reach) - 1, -1)
        stops = range(max(high, last - form.stride + 1), min(limit, last + form.reach + form.view) + 1)
        sources = sorted(product(starts, stops), key=lambda source: source[1] - source[0])
    for source in sources:
        pads = form.pads(gives, source)
        if pads is None or (before and not before[-1].gives_evenly(source)):
            continue
        steps = _axis(before, needed[:-1], extent, source)
        if steps is not None:
            return [*steps, _Step(source, pads, gives)]
    return None


def _fit(chain: list[_Form], window: Range, extent: int) -> list[_Step] | None:
    """The steps for the smallest window around ``window`` that comes out even.

    Without merged doublings the whole axis always does, so there is an answer.
    """
    needed = [window]
    for k in range(len(chain) - 1, -1, -1):
        needed.insert(0, chain[k].needs(needed[0], chain[k - 1].extent if k else extent))
    (low, high), most = window, chain[-1].extent
    grown = [(low - a, high + b) for a, b in product(range(_SLACK), repeat=2) if low - a >= 0 and high + b <= most]
    for gives in [*sorted(grown, key=lambda ends: ends[1] - ends[0]), (0, most)]:
        if chain[-1].gives_evenly(gives):
            steps = _axis(chain, needed, extent, gives)
            if steps is not None:
                return steps
    return None


# -- weights of blocks


def _span(kernel: int, step: int, view: int) -> int:
    """Pixels under a kernel that computes ``step`` neighbours, rounded up to whole views."""
    return -(-(kernel + step - 1) // view) * view


def blocked(weight: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Weights [O, k, k, I] as [rows * columns * O, k + rows - 1, kw, columns * I].

    Channel (r * columns + c) * O + o is output o at row r and column c of a block of ``rows`` x ``columns``. The
    source is read ``columns`` pixels at once, the first of them k // 2 before the block.
    """
    outputs, kernel, _, inputs = weight.shape
    shape = (rows, columns, outputs, kernel + rows - 1, _span(kernel, columns, columns), inputs)
    wide = np.zeros(shape, weight.dtype)
    for r, c in product(range(rows), range(columns)):
        wide[r, c, :, r : r + kernel, c : c + kernel] = weight
    return wide.reshape(rows * columns * outputs, kernel + rows - 1, -1, columns * inputs)


def merged(weight: np.ndarray, dtype: type[np.signedinteger] = np.int16) -> np.ndarray:
    """The weights [4 * O, 2, 2, I] that do at half the size what a doubling and then ``weight`` [O, 3, 3, I] do.

    They are sums of up to four weights, which ``dtype`` must hold. At position (i, j) they read rows i - 1, i and
    columns j - 1, j; channel (a * 2 + b) * O + o is then output o at row 2i - 1 + a and column 2j - 1 + b.
    """
    outputs, _, _, inputs = weight.shape
    wide = np.zeros((2, 2, outputs, 2, 2, inputs), dtype)
    for a, b, i, j in product(range(2), range(2), range(3), range(3)):
        wide[a, b, :, (a + i) // 2, (b + j) // 2] += weight[:, i, j]
    return wide.reshape(4 * outputs, 2, 2, inputs)


# -- the program


def _convolve(
    c: Convolution,
    source: int,
    weight: np.ndarray,
    size: tuple[int, int],
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Convolve:
    """``c`` with other weights, some times its outputs; bias, gain and shift are repeated for them. ``size``: h, w."""
    repeat = len(weight) // c.outputs
    return Convolve(
        shape=(*size, len(weight)),
        source=source,
        name=c.name,
        weight=weight,
        bias=np.tile(c.bias, repeat),
        gain=np.tile(c.gain, repeat),
        shift=np.tile(c.shift, repeat),
        strides=strides,
        pads=pads,
        low=c.low,
        high=c.high,
        weight_bits=c.weight_bits,
    )


class _Lowering:
    """The program so far; each method adds operations and returns the number of the value that they give."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(self, operation: Operation) -> int:
        self.operations.append(operation)
        return len(self.operations) - 1

    def shape(self, value: int) -> Shape:
        return self.operations[value].shape

    def view(self, value: int, block: int) -> int:
        """Read ``block`` neighbours of a row as one pixel."""
        if block == 1:
            return value
        height, width, channels = self.shape(value)
        return self.add(View((height, width // block, channels * block), value))

    def unview(self, value: int, block: int) -> int:
        if block == 1:
            return value
        height, width, channels = self.shape(value)
        return self.add(View((height, width * block, channels // block), value))

    def convolve(self, value: int, c: Convolution, down: _Step, right: _Step, rows: int, columns: int) -> int:
        view = columns
        weight = blocked(c.weight.transpose(0, 2, 3, 1), rows, columns)
        value = self.view(value, view)
        pads = (down.pads[0], right.pads[0] // view, down.pads[1], right.pads[1] // view)
        height, width = (down.gives[1] - down.gives[0]) // rows, (right.gives[1] - right.gives[0]) // columns
        value = self.add(_convolve(c, value, weight, (height, width), strides=(c.stride * rows, c.stride), pads=pads))
        return self.unview(self.unblock(value, rows), columns)

    def enter(self, value: int, c: Convolution, down: _Step, right: _Step, block: int) -> int:
        """Space to depth and the convolution after it, as one over whole rows of blocks."""
        weight = unfolded(c.weight, block)
        pads = (down.pads[0] * block, right.pads[0], down.pads[1] * block, right.pads[1])
        size = down.gives[1] - down.gives[0], right.gives[1] - right.gives[0]
        strides = (c.stride * block, c.stride)
        return self.add(_convolve(c, self.view(value, block), weight, size, strides=strides, pads=pads))

    def unblock(self, value: int, rows: int) -> int:
        if rows == 1:
            return value
        height, width, channels = self.shape(value)
        return self.add(Unblock((height * rows, width, channels // rows), value, rows))

    def merge(self, value: int, c: Convolution, down: _Step, right: _Step) -> int:
        height, width = (step.gives[1] - step.gives[0] for step in (down, right))
        weight = merged(c.weight.transpose(0, 2, 3, 1))
        pads = down.pads[0], right.pads[0], down.pads[1], right.pads[1]
        value = self.add(_convolve(c, value, weight, (height // 2, width // 2), strides=(1, 1), pads=pads))
        return self.unview(self.unblock(value, 2), 2)


def unfolded(weight: np.ndarray, block: int) -> np.ndarray:
    """Weights [O, C * block**2, k, k] after space to depth as [O, k * block, k, block * C] before it.

    The source is read ``block`` pixels at once, so only rows are still apart: channel j * C + c of its pixel is
    channel c of the block's column j.
    """
    outputs, inputs, kernel, _ = weight.shape
    channels = inputs // block**2
    parts = weight.reshape(outputs, channels, block, block, kernel, kernel)
    # [O, C, i, j, ky, kx] -> [O, ky, i, kx, j, C]
    return parts.transpose(0, 4, 2, 5, 3, 1).reshape(outputs, kernel * block, kernel, block * channels)


def _in_blocks(c: Convolution, block: int) -> Convolution:
    """The convolution before depth to space, its outputs in the order of rows, columns, channels of a block."""
    order = np.arange(c.outputs).reshape(-1, block, block).transpose(1, 2, 0).reshape(-1)
    multiplier = None if c.multiplier is None else c.multiplier[order]
    return replace(
        c, weight=c.weight[order], bias=c.bias[order], shift=c.shift[order], multiplier=multiplier, norm=None
    )


def _chain(network: IntegerNetwork, merge: bool) -> list[_Link]:
    """The layers in a row, the bodies of residual blocks among them, with doublings merged where ``merge``."""
    chain: list[_Link] = []
    for layer in network.layers:
        if isinstance(layer, Residual):
            chain += layer.body
        elif merge and isinstance(layer, Convolution) and chain and isinstance(chain[-1], Upsample) and fits(layer):
            chain[-1] = _Merged(layer)
        else:
            chain.append(layer)
    return chain


def fits(c: Convolution) -> bool:
    """Whether a convolution can be merged with a doubling before it: 3 x 3, and sums of weights within int8."""
    if c.kernel != 3 or c.stride != 1 or c.weight_bits > 8:
        return False
    return int(np.abs(merged(c.weight.transpose(0, 2, 3, 1))).max()) <= 127


def lower(
    network: IntegerNetwork,
    height: int,
    width: int,
    window: Window | None = None,
    least_outputs: int = LEAST_OUTPUTS,
    channels: int = 3,
) -> Program:
    """The program for pieces of ``height`` x ``width``, multiples of the network's stride.

    ``network`` may also be some neighbouring layers of one, which take ``channels`` channels and give an image of
    another size. ``window`` is what is asked of the painting, by default all of it. Every pixel there equals that of
    the network run on the whole piece (:func:`pleinair.network.reference.run`). ``least_outputs`` is the number of
    channels below which a convolution gets no cheaper for the engine, which speaks for blocks.
    """
    if height % network.stride or width % network.stride or min(height, width) < 1:
        raise ValueError(f"{height}x{width}: not a multiple of the stride {network.stride}")
    rows, columns = _forms(_chain(network, False), height, width, MAX_KERNEL + 1, least_outputs)
    whole = Window(0, 0, rows[-1].extent, columns[-1].extent)
    window = window or whole
    if not (window.top < window.bottom and window.left < window.right and whole.holds(window)):
        raise ValueError(f"{window}: not within {whole.bottom}x{whole.right}")
    # With zeros around it a block may not come out even. Without blocks everything does.
    for merge, smallest in ((True, 3), (False, 3), (False, 9), (False, MAX_KERNEL + 1)):
        rows, columns = _forms(_chain(network, merge), height, width, smallest, least_outputs)
        down = _fit(rows, (window.top, window.bottom), height)
        right = _fit(columns, (window.left, window.right), width)
        if down is not None and right is not None:
            return _emit(network, rows, columns, down, right, channels)
    raise AssertionError(f"{window} of {height}x{width}: no program, not even for the whole")


def _emit(
    network: IntegerNetwork,
    rows: list[_Form],
    columns: list[_Form],
    down: list[_Step],
    right: list[_Step],
    channels: int,
) -> Program:
    lowering = _Lowering()
    reads = Window(down[0].reads[0], right[0].reads[0], down[0].reads[1], right[0].reads[1])
    value = lowering.add(Input((*reads.shape[:2], channels)))
    joins = _joins(network)
    trunks: dict[str, tuple[int, int]] = {}
    before: _Link | None = None
    for k, form in enumerate(rows):
        layer, entered, before = form.layer, before, form.layer
        if isinstance(layer, Upsample):
            height, width, channels = lowering.shape(value)
            value = lowering.add(Double((2 * height, 2 * width, channels), value))
            continue
        if isinstance(layer, SpaceToDepth):
            continue  # it is one with the convolution that follows
        if isinstance(layer, DepthToSpace):
            value = lowering.unview(lowering.unblock(value, layer.block), layer.block)
            continue
        if isinstance(layer, _Merged):
            value = lowering.merge(value, layer.convolution, down[k], right[k])
            continue
        trunks[layer.name] = value, k
        if isinstance(entered, SpaceToDepth):
            value = lowering.enter(value, layer, down[k], right[k], entered.block)
            continue
        after = rows[k + 1].layer if k + 1 < len(rows) else None
        c = _in_blocks(layer, after.block) if isinstance(after, DepthToSpace) else layer
        value = lowering.convolve(value, c, down[k], right[k], form.step, columns[k].step)
        if layer.name in joins:
            trunk, begun = trunks[joins[layer.name]]
            top, left = down[k].gives[0] - down[begun].reads[0], right[k].gives[0] - right[begun].reads[0]
            high = (1 << network.bits) - 1
            value = lowering.add(Join(lowering.shape(value), trunk, value, top, left, high))
    paints = Window(down[-1].gives[0], right[-1].gives[0], down[-1].gives[1], right[-1].gives[1])
    return Program(network.bits, tuple(lowering.operations), reads, paints)


def _joins(network: IntegerNetwork) -> dict[str, str]:
    """For each residual block the name of its last convolution, and that of its first."""
    return {layer.body[-1].name: layer.body[0].name for layer in network.layers if isinstance(layer, Residual)}


def _forms(
    chain: list[_Link], height: int, width: int, smallest: int, least_outputs: int
) -> tuple[list[_Form], list[_Form]]:
    """The layers' forms along the height and along the width; kernels below ``smallest`` are not blocked."""
    rows: list[_Form] = []
    columns: list[_Form] = []
    before: _Link | None = None
    for layer in chain:
        down = right = 1
        if isinstance(layer, Convolution):
            height, width = height // layer.stride, width // layer.stride
            if layer.stride == 1 and layer.kernel >= smallest and not isinstance(before, SpaceToDepth):
                down, right = _block(layer, height, width, least_outputs)
        elif isinstance(layer, _Merged):
            height, width = 2 * height, 2 * width
        else:
            height, width = height * layer.up // layer.down, width * layer.up // layer.down
        before = layer
        rows.append(_Form(layer, height, 1, down))
        columns.append(_Form(layer, width, right, right))
    return rows, columns


def _block(c: Convolution, height: int, width: int, least_outputs: int) -> tuple[int, int]:
    """The cheapest block of rows and columns that divides a map of that size."""

    def cost(block: tuple[int, int]) -> float:
        rows, columns = block
        taps = (c.kernel + rows - 1) * _span(c.kernel, columns, columns) // columns
        outputs = max(least_outputs, -(-rows * columns * c.outputs // _OUTPUTS) * _OUTPUTS)
        sorting = _SORTING / columns if rows > 1 else 0
        return taps * (columns * c.inputs * outputs + _TAP) / (rows * columns) + sorting

    blocks = [(r, c) for r, c in product(_BLOCKS, repeat=2) if height % r == 0 and width % c == 0]
    return min(blocks, key=cost)
