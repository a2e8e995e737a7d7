"""Programs of more than 8 bits as ONNX graphs for ONNX Runtime, exact in 8-bit matrix products.

Input ``x`` is uint8 [1, h, w, 3], the pixels that the program reads; output ``y`` uint8 [1, h, w, 3], those it paints.

No engine multiplies 16-bit integers, so numbers are written in bytes: an activation as ``256 * high + low``, both
uint8, and a weight as ``256 * high + low`` with ``low`` around 0. A convolution is four matrix products of bytes, with
int32 sums.

*Gathering.* A value is kept as planes, one for each byte. A plane is a table [pixels, channels]. One row of the left
matrix is the rows of the table at one output's taps; ``Gather`` copies them. Strides and doublings are nothing but
other row numbers. A ``Scan`` computes some rows of the output at a time, so that what lies between the tables and the
result fits a core's cache.

*Doublings* followed by 3 x 3 are merged into 2 x 2 at half the size (:func:`pleinair.engines.lowering.merged`). Sums of
up to four weights take a third byte: six products instead of four, each with 4/9 of the multiply-accumulates.

*Low bytes* of weights up to 32767 start somewhere in -128 .. 0, chosen for each column, and span 256 values. A zero
point makes them int8, for which kernels are twice as fast as for uint8. On x86 without VNNI sums of uint8 x int8
products saturate; there ``signed=False`` makes all weights uint8, whose sums are exact everywhere.

*Requantisation.* A product over 2**shift is a float32 without loss as long as its sum and its share of the bias are
within 2**24: ``MatMulIntegerToFloat`` makes it one in passing. Otherwise it goes to float64 as it is. In float64 all
products are multiples of 2**-shift, fewer than 2**53 of them, so their sum is exact. ``Round`` is half to even.

Needs the ``onnx`` package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pleinair.engines.lowering import Convolve, Double, Input, Join, Program, Unblock, View, merged

#: Values of the output that one step computes: those of a step's float64 sums fit a core's second-level cache.
_STEP_VALUES = 48_000
#: Products that one sum may hold: of bytes times weights and zero points, within int32.
_MOST_PRODUCTS = (2**31 - 1) // (255 * (255 + 128))
#: Sums up to here are float32 without loss.
_FLOAT32_EXACT = 1 << 24
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Value:
    """A value in the graph: tables [pixels, channels] of its bytes, the least significant one's first.

    A table has ``pitch`` pixels in a row; where ``blocks``, each of them is four, the pixels of 2 x 2. The value begins
    at row ``top`` and column ``left`` of what the table holds. ``doubled``: rows and columns are still to be repeated.
    """

    planes: list[str]
    height: int
    width: int
    channels: int
    pitch: int
    top: int = 0
    left: int = 0
    blocks: bool = False
    doubled: bool = False

    @property
    def plain(self) -> bool:
        """Whether the tables begin with the value's pixels, row by row."""
        return self.pitch == self.width and not (self.top or self.left or self.blocks or self.doubled)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width before doubling."""
        return (self.height // 2, self.width // 2) if self.doubled else (self.height, self.width)

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The tables' row numbers, int64, of pixels of the value, or beyond it."""
        if self.doubled:
            y, x = y // 2, x // 2
        y, x = y + self.top, x + self.left
        if self.blocks:
            numbers: np.ndarray = (y // 2 * self.pitch + x // 2) * 4 + y % 2 * 2 + x % 2
        else:
            numbers = y * self.pitch + x
        return numbers

    def starts(self, steps: int, rows: int) -> np.ndarray:
        """By how much the row numbers of each step are above the first one's, steps being ``rows`` rows apart."""
        starts: np.ndarray = self.at(np.arange(steps) * rows, np.array(0)) - self.at(np.array(0), np.array(0))
        return starts

    @property
    def last(self) -> int:
        """The last pixel's row number, the greatest."""
        return int(self.at(np.array(self.height - 1), np.array(self.width - 1)))


@dataclass(frozen=True)
class _Term:
    """One product of a byte of the activations and a byte of the weights, at some of the taps.

    ``weight`` int64 [products, outputs], ``least`` int64 [outputs] with weights of ``least`` .. ``least`` + 255; what
    it adds to the accumulator is the sum times 2**``exponent``.
    """

    group: int
    plane: int
    weight: np.ndarray
    least: np.ndarray
    exponent: int

    def bound(self) -> int:
        """Greatest magnitude of its sums."""
        return 255 * int(max(np.maximum(self.weight, 0).sum(0).max(), np.maximum(-self.weight, 0).sum(0).max()))


class _Graph:
    """Nodes of one graph, the whole's or a step's, and the constants that all share."""

    def __init__(self, parent: _Graph | None = None) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._helper, self._numpy_helper, self.types = helper, numpy_helper, TensorProto
        self.nodes: list[Any] = []
        self.initializers: list[Any] = parent.initializers if parent else []
        self._names: list[str] = parent._names if parent else []

    def name(self, prefix: str) -> str:
        """A name that nothing else has."""
        self._names.append(prefix)
        return f"{prefix}_{len(self._names)}"

    def constant(self, value: Any) -> str:
        """The name of an array."""
        name = self.name("constant")
        self.initializers.append(
            self._numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        )
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node; the name of its output."""
        output = self.name(operator.lower())
        self.nodes.append(self._helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def cast(self, x: str, to: int) -> str:
        return self.add("Cast", x, to=to)

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def first_rows(self, x: str, count: int) -> str:
        ends = [self.constant(np.array([end], np.int64)) for end in (0, count, 0)]
        return self.add("Slice", x, *ends)


class _Builder:
    def __init__(self, program: Program, signed: bool) -> None:
        self.program, self.signed = program, signed
        self.graph = _Graph()
        self.values: dict[int, _Value] = {}
        # A branch is added to its trunk as it is computed, so its operations wait for their join.
        self.branches = {o.branch: self.branch(o) for o in program.operations if isinstance(o, Join)}

    def branch(self, join: Join) -> list[int]:
        """The branch's convolution and what sorts its outputs if it is blocked, in order."""
        numbers = [join.branch]
        while not isinstance(o := self.program.operations[numbers[0]], Convolve):
            assert isinstance(o, View | Unblock)
            numbers.insert(0, o.source)
        return numbers

    def build(self) -> str:
        """The name of the painting, uint8 of the last operation's shape."""
        waiting = {number for numbers in self.branches.values() for number in numbers}
        for number, o in enumerate(self.program.operations):
            if isinstance(o, Join):
                first, *rest = self.branches[o.branch]
                c = self.program.operations[first]
                assert isinstance(c, Convolve)
                self.values[first] = self.convolve(c, o)
                for later in rest:
                    self.values[later] = self.operation(self.program.operations[later])
                self.values[number] = self.values[o.branch]
            elif number not in waiting:
                self.values[number] = self.operation(o)
        last = self.plain(self.values[len(self.program.operations) - 1])
        rows = self.graph.first_rows(last.planes[0], last.height * last.width)
        return self.graph.reshape(rows, 1, last.height, last.width, last.channels)

    def operation(self, o: Any) -> _Value:
        """The value of any operation but a join."""
        if isinstance(o, Input):
            height, width, channels = o.shape
            return _Value([self.graph.reshape("x", height * width, channels)], height, width, channels, width)
        if isinstance(o, Convolve):
            return self.convolve(o, None)
        source = self.values[o.source]
        height, width, channels = o.shape
        if isinstance(o, Double):
            return replace(self.plain(source) if source.doubled else source, height=height, width=width, doubled=True)
        source = self.plain(source)
        if isinstance(o, View):
            planes = [self.graph.reshape(plane, -1, channels) for plane in source.planes]
        else:
            assert isinstance(o, Unblock)
            planes = [self.unblock(plane, o) for plane in source.planes]
        return _Value(planes, height, width, channels, width)

    def unblock(self, plane: str, o: Unblock) -> str:
        height, width, channels = o.shape
        g = self.graph
        rows = g.first_rows(plane, height // o.rows * width)
        blocks = g.reshape(rows, height // o.rows, width, o.rows, channels)
        return g.reshape(g.add("Transpose", blocks, perm=[0, 2, 1, 3]), height * width, channels)

    def plain(self, value: _Value) -> _Value:
        """The value in a table of its own, where it is not in one."""
        if value.plain:
            return value
        numbers = value.at(np.arange(value.height)[:, None], np.arange(value.width)).reshape(-1)
        index = self.graph.constant(numbers.astype(np.int32))
        planes = [self.graph.add("Gather", plane, index) for plane in value.planes]
        return _Value(planes, value.height, value.width, value.channels, value.width)

    def padded(self, value: _Value, pads: tuple[int, int, int, int]) -> tuple[_Value, int, int]:
        """The value with zeros around it, and how many of them there are above and to the left beyond ``pads``."""
        if not any(pads):
            return value, 0, 0
        scale = 2 if value.doubled else 1
        top, left, bottom, right = (-(-pad // scale) for pad in pads)
        height, width = value.size
        source = self.plain(replace(value, height=height, width=width, doubled=False))
        g = self.graph
        amounts = g.constant(np.array([top, left, 0, bottom, right, 0], np.int64))
        planes = []
        for plane in source.planes:
            image = g.reshape(g.first_rows(plane, height * width), height, width, value.channels)
            planes.append(g.reshape(g.add("Pad", image, amounts, mode="constant"), -1, value.channels))
        height, width = height + top + bottom, width + left + right
        around = _Value(planes, scale * height, scale * width, value.channels, pitch=width, doubled=value.doubled)
        return around, scale * top - pads[0], scale * left - pads[1]

    # -- one convolution

    def convolve(self, c: Convolve, join: Join | None) -> _Value:
        source, above, before = self.padded(self.values[c.source], c.pads)
        height, width, outputs = c.shape
        if source.doubled and c.weight.shape[1:3] == (3, 3) and c.strides == (1, 1) and join is None:
            blocks = replace(
                c,
                shape=(-(-(height + above) // 2), -(-(width + before) // 2), 4 * outputs),
                weight=merged(c.weight, np.int64),
                bias=np.tile(c.bias, 4),
                gain=np.tile(c.gain, 4),
                shift=np.tile(c.shift, 4),
            )
            rows, columns = source.size
            planes = self.computed(blocks, replace(source, height=rows, width=columns, doubled=False), 0, 0, None)
            planes = [self.graph.reshape(plane, -1, outputs) for plane in planes]
            form = (height, width, outputs, blocks.shape[1], above, before, True)
        else:
            planes = self.computed(c, self.periodic(source), above, before, join)
            form = (height, width, outputs, width, 0, 0, False)
        return _Value(planes, *form)

    def periodic(self, value: _Value) -> _Value:
        """The value so that two rows further are everywhere equally many rows of the tables further."""
        return self.plain(value) if value.doubled and value.blocks else value

    def computed(self, c: Convolve, source: _Value, above: int, before: int, join: Join | None) -> list[str]:
        """Tables of the convolution's bytes, or of its sum with the trunk. No zeros are added."""
        height, width, outputs = c.shape
        rows = _rows_of_a_step(height, width * outputs)
        steps, pixels = -(-height // rows), rows * width
        g = _Graph(self.graph)

        # Row numbers of the first step's taps; each step's are the same plus its own first one. A step is an even
        # number of rows, so all steps' fall on the same rows of doublings and of blocks.
        kh, kw = c.weight.shape[1:3]
        y = np.arange(rows)[:, None] * c.strides[0] + above + np.arange(kh)
        x = np.arange(width)[:, None] * c.strides[1] + before + np.arange(kw)
        taps = source.at(y[:, None, :, None], x[None, :, None, :]).reshape(pixels, kh * kw)
        starts = [source.starts(steps, rows * c.strides[0])]
        index = self.numbered(g, taps, "start", starts[0], source.last)

        total = self.accumulated(g, c, _terms(c, len(source.planes)), source, index, taps.shape, pixels)
        # Values beyond float32's integers keep their order, so clamping comes out the same.
        result = self.clamped(g, g.cast(g.add("Round", total), g.types.FLOAT), c.low, c.high)
        high = c.high
        if join is not None:
            # A blocked branch's channels are those of several pixels.
            down, right = join.shape[0] // height, join.shape[1] // width
            trunk, high = self.periodic(self.values[join.trunk]), join.high
            y = join.top + np.arange(rows)[:, None] * down + np.arange(down)
            x = join.left + np.arange(width)[:, None] * right + np.arange(right)
            at = trunk.at(y[:, None, :, None], x[None, :, None, :]).reshape(pixels, -1)
            starts.append(trunk.starts(steps, rows * down))
            place = self.numbered(g, at, "trunk_start", starts[1], trunk.last)
            for i, plane in enumerate(trunk.planes):
                part = g.cast(g.reshape(g.add("Gather", plane, place), pixels, outputs), g.types.FLOAT)
                result = g.add("Add", result, g.add("Mul", part, g.constant(np.float32(256))) if i else part)
            result = self.clamped(g, result, 0, high)
        return self.scan(g, starts, self.bytes_of(g, result, high), steps, pixels, outputs)

    @staticmethod
    def clamped(g: _Graph, x: str, low: int, high: int) -> str:
        return g.add("Clip", x, g.constant(np.float32(low)), g.constant(np.float32(high)))

    @staticmethod
    def numbered(g: _Graph, index: np.ndarray, start: str, starts: np.ndarray, last: int) -> str:
        """The row numbers of a step; those that only rows beyond the output's have go no further than ``last``."""
        numbers = g.add("Add", g.constant(index.astype(np.int32)), start)
        if int(index.max()) + int(starts.max()) > last:
            numbers = g.add("Min", numbers, g.constant(np.int32(last)))
        return numbers

    def accumulated(
        self,
        g: _Graph,
        c: Convolve,
        terms: list[_Term],
        source: _Value,
        index: str,
        taps: tuple[int, int],
        pixels: int,
    ) -> str:
        """The accumulators times gain over 2**shift, float64 [pixels, outputs]."""
        taken = _Matrices(g, source, index, taps[1], _taps_of_a_group(c), pixels)
        shares = _shares(c.bias, terms)
        fused = all(t.bound() + int(np.abs(s).max()) <= _FLOAT32_EXACT for t, s in zip(terms, shares, strict=True))
        zero = g.constant(np.uint8(0))
        # Per exponent what is still float32, with the bound of its sums.
        narrow: dict[int, list[tuple[str, int]]] = {}
        wide: list[str] = []
        for term, share in zip(terms, shares, strict=True):
            x = taken.matrix(term.group, term.plane)
            scale = np.exp2(term.exponent - c.shift)
            bound = term.bound() + (int(np.abs(share).max()) if fused else 0)
            if bound <= _FLOAT32_EXACT:
                y = self.narrow_product(g, term, x, zero, scale, share * scale if fused else np.zeros(len(c.bias)))
                sums = narrow.setdefault(term.exponent, [])
                if sums and sums[-1][1] + bound <= _FLOAT32_EXACT:
                    other, bounded = sums.pop()
                    y, bound = g.add("Add", other, y), bounded + bound
                sums.append((y, bound))
            else:
                wide.append(self.wide_product(g, term, x, zero, scale))
        wide += [g.cast(y, g.types.DOUBLE) for sums in narrow.values() for y, _ in sums]
        total = wide[0]
        for y in wide[1:]:
            total = g.add("Add", total, y)
        if not fused:
            total = g.add("Add", total, g.constant(c.bias * np.exp2(-c.shift)))
        # Five more bits, within the 53 that are exact.
        return g.add("Mul", total, g.constant(c.gain.astype(np.float64))) if (c.gain != 1).any() else total

    def narrow_product(self, g: _Graph, term: _Term, x: str, zero: str, scale: np.ndarray, bias: np.ndarray) -> str:
        """A term's products times ``scale``, plus ``bias``, float32: for sums that float32 holds."""
        weight, point = self.stored(term)
        return g.add(
            "MatMulIntegerToFloat",
            x,
            g.constant(weight),
            g.constant(np.float32(1)),
            g.constant(scale.astype(np.float32)),
            zero,
            g.constant(point),
            g.constant(bias.astype(np.float32)),
            domain=_MICROSOFT,
        )

    def wide_product(self, g: _Graph, term: _Term, x: str, zero: str, scale: np.ndarray) -> str:
        """A term's products times ``scale``, float64."""
        weight, point = self.stored(term)
        y = g.add("MatMulInteger", x, g.constant(weight), zero, g.constant(point))
        return g.add("Mul", g.cast(y, g.types.DOUBLE), g.constant(scale))

    def stored(self, term: _Term) -> tuple[np.ndarray, np.ndarray]:
        """A term's weights as the matrix product takes them, and their zero points."""
        kind, least = (np.int8, -128) if self.signed else (np.uint8, 0)
        point = least - term.least
        return (term.weight + point).astype(kind), point.astype(kind)

    @staticmethod
    def bytes_of(g: _Graph, y: str, high: int) -> list[str]:
        """float32 integers 0 .. ``high`` as bytes, the low ones first."""
        if high <= 255:
            return [g.cast(y, g.types.UINT8)]
        upper = g.cast(g.add("Mul", y, g.constant(np.float32(1 / 256))), g.types.UINT8)
        return [g.cast(g.cast(y, g.types.UINT16), g.types.UINT8), upper]

    def scan(
        self, body: _Graph, starts: list[np.ndarray], parts: list[str], steps: int, pixels: int, outputs: int
    ) -> list[str]:
        """Tables of all steps' parts."""
        from onnx import helper

        g = self.graph
        names = ["start", "trunk_start"][: len(starts)]
        ins = [helper.make_tensor_value_info(name, g.types.INT32, []) for name in names]
        outs = [helper.make_tensor_value_info(part, g.types.UINT8, [pixels, outputs]) for part in parts]
        step = helper.make_graph(body.nodes, g.name("step"), ins, outs)
        inputs = [g.constant(start.astype(np.int32)) for start in starts]
        results = [g.name("scan") for _ in parts]
        loop = helper.make_node("Scan", inputs, results, name=results[0], body=step, num_scan_inputs=len(inputs))
        g.nodes.append(loop)
        return [g.reshape(result, steps * pixels, outputs) for result in results]


class _Matrices:
    """What a step reads for its products: a matrix [pixels, taps x channels] for each group of taps and each plane.

    ``index`` names the row numbers, [pixels, ``taps``]; a group has ``per_group`` taps, the last one what is left.
    """

    def __init__(self, g: _Graph, source: _Value, index: str, taps: int, per_group: int, pixels: int) -> None:
        self._graph, self._source, self._index = g, source, index
        self._taps, self._per_group, self._pixels = taps, per_group, pixels
        self._made: dict[tuple[int, int], str] = {}

    def matrix(self, group: int, plane: int) -> str:
        """The matrix, gathered when it is first asked for."""
        if (group, plane) not in self._made:
            g = self._graph
            first, last = group * self._per_group, min((group + 1) * self._per_group, self._taps)
            numbers = self._index
            if (first, last) != (0, self._taps):
                ends = [g.constant(np.array([end], np.int64)) for end in (first, last, 1)]
                numbers = g.add("Slice", self._index, *ends)
            gathered = g.add("Gather", self._source.planes[plane], numbers)
            self._made[group, plane] = g.reshape(gathered, self._pixels, (last - first) * self._source.channels)
        return self._made[group, plane]


def _rows_of_a_step(height: int, row: int) -> int:
    """Rows of ``row`` values that a step computes: an even number, with few to spare in the last step."""
    most = max(2, min(height + height % 2, _STEP_VALUES // row // 2 * 2))
    return min(range(2, most + 1, 2), key=lambda rows: -(-height // rows) * rows - height + 8 * (most - rows) / most)


def _taps_of_a_group(c: Convolve) -> int:
    """As many taps of the kernel as one sum of int32 may hold."""
    kernel_height, kernel_width, inputs = c.weight.shape[1:]
    return int(max(1, min(kernel_height * kernel_width, _MOST_PRODUCTS // inputs)))


def _terms(c: Convolve, planes: int) -> list[_Term]:
    """All products of bytes that the convolution consists of."""
    outputs = len(c.weight)
    taps = c.weight.reshape(outputs, -1, c.weight.shape[3]).transpose(1, 2, 0).astype(np.int64)
    per_group = _taps_of_a_group(c)
    terms = []
    for group, first in enumerate(range(0, len(taps), per_group)):
        weight = taps[first : first + per_group].reshape(-1, outputs)
        parts: list[tuple[np.ndarray, np.ndarray, int]] = []
        while int(weight.max(initial=0)) > 127 or int(weight.min(initial=0)) < -128:
            # Bytes around 0, for small sums, but where a column's higher ones would just be too much for one byte.
            least = np.full(outputs, -128)
            if int(np.abs(weight).max()) < 1 << 15:
                least += np.maximum(weight.max(0) - (127 * 256 + 127), 0)
            low = (weight - least) % 256 + least
            parts.append((low, least, 8 * len(parts)))
            weight = (weight - low) >> 8
        parts.append((weight, np.full(outputs, -128), 8 * len(parts)))
        for plane in range(planes):
            for part, least, exponent in parts:
                terms.append(_Term(group, plane, part, least, exponent + 8 * plane))
    return terms


def _shares(bias: np.ndarray, terms: list[_Term]) -> list[np.ndarray]:
    """The bias in the terms' units: as much of it as possible to the highest, what is left to the lower ones."""
    shares = [np.zeros_like(bias) for _ in terms]
    rest = bias.copy()
    for exponent in sorted({t.exponent for t in terms}, reverse=True):
        first = next(i for i, t in enumerate(terms) if t.exponent == exponent)
        shares[first] = rest >> exponent
        rest = rest - (shares[first] << exponent)
    return shares


def build(program: Program, signed: bool = True) -> bytes:
    """The serialised ONNX model of a program, of any number of bits.

    ``signed``: weights are int8, twice as fast, and exact but on x86 without VNNI; else uint8, exact everywhere.
    """
    from onnx import TensorProto, helper

    builder = _Builder(program, signed)
    painting = builder.build()
    g = builder.graph
    g.nodes.append(helper.make_node("Identity", [painting], ["y"], name="y"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, *shape])
        for name, shape in (("x", program.reads.shape), ("y", program.paints.shape))
    ]
    graph = helper.make_graph(g.nodes, "pleinair", ends[:1], ends[1:], g.initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="pleinair")
    data: bytes = model.SerializeToString(deterministic=True)
    return data
