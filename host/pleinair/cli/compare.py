"""The subcommand ``pleinair compare``: bits against machines, in one report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pleinair.cli.options import PATH, config_option, quiet_console, say, style_option
from pleinair.cli.values import parse_size
from pleinair.errors import OptionError

#: What --boards takes besides names.
_NONE = "none"


class _Several(click.Option):
    """An option that can be given several times; in a --config file, which holds text and numbers, with commas."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        value, source = super().consume_value(ctx, opts)
        if source is click.core.ParameterSource.DEFAULT_MAP and isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        return value, source


@click.command()
@style_option
@click.option(
    "--bits",
    "bits_",
    multiple=True,
    cls=_Several,
    type=int,
    help="4, 8, 16, or 32 for float; all that the style has if not given.",
)
@click.option("--size", default="640x480", show_default=True, help="Of the frames, WIDTHxHEIGHT.")
@click.option(
    "--threads", "threads_", multiple=True, cls=_Several, type=click.IntRange(0, 256),
    help="Threads that paint, 0 for every core; 1 and every core if not given.",
)  # fmt: skip
@click.option(
    "--boards", "boards_", multiple=True, cls=_Several, help="A board to plan for, or none; all boards if not given."
)
@click.option(
    "--build",
    "builds",
    multiple=True,
    cls=_Several,
    type=PATH,
    help="A build's folder, with what its simulation measured.",
)
@click.option(
    "--bench", "benches", multiple=True, cls=_Several, type=PATH, help="What `pleinair bench --json` wrote on a board."
)
@click.option("--evaluation", type=PATH, help="The folder of `pleinair evaluate`, for the losses.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="Time everything so often.")
@click.option("--skip-torch", is_flag=True, help="Do not time PyTorch.")
@click.option("--out", type=PATH, required=True, help="The report's folder.")
@config_option
def compare(
    style: str, bits_: tuple[int, ...], size: str, threads_: tuple[int, ...], boards_: tuple[str, ...],
    builds: tuple[Path, ...], benches: tuple[Path, ...], evaluation: Path | None, rounds: int, skip_torch: bool,
    out: Path,
) -> None:  # fmt: skip
    """Compare bits and machines for one style: speed, energy, quality, and what each bit costs.

    This machine is timed, boards are planned; report.html holds it all.
    """
    from rich.console import Console

    from pleinair.measuring.comparison import compare as compare_all
    from pleinair.measuring.comparison_report import prepare_folder, require_matplotlib, write_report
    from pleinair.measuring.comparison_rows import Request

    require_matplotlib()
    if _NONE in boards_ and len(boards_) > 1:
        raise OptionError("--boards none: give none, or boards, not both")
    if not boards_:
        from pleinair_hw.plan.boards import BOARDS

        boards_ = tuple(BOARDS)
    request = Request(
        style, parse_size(size), bits_, threads_, () if boards_ == (_NONE,) else boards_, builds, benches, evaluation,
        rounds, not skip_torch,
    )  # fmt: skip
    prepare_folder(out)
    with _Bars() as bars:
        comparison = compare_all(request, bars.show)
    _, page = write_report(comparison, out)
    for line in comparison.left_out:
        click.echo(f"left out: {line}", err=True)
    Console().print(_table(comparison))
    say(f"report: {click.format_filename(page)}")


def _table(comparison: Any) -> Any:
    """The figures that matter most, in 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pleinair.measuring.comparison_report import console_lines

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("backend", overflow="fold")
    for heading in ("bits", "how"):
        table.add_column(heading, no_wrap=True)
    for heading in ("frames/s", "to Johnson", "to 8 bits"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = None
    for backend, *cells in console_lines(comparison):
        if before is not None and backend != before:
            table.add_section()
        # Text, as a board's name in a file is not rich's markup.
        table.add_row(*(Text(cell) for cell in (backend if backend != before else "", *cells)))
        before = backend
    return table


class _Bars:
    """One bar for what is being done now."""

    def __enter__(self) -> _Bars:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=quiet_console(), transient=True)
        self._task = self._bars.add_task("start", total=None)
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Update the bar."""
        self._bars.update(self._task, description=what, completed=done, total=total)


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(compare)
