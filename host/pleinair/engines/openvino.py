"""The engine OpenVINO, for networks of 4 and 8 bits. It needs the package ``openvino``.

A lowered program becomes a model for OpenVINO's CPU plugin. The model's values are floats that hold integers. Where it
has a FakeQuantize of 256 levels and step 1, OpenVINO's low-precision transformations store uint8 and convolve in int8,
and the convolution's kernel also does what follows it, up to the rounding. Scales are powers of two and accumulators
stay within 2**24, so float32 is exact: in scaling, in adding the bias, and in rounding half to even.

The layout is called NCHW, but int8 convolutions keep it as NHWC in memory. So the transposes around a view, and at
either end, only relabel the axes and cost nothing.

Rounding is an operator of its own, although a FakeQuantize rounds, too. OpenVINO moves a FakeQuantize's neighbours into
it: the bias moves into its range, which float32 may then not hold, and so does the sum that follows a branch, and then
the branch itself is never rounded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from pleinair.engines.exact import Fill
from pleinair.engines.lowering import Convolve, Double, Input, Join, Program, Shape, Unblock, View
from pleinair.errors import EngineError
from pleinair.machine import cores

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class Variant:
    """Which convolutions run in int8: those where no sum of two products exceeds ``pair``. The others use float32."""

    name: str
    pair: int


#: The fastest first. x86 without VNNI adds each pair of products in 16 bits and saturates, so its int8 may not be
#: exact. float32 is exact everywhere, since accumulators stay within 2**24.
VARIANTS = (
    Variant("int8", 2 * 255 * 127),
    Variant("int8, float32 beyond 16 bits", (1 << 15) - 1),
    Variant("float32", -1),
)


class OpenVinoEngine:
    """Compiles models that run on so many threads; 0 means every core."""

    least_outputs = 16

    def __init__(self, threads: int = 0, variant: Variant = VARIANTS[0]) -> None:
        """Raises EngineError where openvino is not installed."""
        try:
            openvino = _openvino()
        except ImportError as error:
            raise EngineError(
                f"openvino needs {error.name}: pip install '.[openvino]' in a checkout of pleinair", option="engine"
            ) from error
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} ({variant.name})"
        self.threads, self._variant = threads or cores(), variant

    def compile(self, program: Program) -> Callable[[np.ndarray], np.ndarray]:
        """See :class:`pleinair.engines.exact.Engine`. Raises EngineError above 8 bits, or where OpenVINO gives up."""
        model = build(program, self._variant)
        try:
            request = compiled(model, self.threads).create_infer_request()
        except RuntimeError as error:  # it has no kernels for this processor, or the package lacks its CPU plugin
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"openvino: {self.name} cannot run here ({reason})", option="engine") from error
        entry, shape = request.get_input_tensor().data, program.result

        def run(pixels: np.ndarray) -> np.ndarray:
            entry[0] = pixels
            request.infer()
            painted: np.ndarray = request.get_output_tensor().data.reshape(shape).copy()
            return painted

        return run

    def relightable(self, program: Program, changing: Collection[str], *, alone: bool) -> Callable[[Program], Fill]:
        """See :class:`pleinair.engines.exact.Relighting`. What changes are inputs of one model."""
        changing = [o.name for o in program.convolutions() if o.name in changing]
        model, streams = build(program, self._variant, changing), cores() if alone else 1
        kept = compiled(model, streams if alone else self.threads, streams)
        idle: list[Any] = []

        def lit(program: Program) -> Fill:
            given = {o.name: o for o in program.convolutions()}
            numbers = [
                np.asarray(values, np.float32) for name in changing for values in (given[name].bias, given[name].scale)
            ]

            def run(pixels: np.ndarray, painted: np.ndarray) -> None:
                try:
                    request = idle.pop()
                except IndexError:
                    request = kept.create_infer_request()
                request.get_input_tensor(0).data[0] = pixels
                for place, values in enumerate(numbers, 1):
                    request.get_input_tensor(place).data.reshape(-1)[:] = values
                request.infer()
                painted[:] = request.get_output_tensor().data.reshape(painted.shape)
                idle.append(request)

            return run

        return lit


def _openvino() -> Any:
    """The package, without its telemetry, which would tell its makers over the network that it is imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    import openvino.opset13

    return openvino


def compiled(model: Any, threads: int, streams: int = 1) -> Any:
    """The model, compiled for the CPU: an openvino.CompiledModel. ``streams`` run at a time, and share the threads."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned threads of two painters would share one core.
        "ENABLE_CPU_PINNING": False,
        # Otherwise whatever is not int8 is rounded to bfloat16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return _openvino().Core().compile_model(model, "CPU", settings)


def build(program: Program, variant: Variant = VARIANTS[0], changing: Sequence[str] = ()) -> Any:
    """The program as an openvino.Model, from ``x``, uint8 [1, h, w, 3], to uint8 [1, h, w, 3].

    Each of the convolutions ``changing`` adds two inputs, float32 [1, O, 1, 1]: its bias and its scale. Raises
    EngineError above 8 bits.
    """
    if program.wide:
        bits = max(program.bits, *(c.weight_bits for c in program.convolutions()))
        raise EngineError(f"openvino paints with networks of 4 and 8 bits, this one has {bits}", option="engine")
    graph = _Graph(program, variant, changing)
    x = graph.ops.parameter([1, *program.source], np.uint8, name="x")
    values: list[Any] = []
    for value, o in enumerate(program.operations):
        if isinstance(o, Input):
            y = graph.enter(x, value)
        elif isinstance(o, Convolve):
            y = graph.convolution(values[o.source], value, o)
        elif isinstance(o, View):
            y = graph.view(values[o.source], o.shape)
        elif isinstance(o, Double):
            y = graph.double(values[o.source])
        elif isinstance(o, Unblock):
            y = graph.unblock(values[o.source], o)
        else:
            y = graph.join(values[o.trunk], values[o.branch], value, o)
        values.append(y)
    result, last = values[-1], program.operations[-1]
    if isinstance(last, Convolve) and last.low < 0:
        result = graph.ops.add(result, graph.floats(128))
    painted = graph.ops.convert(graph.transpose(result, _TO_NHWC), "u8")
    return _openvino().Model([painted], [x, *(graph.inputs[key] for key in product(changing, range(2)))], "pleinair")


def _plan(program: Program, variant: Variant) -> tuple[set[int], set[int]]:
    """The numbers of the convolutions that run in int8, and of the operations whose values are stored as uint8.

    The latter are those that such a convolution reads, and the last one, which the caller reads.
    """
    operations = program.operations
    int8, read = set(), {len(operations) - 1}
    for number, o in enumerate(operations):
        if not isinstance(o, Convolve):
            continue
        source = o.source
        while isinstance(moved := operations[source], View | Double | Unblock):
            source = moved.source
        high = 255 if isinstance(moved, Input) else moved.high
        if 2 * high * int(np.abs(o.weight.astype(np.int64)).max()) <= variant.pair:
            int8.add(number)
            read.add(source)
    return int8, read


class _Graph:
    """Makes OpenVINO's nodes for the operations. A value is called float32 [1, C, H, W], however it is stored."""

    def __init__(self, program: Program, variant: Variant, changing: Sequence[str]) -> None:
        self.ops, self._program = _openvino().opset13, program
        #: Bias and scale of each convolution that has other numbers in another light.
        self.inputs = {
            (o.name, part): self.ops.parameter([1, o.shape[2], 1, 1], np.float32)
            for o in program.convolutions()
            for part in range(2)
            if o.name in changing
        }
        self._int8, self._bytes = _plan(program, variant)

    def floats(self, value: Any) -> Any:
        return self.ops.constant(np.asarray(value, np.float32))

    def integers(self, *value: int) -> Any:
        return self.ops.constant(np.array(value, np.int64))

    def transpose(self, x: Any, order: tuple[int, ...]) -> Any:
        return self.ops.transpose(x, self.integers(*order))

    def reshape(self, x: Any, *shape: int) -> Any:
        return self.ops.reshape(x, self.integers(*shape), False)

    def activation(self, x: Any, value: int, high: int) -> Any:
        """Clamp to 0 .. ``high``. It is stored as uint8 where that is planned for the operation numbered ``value``."""
        x = self.ops.clamp(x, 0.0, float(high))
        if value not in self._bytes:
            return x
        zero, greatest = self.floats(0), self.floats(255)
        return self.ops.fake_quantize(x, zero, greatest, zero, greatest, 256)

    def enter(self, x: Any, value: int) -> Any:
        return self.activation(self.ops.convert(self.transpose(x, _TO_NCHW), "f32"), value, 255)

    def convolution(self, x: Any, value: int, o: Convolve) -> Any:
        top, left, bottom, right = o.pads
        changes = (o.name, 0) in self.inputs
        step = np.ones(len(o.weight)) if changes else np.exp2(-o.shift.astype(np.float64))
        weight = np.ascontiguousarray(o.weight.transpose(0, 3, 1, 2))
        if value in self._int8:
            integers = self.ops.convert(self.ops.constant(weight.astype(np.int8)), "f32")
            weights = self.ops.multiply(integers, self.floats(step.reshape(-1, 1, 1, 1)))
        else:
            weights = self.floats(weight * step.reshape(-1, 1, 1, 1))
        y = self.ops.convolution(x, weights, list(o.strides), [top, left], [bottom, right], [1, 1])
        if changes:
            y = self.ops.multiply(self.ops.add(y, self.inputs[o.name, 0]), self.inputs[o.name, 1])
        else:
            y = self.ops.add(y, self.floats((o.bias * step).reshape(1, -1, 1, 1)))
            if (o.gain != 1).any():
                # The gain comes last: 24 bits times a gain of 5 bits are exact only where they are not clamped later.
                y = self.ops.multiply(y, self.floats(o.gain.reshape(1, -1, 1, 1)))
        # A FakeQuantize would round, too; the module's docstring says why it is not left to it.
        y = self.ops.round(y, "half_to_even")
        return self.ops.clamp(y, float(o.low), float(o.high)) if o.low < 0 else self.activation(y, value, o.high)

    def view(self, x: Any, shape: Shape) -> Any:
        return self.transpose(self.reshape(self.transpose(x, _TO_NHWC), 1, *shape), _TO_NCHW)

    def double(self, x: Any) -> Any:
        return self.ops.interpolate(
            x,
            self.floats([2, 2]),
            "nearest",
            "scales",
            axes=self.integers(2, 3),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def unblock(self, x: Any, o: Unblock) -> Any:
        height, width, channels = o.shape
        y = self.reshape(self.transpose(x, _TO_NHWC), 1, height // o.rows, width, o.rows, channels)
        return self.transpose(self.reshape(self.transpose(y, (0, 1, 3, 2, 4)), 1, *o.shape), _TO_NCHW)

    def join(self, trunk: Any, branch: Any, value: int, o: Join) -> Any:
        height, width, _ = o.shape
        if self._program.operations[o.trunk].shape != o.shape:
            trunk = self.ops.slice(
                trunk,
                self.integers(o.top, o.left),
                self.integers(o.top + height, o.left + width),
                self.integers(1, 1),
                self.integers(2, 3),
            )
        return self.activation(self.ops.add(trunk, branch), value, o.high)
