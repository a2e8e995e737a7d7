"""Clocks for tests: time passes where somebody waits, and nowhere else."""

from __future__ import annotations

import datetime
import threading

from pleinair.rolls.schedule import Clock


class HeldClock(Clock):
    """A clock that jumps ahead where somebody waits, so that a month of frames takes no longer than taking them."""

    def __init__(self, begun: datetime.datetime) -> None:
        self.now = begun.timestamp()

    def sure(self) -> bool:
        """See Clock."""
        return True

    def boot(self) -> tuple[str, float]:
        """See Clock."""
        return "test", self.now

    def monotonic(self) -> float:
        """See Clock."""
        return self.now

    def wall(self) -> float:
        """See Clock."""
        return self.now

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """See Clock."""
        self.now += seconds
