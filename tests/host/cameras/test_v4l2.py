"""V4L2 cameras against a stand-in for OpenCV's capture: fresh pictures, their colours, and what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Container

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


class Encoded(Capture):
    """A webcam that sends JPEGs, with zeros behind them; those of ``damaged`` numbers lack some bytes."""

    damaged: Container[int] = ()

    def get(self, code: int) -> float:
        return self.set_to.get(code, 0.0)

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        if self.set_to.get(cv2.CAP_PROP_CONVERT_RGB, 1):
            return super().retrieve()
        data = cv2.imencode(".jpg", coded_frame(self.taken)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        if self.taken in self.damaged:
            data = data[: len(data) // 2] + bytes(len(data) // 4) + data[len(data) * 3 // 4 :]
        return True, np.frombuffer(data + bytes(100), np.uint8)[None]


def test_jpegs_are_judged_as_files_are_and_a_damaged_one_is_taken_again(monkeypatch):
    monkeypatch.setattr(v4l2.cv2, "VideoCapture", Encoded)
    monkeypatch.setattr(Encoded, "damaged", range(3, 6))  # while it warms up
    camera = V4l2Camera(0, None)
    capture = Capture.last
    assert capture is not None and capture.set_to[cv2.CAP_PROP_CONVERT_RGB] == 0 and camera.size == (64, 48)

    class Twice:
        """The next two pictures, whatever their numbers are, and no others."""

        def __init__(self) -> None:
            self.seen = set[object]()

        def __contains__(self, number: object) -> bool:
            self.seen.add(number)
            return len(self.seen) <= 2

    monkeypatch.setattr(Encoded, "damaged", twice := Twice())
    frame = camera.shoot()
    assert len(twice.seen) == 3 and np.abs(frame.image.astype(int) - coded_frame(capture.taken)).mean() < 4
    monkeypatch.setattr(Encoded, "damaged", range(10_000))
    with pytest.raises(CameraError, match="^camera v4l2:0: image that it sent: damaged"):
        camera.shoot()


def test_a_camera_whose_every_picture_looks_damaged_is_believed(monkeypatch):
    monkeypatch.setattr(v4l2.cv2, "VideoCapture", Encoded)
    monkeypatch.setattr(Encoded, "damaged", range(10_000))
    camera = V4l2Camera(0, None)
    frame = camera.shoot()
    assert Capture.last is not None and Capture.last.set_to[cv2.CAP_PROP_CONVERT_RGB] == 1
    np.testing.assert_array_equal(frame.image, coded_frame(Capture.last.taken))
