"""The ledger: what a roll's journal adds up to."""

from __future__ import annotations

import contextlib
import datetime
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pleinair.errors import RollError
from pleinair.rolls.journal import Reading
from pleinair.rolls.records import (
    Begun,
    Captured,
    Deleted,
    Distrusted,
    Ended,
    Filmed,
    Lost,
    PaintingBegun,
    Record,
    Sealed,
    Skipped,
    Troubled,
    Unfilmed,
    Unsealed,
    read_record,
)
from pleinair.rolls.schedule import wall_is_set

#: Upper bounds of the histogram of how late frames are, in seconds.
LATENESS = (0.001, 0.002, 0.005, 0.01, 0.05, 0.5, float("inf"))


@dataclass
class Day:
    """The frames of a day: numbers of its first and last original, and how many frames there are."""

    first: int
    last: int
    frames: int = 0


@dataclass
class Ledger:
    """What the records so far add up to."""

    frames: int = 0
    first: Captured | None = None
    last: int = -1  # number of the last frame
    position: int = 0  # where a stored camera goes on
    seconds: float = 0.0  # the roll's own time, which stands still only while nobody knows how long the power was off
    wall: float = 0.0  # wall clock at the last frame
    seen: float = 0.0  # wall clock at ``seconds``
    boot: tuple[str, float, float] = ("", 0.0, 0.0)  # the last session's run of the machine, its age, the roll's time
    sessions: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    troubles: int = 0
    suspects: int = 0
    lost: set[int] = field(default_factory=set)  # originals that turned out damaged
    deleted: int = 0  # originals below this number were deleted to make room
    sealed: dict[str, Sealed] = field(default_factory=dict)  # closed pieces by their file
    state: str = "new"
    reason: str = ""
    begun: float = 0.0
    damaged: int = 0
    end: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)  # numbers that the journal knows
    settings: Mapping[str, Any] | None = None
    paintings: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # looks by name
    distrusted: dict[str, dict[str, str]] = field(default_factory=dict)  # by painting, then worker: what it did
    last_trouble: str = ""
    days: dict[str, Day] = field(default_factory=dict)  # by date, 2026-11-25; frames without one are in none
    films: dict[str, Filmed | None] = field(default_factory=dict)  # of days; None for one that was deleted
    lateness: list[int] = field(default_factory=lambda: [0] * len(LATENESS))  # a histogram

    def add(self, record: Record) -> None:
        """Take one record into account; some change nothing."""
        if isinstance(record, Captured):
            self._add_frame(record)
        elif isinstance(record, Skipped):
            self.skipped[record.reason] = self.skipped.get(record.reason, 0) + record.ticks
            self._move_to(record.position)
        elif isinstance(record, Troubled):
            self.troubles += 1
            self.last_trouble = f"{record.what}: {record.message}"
        elif isinstance(record, Begun):
            self.sessions += 1
            self.state, self.reason = "running", ""
            if not wall_is_set(self.begun):
                self.begun = record.wall
            if record.boot and record.up is not None and record.t is not None:
                self.boot = record.boot, record.up, record.t
            self.settings = record.settings
        elif isinstance(record, Sealed):
            self.sealed[record.file] = record
        elif isinstance(record, Unsealed):
            self.sealed.pop(record.file, None)
        elif isinstance(record, Deleted):
            self.deleted = max(self.deleted, record.below)
        elif isinstance(record, Filmed):
            self.films[record.day] = record
        elif isinstance(record, Unfilmed):
            self.films[record.day] = None
        elif isinstance(record, Lost):
            self.lost.add(record.seq)
        elif isinstance(record, PaintingBegun):
            self.paintings[record.name] = record.look
        elif isinstance(record, Distrusted):
            self.distrusted.setdefault(record.painting, {})[record.worker] = record.message
        elif isinstance(record, Ended):
            self.state, self.reason = record.state, record.message
            self._add_time(record.t, record.wall)

    def _add_time(self, seconds: float, wall: float | None) -> None:
        """The roll's own time goes on to ``seconds``; also where a wrong clock had it too far ahead."""
        if wall is not None:
            self.seconds, self.seen = seconds, wall
        else:
            self.seconds = max(self.seconds, seconds)

    def _move_to(self, position: int | None) -> None:
        """A stored camera goes on behind this position."""
        if position is not None:
            self.position = max(self.position, position + 1)

    def _add_frame(self, record: Captured) -> None:
        self.frames += 1
        self.first = self.first or record
        self.suspects += record.suspect is not None
        self.last = max(self.last, record.seq)
        self._move_to(record.position)
        self.wall = record.wall
        self._add_time(record.t, record.wall)
        if record.late is not None:
            late = record.late
            place = next(i for i, bound in enumerate(LATENESS) if late < bound)
            self.lateness[place] += 1
        if (taken := moment(record)) is not None:
            name = day_of(taken)
            day = self.days.setdefault(name, Day(record.seq, record.seq))
            day.first, day.last = min(day.first, record.seq), max(day.last, record.seq)
            day.frames += 1
        if self.runs and self.runs[-1][1] == record.seq - 1:
            self.runs[-1] = (self.runs[-1][0], record.seq)
        else:
            self.runs.append((record.seq, record.seq))

    def knows(self, seq: int) -> bool:
        """Whether the journal holds that frame."""
        return any(first <= seq <= last for first, last in self.runs)

    def pieces(self, painting: str) -> list[Sealed]:
        """The closed pieces in a painting's folder, given as a path within the roll that ends with a slash."""
        return [piece for file, piece in list(self.sealed.items()) if file.startswith(painting)]


def moment(record: Captured) -> float | None:
    """When a frame was taken, in seconds since 1970: by the wall clock where it was set, or as a photo says."""
    if record.live:
        return record.wall if record.clock is not False and wall_is_set(record.wall) else None
    taken = (record.metadata or {}).get("taken")
    if not isinstance(taken, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", taken):
        return None
    try:
        return datetime.datetime.fromisoformat(taken).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def day_of(wall: float) -> str:
    """The local date of a moment: ``2026-11-25``."""
    return time.strftime("%Y-%m-%d", time.localtime(wall))


def read_ledger(folder: Path) -> Ledger:
    """What a roll's journal adds up to. Raises RollError when it cannot be read."""
    return LedgerReader(folder).read()


class LedgerReader:
    """Reads a roll's journal again and again, each time only what was added to it."""

    def __init__(self, folder: Path) -> None:
        self._path, self._ledger, self._file = folder / "journal.jsonl", Ledger(), 0

    def read(self) -> Ledger:
        """What the journal adds up to by now; the same ledger each time. Raises RollError when it cannot be read."""
        with contextlib.suppress(OSError):
            there = self._path.stat()
            if there.st_ino != self._file or there.st_size < self._ledger.end:
                self._ledger, self._file = Ledger(), there.st_ino  # another file, or cut off
        ledger, reading = self._ledger, Reading(self._path, self._ledger.end)
        for line in reading:
            try:
                record = read_record(line)
            except RollError:
                ledger.damaged += 1
            else:
                if record is not None:
                    ledger.add(record)
        ledger.damaged += reading.damaged
        ledger.end = reading.end
        return ledger
