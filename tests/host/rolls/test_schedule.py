"""The schedule: ticks that never drift, late ones left out and counted, hours and daylight, clocks that jump."""

from __future__ import annotations

import datetime
import itertools
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.rolls.schedule import EARLIEST, Clock, Daylight, Hours, Schedule, WallWatch, parse_time, wall_is_set


class FakeClock(Clock):
    """A clock that goes by being waited for; each reading takes a little, as it does."""

    def __init__(self, wall: float = 1.9e9) -> None:
        self.now, self.offset = 1000.0, wall - 1000.0

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now

    def wall(self) -> float:
        return self.now + self.offset

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.now += seconds + 1e-4  # a sleep is never shorter


def at(text: str) -> float:
    """Local time of a day."""
    return datetime.datetime.fromisoformat(text).timestamp()


def test_ten_thousand_ticks_do_not_drift():
    clock = FakeClock()
    schedule = Schedule(0.3, clock=clock)
    start, off = clock.now, []
    for tick in itertools.islice(schedule.ticks(threading.Event()), 10_000):
        assert tick.missed == 0
        off.append(clock.now - start - 0.3 * tick.number)
        clock.now += 0.1  # the frame
    assert tick.number == 9_999
    # Against exact fractions: tick 9,999 is due at 9,999 x 3/10 seconds, and is taken within a millisecond of it.
    assert abs(Fraction(tick.due) - Fraction(start) - Fraction(9_999 * 3, 10)) < Fraction(1, 10_000)
    assert min(off) >= 0 and max(off) < 1e-3


@pytest.mark.parametrize(
    ("busy", "missed", "number"), [(0.9, 0, 1), (1.4, 0, 1), (1.6, 1, 2), (7.2, 6, 7), (7.6, 7, 8)]
)
def test_late_by_more_than_half_an_interval_is_left_out_and_counted(busy, missed, number):
    clock = FakeClock()
    ticks = Schedule(1.0, clock=clock).ticks(threading.Event())
    next(ticks)
    clock.now += busy
    tick = next(ticks)
    assert (tick.missed, tick.number) == (missed, number)
    assert next(ticks).number == number + 1


def test_without_an_interval_frames_are_taken_at_once():
    clock = FakeClock()
    ticks = [tick.number for tick in itertools.islice(Schedule(None, clock=clock).ticks(threading.Event()), 50)]
    assert ticks == list(range(50)) and clock.now < 1001


def test_a_stop_ends_the_wait():
    stop, began = threading.Event(), time.monotonic()
    ticks = Schedule(3600.0).ticks(stop)
    next(ticks)
    threading.Timer(0.2, stop.set).start()
    assert list(ticks) == [] and time.monotonic() - began < 3


def test_real_ticks_are_on_time():
    late = []
    for tick in itertools.islice(Schedule(0.01).ticks(threading.Event()), 100):
        late.append(time.monotonic() - tick.due)
    assert min(late) >= 0 and np.median(late) < 0.005


@pytest.mark.parametrize(
    ("start", "stop", "inside", "outside"),
    [
        ("06:30", "21:00", ["06:30:00", "12:00:00", "20:59:59"], ["06:29:59", "21:00:00", "00:00:00"]),
        ("21:00", "06:30", ["21:00:00", "23:59:59", "06:29:59"], ["20:59:59", "06:30:00"]),
        ("00:00", "24:00", ["00:00:00", "23:59:59"], []),
    ],
)
def test_hours_of_the_day(start, stop, inside, outside):
    hours = Hours(start, stop)
    assert all(hours.open(at(f"2026-05-03T{time}")) for time in inside)
    assert not any(hours.open(at(f"2026-05-03T{time}")) for time in outside)


@pytest.mark.parametrize("text", ["", "6", "25:00", "24:01", "12:60", "6:3", "noon", "-1:00"])
def test_times_of_day_refused(text):
    with pytest.raises(OptionError, match="^from"):
        parse_time(text, "from")


def test_frames_are_taken_within_the_hours_only_day_after_day():
    clock = FakeClock(at("2026-05-03T00:00:00"))
    schedule = Schedule(600.0, [Hours("06:00", "07:00")], clock)
    walls = [clock.wall() for _ in itertools.islice(schedule.ticks(threading.Event()), 18)]
    stamps = [datetime.datetime.fromtimestamp(wall) for wall in walls]
    assert [s.day for s in stamps] == [3] * 6 + [4] * 6 + [5] * 6
    assert {s.hour for s in stamps} == {6}


@pytest.mark.parametrize(
    ("latitude", "longitude", "date", "declination", "equation"),
    # The sun's declination in degrees and the equation of time in minutes on these days.
    [
        (52.52, 13.4, "2026-06-21", 23.44, -1.8),
        (52.52, 13.4, "2026-12-21", -23.44, 1.9),
        (-33.87, 151.21, "2026-03-20", 0, -7.5),
    ],
)
def test_daylight_is_from_civil_dawn_to_civil_dusk(latitude, longitude, date, declination, equation):
    """Against the hour angle at which the sun is 6 degrees below the horizon, by spherical trigonometry."""
    phi, delta = np.radians([latitude, declination])
    cosine = (np.sin(np.radians(-6)) - np.sin(phi) * np.sin(delta)) / (np.cos(phi) * np.cos(delta))
    half = np.degrees(np.arccos(cosine)) / 15 * 3600
    noon = at(f"{date}T12:00:00+00:00") - longitude / 15 * 3600 - equation * 60
    daylight = Daylight(f"{latitude},{longitude}")
    for edge, sign in ((noon - half, 1), (noon + half, -1)):
        assert not daylight.open(edge - sign * 240) and daylight.open(edge + sign * 240)


@pytest.mark.parametrize(("date", "open_"), [("2026-06-21", True), ("2026-12-21", False)])
def test_polar_days_and_nights(date, open_):
    daylight = Daylight("78.2,15.6")
    assert {daylight.open(at(f"{date}T{hour:02d}:00:00+00:00")) for hour in range(24)} == {open_}


@pytest.mark.parametrize("text", ["", "52", "52,", "91,0", "0,181", "52.5 13.4", "north,east", "52.5,13.4,7"])
def test_places_refused(text):
    with pytest.raises(OptionError, match=f"^daylight {text!r}"):
        Daylight(text)


def test_without_a_clock_every_tick_is_taken():
    clock = FakeClock(wall=12_345.0)
    assert not wall_is_set(clock.wall()) and wall_is_set(EARLIEST)
    schedule = Schedule(3600.0, [Hours("06:00", "06:01")], clock)
    assert [t.number for t in itertools.islice(schedule.ticks(threading.Event()), 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("by", [86_400.0, -86_400.0, 5.0])
def test_a_clock_that_is_set_moves_no_tick(by):
    clock = FakeClock(at("2026-05-03T12:00:00"))
    watch, start, dues = WallWatch(clock), clock.now, []
    for tick in itertools.islice(Schedule(10.0, clock=clock).ticks(threading.Event()), 20):
        dues.append(tick.due)
        if tick.number == 9:
            assert watch.jumped() is None
            clock.offset += by
            assert watch.jumped() == pytest.approx(by, abs=0.01)
            assert watch.jumped() is None
    np.testing.assert_allclose(np.array(dues) - start, 10.0 * np.arange(20), atol=1e-4)
