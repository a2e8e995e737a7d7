"""prjxray's tables of a 7-series chip: where its tiles' bits lie in the frames, and what each bit means.

A database is the folder of a family, such as ``zynq7``. Of it are read ``DEVICE/tilegrid.json``, ``PART/part.json``,
``PART/required_features.fasm`` and, when a tile of that type is first asked for, ``segbits_TYPE.db``,
``segbits_TYPE.block_ram.db`` and ``ppips_TYPE.db``. None of these files comes with pleinair.

A **frame** is 101 words of 32 bits. The **position** of a bit is ``frame number * 3232 + bit of the frame``, frames
counted in the order in which a .bit holds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from pleinair.documents import Record, read_bytes, read_record
from pleinair.errors import PleinairError

#: Words of a frame, and its bits.
FRAME_WORDS = 101
FRAME_BITS = 32 * FRAME_WORDS
#: The two kinds of frames, in the order of their number in a frame's address.
BUSES = ("CLB_IO_CLK", "BLOCK_RAM")
#: Most bytes of a table. The largest one known, the tile grid of an xc7a200t, has 26 MB.
_MOST = 128 << 20
#: Most frames of a chip. The largest 7-series chip known to prjxray has under 30,000.
_MOST_FRAMES = 200_000
_NAME = re.compile(r"[A-Za-z0-9_]{1,80}")
_PART = re.compile(r"[a-z0-9]{1,40}(-[a-z0-9]{1,8})?")
_BIT = re.compile(r"(!?)(\d{1,3})_(\d{1,4})")
_INDEXED = re.compile(r"(.*)\[(\d{1,4})\]")


class BitstreamError(PleinairError):
    """A chip's tables, a FASM file or a bitstream is missing, damaged, or belongs to another chip."""


@dataclass(frozen=True)
class Block:
    """Where a tile's bits of one bus lie: from the frame with this number on, ``words`` words from word ``offset``."""

    frame: int
    frames: int
    offset: int
    words: int

    @property
    def origin(self) -> int:
        """The position of its first bit."""
        return self.frame * FRAME_BITS + 32 * self.offset


@dataclass(frozen=True)
class Tile:
    """One tile. ``x``, ``y``: its place in the grid, from the upper left. ``blocks``: where its bits lie, by bus.

    ``sites`` are the types of its sites by name. ``shares`` is true where its bits are those of another type's tile
    under other names, which this package does not write or read.
    """

    number: int
    name: str
    type: str
    x: int
    y: int
    blocks: Mapping[str, Block]
    sites: Mapping[str, str]
    shares: bool


class TileType:
    """The features of a tile type. Each has a number, from 0 up.

    ``names[number]`` is how the feature is called, with its index: ``SLICEL_X0.ALUT.INIT[3]``. ``buses[number]`` is
    its bus, ``ones[number]`` and ``zeros[number]`` are the bits that it sets and those that it clears, as positions
    from the origin of the tile's block. ``pseudo`` holds connections that need no bit, by name, with
    prjxray's word for each: ``always``, ``default`` where no other drives the wire, ``hint`` where a site may do it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.names: list[str] = []
        self.buses: list[str] = []
        self.ones: list[tuple[int, ...]] = []
        self.zeros: list[tuple[int, ...]] = []
        self.numbers: dict[str, dict[int | None, int]] = {}
        self.pseudo: dict[str, str] = {}

    def add(self, feature: str, bus: str, ones: tuple[int, ...], zeros: tuple[int, ...]) -> None:
        """Enter a feature of which no other bears the name."""
        stem, index = split_index(feature)
        family = self.numbers.setdefault(stem, {})
        if index in family:
            raise ValueError(f"{feature} is there twice")
        family[index] = len(self.names)
        self.names.append(stem if index is None else f"{stem}[{index}]")
        self.buses.append(bus)
        self.ones.append(ones)
        self.zeros.append(zeros)

    @cached_property
    def silent(self) -> frozenset[str]:
        """The features that set no bit: they are how a tile is while no other feature is there."""
        return frozenset(name for name, ones in zip(self.names, self.ones, strict=True) if not ones)

    def find(self, stem: str, index: int | None) -> int | None:
        """The number of a feature, or None. One without an index is the same as one with index 0."""
        family = self.numbers.get(stem)
        if family is None:
            return None
        number = family.get(index)
        if number is None and index in (None, 0):
            number = family.get(0 if index is None else None)
        return number


def split_index(feature: str) -> tuple[str, int | None]:
    """``INIT[003]`` as ``("INIT", 3)``, a name without an index with None."""
    found = _INDEXED.fullmatch(feature)
    return (found[1], int(found[2])) if found else (feature, None)


class Database:
    """The tables of one part.

    ``addresses`` are the frames' addresses in the order of a .bit. ``row_ends`` are the numbers of the frames after
    which a row ends: two empty frames follow each in a .bit.
    """

    def __init__(self, folder: Path, part: str) -> None:
        """Read the tables of ``part`` (``xc7z020clg400-1``) in a family's folder.

        Raises:
            BitstreamError: a table is missing, larger than any known one, damaged, or of another chip.
        """
        if not _PART.fullmatch(part):
            raise BitstreamError(f"{part!r}: not the name of a part; allowed are names such as xc7z020clg400-1")
        self.folder, self.part = folder, part
        self.device = _device_of(folder, part)
        record = self._record(folder / part / "part.json")
        self.idcode = record.whole("idcode", 1, 0xFFFFFFFF)
        self.addresses, counts = _frames(record)
        self._numbers = {address: number for number, address in enumerate(self.addresses)}
        self.row_ends = [n for n, (a, b) in enumerate(pairwise([*self.addresses, -1])) if a >> 17 != b >> 17]
        self._counts = counts
        self.tiles = self._tiles(folder / self.device / "tilegrid.json")
        self._types: dict[str, TileType] = {}

    @cached_property
    def required(self) -> str:
        """The features that every bitstream of the part has, as FASM; empty where the database names none."""
        path = self.folder / self.part / "required_features.fasm"
        return read_text(path) if path.exists() else ""

    @cached_property
    def by_number(self) -> list[Tile]:
        """The tiles by their number."""
        return list(self.tiles.values())

    def type(self, name: str) -> TileType:
        """The features of a tile type; none where the database has no table for it."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._read_type(name)
        return found

    def at(self, frame: int, word: int) -> list[Tile]:
        """The tiles whose bits lie in this word of the frame with this number."""
        return [
            tile
            for tile in self.tiles.values()
            for block in tile.blocks.values()
            if 0 <= frame - block.frame < block.frames and 0 <= word - block.offset < block.words
        ]

    @staticmethod
    def _record(path: Path) -> Record:
        return read_record(path, most=_MOST, error=BitstreamError)

    def _tiles(self, path: Path) -> dict[str, Tile]:
        """The tile grid, checked against the part's frames."""
        tiles: dict[str, Tile] = {}
        for name, values in self._record(path).items():
            record = Record(f"{path}: tile {name}", values, BitstreamError)
            kind = record.string("type")
            if not (_NAME.fullmatch(name) and _NAME.fullmatch(kind)):
                raise BitstreamError(
                    f"{path}: tile {name[:80]!r} of type {kind[:80]!r}; allowed are letters, digits and _"
                )
            blocks, shares = {}, False
            for bus, block in record.part("bits").items():
                place = Record(f"{path}: tile {name}: {bus}", block, BitstreamError)
                if bus not in BUSES:
                    raise BitstreamError(f"{path}: tile {name}: bus {bus[:40]!r}; allowed are {' and '.join(BUSES)}")
                shares |= "alias" in place.values
                blocks[bus] = self._block(place, bus)
            sites = record.part("sites").values if record.has("sites") else {}
            x, y = record.whole("grid_x", 0, 9999), record.whole("grid_y", 0, 9999)
            tiles[name] = Tile(len(tiles), name, kind, x, y, blocks, {str(k): str(v) for k, v in sites.items()}, shares)
        if not tiles:
            raise BitstreamError(f"{path}: no tiles")
        return tiles

    def _block(self, place: Record, bus: str) -> Block:
        text = place.string("baseaddr")
        try:
            address = int(text, 16)
        except ValueError as cause:
            raise place.refuse("baseaddr", "an address such as 0x00420B00") from cause
        frames = place.whole("frames", 1, 256)
        offset, words = place.whole("offset", 0, FRAME_WORDS - 1), place.whole("words", 1, FRAME_WORDS)
        number = self._numbers.get(address)
        if number is None or BUSES.index(bus) != address >> 23 or frames > self._counts[address]:
            raise place.refuse("baseaddr", f"an address that {self.part} has; this tile grid is of another chip")
        if offset + words > FRAME_WORDS:
            raise place.refuse("words", f"words within a frame's {FRAME_WORDS}")
        return Block(number, frames, offset, words)

    def _read_type(self, name: str) -> TileType:
        """Read the tables of a tile type."""
        kind, low = TileType(name), name.lower()
        for bus, path in (
            (BUSES[0], self.folder / f"segbits_{low}.db"),
            (BUSES[1], self.folder / f"segbits_{low}.block_ram.db"),
        ):
            for number, fields in _lines(path):
                try:
                    feature = _strip_type(fields[0], name)
                    ones: list[int] = []
                    zeros: list[int] = []
                    for text in fields[1:]:
                        bit = _BIT.fullmatch(text)
                        if bit is None:
                            raise ValueError(f"{text[:40]!r} is no bit")
                        if int(bit[3]) >= FRAME_BITS:
                            raise ValueError(f"{text[:40]!r} lies outside a frame")
                        (zeros if bit[1] else ones).append(int(bit[2]) * FRAME_BITS + int(bit[3]))
                    kind.add(feature, bus, tuple(ones), tuple(zeros))
                except ValueError as cause:
                    raise BitstreamError(f"{path}: line {number}: damaged, {cause}") from cause
        path = self.folder / f"ppips_{low}.db"
        for number, fields in _lines(path):
            try:
                kind.pseudo[_strip_type(fields[0], name)] = fields[1] if len(fields) > 1 else "always"
            except ValueError as cause:
                raise BitstreamError(f"{path}: line {number}: damaged, {cause}") from cause
        return kind


def _device_of(folder: Path, part: str) -> str:
    """The device that a part is: the longest folder with a tile grid that the part's name begins with."""
    if not folder.is_dir():
        raise BitstreamError(f"{folder}: no such folder; it should be a family of prjxray's database, such as zynq7")
    parts = sorted(path.parent.name for path in folder.glob("*/part.json"))
    if part not in parts:
        there = f"it has {', '.join(parts[:8])}" if parts else "it has no part"
        raise BitstreamError(f"{folder}: no tables of part {part}; {there}")
    devices = [path.parent.name for path in folder.glob("*/tilegrid.json") if part.startswith(path.parent.name)]
    if not devices:
        raise BitstreamError(f"{folder}: no tilegrid.json for {part}")
    return max(devices, key=len)


def _frames(record: Record) -> tuple[list[int], dict[int, int]]:
    """Every frame's address in a .bit's order, and by the address of each column's first frame how many follow."""
    addresses: list[int] = []
    counts: dict[int, int] = {}
    regions = record.part("global_clock_regions")
    for kind, bus in enumerate(BUSES):
        for half, region in enumerate(("top", "bottom")):
            if not regions.has(region):
                continue
            rows = regions.part(region).part("rows")
            for row in _numbers(rows, 31):
                buses = rows.part(str(row)).part("configuration_buses")
                if not buses.has(bus):
                    continue
                columns = buses.part(bus).part("configuration_columns")
                for column in _numbers(columns, 1023):
                    count = columns.part(str(column)).whole("frame_count", 1, 128)
                    first = kind << 23 | half << 22 | row << 17 | column << 7
                    counts.update({first + minor: count - minor for minor in range(count)})
                    addresses += range(first, first + count)
                    if len(addresses) > _MOST_FRAMES:
                        raise record.refuse("global_clock_regions", f"up to {_MOST_FRAMES:,} frames")
    if not addresses:
        raise record.refuse("global_clock_regions", "regions with frames")
    return addresses, counts


def _numbers(record: Record, most: int) -> list[int]:
    """The fields' names, which must be whole numbers, in order."""
    names = list(record.values)
    for name in names:
        if not (re.fullmatch(r"\d{1,4}", name) and int(name) <= most):
            raise record.refuse(name, f"numbers from 0 to {most} as names")
    return sorted(map(int, names))


def find_family(folder: Path, part: str) -> Path:
    """The family's folder with the tables of ``part``: this one, or one in it, such as ``zynq7`` of a tools folder.

    Raises:
        BitstreamError: there is none.
    """
    for place in (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
        if (place / part / "part.json").is_file():
            return place
    raise BitstreamError(f"{folder}: no tables of part {part} in it; they come with prjxray's database, folder zynq7")


def read_text(path: Path, most: int = _MOST) -> str:
    """A text file of bounded size.

    Raises:
        BitstreamError: it is missing, too large or no text.
    """
    try:
        return read_bytes(path, most=most, error=BitstreamError).decode()
    except UnicodeDecodeError as cause:
        raise BitstreamError(f"{path}: damaged, it is not UTF-8") from cause


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines' numbers and fields of a table that need not be there."""
    if path.exists():
        for number, line in enumerate(read_text(path).splitlines(), 1):
            fields = line.split()
            if fields:
                yield number, fields


def _strip_type(feature: str, kind: str) -> str:
    """A feature's name without the tile type before it, or a name that begins so: prjxray's tables have such slips."""
    head, dot, tail = feature.partition(".")
    if not (dot and tail) or not head.startswith(kind):
        raise ValueError(f"{feature[:60]!r} is no feature of {kind}")
    return tail
