"""The developer: a painter that reads frames ahead makes the same pieces as one that paints frame by frame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import ImageError
from pleinair.images import decode_image
from pleinair.painting.painter import Painter
from pleinair.painting.side_by_side import Task, paint_side_by_side
from pleinair.rolls.developer import Developer, Event, Place, caption
from pleinair.rolls.originals import number_in, original_path
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look
from tests.rolls import Plain, Still, capture_only, film_codes, new_roll, read_code

FRAMES, PIECE, AT_ONCE = 25, 10, 3

pytestmark = pytest.mark.usefixtures("no_thread_stays")


class Ahead(Plain):
    """A painter of three frames at a time, which reads a fourth ahead; fails at the frame that shows ``fails_at``."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        if read_code(frame) == self.fails_at:
            raise ImageError("frame of 1x1: too small")
        return frame

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See Painter."""
        with contextlib.closing(
            paint_side_by_side(frames, lambda frame: Task(partial(self.paint, frame), AT_ONCE))
        ) as paintings:
            for painted in paintings:
                yield painted.painting


@pytest.fixture
def roll(tmp_path) -> Iterator[Roll]:
    """A captured roll of 25 frames, ten to a piece, of which 3 is damaged and 12 is missing; nothing is painted."""
    look = Look("plain", 8, steady=4, deflicker=8)
    assert capture_only(new_roll(tmp_path / "roll", frames=FRAMES, look=look), Still()) == "complete"
    with Roll.open(tmp_path / "roll") as opened:
        damaged = original_path(opened.originals, 3, "png")
        damaged.write_bytes(damaged.read_bytes()[:-200])
        original_path(opened.originals, 12, "png").unlink()
        yield opened


def place_of(roll: Roll, name: str) -> Place:
    """A place for paintings of the roll, of its own folder."""
    folder = roll.folder.parent / name
    folder.mkdir()
    return Place(roll.originals, "png", folder, roll.settings.look, "cpu", 1, PIECE)


def develop(place: Place, painter: Painter, steps: list[Callable[[Developer], list[Event]]]) -> list[Event]:
    """What a developer tells while it does the steps."""
    developer = Developer(place, painter)
    try:
        return [event for step in steps for event in step(developer)]
    finally:
        developer.close()


def all_of(developer: Developer) -> list[Event]:
    """Paint the whole roll."""
    return list(developer.develop(0, FRAMES - 1, True))


def told(events: list[Event]) -> list[tuple[str, int]]:
    """Kinds and numbers."""
    return [(event.kind, event.seq) for event in events]


def files(place: Place) -> dict[str, bytes]:
    """The pieces and what the filters remember, by name."""
    return {path.name: path.read_bytes() for path in place.folder.iterdir() if path.suffix in (".mkv", ".npz")}


def wanted_events() -> list[tuple[str, int]]:
    """What is told of the roll, in order."""
    kinds = {3: "lost", 12: "left out"}
    frames = [(kinds.get(seq, "painted"), seq) for seq in range(FRAMES)]
    return [*frames[:10], ("sealed", 0), *frames[10:20], ("sealed", 10), *frames[20:], ("sealed", 20)]


@pytest.fixture
def by_frame(roll) -> dict[str, bytes]:
    """The files that a painter of one frame after another leaves."""
    place = place_of(roll, "by_frame")
    assert told(develop(place, Plain(), [all_of])) == wanted_events()
    shown = [code for path in sorted(place.folder.glob("*.mkv")) for code in film_codes(path)]
    assert shown == [n for n in range(FRAMES) if n not in (3, 12)]
    return files(place)


def test_reading_ahead_changes_no_byte_and_no_order(roll, by_frame):
    place, begun = place_of(roll, "ahead"), list[int]()

    def begin(seq: int) -> bool:
        begun.append(seq)
        return True

    events = develop(place, Ahead(), [lambda d: list(d.develop(0, FRAMES - 1, True, begin=begin))])
    assert told(events) == wanted_events() and begun == list(range(FRAMES))
    assert files(place) == by_frame
    assert [event.piece.frames for event in events if event.piece is not None] == [9, 9, 5]
    assert all(event.seconds > 0 for event in events if event.kind == "painted")


def test_no_frame_is_read_ahead_over_the_end_of_a_piece(roll):
    place = place_of(roll, "ahead")

    def begin(seq: int) -> bool:
        assert len(list(place.folder.glob("*.mkv"))) == seq // PIECE
        return True

    develop(place, Ahead(), [lambda d: list(d.develop(0, FRAMES - 1, True, begin=begin))])
    assert len(list(place.folder.glob("*.mkv"))) == 3


@pytest.mark.parametrize("stops", [[0], [1], [5, 6, 7], [10, 19, 20]])
def test_frames_that_were_begun_are_told_of_and_painting_goes_on_after_a_pause(roll, by_frame, stops):
    place = place_of(roll, "ahead")

    def up_to(stop: int) -> Callable[[Developer], list[Event]]:
        def step(developer: Developer) -> list[Event]:
            events = list(developer.develop(0, FRAMES - 1, True, begin=lambda seq: seq < stop))
            assert [seq for kind, seq in told(events) if kind != "sealed"][-1:] == ([stop - 1] if events else [])
            return events

        return step

    events = develop(place, Ahead(), [*map(up_to, stops), all_of])
    assert told(events) == wanted_events() and files(place) == by_frame


def test_the_last_piece_stays_open_until_it_is_complete(roll, by_frame):
    place = place_of(roll, "ahead")
    steps = [lambda d, last=last: list(d.develop(0, last, False)) for last in (0, 4, 13, 14, FRAMES - 1)]
    events = develop(place, Ahead(), [*steps, all_of])
    assert told(events) == wanted_events() and files(place) == by_frame


@pytest.mark.parametrize("after", [0, 4, 11])
def test_a_piece_that_was_left_early_is_painted_anew(roll, by_frame, after):
    """Frames that were read ahead have passed the filters, and are in no piece."""
    place = place_of(roll, "ahead")

    def leave(developer: Developer) -> list[Event]:
        with contextlib.closing(developer.develop(0, FRAMES - 1, True)) as events:
            for event in events:
                if event.seq == after:
                    break
        return []

    events = develop(place, Ahead(), [leave, all_of])
    assert told(events) == wanted_events()[PIECE + 1 if after >= PIECE else 0 :]
    assert files(place) == by_frame


def test_what_a_painter_raises_comes_after_the_frames_before_it(roll, by_frame):
    place, painter, seen = place_of(roll, "ahead"), Ahead(fails_at=16), list[Event]()

    def fail(developer: Developer) -> list[Event]:
        with pytest.raises(ImageError, match="too small"):
            seen.extend(developer.develop(0, FRAMES - 1, True))
        painter.fails_at = -1
        return []

    develop(place, painter, [fail, all_of])
    assert told(seen) == wanted_events()[:17]
    assert files(place) == by_frame


def test_frames_are_painted_one_at_a_time_where_it_is_asked(roll, by_frame):
    place, begun, done = place_of(roll, "alone"), list[int](), list[int]()
    most = dict[bool, int]()

    def begin(seq: int) -> bool:
        begun.append(seq)
        alone = seq <= 14
        most[alone] = max(most.get(alone, 0), len(begun) - len(done))
        return True

    developer = Developer(place, Ahead())
    with contextlib.closing(developer):
        for event in developer.develop(0, FRAMES - 1, True, begin=begin, alone_to=14):
            if event.kind != "sealed":
                done.append(event.seq)
    assert most == {True: 1, False: AT_ONCE + 1} and files(place) == by_frame


def test_frames_to_avoid_are_left_out(roll):
    place = place_of(roll, "ahead")

    def avoiding(developer: Developer) -> list[Event]:
        developer.avoid = {5}
        return all_of(developer)

    events = develop(place, Ahead(), [avoiding])
    assert ("left out", 5) in told(events)
    assert film_codes(place.folder / "00000000-00000009.mkv") == [n for n in range(10) if n not in (3, 5)]


def test_captions():
    assert caption(Captured(seq=7, t=0.0, wall=0.0, name="noon.jpg")) == "noon.jpg"
    assert caption(Captured(seq=7, t=0.0, wall=0.0)) == "000007"
    assert caption(Captured(seq=7, t=0.0, wall=0.0, live=True, clock=False)) == "000007"
    assert len(caption(Captured(seq=7, t=0.0, wall=1.8e9, live=True))) == len("2027-01-15 08:00")


def test_the_places_of_a_roll_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with new_roll(Path("roll")) as roll:
        place = Place.of(roll, roll.settings.look)
    assert place.originals == tmp_path / "roll" / "originals"
    assert place.folder == tmp_path / "roll" / "paintings" / "plain-8bit" and place.piece == 10


def test_the_last_frame_of_a_piece_is_left_for_the_page(roll):
    place = place_of(roll, "shown")
    develop(place, Plain(), [all_of])  # in less time than lies between two pictures for the page
    data = (place.folder / "latest.jpg").read_bytes()
    assert number_in(data) == FRAMES - 1 and read_code(decode_image(data, "latest.jpg")) == FRAMES - 1
