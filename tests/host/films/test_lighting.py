"""The light of a film: which frames are metered, what is remembered, and films that are resumed or painted at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cameras.camera import Frame
from pleinair.cameras.opening import CameraSource
from pleinair.errors import OptionError
from pleinair.films import pipeline
from pleinair.films.film import film as make_film
from pleinair.films.lighting import LIGHTS, SCENE, FilmLight, Lighting, choose_lighting, default_every
from pleinair.films.recorder import FilmRecorder
from pleinair.models import Model, load_model
from pleinair.network.light import Light, Sums, light_of, light_of_sums
from pleinair.painting.adaptive import AdaptivePainter
from pleinair.rolls.beginning import begin_painting
from pleinair.rolls.developer import Developer, Place
from pleinair.rolls.finish import finish
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from tests.films import read_video
from tests.models import write_model
from tests.networks import adaptive_network, floats_like

WIDTH, HEIGHT, FRAMES = 48, 40, 23


def shown() -> list[np.ndarray]:
    """A scene that becomes brighter, under noise."""
    chance = np.random.default_rng(4)
    scene = chance.integers(20, 200, (HEIGHT, WIDTH, 3))
    return [
        np.clip(scene * (0.3 + k / FRAMES) + chance.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
        for k in range(FRAMES)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    return load_model(str(write_model(tmp_path_factory.mktemp("style") / "model", adaptive_network(3), 28)), 8)


@pytest.fixture(scope="module")
def painter(model) -> Iterator[AdaptivePainter]:
    with open_painter(model, "cpu", 2) as opened:
        assert isinstance(opened, AdaptivePainter)
        yield opened


def lights(lighting: Lighting, painter: AdaptivePainter, frames: list[np.ndarray]) -> list[Light | None]:
    light = FilmLight(lighting)
    return [light(frame, painter) for frame in frames]


def together(*all_sums: tuple[Sums, ...]) -> tuple[Sums, ...]:
    """Written another way than in the film's light: by columns of numbers."""
    return tuple(
        Sums(
            sum(s.count for s in layer),
            tuple(map(sum, zip(*(s.first for s in layer), strict=True))),
            tuple(map(sum, zip(*(s.second for s in layer), strict=True))),
        )
        for layer in zip(*all_sums, strict=True)
    )


def test_every_nth_frame_is_metered_and_two_of_them_are_added_up(model, painter):
    frames = shown()
    sums = [painter.sums(frame) for frame in frames]
    got = lights(Lighting("frame", 5), painter, frames)
    for number, light in enumerate(got):
        last = number // 5 * 5
        wanted = [sums[k] for k in (last - 5, last) if k >= 0]
        assert light == light_of_sums(model.network, together(*wanted)), number


def test_a_scene_has_the_light_of_its_first_frames(model, painter):
    frames = shown()
    sums = [painter.sums(frame) for frame in frames[:SCENE]]
    got = lights(Lighting("scene"), painter, frames)
    assert got[0] == light_of_sums(model.network, sums[0])
    assert all(light == light_of_sums(model.network, together(*sums)) for light in got[SCENE - 1 :])
    assert got[0] != got[-1]


def test_a_fixed_light_is_the_file_s(model, painter):
    assert set(lights(Lighting("fixed"), painter, shown())) == {light_of(model.network)}


def test_only_the_frames_that_count_are_metered(painter):
    class Counting:
        average = painter.average

        def __init__(self) -> None:
            self.metered = 0

        def sums(self, frame):
            self.metered += 1
            return painter.sums(frame)

        def light_of(self, sums):
            return painter.light_of(sums)

    for lighting, wanted in (
        (Lighting(), 0),  # frames are metered as they are painted
        (Lighting("frame", 6), 4),
        (Lighting("scene"), SCENE),
        (Lighting("fixed"), 0),
    ):
        meter, light = Counting(), FilmLight(lighting)
        for frame in shown():
            light(frame, meter)
        assert meter.metered == wanted


ALL = [Lighting(), Lighting("frame", 4), Lighting("scene"), Lighting("fixed")]


@pytest.mark.parametrize("lighting", ALL)
@pytest.mark.parametrize("cut", [0, 3, 9, 13])
def test_it_goes_on_from_its_state(painter, lighting, cut):
    frames = shown()
    whole, first, second = FilmLight(lighting), FilmLight(lighting), FilmLight(lighting)
    wanted = [whole(frame, painter) for frame in frames]
    got = [first(frame, painter) for frame in frames[:cut]]
    second.restore(first.state())
    assert [*got, *(second(frame, painter) for frame in frames[cut:])] == wanted


def test_a_foreign_state_changes_nothing(painter):
    frames = shown()
    light, untouched = FilmLight(Lighting("frame", 3)), FilmLight(Lighting("frame", 3))
    light(frames[0], painter), untouched(frames[0], painter)
    good = light.state()
    for wrong in (
        {**good, "count": np.array(-1)},
        {**good, "channels": good["channels"][1:]},
        {**good, "metered": good["metered"].astype(np.float64)},
        {**good, "metered": -good["metered"]},
        {**good, "metered": good["metered"].repeat(SCENE + 1, 0)},
        {**good, "metered": good["metered"][0]},
    ):
        with pytest.raises(ValueError):
            light.restore(wrong)
    with pytest.raises(KeyError):
        light.restore({})
    assert [light(f, painter) for f in frames[1:]] == [untouched(f, painter) for f in frames[1:]]


@pytest.mark.parametrize("lighting", ALL)
def test_painters_paint_a_film_in_its_light_whatever_they_compute_with(model, painter, lighting):
    frames = shown()
    wanted = []
    for frame, light in zip(frames, lights(lighting, painter, frames), strict=True):
        wanted.append(painter.paint(frame) if light is None else painter.paint_in(frame, light))
    for backend, threads in (("cpu", 1), ("cpu", 2), ("reference", 1)):
        with open_painter(model, backend, threads) as other:
            film = other.lit_by(FilmLight(lighting))
            for painted, painting in zip(film.paint_each(frames), wanted, strict=True):
                assert np.array_equal(painted, painting), (backend, threads)
            assert film.spent.frames == FRAMES
            alone = other.lit_by(FilmLight(lighting))
            assert all(np.array_equal(alone.paint(f), w) for f, w in zip(frames, wanted, strict=True))


class Still:
    """A camera that has frames."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.name, self.size, self.count, self._frames = "frames", (WIDTH, HEIGHT), len(frames), frames
        self.skipped = list[str]()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for number, image in enumerate(self._frames):
            yield Frame(image, number, float(number), str(number), number)


def roll_of(folder: Path, look: Look, frames: list[np.ndarray], piece: int) -> Roll:
    settings = Settings(camera="frames", size=(WIDTH, HEIGHT), look=look, spool="png", piece=piece, keep_free=0)
    roll = Roll.create(folder, settings)
    for number, image in enumerate(frames):
        roll.keep(image, Captured(t=float(number), wall=0.0, position=number, name=f"{number}"))
    return roll


def look_of(model: Model, lighting: Lighting) -> Look:
    return Look(str(model.folder), 8, light=lighting.light, light_every=lighting.every, tone=0.5, network=model.sha256)


@pytest.mark.parametrize("lighting", ALL)
def test_a_roll_that_is_painted_in_pieces_has_the_direct_film_s_pixels(tmp_path, model, lighting, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    frames, look = shown(), look_of(model, lighting)

    with open_painter(model, "cpu", 1) as painter:
        recorder = FilmRecorder(tmp_path / "direct.mp4", look.fps)
        pipeline.run(Still(frames), painter, recorder, lighting=lighting, tone=0.5)
    with roll_of(tmp_path / "whole", look, frames, FRAMES) as roll:
        finish(roll, look, tmp_path / "whole.mp4")
    direct, whole = (read_video(tmp_path / name) for name in ("direct.mp4", "whole.mp4"))
    assert len(direct) == FRAMES and all(np.array_equal(a, b) for a, b in zip(direct, whole, strict=True))


@pytest.mark.parametrize("lighting", ALL)
def test_a_developer_that_stops_at_a_piece_s_end_is_followed_by_one_that_goes_on(tmp_path, model, lighting):
    frames, look, pieces = shown(), look_of(model, lighting), {}
    for name, cuts in (("once", [FRAMES - 1]), ("cut", [6, 13, FRAMES - 1])):
        with roll_of(tmp_path / name, look, frames, 7) as roll:
            for last in cuts:
                with open_painter(model, "cpu", 1) as painter:
                    place = Place.of(roll, look)
                    place.folder.mkdir(parents=True, exist_ok=True)
                    developer = Developer(place, painter)
                    events = list(developer.develop(0, last, last == FRAMES - 1))
                    developer.close()
                pieces.setdefault(name, []).extend(e.piece.sha256 for e in events if e.piece is not None)
    assert len(pieces["once"]) == 4 and pieces["once"] == pieces["cut"]


def test_what_is_metered_by_default():
    assert default_every(None, None) == default_every(CameraSource.parse("frames:x"), 3.0) == 1
    assert default_every(CameraSource.parse("video:x"), None) == 12
    assert [default_every(CameraSource.parse("synthetic"), s) for s in (None, 300.0, 1800.0, 7200.0)] == [12, 12, 2, 1]
    assert [default_every(CameraSource.parse("v4l2:0"), s) for s in (None, 10.0, 0.2)] == [1, 1, 12]


def test_choices_and_refusals():
    assert choose_lighting(None, None, adaptive=True, default=12) == Lighting("frame", 12)
    assert choose_lighting("frame", 3, adaptive=True, default=12) == Lighting("frame", 3)
    assert choose_lighting("scene", None, adaptive=True, default=12) == Lighting("scene")
    assert choose_lighting(None, None, adaptive=False, default=12) == Lighting("fixed")
    assert choose_lighting(None, None, adaptive=True, default=12, own_only=True) == Lighting("frame", 1)
    assert choose_lighting("frame", 1, adaptive=True, default=12, own_only=True) == Lighting("frame", 1)
    for light, every, option in (("scene", None, "light"), ("fixed", None, "light"), (None, 2, "light_every")):
        with pytest.raises(OptionError, match="at 32 bits each frame is painted in its own light; only") as caught:
            choose_lighting(light, every, adaptive=True, default=12, own_only=True)
        assert caught.value.option == option
    for light, every, adaptive, option in (
        ("scene", None, False, "light"),
        (None, 2, False, "light_every"),
        ("dusk", None, True, "light"),
        ("scene", 2, True, "light_every"),
        (None, 0, True, "light_every"),
        (None, 1001, True, "light_every"),
    ):
        with pytest.raises(OptionError) as caught:
            choose_lighting(light, every, adaptive=adaptive, default=1)
        assert caught.value.option == option
    for wrong in ({"light": "noon"}, {"every": 0}, {"every": 1001}):
        with pytest.raises(ValueError):
            Lighting(**wrong)
    assert {lighting.light for lighting in ALL} == set(LIGHTS)


def test_a_film_at_32_bits_paints_each_frame_in_its_own_statistics(tmp_path):
    """By default and with the only light that there is; every other one is refused, in films and on rolls."""
    model = load_model(str(write_model(tmp_path / "floats", floats_like(adaptive_network(3)), 28)), 32)
    frames = shown()[:3]
    with open_painter(model, "cpu", 2) as painter:
        wanted = [painter.paint(frame) for frame in frames]
        lit = painter.lit_by(FilmLight(Lighting()))
        assert all(np.array_equal(a, b) for a, b in zip(lit.paint_each(frames), wanted, strict=True))
        assert not np.array_equal(wanted[0], wanted[2])
        for light, every, says in (("scene", None, "'scene': at 32 bits"), ("frame", 12, "12: at 32 bits")):
            with pytest.raises(OptionError, match=says):
                make_film(Still(frames), painter, tmp_path / "film.mp4", light=light, light_every=every)
            with roll_of(tmp_path / f"{light}{every}", look_of(model, Lighting()), frames, 3) as roll:
                roll.settings = replace(roll.settings, camera="synthetic")
                with pytest.raises(OptionError, match=says):
                    begin_painting(roll, str(model.folder), bits=32, light=light, light_every=every)
                look = begin_painting(roll, str(model.folder), bits=32)
                assert (look.light, look.light_every, look.tone) == ("frame", 1, 0.5)
        make_film(Still(frames), painter, tmp_path / "film.mp4")
    assert len(read_video(tmp_path / "film.mp4")) == 3
