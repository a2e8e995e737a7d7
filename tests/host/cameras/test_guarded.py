"""A camera in a process of its own: one that does not open is asked again."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pleinair.cameras.guarded import GuardedCamera
from pleinair.errors import CameraError
from tests.rolls import (
    Unruly,
    coded_frame,
)


def guarded(folder: Path, faults: dict[int, str]) -> GuardedCamera:
    """The unruly camera in its process."""
    folder.mkdir(exist_ok=True)
    return GuardedCamera(partial(Unruly, folder, faults), "unruly", deadline=1.0)


def test_a_camera_that_does_not_open(tmp_path):
    (tmp_path / "broken").touch()
    with pytest.raises(CameraError, match="camera unruly: not there"):
        guarded(tmp_path, {})
    camera = GuardedCamera(partial(Unruly, tmp_path, {}), "unruly", patient=True)
    with pytest.raises(CameraError, match="not there"):
        camera.shoot()
    (tmp_path / "broken").unlink()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(CameraError):
            frame = camera.shoot()
            break
        time.sleep(0.05)
    np.testing.assert_array_equal(frame.image, coded_frame(0))
    camera.close()
