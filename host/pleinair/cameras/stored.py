"""A folder of images as a camera."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pleinair.cameras.camera import AWAY, Frame, LeftOut, check_size
from pleinair.cameras.framing import fit
from pleinair.errors import AwayError, CameraError, ImageError
from pleinair.exif import taken_at
from pleinair.images import SUFFIXES, read_photo
from pleinair.text import one_line

#: Images whose size is looked at before the film begins.
_LOOKED_AT = 5


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts frame2 before frame10; the odd parts of a split by digits are numbers."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _elsewhere(folder: Path) -> str:
    """Which subfolders hold images where the folder itself does not."""
    found = list[str]()
    with contextlib.suppress(OSError):
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
            if any(path.suffix.lower() in SUFFIXES for path in below.iterdir()):
                found.append(below.name)
    return f"; there are in its folders {one_line(', '.join(found[:5]))}" if found else ""


class FolderCamera:
    """The images of a folder, by name (frame2 before frame10; hidden ones are none).

    Damaged ones are skipped and listed. The commonest size of the first few is that of all, to which others are fitted.
    """

    def __init__(self, folder: Path, size: tuple[int, int] | None, limit: int | None) -> None:
        """Raises CameraError when the folder is missing, holds no image, or none that can be read."""
        try:
            found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()]
        except OSError as error:
            raise CameraError(f"frames:{folder}: {error.strerror}", option="camera") from error
        if not found:
            raise CameraError(
                f"frames:{folder}: no image in it (looked for {', '.join(SUFFIXES)}){_elsewhere(folder)}",
                option="camera",
            )
        self.name, self.skipped = f"frames of {folder.name}", list[str]()
        self._files, self._limit = sorted(found, key=_natural), limit
        self.count: int | None = min(len(found), limit) if limit else len(found)
        self.size = size or check_size(self._first_size(), f"frames:{folder}")

    def _first_size(self) -> tuple[int, int]:
        problems, sizes = [], Counter[tuple[int, int]]()
        for path in self._files:
            try:
                image, _ = self._read(path)
            except ImageError as error:
                problems.append(error)
                continue
            sizes[image.shape[1], image.shape[0]] += 1
            if sum(sizes.values()) >= _LOOKED_AT:
                break
        if sizes:
            # A thumbnail or a panorama among them does not decide; of equally many, the first does.
            return sizes.most_common(1)[0][0]
        raise self._unreadable(str(problems[0]))

    def _unreadable(self, first: str) -> CameraError:
        folder = self._files[0].parent
        return CameraError(f"frames:{folder}: none of its images can be read; the first: {first}", option="camera")

    def _read(self, path: Path) -> tuple[np.ndarray, bytes | None]:
        """An image and its EXIF part.

        Raises ImageError for one that is damaged or gone, AwayError where all of them are.
        """
        for again in (True, False):
            try:
                return read_photo(path)
            except ImageError as error:
                cause = error.__cause__
                number = cause.errno if isinstance(cause, OSError) else None
                gone = number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
                if number in AWAY or (gone and not self._there()):
                    raise AwayError(f"frames:{path.parent}: {cause.strerror}", option="camera") from error  # type: ignore[union-attr]
                if not (gone and again):
                    raise
                # The folder may have been away for this one moment.
        raise AssertionError

    def _there(self) -> bool:
        """Whether the folder is there, with at least one of the images that were found in it."""
        folder = self._files[0].parent
        try:
            names = set(os.listdir(folder))
        except OSError:
            return False
        return any(path.name in names for path in self._files)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`~pleinair.cameras.camera.Camera`."""
        index = 0
        for position, path in enumerate(self._files[start:], start):
            if self._limit and index >= self._limit:
                return
            try:
                image, part = self._read(path)
            except ImageError as error:
                self.skipped.append(LeftOut(str(error)))
                continue
            taken = taken_at(part) if part else None
            about = {"taken": taken} if taken else {}
            yield Frame(fit(image, self.size), index, float(index), path.name, position, about)
            index += 1
        if index == 0 and start == 0:
            raise self._unreadable(self.skipped[0])
