"""Pieces of a film's work: some frames to be painted, or to be metered, and what a worker answers.

A piece is named by its content: SHA-256 of the network, the strokes, the lights and the pixels. A worker computes the
name of what reached it, so that neither side takes one piece for another, or a damaged one for a whole one.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pleinair.backends import CPU, open_painter
from pleinair.errors import EngineError, OptionError
from pleinair.films.tone import Tone
from pleinair.models import Model
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.light import Light, Sums
from pleinair.painting.adaptive import AdaptivePainter, LightMeter
from pleinair.painting.strokes import shrink, with_strokes

PAINT, METER = "paint", "meter"
#: Painters that a worker's process keeps open.
_OPEN = 2


def check_bits(bits: int) -> None:
    """Raise OptionError for a network that machines cannot share."""
    if bits == FLOAT_BITS:
        raise OptionError(
            f"{FLOAT_BITS}: floats differ from machine to machine; what is shared needs 16 bits or fewer", option="bits"
        )


@dataclass(frozen=True)
class Job:
    """What is to be done with some frames.

    ``kind`` is PAINT or METER. ``lights`` are those that the frames are painted in, and ``which`` says for each frame
    which of them; without lights each frame is painted in its own, or the network has none. ``tone`` is how much of the
    scene's brightness the painting gets back (:class:`~pleinair.films.tone.Tone`). ``threads`` is how many the worker
    computes with.
    """

    kind: str
    network: str
    bits: int
    strokes: int = 1
    tone: float = 0.0
    threads: int = 1
    lights: tuple[Light, ...] = ()
    which: tuple[int, ...] = ()

    def name(self, frames: Sequence[np.ndarray]) -> str:
        """The name of this work on frames, uint8 [H, W, 3] each: SHA-256, hexadecimal."""
        sha = hashlib.sha256(f"{self.kind} {self.network} {self.bits} {self.strokes} {self.tone} {self.which}".encode())
        for light in self.lights:
            sha.update(light.digest().encode())
        for frame in frames:
            sha.update(f"{frame.dtype} {frame.shape} ".encode())
            sha.update(np.ascontiguousarray(frame).data)
        return sha.hexdigest()

    def lights_of(self, count: int) -> list[Light | None]:
        """The light of each of ``count`` frames; None for its own."""
        return [self.lights[i] for i in self.which] if self.lights else [None] * count


@dataclass(frozen=True)
class Done:
    """A worker's answer: the work's name as it computed it, and the frames' ``paintings`` or ``sums``.

    ``seconds``: how long it took; ``processor``: seconds that the worker's process computed meanwhile. ``opening``:
    those that it computed before, where this was its first work: to begin, to import and to open a brush.
    """

    name: str
    engine: str
    seconds: float
    processor: float = 0.0
    opening: float = 0.0
    paintings: tuple[np.ndarray, ...] = field(default=(), repr=False)
    sums: tuple[tuple[Sums, ...], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Unfit:
    """A worker's answer where it cannot paint, and why."""

    message: str


class Brush:
    """Paints and meters with one network, on the processor, with the fastest engine that is exact here."""

    def __init__(self, model: Model, strokes: int, threads: int) -> None:
        """Raises EngineError."""
        self._base = open_painter(model, CPU, threads)
        self._strokes = strokes
        self.painter = with_strokes(self._base, strokes)

    @property
    def meter(self) -> LightMeter | None:
        """What a film's light asks; None where the network is not adaptive."""
        return self._base if isinstance(self._base, AdaptivePainter) else None

    def open_meter(self) -> None:
        """Have what meters checked now, not with the first frame. Raises EngineError."""
        if isinstance(self._base, AdaptivePainter):
            self._base.open_meter()

    def paint(
        self, frames: Sequence[np.ndarray], lights: Iterable[Light | None], tone: float = 0.0
    ) -> list[np.ndarray]:
        """The paintings of frames, uint8 [H, W, 3] each, in these lights, toned. Raises ImageError."""
        queue, toner = iter(lights), Tone(tone)
        paintings = self.painter.lit_by(lambda frame, meter: next(queue)).paint_each(frames)
        return [toner(painting, toner.of(frame)) for painting, frame in zip(paintings, frames, strict=True)]

    def sums(self, frame: np.ndarray) -> tuple[Sums, ...]:
        """What is metered in a frame, uint8 [H, W, 3], as it is painted. Raises ImageError."""
        assert isinstance(self._base, AdaptivePainter)
        return self._base.sums(shrink(frame, self._strokes) if self._strokes > 1 else frame)

    def close(self) -> None:
        """Give back what it holds."""
        self.painter.close()


#: The open brushes of this process.
_brushes = OrderedDict[tuple[str, int, int, int], Brush]()


def brush_of(job: Job, fetch: Callable[[], Model]) -> Brush:
    """The brush of this process for a job; ``fetch`` gives the model where it is not open yet. Raises EngineError."""
    key = job.network, job.bits, job.strokes, job.threads
    if key not in _brushes:
        brush = Brush(fetch(), job.strokes, job.threads)
        brush.open_meter()
        _brushes[key] = brush
        while len(_brushes) > _OPEN:
            _brushes.popitem(last=False)[1].close()
    _brushes.move_to_end(key)
    return _brushes[key]


def work(job: Job, fetch: Callable[[], Model], *parts: tuple[np.ndarray, ...]) -> Done | Unfit:
    """Do a job on the frames of some parts, uint8 [H, W, 3] each, in order; this runs on a worker.

    Raises ImageError for what is no frame.
    """
    frames = [frame for part in parts for frame in part]
    new = not _brushes
    try:
        brush = brush_of(job, fetch)
    except (EngineError, ImportError) as error:
        return Unfit(f"cannot paint: {error}")
    began, computed = time.monotonic(), time.process_time()
    name, meters = job.name(frames), job.kind == METER
    sums = tuple(brush.sums(frame) for frame in frames) if meters else ()
    paintings = () if meters else tuple(brush.paint(frames, job.lights_of(len(frames)), job.tone))
    return Done(
        name,
        brush.painter.name,
        seconds=time.monotonic() - began,
        processor=time.process_time() - computed,
        opening=computed if new else 0.0,
        paintings=paintings,
        sums=sums,
    )


def digest(painting: np.ndarray) -> str:
    """SHA-256 of a painting's pixels, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(painting).data).hexdigest()


def fault_of(done: object, job: Job, name: str, frames: Sequence[np.ndarray], channels: Sequence[int]) -> str:
    """What is wrong with an answer, by its form alone; "" where nothing is.

    ``channels``: those of each adaptive convolution of the network, in order.
    """
    if not isinstance(done, Done):
        return f"answered with {type(done).__name__}"
    if done.name != name:
        return "worked on other frames than it was given"
    if job.kind == METER:
        whole = len(done.sums) == len(frames) and all(_are_sums(sums, channels) for sums in done.sums)
        return "" if whole else "gave no sums of a light"
    if len(done.paintings) != len(frames):
        return f"gave {len(done.paintings)} paintings of {len(frames)} frames"
    for painting, frame in zip(done.paintings, frames, strict=True):
        if not isinstance(painting, np.ndarray) or painting.dtype != np.uint8 or painting.shape != frame.shape:
            return "gave what is no painting of its frame"
    return ""


def _are_sums(sums: object, channels: Sequence[int]) -> bool:
    """Whether these are the sums of a frame: whole numbers within what a frame can give."""
    if not isinstance(sums, tuple) or len(sums) != len(channels):
        return False
    for layer, wide in zip(sums, channels, strict=True):
        if not isinstance(layer, Sums) or len(layer.first) != wide or len(layer.second) != wide:
            return False
        numbers = (layer.count, *layer.first, *layer.second)
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers) or layer.count == 0:
            return False
        if any(n > 255 * layer.count for n in layer.first) or any(n > 255**2 * layer.count for n in layer.second):
            return False
    return True
