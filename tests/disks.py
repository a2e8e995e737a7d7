"""A disk that loses at a power cut what was not synced: every state that it may be left in, for tests to open.

POSIX promises no more than this model: a file has what it held when it was last synced, and of what was written after
that everything, nothing, or a part, whose end may be zeros; a folder has the names that it had when it was last synced,
or those after any of the changes since. A rename is whole or has not happened. Real file systems promise more.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The calls at which the power may be cut, right before and right after.
_CALLS = ("open", "write", "fsync", "ftruncate", "replace", "rename", "mkdir", "rmdir", "unlink", "link")


class PowerCuts:
    """Watches what this process does below ``root`` and keeps what a power cut would leave, as folders in ``states``.

    ``share`` of the moments is cut at. Each state has its moment's ``note()`` beside it.
    """

    def __init__(self, root: Path, states: Path, chance: random.Random, share: float) -> None:
        self.root, self.states, self.chance, self.share = root, states, chance, share
        self.notes: list[tuple[Path, object]] = []
        self.moments = 0
        self.note: object = None
        self._lock = threading.RLock()
        self._watching = False
        # By inode: an open handle, so that no other file gets its number; what was in it when it was last synced; and
        # a folder's names since it was last synced, the newest last.
        self._held: dict[int, int] = {}
        self._synced: dict[int, bytes] = {}
        self._names: dict[int, list[dict[str, int]]] = {}
        self._scan()
        for listings in self._names.values():
            del listings[:-1]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Power may be cut within."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CALLS:
                patch.setattr(os, name, self._wrap(name, getattr(os, name)))
            self._watching = True
            try:
                yield
            finally:
                self._watching = False

    def close(self) -> None:
        """Give the handles back."""
        for handle in self._held.values():
            os.close(handle)
        self._held.clear()

    def _wrap(self, name, real):
        def call(*arguments, **options):
            with self._lock:
                if not self._watching:
                    return real(*arguments, **options)
                self._moment()
                result = real(*arguments, **options)
                self._watching = False
                self._scan()
                if name == "fsync":
                    self._is_synced(arguments[0])
                self._watching = True
                self._moment()
                return result

        return call

    def _is_synced(self, handle: int) -> None:
        number = os.fstat(handle).st_ino
        if number in self._names:
            del self._names[number][:-1]
        elif number in self._held:
            self._synced[number] = self._content(number)

    def _content(self, number: int) -> bytes:
        handle = self._held[number]
        return os.pread(handle, os.fstat(handle).st_size, 0)

    def _scan(self) -> None:
        """Look at all names below the root, and hold every file and folder that is new."""
        folders = [self.root]
        while folders:
            folder = folders.pop()
            number = self._hold(folder)
            found = dict[str, int]()
            for entry in os.scandir(folder):
                found[entry.name] = self._hold(Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
            listings = self._names.setdefault(number, [{}])
            if listings[-1] != found:
                listings.append(found)

    def _hold(self, path: Path) -> int:
        number = os.stat(path).st_ino
        if number not in self._held:
            self._held[number] = os.open(path, os.O_RDONLY)
        return number

    def _moment(self) -> None:
        self.moments += 1
        if self.chance.random() < self.share:
            self._watching = False
            state = self.states / f"{len(self.notes):05d}"
            self._write_folder(os.stat(self.root).st_ino, state)
            self.notes.append((state, self.note))
            self._watching = True

    def _write_folder(self, number: int, path: Path) -> None:
        path.mkdir(parents=True)
        listings = self._names[number]
        # As often everything, or as little as must be, as anything between.
        names = self.chance.choice([listings[-1], listings[0], self.chance.choice(listings)])
        for name, inner in names.items():
            if stat.S_ISDIR(os.fstat(self._held[inner]).st_mode):
                self._write_folder(inner, path / name)
            else:
                (path / name).write_bytes(self._left(inner))

    def _left(self, number: int) -> bytes:
        """What a file may hold."""
        sure, now = self._synced.get(number, b""), self._content(number)
        kept = next((i for i, (a, b) in enumerate(zip(sure, now, strict=False)) if a != b), min(len(sure), len(now)))
        cut = self.chance.randint(kept, len(now))
        return self.chance.choice([sure, now, now[:cut], now[:cut] + bytes(len(now) - cut)])
