"""ONNX Runtime as an engine: a lowered program as a graph of its int8 operators, up to 8 bits.

Everything stays NHWC and uint8: ``QLinearConv`` of the domain com.microsoft takes channels last, so nothing is
transposed. Scales are powers of two and accumulators stay within 2**24, so its float32 requantisation rounds half to
even exactly. A branch is stored as uint8 with zero point 128 and joined by ``QLinearAdd``, whose saturation is the
ReLU. Needs the packages ``onnx`` and ``onnxruntime``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from pleinair.engines import onnxruntime_wide as ort_wide
from pleinair.engines.exact import Fill
from pleinair.engines.lowering import LEAST_OUTPUTS, Convolve, Double, Input, Join, Program, Shape, Unblock, View
from pleinair.errors import EngineError
from pleinair.machine import cores
from pleinair.network.floating import FloatNetwork, Place
from pleinair.network.integer import IntegerNetwork
from pleinair.network.onnx import build_onnx

_MICROSOFT = "com.microsoft"
#: Graphs of a float network that a runner keeps: a film has one size of frame.
_KEPT = 2


@dataclass(frozen=True)
class Variant:
    """How weights are stored; that decides which kernels run, and whether they are exact."""

    name: str
    signed: bool


#: In order of speed. x86 kernels without VNNI add two products of u8 and s8 in 16 bits, which saturate; those of u8 and
#: u8 they widen before they add, as all others do.
VARIANTS = (Variant("int8", True), Variant("int8, unsigned weights", False))


class OrtEngine:
    """Sessions of ``threads`` threads (0: every core)."""

    least_outputs = LEAST_OUTPUTS

    def __init__(self, threads: int = 0, variant: Variant = VARIANTS[0]) -> None:
        """Raises EngineError where onnxruntime or onnx is not installed."""
        self.name = f"{version()} ({variant.name})"
        self.variant, self.threads = variant, threads or cores()

    def graph(self, program: Program) -> bytes:
        """The serialised ONNX model: ``x`` uint8 [1, h, w, 3] to ``y`` uint8 [1, h, w, 3]."""
        return ort_wide.build(program, self.variant.signed) if program.wide else build(program, self.variant)

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        """See :class:`pleinair.engines.exact.Engine`."""
        session = open_session(self.graph(program), self.threads)

        def run(pixels: np.ndarray) -> np.ndarray:
            painted: np.ndarray = session.run(None, {"x": np.ascontiguousarray(pixels)[None]})[0][0]
            return painted

        return run

    def relightable(self, program: Program, changing: Collection[str], *, alone: bool) -> Callable[[Program], Fill]:
        """See :class:`pleinair.engines.exact.Relighting`. A session is made for each light, of a graph made before."""
        import onnx

        model = onnx.load_model_from_string(self.graph(program))
        arrays = {array.name: array for array in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type == "QLinearConv"]
        held = [(arrays[node.input[4]], arrays[node.input[8]]) for node in nodes]
        lock = Lock()

        def lit(program: Program) -> Fill:
            with lock:
                for (scale, bias), o in zip(held, program.convolutions(), strict=True):
                    scale.raw_data = o.scale.astype("<f4").tobytes()
                    bias.raw_data = o.bias.astype("<i4").tobytes()
                data = model.SerializeToString()
            return _fills(open_session(data, 1 if alone else self.threads, optimise=False))

        return lit


def _fills(session: Any) -> Fill:
    """What runs a session, which writes where it is told to."""

    def run(pixels: np.ndarray, painted: np.ndarray) -> None:
        pixels, binding = np.ascontiguousarray(pixels), session.io_binding()
        binding.bind_input("x", "cpu", 0, np.uint8, (1, *pixels.shape), pixels.ctypes.data)
        binding.bind_output("y", "cpu", 0, np.uint8, (1, *painted.shape), painted.ctypes.data)
        session.run_with_iobinding(binding)

    return run


def version() -> str:
    """The library's name and version. Raises EngineError where it or its graphs' package is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"cpu needs {error.name}: pip install '.[cpu]' in a checkout of pleinair", option="backend"
        ) from error
    return f"ONNX Runtime {onnxruntime.__version__}"


def open_session(
    graph: bytes, threads: int, profile: str | None = None, optimise: bool = True, wide_sums: bool = False
) -> Any:
    """An InferenceSession for a graph on the CPU.

    ``threads`` 0 means every core. ``profile`` is a prefix of the file that a profile is written to. ``wide_sums``
    makes x86 kernels without VNNI exact for operators of the standard domain.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Between runs idle threads must not keep cores from whatever else makes the film.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if wide_sums:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def build(program: Program, variant: Variant = VARIANTS[0]) -> bytes:
    """The serialised ONNX model: ``x`` uint8 [1, h, w, 3] to ``y`` uint8 [1, h, w, 3]."""
    graph = Graph(variant.signed)
    values: list[str] = []
    for o in program.operations:
        if isinstance(o, Input):
            y = "x"
        elif isinstance(o, Convolve):
            y = graph.convolution(values[o.source], o)
        elif isinstance(o, View):
            y = graph.reshape(values[o.source], o.shape)
        elif isinstance(o, Double):
            y = graph.double(values[o.source], o)
        elif isinstance(o, Unblock):
            y = graph.unblock(values[o.source], o)
        else:
            y = graph.join(values[o.trunk], values[o.branch], o)
        values.append(y)
    graph.add_named("Identity", [values[-1]], "y")
    return graph.model({"x": program.source}, {"y": program.result})


class Graph:
    """Nodes and constants of a graph in NHWC."""

    def __init__(self, signed: bool) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy_helper = helper, numpy_helper
        self._signed = signed
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(self._numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        return self.add_named(operator, inputs, f"{operator.lower()}_{len(self.nodes)}", domain, **attributes)

    def add_named(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(self._helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def model(self, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> bytes:
        """The serialised model of all nodes so far; inputs and outputs are uint8 [1, ...] of these shapes."""
        from onnx import TensorProto

        ends = [
            [self._helper.make_tensor_value_info(name, TensorProto.UINT8, [1, *shape]) for name, shape in named.items()]
            for named in (inputs, outputs)
        ]
        data: bytes = self._helper.make_model(
            self._helper.make_graph(self.nodes, "pleinair", *ends, self.initializers),
            opset_imports=[self._helper.make_opsetid("", 17), self._helper.make_opsetid(_MICROSOFT, 1)],
            ir_version=9,
            producer_name="pleinair",
        ).SerializeToString(deterministic=True)
        return data

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        return self.add("Reshape", [x, self.constant(np.array([1, *shape]))])

    def scale(self, exponent: Any) -> str:
        return self.constant(np.exp2(np.asarray(exponent, np.float64)).astype(np.float32))

    def clip(self, x: str, low: int, high: int) -> str:
        if (low, high) == (0, 255):
            return x
        return self.add("Clip", [x, self.constant(np.uint8(low)), self.constant(np.uint8(high))])

    def convolution(self, x: str, o: Convolve) -> str:
        """uint8 to uint8; a signed output is stored with zero point 128."""
        offset = 128 if o.low < 0 else 0
        zero, kind = (0, np.int8) if self._signed else (128, np.uint8)
        weight = o.weight.transpose(0, 3, 1, 2).astype(np.int64) + zero
        y = self.add_named(
            "QLinearConv",
            [
                x,
                self.scale(0),
                self.constant(np.uint8(0)),
                self.constant(weight.astype(kind)),
                self.constant(o.scale.astype(np.float32)),
                self.constant(np.full(len(weight), zero, kind)),
                self.scale(0),
                self.constant(np.uint8(offset)),
                self.constant(o.bias.astype(np.int32)),
            ],
            f"{o.name}_{len(self.nodes)}",
            _MICROSOFT,
            kernel_shape=list(o.weight.shape[1:3]),
            strides=list(o.strides),
            pads=list(o.pads),
            channels_last=1,
        )
        return self.clip(y, o.low + offset, o.high + offset)

    def double(self, x: str, o: Double) -> str:
        """Two copies of each pixel, then of each row: several times as fast as Resize."""
        height, width, channels = o.shape
        twice = self.reshape(self.add("Concat", [x, x], axis=3), (height // 2, 1, width * channels))
        return self.reshape(self.add("Concat", [twice, twice], axis=2), o.shape)

    def unblock(self, x: str, o: Unblock) -> str:
        height, width, channels = o.shape
        y = self.reshape(x, (height // o.rows, width, o.rows, channels))
        return self.reshape(self.add("Transpose", [y], perm=[0, 1, 3, 2, 4]), o.shape)

    def crop(self, x: str, o: Join) -> str:
        height, width, _ = o.shape
        ends = [np.array(v) for v in ([o.top, o.left], [o.top + height, o.left + width], [1, 2])]
        return self.add("Slice", [x, *(self.constant(v) for v in ends)])

    def join(self, trunk: str, branch: str, o: Join) -> str:
        one, zero, middle = self.scale(0), self.constant(np.uint8(0)), self.constant(np.uint8(128))
        y = self.add("QLinearAdd", [self.crop(trunk, o), one, zero, branch, one, middle, one, zero], _MICROSOFT)
        return self.clip(y, 0, o.high)


class OnnxRunner:
    """A network's interchange graph (:mod:`pleinair.network.onnx`) in ONNX Runtime. ``threads`` 0 means every core."""

    def __init__(
        self, network: IntegerNetwork | FloatNetwork, threads: int = 0, optimise: bool = True, wide_sums: bool = False
    ) -> None:
        """Raises EngineError when onnxruntime or onnx is not installed."""
        version()
        self._session = open_session(build_onnx(network), threads, None, optimise, wide_sums)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3], multiples of the stride, to the same shape."""
        (out,) = self._session.run(None, {"x": np.ascontiguousarray(image)[None]})
        painted: np.ndarray = out[0]
        return painted


class FloatFrameRunner:
    """An adaptive float network in ONNX Runtime: a graph for each place that a frame has in its image.

    ``threads`` 0 means every core. Several threads may run it at a time.
    """

    def __init__(self, network: FloatNetwork, threads: int = 0) -> None:
        """Raises EngineError when onnxruntime or onnx is not installed."""
        version()
        self._network, self._threads = network, threads
        self._sessions: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = Lock()

    def __call__(self, pixels: np.ndarray, place: Place | None = None) -> np.ndarray:
        """See :class:`pleinair.painting.whole.FrameRunner`."""
        (out,) = self._session(place).run(None, {"x": np.ascontiguousarray(pixels)[None]})
        painted: np.ndarray = out[0]
        return painted

    def _session(self, place: Place | None) -> Any:
        key = () if place is None else tuple(end for s in place for end in (s.start, s.stop))
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = open_session(build_onnx(self._network, place=place), self._threads)
                if len(self._sessions) > _KEPT:
                    self._sessions.popitem(last=False)
            self._sessions.move_to_end(key)
            return self._sessions[key]
