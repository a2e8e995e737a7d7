"""Cameras: where frames come from. A folder of images, a video file, or the synthetic day.

None of these is live: they give frames as fast as they are taken, each with the scene's own time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from host.errors import CameraError, ImageError, OptionError
from host.images import MAX_PIXELS, read_image
from host.synthetic import SyntheticDay

#: What ``--camera`` takes, for help and errors.
KINDS = "synthetic[:SEED], frames:DIR, video:FILE"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_DAY = 86_400.0
#: Scene time between two synthetic frames when ``--every`` is not given: a day is 288 frames.
SYNTHETIC_STEP = 300.0


@dataclass(frozen=True)
class Frame:
    """One picture: uint8 [H, W, 3] RGB, its number from 0, scene time in seconds, and what to call it."""

    image: np.ndarray
    index: int
    seconds: float
    name: str


class Camera(Protocol):
    """Gives frames of one size, in order."""

    name: str
    size: tuple[int, int]  # (width, height) of every frame
    count: int | None  # how many frames will come, None where only the end tells
    skipped: list[str]  # one line for each frame that could not be used

    def frames(self) -> Iterator[Frame]:
        """The frames; raises CameraError when there is none."""


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale to cover ``size`` (width, height) and crop the middle; uint8 [H, W, 3]."""
    width, height = size
    if (image.shape[1], image.shape[0]) == size:
        return image
    scale = max(width / image.shape[1], height / image.shape[0])
    scaled = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    image = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


@dataclass
class SyntheticCamera:
    """The synthetic day from 4:30 in the morning on, a frame every ``every`` seconds of scene time."""

    size: tuple[int, int]
    count: int | None
    every: float = SYNTHETIC_STEP
    seed: int = 0
    start: float = 4.5 * 3600
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = "synthetic day"
        if self.count is None:
            self.count = max(1, round(_DAY / self.every))

    def frames(self) -> Iterator[Frame]:
        """See :class:`Camera`."""
        scene = SyntheticDay(*self.size, seed=self.seed)
        assert self.count is not None
        for index in range(self.count):
            seconds = self.start + index * self.every
            clock = int(seconds % _DAY)
            yield Frame(scene.frame(seconds), index, seconds, f"{clock // 3600:02d}:{clock // 60 % 60:02d}")


class FolderCamera:
    """The images of a folder, by name. Damaged ones are skipped and listed, others fitted to the first's size."""

    def __init__(self, folder: Path, size: tuple[int, int] | None, limit: int | None) -> None:
        """Raises CameraError when the folder is missing, holds no image, or none that can be read."""
        if not folder.is_dir():
            raise CameraError(f"--camera frames:{folder}: no such folder")
        try:
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
        except OSError as error:
            raise CameraError(f"--camera frames:{folder}: {error.strerror}") from error
        if not found:
            raise CameraError(f"--camera frames:{folder}: no image in it (looked for {', '.join(sorted(_SUFFIXES))})")
        self.name, self.skipped = f"frames of {folder.name}", list[str]()
        self._files, self._limit = found, limit
        self.count: int | None = min(len(found), limit) if limit else len(found)
        self.size = size or self._first_size()

    def _first_size(self) -> tuple[int, int]:
        for path in self._files:
            try:
                image = read_image(path)
            except ImageError:
                continue
            return image.shape[1], image.shape[0]
        raise CameraError(f"--camera frames:{self._files[0].parent}: none of its {len(self._files)} images can be read")

    def frames(self) -> Iterator[Frame]:
        """See :class:`Camera`."""
        index = 0
        for path in self._files:
            if self._limit and index >= self._limit:
                return
            try:
                image = read_image(path)
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            yield Frame(fit(image, self.size), index, float(index), path.name)
            index += 1
        if index == 0:
            raise CameraError(f"--camera frames:{self._files[0].parent}: no image could be read")


class VideoCamera:
    """The frames of a video file: all of them, or one every ``every`` seconds of its time."""

    def __init__(self, path: Path, size: tuple[int, int] | None, every: float | None, limit: int | None) -> None:
        """Raises CameraError when the file is missing or holds no video."""
        self.name, self.skipped = f"video {path.name}", list[str]()
        self._path, self._every, self._limit = path, every, limit
        with self._open() as container:
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            total = stream.frames or None
            rate = float(stream.average_rate or 0)
        if not width or not height or width * height > MAX_PIXELS:
            raise CameraError(f"--camera video:{path}: frames of {width}x{height}, too large or empty")
        self.size = size or (width, height)
        if total and every and rate:
            total = max(1, int(np.ceil(total / rate / every)))
        self.count: int | None = min(total, limit) if total and limit else total or None

    def _open(self) -> Any:
        import av

        if not self._path.is_file():
            raise CameraError(f"--camera video:{self._path}: no such file")
        try:
            container = av.open(str(self._path))
        except (av.error.FFmpegError, OSError) as error:
            raise CameraError(f"--camera video:{self._path}: not a video ({error.strerror})") from error
        if not container.streams.video:
            container.close()
            raise CameraError(f"--camera video:{self._path}: holds no video stream")
        return container

    def frames(self) -> Iterator[Frame]:
        """See :class:`Camera`. A damaged end is reported in ``skipped``; what came before stays."""
        import av

        index, due = 0, 0.0
        with self._open() as container:
            container.streams.video[0].thread_type = "AUTO"
            try:
                for number, picture in enumerate(container.decode(video=0)):
                    seconds = float(picture.time) if picture.time is not None else float(number)
                    if self._every is not None and seconds + 1e-6 < due:
                        continue
                    due += self._every or 0.0
                    yield Frame(fit(picture.to_ndarray(format="rgb24"), self.size), index, seconds, f"{seconds:.2f} s")
                    index += 1
                    if self._limit and index >= self._limit:
                        return
            except av.error.FFmpegError as error:
                self.skipped.append(f"video {self._path}: damaged after frame {index} ({error.strerror})")
        if index == 0:
            raise CameraError(f"--camera video:{self._path}: no frame could be read")


def open_camera(
    spec: str, size: tuple[int, int] | None = None, every: float | None = None, limit: int | None = None
) -> Camera:
    """The camera that ``--camera`` names. Sizes are (width, height), times seconds of the scene.

    Raises OptionError for a spec that is none of :data:`KINDS`, CameraError when the source does not serve.
    """
    kind, _, rest = spec.partition(":")
    if kind == "synthetic":
        if rest and not (rest.isdigit() and len(rest) < 10):
            raise OptionError(f"--camera {spec!r}: the seed after synthetic: is a whole number")
        return SyntheticCamera(size or (640, 360), limit, every or SYNTHETIC_STEP, int(rest or 0))
    if kind == "frames" and rest:
        if every is not None:
            raise OptionError(f"--every {every:g}s: a folder of frames has no clock; leave it out")
        return FolderCamera(Path(rest), size, limit)
    if kind == "video" and rest:
        return VideoCamera(Path(rest), size, every, limit)
    raise OptionError(f"--camera {spec!r}: choose from {KINDS}")
