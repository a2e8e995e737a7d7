"""A direct film in one call."""

from __future__ import annotations

import pytest

from pleinair.cameras.opening import open_camera
from pleinair.errors import OutputError
from pleinair.films.film import film
from tests.films import read_video
from tests.rolls import Plain, film_codes, write_coded


def test_every_frame_painted_once_into_the_film(tmp_path):
    import av

    camera = open_camera(f"frames:{write_coded(tmp_path / 'frames', 9)}")
    seen = list[int]()
    outcome = film(
        camera, Plain(), str(tmp_path / "film.mp4"), fps=12, steady=0, report=lambda p: seen.append(p.recorded)
    )
    assert outcome.film == tmp_path / "film.mp4" and len(seen) == 9 and not outcome.interrupted
    assert film_codes(tmp_path / "film.mp4") == list(range(9))
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].average_rate == 12


def test_the_time_is_on_it_where_it_is_asked_for(tmp_path):
    camera = open_camera("synthetic", size=(320, 240), frames=2)
    plain, stamped = tmp_path / "plain.mkv", tmp_path / "stamped.mkv"
    film(camera, Plain(), plain)
    film(camera, Plain(), stamped, timestamp=True)
    for one, other in zip(read_video(plain), read_video(stamped), strict=True):
        assert abs(one[200:].astype(int) - other[200:]).max() > 100
        assert abs(one[:180].astype(int) - other[:180]).mean() < 2


def test_a_place_where_no_film_can_be(tmp_path):
    with pytest.raises(OutputError, match=r"^out .*film\.avi: a film ends in"):
        film(open_camera("synthetic", size=(32, 24)), Plain(), tmp_path / "film.avi")
