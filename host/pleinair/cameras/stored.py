"""A folder of images as a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pleinair.cameras.camera import Frame, check_size
from pleinair.cameras.framing import fit
from pleinair.errors import CameraError, ImageError
from pleinair.images import SUFFIXES, read_image


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts frame2 before frame10; the odd parts of a split by digits are numbers."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


class FolderCamera:
    """The images of a folder, by name (frame2 before frame10; hidden ones are none).

    Damaged ones are skipped and listed, others fitted to the first's size.
    """

    def __init__(self, folder: Path, size: tuple[int, int] | None, limit: int | None) -> None:
        """Raises CameraError when the folder is missing, holds no image, or none that can be read."""
        try:
            found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()]
        except OSError as error:
            raise CameraError(f"frames:{folder}: {error.strerror}", option="camera") from error
        if not found:
            raise CameraError(f"frames:{folder}: no image in it (looked for {', '.join(SUFFIXES)})", option="camera")
        self.name, self.skipped = f"frames of {folder.name}", list[str]()
        self._files, self._limit = sorted(found, key=_natural), limit
        self.count: int | None = min(len(found), limit) if limit else len(found)
        self.size = size or check_size(self._first_size(), f"frames:{folder}")

    def _first_size(self) -> tuple[int, int]:
        problems = []
        for path in self._files:
            try:
                image = read_image(path)
            except ImageError as error:
                problems.append(error)
                continue
            return image.shape[1], image.shape[0]
        raise self._unreadable(str(problems[0]))

    def _unreadable(self, first: str) -> CameraError:
        folder = self._files[0].parent
        return CameraError(f"frames:{folder}: none of its images can be read; the first: {first}", option="camera")

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`~pleinair.cameras.camera.Camera`."""
        index = 0
        for position, path in enumerate(self._files[start:], start):
            if self._limit and index >= self._limit:
                return
            try:
                image = read_image(path)
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            yield Frame(fit(image, self.size), index, float(index), path.name, position)
            index += 1
        if index == 0 and start == 0:
            raise self._unreadable(self.skipped[0])
