"""The status of a roll: how it stands, read from its files or told by the process that films it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pleinair.durable import free_bytes, read_file
from pleinair.rolls.ledger import Ledger, read_ledger
from pleinair.rolls.lock import is_running
from pleinair.rolls.settings import MOST_JSON, Settings, check_parts, check_there, read_settings


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: when by the wall clock, with what (camera, disk, painting ...), and the message."""

    wall: float
    what: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a roll stands. Times are in seconds, wall-clock times since 1970, disk space in bytes."""

    #: new, running, asleep (outside its hours), complete, stopped, full, failed; from outside also interrupted (it was
    #: killed) and in use (another command has it).
    state: str
    #: Why it ended.
    reason: str
    camera: str
    #: The painting's name.
    look: str
    size: tuple[int, int]
    every: float | None
    #: Frames captured, and wanted in all.
    frames: int
    wanted: int | None
    #: Frames that are painted, and that wait for it.
    painted: int
    pending: int
    sessions: int
    #: Ticks without a frame, by reason.
    skipped: Mapping[str, int]
    suspects: int
    #: Originals that turned out damaged.
    lost: int
    #: Originals below this number were deleted to make room.
    deleted: int
    troubles: int
    last_trouble: str
    begun: float
    last_wall: float
    #: The roll's own time, and how much of it is wanted.
    seconds: float
    wanted_seconds: float | None
    #: Lines of the journal.
    damaged: int
    keep: str
    keep_free: int
    #: Space on the disk; None where it cannot be told.
    free: int | None
    #: How late frames were: a histogram over :data:`pleinair.rolls.ledger.LATENESS`.
    lateness: tuple[int, ...]
    paintings: tuple[str, ...]
    #: Dates of the days that have a film.
    films: tuple[str, ...] = ()
    # Told by the process that films; None or empty where none does.
    pid: int | None = None
    wall: float | None = None
    #: When the next frame is due, by the wall clock; None for at once.
    due: float | None = None
    painter: str = ""
    camera_failures: int = 0
    frames_per_hour: float | None = None
    #: What painting a frame takes.
    paint_seconds: float | None = None
    celsius: float | None = None
    heat: tuple[str, ...] = ()
    #: Seconds that painting rests for each second that it works.
    rest: float = 0.0
    errors: tuple[Trouble, ...] = ()

    def to_json(self) -> dict[str, object]:
        """As plain values, by the same names."""
        return asdict(self)


def status_of(folder: Path, settings: Settings, ledger: Ledger) -> Status:
    """How a roll stands by its settings and its journal alone."""
    pieces = ledger.pieces(settings.look.file())
    sealed_to = max((piece.last for piece in pieces), default=-1)
    try:
        free: int | None = free_bytes(folder)
    except OSError:
        free = None
    return Status(
        state=ledger.state,
        reason=ledger.reason,
        camera=settings.camera,
        look=settings.look.name,
        size=settings.size,
        every=settings.every,
        frames=ledger.frames,
        wanted=settings.frames,
        painted=sum(piece.frames for piece in pieces),
        pending=max(0, ledger.last - sealed_to),
        sessions=ledger.sessions,
        skipped=dict(ledger.skipped),
        suspects=ledger.suspects,
        lost=len(ledger.lost),
        deleted=ledger.deleted,
        troubles=ledger.troubles,
        last_trouble=ledger.last_trouble,
        begun=ledger.begun,
        last_wall=ledger.wall,
        seconds=ledger.seconds,
        wanted_seconds=settings.seconds,
        damaged=ledger.damaged,
        keep=settings.keep,
        keep_free=settings.keep_free,
        free=free,
        lateness=tuple(ledger.lateness),
        films=tuple(sorted(day for day, film in ledger.films.items() if film is not None)),
        paintings=tuple(sorted(path.name for path in folder.glob("paintings/*/"))),
    )


#: What the process that films knows better than the files.
_LIVE = ("state", "painted", "pending", "celsius", "painter", "pid", "heat", "due")
#: And what older ones did not tell.
_MORE = ("camera_failures", "frames_per_hour", "paint_seconds", "rest")


def read_status(folder: Path | str) -> Status:
    """How a roll stands, from its files; it may be filmed by another process. Raises RollError."""
    folder = Path(folder)
    check_there(folder)
    check_parts(folder)
    return status_from(folder, read_ledger(folder))


def status_from(folder: Path, ledger: Ledger) -> Status:
    """As :func:`read_status`, of a roll whose journal was read. Raises RollError."""
    status, running = status_of(folder, read_settings(folder, ledger), ledger), is_running(folder)
    if status.state == "running" and not running:
        status = replace(status, state="interrupted")
    elif running and status.state != "running":
        status = replace(status, state="in use")
    if running:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            live = json.loads(read_file(folder / "state.json", MOST_JSON))
            told = {name: live[name] for name in _LIVE} | {name: live[name] for name in _MORE if name in live}
            errors = tuple(Trouble(**error) for error in live.get("errors", ()))
            status = replace(status, **{**told, "heat": tuple(told["heat"])}, errors=errors, wall=live["wall"])
    return status
