"""QONNX to the integer network: the scales are divided out, what remains are integers and shifts.

Reads two forms. Trained networks are graphs of Quant, Conv, Relu, Add and Resize whose scales are powers of two, as
``pleinair_training.export`` writes them (Brevitas's exporter, cleaned up by qonnx). Adaptive ones are as
:mod:`pleinair.network.qonnx_writer` writes them; they are read in the light that the file has as its default, also
after qonnx's cleanup. Anything else is refused with the node's name. Needs the ``onnx`` package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError
from pleinair.network.integer import (
    MAX_CONVOLUTIONS,
    MAX_FILE_BYTES,
    Convolution,
    DepthToSpace,
    IntegerNetwork,
    Layer,
    Norm,
    Residual,
    SpaceToDepth,
    Upsample,
    validate,
)
from pleinair.network.npz import layer_name
from pleinair.network.qonnx_writer import METADATA, contract_order, quant_function

#: Pixels are pixel / 256 in trained networks, and as they are in adaptive ones.
_PIXEL_EXPONENTS = (-8, 0)


@dataclass(frozen=True)
class _Value:
    """An activation tensor: how it was made, its exponent, width and sign."""

    kind: str  # pixels | convolution | residual | upsample | space_to_depth | depth_to_space
    exponent: int
    bits: int
    signed: bool
    sources: tuple[str, ...] = ()
    convolution: Convolution | None = None
    block: int = 1


@dataclass(frozen=True)
class _Pending:
    """What awaits its Quant node: a convolution's accumulator or a sum.

    ``multiplier`` and ``shift`` are what the accumulator has been multiplied by and divided by (as a power of two).
    """

    kind: str
    sources: tuple[str, ...]
    exponent: np.ndarray
    rectified: bool = False
    name: str = ""
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    stride: int = 1
    weight_bits: int = 0
    multiplier: np.ndarray | None = None
    shift: np.ndarray | None = None


class _Reader:
    def __init__(self, model: Any, name: str) -> None:
        from onnx import helper, numpy_helper

        graph = model.graph
        self._attribute, self.name, self.graph = helper.get_attribute_value, name, graph
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.producers = {output: node for node in graph.node for output in node.output}
        self.values: dict[str, _Value] = {}
        self.pending: dict[str, _Pending] = {}
        self.pixel_exponent = _PIXEL_EXPONENTS[0]
        #: The tensors that casts were made of.
        self.originals: dict[str, str] = {}

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
        if node is not None and node.op_type == "Cast":
            node = self.producers.get(node.input[0])
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
        source = self.source(node, node.input[0])
        weight, weight_exponents, weight_bits, narrow = self.integers(node, node.input[1])
        if not narrow:
            raise self.refuse(node, "weights of full range, need narrow")
        if weight.ndim != 4 or source.signed:
            raise self.refuse(node, "needs a two-dimensional kernel and an unsigned input")
        outputs, kernel = weight.shape[0], weight.shape[2]
        exponents = np.broadcast_to(source.exponent + weight_exponents, (outputs,))
        bias = None
        if len(node.input) > 2:
            bias, bias_exponents, _, _ = self.integers(node, node.input[2])
            if np.any(np.broadcast_to(bias_exponents, (outputs,)) != exponents):
                raise self.refuse(node, "the bias's scale is not the input's times the weights'")
        strides = list(attributes.get("strides", [1, 1]))
        if list(attributes.get("pads", [0] * 4)) != [kernel // 2] * 4 or strides[0] != strides[1]:
            raise self.refuse(node, f"pads {attributes.get('pads')}, strides {strides}: need k // 2 and equal strides")
        if attributes.get("group", 1) != 1 or any(d != 1 for d in attributes.get("dilations", [1])):
            raise self.refuse(node, "grouped or dilated")
        if source.kind == "space_to_depth":
            weight = contract_order(weight, source.block)
        self.pending[node.output[0]] = _Pending(
            kind="convolution",
            sources=(self.originals.get(node.input[0], node.input[0]),),
            exponent=exponents,
            name=node.name,
            weight=weight.astype(np.int16 if weight_bits > 8 else np.int8),
            bias=bias,
            stride=int(strides[0]),
            weight_bits=weight_bits,
        )

    def requantiser(self, node: Any) -> None:
        """Add, Mul or Div of a convolution's sums with a number for each channel, in this order."""
        before = self.pending.get(node.input[0])
        if before is None or before.weight is None:
            raise self.refuse(node, "follows no convolution")
        if before.rectified or np.any(before.exponent != 0):
            raise self.refuse(node, "needs sums of scale 1, before any ReLU")
        given = self.constant(node, node.input[1])
        outputs = len(before.weight)
        if given.dtype.kind != "f" or given.shape != (1, outputs, 1, 1):
            raise self.refuse(node, f"{given.dtype} {given.shape}, need floats (1, {outputs}, 1, 1)")
        numbers = given.astype(np.float64).reshape(-1)
        if not np.all(np.abs(numbers) < 1 << 62) or np.any(numbers != np.rint(numbers)):
            raise self.refuse(node, "a number that is not whole")
        done = (before.bias is not None, before.multiplier is not None, before.shift is not None)
        if node.op_type == "Add" and done == (False, False, False):
            after = replace(before, bias=numbers.astype(np.int64))
        elif node.op_type == "Mul" and done == (True, False, False):
            after = replace(before, multiplier=numbers.astype(np.int64))
        elif node.op_type == "Div" and done in ((True, False, False), (True, True, False)):
            after = replace(before, shift=self.exponents(node, numbers))
        else:
            raise self.refuse(node, "the order is a bias, a multiplier where there is one, a divisor")
        self.pending[node.output[0]] = after

    def quant(self, node: Any) -> None:
        if node.input[0] in self.constants:
            return
        exponents, bits, signed, narrow = self.quantiser(node)
        if exponents.size != 1 or narrow:
            raise self.refuse(node, "an activation needs one scale and the full range")
        exponent = int(exponents[0])
        if node.input[0] == self.graph.input[0].name:
            if exponent not in _PIXEL_EXPONENTS or (bits, signed) != (8, False):
                raise self.refuse(node, f"pixels enter at {bits} bits, 2^{exponent}; need uint8 at 2^-8 or 1")
            self.pixel_exponent = exponent
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
        assert before.weight is not None
        if before.bias is None:
            raise self.refuse(node, "its convolution has no bias")
        convolution = Convolution(
            name=before.name,
            weight=before.weight,
            bias=before.bias,
            shift=exponent - before.exponent + (0 if before.shift is None else before.shift),
            stride=before.stride,
            weight_bits=before.weight_bits,
            out_bits=bits,
            signed=signed,
            multiplier=before.multiplier,
        )
        self.values[node.output[0]] = _Value("convolution", exponent, bits, signed, before.sources, convolution)

    def read(self) -> IntegerNetwork:
        if len(self.graph.node) > 16 * MAX_CONVOLUTIONS or not self.graph.input or not self.graph.output:
            raise ModelError(f"network {self.name}: {len(self.graph.node)} nodes, not a transform network")
        kinds = {
            "Quant": self.quant,
            "Conv": self.convolution,
            "Relu": self.relu,
            "Add": self.sum,
            "Mul": self.requantiser,
            "Div": self.requantiser,
            "Cast": self.cast,
            "Resize": self.resize,
            "SpaceToDepth": self.blocks,
            "DepthToSpace": self.blocks,
        }
        made = {value.name for value in self.graph.input} | set(self.constants)
        for node in self.graph.node:
            if node.op_type not in kinds:
                raise self.refuse(
                    node, f"operator {node.op_type} has no integer form; export the network with its norm folded"
                )
            # Each tensor once, or a walk back through the graph could go round in a circle.
            if len(node.output) != 1 or node.output[0] in made:
                raise self.refuse(node, "makes more or other than one new tensor")
            made.add(node.output[0])
            kinds[node.op_type](node)
        return self.chain()

    def relu(self, node: Any) -> None:
        before = self.pending.get(node.input[0])
        if before is None:
            raise self.refuse(node, "follows neither convolution nor sum")
        self.pending[node.output[0]] = replace(before, rectified=True)

    def sum(self, node: Any) -> None:
        if node.input[1] in self.constants:
            self.requantiser(node)
            return
        one, other = (self.source(node, i) for i in node.input)
        if one.signed == other.signed:
            raise self.refuse(node, "needs an unsigned trunk and a signed branch")
        trunk, branch = node.input if other.signed else reversed(node.input)
        self.pending[node.output[0]] = _Pending("sum", (trunk, branch), np.array([one.exponent]))

    def cast(self, node: Any) -> None:
        """Integers stay what they are in a wider type; weights are looked up behind it."""
        if self.attributes(node).get("to") not in (1, 11):  # FLOAT, DOUBLE
            raise self.refuse(node, "to another type than float and double")
        if node.input[0] in self.values:
            self.values[node.output[0]] = self.values[node.input[0]]
            self.originals[node.output[0]] = self.originals.get(node.input[0], node.input[0])

    def blocks(self, node: Any) -> None:
        """Space to depth and depth to space."""
        attributes, source = self.attributes(node), self.source(node, node.input[0])
        kind = "space_to_depth" if node.op_type == "SpaceToDepth" else "depth_to_space"
        if kind == "depth_to_space" and attributes.get("mode") != b"CRD":
            raise self.refuse(node, "needs the order CRD")
        self.values[node.output[0]] = replace(
            source, kind=kind, sources=(node.input[0],), convolution=None, block=int(attributes["blocksize"])
        )

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
        if (last.exponent, last.bits, last.signed) != (self.pixel_exponent, 8, False):
            raise ModelError(f"network {self.name}: pixels leave at {last.bits} bits, 2^{last.exponent}; need uint8")
        layers: list[Layer] = []
        while self.values[name].kind != "pixels":
            value = self.values[name]
            if value.kind == "upsample":
                layers.append(Upsample())
            elif value.kind == "space_to_depth":
                layers.append(SpaceToDepth(value.block))
            elif value.kind == "depth_to_space":
                layers.append(DepthToSpace(value.block))
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
        layers.reverse()
        if METADATA in self.metadata:
            layers = _named(layers, json.loads(self.metadata[METADATA]), self.name)
        return validate(IntegerNetwork(inner[0] if inner else first, tuple(layers)))


def _named(layers: list[Layer], entries: Any, network: str) -> list[Layer]:
    """The layers with the names and norms of the metadata, which has one entry for each convolution."""
    count = sum(len(layer.convolutions()) for layer in layers)
    if not isinstance(entries, list) or len(entries) != count or not all(isinstance(e, dict) for e in entries):
        raise ModelError(f"network {network}: {METADATA} is not a list of its {count} convolutions")
    left: Iterator[Mapping[str, Any]] = iter(entries)

    def named(c: Convolution) -> Convolution:
        entry = next(left)
        c = replace(c, name=layer_name(entry, network))
        if len(entry) == 1:
            return c
        parts = [field.name for field in fields(Norm)]
        if set(entry) != {"name", *parts}:
            raise ModelError(f"network {network}: layer {c.name}: {METADATA} has {', '.join(map(repr, entry))}")
        return replace(c, norm=Norm(*(_integers(entry[part], f"network {network}: layer {c.name}") for part in parts)))

    return [
        Residual(tuple(map(named, layer.body)))
        if isinstance(layer, Residual)
        else named(layer)
        if isinstance(layer, Convolution)
        else layer
        for layer in layers
    ]


def _integers(values: Any, where: str) -> np.ndarray:
    """A list of JSON's whole numbers as int64."""
    if not isinstance(values, list) or not all(type(v) is int and abs(v) < 1 << 62 for v in values):
        raise ModelError(f"{where}: {METADATA} has another thing than a list of whole numbers")
    return np.array(values, np.int64)


def _check_functions(model: Any, name: str) -> None:
    """A file may hold a Quant of its own, but no other than QONNX's."""
    if any(function != quant_function() for function in model.functions):
        raise ModelError(f"network {name}: has a function that is not the writer's Quant")


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
        _check_functions(model, name)
        # NumPy warns of a NaN that is cast; the reader refuses it.
        with np.errstate(invalid="ignore", over="ignore"):
            return _Reader(model, name).read()
    except ContractError as error:
        raise ContractError(f"network {name}: {error}") from error
    except ModelError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise ModelError(f"network {name}: damaged graph ({type(error).__name__}: {error})") from error
