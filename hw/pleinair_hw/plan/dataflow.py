"""The integer network as a chain of streaming operators: what the accelerator is made of, before it is made.

Every convolution becomes a sliding window, a matrix product and a requantisation, in one of four forms that give the
same integers and differ in what they cost:

- ``direct``: a k x k window of all input channels, as anywhere else.
- ``taps``: only the kernel's columns lie in the window (k x 1); the product gives k partial sums for every output, one
  for each horizontal tap, and :class:`TapSum` adds them along the row (a transposed FIR filter). The same products,
  but the window holds k * C values instead of k * k * C and can be read k times as fast, and three output channels
  become 3 k rows to spread over DSP lanes. For the 9x9 ends.
- ``phases``: nearest x2 upsampling followed by a 3x3 convolution. Each of the four output phases sees only 2x2
  different pixels, so the kernel's columns and rows that fall on the same pixel are added up beforehand: a 2x2
  convolution at low resolution with four times the outputs (4/9 of the products), and :class:`PixelShuffle` puts the
  phases into place. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
  Convolutional Neural Network", CVPR 2016, has the rearrangement; here the weights follow from the network's.

The first convolution of a residual block may be ``centred``: direct, and what goes past the block's body is the middle
pixel of each of its windows (:class:`WindowCentre`) and not the stream before them. The FIFO past the body need then
not hold the rows that this window holds anyway, half of what it holds else.

Space to depth and depth to space are streaming operators of their own. Their channels come in another order than the
network's, a row of a block's pixels after the other (:class:`SpaceToDepth`), and the weights of the convolution
beside them in that order too.

A *trimmed* dataflow pads nowhere. Each convolution gives only the pixels whose windows lie within its input, so that
the frame shrinks from layer to layer, and what goes past a residual block loses its border (:class:`TrimBorder`). The
painting is without the ``inset`` outer pixels on each side, to which the network's zeros reach; all others are equal.

An adaptive convolution ends in a :class:`RequantiseLight`, a *station*, whose numbers may change from frame to frame.
Its positions are always the layer's own: in the form ``phases`` it stands behind the :class:`PixelShuffle`.

All sums are exact integers, so all forms equal ``pleinair.network.reference``; :func:`execute` shows it on any network.
Tensors are NHWC with a batch of one throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from pleinair.engines.lowering import merged
from pleinair.errors import ContractError
from pleinair.network.integer import Convolution, IntegerNetwork, Layer, Norm, Residual, Upsample
from pleinair.network.integer import DepthToSpace as DepthToSpaceLayer
from pleinair.network.integer import SpaceToDepth as SpaceToDepthLayer
from pleinair.network.trimming import check_trimmable
from pleinair_hw.finn import golden

Form = Literal["direct", "taps", "phases", "centred"]
PIXELS = "pixels"


@dataclass(frozen=True)
class Tensor:
    """A stream's frame: ``height`` x ``width`` x ``channels`` integers of ``bits`` bits."""

    height: int
    width: int
    channels: int
    bits: int
    signed: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Values of a frame."""
        return self.pixels * self.channels


@dataclass(frozen=True)
class Operator:
    """One operator: ``inputs`` are names of the operators (or PIXELS) that it reads, ``output`` is what it gives."""

    name: str
    inputs: tuple[str, ...]
    output: Tensor


@dataclass(frozen=True)
class Window(Operator):
    """Zero padding (``top, left, bottom, right``) and a sliding window of ``kernel`` (rows, columns) pixels.

    The output's channels are row-major over the window, the pixel's channels fastest.
    """

    kernel: tuple[int, int]
    stride: int
    pad: tuple[int, int, int, int]
    source: Tensor

    @property
    def padded(self) -> Tensor:
        """The frame with its border."""
        top, left, bottom, right = self.pad
        s = self.source
        return Tensor(s.height + top + bottom, s.width + left + right, s.channels, s.bits, s.signed)


@dataclass(frozen=True)
class MatrixProduct(Operator):
    """``x @ weight`` with int64 [MW, MH] narrow weights of ``weight_bits``; the output holds every possible sum."""

    weight: np.ndarray
    weight_bits: int
    activation_bits: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates a frame."""
        return self.output.pixels * self.weight.size


@dataclass(frozen=True)
class TapSum(Operator):
    """Adds ``taps`` partial sums along the row, drops ``lead`` outputs. Padding is part of the input, on the right."""

    taps: int
    lead: int


@dataclass(frozen=True)
class Requantise(Operator):
    """``clamp(round_half_even((x + bias) / 2**shift))`` per channel: int64 [C] each."""

    bias: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class RequantiseLight(Operator):
    """A station: ``clamp(round_half_even((x + bias) * multiplier / 2**shift))`` in a light that may change.

    ``bias``, ``multiplier`` (1 .. 31) and ``shift``, int64 [C] each, are the light that the network holds, in effect
    after a reset. Any light's shift is 0 .. ``longest``, and the magnitude of its bias at most ``room``, int64 [C].
    ``layer`` is the convolution's name. While metering, the convolution runs with ``norm.meter_bias``,
    ``norm.meter_multiplier`` and ``norm.meter_shift``, and what is summed is clamped to 0 .. 255, whatever the range of
    the output.
    """

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    layer: str
    norm: Norm
    longest: int
    room: np.ndarray

    @property
    def bias_bits(self) -> int:
        """Width of the two's complement integer that holds any light's bias."""
        greatest = int(self.room.max())
        return signed_bits(-greatest, greatest)


@dataclass(frozen=True)
class SpaceToDepth(Operator):
    """A block of ``block`` x ``block`` pixels becomes one.

    Channel c of row i and column j of the block becomes channel ``(i * block + j) * C + c``.
    """

    block: int


@dataclass(frozen=True)
class PixelShuffle(Operator):
    """Four phases, channels ``(2 * a + b) * O`` and on, to pixels of twice the resolution.

    With a ``border`` the phases are those of a (H + 1) x (W + 1) grid of overlapping windows, whose outer ones are
    dropped: 2 H x 2 W pixels. Without, the phases of an H x W grid, of which none is dropped.
    """

    border: bool = True


@dataclass(frozen=True)
class UpsampleNearest(Operator):
    """Every pixel becomes 2 x 2."""


@dataclass(frozen=True)
class Fork(Operator):
    """The stream twice: to a residual block's body (first) and past it (second).

    Where the body's first convolution is centred it stands behind that one's window, else before it.
    """


@dataclass(frozen=True)
class WindowCentre(Operator):
    """The middle pixel of each window of ``pixels`` pixels, an odd number."""

    pixels: int


@dataclass(frozen=True)
class TrimBorder(Operator):
    """The frame without ``border`` pixels on each side."""

    border: int


@dataclass(frozen=True)
class AddClamp(Operator):
    """Trunk plus signed branch, clamped to the unsigned output's range."""


@dataclass(frozen=True)
class Dataflow:
    """Operators in order of execution, from the uint8 pixels (NHWC, ``source``) to the last operator's output."""

    operators: tuple[Operator, ...]
    source: Tensor
    network: IntegerNetwork

    def operator(self, name: str) -> Operator:
        """The operator of that name."""
        return next(o for o in self.operators if o.name == name)

    def consumers(self, name: str) -> list[Operator]:
        """Operators that read ``name``."""
        return [o for o in self.operators if name in o.inputs]

    @property
    def stations(self) -> tuple[RequantiseLight, ...]:
        """The requantisations whose numbers are a light's, in order of execution."""
        return tuple(o for o in self.operators if isinstance(o, RequantiseLight))

    @property
    def inset(self) -> int:
        """Pixels on each side of ``source`` that the output is without; 0 unless it is trimmed."""
        return (self.source.height - self.operators[-1].output.height) // 2

    def input_of(self, operator: Operator, number: int = 0) -> Tensor:
        """What an operator reads."""
        name = operator.inputs[number]
        return self.source if name == PIXELS else self.operator(name).output

    @property
    def macs(self) -> int:
        """Multiply-accumulates a frame, as the matrix products do them."""
        return sum(o.macs for o in self.operators if isinstance(o, MatrixProduct))


def rounding_offset(bias: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a requantisation adds before it shifts, int64 [C]: the bias and the half that rounds."""
    offset: np.ndarray = bias + np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return offset


def signed_bits(low: int, high: int) -> int:
    """Width of the two's complement integer that holds ``low`` .. ``high``."""
    return max((high if high >= 0 else ~high).bit_length(), (low if low >= 0 else ~low).bit_length()) + 1


def _sum_bits(weight: np.ndarray, input_high: int) -> int:
    """Signed width of any x @ weight, x in 0 .. ``input_high``; weight [MW, MH]."""
    high = int(np.where(weight > 0, weight, 0).sum(0).max(initial=0)) * input_high
    low = int(np.where(weight < 0, weight, 0).sum(0).min(initial=0)) * input_high
    return signed_bits(low, high)


def _accumulator_bits(weight: np.ndarray, input_high: int, weight_bits: int, activation_bits: int) -> int:
    # mvu.sv ends the simulation when its accumulator is narrower than one product.
    return max(_sum_bits(weight, input_high), weight_bits + activation_bits)


def narrow_bits(weight: np.ndarray) -> int:
    """Least width whose narrow range -(2**(b-1) - 1) .. 2**(b-1) - 1 holds the weights."""
    return int(np.abs(weight).max(initial=1)).bit_length() + 1


def possible_forms(convolution: Convolution, upsampled: bool, *, heads_block: bool = False) -> tuple[Form, ...]:
    """The forms a convolution may take.

    ``upsampled`` says that an upsampling stands before it, ``heads_block`` that it is the first of a residual block.
    """
    forms: list[Form] = ["direct"]
    if convolution.stride == 1 and convolution.kernel >= 3 and not upsampled:
        forms.append("taps")
    if upsampled and convolution.kernel == 3 and convolution.stride == 1:
        forms.append("phases")
    if heads_block and convolution.kernel > 1:
        forms.append("centred")
    return tuple(forms)


def _matrix(kernel: np.ndarray) -> np.ndarray:
    """[O, I, kh, kw] to [kh * kw * I, O], as the window orders it."""
    matrix: np.ndarray = kernel.astype(np.int64).transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
    return matrix


def _blocks_first(channels: int, block: int) -> np.ndarray:
    """The network's channels, ``c * block**2 + i * block + j``, in the order ``(i * block + j) * C + c``: int64."""
    return np.arange(channels).reshape(-1, block * block).T.reshape(-1)


def _reordered(layers: tuple[Layer, ...]) -> list[Layer]:
    """The layers, with the weights beside space to depth and depth to space in the order of our operators."""
    result = list(layers)
    for number, layer in enumerate(layers):
        if isinstance(layer, SpaceToDepthLayer):
            c = result[number + 1]
            assert isinstance(c, Convolution)
            result[number + 1] = replace(c, weight=c.weight[:, _blocks_first(c.inputs, layer.block)])
        elif isinstance(layer, DepthToSpaceLayer):
            c = result[number - 1]
            assert isinstance(c, Convolution)
            result[number - 1] = _outputs_in_order(c, _blocks_first(c.outputs, layer.block))
    return result


def _outputs_in_order(c: Convolution, order: np.ndarray) -> Convolution:
    """The convolution with its outputs in another order."""
    norm = c.norm and Norm(*(getattr(c.norm, field.name)[order] for field in fields(Norm)))
    gain = None if c.multiplier is None else c.multiplier[order]
    return replace(c, weight=c.weight[order], bias=c.bias[order], shift=c.shift[order], multiplier=gain, norm=norm)


class _Builder:
    def __init__(self, source: Tensor, bits: int, forms: Mapping[str, Form], trimmed: bool) -> None:
        self.operators: list[Operator] = []
        self.at, self.tensor, self.bits, self.forms, self.trimmed = PIXELS, source, bits, forms, trimmed

    def add(self, operator: Operator) -> None:
        self.operators.append(operator)
        self.at, self.tensor = operator.name, operator.output

    def window(self, name: str, kernel: tuple[int, int], stride: int, pad: tuple[int, int, int, int]) -> None:
        s = self.tensor
        if kernel == (1, 1) and stride == 1:
            return
        if self.trimmed:
            pad = (0, 0, 0, 0)
        rows = (s.height + pad[0] + pad[2] - kernel[0]) // stride + 1
        columns = (s.width + pad[1] + pad[3] - kernel[1]) // stride + 1
        out = Tensor(rows, columns, kernel[0] * kernel[1] * s.channels, s.bits)
        self.add(Window(f"{name}.window", (self.at,), out, kernel, stride, pad, s))

    def product(self, name: str, weight: np.ndarray, weight_bits: int) -> None:
        s = self.tensor
        bits = _accumulator_bits(weight, (1 << s.bits) - 1, weight_bits, s.bits)
        out = Tensor(s.height, s.width, weight.shape[1], bits, True)
        self.add(MatrixProduct(f"{name}.product", (self.at,), out, weight, weight_bits, s.bits))

    def requantise(self, c: Convolution, high: int, repeats: int = 1) -> None:
        s, name = self.tensor, f"{c.name}.requantise"
        out = Tensor(s.height, s.width, s.channels, c.out_bits, c.signed)
        if c.norm is None:
            bias, shift = np.tile(c.bias, repeats), np.tile(c.shift, repeats)
            self.add(Requantise(name, (self.at,), out, bias, shift))
            return
        limit = 1 << (47 if max(self.bits, c.weight_bits) > 8 else 24)
        room = limit - c.weight_sums * high
        longest = c.longest_shift(self.bits)
        self.add(
            RequantiseLight(name, (self.at,), out, c.bias, c.gain, c.shift, c.name, c.norm, longest=longest, room=room)
        )

    def shuffle(self, name: str, outputs: int, *, border: bool) -> None:
        s = self.tensor
        out = Tensor(2 * (s.height - border), 2 * (s.width - border), outputs, s.bits, s.signed)
        self.add(PixelShuffle(name, (self.at,), out, border))

    def space_to_depth(self, name: str, block: int) -> None:
        s = self.tensor
        out = Tensor(s.height // block, s.width // block, s.channels * block * block, s.bits)
        self.add(SpaceToDepth(name, (self.at,), out, block))

    def convolution(self, c: Convolution) -> None:
        reach, form, high = c.kernel // 2, self.forms.get(c.name, "direct"), (1 << self.tensor.bits) - 1
        if form in ("direct", "centred"):
            # With stride 2 on an even side nothing looks at the padding on the right and below.
            far = reach if c.stride == 1 else max(0, c.kernel - c.stride - reach)
            self.window(c.name, (c.kernel, c.kernel), c.stride, (reach, reach, far, far))
            if form == "centred":
                self.add(Fork(f"{c.name}.fork", (self.at,), self.tensor))
                fork, windows = self.at, self.tensor
                centre = replace(windows, channels=c.inputs)
                self.add(WindowCentre(f"{c.name}.centre", (fork,), centre, c.kernel**2))
                self.at, self.tensor = fork, windows
            self.product(c.name, _matrix(c.weight), c.weight_bits)
            self.requantise(c, high)
        elif form == "taps":
            bound = c.accumulator_bound(high) if c.norm is None else c.weight_sums * high
            total = signed_bits(-int(bound.max()), int(bound.max()))
            self.window(c.name, (c.kernel, 1), 1, (reach, 0, reach, reach))
            columns = c.weight.transpose(0, 3, 1, 2)  # [O, t, I, rows]: tap t of output o is row o * k + t
            matrix = columns.reshape(c.outputs * c.kernel, c.inputs, c.kernel, 1)
            self.product(c.name, _matrix(matrix), c.weight_bits)
            s, lead = self.tensor, 2 * reach if self.trimmed else reach
            out = Tensor(s.height, s.width - lead, c.outputs, max(total, s.bits), True)
            self.add(TapSum(f"{c.name}.tapsum", (self.at,), out, c.kernel, lead))
            self.requantise(c, high)
        else:
            weight = merged(c.weight.transpose(0, 2, 3, 1), np.int64).transpose(0, 3, 1, 2)
            self.window(c.name, (2, 2), 1, (1, 1, 1, 1))
            self.product(c.name, _matrix(weight), max(narrow_bits(weight), c.weight_bits))
            if c.norm is None:
                self.requantise(c, high, 4)
            self.shuffle(f"{c.name}.shuffle", c.outputs, border=not self.trimmed)
            if c.norm is not None:
                self.requantise(c, high)

    def upsample(self, name: str) -> None:
        s = self.tensor
        out = Tensor(2 * s.height, 2 * s.width, s.channels, s.bits)
        self.add(UpsampleNearest(f"{name}.upsample", (self.at,), out))

    def residual(self, layer: Residual) -> None:
        first, trunk = layer.body[0], self.tensor
        centred = self.forms.get(first.name) == "centred"
        if not centred:
            self.add(Fork(f"{first.name}.fork", (self.at,), trunk))
        for c in layer.body:
            self.convolution(c)
        branch, out = self.at, replace(self.tensor, channels=trunk.channels, bits=self.bits, signed=False)
        past = f"{first.name}.{'centre' if centred else 'fork'}"
        border = sum(c.kernel // 2 for c in layer.body[centred:]) if self.trimmed else 0
        if border:
            self.add(TrimBorder(f"{first.name}.trim", (past,), replace(out, bits=trunk.bits), border))
            past = self.at
        self.at = branch
        self.add(AddClamp(f"{layer.body[-1].name}.add", (past, self.at), out))


def build_dataflow(
    network: IntegerNetwork, height: int, width: int, forms: Mapping[str, Form] | None = None, *, trimmed: bool = False
) -> Dataflow:
    """The operators of a network for frames of ``height`` x ``width`` pixels, margin included.

    ``forms``: a form for each convolution by name; those not named are direct. ``trimmed``: without padding. Raises
    ContractError when the size is no multiple of the network's stride, OptionError for what cannot be trimmed,
    ValueError for a form that a convolution cannot take.
    """
    if height % network.stride or width % network.stride or min(height, width) < network.stride:
        raise ContractError(f"a frame of {width}x{height}: sides must be multiples of {network.stride}")
    if trimmed:
        check_trimmable(network, height, width)
    forms = forms or {}
    source = Tensor(height, width, 3, 8)
    builder = _Builder(source, network.bits, forms, trimmed)
    pending: Upsample | None = None
    for layer in _reordered(network.layers):
        if isinstance(layer, Upsample):
            if pending is not None:
                builder.upsample(f"{builder.at}.twice")
            pending = layer
            continue
        if isinstance(layer, SpaceToDepthLayer):
            builder.space_to_depth(f"{next(network.convolutions()).name}.blocks", layer.block)
            continue
        if isinstance(layer, DepthToSpaceLayer):
            last = builder.at.rsplit(".", 1)[0]
            builder.shuffle(f"{last}.pixels", builder.tensor.channels // layer.block**2, border=False)
            continue
        first = layer if isinstance(layer, Convolution) else layer.body[0]
        body = (layer,) if isinstance(layer, Convolution) else layer.body
        for c in body:
            form = forms.get(c.name, "direct")
            allowed = possible_forms(
                c, pending is not None and c is layer, heads_block=isinstance(layer, Residual) and c is first
            )
            if form not in allowed:
                raise ValueError(f"layer {c.name} cannot take the form {form}: allowed are {', '.join(allowed)}")
        if pending is not None and forms.get(first.name, "direct") != "phases":
            builder.upsample(first.name)
        pending = None
        if isinstance(layer, Convolution):
            builder.convolution(layer)
        else:
            builder.residual(layer)
    return Dataflow(tuple(builder.operators), source, network)


def _window(x: np.ndarray, o: Window) -> np.ndarray:
    top, left, bottom, right = o.pad
    padded = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    rows, columns = o.output.height, o.output.width
    parts = [
        padded[i : i + rows * o.stride : o.stride, j : j + columns * o.stride : o.stride][:rows, :columns]
        for i in range(o.kernel[0])
        for j in range(o.kernel[1])
    ]
    result: np.ndarray = np.concatenate(parts, -1)
    return result


def execute(
    dataflow: Dataflow, frame: np.ndarray, watch: Callable[[Operator, np.ndarray], None] | None = None
) -> np.ndarray:
    """Run the operators in int64 NumPy on a uint8 [H, W, 3] frame; uint8 [H, W, 3], smaller by twice the inset.

    ``watch`` is called with each operator and its output, int64 [H, W, C].
    """
    values: dict[str, np.ndarray] = {PIXELS: frame.astype(np.int64)}
    result = values[PIXELS]
    for o in dataflow.operators:
        x = values[o.inputs[0]]
        if isinstance(o, Window):
            result = _window(x, o)
        elif isinstance(o, MatrixProduct):
            result = x @ o.weight
        elif isinstance(o, TapSum):
            result = golden.tap_sum(x, o.taps, o.lead)
        elif isinstance(o, Requantise):
            result = golden.requant_shift(x, o.bias, o.shift, o.output.bits, o.output.signed)
        elif isinstance(o, RequantiseLight):
            result = golden.requant_light(x, o.bias, o.multiplier, o.shift, bits=o.output.bits, signed=o.output.signed)
        elif isinstance(o, SpaceToDepth):
            result = golden.space_to_depth(x, o.block)
        elif isinstance(o, PixelShuffle):
            result = golden.pixel_shuffle(x, border=o.border)
        elif isinstance(o, UpsampleNearest):
            result = golden.upsample(x)
        elif isinstance(o, WindowCentre):
            result = golden.window_centre(x, o.pixels)
        elif isinstance(o, TrimBorder):
            result = golden.trim_border(x, o.border)
        elif isinstance(o, AddClamp):
            result = golden.add_clamp(x, values[o.inputs[1]], o.output.bits)
        else:
            result = x
        values[o.name] = result
        if watch is not None:
            watch(o, result)
    return result.astype(np.uint8)
