"""What the subcommands of ``pleinair`` have in common: options, ``--config``, and how they speak."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pleinair.cameras.opening import CameraSource
from pleinair.cli.values import parse_duration, read_config
from pleinair.errors import OptionError, OutputError
from pleinair.text import one_line as one_line

DEFAULT_STYLE = "starry-night"
MOST_FRAMES = 10_000_000
PATH = click.Path(path_type=Path)

style_option = click.option(
    "--style", default=DEFAULT_STYLE, show_default=True, help="A style's name (see `pleinair styles`) or its folder."
)
bits_option = click.option(
    "--bits", type=int, default=8, show_default=True,
    help="Width of weights and activations: 4, 8 or 16; 32 for the float network.",
)  # fmt: skip
backend_option = click.option(
    "--backend", default="cpu", show_default=True,
    help="cpu, reference or fpga; all paint the same pixels, but for --bits 32.",
)  # fmt: skip
engine_option = click.option(
    "--engine", default="auto", show_default=True,
    help="What --backend cpu computes with: onnxruntime, openvino, litert, or auto, the fastest by `pleinair bench`.",
)  # fmt: skip
threads_option = click.option(
    "--threads", type=click.IntRange(0, 256), default=0, help="Threads that paint; 0, the default, takes every core."
)


def _configure(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """The options of a ``--config`` file, as defaults of the command that it is given to."""
    if path is None:
        return
    options = {
        long.removeprefix("--"): parameter.name
        for parameter in context.command.params
        for long in parameter.opts
        if long.startswith("--") and parameter.name and parameter.name != "config"
    }
    values = read_config(path, set(options))
    context.default_map = {options[key] or key: value for key, value in values.items()}
    context.meta[CONFIG] = path


CONFIG = "pleinair.cli.main.config"
config_option = click.option(
    "--config", type=PATH, expose_value=False, is_eager=True, callback=_configure,
    help="TOML file with further options; the command line wins.",
)  # fmt: skip


def with_engine(backend: str, engine: str) -> str:
    """The backend as :func:`pleinair.painting.painter.open_painter` takes it, with ``--engine``. Raises OptionError."""
    from pleinair.engines.exact import AUTO, check_engine

    check_engine(engine)
    if engine == AUTO:
        return backend
    if backend != "cpu":
        raise OptionError(f"--engine {engine}: needs --backend cpu")
    return f"{backend}:{engine}"


def refuse_same(source: Path | None, out: Path, what: str) -> None:
    """Raise OptionError when the output is the input: it would be gone."""
    try:
        same = source is not None and os.path.samefile(source, out)
    except (OSError, ValueError):
        return
    if same:
        raise OptionError(f"output {out}: is {what}; name another file")


@contextmanager
def stopped_by_signals(over: Callable[[], bool]) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; once all is ``over`` they raise KeyboardInterrupt.

    Before that an exception could come between encoding a frame and writing it, or into the film's completion.
    Ignored signals (nohup) stay ignored.
    """
    stop = threading.Event()

    def handle(_: int, __: object) -> None:
        if over():
            raise KeyboardInterrupt
        stop.set()

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """A line of results to stdout. Raises OutputError when it cannot be written."""
    try:
        click.echo(text)
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def quiet_console() -> Any:
    """A console on stderr for bars, silent where it is no terminal: some versions of rich print an empty line there."""
    from rich.console import Console

    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


def frames_for(for_: str, source: CameraSource, interval: float | None, frames: int | None) -> int:
    """How many frames ``--for`` asks of a stored camera. Raises OptionError."""
    from pleinair.cameras.synthetic import SYNTHETIC_STEP

    if frames is not None:
        raise OptionError(f"--for {for_!r}: give --for or --frames, not both")
    if not source.timed:
        raise OptionError(f"--for {for_!r}: a folder of frames has no clock; give --frames")
    if interval is None and source.kind != "synthetic":
        raise OptionError(f"--for {for_!r}: needs --every")
    count = max(1, round(parse_duration(for_, "--for") / (interval or SYNTHETIC_STEP)))
    if count > MOST_FRAMES:
        raise OptionError(f"--for {for_!r}: {count} frames at that --every, allowed are {MOST_FRAMES}")
    return count


class Display:
    """Live bars, on a terminal only: captured, painted, recorded, rates and time left."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[latest]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._title, self._tasks = title, dict[str, Any]()
        self._began = time.monotonic()

    def __enter__(self) -> Display:
        if not self._bars.disable:
            self._bars.console.print(self._title, highlight=False, markup=False)
        for name in ("captured", "painted", "recorded"):
            self._tasks[name] = self._bars.add_task(name, total=None, rate="", latest="")
        if not self._bars.disable:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bars.disable:  # or some versions of rich print an empty line
            self._bars.stop()

    def show(self, progress: Any) -> None:
        """Update from a pipeline's progress."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        for name, task in self._tasks.items():
            done = getattr(progress, name)
            self._bars.update(
                task, completed=done, total=progress.total, rate=f"{done / elapsed:.1f}/s",
                latest=progress.latest if name == "recorded" else "",
            )  # fmt: skip
