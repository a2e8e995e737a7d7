"""What a roll's journal can say: a class for each event, whose fields are those of the event's line.

A line is read once, by :func:`read_record`; from there on it travels as one of these classes. A field that is None is
left out of the line. The order of the fields is that of the line, and so it stays: journals on disks hold these bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from pleinair.documents import Record as Document
from pleinair.errors import RollError

#: Marks a field that a line must have, although a record can be made without it.
_NEEDED = {"needed": True}


@dataclass(frozen=True, kw_only=True)
class Record:
    """An event. Times are in seconds: ``wall`` by the wall clock since 1970, ``t`` by the roll's own clock."""

    event: ClassVar[str]

    def line(self) -> dict[str, object]:
        """The journal's line, without its checksum."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"event": self.event, **{name: value for name, value in values.items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class Captured(Record):
    """A frame was captured. Its original carries the same line."""

    event = "frame"

    #: The frame's number; the roll gives it when the frame is kept.
    seq: int = field(default=-1, metadata=_NEEDED)
    t: float
    wall: float
    #: Seconds after its tick.
    late: float | None = None
    #: True for a frame of a live camera.
    live: bool | None = None
    #: False where the wall clock was not set.
    clock: bool | None = None
    #: Its place in a stored camera's frames.
    position: int | None = None
    name: str | None = None
    #: What a live camera says of it.
    metadata: Mapping[str, Any] | None = None
    #: Why it is left out of the film.
    suspect: str | None = None
    #: Of the original's file, without this record.
    sha256: str | None = None
    #: True where the journal had lost it, and it was found on the disk.
    recovered: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Begun(Record):
    """Filming began, or went on, in the process ``pid``; ``settings`` are those of roll.json."""

    event = "begin"

    wall: float
    t: float | None = None
    host: str | None = None
    boot: str | None = None
    pid: int | None = None
    #: Seconds for which the machine had been running.
    up: float | None = None
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended(Record):
    """Filming ended in ``state``; ``message`` says why."""

    event = "end"

    state: str
    message: str = ""
    t: float = 0.0
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Skipped(Record):
    """So many ticks gave no frame."""

    event = "skipped"

    ticks: int
    reason: str
    position: int | None = None
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Troubled(Record):
    """Something went wrong with the camera, the disk, painting, the clock ..."""

    event = "trouble"

    what: str
    message: str
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Recovered(Record):
    """It works again after so many failures."""

    event = "recovered"

    what: str
    after: int
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClockSet(Record):
    """The wall clock jumped by so many seconds."""

    event = "clock"

    by: float
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sealed(Record):
    """A piece of a painting's film was closed.

    ``file`` is its path within the roll, ``first`` and ``last`` are numbers of originals, ``frames`` how many of those
    are in it, ``sha256`` is the file's.
    """

    event = "sealed"

    file: str
    first: int
    last: int
    frames: int
    sha256: str
    wall: float | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Unsealed(Record):
    """A piece is gone."""

    event = "unsealed"

    file: str


@dataclass(frozen=True, kw_only=True)
class Deleted(Record):
    """The originals below this number were deleted to make room."""

    event = "deleted"

    below: int
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lost(Record):
    """An original turned out damaged."""

    event = "lost"

    seq: int


@dataclass(frozen=True, kw_only=True)
class Filmed(Record):
    """The film of a day was made: ``day`` is its date (2026-11-25), ``file`` its path within the roll."""

    event = "film"

    day: str
    file: str
    frames: int
    #: Number of the day's last original.
    last: int
    sha256: str
    wall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unfilmed(Record):
    """A day's film was deleted to make room; it is not made again."""

    event = "unfilmed"

    day: str


@dataclass(frozen=True, kw_only=True)
class PaintingBegun(Record):
    """A painting was begun; ``look`` is that of its painting.json."""

    event = "painting"

    name: str
    look: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Distrusted(Record):
    """A worker of a cluster gave false results: all that it did for the painting in this folder is thrown away."""

    event = "distrusted"

    painting: str
    worker: str
    message: str
    wall: float | None = None


_KINDS: dict[str, type[Record]] = {
    kind.event: kind
    for kind in (
        Captured,
        Begun,
        Ended,
        Skipped,
        Troubled,
        Recovered,
        ClockSet,
        Sealed,
        Unsealed,
        Deleted,
        Lost,
        Filmed,
        Unfilmed,
        PaintingBegun,
        Distrusted,
    )
}
#: A line has no more characters than that, and no number is larger.
_MOST_TEXT, _MOST = 1 << 16, 1e15
#: No count and no frame's number is larger: three years of a frame a second.
_MOST_WHOLE = 100_000_000
#: How a field is read, by the type it is declared with.
_READERS: dict[str, Callable[[Document, str], object]] = {
    "int": lambda document, name: document.whole(name, -1, _MOST_WHOLE),
    "float": lambda document, name: document.number(name, -_MOST, _MOST),
    "str": lambda document, name: document.string(name, _MOST_TEXT),
    "bool": lambda document, name: document.flag(name),
    "Mapping[str, Any]": lambda document, name: document.part(name).values,
}
#: For each event the fields that a line may have: name, reader, and whether it must be there.
_FIELDS = {
    event: [
        (f.name, _READERS[str(f.type).removesuffix(" | None")], f.default is MISSING or f.metadata == _NEEDED)
        for f in fields(kind)
    ]
    for event, kind in _KINDS.items()
}


def read_record(values: Mapping[str, Any]) -> Record | None:
    """The record of a line that was parsed; None for an event that this program does not know.

    Raises RollError for a line that lacks a field, or has one of another type.
    """
    event = values.get("event")
    if not isinstance(event, str) or event not in _KINDS:
        return None
    document = Document(f"journal: {event}", values, RollError)
    found = {}
    for name, read, needed in _FIELDS[event]:
        if needed or name in values:
            found[name] = read(document, name)
    return _KINDS[event](**found)
