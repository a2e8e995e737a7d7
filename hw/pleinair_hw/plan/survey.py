"""What fits which board, and how fast: the fastest plan for every network, board and frame size.

``python -m pleinair_hw.plan.survey docs/boards.md`` writes the page of the shipped networks. Needs neither FINN nor
Vivado; a plan takes some seconds, so they are searched in several processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pleinair.durable import write_file
from pleinair.errors import OptionError, OutputError
from pleinair.farm.cluster import Cluster, Where
from pleinair.farm.ray_cluster import RayCluster
from pleinair.farm.steps import Step, run_steps
from pleinair.models import Model, load_model, read_card
from pleinair.models import styles as find_styles
from pleinair.network.integer import BITS, Convolution, IntegerNetwork, Residual, SpaceToDepth, Upsample
from pleinair.painting.tiles import padded_size
from pleinair_hw.plan.boards import BOARDS, Board, find_board
from pleinair_hw.plan.dataflow import Form, MatrixProduct, build_dataflow, possible_forms
from pleinair_hw.plan.plan import BUDGET, PLAIN, BuildOptions, Plan
from pleinair_hw.plan.resources import NAMES, Resources, lanes
from pleinair_hw.plan.search import DoesNotFitError, fastest_plan, plan_for_cycles

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

#: What place and route gave, as tests/hw/open/record_routed.py notes it.
ROUTED = Path(__file__).with_name("routed.json")
SIZES: tuple[tuple[int, int], ...] = ((256, 256), (640, 480), (1280, 720))
#: Called with the rows that are done and all that there will be.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Row:
    """The fastest plan of a style on a board.

    ``size`` is the frame that the user sees, (width, height); ``input`` that with the margin. ``fps`` is None where not
    even a slow plan fits. ``binds`` says what keeps it from being faster, or from fitting. ``limit`` are the frames a
    second of :func:`dsp_limit`. ``pumped``: matrix products at twice the clock; ``trimmed``: no margin is computed that
    nobody looks at (``BuildOptions``). ``adaptive``: a frame's own light changes the network's numbers. ``tiles``: into
    how many tiles, side by side, the frame is cut; plan and ``input`` are then those of a tile, ``fps`` and ``limit``
    those of the frame.
    """

    style: str
    bits: int
    width: int
    blocks: int
    board: Board
    size: tuple[int, int]
    input: tuple[int, int]
    clock_hz: float
    fps: float | None
    cycles: int
    total: Resources
    lanes: int
    lanes_busy: float
    binds: str
    limit: float
    pumped: bool = False
    trimmed: bool = False
    adaptive: bool = False
    tiles: int = 1

    @property
    def shares(self) -> dict[str, float]:
        """Of the board, by kind of resource."""
        return self.total.shares(self.board)


@dataclass(frozen=True)
class _Task:
    style: str
    model: Model
    board: str
    size: tuple[int, int]
    clock_hz: float | None


def shape_of(network: IntegerNetwork) -> tuple[int, int]:
    """A transform network's width and its number of residual blocks.

    The width is the channels of its first convolution, divided by the side of the blocks that it takes for pixels.
    """
    first, entry = next(network.convolutions()), network.layers[0]
    block = entry.block if isinstance(entry, SpaceToDepth) else 1
    return first.outputs // block, sum(isinstance(layer, Residual) for layer in network.layers)


def what_binds(plan: Plan) -> str:
    """What stands in the way of a plan that is faster by the least step that the search looks at."""
    network, source = plan.dataflow.network, plan.dataflow.source
    target = math.ceil(plan.cycles / 1.004) - 1
    faster = plan_for_cycles(
        network, source.height, source.width, plan.board, target, clock_hz=plan.clock_hz, options=plan.options
    )
    if faster.over:
        return ", ".join(NAMES[kind] for kind in faster.over)
    if faster.cycles >= plan.cycles:
        return f"stage {faster.slowest.name}"
    return NAMES[max(BUDGET, key=lambda kind: plan.shares[kind] / BUDGET[kind])]


def dsp_limit(
    network: IntegerNetwork, height: int, width: int, board: Board, clock_hz: float, *, trimmed: bool = False
) -> float:
    """Frames a second if every DSP's every lane did a product in every cycle: no folding can be faster.

    Every convolution in the form that needs the fewest DSP-cycles; ``height`` and ``width`` with the margin.
    """
    forms: dict[str, list[Form]] = {}
    upsampled = False
    for layer in network.layers:
        if isinstance(layer, Upsample):
            upsampled = True
            continue
        body = layer.body if isinstance(layer, Residual) else (layer,) if isinstance(layer, Convolution) else ()
        for c in body:
            forms[c.name] = list(possible_forms(c, upsampled and c is layer))
        upsampled = False
    least: dict[str, float] = {}
    for form in ("direct", "taps", "phases"):
        chosen: dict[str, Form] = {name: form for name, allowed in forms.items() if form in allowed}
        for o in build_dataflow(network, height, width, chosen, trimmed=trimmed).operators:
            if isinstance(o, MatrixProduct):
                needed = o.macs / lanes(board.dsp_block, o.weight_bits, o.activation_bits)
                least[o.name] = min(needed, least.get(o.name, math.inf))
    return board.dsp * clock_hz / sum(least.values())


def _search(task: _Task, fetch: Callable[[], None] = lambda: None) -> Row:
    network = task.model.network
    assert isinstance(network, IntegerNetwork)
    return survey_network(network, task.style, task.model.margin, find_board(task.board), task.size, task.clock_hz)


def survey_network(
    network: IntegerNetwork,
    style: str,
    margin: int,
    board: Board,
    size: tuple[int, int],
    clock_hz: float | None = None,
    options: BuildOptions = PLAIN,
) -> Row:
    """One row: the fastest plan of ``network`` for frames of ``size`` on ``board``."""
    height, width = padded_size(size[1], size[0], margin, network.stride)
    channels, blocks = shape_of(network)
    clock = clock_hz or board.clock_hz
    limit = dsp_limit(network, height, width, board, clock, trimmed=options.trimmed) * (2 if options.pumped else 1)
    plan: Plan | None = None
    try:
        plan = fastest_plan(network, height, width, board, clock_hz=clock, options=options)
        binds = what_binds(plan)
    except DoesNotFitError:
        # So slow that parallelism costs next to nothing.
        slow = height * width * 4096
        over = plan_for_cycles(network, height, width, board, slow, clock_hz=clock, options=options).over
        binds = "needs " + ", ".join(f"{math.ceil(share * 100)}% of the {NAMES[kind]}" for kind, share in over.items())
    return Row(
        style=style,
        bits=network.bits,
        width=channels,
        blocks=blocks,
        board=board,
        size=size,
        input=(width, height),
        clock_hz=clock,
        fps=plan.fps if plan else None,
        cycles=plan.cycles if plan else 0,
        total=plan.total if plan else Resources(),
        lanes=plan.lanes if plan else 0,
        lanes_busy=plan.lanes_busy if plan else 0.0,
        binds=binds,
        limit=limit,
        pumped=options.pumped,
        trimmed=options.trimmed,
        adaptive=network.adaptive,
    )


def survey(
    styles: Sequence[str],
    boards: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    bits: Sequence[int],
    *,
    clock_hz: float | None = None,
    processes: int = 2,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """The fastest plan for every style, width that it has, board and size, in that order.

    Args:
        styles: names or folders.
        sizes: of the frame that the user sees, (width, height) in pixels.
        bits: widths; a style is passed over at those that it has not.
        clock_hz: of the accelerator; each board's own when None.
        processes: that search on this machine.
        cluster: whose workers search instead; networks travel with the work.

    Raises:
        OptionError: a board that is unknown, a width that no network has.
        ModelError: a style that is unknown or damaged.
        FarmError: a worker failed.
    """
    if unknown := [b for b in bits if b not in BITS]:
        raise OptionError(f"{unknown[0]}: allowed are {', '.join(map(str, BITS))}", option="bits")
    boards = [find_board(name).name for name in boards]
    tasks = [
        _Task(style, model, board, size, clock_hz)
        for style in styles
        for model in (load_model(style, width) for width in bits if width in widths_of(style))
        for board in boards
        for size in sizes
    ]
    rows: dict[int, Row] = {}

    def found(number: int, row: Row) -> None:
        rows[number] = row
        if progress is not None:
            progress(len(rows), len(tasks))

    if cluster is None:
        _search_here(tasks, processes, found)
    else:
        steps = [Step(str(number), task) for number, task in enumerate(tasks)]
        run_steps(cluster, _search, steps, done=lambda name, result: found(int(name), result.value))
    return [rows[number] for number in range(len(tasks))]


def _search_here(tasks: Sequence[_Task], processes: int, found: Callable[[int, Row], None]) -> None:
    # The caller may have threads, as a progress bar has; a fork would copy their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, max(1, len(tasks))), mp_context=context) as pool:
        waiting = {pool.submit(_search, task): number for number, task in enumerate(tasks)}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    found(waiting.pop(future), future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def widths_of(style: str) -> list[int]:
    """The integer widths that a style has, ascending. Raises ModelError."""
    from pleinair.models import find_style

    networks = read_card(find_style(style)).networks
    return sorted(bits for bits in networks if bits in BITS)


# ---------------------------------------------------------------------------------------------------- tables


def _rate(fps: float) -> str:
    return f"{fps:.0f}" if fps >= 100 else f"{fps:.1f}" if fps >= 10 else f"{fps:.2f}"


def _used(used: int, share: float, halves: bool = False) -> str:
    count = f"{used / 2:,.1f}".removesuffix(".0") if halves else f"{used:,}"
    return count if not used else f"{count} ({share:.0%})"


def _cells(row: Row) -> list[str]:
    """From the rate on: fps, DSP, BRAM, URAM, LUT, lanes busy, what binds."""
    if row.fps is None:
        return ["does not fit", "", "", "", "", "", row.binds]
    total, shares = row.total, row.shares
    return [
        _rate(row.fps),
        _used(total.dsp, shares["dsp"]),
        _used(total.bram18, shares["bram"], halves=True),
        _used(total.uram, shares["uram"]),
        _used(total.total_lut, shares["lut"]),
        f"{row.lanes_busy:.0%}",
        row.binds,
    ]


def _terminal_table(*left: str, right: Sequence[str]) -> Table:
    """A table whose columns stand as close as 80 columns need."""
    from rich.table import Table

    table = Table(*left, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for head in right:
        table.add_column(head, justify="right")
    return table


def resources_table(boards: Sequence[Board]) -> Table:
    """The boards and what they hold, for a terminal of 80 columns or more."""
    table = _terminal_table("board", "", "part", right=("DSP", "BRAM", "URAM", "LUT", "FF", "MHz"))
    for b in boards:
        counts = (b.dsp, b.bram36, b.uram, b.lut, b.ff, b.clock_mhz)
        table.add_row(b.name, b.title, b.part, *(f"{n:,}" for n in counts))
    return table


def boards_table(rows: Sequence[Row]) -> Group:
    """The survey's rows for a terminal of 80 columns or more: a table for each style and number of bits.

    Resources are shares of the board's.
    """
    from rich.console import Group
    from rich.text import Text

    tables: dict[tuple[str, int], Table] = {}
    for row in rows:
        key = row.style, row.bits
        if key not in tables:
            tables[key] = _terminal_table(
                "board", right=("frame", "frames/s", "DSP", "BRAM", "URAM", "LUT", "lanes busy")
            )
            tables[key].add_column("what binds")
        fits, shares = row.fps is not None, row.shares
        tables[key].add_row(
            row.board.name,
            f"{row.size[0]}x{row.size[1]}",
            _rate(row.fps) if row.fps is not None else "none fits",
            *(f"{shares[kind]:.0%}" if fits else "" for kind in ("dsp", "bram", "uram", "lut")),
            f"{row.lanes_busy:.0%}" if fits else "",
            row.binds,
        )
    parts: list[Text | Table] = []
    for (style, bits), table in tables.items():
        # Text, as a style's name is not rich's markup.
        parts += [Text(f"\n{style}, {bits} bits", style="bold"), table]
    return Group(*parts)


@dataclass(frozen=True)
class Aim:
    """A rate to reach: of 8-bit or 4-bit networks at a size."""

    board: str
    bits: int
    fps: float
    size: tuple[int, int] = (640, 480)


AIMS = (Aim("zcu104", 8, 60), Aim("kv260", 8, 30), Aim("pynq-z2", 8, 10), Aim("pynq-z2", 4, 20))
LANES_AIM = 0.85


def _kind(row: Row) -> str:
    blocks = f"{row.blocks} {'block' if row.blocks == 1 else 'blocks'}"
    tiles = f", {row.tiles} tiles" if row.tiles > 1 else ""
    ways = f"{tiles}{', pumped' * row.pumped}{', trimmed' * row.trimmed}"
    return f"width {row.width}, {blocks}{', adaptive' * row.adaptive}{ways}"


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """All columns but the first ``left`` and the last are of numbers."""
    marks = ["---" if i < left or i == len(heads) - 1 else "---:" for i in range(len(heads))]
    lines = [heads, marks, *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _otherwise(row: Row, tiles: int, options: BuildOptions) -> Row:
    """The same frame in tiles side by side, or with other options."""
    model = load_model(row.style, row.bits)
    assert isinstance(model.network, IntegerNetwork)
    tile = row.size[0] // tiles, row.size[1]
    found = survey_network(model.network, row.style, model.margin, row.board, tile, row.clock_hz, options)
    fps = None if found.fps is None else found.fps / tiles
    return replace(found, size=row.size, fps=fps, limit=found.limit / tiles, tiles=tiles)


def _ways(row: Row) -> list[tuple[int, BuildOptions]]:
    """Tiles and options beside those of the row itself."""
    model = load_model(row.style, row.bits)
    trims = (False, True) if all(c.stride == 1 for c in model.network.convolutions()) else (False,)
    ways = [
        (tiles, BuildOptions(pumped=pumped, trimmed=trimmed))
        for trimmed in trims
        for tiles, pumped in ((1, False), (2, False), (1, True), (2, True))
    ]
    return ways[1:]


def _aim_cells(aim: Aim, row: Row) -> list[str]:
    """An aim and a row that it is about: what is to be reached, what is, and whether that is enough."""
    fps, busy, fits = row.fps or 0.0, row.lanes_busy, row.fps is not None
    return [
        f"{aim.board}, {aim.bits} bits, {aim.size[0]}x{aim.size[1]}",
        _kind(row),
        f"{aim.fps:g}",
        _rate(fps) if fits else "does not fit",
        "yes" if fps >= aim.fps else "no",
        f"{busy:.0%}" if fits else "",
        ("yes" if busy >= LANES_AIM else "no") if fits else "",
        _rate(row.limit),
        row.binds,
    ]


def _aims(rows: Sequence[Row]) -> list[str]:
    table = []
    for aim in AIMS:
        wanted = [row for row in rows if (row.board.name, row.bits, row.size) == (aim.board, aim.bits, aim.size)]
        table += [_aim_cells(aim, row) for row in wanted]
        for row in wanted:
            if (row.fps or 0.0) < aim.fps:
                table += [_aim_cells(aim, _otherwise(row, tiles, options)) for tiles, options in _ways(row)]
    reached = f"{LANES_AIM:.0%} reached"
    heads = ["aim", "network", "to reach", "frames/s", "reached", "lanes busy", reached, "DSP limit", "what binds"]
    return _markdown_table(heads, table, 2)


_INTRODUCTION = """\
# Boards

What fits which board, and how fast. Made by

    python -m pleinair_hw.plan.survey docs/boards.md

from the shipped networks and the folding search (`hw/pleinair_hw/plan/search.py`). Nothing here is measured on a board,
and Vivado has not seen it: cycles are those that FINN expects of its RTL and that our blocks take, DSPs and memories
follow from the RTL, LUTs are formulas fitted to open synthesis (`hw/pleinair_hw/plan/resources.py`).
Only the plans of [this table](#placed-and-routed) have been placed and routed.
"""
_ROUTED_INTRODUCTION = """
## Placed and routed

With open tools, for the Pynq-Z2 ([bitstream.md](bitstream.md#what-was-routed)): plans for a rate, not the fastest ones
that are searched for below. *Clock*: the next one of FCLK0 that is at least 15% below what place and route reach, by
[all delays](bitstream.md#delays-that-do-not-count).
"""
_AIMS_INTRODUCTION = """
## Against the aims

*What binds* is what the next faster plan lacks. *DSP limit* is the rate at which every lane of every DSP would have to
be busy in every cycle, each convolution in the form that suits it best; no folding gets beyond. Where an aim is missed,
other ways follow. *2 tiles*: an accelerator for half of the frame's width, whose memories of rows are half as
long, paints each frame in two tiles that overlap by the halo (`pleinair build --size 320x480`; the host cuts frames by
itself). *Pumped*: matrix products at twice the clock (`pleinair build --pump`). *Trimmed*: what only serves as margin
is not computed (`pleinair build --trim`; for networks whose convolutions have no strides). And these together.
"""
_AIMS_END = """
What binds the Pynq-Z2 at 8 bits, step by step, is counted in [accelerator.md](accelerator.md#what-a-light-costs).
"""
_ROWS_INTRODUCTION = """
## Every board, network and size

Frames are what the user sees; the network paints them with the margin of its card around. Networks of the same layers
and bits give nearly the same plan, so one stands for all of them. BRAM counts blocks of 36 Kib. *Lanes busy* is the
share of the used DSPs' multiplier lanes that do a useful product, over the time between two frames."""


def _routed() -> list[str]:
    """The shipped styles that were placed and routed: what was planned at 100 MHz, and what they reach."""
    table = []
    for row in json.loads(ROUTED.read_text()):
        configuration, planned, routed = row["configuration"], row["planned"], row["routed"]
        if len(configuration) != 6:  # a test's own: random networks, styles without their margin
            continue
        style, bits, width, height, _, trimmed = configuration
        table.append(
            [
                style + ", trimmed" * trimmed,
                str(bits),
                f"{width}x{height}",
                _rate(1e8 / row["cycles"]),
                f"{row['fmax_mhz']:.1f}",
                f"{row['clock_mhz']:.1f}",
                _rate(row["clock_mhz"] * 1e6 / row["cycles"]),
                f"{routed['lut_sites']:,} ({planned['lut'] + planned['lutram']:,})",
                f"{routed['ff']:,} ({planned['ff']:,})",
                f"{routed['dsp']} ({planned['dsp']})",
                f"{routed['ramb18'] + 2 * routed['ramb36']} ({planned['bram18']})",
            ]
        )
    heads = ["style", "bits", "frame", "frames/s at 100 MHz", "reached, MHz", "clock, MHz", "frames/s"]
    heads += ["LUT sites (planned)", "FF (planned)", "DSP (planned)", "BRAM, 18 Kib (planned)"]
    return _markdown_table(heads, table, 1)


def markdown(rows: Sequence[Row], holds_for: Mapping[tuple[str, int], Sequence[str]]) -> str:
    """The page ``docs/boards.md``. ``holds_for``: the styles that a surveyed (style, bits) stands for."""
    budgets = ", ".join(f"{BUDGET[kind]:.0%} of the {name}" for kind, name in NAMES.items())
    page = [
        _INTRODUCTION,
        *textwrap.wrap(f"A plan may fill {budgets}.", 120),
        "",
        "| board | | part | DSP | BRAM, 36 Kib | URAM | LUT | FF | MHz |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for b in dict.fromkeys(row.board for row in rows):
        counts = (b.dsp, b.bram36, b.uram, b.lut, b.ff, b.clock_mhz)
        page.append(f"| {b.name} | {b.title} | {b.part} | " + " | ".join(f"{n:,}" for n in counts) + " |")
    page += [_ROUTED_INTRODUCTION, *_routed()]
    page += [_AIMS_INTRODUCTION, *_aims(rows), _AIMS_END.rstrip(), _ROWS_INTRODUCTION]
    heads = ["board", "frame", "frames/s", "DSP", "BRAM", "URAM", "LUT", "lanes busy", "what binds"]
    for (style, bits), others in holds_for.items():
        own = [row for row in rows if (row.style, row.bits) == (style, bits)]
        if not own:
            continue
        also = [name for name in others if name != style]
        page += ["", f"### {_kind(own[0])[0].upper()}{_kind(own[0])[1:]}, {bits} bits", ""]
        page += [f"Planned: {style}." + (f" Much the same holds for {', '.join(also)}." if also else ""), ""]
        page += _markdown_table(
            heads, [[row.board.name, f"{row.size[0]}x{row.size[1]}", *_cells(row)] for row in own], 2
        )
    return "\n".join(page) + "\n"


def representatives(styles: Sequence[str], bits: Sequence[int]) -> dict[tuple[str, int], list[str]]:
    """One style for all that have the same layers: (style, bits) and the styles that it stands for.

    Adaptive ones first, then the widest.
    """
    groups: dict[tuple[bool, int, int, int, object], list[str]] = {}
    for style in styles:
        for width in sorted(set(bits) & set(widths_of(style))):
            model = load_model(style, width)
            assert isinstance(model.network, IntegerNetwork)
            shapes = tuple((c.weight.shape, c.stride, c.weight_bits) for c in model.network.convolutions())
            key = (model.network.adaptive, shape_of(model.network)[0], width, model.margin, shapes)
            groups.setdefault(key, []).append(style)
    ordered = sorted(groups.items(), key=lambda group: (not group[0][0], -group[0][1], group[0][2]))
    return {(names[0], key[2]): names for key, names in ordered}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page of all shipped networks."""
    parser = argparse.ArgumentParser(prog="python -m pleinair_hw.plan.survey", description=main.__doc__)
    parser.add_argument("page", type=Path, help="Markdown file to write, docs/boards.md")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--on", type=Where.parse, help="a Ray cluster that searches instead: ray, or ray:ADDRESS")
    options = parser.parse_args(arguments)
    holds_for = representatives(sorted(find_styles()), BITS)
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        cluster = None if options.on is None else stack.enter_context(contextlib.closing(RayCluster(options.on)))
        for number, (style, bits) in enumerate(holds_for, 1):

            def progress(done: int, of: int, what: str = f"{number}/{len(holds_for)} {style}, {bits} bits") -> None:
                print(f"{what}: {done}/{of}", file=sys.stderr, flush=True)

            rows += survey(
                [style], list(BOARDS), SIZES, [bits], processes=options.processes, cluster=cluster, progress=progress
            )
    try:
        write_file(options.page, markdown(rows, holds_for).encode(), durable=False)
    except OSError as error:
        raise OutputError(f"{options.page}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    main()
