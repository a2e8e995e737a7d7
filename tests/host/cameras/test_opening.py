"""Opening cameras: names parsed once, choices listed, live ones opened by their drivers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pleinair.cameras.camera import StoredShooter
from pleinair.cameras.guarded import GuardedCamera
from pleinair.cameras.opening import CameraSource, open_camera, open_shooter
from pleinair.errors import CameraError, OptionError
from tests.films import write_frames
from tests.rolls import Still, coded_frame

LEVELS = [20, 60, 100, 140, 180, 220]


@pytest.mark.parametrize("spec", ["", "camera", "frames", "frames:", "video:", "synthetic:x", "synthetic:-1", "rpi:0"])
def test_unknown_cameras_are_refused_with_the_choice(spec):
    with pytest.raises(OptionError, match="^camera"):
        open_camera(spec)


def test_a_folder_has_no_clock(tmp_path):
    write_frames(tmp_path, LEVELS)
    with pytest.raises(OptionError, match=r"every 5s: a folder of frames has no clock"):
        open_camera(f"frames:{tmp_path}", every=5.0)


def test_the_tilde_is_home(tmp_path, monkeypatch):
    write_frames(tmp_path / "garden", LEVELS)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_camera("frames:~/garden").count == 6


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("synthetic", CameraSource("synthetic")),
        ("synthetic:7", CameraSource("synthetic", number=7)),
        ("frames:a/b", CameraSource("frames", path=Path("a/b"))),
        ("video:12:30.mp4", CameraSource("video", path=Path("12:30.mp4"))),
        ("pi", CameraSource("pi")),
        ("pi:1", CameraSource("pi", number=1)),
        ("v4l2:0", CameraSource("v4l2", number=0)),
    ],
)
def test_a_name_is_parsed_and_printed_alike(text, source):
    assert CameraSource.parse(text) == source and str(source) == text
    assert source.live == (source.kind in ("pi", "v4l2")) and source.timed == (source.kind != "frames")


@pytest.mark.parametrize("text", ["v4l2:x", "pi:x", "pi:", "pi:100", "v4l2:-1"])
def test_live_cameras_have_numbers(text):
    with pytest.raises(OptionError, match=f"^camera '{text}': choose from synthetic"):
        CameraSource.parse(text)


def test_a_source_is_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert str(CameraSource.parse("frames:a/b").absolute()) == f"frames:{tmp_path}/a/b"
    assert str(CameraSource.parse("pi:1").absolute()) == "pi:1"


def test_live_cameras_are_opened_by_their_drivers():
    source = CameraSource.parse("v4l2:62")
    with pytest.raises(CameraError, match="there is no /dev/video62"):
        open_shooter(source)
    with pytest.raises(OptionError, match="no driver"):
        open_shooter(CameraSource.parse("pi:0"))
    with pytest.raises(OptionError, match="a live camera films on a roll"):
        open_camera(source)
    camera = open_shooter(CameraSource.parse("pi:3"), size=(64, 48), every=2.0, drivers={"pi": open_still})
    try:
        assert isinstance(camera, GuardedCamera) and camera.name == "pi:3"
        frame = camera.shoot()
        assert frame is not None
        np.testing.assert_array_equal(frame.image, coded_frame(0))
    finally:
        camera.close()


def open_still(number: int, size: tuple[int, int] | None, every: float) -> Still:
    """For the camera's process."""
    assert (number, size, every) == (3, (64, 48), 2.0)
    return Still()


def test_a_stored_camera_of_a_roll_goes_on_where_it_was(tmp_path):
    write_frames(tmp_path, LEVELS)
    shooter = open_shooter(CameraSource.parse(f"frames:{tmp_path}"), start=4)
    assert isinstance(shooter, StoredShooter) and not shooter.live
    frames = [shooter.shoot() for _ in range(3)]
    assert [frame and frame.position for frame in frames] == [4, 5, None]
    shooter.close()
