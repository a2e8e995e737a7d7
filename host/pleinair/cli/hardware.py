"""The subcommands about the accelerator: build, boards, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pleinair.cli.options import PATH, config_option, quiet_console, say
from pleinair.cli.values import parse_size
from pleinair.errors import OptionError


@click.command()
@click.argument("model")
@click.option("--bits", type=int, help="Width of the network: 4, 8 or 16; needed for a model folder.")
@click.option("--board", required=True, help="pynq-z2, ultra96, kv260 or zcu104.")
@click.option("--size", required=True, help="The frame's size, WIDTHxHEIGHT; the margin is added to it.")
@click.option("--fps", default="max", show_default=True, help="Frames a second, or max for the most that fits.")
@click.option("--out", type=PATH, required=True, help="The build's folder.")
@click.option("--clock", type=click.IntRange(10, 800), help="MHz; the board's planned clock if not given.")
@click.option("--margin", type=click.IntRange(0, 512), help="Pixels around the frame, for a QONNX file without a card.")
@click.option("--folding", type=PATH, help="Folding to use: a build's plan.json or FINN's folding file.")
@click.option(
    "--fifo-sizing", default="estimate", show_default=True,
    help="estimate, or simulate: depths from simulating three frames of the accelerator itself.",
)  # fmt: skip
@click.option(
    "--writeable-weights", is_flag=True, help="Weights that the processor can change while the accelerator runs."
)
@click.option("--pump", is_flag=True, help="Matrix products at twice the clock: half the DSPs for the same rate.")
@config_option
def build(
    model: str, bits: int | None, board: str, size: str, fps: str, out: Path, clock: int | None, margin: int | None,
    folding: Path | None, fifo_sizing: str, writeable_weights: bool, pump: bool,
) -> None:  # fmt: skip
    """Compile an FPGA accelerator from a network: RTL always, a bitstream where Vivado is installed.

    MODEL is a style's name, a model's folder or a QONNX file.
    """
    try:
        rate = None if fps == "max" else float(fps)
    except ValueError:
        rate = -1.0
    if rate is not None and not 0 < rate <= 100_000:
        raise OptionError(f"--fps {fps!r}: a number above 0, or max")
    from pleinair_hw.build import Request
    from pleinair_hw.build import build as run_build
    from pleinair_hw.plan.plan import BuildOptions

    request = Request(
        model,
        board,
        parse_size(size),
        out,
        bits,
        rate,
        clock,
        margin,
        folding,
        BuildOptions(writeable_weights, pump),
        fifo_sizing,
    )
    with quiet_console().status("start") as status:
        made = run_build(request, status.update)
    plan = made.plan
    say(
        f"{out}: {plan.fps:.1f} frames a second at {plan.clock_hz / 1e6:g} MHz, {plan.total.dsp} DSPs "
        f"({plan.lanes_busy:.0%} of their lanes busy); {made.nodes} nodes of RTL. See {out / 'report.html'}."
    )
    if made.deployment is not None:
        say(f"Deployment folder for {board}: {made.deployment}")
    elif pump:
        say("Done is everything up to RTL; the bitstream is missing: FINN's shell has no clock of twice the rate.")
    else:
        say("Done is everything up to RTL; the bitstream is missing, which needs Vivado (see docs/vivado.md).")


@click.command()
@click.option("--style", "styles_", multiple=True, help="A style's name or folder; all there are if not given.")
@click.option("--bits", "bits_", multiple=True, type=int, help="4, 8 or 16; all that a style has if not given.")
@click.option("--board", "boards_", multiple=True, help="A board's name; all if not given.")
@click.option("--size", "sizes_", multiple=True, help="Frame size, WIDTHxHEIGHT; 640x480 if not given.")
@click.option("--clock", type=click.IntRange(10, 800), help="MHz; each board's planned clock if not given.")
def boards(
    styles_: tuple[str, ...], bits_: tuple[int, ...], boards_: tuple[str, ...], sizes_: tuple[str, ...],
    clock: int | None,
) -> None:  # fmt: skip
    """The boards with their resources, and for each style and size what fits and how fast."""
    from rich.console import Console
    from rich.progress import Progress

    from pleinair.models import styles
    from pleinair.network.integer import BITS
    from pleinair_hw.plan.boards import BOARDS, find_board
    from pleinair_hw.plan.survey import boards_table, resources_table, survey

    for bits in bits_:
        if bits not in BITS:
            raise OptionError(f"--bits {bits}: allowed are {', '.join(map(str, BITS))}")
    chosen = [find_board(name).name for name in boards_] or list(BOARDS)
    sizes = [parse_size(size) for size in sizes_ or ("640x480",)]
    console = Console()
    console.print(resources_table([find_board(name) for name in chosen]))
    with Progress(console=quiet_console(), transient=True) as bars:
        task = bars.add_task("fold", total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        rows = survey(
            list(styles_) or list(styles()), chosen, sizes, bits_ or BITS, clock_hz=clock and clock * 1e6, progress=show
        )
    console.print(boards_table(rows))


@click.command()
@click.argument("folder", metavar="BUILD", type=PATH)
@click.option("--image", "images", multiple=True, type=PATH, required=True, help="A photo; several go back to back.")
@click.option("--out", type=PATH, help="The painting, .png or .jpg; of the last photo if there are several.")
@click.option(
    "--stalls", type=click.IntRange(0, 95), default=0, show_default=True,
    help="Per cent of cycles in which the ends, at random, neither offer nor take a word.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the stalls.")
def simulate(folder: Path, images: tuple[Path, ...], out: Path | None, stalls: int, seed: int) -> None:
    """Paint photos with the simulated accelerator, cycle by cycle, and compare with the integer reference.

    BUILD is the folder of `pleinair build`. Exit status 1 if a single byte differs.
    """
    from rich.progress import Progress

    from pleinair.images import check_image_output, read_image, write_image
    from pleinair_hw.simulate.proof import prove

    if out is not None:
        check_image_output(out)
    photos = [read_image(path) for path in images]
    with Progress(console=quiet_console(), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        proof = prove(folder, photos, stalls=stalls, seed=seed, progress=show)
    result = proof.result
    if out is not None:
        write_image(out, proof.paintings[-1])
        say(f"{out}: painted by the simulated accelerator.")
    interval = "" if result.interval is None else f", {result.interval:,} cycles between frames"
    say(
        f"{proof.differing} of {result.frames.size:,} bytes differ from the integer reference. "
        f"Latency {result.latency:,} cycles{interval}; {result.cycles:,} cycles simulated in {result.seconds:.1f} s, "
        f"{result.rate:,.0f} a second."
    )
    if proof.differing:
        raise click.exceptions.Exit(1)


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (build, boards, simulate):
        app.add_command(command)
