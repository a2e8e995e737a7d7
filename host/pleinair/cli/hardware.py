"""The subcommands about the accelerator: build, boards, sweep, simulate, bitstream."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pleinair.cli.console import Bars, print_table, remark, say, say_json, spinner
from pleinair.cli.farm import farm_of, joined, on_option
from pleinair.cli.options import PATH, config_option
from pleinair.cli.types import BOARD, RATE, SIZE, STYLE, OneOf, Whole
from pleinair.network.integer import BITS

if TYPE_CHECKING:
    from pleinair.farm.cluster import Where
    from pleinair_hw.plan.survey import Row


@click.command()
@click.argument("model")
@click.option("--bits", type=OneOf(*BITS), help="Bits of the network; needed unless MODEL is a QONNX file.")
@click.option("--board", type=BOARD, required=True, help="Board to build for.")
@click.option("--size", type=SIZE, required=True, help="Size of the frame; the margin is added to it.")
@click.option(
    "--fps",
    type=RATE,
    default="max",
    show_default=True,
    help="Frames per second to reach; max is the most that fits.",
)
@click.option("--out", type=PATH, required=True, help="Folder of the build.")
@click.option("--clock", type=Whole(10, 800), help="Clock in MHz; by default the one planned for the board.")
@click.option(
    "--margin", type=Whole(0, 512), help="Pixels around the frame, for a QONNX file that comes without a card."
)
@click.option("--folding", type=PATH, help="Folding to use: plan.json of another build, or FINN's folding file.")
@click.option(
    "--fifo-sizing",
    type=OneOf("estimate", "simulate"),
    default="estimate",
    show_default=True,
    help="How to find the depths of FIFOs; simulate runs three frames through the accelerator.",
)
@click.option("--writeable-weights", is_flag=True, help="Let the processor change weights while the accelerator runs.")
@click.option(
    "--pump",
    "pumped",
    is_flag=True,
    help="Run matrix products at twice the clock: half the DSPs for the same rate.",
)
@click.option(
    "--trim",
    "trimmed",
    is_flag=True,
    help="Leave out the pixels of the margin that no pixel of the frame needs: the same painting, faster.",
)
@click.option(
    "--toolchain",
    type=OneOf("vivado", "open"),
    default="vivado",
    show_default=True,
    help="Who makes the bitstream: Vivado, or Yosys and nextpnr (pynq-z2 only). Where these are missing, the build "
    "ends with RTL.",
)
@click.option(
    "--seeds", type=Whole(1, 20), default=1, show_default=True, help="Tries of place and route; the fastest wins."
)
@click.option(
    "--clock-margin",
    type=Whole(0, 90),
    default=15,
    show_default=True,
    help="Per cent to keep below the clock that place and route report.",
)
@config_option
def build(
    model: str,
    bits: int | None,
    board: str,
    size: tuple[int, int],
    fps: float | None,
    out: Path,
    clock: int | None,
    margin: int | None,
    folding: Path | None,
    fifo_sizing: str,
    writeable_weights: bool,
    pumped: bool,
    trimmed: bool,
    toolchain: str,
    seeds: int,
    clock_margin: int,
) -> None:
    """Compile a network into an FPGA accelerator.

    It always writes RTL. It also makes a bitstream where Vivado is installed or, with --toolchain open, where the open
    tools are. MODEL is a style's name, a model's folder or a QONNX file.
    """
    from pleinair_hw.build import Request
    from pleinair_hw.build import build as run_build
    from pleinair_hw.plan.plan import BuildOptions

    request = Request(
        model=model,
        board=board,
        size=size,
        out=out,
        bits=bits,
        fps=fps,
        clock_mhz=clock,
        margin=margin,
        folding=folding,
        options=BuildOptions(writeable=writeable_weights, pumped=pumped, trimmed=trimmed),
        fifo_sizing=fifo_sizing,
        toolchain=toolchain,
        seeds=seeds,
        clock_margin=clock_margin,
    )
    with spinner("start") as update:
        made = run_build(request, update)
    plan = made.plan
    say(
        f"{out}: {plan.fps:.1f} frames a second at {plan.clock_hz / 1e6:g} MHz, {plan.total.dsp} DSPs "
        f"({plan.lanes_busy:.0%} of their lanes busy); {made.nodes} nodes of RTL. See {out / 'report.html'}."
    )
    if made.routed is not None:
        routed, mhz = made.routed, made.routed.clock.mhz
        say(
            f"Bitstream at {mhz:.1f} MHz, {plan.fps * mhz / routed.planned_mhz:.1f} frames a second: place and "
            f"route reach {routed.figures.fmax_mhz:.1f} MHz, of which {routed.margin:g}% are kept; {routed.bitfile}"
        )
    if made.deployment is not None:
        say(f"Deployment folder for {board}: {made.deployment}")
    elif made.missing:
        say(
            f"Done is everything up to RTL; the bitstream is missing, which needs {', '.join(made.missing)}: "
            "`pleinair doctor --toolchain open` says where people get it."
        )
    elif made.routed is not None:
        say("A deployment folder needs a model's folder with its card; a QONNX file has none.")
    else:
        say("Done is everything up to RTL; the bitstream is missing, which needs Vivado (see docs/vivado.md).")


@click.command()
@click.option("--style", "styles_", type=STYLE, multiple=True, help="A style to plan; repeatable. All by default.")
@click.option("--bits", "bits_", type=OneOf(*BITS), multiple=True, help="Bits of networks; repeatable. All by default.")
@click.option("--board", "boards_", type=BOARD, multiple=True, help="A board to plan for; repeatable. All by default.")
@click.option("--size", "sizes_", type=SIZE, multiple=True, help="Size of the frames; repeatable. 640x480 by default.")
@click.option("--clock", type=Whole(10, 800), help="Clock in MHz; by default the one planned for each board.")
@on_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def boards(
    styles_: tuple[str, ...],
    bits_: tuple[int, ...],
    boards_: tuple[str, ...],
    sizes_: tuple[tuple[int, int], ...],
    clock: int | None,
    on: Where | None,
    as_json: bool,
) -> None:
    """List the boards, what fits on them, and how fast.

    Nothing is measured here: the figures are those of the fastest plan for each style, board and size.
    """
    from pleinair.models import styles
    from pleinair_hw.plan.boards import BOARDS, find_board
    from pleinair_hw.plan.survey import boards_table, resources_table, survey

    chosen = [find_board(name) for name in boards_] or list(BOARDS.values())
    if not as_json:
        print_table(resources_table(chosen))
    farm = farm_of(on, None)
    with contextlib.ExitStack() as stack:
        cluster = None if farm is None else stack.enter_context(joined(farm))
        bars = stack.enter_context(Bars(single=True))
        rows = survey(
            list(styles_) or list(styles()),
            [board.name for board in chosen],
            sizes_ or ((640, 480),),
            bits_ or BITS,
            clock_hz=clock and clock * 1e6,
            cluster=cluster,
            progress=lambda done, total: bars.show("plan", done, total),
        )
    if as_json:
        say_json({"boards": [asdict(board) for board in chosen], "plans": [_plan(row) for row in rows]})
    else:
        print_table(boards_table(rows))


def _plan(row: Row) -> dict[str, object]:
    """A row of the survey for JSON: its board by name, and the shares of the board that it takes."""
    return {**asdict(row), "board": row.board.name, "shares": row.shares}


@click.command()
@click.option("--style", "styles_", type=STYLE, multiple=True, help="A style; repeatable. All by default.")
@click.option("--bits", "bits_", type=OneOf(*BITS), multiple=True, help="Bits of networks; repeatable. All by default.")
@click.option("--board", "boards_", type=BOARD, multiple=True, help="A board; repeatable. All by default.")
@click.option("--size", "sizes_", type=SIZE, multiple=True, required=True, help="Size of the frames; repeatable.")
@click.option(
    "--fps",
    type=RATE,
    default="max",
    show_default=True,
    help="Frames per second that builds reach; max is the most that fits. Small ones are simulated sooner.",
)
@click.option("--clock", type=Whole(10, 800), help="Clock in MHz; by default the one planned for each board.")
@click.option("--pump", "pumped", is_flag=True, help="Run matrix products at twice the clock.")
@click.option("--trim", "trimmed", is_flag=True, help="Leave out the pixels of the margin that no pixel needs.")
@click.option(
    "--until",
    type=OneOf("plan", "build", "simulate"),
    default="build",
    show_default=True,
    help="How far each is taken: the fastest plan, RTL, or one frame painted by the simulated RTL and compared.",
)
@click.option("--out", type=PATH, required=True, help="Folder of the builds and of sweep.json.")
@on_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@config_option
def sweep(
    styles_: tuple[str, ...],
    bits_: tuple[int, ...],
    boards_: tuple[str, ...],
    sizes_: tuple[tuple[int, int], ...],
    fps: float | None,
    clock: int | None,
    pumped: bool,
    trimmed: bool,
    until: str,
    out: Path,
    on: Where | None,
    as_json: bool,
) -> None:
    """Build and simulate many accelerators.

    It takes every combination of styles, boards, sizes and bits.

    What is done already is not done again; what failed is. Exit status 1 if any failed, or a simulated painting is not
    the reference's.
    """
    from pleinair.models import styles
    from pleinair_hw.plan.boards import BOARDS
    from pleinair_hw.sweep import results_table, run, tasks, write_results

    farm = farm_of(on, None)
    wanted = tasks(
        styles_ or list(styles()),
        boards_ or list(BOARDS),
        sizes_,
        bits_ or BITS,
        out,
        until=until,
        fps=fps,
        clock_mhz=clock,
        pumped=pumped,
        trimmed=trimmed,
    )
    with contextlib.ExitStack() as stack:
        cluster = None if farm is None else stack.enter_context(joined(farm))
        bars = stack.enter_context(Bars(single=True, lines=True))
        results = run(wanted, cluster, report=lambda done, of, name: bars.show(until, done, of, name), tell=bars.tell)
    file = write_results(out, results)
    if as_json:
        say_json([asdict(result) for result in results])
    else:
        print_table(results_table(results), file_width=200)
        say(f"{file}: all figures")
    for result in results:
        if not result.right:
            what = result.failed or f"{result.differing} bytes differ from the integer reference"
            remark(f"{result.configuration.name}: {what}")
    if not all(result.right for result in results):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("folder", metavar="BUILD", type=PATH)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=PATH,
    required=True,
    help="A photo to paint; repeated photos follow at once.",
)
@click.option("--out", type=PATH, help="Painting to write, .png or .jpg: that of the last photo.")
@click.option(
    "--stalls",
    type=Whole(0, 95),
    default=0,
    show_default=True,
    help="Percentage of cycles in which, at random, no word is offered to the accelerator or taken from it.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the stalls.")
def simulate(folder: Path, images: tuple[Path, ...], out: Path | None, stalls: int, seed: int) -> None:
    """Paint photos with the simulated accelerator.

    BUILD is a folder that `pleinair build` wrote. Its RTL is simulated cycle by cycle, and the paintings are compared
    with those of the integer reference. Exit status 1 if one byte differs.
    """
    from pleinair.images import check_image_output, read_image, write_image
    from pleinair_hw.simulate.proof import prove

    if out is not None:
        check_image_output(out)
    photos = [read_image(path) for path in images]
    with Bars() as bars:
        proof = prove(
            folder,
            photos,
            stalls=stalls,
            seed=seed,
            progress=lambda what, share: bars.show(what, round(100 * share), 100),
        )
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


@click.group()
def bitstream() -> None:
    """Look into the bitstreams that were made with open tools."""


@bitstream.command()
@click.argument("bit", metavar="FILE.bit", type=PATH)
@click.option("--fasm", type=PATH, help="The features that the file should have: design.fasm of its build.")
@click.option(
    "--tools",
    type=PATH,
    envvar="PLEINAIR_OPEN_TOOLS",
    required=True,
    help="Folder with prjxray's tables of the chip (zynq7); by default PLEINAIR_OPEN_TOOLS.",
)
@click.option("--part", default="xc7z020clg400-1", show_default=True, help="The chip.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def check(bit: Path, fasm: Path | None, tools: Path, part: str, as_json: bool) -> None:
    """Read a bitstream back, and compare it with its features.

    Frames, error-correcting codes and IDCODE must be those of the chip, and a feature must explain every bit. With
    --fasm no feature may be lost or added. Exit status 1 if anything is wrong; each fault is one line with its place.
    """
    from pleinair_hw.bitstream.database import Database, find_family
    from pleinair_hw.bitstream.read import check as run_check

    with spinner("read the chip's tables") as update:
        database = Database(find_family(tools, part), part)
        update("read the bitstream")
        report = run_check(database, bit, fasm)
    if as_json:
        say_json(asdict(report))
    else:
        for fault in report.faults:
            say(fault)
        idcode = "none" if report.idcode is None else f"0x{report.idcode:08X}"
        say(
            f"{bit}: {report.part}, IDCODE {idcode}, {report.frames:,} frames ({report.used:,} used), "
            f"{report.wrong_codes:,} wrong codes, {report.features:,} features, "
            f"{report.unexplained:,} bits without one."
        )
        if report.asked is not None:
            say(f"{fasm}: {report.asked:,} features set; {report.lost:,} bits lost, {report.added:,} added.")
    if not report.right:
        raise click.exceptions.Exit(1)


@bitstream.command()
@click.argument("bit", metavar="FILE.bit", type=PATH)
@click.option("--out", type=PATH, required=True, help="Verilog file to write.")
@click.option(
    "--tools",
    type=PATH,
    envvar="PLEINAIR_OPEN_TOOLS",
    required=True,
    help="Folder with prjxray's tables (zynq7) and nextpnr's chip database; by default PLEINAIR_OPEN_TOOLS.",
)
@click.option("--part", default="xc7z020clg400-1", show_default=True, help="The chip.")
def netlist(bit: Path, out: Path, tools: Path, part: str) -> None:
    """Read a bitstream back to a netlist.

    What is written is Verilog of Xilinx's primitives for simulation with Yosys's cells_sim.v, and our own cells. It is
    made from the file's bits alone, beginning at the processing system's inputs.
    """
    from pleinair.durable import write_file
    from pleinair.errors import OutputError
    from pleinair_hw.bitstream.database import Database, find_family
    from pleinair_hw.bitstream.netlist import CELLS
    from pleinair_hw.bitstream.netlist import netlist as make
    from pleinair_hw.bitstream.read import check as run_check
    from pleinair_hw.bitstream.read import features, read
    from pleinair_hw.bitstream.wires import Wires, find_wires

    with spinner("read the chip's tables") as update:
        database = Database(find_family(tools, part), part)
        wires = Wires(find_wires(tools, database.device), database)
        update("read the bitstream")
        report = run_check(database, bit)
        for fault in report.faults:
            say(fault)
        if not report.right:
            raise click.exceptions.Exit(1)
        update("follow its wires")
        made = make(database, wires, features(database, read(database, bit).frames))
    try:
        write_file(out, (made.verilog + CELLS.read_text()).encode())
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}") from error
    cells = ", ".join(f"{count:,} {kind}" for kind, count in made.cells.most_common())
    say(f"{out}: {cells}; {made.wires:,} wires joined by {made.pips:,} pips, {made.undriven:,} pins open.")


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (build, boards, sweep, simulate, bitstream):
        app.add_command(command)
