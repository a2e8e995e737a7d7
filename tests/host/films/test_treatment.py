"""The treatment: its order, its memory, and that a roll's film and a direct film of the same frames are the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pleinair.cameras.camera import Frame
from pleinair.films import pipeline
from pleinair.films.deflicker import Deflicker
from pleinair.films.pipeline import run
from pleinair.films.recorder import FilmRecorder
from pleinair.films.stamp import stamp
from pleinair.films.steadiness import Steady
from pleinair.films.tone import Tone
from pleinair.films.treatment import Treatment
from pleinair.painting.painter import Painter
from pleinair.rolls.finish import finish
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from tests.films import read_video

WIDTH, HEIGHT, FRAMES = 96, 64, 30
STEADY, DEFLICKER, TONE = 4, 8, 0.5


def flickering_frames() -> list[np.ndarray]:
    """A scene that stands still but for a moving square, under noise, with an exposure that jumps."""
    chance = np.random.default_rng(11)
    scene = np.add.outer(np.linspace(30, 120, HEIGHT), np.linspace(0, 60, WIDTH))[..., None] * (1.0, 0.9, 0.7)
    frames = []
    for number in range(FRAMES):
        image = scene * (1.0, 1.2, 0.9)[number % 3] + chance.normal(0, 1.5, scene.shape)
        image[20:30, 2 * number : 2 * number + 10] = 210
        frames.append(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return frames


class Camera:
    """The frames, called by their numbers."""

    name, size, count = "frames", (WIDTH, HEIGHT), FRAMES

    def __init__(self) -> None:
        self.skipped = list[str]()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See Camera."""
        for number, image in enumerate(flickering_frames()):
            yield Frame(image, number, float(number), f"no {number}", number)


class Posters(Painter):
    """A painter that answers a grey level with thirty, as networks amplify."""

    name = "posters"

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        return 255 - frame // 30 * 30

    def close(self) -> None:
        """See Painter."""


def direct_film(path: Path, **treatment) -> list[np.ndarray]:
    """The film that the pipeline makes of the frames."""
    run(Camera(), Posters(), FilmRecorder(path), **treatment)
    return read_video(path)


def roll_film(folder: Path, **treatment) -> list[np.ndarray]:
    """The film of a roll that holds the same frames, without loss."""
    look = Look("posters", 8, **treatment)
    settings = Settings(camera="frames", size=(WIDTH, HEIGHT), look=look, spool="png", piece=FRAMES, keep_free=0)
    with Roll.create(folder, settings) as roll:
        for frame in Camera().frames():
            roll.keep(frame.image, Captured(t=frame.seconds, wall=0.0, position=frame.position, name=frame.name))
        finish(roll, look, folder.with_suffix(".mp4"), painter=lambda *_: Posters())
    return read_video(folder.with_suffix(".mp4"))


@pytest.fixture(autouse=True)
def one_core(monkeypatch) -> None:
    """Pieces are encoded by one thread, direct films by as many as there are cores: here by one, too."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})


ALL = {"steady": STEADY, "deflicker": DEFLICKER, "timestamp": True, "tone": TONE}


@pytest.mark.parametrize("treatment", [{}, *({name: value} for name, value in ALL.items()), ALL])
def test_a_rolls_film_and_a_direct_film_of_the_same_frames_are_equal(tmp_path, treatment):
    direct, from_roll = direct_film(tmp_path / "direct.mp4", **treatment), roll_film(tmp_path / "roll", **treatment)
    assert len(direct) == len(from_roll) == FRAMES
    np.testing.assert_array_equal(direct, from_roll)


class SteadyFirst(Treatment):
    """Steadies before it evens out the light."""

    def before(self, frame: np.ndarray) -> np.ndarray:
        treated = self._deflicker(self._frames(frame))
        self._scenes.append(self._tone.of(treated))
        return treated


class StampFirst(Treatment):
    """Steadies the painting with its time already on it."""

    def after(self, painting: np.ndarray, caption: str = "") -> np.ndarray:
        return self._paintings(stamp(self._tone(painting, self._scenes.popleft()), caption))


class PaintingsUnsteadied(Treatment):
    """Forgets the second steadying."""

    def after(self, painting: np.ndarray, caption: str = "") -> np.ndarray:
        return stamp(self._tone(painting, self._scenes.popleft()), caption)


class ToneLast(Treatment):
    """Brings the brightness back only when the painting is steadied."""

    def after(self, painting: np.ndarray, caption: str = "") -> np.ndarray:
        return stamp(self._tone(self._paintings(painting), self._scenes.popleft()), caption)


@pytest.mark.parametrize("other", [SteadyFirst, StampFirst, PaintingsUnsteadied, ToneLast])
def test_another_order_in_one_of_them_would_be_noticed(tmp_path, monkeypatch, other):
    from_roll = roll_film(tmp_path / "roll", **ALL)
    monkeypatch.setattr(pipeline, "Treatment", other)
    assert not np.array_equal(direct_film(tmp_path / "direct.mp4", **ALL), from_roll)


def test_the_order_is_deflicker_steady_paint_tone_steady_stamp():
    treatment = Treatment(**ALL)
    even_light, frames, paintings, tone = Deflicker(DEFLICKER), Steady(STEADY), Steady(STEADY), Tone(TONE)
    for number, frame in enumerate(flickering_frames()):
        prepared = treatment.before(frame)
        np.testing.assert_array_equal(prepared, frames(even_light(frame)))
        painting = 255 - prepared // 30 * 30
        wanted = stamp(paintings(tone(painting, tone.of(prepared))), f"no {number}")
        np.testing.assert_array_equal(treatment.after(painting, f"no {number}"), wanted)


def test_it_goes_on_from_what_it_remembers():
    whole, first, second = Treatment(**ALL), Treatment(**ALL), Treatment(**ALL)
    for number, frame in enumerate(flickering_frames()):
        if number == 12:
            state = first.state()
            assert sorted(state) == ["deflicker.before", "deflicker.lift", "frames.held", "paintings.held"]
            second.restore(state)
        part = first if number < 12 else second
        wanted = whole.after(255 - whole.before(frame), "now")
        np.testing.assert_array_equal(part.after(255 - part.before(frame), "now"), wanted)


def test_what_is_no_memory_changes_nothing():
    treatment, untouched = Treatment(**ALL), Treatment(**ALL)
    frame, *frames = flickering_frames()
    treatment.after(treatment.before(frame))
    untouched.after(untouched.before(frame))
    foreign = Treatment(**ALL).state()
    del foreign["paintings.held"]
    with pytest.raises(KeyError):
        treatment.restore(foreign)
    for frame in frames:
        np.testing.assert_array_equal(treatment.before(frame), untouched.before(frame))


def test_values_out_of_range_are_refused():
    for wrong in ({"steady": -1}, {"steady": 17}, {"deflicker": -1}, {"deflicker": 241}, {"tone": -0.1}, {"tone": 1.1}):
        with pytest.raises(ValueError):
            Treatment(**wrong)
