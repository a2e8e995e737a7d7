"""Image files in and out: uint8 RGB arrays, bounded sizes, errors of one line.

OpenCV decodes (EXIF orientation applied; grey, CMYK, 16-bit and alpha become 8-bit RGB). For a picture that is cut off
or overwritten it often returns a half-grey one and no error, so :mod:`pleinair.damage` looks at its bytes first.
The C libraries below OpenCV also write to file descriptor 2; ``pleinair.cli.main`` keeps that from the terminal.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pleinair import durable
from pleinair.damage import (
    EOI,
    JPEG,
    PNG,
    TIFFS,
    TRUNCATED,
    bare_webp,
    is_plain_tiff,
    jpeg_work,
    picture_fault,
    shortened_webp,
    too_large,
)
from pleinair.damage import MAX_PIXELS as MAX_PIXELS
from pleinair.decoder import SHARED, serve
from pleinair.errors import ImageError, OutputError
from pleinair.exif import find_exif, orientation, with_exif
from pleinair.heif import heif_fault
from pleinair.profiles import find_profile, to_srgb
from pleinair.text import one_line
from pleinair.transparency import decode_transparent, may_be_transparent, on_white, upright

MAX_BYTES = 256 << 20
#: How the names of images end that are written. OpenCV writes further kinds, which lose levels or hold other numbers.
_WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
#: An EXIF part stands within so many bytes from the beginning.
_EXIF_WITHIN = 256 << 10
#: How the names of image files end, in small letters, where a folder is searched for images.
SUFFIXES = (".bmp", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: What to say to somebody with HEIC files and without what reads them.
NO_HEIC = "HEIC needs pillow-heif: pip install '.[heic]' in a checkout of pleinair"
#: Names of HEVC pictures in a file's first box.
_HEIC = (b"heic", b"heix", b"heim", b"heis")
#: Pixels times scans that are decoded in this process: a few seconds of a Pi.
_MUCH_WORK = 200_000_000
_KNOWN = (JPEG, PNG, b"RIFF", *TIFFS, b"BM")
#: How libjpeg's remarks on a damaged picture begin, and whatever else decoders write.
_GRAVE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Invalid SOS")
#: And those of libtiff: its errors, and warnings that stand for as much.
_TIFF_GRAVE = re.compile(
    r"TIFF_Error|Discarding [0-9]+ bytes|not yet in table|not terminated with EOI|Corrupt JPEG|Premature end"
    r"|^TIFF\w+: (?!Warning)|Decode: (?!Warning)"
)
_VOICES = (*_GRAVE, "libpng ", "TIFF", "Unsupported marker", "Warning: unknown JFIF", "Unknown Adobe")
#: Zeros in a row that make bytes which were left over in a picture a sign of a lost sector.
_FEW_ZEROS = 32
_HEARING = threading.Lock()
#: Newer OpenCVs decode straight into the order that is wanted.
_IN_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)


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
            if others := [line for line in heard if line and not line.startswith(_VOICES) and "grfmt_tiff" not in line]:
                with contextlib.suppress(OSError):
                    os.write(kept, "".join(f"{line}\n" for line in others).encode())


def _is_known(data: bytes) -> bool:
    """Whether a file is of a kind that is read here, by its first bytes; OpenCV would try others, without a bound."""
    return data.startswith(_KNOWN) and (not data.startswith(b"RIFF") or data[8:12] == b"WEBP")


def _harmless(line: str, data: bytes) -> bool:
    """Whether a JPEG is whole for all that: webcams leave bytes between its parts."""
    return "extraneous bytes" in line and bytes(_FEW_ZEROS) not in data


def _grave(heard: list[str], data: bytes) -> str:
    """The first of the decoder's remarks that says that the picture is damaged; "" where there is none."""
    for line in heard:
        if data.startswith(JPEG) and line.startswith(_GRAVE) and not _harmless(line, data):
            return f"{line[0].lower()}{line[1:]}"
        if data.startswith(TIFFS) and _TIFF_GRAVE.search(line):
            return line.rpartition("TIFF_")[2].partition(" ")[2] or line
    return ""


@contextlib.contextmanager
def _speaking(data: bytes) -> Iterator[None]:
    """libtiff is heard through OpenCV's log, whose level may be too high for it."""
    log = getattr(getattr(cv2, "utils", None), "logging", None) if data.startswith(TIFFS) else None
    before = log.getLogLevel() if log else 0
    if log:
        log.setLogLevel(max(before, log.LOG_LEVEL_WARNING))
    try:
        yield
    finally:
        if log:
            log.setLogLevel(before)


def _needs_less(data: bytes) -> bool:
    """Whether a WebP can be decoded without its last bytes, which no whole one can."""
    shorter = shortened_webp(data)
    try:
        return shorter is not None and cv2.imdecode(np.frombuffer(shorter, np.uint8), cv2.IMREAD_COLOR) is not None
    except cv2.error:
        return False


def _decode(data: bytes, turned: int) -> np.ndarray | None:
    """A picture, in the order of :data:`_IN_RGB`; None where OpenCV cannot decode it.

    ``turned``, EXIF's orientation, is needed where the picture has transparent parts: else OpenCV knows it.
    """
    if may_be_transparent(data) and (shown := decode_transparent(data, turned)) is not None:
        return cv2.cvtColor(shown, cv2.COLOR_BGR2RGB) if _IN_RGB else shown
    image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), _IN_RGB or cv2.IMREAD_COLOR)
    return image


@dataclass(frozen=True)
class Photo:
    """A photo: uint8 [H, W, 3] RGB in sRGB, its file's EXIF part, and a line on its colours, "" for nothing to say."""

    image: np.ndarray
    exif: bytes | None = None
    remark: str = ""


def decode_image(data: bytes, name: str) -> np.ndarray:
    """An encoded image as uint8 [H, W, 3] RGB, in sRGB. Raises ImageError, which calls it ``name``."""
    return decode_photo(data, name).image


def decode_photo(data: bytes, name: str, *, apart: bool = False) -> Photo:
    """A photo from its file's bytes; ``apart`` in the bounded child, whatever it is. Raises ImageError."""
    if _is_heic(data) and importlib.util.find_spec("pillow_heif") is None:
        raise ImageError(f"image {name}: {NO_HEIC}")
    if apart or _takes_long(data):
        image, told = SHARED.decode(data, name)
        exif = told.get("exif")
        return Photo(image, None if exif is None else bytes.fromhex(exif), told.get("remark", ""))
    try:
        return _decode_here(data)
    except ImageError as error:
        raise ImageError(f"image {name}: {error}") from error.__cause__


def _takes_long(data: bytes) -> bool:
    """Whether a picture's bytes may ask for much more time than its pixels say."""
    if data.startswith(JPEG):
        return jpeg_work(data) > _MUCH_WORK
    return _is_heic(data) or (data.startswith(TIFFS) and not is_plain_tiff(data))


def serve_pictures() -> None:
    """The program of :class:`pleinair.decoder.Decoder`'s child."""

    def decode(data: bytes) -> tuple[np.ndarray, dict[str, str]]:
        photo = _decode_here(data)
        told = {"remark": photo.remark} | ({} if photo.exif is None else {"exif": photo.exif.hex()})
        return photo.image, told

    cv2.setNumThreads(1)
    serve(decode)


def _decode_here(data: bytes) -> Photo:
    """As :func:`decode_photo`, in this process; the errors name no file."""
    if not data:
        raise ImageError("the file is empty")
    if _is_heic(data):
        return _decode_heic(data)
    if not _is_known(data):
        raise ImageError("not an image that is read here (JPEG, PNG, WebP, TIFF, BMP, HEIC)")
    exif, profile = _exif_in(data), find_profile(data)
    fault = picture_fault(data)
    cut = fault == TRUNCATED and data.startswith(JPEG) and not picture_fault(data + EOI)
    if cut:
        # Perhaps only the marker of its end is missing; else its decoder will say so.
        data, fault = data + EOI, ""
    if fault:
        raise ImageError(fault)
    turned = 1 if exif is None else orientation(exif)
    bare = bare_webp(data) if data.startswith(b"RIFF") else None
    unseen = bare is not None and len(bare) < len(data)  # then OpenCV does not see how it is turned
    data = bare if unseen and bare is not None else data
    try:
        with _remarks() as heard, _speaking(data):
            image = _decode(data, 1 if unseen else turned)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(f"larger than {MAX_PIXELS // 1_000_000} megapixels") from error
        raise ImageError(f"damaged ({error.err})") from error
    if image is None:
        raise ImageError("damaged, or of a kind that this OpenCV cannot read")
    if remark := _grave(heard, data):
        raise ImageError(TRUNCATED if cut else f"damaged ({remark})")
    if data.startswith(b"RIFF") and _needs_less(data):
        raise ImageError("damaged, its decoder does not need its end")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(too_large(image.shape[1], image.shape[0]))
    rgb: np.ndarray = upright(image if _IN_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), turned if unseen else 1)
    if profile is None:
        return Photo(rgb, exif)
    rgb, remark = to_srgb(rgb, profile)
    return Photo(rgb, exif, remark)


def _is_heic(data: bytes) -> bool:
    """Whether a file is HEIC, by the kinds that its first box names (ISO/IEC 23008-12, 10.2)."""
    size = int.from_bytes(data[:4], "big")
    return data[4:8] == b"ftyp" and any(data[i : i + 4] in _HEIC for i in range(8, min(size, 256), 4))


def _decode_heic(data: bytes) -> Photo:
    """A HEIC photo by pillow-heif (libheif, libde265), which turns it upright. Raises ImageError that names no file."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(NO_HEIC) from error
    if fault := heif_fault(data):
        raise ImageError(fault)
    try:
        found = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        width, height = found.size
        if width * height > MAX_PIXELS:
            raise ImageError(too_large(width, height))
        pixels = np.asarray(found)
    except (ValueError, RuntimeError, OSError, EOFError, IndexError, SyntaxError) as error:
        raise ImageError(f"damaged ({one_line(str(error))[:100]})") from error
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ImageError("of a kind of HEIC that is not read here")
    pixels = np.atleast_3d(pixels)
    image = np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    if pixels.shape[2] in (2, 4):
        image = on_white(image, pixels[..., -1:].astype(np.int32))
    exif = found.info.get("exif")
    exif = exif[exif.find(b"Exif\0\0") + 6 :] if exif and b"Exif\0\0" in exif[:16] else exif
    profile = found.info.get("icc_profile")
    image = np.ascontiguousarray(image)
    image, remark = to_srgb(image, profile) if profile else (image, "")
    return Photo(image, exif or None, remark)


def read_image(path: Path) -> np.ndarray:
    """The image at ``path`` as uint8 [H, W, 3] RGB, in sRGB. Raises ImageError naming the file and the cause."""
    return read_photo(path).image


def read_photo(path: Path) -> Photo:
    """As :func:`read_image`, with what else its file says; of a TIFF, the EXIF part is the file itself."""
    return decode_photo(_read(path), str(path))


def read_exif(path: Path) -> bytes | None:
    """The EXIF part of an image file that is not decoded; None where there is none, or no such file."""
    try:
        with path.open("rb") as file:
            data = file.read(_EXIF_WITHIN)
        # In other kinds it may stand anywhere.
        return _exif_in(data if data.startswith((JPEG, PNG)) else _read(path))
    except (OSError, ImageError):
        return None


def _exif_in(data: bytes) -> bytes | None:
    return find_exif(data[:_EXIF_WITHIN] if data.startswith((JPEG, PNG)) else data)


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


def within(image: np.ndarray, side: int) -> np.ndarray:
    """An image, uint8 [H, W, 3], scaled down to a longer side of at most ``side`` pixels; never enlarged."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


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
    if path.suffix.lower() not in _WRITTEN:
        raise OutputError(f"output {path}: write .png, .jpg, .webp, .tif or .bmp")
    check_writable(path)


def write_image(path: Path, image: np.ndarray, exif: bytes | None = None) -> None:
    """Write uint8 [H, W, 3] RGB to ``path`` (its suffix says the format), whole or not at all.

    ``exif`` (:mod:`pleinair.exif`) goes into a JPEG or PNG.

    Raises OutputError when the folder is missing or cannot be written, the suffix is unknown, or the format
    does not hold so large an image.
    """
    check_image_output(path)
    write_bytes(path, encode_image(path.suffix, image, exif, name=str(path)))


def encode_image(suffix: str, image: np.ndarray, exif: bytes | None = None, *, name: str = "image") -> bytes:
    """uint8 [H, W, 3] RGB as the bytes of a file whose name ends so; ``exif`` as in :func:`write_image`.

    Raises OutputError, which calls it ``name``, when the format does not hold so large an image.
    """
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"output {name}: {suffix} does not hold {image.shape[1]}x{image.shape[0]} pixels")
    return data.tobytes() if exif is None else with_exif(data.tobytes(), exif)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all (:func:`pleinair.durable.write_file`). Raises OutputError."""
    check_writable(path)
    try:
        durable.write_file(path, data, shared=True)
    except OSError as error:
        raise OutputError(f"output {path}: {error.strerror}") from error
