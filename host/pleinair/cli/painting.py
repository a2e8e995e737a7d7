"""The subcommands that paint: run, paint."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cameras.opening import LIVE_KINDS, STORED_KINDS
from pleinair.cameras.stored import ORDERS
from pleinair.cli.console import FilmBars, remark, say
from pleinair.cli.farm import farm_of, farm_options
from pleinair.cli.fpga import accelerator_options, choose, simulate_build
from pleinair.cli.options import (
    INCOMPLETE,
    MOST_FRAMES,
    PATH,
    backend_option,
    bits_option,
    camera_option,
    config_option,
    ended_at_once,
    engine_option,
    every_option,
    film_light_options,
    force_option,
    frames_for,
    refuse_same,
    stopped_by_signals,
    strokes_option,
    style_option,
    threads_option,
    tone_option,
)
from pleinair.cli.photos import FORMATS, STANDARD, Errand, errands, read, write
from pleinair.cli.rolls import Common, film_on_roll, refuse_without_roll, roll_options, warn_of_size
from pleinair.cli.types import DURATION, FPS, SIZE, OneOf, Whole
from pleinair.errors import ImageError, OptionError
from pleinair.films.deflicker import DEFAULT_FRAMES, MAX_FRAMES
from pleinair.films.rate import Rate, length_text
from pleinair.films.steadiness import DEFAULT_STRENGTH, MAX_STRENGTH
from pleinair.text import one_line

if TYPE_CHECKING:
    from pleinair.farm.cluster import Where
    from pleinair.films.tone import Tone
    from pleinair.images import Photo
    from pleinair.painting.painter import Painter

#: How many of the frames that could not be used are listed one by one.
_SHOWN = 10


@click.command()
@click.option("--out", type=PATH, help="Film to write: .mp4, .mkv or .mov. With --roll it can be left out.")
@camera_option(f"Where frames come from. Stored: {STORED_KINDS}. Live: {LIVE_KINDS}.", "synthetic")
@style_option
@bits_option
@backend_option
@engine_option
@accelerator_options
@every_option
@click.option("--frames", type=Whole(1, MOST_FRAMES), help="Number of frames.")
@click.option("--for", "for_", type=DURATION, help="Time to film, such as 2h or 30d.")
@click.option("--size", type=SIZE, help="Size of the film in pixels.")
@click.option(
    "--rotate", type=OneOf(0, 90, 180, 270), default=0, show_default=True, help="Degrees to turn frames clockwise."
)
@click.option("--crop", metavar="WIDTHxHEIGHT+LEFT+TOP", help="Part of the turned frame to film.")
@click.option(
    "--order",
    type=OneOf(*ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="Order of the images of frames:DIR; time is that in the photo (EXIF), else the file's.",
)
@click.option(
    "--timestamp",
    type=click.BOOL,
    is_flag=False,
    flag_value=True,
    default=False,
    metavar="[0|1]",
    help="Write the time on each painted frame. --timestamp alone means 1.",
)
@click.option("--fps", type=FPS, default="24", show_default=True, help="Frames per second of the film.")
@click.option(
    "--steady",
    type=Whole(0, MAX_STRENGTH),
    default=DEFAULT_STRENGTH,
    show_default=True,
    help="Steady the film against camera noise of N grey levels; 0 is off.",
)
@click.option(
    "--deflicker",
    type=Whole(0, MAX_FRAMES),
    show_default=f"{DEFAULT_FRAMES} for live cameras, else 0",
    help="Even out exposure over N frames; 0 is off.",
)
@film_light_options
@strokes_option
@threads_option
@roll_options
@farm_options
@force_option
@config_option
def run(
    out: Path | None,
    camera: str,
    style: str,
    bits: int,
    backend: str,
    engine: str,
    every: float | None,
    frames: int | None,
    for_: float | None,
    size: tuple[int, int] | None,
    rotate: int,
    crop: str | None,
    order: str,
    timestamp: bool,
    fps: Rate,
    steady: int,
    deflicker: int | None,
    light: str | None,
    light_every: int | None,
    tone: float | None,
    strokes: int | str,
    threads: int,
    overlay: str | None,
    fallback: str | None,
    on: Where | None,
    audit: float | None,
    force: bool,
    **roll_settings: Any,
) -> None:
    """Film a time-lapse: capture, paint, record.

    With --roll, and always with a live camera or with --on, frames are kept on a roll: a folder that survives a kill or
    a power cut. `pleinair resume` continues it.
    """
    from pleinair.cameras.framing import Framing, parse_crop
    from pleinair.cameras.opening import CameraSource

    source = CameraSource.parse(camera)
    chosen, style, bits = choose(backend, engine, overlay, fallback, style, bits)
    common = Common(
        out=out,
        camera=source,
        style=style,
        bits=bits,
        backend=chosen,
        every=every,
        frames=frames,
        for_=for_,
        size=size,
        framing=Framing(rotate, None if crop is None else parse_crop(crop)),
        order=order,
        timestamp=timestamp,
        fps=fps,
        steady=steady,
        deflicker=deflicker,
        light=light,
        light_every=light_every,
        tone=tone,
        strokes=strokes,
        threads=threads,
        force=force,
    )
    farm = farm_of(on, audit, bits=bits, backend=chosen)
    if roll_settings["roll"] is not None or source.live or farm is not None:
        film_on_roll(common, **roll_settings, farm=farm)
    else:
        refuse_without_roll(roll_settings)
        _film_at_once(common)


def _film_at_once(o: Common) -> None:
    """From a stored camera straight into the film."""
    from pleinair.backends import open_painter
    from pleinair.cameras.camera import left_out
    from pleinair.cameras.opening import open_camera
    from pleinair.films.lighting import choose_lighting, default_every
    from pleinair.films.pipeline import Progress, plural
    from pleinair.films.pipeline import run as run_pipeline
    from pleinair.films.recorder import FilmRecorder
    from pleinair.films.tone import choose_tone
    from pleinair.models import load_model
    from pleinair.painting.strokes import choose_strokes, with_strokes

    if o.out is None:
        raise OptionError("give --out FILM, --roll ROLL, or both")
    out, frames, fps = o.out, o.frames, o.fps
    if o.for_ is not None:
        frames = frames_for(o.for_, o.camera, o.every, frames)
    refuse_same(o.camera.path, out, "the video that it is made from")
    model = load_model(o.style, o.bits)
    default = default_every(o.camera, o.every)
    lighting = choose_lighting(
        o.light, o.light_every, adaptive=model.adaptive, default=default, own_only=model.own_light_only
    )
    recorder = FilmRecorder(out, fps, force=o.force)
    if recorder.aside is not None:
        remark(f"an earlier run to this film was cut off; what it recorded is now {recorder.aside}")
    source = open_camera(o.camera, size=o.size, every=o.every, frames=frames, framing=o.framing, order=o.order)
    warn_of_size(*source.size, fps)
    strokes = choose_strokes(o.strokes, source.size, model.trained_side)
    with (
        ended_at_once() as recording,
        closing(with_strokes(open_painter(model, o.backend, o.threads, simulator=simulate_build), strokes)) as painter,
        stopped_by_signals(lambda: recorder.closed) as stop,
    ):
        title = f"{source.name} {source.size[0]}x{source.size[1]}, {model.style} {o.bits}-bit, {painter.name}"
        with FilmBars(title) as bars:

            def report(progress: Progress) -> None:
                recording()  # from here on there is something to lose
                bars.update(progress)

            outcome = run_pipeline(
                source,
                painter,
                recorder,
                steady=o.steady,
                deflicker=o.deflicker or 0,
                timestamp=o.timestamp,
                lighting=lighting,
                tone=choose_tone(o.tone, adaptive=model.adaptive),
                report=report,
                tell=bars.tell,
                stop=stop,
            )
    if recorder.before is not None:
        remark(f"the film that was there is now {recorder.before}")
    for line in outcome.skipped[:_SHOWN]:
        remark(f"skipped: {line}")
    if len(outcome.skipped) > _SHOWN:
        remark(f"skipped: {len(outcome.skipped) - _SHOWN} more")
    p = outcome.progress
    busy = {"capture": p.capture_seconds, "paint": p.paint_seconds, "record": p.record_seconds}
    say(
        f"{click.format_filename(outcome.film)}: {plural(p.recorded, 'frame')}, {length_text(p.recorded, fps)}, "
        f"{source.size[0]}x{source.size[1]}, {outcome.film.stat().st_size / 1e6:.1f} MB"
    )
    say(
        f"{p.recorded / max(p.elapsed, 1e-9):.1f} frames a second in all; "
        + ", ".join(f"{name} {1e3 * seconds / max(1, p.recorded):.1f} ms" for name, seconds in busy.items())
        + " a frame"
    )
    if outcome.interrupted:
        remark("interrupted: the film ends with the last painted frame")
        raise click.exceptions.Exit(130)
    if outcome.skipped:
        count = left_out(outcome.skipped)
        remark(f"left out of the film: {plural(count, 'frame') if count else 'an unknown number of frames'}, damaged")
        raise click.exceptions.Exit(INCOMPLETE)


@click.command()
@click.argument("images", metavar="IMAGE... [OUT]", nargs=-1, required=True, type=PATH)
@click.option("--out-dir", type=PATH, help="Folder for the paintings of many images; each is called like its photo.")
@click.option("--format", "form", type=OneOf(*FORMATS), help="Format of paintings in --out-dir, or of - for OUT.")
@style_option
@bits_option
@backend_option
@engine_option
@accelerator_options
@tone_option
@strokes_option
@threads_option
@config_option
def paint(
    images: tuple[Path, ...],
    out_dir: Path | None,
    form: str | None,
    style: str,
    bits: int,
    backend: str,
    engine: str,
    overlay: str | None,
    fallback: str | None,
    tone: float | None,
    strokes: int | str,
    threads: int,
) -> None:
    """Paint a photo, or many.

    The painting of IMAGE is written to OUT: .png, .jpg, .webp, .tif or .bmp; - stands for standard input and output.
    With --out-dir there is no OUT, and any number of IMAGEs: files, folders, and patterns in quotes.
    """
    from pleinair.backends import open_painter
    from pleinair.films.tone import Tone, choose_tone
    from pleinair.models import load_model

    chosen, style, bits = choose(backend, engine, overlay, fallback, style, bits)
    asked = errands(images, out_dir, form)
    # One photo is looked at before the style is loaded: what is wrong with it is told at once.
    first = _read_checked(asked[0].photo, strokes) if len(asked) == 1 else None
    model = load_model(style, bits)
    toned, failed = Tone(choose_tone(tone, adaptive=model.adaptive)), 0
    with (
        ended_at_once() as painted,
        closing(open_painter(model, chosen, threads, simulator=simulate_build)) as painter,
    ):
        for errand in asked:
            try:
                _paint_photo(errand, first, painter, toned, strokes, model.trained_side, form, painted)
            except (ImageError, OptionError) as error:
                if len(asked) == 1:
                    raise
                remark(f"left out: {error}")
                failed += 1
    if failed == len(asked):
        raise ImageError(f"none of {failed} images could be painted")
    if failed:
        remark(f"left out: {failed} of {len(asked)} images")
        raise click.exceptions.Exit(INCOMPLETE)


def _paint_photo(
    errand: Errand,
    read: Photo | None,
    painter: Painter,
    toned: Tone,
    strokes: int | str,
    trained: int | None,
    form: str | None,
    painted: Callable[[], None],
) -> None:
    """Paint and write one photo; ``read`` is what was read of it before, ``painted`` is called when it is painted."""
    from pleinair.exif import for_painting
    from pleinair.painting.strokes import choose_strokes, with_strokes

    photo = read or _read_checked(errand.photo, strokes)
    if photo.remark:
        remark(f"image {click.format_filename(errand.photo)}: {photo.remark}")
    height, width = photo.image.shape[:2]
    brush = with_strokes(painter, choose_strokes(strokes, (width, height), trained))
    began = time.monotonic()
    painting = toned(brush.paint(photo.image), toned.of(photo.image))
    seconds = time.monotonic() - began
    painted()
    write(errand.out, painting, None if photo.exif is None else for_painting(photo.exif), form)
    tell = remark if errand.out == STANDARD else say
    tell(one_line(f"{click.format_filename(errand.out)}: {width}x{height} in {seconds:.2f} s by {brush.name}"))


def _read_checked(path: Path, strokes: int | str) -> Photo:
    """A photo that can be painted. Raises ImageError, OptionError."""
    from pleinair.painting.strokes import AUTO, choose_strokes
    from pleinair.painting.tiles import MIN_SIDE

    photo = read(path)
    height, width = photo.image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"image {path}: {width}x{height}, painted are {MIN_SIDE}x{MIN_SIDE} and larger")
    if strokes != AUTO:
        choose_strokes(strokes, (width, height), None)
    return photo


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (run, paint):
        app.add_command(command)
