"""V4L2 cameras against a stand-in for OpenCV's capture: fresh pictures, their colours, and what goes wrong."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from pleinair.cameras import v4l2
from pleinair.cameras.v4l2 import V4l2Camera
from pleinair.errors import CameraError
from tests.rolls import coded_frame


class Capture:
    """cv2.VideoCapture over a driver that keeps the last four pictures, one every ``period`` seconds."""

    period = 0.03
    opened = True
    broken_at = -1
    last: Capture | None = None

    def __init__(self, number: int, backend: int) -> None:
        assert backend == cv2.CAP_V4L2
        Capture.last = self
        self.set_to: dict[int, float] = {}
        self.began, self.taken, self.grabs = time.monotonic(), 0, 0

    def isOpened(self) -> bool:
        return self.opened

    def set(self, code: int, value: float) -> bool:
        self.set_to[code] = value
        return True

    def get(self, code: int) -> float:
        return {cv2.CAP_PROP_EXPOSURE: 156.0, cv2.CAP_PROP_GAIN: -1.0}.get(code, 0.0)

    def grab(self) -> bool:
        self.grabs += 1
        if self.grabs == self.broken_at:
            return False
        newest = int((time.monotonic() - self.began) / self.period)
        # Up to four old pictures come at once; a new one only when it is there.
        self.taken = max(self.taken + 1, newest - 3)
        while (left := self.began + self.taken * self.period - time.monotonic()) > 0:
            time.sleep(left)
        return True

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return True, coded_frame(self.taken)[..., ::-1]

    def read(self) -> tuple[bool, np.ndarray | None]:
        return self.retrieve() if self.grab() else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.fixture(autouse=True)
def device(monkeypatch) -> None:
    """/dev/video0 is there and ours, behind the stand-in."""
    monkeypatch.setattr(v4l2.cv2, "VideoCapture", Capture)
    monkeypatch.setattr(v4l2.os.path, "exists", lambda path: path == "/dev/video0")
    monkeypatch.setattr(v4l2.os, "access", lambda path, mode: True)


def test_a_frame_is_fresh_and_in_red_green_blue():
    camera = V4l2Camera(0, (64, 48))
    capture = Capture.last
    assert capture is not None and capture.set_to[cv2.CAP_PROP_FRAME_WIDTH] == 64
    assert capture.set_to[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    time.sleep(0.5)  # as between two frames of a time-lapse: what the driver keeps is old
    wanted = int((time.monotonic() - capture.began) / Capture.period)
    frame = camera.shoot()
    assert capture.taken >= wanted
    np.testing.assert_array_equal(frame.image, coded_frame(capture.taken))
    assert frame.metadata == {"exposure": 156.0} and camera.size == (64, 48)
    camera.close()
    assert capture.released


def test_a_camera_that_is_unplugged_is_an_error_each_time(monkeypatch):
    camera = V4l2Camera(0, None)
    assert Capture.last is not None
    Capture.last.broken_at = Capture.last.grabs + 1
    with pytest.raises(CameraError, match="gave no picture; unplugged"):
        camera.shoot()
    camera.shoot()


def test_cameras_that_do_not_serve(monkeypatch):
    with pytest.raises(CameraError, match="v4l2:3: there is no /dev/video3"):
        V4l2Camera(3, None)
    monkeypatch.setattr(Capture, "opened", False)
    with pytest.raises(CameraError, match="gives no pictures, or another program has it"):
        V4l2Camera(0, None)
    monkeypatch.setattr(v4l2.os, "access", lambda path, mode: False)
    with pytest.raises(CameraError, match="join the group video"):
        V4l2Camera(0, None)
