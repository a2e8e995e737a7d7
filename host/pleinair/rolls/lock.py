"""The lock of a roll: one process writes to it at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from pleinair.durable import open_file
from pleinair.errors import RollError

_TRIES = 6


def lock_roll(folder: Path) -> int:
    """Lock a roll until the descriptor that this returns is closed. Raises RollError when it is in use, OSError."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "its lock is not a file")
        # Whoever only looks whether the roll is in use holds the lock for a moment, too.
        for _ in range(_TRIES):
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
        with open_file(folder / "lock", follow=False) as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
