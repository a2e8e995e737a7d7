"""Notifying people of troubles and of news: by a command of theirs, or by Apprise (:mod:`pleinair.rolls.notices`).

The command is split as a shell would, but no shell runs it; the message is its last argument. In its environment are
``PLEINAIR_LEVEL`` (``trouble`` or ``news``), ``PLEINAIR_WHAT`` (what is in trouble: camera, disk, painting, heat,
clock, film; or the news: first-frame, film-ready, finished), ``PLEINAIR_MESSAGE``, ``PLEINAIR_ROLL``, and with some
news more.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pleinair.errors import OptionError
from pleinair.text import one_line

#: The same kind of trouble is told once in so many seconds.
QUIET = 3600.0
#: Seconds for a notice to be delivered; a film may have to be uploaded.
TIMEOUT, FILM_TIMEOUT = 60.0, 3600.0


@dataclass(frozen=True)
class Notice:
    """What is told: ``what`` is its kind, ``more`` are further variables of the environment."""

    what: str
    message: str
    news: bool = False
    more: Mapping[str, str] = field(default_factory=dict)


#: Delivers a notice of a roll; returns what went wrong, "" for nothing.
Sender = Callable[[Notice, Path], str]


def parse_command(text: str, option: str = "notify_cmd") -> list[str]:
    """A command as its arguments. Raises OptionError."""
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise OptionError(f"{text!r}: {error}", option=option) from error
    if not command:
        raise OptionError(f"{text!r}: name a command", option=option)
    return command


class Command:
    """Delivers notices by a command."""

    def __init__(self, command: str, *, timeout: float = TIMEOUT, option: str = "notify_cmd") -> None:
        """Raises OptionError for a command that cannot be one."""
        self._command, self._timeout = parse_command(command, option), timeout

    def __call__(self, notice: Notice, roll: Path) -> str:
        """See :data:`Sender`."""
        variables = {
            **notice.more,
            "PLEINAIR_LEVEL": "news" if notice.news else "trouble",
            "PLEINAIR_WHAT": notice.what,
            "PLEINAIR_MESSAGE": notice.message,
            "PLEINAIR_ROLL": str(roll),
        }
        name = self._command[0]
        try:
            done = subprocess.run(
                [*self._command, notice.message],
                env={**os.environ, **variables},
                timeout=self._timeout,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except ValueError as error:  # a NUL in the message, a lone surrogate
            return f"{name}: {error}"
        except OSError as error:
            return f"{name}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return f"{name} took longer than {self._timeout:.0f} s"
        return f"{name} ended with status {done.returncode}" if done.returncode else ""


class Notifier:
    """Delivers notices in a thread of its own, one after another; whoever tells them never waits."""

    def __init__(self, send: Sender, roll: Path, failed: Callable[[str], None], quiet: float = QUIET) -> None:
        """``failed`` is told of a notice that fails, or that hangs and is given up."""
        self._send, self._roll, self._failed, self._quiet = send, roll, failed, quiet
        self._told: dict[str, float] = {}
        self._queue: queue.Queue[Notice | None] = queue.Queue(16)
        self._thread: threading.Thread | None = None

    def tell(self, notice: Notice) -> None:
        """Pass on news, or a trouble of which no other of its kind was told of late."""
        now = time.monotonic()
        if not notice.news and now - self._told.get(notice.what, -self._quiet) < self._quiet:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(notice)
            self._told[notice.what] = now
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (notice := self._queue.get()) is not None:
            message = one_line(notice.message)
            if problem := self._send(Notice(notice.what, message, notice.news, notice.more), self._roll):
                self._failed(problem)

    def close(self, seconds: float = TIMEOUT) -> None:
        """Wait for what is to be told, up to ``seconds``; more is dropped. Whoever tells more begins anew."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        end = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
            thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            with contextlib.suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._queue.put(None)
