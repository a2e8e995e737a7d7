"""Films: every frame once, in order and in its colours; index first; nothing recorded is lost, nothing else left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import OutputError
from pleinair.films.encoder import MAX_SIDE
from pleinair.films.recorder import FilmRecorder
from tests import children
from tests.films import frame_of, means, read_video
from tests.house import ROOT

LEVELS = list(range(30, 210, 6))


def record(path: Path, images: list[np.ndarray], fps: int = 24) -> Path:
    """A film of the images."""
    recorder = FilmRecorder(path, fps)
    for image in images:
        recorder.add(image)
    return recorder.finish()


def names(folder: Path) -> list[str]:
    """Everything in the folder, hidden files too."""
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mov", "FILM.MP4", "12:30.mp4", "snow ☃.mkv"])
def test_every_frame_once_and_in_order(tmp_path, name):
    assert record(tmp_path / name, [frame_of(level) for level in LEVELS]) == tmp_path / name
    np.testing.assert_allclose(means(read_video(tmp_path / name)), LEVELS, atol=2)
    assert names(tmp_path) == [name]


def test_a_relative_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(Path("12:30.mp4"), [frame_of(9)])
    assert names(tmp_path) == ["12:30.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_larger_than_any_buffer_is_whole(tmp_path, suffix):
    noise = np.random.default_rng(0)
    shots = [noise.integers(0, 256, (240, 320, 1), dtype=np.uint8).repeat(3, 2) for _ in range(12)]
    path = record(tmp_path / f"film{suffix}", shots)
    assert path.stat().st_size > 300_000
    for shot, wanted in zip(read_video(path), shots, strict=True):
        assert np.corrcoef(shot.ravel(), wanted.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("fps", [1, 24, 240, Fraction(24000, 1001), Fraction(25, 2)])
def test_rate_and_duration(tmp_path, fps):
    import av

    record(tmp_path / "film.mp4", [frame_of(level) for level in LEVELS], fps)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == fps and stream.frames == len(LEVELS)
        assert [f.pts * f.time_base * fps for f in container.decode(stream)] == list(range(len(LEVELS)))
        assert stream.duration * stream.time_base * fps == len(LEVELS)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_index_comes_first(tmp_path, suffix):
    data = record(tmp_path / f"film{suffix}", [frame_of(level) for level in LEVELS]).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("width", "height"), [(65, 49), (65, 48), (64, 49), (17, 17)])
def test_odd_sizes_gain_a_repeated_line(tmp_path, width, height):
    ramp = np.repeat(np.linspace(20, 220, width).astype(np.uint8)[None, :, None], height, 0).repeat(3, 2)
    (shot,) = read_video(record(tmp_path / "film.mp4", [ramp]))
    assert shot.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(shot[:height, :width].astype(int) - ramp).mean() < 3
    assert np.abs(shot[:, -1].astype(int) - 220).mean() < 6 and shot[-1].std() > 20


def test_colours_are_bt709_and_say_so(tmp_path):
    import av

    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]
    path = record(tmp_path / "film.mp4", [np.full((48, 64, 3), c, np.uint8) for c in colours])
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    for (r, g, b), frame in zip(colours, frames, strict=True):
        # ITU-R BT.709-6, 3.2 and 3.4: luma and its 8-bit code.
        luma = 16 + 219 * (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255
        planes = frame.to_ndarray(format="yuv420p")
        assert abs(float(planes[:48].mean()) - luma) < 2
        assert (frame.colorspace, frame.color_range) == (1, 1)


def test_the_colours_are_what_ffmpeg_makes_of_them(tmp_path):
    """Of ramps: as near as x264 keeps them, plane by plane, and none is displaced."""
    import av

    ramp = np.linspace(0, 255, 96)
    picture = np.stack([np.broadcast_to(ramp, (64, 96)), ramp[::-1] + np.zeros((64, 1)), np.full((64, 96), 90)], 2)
    picture = np.rint(picture).astype(np.uint8)
    wanted = av.VideoFrame.from_ndarray(picture, format="rgb24")
    wanted = wanted.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG").to_ndarray()
    with av.open(str(record(tmp_path / "film.mp4", [picture] * 3))) as container:
        for shot in container.decode(video=0):
            assert np.abs(shot.to_ndarray(format="yuv420p").astype(int) - wanted).mean() < 1


def test_frames_of_another_size_are_our_own_mistake(tmp_path):
    recorder = FilmRecorder(tmp_path / "film.mp4")
    recorder.add(frame_of(9))
    with pytest.raises(ValueError, match="the film has"):
        recorder.add(frame_of(9, 32, 32))
    recorder.discard()
    assert names(tmp_path) == []


def test_frames_too_long_for_h264_are_refused(tmp_path):
    recorder = FilmRecorder(tmp_path / "film.mp4")
    with pytest.raises(OutputError, match=f"{MAX_SIDE + 2}x16.*{MAX_SIDE}"):
        recorder.add(np.zeros((16, MAX_SIDE + 2, 3), np.uint8))
    recorder.discard()
    assert names(tmp_path) == []


def test_a_film_without_frames_is_none(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"older")
    with pytest.raises(OutputError, match="no frame"):
        FilmRecorder(tmp_path / "film.mp4").finish()
    assert names(tmp_path) == ["film.mp4"] and (tmp_path / "film.mp4").read_bytes() == b"older"


def test_places_where_no_film_can_be(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    for name, cause in (
        ("film.avi", r"\.mp4, \.mkv, \.mov"),
        ("film", r"\.mp4"),
        ("none/film.mp4", "does not exist"),
        ("folder.mp4", "a folder"),
    ):
        with pytest.raises(OutputError, match=cause):
            FilmRecorder(tmp_path / name)
    with pytest.raises(OutputError, match="too long"):
        FilmRecorder(tmp_path / ("x" * 237 + ".mp4"))
    record(tmp_path / ("x" * 236 + ".mp4"), [frame_of(9)])
    (tmp_path / ("x" * 236 + ".mp4")).unlink()
    assert names(tmp_path) == ["folder.mp4"]


def test_a_second_recorder_is_refused_and_harms_nothing(tmp_path):
    path = tmp_path / "film.mp4"
    early = FilmRecorder(path)
    first = FilmRecorder(path)
    for level in LEVELS:
        first.add(frame_of(level))
    with pytest.raises(OutputError, match="another run"):
        FilmRecorder(path)
    with pytest.raises(OutputError, match="another run"):
        early.add(frame_of(9))
    early.discard()
    first.finish()
    assert len(read_video(path)) == len(LEVELS) and names(tmp_path) == ["film.mp4"]
    record(path, [frame_of(9)])
    assert len(read_video(path)) == 1


def test_what_a_killed_run_left_plays_and_is_put_aside(tmp_path):
    path = tmp_path / "film.mp4"
    code = (
        "import sys; from pathlib import Path\n"
        "from pleinair.films.recorder import FilmRecorder; from tests.films import frame_of\n"
        f"r = FilmRecorder(Path({str(path)!r}))\n"
        f"for level in {LEVELS}: r.add(frame_of(level))\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with children.start([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stderr=None) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".film.mp4.part.mkv"]
    left = means(read_video(tmp_path / ".film.mp4.part.mkv"))
    assert len(left) >= len(LEVELS) - 1
    np.testing.assert_allclose(left, LEVELS[: len(left)], atol=2)
    (tmp_path / "film.interrupted-1.mkv").write_bytes(b"from another day")
    recorder = FilmRecorder(path)
    assert recorder.aside == tmp_path / "film.interrupted-2.mkv"
    recorder.add(frame_of(9))
    recorder.finish()
    assert len(read_video(path)) == 1
    np.testing.assert_allclose(means(read_video(tmp_path / "film.interrupted-2.mkv")), left, atol=1e-6)
    assert (tmp_path / "film.interrupted-1.mkv").read_bytes() == b"from another day"


def test_an_error_at_the_end_keeps_what_was_recorded(tmp_path, monkeypatch):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"older")
    recorder = FilmRecorder(path)
    for level in LEVELS:
        recorder.add(frame_of(level))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"film\.mp4: No space left.*\.film\.mp4\.part\.mkv"):
        recorder.finish()
    assert names(tmp_path) == [".film.mp4.part.mkv", "film.mp4"] and path.read_bytes() == b"older"
    assert len(read_video(tmp_path / ".film.mp4.part.mkv")) == len(LEVELS)


def test_without_pyav_films_are_refused_and_the_core_still_works(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('onnx', 'onnxruntime', 'rich', 'click', 'torch'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.modules['av'] = None\n"
        "import pleinair.network.reference, pleinair.images, pleinair.painting.tiles, pleinair.models\n"
        "import pleinair.cli.values\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'av' else found(name)\n"
        "from pleinair.cameras.opening import open_camera\n"
        "from pleinair.errors import PleinairError\n"
        "from pleinair.films.recorder import FilmRecorder\n"
        "from pathlib import Path\n"
        "print(len(list(open_camera('synthetic', size=(16, 16), frames=2).frames())))\n"
        "for make in (lambda: FilmRecorder(Path('film.mp4')), lambda: open_camera('video:film.mp4')):\n"
        "    try: make()\n"
        "    except PleinairError as error: print(error)\n"
    )
    run = children.python("-c", code, cwd=tmp_path)
    assert run.stderr == "" and run.stdout.splitlines()[0] == "2"
    assert [line.count("needs av (PyAV): pip install '.[cpu]'") for line in run.stdout.splitlines()] == [0, 1, 1]


def test_a_film_that_is_there_is_put_aside(tmp_path):
    path = tmp_path / "film.mp4"
    for content in (b"older", b"old"):
        path.write_bytes(content)
        path.chmod(0o600)
        record(path, [frame_of(9)])
    assert names(tmp_path) == ["film.before-1.mp4", "film.before-2.mp4", "film.mp4"]
    assert (tmp_path / "film.before-1.mp4").read_bytes() == b"older"
    assert path.stat().st_mode & 0o777 == 0o600
    recorder = FilmRecorder(path, force=True)
    recorder.add(frame_of(9))
    recorder.finish()
    assert len(names(tmp_path)) == 3 and recorder.before is None


def test_a_films_name_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "latest.mp4").symlink_to(tmp_path / "real" / "film.mp4")
    record(tmp_path / "latest.mp4", [frame_of(9)])
    assert (tmp_path / "latest.mp4").is_symlink() and len(read_video(tmp_path / "real" / "film.mp4")) == 1
    assert names(tmp_path / "real") == ["film.mp4"]


def test_a_planted_link_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".film.mp4.part.mkv").symlink_to(tmp_path / "precious")
    (tmp_path / ".film.mp4.copy.part.mp4").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError):
        record(tmp_path / "film.mp4", [frame_of(9)])
    (tmp_path / ".film.mp4.part.mkv").unlink()
    record(tmp_path / "film.mp4", [frame_of(9)])
    assert (tmp_path / "precious").read_text() == "precious"
