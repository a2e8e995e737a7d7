"""The layout of a .bit, and the error-correcting code against its definition."""

from __future__ import annotations

import datetime
import struct

import numpy as np
import pytest

from pleinair_hw.bitstream import layout
from pleinair_hw.bitstream.database import BitstreamError

WHEN = datetime.datetime(2026, 3, 4, 5, 6, 7)


def defined_code(words: list[int]) -> int:
    """The code of a frame by its definition: the exclusive or of the numbers of all set bits, and a parity."""
    code = 0
    for index, word in enumerate(words):
        for bit in range(32):
            if word >> bit & 1 and not (index == 50 and bit < 13):
                number = 0x1320 + 32 * index + bit
                number += 32 if index >= 7 else 0
                number += 32 if index >= 38 else 0
                code ^= number
    low = code & 0xFFF
    return low | (bin(low).count("1") + (code >> 12)) % 2 << 12


def test_the_code_is_as_defined():
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 1 << 32, (40, 101), dtype=np.uint32)
    frames[0] = 0
    frames[1:20] &= rng.integers(0, 1 << 32, (19, 101), dtype=np.uint32) & rng.integers(0, 99, (19, 101), np.uint32)
    assert layout.ecc(frames).tolist() == [defined_code(frame) for frame in frames.tolist()]
    assert layout.ecc(layout.with_ecc(frames)).tolist() == layout.ecc(frames).tolist()


def test_every_single_bit_has_a_code_of_its_own():
    """So one altered bit of a frame is always noticed, and which one it is could be told."""
    frames = np.zeros((3232, 101), np.uint32)
    frames[np.arange(3232), np.arange(3232) // 32] = np.uint32(1) << (np.arange(3232) % 32).astype(np.uint32)
    codes = layout.ecc(frames)
    own = (np.arange(3232) // 32 == 50) & (np.arange(3232) % 32 < 13)
    assert (codes[own] == 0).all()
    data = codes[~own].tolist()
    assert len(set(data)) == len(data) == 3219
    # No data bit looks like a bit of the code: none of their codes has one bit alone.
    assert min(bin(code).count("1") for code in data) >= 2


def test_a_file_has_the_headers_fields_and_the_packets(rows: int = 3):
    frames = layout.with_ecc(np.arange(12 * 101, dtype=np.uint32).reshape(12, 101))
    data = layout.write(frames, [4, 7, 11], 0x1234567, "sunrise", "9z000abc1", WHEN)
    assert data[:13] == bytes.fromhex("00090ff00ff00ff00ff0000001") and data[13:14] == b"a"
    assert b"b\x00\x0a9z000abc1\x00c\x00\x0b2026/03/04\x00d\x00\x0905:06:07\x00e" in data
    (length,) = struct.unpack(">I", data.partition(b"05:06:07\x00e")[2][:4])
    assert length == layout.size(12, rows) == 4 * ((12 + 2 * rows) * 101 + 590) - 4 * (590 - _packet_words(data, rows))
    found = layout.parse(data, "x.bit")
    assert layout.fields_of(found.header)["design"] == "sunrise"
    assert found.register("IDCODE") == 0x1234567 and found.register("FAR") == 0x3BE0000
    assert [value for name, value in found.registers if name == "CMD"] == [0, 7, 9, 1, 7, 10, 3, 5, 7, 13]
    padded = found.data.reshape(18, 101)
    kept = [0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 14, 15]
    assert (padded[kept] == frames).all() and not padded[[5, 6, 10, 11, 16, 17]].any()
    assert layout.checksum_fault(data, found.header) is None
    assert layout.packet_faults(data, 0x1234567, 12, [4, 7, 11]) is None


def _packet_words(data: bytes, rows: int) -> int:
    """How many words of a file with 12 frames are packets, counted from its end: header and frames taken off."""
    head = data.index(b"e", data.index(b"05:06:07")) + 5
    return (len(data) - head) // 4 - (12 + 2 * rows) * 101


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda data: b"", "not a .bit"),
        (lambda data: b"\x7fELF" + data, "not a .bit"),
        (lambda data: data[:60], r"header field [a-e] "),
        (lambda data: data[:-4], "bytes after the header, which names"),
        (lambda data: data + b"1234", "bytes after the header, which names"),
        (lambda data: data.replace(b"\xaa\x99\x55\x66", b"\xaa\x99\x55\x67"), "no synchronisation word"),
        (
            lambda data: data.replace(struct.pack(">I", 0x50000000 | 18 * 101), b"\x50\x10\x00\x00"),
            "after the file's end",
        ),
        (lambda data: data.replace(struct.pack(">I", 0x30026001), struct.pack(">I", 0x30014001)), "compressed"),
        (lambda data: data.replace(struct.pack(">I", 0x30026001), struct.pack(">I", 0x30016001)), "encrypted"),
        (lambda data: data.replace(struct.pack(">I", 0x30018001), struct.pack(">I", 0x3001A001)), None),
        (lambda data: data.replace(b"2026/03/04\0", b"2026/03/04!"), "header field c .date. is damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(change, said: str | None):
    frames = layout.with_ecc(np.zeros((12, 101), np.uint32))
    data = change(layout.write(frames, [4, 7, 11], 7, "sunrise", "9z000abc1", WHEN))
    if said is None:  # another register than ours is read, and then told by the packets and the checksum
        header = layout.parse(data, "x.bit").header
        assert layout.packet_faults(data, 7, 12, [4, 7, 11]) is not None
        assert "checksum" in (layout.checksum_fault(data, header) or "")
        return
    with pytest.raises(BitstreamError, match=said) as refused:
        layout.parse(data, "x.bit")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("x.bit: ")
