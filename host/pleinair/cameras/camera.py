"""What a camera is to the rest of the program: the frames that it gives, and the two ways to ask for them.

A stored :class:`Camera` (a folder, a video, the synthetic day) gives frames as fast as they are taken and can begin
anywhere. A :class:`Shooter` is asked for each frame when it is due; live cameras (``pleinair.cameras.v4l2``,
``pleinair_pi.camera``) are shooters, and :class:`StoredShooter` makes one of a stored camera.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pleinair.errors import AwayError, CameraError
from pleinair.images import MAX_PIXELS
from pleinair.painting.tiles import MIN_SIDE


@dataclass(frozen=True)
class Frame:
    """One picture: uint8 [H, W, 3] RGB, its number from 0, scene time in seconds, and what to call it.

    ``position`` is its place in the source, unusable frames counted: a camera goes on from there. ``metadata`` is
    what a live camera says of it (``exposure_us``, ``gain`` ...), or a photo: :func:`pleinair.exif.about`.
    """

    image: np.ndarray
    index: int
    seconds: float
    name: str
    position: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


class LeftOut(str):
    """A line that says why frames of a stored camera could not be used; ``frames`` is how many, 0 for nobody knows."""

    frames: int

    def __new__(cls, text: str, frames: int = 1) -> LeftOut:
        """See the class."""
        line = super().__new__(cls, text)
        line.frames = frames
        return line


def left_out(lines: Iterable[str]) -> int:
    """How many frames these lines of :attr:`Camera.skipped` stand for."""
    return sum(getattr(line, "frames", 1) for line in lines)


#: Errors of the system that say nothing of a file, but that its disk, share or stick is away, or this process too busy.
AWAY = frozenset(
    (
        *(errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN),
        *(errno.ETIMEDOUT, errno.ENOMEM, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ESHUTDOWN),
        *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENOMEDIUM, errno.EREMOTEIO),
    )
)


def remarks_of(camera: object) -> list[str]:
    """What a camera has to say of its source, a line each, that costs no frame; whoever tells a line takes it out."""
    remarks = getattr(camera, "remarks", None)
    return remarks if isinstance(remarks, list) else []


class Camera(Protocol):
    """Gives frames of one size, in order. It may have ``remarks``, too: see :func:`remarks_of`."""

    name: str
    size: tuple[int, int]  # (width, height) of every frame
    count: int | None  # how many frames will come, None where only the end tells
    skipped: list[str]  # one line for each frame that could not be used

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from position ``start`` on; raises CameraError when there is none in the whole source.

        Raises AwayError while the source is away: frames from ``start``, or behind the last one given, may come later.
        """


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
    """A stored camera, asked frame by frame, from position ``start`` on; asked again after an AwayError, it goes on."""

    live = False

    def __init__(self, camera: Camera, start: int = 0) -> None:
        self.name, self.size = camera.name, camera.size
        self.skipped, self.remarks = camera.skipped, remarks_of(camera)
        self._camera, self._next = camera, start
        self._frames = camera.frames(start)

    def shoot(self) -> Frame | None:
        """See :class:`Shooter`."""
        try:
            frame = next(self._frames, None)
        except AwayError:
            self._frames = self._camera.frames(self._next)
            raise
        if frame is not None:
            self._next = frame.position + 1
        return frame

    def close(self) -> None:
        """See :class:`Shooter`."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def check_size(size: tuple[int, int], source: str) -> tuple[int, int]:
    """``size``, (width, height), where frames of ``source`` may have it. Raises CameraError."""
    if min(size) < MIN_SIDE or size[0] * size[1] > MAX_PIXELS:
        allowed = f"{MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
        raise CameraError(
            f"{source}: frames of {size[0]}x{size[1]}, allowed are {allowed}; or give a size", option="camera"
        )
    return size
