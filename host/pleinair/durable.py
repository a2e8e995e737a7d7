"""Files that survive a power cut: written beside their place, synced, renamed, and the folder synced too.

Everything that is kept goes through here, so that a full or failing disk can be tried in one place. These functions
raise OSError as the system gave it; callers add the context.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import secrets
import stat
from pathlib import Path

#: The end of a file's name while it is written. Opening a roll removes files whose names end so.
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
    """Wait until a folder's names are on the disk.

    Nothing where that cannot be asked: some network file systems do not sync folders (EINVAL), and a folder may be
    written to but not opened (EACCES).
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):
            raise


def replace(source: Path, target: Path) -> None:
    """Rename a synced file into its place, durably."""
    os.replace(source, target)
    sync_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, durably; nothing when it is there."""
    if not folder.is_dir():
        folder.mkdir()
        sync_folder(folder.parent)


def write_file(path: Path, data: bytes, durable: bool = True, *, shared: bool = False, private: bool = False) -> None:
    """Write a file whole or not at all; with ``durable`` it is on the disk when this returns.

    It is written beside its place first, as NAME.part, which one writer at a time may do. Where several processes may
    write the file at once, ``shared`` gives each a hidden name of its own, and what was there before gives its mode
    and, if it was a link, its target. No part is left behind, except by a kill. A new ``private`` file is its user's
    alone to read.
    """
    if shared:
        path = Path(os.path.realpath(path))
    part = path.with_name(path.name + PART)
    if shared:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        fresh = os.O_EXCL if shared else os.O_TRUNC
        handle = os.open(
            part, os.O_WRONLY | os.O_CREAT | fresh | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600 if private else 0o666
        )
        try:
            if shared:
                keep_mode(path, handle)
            write_all(handle, data)
            if durable:
                sync_file(handle)
        finally:
            os.close(handle)
        if durable:
            replace(part, path)
        else:
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def keep_mode(path: Path, handle: int) -> None:
    """Give an open file the mode of the one that it will replace, where there is one."""
    with contextlib.suppress(OSError):
        os.fchmod(handle, stat.S_IMODE(os.stat(path).st_mode))


def put_aside(path: Path) -> Path | None:
    """Rename a file that is there to NAME.before-N.SUFFIX, the first N that is free; where it is now, None for none."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    for number in itertools.count(1):
        aside = path.with_name(f"{path.stem}.before-{number}{path.suffix}")
        if aside.exists():
            continue
        try:
            os.link(path, aside)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            os.replace(path, aside)
        return aside
    raise AssertionError


def open_file(path: Path, *, follow: bool = True) -> io.BufferedReader:
    """A file, open for reading. A pipe, device or folder is an OSError: nobody waits for it.

    Without ``follow`` a link is one, too.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_file(path: Path, most: int) -> bytes:
    """What a file holds, up to ``most`` bytes. A larger one is an OSError, as are links, pipes, devices and folders."""
    with open_file(path, follow=False) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", str(path))
        return file.read(size)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class DurableFile:
    """A file object for PyAV whose errors are kept: FFmpeg turns them into its own or drops them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

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


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the disk that holds a folder. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
