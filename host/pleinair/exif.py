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

from pleinair.damage import webp_size

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
_TIFFS = (b"II*\0", b"MM\0*")
#: A WebP's flag of its extended header.
_HAS_EXIF = 0x08
#: Fields that say something of the photo: title, maker, model, program, time, artist, copyright.
_ABOUT = (0x010E, 0x010F, 0x0110, 0x0131, _CHANGED, 0x013B, 0x8298)
#: Fields that only their maker's programs can read, or that lead to further directories.
_ITS_OWN = (0x927C, 0xA005)
#: How each kind of number is packed, and how many of them a value has (TIFF 6.0, section 2); bytes of a field, at most.
_FORMS = {
    **{1: ("B", 1), 2: ("B", 1), 3: ("H", 1), 4: ("I", 1), 5: ("I", 2), 6: ("b", 1), 7: ("B", 1), 8: ("h", 1)},
    **{9: ("i", 1), 10: ("i", 2), 11: ("f", 1), 12: ("d", 1)},
}
_LONGEST = 16_384
#: Fields of a directory that are looked at, at most.
_MOST = 200


def find_exif(data: bytes) -> bytes | None:
    """The EXIF part of an image file, None where there is none.

    Of a JPEG and most PNGs the beginning is enough. A TIFF file is such a part itself.
    """
    if data.startswith(_TIFFS):
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


def orientation(part: bytes) -> int:
    """How a photo is to be turned, 1 (not at all) to 8 (CIPA DC-008, 4.6.5.1)."""
    little = part[:2] == b"II"
    for tag, at, _ in _fields(part, _number(part, 4)):
        if tag == _ORIENTATION:
            found = int.from_bytes(part[at : at + 2], "little" if little else "big")
            return found if 1 <= found <= 8 else 1
    return 1


def is_damaged(part: bytes) -> bool:
    """Whether an EXIF part is no such structure, or holds a time that is none; an empty one, or none, is no damage."""
    start = _number(part, 4)
    if part[:4] not in _TIFFS or not 8 <= start <= len(part) - 2:
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

    Of a part that is a picture's file itself (TIFF), what it says of the photo; None where that is nothing.
    """
    if any(tag in _STRIPS for tag, _, _ in _fields(part, _number(part, 4))):
        order, start = "<" if part[:2] == b"II" else ">", 8
        body, said = _directories(order, start, {}, part)
        return part[:4] + struct.pack(order + "I", start) + body if said else None
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
    """A JPEG, PNG, WebP or TIFF file with this EXIF part; another file, or a part too long for it, as it is."""
    if encoded.startswith(b"\xff\xd8") and len(part) < 65_000:
        segment = b"\xff\xe1" + (len(part) + 8).to_bytes(2, "big") + _MARK + part
        return encoded[:2] + segment + encoded[2:]
    if encoded.startswith(_PNG):
        body = b"eXIf" + part
        chunk = (len(part)).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        return encoded[:33] + chunk + encoded[33:]
    if encoded[:4] == b"RIFF" and encoded[12:16] in (b"VP8 ", b"VP8L"):
        # RFC 9649: an extended header goes before, with flags and the size less one.
        width, height = webp_size(encoded)
        # In a lossless picture, the bit behind its size says that it has transparency, as this one of the header does.
        flags = _HAS_EXIF | (encoded[24] & 0x10 if encoded[12:16] == b"VP8L" else 0)
        head = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X\x0a\0\0\0" + head + encoded[12:] + b"EXIF" + len(part).to_bytes(4, "little") + part
        chunks += bytes(len(part) % 2)
        return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WEBP" + chunks
    if encoded.startswith(_TIFFS):
        order, start = "<" if encoded[:2] == b"II" else ">", len(encoded) + len(encoded) % 2
        own = {tag: encoded[at - 8 : at + 4] for tag, at, _ in _fields(encoded, _number(encoded, 4))}
        body, _ = _directories(order, start, own, part)
        return encoded[:4] + struct.pack(order + "I", start) + encoded[8:].ljust(start - 8, b"\0") + body
    return encoded


def _values(part: bytes, offset: int) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """The fields of a directory with their values: tag, kind, numbers; what lies outside or is too long is left out."""
    order = "<" if part[:2] == b"II" else ">"
    for tag, at, count in _fields(part, offset):
        (kind,) = struct.unpack_from(order + "H", part, at - 6)
        form, each = _FORMS.get(kind, ("", 0))
        size = count * each * struct.calcsize("=" + form)
        start = at if size <= 4 else _number(part, at)
        if 0 < size <= _LONGEST and start + size <= len(part):
            yield tag, kind, struct.unpack_from(f"{order}{count * each}{form}", part, start)


def _directories(order: str, start: int, own: dict[int, bytes], part: bytes) -> tuple[bytes, bool]:
    """A TIFF's directory, to stand at ``start``, of its ``own`` entries and what ``part`` says of a photo.

    And whether that is anything.
    """
    first = {tag: (kind, values) for tag, kind, values in _values(part, _number(part, 4))}
    about_it = {tag: field for tag, field in first.items() if tag in _ABOUT and tag not in own}
    below = dict[int, dict[int, tuple[int, tuple[Any, ...]]]]()
    for tag in (_MORE, _PLACE):
        if tag in first and isinstance(first[tag][1][0], int):
            inner = _values(part, first[tag][1][0])
            below[tag] = {inside: (kind, values) for inside, kind, values in inner if inside not in _ITS_OWN}
    below = {tag: fields for tag, fields in below.items() if fields}
    # The directories within stand behind this one, whose length does not depend on where they stand.
    length, inside, places = len(_directory(order, start, own, about_it | dict.fromkeys(below, (4, (0,))))), b"", {}
    for tag, fields in below.items():
        places[tag] = (4, (start + length + len(inside),))
        inside += _directory(order, start + length + len(inside), {}, fields)
    return _directory(order, start, own, about_it | places) + inside, bool(about_it or below)


def _directory(order: str, start: int, own: dict[int, bytes], fields: dict[int, tuple[int, tuple[Any, ...]]]) -> bytes:
    """A directory of finished entries and others, and behind it the values that are too long for theirs."""
    entries, behind = dict(own), b""
    after = start + 2 + 12 * len(own.keys() | fields) + 4
    for tag, (kind, values) in fields.items():
        form, each = _FORMS[kind]
        packed = struct.pack(f"{order}{len(values)}{form}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(behind))
            behind += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries[tag] = struct.pack(order + "HHI", tag, kind, len(values) // each) + place
    return (
        struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4) + behind
    )
