"""QONNX to the integer network: the scales are divided out, what remains are integers and shifts.

Reads graphs of Quant, Conv, Relu, Add and Resize whose scales are powers of two, as
``pleinair_training.export`` writes them (Brevitas's exporter, cleaned up by qonnx). Anything else is refused with
the node's name. Needs the ``onnx`` package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError
from pleinair.network.integer import (
    MAX_CONVOLUTIONS,
    MAX_FILE_BYTES,
    Convolution,
    IntegerNetwork,
    Layer,
    Residual,
    Upsample,
    validate,
)

_PIXEL_EXPONENT = -8


@dataclass(frozen=True)
class _Value:
    """An activation tensor: how it was made, its exponent, width and sign."""

    kind: str  # pixels | convolution | residual | upsample
    exponent: int
    bits: int
    signed: bool
    sources: tuple[str, ...] = ()
    convolution: Convolution | None = None


@dataclass(frozen=True)
class _Pending:
    """What awaits its Quant node: a convolution's accumulator or a sum."""

    kind: str
    sources: tuple[str, ...]
    exponent: np.ndarray
    rectified: bool = False
    name: str = ""
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    stride: int = 1
    weight_bits: int = 0


class _Reader:
    def __init__(self, graph: Any, name: str) -> None:
        from onnx import helper, numpy_helper

        self._attribute, self.name, self.graph = helper.get_attribute_value, name, graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.producers = {output: node for node in graph.node for output in node.output}
        self.values: dict[str, _Value] = {}
        self.pending: dict[str, _Pending] = {}

    def refuse(self, node: Any, what: str) -> ModelError:
        return ModelError(f"network {self.name}: node {node.name or node.op_type}: {what}")

    def attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self._attribute(a) for a in node.attribute}

    def exponents(self, node: Any, scale: np.ndarray) -> np.ndarray:
        scale = np.asarray(scale, np.float64).reshape(-1)
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise self.refuse(node, "a scale is not positive")
        mantissa, exponent = np.frexp(scale)
        if np.any(mantissa != 0.5):
            raise self.refuse(node, f"scale {float(scale[mantissa != 0.5][0])!r} is not a power of two")
        powers: np.ndarray = exponent.astype(np.int64) - 1
        return powers

    def constant(self, node: Any, tensor: str) -> np.ndarray:
        if tensor not in self.constants:
            raise self.refuse(node, f"{tensor} is not a constant")
        return np.asarray(self.constants[tensor])

    def quantiser(self, node: Any) -> tuple[np.ndarray, int, bool, bool]:
        """Exponents [1 or C], width, signed and narrow of a Quant node."""
        scale, zero, width = (self.constant(node, name) for name in node.input[1:])
        attributes = self.attributes(node)
        if np.any(zero != 0):
            raise self.refuse(node, f"zero point {float(np.ravel(zero)[0])}, need 0")
        if attributes.get("rounding_mode") != b"ROUND":
            raise self.refuse(node, f"rounding {attributes.get('rounding_mode')!r}, need ROUND (half to even)")
        bits = float(np.ravel(width)[0])
        if width.size != 1 or bits != int(bits) or not 2 <= bits <= 62:
            raise self.refuse(node, f"bit width {bits}")
        return self.exponents(node, scale), int(bits), bool(attributes["signed"]), bool(attributes["narrow"])

    def integers(self, consumer: Any, tensor: str) -> tuple[np.ndarray, np.ndarray, int, bool]:
        """Constant behind a Quant node: integers, exponents, width, narrow."""
        node = self.producers.get(tensor)
        if node is None or node.op_type != "Quant":
            raise self.refuse(consumer, f"{tensor} is not quantised")
        exponents, bits, signed, narrow = self.quantiser(node)
        if not signed:
            raise self.refuse(node, "unsigned, need signed")
        values = self.constant(node, node.input[0]).astype(np.float64)
        if not np.all(np.isfinite(values)):
            raise self.refuse(node, "a value is not finite")
        scale = np.exp2(exponents.astype(np.float64)).reshape(-1, *[1] * (values.ndim - 1))
        greatest = (1 << (bits - 1)) - 1
        low = -greatest if narrow else -greatest - 1
        return np.clip(np.rint(values / scale), low, greatest).astype(np.int64), exponents, bits, narrow

    def source(self, node: Any, tensor: str) -> _Value:
        if tensor not in self.values:
            raise self.refuse(node, f"its input {tensor} is not a quantised activation")
        return self.values[tensor]

    def convolution(self, node: Any) -> None:
        attributes = self.attributes(node)
        if len(node.input) != 3:
            raise self.refuse(node, "no bias")
        source = self.source(node, node.input[0])
        weight, weight_exponents, weight_bits, narrow = self.integers(node, node.input[1])
        bias, bias_exponents, _, _ = self.integers(node, node.input[2])
        if not narrow:
            raise self.refuse(node, "weights of full range, need narrow")
        if weight.ndim != 4 or source.signed:
            raise self.refuse(node, "needs a two-dimensional kernel and an unsigned input")
        outputs, kernel = weight.shape[0], weight.shape[2]
        exponents = np.broadcast_to(source.exponent + weight_exponents, (outputs,))
        if np.any(np.broadcast_to(bias_exponents, (outputs,)) != exponents):
            raise self.refuse(node, "the bias's scale is not the input's times the weights'")
        strides = list(attributes.get("strides", [1, 1]))
        if list(attributes.get("pads", [0] * 4)) != [kernel // 2] * 4 or strides[0] != strides[1]:
            raise self.refuse(node, f"pads {attributes.get('pads')}, strides {strides}: need k // 2 and equal strides")
        if attributes.get("group", 1) != 1 or any(d != 1 for d in attributes.get("dilations", [1])):
            raise self.refuse(node, "grouped or dilated")
        self.pending[node.output[0]] = _Pending(
            kind="convolution",
            sources=(node.input[0],),
            exponent=exponents,
            name=node.name,
            weight=weight.astype(np.int16 if weight_bits > 8 else np.int8),
            bias=bias,
            stride=int(strides[0]),
            weight_bits=weight_bits,
        )

    def quant(self, node: Any) -> None:
        if node.input[0] in self.constants:
            return
        exponents, bits, signed, narrow = self.quantiser(node)
        if exponents.size != 1 or narrow:
            raise self.refuse(node, "an activation needs one scale and the full range")
        exponent = int(exponents[0])
        if node.input[0] == self.graph.input[0].name:
            if (exponent, bits, signed) != (_PIXEL_EXPONENT, 8, False):
                raise self.refuse(node, f"pixels enter at {bits} bits, 2^{exponent}; need uint8 at 2^{_PIXEL_EXPONENT}")
            self.values[node.output[0]] = _Value("pixels", exponent, bits, signed)
            return
        before = self.pending.get(node.input[0])
        if before is None:
            raise self.refuse(node, "quantises what is neither convolution nor sum")
        if before.rectified and signed:
            raise self.refuse(node, "signed after a ReLU")
        if before.kind == "sum":
            trunk, branch = (self.values[s] for s in before.sources)
            if exponent != trunk.exponent or exponent != branch.exponent or bits != trunk.bits or signed:
                raise self.refuse(node, "a residual sum changes its scale or width")
            self.values[node.output[0]] = _Value("residual", exponent, bits, False, before.sources)
            return
        assert before.weight is not None and before.bias is not None
        convolution = Convolution(
            name=before.name,
            weight=before.weight,
            bias=before.bias,
            shift=exponent - before.exponent,
            stride=before.stride,
            weight_bits=before.weight_bits,
            out_bits=bits,
            signed=signed,
        )
        self.values[node.output[0]] = _Value("convolution", exponent, bits, signed, before.sources, convolution)

    def read(self) -> IntegerNetwork:
        if len(self.graph.node) > 16 * MAX_CONVOLUTIONS or not self.graph.input or not self.graph.output:
            raise ModelError(f"network {self.name}: {len(self.graph.node)} nodes, not a transform network")
        for node in self.graph.node:
            if node.op_type == "Quant":
                self.quant(node)
            elif node.op_type == "Conv":
                self.convolution(node)
            elif node.op_type == "Relu":
                before = self.pending.get(node.input[0])
                if before is None:
                    raise self.refuse(node, "follows neither convolution nor sum")
                self.pending[node.output[0]] = _Pending(**{**before.__dict__, "rectified": True})
            elif node.op_type == "Add":
                one, other = (self.source(node, i) for i in node.input)
                if one.signed == other.signed:
                    raise self.refuse(node, "needs an unsigned trunk and a signed branch")
                trunk, branch = node.input if other.signed else reversed(node.input)
                self.pending[node.output[0]] = _Pending("sum", (trunk, branch), np.array([one.exponent]))
            elif node.op_type == "Resize":
                self.resize(node)
            else:
                raise self.refuse(
                    node, f"operator {node.op_type} has no integer form; export the network with its norm folded"
                )
        return self.chain()

    def resize(self, node: Any) -> None:
        attributes = self.attributes(node)
        source = self.source(node, node.input[0])
        scales = self.constants.get(node.input[2]) if len(node.input) > 2 else None
        if attributes.get("mode") != b"nearest" or scales is None or list(scales) != [1, 1, 2, 2]:
            raise self.refuse(node, "needs nearest neighbour by constant scales 1, 1, 2, 2")
        if attributes.get("coordinate_transformation_mode", b"") != b"asymmetric" or (
            attributes.get("nearest_mode") != b"floor"
        ):
            raise self.refuse(node, "needs asymmetric coordinates rounded down")
        self.values[node.output[0]] = _Value("upsample", source.exponent, source.bits, source.signed, (node.input[0],))

    def chain(self) -> IntegerNetwork:
        """From the output back to the pixels."""
        name = self.graph.output[0].name
        if name not in self.values:
            raise ModelError(f"network {self.name}: the output is not quantised")
        last = self.values[name]
        if (last.exponent, last.bits, last.signed) != (_PIXEL_EXPONENT, 8, False):
            raise ModelError(f"network {self.name}: pixels leave at {last.bits} bits, 2^{last.exponent}; need uint8")
        layers: list[Layer] = []
        while self.values[name].kind != "pixels":
            value = self.values[name]
            if value.kind == "upsample":
                layers.append(Upsample())
            elif value.kind == "residual":
                trunk, branch = value.sources
                body: list[Convolution] = []
                while branch != trunk:
                    step = self.values[branch]
                    if step.convolution is None:
                        raise ModelError(f"network {self.name}: a residual block holds more than convolutions")
                    body.append(step.convolution)
                    branch = step.sources[0]
                layers.append(Residual(tuple(reversed(body))))
            else:
                assert value.convolution is not None
                layers.append(value.convolution)
            name = value.sources[0]
        inner = [v.bits for v in self.values.values() if v.kind == "residual"]
        first = next(v.bits for v in self.values.values() if v.kind == "convolution")
        return validate(IntegerNetwork(inner[0] if inner else first, tuple(reversed(layers))))


def read_qonnx(data: bytes, name: str) -> IntegerNetwork:
    """The integer network in a QONNX file's bytes. Raises ModelError (ContractError) that calls it ``name``."""
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"network {name}: larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"network {name}: damaged or not ONNX") from error
    if any(i.data_location == onnx.TensorProto.EXTERNAL for i in model.graph.initializer):
        raise ModelError(f"network {name}: keeps weights in another file; they must be inside")
    try:
        return _Reader(model.graph, name).read()
    except ContractError as error:
        raise ContractError(f"network {name}: {error}") from error
    except ModelError:
        raise
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ModelError(f"network {name}: damaged graph ({type(error).__name__}: {error})") from error
