"""Click's types of the command: a value is parsed once, refused with the option's name, and shown in help."""

from __future__ import annotations

import click
import pytest

from pleinair.cli.types import BYTES, DURATION, RATE, SIZE, Name, OneOf, SomeOf, Whole, Wholes
from pleinair.errors import OptionError

KINDS = {
    "size": (SIZE, "64x48", (64, 48), "WIDTHxHEIGHT"),
    "duration": (DURATION, "1.5h", 5400.0, "TIME"),
    "bytes": (BYTES, "1.5GB", 1_500_000_000, "BYTES"),
    "rate": (RATE, "12.5", 12.5, "NUMBER|max"),
    "word": (OneOf("jpg", "png"), "png", "png", "[jpg|png]"),
    "number": (OneOf(4, 8), "8", 8, "[4|8]"),
    "whole": (Whole(1, 9), "7", 7, "N"),
    "wholes": (Wholes(1, 9), "7,3,7", (7, 3), "N[,N]"),
    "some": (SomeOf(4, 8), "8,4", (8, 4), "[4|8]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_its_default_and_its_metavar(kind):
    a_type, text, value, metavar = KINDS[kind]
    option = click.Option(["--keep-free", "name"], type=a_type, default=text)
    command = click.Command("film", params=[option], callback=lambda name: name)
    for arguments in ([], ["--keep-free", text]):
        got = command.main(arguments, standalone_mode=False)
        assert got == value and type(got) is type(value)
    assert f"--keep-free {metavar}" in command.get_help(click.Context(command))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("whole")])
def test_a_refusal_names_the_option_and_the_value(kind):
    option = click.Option(["-k", "--keep-free", "name"], type=KINDS[kind][0])
    command = click.Command("film", params=[option], callback=lambda name: name)
    with pytest.raises(OptionError) as caught:
        command.main(["-k", "nonsense"], standalone_mode=False)
    assert caught.value.option == "keep-free" and caught.value.message.startswith("'nonsense': ")


def test_several_values():
    option = click.Option(["--size", "sizes"], type=SIZE, multiple=True)
    command = click.Command("boards", params=[option], callback=lambda sizes: sizes)
    assert command.main(["--size", "64x48", "--size", "16x16"], standalone_mode=False) == ((64, 48), (16, 16))


def test_names_that_cannot_be_listed_are_neither_an_error_nor_a_choice():
    def absent() -> list[str]:
        raise ImportError("no planner here")

    kind = Name("board", absent, listed=True)
    option = click.Option(["--board"], type=kind)
    assert (
        kind.get_metavar(option) == "BOARD" and kind.shell_complete(click.Context(click.Command("x")), option, "") == []
    )
