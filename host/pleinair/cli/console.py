"""What the command says: results on stdout, progress on stderr.

All bars are built here. They are drawn on a terminal only; elsewhere progress is silent, or, for work of hours, a
line now and then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pleinair.errors import OutputError
from pleinair.text import one_line, printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pleinair.rolls.status import Status

#: Where there is no terminal, long work says how far it is after so many seconds.
_LINE_SECONDS = 10.0


def say(text: str) -> None:
    """Write lines of results to stdout, what is not printable escaped. Raises OutputError when that cannot be done."""
    with _taken():
        click.echo("\n".join(map(printable, text.split("\n"))))


@contextmanager
def _taken() -> Iterator[None]:
    """What is written within is taken by somebody. Raises OutputError, or ends the command where a pipe was closed."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # As `head` does it: it has what it wanted. Nothing is left to be written when Python ends.
        to_nowhere()
        raise click.exceptions.Exit(128 + signal.SIGPIPE) from None
    except OSError as error:
        to_nowhere()
        raise OutputError(f"standard output: {error.strerror}") from error


def to_nowhere() -> None:
    """What is still to be written to stdout, when Python ends too, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say_json(value: Any) -> None:
    """Write a value to stdout as JSON, for programs. Raises OutputError."""
    say(json.dumps(value, indent=1, ensure_ascii=False))


def remark(text: str) -> None:
    """Write a line about the work, not of its results, to stderr."""
    with contextlib.suppress(OSError):  # the terminal has gone
        click.echo(one_line(text), err=True)


def show_cursor() -> None:
    """Bring a terminal's cursor back, which bars hide, before the process ends with them unfinished."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h\n")
            sys.stderr.flush()


def print_table(table: Any, *, file_width: int | None = None) -> None:
    """Print a rich table to stdout; a file, which has no width to fit into, gets ``file_width`` columns."""
    from rich.console import Console

    console = Console()
    if file_width is not None and not console.is_terminal:
        console.width = file_width
    with _taken():
        try:
            console.print(table)
        except SystemExit:  # what rich does about a closed pipe
            raise BrokenPipeError from None


_B = TypeVar("_B", bound="Bars")


class Bars:
    """Bars on stderr for named pieces of work.

    Args:
        title: a line above the bars.
        single: one bar for what is being done now, gone at the end; else a bar for each name, which stays.
        refresh: redraw by a thread of its own; without, bars are drawn only when they are told of progress, so that
            no thread is in the way of what is measured.
        lines: where there is no terminal, write a line at the beginning and at the end of each piece, too, and not only
            every ten seconds.
    """

    def __init__(
        self, title: str = "", *, single: bool = False, refresh: bool = True, lines: bool = False, quiet: bool = False
    ) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._drawn = self._console.is_terminal and not quiet
        self._title, self._single, self._refresh = title, single, refresh
        self._all, self._lines = lines, not self._drawn and not quiet
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._bars: Any = None

    def __enter__(self: _B) -> _B:
        if self._drawn:
            self._bars = self._progress()
            if self._title:
                self._console.print(self._title, highlight=False, markup=False)
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _progress(self) -> Any:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        time_column = TimeElapsedColumn() if self._single else TimeRemainingColumn()
        return Progress(
            TextColumn("{task.description:>9}", markup=False),
            BarColumn(20 if self._single else 40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            time_column,
            console=self._console,
            auto_refresh=self._refresh,
            transient=self._single,
        )

    def show(self, name: str, done: float, total: float | None, note: str = "") -> None:
        """Tell how much of a piece of work is done; ``total`` None where nobody knows."""
        if self._bars is not None:
            key = "" if self._single else name
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(name, total=None, note="")
            self._bars.update(
                self._tasks[key], description=name, completed=done, total=total, note=note, refresh=not self._refresh
            )
        elif self._lines:
            self._line(name, done, total, note)

    def _line(self, name: str, done: float, total: float | None, note: str) -> None:
        now = time.monotonic()
        if not self._all:
            self._said.setdefault(name, now)
        last = self._all and done == total
        if name in self._said and not last and now - self._said[name] < _LINE_SECONDS:
            return
        self._said[name] = now
        remark(f"{name}: {done:.10g}" + ("" if total is None else f" of {total:.10g}") + (f", {note}" if note else ""))

    def tell(self, text: str) -> None:
        """Write a line to stderr, above the bars where they are drawn."""
        if self._bars is not None:
            self._console.print(one_line(text), highlight=False, markup=False)
        else:
            remark(text)


class FilmBars(Bars):
    """The bars of a film: frames captured, painted and recorded, with their rates."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._began = time.monotonic()

    def update(self, progress: Any) -> None:
        """Update from a :class:`pleinair.films.pipeline.Progress`."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        for name in ("captured", "painted", "recorded"):
            done = getattr(progress, name)
            latest = f"  {progress.latest}" if name == "recorded" and progress.latest else ""
            self.show(name, done, progress.total, f"{done / elapsed:.1f}/s{latest}")


@contextmanager
def _spoken(text: str) -> Iterator[Callable[[str], None]]:
    """Where there is no terminal: a line every ten seconds."""
    now, over, began = [text], threading.Event(), time.monotonic()

    def speak() -> None:
        while not over.wait(_LINE_SECONDS):
            remark(f"{now[0]} ({time.monotonic() - began:.0f} s)")

    thread = threading.Thread(target=speak, name="progress", daemon=True)
    thread.start()
    try:
        yield lambda text: now.__setitem__(0, text)
    finally:
        over.set()
        thread.join()


@contextmanager
def spinner(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done now, for work whose length nobody knows; the function changes the text."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        with _spoken(text) as update:
            yield update
        return
    with console.status(text) as status:
        yield status.update


class RollDisplay:
    """How a roll stands: live on a terminal, elsewhere a line every ten seconds in which something happened.

    systemd, which is told how it stands in another way, gets none.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._title = title
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._next, self._said = 0.0, ""

    def __enter__(self) -> RollDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, status: Status) -> None:
        """Update from a roll's status."""
        if self._console.is_terminal and time.monotonic() >= self._next:
            self._live.update(status_table(self._title, status))
            self._next = time.monotonic() + 0.25
        elif not self._console.is_terminal and "NOTIFY_SOCKET" not in os.environ:
            if self._next == 0:
                self._next = time.monotonic() + _LINE_SECONDS
            line = f"{status.state}, {status.frames} frames, {status.painted} painted"
            if time.monotonic() >= self._next and line != self._said:
                self._said, self._next = line, time.monotonic() + _LINE_SECONDS
                remark(line)


def status_table(title: str, status: Status) -> Any:
    """A roll's status as a rich renderable."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right", style="dim")
    rows.add_column()
    frames = f"{status.frames:,}" + (f" of {status.wanted:,}" if status.wanted else "")
    if status.wanted:
        rows.add_row("captured", Group(Text(frames), ProgressBar(status.wanted, status.frames, width=40)))
    else:
        rows.add_row("captured", Text(frames))
    rows.add_row("painted", f"{status.painted:,}" + (f", {status.pending:,} to come" if status.pending else ""))
    rows.add_row("state", Text(status.state, style="green" if status.state in ("running", "complete") else "yellow"))
    if status.due is not None and status.wall is not None and status.due - status.wall > 60:
        rows.add_row("next due", time.strftime("%Y-%m-%d %H:%M", time.localtime(status.due)))
    if skipped := ", ".join(f"{count:,} {reason}" for reason, count in status.skipped.items()):
        rows.add_row("skipped", skipped)
    if status.paint_seconds:
        rows.add_row("rate", f"{status.frames_per_hour:,.0f} frames an hour, {status.paint_seconds:.2f} s to paint one")
    if status.free is not None:
        rows.add_row("disk", f"{status.free / 1e9:.1f} GB free, {status.keep_free / 1e9:.1f} are kept free")
    if status.celsius is not None:
        rows.add_row("heat", f"{status.celsius:.0f} °C" + (f", {', '.join(status.heat)}" if status.heat else ""))
    for trouble in status.errors[-2:]:
        rows.add_row("trouble", Text(one_line(f"{trouble.what}: {trouble.message}"), style="yellow"))
    return Group(Text(title, style="bold"), rows)
