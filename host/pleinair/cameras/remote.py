"""What cameras behind a cable have in common that are asked for each picture: network cameras, gphoto2.

One that does not answer is asked again after pauses that grow up to a minute, up to ten where it refuses the password:
many cameras lock out whoever tries too often. Ticks in between are told as the camera's last problem.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from pleinair.cameras.camera import Frame, check_size
from pleinair.errors import CameraError, ImageError
from pleinair.exif import about
from pleinair.images import Photo, decode_photo

#: Seconds between two questions at most: of one that is away, of one that refuses.
_LONGEST_PAUSE, _LONGEST_REFUSED = 60.0, 600.0
#: Seconds for which the picture that was taken to learn the size is a fresh one.
_FRESH = 2.0


class RefusedError(CameraError):
    """A camera does not let this user in."""


class RemoteCamera(ABC):
    """Gives a picture each time that it is asked. ``pleinair.cameras.guarded`` runs it in a process of its own."""

    live = True

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes a picture to learn the size. Raises CameraError."""
        self.name, self._clock = name, clock
        self._index, self._failures = 0, 0
        self._not_before, self._problem = -1e9, ""
        self._first: Photo | None = self._photo()
        self._taken = clock()
        height, width = self._first.image.shape[:2]
        self.size = check_size((width, height), name)

    @abstractmethod
    def take(self) -> Photo:
        """A picture of now. Raises CameraError, ImageError."""

    def decode(self, data: bytes) -> Photo:
        """A picture's bytes, decoded in the bounded child. Raises ImageError."""
        return decode_photo(data, self.name, apart=True)

    def _photo(self) -> Photo:
        try:
            return self.take()
        except ImageError as error:
            why = str(error).removeprefix(f"image {self.name}: ")
            raise CameraError(f"camera {self.name}: its picture: {why}", option=None) from error

    def shoot(self) -> Frame:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        now = self._clock()
        if now < self._not_before:
            raise CameraError(self._problem)
        photo, self._first = self._first, None
        if photo is None or now - self._taken > _FRESH:
            try:
                photo = self._photo()
            except CameraError as error:
                longest = _LONGEST_REFUSED if isinstance(error, RefusedError) else _LONGEST_PAUSE
                self._not_before = self._clock() + min(longest, 2.0 ** min(self._failures, 20))
                self._failures += 1
                self._problem = str(error)
                raise
        self._failures, self._index = 0, self._index + 1
        told = about(photo.exif) if photo.exif else {}
        return Frame(photo.image, self._index - 1, time.monotonic(), "", self._index - 1, told)

    def close(self) -> None:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        self._first = None
