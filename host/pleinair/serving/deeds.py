"""What can be done to rolls from the page: go on filming, stop, and paint again in another style.

Each is the command that a user would type, in a process of its own: it goes on when the page ends. No text from a
browser becomes part of a command but the name of a style that there is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pleinair.errors import PleinairError, RollError
from pleinair.models import read_card, styles
from pleinair.network.floating import FLOAT_BITS
from pleinair.processes import isolated
from pleinair.rolls.lock import is_running
from pleinair.rolls.settings import check_there
from pleinair.text import one_line

_PROGRAM = "from pleinair.cli.main import entry; entry()"
#: Bytes of what a command says that are looked at, and processes that are remembered.
_SAID, _KNOWN = 4096, 50


@dataclass(frozen=True)
class Told:
    """What there is to say of a command, "" for nothing, and whether it went wrong."""

    text: str
    wrong: bool = False


class DeedError(PleinairError):
    """What was asked for cannot be done now."""


@dataclass
class _Job:
    """A command that was begun for a roll, and where what it says goes."""

    what: str
    #: What is said while it runs; "" where the roll says enough.
    doing: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def last_line(self) -> str:
        """The last line that it said."""
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self.said.fileno()).st_size
            text = os.pread(self.said.fileno(), _SAID, max(0, size - _SAID)).decode(errors="replace")
            lines = [line for line in text.splitlines() if line.strip()]
            return one_line(lines[-1])[:500] if lines else ""
        return ""


def lock_holder(folder: Path) -> int:
    """The process that holds a roll: it says so in the lock's file and has that file open. Raises DeedError."""
    lock = folder / "lock"
    if not is_running(folder):
        raise DeedError("No process has this roll.")
    try:
        pid = int(lock.read_bytes()[:20])
        there = os.stat(lock)
        if pid > 1 and pid != os.getpid():
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), there):
                        return pid
    except (OSError, ValueError):
        pass
    raise DeedError("The process that has this roll cannot be told from here; it may be another user's.")


def paintable() -> dict[str, int]:
    """The styles that a roll can be painted in, each with the bits that are used."""
    found = dict[str, int]()
    for name, folder in styles().items():
        with contextlib.suppress(PleinairError):
            bits = [bits for bits in read_card(folder).networks if bits != FLOAT_BITS]
            if bits:
                found[name] = 8 if 8 in bits else max(bits)
    return found


class Deeds:
    """Begins commands and watches them. Safe from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[Path, _Job] = {}
        self._lock = threading.Lock()

    def start(self, folder: Path) -> str:
        """Go on filming; a sentence to show. Raises DeedError."""
        return self._begin(folder, "resume", "It starts.", "")

    def repaint(self, folder: Path, style: str) -> str:
        """Paint a roll again in a style; a sentence to show. Raises DeedError."""
        bits = paintable().get(style)
        if bits is None:
            raise DeedError("There is no such style.")
        with self._lock:
            if any(job.what == "repaint" and job.process.poll() is None for job in self._jobs.values()):
                raise DeedError("Another roll is being repainted; one at a time.")
        doing = f"It is painted again in {style}."
        return self._begin(folder, "repaint", doing, doing, "--style", style, "--bits", str(bits))

    def stop(self, folder: Path) -> str:
        """Ask the process that has a roll to end, as Ctrl-C does; a sentence to show. Raises DeedError."""
        holder = lock_holder(folder)
        try:
            handle = os.pidfd_open(holder)
        except OSError as error:
            raise DeedError(f"Process {holder}: {error.strerror}.") from error
        try:
            if lock_holder(folder) != holder:  # another one by now
                raise DeedError("Another process has the roll by now; try again.")
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        except OSError as error:
            raise DeedError(f"Process {holder}: {error.strerror}.") from error
        finally:
            os.close(handle)
        return "It ends when the frame at hand is kept."

    def _begin(self, folder: Path, what: str, said: str, doing: str, *options: str) -> str:
        with self._lock:
            self._forget()
            try:
                check_there(folder)
            except RollError as error:
                raise DeedError(error.message) from error
            job = self._jobs.get(folder)
            if is_running(folder) or (job is not None and job.process.poll() is None):
                raise DeedError("Another process has this roll; stop that first.")
            output = tempfile.TemporaryFile()  # noqa: SIM115
            try:
                process = subprocess.Popen(
                    [*isolated(_PROGRAM), what, *options, "--", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=output,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                output.close()
                raise DeedError(f"It cannot be started: {error.strerror}.") from error
            self._jobs.pop(folder, None)
            self._jobs[folder] = _Job(what, doing, process, output)
        return said

    def _forget(self) -> None:
        for folder, job in list(self._jobs.items()):
            if len(self._jobs) >= _KNOWN and job.process.poll() is not None:
                self._jobs.pop(folder).said.close()

    def told(self, folder: Path) -> Told:
        """What there is to say of the last command for a roll."""
        with self._lock:
            job = self._jobs.get(folder)
            status = None if job is None else job.process.poll()
            if job is None or status in (0, 130):
                return Told("")
            if status is not None:
                return Told(
                    f"{job.what} ended with status {status}: {job.last_line() or 'it said nothing'}", wrong=True
                )
            return Told(job.doing if is_running(folder) else "It starts.")
