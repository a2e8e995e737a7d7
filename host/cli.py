"""The command ``pleinair``. Each subcommand loads its room when it runs, so that a Pi never imports torch."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from host.errors import OptionError, PleinairError
from host.options import parse_duration, parse_size, read_config

DEFAULT_STYLE = "starry-night"
_PATH = click.Path(path_type=Path)

_style = click.option(
    "--style", default=DEFAULT_STYLE, show_default=True, help="A style's name (see `pleinair styles`) or its folder."
)
_bits = click.option("--bits", type=int, default=8, show_default=True, help="Width of weights and activations.")
_backend = click.option(
    "--backend", default="cpu", show_default=True, help="cpu or reference; all paint the same pixels."
)
_threads = click.option(
    "--threads", type=click.IntRange(0, 256), default=0, help="Threads that paint; 0, the default, takes every core."
)
_config = click.option(
    "--config", type=_PATH, expose_value=False, help="TOML file with further options; the command line wins."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pleinair")
def app() -> None:
    """A time-lapse camera that paints."""


@app.command()
@click.option("--out", type=_PATH, required=True, help="The film: .mp4, .mkv or .mov.")
@click.option("--camera", default="synthetic", show_default=True, help="synthetic[:SEED], frames:DIR or video:FILE.")
@_style
@_bits
@_backend
@click.option("--every", help="Scene time between frames: 10s, 5m, 2h.")
@click.option("--frames", type=click.IntRange(1, 10_000_000), help="Stop after so many.")
@click.option("--for", "for_", help="Stop after so much scene time.")
@click.option("--size", help="Size of the film, WIDTHxHEIGHT.")
@click.option("--fps", type=click.IntRange(1, 240), default=24, show_default=True, help="Frames a second of the film.")
@_threads
@_config
def run(
    out: Path, camera: str, style: str, bits: int, backend: str, every: str | None, frames: int | None,
    for_: str | None, size: str | None, fps: int, threads: int,
) -> None:  # fmt: skip
    """Film a time-lapse: capture, paint, record."""
    from host.cameras import SYNTHETIC_STEP, open_camera
    from host.film import FilmRecorder
    from host.models import load_model
    from host.painters import open_painter
    from host.pipeline import run as run_pipeline

    interval = parse_duration(every, "--every") if every else None
    if for_ is not None:
        if frames is not None:
            raise OptionError(f"--for {for_!r}: give --for or --frames, not both")
        if interval is None and not camera.startswith("synthetic"):
            raise OptionError(f"--for {for_!r}: needs --every")
        frames = max(1, round(parse_duration(for_, "--for") / (interval or SYNTHETIC_STEP)))
    extent = parse_size(size) if size else None
    recorder = FilmRecorder(out, fps)
    model = load_model(style, bits)
    source = open_camera(camera, extent, interval, frames)
    painter = open_painter(model, backend, threads)
    title = f"{source.name} {source.size[0]}x{source.size[1]}, {model.style} {bits}-bit, {painter.name}"
    with _Display(title) as display:
        outcome = run_pipeline(source, painter, recorder, display.show)
    painter.close()
    for line in outcome.skipped:
        click.echo(f"skipped: {line}", err=True)
    p = outcome.progress
    busy = {"capture": p.capture_seconds, "paint": p.paint_seconds, "record": p.record_seconds}
    click.echo(
        f"{outcome.film}: {p.recorded} frames, {p.recorded / fps:.1f} s at {fps} fps, "
        f"{source.size[0]}x{source.size[1]}, {outcome.film.stat().st_size / 1e6:.1f} MB"
    )
    click.echo(
        f"{p.recorded / max(p.elapsed, 1e-9):.1f} frames a second in all; "
        + ", ".join(f"{name} {1e3 * seconds / max(1, p.recorded):.1f} ms" for name, seconds in busy.items())
        + " a frame"
    )
    if outcome.skipped:
        click.echo(f"{len(outcome.skipped)} could not be used and are missing from the film", err=True)
    if outcome.interrupted:
        click.echo("interrupted: the film ends with the last painted frame", err=True)
        raise click.exceptions.Exit(130)


class _Display:
    """Live bars on a terminal: captured, painted, recorded, rates and time left."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[latest]}"),
            console=Console(stderr=True),
        )  # fmt: skip
        self._title, self._tasks = title, dict[str, Any]()
        self._began = time.monotonic()

    def __enter__(self) -> _Display:
        self._bars.console.print(self._title, highlight=False)
        for name in ("captured", "painted", "recorded"):
            self._tasks[name] = self._bars.add_task(name, total=None, rate="", latest="")
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Any) -> None:
        """Update from a pipeline's progress."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        for name, task in self._tasks.items():
            done = getattr(progress, name)
            self._bars.update(
                task, completed=done, total=progress.total, rate=f"{done / elapsed:.1f}/s",
                latest=progress.latest if name == "recorded" else "",
            )  # fmt: skip


@app.command()
@click.argument("image", type=_PATH)
@click.argument("out", type=_PATH)
@_style
@_bits
@_backend
@_threads
@_config
def paint(image: Path, out: Path, style: str, bits: int, backend: str, threads: int) -> None:
    """Paint the photo IMAGE to OUT (.png, .jpg, .webp, .tif or .bmp)."""
    from host.images import check_writable, read_image, write_image
    from host.models import load_model
    from host.painters import open_painter

    check_writable(out)
    photo = read_image(image)
    painter = open_painter(load_model(style, bits), backend, threads)
    began = time.monotonic()
    painting = painter.paint(photo)
    seconds = time.monotonic() - began
    write_image(out, painting)
    click.echo(f"{out}: {photo.shape[1]}x{photo.shape[0]} in {seconds:.2f} s by {painter.name}")


@app.command()
def styles() -> None:
    """List the styles there are."""
    from rich.console import Console
    from rich.table import Table

    from host.models import model_folders, read_card
    from host.models import styles as find_styles

    found = find_styles()
    if not found:
        click.echo(f"no styles in {', '.join(map(str, model_folders())) or 'any models folder'}")
        return
    table = Table("style", "painting", "bits", "width", "blocks", "licence")
    for name, folder in found.items():
        card = read_card(folder)
        shape, painting = card.get("architecture", {}), card.get("painting", {})
        table.add_row(
            name, str(painting.get("title", "")), ", ".join(sorted(card["networks"], key=len)),
            str(shape.get("width", "")), str(shape.get("blocks", "")), str(card.get("licence", "")),
        )  # fmt: skip
    Console().print(table)


@app.command()
@click.option("--style", type=_PATH, required=True, help="The painting, an image file.")
@click.option("--content", type=_PATH, required=True, help="Folder tree of photos.")
@click.option("--loss-network", required=True, help="vgg16:FILE or vgg19:FILE (.pth or .npz weights).")
@click.option("--out", type=_PATH, required=True, help="The run's folder; an interrupted run there goes on.")
@click.option("--bits", type=int, default=8, show_default=True, help="4, 8 or 16; 32 stops at the float network.")
@click.option("--width", type=click.IntRange(4, 128), default=16, show_default=True, help="Channels after the first.")
@click.option("--blocks", type=click.IntRange(1, 16), default=3, show_default=True, help="Residual blocks.")
@click.option("--crop", type=click.IntRange(64, 1024), default=224, show_default=True, help="Side of training crops.")
@click.option("--batch", type=click.IntRange(1, 256), default=3, show_default=True, help="Crops a step.")
@click.option(
    "--style-size", type=click.IntRange(64, 4096), default=512, show_default=True, help="Painting's longer side."
)
@click.option("--style-weight", type=click.FloatRange(0), default=1.5, show_default=True, help="Style against content.")
@click.option("--parent-steps", type=click.IntRange(1), default=2000, show_default=True, help="With instance norm.")
@click.option("--plain-steps", type=click.IntRange(1), default=3000, show_default=True, help="Without it.")
@click.option("--quantised-steps", type=click.IntRange(1), default=600, show_default=True, help="Quantised.")
@click.option("--hold-out", type=click.IntRange(0), default=14, show_default=True, help="Photos kept for evaluation.")
@click.option("--precision", default="float32", show_default=True, help="float32, or bfloat16 where it is fast.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Decides weights and crops.")
@_config
def train(style: Path, content: Path, loss_network: str, out: Path, bits: int, device: str, **settings: Any) -> None:
    """Train a painting's network: float with instance norm, without, then quantised."""
    try:
        from training.session import train_session
    except ImportError as error:
        raise OptionError(f"train needs {error.name}: pip install 'pleinair[train]'") from error
    train_session(out, bits, device, style=str(style), content=str(content), loss_network=loss_network, **settings)


@app.command()
@click.argument("run_folder", metavar="RUN", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="The model folder: models/NAME.")
@click.option("--painting", default="", help="Title, artist and year of the painting.")
@click.option("--painting-licence", default="public domain", show_default=True, help="The painting's licence.")
@click.option("--licence", default="CC0-1.0", show_default=True, help="The model's licence.")
@click.option("--margin", type=click.IntRange(0, 512), default=40, show_default=True, help="Reflected border, pixels.")
@_config
def export(run_folder: Path, out: Path, painting: str, painting_licence: str, licence: str, margin: int) -> None:
    """Export the quantised networks of RUN: QONNX, integer network, CPU model, card."""
    try:
        from training.export import export_run
    except ImportError as error:
        raise OptionError(f"export needs {error.name}: pip install 'pleinair[train]'") from error
    for line in export_run(run_folder, out, painting, painting_licence, licence, margin):
        click.echo(line)


def _config_defaults(arguments: list[str]) -> dict[str, Any]:
    """``default_map`` for click from the file that ``--config`` names, if any."""
    name = next((a for a in arguments if not a.startswith("-")), None)
    path = None
    for i, argument in enumerate(arguments):
        if argument == "--config" and i + 1 < len(arguments):
            path = arguments[i + 1]
        elif argument.startswith("--config="):
            path = argument.partition("=")[2]
    if path is None or name is None or name not in app.commands:
        return {}
    options = {
        long.removeprefix("--"): parameter.name
        for parameter in app.commands[name].params
        for long in parameter.opts
        if long.startswith("--") and parameter.name and parameter.name != "config"
    }
    values = read_config(Path(path), set(options))
    return {name: {options[key]: value for key, value in values.items()}}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. What a user did wrong is one line on stderr and status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        defaults = _config_defaults(arguments)
        status = app.main(arguments, prog_name="pleinair", standalone_mode=False, default_map=defaults)
        return status if isinstance(status, int) else 0
    except PleinairError as error:
        problem = str(error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 2
    except click.UsageError as error:
        problem = error.format_message()
    except (click.Abort, KeyboardInterrupt):
        click.echo("pleinair: interrupted", err=True)
        return 130
    click.echo("pleinair: " + " ".join(problem.split()), err=True)
    return 2


def entry() -> None:
    """The console script."""
    sys.exit(main())
