"""Videos: frames in order and upright, damage told and passed over, files that do not serve refused."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pleinair.cameras.camera import Frame
from pleinair.cameras.opening import open_camera
from pleinair.cameras.video import upright
from pleinair.errors import CameraError
from tests.films import frame_of, means, read_video, write_video
from tests.host.test_images import damaged, scene
from tests.house import SHARED

TIMELAPSES = SHARED / "data" / "timelapse"
CASES = SHARED / "cases"

LEVELS = [20, 60, 100, 140, 180, 220]


def images(spec: str, **settings) -> list[np.ndarray]:
    """All images of the camera."""
    return [frame.image for frame in open_camera(spec, **settings).frames()]


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
    assert [image.shape for image in images(f"video:{path}", frames=2, size=(20, 30))] == [(30, 20, 3)] * 2


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
        ("sound.wav", "no video stream"),
        ("text.mp4", "not a video"),
        ("empty.mp4", "not a video"),
        ("none.mp4", "No such file"),
        (".", "a folder"),
        (small.name, "14x40"),
        (no_end.name, "without its end"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(CameraError, match=cause) as caught:
            open_camera(f"video:{tmp_path / name}")
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.skipif(not TIMELAPSES.is_dir(), reason="../shared/data/timelapse is not there")
def test_a_real_video_every_ten_seconds():
    shots = list(open_camera(f"video:{TIMELAPSES / 'vtest.avi'}", size=(96, 72), every=10.0).frames())
    assert [round(f.seconds) for f in shots] == list(range(0, 80, 10))


class _Picture:
    """A decoded frame with a display matrix."""

    rotation = 0

    def __init__(self, image: np.ndarray, a: int, b: int, c: int, d: int) -> None:
        self.image, self.type = image, SimpleNamespace(name="DISPLAYMATRIX")
        one = 1 << 16
        self.matrix = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30], np.int32)
        self.side_data = [self]

    def __bytes__(self) -> bytes:
        return self.matrix.tobytes()

    def to_ndarray(self) -> np.ndarray:
        return self.image


@pytest.mark.parametrize(
    "matrix",
    [
        m
        for m in itertools.product((-1, 0, 1), repeat=4)
        if abs(m[0] * m[3] - m[1] * m[2]) == 1 and sum(map(abs, m)) == 2
    ],
)
def test_turned_and_mirrored_as_the_matrix_says(matrix):
    """Against the matrix applied to each pixel: (p, q) comes to (a p + c q, b p + d q), moved into the picture."""
    a, b, c, d = matrix
    image = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(4, 5, 3)
    places = {(a * p + c * q, b * p + d * q): image[q, p] for q in range(4) for p in range(5)}
    left, top = (min(place[i] for place in places) for i in (0, 1))
    shown = upright(_Picture(image, a, b, c, d), lambda picture, **_: picture)
    assert len(places) == shown.shape[0] * shown.shape[1]
    for (x, y), pixel in places.items():
        assert (shown[y - top, x - left] == pixel).all()


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
def test_other_peoples_videos():
    assert open_camera(f"video:{CASES / 'sar2.mp4'}").size == (320, 96)
    assert len(images(f"video:{CASES / 'raw.h264'}", every=1.0)) == 4
    with pytest.raises(CameraError, match="cover"):
        open_camera(f"video:{CASES / 'song.mp3'}")
    assert open_camera(f"video:{CASES / 'hflip.mp4'}").size == (160, 96)


@pytest.mark.parametrize("content", ["#EXTM3U\nfilm.mkv\n", "ffconcat version 1.0\nfile film.mkv\n"])
def test_playlists_are_refused(tmp_path, content):
    write_video(tmp_path / "film.mkv", [frame_of(9)] * 3)
    (tmp_path / "list.mp4").write_text(content)
    with pytest.raises(CameraError, match="a list of other files"):
        open_camera(f"video:{tmp_path / 'list.mp4'}")


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (128, 48)), (Fraction(1, 2), (64, 96)), (Fraction(4, 3), (85, 48))]
)
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, size):
    import av

    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for level in (30, 90):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_of(level), format="rgb24")))
        container.mux(stream.encode(None))
    camera = open_camera(f"video:{tmp_path / 'wide.mp4'}")
    assert camera.size == size and [f.image.shape[1::-1] for f in camera.frames()] == [size] * 2


def clip(path: Path, seed: int, codec: str) -> Path:
    """24 frames of a picture that moves, under a camera's noise; some JPEGs as webcams leave them."""
    import av

    chance, picture = np.random.default_rng(seed + 9000), scene(seed)
    height, width = (side // 2 * 2 - 16 for side in picture.shape[:2])
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        preset = ("superfast", "medium", "veryfast")[seed % 3]
        quality = str(2 + seed % 6)
        h264 = {"g": "12", "crf": str(18 + seed % 12), "preset": preset, "bf": str(seed % 2 * 2)}
        stream.options = h264 if codec == "libx264" else {"qmin": quality, "qmax": quality}
        packets = []
        for number in range(24):
            top, left = number % 16, number // 2 % 16
            image = picture[top : top + height, left : left + width] + chance.normal(0, 2, (height, width, 3))
            frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            if codec == "mjpeg" and seed % 5 == 0:
                data = bytes(packet)
                odd = av.Packet(data[:-2] + (b"\x17\x2a" + data[-2:] if seed % 2 else b""))
                odd.stream, odd.pts, odd.dts, odd.time_base = stream, packet.pts, packet.dts, packet.time_base
                odd.is_keyframe, packet = True, odd
            container.mux(packet)
    return path


def told(path: Path) -> tuple[bool, list[Frame]]:
    """Whether damage in a video is told, and the frames that it gives."""
    try:
        camera = open_camera(f"video:{path}")
        frames = list(camera.frames())
    except CameraError:
        return True, []
    return bool(camera.skipped), frames


@pytest.mark.parametrize(("codec", "kinds"), [("mjpeg", ("avi", "mp4", "mkv")), ("libx264", ("mp4", "mp4", "mkv"))])
def test_damage_in_videos_is_found_and_good_ones_stay(tmp_path, codec, kinds):
    """The table in docs/time-lapse.md, on fewer videos; MEASURE=500 makes it anew."""
    count = int(os.environ.get("MEASURE", "24"))
    found = refused = given = wrong = 0
    missed = []
    for seed in range(count):
        path = clip(tmp_path / f"clip.{kinds[seed % 3]}", seed, codec)
        bad, frames = told(path)
        refused += bad or len(frames) != 24
        whole = [frame.image.astype(np.int16) for frame in frames]
        path.write_bytes(damaged(path.read_bytes(), seed, first=2500))
        bad, frames = told(path)
        found += bad
        if not bad:
            missed.append(f"{seed} {path.suffix}")
        given += len(frames)
        for frame in frames:
            wrong += min(np.abs(frame.image - right).mean() for right in whole) > 2
    print(f"{codec}: {found} of {count} damaged found, {refused} of {count} good refused")
    print(f"of {given} frames of damaged videos {wrong} are wrong; missed: {missed}")
    assert refused <= count * 0.005
    assert found >= count * 0.9
    assert wrong <= given * 0.02


@pytest.mark.parametrize("preset", ["ultrafast", "superfast"])
def test_flat_videos_are_whole(tmp_path, preset):
    """Their codes hold long runs of equal bits."""
    import av

    ramp = np.repeat(np.arange(540, dtype=np.uint8)[:, None, None] // 5, 3, 2).repeat(960, 1)
    for name, image in (("ramp", ramp), ("black", ramp * 0), ("white", ramp * 0 + 255)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
            stream.options = {"preset": preset}
            for number in range(4):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        bad, frames = told(tmp_path / f"{name}.mp4")
        assert not bad and len(frames) == 4
