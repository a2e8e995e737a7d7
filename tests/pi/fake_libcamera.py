"""A stand-in for libcamera, whose Python module comes with Raspberry Pi OS: enough to import picamera2, no camera."""

from __future__ import annotations

import types
from unittest.mock import MagicMock


class CameraManager:
    """A camera manager that finds none."""

    version = "0.5.0"
    cameras: tuple[object, ...] = ()
    event_fd = 0

    @staticmethod
    def singleton() -> CameraManager:
        return CameraManager()


def stand_in() -> dict[str, types.ModuleType]:
    """Modules by name."""
    modules: dict[str, types.ModuleType] = {}
    for name in ("libcamera", "pykms", "prctl", "PIL", "PIL.Image"):
        module = MagicMock(name=name)
        module.__spec__ = None
        module.__path__ = []
        modules[name] = module
    libcamera = modules["libcamera"]
    libcamera.CameraManager = CameraManager
    for name in ("Transform", "ColorSpace", "Size", "Rectangle", "StreamFormats", "PixelFormat", "SizeRange"):
        setattr(libcamera, name, type(name, (), {"__init__": lambda self, *a, **k: None}))
    for name in ("Sycc", "Smpte170m", "Rec709", "Raw"):
        setattr(libcamera.ColorSpace, name, staticmethod(libcamera.ColorSpace))
    return modules
