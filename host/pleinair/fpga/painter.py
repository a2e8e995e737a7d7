"""Painting with an accelerator: any frame, in tiles of its built size, two buffers in flight, and no frame lost.

``fpga:OVERLAY`` names it among painters' backends, ``fpga+cpu:OVERLAY`` and ``fpga+reference:OVERLAY`` with a fallback.
OVERLAY is a deployment folder, ``emulated:FOLDER`` or ``simulated:BUILD`` (pleinair.emulator.board).

An overlay paints one network. Its model must be the one asked for, to the byte; and before the first frame, and after
every mishap, the accelerator paints a picture of noise in either slot, of which two corners are compared with the
reference. When a tile fails, the overlay is loaded anew and what was in flight is painted again; when that does not
help, the fallback paints, and the accelerator is tried again after a while.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.emulator.stand_in import is_build, read_build
from pleinair.errors import ImageError, ModelError, OptionError
from pleinair.fpga.deployment import Deployment, read_deployment
from pleinair.fpga.driver import SLOTS, Accelerator, AcceleratorError, import_pynq
from pleinair.models import Model, read_card, styles
from pleinair.network import reference
from pleinair.network.integer import IntegerNetwork
from pleinair.painting.painter import BACKENDS, NetworkPainter, check_frame, open_painter
from pleinair.painting.tiles import Span, add_margin, plan, round_up

BACKEND = "fpga"
#: Overlays that are no board's, and what they compute with: the integer network, or a build's RTL in Verilator.
EMULATED, SIMULATED = "emulated", "simulated"
#: How often the overlay is loaded anew for one frame, or for one opening, before it is given up.
ATTEMPTS = 3
#: Seconds for which the fallback paints before the accelerator is tried again: at first, and at most.
REST, LONGEST_REST = 10.0, 600.0
#: Pixels of a corner, beside the halo, that are compared with the reference.
_COMPARED = 16
_log = logging.getLogger("pleinair")


class _Picture:
    """A frame on its way: margin and grain added, tiles painted so far."""

    def __init__(self, frame: np.ndarray, padded: np.ndarray, tiles: list[tuple[Span, Span]]) -> None:
        self.frame, self.padded, self.tiles = frame, padded, tiles
        self.canvas = np.empty_like(frame)
        self.missing = len(tiles)
        self.failures = 0

    def replace(self, painting: np.ndarray) -> None:
        """Another painter has painted it."""
        self.canvas, self.missing = painting, 0


class _Job:
    """One tile of a picture, in a slot."""

    def __init__(self, picture: _Picture, row: Span, column: Span) -> None:
        self.picture, self.row, self.column = picture, row, column
        self.slot = -1


class AcceleratorPainter(NetworkPainter):
    """See this file's description."""

    def __init__(self, model: Model, accelerator: Accelerator, fallback: NetworkPainter | None = None) -> None:
        """Takes both over: closing the painter closes them. Raises AcceleratorError unless there is a fallback."""
        network = model.network
        if not isinstance(network, IntegerNetwork):
            raise OptionError(f"--backend {BACKEND}: the float network has no accelerator")
        board = accelerator.deployment.board + (" (emulated)" if accelerator.emulated else "")
        name = f"{board} accelerator of {accelerator.width}x{accelerator.height}"
        if fallback is not None:
            name += f", else {fallback.name}"
        pixels = accelerator.height * accelerator.width
        super().__init__(name, network, model.margin, accelerator.run, pixels, model.grain)
        self.accelerator, self.fallback = accelerator, fallback
        self.tile = (accelerator.height, accelerator.width)
        #: Frames painted by the fallback, and how often the overlay was loaded anew.
        self.replaced = self.reloads = 0
        self._flight: deque[_Job] = deque()
        self._broken, self._rest, self._resting_until = False, REST, 0.0
        self._corners = _corners(network, *self.tile)
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

    def paint_each(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Paint frames in order; while one computes, the next is prepared, so it reads one frame ahead."""
        pictures: deque[_Picture] = deque()
        try:
            for frame in frames:
                if self._run is None:
                    raise RuntimeError("the painter is closed")
                check_frame(frame)
                picture = self._prepare(frame)
                pictures.append(picture)
                for row, column in picture.tiles:
                    if picture.missing:
                        self._push(_Job(picture, row, column))
                while pictures and not pictures[0].missing:
                    yield pictures.popleft().canvas
            while pictures:
                while pictures[0].missing:
                    self._attempt(self._land)
                yield pictures.popleft().canvas
        finally:
            # Whoever stops listening, or an error: the next frame finds empty slots.
            self._abandon()

    def _prepare(self, frame: np.ndarray) -> _Picture:
        n = self.network
        with self.accelerator.stages.timed("prepare"):
            padded = add_margin(self._grain(frame), self.margin, n.stride)
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
        return _Picture(frame, padded, tiles)

    def _push(self, job: _Job) -> None:
        """Bring a tile on its way, waiting for a slot; the picture may come out painted by the fallback instead."""
        while job.picture.missing:
            if self._resting():
                self._give_to_fallback(job.picture)
            elif self._attempt(self._board, job):
                return

    def _attempt(self, act: Any, *arguments: Any) -> bool:
        """Whether it went well; if not, the accelerator has been mended or is at rest. Raises AcceleratorError."""
        try:
            act(*arguments)
        except AcceleratorError as error:
            self._recover(error)
            return False
        return True

    def _board(self, job: _Job) -> None:
        while len(self._flight) == SLOTS:
            self._land()
        self._fill(job)
        self._flight.append(job)
        if len(self._flight) == 1:
            self.accelerator.start(job.slot)

    def _fill(self, job: _Job) -> None:
        job.slot = 1 - self._flight[-1].slot if self._flight else 0
        row, column = job.row, job.column
        with self.accelerator.stages.timed("prepare"):
            piece = job.picture.padded[row.start : row.stop, column.start : column.stop]
            # A smaller frame leaves the rest as it was: farther from the frame than the halo.
            self.accelerator.input(job.slot)[: piece.shape[0], : piece.shape[1]] = piece

    def _land(self) -> None:
        """Wait for the tile that computes, start the next, then collect."""
        job = self._flight[0]
        self.accelerator.finish(job.slot)
        self._flight.popleft()
        try:
            if self._flight:
                self.accelerator.start(self._flight[0].slot)
        finally:
            self._collect(job)

    def _collect(self, job: _Job) -> None:
        picture, row, column, margin = job.picture, job.row, job.column, self.margin
        height, width = picture.frame.shape[:2]
        top, left = max(row.first, margin), max(column.first, margin)
        bottom, right = min(row.last, margin + height), min(column.last, margin + width)
        with self.accelerator.stages.timed("collect"):
            picture.canvas[top - margin : bottom - margin, left - margin : right - margin] = self.accelerator.output(
                job.slot
            )[top - row.start : bottom - row.start, left - column.start : right - column.start]
        picture.missing -= 1

    # -- mishaps

    def _check(self) -> None:
        """Both slots, one after the other as in a film, against the reference. Raises AcceleratorError."""
        board = self.accelerator
        for slot in range(SLOTS):
            board.input(slot)[:] = _noise(*self.tile, slot)
        board.start(0)
        for slot in range(SLOTS):
            board.finish(slot)
            if slot + 1 < SLOTS:
                board.start(slot + 1)
        for slot, (rows, columns, expected) in enumerate(self._corners):
            wrong = int(np.count_nonzero(board.output(slot)[rows, columns] != expected))
            if wrong:
                raise AcceleratorError(
                    f"the accelerator paints otherwise than the network of {board.deployment.style}: {wrong} of "
                    f"{expected.size} values of a test picture differ"
                )

    def _recover(self, error: AcceleratorError) -> None:
        """Load the overlay anew and start again what was in flight, or rest. Raises AcceleratorError to give up."""
        jobs = list(self._flight)
        if jobs:
            jobs[0].picture.failures += 1
        self._broken = True
        for _ in range(ATTEMPTS):
            if jobs and jobs[0].picture.failures > ATTEMPTS:
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

    def _give_to_fallback(self, picture: _Picture) -> None:
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


def _corners(network: IntegerNetwork, height: int, width: int) -> list[tuple[slice, slice, np.ndarray]]:
    """What is right of each slot's noise in one corner: rows, columns, values.

    The first slot's at the top left, the second's at the bottom right; a crop as deep as the halo and a bit more is
    enough to know it, as it lies flush with the picture's edge.
    """
    halo = round_up(network.halo, network.stride)
    side = halo + round_up(_COMPARED, network.stride)
    rows, columns = min(height, side), min(width, side)
    # Without an inner edge all of it is right.
    right_rows, right_columns = rows if rows == height else rows - halo, columns if columns == width else columns - halo
    first = reference.run(network, _noise(height, width, 0)[:rows, :columns])
    last = reference.run(network, _noise(height, width, 1)[height - rows :, width - columns :])
    bottom, right = slice(height - right_rows, height), slice(width - right_columns, width)
    return [
        (slice(0, right_rows), slice(0, right_columns), first[:right_rows, :right_columns]),
        (bottom, right, last[rows - right_rows :, columns - right_columns :]),
    ]


# -- opening


def parse_overlay(overlay: str) -> tuple[str, Path]:
    """Kind (``emulated``, ``simulated``, or nothing for a board's own) and folder."""
    kind, colon, name = overlay.partition(":")
    return (kind, Path(name)) if colon and kind in (EMULATED, SIMULATED) else ("", Path(overlay))


def backend_name(overlay: str, fallback: str | None) -> str:
    """The backend that :func:`open_accelerator_painter` opens, with an absolute path. Raises OptionError."""
    if fallback is not None and fallback not in BACKENDS:
        raise OptionError(f"--fallback {fallback!r}: choose from {', '.join(BACKENDS)}")
    kind, folder = parse_overlay(overlay)
    name = f"{kind}:{folder.absolute()}" if kind else str(folder.absolute())
    return f"{BACKEND}+{fallback}:{name}" if fallback else f"{BACKEND}:{name}"


def is_accelerator(backend: str) -> bool:
    """Whether a backend's name is of this kind."""
    return backend.partition(":")[0].partition("+")[0] == BACKEND and ":" in backend


def _network_sha256(folder: Path, bits: int) -> tuple[str, dict[str, Any]]:
    card = read_card(folder)
    entry = card["networks"].get(str(bits), {})
    return str(entry.get("sha256", {}).get("network")), card


def check_model(deployment: Deployment, model: Model) -> None:
    """Raise OptionError unless the overlay paints just this model: its network, margin and grain."""
    found, card = _network_sha256(deployment.model, deployment.bits)
    asked, _ = _network_sha256(model.folder, model.bits)
    if deployment.bits != model.bits or found != asked:
        raise OptionError(
            f"--overlay {deployment.folder}: paints {deployment.style} at {deployment.bits} bits, network "
            f"{found[:12]}, not {model.style} at {model.bits} bits, network {asked[:12]}"
        )
    for key, value in (("margin", model.margin), ("grain", model.grain)):
        if card[key] != value:
            raise OptionError(
                f"--overlay {deployment.folder}: built for a {key} of {card[key]}, {model.style} has {value}"
            )


def overlay_style(overlay: str) -> tuple[str, int]:
    """What an overlay paints: style (a name that is known, or a model's folder) and bits.

    Raises DeploymentError, ModelError.
    """
    kind, folder = parse_overlay(overlay)
    if kind and is_build(folder):
        build = read_build(folder)
        return build.style, build.bits
    deployment = read_deployment(folder)
    known = styles().get(deployment.style)
    if known is not None:
        with contextlib.suppress(ModelError):
            if _network_sha256(known, deployment.bits)[0] == _network_sha256(deployment.model, deployment.bits)[0]:
                return deployment.style, deployment.bits
    return str(deployment.model.resolve()), deployment.bits


def open_accelerator(overlay: str) -> Accelerator:
    """The accelerator that an overlay's name names, not loaded yet. Raises DeploymentError, EngineError."""
    kind, folder = parse_overlay(overlay)
    if not kind:
        return Accelerator(read_deployment(folder), load=False)
    import_pynq()
    from pleinair.emulator.board import open_board

    return open_board(kind, folder)


def open_accelerator_painter(model: Model, backend: str, threads: int = 0) -> AcceleratorPainter:
    """The painter of a model on ``fpga[+FALLBACK]:OVERLAY``.

    Raises OptionError (another model's overlay), DeploymentError, EngineError, AcceleratorError.
    """
    kind, _, overlay = backend.partition(":")
    fallback = kind.partition("+")[2]
    accelerator = open_accelerator(overlay)
    try:
        check_model(accelerator.deployment, model)
        other = open_painter(model, fallback, threads) if fallback else None
        return AcceleratorPainter(model, accelerator, other)
    except BaseException:
        accelerator.close()
        raise
