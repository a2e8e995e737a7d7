"""The command ``pleinair``. Each subcommand loads its room when it runs, so that a Pi never imports torch."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from pleinair.cli import bench as cli_bench
from pleinair.cli import compare as cli_compare
from pleinair.cli import fpga as cli_fpga
from pleinair.cli import hardware as cli_hw
from pleinair.cli import rolls as cli_roll
from pleinair.cli.fpga import accelerator_options, choose
from pleinair.cli.options import (
    CONFIG,
    MOST_FRAMES,
    PATH,
    Display,
    backend_option,
    bits_option,
    config_option,
    engine_option,
    frames_for,
    one_line,
    quiet_console,
    refuse_same,
    say,
    stopped_by_signals,
    style_option,
    threads_option,
    with_engine,
)  # fmt: skip
from pleinair.cli.rolls import Common, film_on_roll, refuse_without_roll, roll_options
from pleinair.cli.values import parse_duration, parse_size
from pleinair.errors import OptionError, OutputError, PleinairError
from pleinair.films.deflicker import DEFAULT_FRAMES, MAX_FRAMES
from pleinair.films.steadiness import DEFAULT_STRENGTH, MAX_STRENGTH
from pleinair.models import DEFAULT_GRAIN

#: Frames that could not be used are listed one by one up to so many.
_SHOWN = 10


class _App(click.Group):
    def invoke(self, context: click.Context) -> Any:
        """Click would print an empty line for a KeyboardInterrupt."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("pleinair: interrupted", err=True)
            raise click.exceptions.Exit(130) from None


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pleinair")
def app() -> None:
    """A time-lapse camera that paints."""


cli_roll.register(app)
cli_hw.register(app)
cli_fpga.register(app)
cli_bench.register(app)
cli_compare.register(app)


@app.command()
@click.option("--out", type=PATH, help="The film: .mp4, .mkv or .mov; a roll can do without.")
@click.option(
    "--camera",
    default="synthetic",
    show_default=True,
    help="synthetic[:SEED], frames:DIR, video:FILE; live: pi[:N], v4l2:N.",
)
@style_option
@bits_option
@backend_option
@engine_option
@accelerator_options
@click.option("--every", help="Time between frames: 10s, 5m, 2h; scene time of stored cameras.")
@click.option("--frames", type=click.IntRange(1, MOST_FRAMES), help="Stop after so many.")
@click.option("--for", "for_", help="Stop after so much time, 2h or 30d; scene time of stored cameras.")
@click.option("--size", help="Size of the film, WIDTHxHEIGHT.")
@click.option("--rotate", type=click.Choice(["0", "90", "180", "270"]), default="0", help="Turn frames clockwise.")
@click.option("--crop", help="Part of the turned picture to take, WIDTHxHEIGHT+LEFT+TOP.")
@click.option("--timestamp", type=click.IntRange(0, 1), default=0, help="1 writes the time on each painted frame.")
@click.option("--fps", type=click.IntRange(1, 240), default=24, show_default=True, help="Frames a second of the film.")
@click.option(
    "--steady",
    type=click.IntRange(0, MAX_STRENGTH),
    default=DEFAULT_STRENGTH,
    show_default=True,
    help="Hold still what changes by no more than noise of so many grey levels; 0 is off.",
)
@click.option(
    "--deflicker",
    type=click.IntRange(0, MAX_FRAMES),
    help=f"Even out exposure over so many frames; 0 is off. By default {DEFAULT_FRAMES} for live cameras, else 0.",
)
@threads_option
@roll_options
@config_option
def run(
    out: Path | None, camera: str, style: str, bits: int, backend: str, engine: str, every: str | None,
    frames: int | None, for_: str | None, size: str | None, rotate: str, crop: str | None, timestamp: int, fps: int,
    steady: int, deflicker: int | None, threads: int, overlay: str | None, fallback: str | None, **roll_settings: Any,
) -> None:  # fmt: skip
    """Film a time-lapse: capture, paint, record.

    With --roll, or a live camera, frames are kept on a roll: a folder that survives kills and power cuts.
    """
    from pleinair.cameras.framing import Framing, parse_crop
    from pleinair.cameras.opening import CameraSource

    source = CameraSource.parse(camera)
    interval = None if every is None else parse_duration(every, "--every")
    extent = None if size is None else parse_size(size)
    backend, style, bits = choose(with_engine(backend, engine), overlay, fallback, style, bits)
    framing = Framing(int(rotate), None if crop is None else parse_crop(crop))
    common = Common(out, source, style, bits, backend, interval, frames, for_, extent, framing, bool(timestamp),
                    fps, steady, deflicker, threads)  # fmt: skip
    if roll_settings["roll"] is not None or source.live:
        film_on_roll(common, **roll_settings)
        return
    refuse_without_roll(roll_settings)
    if out is None:
        raise OptionError("give --out FILM, --roll ROLL, or both")
    _film_at_once(common, out)


def _film_at_once(o: Common, out: Path) -> None:
    """From a stored camera straight into the film."""
    from pleinair.cameras.opening import open_camera
    from pleinair.films.pipeline import plural
    from pleinair.films.pipeline import run as run_pipeline
    from pleinair.films.recorder import FilmRecorder
    from pleinair.models import load_model
    from pleinair.painting.painter import open_painter, share_threads

    frames, fps = o.frames, o.fps
    if o.for_ is not None:
        frames = frames_for(o.for_, o.camera, o.every, frames)
    refuse_same(o.camera.path, out, "the video that it is made from")
    recorder = FilmRecorder(out, fps)
    if recorder.aside is not None:
        click.echo(f"an earlier run to this film was cut off; what it recorded is now {recorder.aside}", err=True)
    model = load_model(o.style, o.bits)
    source = open_camera(o.camera, size=o.size, every=o.every, frames=frames, framing=o.framing)
    threads, at_once = share_threads(o.backend, o.threads, source.size)
    with (
        closing(open_painter(model, o.backend, threads)) as painter,
        stopped_by_signals(lambda: recorder.closed) as stop,
    ):
        title = f"{source.name} {source.size[0]}x{source.size[1]}, {model.style} {o.bits}-bit, {painter.name}"
        with Display(title) as display:
            outcome = run_pipeline(
                source,
                [painter] * at_once,
                recorder,
                steady=o.steady,
                deflicker=o.deflicker or 0,
                timestamp=o.timestamp,
                report=display.show,
                stop=stop,
            )
    for line in outcome.skipped[:_SHOWN]:
        click.echo(one_line(f"skipped: {line}"), err=True)
    if len(outcome.skipped) > _SHOWN:
        click.echo(f"skipped: {len(outcome.skipped) - _SHOWN} more", err=True)
    p = outcome.progress
    busy = {"capture": p.capture_seconds, "paint": p.paint_seconds, "record": p.record_seconds}
    say(
        f"{click.format_filename(outcome.film)}: {plural(p.recorded, 'frame')}, {p.recorded / fps:.1f} s at {fps} fps, "
        f"{source.size[0]}x{source.size[1]}, {outcome.film.stat().st_size / 1e6:.1f} MB"
    )
    say(
        f"{p.recorded / max(p.elapsed, 1e-9):.1f} frames a second in all; "
        + ", ".join(f"{name} {1e3 * seconds / max(1, p.recorded):.1f} ms" for name, seconds in busy.items())
        + " a frame"
    )
    if outcome.interrupted:
        click.echo("interrupted: the film ends with the last painted frame", err=True)
        raise click.exceptions.Exit(130)


@app.command()
@click.argument("image", type=PATH)
@click.argument("out", type=PATH)
@style_option
@bits_option
@backend_option
@engine_option
@accelerator_options
@threads_option
@config_option
def paint(
    image: Path, out: Path, style: str, bits: int, backend: str, engine: str, overlay: str | None,
    fallback: str | None, threads: int,
) -> None:  # fmt: skip
    """Paint the photo IMAGE to OUT (.png, .jpg, .webp, .tif or .bmp)."""
    from pleinair.errors import ImageError
    from pleinair.images import check_image_output, read_image, write_image
    from pleinair.models import load_model
    from pleinair.painting.painter import open_painter
    from pleinair.painting.tiles import MIN_SIDE

    backend, style, bits = choose(with_engine(backend, engine), overlay, fallback, style, bits)
    check_image_output(out)
    refuse_same(image, out, "the photo itself")
    photo = read_image(image)
    height, width = photo.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"image {image}: {width}x{height}, painted are {MIN_SIDE}x{MIN_SIDE} and larger")
    with closing(open_painter(load_model(style, bits), backend, threads)) as painter:
        began = time.monotonic()
        painting = painter.paint(photo)
        seconds = time.monotonic() - began
        write_image(out, painting)
        say(f"{click.format_filename(out)}: {width}x{height} in {seconds:.2f} s by {painter.name}")


@app.command()
def styles() -> None:
    """List the styles there are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pleinair.models import model_folders, read_card
    from pleinair.models import styles as find_styles

    found, damaged = find_styles(), []
    if not found:
        say(f"no styles in {', '.join(map(str, model_folders())) or 'any models folder'}")
        return
    table = Table("style", "painting", "bits", "width", "blocks", "licence")
    for name, folder in found.items():
        try:
            card = read_card(folder)
        except PleinairError as error:
            damaged.append(str(error))
            continue
        shape, painting = card.get("architecture", {}), card.get("painting", {})
        cells = (
            name, painting.get("title", ""), ", ".join(sorted(card["networks"], key=int)),
            shape.get("width", ""), shape.get("blocks", ""), card.get("licence", ""),
        )  # fmt: skip
        # Text, as what a card says is not rich's markup.
        table.add_row(*(Text(one_line(str(cell))) for cell in cells))
    if table.row_count:
        Console().print(table)
    for line in damaged:
        click.echo(one_line(f"pleinair: {line}"), err=True)
    if damaged:
        raise click.exceptions.Exit(2)


@app.command()
@click.option("--style", type=PATH, required=True, help="The painting, an image file.")
@click.option("--content", type=PATH, required=True, help="Folder tree of photos.")
@click.option(
    "--loss-network",
    required=True,
    help="vgg16:FILE or vgg19:FILE (.pth or .npz weights); vgg16 or vgg19: fetched once.",
)
@click.option("--out", type=PATH, required=True, help="The run's folder; an interrupted run there goes on.")
@click.option("--bits", type=int, default=8, show_default=True, help="4, 8 or 16; 32 stops at the float network.")
@click.option("--width", type=click.IntRange(4, 128), default=16, show_default=True, help="Channels after the first.")
@click.option("--blocks", type=click.IntRange(1, 16), default=3, show_default=True, help="Residual blocks.")
@click.option("--crop", type=click.IntRange(64, 1024), default=224, show_default=True, help="Side of training crops.")
@click.option("--batch", type=click.IntRange(1, 256), default=3, show_default=True, help="Crops a step.")
@click.option(
    "--style-size", type=click.IntRange(64, 4096), default=416, show_default=True, help="Painting's longer side."
)
@click.option("--style-crop", default="", help="Part of the painting: WIDTHxHEIGHT+LEFT+TOP.")
@click.option("--content-layer", default="", help="VGG's layer of the content loss; relu3_3 or relu4_2 by default.")
@click.option("--style-layers", default="", help="VGG's layers of the style loss: relu1_2,relu2_2,...")
@click.option("--content-weight", type=click.FloatRange(0), default=1.0, show_default=True, help="Content loss.")
@click.option("--style-weight", type=click.FloatRange(0), default=1.5, show_default=True, help="Style against content.")
@click.option(
    "--stability-weight",
    type=click.FloatRange(0),
    default=4e6,
    show_default=True,
    help="Equal frames, equal paintings.",
)
@click.option(
    "--distillation-weight", type=click.FloatRange(0), help="Teacher's paintings; by default 6e6 at 4 bits, else 0."
)
@click.option("--from", "start", type=PATH, help="Another run, from whose parent this one starts, or its checkpoint.")
@click.option("--parent-steps", type=click.IntRange(1), default=1500, show_default=True, help="With instance norm.")
@click.option("--plain-steps", type=click.IntRange(1), default=1500, show_default=True, help="Without it.")
@click.option(
    "--quantised-steps", type=click.IntRange(0), help="Quantised; by default 500 at 4 bits, 300 at 8, 0 at 16."
)
@click.option("--hold-out", type=click.IntRange(0), default=14, show_default=True, help="Photos kept for evaluation.")
@click.option("--precision", default="float32", show_default=True, help="float32, or bfloat16 where it is fast.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--compile", "compiled", is_flag=True, help="Run float and loss networks through torch.compile.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides weights and crops.")
@config_option
def train(style: Path, content: Path, loss_network: str, out: Path, bits: int, device: str, **settings: Any) -> None:
    """Train a painting's network: float with instance norm, without, then quantised."""
    try:
        from pleinair_training.stages import train_stages
    except ImportError as error:
        raise OptionError(f"train needs {error.name}: pip install 'pleinair[train]'") from error
    train_stages(out, bits, device, style=str(style), content=str(content), loss_network=loss_network, **settings)


@app.command()
@click.argument("subjects", metavar="[SUBJECT]...", nargs=-1)
@click.option("--paintings", type=PATH, help="Folder tree with the paintings; a run also knows where its own was.")
@click.option("--content", type=PATH, required=True, help="Folder tree with the photos that training kept apart.")
@click.option("--loss-network", required=True, help="vgg16:FILE or vgg19:FILE (.pth or .npz weights).")
@click.option("--sequence", type=PATH, help="Video of a camera that stands still, to measure flicker on.")
@click.option("--photos", type=click.IntRange(1), help="Take no more than so many photos.")
@click.option("--out", type=PATH, required=True, help="Folder for the report.")
@config_option
def evaluate(
    subjects: tuple[str, ...], paintings: Path | None, content: Path, loss_network: str, sequence: Path | None,
    photos: int | None, out: Path,
) -> None:  # fmt: skip
    """Measure networks on photos that training never saw: losses, likeness to float, flicker, borders.

    A SUBJECT is a run's or model's folder, or a style's name; without any, all styles are evaluated.
    """
    try:
        from pleinair_training.evaluation import evaluate as evaluate_all
        from pleinair_training.report import console_table, make_folder, write_report
    except ImportError as error:
        raise OptionError(f"evaluate needs {error.name}: pip install 'pleinair[train]'") from error
    from rich.console import Console

    make_folder(out)
    evaluation = evaluate_all(subjects, paintings, content, loss_network, sequence, photos)
    write_report(evaluation, out)
    Console().print(console_table(evaluation))
    say(f"report: {click.format_filename(out / 'report.html')}")


@app.command()
@click.argument("run_folder", metavar="RUN", type=PATH)
@click.option("--out", type=PATH, required=True, help="The model folder: models/NAME.")
@click.option("--painting", default="", help="Title, artist and year of the painting.")
@click.option("--painting-licence", default="public domain", show_default=True, help="The painting's licence.")
@click.option("--licence", default="CC0-1.0", show_default=True, help="The model's licence.")
@click.option("--margin", type=click.IntRange(0, 512), help="Reflected border in pixels; the halo unless given.")
@click.option(
    "--grain", type=click.IntRange(0, 16), default=DEFAULT_GRAIN, show_default=True, help="Canvas grain, grey levels."
)
@click.option(
    "--float/--no-float", "with_float", default=False, show_default=True, help="Also the float network, as --bits 32."
)
@config_option
def export(
    run_folder: Path, out: Path, painting: str, painting_licence: str, licence: str, margin: int | None, grain: int,
    with_float: bool,
) -> None:  # fmt: skip
    """Export the quantised networks of RUN: QONNX, integer network, CPU model, card."""
    try:
        from pleinair_training.export import export_run
    except ImportError as error:
        raise OptionError(f"export needs {error.name}: pip install 'pleinair[train]'") from error
    for line in export_run(run_folder, out, painting, painting_licence, licence, margin, grain, with_float):
        click.echo(line)


@app.command()
@click.option("--camera", required=True, help="The scene's frames: frames:DIR, video:FILE or synthetic[:SEED].")
@style_option
@bits_option
@click.option("--out", type=PATH, required=True, help="The model folder to write: models/NAME.")
@click.option("--frames", type=click.IntRange(1, 64), default=12, show_default=True, help="Look at the first so many.")
@click.option("--every", help="Scene time between frames: 10s, 5m, 2h.")
@click.option("--size", help="Size of the frames, WIDTHxHEIGHT.")
@click.option("--steps", type=click.IntRange(0, 10_000), default=150, show_default=True, help="Of fine-tuning.")
@config_option
def tune(
    camera: str, style: str, bits: int, out: Path, frames: int, every: str | None, size: str | None, steps: int
) -> None:
    """Fit a style to one scene: as its float parent with instance norm would paint these frames."""
    try:
        from pleinair_training.tuning import tune_style
    except ImportError as error:
        raise OptionError(f"tune needs {error.name}: pip install 'pleinair[train]'") from error
    from pleinair.cameras.opening import open_camera
    from pleinair.network.integer import BITS

    if bits not in BITS:
        raise OptionError(f"--bits {bits}: choose from {', '.join(map(str, BITS))}")
    if not out.parent.is_dir():
        raise OutputError(f"--out {out}: the folder {out.parent} does not exist")
    interval = None if every is None else parse_duration(every, "--every")
    extent = None if size is None else parse_size(size)
    source = open_camera(camera, size=extent, every=interval, frames=frames)
    pictures = [frame.image for frame in source.frames()]
    with _Bars() as bars:
        distances = tune_style(style, pictures, bits, steps, out, bars.show)
    for name, distance in distances.items():
        say(f"{name:>10}: {distance:5.2f} grey levels from the parent's paintings of {len(pictures)} frames")
    say(f"{click.format_filename(out)}: style {out.name}, {bits} bits")


class _Bars:
    """A bar for each stage of some work that reports (stage, step, steps, distance)."""

    def __enter__(self) -> _Bars:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[distance]}"), TimeRemainingColumn(), console=quiet_console(),
        )  # fmt: skip
        self._tasks = dict[str, Any]()
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, stage: str, step: int, steps: int, distance: float) -> None:
        """Update a stage's bar; the distance is in grey levels."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=steps, distance="")
        self._bars.update(self._tasks[stage], completed=step, distance=f"{distance:.1f} grey levels off")


def _refusal(error: click.UsageError) -> str:
    """Click's own refusal, with the file that the value came from."""
    problem, context = error.format_message(), error.ctx
    parameter = getattr(error, "param", None)
    if context is None or parameter is None or parameter.name is None:
        return problem
    if context.get_parameter_source(parameter.name) is not click.core.ParameterSource.DEFAULT_MAP:
        return problem
    return f"--config {context.meta[CONFIG]}: {problem}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. What a user did wrong is one line on stderr and status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = app.main(arguments or ["--help"], prog_name="pleinair", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except PleinairError as error:
        problem = str(error) if error.option is None else f"--{error.option.replace('_', '-')} {error.message}"
    except click.UsageError as error:
        problem = _refusal(error)
    except click.Abort:  # click's name for a KeyboardInterrupt before the command
        click.echo("pleinair: interrupted", err=True)
        return 130
    click.echo("pleinair: " + one_line(problem), err=True)
    return 2


def _quieten() -> None:
    """Leave the terminal to Python: the C libraries of codecs and engines write to file descriptor 2 at will."""
    if sys.stderr is None:
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115


def entry() -> None:
    """The console script. SIGTERM ends a run as Ctrl-C does."""
    if sys.argv[1:2] in (["run"], ["paint"], ["resume"], ["finish"], ["repaint"]):
        _quieten()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = main()
    # All is done and said: a late Ctrl-C shall not change the status.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(status)
