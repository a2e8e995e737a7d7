"""The driver of an accelerator's light: writes lights and reads what was metered, in a few long runs of registers.

Each adaptive convolution is a station with two banks of numbers. A frame is painted with one; what is written goes to
the other, is read back and compared, and comes into effect with the frame whose number is named (frames count from 0
when the bitstream is loaded). So the next frame's light is written while one is painted. :mod:`pleinair.fpga.light_map`
says where the registers are, docs/fpga.md what they do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from pleinair.errors import OptionError
from pleinair.fpga.driver import Accelerator, AcceleratorError, Registers
from pleinair.fpga.handoff import light_port
from pleinair.fpga.light_map import REGISTERS, VERSION, LightMap, Station
from pleinair.network.integer import IntegerNetwork
from pleinair.network.light import LayerLight, Light, Sums, identity
from pleinair.network.trimming import grids
from pleinair.painting.tiles import Window

#: Words of a station's registers; then bits of STATUS and METERED.
FRAMES, APPLY, STATUS, ROWS, COLUMNS, METER, METERED = range(7)
ARMED, LATE, REFUSED = 1, 2, 4
COMPLETE = 1
_WORDS = REGISTERS // 4
#: Frame numbers count modulo this.
_COUNT = 1 << 32
#: Seconds until the sums of a frame that was painted must be complete, and between two looks at a register.
_PATIENCE, _POLL = 1.0, 0.0002


def stations_of(
    network: IntegerNetwork,
    height: int,
    width: int,
    lanes: Mapping[str, int] | None = None,
    *,
    trimmed: bool = False,
) -> list[Station]:
    """The stations of an accelerator of ``height`` x ``width`` pixels, without offsets; ``lanes`` of each, by name."""
    found = []
    for c, grid in zip(network.convolutions(), grids(network, trimmed=trimmed), strict=True):
        if c.norm is not None:
            rows, columns = (side // grid.scale - 2 * grid.inset for side in (height, width))
            found.append(Station(c.name, c.outputs, rows, columns, (lanes or {}).get(c.name, 1)))
    return found


def check_network(
    light_map: LightMap, network: IntegerNetwork, height: int, width: int, name: str, *, trimmed: bool = False
) -> None:
    """Raise OptionError unless the map is one of this network; ``name`` begins the message."""
    if light_map.network != identity(network):
        raise OptionError(f"{name}: its registers hold the light of another network", option="overlay")
    own = stations_of(network, height, width, trimmed=trimmed)
    for station, right in zip(light_map.stations, own, strict=False):
        facts = [(s.name, s.channels, s.height, s.width) for s in (station, right)]
        if facts[0] != facts[1]:
            raise OptionError(
                f"{name}: station {station.name} of its map is not the network's {right.name}", option="overlay"
            )
    if len(light_map.stations) != len(own):
        raise OptionError(
            f"{name}: its map has {len(light_map.stations)} stations, the network {len(own)}", option="overlay"
        )


def table_of(layer: LayerLight) -> np.ndarray:
    """A layer's light as its table holds it: uint32 [channels, 4]."""
    table = np.zeros((len(layer.bias), 4), np.uint32)
    table[:, :2] = layer.bias.astype("<i8").view("<u4").reshape(-1, 2)
    table[:, 2] = layer.multiplier | layer.shift << 8
    return table


class LightPort:
    """The registers of the light of a loaded overlay. All methods raise AcceleratorError."""

    def __init__(self, accelerator: Accelerator, light_map: LightMap) -> None:
        """Find the port; nothing is read yet."""
        self.map = light_map
        address, size = light_port(accelerator.deployment.bitfile.with_suffix(".hwh"))
        if size < light_map.bytes:
            raise AcceleratorError(f"{accelerator.deployment.folder}: the overlay has no port for all of the light")
        self._registers: Registers = accelerator.registers(address, light_map.bytes)
        #: The table that each station's next frame is painted with, and the frame from which on, where that is armed.
        self._tables: list[np.ndarray] = []
        self._armed: list[int | None] = [None] * len(light_map.stations)

    # -- light

    def open(self, average: Light, frame: int) -> None:
        """After a load: is it the map's bitstream, and does it hold the network's average light?

        ``frame``: the number of the frame to be started next.
        """
        found, version = (self._registers.get(self.map.id + offset) for offset in (0, 4))
        if (found, version) != (self.map.hash, VERSION):
            raise AcceleratorError(
                f"the accelerator's registers are of light map {found:08x}, version {version}, not of the deployment's "
                f"{self.map.hash:08x}, version {VERSION}: another build, or no answer"
            )
        self._tables = [table_of(layer) for layer in average.layers]
        for station, table in zip(self.map.stations, self._tables, strict=True):
            self._compare(station, table, "holds another light than the network's average")
            self._expect(station, frames=frame, status=0)

    def show(self, light: Light, frame: int, deadline: float) -> None:
        """Paint frames from number ``frame`` on, the next to be started, in a light; see :meth:`put`."""
        self.put({number: table_of(layer) for number, layer in enumerate(light.layers)}, frame, deadline)

    def put(self, tables: Mapping[int, np.ndarray], frame: int, deadline: float) -> None:
        """Write tables of stations, by number, that shall be in effect from frame ``frame`` on, the next to be started.

        Those that are in effect already are left out. While the frame before is painted, this waits until that has
        reached the station, until ``deadline`` (time.monotonic) at the latest.
        """
        for number, table in sorted(tables.items()):
            if np.array_equal(table, self._tables[number]):
                continue
            station = self.map.stations[number]
            self._await_free(number, deadline)
            self._registers.write(station.table, table.reshape(-1))
            self._compare(station, table, "does not hold the light that was written")
            self._set(station, APPLY, frame)
            words = self._words(station)
            if (int(words[APPLY]), int(words[STATUS])) != (frame % _COUNT, ARMED):
                raise AcceleratorError(
                    f"station {station.name} of the accelerator does not take a light for frame {frame}: "
                    f"APPLY {words[APPLY]}, STATUS {words[STATUS]}"
                )
            self._tables[number], self._armed[number] = table, frame

    def _await_free(self, number: int, deadline: float) -> None:
        """Until what was armed last is in effect."""
        armed, station = self._armed[number], self.map.stations[number]
        while armed is not None:
            status = int(self._words(station)[STATUS])
            if not status:
                self._armed[number] = armed = None
            elif status != ARMED or time.monotonic() > deadline:
                raise AcceleratorError(
                    f"station {station.name} of the accelerator has not taken the light of frame {armed}: "
                    f"STATUS {status}"
                )
            else:
                time.sleep(_POLL)

    def check(self, frame: int) -> None:
        """After frame number ``frame``: have all stations painted that one, in the light that was meant for it?"""
        for number, station in enumerate(self.map.stations):
            armed = self._armed[number]
            later = armed is not None and armed > frame
            self._expect(station, frames=frame + 1, status=ARMED if later else 0)
            if not later:
                self._armed[number] = None

    @property
    def armed(self) -> bool:
        """Whether a light waits for a frame."""
        return any(frame is not None for frame in self._armed)

    # -- metering

    def meter(self, number: int, frame: int, window: Window) -> None:
        """Let station ``number`` sum frame ``frame``, the next to be started, over a window of its positions."""
        station = self.map.stations[number]
        rows, columns = window.top | window.bottom << 16, window.left | window.right << 16
        for register, value in ((ROWS, rows), (COLUMNS, columns), (METER, frame)):
            self._set(station, register, value)
        words = [int(word) for word in self._words(station, _WORDS)]
        if words[ROWS:] != [rows, columns, frame % _COUNT, 0, 0]:
            raise AcceleratorError(f"station {station.name} of the accelerator does not take what it shall meter")

    def sums(self, number: int, window: Window) -> Sums:
        """What it summed, once the frame is painted."""
        station = self.map.stations[number]
        until = time.monotonic() + _PATIENCE
        while (found := int(self._words(station, _WORDS)[METERED])) != COMPLETE:
            if found or time.monotonic() > until:
                raise AcceleratorError(f"station {station.name} of the accelerator has not metered: METERED {found}")
            time.sleep(_POLL)
        assert station.sums is not None
        words = self._registers.read(station.sums, 4 * station.channels).reshape(-1, 4).astype(np.uint64)
        seconds = words[:, 2] | words[:, 3] << np.uint64(32)
        height, width, _ = window.shape
        sums = Sums(height * width, tuple(words[:, 0].tolist()), tuple(seconds.tolist()))
        if words[:, 1].any() or not all(
            # Of bytes: none is above its square, a square is odd where its root is, and the variance is not negative.
            first <= second <= 255 * first and (first ^ second) % 2 == 0 and first * first <= sums.count * second
            for first, second in zip(sums.first, sums.second, strict=True)
        ):
            raise AcceleratorError(f"station {station.name} of the accelerator metered sums that no frame has")
        return sums

    # -- registers

    def _words(self, station: Station, count: int = 4) -> np.ndarray:
        return self._registers.read(station.registers, count)

    def _set(self, station: Station, register: int, value: int) -> None:
        self._registers.set(station.registers + 4 * register, value % _COUNT)

    def _expect(self, station: Station, *, frames: int, status: int) -> None:
        words = self._words(station)
        found = int(words[FRAMES]), int(words[STATUS])
        if found != (frames % _COUNT, status):
            raise AcceleratorError(
                f"station {station.name} of the accelerator is out of step: it has begun {found[0]} frames, not "
                f"{frames}, with STATUS {found[1]}, not {status}"
            )

    def _compare(self, station: Station, table: np.ndarray, what: str) -> None:
        found = self._registers.read(station.table, table.size).reshape(table.shape)
        wrong = int((found != table).any(1).sum())
        if wrong:
            raise AcceleratorError(
                f"station {station.name} of the accelerator {what}: {wrong} of {station.channels} channels differ"
            )
