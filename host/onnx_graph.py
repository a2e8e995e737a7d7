"""The integer network as an ONNX graph of int8 operators, exact in ONNX Runtime.

Input ``x`` and output ``y`` are uint8 [1, H, W, 3] with H and W multiples of the network's stride and of 4.
Scales are powers of two and accumulators stay within 2**24, so ONNX Runtime's float32 requantisation
rounds half to even exactly. A branch is stored as uint8 with zero point 128 and joined by QLinearAdd, whose
saturation is the ReLU.

The 3-channel 9x9 convolutions at the ends are slow as they stand. A stride-1 k x k convolution equals a
stride-m one with kernel k + m - 1 that computes an m x m block of outputs as channels, followed by
DepthToSpace: more products, but whole vectors of them. Needs the ``onnx`` package.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host.errors import EngineError
from host.network import Convolution, IntegerNetwork, Residual, Upsample

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


class _Builder:
    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy_helper = helper, numpy_helper
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._count = 0

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"

    def constant(self, value: Any) -> str:
        name = self._name("constant")
        self.initializers.append(self._numpy_helper.from_array(np.asarray(value), name))
        return name

    def scale(self, exponent: Any) -> str:
        return self.constant(np.exp2(np.asarray(exponent, np.float64)).astype(np.float32))

    def add(self, operator: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        output = self._name(operator.lower())
        self.nodes.append(self._helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def clip(self, x: str, low: int, high: int) -> str:
        if (low, high) == (0, 255):
            return x
        return self.add("Clip", [x, self.constant(np.uint8(low)), self.constant(np.uint8(high))])

    def convolution(self, x: str, c: Convolution, block: int) -> str:
        """QLinearConv on uint8; a signed output is stored with zero point 128."""
        weight = blocked_weight(c.weight, block) if block > 1 else c.weight
        repeat = block * block
        offset = 128 if c.signed else 0
        y = self.add(
            "QLinearConv",
            [
                x, self.scale(0), self.constant(np.uint8(0)),
                self.constant(weight.astype(np.int8)), self.scale(np.tile(-c.shift, repeat)),
                self.constant(np.zeros(len(weight), np.int8)),
                self.scale(0), self.constant(np.uint8(offset)),
                self.constant(np.tile(c.bias, repeat).astype(np.int32)),
            ],
            kernel_shape=list(weight.shape[2:]), strides=[c.stride * block] * 2, pads=[c.kernel // 2] * 4,
        )  # fmt: skip
        y = self.clip(y, c.low + offset, c.high + offset)
        return self.add("DepthToSpace", [y], blocksize=block, mode="DCR") if block > 1 else y

    def join(self, trunk: str, branch: str, bits: int) -> str:
        one, zero = self.scale(0), self.constant(np.uint8(0))
        middle = self.constant(np.uint8(128))
        y = self.add("QLinearAdd", [trunk, one, zero, branch, one, middle, one, zero], _MICROSOFT)
        return self.clip(y, 0, (1 << bits) - 1)

    def upsample(self, x: str) -> str:
        return self.add(
            "Resize", [x, "", self.constant(np.array([1, 1, 2, 2], np.float32))],
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip


def build_onnx(network: IntegerNetwork, block: int = BLOCK) -> bytes:
    """The serialised ONNX model. Raises EngineError for more than 8 bits, which int8 operators cannot hold."""
    from onnx import TensorProto, helper

    if network.bits > 8 or any(c.weight_bits > 8 for c in network.convolutions()):
        raise EngineError(f"a {network.bits}-bit network has no int8 graph; paint it with --backend reference")
    b = _Builder()
    x = b.add("Transpose", ["x"], perm=[0, 3, 1, 2])
    for layer in network.layers:
        if isinstance(layer, Upsample):
            x = b.upsample(x)
        elif isinstance(layer, Residual):
            branch = x
            for c in layer.body:
                branch = b.convolution(branch, c, 1)
            x = b.join(x, branch, network.bits)
        else:
            blocked = min(layer.inputs, layer.outputs) < 8 and layer.stride == 1
            x = b.convolution(x, layer, block if blocked else 1)
    b.nodes.append(helper.make_node("Transpose", [x], ["y"], name="y", perm=[0, 2, 3, 1]))
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, [1, "height", "width", 3]) for n in ("x", "y")]
    graph = helper.make_graph(b.nodes, "pleinair", ends[:1], ends[1:], b.initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="pleinair")
    data: bytes = model.SerializeToString(deterministic=True)
    return data
