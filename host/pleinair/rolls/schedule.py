"""When to take a frame: short intervals by the monotonic clock, long ones by local time, within the hours asked for.

An interval below a minute, or below an hour where no hours are asked for, is counted from the start: tick n is due at
``start + n x every``, so ticks do not drift, and setting the wall clock moves none of them. Longer intervals are
counted from a time of day (:mod:`pleinair.rolls.days`), so that they stay where they are after a reboot and when the
clocks change. A tick that cannot begin within half an interval is left out and counted.

Hours of the day and daylight are read from the wall clock. A Raspberry Pi has no battery for it: while the clock has
not been set since boot, or was only restored from a file and nothing has set it by a network yet, the hour is unknown,
and every tick is taken, counted from the start. A night too many costs less than a day too few.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pleinair.errors import OptionError
from pleinair.rolls.days import DAY, Days, Window, first_open

#: A wall clock that shows an earlier time has not been set: this file was written later.
EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
#: The wall clock was set when it moves by more than this against the monotonic clock, in seconds; less is a correction.
JUMP = 2.0
#: Outside the hours, a stop is noticed within so many seconds.
_NAP = 1.0
#: Intervals from these on, in seconds, are counted by local time: with hours or daylight, and without.
_ALIGNED, _ALIGNED_ALWAYS = 60.0, 3600.0
#: A tick that was missed while the machine was off or its clock wrong is made up for, so many seconds late at most.
_MADE_UP = 3600.0
#: How far ahead the next tick is looked for, in seconds.
_AHEAD = 32 * DAY
#: A clock that nobody has set yet is given so many seconds before the first frame that does without.
_PATIENCE = 120.0
#: Where systemd tells that the clock was set by a network, and what the clock with a battery shows.
_TIMESYNC, _BATTERY = Path("/run/systemd/timesync"), Path("/sys/class/rtc/rtc0/since_epoch")


class Clock:
    """The time, in seconds; tests put another in its place."""

    def sure(self) -> bool:
        """Whether the wall clock is to be believed: it is set, and not only restored from before the last boot."""
        wall = self.wall()
        return wall_is_set(wall) and is_synchronised(wall)

    def boot(self) -> tuple[str, float]:
        """A name of the machine's present run, and the seconds since it began, sleep counted."""
        try:
            name = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            name = ""
        return name, time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

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


def is_synchronised(wall: float, timesync: Path = _TIMESYNC, battery: Path = _BATTERY) -> bool:
    """Whether there is no doubt that a clock was set since boot.

    There is where systemd sets the clock by the network, has not done so yet, and no clock with a battery agrees. A
    Pi without one boots with the time at which it was shut down.
    """
    if not timesync.is_dir() or (timesync / "synchronized").exists():
        return True
    try:
        return abs(float(battery.read_text()) - wall) < 120
    except (OSError, ValueError):
        return False


class Hours:
    """From one local time of day to another; over midnight when the second is the earlier one, all day when equal."""

    def __init__(self, start: str, stop: str) -> None:
        """``start`` and ``stop`` as ``HH:MM``. Raises OptionError."""
        self._start, self._stop = parse_time(start, "start"), parse_time(stop, "stop")
        #: Seconds after midnight at which they begin.
        self.begin = self._start % int(DAY)

    def open(self, wall: float) -> bool:
        """Whether the hours hold this moment."""
        now = datetime.datetime.fromtimestamp(wall)
        seconds = now.hour * 3600 + now.minute * 60 + now.second
        if (self._start - self._stop) % int(DAY) == 0:
            return True
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
        self, every: float | None, windows: Sequence[Hours | Daylight] = (), clock: Clock | None = None
    ) -> None:
        self.every, self.windows, self.clock = every, list(windows), clock or Clock()
        #: Whether the last tick fell outside the hours.
        self.asleep = False
        #: When the next frame is due by the wall clock; None for at once, and where the clock does not tell.
        self.due: float | None = None
        #: Monotonic time of the last sign of life, for a watchdog.
        self.alive = self.clock.monotonic()
        self._begun, self._last = self.clock.wall(), 0.0
        self._days: Days | None = None
        self._make_days()

    def follow(self, begun: float, last: float) -> None:
        """Go on with a roll that began, and whose last frame was taken, at these wall-clock times; 0 for unknown."""
        self._begun, self._last = (begun if wall_is_set(begun) else self.clock.wall()), last
        self._make_days()

    def _make_days(self) -> None:
        if self.every is not None and self.every >= (_ALIGNED if self.windows else _ALIGNED_ALWAYS):
            hours = [window.begin for window in self.windows if isinstance(window, Hours)]
            begin = hours[0] if hours else DAY / 2 if self.windows else None
            windows: list[Window] = list(self.windows)
            self._days = Days(self.every, windows, begun=self._begun, begin=begin)

    def open(self) -> bool:
        """Whether frames are to be taken now."""
        return not self.clock.sure() or self._holds(self.clock.wall())

    def _holds(self, wall: float) -> bool:
        return all(window.open(wall) for window in self.windows)

    def next_due(self, horizon: float = DAY) -> float | None:
        """When a frame is due next, by the wall clock; None for none within so many seconds.

        It is now where the clock is not to be believed.
        """
        wall = self.clock.wall()
        if not self.clock.sure():
            return wall
        if self._days is not None:
            return self._days.next(self._since(wall), wall + horizon)
        return first_open(self.windows, wall, wall + horizon)

    def _since(self, wall: float) -> float:
        """Ticks after this one are to be taken: of those before now, what can be made up for."""
        assert self.every is not None
        made_up = wall - min(self.every / 2, _MADE_UP)
        return max(made_up, self._last) if self._last <= wall else made_up

    def ticks(self, stop: threading.Event) -> Iterator[Tick]:
        """Waits for each tick and yields it, until ``stop`` is set."""
        number, began, patience = 0, self.clock.monotonic(), min(_PATIENCE, (self.every or 0) / 4)
        while self._days is not None and not stop.is_set():
            if self.clock.sure():
                for tick in self._by_days(number, self._days, stop):
                    yield tick
                    number = tick.number + 1
            elif number == 0 and (left := began + patience - self.clock.monotonic()) > 0:
                self._nap(left, stop)
            else:
                for tick in self._by_interval(number, stop, sure=False):
                    yield tick
                    number = tick.number + 1
        if not stop.is_set():
            yield from self._by_interval(number, stop)

    def _nap(self, seconds: float, stop: threading.Event) -> None:
        self.alive = self.clock.monotonic()
        self.clock.wait(min(seconds, _NAP), stop)

    def _by_days(self, number: int, days: Days, stop: threading.Event) -> Iterator[Tick]:
        """Ticks by local time, as long as the clock is to be believed."""
        assert self.every is not None
        watch, since, passed = WallWatch(self.clock), self._since(self.clock.wall()), 0
        tick: float | None = None
        look = float("-inf")
        while not stop.is_set() and self.clock.sure():
            wall = self.clock.wall()
            if (by := watch.jumped()) is not None:
                # Ticks that a wrong clock seems to have passed were no ticks.
                since, passed = max(self._since(wall), since) if by > 0 else wall, 0
                tick, look = None, float("-inf")
            if tick is None and wall >= look:
                tick, look = days.next(since, wall + _AHEAD), wall + _AHEAD / 2
            self.due, self.asleep = tick, tick is None or tick - wall > max(self.every, _ALIGNED)
            if tick is None or tick > wall:
                self._nap(_NAP if tick is None else tick - wall, stop)
                continue
            if wall - tick > min(self.every / 2, _MADE_UP) or not self._holds(wall):
                passed += 1
            else:
                self.alive, self.asleep = self.clock.monotonic(), False
                self._last = tick
                yield Tick(number + passed, self.alive - (wall - tick), passed)
                number, passed = number + passed + 1, 0
            since, tick, look = tick, None, float("-inf")

    def _by_interval(self, number: int, stop: threading.Event, *, sure: bool = True) -> Iterator[Tick]:
        """Ticks counted from now; those that are not ``sure`` of the hour end when the clock is to be believed."""
        start, first = self.clock.monotonic(), number
        while not stop.is_set():
            missed, due = 0, start
            if self.every is not None:
                late = self.clock.monotonic() - (start + (number - first) * self.every)
                # The first tick that is less than half an interval ago.
                missed = max(0, int(late / self.every + 0.5)) if late > self.every / 2 else 0
                number += missed
                due = start + (number - first) * self.every
                while not stop.is_set() and (left := due - self.clock.monotonic()) > 0:
                    if not sure and self.clock.sure():
                        return
                    self._nap(left, stop)
            self.alive = self.clock.monotonic()
            self.asleep = not self.open()
            if stop.is_set():
                return
            if not self.asleep:
                self.due = None
                yield Tick(number, due, missed)
            else:
                self._look_ahead()
                if self.every is None:
                    self.clock.wait(_NAP, stop)
            number += 1

    def _look_ahead(self) -> None:
        """Outside the hours: when they begin, looked up once."""
        wall = self.clock.wall()
        if self.due is None or not wall < self.due < wall + DAY:
            self.due = self.next_due()


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
