"""The subcommands that film on a roll and look after one: resume, finish, repaint, status, doctor, service."""

from __future__ import annotations

import contextlib
import dataclasses
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
from pleinair.errors import CameraError, DiskFullError, OptionError, PleinairError
from pleinair.films.deflicker import DEFAULT_FRAMES, MAX_FRAMES
from pleinair.films.steadiness import MAX_STRENGTH

if TYPE_CHECKING:
    from pleinair.rolls.roll import Look, Roll

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
    o: Common, roll: Path | None, start: str | None, stop: str | None, daylight: str | None, keep: str, keep_free: str,
    spool: str, notify: str | None, preview: int | None, preview_host: str,
) -> None:  # fmt: skip
    """``pleinair run`` with a roll: begin one, film, paint, and join the film where one is asked for."""
    from pleinair.cameras.opening import LIVE_EVERY, open_shooter
    from pleinair.films.recorder import check_film
    from pleinair.fpga.painter import is_accelerator
    from pleinair.models import load_model
    from pleinair.painting.painter import check_backend
    from pleinair.rolls.capture import check_shooter
    from pleinair.rolls.darkroom import network_sha256
    from pleinair.rolls.notify import parse_command
    from pleinair.rolls.originals import SUFFIXES
    from pleinair.rolls.roll import KEEP, Look, Roll, Settings
    from pleinair.rolls.timelapse import make_schedule

    for option, value, allowed in (("--keep", keep, KEEP), ("--spool", spool, SUFFIXES)):
        if value not in allowed:
            raise OptionError(f"{option} {value!r}: choose from {', '.join(allowed)}")
    if not is_accelerator(o.backend):
        check_backend(o.backend)
    if notify is not None:
        parse_command(notify)
    if o.out is not None:
        check_film(o.out)
        refuse_same(o.camera.path, o.out, "the video that it is made from")
    if roll is None:
        if o.out is None:
            raise OptionError("give --roll ROLL, --out FILM, or both")
        roll = o.out.with_suffix(".roll")
    live, frames, seconds, step, every = o.camera.live, o.frames, None, None, o.every
    if live:
        every = o.every or LIVE_EVERY
    elif o.camera.timed:
        step, every = o.every, None
    if o.for_ is not None and every is not None:
        seconds = parse_duration(o.for_, "--for")
    elif o.for_ is not None:
        frames = frames_for(o.for_, o.camera, step, frames)
    free = parse_bytes(keep_free, "--keep-free")
    schedule = make_schedule(every, start, stop, daylight)
    model = load_model(o.style, o.bits)
    deflicker = o.deflicker if o.deflicker is not None else DEFAULT_FRAMES if live else 0
    style = o.style if not Path(o.style).is_dir() else str(Path(o.style).resolve())
    look = Look(style, o.bits, o.fps, o.steady, deflicker, o.timestamp, network_sha256(model))
    Roll.check_new(roll)
    camera, asked = o.camera.absolute(), o.size
    if asked is not None and o.framing.rotate in (90, 270):
        asked = asked[::-1]
    if o.framing.crop is not None:
        asked = None
    shooter = open_shooter(camera, size=asked, step=step, frames=frames, every=every, drivers=drivers())
    check_shooter(shooter)
    try:
        size = o.size or o.framing.size_of(shooter.size)
        settings = Settings(
            str(camera), size, look, every, frames, seconds, start, stop, daylight, o.framing.rotate, o.framing.crop,
            step, asked, spool, keep=keep, keep_free=free, backend=o.backend, threads=o.threads, notify=notify,
            out=None if o.out is None else str(o.out.absolute()), preview=preview, preview_host=preview_host,
        )  # fmt: skip
        opened = Roll.create(roll, settings)
    except PleinairError:
        shooter.close()
        raise
    _film(opened, shooter, schedule, o.out)


def _film(roll: Roll, shooter: Any, schedule: Any, out: Path | None) -> None:
    """Film on an open roll until it ends; then the film, where one is asked for."""
    from pleinair.rolls.preview import Preview
    from pleinair.rolls.timelapse import Timelapse
    from pleinair_pi.heat import read_heat

    settings = roll.settings
    with contextlib.ExitStack() as stack:
        stack.callback(roll.close)
        stack.callback(shooter.close)
        lapse = Timelapse(roll, shooter, schedule, thermometer=read_heat)
        over = [False]
        stop = stack.enter_context(stopped_by_signals(lambda: over[0]))
        if settings.preview is not None:
            preview = stack.enter_context(Preview(roll.folder, lapse.state, settings.preview, settings.preview_host))
            click.echo(f"watch it at {preview.address}", err=True)
        title = f"{shooter.name} {settings.size[0]}x{settings.size[1]} on {roll.folder}, {settings.look.name}"
        with RollDisplay(title) as display:
            state = lapse.run(stop, display.show)
        over[0] = True
        ledger = roll.ledger
        click.echo(_summary(roll.folder, state, ledger), err=True)
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
    from pleinair.rolls.timelapse import finish

    with _paint_bar() as report:
        frames = finish(roll, look, out, report)
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

    def show(self, state: dict[str, Any]) -> None:
        """Update from a time-lapse's state."""
        if self._console.is_terminal and time.monotonic() >= self._next:
            self._live.update(state_table(self._title, state))
            self._next = time.monotonic() + 0.25


def state_table(title: str, state: dict[str, Any]) -> Any:
    """A roll's state as a rich renderable."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right", style="dim")
    rows.add_column()
    wanted = state.get("wanted")
    frames = f"{state['frames']:,}" + (f" of {wanted:,}" if wanted else "")
    if wanted:
        rows.add_row("captured", Group(Text(frames), ProgressBar(wanted, state["frames"], width=40)))
    else:
        rows.add_row("captured", Text(frames))
    rows.add_row("painted", f"{state['painted']:,}" + (f", {state['pending']:,} to come" if state["pending"] else ""))
    rows.add_row(
        "state", Text(state["state"], style="green" if state["state"] in ("running", "complete") else "yellow")
    )
    if skipped := ", ".join(f"{count:,} {reason}" for reason, count in state["skipped"].items()):
        rows.add_row("skipped", skipped)
    if state.get("paint_seconds"):
        rows.add_row(
            "rate", f"{state['frames_per_hour']:,.0f} frames an hour, {state['paint_seconds']:.2f} s to paint one"
        )
    if state.get("free") is not None:
        rows.add_row("disk", f"{state['free'] / 1e9:.1f} GB free, {state['keep_free'] / 1e9:.1f} are kept free")
    if state.get("celsius") is not None:
        rows.add_row("heat", f"{state['celsius']:.0f} °C" + (f", {', '.join(state['heat'])}" if state["heat"] else ""))
    for error in state.get("errors", [])[-2:]:
        rows.add_row("trouble", Text(one_line(f"{error['what']}: {error['message']}"), style="yellow"))
    return Group(Text(title, style="bold"), rows)


# -- subcommands


@click.command()
@_ROLL
@_preview
@click.option("--preview-host", help="Address to serve it on; the roll's own unless given.")
@config_option
def resume(roll_folder: Path, preview: int | None, preview_host: str | None) -> None:
    """Go on with ROLL after a stop, a kill or a power cut."""
    from pleinair.cameras.opening import open_shooter
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.timelapse import make_schedule

    roll = Roll.open(roll_folder)
    try:
        settings = roll.settings
        if preview is not None or preview_host is not None:
            roll.settings = settings = dataclasses.replace(
                settings, preview=preview or settings.preview, preview_host=preview_host or settings.preview_host
            )
        for line in roll.mended:
            click.echo(one_line(f"mended: {line}"), err=True)
        schedule = make_schedule(settings.every, settings.start, settings.stop, settings.daylight)
        out = None if settings.out is None else Path(settings.out)
        try:
            shooter = open_shooter(
                CameraSource.parse(settings.camera),
                size=settings.ask,
                step=settings.step,
                frames=settings.frames,
                start=roll.ledger.position,
                every=settings.every,
                patient=True,
                drivers=drivers(),
            )
        except CameraError:
            # What was captured to the end can be painted without its source.
            if roll.ledger.state != "complete" or out is None:
                raise
            with contextlib.closing(roll):
                _join(roll, settings.look, out)
            return
    except PleinairError:
        roll.close()
        raise
    _film(roll, shooter, schedule, out)


@click.command()
@_ROLL
@click.option("--out", type=PATH, required=True, help="The film: .mp4, .mkv or .mov.")
@click.option("--style", help="Another painting of the roll, made by `pleinair repaint`.")
@click.option("--bits", type=int, help="That painting's width, where there are several.")
@config_option
def finish(roll_folder: Path, out: Path, style: str | None, bits: int | None) -> None:
    """Paint what is left of ROLL and join its film; of a roll that is being filmed, what is closed so far."""
    from pleinair.rolls.roll import Roll, check_there, is_running
    from pleinair.rolls.timelapse import finish_running

    check_there(roll_folder)
    if style is None and is_running(roll_folder):
        frames, missing = finish_running(roll_folder, out)
        say(f"{click.format_filename(out)}: {frames} frames; {missing} more are not closed yet")
        return
    roll = Roll.open(roll_folder)
    with contextlib.closing(roll):
        _join(roll, _choose(roll, style, bits), out)


def _choose(roll: Roll, style: str | None, bits: int | None) -> Look:
    looks = roll.looks()
    found = [k for k in looks.values() if style in (None, Path(k.style).name, k.style) and bits in (None, k.bits)]
    if not found:
        wanted = " ".join(f"--{n} {v}" for n, v in (("style", style), ("bits", bits)) if v is not None)
        raise OptionError(f"{wanted}: roll {roll.folder} has the paintings {', '.join(looks)}; see pleinair repaint")
    return found[0]


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
    from pleinair.models import load_model
    from pleinair.painting.painter import check_backend
    from pleinair.rolls.darkroom import network_sha256
    from pleinair.rolls.roll import Roll
    from pleinair.rolls.timelapse import paint_all

    backend = with_engine(backend, engine)
    check_backend(backend)
    if out is not None:
        check_film(out)
    model = load_model(style, bits)
    roll = Roll.open(roll_folder)
    with contextlib.closing(roll):
        own = roll.settings.look
        look = dataclasses.replace(
            own, style=style if not Path(style).is_dir() else str(Path(style).resolve()), bits=bits,
            network=network_sha256(model),
            steady=own.steady if steady is None else steady,
            deflicker=own.deflicker if deflicker is None else deflicker,
        )  # fmt: skip
        roll.settings = dataclasses.replace(roll.settings, backend=backend, threads=threads)
        roll.add_painting(look)
        if out is not None:
            _join(roll, look, out)
            return
        with _paint_bar() as report:
            paint_all(roll, look, report)
        say(f"{roll.painting_folder(look)}: painted; join it by: pleinair finish {roll_folder} --style {style}")


@click.command()
@_ROLL
def status(roll_folder: Path) -> None:
    """How ROLL stands: state, frames, what went wrong, disk."""
    from pleinair.rolls.timelapse import stand

    values, ledger = stand(roll_folder)
    for name, text in status_lines(values, ledger.lateness):
        say(f"{name:>10}  {one_line(text)}")


def status_lines(v: dict[str, Any], lateness: list[int]) -> Iterator[tuple[str, str]]:
    """A roll's state as (name, text)."""
    from pleinair.rolls.roll import LATENESS

    yield "state", v["state"] + (f": {v['reason']}" if v["reason"] else "")
    yield (
        "camera",
        f"{v['camera']}, {v['size'][0]}x{v['size'][1]}" + (f", every {v['every']:g} s" if v["every"] else ""),
    )
    yield (
        "captured",
        f"{v['frames']} frames in {v['sessions']} sessions"
        + (f", the last {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(v['last_wall']))}" if v["frames"] else ""),
    )
    yield "painted", f"{v['painted']} frames by {v['look']}; {v['pending']} to come"
    if len(v["paintings"]) > 1:
        yield "paintings", ", ".join(v["paintings"])
    if v["skipped"]:
        yield "skipped", ", ".join(f"{count} {reason}" for reason, count in v["skipped"].items())
    for name, text in (
        ("suspect", "frames left out of the film"), ("lost", "originals damaged"), ("damaged", "lines of the journal")
    ):  # fmt: skip
        if v.get(name if name != "suspect" else "suspects"):
            yield name, f"{v[name if name != 'suspect' else 'suspects']} {text}"
    if v["deleted"]:
        yield "deleted", f"originals below number {v['deleted']}, to make room"
    if v["troubles"]:
        yield "troubles", f"{v['troubles']}; the last: {v['last_trouble']}"
    if sum(lateness):
        bounds = [f"under {1e3 * bound:g} ms" for bound in LATENESS[:-1]] + ["later"]
        yield "lateness", ", ".join(f"{n} {bound}" for n, bound in zip(lateness, bounds, strict=True) if n)
    if "free" in v:
        yield "disk", f"{v['free'] / 1e9:.2f} GB free, {v['keep_free'] / 1e9:.2f} are kept free; keeps {v['keep']}"
    if v.get("celsius") is not None:
        yield "heat", f"{v['celsius']:.0f} C" + (f", {', '.join(v['heat'])}" if v["heat"] else "")


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
