"""Ticks by local time, over a simulated year: reboots, clocks that change, jump, and are not set by anybody."""

from __future__ import annotations

import datetime
import random
import threading
import time
import zoneinfo
from collections import Counter

import numpy as np
import pytest

from pleinair.rolls import schedule as module
from pleinair.rolls.schedule import Clock, Daylight, Schedule, is_synchronised, make_schedule

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _berlin(monkeypatch):
    """Local time is Berlin's, and naps are long, so that a year passes in seconds."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(module, "_NAP", 3600.0)
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """A time in Berlin."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def berlin(wall: float) -> datetime.datetime:
    """The time in Berlin."""
    return datetime.datetime.fromtimestamp(wall, BERLIN)


class Fake(Clock):
    """A clock that goes by being waited for; it sets ``stop`` at ``end``. ``offset`` is how wrong the wall clock is."""

    def __init__(self, now: float) -> None:
        self.now, self.offset, self.end, self.is_sure = now, 0.0, float("inf"), True

    def monotonic(self) -> float:
        return self.now - 1e9

    def wall(self) -> float:
        return self.now + self.offset

    def sure(self) -> bool:
        return self.is_sure

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.now = min(self.now + seconds + 1e-4, self.end + 1e-4)
        if self.now >= self.end:
            stop.set()


def film(clock: Fake, make, until: float, *, reboots: tuple[float, ...] = (), off: float = 120.0) -> list[float]:
    """True times at which frames are taken, over reboots that take ``off`` seconds."""
    begun, taken = clock.now, list[float]()
    for end in (*reboots, until):
        stop, clock.end = threading.Event(), end
        schedule = make(clock)
        schedule.follow(begun, taken[-1] if taken else 0.0)
        for _ in schedule.ticks(stop):
            taken.append(clock.now)
            clock.now += 2.0
        clock.now = max(clock.now, end + off)
    return taken


def scheduled(every: float, **windows):
    """Makes a schedule by a clock."""

    def make(clock: Clock) -> Schedule:
        made = make_schedule(every, **windows)
        made.clock = clock
        return made

    return make


def two_a_month(start: float, seed: int) -> tuple[float, ...]:
    """Moments at which a machine reboots."""
    chance = random.Random(seed)
    return tuple(sorted(start + (i + chance.random()) * 15.2 * 86_400 for i in range(24)))


@pytest.mark.parametrize("seed", range(4))
def test_a_year_of_noons(seed):
    clock = Fake(at("2026-01-01T09:00"))
    taken = film(
        clock,
        scheduled(86_400.0, start="12:00", stop="12:30"),
        at("2027-01-01T09:00"),
        reboots=two_a_month(clock.now, seed),
    )
    days = Counter(berlin(wall).date() for wall in taken)
    assert len(days) == 365 and set(days.values()) == {1}
    assert all(berlin(wall).hour == 12 and berlin(wall).minute < 4 for wall in taken)


@pytest.mark.parametrize("latitude", [52.0, 70.0])
def test_a_year_of_daylight_every_ten_minutes(latitude):
    """Against the sun's height at every tenth minute of the year, from the same almanac but with no schedule."""
    place, start, end = f"{latitude},13.4", at("2026-01-01T00:05"), at("2027-01-01T00:05")
    reboots = two_a_month(start, 7)
    taken = film(Fake(start), scheduled(600.0, daylight=place), end, reboots=reboots)
    sun = Daylight(place)
    wanted = {wall for wall in np.arange(at("2026-01-01T00:10"), end, 600.0) if sun.open(float(wall))}
    got = Counter(600.0 * round(wall / 600) for wall in taken)
    assert max(got.values()) == 1 and set(got) >= wanted
    assert len(wanted) > 20_000
    # A night at 70 degrees is long, and each of its days with any dawn has its frame; none is without sun.
    assert all(sun.open(wall) for wall in got)


@pytest.mark.parametrize(
    ("every", "windows", "begun", "hour", "least"),
    [
        (86_400.0, {"start": "12:00", "stop": "12:30"}, "2026-03-01T09:00", {12}, 30),
        (43_200.0, {"start": "06:00", "stop": "08:00"}, "2026-03-01T09:00", {6}, 29),
        (3600.0, {"start": "12:00", "stop": "12:30"}, "2026-03-01T09:45", {12}, 30),
        (86_400.0, {"daylight": "52.5,13.4"}, "2026-03-01T23:00", {12}, 29),
        (86_400.0, {"start": "08:00", "stop": "08:00"}, "2026-03-01T23:00", {8}, 29),
        (25_200.0, {"start": "22:00", "stop": "02:00"}, "2026-03-01T09:00", {22}, 29),
        (86_400.0, {"start": "05:00", "stop": "22:00", "daylight": "52.5,13.4"}, "2026-03-01T09:00", {5, 6}, 29),
        (129_600.0, {"start": "12:00", "stop": "12:30"}, "2026-03-01T09:00", {12}, 20),
        (7 * 86_400.0, {"start": "12:00", "stop": "12:30"}, "2026-03-01T13:00", {12}, 4),
    ],
)
def test_no_window_stays_without_a_frame(every, windows, begun, hour, least):
    """The spring change of the clocks, on the 29th, is among these days."""
    clock = Fake(at(begun))
    taken = film(clock, scheduled(every, **windows), clock.now + 30 * 86_400)
    assert {berlin(wall).hour for wall in taken} == hour and len(taken) >= least


def test_without_hours_a_day_is_counted_from_when_the_roll_began():
    clock = Fake(at("2026-03-20T15:23"))
    reboots = (at("2026-03-22T18:00"), at("2026-03-25T03:00"), at("2026-03-30T15:22:30"))
    taken = [berlin(wall) for wall in film(clock, scheduled(86_400.0), at("2026-04-04T10:00"), reboots=reboots)]
    assert len(taken) == 15 and {t.hour for t in taken} == {15}
    assert {t.minute for t in taken} <= {23, 24}  # a reboot in between: made up for


def test_the_night_on_which_clocks_go_back_has_all_its_ticks():
    clock = Fake(at("2026-10-25T00:00"))
    taken = film(clock, scheduled(1800.0, start="00:00", stop="05:00"), at("2026-10-25T12:00"))
    assert len(taken) == 12  # six hours pass between these hours
    assert np.allclose(np.diff(taken), 1800, atol=5)


@pytest.mark.parametrize("by", [86_400.0, -86_400.0, 3 * 3600.0, -600.0])
def test_a_clock_that_jumps_and_comes_back_costs_no_noon(by):
    clock = Fake(at("2026-05-01T20:00"))
    make, taken = scheduled(86_400.0, start="12:00", stop="12:30"), list[float]()
    moments = [at("2026-05-03T15:00"), at("2026-05-03T17:00"), at("2026-05-08T09:00")]
    schedule, stop = make(clock), threading.Event()
    clock.end = moments[-1]
    wait = clock.wait

    def jumpy(seconds: float, stopping: threading.Event) -> None:
        wait(min(seconds, 600.0), stopping)
        clock.offset = by if moments[0] <= clock.now < moments[1] else 0.0

    clock.wait = jumpy  # type: ignore[method-assign]
    for _ in schedule.ticks(stop):
        taken.append(clock.now)
    right = [berlin(wall).date() for wall in taken if berlin(wall).hour == 12]
    assert len(set(right)) == 6 and len(taken) <= 7


def test_a_clock_that_was_only_restored_is_not_believed():
    """Booted at 9 in the morning, the clock says 20:00: frames come all the same, and at the right hours once set."""
    clock = Fake(at("2026-12-01T09:00"))
    clock.is_sure, clock.offset = False, 11 * 3600.0
    schedule, stop, taken = scheduled(600.0, daylight="52.5,13.4")(clock), threading.Event(), list[float]()
    clock.end = at("2026-12-02T09:00")
    for _ in schedule.ticks(stop):
        taken.append(clock.now)
        if clock.now > at("2026-12-01T15:00") and not clock.is_sure:
            clock.is_sure, clock.offset = True, 0.0
    before = [wall for wall in taken if wall < at("2026-12-01T15:00")]
    assert len(before) == 36
    assert not [wall for wall in taken if at("2026-12-01T17:00") < wall < at("2026-12-02T06:00")]
    assert [wall for wall in taken if wall > at("2026-12-02T08:00")]


def test_who_has_set_the_clock(tmp_path):
    timesync, battery = tmp_path / "timesync", tmp_path / "since_epoch"
    assert is_synchronised(1.9e9, timesync, battery)  # no systemd there that could tell
    timesync.mkdir()
    assert not is_synchronised(1.9e9, timesync, battery)
    battery.write_text("1900000030\n")
    assert is_synchronised(1.9e9, timesync, battery)
    battery.write_text("86400\n")
    assert not is_synchronised(1.9e9, timesync, battery)
    (timesync / "synchronized").touch()
    assert is_synchronised(1.9e9, timesync, battery)


def test_the_next_frame_is_known():
    clock = Fake(at("2026-03-01T09:00"))
    schedule = scheduled(86_400.0, start="12:00", stop="12:30")(clock)
    assert schedule.next_due() == at("2026-03-01T12:00")
    assert scheduled(10.0, start="12:00", stop="12:30")(clock).next_due() == at("2026-03-01T12:00")
    assert scheduled(10.0)(clock).next_due() == clock.now
    assert scheduled(600.0, daylight="78.2,15.6")(Fake(at("2026-12-01T12:00"))).next_due(10 * 86_400.0) is None
    never = scheduled(600.0, start="23:00", stop="23:30", daylight="0,13.4")(clock)
    assert never.next_due(366 * 86_400.0) is None
