"""``pleinair bench``: what painting costs on this machine's processor, or on an accelerator."""

from __future__ import annotations

import contextlib
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cli.compare import open_torch
from pleinair.cli.console import Bars, print_table, say
from pleinair.cli.fpga import accelerator_options, choose, simulate_build
from pleinair.cli.options import PATH, backend_option, bits_option, config_option, style_option
from pleinair.cli.types import SIZE, NamedPath, Whole
from pleinair.engines.exact import AUTO
from pleinair.errors import EngineError, OptionError
from pleinair.films.pipeline import plural
from pleinair.network.floating import FLOAT_BITS
from pleinair.text import one_line

if TYPE_CHECKING:
    from pleinair.backends import Backend
    from pleinair.measuring.bench import Bench, Measurement
    from pleinair.measuring.operator_profile import Profile
    from pleinair.models import Model

DEFAULT_SIZE = (640, 480)
#: Frames that are painted unless asked otherwise: in turns with the rest, or by an accelerator or the reference alone.
ROUNDS, FRAMES = 15, 50
#: A frame of 12 megapixels, painted twice by itself where that takes no longer than so many seconds.
LARGE, _LARGE_SECONDS = (4000, 3000), 10.0
#: Rounds of frames that get very large.
_SCALING_ROUNDS = 5
#: Nodes of a profile that are shown; the file holds all.
_NODES = 12
#: The file that stands for standard output.
_STDOUT = "-"


@click.command()
@style_option
@bits_option
@backend_option
@accelerator_options
@click.option(
    "--size", type=SIZE, help="Size of the frames; 640x480 by default, or what the accelerator was built for."
)
@click.option(
    "--frames",
    type=Whole(1, 100_000),
    help=f"Number of frames that each engine paints; {ROUNDS} by default, {FRAMES} with fpga and reference.",
)
@click.option(
    "--threads",
    type=Whole(0, 256),
    default=0,
    help="Threads that paint; by default 1 is measured, then every core.",
)
@click.option("--profile", is_flag=True, help="Also time every operator of the graph in ONNX Runtime.")
@click.option(
    "--film-frames",
    type=Whole(0, 100_000),
    default=300,
    show_default=True,
    help="Number of frames of a film that is timed from decoding to encoding; 0 leaves it out.",
)
@click.option(
    "--large/--no-large",
    default=None,
    help="Also measure memory and pixels of a 12-megapixel frame; by default where it takes under 10 s.",
)
@click.option("--scaling", is_flag=True, help="Also time frames up to 12 megapixels and films up to 5000 frames.")
@click.option("--plot", type=PATH, help="Draw --scaling to this .png or .svg.")
@click.option(
    "--json",
    "out",
    type=NamedPath(path_type=Path, allow_dash=True),
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    help="Write all figures to FILE; without one, to standard output, and the tables to standard error.",
)
@config_option
def bench(
    style: str,
    bits: int,
    backend: str,
    overlay: str | None,
    fallback: str | None,
    size: tuple[int, int] | None,
    frames: int | None,
    threads: int,
    profile: bool,
    film_frames: int,
    large: bool | None,
    scaling: bool,
    plot: Path | None,
    out: Path | None,
) -> None:
    """Check and time painting on this machine.

    On the processor, every engine is compared with the reference, pixel by pixel, and with the machine's int8 peak.
    From now on, --engine auto takes the fastest one that paints the right pixels. With --backend fpga, the stages and
    the power of an accelerator are measured.
    """
    from pleinair.images import check_writable
    from pleinair.measuring.scaling import check_plot
    from pleinair.models import load_model

    printed = out == Path(_STDOUT)
    if plot is not None:
        if not scaling:
            raise OptionError(f"{plot}: needs --scaling", option="plot")
        check_plot(plot)
    for path in (plot, None if printed else out):
        if path is not None:
            check_writable(path)
    chosen, style, bits = choose(backend, AUTO, overlay, fallback, style, bits)
    model = load_model(style, bits)
    with contextlib.redirect_stdout(sys.stderr) if printed else contextlib.nullcontext():
        if backend == "cpu":
            wanted = _Wanted(frames or ROUNDS, threads, profile, film_frames, large, scaling, plot)
            figures = _bench_processor(model, size or DEFAULT_SIZE, wanted)
        else:
            figures = _bench_alone(model, chosen, size, frames or FRAMES, threads)
    if printed:
        say(figures.to_json().rstrip())
    elif out is not None:
        figures.write(out)
        say(f"{click.format_filename(out)}: all figures")


@dataclass(frozen=True)
class _Wanted:
    """What to measure on the processor: see the options of the same names."""

    rounds: int
    threads: int
    profile: bool
    film_frames: int
    large: bool | None
    scaling: bool
    plot: Path | None


# -- one painter alone


def _bench_alone(model: Model, backend: Backend, extent: tuple[int, int] | None, frames: int, threads: int) -> Bench:
    """An accelerator, or the reference."""
    from pleinair.backends import open_painter
    from pleinair.fpga.adaptive import AdaptiveAcceleratorPainter
    from pleinair.fpga.painter import AcceleratorPainter
    from pleinair.measuring.bench import begin, measure_accelerator, measure_reference
    from pleinair.measuring.lights import measure_accelerator_lights

    with closing(open_painter(model, backend, threads, simulator=simulate_build)) as painter:
        accelerated = painter if isinstance(painter, AcceleratorPainter) else None
        if extent is None and accelerated is not None:
            height, width = (side - 2 * model.margin for side in accelerated.tile)
            extent = width, height
        figures = begin(model, extent or DEFAULT_SIZE)
        lines: list[str] = []
        if accelerated is None:
            measure_reference(figures, painter, frames)
        else:
            tiles = measure_accelerator(figures, accelerated, frames)
            if isinstance(accelerated, AdaptiveAcceleratorPainter):
                figures.lights.append(measure_accelerator_lights(accelerated, figures.size, min(frames, ROUNDS)))
            lines = _accelerator_lines(accelerated, figures.measurements[0], tiles)
        (found,) = figures.measurements
        width, height = figures.size
        say(f"{model.style} {model.bits}-bit, {width}x{height}, {painter.name}")
        say(f"{found.fps:.2f} frames a second, {found.ms:.2f} ms a frame, over {frames} frames")
        for line in lines:
            say(line)
        if figures.lights:
            _show_lights(figures)
    return figures


def _accelerator_lines(painter: Any, found: Measurement, tiles: Any) -> list[str]:
    """What an accelerator's time and power were spent on."""
    assert found.stages is not None
    own = sum(ms for name, ms in found.stages.items() if name != "wait")
    lines = [
        f"a tile of {painter.accelerator.width}x{painter.accelerator.height}, of which there were {tiles.count}: "
        + ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.stages.items())
        + f"; the driver's own {own:.2f} ms"
    ]
    if tiles.metered:
        lines.append(f"{tiles.metered} of them were metered: for each frame as many as there are adaptive convolutions")
    if tiles.replaced or tiles.reloads:
        lines.append(f"{tiles.replaced} frames painted by the fallback, the overlay loaded anew {tiles.reloads} times")
    if found.watts:
        lines.append(
            "power, processor included: " + ", ".join(f"{rail} {mean:.2f} W" for rail, mean in found.watts.items())
        )
    if found.emulated:
        lines.append(
            "EMULATED: this machine's processor stood in for the accelerator; of a board these figures say nothing"
        )
    return lines


# -- the processor's engines


def _bench_processor(model: Model, size: tuple[int, int], wanted: _Wanted) -> Bench:
    """The engines."""
    from pleinair.machine import cores
    from pleinair.measuring.bench import begin, measure_processor

    figures = begin(model, size)
    width, height = figures.size
    machine = figures.machine
    say(
        one_line(
            f"{machine.processor}{', ' + machine.board if machine.board else ''}, {plural(machine.cores, 'core')}: "
            f"{', '.join(machine.features) or 'no instructions for small integers'}"
        )
    )
    say(f"{model.style} {model.bits}-bit, {width}x{height}, {figures.macs_per_pixel:,.0f} multiply-accumulates a pixel")
    counts = [wanted.threads] if wanted.threads else sorted({1, cores()})
    with _bars() as bars:
        for count in counts:
            report = partial(_report, bars, plural(count, "thread"))
            measure_processor(figures, model, count, wanted.rounds, report, open_torch=open_torch)
    _show_engines(figures)
    if model.bits != FLOAT_BITS:
        if not figures.fastest:
            raise EngineError("no engine paints the reference's pixels here; use --backend reference")
        _bench_further(figures, model, wanted)
    for sentence in figures.skipped:
        say(one_line(f"not measured: {sentence}"))
    return figures


def _bench_further(figures: Bench, model: Model, wanted: _Wanted) -> None:
    """What is measured of the fastest engines alone."""
    from pleinair.measuring.bench import measure_large, profile
    from pleinair.measuring.scaling import measure_scaling, plot

    if model.adaptive:
        _lights(figures, model, wanted.rounds)
    for threads in figures.fastest if wanted.profile else ():
        figures.profiles[threads] = profile(model, figures.size, threads, wanted.rounds)
        _show_profile(figures.profiles[threads], threads)
    if wanted.film_frames:
        _film(figures, model, wanted.film_frames)
    most = max(figures.fastest)
    engine = figures.fastest[most]
    large = wanted.large
    if large is None:
        seconds = LARGE[0] * LARGE[1] / 1e6 / max(m.megapixels for m in figures.measurements if m.exact)
        large = seconds < _LARGE_SECONDS
        if not large:
            figures.skipped.append(f"a frame of {LARGE[0]}x{LARGE[1]}, which takes {seconds:.0f} s here: give --large")
    if large:
        figures.large = measure_large(model, engine, most, LARGE)
        _show_large(figures)
    if wanted.scaling:
        with _bars() as bars:
            report = partial(_report, bars, "scaling")
            figures.scaling = measure_scaling(model, engine, most, min(wanted.rounds, _SCALING_ROUNDS), report)
        _show_scaling(figures)
        if wanted.plot is not None:
            title = f"{model.style} {model.bits}-bit, {engine}, {plural(most, 'thread')}, {figures.machine.processor}"
            plot(figures.scaling, title, wanted.plot)
            say(f"{click.format_filename(wanted.plot)}: the plot")


def _lights(figures: Bench, model: Model, rounds: int) -> None:
    from pleinair.measuring.lights import measure_lights

    exact = [(m.engine, m.threads) for m in figures.measurements if m.exact and m.engine is not None]
    with _bars() as bars:
        for engine, threads in exact:
            report = partial(_report, bars, f"lights, {engine}, {plural(threads, 'thread')}")
            figures.lights.append(measure_lights(model, engine, threads, figures.size, rounds, report))
    _show_lights(figures)


def _film(figures: Bench, model: Model, frames: int) -> None:
    from pleinair.measuring.bench import measure_pipeline

    with _bars() as bars:
        for threads, engine in figures.fastest.items():
            name = f"film, {plural(threads, 'thread')}"
            try:
                figures.pipelines[threads] = measure_pipeline(
                    model, engine, threads, figures.size, frames, partial(bars.show, name)
                )
            except OptionError as error:
                figures.skipped.append(f"a film: {error}")
                return
    _show_pipelines(figures)


def _bars() -> Bars:
    """One bar, drawn between two measurements only: a thread of its own would be in their way."""
    return Bars(single=True, refresh=False)


def _report(bars: Bars, title: str, name: str, done: int, total: int) -> None:
    """See :data:`pleinair.measuring.timing.Report`; ``title`` goes before the name."""
    bars.show(f"{title}: {name}", done, total)


# -- tables

# fmt: off
_ENGINE_COLUMNS = (
    "", "ms", "fps", "Mpx/s", "useful\nGMAC/s", "of\nroof", "executed\nGMAC/s", "of\nroof", "times\nfloat",
    "times\nJohnson", "differing",
)
_PIPELINE_COLUMNS = (
    "", "painter\nalone, fps", "end to end,\nfps", "ratio", "capture,\nms", "paint,\nms", "record,\nms",
    "painter alone,\nprocessor ms", "end to end,\nprocessor ms",
)
_LIGHT_COLUMNS = ("", "known light,\nms", "new light,\nms", "metering,\nms", "own light,\nms", "own / known")
# fmt: on


def _table(title: str, *columns: str) -> Any:
    """A table under a title that is said at once; the first column holds names, the rest figures."""
    from rich.table import Table

    say(title)
    table = Table()
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _print(table: Any) -> None:
    print_table(table, file_width=200)


def _number(value: float | None, digits: int = 1, unit: str = "") -> str:
    return "" if value is None else f"{value:,.{digits}f}{unit}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _show_engines(figures: Bench) -> None:
    from rich.text import Text

    from pleinair.measuring.bench import FLOAT, JOHNSON

    names = {FLOAT: "float network, ONNX Runtime", JOHNSON: "Johnson's network, PyTorch"}
    for top in figures.rooflines:
        table = _table(
            f"{plural(top.threads, 'thread')}; int8 roofline {top.gmacs:,.0f} GMAC/s "
            f"({'x'.join(map(str, top.shape))} in ONNX Runtime)",
            *_ENGINE_COLUMNS,
        )
        for m in figures.measurements:
            if m.threads != top.threads:
                continue
            fastest = m.exact and m.engine == figures.fastest.get(top.threads)
            table.add_row(
                Text(names.get(m.network, m.name), style="bold" if fastest else ""),
                _number(m.ms),
                _number(m.fps),
                _number(m.megapixels, 2),
                _number(m.useful_gmacs),
                _percent(m.useful_share),
                _number(m.executed_gmacs),
                _percent(m.executed_share),
                _number(m.times_float, 2),
                _number(m.times_johnson),
                "0" if m.exact else "",
            )
        _print(table)
    for refusal in figures.refused:
        count = f" ({refusal.differing} of {refusal.values} values differ)" if refusal.differing else ""
        say(one_line(f"refused, {plural(refusal.threads, 'thread')}: {refusal.engine}: {refusal.reason}{count}"))
    for threads, engine in figures.fastest.items():
        say(f"fastest with {plural(threads, 'thread')}: {engine}; --engine auto takes it from now on")


def _show_lights(figures: Bench) -> None:
    table = _table("each frame in its own light, against one painting in a known light", *_LIGHT_COLUMNS)
    for found in figures.lights:
        table.add_row(
            f"{found.engine}, {plural(found.threads, 'thread')}",
            *(_number(v) for v in (found.known_ms, found.new_ms, found.sums_ms, found.own_ms)),
            _number(found.own_ratio, 2),
        )
    _print(table)


def _show_profile(profile: Profile, threads: int) -> None:
    piece = f", one of the frame's {profile.pieces} tiles" if profile.pieces > 1 else ""
    title = (
        f"graph in ONNX Runtime{piece}, {plural(threads, 'thread')}: {profile.ms:.1f} ms, means of {profile.runs} runs"
    )
    table = _table(title, "operator", "nodes", "ms", "share")
    for cost in profile.operators:
        table.add_row(cost.operator, str(cost.nodes), _number(cost.ms, 2), _percent(cost.share))
    table.add_section()
    for cost in profile.nodes[:_NODES]:
        table.add_row(f"{cost.name} ({cost.operator})", "", _number(cost.ms, 2), _percent(cost.share))
    _print(table)


def _show_pipelines(figures: Bench) -> None:
    (frames,) = {p.frames for p in figures.pipelines.values()}
    table = _table(
        f"a film of {frames} frames, {'x'.join(map(str, figures.size))}: decode, paint and encode beside one another",
        *_PIPELINE_COLUMNS,
    )
    for threads, p in figures.pipelines.items():
        table.add_row(
            f"{figures.fastest[threads]}, {plural(threads, 'thread')}",
            _number(p.painter_fps),
            _number(p.pipeline_fps),
            _percent(p.ratio),
            *(_number(v) for v in (p.capture_ms, p.paint_ms, p.record_ms)),
            _number(p.painter_cpu_ms),
            _number(p.pipeline_cpu_ms),
        )
    _print(table)


def _show_large(figures: Bench) -> None:
    found = figures.large
    assert found is not None
    width, height = found.size
    same = f"the same pixels {found.other}" if found.same_pixels else f"OTHER PIXELS {found.other}"
    say(
        f"{width}x{height} by {found.engine}, {plural(found.threads, 'thread')}: {found.seconds:.2f} s, peak memory "
        f"{found.peak_bytes / 1e6:.0f} MB, of which {found.opened_bytes / 1e6:.0f} MB before the frame; "
        f"{same} ({found.other_peak_bytes / 1e6:.0f} MB)"
    )


def _show_scaling(figures: Bench) -> None:
    found = figures.scaling
    assert found is not None
    title = f"scaling: {found.engine}, {plural(found.threads, 'thread')}"
    table = _table(title, "megapixels", "ms", "ms a megapixel", "processor ms a megapixel")
    for p in found.paintings:
        per = p.ms / p.megapixels, p.processor_ms / p.megapixels
        table.add_row(_number(p.megapixels, 2), _number(p.ms), *(_number(v) for v in per))
    _print(table)
    table = _table(f"films of {found.size[0]}x{found.size[1]}", "frames", "s", "ms a frame", "peak memory, MB")
    for film in found.films:
        per_frame, memory = 1e3 * film.seconds / film.frames, film.peak_bytes / 1e6
        table.add_row(f"{film.frames:,}", _number(film.seconds, 2), _number(per_frame, 2), _number(memory))
    _print(table)


def register(app: click.Group) -> None:
    """Add the subcommand to the command line."""
    app.add_command(bench)
