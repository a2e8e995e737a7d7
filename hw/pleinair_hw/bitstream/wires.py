"""How a chip's wires are joined: nextpnr's chip database, as its architecture ``himbaechel`` writes it.

prjxray's tables say which bits join two wires of a tile; which wires of different tiles are one *node*, and which
wires are a site's pins, stands in the file that nextpnr places and routes with (``chipdb-DEVICE.bin``). It holds
the tile types, each with its wires and its **pips** (places where one wire may drive another, a site's pins among
them), and for every tile which nodes its wires belong to. Slices of the file are found by offsets relative to where
these stand.

A wire is ``(tile, wire)``: the tile's place in the grid, row by row from the upper left, and the number of the wire in
its tile type. A node is named by one of its wires, the root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from pleinair.documents import read_bytes
from pleinair_hw.bitstream.database import BitstreamError, Database

#: Most bytes of a file. That of an xc7z020 has 41 MB.
MOST_BYTES = 512 << 20
#: Most wires of a node or a tile.
_MOST_WIRES = 100_000
#: What a file of the version that is read here begins with.
_MAGIC, _VERSION = 13270183, 6
#: Kinds of pips.
ROUTING, SITE_IN, SITE_OUT, LUT_IN = 0, 1, 2, 4
#: In place of an offset to the root: the wire is a node of its own, or the root; the constant nets.
_ALONE, _ROOT, _ROW_CONSTANT, _CHIP_CONSTANT = 0x7000, 0x7001, 0x7002, 0x7003

# Records of the file: each field has four bytes, unless two are said.
_WIRE = np.dtype([("name", "<i4"), ("", "V20"), ("up", "<i4", 2), ("", "V16")])
_PIP = np.dtype([("source", "<i4"), ("target", "<i4"), ("", "V4"), ("kind", "<u4"), ("", "V4"), ("extra", "<i4")])
_TYPE_BYTES, _TILE_BYTES, _SHAPE_BYTES = 40, 16, 12

Wire = tuple[int, int]


class WireType:
    """The wires and pips of a tile type. ``wires`` are the wires' names, ``ups[wire]`` the pips that may drive a wire.

    A pip is ``(source wire, kind)``. ``pins[name]`` is the wire of a site's pin, such as ``SLICE_X0Y0.AX``.
    """

    def __init__(self, wires: list[str], sources: np.ndarray, targets: np.ndarray, kinds: np.ndarray) -> None:
        self.wires = wires
        self.numbers = {name: number for number, name in enumerate(wires)}
        self.ups: dict[int, list[tuple[int, int]]] = {}
        self.pins: dict[str, int] = {}
        self._drivers: dict[int, list[tuple[int, int, str]]] = {}
        for source, target, kind in zip(sources.tolist(), targets.tolist(), kinds.tolist(), strict=True):
            if kind in (ROUTING, SITE_OUT):
                self.ups.setdefault(target, []).append((source, kind))
            if kind == SITE_OUT:
                self.pins[wires[source]] = target
            elif kind == SITE_IN:
                self.pins[wires[target]] = source
            elif kind == LUT_IN:
                # Any of a table's inputs may stand for another: the names tell which is meant.
                pin = wires[target]
                if wires[source].rpartition("_")[2] == pin.rpartition(".")[2]:
                    self.pins[pin] = source

    def drivers(self, wire: int) -> list[tuple[int, int, str]]:
        """``ups[wire]``, each with the name that prjxray gives the pip: target and source."""
        found = self._drivers.get(wire)
        if found is None:
            own = self.wires[wire]
            found = [(source, kind, f"{own}.{self.wires[source]}") for source, kind in self.ups.get(wire, ())]
            self._drivers[wire] = found
        return found


def find_wires(folder: Path, device: str) -> Path:
    """nextpnr's database of a device in a folder of tools: ``chipdb-DEVICE.bin``, there or up to two folders below.

    Raises:
        BitstreamError: there is none.
    """
    name = f"chipdb-{device}.bin"
    for path in (folder / name, *sorted(folder.glob(f"*/{name}")), *sorted(folder.glob(f"*/*/{name}"))):
        if path.is_file():
            return path
    raise BitstreamError(f"{folder}: no {name} in it; it comes with nextpnr")


class Wires:
    """A chip's wires."""

    def __init__(self, path: Path, database: Database) -> None:
        """Read nextpnr's database of the chip that ``database`` is about.

        Raises:
            BitstreamError: the file is missing, damaged, of another chip, or of another version of nextpnr.
        """
        self._name, self._database = str(path), database
        self._data = read_bytes(path, most=MOST_BYTES, error=BitstreamError)
        try:
            self._open()
        except (struct.error, ValueError, IndexError) as cause:
            raise BitstreamError(f"{path}: damaged, or no chip database of nextpnr") from cause
        self._types: dict[int, WireType] = {}
        self._shapes: dict[int, np.ndarray] = {}

    def _open(self) -> None:
        root = self._int(0)
        magic, version, self.width, self.height = struct.unpack_from("<4i", self._data, root)
        if root < 0:
            raise ValueError("offset")
        if magic != _MAGIC:
            raise BitstreamError(f"{self._name}: no chip database of nextpnr")
        if version != _VERSION:
            raise BitstreamError(f"{self._name}: version {version} of nextpnr's chip database; read is {_VERSION}")
        kind, device = self._text(root + 16), self._text(root + 20)
        if (kind, device) != ("xilinx", self._database.device):
            raise BitstreamError(f"{self._name}: of {kind} {device}, not of {self._database.device}")
        at = root + 28
        self._tile_types, self._tiles, self._nodes, self._routes = (self._slice(at + 8 * k) for k in range(4))
        if self._tiles[1] != self.width * self.height:
            raise ValueError("tiles")
        strings = at + 48 + self._int(at + 48)
        self._known = self._int(strings)
        self._strings = self._slice(strings + 4)
        tiles = np.frombuffer(self._data, "<i4", 4 * self._tiles[1], self._tiles[0]).reshape(-1, 4)
        self._type_of, self._route_of = tiles[:, 1].tolist(), tiles[:, 2].tolist()

    def _int(self, at: int) -> int:
        if at < 0:
            raise ValueError("offset")
        (value,) = struct.unpack_from("<i", self._data, at)
        return int(value)

    def _slice(self, at: int) -> tuple[int, int]:
        """Where a slice begins, and how many it holds."""
        start, count = at + self._int(at), self._int(at + 4)
        if not (0 <= start <= len(self._data) and 0 <= count <= len(self._data)):
            raise ValueError("slice")
        return start, count

    def _text(self, at: int) -> str:
        start = at + self._int(at)
        end = self._data.index(b"\0", start, start + 200)
        return self._data[start:end].decode("ascii")

    def _string(self, number: int) -> str:
        """A string of the file. Those that nextpnr knows by heart are not in it, and are given as their number."""
        if number < self._known:
            return f"#{number}"
        if number - self._known >= self._strings[1]:
            raise ValueError("string")
        return self._text(self._strings[0] + 4 * (number - self._known))

    @cached_property
    def tile_names(self) -> dict[int, str]:
        """prjxray's name of the tile at each place of the grid."""
        return {tile.y * self.width + tile.x: tile.name for tile in self._database.tiles.values()}

    def place(self, tile: str) -> int:
        """The number of a tile with prjxray's name."""
        found = self._database.tiles[tile]
        number: int = found.y * self.width + found.x
        return number

    def type_at(self, tile: int) -> WireType:
        """The wires of a tile."""
        number = self._type_of[tile]
        found = self._types.get(number)
        if found is None:
            try:
                found = self._types[number] = self._read_type(number)
            except (struct.error, ValueError, IndexError) as cause:
                raise BitstreamError(f"{self._name}: damaged at tile type {number}") from cause
        return found

    def _read_type(self, number: int) -> WireType:
        if not 0 <= number < self._tile_types[1]:
            raise ValueError("tile type")
        at = self._tile_types[0] + _TYPE_BYTES * number
        start, count = self._slice(at + 12)
        wires = np.frombuffer(self._data, _WIRE, count, start)
        start, count = self._slice(at + 20)
        pips = np.frombuffer(self._data, _PIP, count, start)
        if count and max(int(pips["source"].max()), int(pips["target"].max())) >= len(wires):
            raise ValueError("pip")
        return WireType([self._string(k) for k in wires["name"].tolist()], pips["source"], pips["target"], pips["kind"])

    def damaged(self, tile: int) -> BitstreamError:
        """The error that what the file says of a tile cannot be."""
        return BitstreamError(f"{self._name}: damaged at tile {tile}")

    def _at(self, tile: int, wire: int) -> Wire:
        """A wire, if the chip has such a tile."""
        if not 0 <= tile < len(self._type_of):
            raise self.damaged(tile)
        return tile, wire

    def _route(self, tile: int) -> np.ndarray:
        """int16 [n, 3]: for each wire of a tile where its node's root is."""
        number = self._route_of[tile]
        found = self._shapes.get(number)
        if found is None:
            if not 0 <= number < self._routes[1]:
                raise self.damaged(tile)
            found = self._shapes[number] = self._triples(self._routes[0] + _SHAPE_BYTES * number, tile)
        return found

    def _triples(self, at: int, tile: int) -> np.ndarray:
        """int16 [n, 3] of a slice."""
        try:
            start, count = self._slice(at)
            if count > _MOST_WIRES:
                raise ValueError("wires")
            return np.frombuffer(self._data, "<i2", 3 * count, start).reshape(-1, 3)
        except (struct.error, ValueError) as cause:
            raise self.damaged(tile) from cause

    def root(self, wire: Wire) -> Wire:
        """The root of the node that a wire belongs to."""
        tile, number = wire
        route = self._route(tile)
        if number >= len(route):
            return wire
        dx, dy, index = route[number].tolist()
        if dx in (_ALONE, _ROOT):
            return wire
        index &= 0xFFFF
        if dx == _CHIP_CONSTANT:
            return 0, index
        if dx == _ROW_CONSTANT:
            return tile // self.width * self.width, index
        return self._at(tile + dx + dy * self.width, index)

    def members(self, root: Wire) -> Iterator[Wire]:
        """All wires of a node, those left out that only pass through a tile."""
        tile, number = root
        route = self._route(tile)
        if number >= len(route) or int(route[number][0]) != _ROOT:
            yield root
            return
        low, high = (int(value) & 0xFFFF for value in route[number][1:])
        shape = low | high << 16
        if shape >= self._nodes[1]:
            raise self.damaged(tile)
        for dx, dy, index in self._triples(self._nodes[0] + _SHAPE_BYTES * shape, tile).tolist():
            yield self._at(tile + dx + dy * self.width, index & 0xFFFF)
