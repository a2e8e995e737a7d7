"""Ticks by local time: at the same times of each day, whatever a reboot or a change of the clocks does.

A day of ticks begins at a time of day: that of the hours asked for, noon where there is daylight alone, else that at
which the roll began. From there on a tick follows every ``every`` seconds, and the next day begins anew. Intervals up
to an hour are counted in seconds that pass, so that a night on which the clocks go back has its ticks, too; longer ones
are counted on the clock on the wall. Ticks outside the hours are none, but each day has at least one if its hours are
open at all: where the count gives none, it is when they open.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

DAY = 86_400.0
#: Intervals above this, in seconds, are counted on the clock on the wall.
_HOUR = 3600.0
#: Days whose ticks are remembered.
_KNOWN = 40


class Window(Protocol):
    """Hours of the day, or daylight."""

    def open(self, wall: float) -> bool:
        """Whether the window holds this moment."""


class Days:
    """The ticks of all days. Times are of the wall clock, in seconds since 1970."""

    def __init__(self, every: float, windows: Sequence[Window], *, begun: float, begin: float | None) -> None:
        """``begin`` is the time of day at which a day of ticks begins, in seconds; None for that of ``begun``."""
        self._every, self._windows = every, windows
        self._first = datetime.datetime.fromtimestamp(begun)
        midnight = self._first.replace(hour=0, minute=0, second=0, microsecond=0)
        self._begin = (self._first - midnight).total_seconds() if begin is None else begin
        if every > DAY and begin is not None and (self._first - midnight).total_seconds() > begin:
            # Longer intervals count from the first day that begins after the roll.
            self._first += datetime.timedelta(days=1)
        self._known: dict[int, list[float]] = {}

    def next(self, after: float, until: float) -> float | None:
        """The first tick later than ``after`` and up to ``until``; None for none."""
        now = datetime.datetime.fromtimestamp(after)
        day = now.toordinal() - (2 if self._every <= DAY else math.ceil(self._every / DAY) + 1)
        while self._start(day) <= until:
            for tick in self._ticks(day):
                if tick > after:
                    return tick if tick <= until else None
            day += 1
        return None

    def _ticks(self, day: int) -> list[float]:
        if day not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[day] = list(self._of(day))
        return self._known[day]

    def _of(self, day: int) -> Iterator[float]:
        """The ticks of the day of that number."""
        if self._every >= DAY:
            yield from self._rare(day)
            return
        start, end = self._start(day), self._start(day + 1)
        found, number = False, 0
        while (tick := self._tick(day, number)) < end - 1e-6:
            if self._open(tick):
                found = True
                yield tick
            number += 1
        if not found and (opening := first_open(self._windows, start, end - 1)) is not None:
            yield opening

    def _rare(self, day: int) -> Iterator[float]:
        """At most one: of a day that an interval of days or more meets, when its hours open."""
        behind = (day - self._first.toordinal()) * DAY
        number = math.ceil(behind / self._every - 1e-9)
        if number * self._every < behind + DAY - 1e-6 and (number >= 0 or self._every == DAY):
            tick = _wall(day, self._begin + number * self._every - behind)
            opening = tick if self._open(tick) else first_open(self._windows, tick, tick + DAY - 61)
            if opening is not None:
                yield opening

    def _open(self, wall: float) -> bool:
        return all(window.open(wall) for window in self._windows)

    def _start(self, day: int) -> float:
        return _wall(day, self._begin)

    def _tick(self, day: int, number: int) -> float:
        if self._every > _HOUR:
            return _wall(day, self._begin + number * self._every)
        return self._start(day) + number * self._every


def _wall(day: int, seconds: float) -> float:
    """The wall clock's seconds at a local time: so many seconds after midnight of a day, on the clock on the wall."""
    local = datetime.datetime.fromordinal(day) + datetime.timedelta(seconds=seconds)
    return local.timestamp()


def first_open(windows: Sequence[Window], start: float, end: float) -> float | None:
    """The first whole minute from ``start`` to ``end`` at which all windows are open, or ``start``; None for none."""
    if all(window.open(start) for window in windows):
        return start
    minute = 60.0 * math.ceil(start / 60)
    # Daylight is looked up only where the hours are open: hours come first.
    while minute <= end:
        if all(window.open(minute) for window in windows):
            return minute
        minute += 60.0
    return None
