"""Which frames a film shows, against what one counts by hand."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.films.choice import Choice, choose, parse_days, spread

NOON = datetime.datetime(2026, 11, 25, 12).timestamp()


def picked(times, **wanted) -> list[int]:
    """The first frame of each frame of the film."""
    return choose(times, Choice(**wanted))[:, 0].tolist()


def rows(times, **wanted) -> list[tuple[int, int]]:
    """The frames of each frame of the film."""
    return [tuple(row) for row in choose(times, Choice(**wanted)).tolist()]


def day_of(every: float, days: int = 1, start: datetime.datetime | None = None) -> list[float]:
    """A frame every so many seconds, through whole days."""
    begin = (start or datetime.datetime(2026, 11, 24)).timestamp()
    return [begin + every * n for n in range(round(days * 86_400 / every))]


def test_all_frames_are_those_that_there_are():
    times = [NOON + 10 * n for n in range(50)]
    assert picked(times) == list(range(50))
    assert picked(times, count=50) == list(range(50))
    assert rows(times)[7] == (7, 8)


def test_so_many_frames_are_the_first_the_last_and_evenly_between():
    times = [NOON + 10 * n for n in range(101)]
    assert picked(times, count=5) == [0, 25, 50, 75, 100]
    assert picked(times, count=1) == [50]
    # More than there are: each is held, none is left out.
    doubled = picked(times, count=202)
    assert sorted(set(doubled)) == list(range(101)) and doubled == sorted(doubled)
    assert max(np.bincount(doubled)) <= 3


def test_missing_frames_do_not_jump():
    # Frames 20 to 29 of 101 are missing: the film stands still before and after them.
    there = [n for n in range(101) if not 20 <= n < 30]
    times = [NOON + 10.0 * n for n in there]
    shown = [there[i] for i in picked(times, count=101)]
    assert len(shown) == 101
    for place, number in enumerate(shown):
        assert number == place if place in there else number in (19, 30)
    # By their numbers, frames after the gap would come ten places too early.
    assert shown[60] == 60


def test_a_pause_is_passed_over():
    morning = [NOON - 18_000 + 10 * n for n in range(100)]
    evening = [NOON + 18_000 + 10 * n for n in range(100)]
    assert picked(morning + evening, count=200) == list(range(200))
    # A clock that was set back is a pause, and no frame is left out for it.
    assert picked(evening + morning, count=200) == list(range(200))


def test_every_nth_and_one_each_so_often():
    times = [NOON + 10 * n for n in range(100)]
    assert picked(times, nth=10) == list(range(0, 100, 10))
    assert picked(times, apart=300.0) == [0, 30, 60, 90]
    assert picked(times, apart=25.0)[:4] == [0, 2, 5, 7]


def test_days_and_hours():
    times = day_of(600, days=3)
    assert picked(times, days=(datetime.date(2026, 11, 25),)) == list(range(144, 288))
    two = (datetime.date(2026, 11, 24), datetime.date(2026, 11, 26))
    assert picked(times, days=two) == [*range(144), *range(288, 432)]
    assert picked(times, since="06:00", until="07:00") == [36 + n + d for d in (0, 144, 288) for n in range(6)]
    # Over midnight, where the second is the earlier one.
    assert picked(times, since="23:50", until="00:10")[:5] == [0, 143, 144, 287, 288]
    assert picked(times, since="2026-11-25T12:00", until="2026-11-26") == list(range(216, 288))
    assert picked(times, days=two, since="12:00", until="12:10") == [72, 360]


def test_the_day_the_clocks_go_back_has_25_hours(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        times = day_of(3600, days=3, start=datetime.datetime(2026, 10, 24))
        assert len(picked(times, days=(datetime.date(2026, 10, 25),))) == 25
    finally:
        monkeypatch.undo()
        time.tzset()


def test_neighbours_are_blended_within_what_was_asked_for():
    times = [NOON + 10 * n for n in range(10)]
    assert rows(times, blend=3)[:3] == [(0, 2), (0, 3), (1, 4)]
    assert rows(times, blend=3)[-1] == (8, 10)
    assert rows(times, blend=4)[4] == (3, 7)
    assert rows(times, nth=4, blend=4) == [(0, 3), (3, 7), (7, 10)]
    # Not across a pause.
    night = times + [NOON + 50_000 + 10 * n for n in range(10)]
    assert rows(night, blend=5)[9] == (7, 10)
    assert rows(night, blend=5)[10] == (10, 13)
    # Nor across frames that were not asked for.
    hours = day_of(600, days=2)
    shown = rows(hours, since="06:00", until="07:00", blend=9)
    assert shown[5] == (37, 42) and shown[6] == (180, 185)


def test_rows_never_go_back():
    generator = np.random.default_rng(1)
    for _ in range(200):
        count = int(generator.integers(1, 60))
        times = NOON + np.cumsum(generator.choice([0.0, 10.0, 10.0, 10.0, 30.0, 9000.0, -50.0], count))
        wanted = Choice(count=int(generator.integers(1, 150)), blend=int(generator.integers(1, 9)))
        found = choose(times, wanted)
        assert len(found) == wanted.count
        assert (np.diff(found, axis=0) >= 0).all()
        assert (found[:, 0] < found[:, 1]).all() and found.min() >= 0 and found.max() <= count
        assert (found[:, 1] - found[:, 0] <= wanted.blend).all()


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"nth": 2, "count": 5}, "--length or --every"),
        ({"blend": 0}, "blend 0: 1 to 60"),
        ({"since": "25:00"}, "since '25:00': write a time of day"),
        ({"since": "06:00", "until": "2026-11-25"}, "two times of day, or two dates"),
        ({"days": (datetime.date(2020, 1, 1),)}, "no frame of the days"),
        ({"until": "2026-13-45"}, "until '2026-13-45'"),
        ({"apart": 1e-6}, "allowed are"),
    ],
)
def test_what_cannot_be_is_refused(wanted, text):
    with pytest.raises(OptionError, match=text):
        choose([NOON + n for n in range(100)], Choice(**wanted))


def test_dates_are_read():
    assert parse_days("2026-11-25") == (datetime.date(2026, 11, 25),)
    assert parse_days("2026-11-26, 2026-11-25,2026-11-25") == (datetime.date(2026, 11, 25), datetime.date(2026, 11, 26))
    for wrong in ("", "25.11.2026", "2026-02-30", "2026-11-25;2026-11-26"):
        with pytest.raises(OptionError, match="write a date"):
            parse_days(wrong)


def test_photos_of_one_minute_are_spread_over_it():
    assert spread([0, 0, 0, 60, 60, 600]) == [0, 20, 40, 60, 90, 600]
    assert spread([0, 0, 30]) == [0, 15, 30]
    assert spread([]) == []
