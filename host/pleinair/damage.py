"""Damage in encoded pictures, found in their bytes before anything decodes them.

Decoders go on where they can: from a lost sector they make grey, smeared rows or noise, and no error. Where a format
has checksums or an order of its own, that is asked here; where a picture lies bare in its file, what stands out of its
neighbourhood from one sector's border to another's is a lost sector. Each function gives a few words that say what is
wrong, "" for nothing. What the decoders themselves remark is heard in :mod:`pleinair.images`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

#: Largest picture accepted, in pixels: five times what a Pi's camera gives. ``pleinair.cli`` tells OpenCV.
MAX_PIXELS = 64_000_000
JPEG, PNG, EOI = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd9"
TIFFS = (b"II*\0", b"MM\0*")
TRUNCATED = "truncated, its end is missing"
#: The end of a JPEG's entropy-coded data: a marker that is neither a stuffed zero, a restart nor a fill byte.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
#: What may follow a scan (ITU-T T.81, B.2.1): tables, another scan, DNL, application data, comments, the end.
_AFTER_SCAN = {0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
#: Scans of a progressive JPEG; encoders make ten or so. Pixels times scans.
_MOST_SCANS, _MOST_WORK = 100, 20 * MAX_PIXELS
#: So many equal bytes are no code, but what a lost sector reads as.
_ZEROS, _ONES = bytes(64), b"\xff" * 16
#: Equal bytes in a lossless WebP that no picture makes.
_RUN = 256
#: Bytes of a WebP's end without which no good one is decoded; an encoder may leave two or three unused.
_LEFT_OUT = 8
#: Bytes that disks lose at once, and such a stretch's border on which is looked.
_SECTORS, _BORDER = (512, 4096), 48
#: Bytes of a picture that are looked at together.
_AT_ONCE = 1 << 22
#: Grey levels by which a lost sector differs from the rows above and below, and times what its surroundings do.
_STANDS_OUT, _TIMES = 12.0, 4.0
#: Grey levels from byte to byte, on average, of what is no picture.
_ROUGH = 20.0


def jpeg_fault(data: bytes) -> str:
    """What is wrong with a JPEG's markers from its first to its EOI (ITU-T T.81, annex B), or nothing."""
    position, scans, pixels, flat = 2, 0, 0, False
    while position + 2 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker in (0x00, 0xFF):
            position += 1  # stray bytes before a marker harm nobody; libjpeg passes over them too
            continue
        if marker == 0xD9:
            return ""
        # SOI, RSTn and TEM stand alone; every other marker gives its length, itself included.
        position += 2
        at = data[position : position + 7]
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            pixels = int.from_bytes(at[3:5], "big") * int.from_bytes(at[5:7], "big")
            if pixels > MAX_PIXELS:
                return too_large(int.from_bytes(at[5:7], "big"), int.from_bytes(at[3:5], "big"))
        if marker == 0xC4:
            flat |= _tables(data[position - max(2, int.from_bytes(at[:2], "big")) : position])
        if marker == 0xDA:
            scans += 1
            if scans > _MOST_SCANS or scans * pixels > _MOST_WORK:
                return f"its {scans} scans and more would take too long"
            found = _MARKER.search(data, position)
            if found is None:
                return TRUNCATED
            if found[1][0] not in _AFTER_SCAN:
                return f"damaged in the middle, at byte {found.start()}"
            if fault := _blank_fault(data[position : found.start()], flat):
                return fault
            position = found.start()
    return TRUNCATED


def jpeg_work(data: bytes) -> int:
    """Pixels times scans of a JPEG, about what its decoder does; arithmetic codes count ten times."""
    scans, position = data.count(b"\xff\xda"), 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, size = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[position + i : position + i + 2], "big") for i in (5, 7))
            return scans * width * height * (10 if marker > 0xC8 else 1)
        position += 2 + max(2, size)
    return 0


def _blank_fault(coded: bytes, flat: bool) -> str:
    """Whether a stretch of coded data was overwritten with equal bytes, as a disk's lost sectors read.

    Codes do not repeat one byte so often, but for those of a flat picture with tables of its own: there, zeros are.
    """
    for blank in (_ZEROS, _ONES):
        if not (flat and blank is _ZEROS) and (at := coded.find(blank)) >= 0:
            return f"damaged in the middle: {len(blank)} equal bytes from {at} of its coded data on"
    return ""


def _tables(segment: bytes) -> bool:
    """Whether the first code of a JPEG's table of AC coefficients ends a block (ITU-T T.81, B.2.4.2)."""
    at = 2
    while at + 17 <= len(segment):
        count = sum(segment[at + 1 : at + 17])
        if segment[at] >> 4 == 1 and segment[at + 17 : at + 18] == b"\0":
            return True
        at += 17 + count
    return False


def webp_fault(data: bytes) -> str:
    """What is wrong with a WebP's length, or its coded data."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return TRUNCATED
    width, height = webp_size(data)
    if width * height > MAX_PIXELS:
        return too_large(width, height)
    # Long runs are common in the arithmetic codes of a flat picture, and unknown in what is lossless.
    lossless = data.find(b"VP8L", 12)
    if lossless >= 0 and any((at := data.find(blank, lossless)) >= 0 for blank in (bytes(_RUN), b"\xff" * _RUN)):
        return f"damaged in the middle: {_RUN} equal bytes from {at} on"
    return ""


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by a WebP's first part (RFC 9649); zeros where it is too short or of no known kind."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 0, 0


def bare_webp(data: bytes, left_out: int = 0) -> bytes | None:
    """A still WebP that ends with its coded data, less so many of their bytes; None for another kind.

    A decoder does not stop at the coded data's end: behind damage it would read on in what follows them, such as EXIF.
    """
    position = 12
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size
        if kind in (b"VP8 ", b"VP8L") and end <= len(data) and size > 2 * left_out:
            body = data[position + 8 : end - left_out]
            whole = data[:position] + kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
            return whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:]
        position = end + size % 2
    return None


def shortened_webp(data: bytes) -> bytes | None:
    """A still WebP without the last bytes of its coded data; None for another kind.

    Its arithmetic coder uses up all bytes to a few, so a decoder misses these at a good picture's end. Behind damage it
    reads other numbers than were written, mostly fewer bytes for them, and misses nothing.
    """
    return bare_webp(data, _LEFT_OUT)


def _png_fault(data: bytes) -> str:
    """What is wrong with a PNG's chunks, each of which has a checksum (PNG specification, 5.3)."""
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    if width * height > MAX_PIXELS:
        return too_large(width, height)
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return TRUNCATED
        kind = data[position + 4 : position + 8]
        if kind[:1].isupper() and zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"damaged, its part {kind.decode('ascii', 'backslashreplace')} has another checksum"
        if kind == b"IEND":
            return ""
        position = end + 4
    return TRUNCATED


@dataclass(frozen=True)
class Tiff:
    """The first picture of a TIFF file (TIFF 6.0, section 2): its fields' numbers, by tag."""

    fields: dict[int, tuple[int, ...]]

    @classmethod
    def read(cls, data: bytes) -> Tiff | None:
        """None for a file without a first directory. Nothing is believed: what lies outside is left out."""
        order = "<" if data.startswith(b"II") else ">"
        start, fields = (
            struct.unpack_from(f"{order}4xI", data)[0] if len(data) >= 8 else 0,
            dict[int, tuple[int, ...]](),
        )
        if not 8 <= start <= len(data) - 2:
            return None
        (entries,) = struct.unpack_from(f"{order}H", data, start)
        for at in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
            tag, kind, count, place = struct.unpack_from(f"{order}HHII", data, at)
            form = {1: "B", 3: "H", 4: "I"}.get(kind)
            if form is None or count > _MOST_STRIPS:
                continue
            size = count * struct.calcsize(f"={form}")
            place = place if size > 4 else at + 8
            if place + size <= len(data):
                fields[tag] = struct.unpack_from(f"{order}{count}{form}", data, place)
        return cls(fields)

    def __call__(self, tag: int, default: int) -> int:
        return (self.fields.get(tag) or (default,))[0]

    def strips(self) -> Iterator[tuple[int, int]]:
        """Where each strip or tile stands in the file, and how many bytes it has."""
        starts, sizes = ((self.fields.get(a) or self.fields.get(b, ())) for a, b in ((273, 324), (279, 325)))
        yield from zip(starts, sizes, strict=False)


#: A TIFF's strips or tiles, at most; one has some eight rows.
_MOST_STRIPS = 1 << 18
_COMPRESSION, _DEFLATES = 259, (8, 32946)
#: None, LZW, Deflate, PackBits: what they take to decode is known from the picture's size.
_PLAIN = (1, 5, *_DEFLATES, 32773)


def is_plain_tiff(data: bytes) -> bool:
    """Whether a TIFF's first picture is written in a way that takes no longer than others of its size."""
    tiff = Tiff.read(data)
    return tiff is not None and tiff(_COMPRESSION, 1) in _PLAIN


def tiff_fault(data: bytes) -> str:
    """What is wrong with a TIFF's strips: their places, Deflate's checksums, sectors of a bare picture."""
    tiff = Tiff.read(data)
    if tiff is None:
        return TRUNCATED
    width, height = tiff(256, 0), tiff(257, 0)
    if width * height > MAX_PIXELS:
        return too_large(width, height)
    strips = list(tiff.strips())
    if any(start + size > len(data) for start, size in strips):
        return TRUNCATED
    stride = (width * tiff(258, 1) * (tiff(277, 1) if tiff(284, 1) == 1 else 1) + 7) // 8
    if tiff(_COMPRESSION, 1) in _DEFLATES:
        most = stride * height + (1 << 20)
        for number, (start, size) in enumerate(strips):
            inflater = zlib.decompressobj()
            try:
                found = inflater.decompress(data[start : start + size], most)
                whole = inflater.eof or len(found) == most
            except zlib.error:
                whole = False
            if not whole:
                return f"damaged, its strip {number} has another checksum"
            most = max(1, most - len(found))
    elif tiff(_COMPRESSION, 1) == 1 and 322 not in tiff.fields and tiff(258, 1) == 8:
        for start, size in _joined(strips):
            if fault := _bare_fault(data, start, size, stride):
                return fault
    return ""


def _joined(strips: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Strips that follow each other in the file, as one."""
    joined = list[tuple[int, int]]()
    for start, size in strips:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + size)
        else:
            joined.append((start, size))
    return joined


def bmp_fault(data: bytes) -> str:
    """What is wrong with a BMP: its length, and sectors of it where it is bare with 24 or 32 bits a pixel."""
    start, width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (10, 18, 22))
    bits, packed = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if width <= 0 or height == 0 or start <= 0:
        return ""  # the older header, or none; the decoder says so
    if width * abs(height) > MAX_PIXELS:
        return too_large(width, abs(height))
    stride = (width * bits + 31) // 32 * 4
    if packed or bits not in (24, 32):
        return ""
    if start + stride * abs(height) > len(data):
        return TRUNCATED
    return _bare_fault(data, start, stride * abs(height), stride)


def _bare_fault(data: bytes, start: int, size: int, stride: int) -> str:
    """Whether one of the sectors of a bare picture is lost: rows of ``stride`` bytes, ``size`` bytes from ``start``."""
    for sector in _SECTORS:
        overlap = 2 * (stride + sector + _BORDER)
        if stride < _BORDER or size < overlap:
            continue
        for begin in range(0, size - overlap + 1, _AT_ONCE):
            at = _lost_sector(data, start + begin, min(size - begin, _AT_ONCE + overlap), stride, sector)
            if at is not None:
                return f"damaged, {sector} bytes from {at} on belong to no picture"
    return ""


def _lost_sector(data: bytes, start: int, size: int, stride: int, sector: int) -> int | None:
    """Where in the file a sector stands out of the rows above and below it, and its surroundings do not."""
    pixels = np.frombuffer(data, np.uint8, size, start)
    # A grid of whole sectors that have a row above and one below.
    first = stride + -(start + stride) % sector
    count = (size - stride - first) // sector
    if count < 3:
        return None

    def rows(offset: int) -> np.ndarray:
        return pixels[first + offset : first + offset + count * sector].reshape(count, sector)

    def far(part: slice, offset: int) -> np.ndarray:
        differences = cv2.absdiff(rows(0)[:, part], rows(offset)[:, part])
        return np.asarray(cv2.reduce(differences, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0] / _BORDER)

    # The first and last bytes of each sector, against the rows above and below.
    head, tail = slice(_BORDER), slice(-_BORDER, None)
    within = np.minimum(far(head, -stride), far(tail, stride))[1:-1]
    if within.max() <= _STANDS_OUT:
        return None
    # What is before a sector and behind it has no such edge.
    around = np.maximum(far(tail, -stride)[:-2], far(head, stride)[2:])
    for number in 1 + np.flatnonzero((within > _STANDS_OUT) & (within > _TIMES * around)):
        content, row = rows(0)[number].astype(np.int16), min(sector, stride)
        above, below = content[:row] - rows(-stride)[number, :row], content[-row:] - rows(stride)[number, -row:]
        if min(np.abs(above).mean(), np.abs(below).mean()) < _STANDS_OUT:
            continue
        # Zeros, ones, or bytes that are no neighbours in any order of channels; a thin line of a drawing is neither.
        if np.ptp(content) == 0 or min(np.abs(content[lag:] - content[:-lag]).mean() for lag in range(1, 5)) > _ROUGH:
            return start + first + int(number) * sector
    return None


def picture_fault(data: bytes) -> str:
    """What is wrong with a picture file of a kind that is known by its first bytes."""
    if data.startswith(JPEG):
        return jpeg_fault(data)
    if data.startswith(PNG):
        return _png_fault(data)
    if data.startswith(b"RIFF"):
        return webp_fault(data)
    return tiff_fault(data) if data.startswith(TIFFS) else bmp_fault(data) if data.startswith(b"BM") else ""


def too_large(width: int, height: int) -> str:
    """What to say of a picture beyond :data:`MAX_PIXELS`."""
    return f"{width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels"


#: NAL units with a picture's own numbers: kinds of H.264 (table 7-1) and of HEVC (table 7-1).
_SLICES = {"h264": lambda first: 1 <= first & 31 <= 5, "hevc": lambda first: first >> 1 & 63 <= 31}
#: Codecs of which :func:`packet_fault` knows something.
CHECKED = frozenset(("mjpeg", *_SLICES))
#: Zeros that no start of a unit follows.
_HOLE = re.compile(rb"\x00{8}[^\x00\x01]")


def packet_fault(codec: str, packet: bytes, sized: bool) -> str:
    """What is wrong with an encoded picture of a video; of codecs other than JPEG, H.264 and HEVC nothing is known.

    ``sized``: units come behind their length of four bytes, as in MP4, and not behind start codes.
    """
    if codec == "mjpeg":
        fault = jpeg_fault(packet)
        return jpeg_fault(packet + EOI) if fault == TRUNCATED else fault
    if codec not in _SLICES:
        return ""
    if not sized:
        return "damaged: zeros within it" if _HOLE.search(packet) else ""
    position = 0
    while position + 4 < len(packet):
        end = position + 4 + int.from_bytes(packet[position : position + 4], "big")
        if end > len(packet):
            return "damaged: a part reaches beyond it"
        # Three zeros are never written within a unit (ITU-T H.264, 7.4.1), and a lost sector is full of them.
        unit = packet[position + 4 : end].rstrip(b"\0")
        if unit and _SLICES[codec](unit[0]) and b"\0\0\0" in unit:
            return "damaged: zeros within it"
        position = end
    return ""
