"""From a .bit back to features, and every way in which a .bit may differ from what was asked for.

:func:`check` says of a .bit whether it fits the chip, whether each frame's error-correcting code is right, whether a
feature explains each bit, and, beside a FASM file, whether a feature was lost or added. Of an altered file it says
where it was altered: frame, word, tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair.documents import read_bytes
from pleinair_hw.bitstream import layout
from pleinair_hw.bitstream.assemble import CODE, header_part, place
from pleinair_hw.bitstream.database import FRAME_BITS, FRAME_WORDS, BitstreamError, Database

#: Faults that a report names; it counts the others.
MOST_FAULTS = 20
#: Elements of the arrays in which features are compared with bits.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Reading:
    """A .bit's frames. ``frames``: uint32 [frames, 101] in the database's order. ``faults``: what is wrong around them.

    ``frames`` has no rows where the file's frames are not those of the chip.
    """

    header: Mapping[str, str]
    idcode: int | None
    frames: np.ndarray
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What :func:`check` found.

    ``used`` frames hold a bit. ``features`` is how many features' bits were found; ``implied``, beside a FASM file,
    how many of them it does not name but whose bits its features set. ``asked`` is how many features the FASM file
    sets, None without one; ``lost`` and ``added`` count bits. ``faults`` are sentences, one for each fault, at most
    ``MOST_FAULTS`` and then one that counts the rest.
    """

    part: str
    header: Mapping[str, str]
    idcode: int | None
    frames: int
    used: int
    wrong_codes: int
    features: int
    asked: int | None
    implied: int
    lost: int
    added: int
    unexplained: int
    faults: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def read(database: Database, bit_path: Path) -> Reading:
    """Read a .bit's frames.

    Raises:
        BitstreamError: the file cannot be read, or is no whole .bit.
    """
    name = str(bit_path)
    data = read_bytes(bit_path, most=layout.MOST_BYTES, error=BitstreamError)
    container = layout.parse(data, name)
    faults = []
    part = header_part(database.part)
    if container.header.part != part:
        faults.append(f"the header names the part {container.header.part!r}, {database.part} is written {part!r}")
    idcode = container.register("IDCODE")
    if idcode is None:
        faults.append("no IDCODE is written, so any chip would take it")
    elif (idcode ^ database.idcode) & 0x0FFFFFFF:  # the uppermost four bits are the chip's revision
        faults.append(f"IDCODE 0x{idcode:08X}, {database.part} has 0x{database.idcode:08X}")
    count, ends = len(database.addresses), np.asarray(database.row_ends)
    expected = (count + layout.ROW_PADDING * len(ends)) * FRAME_WORDS
    if container.data.size != expected:
        faults.append(
            f"{container.data.size:,} words of frames, {database.part} has {expected:,} ({count:,} frames of "
            f"{FRAME_WORDS} words and {layout.ROW_PADDING} empty ones after each row)"
        )
        return Reading(layout.fields_of(container.header), idcode, np.zeros((0, FRAME_WORDS), np.uint32), tuple(faults))
    padded = container.data.reshape(-1, FRAME_WORDS)
    padding = np.zeros(len(padded), bool)
    for number, end in enumerate(ends.tolist()):
        first = end + 1 + layout.ROW_PADDING * number
        padding[first : first + layout.ROW_PADDING] = True
    for row in np.flatnonzero(padding & padded.any(axis=1)).tolist():
        faults.append(f"the padding frame {row} of the file is not empty (word {int(np.flatnonzero(padded[row])[0])})")
    checksum = layout.checksum_fault(data, container.header)
    word = layout.packet_faults(data, idcode or 0, count, database.row_ends)
    if word is not None and container.header.design.endswith("Version=pleinair"):
        faults.append(f"word {word} of the configuration, which is no frame's, is not as we write it")
    if checksum is not None:
        faults.append(checksum)
    return Reading(layout.fields_of(container.header), idcode, padded[~padding], tuple(faults))


def features(database: Database, frames: np.ndarray) -> np.ndarray:
    """The features whose bits the frames have: int64, sorted, ``tile number * CODE + feature number``.

    A feature is there when all bits that it sets are set, all that it clears are clear, and it sets at least one.
    """
    flat = _unpack(frames)
    found: list[np.ndarray] = []
    tiles: dict[str, list[int]] = {}
    for tile in database.tiles.values():
        if tile.blocks and not tile.shares:
            tiles.setdefault(tile.type, []).append(tile.number)
    for kind_name, numbers in tiles.items():
        kind = database.type(kind_name)
        for bus in dict.fromkeys(kind.buses):
            here = [number for number in numbers if bus in database.by_number[number].blocks]
            here = [number for number in here if _any(frames, database, number, bus)]
            if not here:
                continue
            origins = np.array([database.by_number[number].blocks[bus].origin for number in here])
            labels = np.array(here, np.int64) * CODE
            for members, table, want in _groups(kind.buses, kind.ones, kind.zeros, bus):
                step = max(1, _CHUNK // table.size)
                for start in range(0, len(here), step):
                    part = origins[start : start + step]
                    match = (flat[part[:, None, None] + table] == want).all(axis=2)
                    tile_at, feature_at = np.nonzero(match)
                    found.append(labels[start : start + step][tile_at] + members[feature_at])
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _unpack(frames: np.ndarray) -> np.ndarray:
    """The bits of frames, uint8 [frames * 3232], without those of the error-correcting code."""
    plain = frames.astype("<u4")
    plain[:, layout.ECC_WORD] &= np.uint32(~layout.ECC_MASK & 0xFFFFFFFF)
    return np.unpackbits(plain.view(np.uint8).reshape(-1), bitorder="little")


def _any(frames: np.ndarray, database: Database, number: int, bus: str) -> bool:
    """Whether a bit of a tile's block is set."""
    block = database.by_number[number].blocks[bus]
    place_ = frames[block.frame : block.frame + block.frames, block.offset : block.offset + block.words]
    return bool(place_.any())


def _groups(
    buses: list[str], ones: list[tuple[int, ...]], zeros: list[tuple[int, ...]], bus: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features of one bus with as many bits set and clear each: their numbers, positions [n, k], wanted bits [k]."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (own, sets, clears) in enumerate(zip(buses, ones, zeros, strict=True)):
        if own == bus and sets:
            groups.setdefault((len(sets), len(clears)), []).append(number)
    for (high, low), members in groups.items():
        most = max(1, _CHUNK // (8 * (high + low)))
        for start in range(0, len(members), most):
            some = members[start : start + most]
            table = np.array([ones[number] + zeros[number] for number in some], np.int64)
            want = np.array([1] * high + [0] * low, np.uint8)
            yield np.array(some, np.int64), table, want


def name_of(database: Database, code: int) -> str:
    """A feature's full name: ``TILE.FEATURE``."""
    tile = database.by_number[code // CODE]
    return f"{tile.name}.{database.type(tile.type).names[code % CODE]}"


def positions(database: Database, codes: np.ndarray) -> np.ndarray:
    """Every bit that these features set, int64, each once."""
    order = codes // CODE
    numbers = (codes % CODE).tolist()
    bits: list[int] = []
    tile_number, origins, kind = -1, {}, None
    for tile_at, number in zip(order.tolist(), numbers, strict=True):
        if tile_at != tile_number:
            tile_number, tile = tile_at, database.by_number[tile_at]
            kind = database.type(tile.type)
            origins = {bus: block.origin for bus, block in tile.blocks.items()}
        assert kind is not None
        origin = origins[kind.buses[number]]
        bits += [origin + bit for bit in kind.ones[number]]
    return np.unique(np.array(bits, np.int64))


def check(database: Database, bit_path: Path, fasm_path: Path | None = None) -> Report:
    """Compare a .bit with the chip and, if there is one, with the FASM file that it should have been made from.

    Raises:
        BitstreamError: the .bit is no whole one, or the FASM file cannot be assembled.
    """
    reading = read(database, bit_path)
    frames, faults = reading.frames, _Faults(list(reading.faults))
    wanted = None if fasm_path is None else place(database, fasm_path)
    wrong = np.flatnonzero((frames[:, layout.ECC_WORD] & layout.ECC_MASK) != layout.ecc(frames))
    found, lost, added, unexplained, implied = np.zeros(0, np.int64), 0, 0, 0, 0
    if len(frames):
        found = features(database, frames)
        bits = _unpack(frames)
        explained = np.zeros(bits.size, np.uint8)
        explained[positions(database, found)] = 1
        stray = np.flatnonzero(bits > explained)
        unexplained = len(stray)
        if wanted is None:
            faults.add(stray, lambda at: f"no feature explains the bit at {_where(database, at)}")
        else:
            asked = _unpack(wanted.frames)
            gone, more = np.flatnonzero(asked > bits), np.flatnonzero(bits > asked)
            lost, added = len(gone), len(more)
            implied = len(np.setdiff1d(found, wanted.placed, assume_unique=True))
            placed = wanted.placed
            faults.add(
                gone, lambda at: f"lost: the bit at {_where(database, at)}{_owner(database, placed, at, ', of')}"
            )
            faults.add(
                more, lambda at: f"added: the bit at {_where(database, at)}{_owner(database, found, at, ', as in')}"
            )
            if not lost and not added:
                missing = np.setdiff1d(placed, found, assume_unique=True)
                # A feature that only clears bits is not looked for.
                missing = np.array([code for code in missing.tolist() if _sets(database, code)], np.int64)
                faults.add(missing, lambda code: f"lost: {name_of(database, code)}")
    faults.add(
        wrong,
        lambda frame: f"the error-correcting code of frame {frame} (0x{database.addresses[frame]:08X}) is wrong",
    )
    used = int(frames.any(axis=1).sum())
    return Report(
        part=database.part,
        header=reading.header,
        idcode=reading.idcode,
        frames=len(frames),
        used=used,
        wrong_codes=len(wrong),
        features=len(found),
        asked=None if wanted is None else wanted.asked,
        implied=implied,
        lost=lost,
        added=added,
        unexplained=unexplained,
        faults=faults.told(),
    )


def _sets(database: Database, code: int) -> bool:
    kind = database.type(database.by_number[code // CODE].type)
    return bool(kind.ones[code % CODE])


def _where(database: Database, position: int) -> str:
    """Frame, word, bit and tiles of a bit, in words."""
    frame, bit = divmod(position, FRAME_BITS)
    tiles = database.at(frame, bit // 32)
    names = " or ".join(tile.name for tile in tiles[:2]) or "no tile"
    return f"frame {frame} (0x{database.addresses[frame]:08X}), word {bit // 32}, bit {bit % 32} ({names})"


def _owner(database: Database, codes: np.ndarray, position: int, before: str) -> str:
    """One of these features that sets a bit, after ``before``; nothing if none does."""
    frame, bit = divmod(position, FRAME_BITS)
    for tile in database.at(frame, bit // 32):
        low, high = np.searchsorted(codes, (tile.number * CODE, (tile.number + 1) * CODE))
        kind = database.type(tile.type)
        for code in codes[low:high].tolist():
            number = code % CODE
            if position - tile.blocks[kind.buses[number]].origin in kind.ones[number]:
                return f"{before} {name_of(database, code)}"
    return ""


class _Faults:
    """Sentences, the first ``MOST_FAULTS`` of them made, the rest counted."""

    def __init__(self, first: list[str]) -> None:
        self._sentences, self._count = first[:MOST_FAULTS], len(first)

    def add(self, things: np.ndarray, sentence: Callable[[int], str]) -> None:
        """Add one for each of these whole numbers."""
        room = max(0, MOST_FAULTS - len(self._sentences))
        self._sentences += [sentence(thing) for thing in things[:room].tolist()]
        self._count += len(things)

    def told(self) -> tuple[str, ...]:
        """All of them."""
        rest = self._count - len(self._sentences)
        return (*self._sentences, *([f"and {rest:,} more"] if rest else []))
