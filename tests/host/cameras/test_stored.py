"""Cameras: frames in order and upright, damage told and passed over, sources that do not serve refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.stored import Frame, fit, open_camera
from pleinair.errors import CameraError, OptionError
from pleinair.scenery.day import SyntheticDay
from tests.films import frame_of, means, read_video, write_frames, write_video
from tests.house import SHARED

TIMELAPSES = SHARED / "data" / "timelapse"
LEVELS = [20, 60, 100, 140, 180, 220]


def images(spec: str, **settings) -> list[np.ndarray]:
    """All images of the camera."""
    return [frame.image for frame in open_camera(spec, **settings).frames()]


# -- fit


def test_fit_takes_the_middle():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (fit(image, (40, 40)) == 200).all()
    assert (fit(image.transpose(1, 0, 2).copy(), (20, 20)) == 200).all()
    np.testing.assert_array_equal(fit(image, (100, 40)), image)


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (3, 2), (17, 31), (481, 640)])
@pytest.mark.parametrize("size", [(64, 48), (16, 200)])
def test_fit_gives_the_size_from_any_shape(height, width, size):
    assert fit(np.full((height, width, 3), 77, np.uint8), size).shape == (size[1], size[0], 3)
    assert (fit(np.full((height, width, 3), 77, np.uint8), size) == 77).all()


# -- synthetic


def test_synthetic_day_follows_the_clock():
    camera = open_camera("synthetic:3", (32, 24), 3600.0, 4)
    frames = list(camera.frames())
    assert camera.count == 4 and camera.size == (32, 24)
    assert [f.name for f in frames] == ["04:30", "05:30", "06:30", "07:30"]
    np.testing.assert_array_equal(frames[2].image, SyntheticDay(32, 24, seed=3).frame(6.5 * 3600))


@pytest.mark.parametrize("size", [(4097, 100), (100, 4097), (15, 100)])
def test_synthetic_day_has_its_limits(size):
    with pytest.raises(OptionError, match=rf"--size '{size[0]}x{size[1]}'.*16x16 to 4096x4096"):
        open_camera("synthetic", size=size)


def test_synthetic_day_is_a_day_unless_told():
    assert open_camera("synthetic", (16, 16)).count == 288
    assert open_camera("synthetic", (16, 16), 7200.0).count == 12


# -- folders


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
    np.testing.assert_allclose(means(images(f"frames:{tmp_path}", limit=3)), [20, 100, 140], atol=1)


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
    with pytest.raises(CameraError, match=r"15x40.*--size"):
        open_camera(f"frames:{tmp_path}")
    with pytest.raises(CameraError, match="too long"):
        open_camera(f"frames:{'x' * 300}")


def test_frames_that_vanish_are_listed(tmp_path):
    paths = write_frames(tmp_path, LEVELS)
    camera = open_camera(f"frames:{tmp_path}")
    paths[2].unlink()
    assert len(list(camera.frames())) == 5 and "frame0003.png" in camera.skipped[0]


# -- videos


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "a:b.mkv"])
def test_video_frames_in_order(tmp_path, name):
    write_video(tmp_path / name, [frame_of(level) for level in range(30, 210, 6)])
    camera = open_camera(f"video:{tmp_path / name}")
    shots = list(camera.frames())
    assert camera.size == (64, 48) and camera.count in (30, None)
    np.testing.assert_allclose(means([f.image for f in shots]), range(30, 210, 6), atol=2)
    np.testing.assert_allclose([f.seconds for f in shots], np.arange(30) / 10, atol=2e-3)
    assert not camera.skipped


@pytest.mark.parametrize("start", [0, 503])
def test_every_takes_a_grid_from_the_first_frame_on(tmp_path, start):
    path = write_video(tmp_path / "film.mkv", [frame_of(level) for level in range(30, 210, 6)], start=start)
    shots = list(open_camera(f"video:{path}", every=0.5).frames())
    np.testing.assert_allclose([f.seconds for f in shots], start / 10 + np.arange(6) * 0.5, atol=2e-3)
    np.testing.assert_allclose(means([f.image for f in shots]), [30, 60, 90, 120, 150, 180], atol=2)


def test_limit_and_size_of_a_video(tmp_path):
    path = write_video(tmp_path / "film.mp4", [frame_of(level) for level in LEVELS])
    assert [image.shape for image in images(f"video:{path}", limit=2, size=(20, 30))] == [(30, 20, 3)] * 2


def test_odd_sizes_come_as_they_are(tmp_path):
    wanted = [frame_of(level, 65, 49) for level in LEVELS]
    path = write_video(tmp_path / "odd.mkv", wanted, codec="ffv1", pix_fmt="bgr0")
    np.testing.assert_array_equal(images(f"video:{path}"), wanted)


def test_a_video_filmed_upright_is_shown_upright(tmp_path):
    import av

    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write a display matrix")
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 200
    # Turned by -90 degrees counterclockwise, the bright left comes to the top.
    path = write_video(tmp_path / "phone.mp4", [image] * 3, rotation=-90)
    camera = open_camera(f"video:{path}")
    shot = next(camera.frames()).image
    assert camera.size == (48, 64) and shot.shape == (64, 48, 3)
    assert shot[:28].mean() > 190 and shot[36:].mean() < 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_video_gives_its_beginning_and_says_so(tmp_path, suffix):
    noise = np.random.default_rng(0)
    shots = [noise.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    path = write_video(tmp_path / f"film{suffix}", shots, options={"movflags": "faststart"} if suffix == ".mp4" else {})
    whole = read_video(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    camera = open_camera(f"video:{path}")
    got = [frame.image for frame in camera.frames()]
    assert 20 < len(got) < 50
    np.testing.assert_array_equal(got, whole[: len(got)])
    assert any("truncated" in line and str(path) in line for line in camera.skipped)


def test_damage_in_the_middle_does_not_end_the_video(tmp_path):
    noise = np.random.default_rng(0)
    shots = [noise.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    path = write_video(tmp_path / "film.mp4", shots, options={"movflags": "faststart"})
    data, whole = bytearray(path.read_bytes()), read_video(path)
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    camera = open_camera(f"video:{path}")
    got = [frame.image for frame in camera.frames()]
    assert len(got) > 50 and len(camera.skipped) == 1 and "damaged" in camera.skipped[0]
    np.testing.assert_array_equal(got[-1], whole[-1])


def test_videos_that_do_not_serve(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    (tmp_path / "text.mp4").write_text("hello\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    small = write_video(tmp_path / "small.mkv", [frame_of(9, 14, 40)])
    no_end = write_video(tmp_path / "no_end.mp4", [frame_of(9)] * 9)
    no_end.write_bytes(no_end.read_bytes().partition(b"moov")[0])
    for name, cause in (
        ("sound.wav", "no video stream"), ("text.mp4", "not a video"), ("empty.mp4", "not a video"),
        ("none.mp4", "No such file"), (".", "a folder"), (small.name, "14x40"), (no_end.name, "without its end"),
        ("x" * 300, "too long"),
    ):  # fmt: skip
        with pytest.raises(CameraError, match=cause) as caught:
            open_camera(f"video:{tmp_path / name}")
        assert str(tmp_path / name) in str(caught.value)


# -- the option


@pytest.mark.parametrize("spec", ["", "camera", "frames", "frames:", "video:", "synthetic:x", "synthetic:-1", "rpi:0"])
def test_unknown_cameras_are_refused_with_the_choice(spec):
    with pytest.raises(OptionError, match="--camera"):
        open_camera(spec)


def test_a_folder_has_no_clock(tmp_path):
    write_frames(tmp_path, LEVELS)
    with pytest.raises(OptionError, match=r"--every 5s: a folder of frames has no clock"):
        open_camera(f"frames:{tmp_path}", every=5.0)


def test_the_tilde_is_home(tmp_path, monkeypatch):
    write_frames(tmp_path / "garden", LEVELS)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_camera("frames:~/garden").count == 6


# -- real material


@pytest.mark.skipif(not TIMELAPSES.is_dir(), reason="../shared/data/timelapse is not there")
def test_a_real_video_every_ten_seconds():
    shots = list(open_camera(f"video:{TIMELAPSES / 'vtest.avi'}", (96, 72), 10.0).frames())
    assert [round(f.seconds) for f in shots] == list(range(0, 80, 10))
