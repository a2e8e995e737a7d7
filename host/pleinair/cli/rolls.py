"""The subcommands that film on a roll and look after one: resume, finish, repaint, status."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pleinair.backends import FALLBACKS, Backend
from pleinair.cameras.framing import Framing
from pleinair.cameras.opening import CameraSource, Driver
from pleinair.cli.console import Bars, RollDisplay, remark, say, say_json
from pleinair.cli.farm import (
    Farm,
    capture_only,
    farm_of,
    farm_options,
    joined,
    paint_missing,
    paint_on_cluster,
    refuse_with_farm,
)
from pleinair.cli.films import Wanted, cut_options, make_film, make_preview, tell_put_aside
from pleinair.cli.fpga import backend_of, simulate_build
from pleinair.cli.options import (
    INCOMPLETE,
    PATH,
    bits_option,
    camera_option,
    config_option,
    ended_at_once,
    engine_option,
    extra,
    film_light_options,
    force_option,
    frames_for,
    notices_option,
    refuse_same,
    stopped_by_signals,
    style_option,
    threads_option,
)
from pleinair.cli.types import BYTES, ROLL, STYLE, OneOf, Whole
from pleinair.errors import DiskFullError, OptionError
from pleinair.films.deflicker import MAX_FRAMES
from pleinair.films.encoder import plays_everywhere
from pleinair.films.rate import Rate, length_text, rate_text
from pleinair.films.recorder import check_film, films_put_aside
from pleinair.films.steadiness import MAX_STRENGTH
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair.painting.strokes import AUTO, MOST
from pleinair.rolls.cut import Reel
from pleinair.rolls.days import DAY
from pleinair.rolls.originals import SUFFIXES
from pleinair.rolls.settings import KEEP
from pleinair.serving.beside import Beside
from pleinair.text import one_line

if TYPE_CHECKING:
    from pleinair.farm.cluster import Where
    from pleinair.painting.painter import Painter
    from pleinair.rolls.developer import OpenLook
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.schedule import Schedule
    from pleinair.rolls.settings import Look
    from pleinair.rolls.status import Status
    from pleinair.rolls.timelapse import Timelapse

roll_argument = click.argument("roll_folder", metavar="ROLL", type=ROLL)
rolls_argument = click.argument("roll_folders", metavar="ROLL...", type=ROLL, nargs=-1, required=True)
preview_option = click.option(
    "--preview", type=Whole(1, 65535), metavar="PORT", help="Serve a page to watch the roll on this port."
)
_preview_host = click.option(
    "--preview-host",
    default="127.0.0.1",
    show_default=True,
    help="Address of that page; 0.0.0.0 or :: shows it to the whole network. "
    "After a comma, names that a proxy asks by.",
)


@dataclass(frozen=True)
class Common:
    """What ``pleinair run`` is told, with or without a roll; times in seconds, size as (width, height)."""

    out: Path | None
    camera: CameraSource
    style: str
    bits: int
    backend: Backend
    every: float | None
    frames: int | None
    for_: float | None
    size: tuple[int, int] | None
    framing: Framing
    order: str
    timestamp: bool
    fps: Rate
    steady: int
    deflicker: int | None
    light: str | None
    light_every: int | None
    tone: float | None
    strokes: int | str
    threads: int
    force: bool = False


def roll_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of ``pleinair run`` that only a roll has."""
    options = (
        click.option("--roll", type=PATH, help="Folder for the roll; live cameras use FILM.roll by default."),
        click.option("--from", "start", metavar="HH:MM", help="Film each day from this time on."),
        click.option("--until", "stop", metavar="HH:MM", help="Film each day until this time."),
        click.option("--daylight", metavar="LATITUDE,LONGITUDE", help="Film from dawn to dusk at this place."),
        click.option(
            "--keep",
            type=OneOf(*KEEP),
            default=KEEP[0],
            show_default=True,
            help="What to keep when the disk fills: originals deletes nothing, painted deletes originals that are "
            "painted, none deletes films, too.",
        ),
        click.option(
            "--keep-free", type=BYTES, default="1GB", show_default=True, help="Disk space to keep free, such as 500MB."
        ),
        click.option(
            "--spool",
            type=OneOf(*SUFFIXES),
            default=SUFFIXES[0],
            show_default=True,
            help="Format of the originals; png is lossless.",
        ),
        click.option(
            "--notify-cmd",
            "notify",
            metavar="COMMAND",
            help="Command to run on troubles and news; it gets the message as its last argument.",
        ),
        notices_option(),
        click.option("--daily", is_flag=True, help="Make each day's film on its own when the day is over."),
        click.option(
            "--on-film", metavar="COMMAND", help="Command to call with each day's film; its path is the last argument."
        ),
        preview_option,
        _preview_host,
    )
    for option in reversed(options):
        command = option(command)
    return command


def drivers() -> dict[str, Driver]:
    """The live cameras that there are, the Raspberry Pi's with them."""
    from pleinair.cameras.opening import DRIVERS
    from pleinair_pi.camera import PiCamera

    return {**DRIVERS, "pi": PiCamera}


#: Options that only a roll has and that have no default.
_WITHOUT = ("start", "stop", "daylight", "notify", "on_film", "preview")
#: And those that have one.
_WITH_DEFAULT = ("keep", "spool", "preview_host")


def refuse_without_roll(settings: Mapping[str, object]) -> None:
    """Raise OptionError for an option that needs a roll where there is none."""
    for name in _WITHOUT:
        if settings[name] is not None:
            raise OptionError(f"{settings[name]!r}: needs --roll", option=name)
    for name in ("daily", "notices"):
        if settings[name]:
            raise OptionError("needs --roll", option=name)
    context = click.get_current_context()
    for name in _WITH_DEFAULT:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise OptionError("needs --roll", option=name)


def film_on_roll(
    o: Common,
    *,
    roll: Path | None,
    start: str | None,
    stop: str | None,
    daylight: str | None,
    keep: str,
    keep_free: int,
    spool: str,
    notify: str | None,
    notices: str | None,
    daily: bool,
    on_film: str | None,
    preview: int | None,
    preview_host: str,
    farm: Farm | None = None,
) -> None:
    """``pleinair run`` with a roll: begin one, film, paint, and join the film where one is asked for."""
    from pleinair.rolls.beginning import begin_roll
    from pleinair_pi.heat import read_heat

    if farm is not None:
        refuse_with_farm(o.camera, {"daily": daily, "on_film": on_film, "notify": notify, "preview": preview})
    if o.out is not None:
        refuse_same(o.camera.path, o.out, "the video that it is made from")
    if roll is None:
        if o.out is None:
            raise OptionError("give --roll ROLL, --out FILM, or both")
        roll = o.out.with_suffix(".roll")
    frames, seconds = _end(o)
    lapse = begin_roll(
        roll,
        o.camera,
        style=o.style,
        bits=o.bits,
        backend=o.backend,
        threads=o.threads,
        every=o.every,
        frames=frames,
        seconds=seconds,
        start=start,
        stop=stop,
        daylight=daylight,
        size=o.size,
        framing=o.framing,
        order=o.order,
        fps=o.fps,
        steady=o.steady,
        deflicker=o.deflicker,
        timestamp=o.timestamp,
        light=o.light,
        light_every=o.light_every,
        tone=o.tone,
        strokes=o.strokes,
        keep=keep,
        keep_free=keep_free,
        spool=spool,
        out=o.out,
        notify_cmd=notify,
        notify=notices,
        daily=daily,
        on_film=on_film,
        preview=preview,
        preview_host=preview_host,
        drivers=drivers(),
        thermometer=read_heat,
        painter=_open_look(),
    )
    _film(lapse, o.out, o.force, farm)


def _end(o: Common) -> tuple[int | None, float | None]:
    """After how many frames a roll ends, and after how many seconds of its own time; None is never."""
    if o.for_ is None:
        return o.frames, None
    if o.camera.live or (not o.camera.timed and o.every is not None):
        return o.frames, o.for_
    return frames_for(o.for_, o.camera, o.every, o.frames), None


def _film(lapse: Timelapse, out: Path | None, force: bool = False, farm: Farm | None = None) -> None:
    """Film until it ends; then the film, where one is asked for."""
    roll, settings = lapse.roll, lapse.roll.settings
    with contextlib.ExitStack() as stack:
        stack.enter_context(lapse)
        over = [False]
        stop = stack.enter_context(stopped_by_signals(lambda: over[0]))
        if settings.preview is not None:
            _show_page(lapse, settings.preview, settings.preview_host, stack)
        warn_of_size(*settings.size, settings.look.fps)
        for line in (*lapse.warnings, *due_lines(lapse.schedule)):
            remark(line)
        title = f"{lapse.shooter.name} {settings.size[0]}x{settings.size[1]} on {roll.folder}, {settings.look.name}"
        if farm is not None:
            state = capture_only(lapse, stop)
        else:
            with RollDisplay(title) as display:
                state = lapse.run(stop, report=display.show)
        over[0] = True
        remark(_summary(roll.folder, state, roll.ledger))
        if state == "full":
            raise DiskFullError(f"{lapse.capture.reason}; make room, then: pleinair resume {roll.folder}")
        if state == "failed":
            raise DiskFullError(f"{lapse.capture.reason}; once that is mended: pleinair resume {roll.folder}")
        if stop.is_set():
            remark(f"interrupted: go on with it by: pleinair resume {roll.folder}")
            raise click.exceptions.Exit(130)
        if farm is not None:
            paint_missing(farm, roll, settings.look)
        if out is not None:
            _join(roll, settings.look, out, force)
            lapse.teller.film(out)
        missing = incomplete(lapse.shooter.live, roll.ledger)
    if missing:
        remark(missing)
        raise click.exceptions.Exit(INCOMPLETE)


def _show_page(lapse: Timelapse, port: int, host: str, stack: contextlib.ExitStack) -> None:
    """Serve the roll's page while filming; what is in its way is told, and filming goes on."""
    try:
        with extra("cpu", "the page"):
            page = stack.enter_context(Beside(lapse.roll.folder, port, host))
    except OptionError as error:
        remark(f"warning: {error}; filming goes on without it")
        return
    if page.problem:
        remark(f"warning: {page.problem}; filming goes on, and the page is tried again")
    else:
        remark(f"watch it at {page.address}")


def incomplete(live: bool, ledger: Any) -> str:
    """How many frames of a stored camera, or originals of any, are missing from the film, and why; "" for none.

    The ticks that a live camera missed are no part of it: no month is without one.
    """
    counts = [(len(ledger.lost), "originals damaged")]
    if not live:
        counts += [(count, reason) for reason, count in ledger.skipped.items() if reason == "damaged"]
    parts = [f"{count} {reason}" for count, reason in counts if count]
    return f"left out of the film: {', '.join(parts)}" if parts else ""


def warn_of_size(width: int, height: int, fps: Rate) -> None:
    """Say before the work that a film will be too large for most players."""
    if not plays_everywhere(width, height):
        remark(
            f"warning: browsers play no film of {width}x{height}; --size 3840x2160 is about the largest that they do"
        )
    elif not plays_everywhere(width, height, fps):
        remark(f"warning: browsers play no film of {width}x{height} at {rate_text(fps)} fps; give fewer")


def due_lines(schedule: Schedule) -> Iterator[str]:
    """What there is to say before filming begins of when it begins."""
    now, due = schedule.clock.wall(), schedule.next_due(366 * DAY)
    if not schedule.clock.sure():
        if schedule.windows or (schedule.every is not None and schedule.every >= 3600):
            yield "the clock was not set since boot: until it is, every frame is taken, at whatever hour"
    elif due is None:
        yield "warning: no frame is due within a year"
    elif due - now > DAY:
        yield f"warning: no frame is due within a day; the first is due at {local_time(due)}"
    elif due - now > 60:
        yield f"the first frame is due at {local_time(due)}"


def local_time(wall: float) -> str:
    """A time of the wall clock as people here read it, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall))


def _summary(folder: Path, state: str, ledger: Any) -> str:
    missed = ", ".join(f"{count} skipped ({reason})" for reason, count in ledger.skipped.items())
    parts = [missed, f"{ledger.suspects} suspect and left out of the film" if ledger.suspects else ""]
    return ", ".join(filter(None, (f"{folder}: {state}, {ledger.frames} frames", *parts)))


def _open_look() -> OpenLook:
    """Opens a roll's painter, also in the process that paints; it can simulate a build."""
    from pleinair.rolls.developer import open_look

    return functools.partial(open_look, simulator=simulate_build)


def _open_here(look: Look, backend: str, threads: int) -> Painter:
    """What :func:`_open_look` opens, in this process: a signal ends it at once, as nothing is painted yet."""
    with ended_at_once():
        return _open_look()(look, backend, threads)


def _join(roll: Roll, look: Look, out: Path, force: bool = False) -> None:
    from pleinair.films.pipeline import plural
    from pleinair.rolls.finish import finish

    before = films_put_aside(out)
    with Bars() as bars:
        frames = finish(
            roll,
            look,
            out,
            report=lambda done, of: bars.show("painting", done, of),
            painter=_open_here,
            force=force,
        )
    tell_put_aside(before, out)
    for line in roll.mended:
        remark(f"mended: {line}")
    say(
        f"{click.format_filename(out)}: {plural(frames, 'frame')}, {length_text(frames, look.fps)}, "
        f"{out.stat().st_size / 1e6:.1f} MB"
    )


def _complete(roll: Roll, look: Look) -> None:
    """Paint what is missing of a painting."""
    from pleinair.rolls.finish import complete

    with Bars() as bars:
        complete(roll, look, report=lambda done, of: bars.show("painting", done, of), painter=_open_look())
    for line in roll.mended:
        remark(f"mended: {line}")


# -- subcommands


@click.command()
@roll_argument
@preview_option
@click.option("--preview-host", help="Address of that page; by default as when the roll began.")
@camera_option("Live camera in place of the roll's, or the same one at another address.")
@click.option("--notify-cmd", metavar="COMMAND", help="Command to run on troubles and news, in place of the roll's.")
@notices_option("in place of the roll's")
@click.option("--on-film", metavar="COMMAND", help="Command to call with each day's film, in place of the roll's.")
@farm_options
@config_option
def resume(
    roll_folder: Path,
    preview: int | None,
    preview_host: str | None,
    camera: str | None,
    notify_cmd: str | None,
    notices: str | None,
    on_film: str | None,
    on: Where | None,
    audit: float | None,
) -> None:
    """Continue to film on ROLL after a stop, kill or power cut."""
    from pleinair.rolls.beginning import open_roll
    from pleinair.rolls.resuming import resume_roll
    from pleinair_pi.heat import read_heat

    with open_roll(roll_folder) as roll:
        for line in roll.mended:
            remark(f"mended: {line}")
        out = None if roll.settings.out is None else Path(roll.settings.out)
        farm = farm_of(on, audit, bits=roll.settings.look.bits)
        if farm is not None:
            source = CameraSource.parse(roll.settings.camera if camera is None else camera)
            refuse_with_farm(source, {"daily": roll.settings.daily, "on_film": on_film, "notify": notify_cmd})
        lapse = resume_roll(
            roll,
            preview=preview,
            preview_host=preview_host,
            camera=camera,
            notify_cmd=notify_cmd,
            notify=notices,
            on_film=on_film,
            drivers=drivers(),
            thermometer=read_heat,
            painter=_open_look(),
        )
        if lapse is not None:
            _film(lapse, out, farm=farm)
        elif out is not None:
            if farm is not None:
                paint_missing(farm, roll, roll.settings.look)
            _join(roll, roll.settings.look, out)


@click.command()
@rolls_argument
@click.option("--out", type=PATH, required=True, help="Film to write: .mp4, .mkv or .mov.")
@click.option("--style", type=STYLE, help="Style of another painting of the roll, made by `pleinair repaint`.")
@click.option("--bits", type=OneOf(*BITS, FLOAT_BITS), help="Bits of that painting, where there are several.")
@cut_options
@farm_options
@force_option
@config_option
def finish(
    roll_folders: tuple[Path, ...],
    out: Path,
    style: str | None,
    bits: int | None,
    on: Where | None,
    audit: float | None,
    force: bool,
    **options: Any,
) -> None:
    """Paint the rest of ROLL, or of several, and write the film.

    The film holds all paintings as they are, or what the options choose. While a roll is still being filmed, the film
    holds what is finished so far.
    """
    from pleinair.rolls.beginning import open_roll
    from pleinair.rolls.finish import film_tags, find_painting, finish_running
    from pleinair.rolls.lock import is_running
    from pleinair.rolls.settings import check_there

    wanted = Wanted(**options)
    wanted.check()
    farm = farm_of(on, audit)
    for folder in roll_folders:
        check_there(folder)
    first = roll_folders[0]
    if wanted.plain and len(roll_folders) == 1:
        if style is None and is_running(first):
            frames, missing = finish_running(first, out, force=force)
            say(f"{click.format_filename(out)}: {frames} frames; {missing} more are not closed yet")
        else:
            with open_roll(first) as roll:
                look = roll.find_painting(style, bits)
                if farm is not None:
                    paint_missing(farm, roll, look)
                _join(roll, look, out, force)
        make_preview(out, wanted)
        return
    check_film(out)
    reels, tags = list[Reel](), list[dict[str, str]]()
    for folder in roll_folders:
        if wanted.original or is_running(folder):
            look, own = find_painting(folder, style, bits)
        else:
            with open_roll(folder) as roll:
                look = roll.find_painting(style, bits)
                if farm is not None:
                    paint_missing(farm, roll, look)
                _complete(roll, look)
                own = film_tags(roll.folder, roll.settings, roll.ledger, look)
        reels.append(Reel(folder, look))
        tags.append(own)
    make_film(reels, out, wanted, tags[0], force=force)


@click.command()
@roll_argument
@style_option
@bits_option
@click.option(
    "--backend",
    type=OneOf(*FALLBACKS),
    default="cpu",
    show_default=True,
    help="What paints: the processor or the slow NumPy reference.",
)
@engine_option
@click.option(
    "--steady",
    type=Whole(0, MAX_STRENGTH),
    help="Steady against camera noise of N grey levels; by default as the roll was filmed.",
)
@click.option(
    "--deflicker",
    type=Whole(0, MAX_FRAMES),
    help="Even out exposure over N frames; by default as the roll was filmed.",
)
@film_light_options
@click.option(
    "--strokes",
    type=OneOf(*range(1, MOST + 1), AUTO),
    help="Paint at 1/N of the size and enlarge; by default as the roll was filmed.",
)
@click.option("--out", type=PATH, help="Also write the film: .mp4, .mkv or .mov.")
@cut_options
@threads_option
@farm_options
@force_option
@config_option
def repaint(
    roll_folder: Path,
    style: str,
    bits: int,
    backend: str,
    engine: str,
    steady: int | None,
    deflicker: int | None,
    light: str | None,
    light_every: int | None,
    tone: float | None,
    strokes: int | str | None,
    out: Path | None,
    threads: int,
    on: Where | None,
    audit: float | None,
    force: bool,
    **options: Any,
) -> None:
    """Paint the originals of ROLL again, in another style."""
    from pleinair.rolls.beginning import begin_painting, open_roll
    from pleinair.rolls.finish import film_tags, paint_all

    wanted = Wanted(**options)
    wanted.check()
    if out is not None:
        check_film(out)
    elif not wanted.plain or wanted.preview_image is not None:
        raise OptionError("give --out FILM; the other options say how that film is made")
    painted_by = backend_of(backend, engine, None, None)
    farm = farm_of(on, audit, bits=bits, backend=painted_by)
    with open_roll(roll_folder) as roll, contextlib.ExitStack() as stack:
        cluster = None if farm is None else stack.enter_context(joined(farm))
        look = begin_painting(
            roll,
            style,
            bits=bits,
            backend=painted_by,
            threads=threads,
            steady=steady,
            deflicker=deflicker,
            light=light,
            light_every=light_every,
            tone=tone,
            strokes=strokes,
        )
        if cluster is not None and farm is not None:
            paint_on_cluster(cluster, farm, roll, look)
        if out is not None and wanted.plain:
            _join(roll, look, out, force)
            make_preview(out, wanted)
            return
        if out is not None:
            _complete(roll, look)
            tags = film_tags(roll.folder, roll.settings, roll.ledger, look)
            make_film([Reel(roll_folder, look)], out, wanted, tags, force=force)
            return
        with Bars() as bars:
            paint_all(roll, look, report=lambda done, of: bars.show("painting", done, of), painter=_open_here)
        say(f"{roll.painting_folder(look)}: painted; join it by: pleinair finish {roll_folder} --style {look.called}")


@click.command()
@roll_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def status(roll_folder: Path, as_json: bool) -> None:
    """Show how ROLL stands: frames, paintings, troubles, disk."""
    from pleinair.rolls.status import read_status

    found = read_status(roll_folder)
    if as_json:
        say_json(dataclasses.asdict(found))
        return
    for name, text in status_lines(found):
        say(f"{name:>10}  {one_line(text)}")


def status_lines(s: Status) -> Iterator[tuple[str, str]]:
    """A roll's status as (name, text)."""
    from pleinair.rolls.ledger import LATENESS

    yield "state", s.state + (f": {s.reason}" if s.reason else "")
    yield "camera", f"{s.camera}, {s.size[0]}x{s.size[1]}" + (f", every {s.every:.10g} s" if s.every else "")
    if s.due is not None and s.wall is not None and s.due - s.wall > 60:
        yield "next due", local_time(s.due)
    last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(s.last_wall))
    sessions = "1 session" if s.sessions == 1 else f"{s.sessions} sessions"
    yield "captured", f"{s.frames} frames in {sessions}" + (f", the last {last}" if s.frames else "")
    yield "painted", f"{s.painted} frames by {s.look}; {s.pending} to come"
    if len(s.paintings) > 1:
        yield "paintings", ", ".join(s.paintings)
    if s.films:
        yield "films", f"of {len(s.films)} days, the last {s.films[-1]}"
    if s.skipped:
        yield "skipped", ", ".join(f"{count} {reason}" for reason, count in s.skipped.items())
    if s.suspects:
        yield "suspect", f"{s.suspects} frames left out of the film"
    if s.lost:
        yield "lost", f"{s.lost} originals damaged"
    if s.damaged:
        yield "damaged", f"{s.damaged} lines of the journal"
    if s.deleted:
        yield "deleted", f"originals below number {s.deleted}, to make room"
    if s.troubles:
        yield "troubles", f"{s.troubles}; the last: {s.last_trouble}"
    if sum(s.lateness):
        bounds = [f"under {1e3 * bound:g} ms" for bound in LATENESS[:-1]] + ["later"]
        yield "lateness", ", ".join(f"{n} {bound}" for n, bound in zip(s.lateness, bounds, strict=True) if n)
    if s.free is not None:
        yield "disk", f"{s.free / 1e9:.2f} GB free, {s.keep_free / 1e9:.2f} are kept free; keeps {s.keep}"
    if s.celsius is not None:
        yield "heat", f"{s.celsius:.0f} C" + (f", {', '.join(s.heat)}" if s.heat else "")


def register(app: click.Group) -> None:
    """Add the subcommands to the command line."""
    for command in (resume, finish, repaint, status):
        app.add_command(command)
