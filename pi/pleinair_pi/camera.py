"""The Raspberry Pi's camera, by picamera2, set up for a time-lapse.

Still configuration with two buffers, a main stream to keep and a small one to meter; the camera's own control finds
exposure and white balance while it warms up, and then both are locked: white balance for good, exposure moved from
frame to frame by :class:`~pleinair_pi.exposure.Controller`. Users of such boxes report captures that never return and
exposures that went stale over a long gap. So a frame is asked for anew each time (``flush``), with a time limit, and
always given back; and the whole camera lives in a process that can be killed (``pleinair.cameras.guarded``).

picamera2 comes with Raspberry Pi OS (``apt install python3-picamera2``) and is seen from a virtual environment made
with ``--system-site-packages``; pip's own would not find libcamera.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pleinair.cameras.camera import Frame
from pleinair.errors import CameraError
from pleinair_pi.exposure import Controller, Exposure, Limits, luma_level, split

#: Longer side of frames when no size is given: a sensor's quick mode, and a film's usual one.
DEFAULT_WIDTH = 1920
_METER = (320, 240)
#: Seconds that the camera's own control gets to settle, and frames it must have had.
_WARM_UP, _WARM_FRAMES = 8.0, 10
#: Seconds for a frame, above its exposure. Less than the watchdog's own limit, which kills.
_WAIT = 12.0
_INSTALL = "apt install python3-picamera2, and make the virtual environment with --system-site-packages"


class PiCamera:
    """Camera ``number`` of the Pi; frames of ``size``, (width, height), one every ``every`` seconds."""

    live = True

    def __init__(self, number: int, size: tuple[int, int] | None, every: float) -> None:
        """Raises CameraError when there is no such camera, or no picamera2, or it gives no frame."""
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise CameraError(f"pi: needs picamera2 ({error}): {_INSTALL}", option="camera") from error
        self.name = f"pi:{number}"
        # With no camera there, Picamera2() itself would leave threads behind.
        found = Picamera2.global_camera_info()
        if number >= len(found):
            what = (
                f"there are {len(found)}"
                if found
                else "none is found; look at its cable and rpicam-hello --list-cameras"
            )
            raise CameraError(f"{self.name}: no such camera, {what}", option="camera")
        try:
            self._camera: Any = Picamera2(number)
        except (RuntimeError, IndexError) as error:
            raise CameraError(f"{self.name}: {error}; does another program have it?", option="camera") from error
        self._model = str(found[number].get("Model", ""))
        try:
            self._set_up(size, every)
        except BaseException:
            self._camera.close()
            raise

    def _set_up(self, size: tuple[int, int] | None, every: float) -> None:
        camera = self._camera
        if size is None:
            width, height = camera.sensor_resolution
            size = (min(DEFAULT_WIDTH, width), round(min(DEFAULT_WIDTH, width) * height / width / 2) * 2)
        # "RGB888" is the order of bytes in a word: in memory it is blue, green, red.
        configuration = camera.create_still_configuration(
            main={"size": size, "format": "RGB888"}, lores={"size": _METER, "format": "YUV420"}, buffer_count=2
        )
        camera.configure(configuration)
        camera.start()
        used, colours = self._warm_up()
        shortest, longest, _ = camera.camera_controls["ExposureTime"]
        gain = camera.camera_controls["AnalogueGain"][1]
        # Half the time between frames at the most, so that the next tick is not missed.
        limits = Limits(max(1.0, shortest), min(longest or 1e6, 5e5 * every, 1e7), max(1.0, min(gain, 16.0)))
        self._controller = Controller(every, limits)
        self._index, self._size = 0, size
        self.size = size
        self._expose(split(used.total, limits), {"AeEnable": False, "AwbEnable": False, "ColourGains": colours})

    def _warm_up(self) -> tuple[Exposure, tuple[float, float]]:
        """What the camera's own control settles on."""
        end, frames = time.monotonic() + _WARM_UP, 0
        while True:
            metadata = self._request()[2]
            frames += 1
            if time.monotonic() >= end or (frames >= _WARM_FRAMES and metadata.get("AeLocked")):
                red, blue = metadata["ColourGains"]
                return Exposure(metadata["ExposureTime"], metadata["AnalogueGain"]), (red, blue)

    def _expose(self, exposure: Exposure, others: Mapping[str, object] | None = None) -> None:
        self._wanted = exposure
        values = {"ExposureTime": round(exposure.microseconds), "AnalogueGain": exposure.gain}
        self._camera.set_controls({**(others or {}), **values})

    def _request(self, flush: bool = False) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """A frame's main picture, its luma plane to meter, its metadata."""
        wait = _WAIT + (2e-6 * self._wanted.microseconds if flush else 0)
        try:
            request = self._camera.capture_request(wait=wait, flush=True if flush else None)
        except (TimeoutError, RuntimeError) as error:
            raise CameraError(f"camera {self.name}: no frame in {wait:.0f} s") from error
        except Exception as error:  # before Python 3.11 the time-out of futures is a class of its own
            if type(error).__name__ != "TimeoutError":
                raise
            raise CameraError(f"camera {self.name}: no frame in {wait:.0f} s") from error
        try:
            metadata = request.get_metadata()
            # Of the whole frame only where it is wanted.
            main = request.make_array("main") if flush else np.zeros((0, 0, 3), np.uint8)
            meter = request.make_array("lores")
        finally:
            request.release()
        return main, meter[: _METER[1], : _METER[0]], metadata

    def shoot(self) -> Frame:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        main, luma, metadata = self._request(flush=True)
        width, height = self._size
        if main.ndim != 3 or main.shape[0] < height or main.shape[1] < width:
            raise CameraError(f"camera {self.name}: gave a picture of {main.shape} for {width}x{height}")
        image = np.ascontiguousarray(main[:height, :width, 2::-1])
        level, burnt = luma_level(luma)
        used = Exposure(metadata["ExposureTime"], metadata["AnalogueGain"])
        self._expose(self._controller.next(level, burnt, used))
        told = {
            "model": self._model,
            "exposure_us": used.microseconds,
            "gain": round(used.gain, 3),
            "luma": round(level, 1),
            "colour_gains": [round(gain, 3) for gain in metadata["ColourGains"]],
        }
        for key, name in (("Lux", "lux"), ("SensorTemperature", "sensor_celsius"), ("SensorTimestamp", "sensor_ns")):
            if key in metadata:
                told[name] = metadata[key]
        frame = Frame(image, self._index, time.monotonic(), "", self._index, told)
        self._index += 1
        return frame

    def close(self) -> None:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        self._camera.close()
