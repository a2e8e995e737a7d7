"""The dataflow as an ONNX graph that FINN takes up without streamlining: Im2Col, MatMul and our own operators.

Every tensor is an integer in float32 (FINN's convention; float64 where sums need it), NHWC, named after the operator
that makes it, with dots made underscores. Needs qonnx and the operators of ``pleinair_hw.finn.operators`` registered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pleinair.network.light import identity
from pleinair_hw.plan.dataflow import (
    PIXELS,
    AddClamp,
    Dataflow,
    Fork,
    MatrixProduct,
    Operator,
    PixelShuffle,
    Requantise,
    RequantiseLight,
    SpaceToDepth,
    TapSum,
    Tensor,
    TrimBorder,
    UpsampleNearest,
    Window,
    WindowCentre,
)

DOMAIN = "finn.custom_op.fpgadataflow"
_IM2COL = "qonnx.custom_op.general"


def tensor_name(operator: str, output: int = 0) -> str:
    """The tensor that an operator makes; a fork makes two."""
    return operator.replace(".", "_") + ("" if output == 0 else f"_{output}")


def datatype(tensor: Tensor) -> str:
    """QONNX's name of a stream's integers."""
    return f"{'INT' if tensor.signed else 'UINT'}{tensor.bits}"


class _Writer:
    def __init__(self, dataflow: Dataflow) -> None:
        from onnx import TensorProto, helper

        self.dataflow, self.helper, self.float = dataflow, helper, TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.constants: dict[str, tuple[np.ndarray, str]] = {}
        self.tensors: dict[str, Tensor] = {PIXELS: dataflow.source}

    def hardware(self, kind: str, o: Operator, outputs: list[str], *constants: str, **attributes: Any) -> None:
        """A node of FINN's hardware operators, or of ours."""
        self.nodes.append(
            self.helper.make_node(
                kind,
                [*self.inputs(o), *constants],
                outputs,
                name=tensor_name(o.name),
                domain=DOMAIN,
                backend="fpgadataflow",
                NumChannels=o.output.channels,
                inputDataType=datatype(self.dataflow.input_of(o)),
                **attributes,
            )
        )

    def own(self, kind: str, o: Operator, *constants: str, **attributes: Any) -> None:
        """A node of ours with one output."""
        self.hardware(
            kind,
            o,
            [tensor_name(o.name)],
            *constants,
            PE=1,
            numInputVectors=self.vectors(o),
            outputDataType=datatype(o.output),
            **attributes,
        )

    def vectors(self, o: Operator) -> list[int]:
        """The frame that an operator reads, as FINN's ``numInputVectors`` has it."""
        source = self.dataflow.input_of(o)
        return [1, source.height, source.width]

    def inputs(self, o: Operator) -> list[str]:
        names = []
        for source in o.inputs:
            # The fork's first stream goes to the residual block's body, the second past it.
            fork = source != PIXELS and isinstance(self.dataflow.operator(source), Fork)
            names.append(tensor_name(source, int(fork and isinstance(o, AddClamp | WindowCentre | TrimBorder))))
        return names

    def operator(self, o: Operator) -> None:
        """Add the node of an operator, and the tensors that it makes."""
        self.tensors[tensor_name(o.name)] = o.output
        if isinstance(o, Window):
            self.window(o)
        elif isinstance(o, MatrixProduct):
            self.product(o)
        elif isinstance(o, Requantise):
            bias, shift = f"{tensor_name(o.name)}_bias", f"{tensor_name(o.name)}_shift"
            self.constants[bias], self.constants[shift] = (o.bias, "INT48"), (o.shift, "UINT6")
            self.own("RequantShift", o, bias, shift)
        elif isinstance(o, RequantiseLight):
            self.station(o)
        elif isinstance(o, TapSum):
            self.own("TapSum", o, Taps=o.taps, Lead=o.lead)
        elif isinstance(o, PixelShuffle):
            self.own("PixelShuffle", o, Border=int(o.border))
        elif isinstance(o, SpaceToDepth):
            self.own("SpaceToDepth", o, Block=o.block)
        elif isinstance(o, WindowCentre):
            self.own("WindowCentre", o, Pixels=o.pixels)
        elif isinstance(o, TrimBorder):
            self.own("TrimBorder", o, Border=o.border)
        elif isinstance(o, UpsampleNearest):
            self.upsample(o)
        elif isinstance(o, Fork):
            self.fork(o)
        elif isinstance(o, AddClamp):
            self.own("AddClamp", o, inputDataType1=datatype(self.dataflow.input_of(o, 1)), inFIFODepths=[2, 2])
        else:
            raise TypeError(f"no node for {type(o).__name__}")

    def station(self, o: RequantiseLight) -> None:
        """A requantisation in a light; the one that the network holds stands in the graph."""
        numbers = {"bias": (o.bias, "INT50"), "multiplier": (o.multiplier, "UINT5"), "shift": (o.shift, "UINT6")}
        names = {f"{tensor_name(o.name)}_{key}": value for key, value in numbers.items()}
        self.constants |= names
        self.own(
            "RequantLight",
            o,
            *names,
            Layer=o.layer,
            Network=identity(self.dataflow.network),
            BiasBits=o.bias_bits,
            Longest=o.longest,
        )

    def window(self, o: Window) -> None:
        """Padding and the sliding window in one, which FINN takes apart."""
        source = self.dataflow.input_of(o)
        self.nodes.append(
            self.helper.make_node(
                "Im2Col",
                self.inputs(o),
                [tensor_name(o.name)],
                name=tensor_name(o.name),
                domain=_IM2COL,
                stride=[o.stride, o.stride],
                kernel_size=list(o.kernel),
                pad_amount=list(o.pad),
                pad_value=0,
                dilations=[1, 1],
                depthwise=0,
                input_shape=f"(1,{source.height},{source.width},{source.channels})",
            )
        )

    def product(self, o: MatrixProduct) -> None:
        """A matrix product with its weights."""
        name = tensor_name(o.name)
        weights = f"{name}_weights"
        self.constants[weights] = (o.weight.astype(np.float32), f"INT{o.weight_bits}")
        self.nodes.append(self.helper.make_node("MatMul", [*self.inputs(o), weights], [name], name=name))

    def upsample(self, o: UpsampleNearest) -> None:
        """FINN's doubling."""
        source, out = self.dataflow.input_of(o), o.output
        self.hardware(
            "UpsampleNearestNeighbour",
            o,
            [tensor_name(o.name)],
            SIMD=1,
            HI=source.height,
            WI=source.width,
            HO=out.height,
            WO=out.width,
        )

    def fork(self, o: Fork) -> None:
        """The stream twice; the second has a tensor of its own."""
        second = tensor_name(o.name, 1)
        self.tensors[second] = o.output
        self.hardware(
            "DuplicateStreams",
            o,
            [tensor_name(o.name), second],
            PE=1,
            NumOutputStreams=2,
            numInputVectors=self.vectors(o),
            outFIFODepths=[2, 2],
        )

    def model(self) -> Any:
        from qonnx.core.datatype import DataType
        from qonnx.core.modelwrapper import ModelWrapper

        for o in self.dataflow.operators:
            self.operator(o)
        last = tensor_name(self.dataflow.operators[-1].name)

        def info(name: str) -> Any:
            t = self.tensors[name]
            return self.helper.make_tensor_value_info(name, self.float, [1, t.height, t.width, t.channels])

        inner = [info(n) for n in self.tensors if n not in (PIXELS, last)]
        graph = self.helper.make_graph(self.nodes, "pleinair", [info(PIXELS)], [info(last)], value_info=inner)
        opsets = [self.helper.make_opsetid("", 17), self.helper.make_opsetid(DOMAIN, 1)]
        opsets.append(self.helper.make_opsetid(_IM2COL, 1))
        model = ModelWrapper(self.helper.make_model(graph, opset_imports=opsets, ir_version=9))
        for name, (array, kind) in self.constants.items():
            model.set_initializer(name, array)
            model.set_tensor_datatype(name, DataType[kind])
        for name, tensor in self.tensors.items():
            model.set_tensor_datatype(name, DataType[datatype(tensor)])
        return model


def write_graph(dataflow: Dataflow) -> Any:
    """The graph as a qonnx ModelWrapper; shapes and data types of every tensor are set."""
    return _Writer(dataflow).model()
