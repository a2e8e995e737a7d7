"""FINN's compiler over a plan: from the graph of integers to generated RTL, node by node.

The passes are finn-plus's own: conversion to hardware layers, partitioning, specialisation, width converters, FIFOs,
HDL. Left out are streamlining (nothing to streamline: the graph arrives as integers) and FINN's minimisation of bit
widths (it narrows some weights until only HLS can multiply them; the dataflow knows every width exactly). Folding is
the plan's. No node may end as HLS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.errors import PleinairError
from pleinair_hw.finn import environment
from pleinair_hw.finn.graph import datatype, tensor_name, write_graph
from pleinair_hw.plan.plan import Plan


class CompileError(PleinairError):
    """FINN made something else of the plan than was planned; says which node."""


#: Called with a step's name and the model after it.
Watch = Callable[[str, Any], None]
#: FINN puts no FIFO where a depth of two, the registers of a stream's two ends, is asked for.
_SHALLOW = 2


def _operator(node: Any) -> Any:
    from qonnx.custom_op.registry import getCustomOp

    return getCustomOp(node)


def _kind(node: Any) -> str:
    return str(node.op_type).removesuffix("_rtl").removesuffix("_hls")


class _Compiler:
    """One compilation. ``stages``: the plan's stage for every tensor, by the tensor's name."""

    def __init__(self, plan: Plan, folder: Path, watch: Watch | None) -> None:
        self.plan, self.folder, self.watch = plan, folder, watch
        self.stages = {tensor_name(o.name): o.name for o in plan.dataflow.operators}

    def seen(self, step: str, model: Any) -> Any:
        if self.watch is not None:
            self.watch(step, model)
        return model

    def hardware(self) -> Any:
        """The graph as one partition of FINN's hardware operators, specialised to RTL; also keeps the parent."""
        import finn.builder.build_dataflow_config as config
        import finn.builder.build_dataflow_steps as steps
        from qonnx.transformation.infer_datatypes import InferDataTypes
        from qonnx.transformation.infer_shapes import InferShapes

        plan = self.plan
        settings = config.DataflowBuildConfig(
            output_dir=str(self.folder),
            synth_clk_period_ns=1e9 / plan.clock_hz,
            fpga_part=plan.board.part,
            standalone_thresholds=True,
            save_intermediate_models=True,
            generate_outputs=[],
        )
        model = self.seen("graph", write_graph(plan.dataflow).transform(InferShapes()).transform(InferDataTypes()))
        model = self.seen("convert to hardware layers", steps.step_convert_to_hw(model, settings))
        for node in model.graph.node:
            if _kind(node) == "FMPadding":
                window = model.find_consumer(node.output[0])
                self.stages[node.output[0]] = self.stages[window.output[0]] + ".pad"
        model = self.seen("partition", steps.step_create_dataflow_partition(model, settings))
        return self.seen("specialise", steps.step_specialize_layers(model, settings))

    def stage(self, node: Any) -> str:
        """The stage that a node is."""
        made = node.output[0]
        if made not in self.stages:
            raise CompileError(f"node {node.name} ({node.op_type}) makes {made}, which no stage of the plan does")
        return self.stages[made]

    def stream(self, node: Any, output: int) -> str:
        """A stream's name: its maker's, with ``.skip`` for a fork's second."""
        return self.stage(node) + (".skip" if output else "")

    def fold(self, model: Any) -> Any:
        """Every node's parallelism, widths and memories as planned; FINN must expect the cycles that were planned."""
        from qonnx.core.datatype import DataType
        from qonnx.transformation.infer_datatypes import InferDataTypes

        plan = self.plan
        for node in model.graph.node:
            stage, operator, kind = plan.stage(self.stage(node)), _operator(node), _kind(node)
            if kind != stage.kind:
                raise CompileError(f"node {node.name} is {node.op_type}, planned is {stage.kind}")
            style = stage.memory.style if stage.memory is not None else ""
            attributes: dict[str, Any] = {"SIMD": stage.simd} if stage.simd else {"PE": stage.pe}
            if kind == "MVAU":
                width = datatype(plan.dataflow.operator(stage.operator).output)
                model.set_tensor_datatype(node.output[0], DataType[width])
                attributes = {
                    "SIMD": stage.simd,
                    "PE": stage.pe,
                    "accDataType": width,
                    "outputDataType": width,
                    "mem_mode": "internal_decoupled",
                    "resType": "dsp",
                    "runtime_writeable_weights": int(plan.options.writeable),
                    "pumpedCompute": int(plan.options.pumped and stage.simd > 1),
                }
            elif kind in ("ConvolutionInputGenerator", "WindowCentre"):
                attributes["parallel_window"] = int(stage.parallel_window)
            if style:
                attributes["ram_style"] = style
            for name, value in attributes.items():
                operator.set_nodeattr(name, value)
            expected = int(operator.get_exp_cycles())
            if expected != stage.cycles:
                raise CompileError(
                    f"stage {stage.name}: FINN expects {expected} cycles a frame, planned are {stage.cycles}"
                )
        # The sums' widths reach the operators behind them.
        return self.seen("fold", model.transform(InferDataTypes()))

    def by_common_multiple(self, model: Any) -> None:
        """Put the plan's second converter before those that convert by way of a common multiple."""
        from onnx import helper

        wide = {
            s.name: s for s in self.plan.stages if s.kind == "StreamingDataWidthConverter" and s.name.endswith(".up")
        }
        for node in list(model.graph.node):
            stage = wide.get(f"{self.stage(node)}.up")
            if stage is None:
                continue
            operator, made = _operator(node), model.make_new_valueinfo_name()
            attributes = {k: operator.get_nodeattr(k) for k in ("inShape", "inWidth", "dataType")}
            first = helper.make_node(
                node.op_type,
                [node.input[0]],
                [made],
                domain=node.domain,
                backend="fpgadataflow",
                outShape=attributes["inShape"],
                outWidth=stage.out_width,
                **attributes,
            )
            model.graph.node.insert(list(model.graph.node).index(node), first)
            model.set_tensor_shape(made, attributes["inShape"])
            model.set_tensor_datatype(made, model.get_tensor_datatype(node.input[0]))
            node.input[0] = made
            operator.set_nodeattr("inShape", attributes["inShape"])
            operator.set_nodeattr("inWidth", stage.out_width)
            self.stages[made] = stage.name

    def connect(self, model: Any) -> Any:
        """Width converters where lanes differ, and the plan's FIFOs."""
        from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
        from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from qonnx.transformation.general import SortGraph

        model = model.transform(InsertDWC())
        for node in model.graph.node:
            if _kind(node) == "StreamingDataWidthConverter":
                consumer = model.find_consumer(node.output[0])
                number = list(consumer.input).index(node.output[0])
                self.stages[node.output[0]] = f"{self.stage(consumer)}.width{number or ''}"
        self.by_common_multiple(model)
        fifos = {s.name: s for s in self.plan.stages if s.kind == "StreamingFIFO"}
        for node in model.graph.node:
            streams = [f"{self.stream(node, i)}.fifo" for i in range(len(node.output))]
            operator = _operator(node)
            operator.set_nodeattr("outFIFODepths", [fifos[s].depth if s in fifos else _SHALLOW for s in streams])
            operator.set_nodeattr("inFIFODepths", [_SHALLOW] * len(node.input))
        model = model.transform(InsertFIFO())
        for node in model.graph.node:
            if _kind(node) == "StreamingFIFO":
                maker = model.find_producer(node.input[0])
                name = f"{self.stream(maker, list(maker.output).index(node.input[0]))}.fifo"
                memory = fifos[name].memory
                assert memory is not None
                # FINN's RTL makes a shift register of the shallow ones, whatever is asked for.
                _operator(node).set_nodeattr("ram_style", memory.style if memory.words > 33 else "srl")
                self.stages[node.output[0]] = name
        model = model.transform(SpecializeLayers(self.plan.board.part)).transform(SortGraph())
        planned = {s.name for s in self.plan.stages}
        for node in model.graph.node:
            node.name = tensor_name(self.stage(node))
            if self.stage(node) not in planned:
                raise CompileError(f"node {node.name} ({node.op_type}) is not planned")
        missing = planned - {self.stage(node) for node in model.graph.node}
        if missing:
            raise CompileError(f"planned but not made: {', '.join(sorted(missing))}")
        return self.seen("connect", model)

    def generate(self, model: Any) -> Any:
        """RTL of every node."""
        from finn.transformation.fpgadataflow.prepare_ip import PrepareIP

        for node in model.graph.node:
            if not node.op_type.endswith("_rtl"):
                raise CompileError(f"node {node.name} became {node.op_type}, which needs an HLS compiler")
        period = 1e9 / self.plan.clock_hz
        return self.seen("generate HDL", model.transform(PrepareIP(self.plan.board.part, period)))


def run_graph(model: Any, frame: np.ndarray) -> np.ndarray:
    """Run a graph of any step in Python: uint8 [H, W, 3] to the same."""
    from finn.util.verification import despecialize_model
    from qonnx.core.onnx_exec import execute_onnx

    if any(node.op_type.endswith("_rtl") for node in model.graph.node):
        model = despecialize_model(model)
    given, made = model.graph.input[0].name, model.graph.output[0].name
    result = execute_onnx(model, {given: frame[None].astype(np.float32)})[made]
    painted: np.ndarray = np.rint(result[0]).astype(np.int64)
    return painted


def compile_plan(plan: Plan, folder: Path, watch: Watch | None = None, makers: dict[str, str] | None = None) -> Any:
    """FINN's hardware graph of ``plan`` with RTL generated below ``folder``, as a qonnx ModelWrapper.

    ``watch`` is called with the name of each step and the model after it. ``makers``, if given, is filled with the
    stream's name for every tensor. Raises CompileError, and ToolchainError when FINN is missing.
    """
    environment.prepare(folder)
    import pleinair_hw.finn.operators  # noqa: F401  (registers our operators; before any model that holds them)

    compiler = _Compiler(plan, folder, watch)
    model = compiler.connect(compiler.fold(compiler.hardware()))
    if makers is not None:
        for node in model.graph.node:
            makers.update({made: compiler.stream(node, i) for i, made in enumerate(node.output)})
    return compiler.generate(model)
