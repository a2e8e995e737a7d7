"""What the subcommands of ``pleinair`` have in common: options, ``--config``, signals, and what is missing here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pleinair import DEFAULT_STYLE
from pleinair.backends import KINDS
from pleinair.cameras.address import is_address
from pleinair.cameras.opening import LIVE_EVERY, CameraSource
from pleinair.cli.console import remark, show_cursor
from pleinair.cli.types import DURATION, STYLE, NamedPath, OneOf, Whole
from pleinair.cli.values import duration_text, read_config
from pleinair.engines.exact import AUTO, ENGINES
from pleinair.errors import OptionError
from pleinair.films.lighting import LIGHTS, MAX_EVERY
from pleinair.films.tone import DEFAULT_TONE
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair.painting.strokes import AUTO as AUTO_STROKES
from pleinair.painting.strokes import MOST

#: Exit status of a run that left frames of a stored camera out, or lost originals: the film is there, without them.
INCOMPLETE = 3
MOST_FRAMES = 10_000_000
PATH = NamedPath(path_type=Path)
#: An environment variable: the accelerator of this machine, which paints unless something else is asked for. The
#: program that `pleinair deploy` copies to a board sets it.
OVERLAY_VARIABLE = "PLEINAIR_OVERLAY"

style_option = click.option(
    "--style",
    type=STYLE,
    default=DEFAULT_STYLE,
    show_default=True,
    help="Style to paint in: a name that `pleinair styles` lists, or a model's folder.",
)
bits_option = click.option(
    "--bits",
    type=OneOf(*BITS, FLOAT_BITS),
    default=8,
    show_default=True,
    help="Bits of the network's weights and activations; 32 is the float network.",
)
backend_option = click.option(
    "--backend",
    type=OneOf(*KINDS),
    default=lambda: "fpga" if os.environ.get(OVERLAY_VARIABLE) else "cpu",
    show_default="cpu",
    help="What paints: the processor, the slow NumPy reference, or an FPGA. All paint the same pixels, except at "
    "32 bits.",
)
engine_option = click.option(
    "--engine",
    type=OneOf(AUTO, *ENGINES),
    default=AUTO,
    show_default=True,
    help="What the processor computes with. auto is the engine that `pleinair bench` found fastest.",
)
threads_option = click.option(
    "--threads",
    type=Whole(0, 256),
    default=0,
    show_default=True,
    help="Threads that paint; 0 uses every core.",
)
every_option = click.option(
    "--every",
    type=DURATION,
    show_default=f"{LIVE_EVERY:g}s for live cameras",
    help="Time between frames, such as 10s, 5m or 2h.",
)

force_option = click.option("--force", is_flag=True, help="Overwrite a film that is there; else it is put aside.")

#: Where a context keeps the file that its options came from.
CONFIG = "pleinair.cli.main.config"


def _configure(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Take the options of a ``--config`` file as defaults of the command that it is given to."""
    if path is None:
        return
    options = {
        long.removeprefix("--"): parameter
        for parameter in context.command.params
        for long in parameter.opts
        if long.startswith("--") and parameter.name and parameter.name != "config"
    }
    switches = {key for key, parameter in options.items() if isinstance(parameter.type, click.types.BoolParamType)}
    values = read_config(path, set(options), switches)
    context.default_map = {options[key].name or key: value for key, value in values.items()}
    context.meta[CONFIG] = path


_light_options = (
    click.option(
        "--light",
        type=OneOf(*LIGHTS),
        show_default="frame",
        help="Light to paint in: frame follows the frames, scene stays that of the film's first ones, fixed is that of "
        "an average photo.",
    ),
    click.option(
        "--light-every",
        type=Whole(1, MAX_EVERY),
        show_default="12 for videos, synthetic days and live cameras faster than a frame a second, else 1",
        help="Measure the light of every N-th frame.",
    ),
)
tone_option = click.option(
    "--tone",
    type=click.FloatRange(0, 1),
    show_default=f"{DEFAULT_TONE} in adaptive styles, else 0",
    metavar="0..1",
    help="How much of the scene's own brightness to bring back into the painting.",
)


strokes_option = click.option(
    "--strokes",
    type=OneOf(*range(1, MOST + 1), AUTO_STROKES),
    default=1,
    show_default=True,
    help="Paint at 1/N of the size and enlarge, so that strokes are N times as large; auto: as in training.",
)


def film_light_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--light``, ``--light-every`` and ``--tone``."""
    for option in reversed((*_light_options, tone_option)):
        command = option(command)
    return command


config_option = click.option(
    "--config",
    type=PATH,
    expose_value=False,
    is_eager=True,
    callback=_configure,
    help="TOML file of further options; those on the command line win.",
)


def _tell_typed(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Say it where a secret address is on the command line, which every user of the machine may read."""
    typed = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    secret = value is not None and (param.name != "camera" or (is_address(value) and ("@" in value or "?" in value)))
    if typed and secret:
        variable = f", or the variable {param.envvar}," if param.envvar else ""
        remark(
            f"warning: what is typed shows in the machine's list of processes; a file for --config{variable} keeps the "
            f"address of {max(param.opts, key=len)} out of it"
        )
    return value


def notices_option(more: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--notify``, also from the variable PLEINAIR_NOTIFY where a roll begins."""
    return click.option(
        "--notify",
        "notices",
        metavar="ADDRESSES",
        envvar=None if more else "PLEINAIR_NOTIFY",
        callback=_tell_typed,
        help="Addresses of Apprise to tell of troubles and news, with blanks between" + (f"; {more}." if more else "."),
    )


def camera_option(about: str, default: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--camera``; where it has a default, the variable PLEINAIR_CAMERA comes before that."""
    return click.option(
        "--camera",
        default=default,
        show_default=default is not None,
        envvar="PLEINAIR_CAMERA" if default is not None else None,
        callback=_tell_typed,
        help=about,
    )


def refuse_same(source: Path | None, out: Path, what: str) -> None:
    """Raise OptionError when the output is the input: it would be gone."""
    try:
        same = source is not None and os.path.samefile(source, out)
    except (OSError, ValueError):
        return
    if same:
        raise OptionError(f"output {out}: is {what}; name another file")


#: The packages of each extra that a command cannot do without, as they are imported.
_EXTRAS = {
    "train": "torch lightning lightning_fabric tensorboard brevitas qonnx onnxoptimizer skimage matplotlib "
    "av onnx onnxruntime astral",
    "cpu": "starlette uvicorn anyio h11",
}


@contextmanager
def extra(name: str, command: str) -> Iterator[None]:
    """Say which extra to install where a package of it is missing. Raises OptionError.

    Only the extra's own packages count. Any other ImportError is a fault of ours or of the machine, and goes on.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS[name].split():
            raise
        raise OptionError(f"{command} needs {missing}: pip install '.[{name}]' in a checkout of pleinair") from error


@contextmanager
def stopped_by_signals(over: Callable[[], bool]) -> Iterator[threading.Event]:
    """Yield an event that SIGINT, SIGTERM and SIGHUP set; once all is ``over`` they raise KeyboardInterrupt.

    Before that an exception could come between encoding a frame and writing it, or into the film's completion.
    Ignored signals (nohup) stay ignored.
    """
    stop = threading.Event()

    def handle(_: int, __: object) -> None:
        if over():
            raise KeyboardInterrupt
        stop.set()

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_at_once() -> Iterator[Callable[[], None]]:
    """While nothing is recorded yet, SIGINT, SIGTERM and SIGHUP end the process at once, with status 130.

    An engine that opens may compile for half a minute, and an exception that a signal raises in it may end anywhere:
    swallowed by a callback, or as a segmentation fault when Python goes while a compiler's threads run. The function
    that this yields ends it early: from then on the handlers are the caller's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    over = threading.Event()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    watched = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]

    def watch() -> None:
        # Python's own handlers run in the main thread, which may be in a compiler; a byte comes here at once.
        while number := os.read(ours, 1):
            if number[0] in watched and not over.is_set():
                show_cursor()
                remark("pleinair: interrupted")
                os._exit(130)

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, lambda *_: None) for number in watched}
    earlier = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    try:
        yield over.set
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(theirs)
        thread.join()
        os.close(ours)


def frames_for(for_: float, source: CameraSource, interval: float | None, frames: int | None) -> int:
    """How many frames a stored camera gives in ``for_`` seconds of its scene. Raises OptionError."""
    from pleinair.cameras.synthetic import SYNTHETIC_STEP

    asked = repr(duration_text(for_))
    if frames is not None:
        raise OptionError(f"{asked}: give --for or --frames, not both", option="for")
    if not source.timed:
        raise OptionError(f"{asked}: a folder of frames has no clock; give --frames", option="for")
    if interval is None and source.kind != "synthetic":
        raise OptionError(f"{asked}: needs --every", option="for")
    count = max(1, round(for_ / (interval or SYNTHETIC_STEP)))
    if count > MOST_FRAMES:
        raise OptionError(f"{asked}: {count} frames at that --every, allowed are {MOST_FRAMES}", option="for")
    return count
