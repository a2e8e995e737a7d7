"""Which frames a film shows: from the frames' times and what was asked for to numbers of frames, and nothing else.

A film may show some days, some hours, every n-th frame, or as many frames as fill a minute. Frames are chosen evenly in
time and not by their numbers: where some are missing, the film stands still for as long, and does not jump. A pause
(a night that nobody filmed, a power cut), which is more than :data:`PAUSE` usual intervals long, is passed over: it
lasts as long as one interval. A clock that was set back is a pause, too.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pleinair.errors import OptionError

#: Usual intervals between frames: what is longer is a pause.
PAUSE = 20
#: Frames that are averaged into one, at most.
MAX_BLEND = 60
#: Frames that a film has at most.
MAX_FRAMES = 10_000_000
_DAY = 86_400


@dataclass(frozen=True)
class Choice:
    """What a film shows of its frames; None, or nothing, where all of them are wanted.

    ``days`` are dates (2026-11-25). ``since`` and ``until`` are both times of day (06:30), within which each day is
    shown, over midnight where the second is the earlier one; or moments (2026-11-25 or 2026-11-25T06:30). Of what is
    left, ``nth`` takes every n-th frame, ``apart`` one for every so many seconds, and ``count`` so many in all.
    ``blend`` neighbouring frames are averaged into each. At most one of ``nth``, ``apart`` and ``count`` is given.
    """

    days: tuple[datetime.date, ...] = ()
    since: str | None = None
    until: str | None = None
    nth: int | None = None
    apart: float | None = None
    count: int | None = None
    blend: int = 1

    @property
    def dated(self) -> bool:
        """Whether it asks for days or hours, so that the frames need dates."""
        return bool(self.days) or self.since is not None or self.until is not None


def choose(times: Sequence[float], choice: Choice) -> np.ndarray:
    """The frames of a film: int64 [N, 2], for each of its frames the first frame that is blended in it, and the end.

    ``times`` are those of the frames that there are, in order, in seconds since 1970 by the wall clock; where
    ``choice`` is not ``dated`` only their differences count. Without blending the end is the first one plus 1. The
    rows never go back. Frames that are blended lie between two pauses and among those of the days and hours asked for.

    Raises OptionError where nothing is left, or for a value that is not allowed.
    """
    _check(choice)
    at = np.asarray(times, np.float64)
    chosen = _within(at, choice)
    if not len(chosen):
        raise OptionError("no frame of the days and hours asked for")
    steps, paused = _steps(at[chosen])
    picked = _picked(steps, choice)
    if choice.blend == 1:
        lows = highs = picked
    else:
        # The first and last frame of the stretch, between two pauses, that each frame lies in.
        breaks = 1 + np.flatnonzero(paused | (np.diff(chosen) != 1))
        edges = np.concatenate(([0], breaks, [len(chosen)]))
        stretch = np.searchsorted(edges, picked, side="right") - 1
        lows = np.maximum(picked - (choice.blend - 1) // 2, edges[stretch])
        highs = np.minimum(picked + choice.blend // 2, edges[stretch + 1] - 1)
    rows: np.ndarray = np.stack((chosen[lows], chosen[highs] + 1), axis=1).astype(np.int64)
    return rows


def _check(choice: Choice) -> None:
    ways = {"every": choice.nth if choice.apart is None else choice.apart, "length": choice.count}
    if all(value is not None for value in ways.values()):
        raise OptionError("give --length or --every, not both")
    if not 1 <= choice.blend <= MAX_BLEND:
        raise OptionError(f"{choice.blend}: 1 to {MAX_BLEND}", option="blend")
    if choice.nth is not None and choice.nth < 1:
        raise OptionError(f"{choice.nth}: 1 or more", option="every")
    if choice.count is not None and not 1 <= choice.count <= MAX_FRAMES:
        raise OptionError(f"{choice.count} frames: 1 to {MAX_FRAMES}", option="length")


def _within(at: np.ndarray, choice: Choice) -> np.ndarray:
    """The numbers of the frames of the days and hours asked for."""
    keep = np.ones(len(at), bool)
    if choice.days:
        inside = np.zeros(len(at), bool)
        for day in choice.days:
            inside |= (at >= _midnight(day)) & (at < _midnight(day + datetime.timedelta(days=1)))
        keep &= inside
    since, until = _moment(choice.since, "since"), _moment(choice.until, "until")
    if isinstance(since, int) or isinstance(until, int):
        if isinstance(since, float) or isinstance(until, float):
            asked = f"{choice.since!r} and {choice.until!r}"
            raise OptionError(f"{asked}: give two times of day, or two dates", option="since")
        seconds = np.array([_of_day(wall) for wall in at])
        start, stop = since or 0, _DAY if until is None else until
        keep &= (seconds >= start) & (seconds < stop) if start < stop else (seconds >= start) | (seconds < stop)
        return np.flatnonzero(keep)
    if since is not None:
        keep &= at >= since
    if until is not None:
        keep &= at < until
    return np.flatnonzero(keep)


def _midnight(day: datetime.date) -> float:
    return datetime.datetime(day.year, day.month, day.day).timestamp()


def _of_day(wall: float) -> int:
    now = datetime.datetime.fromtimestamp(wall)
    return now.hour * 3600 + now.minute * 60 + now.second


def _moment(text: str | None, option: str) -> int | float | None:
    """A time of day in whole seconds since midnight, or a moment in seconds since 1970, a float. Raises OptionError."""
    if text is None:
        return None
    if (match := re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])|24:00", text)) is not None:
        return _DAY if match[1] is None else int(match[1]) * 3600 + int(match[2]) * 60
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?", text):
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            pass
    raise OptionError(f"{text!r}: write a time of day like 06:30, or 2026-11-25 or 2026-11-25T06:30", option=option)


def _steps(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames' places on the film's own axis of time, in seconds from 0, and which of their intervals are pauses.

    A pause is as long as a usual interval.
    """
    apart = np.diff(at)
    usual = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    paused = (apart > PAUSE * usual) | (apart < 0)
    return np.concatenate(([0.0], np.cumsum(np.where(paused, usual, apart)))), paused


def _picked(steps: np.ndarray, choice: Choice) -> np.ndarray:
    """The frames that are chosen, as places in ``steps``; none goes back."""
    if choice.nth is not None:
        return np.arange(0, len(steps), choice.nth)
    if choice.count is not None:
        places = np.linspace(0.0, steps[-1], choice.count) if choice.count > 1 else np.array([steps[-1] / 2])
    elif choice.apart is not None:
        count = int(steps[-1] / choice.apart + 1e-6) + 1
        if count > MAX_FRAMES:
            raise OptionError(f"{choice.apart:g} s: {count} frames, allowed are {MAX_FRAMES}", option="every")
        places = np.arange(count) * choice.apart
    else:
        return np.arange(len(steps))
    # The nearest frame; of two that are equally near, the earlier one.
    after = np.clip(np.searchsorted(steps, places), 1, max(1, len(steps) - 1))
    if len(steps) == 1:
        return np.zeros(len(places), np.int64)
    nearer = places - steps[after - 1] <= steps[after] - places
    picked: np.ndarray = np.where(nearer, after - 1, after)
    return picked


def parse_days(text: str) -> tuple[datetime.date, ...]:
    """``2026-11-25``, or several with commas between them, each once and in order. Raises OptionError."""
    days = set()
    for part in text.split(","):
        try:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", part.strip()):
                raise ValueError
            days.add(datetime.date.fromisoformat(part.strip()))
        except ValueError:
            raise OptionError(
                f"{text!r}: write a date like 2026-11-25, or several with commas between them", option="day"
            ) from None
    return tuple(sorted(days))


def spread(times: Sequence[float], least: float = 60.0) -> list[float]:
    """Times that are only known to ``least`` seconds, as of photos: equal ones are spread evenly over that."""
    spaced, at = list(map(float, times)), 0
    while at < len(spaced):
        end = at
        while end < len(spaced) and spaced[end] == spaced[at]:
            end += 1
        room = least if end == len(spaced) else max(0.0, min(least, spaced[end] - spaced[at]))
        for number in range(at, end):
            spaced[number] += room * (number - at) / (end - at)
        at = end
    return spaced
