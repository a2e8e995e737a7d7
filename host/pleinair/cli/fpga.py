"""Accelerators on boards: the options of the backend ``fpga``, and the subcommand ``deploy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pleinair.cli.console import say
from pleinair.cli.options import FPGA, PATH, config_option
from pleinair.cli.types import OneOf
from pleinair.errors import OptionError, OutputError
from pleinair.painting.painter import BACKENDS

_overlay = click.option(
    "--overlay",
    metavar="DEPLOY",
    help="Accelerator of the backend fpga: a deployment folder, emulated:FOLDER or simulated:BUILD (docs/fpga.md).",
)
_fallback = click.option(
    "--fallback", type=OneOf(*BACKENDS), help="Backend that paints while the accelerator does not."
)


def accelerator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of --backend fpga; :func:`choose` understands them."""
    return _overlay(_fallback(command))


def choose(backend: str, overlay: str | None, fallback: str | None, style: str, bits: int) -> tuple[str, str, int]:
    """Backend (as :func:`pleinair.painting.painter.open_painter` takes it), style and bits of a command's options.

    With an overlay, a style or width that is not asked for is the one that it paints. Raises OptionError,
    DeploymentError, ModelError.
    """
    if backend != FPGA:
        for name, value in (("overlay", overlay), ("fallback", fallback)):
            if value is not None:
                raise OptionError(f"{value}: needs --backend {FPGA}", option=name)
        return backend, style, bits
    if overlay is None:
        raise OptionError(f"{FPGA}: needs --overlay DEPLOY, the folder that `pleinair build` leaves", option="backend")
    from pleinair.fpga.painter import backend_name, overlay_style

    context = click.get_current_context()
    its_style, its_bits = overlay_style(overlay)
    asked = click.core.ParameterSource.DEFAULT
    if context.get_parameter_source("style") is asked:
        style = its_style
    if context.get_parameter_source("bits") is asked:
        bits = its_bits
    return backend_name(overlay, fallback), style, bits


@click.command()
@click.argument("folder", metavar="BUILD", type=PATH)
@click.option("--to", "address", metavar="USER@BOARD", help="Copy it to this board by ssh.")
@click.option("--out", type=PATH, help="Write a .tar.gz instead, and print how to bring it to a board.")
@config_option
def deploy(folder: Path, address: str | None, out: Path | None) -> None:
    """Copy an accelerator and the program to a PYNQ board.

    BUILD is a folder that `pleinair build` wrote on a machine with Vivado, or the deployment folder in it.
    """
    from pleinair.fpga.package import ROOT, instructions, package, send

    if (address is None) == (out is None):
        raise OptionError("give --to USER@BOARD or --out FILE.tar.gz")
    data = package(folder)
    if out is not None:
        try:
            out.write_bytes(data)
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}", option="out") from error
        say(f"{click.format_filename(out)}: {len(data) / 1e6:.1f} MB. Three lines bring it to a board:")
        say(instructions(out))
        return
    assert address is not None
    send(data, address)
    say(f"{address}:{ROOT}: {len(data) / 1e6:.1f} MB. Once, there: ssh -t {address} 'sudo {ROOT}/install.sh'")


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(deploy)
