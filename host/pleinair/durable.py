"""Files that survive a power cut: written beside their place, synced, renamed, and the folder synced too.

Everything that a roll keeps goes through here, so that what a full or failing disk does to it can be tried in one
place. All of these raise OSError as the system gave it; who calls them says what it was for.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: What a file is called while it is written. A roll that is opened removes what ends so.
PART = ".part"


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_file(handle: int) -> None:
    """Wait until what was written to a file descriptor is on the disk."""
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(source: Path, target: Path) -> None:
    """Rename a synced file into its place, durably."""
    os.replace(source, target)
    sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, durably; nothing when it is there."""
    if not folder.is_dir():
        folder.mkdir()
        sync_folder(folder.parent)


def write_file(path: Path, data: bytes, durable: bool = True) -> None:
    """A file whole or not at all; with ``durable`` it is on the disk when this returns. Leaves no part behind."""
    part = path.with_name(path.name + PART)
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            write_all(handle, data)
            if durable:
                sync_file(handle)
        finally:
            os.close(handle)
        if durable:
            replace(part, path)
        else:
            os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


class DurableFile:
    """A file object for PyAV whose errors are kept: FFmpeg turns them into its own or drops them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes) -> int:
        """See io.RawIOBase."""
        try:
            write_all(self._handle, data)
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See io.RawIOBase."""
        return os.lseek(self._handle, offset, whence)

    def tell(self) -> int:
        """See io.RawIOBase."""
        return os.lseek(self._handle, 0, os.SEEK_CUR)

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        sync_file(self._handle)

    def close(self) -> None:
        """Give the descriptor back; more than once is allowed."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)
