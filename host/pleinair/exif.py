"""When and where a photo was taken: the EXIF part of JPEG and PNG files (CIPA DC-008), read without trust.

The part is a TIFF structure. Nothing of it is believed: an offset that leads outside means that there is no such field.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

_ORIENTATION, _CHANGED, _MORE, _TAKEN = 0x0112, 0x0132, 0x8769, 0x9003
_PNG = b"\x89PNG\r\n\x1a\n"
_MARK = b"Exif\0\0"
#: Fields of a directory that are looked at, at most.
_MOST = 200


def find_exif(data: bytes) -> bytes | None:
    """The EXIF part of an image file, of which the beginning is enough; None where there is none."""
    if data.startswith(_PNG):
        position = 8
        while position + 8 <= len(data):
            end = position + 8 + int.from_bytes(data[position : position + 4], "big")
            if data[position + 4 : position + 8] == b"eXIf" and end <= len(data):
                return data[position + 8 : end]
            position = end + 4
        return None
    position = 2
    while data.startswith(b"\xff\xd8") and data[position : position + 1] == b"\xff":
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == 0xE1 and data[position + 4 : position + 10] == _MARK and end <= len(data):
            return data[position + 10 : end]
        if data[position + 1] == 0xDA or end <= position + 3:
            return None
        position = end
    return None


def _fields(part: bytes, offset: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a directory: tag, where the entry's value stands, how many values."""
    order = "<" if part[:2] == b"II" else ">"
    if offset + 2 > len(part):
        return
    (count,) = struct.unpack_from(order + "H", part, offset)
    for number in range(min(count, _MOST)):
        at = offset + 2 + 12 * number
        if at + 12 > len(part):
            return
        tag, _, values = struct.unpack_from(order + "HHI", part, at)
        yield tag, at + 8, values


def _number(part: bytes, at: int) -> int:
    return int.from_bytes(part[at : at + 4], "little" if part[:2] == b"II" else "big")


def taken_at(part: bytes) -> str | None:
    """When a photo was taken, on the camera's clock, as ``2026-05-03 14:20``; None where it does not say so."""
    found = dict[int, str]()
    directories = [_number(part, 4)]
    for offset in directories:
        for tag, at, values in _fields(part, offset):
            if tag == _MORE and len(directories) == 1:
                directories.append(_number(part, at))
            elif tag in (_CHANGED, _TAKEN) and values <= 20:
                start = _number(part, at)
                found[tag] = part[start : start + values].decode("ascii", "replace")
    for tag in (_TAKEN, _CHANGED):
        match = re.match(r"([0-9]{4}):([0-9]{2}):([0-9]{2}) ([0-9]{2}:[0-9]{2})", found.get(tag, ""))
        if match is not None and match[1] != "0000":
            return f"{match[1]}-{match[2]}-{match[3]} {match[4]}"
    return None


def for_painting(part: bytes) -> bytes:
    """The EXIF part for a picture that stands upright already, and without the photo's small picture."""
    kept, little = bytearray(part), part[:2] == b"II"
    offset, end = _number(part, 4), 0
    for tag, at, _ in _fields(part, offset):
        end = at + 4
        if tag == _ORIENTATION:
            kept[at : at + 2] = (1).to_bytes(2, "little" if little else "big")
    if end and end + 4 <= len(kept):
        kept[end : end + 4] = bytes(4)  # no further directory: it would be the small picture's
    return bytes(kept)


def with_exif(encoded: bytes, part: bytes) -> bytes:
    """A JPEG or PNG file with this EXIF part; another file, or a part that is too long for it, as it is."""
    if encoded.startswith(b"\xff\xd8") and len(part) < 65_000:
        segment = b"\xff\xe1" + (len(part) + 8).to_bytes(2, "big") + _MARK + part
        return encoded[:2] + segment + encoded[2:]
    if encoded.startswith(_PNG):
        body = b"eXIf" + part
        chunk = (len(part)).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        return encoded[:33] + chunk + encoded[33:]
    return encoded
