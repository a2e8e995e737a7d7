"""The Pi's camera against a stand-in with picamera2's interface, and that interface against the real picamera2."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types

import numpy as np
import pytest

from pleinair.errors import CameraError
from pleinair_pi.camera import PiCamera
from tests.pi import fake_picamera2
from tests.pi.fake_picamera2 import SCENE, Picamera2


@pytest.fixture(autouse=True)
def fake(monkeypatch) -> type[Picamera2]:
    """picamera2 is the stand-in, with one camera, in steady light."""
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=Picamera2))
    for name, value in (("cameras", 1), ("light", staticmethod(lambda n: 1.0)), ("failing", set()), ("opened", [])):
        monkeypatch.setattr(Picamera2, name, value)
    return Picamera2


def test_frames_are_the_scene_in_red_green_blue():
    camera = PiCamera(0, (64, 48), 10.0)
    frame = camera.shoot()
    assert frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 and camera.size == (64, 48)
    used = frame.metadata["exposure_us"] * frame.metadata["gain"] / 5000
    wanted = 255 * np.clip(SCENE * used, 0, 1) ** (1 / 2.2)
    np.testing.assert_allclose(frame.image[::2, ::2], wanted, atol=0.6)
    assert frame.metadata["model"] == "imx708" and frame.metadata["lux"] == 400.0
    camera.close()
    assert Picamera2.opened[0].closed


def test_after_the_warm_up_nothing_is_left_to_the_camera():
    camera = PiCamera(0, (64, 48), 10.0)
    inner = Picamera2.opened[0]
    for _ in range(5):
        camera.shoot()
    assert inner.used["AeEnable"] is False and inner.used["AwbEnable"] is False
    assert inner.used["ColourGains"] == (1.9, 1.6)


def test_in_steady_light_the_exposure_does_not_move():
    camera = PiCamera(0, (64, 48), 10.0)
    for _ in range(40):
        camera.shoot()
    exposures = [exposure for exposure, _ in Picamera2.opened[0].history][-40:]
    assert np.ptp(exposures[20:]) == 0.0
    assert np.abs(np.diff(exposures)).max() <= 0.33


def test_the_size_is_the_sensors_shape_unless_it_is_given():
    assert PiCamera(0, None, 10.0).size == (1920, 1080)


def test_a_frame_that_does_not_come_is_an_error_and_the_next_one_is_taken(fake):
    camera = PiCamera(0, (64, 48), 10.0)
    fake.failing = {fake.opened[0].number + 1}
    camera.shoot()
    with pytest.raises(CameraError, match="pi:0: no frame in 12 s"):
        camera.shoot()
    for _ in range(5):
        camera.shoot()  # every buffer is back


def test_buffers_come_back_when_a_picture_cannot_be_read(monkeypatch):
    camera = PiCamera(0, (64, 48), 10.0)
    with monkeypatch.context() as patch:
        patch.setattr(fake_picamera2.Request, "make_array", lambda self, name: np.zeros((4, 4, 3), np.uint8))
        for _ in range(4):
            with pytest.raises(CameraError, match=r"a picture of \(4, 4, 3\) for 64x48"):
                camera.shoot()
    camera.shoot()


@pytest.mark.parametrize(
    ("cameras", "number", "said"), [(0, 0, "none is found; look at its cable"), (1, 1, "there are 1")]
)
def test_cameras_that_are_not_there(fake, cameras, number, said):
    fake.cameras = cameras
    with pytest.raises(CameraError, match=said):
        PiCamera(number, None, 10.0)
    assert fake.opened == []


def test_a_camera_that_another_program_has(fake):
    PiCamera(0, None, 10.0)
    with pytest.raises(CameraError, match="did not complete.*another program"):
        PiCamera(0, None, 10.0)


def test_without_picamera2(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="apt install python3-picamera2"):
        PiCamera(0, None, 10.0)


def test_a_camera_that_fails_while_it_is_set_up_is_closed(fake, monkeypatch):
    monkeypatch.setattr(Picamera2, "set_controls", lambda self, controls: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        PiCamera(0, None, 10.0)
    assert fake.opened[0].closed


# -- the real package


@pytest.fixture
def real(monkeypatch) -> types.ModuleType:
    """The real picamera2 over a stand-in for libcamera, which finds no camera; skipped where it is not installed."""
    monkeypatch.delitem(sys.modules, "picamera2")
    if importlib.util.find_spec("picamera2") is None:
        pytest.skip("picamera2 is not installed")
    from tests.pi.fake_libcamera import stand_in

    before = set(sys.modules)
    for name, module in stand_in().items():
        if importlib.util.find_spec(name.partition(".")[0]) is None or name.startswith("libcamera"):
            monkeypatch.setitem(sys.modules, name, module)
    import picamera2

    yield picamera2
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("picamera2", "libcamera"):
            sys.modules.pop(name, None)


def test_the_real_picamera2_without_a_camera_is_told_in_one_line(real):
    assert real.Picamera2.global_camera_info() == []
    with pytest.raises(CameraError, match="pi:0: no such camera, none is found"):
        PiCamera(0, None, 10.0)
    with pytest.raises(RuntimeError, match="[Cc]amera"):
        real.Picamera2(0)


@pytest.mark.parametrize(
    "name", ["__init__", "create_still_configuration", "configure", "start", "set_controls", "capture_request", "close"]
)
def test_the_stand_in_takes_what_the_real_one_takes(real, name):
    there = inspect.signature(getattr(real.Picamera2, name)).parameters
    for parameter in inspect.signature(getattr(Picamera2, name)).parameters:
        assert parameter in there
    request = inspect.signature(real.CompletedRequest.make_array).parameters
    assert list(request) == ["self", "name"] and hasattr(real.CompletedRequest, "get_metadata")
    assert hasattr(real.CompletedRequest, "release")
