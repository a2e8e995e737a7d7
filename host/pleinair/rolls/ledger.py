"""The ledger: what a roll's journal adds up to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pleinair.rolls.journal import Reading

#: Upper bounds of the histogram of how late frames are, in seconds.
LATENESS = (0.001, 0.002, 0.005, 0.01, 0.05, 0.5, float("inf"))


@dataclass(frozen=True)
class Sealed:
    """A closed piece of a painting's film, as the journal has it.

    ``file`` is its path within the roll, ``first`` and ``last`` are numbers of originals, ``frames`` how many of those
    are in it, ``sha256`` is the file's.
    """

    file: str
    first: int
    last: int
    frames: int
    sha256: str

    def to_record(self) -> dict[str, Any]:
        """The journal's record."""
        return {"event": "sealed", **asdict(self)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Sealed:
        """From the journal's record. Raises KeyError for one that lacks a part."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})


@dataclass
class Ledger:
    """What the records so far add up to."""

    frames: int = 0
    last: int = -1  # number of the last frame
    position: int = 0  # where a stored camera goes on
    seconds: float = 0.0  # the roll's own time, which stands still only while nobody knows how long the power was off
    wall: float = 0.0  # wall clock at the last frame
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
    settings: dict[str, Any] | None = None
    paintings: dict[str, dict[str, Any]] = field(default_factory=dict)  # looks by name
    last_trouble: str = ""
    lateness: list[int] = field(default_factory=lambda: [0] * len(LATENESS))  # a histogram

    def add(self, record: dict[str, Any]) -> None:
        """Take one record into account; unknown events change nothing."""
        event = record["event"]
        if event == "frame":
            self._add_frame(record)
        elif event == "skipped":
            reason = record["reason"]
            self.skipped[reason] = self.skipped.get(reason, 0) + record["ticks"]
            self.position = max(self.position, record.get("position", -1) + 1)
        elif event == "trouble":
            self.troubles += 1
            self.last_trouble = f"{record['what']}: {record['message']}"
        elif event == "begin":
            self.sessions += 1
            self.state, self.reason = "running", ""
            self.begun = self.begun or record["wall"]
            self.settings = record["settings"]
        elif event == "sealed":
            piece = Sealed.from_record(record)
            self.sealed[piece.file] = piece
        elif event == "unsealed":
            self.sealed.pop(record["file"], None)
        elif event == "deleted":
            self.deleted = max(self.deleted, record["below"])
        elif event == "lost":
            self.lost.add(record["seq"])
        elif event == "painting":
            self.paintings[record["name"]] = record["look"]
        elif event == "end":
            self.state, self.reason = record["state"], record.get("message", "")
            self.seconds = max(self.seconds, record.get("t", 0.0))

    def _add_frame(self, record: dict[str, Any]) -> None:
        seq = record["seq"]
        self.frames += 1
        self.suspects += "suspect" in record
        self.last = max(self.last, seq)
        self.position = max(self.position, record.get("position", -1) + 1)
        self.seconds, self.wall = max(self.seconds, record["t"]), record["wall"]
        if "late" in record:
            place = next(i for i, bound in enumerate(LATENESS) if record["late"] < bound)
            self.lateness[place] += 1
        if self.runs and self.runs[-1][1] == seq - 1:
            self.runs[-1] = (self.runs[-1][0], seq)
        else:
            self.runs.append((seq, seq))

    def knows(self, seq: int) -> bool:
        """Whether the journal holds that frame."""
        return any(first <= seq <= last for first, last in self.runs)

    def pieces(self, painting: str) -> list[Sealed]:
        """The closed pieces in a painting's folder, given as a path within the roll that ends with a slash."""
        return [piece for file, piece in list(self.sealed.items()) if file.startswith(painting)]


def read_ledger(folder: Path) -> Ledger:
    """What a roll's journal adds up to. Raises RollError when it cannot be read."""
    ledger, reading = Ledger(), Reading(folder / "journal.jsonl")
    for record in reading:
        try:
            ledger.add(record)
        except (KeyError, TypeError, ValueError):
            ledger.damaged += 1
    ledger.damaged += reading.damaged
    ledger.end = reading.end
    return ledger
