"""A stand-in for picamera2, as strict as the real one where a time-lapse could go wrong.

A scene with a light of its own, a sensor that exposes it, the camera's own control while it is on. Buffers that are not
given back run out; controls that there are not are refused; what is set is used two frames later, as sensors do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

CONTROLS = {
    "ExposureTime": (60, 112_015_553, 20_000),
    "AnalogueGain": (1.0, 22.0, 1.0),
    "ColourGains": (0.0, 32.0, None),
    "AeEnable": (False, True, True),
    "AwbEnable": (False, True, True),
    "FrameDurationLimits": (30_000, 1_000_000_000, None),
}
SCENE = np.random.default_rng(5).uniform(0.02, 0.6, (24, 32, 3))


class Picamera2:
    """The part of picamera2.Picamera2 that pleinair uses."""

    #: For a test to set: cameras there are, the scene's light by the number of the frame, and captures that fail.
    cameras = 1
    light: Callable[[int], float] = staticmethod(lambda number: 1.0)
    failing: ClassVar[set[int]] = set()
    opened: ClassVar[list[Picamera2]] = []

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": "imx708", "Num": i, "Id": f"/base/{i}"} for i in range(Picamera2.cameras)]

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num >= self.cameras:
            raise RuntimeError(f"No camera number {camera_num} found")
        if any(not other.closed for other in Picamera2.opened):
            raise RuntimeError("Camera __init__ sequence did not complete.")
        Picamera2.opened.append(self)
        self.closed = self.started = False
        self.camera_controls = dict(CONTROLS)
        self.sensor_resolution = (4608, 2592)
        self.controls: dict[str, Any] = {"AeEnable": True, "AwbEnable": True, "ExposureTime": 5000, "AnalogueGain": 1.0}
        self.used = dict(self.controls)
        self.coming: list[dict[str, Any]] = []
        self.number, self.out = 0, 0
        self.history: list[tuple[float, float]] = []

    def create_still_configuration(self, main=None, lores=None, buffer_count=1, controls=None) -> dict[str, Any]:
        assert set(main) == {"size", "format"} and lores is not None and set(lores) == {"size", "format"}
        return {"main": main, "lores": lores, "buffer_count": buffer_count, "controls": controls}

    def configure(self, camera_config=None) -> None:
        assert not self.started and camera_config["main"]["format"] == "RGB888"
        self.configuration = camera_config

    def start(self, config=None, show_preview=False) -> None:
        self.started = True

    def set_controls(self, controls) -> None:
        for name in controls:
            if name not in CONTROLS:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        assert isinstance(controls.get("ExposureTime", 1), int)
        self.coming.append(dict(controls))

    def capture_request(self, wait=None, signal_function=None, flush=None) -> Request:
        assert self.started and not self.closed
        if self.out >= self.configuration["buffer_count"]:
            raise AssertionError("every buffer is out: one was not released")
        assert wait is not None, "without a limit this may never return"
        number = self.number
        self.number += 1
        if number in self.failing:
            raise TimeoutError
        if len(self.coming) > (0 if flush else 1):
            self.controls.update(self.coming.pop(0))
        if self.controls["AeEnable"]:
            mean = float((SCENE * self.light(number)).mean())
            self.controls["ExposureTime"] = round(min(1e6, 0.18 / mean * 5000))
        self.used = dict(self.controls)
        self.out += 1
        return Request(self, number)

    def close(self) -> None:
        self.closed = True


class Request:
    """A completed request."""

    def __init__(self, camera: Picamera2, number: int) -> None:
        self.camera, self.released = camera, False
        used = camera.used
        exposure, gain = used["ExposureTime"], used["AnalogueGain"]
        self.linear = SCENE * camera.light(number) * exposure * gain / 5000
        self.metadata = {
            "ExposureTime": exposure,
            "AnalogueGain": gain,
            "ColourGains": used.get("ColourGains", (1.9, 1.6)),
            "AeLocked": camera.number > 5,
            "Lux": 400.0 * camera.light(number),
            "SensorTimestamp": number,
        }
        camera.history.append((math.log2(exposure * gain), float(self._codes().mean())))

    def _codes(self) -> np.ndarray:
        return 255 * np.clip(self.linear, 0, 1) ** (1 / 2.2)

    def get_metadata(self) -> dict[str, Any]:
        return dict(self.metadata)

    def make_array(self, name: str) -> np.ndarray:
        assert not self.released
        width, height = self.camera.configuration[name]["size"]
        rows, columns = np.arange(height) * 24 // height, np.arange(width) * 32 // width
        image = np.rint(self._codes()).astype(np.uint8)[rows][:, columns]
        if name == "main":
            return image[..., ::-1]  # blue first
        # Planes one above the other; rows may be longer than the picture.
        plane = np.zeros((height * 3 // 2, width + 64), np.uint8)
        plane[:height, :width] = image.mean(2)
        return plane

    def release(self) -> None:
        assert not self.released
        self.released = True
        self.camera.out -= 1
