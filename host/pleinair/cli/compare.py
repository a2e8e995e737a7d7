"""The subcommand ``pleinair compare``: bits against machines, in one report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.console import Bars, print_table, remark, say
from pleinair.cli.options import PATH, config_option, style_option
from pleinair.cli.types import SIZE, Name, OneOf, Whole, board_names
from pleinair.errors import OptionError
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS

if TYPE_CHECKING:
    from pleinair.measuring.outside import Torch

#: What --boards takes besides names.
_NONE = "none"


class _Several(click.Option):
    """An option that can be given several times; in a --config file, which holds text and numbers, with commas."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        value, source = super().consume_value(ctx, opts)
        if source is click.core.ParameterSource.DEFAULT_MAP and isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        return value, source


def open_torch(threads: int) -> Torch:
    """PyTorch, from whichever process asks. Raises ImportError where it is not installed."""
    import torch  # noqa: F401

    from pleinair_training.johnson import EagerTorch

    return EagerTorch(threads)


@click.command()
@style_option
@click.option(
    "--bits",
    "bits_",
    multiple=True,
    cls=_Several,
    type=OneOf(*BITS, FLOAT_BITS),
    help="Bits of networks to compare; repeatable. All that the style has by default; 32 is the float network.",
)
@click.option("--size", type=SIZE, default="640x480", show_default=True, help="Size of the frames.")
@click.option(
    "--threads",
    "threads_",
    multiple=True,
    cls=_Several,
    type=Whole(0, 256),
    help="Threads that paint; repeatable, 0 uses every core. 1 and every core by default.",
)
@click.option(
    "--boards",
    "boards_",
    multiple=True,
    cls=_Several,
    type=Name("board", lambda: (*board_names(), _NONE), listed=True),
    help="A board to plan for; repeatable. All boards by default.",
)
@click.option(
    "--build",
    "builds",
    multiple=True,
    cls=_Several,
    type=PATH,
    help="Folder of a build, for what its simulation measured; repeatable.",
)
@click.option(
    "--bench",
    "benches",
    multiple=True,
    cls=_Several,
    type=PATH,
    help="What `pleinair bench --json FILE` wrote on another machine; repeatable.",
)
@click.option("--evaluation", type=PATH, help="Folder of `pleinair evaluate`, for the losses.")
@click.option("--rounds", type=Whole(1, 1000), default=7, show_default=True, help="How often to time everything.")
@click.option("--skip-torch", is_flag=True, help="Do not time PyTorch.")
@click.option("--out", type=PATH, required=True, help="Folder of the report.")
@config_option
def compare(
    style: str,
    bits_: tuple[int, ...],
    size: tuple[int, int],
    threads_: tuple[int, ...],
    boards_: tuple[str, ...],
    builds: tuple[Path, ...],
    benches: tuple[Path, ...],
    evaluation: Path | None,
    rounds: int,
    skip_torch: bool,
    out: Path,
) -> None:
    """Compare bits and machines for one style.

    The report says what each costs in time, energy and quality. This machine is timed, boards are planned. The
    report is a page, report.html.
    """
    from pleinair.measuring.comparison import compare as compare_all
    from pleinair.measuring.comparison_report import prepare_folder, require_matplotlib, write_report
    from pleinair.measuring.comparison_rows import Request
    from pleinair_hw.plan.planner import Planner

    require_matplotlib()
    if _NONE in boards_ and len(boards_) > 1:
        raise OptionError("none: give none, or boards, not both", option="boards")
    if not boards_:
        boards_ = tuple(board_names())
    request = Request(
        style=style,
        size=size,
        bits=bits_,
        threads=threads_,
        boards=() if boards_ == (_NONE,) else boards_,
        builds=builds,
        benches=benches,
        evaluation=evaluation,
        rounds=rounds,
    )
    prepare_folder(out)
    with Bars(single=True) as bars:
        comparison = compare_all(
            request,
            bars.show,
            planner=Planner() if request.boards or benches else None,
            open_torch=None if skip_torch else open_torch,
        )
    _, page = write_report(comparison, out)
    for line in comparison.left_out:
        remark(f"left out: {line}")
    print_table(_table(comparison))
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


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(compare)
