"""The subcommands that film on a roll and look after one: resume, finish, repaint, status, doctor, service."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pleinair.cameras.framing import Framing
from pleinair.cameras.opening import CameraSource, Driver
from pleinair.cli.fpga import accelerator_options, choose
from pleinair.cli.options import (
    PATH,
    backend_option,
    bits_option,
    config_option,
    engine_option,
    frames_for,
    one_line,
    refuse_same,
    say,
    stopped_by_signals,
    style_option,
    threads_option,
    with_engine,
)  # fmt: skip
from pleinair.cli.values import parse_bytes, parse_duration
from pleinair.errors import DiskFullError, OptionError
from pleinair.films.deflicker import MAX_FRAMES
from pleinair.films.steadiness import MAX_STRENGTH

if TYPE_CHECKING:
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.settings import Look
    from pleinair.rolls.status import Status
    from pleinair.rolls.timelapse import Timelapse

_ROLL = click.argument("roll_folder", metavar="ROLL", type=PATH)
_preview = click.option("--preview", type=click.IntRange(1, 65535), help="Serve a page to watch it on this port.")
_preview_host = click.option(
    "--preview-host", default="127.0.0.1", show_default=True, help="Address to serve it on; 0.0.0.0 for the network."
)


@dataclass(frozen=True)
class Common:
    """What ``pleinair run`` is told, with or without a roll; times in seconds, size as (width, height)."""

    out: Path | None
    camera: CameraSource
    style: str
    bits: int
    backend: str
    every: float | None
    frames: int | None
    for_: str | None
    size: tuple[int, int] | None
    framing: Framing
    timestamp: bool
    fps: int
    steady: int
    deflicker: int | None
    threads: int


def roll_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of ``pleinair run`` that only a roll has."""
    options = (
        click.option("--roll", type=PATH, help="Folder for the roll; by default, live cameras take FILM.roll."),
        click.option("--from", "start", help="Film from this time of day on, 06:30."),
        click.option("--until", "stop", help="Film until this time of day, 21:00."),
        click.option("--daylight", help="Film from dawn to dusk at LATITUDE,LONGITUDE."),
        click.option(
            "--keep", default="originals", show_default=True,
            help="When the disk fills: originals deletes nothing, painted lets painted originals go, none films, too.",
        ),
        click.option("--keep-free", default="1GB", show_default=True, help="Leave so much of the disk free."),
        click.option("--spool", default="jpg", show_default=True, help="Keep originals as jpg or png (lossless)."),
        click.option("--notify-cmd", "notify", help="Command to run on trouble; the message is its last argument."),
        _preview,
        _preview_host,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def drivers() -> dict[str, Driver]:
    """The live cameras that there are, the Raspberry Pi's with them."""
    from pleinair.cameras.opening import DRIVERS
    from pleinair_pi.camera import PiCamera

    return {**DRIVERS, "pi": PiCamera}


_WITHOUT = {
    "start": "--from", "stop": "--until", "daylight": "--daylight", "notify": "--notify-cmd", "preview": "--preview"
}  # fmt: skip


def refuse_without_roll(settings: dict[str, Any]) -> None:
    """Raise OptionError for an option that needs a roll where there is none."""
    for name, option in _WITHOUT.items():
        if settings[name] is not None:
            raise OptionError(f"{option} {settings[name]!r}: needs --roll")


def film_on_roll(
    o: Common,
    roll: Path | None,
    start: str | None,
    stop: str | None,
    daylight: str | None,
    keep: str,
    keep_free: str,
    spool: str,
    notify: str | None,
    preview: int | None,
    preview_host: str,
) -> None:
    """``pleinair run`` with a roll: begin one, film, paint, and join the film where one is asked for."""
    from pleinair.rolls.beginning import begin_roll
    from pleinair_pi.heat import read_heat

    if o.out is not None:
        refuse_same(o.camera.path, o.out, "the video that it is made from")
    if roll is None:
        if o.out is None:
            raise OptionError("give --roll ROLL, --out FILM, or both")
        roll = o.out.with_suffix(".roll")
    frames, seconds = o.frames, None
    if o.for_ is not None:
        if o.camera.live or (not o.camera.timed and o.every is not None):
            seconds = parse_duration(o.for_, "--for")
        else:
            frames = frames_for(o.for_, o.camera, o.every, frames)
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
        fps=o.fps,
        steady=o.steady,
        deflicker=o.deflicker,
        timestamp=o.timestamp,
        keep=keep,
        keep_free=parse_bytes(keep_free, "--keep-free"),
        spool=spool,
        out=o.out,
        notify_cmd=notify,
        preview=preview,
        preview_host=preview_host,
        drivers=drivers(),
        thermometer=read_heat,
    )
    _film(lapse, o.out)


def _film(lapse: Timelapse, out: Path | None) -> None:
    """Film until it ends; then the film, where one is asked for."""
    from pleinair.rolls.preview import Preview

    roll, settings = lapse.roll, lapse.roll.settings
    with contextlib.ExitStack() as stack:
        stack.enter_context(lapse)
        over = [False]
        stop = stack.enter_context(stopped_by_signals(lambda: over[0]))
        if settings.preview is not None:
            preview = stack.enter_context(Preview(roll.folder, lapse.status, settings.preview, settings.preview_host))
            click.echo(f"watch it at {preview.address}", err=True)
        title = f"{lapse.shooter.name} {settings.size[0]}x{settings.size[1]} on {roll.folder}, {settings.look.name}"
        with RollDisplay(title) as display:
            state = lapse.run(stop, report=display.show)
        over[0] = True
        click.echo(_summary(roll.folder, state, roll.ledger), err=True)
        if state == "full":
            raise DiskFullError(f"{lapse.capture.reason}; make room, then: pleinair resume {roll.folder}")
        if state == "failed":
            raise DiskFullError(f"{lapse.capture.reason}; then: pleinair resume {roll.folder}")
        if stop.is_set():
            click.echo(f"interrupted: go on with it by: pleinair resume {roll.folder}", err=True)
            raise click.exceptions.Exit(130)
        if out is not None:
            _join(roll, settings.look, out)


def _summary(folder: Path, state: str, ledger: Any) -> str:
    missed = ", ".join(f"{count} skipped ({reason})" for reason, count in ledger.skipped.items())
    return f"{folder}: {state}, {ledger.frames} frames" + (f", {missed}" if missed else "")


def _join(roll: Roll, look: Look, out: Path) -> None:
    from pleinair.films.pipeline import plural
    from pleinair.rolls.finish import finish

    with _paint_bar() as report:
        frames = finish(roll, look, out, report=report)
    for line in roll.mended:
        click.echo(one_line(f"mended: {line}"), err=True)
    say(
        f"{click.format_filename(out)}: {plural(frames, 'frame')}, {frames / look.fps:.1f} s at {look.fps} fps, "
        f"{out.stat().st_size / 1e6:.1f} MB"
    )


@contextlib.contextmanager
def _paint_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal for frames that are painted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, of: None
        return
    columns = (TextColumn("painting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


class RollDisplay:
    """How a roll stands, live, on a terminal only."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._title = title
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._next = 0.0

    def __enter__(self) -> RollDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, status: Status) -> None:
        """Update from a roll's status."""
        if self._console.is_terminal and time.monotonic() >= self._next:
            self._live.update(status_table(self._title, status))
            self._next = time.monotonic() + 0.25


def status_table(title: str, status: Status) -> Any:
    """A roll's status as a rich renderable."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right", style="dim")
    rows.add_column()
    frames = f"{status.frames:,}" + (f" of {status.wanted:,}" if status.wanted else "")
    if status.wanted:
        rows.add_row("captured", Group(Text(frames), ProgressBar(status.wanted, status.frames, width=40)))
    else:
        rows.add_row("captured", Text(frames))
    rows.add_row("painted", f"{status.painted:,}" + (f", {status.pending:,} to come" if status.pending else ""))
    rows.add_row("state", Text(status.state, style="green" if status.state in ("running", "complete") else "yellow"))
    if skipped := ", ".join(f"{count:,} {reason}" for reason, count in status.skipped.items()):
        rows.add_row("skipped", skipped)
    if status.paint_seconds:
        rows.add_row("rate", f"{status.frames_per_hour:,.0f} frames an hour, {status.paint_seconds:.2f} s to paint one")
    if status.free is not None:
        rows.add_row("disk", f"{status.free / 1e9:.1f} GB free, {status.keep_free / 1e9:.1f} are kept free")
    if status.celsius is not None:
        rows.add_row("heat", f"{status.celsius:.0f} °C" + (f", {', '.join(status.heat)}" if status.heat else ""))
    for trouble in status.errors[-2:]:
        rows.add_row("trouble", Text(one_line(f"{trouble.what}: {trouble.message}"), style="yellow"))
    return Group(Text(title, style="bold"), rows)


# -- subcommands


@click.command()
@_ROLL
@_preview
@click.option("--preview-host", help="Address to serve it on; the roll's own unless given.")
@config_option
def resume(roll_folder: Path, preview: int | None, preview_host: str | None) -> None:
    """Go on with ROLL after a stop, a kill or a power cut."""
    from pleinair.rolls.beginning import open_roll, resume_roll
    from pleinair_pi.heat import read_heat

    with open_roll(roll_folder) as roll:
        for line in roll.mended:
            click.echo(one_line(f"mended: {line}"), err=True)
        out = None if roll.settings.out is None else Path(roll.settings.out)
        lapse = resume_roll(roll, preview=preview, preview_host=preview_host, drivers=drivers(), thermometer=read_heat)
        if lapse is not None:
            _film(lapse, out)
        elif out is not None:
            _join(roll, roll.settings.look, out)


@click.command()
@_ROLL
@click.option("--out", type=PATH, required=True, help="The film: .mp4, .mkv or .mov.")
@click.option("--style", help="Another painting of the roll, made by `pleinair repaint`.")
@click.option("--bits", type=int, help="That painting's width, where there are several.")
@config_option
def finish(roll_folder: Path, out: Path, style: str | None, bits: int | None) -> None:
    """Paint what is left of ROLL and join its film; of a roll that is being filmed, what is closed so far."""
    from pleinair.rolls.beginning import open_roll
    from pleinair.rolls.finish import finish_running
    from pleinair.rolls.lock import is_running
    from pleinair.rolls.roll import check_there

    check_there(roll_folder)
    if style is None and is_running(roll_folder):
        frames, missing = finish_running(roll_folder, out)
        say(f"{click.format_filename(out)}: {frames} frames; {missing} more are not closed yet")
        return
    with open_roll(roll_folder) as roll:
        _join(roll, roll.find_painting(style, bits), out)


@click.command()
@_ROLL
@style_option
@bits_option
@backend_option
@engine_option
@click.option("--steady", type=click.IntRange(0, MAX_STRENGTH), help="As for run; the roll's own unless given.")
@click.option("--deflicker", type=click.IntRange(0, MAX_FRAMES), help="As for run; the roll's own unless given.")
@click.option("--out", type=PATH, help="Also join the film: .mp4, .mkv or .mov.")
@threads_option
@config_option
def repaint(
    roll_folder: Path, style: str, bits: int, backend: str, engine: str, steady: int | None, deflicker: int | None,
    out: Path | None, threads: int,
) -> None:  # fmt: skip
    """Paint ROLL's originals again, in another style."""
    from pleinair.films.recorder import check_film
    from pleinair.rolls.beginning import begin_painting, open_roll
    from pleinair.rolls.finish import paint_all

    if out is not None:
        check_film(out)
    with open_roll(roll_folder) as roll:
        look = begin_painting(
            roll,
            style,
            bits=bits,
            backend=with_engine(backend, engine),
            threads=threads,
            steady=steady,
            deflicker=deflicker,
        )
        if out is not None:
            _join(roll, look, out)
            return
        with _paint_bar() as report:
            paint_all(roll, look, report=report)
        say(f"{roll.painting_folder(look)}: painted; join it by: pleinair finish {roll_folder} --style {style}")


@click.command()
@_ROLL
def status(roll_folder: Path) -> None:
    """How ROLL stands: state, frames, what went wrong, disk."""
    from pleinair.rolls.status import read_status

    for name, text in status_lines(read_status(roll_folder)):
        say(f"{name:>10}  {one_line(text)}")


def status_lines(s: Status) -> Iterator[tuple[str, str]]:
    """A roll's status as (name, text)."""
    from pleinair.rolls.ledger import LATENESS

    yield "state", s.state + (f": {s.reason}" if s.reason else "")
    yield "camera", f"{s.camera}, {s.size[0]}x{s.size[1]}" + (f", every {s.every:g} s" if s.every else "")
    last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(s.last_wall))
    yield "captured", f"{s.frames} frames in {s.sessions} sessions" + (f", the last {last}" if s.frames else "")
    yield "painted", f"{s.painted} frames by {s.look}; {s.pending} to come"
    if len(s.paintings) > 1:
        yield "paintings", ", ".join(s.paintings)
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


@click.command()
@click.option("--camera", default="synthetic", show_default=True, help="The camera to look at, as for run.")
@style_option
@bits_option
@backend_option
@accelerator_options
@click.option("--roll", type=PATH, default=Path("."), show_default=True, help="Folder that a roll is to be in.")
def doctor(
    camera: str, style: str, bits: int, backend: str, overlay: str | None, fallback: str | None, roll: Path
) -> None:
    """Look whether camera, model, engine, disk, clock, memory and heat are fit, and name what helps."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pleinair.doctor.examine import BAD, DOUBTFUL, examine
    from pleinair.fpga.deployment import DeploymentError
    from pleinair.fpga.painter import backend_name
    from pleinair_pi.heat import read_heat

    # An overlay that cannot be read is the doctor's to tell of, not the command line's.
    with contextlib.suppress(DeploymentError):
        _, style, bits = choose(backend, overlay, fallback, style, bits)
    if overlay is not None:
        backend = backend_name(overlay, fallback)
    colours = {BAD: "red", DOUBTFUL: "yellow"}
    table, worst = Table("", "", "found", "remedy", box=None, padding=(0, 2, 0, 0)), False
    for finding in examine(CameraSource.parse(camera), style, bits, backend, roll, drivers(), read_heat):
        colour = colours.get(finding.state, "green")
        table.add_row(
            finding.subject, Text(finding.state, style=colour), Text(one_line(finding.found)), Text(finding.remedy)
        )
        worst = worst or finding.state == BAD
    Console().print(table)
    if worst:
        raise click.exceptions.Exit(2)


@click.group()
def service() -> None:
    """Let systemd go on with a roll at boot, and watch it."""


@service.command()
@_ROLL
@click.option("--user", help="Who runs it; by default who calls, also through sudo.")
@_preview
@click.option("--print", "show", is_flag=True, help="Only show the unit.")
def install(roll_folder: Path, user: str | None, preview: int | None, show: bool) -> None:
    """Write, enable and start the unit for ROLL."""
    import getpass

    from pleinair.rolls.roll import check_there
    from pleinair_pi.service import install as install_unit
    from pleinair_pi.service import own_command, unit_text

    check_there(roll_folder)
    if show:
        say(unit_text(roll_folder, user or getpass.getuser(), own_command(), preview).rstrip())
        return
    path = install_unit(roll_folder, user, preview)
    say(f"{path}: runs now and at every boot; journalctl -u {path.name} tells what it says")


@service.command()
@_ROLL
def remove(roll_folder: Path) -> None:
    """Stop ROLL's service and remove its unit; the roll stays."""
    from pleinair_pi.service import remove as remove_unit

    say(f"{remove_unit(roll_folder)}: removed")


def register(app: click.Group) -> None:
    """Add these subcommands to the command."""
    for command in (resume, finish, repaint, status, doctor, service):
        app.add_command(command)
