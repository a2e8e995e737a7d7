"""What the doctor says of one thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass

#: The states of a finding. A time-lapse can begin when none is bad.
GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"


@dataclass(frozen=True)
class Finding:
    """What was looked at, its state (good, doubtful, bad), what was found, and what helps."""

    subject: str
    state: str
    found: str
    remedy: str = ""
