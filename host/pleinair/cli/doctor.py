"""The subcommand ``pleinair doctor``: is this machine fit for a time-lapse?"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cameras.opening import CameraSource
from pleinair.cli.console import print_table, say_json
from pleinair.cli.fpga import accelerator_options, backend_of, choose, simulate_build
from pleinair.cli.options import PATH, backend_option, bits_option, camera_option, style_option
from pleinair.cli.rolls import drivers
from pleinair.cli.types import OneOf
from pleinair.engines.exact import AUTO
from pleinair.text import one_line

if TYPE_CHECKING:
    from pleinair.doctor.finding import Finding


@click.command()
@camera_option("Camera to try, written as for `pleinair run`.", "synthetic")
@style_option
@bits_option
@backend_option
@accelerator_options
@click.option("--roll", type=PATH, default=Path("."), show_default=True, help="Folder in which the roll will be.")
@click.option(
    "--toolchain",
    type=OneOf("open"),
    help="Look for the tools of `pleinair build --toolchain open` instead, and at nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(
    camera: str,
    style: str,
    bits: int,
    backend: str,
    overlay: str | None,
    fallback: str | None,
    roll: Path,
    toolchain: str | None,
    as_json: bool,
) -> None:
    """Check this machine before a time-lapse.

    Each fault comes with a remedy. The doctor looks at packages, camera, style, engine, folder, disk, clock, memory
    and heat. Exit status 2 if one of them is bad.
    """
    if toolchain is not None:
        from pleinair_hw.open.tools import OPEN_BOARDS
        from pleinair_hw.open.tools import examine as examine_tools

        _report(list(examine_tools(OPEN_BOARDS[0])), as_json)
        return
    from pleinair.doctor.examine import examine
    from pleinair.fpga.deployment import DeploymentError
    from pleinair_pi.heat import read_heat

    # An overlay that cannot be read is a finding, not a refusal.
    with contextlib.suppress(DeploymentError):
        _, style, bits = choose(backend, AUTO, overlay, fallback, style, bits)
    chosen = backend_of(backend, AUTO, overlay, fallback)
    findings = list(
        examine(
            CameraSource.parse(camera),
            style,
            bits,
            chosen,
            roll,
            drivers=drivers(),
            thermometer=read_heat,
            simulator=simulate_build,
        )
    )
    _report(findings, as_json)


def _report(findings: list[Finding], as_json: bool) -> None:
    """Print what was found; exit status 2 if something is bad."""
    from pleinair.doctor.finding import BAD

    if as_json:
        say_json([dataclasses.asdict(finding) for finding in findings])
    else:
        print_table(_table(findings))
    if any(finding.state == BAD for finding in findings):
        raise click.exceptions.Exit(2)


def _table(findings: list[Finding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from pleinair.doctor.finding import BAD, DOUBTFUL

    colours = {BAD: "red", DOUBTFUL: "yellow"}
    table = Table("", "", "found", "remedy", box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(
            finding.subject,
            Text(finding.state, style=colours.get(finding.state, "green")),
            Text(one_line(finding.found)),
            Text(finding.remedy),
        )
    return table


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(doctor)
