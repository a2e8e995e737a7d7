"""A roll: one time-lapse on disk, written so that a kill or a power cut at any moment costs the frame at hand only.

::

    ROLL/roll.json                     how it is filmed (:class:`Settings`); the journal's ``begin`` lines repeat it
    ROLL/lock                          held by the process that writes to the roll
    ROLL/journal.jsonl                 what happened, a line each (``pleinair.rolls.journal``)
    ROLL/state.json                    how it stands just now; rewritten every few seconds, for those who watch
    ROLL/originals/000012/00012345.jpg frames as captured (``pleinair.rolls.originals``)
    ROLL/paintings/STYLE-8bit/         one painting of the roll (:class:`Look`); ``repaint`` adds others
        painting.json                  how it is painted
        00000120-00000239.mkv          its film in closed pieces (``pleinair.rolls.segments``)
        filters-00000240.npz           what steadying and deflicker remember before frame 240
        segment.part                   the piece being recorded; painted again after a kill
        latest.jpg                     the last painted frame, for those who watch

The order of writing is what makes it safe. A frame: original, then journal. A piece: the filters' memory, then the
piece under its name, then the journal; originals are deleted only after that. So whatever is missing from the journal
can be found on the disk, and opening a roll puts it back (:meth:`Roll.open`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.errors import DiskFullError, ImageError, PleinairError, RollError
from pleinair.films.treatment import Treatment
from pleinair.rolls.journal import Journal, Reading
from pleinair.rolls.originals import SUFFIXES, encode, find_originals, keep_original, original_path, read_original
from pleinair.rolls.schedule import wall_is_set
from pleinair.rolls.segments import LENGTH, Segment, count_frames, find_segments, salvage

FORMAT = "pleinair-roll"
VERSION = 1
KEEP = ("originals", "painted", "none")
#: Journalled originals looked at again on opening: a card that lies about its syncing loses the last ones.
_LOOK_AGAIN = 3
#: Upper bounds of the histogram of how late frames are, in seconds.
LATENESS = (0.001, 0.002, 0.005, 0.01, 0.05, 0.5, float("inf"))
_LOCK_TRIES = 6


@dataclass(frozen=True)
class Look:
    """How a painting is made."""

    style: str
    bits: int
    fps: int = 24
    steady: int = 0
    deflicker: int = 0
    timestamp: bool = False
    #: SHA-256 of the network, so that a roll is not continued with another one.
    network: str = ""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{Path(self.style).name}-{self.bits}bit"

    def treatment(self) -> Treatment:
        """What is done to each frame besides painting it, from the film's beginning."""
        return Treatment(steady=self.steady, deflicker=self.deflicker, timestamp=self.timestamp)


@dataclass(frozen=True)
class Settings:
    """How a roll is filmed. Times in seconds, sizes as (width, height)."""

    camera: str
    size: tuple[int, int]
    look: Look
    every: float | None = None
    frames: int | None = None
    seconds: float | None = None
    start: str | None = None
    stop: str | None = None
    daylight: str | None = None
    rotate: int = 0
    crop: tuple[int, int, int, int] | None = None
    #: What the camera itself is set up with: scene time between stored frames, size asked of a live one.
    step: float | None = None
    ask: tuple[int, int] | None = None
    spool: str = "jpg"
    #: Frames in a piece of the film.
    piece: int = LENGTH
    keep: str = "originals"
    keep_free: int = 1_000_000_000
    backend: str = "cpu"
    threads: int = 0
    out: str | None = None
    notify: str | None = None
    preview: int | None = None
    preview_host: str = "127.0.0.1"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Settings:
        """From what :meth:`to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        values = dict(values)
        look = Look(**values.pop("look"))
        for name in ("size", "crop", "ask"):
            values[name] = None if values[name] is None else tuple(map(int, values[name]))
        settings = cls(look=look, **values)
        if settings.keep not in KEEP or settings.spool not in SUFFIXES or settings.look.bits not in (4, 8, 16, 32):
            raise ValueError("a value that there is not")
        return settings


@dataclass
class Ledger:
    """What a journal adds up to."""

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
    sealed: dict[str, tuple[str, int]] = field(default_factory=dict)  # by path in the roll: SHA-256, frames
    state: str = "new"
    reason: str = ""
    begun: float = 0.0
    damaged: int = 0
    end: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)  # numbers that the journal knows
    settings: dict[str, Any] | None = None
    looks: dict[str, dict[str, Any]] = field(default_factory=dict)
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
            self.sealed[record["file"]] = (record["sha256"], record["frames"])
        elif event == "unsealed":
            self.sealed.pop(record["file"], None)
        elif event == "deleted":
            self.deleted = max(self.deleted, record["below"])
        elif event == "lost":
            self.lost.add(record["seq"])
        elif event == "painting":
            self.looks[record["name"]] = record["look"]
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


def read_settings(folder: Path, ledger: Ledger) -> Settings:
    """A roll's settings, from roll.json or, when that is damaged, from the journal. Raises RollError."""
    problem = "no settings in it"
    try:
        data = json.loads((folder / "roll.json").read_bytes())
        if data.get("format") != FORMAT or data.get("version") != VERSION:
            problem = f"not a version {VERSION} {FORMAT}"
        else:
            return Settings.from_json(data["settings"])
    except OSError as error:
        problem = error.strerror or str(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        problem = "damaged"
    try:
        return Settings.from_json(ledger.settings or {})
    except (ValueError, TypeError, KeyError):
        raise RollError(f"roll {folder}: {folder / 'roll.json'}: {problem}, and the journal does not tell") from None


class Roll:
    """A roll open for writing: locked, put in order, its journal at hand."""

    def __init__(self, folder: Path, settings: Settings, lock: int, ledger: Ledger) -> None:
        """For :meth:`create` and :meth:`open`."""
        self.folder, self.settings, self.ledger = folder, settings, ledger
        self.originals = folder / "originals"
        self.mended: list[str] = []
        self._lock = lock
        self._writing = threading.Lock()
        self.journal = Journal(folder / "journal.jsonl", ledger.end)
        #: Below this number there are no originals.
        self.oldest = ledger.deleted
        #: Bytes of the largest original written.
        self.largest = 0

    # -- coming into being

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> Roll:
        """A new roll. Raises RollError when something is there already or it cannot be made."""
        cls.check_new(folder)
        try:
            folder.mkdir(exist_ok=True)
            lock = _lock(folder)
            (folder / "originals").mkdir()
            (folder / "paintings").mkdir()
            write_settings(folder, settings)
            durable.sync_folder(folder.absolute().parent)
        except OSError as error:
            raise RollError(f"--roll {folder}: {error.strerror}") from error
        roll = cls(folder, settings, lock, Ledger())
        with roll._told():
            roll.add_painting(settings.look)
        return roll

    @staticmethod
    def check_new(folder: Path) -> None:
        """Raise RollError when no new roll can be made there."""
        try:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                known = (folder / "roll.json").exists() or (folder / "journal.jsonl").exists()
                remedy = f"go on with it by: pleinair resume {folder}" if known else "name a new folder"
                raise RollError(f"--roll {folder}: there is something already; {remedy}")
            parent = folder.absolute().parent
            if not parent.is_dir():
                raise RollError(f"--roll {folder}: the folder {parent} does not exist")
            if not os.access(folder if folder.exists() else parent, os.W_OK | os.X_OK):
                raise RollError(f"--roll {folder}: cannot be written to")
        except OSError as error:
            raise RollError(f"--roll {folder}: {error.strerror}") from error

    @classmethod
    def open(cls, folder: Path) -> Roll:
        """An existing roll, put in order after whatever happened to it; :attr:`mended` says what was.

        Raises RollError when it is none, or is in use, or cannot be written to.
        """
        check_there(folder)
        try:
            lock = _lock(folder)
        except OSError as error:
            raise RollError(f"roll {folder}: {error.strerror}") from error
        try:
            ledger = read_ledger(folder)
            roll = cls(folder, read_settings(folder, ledger), lock, ledger)
        except PleinairError:
            os.close(lock)
            raise
        try:
            with roll._told():
                roll._mend()
        except PleinairError:
            roll.close()
            raise
        return roll

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RollError(f"roll {self.folder}: {error.strerror}") from error

    def _mend(self) -> None:
        for name in ("originals", "paintings"):
            durable.make_folder(self.folder / name)
        try:
            data = json.loads((self.folder / "roll.json").read_bytes())
            whole = data["settings"] == json.loads(json.dumps(self.settings.to_json()))
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            write_settings(self.folder, self.settings)
            self.mended.append("roll.json was damaged; written anew from the journal")
        if self.ledger.damaged:
            self.mended.append(f"{self.ledger.damaged} lines of the journal are damaged")
        for part in (*self.originals.glob(f"*/*{durable.PART}"), *self.folder.glob(f"*{durable.PART}")):
            part.unlink()
        self._find_originals()
        if not (self.painting_folder(self.settings.look) / "painting.json").exists():
            self.add_painting(self.settings.look)
        for look in self.looks().values():
            self._find_segments(look)

    def _find_originals(self) -> None:
        """Journal whole originals that the journal does not know, and put torn ones aside."""
        found, torn = 0, 0
        recent = set(range(self.ledger.last - _LOOK_AGAIN + 1, self.ledger.last + 1))
        highest = self.ledger.last
        for seq in list(find_originals(self.originals, self.settings.spool)):
            known = self.ledger.knows(seq)
            highest = max(highest, seq)
            if seq < self.oldest or (known and seq not in recent):
                continue
            path = original_path(self.originals, seq, self.settings.spool)
            try:
                record, _ = read_original(path)
            except ImageError:
                torn += 1
                self.lose(seq)
                continue
            if not known:
                found += 1
                self.write({**record, "recovered": True})
        if found:
            self.mended.append(f"{found} originals were not in the journal; they are now")
        if torn:
            self.mended.append(f"{torn} originals are torn and were put aside as .damaged")
        for segment in (s for look in self.looks().values() for s in find_segments(self.painting_folder(look))):
            highest = max(highest, segment.last)
        self.ledger.last = highest

    def lose(self, seq: int) -> None:
        """Put a torn original aside."""
        path = original_path(self.originals, seq, self.settings.spool)
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, path.with_suffix(".damaged"))
        if seq not in self.ledger.lost:
            self.write({"event": "lost", "seq": seq})

    def _find_segments(self, look: Look) -> None:
        """Journal closed pieces that it does not know, and look whether the last of the known ones are whole."""
        segments = find_segments(self.painting_folder(look))
        there = {self._key(segment) for segment in segments}
        for key in [k for k in self.ledger.sealed if k.startswith(f"paintings/{look.name}/") and k not in there]:
            self.write({"event": "unsealed", "file": key})
        for segment in segments:
            if self._key(segment) not in self.ledger.sealed:
                self._adopt(segment)
        for segment in segments[-2:]:
            self.check_segment(segment, look)

    def _adopt(self, segment: Segment) -> None:
        frames = count_frames(segment.path)
        if frames is None:
            segment.path.unlink()
            self.mended.append(f"{segment.path.name} was not closed well; it is painted again")
            return
        self.write(self.sealed_record(segment, durable.file_sha256(segment.path), frames))

    # -- its parts

    def looks(self) -> dict[str, Look]:
        """The paintings there are, by name; the roll's own first."""
        found = {self.settings.look.name: self.settings.look}
        told = dict(self.ledger.looks)
        for file in sorted(self.folder.glob("paintings/*/painting.json")):
            with contextlib.suppress(OSError, ValueError):
                told.setdefault(file.parent.name, json.loads(file.read_bytes()))
        for name, values in told.items():
            with contextlib.suppress(TypeError):
                found.setdefault(name, Look(**values))
        return found

    def painting_folder(self, look: Look) -> Path:
        """Where a painting is."""
        return self.folder / "paintings" / look.name

    def add_painting(self, look: Look) -> Path:
        """Make room for a painting. Raises RollError when there is another of that name."""
        folder = self.painting_folder(look)
        if folder.exists() and self.looks().get(look.name) not in (None, look):
            raise RollError(f"roll {self.folder}: painting {look.name} is there, made in another way; remove {folder}")
        durable.make_folder(folder)
        durable.write_file(folder / "painting.json", json.dumps(dataclasses.asdict(look), indent=1).encode())
        self.write({"event": "painting", "name": look.name, "look": dataclasses.asdict(look)})
        return folder

    def _key(self, segment: Segment) -> str:
        return str(segment.path.relative_to(self.folder))

    def sealed_record(self, segment: Segment, sha256: str, frames: int) -> dict[str, Any]:
        """The journal's line for a closed piece."""
        return {
            "event": "sealed", "file": self._key(segment), "first": segment.first, "last": segment.last,
            "frames": frames, "sha256": sha256,
        }  # fmt: skip

    def check_segment(self, segment: Segment, look: Look) -> bool:
        """Whether a piece holds the bytes that were written; one that does not is forgotten, to be painted again, or,
        where its originals are gone, cut down to what can be read of it. Raises OSError."""
        known = self.ledger.sealed.get(self._key(segment))
        if known is None or durable.file_sha256(segment.path) == known[0]:
            return True
        if self.has_originals(segment.first, segment.last, known[1]):
            segment.path.unlink()
            self.write({"event": "unsealed", "file": self._key(segment)})
            self.mended.append(f"{segment.path.name} is damaged; it is painted again")
            return False
        kept = salvage(segment, look.fps)
        self.mended.append(f"{segment.path.name} is damaged: {kept} of {known[1]} frames are left, its originals gone")
        if kept:
            self.write(self.sealed_record(segment, durable.file_sha256(segment.path), kept))
        else:
            self.write({"event": "unsealed", "file": self._key(segment)})
        return bool(kept)

    def has_originals(self, first: int, last: int, count: int) -> bool:
        """Whether at least ``count`` originals of these numbers are there."""
        paths = (original_path(self.originals, seq, self.settings.spool) for seq in range(first, last + 1))
        return sum(path.exists() for path in paths) >= count

    # -- writing

    def write(self, record: dict[str, Any], sync: bool = True) -> None:
        """Journal a record, from any thread. Raises OSError."""
        with self._writing:
            self.journal.append(record, sync)
            self.ledger.add(record)

    def keep(self, image: Any, record: dict[str, Any]) -> dict[str, Any]:
        """Keep a frame, original first, then journal; its record, with number. Raises OSError."""
        seq = self.ledger.last + 1
        data, full = encode(image, {"event": "frame", "seq": seq, **record}, self.settings.spool)
        self.largest = max(self.largest, len(data))
        path = keep_original(self.originals, seq, self.settings.spool, data)
        try:
            self.write(full)
        except OSError:
            # Both or neither: a frame that the journal could not take would come back on opening, out of turn.
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return full

    def begin(self, wall: float, seconds: float) -> None:
        """Journal that filming begins or goes on. Raises OSError."""
        self.write(
            {"event": "begin", "wall": wall, "t": seconds, "host": socket.gethostname(), "boot": _boot(),
             "pid": os.getpid(), "settings": self.settings.to_json()}
        )  # fmt: skip

    def resumed_seconds(self, wall: float) -> float:
        """The roll's own time now, on going on: the power was off for as long as the wall clock says, if it can."""
        ledger = self.ledger
        if ledger.frames and wall_is_set(wall) and wall_is_set(ledger.wall) and wall > ledger.wall:
            return ledger.seconds + wall - ledger.wall
        return ledger.seconds

    def close(self) -> None:
        """Unlock."""
        self.journal.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def check_there(folder: Path) -> None:
    """Raise RollError when a folder is no roll, or one that this user may not look into."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise RollError(f"roll {folder}: {error.strerror}") from error
    if not {"roll.json", "journal.jsonl"} & set(names):
        raise RollError(f"roll {folder}: no roll there")


def write_settings(folder: Path, settings: Settings) -> None:
    """Write roll.json. Raises OSError."""
    data = {"format": FORMAT, "version": VERSION, "settings": settings.to_json()}
    durable.write_file(folder / "roll.json", json.dumps(data, indent=1).encode())


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _lock(folder: Path) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # Who only looks whether the roll is in use holds the lock for a moment, too.
        for _ in range(_LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.05)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        owner = os.read(handle, 20).decode(errors="replace").strip()
        os.close(handle)
        raise RollError(f"roll {folder}: in use by another pleinair (process {owner or 'unknown'})") from None
    except OSError:
        os.close(handle)
        raise
    return handle


def is_running(folder: Path) -> bool:
    """Whether a process holds the roll."""
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the disk that holds a folder. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Retention:
    """Keeps ``keep_free`` bytes of the disk free, by deleting what ``keep`` allows, the oldest first.

    ``originals``: nothing is deleted. ``painted``: originals whose painting is closed may go. ``none``: after those,
    closed pieces of the painting, too. The journal says so before anything goes.
    """

    #: Originals that go together: one line of the journal, one look at the disk.
    _BATCH = 16

    def __init__(self, roll: Roll) -> None:
        self.roll = roll

    def make_room(self, need: int) -> None:
        """Raises DiskFullError when ``need`` bytes would not leave the floor free and nothing may be deleted."""
        roll = self.roll
        floor = roll.settings.keep_free
        while (free := free_bytes(roll.folder)) < floor + need:
            if not self._delete():
                raise DiskFullError(
                    f"roll {roll.folder}: {free / 1e6:.0f} MB free, --keep-free asks for {floor / 1e6:.0f} MB, and "
                    f"--keep {roll.settings.keep} lets nothing more be deleted"
                )

    def _delete(self) -> bool:
        roll = self.roll
        if roll.settings.keep == "originals":
            return False
        segments = find_segments(roll.painting_folder(roll.settings.look))
        doomed, position = list[Path](), roll.oldest
        for segment in segments:
            if segment.first > position and roll.has_originals(position, segment.first - 1, 1):
                break  # still to be painted
            position = segment.last + 1
            for seq in range(max(segment.first, roll.oldest), segment.last + 1):
                if (path := original_path(roll.originals, seq, roll.settings.spool)).exists():
                    doomed.append(path)
                    if len(doomed) == self._BATCH:
                        break
            if doomed:
                break
        if doomed:
            self._forget(int(doomed[-1].stem) + 1)
            for path in doomed:
                path.unlink()
            with contextlib.suppress(OSError):
                doomed[0].parent.rmdir()
            return True
        if roll.settings.keep == "none" and len(segments) > 1:
            self._forget(segments[0].last + 1)
            segments[0].path.unlink()
            with contextlib.suppress(OSError):
                roll.write({"event": "unsealed", "file": str(segments[0].path.relative_to(roll.folder))})
            return True
        return False

    def _forget(self, below: int) -> None:
        if below > self.roll.oldest:
            self.roll.oldest = below
            with contextlib.suppress(OSError):  # on a disk that is full to the last byte, deleting comes first
                self.roll.write({"event": "deleted", "below": below, "wall": time.time()})
