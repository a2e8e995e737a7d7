"""What can be done to rolls from the page: begin one, go on filming, stop, and paint again in another style.

Each is the command that a user would type, in a process of its own: it goes on when the page ends. Of what comes from
a browser, the command gets the name of a style that there is, a new roll's plain name, and what was written for the
time between frames. A new roll's camera may have a password in it, so it is in the process's environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pleinair.cameras.opening import CameraSource
from pleinair.errors import PleinairError, RollError
from pleinair.processes import isolated
from pleinair.rolls.lock import is_running
from pleinair.rolls.settings import check_there
from pleinair.text import one_line

_PROGRAM = "from pleinair.cli.main import entry; entry()"
#: Bytes of what a command says that are looked at, and processes that are remembered.
_SAID, _KNOWN = 4096, 50
#: What a new roll may be called: a plain name that no command takes for an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")


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


@dataclass(frozen=True, kw_only=True)
class NewRoll:
    """A roll to begin, as it was written on the page. ``every`` is the time between frames, such as ``10s``."""

    name: str
    camera: str
    style: str
    every: str


def _check_style(bits: int) -> None:
    if not bits:
        raise DeedError("There is no such style.")


#: No variables besides those of this process.
_NO_MORE: Mapping[str, str] = {}


class Deeds:
    """Begins commands and watches them. Safe from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[Path, _Job] = {}
        self._lock = threading.Lock()

    def start(self, folder: Path) -> str:
        """Go on filming; a sentence to show. Raises DeedError."""
        return self._go_on(folder, "resume", "It starts.", "")

    def repaint(self, folder: Path, style: str, bits: int) -> str:
        """Paint a roll again in a style; a sentence to show. Raises DeedError; ``bits`` 0 where there is no such."""
        _check_style(bits)
        with self._lock:
            if any(job.what == "repaint" and job.process.poll() is None for job in self._jobs.values()):
                raise DeedError("Another roll is being repainted; one at a time.")
        doing = f"It is painted again in {style}."
        return self._go_on(folder, "repaint", doing, doing, "--style", style, "--bits", str(bits))

    def begin(self, within: Path, new: NewRoll, bits: int) -> Path:
        """Begin a roll in a folder, by ``pleinair run``.

        Returns the roll's own folder, which is there once its camera has given a frame. Raises DeedError, also where
        ``bits`` is 0; OptionError for a camera that there is not.
        """
        if not _NAME.fullmatch(new.name):
            raise DeedError("A roll's name has up to 60 letters, digits, dots, dashes and underscores.")
        source, folder = CameraSource.parse(new.camera), within / new.name
        if not source.live and source.kind != "synthetic":
            raise DeedError("A folder or a video is filmed from the command line: pleinair run.")
        _check_style(bits)
        if os.path.lexists(folder):
            raise DeedError(f"There is something called {new.name} already.")
        options = ("--roll", str(folder), "--style", new.style, "--bits", str(bits), f"--every={new.every}")
        self._run(folder, "run", options, variables={"PLEINAIR_CAMERA": new.camera})
        return folder

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

    def _go_on(self, folder: Path, what: str, said: str, doing: str, *options: str) -> str:
        try:
            check_there(folder)
        except RollError as error:
            raise DeedError(error.message) from error
        self._run(folder, what, (*options, "--", str(folder)), doing=doing)
        return said

    def _run(
        self, folder: Path, what: str, words: Sequence[str], *, doing: str = "", variables: Mapping[str, str] = _NO_MORE
    ) -> None:
        """Run a command for a roll, with more variables in its environment."""
        with self._lock:
            self._forget()
            job = self._jobs.get(folder)
            if is_running(folder) or (job is not None and job.process.poll() is None):
                raise DeedError("Another process has this roll; stop that first.")
            output = tempfile.TemporaryFile()  # noqa: SIM115
            try:
                process = subprocess.Popen(
                    [*isolated(_PROGRAM), what, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=output,
                    cwd="/",
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
            except OSError as error:
                output.close()
                raise DeedError(f"It cannot be started: {error.strerror}.") from error
            self._jobs.pop(folder, None)
            self._jobs[folder] = _Job(what, doing, process, output)

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
