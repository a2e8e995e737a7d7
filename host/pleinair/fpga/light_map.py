"""The map of an accelerator's light: where the registers are that hold it. docs/fpga.md has the registers.

Every adaptive convolution of an accelerator is a *station*: its bias, multiplier and shift of each channel lie in
registers. All stations share one port, ``s_axilite_light``. The map stands in ``driver/settings.json`` as ``"light"``,
and says for which network it is and where each station's table, sums and registers begin. Its hash is in the port's
register ID, so that a driver knows the bitstream that it was made for.

Standard library alone: this is read on the board.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pleinair.documents import Record

VERSION = 1
#: Bytes of a channel in a table and in the sums, of a station's registers, and kept for the port's own, ID and version.
CHANNEL, REGISTERS, GLOBAL = 16, 32, 16
#: Most stations, channels of one, and bits of an address.
_STATIONS, _CHANNELS, _ADDRESS_BITS = 128, 1024, 24
#: What every offset is a multiple of, so that a run of registers is copied without unaligned accesses.
ALIGNMENT = 16


@dataclass(frozen=True)
class Station:
    """An adaptive convolution with its registers.

    ``height`` and ``width``: positions of its output for one frame of the accelerator. ``lanes``: channels that it
    computes at a time. ``table``, ``sums``, ``registers``: byte offsets; ``sums`` is None where it does not meter.
    """

    name: str
    channels: int
    height: int
    width: int
    lanes: int
    table: int = 0
    sums: int | None = None
    registers: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it stands in the map; without ``sums`` where it does not meter."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def blocks(self) -> list[tuple[int, int]]:
        """Offset and bytes of everything that it has."""
        tables = [self.table] if self.sums is None else [self.table, self.sums]
        return [*((offset, CHANNEL * self.channels) for offset in tables), (self.registers, REGISTERS)]


@dataclass(frozen=True)
class LightMap:
    """The registers of an accelerator's light.

    ``network``: :func:`pleinair.network.light.identity` of the network. ``address_bits``: the port takes 2 to that
    many bytes. ``id``: byte offset of ID. ``stations``: in order of execution.
    """

    network: str
    address_bits: int
    id: int
    stations: tuple[Station, ...]

    @property
    def bytes(self) -> int:
        """The port's range of addresses."""
        return 1 << self.address_bits

    @property
    def meters(self) -> bool:
        """Whether the accelerator itself can measure a light."""
        return all(station.sums is not None for station in self.stations)

    @property
    def hash(self) -> int:
        """What ID holds: the first 32 bits of the SHA-256 of the map."""
        text = json.dumps(self._body(), sort_keys=True, separators=(",", ":"))
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)

    def _body(self) -> dict[str, Any]:
        stations = [station.to_json() for station in self.stations]
        head = {"version": VERSION, "network": self.network, "address_bits": self.address_bits, "id": self.id}
        return {**head, "stations": stations}

    def to_json(self) -> dict[str, Any]:
        """The map as plain values, its hash included."""
        return {**self._body(), "hash": f"{self.hash:08x}"}


def lay_out(network: str, stations: Iterable[Station], *, metering: bool = True) -> LightMap:
    """A map for stations whose offsets are not chosen yet; ``network``: the identity of theirs.

    Each block lies at a multiple of its size, rounded up to a power of two, which makes decoders small.
    """
    placed: list[Station] = []
    at = GLOBAL

    def take(size: int) -> int:
        nonlocal at
        size = 1 << (size - 1).bit_length()
        start = -(-at // size) * size
        at = start + size
        return start

    for station in stations:
        block = CHANNEL * station.channels
        table, registers = take(block), take(REGISTERS)
        placed.append(replace(station, table=table, registers=registers, sums=take(block) if metering else None))
    return LightMap(network, max(12, (at - 1).bit_length()), 0, tuple(placed))


def read_light_map(record: Record, height: int, width: int) -> LightMap:
    """The map of an accelerator of ``height`` x ``width`` pixels. Raises the record's error for a damaged one."""
    if record.whole("version", 0, 1 << 16) != VERSION:
        raise record.refuse("version", str(VERSION))
    stations = tuple(_read_station(part, height, width) for part in record.parts("stations", _STATIONS))
    bits = record.whole("address_bits", 4, _ADDRESS_BITS)
    light_map = LightMap(record.string("network"), bits, record.whole("id", 0, (1 << bits) - GLOBAL), stations)
    if not stations or len({station.name for station in stations}) != len(stations):
        raise record.refuse("stations", "at least one, each of another name")
    blocks = sorted([(light_map.id, GLOBAL), *(block for station in stations for block in station.blocks())])
    for (offset, size), (following, _) in zip(blocks, [*blocks[1:], (light_map.bytes, 0)], strict=True):
        if offset % ALIGNMENT or offset + size > following:
            raise record.refuse("stations", f"registers that do not overlap, at multiples of {ALIGNMENT}")
    if record.string("hash") != f"{light_map.hash:08x}":
        raise record.refuse("hash", f"the map's own, {light_map.hash:08x}")
    return light_map


def _read_station(record: Record, height: int, width: int) -> Station:
    most = (1 << _ADDRESS_BITS) - 1
    return Station(
        name=record.string("name"),
        channels=record.whole("channels", 1, _CHANNELS),
        height=record.whole("height", 1, height),
        width=record.whole("width", 1, width),
        lanes=record.whole("lanes", 1, _CHANNELS),
        table=record.whole("table", 0, most),
        sums=record.whole("sums", 0, most) if record.has("sums") else None,
        registers=record.whole("registers", 0, most),
    )
