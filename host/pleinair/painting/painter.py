"""Painters: a frame in, the same frame painted out.

All painters of an integer network paint the same pixels, whatever they compute with. Which one paints is chosen in
:mod:`pleinair.backends`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from pleinair.errors import ImageError
from pleinair.images import MAX_PIXELS
from pleinair.machine import cores
from pleinair.network.floating import FloatNetwork
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.grain import Grain
from pleinair.painting.side_by_side import Task, paint_side_by_side
from pleinair.painting.tiles import MIN_SIDE, Runner, WindowRunner, paint_tiled, tile_side

#: Pixels of a tile, chosen so that 12 megapixels stay under 600 MB in ONNX Runtime at 8 bits.
TILE_PIXELS = 1_000_000

_Self = TypeVar("_Self", bound="Painter")


@dataclass(frozen=True)
class Spent:
    """What paintings have taken so far.

    ``seconds`` are those in which a frame was being painted, so two frames painted side by side count twice.
    ``processor_seconds`` are what the painting threads themselves computed; threads of a library do not count.
    """

    frames: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0

    def plus(self, seconds: float, processor_seconds: float) -> Spent:
        """With one more frame."""
        return Spent(self.frames + 1, self.seconds + seconds, self.processor_seconds + processor_seconds)

    def since(self, before: Spent) -> Spent:
        """What was spent after ``before``."""
        return Spent(
            self.frames - before.frames,
            self.seconds - before.seconds,
            self.processor_seconds - before.processor_seconds,
        )


class Painter(Protocol):
    """Paints frames with one network. A context manager that closes itself.

    A class that derives from this one and has ``paint`` is a painter; ``paint_each`` then paints frame by frame.
    """

    name: str
    #: Whether the network paints in the light that is measured on frames.
    adaptive: bool = False
    #: Whether each frame's own light is the only one that it can paint in.
    own_light_only: bool = False
    #: Grows with every frame that :meth:`paint_each` gives.
    spent: Spent = Spent()

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """Paint one frame.

        The frame is uint8 [H, W, 3] RGB, 16 x 16 to 64 megapixels; the painting has the same shape. Raises ImageError
        for any other frame.
        """
        ...

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """Paint frames in order, as fast as the machine can; the paintings are those of :meth:`paint`.

        The painter may read a few frames ahead, so a painting may come only when later frames were read. It holds no
        more than those, and reads on only when the next painting is asked for. What ``frames`` raises, and what
        painting raises, reaches the caller after the paintings of all frames before it. A caller that stops early
        closes the iterator; then nothing is painted any more. A frame must not change until its painting has come.
        """
        for frame in frames:
            began, computed = time.monotonic(), time.thread_time()
            painting = self.paint(frame)
            self.spent = self.spent.plus(time.monotonic() - began, time.thread_time() - computed)
            yield painting

    def lit_by(self, light: Any) -> Painter:
        """A painter of one film, whose frames are painted in the light that ``light`` gives them, in order.

        ``light`` is a :class:`pleinair.painting.adaptive.FrameLight`, or None for each frame's own. Painters of
        networks that are not adaptive paint in any light alike, and give themselves. Closing either closes both.
        """
        return self

    def close(self) -> None:
        """Give back what the painter holds; painting afterwards is an error."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SideBySidePainter(Painter):
    """A painter that paints small frames of a film side by side, each in a thread of its own."""

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See :class:`Painter`. Reads one frame more ahead than are painted at a time."""
        with closing(paint_side_by_side(frames, self._task)) as paintings:
            for painted in paintings:
                self.spent = self.spent.plus(painted.seconds, painted.processor_seconds)
                yield painted.painting

    def _task(self, frame: np.ndarray) -> Task:
        """How the next frame is painted; called for each, in order, in the thread that reads them."""
        raise NotImplementedError


class NetworkPainter(SideBySidePainter):
    """A painter around any runner of a network: grain, margin, tiles, crop."""

    def __init__(
        self,
        name: str,
        network: IntegerNetwork | FloatNetwork,
        margin: int,
        run: Runner | WindowRunner,
        tile_pixels: int,
        grain: int = 0,
        *,
        threads: int = 1,
        run_with: Callable[[int], Runner | WindowRunner] | None = None,
    ) -> None:
        """``run`` paints pieces of frames with ``threads`` threads; 0 means every core.

        ``run_with`` makes a runner of fewer threads that several frames may be painted with at a time; without it,
        frames are painted one after the other.
        """
        self.name, self.network, self.margin = name, network, margin
        self._grain = Grain(grain)
        self._run: Runner | WindowRunner | None = run
        side = tile_side(network.stride, network.halo, tile_pixels)
        self.tile = (side, side)
        self._threads = threads or cores()
        self._run_with = run_with
        self._runners: dict[int, Runner | WindowRunner] = {self._threads: run}

    def __repr__(self) -> str:
        kind = "float" if isinstance(self.network, FloatNetwork) else f"{self.network.bits}-bit"
        closed = ", closed" if self._run is None else ""
        return f"<{type(self).__name__}: {kind} network by {self.name}{closed}>"

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See :class:`Painter`."""
        return self._paint(frame, self._threads)

    def _paint(self, frame: np.ndarray, threads: int) -> np.ndarray:
        return self._paint_with(frame, self._runner(threads))

    def _paint_with(self, frame: np.ndarray, run: Runner | WindowRunner) -> np.ndarray:
        frame, n = checked_frame(frame), self.network
        return paint_tiled(self._grain(frame), run, self.margin, n.halo, n.stride, self.tile, adaptive=n.adaptive)

    def _runner(self, threads: int) -> Runner | WindowRunner:
        """The runner of so many threads, made when it is first asked for."""
        if self._run is None:
            raise RuntimeError("the painter is closed")
        if threads not in self._runners:
            assert self._run_with is not None
            self._runners[threads] = self._run_with(threads)
        return self._runners[threads]

    def side_by_side(self, width: int, height: int) -> tuple[int, int]:
        """For frames of this size: threads that each is painted with, and frames that are painted at once.

        Small frames are painted side by side: nothing waits within a frame, and a core that other stages of a film
        have taken holds up only one frame.
        """
        if self._run_with is None:
            return self._threads, 1
        at_once = max(1, min(self._threads, TILE_PIXELS // (height * width)))
        return self._threads // at_once, at_once

    def _task(self, frame: np.ndarray) -> Task:
        frame = checked_frame(frame)
        threads, at_once = self.side_by_side(frame.shape[1], frame.shape[0])
        # Made here, not in the thread that paints: it compares itself with the reference.
        self._runner(threads)
        return Task(partial(self._paint, frame, threads), at_once)

    @property
    def runner(self) -> Runner | WindowRunner | None:
        """What paints the tiles; None once closed."""
        return self._run

    def close(self) -> None:
        """See :class:`Painter`."""
        self._run = None
        self._runners.clear()


def checked_frame(frame: np.ndarray) -> np.ndarray:
    """The frame, contiguous in memory. Raises ImageError for one that cannot be painted."""
    needed = "must be a NumPy array of uint8 [height, width, 3], RGB"
    if not isinstance(frame, np.ndarray):
        raise ImageError(f"frame: {needed}, not {_article(type(frame).__name__)}")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ImageError(f"frame: {needed}, not of {frame.dtype} {list(frame.shape)}")
    height, width = frame.shape[:2]
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        raise ImageError(
            f"frame of {width}x{height}: painted are {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
        )
    return np.ascontiguousarray(frame)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
