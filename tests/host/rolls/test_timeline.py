"""The timeline of a roll: which frames there are, and when they were taken."""

from __future__ import annotations

import datetime

from pleinair.rolls.ledger import moment
from pleinair.rolls.records import Captured
from pleinair.rolls.segments import find_segments
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.timeline import _times, read_timeline
from tests.rolls import Still, events, film_roll, new_roll

NOON = datetime.datetime(2026, 11, 25, 12).timestamp()
SETTINGS = Settings(camera="still", size=(64, 48), look=Look("plain", 8))


def live(seq: int, t: float, wall: float, **more) -> Captured:
    return Captured(seq=seq, t=t, wall=wall, live=True, **more)


def test_a_live_frame_has_the_wall_clock_s_time():
    assert moment(live(0, 1.0, NOON)) == NOON
    assert moment(live(0, 1.0, NOON, clock=False)) is None
    assert moment(live(0, 1.0, 100.0)) is None


def test_a_photo_has_the_time_that_it_says():
    record = Captured(seq=0, t=0, wall=NOON + 9e6, metadata={"taken": "2026-11-25 12:00"})
    assert moment(record) == NOON
    for odd in ("2026-13-01 12:00", "yesterday", 7, None):
        assert moment(Captured(seq=0, t=0, wall=NOON, metadata={"taken": odd})) is None


def test_frames_before_the_clock_was_set_are_counted_back():
    records = [
        live(0, 0.0, 50.0, clock=False),
        live(1, 10.0, 60.0, clock=False),
        live(2, 20.0, NOON),
        live(3, 30.0, NOON + 10),
    ]
    assert _times(records, SETTINGS) == ([NOON - 20, NOON - 10, NOON, NOON + 10], True)


def test_stored_frames_without_dates_are_told_apart_by_their_places():
    records = [Captured(seq=n, t=0.1 * n, wall=NOON, position=position) for n, position in enumerate((0, 1, 4, 5))]
    assert _times(records, SETTINGS) == ([0.0, 1.0, 4.0, 5.0], False)


def test_a_piece_s_frames_are_those_that_were_painted(tmp_path):
    from tests.rolls import coded_frame

    black = {4, 5, 13, 14}
    film_roll(new_roll(tmp_path / "roll"), Still(lambda number: coded_frame(number) * (number not in black)))
    suspect = [record["seq"] for record in events(tmp_path / "roll", "frame") if "suspect" in record]
    assert suspect
    line = read_timeline(tmp_path / "roll", Look("plain", 8))
    assert [shot.seq for shot in line.shots] == [n for n in range(25) if n not in suspect]
    assert sum(line.frames) == len(line.shots)
    assert [shot.place for shot in line.shots if shot.piece == 0] == list(range(line.frames[0]))
    assert line.dated and line.original(line.shots[3]).exists()
    # Without the journal's frames, those of a piece are spread over its numbers.
    journal = tmp_path / "roll" / "journal.jsonl"
    journal.write_text("".join(line for line in journal.read_text().splitlines(True) if '"event":"frame"' not in line))
    line = read_timeline(tmp_path / "roll", Look("plain", 8))
    assert len(line.shots) == sum(line.frames)
    for index, piece in enumerate(find_segments(tmp_path / "roll" / "paintings" / "plain-8bit")):
        numbers = [shot.seq for shot in line.shots if shot.piece == index]
        assert numbers == sorted(set(numbers)) and piece.first <= numbers[0] and numbers[-1] <= piece.last


def test_originals_that_are_gone_are_no_part_of_it(tmp_path):
    film_roll(new_roll(tmp_path / "roll"), Still())
    for number in (3, 4, 11):
        (tmp_path / "roll" / "originals" / "000000" / f"{number:08d}.png").unlink()
    left = [n for n in range(25) if n not in (3, 4, 11)]
    assert [shot.seq for shot in read_timeline(tmp_path / "roll", None).shots] == left
    assert [shot.seq for shot in read_timeline(tmp_path / "roll", Look("plain", 8), originals=True).shots] == left
    assert [shot.seq for shot in read_timeline(tmp_path / "roll", Look("plain", 8)).shots] == list(range(25))
