"""A folder of images as a camera, in the order of their names or of the times at which they were taken."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pleinair.cameras.camera import AWAY, Frame, LeftOut, check_size
from pleinair.cameras.framing import fit
from pleinair.errors import AwayError, CameraError, ImageError
from pleinair.exif import about, is_damaged, when
from pleinair.images import SUFFIXES, Photo, read_exif, read_photo
from pleinair.text import one_line

#: Images whose size is looked at before the film begins.
_LOOKED_AT = 5


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts frame2 before frame10; the odd parts of a split by digits are numbers."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _listed(paths: Sequence[Path]) -> str:
    """The names of files, the first few of many: ``a.txt, b.txt and 3 more``."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return one_line(", ".join(path.name for path in paths[:_NAMED])) + more


def _elsewhere(folder: Path) -> str:
    """Which subfolders hold images where the folder itself does not."""
    found = list[str]()
    with contextlib.suppress(OSError):
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
            if any(path.suffix.lower() in SUFFIXES for path in below.iterdir()):
                found.append(below.name)
    return f"; there are in its folders {one_line(', '.join(found[:5]))}" if found else ""


#: The orders of a folder's images.
ORDERS = ("name", "time")
#: Names of files that are told one by one.
_NAMED = 5


class FolderCamera:
    """The images of a folder, by name (frame2 before frame10; hidden ones are none) or by time.

    Damaged ones are skipped and listed. The commonest size of the first few is that of all, to which others are fitted.
    ``remarks`` tell once what is left out of the folder, and what is fitted.
    """

    def __init__(self, folder: Path, size: tuple[int, int] | None, limit: int | None, order: str = ORDERS[0]) -> None:
        """Raises CameraError when the folder is missing, holds no image, or none that can be read."""
        try:
            names = [p for p in folder.iterdir() if p.name[0] != "." and p.is_file()]
        except OSError as error:
            raise CameraError(f"frames:{folder}: {error.strerror}", option="camera") from error
        found = [p for p in names if p.suffix.lower() in SUFFIXES]
        if not found:
            raise CameraError(
                f"frames:{folder}: no image in it (looked for {', '.join(SUFFIXES)}){_elsewhere(folder)}",
                option="camera",
            )
        self.name, self.skipped, self.remarks = f"frames of {folder.name}", list[str](), list[str]()
        self._files, self._limit = sorted(found, key=_natural), limit
        if ignored := sorted(set(names) - set(found)):
            self.remarks.append(f"frames:{folder}: no images, left out: {_listed(ignored)}")
        self._times = dict[Path, str]()
        #: What was told of images' colours.
        self._told = set[str]()
        if order == "time":
            self._sort_by_time(folder)
        self.count: int | None = min(len(found), limit) if limit else len(found)
        self._fitted = size is not None
        self.size = size or check_size(self._first_size(), f"frames:{folder}")

    def _sort_by_time(self, folder: Path) -> None:
        """The camera's clock, else the file's time on this machine's; of equal times, the names decide."""
        untimed, broken = list[Path](), list[Path]()
        keys = dict[Path, datetime.datetime]()
        for path in self._files:
            part = read_exif(path)
            taken = when(part) if part is not None else None
            if part is not None and is_damaged(part):
                broken.append(path)
            elif taken is None:
                untimed.append(path)
            if taken is None:
                try:
                    taken = datetime.datetime.fromtimestamp(path.stat().st_mtime)
                except (OSError, ValueError, OverflowError):
                    taken = datetime.datetime.max
                else:
                    self._times[path] = taken.strftime("%Y-%m-%d %H:%M")
            keys[path] = taken.replace(tzinfo=None)
        self._files.sort(key=lambda path: keys[path])
        for paths, what in ((untimed, "no time of its own in"), (broken, "a damaged EXIF part in")):
            if paths:
                self.remarks.append(f"frames:{folder}: {what} {_listed(paths)}; the files' times are taken")

    def _first_size(self) -> tuple[int, int]:
        problems, sizes = [], Counter[tuple[int, int]]()
        for path in self._files:
            try:
                image = self._read(path).image
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

    def _read(self, path: Path) -> Photo:
        """An image, and what its file says of it.

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

    def _tell_size(self, path: Path, image: np.ndarray) -> None:
        """Once, where an image has another size than the film and nobody asked for one."""
        if not self._fitted and (size := (image.shape[1], image.shape[0])) != self.size:
            self._fitted = True
            own, film = (f"{width}x{height}" for width, height in (size, self.size))
            name = one_line(path.name)
            self.remarks.append(f"frames:{path.parent}: {name} is {own}; it and others are fitted to {film}")

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
                photo = self._read(path)
            except ImageError as error:
                self.skipped.append(LeftOut(str(error)))
                continue
            image, told = photo.image, about(photo.exif) if photo.exif else {}
            if photo.remark and photo.remark not in self._told:
                self._told.add(photo.remark)
                self.remarks.append(f"image {one_line(str(path))} and perhaps others: {photo.remark}")
            if "taken" not in told and path in self._times:
                told["taken"] = self._times[path]
            self._tell_size(path, image)
            yield Frame(fit(image, self.size), index, float(index), path.name, position, told)
            index += 1
        if index == 0 and start == 0:
            raise self._unreadable(self.skipped[0])
