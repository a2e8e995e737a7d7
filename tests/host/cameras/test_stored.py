"""A folder of images: frames by number, damage told and passed over, folders that do not serve refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import Frame, StoredShooter, left_out
from pleinair.cameras.opening import open_camera
from pleinair.errors import AwayError, CameraError
from pleinair.films.stamp import stamp
from tests.films import frame_of, means, write_frames

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
