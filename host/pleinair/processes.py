"""Child processes: how one of ours begins, and how much memory it may take."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

#: Bytes of address space of a child that reads what strangers made.
MEMORY = 4 << 30
#: Linux's prctl(2) option that names a signal for when the parent dies.
_PR_SET_PDEATHSIG = 1


def as_child() -> None:
    """Make this process die with its parent, and leave the terminal's signals to the parent.

    Called first thing in a child process.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def start_child(process: BaseProcess) -> None:
    """Start a process of multiprocessing whose first step is :func:`as_child`.

    A terminal's Ctrl-C would end it before it gets that far. So it inherits that the signal waits, and then ignores it.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # where `start` begins it, it lets signals through
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def isolated(program: str) -> list[str]:
    """The command of a Python program that sees what this process sees, but nothing of the working folder.

    That may hold somebody else's files.
    """
    paths = [path for path in sys.path if path]
    return [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {paths!r}; {program}"]


def bound_memory() -> None:
    """Let this process take no more than :data:`MEMORY`."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
