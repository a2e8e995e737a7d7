"""From features to a .bit: every bit that a FASM file asks for, set in the chip's frames."""

from __future__ import annotations

import datetime
import os
import re
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair.durable import write_file
from pleinair.errors import OutputError
from pleinair_hw.bitstream import fasm, layout
from pleinair_hw.bitstream.database import FRAME_BITS, FRAME_WORDS, BitstreamError, Database, Tile, TileType, read_text

#: A placed feature is one number: the tile's times this, and the feature's in its tile type.
CODE = 1 << 20
#: Features that an error names.
_NAMED = 3


@dataclass(frozen=True)
class Assembly:
    """What features make.

    ``frames``: uint32 [frames, 101], the error-correcting code in place. ``asked``: how many features are set in the
    file and among those that every bitstream of the part has. ``placed``: int64, sorted, each feature that has bits
    once, as ``tile number * CODE + feature number``. The others are connections that need no bit.
    """

    frames: np.ndarray
    asked: int
    placed: np.ndarray


def place(database: Database, fasm_path: Path) -> Assembly:
    """The frames that a FASM file asks for.

    Raises:
        BitstreamError: a line that is none; a tile or feature that the chip does not have; two features that want a
            bit both ways. The message names file and line.
    """
    return place_text(database, read_text(fasm_path, fasm.MOST_BYTES), str(fasm_path))


def place_text(database: Database, text: str, name: str = "FASM") -> Assembly:
    """As :func:`place`, for what is in a file; ``name`` is how errors call it."""
    texts = ((name, text), ("required_features.fasm", database.required))
    ones, zeros, codes = array("q"), array("q"), array("q")
    asked, unknown = 0, 0
    without: list[str] = []
    for file, lines in texts:
        for entry in fasm.parse(lines, file):
            tile = database.tiles.get(entry.tile)
            if tile is None:
                raise BitstreamError(f"{file}: line {entry.line}: {database.device} has no tile {entry.tile[:80]}")
            kind = database.type(tile.type)
            value, index = entry.value, 0
            if value and entry.feature in kind.pseudo:
                asked += value.bit_count()
                continue
            base = tile.number * CODE
            while value:
                skip = (value & -value).bit_length() - 1
                index, value = index + skip, value >> skip
                asked += 1
                at = None if entry.low is None else entry.low + index
                number = kind.find(entry.feature, at)
                if number is None:
                    unknown += 1
                    if len(without) < _NAMED:
                        full = f"{entry.tile}.{entry.feature}" + ("" if at is None else f"[{at}]")
                        without.append(f"{full} (line {entry.line})")
                else:
                    origin = _origin(tile, kind, number, f"{file}: line {entry.line}")
                    codes.append(base + number)
                    for bit in kind.ones[number]:
                        ones.append(origin + bit)
                    for bit in kind.zeros[number]:
                        zeros.append(origin + bit)
                index, value = index + 1, value >> 1
        if without:
            more = f" and {unknown - len(without):,} more" if unknown > len(without) else ""
            raise BitstreamError(f"{file}: no bits are known in {database.device} for {', '.join(without)}{more}")
    placed = np.unique(np.frombuffer(codes, np.int64)) if codes else np.zeros(0, np.int64)
    frames = _set_bits(database, np.frombuffer(ones, np.int64) if ones else np.zeros(0, np.int64))
    if zeros:
        cleared = np.frombuffer(zeros, np.int64)
        wrong = cleared[_bits(frames, cleared)]
        if wrong.size:
            raise BitstreamError(_conflict(database, placed, int(wrong[0]), name))
    return Assembly(layout.with_ecc(frames), asked, placed)


def _origin(tile: Tile, kind: TileType, number: int, where: str) -> int:
    block = tile.blocks.get(kind.buses[number])
    if block is None or tile.shares:
        why = "whose bits are another tile's" if tile.shares else "which has no bits in this chip"
        raise BitstreamError(f"{where}: {tile.name}.{kind.names[number]} lies in a tile {why}")
    return block.origin


def _set_bits(database: Database, positions: np.ndarray) -> np.ndarray:
    """Frames, uint32 [frames, 101], with these bits set and no other."""
    bits = np.zeros(len(database.addresses) * FRAME_BITS, np.uint8)
    if positions.size and int(positions.max()) >= bits.size:
        raise BitstreamError(f"{database.folder}: a feature's bit lies after the last frame of {database.device}")
    bits[positions] = 1
    words: np.ndarray = np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)
    return words.reshape(-1, FRAME_WORDS)


def _bits(frames: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether each of these bits is set."""
    words = frames.reshape(-1)[np.minimum(positions >> 5, frames.size - 1)]
    found: np.ndarray = (words >> (positions & 31).astype(np.uint32) & np.uint32(1)).astype(bool)
    return found


def _conflict(database: Database, placed: np.ndarray, position: int, name: str) -> str:
    """Which two features want a bit both ways."""
    wants: dict[bool, str] = {}
    for code in placed.tolist():
        tile, number = database.by_number[code // CODE], code % CODE
        kind = database.type(tile.type)
        origin = tile.blocks[kind.buses[number]].origin
        for want, bits in ((True, kind.ones[number]), (False, kind.zeros[number])):
            if any(origin + bit == position for bit in bits):
                wants[want] = f"{tile.name}.{kind.names[number]}"
    frame, bit = divmod(position, FRAME_BITS)
    return f"{name}: {wants[True]} sets and {wants[False]} clears bit {bit} of frame 0x{database.addresses[frame]:08X}"


def assemble(database: Database, fasm_path: Path, bit_path: Path, design: str = "pleinair") -> Assembly:
    """Write the .bit of a FASM file. The same file and database give the same bytes.

    The header's date is that of SOURCE_DATE_EPOCH (seconds since 1970, UTC) if that is set, else 1 January 1970.
    ``design`` is the name in the header: letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        BitstreamError: see :func:`place`.
        OutputError: the .bit cannot be written; nothing half-written is left.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", design):
        raise BitstreamError(f"{design[:80]!r}: no name of a design; allowed are up to 100 letters, digits, _, - and .")
    made = place(database, fasm_path)
    data = layout.write(made.frames, database.row_ends, database.idcode, design, header_part(database.part), _when())
    try:
        write_file(bit_path, data)
    except OSError as cause:
        raise OutputError(f"{bit_path}: {cause.strerror or cause}") from cause
    return made


def header_part(part: str) -> str:
    """A part's name as a .bit's header has it: ``7z020clg400`` for ``xc7z020clg400-1``."""
    return part.removeprefix("xc").partition("-")[0]


def _when() -> datetime.datetime:
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    try:
        return datetime.datetime.fromtimestamp(int(text), datetime.timezone.utc)
    except (ValueError, OverflowError, OSError) as cause:
        raise BitstreamError(f"SOURCE_DATE_EPOCH {text[:40]!r}; allowed are seconds since 1970") from cause
