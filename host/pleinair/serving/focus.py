"""The focus view: how sharp a camera's picture is, and its centre enlarged, for setting up a camera.

The newest original of a roll is looked at, whoever films it. Where nobody films a roll of a live camera, the page can
look through the camera itself for a while; nothing is kept then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pleinair.cameras.opening import Driver, open_shooter
from pleinair.errors import ImageError, OptionError, PleinairError
from pleinair.images import decode_image
from pleinair.rolls.addresses import find_camera
from pleinair.rolls.ledger import Ledger
from pleinair.rolls.lock import is_running
from pleinair.rolls.settings import read_settings
from pleinair.serving.pictures import newest_original, shrunk

#: Pixels of the middle that are enlarged, (width, height), and how many times.
_MIDDLE, _TIMES = (240, 160), 3
#: Seconds between two looks through a camera, after which it is closed where nobody asks, and at most.
_PAUSE, _ASKED, _LONGEST = 0.3, 15.0, 900.0


@dataclass(frozen=True)
class Seen:
    """A picture that was looked at: its number, how sharp it is, its enlarged middle and the whole of it as JPEGs."""

    number: int
    sharpness: float
    centre: bytes
    whole: bytes


def sharpness(image: np.ndarray) -> float:
    """How sharp the middle half of a picture is: the variance of the Laplacian of its grey.

    It grows as the lens comes into focus; figures of two scenes cannot be compared. ``image`` is uint8 [H, W, 3]. The
    measure is that of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000).
    """
    height, width = image.shape[:2]
    middle = image[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def centre(image: np.ndarray) -> np.ndarray:
    """The middle 240x160 pixels of a picture (or what there is), each three times as wide and high."""
    height, width = (min(most, there) for most, there in zip(_MIDDLE[::-1], image.shape[:2], strict=True))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width].repeat(_TIMES, axis=0).repeat(_TIMES, axis=1)


def look_at(image: np.ndarray, number: int) -> Seen:
    """A picture, uint8 [H, W, 3] RGB, looked at."""
    enlarged = centre(image)
    return Seen(number, sharpness(image), shrunk(enlarged, max(enlarged.shape)), shrunk(image, 800))


class Finder:
    """Looks at the newest original of rolls, or through the camera of one. Safe from any thread."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = drivers
        self._lock = threading.Lock()
        self._last: dict[Path, Seen] = {}
        self._through: _Through | None = None

    def newest(self, roll: Path) -> tuple[Seen | None, bool, str]:
        """What is seen, whether it is seen through the camera itself, and why that has ended ("" for not)."""
        with self._lock:
            through = self._through
            if through is not None and through.roll == roll:
                if through.is_alive():
                    through.asked = time.monotonic()
                    return through.seen, True, ""
                if through.problem:
                    return through.seen, False, through.problem
            file = newest_original(roll)
            if file is None:
                return None, False, ""
            number = int(file.stem)
            known = self._last.get(roll)
            if known is None or known.number != number:
                try:
                    known = look_at(decode_image(file.read_bytes(), str(file)), number)
                except (OSError, ImageError):
                    return None, False, ""
                self._last.clear()
                self._last[roll] = known
            return known, False, ""

    def open(self, roll: Path) -> None:
        """Look through the camera of a roll that nobody films. Raises OptionError, CameraError, RollError."""
        if is_running(roll):
            raise OptionError("this roll is being filmed; its newest frames are shown")
        settings = read_settings(roll, Ledger())
        source = find_camera(settings.camera)
        if not source.live:
            raise OptionError("this roll is not filmed by a live camera")
        self.close()
        with self._lock:
            self._through = _Through(roll, settings.camera, settings.ask, self._drivers)
            self._through.start()

    def close(self) -> None:
        """Give the camera back."""
        with self._lock:
            through, self._through = self._through, None
        if through is not None:
            through.over.set()
            through.join()


class _Through(threading.Thread):
    """Looks through a camera until nobody asks any more."""

    def __init__(self, roll: Path, camera: str, size: tuple[int, int] | None, drivers: Mapping[str, Driver]) -> None:
        super().__init__(name="focus", daemon=True)
        self.roll, self._camera, self._size, self._drivers = roll, camera, size, drivers
        self.over = threading.Event()
        self.asked = time.monotonic()
        self.seen: Seen | None = None
        self.problem = ""

    def run(self) -> None:
        """See threading."""
        began, number = time.monotonic(), 0
        try:
            shooter = open_shooter(find_camera(self._camera), size=self._size, every=_PAUSE, drivers=self._drivers)
            with contextlib.closing(shooter):
                while not self.over.wait(_PAUSE):
                    now = time.monotonic()
                    if now - self.asked > _ASKED or now - began > _LONGEST or is_running(self.roll):
                        return
                    frame = shooter.shoot()
                    if frame is not None:
                        number += 1
                        self.seen = look_at(frame.image, number)
        except PleinairError as error:
            self.problem = error.message
