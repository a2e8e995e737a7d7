"""Encoded frames in another container: the same packets, timed anew, and frames of another encoding noticed."""

from __future__ import annotations

import av
import pytest

from pleinair.films.remux import Remuxer, read_packets
from tests.films import frame_of, write_video

LEVELS = [30, 70, 110, 150]


def coded(path) -> list[bytes]:
    """The bytes of each packet, read by PyAV alone."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_two_films_one_after_the_other(tmp_path, suffix):
    one = write_video(tmp_path / "one.mkv", [frame_of(level) for level in LEVELS], start=7)
    two = write_video(tmp_path / "two.mkv", [frame_of(level) for level in LEVELS[::-1]])
    with av.open(str(tmp_path / f"both{suffix}"), "w") as target:
        film = Remuxer(target, fps=25)
        assert film.append(read_packets(one)) == 4
        assert film.append(read_packets(two)) == film.frames == 8
    assert coded(tmp_path / f"both{suffix}") == coded(one) + coded(two)
    with av.open(str(tmp_path / f"both{suffix}")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times == pytest.approx([n / 25 for n in range(8)], abs=1e-3)


def test_frames_of_another_encoding_do_not_fit(tmp_path):
    films = [
        write_video(tmp_path / f"{width}.mkv", [frame_of(level, width) for level in LEVELS]) for width in (64, 96, 64)
    ]
    with av.open(str(tmp_path / "film.mkv"), "w") as target:
        film, fits = Remuxer(target, fps=25), []
        for number, path in enumerate(films):
            for packet, stream in read_packets(path):
                fits.append(film.takes(stream))
                if number == 0:
                    film.append([(packet, stream)])
    assert fits == [True] * 4 + [False] * 4 + [True] * 4
