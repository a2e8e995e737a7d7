"""Networks as ONNX graphs of standard operators, for any size of frame and for other programs, too.

Input ``x`` and output ``y`` are uint8 [1, H, W, 3]; H and W are multiples of the network's stride and of 4. These
graphs are ``cpu-8bit.onnx`` of a model's folder, and the float network's. To paint integer networks the processor
uses other graphs, made for one size of frame (pleinair.engines.onnxruntime).

Up to 8 bits: int8 operators. Scales are powers of two and accumulators stay within 2**24, so ONNX Runtime's
float32 requantisation rounds half to even exactly. A branch is stored as uint8 with zero point 128 and joined
by QLinearAdd, whose saturation is the ReLU.

The 3-channel 9x9 convolutions at the ends are slow as they stand. A stride-1 k x k convolution equals a
stride-m one with kernel k + m - 1 that computes an m x m block of outputs as channels, followed by
DepthToSpace: more products, but whole vectors of them. Needs the ``onnx`` package.

A float network's instance norm is InstanceNormalization where its statistics are the whole image's. Where they are a
frame's inside its margin, they are computed of a slice, variance after mean, and a multiplication and an addition
follow. A doubling becomes part of the convolution after it, which then computes four pixels of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pleinair.errors import ContractError
from pleinair.network.floating import (
    EPSILON,
    FloatConvolution,
    FloatNetwork,
    FloatNorm,
    FloatResidual,
    Place,
    counted,
)
from pleinair.network.integer import Convolution, DepthToSpace, IntegerNetwork, Residual, SpaceToDepth, Upsample

#: Outputs per side that one step of a blocked end computes.
BLOCK = 4
_MICROSOFT = "com.microsoft"


def blocked_weight(weight: np.ndarray, block: int) -> np.ndarray:
    """Weights [O, I, k, k] as [block * block * O, I, k + block - 1, ...] for a stride of ``block``.

    Channel (r * block + c) * O + o computes output channel o at row r and column c of a block
    (DepthToSpace's DCR order).
    """
    outputs, inputs, kernel, _ = weight.shape
    side = kernel + block - 1
    wide = np.zeros((block * block, outputs, inputs, side, side), weight.dtype)
    for r in range(block):
        for c in range(block):
            wide[r * block + c, :, :, r : r + kernel, c : c + kernel] = weight
    return wide.reshape(block * block * outputs, inputs, side, side)


def folded(weight: np.ndarray, block: int) -> np.ndarray:
    """Weights [O, C * block**2, k, k] after space to depth as [O, C, k * block, k * block] before it.

    The convolution then has a stride of ``block`` and reads k // 2 * block pixels before its own block.
    """
    outputs, inputs, kernel, _ = weight.shape
    parts = weight.reshape(outputs, inputs // block**2, block, block, kernel, kernel)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(outputs, -1, kernel * block, kernel * block)


def doubled_weight(weight: np.ndarray) -> np.ndarray:
    """Weights [O, I, k, k] after a doubling as [4 * O, I, r, r] before it, without it.

    Channel o * 4 + p * 2 + q computes the output channel o at row p and column q of the two by two pixels that the
    doubling makes of one (DepthToSpace's CRD order).
    """
    outputs, inputs, kernel, _ = weight.shape
    reach = (kernel // 2 + 1) // 2
    side = 2 * reach + 1
    # Where row p of the two finds what tap i reads, before the doubling.
    taps = [[(p + i - kernel // 2) // 2 + reach for i in range(kernel)] for p in (0, 1)]
    merged = np.zeros((outputs, 2, 2, inputs, side, side), np.float64)
    for p in (0, 1):
        for q in (0, 1):
            for i, row in enumerate(taps[p]):
                for j, column in enumerate(taps[q]):
                    merged[:, p, q, :, row, column] += weight[:, :, i, j]
    return merged.reshape(4 * outputs, inputs, side, side).astype(weight.dtype)


class _Builder:
    """Nodes and constants, and what both kinds of graph have in common."""

    #: Whether a doubling becomes part of the convolution after it.
    merges_doublings = False

    def __init__(self) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._helper, self._numpy_helper, self.types = helper, numpy_helper, TensorProto
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._count = 0
        #: The input's size as a multiple of the present layer's.
        self.scale_down = 1

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"

    def constant(self, value: Any) -> str:
        name = self._name("constant")
        self.initializers.append(self._numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        output = self._name(operator.lower())
        self.nodes.append(self._helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def cast(self, x: str, to: int) -> str:
        return self.add("Cast", [x], to=to)

    def unblock(self, x: str, block: int) -> str:
        return self.add("DepthToSpace", [x], blocksize=block, mode="DCR") if block > 1 else x

    def enlarge(self, x: str, block: int) -> str:
        """Depth to space, in the order of torch's ``pixel_shuffle``."""
        return self.add("DepthToSpace", [x], blocksize=block, mode="CRD")

    def upsample(self, x: str) -> str:
        return self.add(
            "Resize",
            [x, "", self.constant(np.array([1, 1, 2, 2], np.float32))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def enter(self, x: str) -> str:
        """The pixels, uint8 [1, 3, H, W]."""
        return x

    def convolution(self, x: str, c: Any, block: int, deep: int = 1, doubled: bool = False) -> str:
        """A convolution with all that follows it, computed in blocks of ``block`` x ``block`` outputs.

        ``deep``: the block of a space to depth before it, which becomes part of the convolution. ``doubled``: so does a
        doubling before it.
        """
        raise NotImplementedError

    def residual(self, x: str, body: Any, bits: int) -> str:
        """The body's output added to ``x``, clamped."""
        raise NotImplementedError

    def leave(self, x: str) -> str:
        """The last convolution's output as uint8."""
        return x


class _Int8(_Builder):
    """Up to 8 bits."""

    def scale(self, exponent: Any) -> str:
        return self.constant(np.exp2(np.asarray(exponent, np.float64)).astype(np.float32))

    def clip(self, x: str, low: int, high: int) -> str:
        if (low, high) == (0, 255):
            return x
        return self.add("Clip", [x, self.constant(np.uint8(low)), self.constant(np.uint8(high))])

    def convolution(self, x: str, c: Convolution, block: int, deep: int = 1, doubled: bool = False) -> str:
        """QLinearConv on uint8; a signed output is stored with zero point 128."""
        weight = folded(c.weight, deep) if deep > 1 else blocked_weight(c.weight, block) if block > 1 else c.weight
        repeat = block * block
        offset = 128 if c.signed else 0
        y = self.add(
            "QLinearConv",
            [
                # the input, its scale and zero point; then the same of the weights, of the output; the bias
                x,
                self.scale(0),
                self.constant(np.uint8(0)),
                self.constant(weight.astype(np.int8)),
                self.constant(np.tile(c.gain * np.exp2(-c.shift.astype(np.float64)), repeat).astype(np.float32)),
                self.constant(np.zeros(len(weight), np.int8)),
                self.scale(0),
                self.constant(np.uint8(offset)),
                self.constant(np.tile(c.bias, repeat).astype(np.int32)),
            ],
            kernel_shape=list(weight.shape[2:]),
            strides=[c.stride * block * deep] * 2,
            pads=[c.kernel // 2 * deep] * 4,
        )
        return self.unblock(self.clip(y, c.low + offset, c.high + offset), block)

    def residual(self, x: str, body: tuple[Convolution, ...], bits: int) -> str:
        branch = x
        for c in body:
            branch = self.convolution(branch, c, 1)
        one, zero = self.scale(0), self.constant(np.uint8(0))
        middle = self.constant(np.uint8(128))
        y = self.add("QLinearAdd", [x, one, zero, branch, one, middle, one, zero], _MICROSOFT)
        return self.clip(y, 0, (1 << bits) - 1)


class _Float(_Builder):
    """The float network. ``place`` is that of the frame whose statistics its norms take; None for the whole image."""

    merges_doublings = True

    def __init__(self, place: Place | None) -> None:
        super().__init__()
        self._place = place

    def single(self, value: Any) -> str:
        return self.constant(np.asarray(value, np.float32))

    def enter(self, x: str) -> str:
        return self.add("Mul", [self.cast(x, self.types.FLOAT), self.single(1 / 256)])

    def convolution(self, x: str, c: FloatConvolution, block: int, deep: int = 1, doubled: bool = False) -> str:
        weight, bias = c.weight, c.bias
        if deep > 1:
            x, weight = self.add("SpaceToDepth", [x], blocksize=deep), _in_onnx_order(weight, deep)
        if doubled:
            weight, bias = doubled_weight(weight), np.repeat(bias, 4)
        elif block > 1:
            weight, bias = blocked_weight(weight, block), np.tile(bias, block * block)
        side = weight.shape[2]
        y = self.add(
            "Conv",
            [x, self.single(weight), self.single(bias)],
            kernel_shape=[side, side],
            strides=[c.stride * (1 if doubled else block)] * 2,
            pads=[side // 2 if doubled else c.kernel // 2] * 4,
        )
        # The norm is of channels, so their pixels are put in order first.
        y = self.enlarge(y, 2) if doubled else y
        if c.norm is None:
            return self.unblock(self.add("Relu", [y]) if c.relu else y, 1 if doubled else block)
        y = self.normalise(y if doubled else self.unblock(y, block), c.norm)
        return self.add("Relu", [y]) if c.relu else y

    def normalise(self, y: str, norm: FloatNorm) -> str:
        if self._place is None:
            return self.add(
                "InstanceNormalization", [y, self.single(norm.gamma), self.single(norm.beta)], epsilon=EPSILON
            )
        rows, columns = counted(self._place, self.scale_down)
        ends = [np.array(v) for v in ([rows.start, columns.start], [rows.stop, columns.stop], [2, 3])]
        inner = self.add("Slice", [y, *(self.constant(v) for v in ends)])
        mean = self.add("ReduceMean", [inner], axes=[2, 3])
        squares = self.add("ReduceSumSquare", [self.add("Sub", [inner, mean])], axes=[2, 3])
        count = (rows.stop - rows.start) * (columns.stop - columns.start)
        variance = self.add("Mul", [squares, self.single(1 / count)])
        deviation = self.add("Sqrt", [self.add("Add", [variance, self.single(EPSILON)])])
        gain = self.add("Div", [self.single(norm.gamma.reshape(1, -1, 1, 1)), deviation])
        offset = self.add("Sub", [self.single(norm.beta.reshape(1, -1, 1, 1)), self.add("Mul", [mean, gain])])
        return self.add("Add", [self.add("Mul", [y, gain]), offset])

    def residual(self, x: str, body: tuple[FloatConvolution, ...], bits: int) -> str:
        branch = x
        for c in body:
            branch = self.convolution(branch, c, 1)
        return self.add("Relu", [self.add("Add", [x, branch])])

    def leave(self, x: str) -> str:
        y = self.add("Round", [self.add("Mul", [x, self.single(256)])])
        return self.cast(self.add("Clip", [y, self.single(0), self.single(255)]), self.types.UINT8)


def _in_onnx_order(weight: np.ndarray, block: int) -> np.ndarray:
    """Weights [O, C * block**2, k, k] for the channels of ONNX's SpaceToDepth, ``(i * block + j) * C + c``."""
    outputs, inputs, kernel, _ = weight.shape
    parts = weight.reshape(outputs, inputs // block**2, block**2, kernel, kernel)
    return parts.transpose(0, 2, 1, 3, 4).reshape(weight.shape)


def _builder(network: IntegerNetwork | FloatNetwork, place: Place | None) -> _Builder:
    if isinstance(network, FloatNetwork):
        return _Float(place)
    if network.wide:
        raise ContractError(f"a network of {network.bits} bits, or with wider weights: int8 operators hold up to 8")
    return _Int8()


def build_onnx(network: IntegerNetwork | FloatNetwork, block: int = BLOCK, place: Place | None = None) -> bytes:
    """The serialised ONNX model of a validated network. Raises ContractError for an integer one above 8 bits.

    ``place``: where in the image the frame is whose statistics a float network's norms take; None for all of it.
    """
    b = _builder(network, place)
    x, deep, doubled = b.enter(b.add("Transpose", ["x"], perm=[0, 3, 1, 2])), 1, False
    for layer, following in zip(network.layers, (*network.layers[1:], None), strict=True):
        b.scale_down = b.scale_down * layer.down // layer.up
        if isinstance(layer, Upsample):
            doubled = b.merges_doublings and isinstance(following, FloatConvolution) and following.stride == 1
            x = x if doubled else b.upsample(x)
        elif isinstance(layer, Residual | FloatResidual):
            x = b.residual(x, layer.body, network.bits)
        elif isinstance(layer, SpaceToDepth):
            deep = layer.block
        elif isinstance(layer, DepthToSpace):
            x = b.enlarge(x, layer.block)
        else:
            # Farther down a side need not be a multiple of the block.
            blocked = min(layer.inputs, layer.outputs) < 8 and layer.stride == b.scale_down == 1
            x = b.convolution(x, layer, block if blocked else 1, deep, doubled)
            deep, doubled = 1, False
    return _model(b, x)


def _model(b: _Builder, x: str) -> bytes:
    """The serialised model whose last convolution gives ``x``."""
    from onnx import TensorProto, helper

    b.nodes.append(helper.make_node("Transpose", [b.leave(x)], ["y"], name="y", perm=[0, 2, 3, 1]))
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, [1, "height", "width", 3]) for n in ("x", "y")]
    graph = helper.make_graph(b.nodes, "pleinair", ends[:1], ends[1:], b.initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="pleinair")
    data: bytes = model.SerializeToString(deterministic=True)
    return data
