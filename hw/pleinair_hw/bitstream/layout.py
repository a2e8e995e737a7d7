"""The layout of a .bit: header, packets, frames with their error-correcting code.

The packets are those of prjxray's ``xc7frames2bit``: no CRC word, which the chip does not need. A file of ours
carries a checksum instead, where Vivado puts the user's ID: CRC-32 of all the rest. :func:`parse` reads Vivado's
files too, if they are neither compressed nor encrypted.
"""

from __future__ import annotations

import datetime
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pleinair_hw.bitstream.database import FRAME_BITS, FRAME_WORDS, BitstreamError

#: The word of a frame that holds its error-correcting code, and which of its bits.
ECC_WORD = 50
ECC_MASK = 0x1FFF
#: Most bytes of a .bit: the largest 7-series chip takes 56 MB.
MOST_BYTES = 128 << 20
_SYNC = 0xAA995566
_PREAMBLE = bytes.fromhex("00090ff00ff00ff00ff0000001")
_NOP = 0x20000000
_FIRST_REGISTERS = (
    *("CRC", "FAR", "FDRI", "FDRO", "CMD", "CTL0", "MASK", "STAT", "LOUT", "COR0", "MFWR", "CBC", "IDCODE", "AXSS"),
    "COR1",
)
_REGISTERS = {name: number for number, name in enumerate(_FIRST_REGISTERS)} | {
    "WBSTAR": 16,
    "TIMER": 17,
    "UNKNOWN": 19,
    "CTL1": 24,
}
_REGISTER_NAMES = {number: name for name, number in _REGISTERS.items()}
_COMMANDS = {"NULL": 0, "WCFG": 1, "LFRM": 3, "START": 5, "RCRC": 7, "SWITCH": 9, "GRESTORE": 10, "DESYNC": 13}
#: Empty frames at the end of a row.
ROW_PADDING = 2


@dataclass(frozen=True)
class Header:
    """The fields of a .bit's header. ``part`` is written as Vivado does, ``7z020clg400``."""

    design: str
    part: str
    date: str
    time: str


@dataclass(frozen=True)
class Container:
    """A .bit taken apart: header, what was written to registers (name, value), the words of its frames' data."""

    header: Header
    registers: tuple[tuple[str, int], ...]
    data: np.ndarray

    def register(self, name: str) -> int | None:
        """What was last written to a register, or None."""
        return next((value for register, value in reversed(self.registers) if register == name), None)


@lru_cache(1)
def _ecc_masks() -> np.ndarray:
    """uint32 [13, 101]: which bits of a frame each bit of the code is the parity of.

    The code is a Hamming code over bits numbered from 4896, with a gap of 32 numbers before words 7 and 38, so that
    no data bit's number is a power of two or half of the numbers' range; its 13th bit makes the parity even.
    """
    word, bit = np.divmod(np.arange(FRAME_BITS), 32)
    place = 4896 + 32 * word + bit + 32 * (word > 6) + 32 * (word > 37)
    table = (place[None, :] >> np.arange(13)[:, None] & 1).astype(np.uint8)
    table[12] ^= np.bitwise_xor.reduce(table[:12], axis=0)
    table[:, (word == ECC_WORD) & (bit < 13)] = 0
    masks: np.ndarray = np.packbits(table, axis=1, bitorder="little").view("<u4").astype(np.uint32)
    return masks


def ecc(frames: np.ndarray) -> np.ndarray:
    """The error-correcting code, uint32 [n] of 13 bits, of each frame, uint32 [n, 101]. Its own bits do not count."""
    code = np.zeros(len(frames), np.uint32)
    for number, mask in enumerate(_ecc_masks()):
        folded = np.bitwise_xor.reduce(frames & mask, axis=1)
        for shift in (16, 8, 4, 2, 1):
            folded = folded ^ folded >> np.uint32(shift)
        code |= (folded & np.uint32(1)) << np.uint32(number)
    return code


def with_ecc(frames: np.ndarray) -> np.ndarray:
    """A copy of the frames with their code in its place."""
    coded: np.ndarray = frames.astype(np.uint32)
    coded[:, ECC_WORD] = coded[:, ECC_WORD] & np.uint32(~ECC_MASK & 0xFFFFFFFF) | ecc(coded)
    return coded


def _packets(idcode: int, data: np.ndarray) -> np.ndarray:
    """Every word of the configuration, big-endian."""
    words: list[int] = [0xFFFFFFFF] * 8 + [0xBB, 0x11220044, 0xFFFFFFFF, 0xFFFFFFFF, _SYNC]

    def write(register: str, value: int | str) -> None:
        words.append(0x30000001 | _REGISTERS[register] << 13)
        words.append(_COMMANDS[value] if isinstance(value, str) else value)

    def wait(count: int = 1) -> None:
        words.extend([_NOP] * count)

    wait()
    write("TIMER", 0)
    write("WBSTAR", 0)
    write("CMD", "NULL")
    wait()
    write("CMD", "RCRC")
    wait(2)
    write("UNKNOWN", 0)
    write("COR0", 0x02003FE5)
    write("COR1", 0)
    write("IDCODE", idcode)
    write("CMD", "SWITCH")
    wait()
    write("MASK", 0x401)
    write("CTL0", 0x501)
    write("MASK", 0)
    write("CTL1", 0)
    wait(8)
    write("FAR", 0)
    write("CMD", "WCFG")
    wait()
    words.append(0x30000000 | _REGISTERS["FDRI"] << 13)
    words.append(0x50000000 | data.size)
    before, words = words, []
    write("CMD", "RCRC")
    wait(2)
    write("CMD", "GRESTORE")
    wait()
    write("CMD", "LFRM")
    wait(100)
    write("CMD", "START")
    wait()
    write("FAR", 0x3BE0000)
    write("MASK", 0x501)
    write("CTL0", 0x501)
    write("CMD", "RCRC")
    wait(2)
    write("CMD", "DESYNC")
    wait(400)
    parts = [np.array(before, np.uint32), data.astype(np.uint32), np.array(words, np.uint32)]
    return np.concatenate(parts).astype(">u4")


def rows(frames: np.ndarray, row_ends: Sequence[int]) -> np.ndarray:
    """The words of a .bit's data: the frames, and after each row's last one the empty ones."""
    at = np.repeat(np.asarray(row_ends) + 1, ROW_PADDING)
    padded: np.ndarray = np.insert(frames, at, 0, axis=0).reshape(-1)
    return padded


def write(
    frames: np.ndarray, row_ends: Sequence[int], idcode: int, design: str, part: str, when: datetime.datetime
) -> bytes:
    """A whole .bit of frames, uint32 [n, 101], whose code is in place already. ``design`` names what it is."""
    body = _packets(idcode, rows(frames, row_ends)).tobytes()
    fields = (f"{when:%Y/%m/%d}", f"{when:%H:%M:%S}")
    head = _header(design, "00000000", part, *fields, len(body))
    return _header(design, f"{zlib.crc32(body, zlib.crc32(head)):08X}", part, *fields, len(body)) + body


def _header(design: str, checksum: str, part: str, date: str, time: str, length: int) -> bytes:
    def field(key: bytes, text: str) -> bytes:
        data = text.encode() + b"\0"
        return key + struct.pack(">H", len(data)) + data

    name = f"{design};UserID=0X{checksum};Version=pleinair"
    parts = (field(b"a", name), field(b"b", part), field(b"c", date), field(b"d", time))
    return _PREAMBLE + b"".join(parts) + b"e" + struct.pack(">I", length)


def size(frames: int, row_ends: int) -> int:
    """Bytes of the configuration, without the header, for so many frames in so many rows."""
    data = (frames + ROW_PADDING * row_ends) * FRAME_WORDS
    return 4 * (len(_packets(0, np.zeros(0, np.uint32))) + data)


def parse(data: bytes, name: str) -> Container:
    """Take a .bit apart; ``name`` is how errors call it.

    Raises:
        BitstreamError: it is no .bit, cut short, longer than it says, compressed, encrypted or damaged.
    """
    fields, start = _parse_header(data, name)
    words = np.frombuffer(data, ">u4", (len(data) - start) // 4, start).astype(np.uint32)
    found = np.flatnonzero(words[:1024] == _SYNC)
    if not found.size:
        raise BitstreamError(f"{name}: no synchronisation word among the first 1,024 words of the configuration")
    registers: list[tuple[str, int]] = []
    frames: list[np.ndarray] = []
    at, register = int(found[0]) + 1, -1
    while at < len(words):
        header = int(words[at])
        at += 1
        kind, operation = header >> 29, header >> 27 & 3
        if kind == 1:
            register, count = header >> 13 & 0x3FFF, header & 0x7FF
        elif kind == 2:
            count = header & 0x7FFFFFF
        else:
            raise BitstreamError(f"{name}: word {at - 1} of the configuration, 0x{header:08X}, begins no packet")
        if at + count > len(words):
            raise BitstreamError(f"{name}: the packet at word {at - 1} of the configuration ends after the file's end")
        if operation == 2 and count:
            if register not in _REGISTER_NAMES:
                raise BitstreamError(
                    f"{name}: word {at - 1} of the configuration writes to no known register ({register})"
                )
            register_name = _REGISTER_NAMES[register]
            if register_name == "MFWR":
                raise BitstreamError(f"{name}: a compressed bitstream, which cannot be read here")
            if register_name == "CBC":
                raise BitstreamError(f"{name}: an encrypted bitstream, which cannot be read")
            if register_name == "FDRI":
                frames.append(words[at : at + count])
            else:
                registers += [(register_name, int(word)) for word in words[at : at + count]]
        at += count
    joined = np.concatenate(frames) if frames else np.zeros(0, np.uint32)
    return Container(Header(**fields), tuple(registers), joined)


def _parse_header(data: bytes, name: str) -> tuple[dict[str, str], int]:
    """The header's fields, and where the configuration begins."""
    if data[: len(_PREAMBLE)] != _PREAMBLE:
        raise BitstreamError(f"{name}: not a .bit (its first {len(_PREAMBLE)} bytes are others)")
    position, fields = len(_PREAMBLE), {}
    for key, field in (("a", "design"), ("b", "part"), ("c", "date"), ("d", "time")):
        head = data[position : position + 3]
        length = int.from_bytes(head[1:], "big")
        text = data[position + 3 : position + 3 + length]
        if (
            len(head) < 3
            or head[:1] != key.encode()
            or len(text) != length
            or text[-1:] != b"\0"
            or not text[:-1].isascii()
        ):
            raise BitstreamError(f"{name}: header field {key} ({field}) is damaged")
        fields[field] = text[:-1].decode()
        position += 3 + length
    head = data[position : position + 5]
    if len(head) < 5 or head[:1] != b"e":
        raise BitstreamError(f"{name}: header field e (length) is damaged")
    length, position = int.from_bytes(head[1:], "big"), position + 5
    if length != len(data) - position or length % 4:
        raise BitstreamError(f"{name}: {len(data) - position:,} bytes after the header, which names {length:,}")
    return fields, position


_CHECKSUM = re.compile(r"([\x20-\x7e]*);UserID=0X([0-9A-F]{8});Version=pleinair")


def checksum_fault(data: bytes, header: Header) -> str | None:
    """What is wrong with the checksum of a file that we wrote, in words; None if nothing is, or if others wrote it."""
    found = _CHECKSUM.fullmatch(header.design)
    if found is None:
        ours = ";UserID=" in header.design or "Version=pleinair" in header.design
        vivado = re.search(r";Version=\d{4}\.\d[\w.]*$", header.design)
        return f"the header's first field is {header.design!r}" if ours and not vivado else None
    length = int.from_bytes(data[_header_end(data) - 4 : _header_end(data)], "big")
    head = _header(found[1], "00000000", header.part, header.date, header.time, length)
    body = memoryview(data)[_header_end(data) :]
    computed = zlib.crc32(body, zlib.crc32(head))
    if _header(found[1], found[2], header.part, header.date, header.time, length) != data[: _header_end(data)]:
        return "the header's fields are not written as ours are"
    return None if f"{computed:08X}" == found[2] else f"the checksum is {computed:08X}, the header says {found[2]}"


def _header_end(data: bytes) -> int:
    return _parse_header(data, "")[1]


def packet_faults(data: bytes, idcode: int, frames: int, row_ends: Sequence[int]) -> int | None:
    """The number of the first word outside the frames that differs from those that we write, or None."""
    start = _header_end(data)
    found = np.frombuffer(data, ">u4", (len(data) - start) // 4, start)
    count = (frames + ROW_PADDING * len(row_ends)) * FRAME_WORDS
    expected = _packets(idcode, np.zeros(count, np.uint32))
    if len(found) != len(expected):
        return min(len(found), len(expected))
    differ = found != expected
    first = int(np.flatnonzero(expected == (0x50000000 | count))[0]) + 1
    differ[first : first + count] = False
    return int(np.flatnonzero(differ)[0]) if differ.any() else None


def fields_of(header: Header) -> Mapping[str, str]:
    """The header for a report: design without its checksum, part, date and time."""
    found = _CHECKSUM.fullmatch(header.design)
    return {
        "design": found[1] if found else header.design,
        "part": header.part,
        "date": header.date,
        "time": header.time,
    }
