"""The timeline of a roll: which frames a film of it can show, when each was taken, and where its pictures are.

A piece of a painting does not say which originals its frames were painted from. The journal tells: it holds all frames
from the piece's first to its last; those that are suspect or lost were left out. Where numbers do not agree, because
painting died of a frame or the journal was damaged, the piece's frames are spread evenly over the numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pleinair.errors import RollError
from pleinair.films.choice import spread
from pleinair.films.remux import read_packets
from pleinair.rolls.journal import Reading
from pleinair.rolls.ledger import moment, read_ledger
from pleinair.rolls.originals import find_originals, original_path
from pleinair.rolls.records import Captured, Lost, read_record
from pleinair.rolls.segments import Segment, find_segments
from pleinair.rolls.settings import Look, Settings, read_settings


class Shot(NamedTuple):
    """A frame that a film can show: its number on the roll, and its picture's place in a piece, -1 for none."""

    seq: int
    #: Seconds since 1970 by the wall clock, where the timeline is ``dated``.
    time: float
    #: What its time stamp says where it has no date.
    label: str
    piece: int
    place: int


@dataclass(frozen=True)
class Timeline:
    """The shots of a roll, in order, and where their pictures are.

    ``dated`` says whether their times are dates. ``look`` is None for originals alone. ``frames`` is the number of
    frames in each piece.
    """

    folder: Path
    settings: Settings
    look: Look | None
    shots: Sequence[Shot]
    dated: bool
    pieces: Sequence[Segment]
    frames: Sequence[int]

    def original(self, shot: Shot) -> Path:
        """Where a shot's original is."""
        return original_path(self.folder / "originals", shot.seq, self.settings.spool)

    def caption(self, shot: Shot) -> str:
        """A shot's time as people read it."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(shot.time)) if self.dated else shot.label


def read_timeline(folder: Path, look: Look | None, *, originals: bool = False) -> Timeline:
    """The timeline of a roll's painting, or of its originals where there is no ``look``; nothing is written.

    ``originals`` leaves out paintings whose original is gone. Frames that are not in a closed piece yet are no part of
    a painting's. Raises RollError.
    """
    ledger = read_ledger(folder)
    settings = read_settings(folder, ledger)
    records = _read_frames(folder)
    times, dated = _times(records, settings)
    labels = {record.seq: record.name or f"{record.seq:06d}" for record in records}
    at = {record.seq: time for record, time in zip(records, times, strict=True)}
    there = set[int]()
    if originals or look is None:
        there = set(find_originals(folder / "originals", settings.spool))
    pieces, frames = list[Segment](), list[int]()
    if look is None:
        shots = [Shot(seq, at[seq], labels[seq], -1, -1) for seq in sorted(there & at.keys())]
        return Timeline(folder, settings, None, shots, dated, pieces, frames)
    pieces = find_segments(folder / look.file())
    shots = []
    numbers = np.array(sorted(at), np.int64)
    when = np.array([at[number] for number in numbers.tolist()])
    for index, piece in enumerate(pieces):
        sealed = ledger.sealed.get(look.file(piece.path.name))
        count = sealed.frames if sealed is not None else sum(1 for _ in read_packets(piece.path))
        frames.append(count)
        known = numbers[np.searchsorted(numbers, piece.first) : np.searchsorted(numbers, piece.last, "right")]
        for place, seq in enumerate(_spread(known.tolist(), count, piece)):
            if not originals or seq in there:
                taken = at[seq] if seq in at else float(np.interp(seq, numbers, when)) if at else float(seq)
                shots.append(Shot(seq, taken, labels.get(seq, f"{seq:06d}"), index, place))
    return Timeline(folder, settings, look, shots, dated, pieces, frames)


def _spread(known: list[int], count: int, piece: Segment) -> list[int]:
    """The originals' numbers of a piece's ``count`` frames; ``known`` are those that can be in it."""
    if len(known) == count:
        return known
    if len(known) < count:
        known = list(range(piece.first, piece.last + 1))
    return [known[place * len(known) // count] for place in range(count)]


def _read_frames(folder: Path) -> list[Captured]:
    """The journal's frames that a film can show, by number."""
    found, lost = dict[int, Captured](), set[int]()
    for line in Reading(folder / "journal.jsonl"):
        if line["event"] not in ("frame", "lost"):
            continue
        try:
            record = read_record(line)
        except RollError:
            continue
        if isinstance(record, Lost):
            lost.add(record.seq)
        elif isinstance(record, Captured):
            found[record.seq] = record
    return [found[seq] for seq in sorted(found) if found[seq].suspect is None and seq not in lost]


def _times(records: Sequence[Captured], settings: Settings) -> tuple[list[float], bool]:
    """The frames' times in seconds, and whether they are dates."""
    moments = [moment(record) for record in records]
    known = [n for n, at in enumerate(moments) if at is not None]
    if not known:
        # The roll's own time of a live camera; stored frames have their place alone.
        step = settings.step or 1.0
        own = [r.t if r.live else step * (r.seq if r.position is None else r.position) for r in records]
        return own, False
    times = list[float]()
    for number, (record, at) in enumerate(zip(records, moments, strict=True)):
        if at is None:
            near = _nearest(known, number)
            base = moments[near]
            assert base is not None
            at = base + (record.t - records[near].t if record.live else 0.0)
        times.append(at)
    return (times if records[known[0]].live else spread(times)), True


def _nearest(known: Sequence[int], number: int) -> int:
    place = int(np.searchsorted(known, number))
    around = known[max(0, place - 1) : place + 1]
    return min(around, key=lambda n: abs(n - number))
