"""Notifying people: a command of theirs is run when there is trouble.

The command is split as a shell would, but no shell runs it; the message is its last argument, and ``PLEINAIR_WHAT``
(camera, disk, painting, heat, clock), ``PLEINAIR_MESSAGE`` and ``PLEINAIR_ROLL`` are in its environment.
"""

from __future__ import annotations

import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pleinair.errors import OptionError
from pleinair.text import one_line

#: The same kind of trouble is told once in so many seconds.
QUIET = 3600.0
_TIMEOUT = 60.0


#: No further variables.
_NONE: Mapping[str, str] = {}


def parse_command(text: str, option: str = "notify_cmd") -> list[str]:
    """A command as its arguments. Raises OptionError."""
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise OptionError(f"{text!r}: {error}", option=option) from error
    if not command:
        raise OptionError(f"{text!r}: name a command", option=option)
    return command


#: A film may have to be uploaded.
FILM_TIMEOUT = 3600.0


class Notifier:
    """Runs the command in a thread; ``failed`` is told of a command that fails, or that hangs and is given up."""

    def __init__(
        self,
        command: str,
        roll: Path,
        failed: Callable[[str], None],
        quiet: float = QUIET,
        *,
        timeout: float = _TIMEOUT,
        option: str = "notify_cmd",
    ) -> None:
        """Raises OptionError for a command that cannot be one."""
        self._command, self._roll, self._failed, self._quiet = parse_command(command, option), roll, failed, quiet
        self._timeout = timeout
        self._told: dict[str, float] = {}
        self._queue: queue.Queue[tuple[str, str, Mapping[str, str]] | None] = queue.Queue(16)
        self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
        self._thread.start()

    def tell(self, what: str, message: str, more: Mapping[str, str] = _NONE) -> None:
        """Pass on a trouble, unless its kind was told of late; ``more`` are further variables."""
        now = time.monotonic()
        if now - self._told.get(what, -self._quiet) >= self._quiet and not self._queue.full():
            self._told[what] = now
            self._queue.put((what, message, more))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            what, message, more = item[0], one_line(item[1]), item[2]
            variables = {**more, "PLEINAIR_WHAT": what, "PLEINAIR_MESSAGE": message, "PLEINAIR_ROLL": str(self._roll)}
            try:
                done = subprocess.run(
                    [*self._command, message],
                    env={**os.environ, **variables},
                    timeout=self._timeout,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                if done.returncode:
                    self._failed(f"{self._command[0]} ended with status {done.returncode}")
            except ValueError as error:  # a NUL in the message, a lone surrogate
                self._failed(f"{self._command[0]}: {error}")
            except OSError as error:
                self._failed(f"{self._command[0]}: {error.strerror}")
            except subprocess.TimeoutExpired:
                self._failed(f"{self._command[0]} took longer than {self._timeout:.0f} s")

    def close(self) -> None:
        """Wait for what is under way, for as long as a command may take."""
        self._queue.put(None)
        self._thread.join(self._timeout)
