"""Damage in HEIC photos, found in their coded parts' bytes before anything decodes them.

A file is made of boxes (ISO/IEC 14496-12); one of them lists the parts of the picture and where each stands (ISO/IEC
23008-12). Nothing of it is believed: what leads outside is left out. HEVC has no checksum, so bytes that were replaced
by others in the middle of a part are not found; holes and what is missing are.
"""

from __future__ import annotations

from collections.abc import Iterator

from pleinair.damage import TRUNCATED, packet_fault

#: Parts and stretches that are looked at, at most; a phone's photo has some fifty of one stretch each.
_MOST = 4096
#: Equal bytes that no code makes.
_ONES = b"\xff" * 256


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: kind, where the content begins and ends; one that leads outside ends there."""
    while start + 8 <= end:
        size, head = _number(data, start, 4), 8
        if size == 1:
            size, head = _number(data, start + 8, 8), 16
        stop = end if size == 0 else min(start + size, end)
        if size and size < head:
            return
        yield data[start + 4 : start + 8], start + head, stop
        start = stop


def _coded_items(data: bytes, start: int, end: int) -> set[int]:
    """The numbers of HEVC's parts in a list of parts (23008-12, 8.11.6 of 14496-12)."""
    found = set[int]()
    first = start + (8 if data[start] else 6)
    for kind, at, _ in _boxes(data, first, end):
        wide = data[at : at + 1] == b"\x03"
        if kind == b"infe" and data[at : at + 1] in (b"\x02", b"\x03") and len(found) < _MOST:
            number = at + 4
            if data[number + (6 if wide else 4) :][:4] in (b"hvc1", b"hev1"):
                found.add(_number(data, number, 4 if wide else 2))
    return found


def _places(data: bytes, start: int, end: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Where each part stands in the file (14496-12, 8.11.3): its number, and its stretches as (place, length)."""
    version, sizes = data[start], _number(data, start + 4, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    at = start + 6
    count, at = _number(data, at, wide), at + wide
    for _ in range(min(count, _MOST)):
        number, at = _number(data, at, wide), at + wide
        way = _number(data, at, 2) & 15 if version in (1, 2) else 0
        at += 2 * (version in (1, 2)) + 2
        base, at = _number(data, at, base_size), at + base_size
        stretches, at = _number(data, at, 2), at + 2
        if at + stretches * (index_size + offset_size + length_size) > end:
            return
        places = list[tuple[int, int]]()
        for _ in range(min(stretches, _MOST)):
            at += index_size
            offset, length = _number(data, at, offset_size), _number(data, at + offset_size, length_size)
            at += offset_size + length_size
            places.append((base + offset, length))
        if way == 0:  # in the file itself
            yield number, places


def heif_fault(data: bytes) -> str:
    """What is wrong with the coded parts of a HEIC photo; "" for nothing, or nothing that can be seen."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind != b"meta" or end < start + 4:
            continue
        inside = {name: (at, stop) for name, at, stop in _boxes(data, start + 4, end) if stop >= at + 8}
        if not {b"iinf", b"iloc"} <= inside.keys():
            return ""
        coded = _coded_items(data, *inside[b"iinf"])
        for number, places in _places(data, *inside[b"iloc"]):
            if number not in coded:
                continue
            if any(place + length > len(data) for place, length in places):
                return TRUNCATED
            if sum(length for _, length in places) > len(data):
                return "damaged: its parts are longer than the file"
            part = b"".join(data[place : place + length] for place, length in places)
            if fault := packet_fault("hevc", part, True):
                return fault
            if (at := part.find(_ONES)) >= 0:
                return f"damaged in the middle: {len(_ONES)} equal bytes from {at} of its coded data on"
        return ""
    return ""
