"""QONNX files run by qonnx's own executor and by ONNX Runtime, for every test that compares them with the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from qonnx.core import onnx_exec
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from pleinair.network.qonnx_writer import PAINTING, PIXELS


def resized(data: bytes, size: tuple[int, int]) -> Any:
    """The file's model for another size of frame, without shapes inside."""
    model = onnx.load_model_from_string(data)
    del model.graph.value_info[:]
    for value in (model.graph.input[0], *model.graph.output):
        for dimension, side in zip(value.type.tensor_type.shape.dim[2:], size, strict=True):
            dimension.dim_value = side
    return model


def qonnx_painting(
    data: bytes, image: np.ndarray, light: dict[str, np.ndarray] | None = None, unit: float = 1.0
) -> np.ndarray:
    """What qonnx makes of a file on uint8 [H, W, 3], in the file's own light or in inputs for another; int64.

    ``unit``: what a grey level is in the file.
    """
    model = ModelWrapper(resized(data, image.shape[:2])).transform(InferShapes())
    x = image.transpose(2, 0, 1)[None].astype(np.float32) * np.float32(unit)
    given = {model.graph.input[0].name: x, **(light or {})}
    # qonnx makes constants of inputs that have a default, and its executor takes values for them all the same.
    assert set(given) <= {value.name for value in (*model.graph.input, *model.graph.initializer)}
    y = next(iter(onnx_exec.execute_onnx(model, given).values()))
    return np.rint(y[0] / unit).astype(np.int64).transpose(1, 2, 0)


def runtime_painting(data: bytes, image: np.ndarray, light: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """What ONNX Runtime, which knows nothing of qonnx, makes of a file of the writer's; int64."""
    model = resized(data, image.shape[:2])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    pixels = image.transpose(2, 0, 1)[None].astype(np.float32)
    (y,) = session.run([PAINTING], {PIXELS: pixels, **(light or {})})
    assert np.array_equal(y, np.rint(y))
    return y[0].astype(np.int64).transpose(1, 2, 0)


def convolutions_of_doubles(execute: Callable[..., None]) -> Callable[..., None]:
    """qonnx's ``execute_node`` with NumPy's convolution in float64, which ONNX Runtime does not have."""

    def execute_node(node: Any, context: dict[str, np.ndarray], graph: Any, *rest: Any) -> None:
        if node.op_type != "Conv":
            execute(node, context, graph, *rest)
            return
        x, weight = (context[name] for name in node.input)
        assert x.dtype == weight.dtype == np.float64
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        (pad, *_), (stride, _), kernel = attributes["pads"], attributes["strides"], weight.shape[2:]
        padded = np.pad(x[0], ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride, ::stride]
        context[node.output[0]] = np.einsum("cyxij,ocij->oyx", windows, weight, optimize=True)[None]

    return execute_node
