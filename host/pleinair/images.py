"""Image files in and out: uint8 RGB arrays, bounded sizes, errors of one line.

OpenCV decodes (EXIF orientation applied; grey, CMYK, 16-bit and alpha become 8-bit RGB). For a JPEG that is
cut off or overwritten it returns a half-grey picture and no error, so its markers are walked here first.
The C libraries below OpenCV also write to file descriptor 2; ``pleinair.cli.main`` keeps that from the terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pleinair import durable
from pleinair.errors import ImageError, OutputError
from pleinair.exif import find_exif, with_exif

#: Largest picture accepted, in pixels: five times what a Pi's camera gives. ``host/__init__.py`` tells OpenCV.
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 << 20
#: An EXIF part stands within so many bytes from the beginning.
_EXIF_WITHIN = 256 << 10
#: How the names of image files end, in small letters, where a folder is searched for images.
SUFFIXES = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_KNOWN = (_JPEG, _PNG, b"RIFF", b"II*\0", b"MM\0*", b"BM")
#: The end of a JPEG's entropy-coded data: a marker that is neither a stuffed zero, a restart nor a fill byte.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
#: What may follow a scan (ITU-T T.81, B.2.1): tables, another scan, DNL, application data, comments, the end.
_AFTER_SCAN = {0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
#: Scans of a progressive JPEG; encoders make ten or so. Pixels times scans.
_MOST_SCANS, _MOST_WORK = 100, 20 * MAX_PIXELS
#: So many equal bytes are no code, but what a lost sector reads as.
_ZEROS, _ONES = bytes(64), b"\xff" * 16
_EOI = b"\xff\xd9"
#: How libjpeg's remarks on a damaged picture begin, and whatever else decoders write.
_GRAVE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Invalid SOS")
_VOICES = (*_GRAVE, "libpng ", "TIFF", "Unsupported marker", "Warning: unknown JFIF", "Unknown Adobe")
#: Zeros in a row that make bytes which were left over in a picture a sign of a lost sector.
_FEW_ZEROS = 32
_HEARING = threading.Lock()
_TRUNCATED = "truncated, its end is missing"
#: Newer OpenCVs decode straight into the order that is wanted.
_IN_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)


def _jpeg_fault(data: bytes) -> str:
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
                return _too_large(int.from_bytes(at[5:7], "big"), int.from_bytes(at[3:5], "big"))
        if marker == 0xC4:
            flat |= _tables(data[position - max(2, int.from_bytes(at[:2], "big")) : position])
        if marker == 0xDA:
            scans += 1
            if scans > _MOST_SCANS or scans * pixels > _MOST_WORK:
                return f"its {scans} scans and more would take too long"
            found = _MARKER.search(data, position)
            if found is None:
                return _TRUNCATED
            if found[1][0] not in _AFTER_SCAN:
                return f"damaged in the middle, at byte {found.start()}"
            if fault := _blank_fault(data[position : found.start()], flat):
                return fault
            position = found.start()
    return _TRUNCATED


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


def _webp_fault(data: bytes) -> str:
    """What is wrong with a WebP's length, or its coded data."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return _TRUNCATED
    lossy = data.find(b"VP8 ", 12)
    return _blank_fault(data[lossy:], flat=False) if lossy >= 0 else ""


def _png_fault(data: bytes) -> str:
    """What is wrong with a PNG's chunks, each of which has a checksum (PNG specification, 5.3)."""
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    if width * height > MAX_PIXELS:
        return _too_large(width, height)
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return _TRUNCATED
        kind = data[position + 4 : position + 8]
        if kind[:1].isupper() and zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"damaged, its part {kind.decode('ascii', 'backslashreplace')} has another checksum"
        if kind == b"IEND":
            return ""
        position = end + 4
    return _TRUNCATED


@contextlib.contextmanager
def _remarks() -> Iterator[list[str]]:
    """What the C libraries below OpenCV write to file descriptor 2 meanwhile, in the end; it is their only voice.

    What is none of theirs is written there afterwards. Without a descriptor to spare nothing is heard.
    """
    heard = list[str]()
    with _HEARING, contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
            stack.callback(os.close, kept)
            ear = os.memfd_create("remarks")
            stack.callback(os.close, ear)
            os.dup2(ear, 2)
        except (OSError, AttributeError):
            yield heard
            return
        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            text = os.pread(ear, 1 << 16, 0).decode(errors="replace")
            heard += text.splitlines()
            if others := [line for line in heard if not line.startswith(_VOICES)]:
                with contextlib.suppress(OSError):
                    os.write(kept, "".join(f"{line}\n" for line in others).encode())


def _is_known(data: bytes) -> bool:
    """Whether a file is of a kind that is read here, by its first bytes; OpenCV would try others, without a bound."""
    return data.startswith(_KNOWN) and (not data.startswith(b"RIFF") or data[8:12] == b"WEBP")


def _fault(data: bytes) -> str:
    if data.startswith(_JPEG):
        return _jpeg_fault(data)
    if data.startswith(_PNG):
        return _png_fault(data)
    return _webp_fault(data) if data.startswith(b"RIFF") else ""


def _too_large(width: int, height: int) -> str:
    return f"{width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels"


def _harmless(line: str, data: bytes) -> bool:
    """Whether a JPEG is whole for all that: webcams leave bytes between its parts."""
    return "extraneous bytes" in line and bytes(_FEW_ZEROS) not in data


def _decode(data: bytes) -> np.ndarray | None:
    image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), _IN_RGB or cv2.IMREAD_COLOR)
    if image is None:
        return None
    if data.startswith((_PNG, b"RIFF")) and (hidden := _alpha(data)) is not None:
        # What is transparent shows white paper, and not the colour that happens to be stored under it.
        image = ((image * hidden + 255 * (255 - hidden) + 127) // 255).astype(np.uint8)
    return image


def _alpha(data: bytes) -> np.ndarray | None:
    """The opacity of a picture, int32 [H, W, 1] from 0 to 255; None where it has none."""
    transparent = data[25:26] in (b"\x04", b"\x06") if data.startswith(_PNG) else data[12:16] in (b"VP8X", b"VP8L")
    if not transparent:
        return None
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4:
        return None
    alpha = whole[..., 3:].astype(np.int32)
    opacity: np.ndarray = alpha // 257 if whole.dtype == np.uint16 else alpha
    return opacity


def decode_image(data: bytes, name: str) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3] RGB. Raises ImageError, which calls it ``name``."""
    if not data:
        raise ImageError(f"image {name}: the file is empty")
    if not _is_known(data):
        raise ImageError(f"image {name}: not an image that is read here (JPEG, PNG, WebP, TIFF, BMP)")
    fault = _fault(data)
    cut = fault == _TRUNCATED and data.startswith(_JPEG) and not _fault(data + _EOI)
    if cut:
        # Perhaps only the marker of its end is missing; else its decoder will say so.
        data, fault = data + _EOI, ""
    if fault:
        raise ImageError(f"image {name}: {fault}")
    try:
        with _remarks() as heard:
            image = _decode(data)
        for line in heard:
            if data.startswith(_JPEG) and line.startswith(_GRAVE) and not _harmless(line, data):
                raise ImageError(f"image {name}: {_TRUNCATED if cut else f'damaged ({line[0].lower()}{line[1:]})'}")
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(f"image {name}: larger than {MAX_PIXELS // 1_000_000} megapixels") from error
        raise ImageError(f"image {name}: damaged ({error.err})") from error
    if image is None:
        raise ImageError(f"image {name}: damaged, or of a kind that this OpenCV cannot read")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(f"image {name}: {_too_large(image.shape[1], image.shape[0])}")
    rgb: np.ndarray = image if _IN_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def read_image(path: Path) -> np.ndarray:
    """The image at ``path`` as uint8 [H, W, 3] RGB. Raises ImageError naming the file and the cause."""
    return decode_image(_read(path), str(path))


def read_photo(path: Path) -> tuple[np.ndarray, bytes | None]:
    """As :func:`read_image`, and the file's EXIF part, None where it has none."""
    data = _read(path)
    return decode_image(data, str(path)), find_exif(data[:_EXIF_WITHIN])


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ImageError(f"image {path}: {'a folder' if path.is_dir() else 'a device or pipe'}, not a file")
        if size > MAX_BYTES:
            raise ImageError(f"image {path}: larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"image {path}: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Raise OutputError when a file could not be put at ``path``, before the work for it is done."""
    try:
        if not path.parent.is_dir():
            raise OutputError(f"output {path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise OutputError(f"output {path}: a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise OutputError(f"output {path}: a device or pipe; name a file")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"output {path}: the folder {path.parent} cannot be written to")
    except OSError as error:
        raise OutputError(f"output {path}: {error.strerror}") from error


def check_image_output(path: Path) -> None:
    """Like :func:`check_writable`, and the suffix must be an image's that can be written."""
    if not path.suffix or not cv2.haveImageWriter(f"x{path.suffix}"):
        raise OutputError(f"output {path}: write .png, .jpg, .webp, .tif or .bmp")
    check_writable(path)


def write_image(path: Path, image: np.ndarray, exif: bytes | None = None) -> None:
    """Write uint8 [H, W, 3] RGB to ``path`` (its suffix says the format), whole or not at all.

    ``exif`` (:mod:`pleinair.exif`) goes into a JPEG or PNG.

    Raises OutputError when the folder is missing or cannot be written, the suffix is unknown, or the format
    does not hold so large an image.
    """
    check_image_output(path)
    try:
        done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"output {path}: {path.suffix} does not hold {image.shape[1]}x{image.shape[0]} pixels")
    write_bytes(path, data.tobytes() if exif is None else with_exif(data.tobytes(), exif))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all (:func:`pleinair.durable.write_file`). Raises OutputError."""
    check_writable(path)
    try:
        durable.write_file(path, data, shared=True)
    except OSError as error:
        raise OutputError(f"output {path}: {error.strerror}") from error
