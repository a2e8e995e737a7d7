"""FASM, the list of features that a place and route tool writes, line by line.

A line is ``TILE.FEATURE``, ``TILE.FEATURE[3]`` or ``TILE.FEATURE[63:0] = 64'b0101...``. Values are binary, octal,
decimal or hexadecimal; what follows ``#`` or stands in braces is no feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pleinair_hw.bitstream.database import BitstreamError

#: Most characters of a line, and most bits of a value.
MOST_CHARACTERS = 20_000
MOST_BITS = 4096
#: Most bytes of a file: a full xc7z020 has under 100 MB.
MOST_BYTES = 512 << 20
_LINE = re.compile(
    r"([A-Za-z0-9_]+)\.([A-Za-z0-9_.]+)(?:\[(\d{1,4})(?::(\d{1,4}))?\])?"
    r"\s*(?:=\s*(?:(\d{1,4})?'([bodhBODH])([0-9a-fA-F_]+)|(\d{1,40})))?"
)
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}


class Entry(NamedTuple):
    """A line: bits of a feature. ``low`` is the lowest index, None where the line has none; ``value`` the bits."""

    line: int
    tile: str
    feature: str
    low: int | None
    value: int

    def __str__(self) -> str:
        return f"{self.tile}.{self.feature}" + ("" if self.low is None else f"[{self.low}]")


def parse(text: str, name: str = "FASM") -> Iterator[Entry]:
    """The features in a FASM file's text, in its order; ``name`` is how errors call the file.

    Raises:
        BitstreamError: a line is none, with its number and what stands there.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MOST_CHARACTERS:
            raise BitstreamError(f"{name}: line {number}: longer than {MOST_CHARACTERS:,} characters")
        line = line.partition("#")[0].partition("{")[0].strip()
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise BitstreamError(f"{name}: line {number}: {line[:80]!r} is no feature")
        tile, feature, first, second, width, base, digits, plain = found.groups()
        try:
            value = int(digits.replace("_", "") or "-", _BASES[base.lower()]) if digits else int(plain or "1")
        except ValueError as cause:
            raise BitstreamError(
                f"{name}: line {number}: {digits[:80]!r} is no number of base {_BASES[base.lower()]}"
            ) from cause
        low = None if first is None else int(second or first)
        bits = 1 if first is None or second is None else int(first) - int(second) + 1
        if not 1 <= bits <= MOST_BITS:
            raise BitstreamError(
                f"{name}: line {number}: [{first}:{second}]; allowed are up to {MOST_BITS} bits, highest first"
            )
        if value.bit_length() > bits or (width and (value.bit_length() > int(width) or int(width) > bits)):
            raise BitstreamError(f"{name}: line {number}: the value does not fit the {bits} bits of {tile}.{feature}")
        yield Entry(number, tile, feature, low, value)
