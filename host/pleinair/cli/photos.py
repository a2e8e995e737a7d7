"""Photos to paint, and where their paintings go: one file or many, folders and patterns, standard input and output."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pleinair.cli.options import refuse_same
from pleinair.errors import ImageError, OptionError, OutputError

if TYPE_CHECKING:
    import numpy as np

    from pleinair.images import Photo

#: Stands for standard input and output.
STANDARD = Path("-")
#: Formats that paintings can be written in where no name of a file says so.
FORMATS = ("png", "jpg", "webp")
#: How a photo's name may end for its painting to be called the same; others become PNG.
_KEPT = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Errand:
    """A photo and where its painting goes."""

    photo: Path
    out: Path


def errands(arguments: Sequence[Path], out_dir: Path | None, form: str | None) -> list[Errand]:
    """What is to be painted: IMAGE and OUT, or images, folders and patterns into ``out_dir``.

    In ``out_dir``, a painting is called like its photo, in the format ``form`` where it is given. Raises OptionError,
    ImageError, OutputError, before anything is painted.
    """
    from pleinair.images import check_image_output

    if out_dir is None:
        if len(arguments) != 2:
            raise OptionError("give IMAGE and OUT, or images and --out-dir FOLDER")
        photo, out = arguments
        if form is not None and out != STANDARD:
            raise OptionError(f"{form}: goes with --out-dir and with - for OUT; {out} says its own", option="format")
        if out != STANDARD:
            check_image_output(out)
            refuse_same(photo, out, "the photo itself")
        return [Errand(photo, out)]
    if not arguments:
        raise OptionError("give IMAGE and OUT, or images and --out-dir FOLDER")
    _make_folder(out_dir)
    found = dict[Path, Path]()
    for photo in (photo for argument in arguments for photo in _photos(argument)):
        kept = photo.suffix.lower() if photo.suffix.lower() in _KEPT else ".png"
        name = "standard-input" if photo == STANDARD else photo.stem
        out = out_dir / f"{name}{kept if form is None else f'.{form}'}"
        if (before := found.get(out)) is not None and before != photo:
            raise OptionError(f"{before} and {photo}: both paintings would be {out}", option="out_dir")
        refuse_same(photo, out, "the photo itself")
        check_image_output(out)
        found[out] = photo
    return [Errand(photo, out) for out, photo in found.items()]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}", option="out_dir") from error


def _photos(argument: Path) -> list[Path]:
    """The photos that an argument stands for: a file, those of a folder, or those that a pattern matches."""
    from pleinair.images import SUFFIXES

    if argument == STANDARD:
        return [argument]
    if os.path.isdir(argument):
        try:
            inside = sorted(argument.iterdir())
        except OSError as error:
            raise ImageError(f"image {argument}: {error.strerror}") from error
        found = [
            path for path in inside if path.suffix.lower() in SUFFIXES and path.name[0] != "." and not path.is_dir()
        ]
        if not found:
            raise ImageError(f"image {argument}: the folder holds none (looked for {', '.join(SUFFIXES)})")
        return found
    if not os.path.lexists(argument) and glob.has_magic(str(argument)):
        matched = sorted(Path(path) for path in glob.glob(str(argument), recursive=True) if not os.path.isdir(path))
        if not matched:
            raise ImageError(f"image {argument}: no file is called so")
        return matched
    return [argument]


def read(path: Path) -> Photo:
    """A photo and what its file says. Raises ImageError."""
    from pleinair.images import MAX_BYTES, decode_photo, read_photo

    if path != STANDARD:
        return read_photo(path)
    if sys.stdin is None:
        raise ImageError("image from standard input: it is closed")
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"image from standard input: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"image from standard input: larger than {MAX_BYTES >> 20} MiB")
    return decode_photo(data, "from standard input")


def write(out: Path, painting: np.ndarray, exif: bytes | None, form: str | None) -> None:
    """A painting into its file, or to standard output as ``form``, PNG by default. Raises OutputError."""
    from pleinair.images import encode_image, write_image

    if out != STANDARD:
        write_image(out, painting, exif)
        return
    if sys.stdout is None:
        raise OutputError("standard output: it is closed")
    try:
        sys.stdout.buffer.write(encode_image(f".{form or FORMATS[0]}", painting, exif))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error
