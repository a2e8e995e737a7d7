"""Moving pictures, read back by FFmpeg and by OpenCV."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from pleinair.errors import OutputError
from pleinair.films.loop import FRAMES, RATE, SIDE, write_loop
from tests.films import read_video, write_video


def shades(count: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Frames that grow lighter."""
    return [np.full((size[1], size[0], 3), 20 + 200 * n // count, np.uint8) for n in range(count)]


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("count", [1, 30, 400])
def test_it_shows_frames_from_all_of_the_film(tmp_path, suffix, count):
    film = write_video(tmp_path / "film.mp4", shades(count))
    assert write_loop(film, tmp_path / f"film{suffix}") == min(FRAMES, count)
    data = (tmp_path / f"film{suffix}").read_bytes()
    assert data[:4] == (b"RIFF" if suffix == ".webp" else b"GIF8")
    if suffix == ".webp" and count > 1:
        # ANIM chunk: background, then how often it plays; 0 is for ever.
        at = data.index(b"ANIM")
        assert data[at + 12 : at + 14] == bytes(2)
        # Frames that look alike are one that is shown for longer.
        shown = [int.from_bytes(data[m.end() + 16 : m.end() + 19], "little") for m in re.finditer(b"ANMF", data)]
        assert len(shown) > 1 and sum(shown) == pytest.approx(1000 * min(FRAMES, count) / RATE, abs=100)
    if suffix == ".gif":
        means = [image.mean() for image in read_video(tmp_path / "film.gif")]
        assert len(means) == min(FRAMES, count)
        if count > 1:
            wanted = [20 + 200 * (count * n // len(means)) // count for n in range(len(means))]
            assert means == pytest.approx(wanted, abs=6)
    assert list(tmp_path.glob(".*")) == []


def test_large_films_become_small(tmp_path):
    film = write_video(tmp_path / "film.mp4", shades(3, (1280, 720)))
    write_loop(film, tmp_path / "film.webp")
    image = cv2.imread(str(tmp_path / "film.webp"))
    assert image is None or image.shape[:2] == (SIDE * 720 // 1280, SIDE)
    write_loop(film, tmp_path / "film.gif")
    assert read_video(tmp_path / "film.gif")[0].shape == (SIDE * 720 // 1280, SIDE, 3)


def test_what_cannot_be_written_is_refused(tmp_path):
    film = write_video(tmp_path / "film.mp4", shades(3))
    with pytest.raises(OutputError, match=r"ends in \.webp or \.gif"):
        write_loop(film, tmp_path / "film.png")
    with pytest.raises(OutputError, match="does not exist"):
        write_loop(film, tmp_path / "nowhere" / "film.gif")
    (tmp_path / "none.mp4").write_bytes(b"none")
    with pytest.raises(OutputError):
        write_loop(tmp_path / "none.mp4", tmp_path / "film.gif")
    assert not (tmp_path / "film.gif").exists()
