"""Integer networks as QONNX files: standard ONNX operators, qonnx's ``Quant``, and the light as inputs of the graph.

:func:`write_qonnx` writes any integer network, and an adaptive one in the light that it holds; other tools can run
the file and give it another light, and :func:`pleinair.network.qonnx.read_qonnx` reads the same network back.
(Networks that Brevitas trained are exported by Brevitas itself, with a scale of 1/256 where this form has none.)

Every tensor between two ``Quant`` nodes holds plain integers: all scales are 1. A convolution named ``enter`` is the
contract's own formula, one node for each step::

    Conv(x, Quant(enter.weight)) -> Add(enter.bias) -> Mul(enter.multiplier) -> Div(enter.divisor) -> Quant

``divisor`` is 2^shift; ``Mul`` is there where the convolution is adaptive. ``Quant`` rounds half to even and clamps.
A residual block is an ``Add`` and a ``Quant``, a doubling ``Resize``, the ends ``SpaceToDepth`` and ``DepthToSpace``.
ONNX orders the channels of ``SpaceToDepth`` in another way than the contract, so the weights behind it stand in
ONNX's order.

Why the light is inputs, and not ``InstanceNormalization``: that operator is a quotient of floats whose last bits
depend on the order of a sum, so no two engines would paint the same. As inputs a light is dyadic rationals, which
float32 holds exactly. ``enter.bias``, ``enter.multiplier`` and ``enter.divisor`` of every adaptive convolution are
inputs that have an initialiser, ONNX's way to say that a value is a default: a tool that gives ``pixels`` alone
paints in the network's own light, one that gives :func:`light_inputs` too paints in that light. qonnx's
transformations make constants of them, and its executor still takes other values by these names. The graph cannot
measure a light: that takes square roots of integers of any size.

``Quant`` also stands in the file as a function of standard operators (ONNX's model-local functions). So programs that
have no qonnx, as ONNX Runtime, run the file all the same; qonnx takes its own.

What no operator says is in the metadata ``pleinair.convolutions``: JSON, in order of execution, each convolution's
name and an adaptive one's gamma, beta and metering numbers. Metadata outlives the cleanups that drop initialisers
which no node uses.

Up to 8 bits every sum fits float32. Wider networks say so by the type: their sums are double. ONNX Runtime, which
qonnx executes standard operators with, has no convolution of doubles and refuses such a file; onnx's own reference
runs it. Needs the ``onnx`` package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pleinair.network.integer import (
    Convolution,
    DepthToSpace,
    IntegerNetwork,
    Layer,
    Norm,
    Residual,
    SpaceToDepth,
    Upsample,
)
from pleinair.network.light import Light, in_light

#: The graph's input and output, float32 [1, 3, H, W] of whole numbers 0 .. 255.
PIXELS, PAINTING = "pixels", "painting"
#: Where the metadata says what no operator does.
METADATA = "pleinair.convolutions"
_QUANT_DOMAIN, _QUANT_OPSET, _OPSET = "qonnx.custom_op.general", 2, 17


def onnx_order(weight: np.ndarray, block: int) -> np.ndarray:
    """Weights [O, C * block**2, k, k] behind a space to depth, their inputs in the order of ONNX's ``SpaceToDepth``.

    There, channel (i * block + j) * C + c of the output is channel c at row i and column j of the block.
    """
    outputs, inputs, *kernel = weight.shape
    return weight.reshape(outputs, -1, block**2, *kernel).swapaxes(1, 2).reshape(outputs, inputs, *kernel)


def contract_order(weight: np.ndarray, block: int) -> np.ndarray:
    """The inverse of :func:`onnx_order`."""
    outputs, inputs, *kernel = weight.shape
    return weight.reshape(outputs, block**2, -1, *kernel).swapaxes(1, 2).reshape(outputs, inputs, *kernel)


def light_inputs(network: IntegerNetwork, light: Light) -> dict[str, np.ndarray]:
    """What to give the graph of ``network`` beside ``pixels`` for it to paint in ``light``, by input.

    Arrays [1, O, 1, 1]: float32, in networks of more than 8 bits float64. Raises LightError for a light that is not
    the network's.
    """
    lit = in_light(network, light)
    return {
        f"{c.name}.{part}": _channels(values, lit.wide)
        for c in lit.convolutions()
        if c.norm is not None
        for part, values in _requantisation(c).items()
    }


def _requantisation(c: Convolution) -> dict[str, np.ndarray]:
    """The numbers that each channel is requantised with, by their names in the graph."""
    divisor = np.exp2(c.shift.astype(np.float64))
    if c.norm is None:
        return {"bias": c.bias, "divisor": divisor}
    return {"bias": c.bias, "multiplier": c.gain, "divisor": divisor}


def _channels(values: np.ndarray, wide: bool) -> np.ndarray:
    return values.astype(np.float64 if wide else np.float32).reshape(1, -1, 1, 1)


def quant_function() -> Any:
    """QONNX's ``Quant`` (rounding half to even) as an ONNX function; it computes in double and gives float32."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def double(tensor: str) -> str:
        return add("Cast", [tensor], f"{tensor}_double", to=TensorProto.DOUBLE)

    def number(name: str, value: float | None = None) -> str:
        """A constant, or for None the attribute of that name."""
        node = helper.make_node("Constant", [], [name])
        if value is None:
            kind = helper.AttributeProto.INT
            node.attribute.add(name="value_int", ref_attr_name=name, type=kind)
        else:
            node.attribute.append(helper.make_attribute("value_float", value))
        nodes.append(node)
        return double(name)

    x, scale, zero, bits = map(double, ("x", "scale", "zero", "bits"))
    signed, narrow, one, two = number("signed"), number("narrow"), number("one", 1.0), number("two", 2.0)
    # Signed: -2^(bits - 1) + narrow .. 2^(bits - 1) - 1. Unsigned: 0 .. 2^bits - 1 - narrow.
    half = add("Pow", [two, add("Sub", [bits, one], "bits_less_one")], "half")
    least = add("Mul", [signed, add("Sub", [narrow, half], "narrow_less_half")], "least")
    span = add("Pow", [two, add("Sub", [bits, signed], "bits_less_signed")], "span")
    spared = add("Mul", [narrow, add("Sub", [one, signed], "unsigned")], "spared")
    greatest = add("Sub", [add("Sub", [span, one], "span_less_one"), spared], "greatest")
    steps = add("Add", [add("Div", [x, scale], "scaled"), zero], "steps")
    whole = add("Round", [add("Clip", [steps, least, greatest], "clamped")], "whole")
    result = add("Mul", [add("Sub", [whole, zero], "centred"), scale], "result")
    add("Cast", [result], "y", to=TensorProto.FLOAT)
    return helper.make_function(
        _QUANT_DOMAIN,
        "Quant",
        ["x", "scale", "zero", "bits"],
        ["y"],
        nodes,
        [helper.make_opsetid("", _OPSET)],
        ["signed", "narrow", "rounding_mode"],
    )


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the graph, [1, channels, height, width]."""

    name: str
    channels: int
    height: int
    width: int

    @property
    def shape(self) -> list[int]:
        return [1, self.channels, self.height, self.width]


class _Writer:
    """The graph as it grows, layer by layer."""

    def __init__(self, network: IntegerNetwork) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._helper, self._from_array, self._types = helper, numpy_helper.from_array, TensorProto
        self.network = network
        self.sum_type = TensorProto.DOUBLE if network.wide else TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.infos: list[Any] = []
        self.inputs: list[Any] = []
        self._count = 0

    def info(self, name: str, shape: list[int], kind: int) -> Any:
        return self._helper.make_tensor_value_info(name, kind, shape)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.setdefault(name, self._from_array(value, name))
        return name

    def number(self, value: float) -> str:
        """A scalar that nodes share."""
        return self.constant(f"number_{value:g}", np.array(value, np.float32))

    def add(self, operator: str, inputs: list[str], out: _Tensor, *, sums: bool = False, **attributes: Any) -> _Tensor:
        """A node that makes ``out`` and bears its name, and the tensor's type. ``sums``: it may need double."""
        self.nodes.append(self._helper.make_node(operator, inputs, [out.name], name=out.name, **attributes))
        self.infos.append(self.info(out.name, out.shape, self.sum_type if sums else self._types.FLOAT))
        return out

    def quant(
        self, x: str, name: str, shape: list[int], bits: int, *, signed: bool = False, narrow: bool = False
    ) -> str:
        inputs = [x, self.number(1), self.number(0), self.number(bits)]
        self.nodes.append(
            self._helper.make_node(
                "Quant",
                inputs,
                [name],
                name=name,
                domain=_QUANT_DOMAIN,
                signed=int(signed),
                narrow=int(narrow),
                rounding_mode="ROUND",
            )
        )
        self.infos.append(self.info(name, shape, self._types.FLOAT))
        return name

    def summand(self, x: str, shape: list[int]) -> str:
        """A quantised tensor as a convolution takes it."""
        if self.sum_type == self._types.FLOAT:
            return x
        self._count += 1
        name = f"double_{self._count}"
        self.nodes.append(self._helper.make_node("Cast", [x], [name], name=name, to=self.sum_type))
        self.infos.append(self.info(name, shape, self.sum_type))
        return name

    def convolution(self, x: _Tensor, c: Convolution, block: int = 1) -> _Tensor:
        """The contract's formula; ``block`` is that of a space to depth before it."""
        weight = onnx_order(c.weight, block) if block > 1 else c.weight
        shape = list(weight.shape)
        constant = self.constant(f"{c.name}.weight", weight.astype(np.float32))
        integers = self.quant(constant, f"{c.name}.integers", shape, c.weight_bits, signed=True, narrow=True)
        height, width = -(-x.height // c.stride), -(-x.width // c.stride)

        def made(step: str) -> _Tensor:
            return _Tensor(f"{c.name}.{step}", c.outputs, height, width)

        y = made("sums")
        inputs = [self.summand(x.name, x.shape), self.summand(integers, shape)]
        self.nodes.append(
            self._helper.make_node(
                "Conv",
                inputs,
                [y.name],
                name=c.name,
                kernel_shape=[c.kernel] * 2,
                strides=[c.stride] * 2,
                pads=[c.kernel // 2] * 4,
            )
        )
        self.infos.append(self.info(y.name, y.shape, self.sum_type))
        operators = {"bias": ("Add", "lifted"), "multiplier": ("Mul", "multiplied"), "divisor": ("Div", "divided")}
        for part, values in _requantisation(c).items():
            name = self.constant(f"{c.name}.{part}", _channels(values, self.network.wide))
            if c.norm is not None:
                self.inputs.append(self.info(name, [1, c.outputs, 1, 1], self.sum_type))
            operator, step = operators[part]
            y = self.add(operator, [y.name, name], made(step), sums=True)
        out = made("out")
        self.quant(y.name, out.name, out.shape, c.out_bits, signed=c.signed)
        return out

    def layer(self, x: _Tensor, layer: Layer, block: int) -> _Tensor:
        self._count += 1
        if isinstance(layer, Convolution):
            return self.convolution(x, layer, block)
        if isinstance(layer, Residual):
            branch = x
            for c in layer.body:
                branch = self.convolution(branch, c)
            total = self.add("Add", [x.name, branch.name], _Tensor(f"added_{self._count}", *x.shape[1:]))
            out = _Tensor(f"residual_{self._count}", *x.shape[1:])
            self.quant(total.name, out.name, out.shape, self.network.bits)
            return out
        if isinstance(layer, Upsample):
            scales = self.constant("doubled", np.array([1, 1, 2, 2], np.float32))
            out = _Tensor(f"upsample_{self._count}", x.channels, 2 * x.height, 2 * x.width)
            return self.add(
                "Resize",
                [x.name, "", scales],
                out,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        b = layer.block
        if isinstance(layer, SpaceToDepth):
            out = _Tensor("space_to_depth", x.channels * b * b, x.height // b, x.width // b)
            return self.add("SpaceToDepth", [x.name], out, blocksize=b)
        assert isinstance(layer, DepthToSpace)
        out = _Tensor("depth_to_space", x.channels // (b * b), x.height * b, x.width * b)
        return self.add("DepthToSpace", [x.name], out, blocksize=b, mode="CRD")

    def model(self, size: tuple[int, int]) -> Any:
        x, block = _Tensor(PIXELS, 3, *size), 1
        self.inputs.insert(0, self.info(PIXELS, x.shape, self._types.FLOAT))
        x = _Tensor(self.quant(PIXELS, "bytes", x.shape, 8), 3, *size)
        for layer in self.network.layers:
            x = self.layer(x, layer, block)
            block = layer.block if isinstance(layer, SpaceToDepth) else 1
        self.nodes[-1].output[0] = PAINTING
        self.infos.pop()
        output = self.info(PAINTING, x.shape, self._types.FLOAT)
        graph = self._helper.make_graph(
            self.nodes, "pleinair", self.inputs, [output], list(self.constants.values()), value_info=self.infos
        )
        opsets = [("", _OPSET), (_QUANT_DOMAIN, _QUANT_OPSET)]
        model = self._helper.make_model(
            graph,
            opset_imports=[self._helper.make_opsetid(*opset) for opset in opsets],
            ir_version=9,
            producer_name="pleinair",
            functions=[quant_function()],
        )
        text = json.dumps([_entry(c) for c in self.network.convolutions()], separators=(",", ":"))
        self._helper.set_model_props(model, {METADATA: text})
        return model


def _entry(c: Convolution) -> dict[str, Any]:
    """What the metadata says of a convolution."""
    norm = {} if c.norm is None else {field.name: getattr(c.norm, field.name).tolist() for field in fields(Norm)}
    return {"name": c.name, **norm}


def write_qonnx(network: IntegerNetwork, size: tuple[int, int] = (64, 64)) -> bytes:
    """The QONNX file of a validated network, in the light that it holds; equal networks give equal bytes.

    ``size``: height and width of the frame that the graph's shapes are written for, multiples of the network's stride.
    """
    if size[0] % network.stride or size[1] % network.stride:
        raise ValueError(f"{size} is not a multiple of the stride {network.stride}")
    data: bytes = _Writer(network).model(size).SerializeToString(deterministic=True)
    return data
