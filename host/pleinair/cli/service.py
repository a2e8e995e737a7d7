"""The subcommands ``pleinair service install`` and ``remove``: a roll that systemd continues at every boot."""

from __future__ import annotations

from pathlib import Path

import click

from pleinair.cli.console import say
from pleinair.cli.rolls import preview_option, roll_argument


@click.group()
def service() -> None:
    """Let systemd continue a roll at every boot.

    It also restarts a roll that hangs.
    """


@service.command()
@roll_argument
@click.option("--user", help="Who runs it; by default you, also through sudo.")
@preview_option
@click.option("--preview-host", help="Address of that page; by default as when the roll began.")
@click.option("--print", "show", is_flag=True, help="Only print the unit; install nothing.")
def install(roll_folder: Path, user: str | None, preview: int | None, preview_host: str | None, show: bool) -> None:
    """Write, enable and start the unit for ROLL."""
    import getpass

    from pleinair.rolls.settings import check_there
    from pleinair_pi.service import install as install_unit
    from pleinair_pi.service import own_command, unit_text

    check_there(roll_folder)
    if show:
        say(unit_text(roll_folder, user or getpass.getuser(), own_command(), preview, preview_host).rstrip())
        return
    path = install_unit(roll_folder, user, preview, preview_host)
    say(f"{path}: runs now and at every boot; see what it says by: journalctl -u {path.name}")


@service.command()
@roll_argument
def remove(roll_folder: Path) -> None:
    """Stop the service of ROLL and remove its unit; the roll stays."""
    from pleinair_pi.service import remove as remove_unit

    say(f"{remove_unit(roll_folder)}: removed")


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    app.add_command(service)
