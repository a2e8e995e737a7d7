"""Heat: how hot the processor is, whether the firmware throttles it, and how much painting should rest.

The temperature is the kernel's (``/sys/class/thermal``, any Linux machine); throttling is what ``vcgencmd
get_throttled`` says, where there is a Raspberry Pi's firmware to ask: bits 0..3 for now (under-voltage, frequency
capped, throttled, soft temperature limit) and 16..19 for since boot (Raspberry Pi documentation, vcgencmd).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ZONES = Path("/sys/class/thermal")
FLAGS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
#: Below the first, painting does not rest; from the second on, it rests most (degrees Celsius). A Pi's firmware
#: begins to throttle at 80 (60 to 70 with a soft limit).
COOL, HOT = 70.0, 80.0
#: Of its time at the most that painting rests for each second that it works.
MOST_REST = 4.0
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Heat:
    """Degrees Celsius of the hottest zone and the firmware's flags; None where nothing tells."""

    celsius: float | None
    flags: int | None

    def now(self) -> list[str]:
        """What is the matter now, in words."""
        return [name for bit, name in enumerate(FLAGS) if (self.flags or 0) >> bit & 1]

    def since_boot(self) -> list[str]:
        """What was the matter at any time since boot, in words."""
        return [name for bit, name in enumerate(FLAGS) if (self.flags or 0) >> (bit + 16) & 1]

    def rest(self) -> float:
        """Seconds to rest for each second of painting."""
        warmth = 0.0 if self.celsius is None else (self.celsius - COOL) / (HOT - COOL)
        throttled = (self.flags or 0) & 0b1100
        return MOST_REST * min(1.0, max(warmth, 1.0 if throttled else 0.0, 0.0))


def read_heat(zones: Path = ZONES) -> Heat:
    """How hot it is."""
    hottest = None
    for file in zones.glob("thermal_zone*/temp"):
        # Zones that are asleep answer with an error or with nonsense.
        with contextlib.suppress(OSError, ValueError):
            celsius = int(file.read_text()) / 1000
            if -40 < celsius < 150:
                hottest = celsius if hottest is None else max(hottest, celsius)
    return Heat(hottest, read_throttled())


def read_throttled() -> int | None:
    """The firmware's flags, None where there is none to ask."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        done = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"throttled=(0x[0-9a-fA-F]+)", done.stdout)
    return int(match[1], 16) if match else None
