"""V4L2 cameras (USB webcams, capture cards) through OpenCV.

Of cameras that send JPEGs, the bytes are taken as they come and judged as a file's are: on a busy bus, or a long cable,
parts of a picture are lost, and a decoder makes grey or smeared rows of that.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import cv2
import numpy as np

from pleinair.cameras.camera import Frame
from pleinair.errors import CameraError, ImageError
from pleinair.images import decode_image

#: Asked of a camera when no size is given; it answers with what it has.
DEFAULT_SIZE = (1280, 720)
#: The code of MJPEG, four letters in a word.
_MJPG = int.from_bytes(b"MJPG", "little")
#: Pictures that a camera takes to find its exposure and white balance.
_WARM_UP = 10
#: The kernel keeps a few pictures; those come at once, a new one only when the sensor has it.
_BUFFERED = 6
_FRESH = 0.004
#: Pictures that are asked for before a damaged one is a trouble.
_TRIES = 4
_PROPERTIES = {"exposure": cv2.CAP_PROP_EXPOSURE, "gain": cv2.CAP_PROP_GAIN, "wb_kelvin": cv2.CAP_PROP_WB_TEMPERATURE}


class V4l2Camera:
    """``/dev/videoN``. May hang, as its driver does: ``pleinair.cameras.guarded`` runs it in a process of its own."""

    live = True

    def __init__(self, number: int, size: tuple[int, int] | None) -> None:
        """Raises CameraError when it is not there, not allowed, or gives no picture."""
        self.name, self.device = f"v4l2:{number}", f"/dev/video{number}"
        if not os.path.exists(self.device):
            raise CameraError(f"{self.name}: there is no {self.device}", option="camera")
        if not os.access(self.device, os.R_OK | os.W_OK):
            raise CameraError(f"{self.name}: {self.device} is not yours to read; join the group video", option="camera")
        self._capture: Any = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(
                f"{self.name}: {self.device} gives no pictures, or another program has it", option="camera"
            )
        width, height = size or DEFAULT_SIZE
        # MJPEG: uncompressed pictures of this size come at a few a second over USB 2, or not at all.
        self._capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if self._capture.get(cv2.CAP_PROP_FOURCC) == _MJPG:
            self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._index = 0
        image = self._warm_up()
        if image is None:
            # One whose every picture looks damaged has JPEGs of its own kind: OpenCV is believed.
            self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
            image = self._warm_up()
        if image is None:
            self.close()
            raise CameraError(f"{self.name}: {self.device} gives no pictures", option="camera")
        self.size = (image.shape[1], image.shape[0])

    def _warm_up(self) -> np.ndarray | None:
        """The last good one of the pictures that a camera takes at first, uint8 [H, W, 3] RGB."""
        last = None
        for _ in range(_WARM_UP):
            if self._capture.grab():
                with contextlib.suppress(CameraError):
                    last = self._retrieve()
        return last

    def _retrieve(self) -> np.ndarray:
        """The picture that was grabbed, uint8 [H, W, 3] RGB. Raises CameraError where it is damaged."""
        done, taken = self._capture.retrieve()
        if not done or taken is None or not taken.size:
            raise CameraError(f"camera {self.name}: gave a picture that cannot be decoded")
        if taken.ndim == 3:
            rgb: np.ndarray = cv2.cvtColor(taken, cv2.COLOR_BGR2RGB)
            return rgb
        try:
            return decode_image(taken.tobytes().rstrip(b"\0"), "that it sent")
        except ImageError as error:
            raise CameraError(f"camera {self.name}: {error}") from error

    def shoot(self) -> Frame:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        for left in reversed(range(_TRIES)):
            self._grab_fresh()
            try:
                image = self._retrieve()
                break
            except CameraError:
                if not left:
                    raise
        metadata = {key: self._capture.get(code) for key, code in _PROPERTIES.items()}
        frame = Frame(
            image=image,
            index=self._index,
            seconds=time.monotonic(),
            name="",
            position=self._index,
            metadata={key: value for key, value in metadata.items() if value > 0},
        )
        self._index += 1
        return frame

    def _grab_fresh(self) -> None:
        """Grab a picture that the sensor has just taken. Raises CameraError."""
        for _ in range(_BUFFERED):
            began = time.monotonic()
            if not self._capture.grab():
                raise CameraError(f"camera {self.name}: gave no picture; unplugged?")
            if time.monotonic() - began > _FRESH:
                break

    def close(self) -> None:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        self._capture.release()
