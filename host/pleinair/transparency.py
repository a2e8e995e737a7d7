"""Pictures with transparent parts: what is transparent shows white paper, not the colour that is stored under it."""

from __future__ import annotations

import cv2
import numpy as np

from pleinair.damage import PNG, TIFFS, Tiff

#: Kinds of PNG with a channel of their own for it (PNG specification, 11.2.2), and a TIFF's tag that says what a fourth
#: channel is (TIFF 6.0, section 18): opacity by which the colours are multiplied already, or not yet.
_WITH_CHANNEL, _EXTRA, _MULTIPLIED, _BARE = (4, 6), 338, 1, 2


def may_be_transparent(data: bytes) -> bool:
    """Whether an image file's first bytes say that it has transparent parts."""
    if data.startswith(PNG):
        return data[25:26] in (b"\x04", b"\x06") or data.find(b"tRNS", 33, max(33, data.find(b"IDAT"))) >= 0
    if data.startswith(b"RIFF"):
        # RFC 9649: a flag of the extended header, a bit behind the size of a lossless picture.
        at = {b"VP8X": 20, b"VP8L": 24}.get(data[12:16])
        return at is not None and len(data) > at and bool(data[at] & 0x10)
    tiff = Tiff.read(data) if data.startswith(TIFFS) else None
    return tiff is not None and tiff(277, 1) == 4 and tiff(_EXTRA, 0) in (_MULTIPLIED, _BARE)


def on_white(image: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] on white paper where int32 [H, W, 1] is below 255."""
    return np.asarray((image * opacity + 255 * (255 - opacity) + 127) // 255, np.uint8)


def decode_transparent(data: bytes, turned: int) -> np.ndarray | None:
    """A picture on white paper, uint8 [H, W, 3] in OpenCV's order; None where nothing is transparent.

    It is turned as EXIF's orientation, 1 to 8, says; a TIFF's own is known to OpenCV.
    """
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    opacity = None if whole is None else _opacity(data, whole)
    if whole is None or opacity is None:
        return None
    if whole.dtype == np.uint8 and whole.ndim == 3:
        image = whole[..., :3]
    else:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            return None
    if data.startswith(TIFFS):
        # libtiff gives the colours of 8 bits multiplied, and upright.
        if whole.dtype == np.uint8 or Tiff.read(data)(_EXTRA, 0) == _MULTIPLIED:  # type: ignore[misc]
            return np.asarray(np.minimum(image + (255 - opacity), 255), np.uint8)
        return on_white(image, opacity)
    return upright(on_white(image, opacity), turned)


def _opacity(data: bytes, whole: np.ndarray) -> np.ndarray | None:
    """The opacity of a picture that OpenCV decoded unchanged, int32 [H, W, 1] from 0 to 255; None where it has none."""
    if whole.ndim == 3 and whole.shape[2] == 4:
        alpha = whole[..., 3:].astype(np.int32)
        return alpha // 257 if whole.dtype == np.uint16 else alpha
    if data.startswith(PNG) and whole.ndim == 2:  # one grey level is transparent
        at, depth = data.find(b"tRNS", 33) + 4, data[24]
        level = int.from_bytes(data[at : at + 2], "big") * (1 if depth >= 8 else 255 // (2**depth - 1))
        return np.where(whole[..., None] == level, 0, 255).astype(np.int32)
    return None


def upright(image: np.ndarray, turned: int) -> np.ndarray:
    """An image as EXIF's orientation, 1 to 8, says that it is to be shown (CIPA DC-008, 4.6.5.1)."""
    if turned >= 5:
        image = image.transpose(1, 0, 2)
    if turned == 1:
        return image
    return np.ascontiguousarray(image[:: -1 if turned in (3, 4, 7, 8) else 1, :: -1 if turned in (2, 3, 6, 7) else 1])
