"""Painting with an accelerator: any frame, in tiles of its built size, two buffers in flight, and no frame lost.

An overlay paints one network, so its model must be the one that is asked for, to the byte. Before the first frame, and
after every mishap, the accelerator paints a picture of noise in each slot, and a corner of each is compared with the
reference. When a tile fails, the overlay is loaded anew and the tiles in flight are painted again. When that does not
help, the fallback paints, and the accelerator is tried again after a while.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Iterable

import numpy as np

from pleinair.errors import ImageError, OptionError
from pleinair.fpga.driver import SLOTS, Accelerator, AcceleratorError
from pleinair.models import Model
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import Light
from pleinair.network.trimming import inset_of
from pleinair.painting.adaptive import FrameLight
from pleinair.painting.painter import NetworkPainter, Painter, checked_frame
from pleinair.painting.tiles import Span, Window, add_margin, plan, round_up

#: How often the overlay is loaded anew for one frame, or for one opening, before it is given up.
ATTEMPTS = 3
#: Seconds for which the fallback paints before the accelerator is tried again: at first, and at most.
REST, LONGEST_REST = 10.0, 600.0
#: Pixels of a corner, beside the halo, that are compared with the reference.
_COMPARED = 16
_log = logging.getLogger("pleinair")


class Picture:
    """A frame on its way: margin and grain added, tiles painted so far; the light of an adaptive network."""

    def __init__(self, frame: np.ndarray, padded: np.ndarray, tiles: list[tuple[Span, Span]]) -> None:
        self.frame, self.padded, self.tiles = frame, padded, tiles
        self.canvas = np.empty_like(frame)
        self.missing = len(tiles)
        self.failures = 0
        self.light: Light | None = None

    def replace(self, painting: np.ndarray) -> None:
        """Another painter has painted it."""
        self.canvas, self.missing = painting, 0


class Job:
    """One tile of a picture, in a slot; ``number`` is its own among all tiles since the overlay was loaded."""

    def __init__(self, picture: Picture, row: Span, column: Span) -> None:
        self.picture, self.row, self.column = picture, row, column
        self.slot = self.number = -1


class _Clock:
    """Adds up the seconds, and this thread's processor seconds, of what is done inside it."""

    def __init__(self) -> None:
        self._seconds = self._computed = self._began = self._began_computing = 0.0

    def __enter__(self) -> None:
        self._began, self._began_computing = time.monotonic(), time.thread_time()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.monotonic() - self._began
        self._computed += time.thread_time() - self._began_computing

    def taken(self) -> tuple[float, float]:
        """Both since this was last asked."""
        taken = self._seconds, self._computed
        self._seconds = self._computed = 0.0
        return taken


class AcceleratorPainter(NetworkPainter):
    """See this file's description."""

    def __init__(self, model: Model, accelerator: Accelerator, fallback: Painter | None = None) -> None:
        """``fallback`` is an open painter of the same model. Closing this painter closes it and the accelerator.

        Raises OptionError for a float network, AcceleratorError when nothing paints and there is no fallback.
        """
        network = model.network
        if not isinstance(network, IntegerNetwork):
            raise OptionError("fpga: the float network has no accelerator", option="backend")
        board = accelerator.deployment.board + (" (emulated)" if accelerator.emulated else "")
        name = f"{board} accelerator of {accelerator.width}x{accelerator.height}"
        if fallback is not None:
            name += f", else {fallback.name}"
        if accelerator.inset and accelerator.inset != inset_of(network):
            raise OptionError(
                f"{accelerator.deployment.folder}: paints without {accelerator.inset} pixels on each side, the network "
                f"without {inset_of(network)}",
                option="overlay",
            )
        if model.margin < accelerator.inset:
            raise OptionError(
                f"{accelerator.deployment.folder}: paints without {accelerator.inset} pixels on each side, more than "
                f"the margin of {model.margin}",
                option="overlay",
            )
        pixels = accelerator.height * accelerator.width
        super().__init__(name, network, model.margin, accelerator.run, pixels, model.grain)
        self.accelerator, self.fallback = accelerator, fallback
        self.tile = (accelerator.height, accelerator.width)
        #: Frames painted by the fallback, and how often the overlay was loaded anew.
        self.replaced = self.reloads = 0
        self._flight: deque[Job] = deque()
        self._broken, self._rest, self._resting_until = False, REST, 0.0
        self._corners = self._make_corners(network)
        try:
            if not accelerator.loaded:
                accelerator.load()
            self._check()
        except AcceleratorError as error:
            self._recover(error)

    # -- painting

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See :class:`~pleinair.painting.painter.Painter`. Raises AcceleratorError, too, unless there is a fallback."""
        (painting,) = self.paint_each([frame])
        return painting

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See :class:`~pleinair.painting.painter.Painter`.

        While one tile computes, the next is prepared, also across frames, so this reads one frame ahead.
        """
        return self._paint_film(frames, None)

    def _paint_film(self, frames: Iterable[np.ndarray], film: FrameLight | None) -> Generator[np.ndarray, None, None]:
        """Paint frames in the light that a film gives them; without one, in their own."""
        source = iter(frames)
        pictures: deque[Picture] = deque()
        failure: Exception | None = None
        clock = _Clock()
        try:
            while True:
                try:
                    frame = checked_frame(next(source))
                    if self._run is None:
                        raise RuntimeError("the painter is closed")
                    with clock:
                        picture = self._prepare(frame, film)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                pictures.append(picture)
                with clock:
                    for row, column in picture.tiles:
                        if picture.missing:
                            self._push(Job(picture, row, column))
                while pictures and not pictures[0].missing:
                    self.spent = self.spent.plus(*clock.taken())
                    yield pictures.popleft().canvas
            while pictures:
                with clock:
                    while pictures[0].missing:
                        try:
                            self._land()
                        except AcceleratorError as error:
                            self._recover(error)
                self.spent = self.spent.plus(*clock.taken())
                yield pictures.popleft().canvas
            if failure is not None:
                raise failure
        finally:
            # Whoever stops listening, or an error: the next frame finds empty slots.
            self._abandon()

    def _prepare(self, frame: np.ndarray, film: FrameLight | None) -> Picture:
        """The picture of the next frame. Raises AcceleratorError where the light has to be measured and cannot be."""
        return self._picture(frame)

    def _picture(self, frame: np.ndarray) -> Picture:
        n = self.network
        with self.accelerator.stages.timed("prepare"):
            padded = add_margin(self._grain(frame), self.margin, n.stride, adaptive=n.adaptive)
        height, width = padded.shape[:2]
        if self.margin < n.halo and (height < self.tile[0] or width < self.tile[1]):
            raise ImageError(
                f"frame of {frame.shape[1]}x{frame.shape[0]}: smaller than the accelerator's, and the model's margin "
                f"of {self.margin} is below the network's halo of {n.halo}, so its border would differ"
            )
        top, left = self.margin, self.margin
        bottom, right = top + frame.shape[0], left + frame.shape[1]
        tiles = [
            (row, column)
            for row, column in plan(height, width, self.tile, n.halo, n.stride)
            if max(row.first, top) < min(row.last, bottom) and max(column.first, left) < min(column.last, right)
        ]
        return Picture(frame, padded, tiles)

    def _push(self, job: Job) -> None:
        """Bring a tile on its way, waiting for a slot; the picture may come out painted by the fallback instead."""
        while job.picture.missing:
            if self._resting():
                self._give_to_fallback(job.picture)
                return
            try:
                self._board(job)
                return
            except AcceleratorError as error:
                # All slots are taken where an earlier tile failed, and not this one.
                self._recover(error, None if len(self._flight) == SLOTS else job.picture)

    def _board(self, job: Job) -> None:
        while len(self._flight) == SLOTS:
            self._land()
        self._fill(job)
        self._flight.append(job)
        if len(self._flight) == 1:
            self.accelerator.start(job.slot)

    def _fill(self, job: Job) -> None:
        job.slot = 1 - self._flight[-1].slot if self._flight else 0
        job.number = self.accelerator.frames
        self._put(job.picture, job.row, job.column, job.slot)

    def _put(self, picture: Picture, row: Span, column: Span, slot: int) -> None:
        """A tile of a picture into a slot."""
        with self.accelerator.stages.timed("prepare"):
            piece = picture.padded[row.start : row.stop, column.start : column.stop]
            # A smaller frame leaves the rest as it was: farther from the frame than the halo.
            self.accelerator.input(slot)[: piece.shape[0], : piece.shape[1]] = piece

    def _land(self) -> None:
        """Wait for the tile that computes, start the next, then collect."""
        job = self._flight[0]
        self.accelerator.finish(job.slot)
        self._finished(job)
        self._flight.popleft()
        try:
            if self._flight:
                self.accelerator.start(self._flight[0].slot)
        finally:
            self._collect(job)

    def _finished(self, job: Job) -> None:
        """A tile is painted, the next not started. Raises AcceleratorError for one that must not be used."""

    def _collect(self, job: Job) -> None:
        picture, row, column, margin, inset = job.picture, job.row, job.column, self.margin, self.accelerator.inset
        height, width = picture.frame.shape[:2]
        top, left = max(row.first, margin), max(column.first, margin)
        bottom, right = min(row.last, margin + height), min(column.last, margin + width)
        with self.accelerator.stages.timed("collect"):
            picture.canvas[top - margin : bottom - margin, left - margin : right - margin] = self.accelerator.output(
                job.slot
            )[
                top - row.start - inset : bottom - row.start - inset,
                left - column.start - inset : right - column.start - inset,
            ]
        picture.missing -= 1

    # -- mishaps

    def _make_corners(self, network: IntegerNetwork) -> list[Corner]:
        """Which corner of each slot's noise is compared."""
        return [Corner(network, *self.tile, slot, self.accelerator.inset) for slot in range(SLOTS)]

    def _check(self) -> None:
        """Both slots, one after the other as in a film, against the reference. Raises AcceleratorError."""
        board = self.accelerator
        self._fill_with_noise()
        board.start(0)
        for slot in range(SLOTS):
            board.finish(slot)
            if slot + 1 < SLOTS:
                board.start(slot + 1)
        self._compare_corners()

    def _fill_with_noise(self) -> None:
        for slot in range(SLOTS):
            self.accelerator.input(slot)[:] = _noise(*self.tile, slot)

    def _compare_corners(self) -> None:
        board = self.accelerator
        for slot, corner in enumerate(self._corners):
            wrong = int(np.count_nonzero(corner.of(board.output(slot)) != corner.painted))
            if wrong:
                raise AcceleratorError(
                    f"the accelerator paints otherwise than the network of {board.deployment.style}: {wrong} of "
                    f"{corner.painted.size} values of a test picture differ"
                )

    def _recover(self, error: AcceleratorError, picture: Picture | None = None) -> None:
        """Load the overlay anew and start again what was in flight, or rest. Raises AcceleratorError to give up.

        ``picture``: the one that failed, by default the one that has been in flight longest.
        """
        jobs = list(self._flight)
        if picture is None and jobs:
            picture = jobs[0].picture
        if picture is not None:
            picture.failures += 1
        self._broken = True
        for _ in range(ATTEMPTS):
            if picture is not None and picture.failures > ATTEMPTS:
                break
            _log.warning("%s; loading the overlay anew", error)
            self.reloads += 1
            self._flight.clear()
            try:
                self.accelerator.load()
                self._check()
                for job in jobs:
                    self._board(job)
                self._broken, self._rest = False, REST
                return
            except AcceleratorError as again:
                error = again
        self._flight.clear()
        if self.fallback is None:
            raise error
        _log.warning("%s; %s paints for the next %.0f s", error, self.fallback.name, self._rest)
        self._resting_until = time.monotonic() + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)
        for job in jobs:
            if job.picture.missing:
                self._give_to_fallback(job.picture)

    def _resting(self) -> bool:
        """Whether the accelerator is broken; it is tried again once its rest is over. Raises AcceleratorError."""
        if self._broken and (self.fallback is None or time.monotonic() >= self._resting_until):
            self._recover(AcceleratorError("the accelerator failed before"))
        return self._broken

    def _give_to_fallback(self, picture: Picture) -> None:
        assert self.fallback is not None
        picture.replace(self.fallback.paint(picture.frame))
        self.replaced += 1

    def _abandon(self) -> None:
        """Nothing in flight any more."""
        if self._flight:
            running = self._flight[0].slot
            self._flight.clear()
            try:
                self.accelerator.finish(running)
            except AcceleratorError as error:
                _log.warning("%s", error)
                self._broken = True

    def close(self) -> None:
        """See :class:`~pleinair.painting.painter.Painter`."""
        super().close()
        self._flight.clear()
        self.accelerator.close()
        if self.fallback is not None:
            self.fallback.close()


def _noise(height: int, width: int, slot: int) -> np.ndarray:
    """uint8 [H, W, 3] of noise, another for each slot."""
    return np.random.Generator(np.random.PCG64(slot)).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Corner:
    """A corner of a slot's noise, and what is right there: of the first slot at the top left, else at the bottom right.

    A crop as deep as the halo and a bit more is enough to know it, as it lies flush with the picture's edge. Where the
    accelerator's painting is without ``inset`` outer pixels, so is what is right, and the crop is deeper by those.
    """

    def __init__(self, network: IntegerNetwork, height: int, width: int, slot: int, inset: int = 0) -> None:
        halo = round_up(network.halo, network.stride)
        side = round_up(inset, network.stride) + halo + round_up(_COMPARED, network.stride)
        rows, columns = min(height, side), min(width, side)
        # Without an inner edge all of it is right.
        down, across = (
            side - inset if side == whole else side - halo for side, whole in ((rows, height), (columns, width))
        )
        if slot == 0:
            crop, self.right = Window(0, 0, rows, columns), Window(inset, inset, down, across)
        else:
            crop = Window(height - rows, width - columns, height, width)
            self.right = Window(height - down, width - across, height - inset, width - inset)
        self._inset = inset
        self.pixels = crop.of(_noise(height, width, slot))
        #: The right window in the crop.
        self.inner = self.right.within(crop)
        self.painted = self.inner.of(reference.run(network, self.pixels))

    def of(self, painting: np.ndarray) -> np.ndarray:
        """The right window of what the accelerator gave."""
        at = Window(self._inset, self._inset, 0, 0)
        return self.right.within(at).of(painting)
