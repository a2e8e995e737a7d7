"""A roll: one time-lapse on disk. A kill or a power cut, at any moment, costs no more than the frame at hand.

::

    ROLL/roll.json                     how it is filmed (``pleinair.rolls.settings``); the journal repeats it
    ROLL/lock                          held by the process that writes to the roll
    ROLL/journal.jsonl                 what happened, a line each (``pleinair.rolls.journal``)
    ROLL/state.json                    its status (``pleinair.rolls.status``), rewritten every few seconds
    ROLL/originals/000012/00012345.jpg frames as captured (``pleinair.rolls.originals``)
    ROLL/paintings/STYLE-8bit/         one painting of the roll; ``pleinair repaint`` adds others
        painting.json                  how it is painted (:class:`~pleinair.rolls.settings.Look`)
        00000120-00000239.mkv          its film in closed pieces (``pleinair.rolls.segments``)
        filters-00000240.npz           what the film's filters and its light remember before frame 240
        segment.part                   the piece being recorded; painted again after a kill
        latest.jpg                     the last painted frame, for the preview
    ROLL/films/2026-11-25.mp4          with ``--daily``, the film of each day (``pleinair.rolls.daily``)

The order of writing makes it safe. A frame: first the original, then its line in the journal. A piece: first what the
filters remember, then the piece under its name, then its line; originals are deleted only after that. So whatever is
missing from the journal can be found on the disk, and opening a roll puts it back (:meth:`Roll.open`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pleinair import durable
from pleinair.errors import ImageError, OptionError, PleinairError, RollError
from pleinair.rolls.journal import Journal
from pleinair.rolls.ledger import Ledger, read_ledger
from pleinair.rolls.lock import lock_roll
from pleinair.rolls.originals import encode, find_originals, keep_original, original_path, read_original
from pleinair.rolls.records import Begun, Captured, Lost, PaintingBegun, Record, Sealed, Unsealed
from pleinair.rolls.schedule import Clock, wall_is_set
from pleinair.rolls.segments import Segment, count_frames, find_segments, salvage
from pleinair.rolls.settings import (
    EMPTY,
    MOST_JSON,
    Look,
    Settings,
    check_parts,
    check_there,
    read_settings,
    write_settings,
)
from pleinair.rolls.status import Status, status_of

#: Journalled originals looked at again on opening: a card that reports a sync too early loses the last ones.
_LOOK_AGAIN = 3


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
            lock = _appear(folder, settings)
        except OSError as error:
            raise RollError(f"{folder}: {error.strerror}", option="roll") from error
        roll = cls(folder, settings, lock, Ledger())
        with roll._as_roll_error():
            roll.add_painting(settings.look)
        return roll

    @staticmethod
    def check_new(folder: Path) -> None:
        """Raise RollError when no new roll can be made there."""
        try:
            if folder.exists() and (not folder.is_dir() or not _is_remain(folder)):
                known = (folder / "roll.json").exists() or (folder / "journal.jsonl").exists()
                remedy = f"go on with it by: pleinair resume {folder}" if known else "name a new folder"
                raise RollError(f"{folder}: there is something already; {remedy}", option="roll")
            parent = folder.absolute().parent
            if not parent.is_dir():
                raise RollError(f"{folder}: the folder {parent} does not exist", option="roll")
            if not os.access(folder if folder.exists() else parent, os.W_OK | os.X_OK):
                raise RollError(f"{folder}: cannot be written to", option="roll")
        except OSError as error:
            raise RollError(f"{folder}: {error.strerror}", option="roll") from error

    @classmethod
    def open(cls, folder: Path) -> Roll:
        """An existing roll, put in order after whatever happened to it; :attr:`mended` says what was.

        Raises RollError when it is none, or is in use, or cannot be written to.
        """
        check_there(folder)
        check_parts(folder)
        try:
            lock = lock_roll(folder)
        except OSError as error:
            raise RollError(f"roll {folder}: {error.strerror}") from error
        try:
            ledger = read_ledger(folder)
            roll = cls(folder, read_settings(folder, ledger), lock, ledger)
        except PleinairError:
            os.close(lock)
            raise
        try:
            with roll._as_roll_error():
                roll._mend()
        except PleinairError:
            roll.close()
            raise
        return roll

    @property
    def status(self) -> Status:
        """How the roll stands."""
        return status_of(self.folder, self.settings, self.ledger)

    @contextlib.contextmanager
    def _as_roll_error(self) -> Iterator[None]:
        """An OSError within becomes a RollError."""
        try:
            yield
        except OSError as error:
            raise RollError(f"roll {self.folder}: {error.strerror}") from error

    def _mend(self) -> None:
        for name in ("originals", "paintings"):
            durable.make_folder(self.folder / name)
        try:
            data = json.loads(durable.read_file(self.folder / "roll.json", MOST_JSON))
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
        for look in self.paintings().values():
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
                self.write(replace(record, recovered=True))
        if found:
            self.mended.append(f"{found} originals were not in the journal; they are now")
        if torn:
            self.mended.append(f"{torn} originals are torn and were put aside as .damaged")
        for segment in (s for look in self.paintings().values() for s in find_segments(self.painting_folder(look))):
            highest = max(highest, segment.last)
        self.ledger.last = highest

    def lose(self, seq: int) -> None:
        """Put a torn original aside."""
        path = original_path(self.originals, seq, self.settings.spool)
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, path.with_suffix(".damaged"))
        if seq not in self.ledger.lost:
            self.write(Lost(seq=seq))

    def _find_segments(self, look: Look) -> None:
        """Journal closed pieces that it does not know, and look whether the last of the known ones are whole."""
        segments = find_segments(self.painting_folder(look))
        there = {look.file(segment.path.name) for segment in segments}
        for piece in self.ledger.pieces(look.file()):
            if piece.file not in there:
                self.write(Unsealed(file=piece.file))
        for segment in segments:
            if look.file(segment.path.name) not in self.ledger.sealed:
                self._adopt(segment, look)
        for segment in segments[-2:]:
            self.check_segment(segment, look)

    def _adopt(self, segment: Segment, look: Look) -> None:
        frames = count_frames(segment.path)
        if frames is None:
            segment.path.unlink()
            self.mended.append(f"{segment.path.name} was not closed well; it is painted again")
            return
        self._seal(segment, look, frames)

    # -- its parts

    def paintings(self) -> dict[str, Look]:
        """How each painting is made, by its name; the roll's own first."""
        return read_paintings(self.folder, self.settings, self.ledger)

    def painting_folder(self, look: Look) -> Path:
        """Where a painting is."""
        return self.folder / look.file()

    def find_painting(self, style: str | None = None, bits: int | None = None) -> Look:
        """The first painting of a style, as it is called on the roll or by its folder, at a width; None stands for any.

        Raises OptionError.
        """
        return choose_painting(self.folder, self.paintings(), style, bits)

    def add_painting(self, look: Look) -> Path:
        """Begin a painting. Raises RollError when there is another of that name."""
        folder = self.painting_folder(look)
        if folder.exists() and self.paintings().get(look.name) not in (None, look):
            raise RollError(f"roll {self.folder}: painting {look.name} exists with other settings; remove {folder}")
        durable.make_folder(folder)
        durable.write_file(folder / "painting.json", json.dumps(look.to_json(), indent=1).encode())
        self.write(PaintingBegun(name=look.name, look=look.to_json()))
        return folder

    def _seal(self, segment: Segment, look: Look, frames: int) -> None:
        self.write(
            Sealed(
                file=look.file(segment.path.name),
                first=segment.first,
                last=segment.last,
                frames=frames,
                sha256=durable.file_sha256(segment.path),
            )
        )

    def forget(self, segment: Segment, look: Look) -> None:
        """Journal that a piece is gone. Raises OSError."""
        self.write(Unsealed(file=look.file(segment.path.name)))

    def check_segment(self, segment: Segment, look: Look) -> bool:
        """Whether a piece holds the bytes that were written. Raises OSError.

        A damaged piece is removed, to be painted again. Where its originals are gone, what can be read of it stays.
        """
        known = self.ledger.sealed.get(look.file(segment.path.name))
        if known is None or durable.file_sha256(segment.path) == known.sha256:
            return True
        if self.has_originals(segment.first, segment.last, known.frames):
            segment.path.unlink()
            self.forget(segment, look)
            self.mended.append(f"{segment.path.name} is damaged; it is painted again")
            return False
        kept = salvage(segment, look.fps)
        self.mended.append(
            f"{segment.path.name} is damaged: {kept} of {known.frames} frames are left, its originals gone"
        )
        if kept:
            self._seal(segment, look, kept)
        else:
            self.forget(segment, look)
        return bool(kept)

    def has_originals(self, first: int, last: int, count: int) -> bool:
        """Whether at least ``count`` originals of these numbers are there."""
        there = find_originals(self.originals, self.settings.spool, first, last)
        return sum(1 for _ in itertools.islice(there, count)) >= count

    # -- writing

    def write(self, record: Record, sync: bool = True) -> None:
        """Journal a record, from any thread. Raises OSError."""
        with self._writing:
            self.journal.append(record.line(), sync)
            self.ledger.add(record)

    def keep(self, image: np.ndarray, record: Captured) -> Captured:
        """Keep a frame, original first, then journal; its record, with its number. Raises OSError."""
        seq = self.ledger.last + 1
        data, full = encode(image, replace(record, seq=seq), self.settings.spool)
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

    def change(self, settings: Settings) -> None:
        """Film by other settings from now on, also when the roll is opened next. Raises RollError."""
        with self._as_roll_error():
            write_settings(self.folder, settings)
        self.settings = settings

    def begin(self, wall: float, seconds: float, boot: tuple[str, float] = ("", 0.0)) -> None:
        """Journal that filming begins or goes on, in a run of the machine (:meth:`Clock.boot`). Raises OSError."""
        self.write(
            Begun(
                wall=wall,
                t=seconds,
                host=socket.gethostname(),
                boot=boot[0],
                pid=os.getpid(),
                up=round(boot[1], 3),
                settings=self.settings.to_json(),
            )
        )

    def resumed_seconds(self, clock: Clock) -> float:
        """The roll's own time now, on going on: it went on while nothing was filmed, as far as that can be told.

        In the same run of the machine its own clock tells. After another boot the wall clock does, where it is to be
        believed, and never more than the time since the roll began.
        """
        ledger, wall, (boot, up) = self.ledger, clock.wall(), clock.boot()
        if not ledger.sessions:
            return ledger.seconds
        if boot and ledger.boot[0] == boot and up >= ledger.boot[1]:
            return ledger.boot[2] + up - ledger.boot[1]
        if not clock.sure() or not wall_is_set(ledger.seen):
            return ledger.seconds
        passed = ledger.seconds + max(0.0, wall - ledger.seen)
        since_begun = wall - ledger.begun
        return min(passed, since_begun) if wall_is_set(ledger.begun) and since_begun >= 0 else passed

    def __enter__(self) -> Roll:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock; more than once is allowed."""
        self.journal.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read_paintings(folder: Path, settings: Settings, ledger: Ledger) -> dict[str, Look]:
    """How each painting of a roll is made, by its name; the roll's own first."""
    found = {settings.look.name: settings.look}
    told = dict(ledger.paintings)
    for file in sorted(folder.glob("paintings/*/painting.json")):
        with contextlib.suppress(OSError, ValueError):
            told.setdefault(file.parent.name, json.loads(durable.read_file(file, MOST_JSON)))
    for name, values in told.items():
        with contextlib.suppress(TypeError, ValueError, KeyError):
            found.setdefault(name, Look.from_json(values))
    return found


def choose_painting(folder: Path, paintings: Mapping[str, Look], style: str | None, bits: int | None) -> Look:
    """See :meth:`Roll.find_painting`."""
    for look in paintings.values():
        if style in (None, look.called, look.style) and bits in (None, look.bits):
            return look
    wanted = str(bits) if style is None else style if bits is None else f"{style} at {bits} bits"
    raise OptionError(
        f"{wanted}: roll {folder} has the paintings {', '.join(paintings)}; see pleinair repaint",
        option="bits" if style is None else "style",
    )


def _is_remain(folder: Path) -> bool:
    """Whether a folder is empty, or holds no more than a roll that was cut off while it was made."""
    names = set(os.listdir(folder))
    if not names <= {*EMPTY, "lock", f"roll.json{durable.PART}"}:
        return False
    return not any((folder / name).is_symlink() or any((folder / name).iterdir()) for name in names & set(EMPTY))


def _appear(folder: Path, settings: Settings) -> int:
    """Make a new roll that appears whole; its lock. Raises OSError."""
    parent = folder.absolute().parent
    if folder.exists():
        # It may be the root of a disk, which cannot be renamed.
        return _fill(folder, settings)
    part = parent / f".{folder.name}.{secrets.token_hex(8)}.new"
    part.mkdir()
    try:
        lock = _fill(part, settings)
        durable.replace(part, parent / folder.name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return lock


def _fill(folder: Path, settings: Settings) -> int:
    lock = lock_roll(folder)
    try:
        for name in EMPTY:
            (folder / name).mkdir(exist_ok=True)
        write_settings(folder, settings)
        durable.sync_folder(folder.absolute().parent)
    except BaseException:
        os.close(lock)
        raise
    return lock
