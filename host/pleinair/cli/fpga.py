"""Backends: what the options of a command name together, and the subcommand ``deploy``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

import click

from pleinair.backends import CPU, FALLBACKS, FPGA, Backend
from pleinair.cli.console import say, spinner
from pleinair.cli.options import OVERLAY_VARIABLE, PATH, config_option
from pleinair.cli.types import OneOf
from pleinair.engines.exact import AUTO
from pleinair.errors import OptionError, OutputError
from pleinair.fpga.overlay import Overlay

_overlay = click.option(
    "--overlay",
    metavar="DEPLOY",
    default=lambda: os.environ.get(OVERLAY_VARIABLE) or None,
    show_default=f"${OVERLAY_VARIABLE}",
    help="Accelerator for --backend fpga: a deployment folder, emulated:FOLDER or simulated:BUILD (docs/fpga.md).",
)
_fallback = click.option("--fallback", type=OneOf(*FALLBACKS), help="Backend that paints while the accelerator fails.")


def accelerator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of --backend fpga; :func:`choose` understands them."""
    return _overlay(_fallback(command))


def choose(
    backend: str, engine: str, overlay: str | None, fallback: str | None, style: str, bits: int
) -> tuple[Backend, str, int]:
    """Backend, style and bits of a command's options.

    With an overlay, a style or width that is not asked for is the one that the overlay paints. Raises OptionError,
    DeploymentError, ModelError.
    """
    chosen = backend_of(backend, engine, overlay, fallback)
    if chosen.overlay is None:
        return chosen, style, bits
    context = click.get_current_context()
    its_style, its_bits = chosen.overlay.style()
    asked = click.core.ParameterSource.DEFAULT
    if context.get_parameter_source("style") is asked:
        style = its_style
    if context.get_parameter_source("bits") is asked:
        bits = its_bits
    return chosen, style, bits


def backend_of(backend: str, engine: str, overlay: str | None, fallback: str | None) -> Backend:
    """The backend that four options name together, from any working folder. Raises OptionError."""
    if backend != FPGA and overlay is not None:
        source = click.get_current_context().get_parameter_source("overlay")
        # A board's own overlay, and the user paints with something else.
        overlay = None if source is click.core.ParameterSource.DEFAULT else overlay
    for name, value in (("overlay", overlay), ("fallback", fallback)):
        if value is not None and backend != FPGA:
            raise OptionError(f"{value}: needs --backend {FPGA}", option=name)
    if engine != AUTO and backend != CPU:
        raise OptionError(f"{engine}: needs --backend {CPU}", option="engine")
    if backend == FPGA and overlay is None:
        raise OptionError(f"{FPGA}: needs --overlay DEPLOY, the folder that `pleinair build` leaves", option="backend")
    asked = None if overlay is None else Overlay.parse(overlay)
    return Backend(backend, engine=engine, overlay=asked, fallback=fallback).absolute()


def simulate_build(build: Path) -> Callable[..., Any]:
    """What paints frames of a build's size with its RTL in Verilator, as pleinair.emulator.fabric.Simulator says.

    Raises SimulationError, StitchError.
    """
    from pleinair_hw.simulate import simulation
    from pleinair_hw.simulate.stations import SimulatedStations

    accelerator = simulation.load(build)
    accelerator.compile()
    light_map = accelerator.manifest.light_map
    if light_map is not None:
        return SimulatedStations(accelerator, light_map)
    return lambda frame: simulation.simulate(accelerator, frame[None]).frames[0]


@click.command()
@click.argument("folder", metavar="BUILD", type=PATH)
@click.option("--to", "address", metavar="USER@BOARD", help="Copy it to this board by ssh.")
@click.option("--out", type=PATH, help="Write a .tar.gz instead, and print how to bring it to a board.")
@config_option
def deploy(folder: Path, address: str | None, out: Path | None) -> None:
    """Copy an accelerator and the program to a PYNQ board.

    BUILD is a folder in which `pleinair build` made a bitstream, with Vivado or with open tools, or the deployment
    folder in it.
    """
    from pleinair.durable import write_file
    from pleinair.fpga.package import ROOT, instructions, package, send

    if (address is None) == (out is None):
        raise OptionError("give --to USER@BOARD or --out FILE.tar.gz")
    lines = "" if out is None else instructions(out)
    data = package(folder)
    if out is not None:
        try:
            write_file(out, data, shared=True)
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}", option="out") from error
        say(f"{click.format_filename(out)}: {len(data) / 1e6:.1f} MB. Three lines bring it to a board:")
        say(lines)
        return
    assert address is not None
    with spinner(f"copy to {address}"):
        send(data, address)
    say(f"{address}:{ROOT}: {len(data) / 1e6:.1f} MB. Once, there: ssh -t {quote(address)} 'sudo {ROOT}/install.sh'")


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(deploy)
