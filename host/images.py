"""Image files in and out: uint8 RGB arrays, bounded sizes, errors of one line.

OpenCV decodes (EXIF orientation applied; grey, CMYK, 16-bit and alpha become 8-bit RGB). It returns a
half-grey picture for a truncated JPEG without a word, so the file's end is checked here first.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from host.errors import ImageError, OutputError

#: Largest picture accepted, in pixels: five times what a Pi's camera gives. ``host/__init__.py`` tells OpenCV.
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 << 20
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def _is_truncated(data: bytes) -> bool:
    if data.startswith(_JPEG):
        scan = data.find(b"\xff\xda")
        return scan < 0 or data.rfind(b"\xff\xd9") < scan
    return data.startswith(_PNG) and b"IEND" not in data[-64:]


def decode_image(data: bytes, name: str) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3] RGB. Raises ImageError, which calls it ``name``."""
    if not data:
        raise ImageError(f"image {name}: the file is empty")
    if _is_truncated(data):
        raise ImageError(f"image {name}: truncated, its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(f"image {name}: larger than {MAX_PIXELS // 1_000_000} megapixels") from error
        raise ImageError(f"image {name}: damaged ({error.err})") from error
    if image is None:
        raise ImageError(f"image {name}: not an image this OpenCV can read (JPEG, PNG, WebP, TIFF, BMP)")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(f"image {name}: larger than {MAX_PIXELS // 1_000_000} megapixels")
    rgb: np.ndarray = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def read_image(path: Path) -> np.ndarray:
    """The image at ``path`` as uint8 [H, W, 3] RGB. Raises ImageError naming the file and the cause."""
    try:
        if not path.is_file():
            raise ImageError(f"image {path}: no such file")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"image {path}: larger than {MAX_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"image {path}: {error.strerror}") from error
    return decode_image(data, str(path))


def check_writable(path: Path) -> None:
    """Raise OutputError when a file could not be put at ``path``, before the work for it is done."""
    if not path.parent.is_dir():
        raise OutputError(f"output {path}: the folder {path.parent} does not exist")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OutputError(f"output {path}: cannot be written")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB to ``path`` (its suffix says the format), whole or not at all.

    Raises OutputError when the folder is missing or cannot be written, or the suffix is unknown.
    """
    try:
        done, data = cv2.imencode(path.suffix or " ", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"output {path}: write .png, .jpg, .webp, .tif or .bmp")
    write_bytes(path, data.tobytes())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside its place first, synced, then renamed. Raises OutputError."""
    check_writable(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise OutputError(f"output {path}: {error.strerror}") from error
