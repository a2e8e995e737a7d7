"""The rolls that the page shows: all under a folder, or the one that the folder is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pleinair.errors import RollError
from pleinair.rolls.ledger import LedgerReader
from pleinair.rolls.settings import check_parts, check_there
from pleinair.rolls.status import Status, status_from

#: Folders below the one that is served, entries that are looked at, and rolls, at most.
_DEPTH, _ENTRIES, _ROLLS = 3, 20_000, 200
#: Seconds for which what was found holds, and how a roll stands.
_FOUND, _STANDS = 10.0, 1.0
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


@dataclass
class Shown:
    """A roll on the page: ``key`` is its name in addresses, ``name`` what it is called.

    ``problem`` says why it cannot be shown; "" where it can.
    """

    key: str
    name: str
    folder: Path
    tell: Callable[[], Status]
    problem: str = ""
    _told: tuple[float, Status] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def status(self) -> Status:
        """How it stands, not older than a second. Raises RollError."""
        with self._lock:
            if self._told is None or time.monotonic() - self._told[0] > _STANDS:
                self._told = time.monotonic(), self.tell()
            return self._told[1]

    def look_again(self) -> None:
        """Look anew when next asked."""
        self._told = None


class Shelf:
    """The rolls under a folder, found again every few seconds."""

    def __init__(self, folder: Path) -> None:
        """Raises RollError where there is no folder."""
        self.folder = folder.absolute()
        try:
            os.listdir(folder)
        except OSError as error:
            raise RollError(f"{folder}: {error.strerror}") from error
        self._rolls, self._at = dict[str, Shown](), float("-inf")
        self._lock = threading.Lock()

    def rolls(self) -> dict[str, Shown]:
        """The rolls by their key, in the order of their names."""
        with self._lock:
            if time.monotonic() - self._at > _FOUND:
                known = {roll.folder: roll for roll in self._rolls.values()}
                found = dict[str, Shown]()
                for folder in self._search():
                    roll = known.get(folder) or self._shown(folder)
                    roll.problem = _fault(folder)
                    found[roll.key] = roll
                self._rolls, self._at = found, time.monotonic()
            return self._rolls

    def look_again(self) -> None:
        """Look anew when next asked."""
        self._at = float("-inf")

    def _shown(self, folder: Path) -> Shown:
        name = folder.name if folder == self.folder else folder.relative_to(self.folder).as_posix()
        key = name if _PLAIN.fullmatch(name) and name not in (".", "..") else _key(name)
        reader = LedgerReader(folder)

        def tell() -> Status:
            check_there(folder)
            return status_from(folder, reader.read())

        return Shown(key, os.fsencode(name).decode(errors="replace"), folder, tell)

    def _search(self) -> list[Path]:
        found, left, waiting = list[Path](), _ENTRIES, [(self.folder, 0)]
        while waiting and left > 0 and len(found) < _ROLLS:
            folder, depth = waiting.pop(0)
            inner = list[Path]()
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                names = set[str]()
                for entry in entries:
                    left -= 1
                    if left <= 0:
                        break
                    names.add(entry.name)
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        inner.append(folder / entry.name)
                if {"roll.json", "journal.jsonl"} & names:
                    found.append(folder)
                elif depth < _DEPTH:
                    waiting += [(path, depth + 1) for path in sorted(inner)]
        return sorted(found)


def _key(name: str) -> str:
    """A name in addresses for one that has other characters than those."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40] or "roll"
    return f"{plain}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _fault(folder: Path) -> str:
    """Why a roll is not shown; "" where it is."""
    try:
        check_parts(folder)
        for name in ("roll.json", "journal.jsonl", "state.json"):
            if os.path.lexists(folder / name) and not os.path.isfile(folder / name):
                return f"{name} is no file"
    except RollError as error:
        return error.message
    except OSError as error:
        return str(error.strerror)
    return ""
