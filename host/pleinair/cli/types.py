"""Click's types for the command's options: they parse a value, say in ``--help`` what is allowed, and complete it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from pleinair.cli.values import parse_bytes, parse_duration, parse_rate, parse_share, parse_size, parse_step
from pleinair.errors import OptionError, PleinairError
from pleinair.farm.cluster import Where
from pleinair.films.choice import parse_days
from pleinair.films.rate import read_rate

#: Bytes of a file's name, and of a path, on Linux.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


def option_name(parameter: click.Parameter | None) -> str | None:
    """An option as it is written, without its dashes (``keep-free``); None for an argument."""
    if not isinstance(parameter, click.Option):
        return None
    return max(parameter.opts, key=len).lstrip("-")


class NamedPath(click.Path):
    """A path that a disk can hold: names of up to 255 bytes. So no command finds out in the middle of its work."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        path = super().convert(value, param, ctx)
        shown = os.fsdecode(path)
        longest = max(len(os.fsencode(name)) for name in shown.split(os.sep))
        if longest > _LONGEST_NAME or len(os.fsencode(shown)) > _LONGEST_PATH:
            self.fail(f"{shown[:40]!r} and {len(shown) - 40} characters more: the name is too long", param, ctx)
        return path


class Parsed(click.ParamType):
    """A value that is written in one way; refused by :class:`OptionError`, as a library caller would be."""

    def __init__(self, name: str, metavar: str, parse: Callable[[str, str], Any]) -> None:
        self.name, self._metavar, self._parse = name, metavar, parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How ``--help`` shows the value."""
        return self._metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; what is no text was parsed before."""
        return self._parse(value, option_name(param) or self.name) if isinstance(value, str) else value


#: (width, height) in pixels.
SIZE = Parsed("size", "WIDTHxHEIGHT", parse_size)
#: Seconds.
DURATION = Parsed("duration", "TIME", parse_duration)
#: A whole number of frames, or seconds, a float.
STEP = Parsed("step", "N|TIME", parse_step)
#: Dates.
DAYS = Parsed("day", "DATE", lambda text, _: parse_days(text))
#: Bytes.
BYTES = Parsed("bytes", "BYTES", parse_bytes)
#: A film's frames per second, exact.
FPS = Parsed("fps", "NUMBER", read_rate)
#: Frames per second; None for as many as fit.
RATE = Parsed("rate", "NUMBER|max", parse_rate)

#: A part of a whole, 0 to 1.
SHARE = Parsed("share", "PERCENT", parse_share)
#: Where work is shared.
ON = Parsed("on", "ray[:ADDRESS]", lambda text, _: Where.parse(text))


class OneOf(click.Choice):
    """One of a few words, or of a few whole numbers, which are then numbers to the command as well."""

    def __init__(self, *allowed: str | int) -> None:
        super().__init__([str(choice) for choice in allowed])
        self._values: Mapping[str, str | int] = {str(choice): choice for choice in allowed}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The chosen word or number."""
        text = str(value)
        if text not in self._values:
            shown = text if re.fullmatch("-?[0-9]{1,9}", text) else repr(text)
            raise OptionError(f"{shown}: choose from {', '.join(self._values)}", option=option_name(param))
        return self._values[text]


class SomeOf(OneOf):
    """One or several of a few whole numbers, with commas between them: a tuple, each once, as they were given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The chosen numbers."""
        if isinstance(value, tuple):
            return value
        return tuple(dict.fromkeys(super(SomeOf, self).convert(part, param, ctx) for part in str(value).split(",")))


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How ``--help`` shows the value."""
        return "N"


class Wholes(click.ParamType):
    """One or several whole numbers within bounds, with commas between them: a tuple, each once, as they were given."""

    name = "whole numbers"

    def __init__(self, least: int, most: int) -> None:
        self._one = Whole(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        return tuple(dict.fromkeys(self._one(part, param, ctx) for part in str(value).split(",")))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How ``--help`` shows the value."""
        return "N[,N]"


class Weight(click.FloatRange):
    """A number from 0 on."""

    def __init__(self) -> None:
        super().__init__(0)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How ``--help`` shows the value."""
        return "NUMBER"


class Name(click.ParamType):
    """The name of something that is looked up later; a shell completes it from ``names``."""

    def __init__(self, what: str, names: Callable[[], Iterable[str]], *, listed: bool = False) -> None:
        self.name, self._names, self._listed = what, names, listed

    def _known(self) -> Sequence[str]:
        # Completion and help are no place for errors: without the package or the folder there are no names.
        try:
            return list(self._names())
        except (ImportError, OSError, PleinairError):
            return []

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How ``--help`` shows the value: all names where there are few, else what it is the name of."""
        known = self._known() if self._listed else []
        return f"[{'|'.join(known)}]" if known else self.name.upper()

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        return [CompletionItem(name) for name in self._known() if name.startswith(incomplete)]


def style_names() -> list[str]:
    """The styles there are, by name."""
    from pleinair.models import styles

    return list(styles())


def board_names() -> list[str]:
    """The boards that accelerators are planned for. Raises ImportError where the planner is not installed."""
    from pleinair_hw.plan.boards import BOARDS

    return list(BOARDS)


class StyleName(Name):
    """A style's name or its folder."""

    def __init__(self) -> None:
        super().__init__("style", style_names)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The styles that begin so; else folders."""
        return super().shell_complete(ctx, param, incomplete) or [CompletionItem(incomplete, type="dir")]


class RollFolder(NamedPath):
    """The folder of a roll."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The rolls that begin so; else folders, for the way to them."""
        head, slash, begun = incomplete.rpartition("/")
        try:
            beside = sorted(Path(head + slash or ".").iterdir())
        except OSError:
            beside = []
        rolls = [path.name for path in beside if path.name.startswith(begun) and (path / "roll.json").is_file()]
        return [CompletionItem(f"{head}{slash}{name}") for name in rolls] or [CompletionItem(incomplete, type="dir")]


STYLE, BOARD, ROLL = StyleName(), Name("board", board_names, listed=True), RollFolder()
