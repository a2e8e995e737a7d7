"""The subcommand ``pleinair serve``: a page of all rolls under a folder."""

from __future__ import annotations

from pathlib import Path

import click

from pleinair.cli.console import remark
from pleinair.cli.options import PATH, config_option, extra, stopped_by_signals
from pleinair.cli.rolls import drivers
from pleinair.cli.types import Whole
from pleinair.errors import OptionError


@click.command()
@click.argument("folder", type=PATH, default=".")
@click.option("--port", type=Whole(1, 65535), default=8080, show_default=True, help="Port of the page.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the page; 0.0.0.0 or :: shows it to the whole network. After a comma, names that a proxy asks by.",
)
@click.option("--read-only", is_flag=True, help="Only show; nothing can be changed from the page.")
@click.option(
    "--password-file",
    type=PATH,
    help="File whose first line is the password that changes something; without it a token is made and printed.",
)
@config_option
def serve(folder: Path, port: int, host: str, read_only: bool, password_file: Path | None) -> None:
    """Show all rolls under FOLDER on a page.

    It shows running and finished ones until it is interrupted.

    Phones and desktops see the newest original and painting of each roll, its days and films, its progress and its
    troubles. Who has the token that is printed may begin rolls, stop them and let them go on, paint them in
    other styles, and see a photo in every style.
    """
    with extra("cpu", "serve"):
        from pleinair.serving.permit import new_token, read_password
        from pleinair.serving.site import page_of

    if read_only and password_file is not None:
        raise OptionError(f"{password_file}: nothing can be changed with --read-only", option="password_file")
    token = secret = None
    if password_file is not None:
        secret = read_password(password_file)
    elif not read_only:
        token = secret = new_token()
    with (
        stopped_by_signals(lambda: False) as stop,
        page_of(folder, port, host, secret=secret, drivers=drivers()) as page,
    ):
        remark(f"watch the rolls in {folder} at {page.address}")
        if token is not None:
            remark(f"to change something there, enter this token: {token}")
        stop.wait()


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(serve)
