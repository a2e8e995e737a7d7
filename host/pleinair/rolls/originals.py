"""Originals: each captured frame in an image file of its own, which carries its own record.

``originals/000012/00012345.jpg`` is frame 12,345, a thousand to a folder. The record (number, time, exposure ...)
stands in the journal and, the same line, in the image: a JPEG's comment or a PNG's tEXt chunk ``Comment``, where any
viewer of metadata shows it. So a journal can be made again from the originals. The record's ``sha256`` is that of
the image file without the comment: a torn or changed original is known from itself.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pleinair import durable
from pleinair.errors import ImageError, RollError
from pleinair.images import MAX_BYTES, decode_image
from pleinair.rolls.journal import format_line, parse_line
from pleinair.rolls.records import Captured, read_record

SUFFIXES = ("jpg", "png")
QUALITY = 95
#: Most bytes of an original: a photo's, and the comment with its record.
_MOST = MAX_BYTES + (1 << 20)
_MARK = b"pleinair "
_FOLDER = 1000
_TEXT = b"Comment\0"
_NUMBERED = re.compile(r"([0-9]{8,9})\.([a-z]+)")


def original_path(originals: Path, seq: int, suffix: str) -> Path:
    """Where frame number ``seq`` is kept."""
    return originals / f"{seq // _FOLDER:06d}" / f"{seq:08d}.{suffix}"


def encode(image: np.ndarray, record: Captured, suffix: str) -> tuple[bytes, Captured]:
    """A frame, uint8 [H, W, 3] RGB, as a file's bytes, and the record that they carry, with its ``sha256``."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if suffix == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    done, encoded = cv2.imencode(f".{suffix}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    if not done:
        raise ImageError(f"{suffix}: does not hold a frame of {image.shape[1]}x{image.shape[0]}", option="spool")
    bare = encoded.tobytes()
    record = replace(record, sha256=hashlib.sha256(bare).hexdigest())
    return _with_comment(bare, _MARK + format_line(record.line())), record


def _with_comment(bare: bytes, comment: bytes) -> bytes:
    """A JPEG or PNG with a comment."""
    at = _place(bare)
    if bare[:2] == b"\xff\xd8":  # COM, ITU-T T.81, B.2.4.5
        part = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    else:  # tEXt, PNG specification, 11.3.3.2
        body = b"tEXt" + _TEXT + comment
        part = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return bare[:at] + part + bare[at:]


def _comment(data: bytes) -> tuple[bytes | None, bytes]:
    """An image file's comment where ours stands, None where there is none, and the file without it."""
    at = _place(data)
    if data[at : at + 2] == b"\xff\xfe":
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        return data[at + 4 : end], data[:at] + data[end:]
    if data[at + 4 : at + 8] == b"tEXt":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        return data[at + 8 + len(_TEXT) : end - 4], data[:at] + data[end:]
    return None, data


def with_number(jpeg: bytes, seq: int) -> bytes:
    """A painting's JPEG that says of which frame it is."""
    return _with_comment(jpeg, b"%sframe %d" % (_MARK, seq))


def number_in(jpeg: bytes) -> int | None:
    """The number of the frame that a painting is of; None where it does not say."""
    comment, _ = _comment(jpeg)
    match = re.fullmatch(rb"%sframe ([0-9]{1,9})" % _MARK, comment or b"")
    return None if match is None else int(match[1])


def _place(data: bytes) -> int:
    """Where our comment stands: after a JPEG's APP0, after a PNG's header chunk."""
    if data[:2] == b"\xff\xd8":
        return 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
    return 33


def split(data: bytes) -> tuple[Captured | None, bytes]:
    """An original's record, None where there is none, and the image file without it."""
    comment, bare = _comment(data)
    if comment is None:
        return None, data
    line = parse_line(comment[len(_MARK) :]) if comment.startswith(_MARK) else None
    try:
        record = None if line is None else read_record(line)
    except RollError:
        record = None
    return record if isinstance(record, Captured) else None, bare


def read_original(path: Path) -> tuple[Captured, bytes]:
    """An original's record and its image file's bytes, whole. Raises ImageError for a torn, changed or foreign one."""
    try:
        data = durable.read_file(path, _MOST)
    except OSError as error:
        raise ImageError(f"original {path}: {error.strerror}") from error
    record, bare = split(data)
    if record is None:
        raise ImageError(f"original {path}: damaged, or not one of this roll: it carries no record")
    if hashlib.sha256(bare).hexdigest() != record.sha256:
        raise ImageError(f"original {path}: damaged: not the bytes that were written")
    return record, bare


def load_original(path: Path) -> tuple[Captured, np.ndarray]:
    """An original's record and picture, uint8 [H, W, 3] RGB. Raises ImageError."""
    record, bare = read_original(path)
    return record, decode_image(bare, str(path))


def keep_original(originals: Path, seq: int, suffix: str, data: bytes) -> Path:
    """Write an original; it is on the disk when this returns. Raises OSError, also when the number is taken."""
    path = original_path(originals, seq, suffix)
    durable.make_folder(path.parent)
    if path.exists():
        raise FileExistsError(17, "this frame number is taken", str(path))
    durable.write_file(path, data)
    return path


def find_originals(originals: Path, suffix: str, first: int = 0, last: int = 10**9) -> Iterator[int]:
    """The numbers of the originals from ``first`` to ``last`` that there are, in order. Links are none."""
    folders = sorted(p for p in originals.iterdir() if re.fullmatch("[0-9]{6,9}", p.name) and not p.is_symlink())
    for folder in folders:
        if folder.is_dir() and first // _FOLDER <= int(folder.name) <= last // _FOLDER:
            names = (_NUMBERED.fullmatch(p.name) for p in folder.iterdir() if not p.is_symlink())
            found = sorted(int(name[1]) for name in names if name is not None and name[2] == suffix)
            yield from (seq for seq in found if first <= seq <= last)
