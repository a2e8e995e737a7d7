"""Image files in and out: uint8 RGB arrays, bounded sizes, errors of one line.

OpenCV decodes (EXIF orientation applied; grey, CMYK, 16-bit and alpha become 8-bit RGB). For a JPEG that is
cut off or overwritten it returns a half-grey picture and no error, so its markers are walked here first.
The C libraries below OpenCV also write to file descriptor 2; ``pleinair.cli.main`` keeps that from the terminal.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import numpy as np

from pleinair import durable
from pleinair.errors import ImageError, OutputError

#: Largest picture accepted, in pixels: five times what a Pi's camera gives. ``host/__init__.py`` tells OpenCV.
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 << 20
#: How the names of image files end, in small letters, where a folder is searched for images.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_KNOWN = (_JPEG, _PNG, b"RIFF", b"II*\0", b"MM\0*", b"BM")
#: The end of a JPEG's entropy-coded data: a marker that is neither a stuffed zero, a restart nor a fill byte.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
#: What may follow a scan (ITU-T T.81, B.2.1): tables, another scan, DNL, application data, comments, the end.
_AFTER_SCAN = {0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
#: Scans of a progressive JPEG; encoders make ten or so. Pixels times scans.
_MOST_SCANS, _MOST_WORK = 100, 20 * MAX_PIXELS
_TRUNCATED = "truncated, its end is missing"
#: Newer OpenCVs decode straight into the order that is wanted.
_IN_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)


def _jpeg_fault(data: bytes) -> str:
    """What is wrong with a JPEG's markers from its first to its EOI (ITU-T T.81, annex B), or nothing."""
    position, scans, pixels = 2, 0, 0
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
        if marker == 0xDA:
            scans += 1
            if scans > _MOST_SCANS or scans * pixels > _MOST_WORK:
                return f"its {scans} scans and more would take too long"
            found = _MARKER.search(data, position)
            if found is None:
                return _TRUNCATED
            if found[1][0] not in _AFTER_SCAN:
                return f"damaged in the middle, at byte {found.start()}"
            position = found.start()
    return _TRUNCATED


def _is_known(data: bytes) -> bool:
    """Whether a file is of a kind that is read here, by its first bytes; OpenCV would try others, without a bound."""
    return data.startswith(_KNOWN) and (not data.startswith(b"RIFF") or data[8:12] == b"WEBP")


def _fault(data: bytes) -> str:
    if data.startswith(_JPEG):
        return _jpeg_fault(data)
    if not data.startswith(_PNG):
        return ""
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    if width * height > MAX_PIXELS:
        return _too_large(width, height)
    return "" if _PNG_END in data else _TRUNCATED


def _too_large(width: int, height: int) -> str:
    return f"{width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels"


def decode_image(data: bytes, name: str) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3] RGB. Raises ImageError, which calls it ``name``."""
    if not data:
        raise ImageError(f"image {name}: the file is empty")
    if not _is_known(data):
        raise ImageError(f"image {name}: not an image that is read here (JPEG, PNG, WebP, TIFF, BMP)")
    if fault := _fault(data):
        raise ImageError(f"image {name}: {fault}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _IN_RGB or cv2.IMREAD_COLOR)
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
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ImageError(f"image {path}: {'a folder' if path.is_dir() else 'a device or pipe'}, not a file")
        if size > MAX_BYTES:
            raise ImageError(f"image {path}: larger than {MAX_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"image {path}: {error.strerror}") from error
    return decode_image(data, str(path))


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


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB to ``path`` (its suffix says the format), whole or not at all.

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
    write_bytes(path, data.tobytes())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all (:func:`pleinair.durable.write_file`). Raises OutputError."""
    check_writable(path)
    try:
        durable.write_file(path, data, shared=True)
    except OSError as error:
        raise OutputError(f"output {path}: {error.strerror}") from error
