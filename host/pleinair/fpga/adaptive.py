"""Painting in any light with an accelerator: the painter of adaptive networks.

Every tile has a light; where it is another than the tile's before, it is written while that one is painted
(:mod:`pleinair.fpga.light_port`). A frame's light is metered by the accelerator itself, where its map says that it can:
once for each adaptive convolution the frame goes through, in its new light up to there, and the sums of its tiles are
added. Otherwise the processor meters. All of that is integers, so it is the processor's light, and its pixels.

After a load, frames count from 0 and the accelerator holds the network's average light. The check before the first
frame paints noise in two lights, meters it with every station, and compares both with the reference.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np

from pleinair.engines.exact import exact_runner
from pleinair.engines.meter import exact_meter
from pleinair.errors import EngineError, LightError
from pleinair.fpga.driver import SLOTS, Accelerator, AcceleratorError
from pleinair.fpga.light_map import LightMap
from pleinair.fpga.light_port import LightPort, table_of
from pleinair.fpga.painter import AcceleratorPainter, Corner, Job, Picture
from pleinair.models import Model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork
from pleinair.network.light import (
    LayerLight,
    Light,
    Sums,
    in_light,
    layer_light,
    light_of,
    light_of_sums,
    sums_of,
)
from pleinair.network.trimming import Grid, grids
from pleinair.painting.adaptive import AdaptivePainter, FrameLight
from pleinair.painting.meter import Meter, PlainMetering, measure
from pleinair.painting.painter import Painter, checked_frame
from pleinair.painting.tiles import Span, Window

_log = logging.getLogger("pleinair")


class AdaptiveAcceleratorPainter(AcceleratorPainter):
    """Paints each frame in its own light, or in a given one; see this file's description."""

    adaptive = True

    def __init__(
        self, model: Model, accelerator: Accelerator, fallback: AdaptivePainter | None = None, threads: int = 0
    ) -> None:
        """See :class:`AcceleratorPainter`; ``threads`` meter where the processor does, 0 are all."""
        network = model.network
        assert isinstance(network, IntegerNetwork) and accelerator.deployment.light is not None
        self._adaptive, self._map, self._threads_to_meter = network, accelerator.deployment.light, threads
        #: The light of an average photo.
        self.average = light_of(network)
        self._layers = [(c, 255 if k == 0 else (1 << network.bits) - 1) for k, c in enumerate(network.convolutions())]
        self._layers = [(c, high) for c, high in self._layers if c.norm is not None]
        places = zip(network.convolutions(), grids(network, trimmed=accelerator.inset > 0), strict=True)
        self._grids = [grid for c, grid in places if c.norm is not None]
        self._port: LightPort | None = None
        self._by_processor: Callable[[Picture], tuple[Sums, ...]] | None = None
        self._adaptive_fallback = fallback
        super().__init__(model, accelerator, fallback)
        self.name += ", each frame in its own light"

    @property
    def meters_itself(self) -> bool:
        """Whether the accelerator meters, and not the processor."""
        return self._map.meters

    # -- light

    def sums(self, frame: np.ndarray) -> tuple[Sums, ...]:
        """What is metered in a frame, uint8 [H, W, 3], of each adaptive convolution: the same on every machine.

        Raises ImageError, and AcceleratorError where the accelerator meters and there is no fallback.
        """
        if self._run is None:
            raise RuntimeError("the painter is closed")
        return self._metered(self._picture(checked_frame(frame)))

    def light_of(self, sums: tuple[Sums, ...]) -> Light:
        """The light of one frame's sums, or of several frames' together."""
        return light_of_sums(self._adaptive, sums)

    def measure(self, frame: np.ndarray) -> Light:
        """A frame's own light."""
        return self.light_of(self.sums(frame))

    def paint_in(self, frame: np.ndarray, light: Light) -> np.ndarray:
        """Paint a frame in a light. Raises LightError for another network's light, else what :meth:`paint` raises."""
        in_light(self._adaptive, light)
        (painting,) = self._paint_film([frame], lambda *_: light)
        return painting

    def lit_by(self, light: FrameLight | None) -> Painter:
        """See :class:`~pleinair.painting.painter.Painter`."""
        return self if light is None else _Film(self, light)

    def _prepare(self, frame: np.ndarray, film: FrameLight | None) -> Picture:
        picture = self._picture(frame)
        light = None if film is None else film(frame, self)
        picture.light = self.light_of(self._metered(picture)) if light is None else light
        if picture.light.network != self._map.network:
            raise LightError("light: measured with another network")
        return picture

    # -- metering

    def _metered(self, picture: Picture) -> tuple[Sums, ...]:
        """What is metered in a picture. Raises AcceleratorError."""
        if not self.meters_itself:
            return self._metered_by_processor(picture)
        while True:
            if self._resting():
                return self._metered_by_processor(picture)
            try:
                while self._flight:
                    self._land()
            except AcceleratorError as error:
                self._recover(error)
                continue
            try:
                return self._passes(picture)
            except AcceleratorError as error:
                self._recover(error, picture)

    def _metered_by_processor(self, picture: Picture) -> tuple[Sums, ...]:
        if self._adaptive_fallback is not None:
            return self._adaptive_fallback.sums(picture.frame)
        if self._by_processor is None:
            network, threads = self._adaptive, self._threads_to_meter
            try:
                sums = exact_meter(network, exact_runner(network, threads), threads).sums
            except EngineError:
                sums = PlainMetering(network).sums
            self._by_processor = lambda p: sums(p.padded, _frame_of(p, self.margin))
        return self._by_processor(picture)

    def _passes(self, picture: Picture) -> tuple[Sums, ...]:
        """The picture through the accelerator once for each adaptive convolution. Raises AcceleratorError."""
        totals: list[Sums] = []
        known: dict[int, np.ndarray] = {}
        tray = _Tray(self, picture)
        for number, (c, high) in enumerate(self._layers):
            known[number] = _metering_table(c)
            total = None
            for tile in range(len(picture.tiles)):
                sums = self._meter_tile(picture, tray, number, tile, known)
                total = sums if total is None else total + sums
            assert total is not None
            totals.append(total)
            own = layer_light(c, total, bits=self._adaptive.bits, input_high=high)
            known = {number: table_of(own)}
        return tuple(totals)

    def _meter_tile(self, picture: Picture, tray: _Tray, number: int, tile: int, tables: dict[int, np.ndarray]) -> Sums:
        """The sums of one tile at station ``number``, once ``tables`` are in effect."""
        board, port, (row, column) = self.accelerator, self._opened(), picture.tiles[tile]
        window = self._positions(picture, self._grids[number], row, column)
        slot, frame = tray.lay(tile), board.frames
        with board.stages.timed("light"):
            port.put(tables, frame, self._until())
            port.meter(number, frame, window)
        board.start(slot)
        tray.lay((tile + 1) % len(picture.tiles))
        board.finish(slot)
        board.stages.metered += 1
        with board.stages.timed("light"):
            port.check(frame)
            return port.sums(number, window)

    def _positions(self, picture: Picture, grid: Grid, row: Span, column: Span) -> Window:
        """Which of a station's positions count in a tile: in the frame, and in this tile alone."""
        scale = grid.scale
        whole = Meter(_frame_of(picture, self.margin)).window(scale)
        (top, bottom), (left, right) = (
            (max(low, span.first // scale) - span.start // scale, min(high, span.last // scale) - span.start // scale)
            for span, low, high in ((row, whole.top, whole.bottom), (column, whole.left, whole.right))
        )
        return _on(grid, Window(top, left, bottom, right))

    # -- painting

    def _opened(self) -> LightPort:
        assert self._port is not None
        return self._port

    def _until(self) -> float:
        return time.monotonic() + self.accelerator.deadline

    def _fill(self, job: Job) -> None:
        super()._fill(job)
        assert job.picture.light is not None
        with self.accelerator.stages.timed("light"):
            self._opened().show(job.picture.light, job.number, self._until())

    def _finished(self, job: Job) -> None:
        with self.accelerator.stages.timed("light"):
            self._opened().check(job.number)

    def _give_to_fallback(self, picture: Picture) -> None:
        assert self._adaptive_fallback is not None and picture.light is not None
        picture.replace(self._adaptive_fallback.paint_in(picture.frame, picture.light))
        self.replaced += 1

    def _abandon(self) -> None:
        super()._abandon()
        port, board = self._port, self.accelerator
        if port is None or self._broken or not port.armed:
            return
        try:
            port.check(board.frames - 1)
            if port.armed:
                # What is armed cannot be taken back: a tile is thrown away with it.
                board.start(0)
                board.finish(0)
                port.check(board.frames - 1)
        except AcceleratorError as error:
            _log.warning("%s", error)
            self._broken = True

    # -- the check before the first frame

    def _make_corners(self, network: IntegerNetwork) -> list[Corner]:
        """The noise of one slot is painted in the light of a corner of it, that of the other in the average light."""
        inset = self.accelerator.inset
        first = Corner(network, *self.tile, 0, inset)
        height, width, _ = first.pixels.shape
        own = measure(network, first.pixels, Window(0, 0, height, width))
        corners, self._steps = [], []
        for slot, light in enumerate((own, self.average)):
            lit = in_light(network, light)
            corner = Corner(lit, *self.tile, slot, inset)
            seen = zip(_levels(lit, corner.pixels), self._grids, strict=True)
            tables = {number: table_of(layer) for number, layer in enumerate(light.layers)}
            corners.append(corner)
            self._steps.append(_Step(slot, tables, [_proof(levels, corner, grid) for levels, grid in seen]))
        if self.meters_itself:
            self._steps += _full_steps([c for c, _ in self._layers], [high for _, high in self._layers], self._map)
        return corners

    def _check(self) -> None:
        """Noise in both slots and in two lights, metered by all stations. Raises AcceleratorError."""
        board = self.accelerator
        self._port = port = LightPort(board, self._map)
        port.open(self.average, board.frames)
        self._fill_with_noise()
        for k, step in enumerate(self._steps):
            frame = board.frames
            port.put(step.tables, frame, self._until())
            for number, (window, _) in enumerate(step.sums) if self.meters_itself else ():
                port.meter(number, frame, window)
            board.start(step.slot)
            if k + 1 < len(self._steps):
                port.put(self._steps[k + 1].tables, board.frames, self._until())
            board.finish(step.slot)
            port.check(frame)
            for number, (window, expected) in enumerate(step.sums) if self.meters_itself else ():
                if port.sums(number, window) != expected:
                    raise AcceleratorError(
                        f"station {self._map.stations[number].name} of the accelerator meters otherwise than the "
                        "reference"
                    )
            if k == SLOTS - 1:
                self._compare_corners()


@dataclass(frozen=True)
class _Step:
    """A frame of the check: its slot, the tables of its light, and what each station meters in which window."""

    slot: int
    tables: dict[int, np.ndarray]
    sums: list[tuple[Window, Sums]]


class _Tray:
    """Brings tiles of a picture to the slots, as seldom as possible."""

    def __init__(self, painter: AcceleratorPainter, picture: Picture) -> None:
        self._painter, self._picture = painter, picture
        self._held: list[int | None] = [None] * SLOTS
        self._last = SLOTS - 1

    def lay(self, tile: int) -> int:
        """The slot that holds a tile: where it lies already, or the one that was filled longest ago."""
        if tile not in self._held:
            self._last = (self._last + 1) % SLOTS
            self._painter._put(self._picture, *self._picture.tiles[tile], self._last)
            self._held[self._last] = tile
        return self._held.index(tile)


class _Film(Painter):
    """Paints the frames of one film in the light that the film gives them."""

    adaptive = True

    def __init__(self, painter: AdaptiveAcceleratorPainter, light: FrameLight) -> None:
        self.name, self._painter, self._light = painter.name, painter, light
        self.spent = painter.spent

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._painter!r}>"

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """Paint the film's next frame."""
        (painting,) = self.paint_each([frame])
        return painting

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See :class:`~pleinair.painting.painter.Painter`."""
        paintings = self._painter._paint_film(frames, self._light)
        try:
            for painting in paintings:
                self.spent = self._painter.spent
                yield painting
        finally:
            paintings.close()

    def lit_by(self, light: FrameLight | None) -> Painter:
        """See :class:`~pleinair.painting.painter.Painter`."""
        return self._painter.lit_by(light)

    def close(self) -> None:
        """See :class:`~pleinair.painting.painter.Painter`."""
        self._painter.close()


def _frame_of(picture: Picture, margin: int) -> Window:
    """The window of a padded picture that the frame itself fills."""
    height, width = picture.frame.shape[:2]
    return Window(margin, margin, margin + height, margin + width)


def _metering_table(c: Convolution) -> np.ndarray:
    assert c.norm is not None
    return table_of(LayerLight(c.name, c.norm.meter_bias, c.norm.meter_multiplier, c.norm.meter_shift))


def _levels(network: IntegerNetwork, pixels: np.ndarray) -> list[np.ndarray]:
    """What each station of a network sees of uint8 [H, W, 3] on the way, int64 [O, h, w] clamped to bytes."""
    seen: list[np.ndarray] = []

    def through(c: Convolution, x: np.ndarray) -> np.ndarray:
        accumulators = reference.convolve(x, c)
        if c.norm is not None:
            seen.append(reference.requantise(accumulators, replace(c, out_bits=8, signed=False)))
        return reference.requantise(accumulators, c)

    reference.run_by(network, pixels, through)
    return seen


def _on(grid: Grid, window: Window) -> Window:
    """A window of a layer's positions, counted from the first that the station has."""
    return window.within(Window(grid.inset, grid.inset, 0, 0))


def _proof(levels: np.ndarray, corner: Corner, grid: Grid) -> tuple[Window, Sums]:
    """The positions of a station that are right in a corner, and their sums. ``levels``: of the corner's crop."""
    scale = grid.scale
    right, inner = (
        Window(w.top // scale, w.left // scale, w.bottom // scale, w.right // scale)
        for w in (corner.right, corner.inner)
    )
    return _on(grid, right), sums_of(levels[:, inner.top : inner.bottom, inner.left : inner.right])


def _full_steps(convolutions: list[Convolution], highs: list[int], light_map: LightMap) -> list[_Step]:
    """Frames in which every station sees nothing but 255, so that each bit of its sums is 0 once, and 1 once."""
    tables = {}
    for number, (c, high) in enumerate(zip(convolutions, highs, strict=True)):
        one = np.ones(c.outputs, np.int64)
        tables[number] = table_of(LayerLight(c.name, c.weight_sums * high + 255, one, 0 * one))
    windows = [_telling_windows(station.height, station.width) for station in light_map.stations]
    steps = []
    for k in range(max(map(len, windows))):
        chosen = [own[min(k, len(own) - 1)] for own in windows]
        sums = []
        for window, station in zip(chosen, light_map.stations, strict=True):
            count, channels = window.bottom * window.right, station.channels
            sums.append((window, Sums(count, channels * (255 * count,), channels * (255 * 255 * count,))))
        steps.append(_Step(0, tables, sums))
    return steps


def _telling_windows(height: int, width: int) -> list[Window]:
    """Windows at the top left, few, whose sums of 255 and of 255^2 have each bit that may be set once 0 and once 1."""

    def bits(window: Window) -> int:
        count = window.bottom * window.right
        return 255 * count | 255 * 255 * count << 64

    columns = sorted({1, width // 2 + 1, max(1, width - 1), width})
    windows = [Window(0, 0, row, column) for row in range(1, height + 1) for column in columns if column <= width]
    most = 0
    for window in windows:
        most |= bits(window)
    chosen: list[Window] = []
    ones = zeros = 0
    while (ones, zeros) != (most, most):
        best = max(windows, key=lambda w: (ones | bits(w)).bit_count() + (zeros | most & ~bits(w)).bit_count())
        found = ones | bits(best), zeros | most & ~bits(best)
        if found == (ones, zeros):
            break
        (ones, zeros), chosen = found, [*chosen, best]
    return chosen
