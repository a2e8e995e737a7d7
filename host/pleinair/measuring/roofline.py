"""What this machine's processor can do at most with small integers: a large u8 x s8 matrix product, timed.

Through ONNX Runtime's MatMulInteger, whose kernels are the same as its convolutions'. Which shape is the fastest
differs from machine to machine (caches, vector lengths), so several are tried and the best median counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pleinair.errors import EngineError
from pleinair.measuring.timing import Timing

#: Rows of u8, products that a sum adds, columns of s8.
Shape = tuple[int, int, int]
SHAPES: tuple[Shape, ...] = ((2048, 2048, 2048), (4096, 1024, 1024), (1024, 4096, 1024), (1024, 1024, 1024))


def macs(shape: Shape) -> int:
    """Multiply-accumulates of one product."""
    return shape[0] * shape[1] * shape[2]


class MatrixProduct:
    """A u8 [M, K] times a constant s8 [K, N] to int32 [M, N]; each call computes it once."""

    def __init__(self, shape: Shape, threads: int) -> None:
        """Raises EngineError when onnxruntime or onnx is not installed."""
        try:
            import onnxruntime as ort
            from onnx import TensorProto, helper, numpy_helper
        except ImportError as error:
            raise EngineError(f"bench needs {error.name}: pip install '.[cpu]' in a checkout of pleinair") from error
        rows, depth, columns = self.shape = shape
        rng = np.random.Generator(np.random.PCG64(5))
        right = rng.integers(-127, 128, (depth, columns), dtype=np.int8)
        self._left = rng.integers(0, 256, (rows, depth), dtype=np.uint8)
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, depth])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
            [numpy_helper.from_array(right, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait busily for the next call would take the processor from what is timed after this.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session: Any = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self) -> np.ndarray:
        """The product, int32 [M, N]."""
        product: np.ndarray = self._session.run(None, {"x": self._left})[0]
        return product


@dataclass(frozen=True)
class Roofline:
    """The best of several products with so many threads; ``gmacs`` are 10**9 multiply-accumulates a second.

    ``shapes``: every shape that was tried with its ``gmacs``.
    """

    threads: int
    gmacs: float
    shape: Shape
    shapes: tuple[tuple[Shape, float], ...]


def roofline(threads: int, timings: Mapping[Shape, Timing]) -> Roofline:
    """From the timings of one product each."""
    found = tuple((shape, macs(shape) / timing.median / 1e9) for shape, timing in timings.items())
    shape, gmacs = max(found, key=lambda pair: pair[1])
    return Roofline(threads, gmacs, shape, found)
