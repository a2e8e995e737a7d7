"""A farm's film is one machine's, byte for byte: whatever workers do, and wherever it was cut off."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pleinair.errors import FarmError, OptionError
from pleinair.farm import orders
from pleinair.farm.repaint import paint_on
from pleinair.farm.work import PAINT, Job
from pleinair.models import load_model
from pleinair.rolls.developer import read_filters
from pleinair.rolls.finish import paint_all
from pleinair.rolls.originals import original_path
from pleinair.rolls.records import Distrusted
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look
from tests.farms import Village, flips, honest, unfit
from tests.models import write_model
from tests.networks import adaptive_network, random_network
from tests.rolls import Still, capture_only, events, new_roll

FRAMES, PIECE = 45, 10
HONEST = {"anna": honest, "bert": honest, "cora": honest}


pytestmark = pytest.mark.usefixtures("no_thread_stays")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> Path:
    """The styles ``even``, of one light, and ``lit``, which is adaptive."""
    write_model(tmp_path / "models" / "even", random_network(1, 2, 1, kernel=3), margin=8)
    write_model(tmp_path / "models" / "lit", adaptive_network(2, 2), margin=24)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    # Small pieces of work, so that many are under way.
    monkeypatch.setattr("pleinair.farm.painting._FRAMES", 4)
    return tmp_path / "models"


def look_of(style: str, **settings: Any) -> Look:
    """A look of one of the styles."""
    return Look(style, 8, network=load_model(style, 8).sha256, **settings)


def new(place: Path, look: Look, frames: int = FRAMES) -> Path:
    """A captured roll with a damaged and a missing original, painted by nobody; the same each time."""
    settings = {"look": look, "frames": frames, "piece": PIECE, "backend": "reference", "threads": 1}
    assert capture_only(new_roll(place, **settings), Still()) == "complete"
    damaged = original_path(place / "originals", 7, "png")
    damaged.write_bytes(damaged.read_bytes()[:-200])
    original_path(place / "originals", 19, "png").unlink()
    return place


def pieces(roll: Path) -> dict[str, bytes]:
    """The closed pieces of a roll's painting."""
    return {path.name: path.read_bytes() for path in roll.glob("paintings/*/*.mkv")}


def alone(place: Path, look: Look) -> dict[str, bytes]:
    """The pieces that one machine makes."""
    with Roll.open(new(place, look)) as roll:
        paint_all(roll, look)
    return pieces(place)


def together(roll: Path, look: Look, village: Village, audit: float = 0.0, **settings: Any) -> Any:
    """Paint a roll on a cluster."""
    with Roll.open(roll) as opened:
        return paint_on(village, opened, look, audit=audit, **settings)


LOOKS = {
    "plain": {"style": "even"},
    "filters": {"style": "even", "steady": 4, "deflicker": 8, "timestamp": True},
    "own light": {"style": "lit", "light": "frame", "light_every": 1, "tone": 0.5},
    "every third": {"style": "lit", "light": "frame", "light_every": 3, "steady": 4, "tone": 0.5},
    "scene": {"style": "lit", "light": "scene", "steady": 2},
    "fixed": {"style": "lit", "light": "fixed"},
    "strokes": {"style": "lit", "light": "frame", "light_every": 4, "strokes": 2},
}


@pytest.mark.parametrize("name", LOOKS)
def test_the_film_is_one_machines(tmp_path, name):
    look = look_of(**LOOKS[name])
    wanted = alone(tmp_path / "alone", look)
    village = Village(HONEST, seed=3, losses=0.1)
    harvest = together(new(tmp_path / "roll", look), look, village, audit=0.2)
    assert pieces(tmp_path / "roll") == wanted and len(wanted) == 5
    assert sum(tally.frames for tally in harvest.tallies.values()) == FRAMES - 2
    assert set(harvest.tallies) == set(HONEST) and not harvest.lies
    # What the filters remember is what one machine's do, so either goes on from the other's work.
    one, farm = (read_filters(tmp_path / r / "paintings" / look.name, 40) for r in ("alone", "roll"))
    assert one is not None and farm is not None and farm.keys() == {*one, "farm.workers"}
    for key, value in one.items():
        np.testing.assert_array_equal(farm[key], value)


def test_it_goes_on_wherever_it_was_cut_off(tmp_path):
    look = look_of("lit", light="frame", light_every=3, steady=4, deflicker=8)
    wanted = alone(tmp_path / "alone", look)
    new(tmp_path / "roll", look)

    class Cut(Exception):
        pass

    cuts = 0
    for after in (3, 9, 10, 11, 17, 2, 5):
        told = itertools.count(1)

        def report(done: int, total: int, tallies: Any, told: Any = told, after: int = after) -> None:
            if next(told) == after:
                raise Cut

        try:
            together(tmp_path / "roll", look, Village(HONEST, seed=after, losses=0.1), report=report)
        except Cut:
            cuts += 1
    together(tmp_path / "roll", look, Village(HONEST))
    assert cuts >= 5 and pieces(tmp_path / "roll") == wanted


def test_one_machine_goes_on_where_a_farm_stopped_and_the_other_way_round(tmp_path):
    look = look_of("lit", light="frame", light_every=3, steady=4)
    wanted = alone(tmp_path / "alone", look)
    roll = new(tmp_path / "roll", look)
    together(roll, look, Village(HONEST))
    last = sorted(roll.glob("paintings/*/*.mkv"))[-1]
    last.unlink()
    with Roll.open(roll) as opened:
        paint_all(opened, look)
    assert pieces(roll) == wanted
    last.unlink()
    together(roll, look, Village(HONEST))
    assert pieces(roll) == wanted


@pytest.mark.parametrize("kinds", [("paint",), ("meter",)])
def test_a_worker_that_lies_is_named_and_the_film_is_right(tmp_path, kinds):
    look = look_of("lit", light="frame", light_every=2, steady=4)
    wanted = alone(tmp_path / "alone", look)
    habits = {**HONEST, "liar": flips(0.3, kinds=kinds)}
    told: list[str] = []
    harvest = together(new(tmp_path / "roll", look), look, Village(habits, seed=1), audit=1.0, tell=told.append)
    assert pieces(tmp_path / "roll") == wanted
    assert list(harvest.lies) == ["liar"] and "10.0.0.3 (liar)" in harvest.lies["liar"]
    assert [event["worker"] for event in events(tmp_path / "roll", "distrusted")] == ["liar"]
    assert any("thrown away" in line for line in told)


def test_a_film_under_way_is_taken_back_to_the_first_frame_of_a_liar(tmp_path):
    look = look_of("even", steady=4)
    wanted = alone(tmp_path / "alone", look)
    roll = new(tmp_path / "roll", look)

    class Cut(Exception):
        pass

    def report(done: int, total: int, tallies: Any) -> None:
        if done == 35:
            raise Cut

    with pytest.raises(Cut):
        together(roll, look, Village({"anna": honest, "liar": flips(1.0)}, seed=5), report=report)
    assert len(pieces(roll)) == 3 and not pieces(roll).items() <= wanted.items()
    with Roll.open(roll) as opened:
        opened.write(Distrusted(painting=look.file(), worker="liar", message="worker liar painted a frame falsely"))
    together(roll, look, Village({"anna": honest, "liar": flips(1.0)}))
    assert pieces(roll) == wanted
    assert {event["file"] for event in events(roll, "unsealed")}


def test_where_all_but_one_lie_the_film_is_right_all_the_same(tmp_path):
    look = look_of("even", steady=4)
    wanted = alone(tmp_path / "alone", look)
    habits = {"anna": honest, "bert": flips(0.5, 1), "cora": flips(0.5, 2), "dora": flips(0.5, 3)}
    harvest = together(new(tmp_path / "roll", look), look, Village(habits), audit=1.0)
    assert pieces(tmp_path / "roll") == wanted and sorted(harvest.lies) == ["bert", "cora", "dora"]


def test_where_all_lie_nothing_false_is_kept(tmp_path):
    look = look_of("even", steady=4)
    roll = new(tmp_path / "roll", look)
    with pytest.raises(FarmError, match="none of the 2 workers may go on"):
        together(roll, look, Village({"bert": flips(1.0, 1), "cora": flips(1.0, 2)}), audit=1.0)
    assert pieces(roll) == {}


def test_two_that_tell_the_same_lie_are_found_out_by_this_machine(tmp_path):
    look = look_of("even", steady=4)
    wanted = alone(tmp_path / "alone", look)
    habits = {"anna": honest, "bert": flips(1.0), "cora": flips(1.0)}
    harvest = together(new(tmp_path / "roll", look), look, Village(habits), audit=1.0)
    assert pieces(tmp_path / "roll") == wanted and sorted(harvest.lies) == ["bert", "cora"]


def test_one_worker_alone_is_audited_by_this_machine(tmp_path):
    look = look_of("even")
    roll = new(tmp_path / "roll", look)
    harvest = together(roll, look, Village({"anna": honest}), audit=1.0)
    assert harvest.tallies["anna"].audited == FRAMES - 2
    with pytest.raises(FarmError, match="none of the 1 workers"):
        together(new(tmp_path / "other", look), look, Village({"liar": flips(0.2)}), audit=1.0)


@pytest.mark.parametrize(
    "habit, message",
    [
        (lambda job, frames, done: replace(done, name="0" * 64), "other frames"),
        (lambda job, frames, done: replace(done, paintings=done.paintings[1:]), "gave .* paintings of"),
        (lambda job, frames, done: replace(done, paintings=tuple(p[1:] for p in done.paintings)), "no painting of"),
        (lambda job, frames, done: replace(done, paintings=tuple(p * 1.0 for p in done.paintings)), "no painting of"),
        (lambda job, frames, done: "a painting", "answered with str"),
    ],
    ids=["name", "number", "shape", "type", "text"],
)
def test_an_answer_of_the_wrong_form_is_never_taken(tmp_path, habit, message):
    look = look_of("even")
    wanted = alone(tmp_path / "alone", look)
    harvest = together(new(tmp_path / "roll", look), look, Village({"anna": honest, "odd": habit}))
    assert pieces(tmp_path / "roll") == wanted
    assert re.search(message, harvest.lies["odd"])


def test_a_worker_that_cannot_paint_is_left_out(tmp_path):
    look = look_of("even")
    told: list[str] = []
    village = Village({"anna": honest, "bare": unfit})
    harvest = together(new(tmp_path / "roll", look), look, village, tell=told.append)
    assert [line for line in told if "bare" in line and "onnxruntime is not installed; it is left out" in line]
    assert set(harvest.tallies) == {"anna"} and not events(tmp_path / "roll", "distrusted")
    with pytest.raises(FarmError, match="none of the 1 workers"):
        together(new(tmp_path / "other", look), look, Village({"bare": unfit}))


def test_a_piece_that_kills_every_worker_ends_it_with_one_line(tmp_path):
    look = look_of("even")
    with pytest.raises(FarmError, match="was lost 5 times: the worker died"):
        together(new(tmp_path / "roll", look), look, Village(HONEST, losses=1.0))


def test_each_frame_is_kept_once_and_pieces_end_where_the_light_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("pleinair.farm.painting._FRAMES", 6)
    kept, jobs = list[int](), list[Job]()

    class Watched(Village):
        def keep(self, value: Any) -> Any:
            if isinstance(value, tuple):
                kept.append(len(value))
            return super().keep(value)

        def submit(self, function: Any, job: Any, *handles: Any, **settings: Any) -> Any:
            jobs.append(job)
            return super().submit(function, job, *handles, **settings)

    look = look_of("lit", light="frame", light_every=5)
    settings = {"look": look, "frames": FRAMES, "piece": PIECE, "backend": "reference", "threads": 1}
    assert capture_only(new_roll(tmp_path / "roll", **settings), Still()) == "complete"
    together(tmp_path / "roll", look, Watched(HONEST))
    assert [(len(job.lights), len(job.which)) for job in jobs if job.kind == PAINT] == [(1, 5)] * 9
    # A frame that is metered is kept by itself, and those behind it together.
    assert sorted(kept) == [1] * 9 + [4] * 9


def test_frames_under_way_are_bounded(tmp_path):
    look = look_of("lit", light="frame", light_every=2)
    frame = 64 * 48 * 3
    village = Village(HONEST, store=24 * frame)
    together(new(tmp_path / "roll", look), look, village)
    assert village.most_bytes <= 14 * frame
    village = Village(HONEST)
    together(new(tmp_path / "other", look), look, village)
    assert village.most_out <= 3 * (2 * len(HONEST) + 2) * 4


def test_floats_are_not_shared(tmp_path):
    look = replace(look_of("even"), bits=32)
    with Roll.open(new(tmp_path / "roll", look_of("even"))) as roll, pytest.raises(OptionError, match="floats differ"):
        paint_on(Village(HONEST), roll, look)


def test_nobody_can_foresee_which_frames_are_audited(tmp_path, monkeypatch):
    """They are drawn by the system's own source of chance, after the answer is there."""
    drawn: list[float] = []

    class Noted(orders.random.SystemRandom):
        def random(self) -> float:
            drawn.append(super().random())
            return drawn[-1]

    monkeypatch.setattr(orders.random, "SystemRandom", Noted)
    monkeypatch.setattr(orders, "_HERE", 0.0)
    look = look_of("even")
    harvest = together(new(tmp_path / "roll", look), look, Village(HONEST), audit=0.5)
    # One for each frame, and one for each audit: whether it is done here.
    audited = sum(tally.audited for tally in harvest.tallies.values())
    assert len(drawn) == FRAMES - 2 + audited and 5 < audited < FRAMES - 7
