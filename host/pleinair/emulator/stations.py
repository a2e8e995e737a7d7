"""An adaptive network's stations, emulated: registers as docs/fpga.md says, and what a frame becomes with them.

Each station takes a frame in its own moment: it counts the frame, changes its bank where one is armed for it, and
paints the whole frame with that bank. What is written meanwhile goes to the other bank.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pleinair.emulator.fabric import BusError
from pleinair.engines.exact import exact_runner
from pleinair.engines.meter import exact_meter
from pleinair.errors import EngineError, LightError
from pleinair.fpga.light_map import CHANNEL, REGISTERS, VERSION, LightMap, Station
from pleinair.fpga.light_port import (
    APPLY,
    ARMED,
    COLUMNS,
    COMPLETE,
    FRAMES,
    LATE,
    METER,
    METERED,
    REFUSED,
    ROWS,
    STATUS,
    table_of,
)
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork
from pleinair.network.light import LayerLight, Light, identity, in_light, light_of, with_numbers
from pleinair.network.trimming import grids, inner, inset_of
from pleinair.painting.tiles import Window, WindowRunner

_WORD = 0xFFFFFFFF
#: Words of a station's registers that can be written.
WRITABLE = (APPLY, ROWS, COLUMNS, METER)
#: Lights whose painters are kept.
_KEPT = 4
#: Paints a frame, uint8 [H, W, 3], with the tables of all stations.
InTables = Callable[[np.ndarray, list[np.ndarray]], np.ndarray]
#: The same, and meters: for each station the window of its positions, or None. Gives the painting, and for each station
#: that meters what its sums hold, uint32 [channels, 4].
Through = Callable[[np.ndarray, list[np.ndarray], list["Window | None"]], tuple[np.ndarray, list["np.ndarray | None"]]]


@dataclass(frozen=True)
class Levels:
    """What an adaptive convolution's station sees of a frame: ``q`` is int64 [O, h, w] in 0 .. 255."""

    convolution: Convolution
    q: np.ndarray


def walk(network: IntegerNetwork, pixels: np.ndarray) -> tuple[np.ndarray, list[Levels]]:
    """The painting of uint8 [H, W, 3], and what the stations see on the way, clamped to bytes as they meter."""
    seen: list[Levels] = []

    def through(c: Convolution, x: np.ndarray) -> np.ndarray:
        accumulators = _accumulate(x, c)
        if c.norm is not None:
            seen.append(Levels(c, reference.requantise(accumulators, replace(c, out_bits=8, signed=False))))
        return reference.requantise(accumulators, c)

    return reference.run_by(network, pixels, through), seen


def _accumulate(x: np.ndarray, c: Convolution) -> np.ndarray:
    """:func:`pleinair.network.reference.convolve` in doubles, which hold every sum, so that BLAS computes it."""
    reach, stride = c.kernel // 2, c.stride
    height, width = x.shape[1:]
    rows, columns = -(-height // stride), -(-width // stride)
    padded = np.pad(x.astype(np.float64), ((0, 0), (reach, reach), (reach, reach)))
    weight = c.weight.astype(np.float64)
    out = np.zeros((c.outputs, rows * columns))
    for i in range(c.kernel):
        for j in range(c.kernel):
            window = padded[:, i : i + height : stride, j : j + width : stride]
            out += weight[:, :, i, j] @ window.reshape(c.inputs, rows * columns)
    accumulators: np.ndarray = out.astype(np.int64).reshape(c.outputs, rows, columns) + c.bias[:, None, None]
    return accumulators


def light_of_tables(network: IntegerNetwork, tables: list[np.ndarray]) -> Light:
    """The numbers in tables, uint32 [O, 4] each, whatever they are."""
    layers = []
    for c, table in zip((c for c in network.convolutions() if c.norm is not None), tables, strict=True):
        bias = np.ascontiguousarray(table[:, :2]).view("<i8").reshape(-1).astype(np.int64)
        packed = table[:, 2].astype(np.int64)
        layers.append(LayerLight(c.name, bias, packed & 0xFF, packed >> 8 & 0xFF))
    return Light(identity(network), tuple(layers))


def with_tables(network: IntegerNetwork, tables: list[np.ndarray]) -> IntegerNetwork:
    """The network with these numbers, not validated: hardware computes with whatever it holds."""
    return with_numbers(network, light_of_tables(network, tables))


class LitPainting:
    """Paints in any valid light, with ONNX Runtime where that is exact, and in any other numbers plainly."""

    def __init__(self, network: IntegerNetwork) -> None:
        self._network = network
        self._kept: OrderedDict[Light, Callable[[np.ndarray], np.ndarray]] = OrderedDict()
        self._lit: Callable[[Light], WindowRunner] | None = None
        try:
            run = exact_runner(network, 1)
            self._lit = exact_meter(network, run, 1).lit
        except EngineError:
            pass

    def __call__(self, pixels: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
        """uint8 [H, W, 3] painted."""
        light = light_of_tables(self._network, tables)
        if light not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[light] = self._runner(light, tables)
        return self._kept[light](pixels)

    def _runner(self, light: Light, tables: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        try:
            in_light(self._network, light)
        except LightError:
            return lambda pixels: walk(with_tables(self._network, tables), pixels)[0]
        if self._lit is None:
            return lambda pixels: reference.run(in_light(self._network, light), pixels)
        lit = self._lit(light)
        return lambda pixels: lit.window(pixels, Window(0, 0, *pixels.shape[:2]))


class _Station:
    """One station's registers and banks."""

    def __init__(self, station: Station, table: np.ndarray) -> None:
        self.map, self.active = station, 0
        self.banks = [table.copy(), table.copy()]
        self.words = dict.fromkeys(range(REGISTERS // 4), 0)
        self.metering = False
        self.sums = np.zeros((station.channels, 4), np.uint32)

    def begin(self) -> tuple[np.ndarray, Window | None]:
        """The next frame's first pixel is here: its table, and the window of it that is metered."""
        w, number = self.words, self.words[FRAMES]
        if w[STATUS] & ARMED and w[APPLY] == number:
            self.active, w[STATUS] = 1 - self.active, w[STATUS] & ~ARMED
        w[FRAMES] = (number + 1) & _WORD
        window = None
        if self.metering and w[METER] == number:
            self.metering = False
            window = Window(w[ROWS] & 0xFFFF, w[COLUMNS] & 0xFFFF, w[ROWS] >> 16, w[COLUMNS] >> 16)
        return self.banks[self.active].copy(), window

    def metered(self, sums: np.ndarray) -> None:
        """The frame that is metered has passed."""
        self.sums[:] = sums
        self.words[METERED] |= COMPLETE

    def write(self, register: int, value: int) -> None:
        w = self.words
        late = (w[FRAMES] - value) & _WORD
        if register == APPLY:
            # Begun already: fewer than half of all numbers ago.
            w[APPLY], w[STATUS] = value, LATE if 0 < late < 1 << 31 else ARMED
        elif register == METER and self.map.sums is not None:
            w[METER], w[METERED], self.sums[:] = value, LATE if 0 < late < 1 << 31 else 0, 0
            self.metering = not w[METERED]
        elif register in (ROWS, COLUMNS):
            w[register] = value


class Stations:
    """All stations of an accelerator behind one port. One thread paints, another reads and writes registers."""

    def __init__(
        self,
        network: IntegerNetwork,
        light_map: LightMap,
        *,
        paint: InTables | None = None,
        through: Through | None = None,
        holds: Light | None = None,
        pace: float = 0.0,
        trimmed: bool = False,
    ) -> None:
        """``paint``: what paints with tables, by default :class:`LitPainting`; ``through``: what does all that is
        computed, instead. ``holds``: what the bitstream holds after a load, by default the network's average light.
        ``trimmed``: the accelerator is, so paintings and stations are without their outer pixels. ``pace``:
        seconds from one station to the next.
        """
        self.map, self._network, self._pace = light_map, network, pace
        self._paint = LitPainting(network) if paint is None and through is None else paint
        self._through = self._walk if through is None else through
        held = (light_of(network) if holds is None else holds).layers
        self._stations = [_Station(s, table_of(layer)) for s, layer in zip(light_map.stations, held, strict=True)]
        places = zip(network.convolutions(), grids(network, trimmed=trimmed), strict=True)
        self._insets = [grid.inset for c, grid in places if c.norm is not None]
        self._inset = inset_of(network) if trimmed else 0
        self._lock = threading.RLock()
        #: Bits, counted from the port's first, that are always 0 or 1.
        self.stuck: dict[int, int] = {}
        self._words = {light_map.id // 4: light_map.hash, light_map.id // 4 + 1: VERSION}

    def paint(self, pixels: np.ndarray) -> np.ndarray:
        """The next frame, uint8 [H, W, 3], through all stations."""
        tables, windows = [], []
        for station in self._stations:
            with self._lock:
                table, window = station.begin()
            tables.append(self._as_stuck(station.map.table // 4, table))
            windows.append(window)
            if self._pace:
                time.sleep(self._pace)
        painted, metered = self._through(pixels, tables, windows)
        with self._lock:
            for station, sums in zip(self._stations, metered, strict=True):
                if sums is not None:
                    station.metered(sums)
        return painted

    def _walk(
        self, pixels: np.ndarray, tables: list[np.ndarray], windows: list[Window | None]
    ) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """See Through."""
        if not any(windows):
            assert self._paint is not None
            return inner(self._paint(pixels, tables), self._inset), [None] * len(windows)
        painted, seen = walk(with_tables(self._network, tables), pixels)
        return inner(painted, self._inset), [
            None if window is None else _summed(levels.q, window.within(Window(-inset, -inset, 0, 0)))
            for levels, window, inset in zip(seen, windows, self._insets, strict=True)
        ]

    def read(self, offset: int) -> int:
        """A register at a byte offset. Raises BusError where there is none."""
        with self._lock:
            return self._bits(offset // 4, self._read(offset))

    def _read(self, offset: int) -> int:
        for station, base, kind in self._find(offset):
            if kind == "registers":
                return station.words[(offset - base) // 4]
            rows = station.sums if kind == "sums" else station.banks[1 - station.active]
            return int(rows.reshape(-1)[(offset - base) // 4])
        if offset // 4 not in self._words:
            raise BusError(f"bus error: no register of the light at {offset:#x}")
        return self._words[offset // 4]

    def write(self, offset: int, value: int) -> None:
        """A register at a byte offset. Raises BusError where none can be written."""
        with self._lock:
            value = self._bits(offset // 4, value)
            for station, base, kind in self._find(offset):
                word = (offset - base) // 4
                if kind == "registers" and word in WRITABLE:
                    station.write(word, value)
                    return
                if kind == "table":
                    if station.words[STATUS] & ARMED:
                        station.words[STATUS] |= REFUSED
                    elif word % 4 < 3:
                        station.banks[1 - station.active].reshape(-1)[word] = value
                    return
            raise BusError(f"bus error: no register of the light can be written at {offset:#x}")

    def _find(self, offset: int) -> Iterator[tuple[_Station, int, str]]:
        for station in self._stations:
            s = station.map
            for kind, base, size in (
                ("table", s.table, CHANNEL * s.channels),
                ("sums", s.sums, CHANNEL * s.channels),
                ("registers", s.registers, REGISTERS),
            ):
                if base is not None and base <= offset < base + size:
                    yield station, base, kind

    def _bits(self, word: int, value: int) -> int:
        for bit, state in self.stuck.items():
            if bit // 32 == word:
                value = value | 1 << bit % 32 if state else value & ~(1 << bit % 32)
        return value

    def _as_stuck(self, word: int, table: np.ndarray) -> np.ndarray:
        if self.stuck:
            flat = table.reshape(-1)
            flat[:] = [self._bits(word + k, int(value)) for k, value in enumerate(flat)]
        return table


def _summed(q: np.ndarray, window: Window) -> np.ndarray:
    """Sums over a window of what a station saw, int64 [O, h, w], as they can be read: uint32 [O, 4]."""
    flat = q[:, window.top : window.bottom, window.left : window.right].reshape(len(q), -1)
    first, second = flat.sum(1), (flat * flat).sum(1)
    return np.stack([first, 0 * first, second & _WORD, second >> 32], axis=1).astype(np.uint32)
