"""The encoder: what is in the stream by another decoder's account, and how true its colours are."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av", reason="films need PyAV")

from pleinair.films.encoder import Encoder, even, plays_everywhere  # noqa: E402


def paintings(count: int, width: int, height: int) -> list[np.ndarray]:
    """Pictures of smooth colour, brighter from frame to frame."""
    ramp = np.stack(np.meshgrid(np.linspace(30, 160, width), np.linspace(20, 120, height)), axis=2)
    picture = np.dstack([ramp, ramp.mean(2)])
    return [np.clip(picture + 4 * number, 0, 255).astype(np.uint8) for number in range(count)]


def encoded(pictures: list[np.ndarray], fps: int = 25, threads: int = 1) -> bytes:
    """A film of the pictures, in memory."""
    file = io.BytesIO()
    height, width = pictures[0].shape[:2]
    with av.open(file, "w", format="matroska", options={"fflags": "bitexact"}) as container:
        encoder = Encoder(container, width=width, height=height, fps=fps, threads=threads)
        for picture in pictures:
            encoder.add(picture)
        encoder.end()
    return file.getvalue()


def test_another_decoder_sees_every_picture_in_its_colours(tmp_path):
    pictures = paintings(12, 96, 64)
    film = tmp_path / "film.mkv"
    film.write_bytes(encoded(pictures))
    capture = cv2.VideoCapture(str(film))
    try:
        assert capture.get(cv2.CAP_PROP_FPS) == 25
        for picture in pictures:
            there, shown = capture.read()
            assert there and np.abs(shown[..., ::-1].astype(int) - picture).mean() < 4
        assert not capture.read()[0]
    finally:
        capture.release()


def test_the_stream_says_how_it_is_coloured_and_timed():
    with av.open(io.BytesIO(encoded(paintings(5, 96, 64), fps=10))) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 96, 64)
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        times = [float(frame.time) for frame in container.decode(stream)]
    np.testing.assert_allclose(times, [0.0, 0.1, 0.2, 0.3, 0.4], atol=0.001)


def test_bt709_in_limited_range():
    """Y' = 16 + 219 (0.2126 R' + 0.7152 G' + 0.0722 B'), ITU-R BT.709-6, 3.2 and 4.6."""
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)):
        flat = np.full((64, 64, 3), colour, np.uint8)
        with av.open(io.BytesIO(encoded([flat]))) as container:
            frame = next(container.decode(video=0))
        luma = frame.to_ndarray(format="yuv420p")[:64].astype(float).mean()
        wanted = 16 + 219 / 255 * np.dot((0.2126, 0.7152, 0.0722), colour)
        assert luma == pytest.approx(wanted, abs=2)


def test_the_same_pictures_give_the_same_bytes():
    pictures = paintings(6, 96, 64)
    assert encoded(pictures) == encoded([picture.copy() for picture in pictures])
    assert encoded(pictures) != encoded(pictures[::-1])


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_odd_sides_gain_a_repeated_row_or_column(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = even(image)
    assert padded.shape == (height + height % 2, width + width % 2, 3)
    np.testing.assert_array_equal(padded[:height, :width], image)
    np.testing.assert_array_equal(padded, np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge"))
    assert (padded is image) == (height % 2 == width % 2 == 0)


def test_nothing_else_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoded(paintings(2, 32, 32))
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("size", "plays"), [((640, 360), True), ((3840, 2160), True), ((4096, 2304), True), ((4056, 3040), False)]
)
def test_the_largest_films_that_browsers_play(size, plays):
    """Level 5.2 holds 4096x2304 at the most (ITU-T H.264, table A-1)."""
    assert plays_everywhere(*size) is plays


def test_the_fastest_films_that_browsers_play():
    """Level 5.2 holds 2,073,600 macroblocks a second (ITU-T H.264, table A-1): 64 frames of 3840x2160."""
    assert plays_everywhere(3840, 2160, 64) and plays_everywhere(3840, 2160, Fraction(60000, 1001))
    assert not plays_everywhere(3840, 2160, 65)
