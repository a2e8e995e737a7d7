"""What a time-lapse asks about heat. ``pleinair_pi.heat.read_heat`` is such a thermometer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Heat(Protocol):
    """One reading."""

    @property
    def celsius(self) -> float | None:
        """Degrees of the hottest part; None where nothing measures it."""

    def now(self) -> list[str]:
        """What the machine complains of now, in words: under-voltage, throttled ..."""

    def since_boot(self) -> list[str]:
        """What it complained of at any time since boot."""

    def rest(self) -> float:
        """Seconds that painting should rest for each second that it works; 0 where it is cool."""


#: Reads how hot it is, now.
Thermometer = Callable[[], Heat]
