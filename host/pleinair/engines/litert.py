"""The engine LiteRT, for networks of up to 8 bits. It needs the package ``ai-edge-litert``.

A lowered program becomes a TensorFlow Lite graph of int8 operators, which XNNPACK runs. All activations are int8 and
have one scale, a power of two. The greatest value, ``high``, is stored as 127, so zero is stored as ``127 - high``, the
zero point. Only the ratio of two scales matters, so a weight's scale is ``2**-shift``. Results saturate at 127 by
themselves. Their lower end is the operator's fused activation, which costs nothing: ReLU, and for a branch the clamp to
-1 .. 1, since 1 is ``2**(bits - 1)`` steps of the scale.

XNNPACK adds products in int32, with and without VNNI or dotprod. It requantises in float32 and rounds half to even.
That is exact, since scales are powers of two and accumulators stay within 2**24.

Two cases are not exact, and the engine's check against the reference refuses them. Where XNNPACK cannot start,
TensorFlow Lite runs its own kernels, which round half up. XNNPACK's kernels for Arm's SME gave other values under qemu.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from pleinair.engines.lowering import Convolve, Double, Input, Join, Program, Unblock, View
from pleinair.errors import EngineError
from pleinair.machine import cores

#: uint8 with this bit flipped is int8 minus 128.
_MIDDLE = np.uint8(128)


class LitertEngine:
    """Makes interpreters that run on so many threads; 0 means every core."""

    least_outputs = 16

    def __init__(self, threads: int = 0) -> None:
        """Raises EngineError where ai-edge-litert is not installed."""
        try:
            import ai_edge_litert
            from ai_edge_litert import interpreter  # noqa: F401
        except ImportError as error:
            raise EngineError(
                "litert needs ai-edge-litert: pip install '.[litert]' in a checkout of pleinair", option="engine"
            ) from error
        self.name = f"LiteRT {ai_edge_litert.__version__}"
        self.threads = threads or cores()

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        """See :class:`pleinair.engines.exact.Engine`. Raises EngineError for more than 8 bits."""
        from ai_edge_litert.interpreter import Interpreter

        model = build(program)
        with _quiet():
            interpreter = Interpreter(model_content=model, num_threads=self.threads)
            interpreter.allocate_tensors()
        (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        # Each call gives a NumPy view of the interpreter's own memory. Nobody may hold one while it runs.
        reads, paints = interpreter.tensor(source["index"]), interpreter.tensor(result["index"])
        one_at_a_time = Lock()

        def run(pixels: np.ndarray) -> np.ndarray:
            with one_at_a_time:
                np.bitwise_xor(pixels, _MIDDLE, out=reads().view(np.uint8)[0])
                interpreter.invoke()
                painted: np.ndarray = np.bitwise_xor(paints().view(np.uint8), _MIDDLE)
            return painted.reshape(program.result)

        return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's lines that begin with INFO off standard error, and pass on the others."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as said:
            os.dup2(said.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                said.seek(0)
                for line in said:
                    if not line.startswith(b"INFO:"):
                        os.write(2, line)
    finally:
        os.close(kept)


def build(program: Program) -> bytes:
    """The program as a TensorFlow Lite file, which takes and gives pixels minus 128 as int8.

    Raises EngineError above 8 bits.
    """
    if program.wide:
        raise EngineError("litert: paints with networks of up to 8 bits, and this one has more", option="engine")
    graph = _Graph(2.0 ** (1 - program.bits))
    values: list[_Value] = []
    for o in program.operations:
        if isinstance(o, Input):
            value = graph.activation(o.shape, 255)
        elif isinstance(o, Convolve):
            value = graph.convolution(values[o.source], o)
        elif isinstance(o, View):
            value = replace(values[o.source], shape=o.shape)
        elif isinstance(o, Double):
            value = graph.double(values[o.source], o)
        elif isinstance(o, Unblock):
            value = graph.unblock(values[o.source], o)
        else:
            value = graph.join(values[o.trunk], values[o.branch], o)
        values.append(value)
    return graph.save(values[0], values[-1])


@dataclass(frozen=True)
class _Value:
    """An int8 tensor in which 127 stands for ``high``. It is read in ``shape``, which may differ from its own."""

    tensor: int
    shape: tuple[int, ...]
    high: int


class _Graph:
    """Tensors and operators of a TensorFlow Lite graph, whose activations all have the same scale."""

    def __init__(self, scale: float) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema, self._scale = schema, scale
        self._codes: list[tuple[int, int]] = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model = schema.ModelT()
        self._model.version = 3
        # The format's first buffer is that of tensors without data.
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        self._model.subgraphs = [self._graph]

    # -- tensors

    def _tensor(self, shape: tuple[int, ...], dtype: str, scale: Any = None, zero: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = f"value_{len(self._graph.tensors)}", list(shape)
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        if scale is not None:
            quantisation = self._schema.QuantizationParametersT()
            quantisation.scale = [float(s) for s in np.atleast_1d(scale)]
            quantisation.zeroPoint = [zero] * len(quantisation.scale)
            tensor.quantization = quantisation
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def activation(self, shape: tuple[int, ...], high: int) -> _Value:
        """A new tensor of 1 x ``shape``."""
        return _Value(self._tensor((1, *shape), "int8", self._scale, 127 - high), shape, high)

    def _constant(self, value: np.ndarray, scale: Any = None) -> int:
        """A tensor of int8 or int32 constants; ``scale`` has one value for each index of the first axis."""
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        index = self._tensor(value.shape, value.dtype.name, scale)
        self._graph.tensors[index].buffer = len(self._model.buffers) - 1
        return index

    def _numbers(self, value: Any) -> int:
        return self._constant(np.asarray(value, np.int32))

    def _shaped(self, value: _Value, shape: tuple[int, ...]) -> int:
        """The value as a tensor of 1 x ``shape``. Where that is not its own shape, it is copied."""
        wanted = [1, *shape]
        if self._graph.tensors[value.tensor].shape == wanted:
            return value.tensor
        return self._add(
            "RESHAPE",
            1,
            [value.tensor, self._numbers(wanted)],
            self.activation(shape, value.high),
            "ReshapeOptions",
            newShape=wanted,
        ).tensor

    # -- operators

    def _add(
        self, operator: str, version: int, inputs: list[int], output: _Value, options: str, **fields: Any
    ) -> _Value:
        """Add an operator that gives ``output``; its options are ``fields``, in the schema's class ``options``."""
        code = getattr(self._schema.BuiltinOperator, operator)
        if (code, version) not in self._codes:
            self._codes.append((code, version))
            entry = self._schema.OperatorCodeT()
            # The older, narrower field says 127 where only the newer can hold the number.
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
            self._model.operatorCodes.append(entry)
        node = self._schema.OperatorT()
        node.opcodeIndex = self._codes.index((code, version))
        node.inputs, node.outputs = inputs, [output.tensor]
        node.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
        node.builtinOptions = getattr(self._schema, f"{options}T")()
        for field, value in fields.items():
            setattr(node.builtinOptions, field, value)
        self._graph.operators.append(node)
        return output

    def _clamp(self, low: int) -> int:
        """The fused activation that cuts values at ``low``: 0, or that of a branch. At the upper end they saturate."""
        kinds = self._schema.ActivationFunctionType
        return int(kinds.RELU_N1_TO_1 if low < 0 else kinds.RELU)

    def convolution(self, x: _Value, o: Convolve) -> _Value:
        """A convolution, with a PAD before it where zeros are needed; XNNPACK fuses the two."""
        source = self._shaped(x, x.shape)
        top, left, bottom, right = o.pads
        if any(o.pads):
            height, width, channels = x.shape
            padded = self.activation((height + top + bottom, width + left + right, channels), x.high)
            ends = self._numbers([(0, 0), (top, bottom), (left, right), (0, 0)])
            source = self._add("PAD", 2, [source, ends], padded, "PadOptions").tensor
        scale = o.scale
        weight = self._constant(o.weight.astype(np.int8), scale)
        bias = self._constant(o.bias.astype(np.int32), scale * self._scale)
        return self._add(
            "CONV_2D",
            3,
            [source, weight, bias],
            self.activation(o.shape, o.high),
            "Conv2DOptions",
            padding=self._schema.Padding.VALID,
            strideH=o.strides[0],
            strideW=o.strides[1],
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=self._clamp(o.low),
        )

    def double(self, x: _Value, o: Double) -> _Value:
        """Repeat every pixel, then every row."""
        height, width, channels = x.shape
        y = self._repeat(self._shaped(x, x.shape), (height, width, 2 * channels), x.high)
        row = self._shaped(y, (height, 2 * width * channels))
        return replace(self._repeat(row, (height, 4 * width * channels), x.high), shape=o.shape)

    def _repeat(self, x: int, shape: tuple[int, ...], high: int) -> _Value:
        """Repeat along the last axis, which becomes twice as long."""
        kinds = self._schema.ActivationFunctionType
        return self._add(
            "CONCATENATION",
            2,
            [x, x],
            self.activation(shape, high),
            "ConcatenationOptions",
            axis=len(shape),
            fusedActivationFunction=kinds.NONE,
        )

    def unblock(self, x: _Value, o: Unblock) -> _Value:
        """Blocks of pixels to rows of pixels: a block's rows and the map's columns change places."""
        height, width, channels = x.shape
        part = channels // o.rows
        blocks = self._shaped(x, (height, width, o.rows, part))
        rows = self.activation((height, o.rows, width, part), x.high)
        rows = self._add("TRANSPOSE", 2, [blocks, self._numbers([0, 1, 3, 2, 4])], rows, "TransposeOptions")
        return replace(rows, shape=o.shape)

    def join(self, trunk: _Value, branch: _Value, o: Join) -> _Value:
        """The sum of trunk and branch: int8 of equal scales, so it is exact, and it saturates."""
        source = self._shaped(trunk, trunk.shape)
        if o.shape != trunk.shape:
            crop = [self._numbers(ends) for ends in ((0, o.top, o.left, 0), (1, *o.shape))]
            cropped = self.activation(o.shape, trunk.high)
            source = self._add("SLICE", 2, [source, *crop], cropped, "SliceOptions").tensor
        return self._add(
            "ADD",
            2,
            [source, self._shaped(branch, branch.shape)],
            self.activation(o.shape, o.high),
            "AddOptions",
            fusedActivationFunction=self._clamp(0),
            potScaleInt16=False,
        )

    def save(self, source: _Value, result: _Value) -> bytes:
        """The graph from ``source`` to ``result``, each in its tensor's own shape."""
        import flatbuffers

        self._graph.inputs, self._graph.outputs = [source.tensor], [result.tensor]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
