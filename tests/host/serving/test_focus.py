"""The focus view: its figure, its picture, and looking through a camera."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import Frame, Shooter
from pleinair.errors import OptionError
from pleinair.images import decode_image
from pleinair.rolls.roll import Roll
from pleinair.scenery.day import SyntheticDay
from pleinair.serving import focus
from pleinair.serving.focus import Finder, centre, look_at, sharpness
from pleinair.serving.site import page_of
from tests.rolls import Still
from tests.serving import ask, get, make_roll


def test_a_sharper_picture_has_a_larger_figure():
    noon = SyntheticDay(320, 240).frame(12 * 3600)
    figures = [sharpness(cv2.GaussianBlur(noon, (0, 0), sigma)) for sigma in (4, 2, 1, 0.5)]
    assert figures == sorted(figures) and figures[-1] > 4 * figures[0]
    assert sharpness(np.full((48, 64, 3), 9, np.uint8)) == 0


@pytest.mark.parametrize(("size", "shown"), [((400, 300), (480, 720)), ((64, 48), (144, 192)), ((1, 1), (3, 3))])
def test_the_centre_is_enlarged_pixel_by_pixel(size, shown):
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    enlarged = centre(image)
    assert enlarged.shape[:2] == shown
    top, left = (size[1] - shown[0] // 3) // 2, (size[0] - shown[1] // 3) // 2
    np.testing.assert_array_equal(enlarged[1::3, 1::3], image[top : top + shown[0] // 3, left : left + shown[1] // 3])


def test_the_newest_original_is_looked_at(tmp_path):
    make_roll(tmp_path / "roof", frames=3)
    make_roll(tmp_path / "empty", frames=0, painted=None)
    with page_of(tmp_path, 0) as served:
        told = json.loads(get(served.port, "/roll/roof/focus")[1])
        assert told["number"] == 2 and told["sharpness"] > 0 and told["camera"] is False and told["problem"] == ""
        assert decode_image(get(served.port, "/roll/roof/focus/2-centre.jpg")[1], "centre").shape == (144, 192, 3)
        assert decode_image(get(served.port, "/roll/roof/focus/2-whole.jpg")[1], "whole").shape == (48, 64, 3)
        assert get(served.port, "/roll/roof/focus/2-other.jpg")[0] == 404
        assert "number" not in json.loads(get(served.port, "/roll/empty/focus")[1])


class Lens(Still):
    """A camera that is ever better focused."""

    def shoot(self) -> Frame | None:
        """See Shooter."""
        self.taken += 1
        noise = np.random.default_rng(1).integers(0, min(255, 20 * self.taken), (48, 64, 3), np.uint8)
        return Frame(noise, self.taken, 0.0, "", self.taken)


@pytest.fixture
def lens(monkeypatch) -> list[Shooter]:
    """The cameras that are opened."""
    opened = list[Shooter]()

    def opening(*_: object, **__: object) -> Shooter:
        opened.append(Lens())
        return opened[-1]

    monkeypatch.setattr(focus, "open_shooter", opening)
    monkeypatch.setattr(focus, "_PAUSE", 0.01)
    return opened


def seen(finder: Finder, roll: Path) -> focus.Seen:
    """What is seen through the camera."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found, through, problem = finder.newest(roll)
        assert problem == ""
        if through and found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("nothing is seen")


def test_looking_through_the_camera_of_a_roll_that_nobody_films(tmp_path, lens, no_thread_stays):
    roll = make_roll(tmp_path / "roof", camera="v4l2:0")
    finder = Finder({})
    finder.open(roll)
    first = seen(finder, roll)
    while seen(finder, roll).number == first.number:
        pass
    assert len(list((roll / "originals").rglob("*.jpg"))) == 3  # nothing is kept
    finder.close()
    assert lens[0].closed and finder.newest(roll)[1] is False  # type: ignore[attr-defined]
    finder.close()


def test_the_camera_is_given_back_when_nobody_asks_or_somebody_films(tmp_path, lens, monkeypatch, no_thread_stays):
    roll = make_roll(tmp_path / "roof", camera="v4l2:0")
    finder = Finder({})
    monkeypatch.setattr(focus, "_ASKED", -1.0)
    finder.open(roll)
    assert finder._through is not None
    finder._through.join(60)
    assert lens[0].closed  # type: ignore[attr-defined]
    monkeypatch.setattr(focus, "_ASKED", 60.0)
    finder.open(roll)
    seen(finder, roll)
    with Roll.open(roll):
        finder._through.join(60)
        assert lens[1].closed and not finder._through.is_alive()  # type: ignore[attr-defined]
        with pytest.raises(OptionError, match="is being filmed"):
            finder.open(roll)


def test_a_stored_camera_has_no_lens(tmp_path):
    roll = make_roll(tmp_path / "roof", camera="frames:/nowhere")
    with pytest.raises(OptionError, match="not filmed by a live camera"):
        Finder({}).open(roll)


def test_a_camera_that_does_not_open_is_told(tmp_path):
    roll = make_roll(tmp_path / "roof", camera="v4l2:0")
    secret = "k7pf-92ma-xq3d-hh4t"
    with page_of(tmp_path, 0, secret=secret, drivers={}) as served:
        headers = {"Authorization": f"Bearer {secret}"}
        assert ask(served.port, "/roll/roof/look", "POST")[0] == 401
        assert ask(served.port, "/roll/roof/look", "POST", headers)[0] == 200
        deadline = time.monotonic() + 60
        while not (problem := json.loads(get(served.port, "/roll/roof/focus")[1])["problem"]):
            assert time.monotonic() < deadline
        assert "no driver" in problem
        assert ask(served.port, "/roll/roof/rest", "POST", headers)[0] == 200
    assert roll.exists()


def test_what_is_looked_at_is_bounded():
    seen = look_at(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8), 1)
    assert decode_image(seen.whole, "whole").shape == (600, 800, 3)
    assert decode_image(seen.centre, "centre").shape == (480, 720, 3)
