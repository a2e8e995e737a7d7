"""When to take a frame: absolute ticks on the monotonic clock, within the hours that are asked for.

Tick n is due at ``start + n x every``, so ticks do not drift, and setting the wall clock moves none of them. A tick
that cannot begin within half an interval is left out and counted. Hours of the day and daylight are read from the wall
clock. A Raspberry Pi has no battery for it: while it has not been set since boot, the hour is unknown, and every tick
is taken. A night too many costs less than a day too few.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pleinair.errors import OptionError

#: A wall clock that shows an earlier time has not been set: this file was written later.
EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
#: The wall clock was set when it moves by more than this against the monotonic clock, in seconds; less is a correction.
JUMP = 2.0
#: Outside the hours, a stop is noticed within so many seconds.
_NAP = 1.0


class Clock:
    """The time, in seconds; tests put another in its place."""

    def monotonic(self) -> float:
        """Seconds since some moment; it never jumps and never goes back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, if the machine's clock is set."""
        return time.time()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait for so many seconds, or until ``stop`` is set."""
        end = time.monotonic() + seconds
        # An event wakes up to a few milliseconds late, a plain sleep does not.
        if seconds > 0.02 and stop.wait(seconds - 0.01):
            return
        time.sleep(max(0.0, end - time.monotonic()))


def wall_is_set(wall: float) -> bool:
    """Whether this reading of a wall clock can be right."""
    return wall >= EARLIEST


class Hours:
    """From one local time of day to another; over midnight when the second is the earlier one."""

    def __init__(self, start: str, stop: str) -> None:
        """``start`` and ``stop`` as ``HH:MM``. Raises OptionError."""
        self._start, self._stop = parse_time(start, "start"), parse_time(stop, "stop")

    def open(self, wall: float) -> bool:
        """Whether the hours hold this moment."""
        now = datetime.datetime.fromtimestamp(wall)
        seconds = now.hour * 3600 + now.minute * 60 + now.second
        if self._start <= self._stop:
            return self._start <= seconds < self._stop
        return seconds >= self._start or seconds < self._stop


class Daylight:
    """From civil dawn to civil dusk at a place (the sun 6 degrees below the horizon), by astral."""

    def __init__(self, place: str) -> None:
        """``place`` as ``LATITUDE,LONGITUDE`` in degrees. Raises OptionError."""
        match = re.fullmatch(r"(-?[0-9]{1,2}(?:\.[0-9]+)?),(-?[0-9]{1,3}(?:\.[0-9]+)?)", place)
        if match is None or abs(float(match[1])) > 90 or abs(float(match[2])) > 180:
            raise OptionError(f"{place!r}: write LATITUDE,LONGITUDE in degrees, as 52.52,13.40", option="daylight")
        try:
            from astral import Observer
            from astral.sun import elevation
        except ImportError as error:
            raise OptionError(
                f"{place}: needs astral: pip install '.[cpu]' in a checkout of pleinair", option="daylight"
            ) from error
        observer = Observer(float(match[1]), float(match[2]))
        # The sun's height at the moment itself: no special case in polar summers and winters.
        self._elevation: Callable[[datetime.datetime], float] = lambda now: float(elevation(observer, now, False))
        self._minute, self._open = -1, False

    def open(self, wall: float) -> bool:
        """Whether it is day, dawn or dusk, looked up once a minute."""
        minute = int(wall // 60)
        if minute != self._minute:
            now = datetime.datetime.fromtimestamp(60.0 * minute, datetime.timezone.utc)
            self._minute, self._open = minute, self._elevation(now) >= -6.0
        return self._open


def parse_time(text: str, option: str) -> int:
    """``HH:MM`` in seconds since midnight. Raises OptionError that names ``option``."""
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text)
    if match is None or int(match[1]) > 24 or int(match[2]) > 59 or (int(match[1]) == 24 and int(match[2])):
        raise OptionError(f"{text!r}: write a time of day like 06:30", option=option)
    return int(match[1]) * 3600 + int(match[2]) * 60


@dataclass(frozen=True)
class Tick:
    """A moment to take a frame: ``due`` on the monotonic clock, after ``missed`` ticks that were left out."""

    number: int
    due: float
    missed: int


class Schedule:
    """Ticks every ``every`` seconds, while all of ``windows`` are open; None ticks as fast as frames are taken."""

    def __init__(
        self, every: float | None, windows: list[Hours | Daylight] | None = None, clock: Clock | None = None
    ) -> None:
        self.every, self.windows, self.clock = every, windows or [], clock or Clock()
        #: Whether the last tick fell outside the hours.
        self.asleep = False
        #: Monotonic time of the last sign of life, for a watchdog.
        self.alive = self.clock.monotonic()

    def open(self) -> bool:
        """Whether frames are to be taken now."""
        wall = self.clock.wall()
        return not wall_is_set(wall) or all(window.open(wall) for window in self.windows)

    def ticks(self, stop: threading.Event) -> Iterator[Tick]:
        """Waits for each tick and yields it, until ``stop`` is set."""
        start, number = self.clock.monotonic(), 0
        while not stop.is_set():
            missed, due = 0, start
            if self.every is not None:
                late = self.clock.monotonic() - (start + number * self.every)
                # The first tick that is less than half an interval ago.
                missed = max(0, int(late / self.every + 0.5)) if late > self.every / 2 else 0
                number += missed
                due = start + number * self.every
                while not stop.is_set() and (left := due - self.clock.monotonic()) > 0:
                    self.alive = self.clock.monotonic()
                    self.clock.wait(min(left, _NAP), stop)
            self.alive = self.clock.monotonic()
            self.asleep = not self.open()
            if stop.is_set():
                return
            if not self.asleep:
                yield Tick(number, due, missed)
            elif self.every is None:
                self.clock.wait(_NAP, stop)
            number += 1


def make_schedule(
    every: float | None, *, start: str | None = None, stop: str | None = None, daylight: str | None = None
) -> Schedule:
    """A tick every ``every`` seconds, between two times of day, in daylight at a place. Raises OptionError."""
    windows: list[Hours | Daylight] = []
    if start is not None or stop is not None:
        windows.append(Hours(start or "00:00", stop or "24:00"))
    if daylight is not None:
        windows.append(Daylight(daylight))
    return Schedule(every, windows)


class WallWatch:
    """Notices when the wall clock is set, by comparing it with the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.wall() - clock.monotonic()

    def jumped(self) -> float | None:
        """By how many seconds the wall clock was set since the last call; None for less than :data:`JUMP`."""
        offset = self._clock.wall() - self._clock.monotonic()
        by, self._offset = offset - self._offset, offset
        return by if abs(by) > JUMP else None
