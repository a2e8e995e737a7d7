"""When and where a photo was taken: the EXIF part of image files (CIPA DC-008), read without trust.

The part is a TIFF structure. Nothing of it is believed: an offset that leads outside means that there is no such field.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

_ORIENTATION, _CHANGED, _MORE, _PLACE, _TAKEN, _ZONE = 0x0112, 0x0132, 0x8769, 0x8825, 0x9003, 0x9011
#: Fields that say where a TIFF's own picture stands.
_STRIPS = (0x0111, 0x0144)
_TIME = re.compile(r"([0-9]{4}):([0-9]{2}):([0-9]{2}) ([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?")
#: Where the part begins in a HEIC file.
_IN_BOXES = re.compile(rb"Exif\x00\x00(II\*\x00|MM\x00\*)")
#: A place as ISO 6709 writes it.
_ISO_PLACE = re.compile(r"[+-][0-9.]{2,12}[+-][0-9.]{3,13}(?:[+-][0-9.]{1,9})?(?:CRS[A-Z0-9_]{1,16})?/?")
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_PNG = b"\x89PNG\r\n\x1a\n"
_MARK = b"Exif\0\0"
#: Fields of a directory that are looked at, at most.
_MOST = 200


def find_exif(data: bytes) -> bytes | None:
    """The EXIF part of an image file, None where there is none.

    Of a JPEG and most PNGs the beginning is enough. A TIFF file is such a part itself.
    """
    if data.startswith((b"II*\0", b"MM\0*")):
        return data
    if data[4:8] == b"ftyp":
        found = _IN_BOXES.search(data)
        return data[found.start(1) : found.start(1) + 65_000] if found else None
    if data.startswith(b"RIFF"):
        position = 12
        while position + 8 <= len(data):
            size = int.from_bytes(data[position + 4 : position + 8], "little")
            if data[position : position + 4] == b"EXIF":
                return data[position + 8 : position + 8 + size].removeprefix(_MARK)
            position += 8 + size + size % 2
        return None
    if data.startswith(_PNG):
        position = 8
        while position + 8 <= len(data):
            end = position + 8 + int.from_bytes(data[position : position + 4], "big")
            if data[position + 4 : position + 8] == b"eXIf" and end <= len(data):
                return data[position + 8 : end]
            position = end + 4
        return None
    position = 2
    while data.startswith(b"\xff\xd8") and data[position : position + 1] == b"\xff" and position + 4 <= len(data):
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


def _text(part: bytes, at: int, values: int) -> str:
    """A field of letters; up to four stand in the entry itself."""
    start = at if values <= 4 else _number(part, at)
    return part[start : start + min(values, 64)].partition(b"\0")[0].decode("ascii", "replace")


def _read(part: bytes) -> tuple[dict[int, str], dict[int, tuple[int, int]]]:
    """The texts of times by tag, and where the fields of the place are: (where the value stands, how many values)."""
    texts, place = dict[int, str](), dict[int, tuple[int, int]]()
    directories = [_number(part, 4)]
    for offset in directories:
        for tag, at, values in _fields(part, offset):
            if tag == _MORE and len(directories) == 1:
                directories.append(_number(part, at))
            elif tag == _PLACE and offset == directories[0]:
                place = {kind: (where, count) for kind, where, count in _fields(part, _number(part, at)) if kind <= 6}
            elif tag in (_CHANGED, _TAKEN, _ZONE) and 0 < values <= 64:
                texts[tag] = _text(part, at, values)
    return texts, place


def taken_at(part: bytes) -> str | None:
    """When a photo was taken, on the camera's clock, as ``2026-05-03 14:20``; None where it does not say so."""
    found = when(part)
    return None if found is None else found.strftime("%Y-%m-%d %H:%M")


def when(part: bytes) -> datetime.datetime | None:
    """When a photo was taken, to the second; with its zone where the camera noted it. None where it does not say so."""
    texts, _ = _read(part)
    for tag in (_TAKEN, _CHANGED):
        match = _TIME.match(texts.get(tag, ""))
        if match is not None:
            zone = _OFFSET.fullmatch(texts.get(_ZONE, "").strip()) if tag == _TAKEN else None
            try:
                away = datetime.timedelta(hours=int(zone[2]), minutes=int(zone[3])) if zone else None
                away = -away if zone and away is not None and zone[1] == "-" else away
                info = None if away is None else datetime.timezone(away)
                year, month, day, hour, minute, second = (int(number or 0) for number in match.groups())
                return datetime.datetime(year, month, day, hour, minute, second, tzinfo=info)
            except ValueError:
                continue
    return None


def is_damaged(part: bytes) -> bool:
    """Whether an EXIF part is no such structure, or holds a time that is none; an empty one, or none, is no damage."""
    start = _number(part, 4)
    if part[:4] not in (b"II*\0", b"MM\0*") or not 8 <= start <= len(part) - 2:
        return True
    texts, _ = _read(part)
    given = [text for tag in (_TAKEN, _CHANGED) if (text := texts.get(tag, "")).strip(" :0")]
    return bool(given) and when(part) is None


def place_of(part: bytes) -> str | None:
    """Where a photo was taken, as ISO 6709 writes it (``+52.5200+013.4050/``); None where it does not say so."""
    _, fields = _read(part)
    numbers = []
    for side, letters, most in ((1, "NS", 90), (3, "EW", 180)):
        if side not in fields or side + 1 not in fields or fields[side + 1][1] != 3:
            return None
        letter, start = _text(part, *fields[side]).upper(), _number(part, fields[side + 1][0])
        if start + 24 > len(part) or letter not in tuple(letters):
            return None
        halves = [_number(part, start + 4 * i) for i in range(6)]
        if not all(halves[1::2]):
            return None
        value = sum(a / b / sixty for a, b, sixty in zip(halves[::2], halves[1::2], (1, 60, 3600), strict=True))
        if value > most:
            return None
        numbers.append(-value if letter == letters[1] else value)
    return f"{numbers[0]:+08.4f}{numbers[1]:+09.4f}/"


def about(part: bytes) -> dict[str, str]:
    """What a frame keeps of its photo's EXIF part: ``taken`` to be read by people, ``date`` (ISO 8601), ``place``."""
    time, place = when(part), place_of(part)
    found = {} if time is None else {"taken": time.strftime("%Y-%m-%d %H:%M"), "date": time.isoformat()}
    return found if place is None else {**found, "place": place}


def film_tags(told: Mapping[str, Any]) -> dict[str, str]:
    """A film's tags, of what its first frame keeps of its photo or video (:func:`about`).

    A time without a zone was this machine's.
    """
    tags = dict[str, str]()
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if isinstance(date := told.get("date"), str):
            # Python 3.10 reads no Z.
            time = datetime.datetime.fromisoformat(date.replace("Z", "+00:00")).astimezone(datetime.timezone.utc)
            tags["date"] = tags["creation_time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    place = told.get("place")
    if isinstance(place, str) and _ISO_PLACE.fullmatch(place):
        tags["location"] = place
    return tags


def for_painting(part: bytes) -> bytes | None:
    """The EXIF part for a picture that stands upright already, and without the photo's small picture.

    None for a part that is a picture's file itself (TIFF): its other fields would be those of another picture.
    """
    if any(tag in _STRIPS for tag, _, _ in _fields(part, _number(part, 4))):
        return None
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
