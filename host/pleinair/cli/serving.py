"""The subcommand ``pleinair serve``: a page of all rolls under a folder."""

from __future__ import annotations

from pathlib import Path

import click

from pleinair.cli.console import remark
from pleinair.cli.options import PATH, config_option, extra, stopped_by_signals
from pleinair.cli.types import Whole


@click.command()
@click.argument("folder", type=PATH, default=".")
@click.option("--port", type=Whole(1, 65535), default=8080, show_default=True, help="Port of the page.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the page; 0.0.0.0 or :: shows it to the whole network. After a comma, names that a proxy asks by.",
)
@config_option
def serve(folder: Path, port: int, host: str) -> None:
    """Show all rolls under FOLDER on a page, running or finished, until interrupted.

    Phones and desktops see the newest original and painting of each roll, its days and films, its progress and its
    troubles.
    """
    with extra("cpu", "serve"):
        from pleinair.serving.site import page_of

    with stopped_by_signals(lambda: False) as stop, page_of(folder, port, host) as page:
        remark(f"watch the rolls in {folder} at {page.address}")
        stop.wait()


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(serve)
