"""The command ``pleinair``. Each subcommand loads what it needs when it runs, so that a Pi never imports torch."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from typing import Any

import click

from pleinair.cli import (
    bench,
    compare,
    doctor,
    films,
    fpga,
    hardware,
    painting,
    rolls,
    service,
    serving,
    styles,
    training,
)
from pleinair.cli.console import remark, to_nowhere
from pleinair.cli.options import CONFIG
from pleinair.errors import PleinairError


class _App(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the subcommands in the order in which one meets them."""
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        """Run the subcommand. Click would print an empty line for a KeyboardInterrupt."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            remark("pleinair: interrupted")
            raise click.exceptions.Exit(130) from None


@click.group(
    cls=_App,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Names of styles, boards, rolls and engines complete in bash after: "
    'eval "$(_PLEINAIR_COMPLETE=bash_source pleinair)"; zsh and fish have zsh_source and fish_source.',
)
@click.version_option(package_name="pleinair")
def app() -> None:
    """A time-lapse camera that paints."""


for room in (painting, styles, rolls, films, serving, service, doctor, bench, training, hardware, fpga, compare):
    room.register(app)


def _refusal(error: click.UsageError) -> str:
    """Click's own refusal, with the file that the value came from."""
    problem, context = error.format_message(), error.ctx
    parameter = getattr(error, "param", None)
    if context is None or parameter is None or parameter.name is None:
        return problem
    if context.get_parameter_source(parameter.name) is not click.core.ParameterSource.DEFAULT_MAP:
        return problem
    return f"--config {context.meta[CONFIG]}: {problem}"


def _flag(arguments: list[str], option: str) -> str:
    """How the command that was given writes the option which a Python caller knows by this name."""
    command: click.Command = app
    for argument in arguments[:2]:  # of a group's subcommand, too
        if isinstance(command, click.Group) and argument in command.commands:
            command = command.commands[argument]
    for parameter in command.params:
        if parameter.name in (option, f"{option}_"):
            return (
                max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name
            )
    return f"--{option.replace('_', '-')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. What a user did wrong is one line on stderr and status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        os.getcwd()
    except OSError as error:
        remark(f"pleinair: the working folder: {error.strerror}")
        return 2
    try:
        status = app.main(arguments or ["--help"], prog_name="pleinair", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except PleinairError as error:
        problem = error.message if error.option is None else f"{_flag(arguments, error.option)} {error.message}"
    except click.UsageError as error:
        problem = _refusal(error)
    except OSError as error:
        # Help and versions are written by click itself; whatever else fails in there is ours.
        if traceback.extract_tb(error.__traceback__)[-1].filename != click.utils.__file__:
            raise
        to_nowhere()
        problem = f"standard output: {error.strerror}"
    except click.Abort:  # click's name for a KeyboardInterrupt before the command
        remark("pleinair: interrupted")
        return 130
    remark("pleinair: " + problem)
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
    """The console script. SIGTERM and SIGHUP end a run as Ctrl-C does."""
    if sys.argv[1:2] in (["run"], ["paint"], ["resume"], ["finish"], ["repaint"], ["glance"]):
        _quieten()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of ASCII, a name that is no UTF-8
    status = main()
    # All is done and said: a late Ctrl-C shall not change the status.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(status)
