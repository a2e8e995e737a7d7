"""Metering on an engine: a frame's light and painting, equal to those of :mod:`pleinair.painting.meter`, much sooner.

The network is walked convolution by convolution. Each runs twice: to be metered, by a program that no frame changes,
and in its light, by one whose numbers alone change. What follows the last adaptive convolution is an ordinary program.
All programs are kept, so a second frame of the same size is only computed. Of each layer that is computed which the
frame's pixels depend on, in bands of rows, on all threads. A layer is kept as one image of bytes, so a frame of 12
megapixels takes some 50 MB for each of two.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from math import lcm
from typing import TypeVar

import cv2
import numpy as np

from pleinair.engines.exact import (
    DEFAULT_ENGINE,
    Engine,
    EngineRunner,
    Fill,
    Relighting,
    check_image,
    installed_engines,
    variants,
    worst_case,
)
from pleinair.engines.lowering import Convolve, Join, Operation, Program, in_numbers_of, lower
from pleinair.errors import EngineError
from pleinair.network.integer import Convolution, IntegerNetwork, Layer, Residual, metering
from pleinair.network.light import LayerLight, Light, Sums, identity, in_light, layer_light
from pleinair.painting import meter
from pleinair.painting.meter import Meter
from pleinair.painting.tiles import Runner, Window, WindowRunner, round_up

#: Positions that one program computes at the most: of a convolution, and of what follows the last adaptive one.
_BAND, _TAIL_BAND = 1 << 14, 5 << 15
#: Bands that each of several threads gets of a small frame.
_SHARES = 3
#: Sizes of frames whose programs are kept.
_KEPT = 4
#: Memory that is kept from frame to frame, in bytes.
_KEPT_BYTES = 1 << 26

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Run = Callable[[np.ndarray], np.ndarray]
_Size = tuple[int, int]


class EngineMeter:
    """Meters frames for one adaptive network with an engine, and paints them. Several threads may do so at a time."""

    def __init__(self, network: IntegerNetwork, engine: Engine, staging: Engine | None = None) -> None:
        """As many threads meter as the engine has.

        ``staging`` computes single convolutions, by default ``engine`` where it can be relit, else ONNX Runtime.
        """
        self.network, self.engine = network, engine
        self._pool = ThreadPoolExecutor(engine.threads - 1) if engine.threads > 1 else None
        self._idle: list[_Desk] = []
        self._lock = threading.Lock()
        self._local = threading.local()
        relights = isinstance(engine, Relighting) and not network.wide
        self._lights = _Lights(network, engine) if relights else None
        if not network.wide:
            self._walk = _Walk(network, staging or _staging(engine), engine.threads)

    def measure(self, pixels: np.ndarray, frame: Window) -> Light:
        """See :func:`pleinair.painting.meter.measure`. Networks of more than 8 bits are metered there."""
        if self.network.wide:
            return meter.measure(self.network, pixels, frame)
        return self._walked(pixels, frame, paint=False).light

    def sums(self, pixels: np.ndarray, frame: Window) -> tuple[Sums, ...]:
        """What is summed of each adaptive convolution, each behind the ones before it in this frame's own light."""
        if self.network.wide:
            return meter.sums(self.network, pixels, frame)
        return self._walked(pixels, frame, paint=False).sums

    def paint(self, pixels: np.ndarray, frame: Window) -> np.ndarray:
        """The frame's painting in its own light, uint8 [H, W, 3]."""
        return self.paint_and_measure(pixels, frame)[0]

    def paint_and_measure(self, pixels: np.ndarray, frame: Window) -> tuple[np.ndarray, Light]:
        """The frame's painting in its own light, and that light."""
        if self.network.wide:
            light = meter.measure(self.network, pixels, frame)
            return EngineRunner(in_light(self.network, light), self.engine).window(pixels, frame), light
        walked = self._walked(pixels, frame, paint=True)
        assert walked.painting is not None
        return walked.painting, walked.light

    def lit(self, light: Light) -> WindowRunner:
        """What paints pieces of frames in a light. Raises LightError for one that is not this network's.

        What does not change with the light is set out once for each size of piece, whatever the light.
        """
        network = in_light(self.network, light)
        return EngineRunner(network, self.engine) if self._lights is None else _LitRunner(network, self._lights)

    def _walked(self, pixels: np.ndarray, frame: Window, paint: bool) -> _Walked:
        with self._desk() as desk:
            return self._walk.through(pixels, frame, self, desk, paint)

    def each(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """``work`` on all items, in order, on the meter's threads, of which the calling one is the first.

        Each takes the next item when it is done with one, so a thread that gets no processor holds nobody up.
        """
        done: dict[int, _Result] = {}
        numbers = iter(range(len(items)))

        def help_out() -> None:
            for number in numbers:
                done[number] = work(items[number])

        others = min(self.engine.threads, len(items)) - 1 if self._pool is not None else 0
        helpers = [self._pool.submit(help_out) for _ in range(others)] if self._pool is not None else []
        try:
            help_out()
        finally:
            started = [helper for helper in helpers if not helper.cancel()]
            wait(started)
        for helper in started:
            helper.result()
        return [done[number] for number in range(len(items))]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """An array in memory of that name that the calling thread has for itself until it asks again."""
        if not hasattr(self._local, "memory"):
            self._local.memory = _Memory()
        array: np.ndarray = self._local.memory.take(name, shape, dtype)
        return array

    @contextmanager
    def _desk(self) -> Iterator[_Desk]:
        """Memory and programs that nobody else has meanwhile."""
        with self._lock:
            desk = self._idle.pop() if self._idle else _Desk()
        try:
            yield desk
        finally:
            desk.memory.tidy()
            with self._lock:
                self._idle.append(desk)


class _Lights:
    """Programs of a whole network that run in any light, for some sizes of pieces."""

    def __init__(self, network: IntegerNetwork, engine: Engine) -> None:
        self._network, self._engine = network, engine
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, Window], tuple[Program, Callable[[Program], Fill]]] = OrderedDict()

    def program(self, height: int, width: int, window: Window) -> tuple[Program, Callable[[Program], Fill]]:
        """The program for pieces of this size, and what makes of it in a light what runs it."""
        key, engine = (height, width, window), self._engine
        with self._lock:
            if key not in self._kept:
                assert isinstance(engine, Relighting)
                program = lower(self._network, height, width, window, engine.least_outputs)
                changing = [c.name for c in self._network.convolutions() if c.norm is not None]
                while len(self._kept) >= _KEPT:
                    self._kept.popitem(last=False)
                self._kept[key] = program, engine.relightable(program, changing, alone=engine.threads == 1)
            self._kept.move_to_end(key)
            return self._kept[key]


class _LitRunner:
    """A network in one light, for pieces of any size, multiples of its stride; several threads may paint at once."""

    def __init__(self, network: IntegerNetwork, lights: _Lights) -> None:
        self._changing, self._lights = [c for c in network.convolutions() if c.norm is not None], lights
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, Window], tuple[Program, Fill]] = OrderedDict()

    def window(self, piece: np.ndarray, window: Window) -> np.ndarray:
        """The window's pixels of the painted piece: uint8 [H, W, 3] to the window's shape."""
        key = piece.shape[0], piece.shape[1], window
        with self._lock:
            if key not in self._kept:
                program, relit = self._lights.program(*key)
                while len(self._kept) >= _KEPT:
                    self._kept.popitem(last=False)
                self._kept[key] = program, relit(in_numbers_of(program, self._changing))
            self._kept.move_to_end(key)
            program, run = self._kept[key]
        painted = np.empty(program.result, np.uint8)
        run(program.reads.of(piece), painted)
        return window.within(program.paints).of(painted)


def _staging(engine: Engine) -> Engine:
    """What computes single convolutions: the engine itself, or ONNX Runtime for one that cannot be relit."""
    return engine if isinstance(engine, Relighting) else next(iter(variants(DEFAULT_ENGINE, engine.threads)))


# -- images and memory


@dataclass(frozen=True)
class _Image:
    """A layer's bytes [h, w, C] in the window ``held``."""

    pixels: np.ndarray
    held: Window

    def under(self, window: Window) -> np.ndarray:
        """The window's bytes, [h, w, C], with zeros where nothing is held."""
        inner = Window(
            max(window.top, self.held.top),
            max(window.left, self.held.left),
            min(window.bottom, self.held.bottom),
            min(window.right, self.held.right),
        )
        part = inner.within(self.held).of(self.pixels)
        if inner == window:
            return part
        whole = np.zeros((*window.shape[:2], self.pixels.shape[2]), np.uint8)
        inner.within(window).of(whole)[:] = part
        return whole


def _ends(window: Window) -> tuple[int, int, int, int]:
    return window.top, window.left, window.bottom, window.right


def _clipped(window: Window, extent: _Size) -> Window:
    height, width = extent
    return Window(max(0, window.top), max(0, window.left), min(height, window.bottom), min(width, window.right))


_Tail = list[tuple[Window, Program, Callable[[np.ndarray], np.ndarray]]]


class _Memory:
    """Arrays that are used again and again."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """An array in the memory of that name; whoever had it before has it no more."""
        count = int(np.prod(shape))
        kept = self._arrays.get(name)
        if kept is None or kept.size < count:
            self._arrays.pop(name, None)
            kept = self._arrays[name] = np.empty(count, dtype)
        return kept[:count].reshape(shape)

    def tidy(self) -> None:
        """Give back much memory."""
        if sum(array.nbytes for array in self._arrays.values()) > _KEPT_BYTES:
            self._arrays.clear()


class _Desk:
    """What one walk works with: memory, and for some sizes of frames the programs that end it."""

    def __init__(self) -> None:
        self.memory = _Memory()
        self.tails: OrderedDict[tuple[tuple[int, int], Window], _Tail] = OrderedDict()


# -- one convolution


class _Stage:
    """A convolution with the layers ``before`` it, which only move pixels, and its programs for some sizes."""

    def __init__(self, c: Convolution, before: tuple[Layer, ...], *, scale: int, high: int) -> None:
        """``scale``: the output has 1 / ``scale`` of the input's size. ``high``: the greatest input."""
        self.convolution, self.before, self.scale, self.high = c, before, scale, high
        #: The first and the last of a residual block, which goes on from the one's input and ends with the other.
        self.opens = self.closes = False

    @property
    def even(self) -> int:
        """Of which number the rows and columns of a window are multiples, so that doublings come out even."""
        return int(np.prod([layer.up for layer in self.before], dtype=np.int64))

    def source(self, window: Window) -> Window:
        """The pixels that the layers ``before`` make a window of."""
        for layer in reversed(self.before):
            window = Window(*(end * layer.down // layer.up for end in _ends(window)))
        return window

    def needs(self, window: Window, extent: _Size) -> Window:
        """What a window depends on of the image, of that extent, that goes into the layers ``before``."""
        (first, last), (left, right) = (
            self.convolution.needs(low, high - 1)
            for low, high in ((window.top, window.bottom), (window.left, window.right))
        )
        even = self.even
        outer = Window(first // even * even, left // even * even, round_up(last + 1, even), round_up(right + 1, even))
        return _clipped(self.source(outer), extent)

    def patch(self, window: Window) -> tuple[Window, Window]:
        """A piece of the source on which the window can be computed, and the window in it."""
        stride = self.convolution.stride
        edge = round_up(self.convolution.kernel // 2, lcm(stride, self.even))
        top, left, bottom, right = (end * stride for end in _ends(window))
        height, width, _ = window.shape
        inner = edge // stride
        return (
            self.source(Window(top - edge, left - edge, bottom + edge, right + edge)),
            Window(inner, inner, inner + height, inner + width),
        )


class _Prepared:
    """A stage for windows of one size: its program, what meters, and what runs in a light."""

    def __init__(self, stage: _Stage, window: Window, engine: Engine, c: Convolution, bits: int, channels: int) -> None:
        """``c``: the stage's convolution, or the same while it meters, without its norm."""
        assert isinstance(engine, Relighting)
        self._stage, self.outputs = stage, c.outputs
        patch, self._inner = stage.patch(window)
        height, width, _ = patch.shape
        piece = IntegerNetwork(bits, (*stage.before, c))
        self._program = lower(piece, height, width, self._inner, engine.least_outputs, channels)
        self._relit = engine.relightable(self._program, [c.name] if c.norm is not None else [], alone=True)

    def lit(self, c: Convolution) -> Callable[[_Image, Window, np.ndarray], np.ndarray]:
        """What computes a window of the convolution in a light, signed values plus 128.

        It writes to an array of the window's shape, or gives one where the program computes a larger window.
        """
        run, program = self._relit(in_numbers_of(self._program, [c])), self._program

        def computed(image: _Image, window: Window, into: np.ndarray) -> np.ndarray:
            patch, _ = self._stage.patch(window)
            fits = program.result == into.shape and into.flags.c_contiguous
            out = into if fits else np.empty(program.result, np.uint8)
            run(program.reads.of(image.under(patch)), out)
            return out if fits else self._inner.within(program.paints).of(out)

        return computed


def join(trunk: np.ndarray, branch: np.ndarray, most: int, into: np.ndarray) -> None:
    """``clamp(trunk + branch, 0, most)`` of uint8 [h, w, O]; a branch of -128 is stored as 0."""
    rows = max(1, (1 << 16) // branch[0].size)
    middle = np.full((rows, branch[0].size), 128, np.uint8)
    more, less = np.empty_like(middle), np.empty_like(middle)
    # So few rows at a time that they stay in the cache.
    for top in range(0, len(branch), rows):
        part = np.ascontiguousarray(branch[top : top + rows])
        flat, n = part.reshape(len(part), -1), len(part)
        # One of the two is 0, and both saturate.
        cv2.subtract(flat, middle[:n], dst=more[:n])
        cv2.subtract(middle[:n], flat, dst=less[:n])
        cv2.add(np.ascontiguousarray(trunk[top : top + rows]).reshape(flat.shape), more[:n], dst=more[:n])
        cv2.subtract(more[:n], less[:n], dst=more[:n])
        into[top : top + rows] = (more[:n] if most == 255 else np.minimum(more[:n], np.uint8(most))).reshape(part.shape)


def sums_of_rows(levels: np.ndarray) -> np.ndarray:
    """The sums of uint8 [positions, O] and of their squares, int64 [2, O].

    Squares are below 2^16, so 2^8 of them add up exactly in float32. Fewer are given to a matrix product at once,
    which would start threads of its own for more.
    """
    count, channels = levels.shape
    # Neighbours as one row: rows of few channels are slow.
    folds = max(1, 64 // channels)
    whole = count // folds * folds
    if folds > 1 and whole and levels.flags.c_contiguous:
        wide = _sums_of_rows(levels[:whole].reshape(-1, folds * channels))
        total: np.ndarray = wide.reshape(2, folds, channels).sum(1)
        return total + (_sums_of_rows(levels[whole:]) if whole < count else 0)
    return _sums_of_rows(levels)


def _sums_of_rows(levels: np.ndarray) -> np.ndarray:
    count, channels = levels.shape
    chunk = max(1, min(256, 8192 // channels))
    step = min(count, chunk << 5)
    ones, scratch = np.ones((1, chunk), np.float32), np.empty((step, channels), np.float32)
    total = np.zeros((2, channels))
    for start in range(0, count, step):
        part = levels[start : start + step]
        values = scratch[: len(part)]
        np.copyto(values, part)
        whole = len(part) // chunk * chunk
        pieces = [piece for piece in (values[:whole].reshape(-1, chunk, channels), values[None, whole:]) if piece.size]
        for number in range(2):
            for piece in pieces:
                total[number] += np.add.reduce(ones[:, : piece.shape[1]] @ piece, (0, 1), np.float64)
            if number == 0:
                np.multiply(values, values, out=values)
    return total.astype(np.int64)


# -- the network


@dataclass(frozen=True)
class _Walked:
    """What a walk has found: the sums, the light, and the painting where one was asked for."""

    sums: tuple[Sums, ...]
    light: Light
    painting: np.ndarray | None


@dataclass(frozen=True)
class _Bands:
    """A window in bands of rows, and what computes them. A band may begin before the one before it has ended."""

    window: Window
    bands: list[Window]
    prepared: _Prepared

    def new(self) -> list[Window]:
        """Of each band, the rows that no band before it has."""
        first, *_ = self.bands
        return [first, *(replace(band, top=before.bottom) for before, band in pairwise(self.bands))]


@dataclass(frozen=True)
class _Plan:
    """How a stage is computed for one size of frame: what meters it, and what runs in its light."""

    metered: tuple[_Bands, Callable[[_Image, Window, np.ndarray], np.ndarray]] | None
    lit: _Bands


class _Walk:
    """The way through a network: stages up to the last adaptive convolution, then an ordinary network."""

    def __init__(self, network: IntegerNetwork, engine: Engine, threads: int) -> None:
        self._network, self._identity, self._engine, self._threads = network, identity(network), engine, threads
        adaptive = [k for k, layer in enumerate(network.layers) if any(c.norm is not None for c in _inside(layer))]
        self._stages, self._tail = _stages(network, adaptive[-1] + 1), network.layers[adaptive[-1] + 1 :]
        self._plans: OrderedDict[tuple[_Size, Window, bool], list[_Plan]] = OrderedDict()
        self._lock = threading.Lock()

    def through(self, pixels: np.ndarray, frame: Window, owner: EngineMeter, desk: _Desk, paint: bool) -> _Walked:
        """Meter a frame, and paint it if asked to."""
        size = (pixels.shape[0], pixels.shape[1])
        tail = self._programs(size, frame, owner.engine, desk) if paint else []
        plans = self._planned(size, frame, [program.reads for _, program, _ in tail])
        image = trunk = _Image(pixels, Window(0, 0, *size))
        place, kept = -1, -1
        layers: list[LayerLight] = []
        sums: list[Sums] = []
        for stage, plan in zip(self._stages, plans, strict=False):
            if stage.opens:
                trunk, kept = image, place
            c = stage.convolution
            if plan.metered is not None:
                sums.append(_metered(plan.metered, image, Meter(frame).window(stage.scale), owner))
                layers.append(layer_light(c, sums[-1], bits=self._network.bits, input_high=stage.high))
                numbers = layers[-1]
                c = replace(c, bias=numbers.bias, multiplier=numbers.multiplier, shift=numbers.shift)
            if plan is plans[-1] and not paint:
                break
            place = min({0, 1, 2} - {place, kept})
            into = desk.memory.take(f"bytes {place}", (*plan.lit.window.shape[:2], c.outputs), np.uint8)
            self._run(plan.lit, c, image, trunk if stage.closes else None, into, owner)
            image = _Image(into, plan.lit.window)
            if stage.closes:
                kept = -1
        painting = _end(image, frame, tail) if paint else None
        return _Walked(tuple(sums), Light(self._identity, tuple(layers)), painting)

    def _run(
        self, bands: _Bands, c: Convolution, image: _Image, trunk: _Image | None, into: np.ndarray, owner: EngineMeter
    ) -> None:
        """Compute a convolution in its light, and add the trunk where there is one."""
        run, most = bands.prepared.lit(c), (1 << self._network.bits) - 1

        def computed(band: Window) -> None:
            place = band.within(bands.window).of(into)
            if trunk is None:
                values = run(image, band, place)
                if values is not place:
                    place[:] = values
                return
            # Not in its place at once: another band may share some of its rows, and have finished them already.
            branch = run(image, band, owner.scratch("branch", place.shape, np.uint8))
            join(trunk.under(band), branch, most, place)

        owner.each(computed, bands.bands)

    def _planned(self, size: _Size, frame: Window, reads: list[Window]) -> list[_Plan]:
        """For frames of a size; ``reads`` of the programs behind the stages, none where nothing is painted."""
        key = size, frame, bool(reads)
        with self._lock:
            if key not in self._plans:
                while len(self._plans) >= _KEPT:
                    self._plans.popitem(last=False)
                plans, channels = [], 3
                for stage, window in zip(self._stages, self._wanted(size, Meter(frame), reads), strict=False):
                    plans.append(self._plan(stage, window, Meter(frame), channels))
                    channels = stage.convolution.outputs
                self._plans[key] = plans
            self._plans.move_to_end(key)
            return self._plans[key]

    def _plan(self, stage: _Stage, window: Window, frame: Meter, channels: int) -> _Plan:
        def bands(window: Window, c: Convolution) -> _Bands:
            parts = _bands(window, stage.even, self._threads)
            return _Bands(window, parts, _Prepared(stage, parts[0], self._engine, c, self._network.bits, channels))

        c, metered = stage.convolution, None
        if c.norm is not None:
            fixed = replace(metering(c), norm=None)
            levels = bands(_rounded(frame.window(stage.scale), stage.even), fixed)
            metered = levels, levels.prepared.lit(fixed)
        return _Plan(metered, bands(window, c))

    def _wanted(self, size: tuple[int, int], frame: Meter, reads: list[Window]) -> list[Window]:
        """What is computed of each stage: what is metered, and what is read by later stages and, at last, by programs.

        Without the programs, the list ends with the last stage that is metered.
        """
        stages = self._stages
        if not reads:
            last = max(k for k, stage in enumerate(stages) if stage.convolution.norm is not None)
            stages = stages[: last + 1]
        needed, joined = _union(reads), None
        windows: list[Window] = []
        for k in range(len(stages) - 1, -1, -1):
            stage = stages[k]
            wanted = [] if needed is None else [needed]
            if stage.convolution.norm is not None:
                wanted.append(frame.window(stage.scale))
            window = _union(wanted)
            assert window is not None
            window = _rounded(window, stage.even)
            windows.insert(0, window)
            scale = stages[k - 1].scale if k else 1
            needed = stage.needs(window, (size[0] // scale, size[1] // scale))
            if stage.closes:
                joined = window
            if stage.opens and joined is not None:
                needed, joined = _union([needed, joined]), None
        return windows

    def _programs(self, size: tuple[int, int], frame: Window, engine: Engine, desk: _Desk) -> _Tail:
        """The programs behind the stages, for bands of the frame's rows; equal ones are one."""
        key = size, frame
        if key not in desk.tails:
            while len(desk.tails) >= _KEPT:
                desk.tails.popitem(last=False)
            scale, channels = self._stages[-1].scale, self._stages[-1].convolution.outputs
            network = IntegerNetwork(self._network.bits, self._tail)
            made: dict[object, Callable[[np.ndarray], np.ndarray]] = {}
            tail: _Tail = []
            step = max(2, _TAIL_BAND * scale // (frame.right - frame.left) // 2 * 2)
            for top in range(frame.top, frame.bottom, step):
                band = replace(frame, top=top, bottom=min(top + step, frame.bottom))
                height, width = size[0] // scale, size[1] // scale
                program = lower(network, height, width, band, engine.least_outputs, channels)
                form = tuple(_form(o) for o in program.operations)
                if form not in made:
                    made[form] = engine.compile(program)
                tail.append((band, program, made[form]))
            desk.tails[key] = tail
        desk.tails.move_to_end(key)
        return desk.tails[key]


def _form(o: Operation) -> object:
    """What tells operations of one network's programs for one size apart."""
    if isinstance(o, Convolve):
        return o.name, o.shape, o.weight.shape, o.strides, o.pads
    return type(o), o.shape, (o.top, o.left) if isinstance(o, Join) else ()


def _metered(
    plan: tuple[_Bands, Callable[[_Image, Window, np.ndarray], np.ndarray]],
    image: _Image,
    counted: Window,
    owner: EngineMeter,
) -> Sums:
    """What is summed of a convolution's levels, over the positions that count."""
    bands, run = plan

    def summed(band: tuple[Window, Window]) -> np.ndarray:
        whole, new = band
        inner = replace(counted, top=max(counted.top, new.top), bottom=min(counted.bottom, new.bottom))
        levels = owner.scratch("levels", (*whole.shape[:2], bands.prepared.outputs), np.uint8)
        levels = run(image, whole, levels)
        return sums_of_rows(inner.within(whole).of(levels).reshape(-1, levels.shape[2]))

    parts = owner.each(summed, list(zip(bands.bands, bands.new(), strict=True)))
    first, second = np.sum(parts, axis=0)
    count = (counted.bottom - counted.top) * (counted.right - counted.left)
    return Sums(count, tuple(first.tolist()), tuple(second.tolist()))


def _end(image: _Image, frame: Window, tail: _Tail) -> np.ndarray:
    """The frame's painting, of what the last stage gave."""
    painting = np.empty(frame.shape, np.uint8)
    for window, program, run in tail:
        painted = run(image.under(program.reads))
        window.within(frame).of(painting)[:] = window.within(program.paints).of(painted)
    return painting


def _bands(window: Window, even: int, threads: int) -> list[Window]:
    """The window in bands of rows, all equally high, so that the last one may overlap the one before."""
    height, width, _ = window.shape
    # Several for each thread: one that is held up then has less to catch up with.
    least = _SHARES * threads if threads > 1 else 1
    count = max(1, min(height // 8, max(least, -(-height * width // _BAND))))
    rows = min(height, round_up(-(-height // count), even))
    tops = [min(top, window.bottom - rows) for top in range(window.top, window.bottom, rows)]
    return [replace(window, top=top, bottom=top + rows) for top in tops]


def _rounded(window: Window, even: int) -> Window:
    """Outwards to multiples."""
    top, left, bottom, right = _ends(window)
    return Window(top // even * even, left // even * even, round_up(bottom, even), round_up(right, even))


def _union(windows: Sequence[Window]) -> Window | None:
    """The least window that holds all of them."""
    if not windows:
        return None
    tops, lefts, bottoms, rights = zip(*map(_ends, windows), strict=True)
    return Window(min(tops), min(lefts), max(bottoms), max(rights))


def _inside(layer: Layer) -> tuple[Convolution, ...]:
    """The convolutions of a layer."""
    if isinstance(layer, Residual):
        return layer.body
    return (layer,) if isinstance(layer, Convolution) else ()


def _stages(network: IntegerNetwork, count: int) -> list[_Stage]:
    """The convolutions of the first so many layers."""
    stages: list[_Stage] = []
    before: list[Layer] = []
    scale, high = 1, 255
    for layer in network.layers[:count]:
        scale = scale * layer.down // layer.up
        if not isinstance(layer, Convolution | Residual):
            before.append(layer)
            continue
        body = _inside(layer)
        for c in body:
            # A trunk is an image of its own, so what comes before a block is computed before it.
            stages.append(_Stage(c, tuple(before), scale=scale, high=high))
            before, high = [], (1 << network.bits) - 1
        if isinstance(layer, Residual):
            stages[-len(body)].opens = stages[-1].closes = True
    return stages


# -- which engine meters exactly


def exact_meter(network: IntegerNetwork, run: Runner | WindowRunner, threads: int) -> EngineMeter:
    """What meters frames and paints them in their own light on this machine, equal to :func:`meter.paint`.

    ``run``: the network's exact runner of so many threads. Its engine paints whole networks, ONNX Runtime single
    convolutions, which it has ready much sooner than OpenVINO, and computes nearly as fast; where that is not exact,
    each is tried for both. Networks of more than 8 bits are metered in NumPy and painted by the engine.
    """
    assert isinstance(run, EngineRunner)
    if network.wide:
        return EngineMeter(network, run.engine)
    side = 64
    pixels, frame = check_image(side), Window(side // 8, side // 8, side - 6, side - 9)
    wanted = [(n, meter.paint(n, pixels, frame)) for n in (worst_case(network), network)]
    for engine, staging in _pairs(run.engine, threads):
        if all(np.array_equal(EngineMeter(n, engine, staging).paint(pixels, frame), painted) for n, painted in wanted):
            return EngineMeter(network, engine, staging)
    raise EngineError("no engine here meters a frame exactly; use the backend reference")


def _pairs(engine: Engine, threads: int) -> Iterator[tuple[Engine, Engine]]:
    """What may paint whole networks and single convolutions, the best first."""
    staging = list(variants(DEFAULT_ENGINE, threads)) if DEFAULT_ENGINE in installed_engines() else []
    if type(engine) not in map(type, staging):
        yield from ((engine, other) for other in staging)
    if isinstance(engine, Relighting):
        yield engine, engine
    yield from ((other, other) for other in staging)
