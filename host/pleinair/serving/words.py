"""How a roll stands, in words: what the page says of it. Times are this machine's, with their dates."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pleinair.rolls.status import Status, Trouble

#: Seconds without news of a process that films, after which the page says so.
_SILENT = 60.0
#: How loud a word is: all is well, look at it, something is wrong.
GOOD, WARN, BAD = "good", "warn", "bad"


@dataclass(frozen=True)
class Said:
    """A word for a state, what is to be said besides, and how loud."""

    word: str
    more: str
    tone: str


@dataclass(frozen=True)
class Figure:
    """A figure with its name, a few words below it, and how loud it is ("" for not)."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


def moment(wall: float) -> str:
    """A time of the wall clock, to the second: ``2026-11-25 06:30:12``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
    except (OverflowError, ValueError, OSError):
        return "at no known time"


def minute(wall: float) -> str:
    """A time of the wall clock, to the minute."""
    return moment(wall)[:16]


def span(seconds: float) -> str:
    """A length of time: ``90 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    if seconds < 90:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def size(count: float) -> str:
    """Bytes: ``5.5 GB``, ``120 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def said(s: Status, now: float) -> Said:
    """The state of a roll; ``now`` is the wall clock's time."""
    reason = f" {_sentence(s.reason)}" if s.reason else ""
    frames = f"{s.frames:,} frame{'' if s.frames == 1 else 's'}"
    last = f" The last came {moment(s.last_wall)}." if s.frames and s.last_wall > 0 else ""
    if s.state in ("running", "asleep"):
        if s.wall is not None and now - s.wall > _SILENT:
            return Said("not heard from", f"It films, but has said nothing since {moment(s.wall)}.", BAD)
        if s.camera_failures:
            times = "once" if s.camera_failures == 1 else f"{s.camera_failures} times in a row"
            return Said("waiting for the camera", f"It gave no frame {times}; it is asked again.{last}", BAD)
        if s.state == "asleep":
            until = f"asleep until {minute(s.due)}" if s.due is not None else "asleep"
            return Said(until, f"Outside the hours of this roll no frame is taken.{last}", WARN)
        due = f" The next frame is due {moment(s.due)}." if s.due is not None and s.due - now > 60 else ""
        return Said("running", f"{frames} so far.{due}", GOOD)
    if s.state == "new":
        return Said("not begun", "Nothing was filmed yet.", WARN)
    if s.state == "complete":
        left = f" {s.pending:,} are still to be painted." if s.pending else ""
        return Said("finished", f"All is filmed: {frames}.{left}{last}", GOOD)
    if s.state == "stopped":
        return Said("stopped", f"It was told to end after {frames}.{reason}{last}", WARN)
    if s.state == "interrupted":
        return Said("interrupted", f"A kill or a power cut ended it after {frames}.{last}", BAD)
    if s.state == "in use":
        return Said("in use", f"Another command has the roll, which paints or joins a film.{last}", WARN)
    if s.state == "full":
        return Said("disk full", f"It ended after {frames}.{reason}{last}", BAD)
    if s.state == "failed":
        return Said("failed", f"It ended after {frames}.{reason}{last}", BAD)
    return Said(s.state, reason.strip(), BAD)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def figures(s: Status) -> Iterator[Figure]:
    """What is worth a number."""
    live = s.state in ("running", "asleep")
    wanted = f"of {s.wanted:,}" if s.wanted else f"one every {span(s.every)}" if s.every else ""
    if s.wanted_seconds:
        wanted = f"{span(s.seconds)} of {span(s.wanted_seconds)}"
    yield Figure("Captured", f"{s.frames:,}", wanted)
    to_come = f"{s.pending:,} to come" if s.pending else "up to date"
    if live and s.pending and s.paint_seconds:
        to_come += f", about {span(s.pending * s.paint_seconds * (1 + s.rest))}"
    yield Figure("Painted", f"{s.painted:,}", to_come)
    if live and s.frames_per_hour:
        paint = f"{s.paint_seconds:.2f} s to paint one" if s.paint_seconds else ""
        yield Figure("Pace", f"{s.frames_per_hour:,.0f} / h", paint)
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in s.skipped.items())
    tone = BAD if s.camera_failures else ""
    yield Figure("Skipped", f"{sum(s.skipped.values()):,}", skipped or "no tick missed", tone)
    if s.free is not None:
        scarce = WARN if s.free - s.keep_free < 1e9 and live else ""
        yield Figure("Disk", size(s.free), f"free; {size(s.keep_free)} stay so", scarce)
    if s.celsius is not None or s.heat:
        heat = ", ".join(s.heat) or ("painting rests" if s.rest else "")
        value = "unknown" if s.celsius is None else f"{s.celsius:.0f} °C"
        yield Figure("Heat", value, heat, BAD if s.heat else WARN if s.rest else "")


def troubles(s: Status, lines: list[dict[str, Any]], most: int = 6) -> list[Trouble]:
    """What went wrong last, the newest first: told by the process that films, or by the journal's last lines."""
    found = {(e.wall, e.what, e.message): e for e in s.errors}
    for line in lines:
        wall, what, message = line.get("wall"), line.get("what"), line.get("message")
        if line.get("event") == "trouble" and isinstance(wall, (int, float)):
            known = any(e.what == what and e.message == message and abs(e.wall - wall) < 2 for e in found.values())
            if not known:
                found[wall, str(what), str(message)] = Trouble(float(wall), str(what), str(message))
    return sorted(found.values(), key=lambda e: e.wall, reverse=True)[:most]


def told(line: Mapping[str, Any]) -> str:
    """A line of the journal in words, without its event and its time."""
    get = line.get
    event = get("event")
    if event == "frame":
        late = get("late")
        parts = [f"number {get('seq')}", get("name"), get("suspect")]
        if isinstance(late, (int, float)) and late > 0.005:
            parts.append(f"{1000 * late:.0f} ms late")
        return ", ".join(str(part) for part in parts if part)
    if event == "skipped":
        return f"{get('ticks')} ticks, {get('reason')}"
    if event in ("trouble", "recovered"):
        after = get("message") or f"works again after {get('after')} failures"
        return f"{get('what')}: {after}"
    if event == "sealed":
        return f"frames {get('first')} to {get('last')} of the film are closed"
    if event == "film":
        return f"of {get('day')}, {get('frames')} frames"
    if event == "unfilmed":
        return f"the film of {get('day')} was deleted to make room"
    if event == "deleted":
        return f"originals below number {get('below')}, to make room"
    if event == "lost":
        return f"original {get('seq')} is damaged"
    if event == "clock":
        return f"set by {get('by')} s"
    if event == "end":
        return f"{get('state')}" + (f": {get('message')}" if get("message") else "")
    return str(get("message") or get("name") or get("file") or "")
