"""Exposure for a time-lapse: locked while the light lasts, and moved slowly when it changes.

A camera's own exposure control looks at seconds and makes a film pulse. This one looks at each frame of the time-lapse
and leaves the exposure alone as long as the picture is near its target; when it is not, it moves towards it by a part
of what is missing, and by not much more in a minute than dusk itself. (In civil twilight daylight falls from about 400
lux to 3 in half an hour, a quarter of a stop a minute.) Time comes before gain, as gain is noise.

A picture's level is the mean of its luma plane; a stop is a doubling of light, and luma follows light by a power of
1/2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Mean luma to be reached, of 255; lower where a bright sky would burn out.
TARGET = 105.0
#: Share of burnt-out pixels, and how many stops darker each further such share makes the target.
_BURNT, _BURNT_STOPS = 0.02, 0.5
_MOST_DARKER = 1.0
#: Off by less than the first, exposure stays; once it moves, it moves until it is within the second (stops).
_WAKE, _SETTLED = 0.25, 0.08
#: Share of what is missing that one frame makes good.
_SHARE = 0.35
#: Stops a minute at the most; what is further off than the second (a cover taken off) is met as much faster as that.
_PER_MINUTE, _FAR = 0.6, 2.0
#: No frame steps further than this, in stops: deflicker evens out what is left.
_STEP = 0.33
_POWER = 2.2


@dataclass(frozen=True)
class Limits:
    """What a sensor can do: exposure in microseconds, gain as a factor."""

    shortest: float = 60.0
    longest: float = 2_000_000.0
    most_gain: float = 8.0


@dataclass(frozen=True)
class Exposure:
    """Microseconds and gain."""

    microseconds: float
    gain: float

    @property
    def total(self) -> float:
        """Their product, which is what brightness goes by."""
        return self.microseconds * self.gain


def luma_level(luma: np.ndarray) -> tuple[float, float]:
    """Mean and share of burnt-out pixels of a luma plane, uint8 [H, W]."""
    return float(luma.mean()), float((luma >= 250).mean())


def split(total: float, limits: Limits) -> Exposure:
    """A product of time and gain as both: time first, gain where time is at its end."""
    microseconds = min(max(total, limits.shortest), limits.longest)
    return Exposure(microseconds, min(max(total / microseconds, 1.0), limits.most_gain))


class Controller:
    """Says how to expose the next frame. ``every`` is the time between frames in seconds."""

    def __init__(self, every: float, limits: Limits) -> None:
        self.limits = limits
        self._most = min(_STEP, _PER_MINUTE * every / 60)
        self._moving = False

    def next(self, level: float, burnt: float, used: Exposure) -> Exposure:
        """The exposure for the next frame, given this frame's luma level, burnt-out share and exposure."""
        darker = min(_MOST_DARKER, _BURNT_STOPS * max(0.0, burnt - _BURNT) / _BURNT)
        off = _POWER * math.log2(TARGET / max(level, 1.0)) - darker
        self._moving = abs(off) > (_SETTLED if self._moving else _WAKE)
        if not self._moving:
            return used
        most = self._most * max(1.0, abs(off) / _FAR)
        step = math.copysign(min(_SHARE * abs(off), most), off)
        return split(used.total * 2.0**step, self.limits)
