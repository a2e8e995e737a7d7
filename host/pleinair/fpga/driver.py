"""The driver: an accelerator behind PYNQ, uint8 [H, W, 3] of the built size in, and out, where that is not trimmed.

Reads what finn-plus writes (``driver/settings.json``) and makes the accesses that finn-plus-driver 1.6.1 makes
(``FINNDMAOverlay``), without its dependencies, its float arrays and its endless wait. Needs NumPy and pynq.

There are two slots, each a buffer in and a buffer out, allocated once: while one computes the other is filled.

    accelerator = Accelerator(read_deployment(folder))
    accelerator.input(0)[:] = tile
    accelerator.start(0)
    accelerator.finish(0)
    painted = accelerator.output(0)

One memory-access engine (IODMA) reads a slot, the other writes it. Their registers are those of Vitis HLS (UG1399,
"S_AXILITE Control Register Map") and FINN's ``IODMA_hls``.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np

from pleinair.durable import file_sha256
from pleinair.errors import EngineError, PleinairError
from pleinair.fpga.deployment import Deployment
from pleinair.fpga.handoff import is_zynq_7000, shell_clock, weight_ports
from pleinair.network.trimming import inner

T = TypeVar("T")
SLOTS = 2
_CONTROL, _ADDRESS_LOW, _ADDRESS_HIGH, _FRAMES = 0x00, 0x10, 0x14, 0x1C
_START, _DONE, _IDLE = 1, 2, 4
#: What the register for errors on the bus holds: 1 of our own, else AXI's answers.
_BUS_ERRORS = {1: "cannot be used", 2: "answered with an error (SLVERR)", 3: "is not there (DECERR)"}
#: Seconds that the first tile may take; later ones, a multiple of the slowest so far, and no less than so many.
FIRST_DEADLINE, _PATIENCE, _LEAST_DEADLINE = 10.0, 10.0, 1.0
#: Seconds in which a board on the network must answer, and load an overlay.
_ANSWER, _LOADING = 10.0, 60.0
#: Seconds between two looks at the engine.
_POLL = 0.0002
#: Bytes at the output's end that are marked before a start: still there, the frame was not written to its end.
_MARK_BYTES = 32


class AcceleratorError(PleinairError):
    """The accelerator or its board failed: not done in time, cut short, no memory, no answer. A reload may help."""


@dataclass
class Stages:
    """Seconds spent in each stage since the start, over so many tiles.

    ``prepare``: frame to input buffer; ``dma``: cache maintenance and registers; ``wait``: for the accelerator;
    ``collect``: output buffer to frame; ``light``: registers of the light, written, compared and read. ``metered``:
    how many of the tiles were metered.
    """

    prepare: float = 0.0
    dma: float = 0.0
    wait: float = 0.0
    collect: float = 0.0
    light: float = 0.0
    tiles: int = 0
    metered: int = 0

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add what passes inside to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - began)


@dataclass(eq=False)
class _Slot:
    """Buffers as pynq gave them, plain views of them, and their addresses (asking for one may cost a message)."""

    given: Any
    taken: Any
    input: np.ndarray
    output: np.ndarray
    input_address: int
    output_address: int
    began: float = 0.0


@contextlib.contextmanager
def _device_errors(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """What pynq raises when the hardware fails, and ``kinds``, as our own; gRPC's errors have no base but Exception."""
    try:
        yield
    except Exception as error:
        kinds = (OSError, RuntimeError, MemoryError, *kinds)
        if isinstance(error, PleinairError) or not (isinstance(error, kinds) or type(error).__module__[:4] == "grpc"):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AcceleratorError(f"the board failed to {what}: {reason}") from error


def import_pynq() -> Any:
    """The package pynq. Raises EngineError where it is not installed, or does not start."""
    try:
        import pynq
    except ImportError as error:
        raise EngineError(
            f"fpga needs {error.name}: run it on a PYNQ board, as root in PYNQ's own environment "
            "(/usr/local/share/pynq-venv); for an emulated board, pip install pynq where NumPy is below 2",
            option="backend",
        ) from error
    except Exception as error:  # on a board pynq talks to the hardware when it is imported
        raise EngineError(f"fpga: pynq does not start: {' '.join(str(error).split())}", option="backend") from error
    return pynq


class Registers:
    """A range of 32-bit registers, read and written in runs. Its methods raise AcceleratorError."""

    def __init__(self, mmio: Any, within: Callable[[float, Callable[[], Any]], Any]) -> None:
        """``mmio``: of pynq; ``within``: does something that a board must answer in so many seconds."""
        self._mmio, self._within = mmio, within
        # On a board the registers are memory, so a run of them is a slice. Elsewhere that would be a message a word.
        self._memory = mmio.array if isinstance(mmio.array, np.ndarray) else None

    def read(self, offset: int, count: int) -> np.ndarray:
        """So many words from a byte offset on, uint32."""
        with _device_errors("read registers"):
            words: np.ndarray = self._within(_LOADING, partial(self._read, offset, count))
        return words

    def _read(self, offset: int, count: int) -> np.ndarray:
        mmio = self._mmio
        if self._memory is not None:
            return np.array(self._memory[offset // 4 : offset // 4 + count], np.uint32)
        if mmio.device.has_capability("REGISTER_RW"):
            data = mmio.device.read_registers(mmio.base_addr + offset, 4 * count)
            return np.frombuffer(bytes(data), "<u4").astype(np.uint32)
        # A board on the network: a message for each.
        return np.array([mmio.read(offset + 4 * k) & 0xFFFFFFFF for k in range(count)], np.uint32)

    def write(self, offset: int, words: np.ndarray) -> None:
        """Words, uint32, from a byte offset on."""
        with _device_errors("write registers"):
            self._within(_LOADING, partial(self._write, offset, words))

    def _write(self, offset: int, words: np.ndarray) -> None:
        if self._memory is not None:
            self._memory[offset // 4 : offset // 4 + words.size] = words
        else:
            self._mmio.write(offset, words.astype("<u4").tobytes())

    def get(self, offset: int) -> int:
        """One word."""
        with _device_errors("read a register"):
            return int(self._within(_ANSWER, partial(self._mmio.read, offset))) & 0xFFFFFFFF

    def set(self, offset: int, value: int) -> None:
        """One word."""
        with _device_errors("write a register"):
            self._within(_ANSWER, partial(self._mmio.write, offset, value))


class Accelerator:
    """An overlay on its board. Close it: its buffers are memory that the whole board shares."""

    def __init__(
        self, deployment: Deployment, device: Any = None, first_deadline: float = FIRST_DEADLINE, load: bool = True
    ) -> None:
        """Load the overlay and allocate buffers, or leave that to :meth:`load`.

        ``device``: a pynq device, None for the one that pynq finds. ``first_deadline``: seconds for the first tile.

        Raises EngineError (no pynq, no board), AcceleratorError.
        """
        self.deployment = deployment
        self.height, self.width, self.inset = deployment.height, deployment.width, deployment.inset
        self.stages = Stages()
        self._pynq = import_pynq()
        if is_zynq_7000(deployment.bitfile.with_suffix(".hwh")) and int(self._pynq.__version__.split(".")[0]) >= 4:
            raise EngineError(
                f"fpga: the overlay for {deployment.board} is of a Zynq-7000, which pynq "
                f"{self._pynq.__version__} cannot load; PYNQ 3.1 can",
                option="backend",
            )
        if device is None:
            try:
                device = self._pynq.Device.active_device
            except Exception as error:
                raise EngineError(f"fpga: pynq finds no board here: {error}", option="backend") from error
        self.device = device
        #: Tiles started since the overlay was loaded: the number of the next one.
        self.frames = 0
        self._slots: list[_Slot] = []
        self._running: int | None = None
        self._first_deadline, self._slowest = first_deadline, 0.0
        self._mark = np.random.Generator(np.random.PCG64(11)).integers(0, 256, _MARK_BYTES, dtype=np.uint8)
        self._remote = bool(device.has_capability("REMOTE"))
        self._overlay: Any = None
        self._rails: Any = None
        if load:
            self.load()

    def load(self) -> None:
        """Load the overlay, also anew: what hangs is gone, buffers are new, slots empty. Raises AcceleratorError."""
        # Before buffers are freed, as an engine may still write into them. Whatever pynq raises: it has no error of
        # its own for a handoff that it cannot read.
        with _device_errors("load the overlay", Exception):
            if self._overlay is None:
                with self._own_name() as bitfile:
                    self._overlay = self._within(_LOADING, lambda: self._pynq.Overlay(str(bitfile), device=self.device))
            else:
                self._within(_LOADING, self._overlay.download)
        self._free()
        try:
            self._prepare()
        except BaseException:
            self._free()
            raise

    @property
    def loaded(self) -> bool:
        """Whether the overlay is loaded and buffers are allocated."""
        return len(self._slots) == SLOTS

    @contextlib.contextmanager
    def _own_name(self) -> Iterator[Path]:
        """The bitstream, under a name of its own where it goes to a board on the network.

        PYNQ 4.0 sends no file whose name is there already, and all of FINN's bitstreams have the same name: it would
        load whatever came first.
        """
        bitfile = self.deployment.bitfile
        if not self._remote:
            yield bitfile
            return
        with tempfile.TemporaryDirectory(prefix="pleinair-overlay-") as name:
            copy = Path(name) / f"{bitfile.stem}-{file_sha256(bitfile)[:16]}.bit"
            shutil.copyfile(bitfile, copy)
            shutil.copyfile(bitfile.with_suffix(".hwh"), copy.with_suffix(".hwh"))
            yield copy

    def _within(self, seconds: float, act: Callable[[], T]) -> T:
        """Do it; a board on the network, for whose answers PYNQ would wait for ever, has so many seconds."""
        if not self._remote:
            return act()
        ended: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

        def attempt() -> None:
            try:
                ended.put((True, act()))
            except BaseException as error:
                ended.put((False, error))

        threading.Thread(target=attempt, name="board", daemon=True).start()
        try:
            done, result = ended.get(timeout=seconds)
        except Empty:
            raise AcceleratorError(f"the board has not answered for {seconds:.0f} s") from None
        if not done:
            raise result
        answer: T = result
        return answer

    def _prepare(self) -> None:
        """Everything between a fresh bitstream and the first tile."""
        with _device_errors("find the overlay's engines", AttributeError):
            self._in, self._out = self._within(_ANSWER, self._find_engines)
        with _device_errors("set the clock"):
            self._within(_ANSWER, self._set_clock)
        with _device_errors("allocate buffers"):
            while len(self._slots) < SLOTS:
                self._slots.append(self._within(_ANSWER, self._allocate))
        self._running, self.frames = None, 0
        if self.deployment.runtime_weights:
            self._write_weights()

    def _find_engines(self) -> tuple[Any, Any]:
        first, last = self.deployment.engines
        return getattr(self._overlay, first), getattr(self._overlay, last)

    def _set_clock(self) -> None:
        # pynq's only set of clocks is that of the overlay loaded last.
        self._pynq.ps.Clocks.fclk0_mhz = shell_clock(self.deployment.bitfile.with_suffix(".hwh"))

    def _allocate(self) -> _Slot:
        shapes = [(self.height - less, self.width - less, 3) for less in (0, 2 * self.inset)]
        given, taken = (self._pynq.allocate(shape, np.uint8, target=self.device) for shape in shapes)
        # Views of the plain class: slices of pynq's are slow to make, and to free.
        plain_in, plain_out = given.view(np.ndarray), taken.view(np.ndarray)
        plain_in[:] = 0
        return _Slot(given, taken, plain_in, plain_out, int(given.device_address), int(taken.device_address))

    def _free(self) -> None:
        while self._slots:
            slot = self._slots.pop()
            given, taken = slot.given, slot.taken
            # Nothing of ours may look at the memory once it is gone.
            del slot
            for buffer in (given, taken):
                with contextlib.suppress(Exception):  # a board that is gone has freed it, too
                    self._within(_ANSWER, buffer.freebuffer)

    def _write_weights(self) -> None:
        """Weights that the bitstream does not hold: one port a layer, 32-bit words from offset 0."""
        ports = weight_ports(self.deployment.bitfile.with_suffix(".hwh"))
        for file in self.deployment.runtime_weights:
            partition, layer = file.name.split("_")[:2]
            address, size = ports.get((int(partition), int(layer)), (0, 0))
            words = np.array([int(word, 16) for word in file.read_text().split()], np.uint32)
            if words.nbytes > size:
                raise AcceleratorError(f"{self.deployment.folder}: the overlay has no port for all of {file.name}")
            with _device_errors("write weights"):
                port = self._pynq.MMIO(address, size, device=self.device)
                self._within(_LOADING, partial(port.write, 0, words.tobytes()))
        # What is in the streams still is made of the old weights.
        self.start(0)
        self.finish(0)

    def registers(self, address: int, size: int) -> Registers:
        """The registers at an address, ``size`` bytes. Raises AcceleratorError."""
        with _device_errors("find registers"):
            mmio = self._within(_ANSWER, lambda: self._pynq.MMIO(address, size, device=self.device))
        return Registers(mmio, self._within)

    def input(self, slot: int) -> np.ndarray:
        """uint8 [H, W, 3]: what the slot's next start paints. Not to be kept, nor changed between start and finish."""
        return self._slots[slot].input

    def output(self, slot: int) -> np.ndarray:
        """What the slot's last finish brought. Not to be kept; overwritten by its next start.

        uint8 [H, W, 3], without the ``inset`` outer pixels.
        """
        return self._slots[slot].output

    def start(self, slot: int) -> None:
        """Begin to paint a slot; no other may be running. Raises AcceleratorError."""
        if self._running is not None:
            raise RuntimeError(f"slot {self._running} is running")
        s = self._slots[slot]
        with self.stages.timed("dma"), _device_errors("start the accelerator"):
            self._within(_ANSWER, lambda: self._begin(s))
        s.began = time.monotonic()
        self.frames += 1

    def _begin(self, s: _Slot) -> None:
        s.given.flush()
        s.output.reshape(-1)[-_MARK_BYTES:] = self._mark
        s.taken.flush()
        if not self._out.read(_CONTROL) & _IDLE:
            raise AcceleratorError("the accelerator is not idle: is another program using it?")
        self._running = self._slots.index(s)
        for engine, address in ((self._out, s.output_address), (self._in, s.input_address)):
            engine.write(_ADDRESS_LOW, address & 0xFFFFFFFF)
            engine.write(_ADDRESS_HIGH, address >> 32)
            engine.write(_FRAMES, 1)
            engine.write(_CONTROL, _START)

    @property
    def deadline(self) -> float:
        """Seconds that a tile may take, from its start."""
        return max(_LEAST_DEADLINE, _PATIENCE * self._slowest) if self._slowest else self._first_deadline

    def finish(self, slot: int) -> None:
        """Wait until a started slot is painted. Raises AcceleratorError, at the latest when the deadline is over."""
        s = self._slots[slot]
        if self._running != slot:
            raise RuntimeError(f"slot {slot} is not running")
        with self.stages.timed("wait"), _device_errors("wait for the accelerator"):
            self._within(self.deadline + _ANSWER, lambda: self._wait(s.began, self.deadline))
        self._running = None
        self._slowest = max(self._slowest, time.monotonic() - s.began)
        with self.stages.timed("dma"), _device_errors("fetch the output"):
            self._within(_ANSWER, s.taken.invalidate)
        if np.array_equal(s.output.reshape(-1)[-_MARK_BYTES:], self._mark):
            raise AcceleratorError("the accelerator stopped before the tile's end: fewer bytes than were asked for")
        self.stages.tiles += 1

    def _wait(self, began: float, deadline: float) -> None:
        while not self._out.read(_CONTROL) & _DONE:
            self._check_bus(self._in, "reading the tile")
            if time.monotonic() - began > deadline:
                raise AcceleratorError(
                    f"the accelerator is not done with a tile of {self.width}x{self.height} after {deadline:.1f} s"
                )
            time.sleep(_POLL)
        self._check_bus(self._out, "writing the painting")

    def _check_bus(self, engine: Any, does: str) -> None:
        """Has an engine met an error on the bus? Then it has stopped, and needs a reload; FINN's engines do not say."""
        at = self.deployment.error_register
        error = 0 if at is None else engine.read(at)
        if at is None or not error:
            return
        address = engine.read(at + 4) | engine.read(at + 8) << 32
        what = _BUS_ERRORS.get(error, f"answered with {error}")
        raise AcceleratorError(f"the accelerator met an error on the bus while {does}: memory at {address:#x} {what}")

    def run(self, tile: np.ndarray) -> np.ndarray:
        """Paint one tile: uint8 [H, W, 3] to a new array of the same shape. Raises AcceleratorError.

        The ``inset`` outer pixels are 0.
        """
        self.input(0)[:] = tile
        self.start(0)
        self.finish(0)
        painted = np.zeros_like(tile)
        inner(painted, self.inset)[:] = self.output(0)
        return painted

    def power(self) -> dict[str, float]:
        """Watts by rail, of those that have a sensor; none where the board has no sensors, or is no board."""
        if self.emulated or self._remote:
            return {}
        if self._rails is None:
            self._rails = self._pynq.get_rails()
        return {str(name): float(rail.power.value) for name, rail in self._rails.items() if rail.power is not None}

    @property
    def emulated(self) -> bool:
        """Whether this is no board at all."""
        return str(self.device.name) == "emulated"

    def close(self) -> None:
        """Free the buffers, once nothing runs on them any more."""
        if self._running is not None and self._slots:
            try:
                self.finish(self._running)
            except AcceleratorError:
                with contextlib.suppress(AcceleratorError), _device_errors("stop the accelerator"):
                    self._within(_LOADING, self._overlay.download)
        self._free()
        self._overlay = None
