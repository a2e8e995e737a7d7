"""Cameras: where frames come from. A folder of images, a video file, or the synthetic day.

These are stored: they give frames as fast as they are taken, each with the scene's own time, and can begin anywhere.
Live ones, which are asked for a frame when it is due, are in ``pleinair.cameras.v4l2`` and ``pleinair_pi.camera``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from pleinair.errors import CameraError, ImageError, OptionError
from pleinair.images import MAX_PIXELS, read_image
from pleinair.painting.tiles import MIN_SIDE
from pleinair.pyav import MISSING, reformatter
from pleinair.scenery.day import MAX_HEIGHT, MAX_WIDTH, SyntheticDay

#: What ``--camera`` takes, for help and errors.
KINDS = "synthetic[:SEED], frames:DIR, video:FILE"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_DAY = 86_400.0
#: Scene time between two synthetic frames when ``--every`` is not given: a day is 288 frames.
SYNTHETIC_STEP = 300.0


@dataclass(frozen=True)
class Frame:
    """One picture: uint8 [H, W, 3] RGB, its number from 0, scene time in seconds, and what to call it.

    ``position`` is its place in the source, unusable frames counted: a camera goes on from there. ``metadata`` is
    what a live camera says of it (``exposure_us``, ``gain`` ...).
    """

    image: np.ndarray
    index: int
    seconds: float
    name: str
    position: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Camera(Protocol):
    """Gives frames of one size, in order."""

    name: str
    size: tuple[int, int]  # (width, height) of every frame
    count: int | None  # how many frames will come, None where only the end tells
    skipped: list[str]  # one line for each frame that could not be used

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from position ``start`` on; raises CameraError when there is none in the whole source."""


class Shooter(Protocol):
    """A camera that is asked for each frame when it is due."""

    name: str
    size: tuple[int, int]  # (width, height) of its pictures
    live: bool  # whether frames not asked for are gone

    def shoot(self) -> Frame | None:
        """The next frame, None when there will be no more. Raises CameraError; asking again is allowed."""

    def close(self) -> None:
        """Give the camera back."""


class StoredShooter:
    """A stored camera, asked frame by frame, from position ``start`` on."""

    live = False

    def __init__(self, camera: Camera, start: int = 0) -> None:
        self.name, self.size = camera.name, camera.size
        self.skipped = camera.skipped
        self._frames = camera.frames(start)

    def shoot(self) -> Frame | None:
        """See :class:`Shooter`."""
        return next(self._frames, None)

    def close(self) -> None:
        """See :class:`Shooter`."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the middle to the shape of ``size`` (width, height) and scale it; uint8 [H, W, 3]."""
    width, height = size
    if (image.shape[1], image.shape[0]) == size:
        return image
    # Cropped first, so that no picture, however thin, grows beyond the film's size.
    columns = min(image.shape[1], max(1, round(image.shape[0] * width / height)))
    rows = min(image.shape[0], max(1, round(image.shape[1] * height / width)))
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    middle = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    scaled: np.ndarray = cv2.resize(middle, size, interpolation=cv2.INTER_AREA if width < columns else cv2.INTER_CUBIC)
    return scaled


def _check_size(size: tuple[int, int], source: str) -> tuple[int, int]:
    if min(size) < MIN_SIDE or size[0] * size[1] > MAX_PIXELS:
        allowed = f"{MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
        raise CameraError(f"{source}: frames of {size[0]}x{size[1]}, allowed are {allowed}; or give --size")
    return size


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts frame2 before frame10; the odd parts of a split by digits are numbers."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


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
        if not (MIN_SIDE <= self.size[0] <= MAX_WIDTH and MIN_SIDE <= self.size[1] <= MAX_HEIGHT):
            size, largest = "x".join(map(str, self.size)), f"{MAX_WIDTH}x{MAX_HEIGHT}"
            raise OptionError(f"--size {size!r}: the synthetic day is drawn at {MIN_SIDE}x{MIN_SIDE} to {largest}")
        if self.count is None:
            self.count = max(1, round(_DAY / self.every))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`Camera`."""
        scene = SyntheticDay(*self.size, seed=self.seed)
        assert self.count is not None
        for index in range(start, self.count):
            seconds = self.start + index * self.every
            clock = int(seconds % _DAY)
            yield Frame(scene.frame(seconds), index, seconds, f"{clock // 3600:02d}:{clock // 60 % 60:02d}", index)


class FolderCamera:
    """The images of a folder, by name (frame2 before frame10; hidden ones are none).

    Damaged ones are skipped and listed, others fitted to the first's size.
    """

    def __init__(self, folder: Path, size: tuple[int, int] | None, limit: int | None) -> None:
        """Raises CameraError when the folder is missing, holds no image, or none that can be read."""
        try:
            found = [p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.name[0] != "." and p.is_file()]
        except OSError as error:
            raise CameraError(f"--camera frames:{folder}: {error.strerror}") from error
        if not found:
            raise CameraError(f"--camera frames:{folder}: no image in it (looked for {', '.join(sorted(_SUFFIXES))})")
        self.name, self.skipped = f"frames of {folder.name}", list[str]()
        self._files, self._limit = sorted(found, key=_natural), limit
        self.count: int | None = min(len(found), limit) if limit else len(found)
        self.size = size or _check_size(self._first_size(), f"--camera frames:{folder}")

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
        return CameraError(f"--camera frames:{folder}: none of its images can be read; the first: {first}")

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`Camera`."""
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


class VideoCamera:
    """The frames of a video file: all of them, or one every ``every`` seconds of its time, upright."""

    def __init__(self, path: Path, size: tuple[int, int] | None, every: float | None, limit: int | None) -> None:
        """Raises CameraError when the file is missing or holds no video that can be decoded."""
        self.name, self.skipped = f"video {path.name}", list[str]()
        self._path, self._every, self._limit = path, every, limit
        with self._open() as container:
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            _check_size((max(width, MIN_SIDE), max(height, MIN_SIDE)), f"--camera video:{path}")
            # Only a decoded frame tells how the video is turned, and that there is one.
            first = next((picture for picture, _ in self._pictures(container, [0])), None)
            total = stream.frames or None
            rate = float(stream.average_rate or 0)
        if first is None:
            raise CameraError(f"--camera video:{path}: no frame of it can be decoded")
        height, width = _upright(first, reformatter()).shape[:2]
        self.size = size or _check_size((width, height), f"--camera video:{path}")
        if total and every and rate:
            total = max(1, math.ceil(total / rate / every))
        self.count: int | None = min(total, limit) if total and limit else total or None

    def _open(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise CameraError(f"video: {MISSING}", option="camera") from error
        try:
            self._path.stat()
            if not self._path.is_file():
                raise CameraError(f"--camera video:{self._path}: a folder or device, not a file")
            # FFmpeg takes what stands before a colon for a protocol, unless the name begins with a slash.
            container = av.open(str(self._path.absolute()))
        except av.error.InvalidDataError as error:
            raise CameraError(f"--camera video:{self._path}: not a video, or one without its end") from error
        except (av.error.FFmpegError, OSError) as error:
            raise CameraError(f"--camera video:{self._path}: {error.strerror}") from error
        if not container.streams.video:
            container.close()
            raise CameraError(f"--camera video:{self._path}: holds no video stream")
        return container

    def _pictures(self, container: Any, damaged: list[int]) -> Iterator[tuple[Any, float]]:
        """Decoded frames with their seconds; counts packets and frames that are damaged, and goes on after."""
        import av

        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        number = 0
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                damaged[0] += 1
                return
            if packet is None:
                return
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                damaged[0] += 1
                continue
            for picture in pictures:
                seconds = float(picture.time) if picture.time is not None else float(number)
                number += 1
                if picture.is_corrupt:
                    damaged[0] += 1
                else:
                    yield picture, seconds

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`Camera`. Damage is reported in ``skipped``; what can be decoded comes all the same."""
        index, damaged, last, due = 0, [0], 0.0, -math.inf
        with self._open() as container:
            reformat = reformatter()
            stream = container.streams.video[0]
            for picture, seconds in self._pictures(container, damaged):
                last = seconds
                if self._every is not None:
                    if seconds + 1e-6 < due:
                        continue
                    # The grid starts at the first frame, and a gap in the video costs the frames in it.
                    due = seconds if due == -math.inf else due
                    due += self._every * (math.floor((seconds + 1e-6 - due) / self._every) + 1)
                if index >= start:
                    yield Frame(fit(_upright(picture, reformat), self.size), index, seconds, f"{seconds:.2f} s", index)
                index += 1
                if self._limit and index >= self._limit:
                    return
            if damaged[0]:
                self.skipped.append(f"video {self._path}: {damaged[0]} of its frames are damaged")
            end = _announced_end(container, stream)
            if end is not None and last < end - max(1.0, 0.02 * end):
                self.skipped.append(f"video {self._path}: truncated, it ends at {last:.1f} s of {end:.1f} s")
        if index == 0:
            raise CameraError(f"--camera video:{self._path}: no frame could be read")


def _upright(picture: Any, reformat: Callable[..., Any]) -> np.ndarray:
    """A decoded frame as uint8 [H, W, 3] RGB, turned as the file says that it is to be shown."""
    image: np.ndarray = reformat(picture, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90)))


def _announced_end(container: Any, stream: Any) -> float | None:
    """Seconds before which a video should not end, where it says so for this stream.

    Containers disagree on whether a late start counts, so it does not.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration) / 1e6
    return None


def _path(text: str) -> Path:
    # The shell leaves the tilde in frames:~/garden alone.
    return Path(os.path.expanduser(text))


def open_camera(
    spec: str, size: tuple[int, int] | None = None, every: float | None = None, limit: int | None = None
) -> Camera:
    """The camera that ``--camera`` names. Sizes are (width, height), times seconds of the scene.

    Raises OptionError for a spec that is none of :data:`KINDS`, CameraError when the source does not serve.
    """
    kind, _, rest = spec.partition(":")
    if kind == "synthetic":
        if not re.fullmatch(r"[0-9]{0,9}", rest):
            raise OptionError(f"--camera {spec!r}: the seed after synthetic: is a whole number")
        return SyntheticCamera(size or (640, 360), limit, every or SYNTHETIC_STEP, int(rest or 0))
    if kind == "frames" and rest:
        if every is not None:
            raise OptionError(f"--every {every:g}s: a folder of frames has no clock; leave it out")
        return FolderCamera(_path(rest), size, limit)
    if kind == "video" and rest:
        return VideoCamera(_path(rest), size, every, limit)
    raise OptionError(f"--camera {spec!r}: choose from {KINDS}")
