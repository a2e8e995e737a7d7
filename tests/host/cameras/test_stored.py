"""A folder of images: frames by number, damage told and passed over, folders that do not serve refused."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import Frame, StoredShooter, left_out, remarks_of
from pleinair.cameras.opening import open_camera
from pleinair.errors import AwayError, CameraError, OptionError
from pleinair.exif import with_exif
from pleinair.films.pipeline import patient
from pleinair.films.stamp import stamp
from pleinair.rolls.beginning import begin_roll, open_roll
from pleinair.rolls.resuming import resume_roll
from tests.films import frame_of, means, write_frames
from tests.host.test_exif import camera_part
from tests.models import write_model
from tests.rolls import identity_network

LEVELS = [20, 60, 100, 140, 180, 220]


def images(spec: str, **settings) -> list[np.ndarray]:
    """All images of the camera."""
    return [frame.image for frame in open_camera(spec, **settings).frames()]


def test_frames_come_by_number(tmp_path):
    write_frames(tmp_path, [10 * i for i in range(1, 13)], digits=1)
    camera = open_camera(f"frames:{tmp_path}")
    frames: list[Frame] = list(camera.frames())
    assert camera.size == (64, 48) and camera.count == 12
    assert [f.name for f in frames[:3]] + [frames[-1].name] == [f"frame{i}.png" for i in (1, 2, 3, 12)]
    assert [f.index for f in frames] == list(range(12))
    np.testing.assert_allclose(means([f.image for f in frames]), [10 * i for i in range(1, 13)], atol=1)


def test_damaged_frames_are_listed_and_the_others_stay(tmp_path):
    paths = write_frames(tmp_path, LEVELS)
    paths[0].write_bytes(b"")
    paths[3].write_bytes(paths[3].read_bytes()[:-30])
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_text("no frame either")
    (tmp_path / "folder.png").mkdir()
    camera = open_camera(f"frames:{tmp_path}")
    np.testing.assert_allclose(means([f.image for f in camera.frames()]), [60, 100, 180, 220], atol=1)
    assert [Path(line.split()[1].rstrip(":")).name for line in camera.skipped] == ["frame0001.png", "frame0004.png"]


def test_mixed_sizes_take_the_first(tmp_path):
    write_frames(tmp_path, LEVELS[:2])
    cv2.imwrite(str(tmp_path / "frame0003.png"), frame_of(90, 100, 30))
    cv2.imwrite(str(tmp_path / "frame0004.png"), frame_of(120, 20, 200))
    shots = images(f"frames:{tmp_path}")
    assert {image.shape for image in shots} == {(48, 64, 3)}
    np.testing.assert_allclose(means(shots), [20, 60, 90, 120], atol=2)
    assert {image.shape for image in images(f"frames:{tmp_path}", size=(32, 20))} == {(20, 32, 3)}


def test_limit_counts_frames_that_come(tmp_path):
    paths = write_frames(tmp_path, LEVELS)
    paths[1].write_bytes(b"x")
    np.testing.assert_allclose(means(images(f"frames:{tmp_path}", frames=3)), [20, 100, 140], atol=1)


def test_a_folder_that_is_away_is_no_bad_image(tmp_path):
    write_frames(tmp_path / "frames", LEVELS)
    camera = open_camera(f"frames:{tmp_path / 'frames'}")
    shooter = StoredShooter(camera)
    first = [shooter.shoot(), shooter.shoot()]
    (tmp_path / "frames").rename(tmp_path / "away")
    (tmp_path / "frames").mkdir()  # the mount point of a stick that was pulled out
    for _ in range(3):
        with pytest.raises(AwayError, match="No such file"):
            shooter.shoot()
    (tmp_path / "frames").rmdir()
    with pytest.raises(AwayError, match="No such file"):
        shooter.shoot()
    (tmp_path / "away").rename(tmp_path / "frames")
    (tmp_path / "frames" / "frame0004.png").unlink()  # one that is really gone
    rest = list(iter(shooter.shoot, None))
    np.testing.assert_allclose(means([f.image for f in (*first, *rest)]), [20, 60, 100, 180, 220], atol=1)
    assert len(camera.skipped) == left_out(camera.skipped) == 1 and "frame0004.png" in camera.skipped[0]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ENODEV])
def test_a_disk_that_fails_for_a_moment_costs_no_image(tmp_path, monkeypatch, number):
    write_frames(tmp_path, LEVELS)
    shooter, whole = StoredShooter(open_camera(f"frames:{tmp_path}")), Path.read_bytes
    failing = [True, True]

    def read(path: Path) -> bytes:
        if path.name == "frame0003.png" and failing:
            failing.pop()
            raise OSError(number, os.strerror(number), str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    got, away = list[np.ndarray](), 0
    while len(got) < 6:
        try:
            frame = shooter.shoot()
            assert frame is not None
            got.append(frame.image)
        except AwayError:
            away += 1
    assert away == 2
    np.testing.assert_allclose(means(got), LEVELS, atol=1)


def test_folders_that_do_not_serve(tmp_path):
    with pytest.raises(CameraError, match="no such folder|No such file"):
        open_camera(f"frames:{tmp_path / 'none'}")
    with pytest.raises(CameraError, match="no image in it"):
        open_camera(f"frames:{tmp_path}")
    write_frames(tmp_path / "bad", LEVELS)
    for path in (tmp_path / "bad").iterdir():
        path.write_bytes(b"text")
    with pytest.raises(CameraError, match=r"none of its images.*frame0001\.png: not an image"):
        open_camera(f"frames:{tmp_path / 'bad'}")
    with pytest.raises(CameraError, match=r"Not a directory|no such folder"):
        open_camera(f"frames:{tmp_path / 'bad' / 'frame0001.png'}")
    cv2.imwrite(str(tmp_path / "thin.png"), frame_of(9, 15, 40))
    with pytest.raises(CameraError, match=r"15x40.*a size"):
        open_camera(f"frames:{tmp_path}")
    with pytest.raises(CameraError, match="too long"):
        open_camera(f"frames:{'x' * 300}")


def test_frames_that_vanish_are_listed(tmp_path):
    paths = write_frames(tmp_path, LEVELS)
    camera = open_camera(f"frames:{tmp_path}")
    paths[2].unlink()
    assert len(list(camera.frames())) == 5 and "frame0003.png" in camera.skipped[0]


def test_other_names_and_folders(tmp_path):
    (tmp_path / "deep").mkdir()
    write_frames(tmp_path / "deep", LEVELS[:1])
    with pytest.raises(CameraError, match="there are in its folders deep"):
        open_camera(f"frames:{tmp_path}")
    shots = {"a1.JPG": 30, "A2.jpe": 60, "a10.jfif": 90, "B3.png": 120}
    for name, level in shots.items():
        data = cv2.imencode(".png" if name.endswith("png") else ".jpg", frame_of(level))[1]
        (tmp_path / name).write_bytes(data.tobytes())
    np.testing.assert_allclose(means(images(f"frames:{tmp_path}")), [30, 60, 90, 120], atol=2)


def test_a_thumbnail_does_not_decide_the_films_size(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), frame_of(9, 16, 16))
    write_frames(tmp_path, LEVELS)
    assert open_camera(f"frames:{tmp_path}").size == (64, 48)


def test_a_name_that_is_no_utf_8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    write_frames(tmp_path, LEVELS[:1])[0].rename(path)
    (frame,) = open_camera(f"frames:{tmp_path}").frames()
    assert stamp(frame.image, frame.name).shape == frame.image.shape


def dated(level: int, taken: str | None) -> bytes:
    """A JPEG of a level, taken at a time."""
    photo = cv2.imencode(".jpg", frame_of(level))[1].tobytes()
    return photo if taken is None else with_exif(photo, camera_part(taken=taken.encode() + b"\0"))


def test_order_by_time_is_the_cameras_else_the_files(tmp_path):
    shots = {
        "DSC_9998.JPG": (20, "2026:05:03 10:00:00"),
        "DSC_9999.jpg": (60, "2026:05:03 10:00:05"),
        "DSC_0001.JPG": (100, "2026:05:03 10:00:10"),
        "b2.jpg": (140, "2026:05:03 10:00:15"),
        "B10.JPG": (180, "2026:05:03 10:00:15"),  # at the same second: by name, small and capital letters alike
        "another.jpg": (220, None),
    }
    for name, (level, taken) in shots.items():
        (tmp_path / name).write_bytes(dated(level, taken))
    late = datetime.datetime(2026, 5, 4, 9, 30).timestamp()
    os.utime(tmp_path / "another.jpg", (late, late))
    camera = open_camera(f"frames:{tmp_path}", order="time")
    frames = list(camera.frames())
    np.testing.assert_allclose(means([f.image for f in frames]), LEVELS, atol=2)
    assert [f.metadata["taken"][-5:] for f in frames] == ["10:00"] * 5 + ["09:30"]
    assert remarks_of(camera) == [f"frames:{tmp_path}: no time of its own in another.jpg; the files' times are taken"]
    # Going on in the middle gives what comes there.
    np.testing.assert_allclose(means([f.image for f in camera.frames(4)]), LEVELS[4:], atol=2)
    by_name = means(images(f"frames:{tmp_path}"))
    np.testing.assert_allclose(by_name, [220, 140, 180, 100, 20, 60], atol=2)


def test_damaged_times_are_told(tmp_path):
    (tmp_path / "a.jpg").write_bytes(dated(20, "2026:05:03 10:00:00"))
    for number in range(7):
        (tmp_path / f"b{number}.jpg").write_bytes(dated(60, "2026:99:03 10:00:00"))
    camera = open_camera(f"frames:{tmp_path}", order="time")
    assert len(list(camera.frames())) == 8
    (line,) = remarks_of(camera)
    assert "a damaged EXIF part in b0.jpg, b1.jpg, b2.jpg, b3.jpg, b4.jpg and 2 more" in line


def test_orders_that_are_none(tmp_path):
    write_frames(tmp_path, LEVELS)
    with pytest.raises(OptionError, match="order 'size': choose from name, time"):
        open_camera(f"frames:{tmp_path}", order="size")
    for spec in ("synthetic", "video:x.mp4"):
        with pytest.raises(OptionError, match="order 'time': only frames:DIR"):
            open_camera(spec, order="time")


def test_what_is_left_out_and_what_is_fitted_is_told_once(tmp_path):
    write_frames(tmp_path, LEVELS)
    for name in ("notes.txt", "raw.CR2", ".hidden"):
        (tmp_path / name).write_text("x")
    for name in ("frame0003b.png", "frame0004b.png"):
        cv2.imwrite(str(tmp_path / name), frame_of(9, 16, 16))
    told = list[str]()
    camera = open_camera(f"frames:{tmp_path}")
    assert len(list(patient(camera, threading.Event(), told.append))) == 8 and not camera.skipped
    assert told == [
        f"frames:{tmp_path}: no images, left out: notes.txt, raw.CR2",
        f"frames:{tmp_path}: frame0003b.png is 16x16; it and others are fitted to 64x48",
    ]
    # Nobody is told of what was asked for.
    camera = open_camera(f"frames:{tmp_path}", size=(32, 24))
    assert len(list(camera.frames())) == 8 and len(remarks_of(camera)) == 1


def test_a_roll_keeps_its_order_when_it_goes_on(tmp_path):
    levels = [200, 30, 150, 80]
    for name, level, minute in zip("abcd", levels, (3, 0, 2, 1), strict=True):
        (tmp_path / f"{name}.jpg").write_bytes(dated(level, f"2026:05:03 10:0{minute}:00"))
    (tmp_path / "notes.txt").write_text("x")
    write_model(tmp_path / "plain", identity_network(), margin=0, grain=0)
    settings = {"style": str(tmp_path / "plain"), "backend": "reference", "keep_free": 0, "spool": "png"}
    with begin_roll(tmp_path / "roll", f"frames:{tmp_path}", order="time", frames=2, **settings) as lapse:
        assert lapse.run() == "complete" and any("notes.txt" in line for line in lapse.warnings)
    with open_roll(tmp_path / "roll") as roll:
        roll.settings = dataclasses.replace(roll.settings, frames=None)
        again = resume_roll(roll)
        assert again is not None
        with again:
            assert again.run() == "complete"
    shots = [cv2.imread(str(path)).mean() for path in sorted((tmp_path / "roll" / "originals").rglob("*.png"))]
    np.testing.assert_allclose(shots, [30, 80, 150, 200], atol=2)
