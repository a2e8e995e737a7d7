"""Colour profiles (ICC): photos that mean other colours than sRGB by their numbers, brought to sRGB.

Phones and cameras write Display P3 or Adobe RGB; read as sRGB, such a photo is paler than it was. Pillow's ImageCms
(Little CMS) converts, before anything else is done to a picture: what is painted is integers from there on. Whether a
profile is sRGB is decided here, from its numbers and without Pillow, so such photos are the same everywhere.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

#: What to say where a photo has another profile and nothing can convert it.
MISSING = "its colours are not sRGB and are taken for it; Pillow converts them: pip install pillow"
DAMAGED = "its colour profile is damaged; its colours are taken for sRGB"
OTHER = "its colour profile is for other numbers than red, green and blue, or grey; its colours are taken for sRGB"
#: Bytes of a profile, at most; those of printers, for CMYK, have a megabyte or two.
_MOST = 4 << 20
#: sRGB's red, green and blue as profiles hold them, adapted to D50 (IEC 61966-2-1; ICC.1:2010, annex E), and how far
#: those of another maker's sRGB are from them.
_PRIMARIES = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
_NEAR = 0.003
#: sRGB's curve at two places; a plain exponent of 2.2 differs at the first by 0.0037.
_CURVE, _CURVE_NEAR = {0.1: 0.010023, 0.5: 0.214041}, 0.0015
#: Rows that are converted together: a bound on memory.
_ROWS = 512


def find_profile(data: bytes) -> bytes | None:
    """The ICC profile in a JPEG, PNG, WebP or TIFF file; None where there is none."""
    if data.startswith(b"\xff\xd8"):
        parts = dict(_jpeg_parts(data))
        return b"".join(parts[number] for number in sorted(parts)) or None
    if data.startswith(b"\x89PNG"):
        position = 8
        while position + 12 <= len(data) and data[position + 4 : position + 8] not in (b"IDAT", b"IEND"):
            end = position + 8 + int.from_bytes(data[position : position + 4], "big")
            if data[position + 4 : position + 8] == b"iCCP":
                _, _, packed = data[position + 8 : end].partition(b"\0")
                try:
                    return zlib.decompressobj().decompress(packed[1:], _MOST) or None
                except zlib.error:
                    return b"damaged"
            position = end + 4
        return None
    if data.startswith(b"RIFF"):
        position = 12
        while position + 8 <= len(data):
            size = int.from_bytes(data[position + 4 : position + 8], "little")
            if data[position : position + 4] == b"ICCP":
                return data[position + 8 : position + 8 + min(size, _MOST)]
            position += 8 + size + size % 2
        return None
    return _in_tiff(data) if data.startswith((b"II*\0", b"MM\0*")) else None


def _jpeg_parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbered parts of a JPEG's profile (ICC.1:2010, annex B.4), up to the picture itself."""
    position, total = 2, 0
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, size = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA or size < 2:
            return
        body = data[position + 4 : position + 2 + size]
        if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            total += len(body)
            if total > _MOST:
                return
            yield body[12], body[14:]
        position += 2 + size


def _in_tiff(data: bytes) -> bytes | None:
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4) if len(data) >= 8 else (0,)
    if not 8 <= start <= len(data) - 2:
        return None
    (count,) = struct.unpack_from(order + "H", data, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, _, size, place = struct.unpack_from(order + "HHII", data, at)
        if tag == 34675:
            return data[place : place + size] if size <= _MOST else b"damaged"
    return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """A profile's tags (ICC.1:2010, 7.3); one that lies outside is left out."""
    (count,) = struct.unpack_from(">I", profile, 128) if len(profile) >= 132 else (0,)
    found = dict[bytes, bytes]()
    for at in range(132, min(132 + 12 * min(count, 200), len(profile) - 11), 12):
        name, place, size = struct.unpack_from(">4sII", profile, at)
        found[name] = profile[place : place + size]
    return found


def _curve_at(tag: bytes, x: float) -> float | None:
    """A tone curve at x, both of 0 to 1 (ICC.1:2010, 10.5 and 10.15); None for what is no curve."""
    kind = tag[:4]
    if kind == b"curv" and len(tag) >= 12:
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        values = np.frombuffer(tag, ">u2", min(count, (len(tag) - 12) // 2), 12)
        if count == 1 and len(values):
            return float(x ** (values[0] / 256))
        return float(np.interp(x * (len(values) - 1), range(len(values)), values) / 65535) if len(values) > 1 else None
    if kind == b"para" and len(tag) >= 16:
        form = int.from_bytes(tag[8:10], "big")
        count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(form, 0)
        if count == 0 or len(tag) < 12 + 4 * count:
            return None
        g, a, b, c, d, e, f = [n / 65536 for n in struct.unpack_from(f">{count}i", tag, 12)] + [0.0] * (7 - count)
        if form == 0:
            return float(x**g)
        if form in (3, 4):
            return float((a * x + b) ** g + e if x >= d else c * x + f) if a * x + b > 0 else None
        return float((a * x + b) ** g + c) if a * x + b > 0 else c
    return None


def is_srgb(profile: bytes) -> bool:
    """Whether a profile means sRGB, by its primaries and curves, whatever it is called."""
    if profile[16:20] != b"RGB ":
        return False
    tags = _tags(profile)
    if not set(_PRIMARIES) <= set(tags):
        return b"sRGB" in tags.get(b"desc", b"").replace(b"\0", b"")
    for name, wanted in _PRIMARIES.items():
        if len(tags[name]) < 20:
            return False
        found = (n / 65536 for n in struct.unpack_from(">3i", tags[name], 8))
        if any(abs(a - b) > _NEAR for a, b in zip(found, wanted, strict=True)):
            return False
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        for x, wanted_value in _CURVE.items():
            value = _curve_at(tags.get(name, b""), x)
            if value is None or abs(value - wanted_value) > _CURVE_NEAR:
                return False
    return True


def to_srgb(image: np.ndarray, profile: bytes) -> tuple[np.ndarray, str]:
    """uint8 [H, W, 3] in the colours of ``profile`` as sRGB, and "", or as it is, and one line that says why."""
    kind = profile[16:20]
    if profile[36:40] != b"acsp":
        return image, DAMAGED
    if is_srgb(profile):
        return image, ""
    if kind not in (b"RGB ", b"GRAY"):
        return image, OTHER
    try:
        from PIL import Image, ImageCms
    except ImportError:
        return image, MISSING
    grey = kind == b"GRAY"
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(_File(profile)),
            ImageCms.createProfile("sRGB"),
            "L" if grey else "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        converted = np.empty_like(image)
        for top in range(0, len(image), _ROWS):
            rows = image[top : top + _ROWS, :, 0] if grey else image[top : top + _ROWS]
            band = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(rows)), transform)
            converted[top : top + _ROWS] = np.asarray(band)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, DAMAGED
    return converted, ""


class _File:
    """Bytes as Pillow reads a profile's file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        """All of them."""
        return self._data
