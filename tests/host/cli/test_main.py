"""The command as a whole: help, completion, and which errors become one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import BashComplete

from pleinair.cli.main import app, main
from pleinair.engines.exact import ENGINES
from pleinair.errors import OptionError
from pleinair_hw.plan.boards import BOARDS
from tests import children
from tests.models import write_model
from tests.networks import random_network


def commands(group: click.Group = app, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group, with its words."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


@pytest.fixture
def help_of(monkeypatch, capsys):
    """Renders a command's help at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def render(*words: str) -> str:
        assert main([*words, "--help"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return render


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_80_columns_and_says_what_everything_is(help_of, words):
    text = help_of(*words)
    # Three dots: a sentence that Click has cut off, where they do not follow an argument that is repeated.
    assert max(map(len, text.splitlines())) <= 80 and not re.search(r"(?<![A-Z\]])\.\.\.", text)
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.help.rstrip().endswith("."), parameter.name
            assert max(parameter.opts, key=len) in text
            if isinstance(parameter.type, click.Choice):
                assert f"[{'|'.join(map(str, parameter.type.choices))}]" in text


def test_help_names_what_is_allowed(help_of):
    run, build = help_of("run"), help_of("build")
    for allowed in ("[cpu|reference|fpga]", "[4|8|16|32]", "[originals|painted|none]", "[jpg|png]", "[0|90|180|270]"):
        assert allowed in run
    assert f"[auto|{'|'.join(ENGINES)}]" in run and "WIDTHxHEIGHT" in run and "TIME" in run and "0<=x<=" in run
    assert f"[{'|'.join(BOARDS)}]" in build and "[estimate|simulate]" in build and "NUMBER|max" in build
    assert "[float32|bfloat16]" in help_of("train") and "[cpu|cuda]" in help_of("train")


def test_help_of_nothing_lists_the_commands_in_the_order_of_use(help_of, capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "Usage: pleinair" in text and "_PLEINAIR_COMPLETE=bash_source" in text
    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines() if line.startswith("  ")]
    assert listed[:3] == ["run", "paint", "styles"] and set(app.commands) <= set(listed)


# -- completion


def completed(*words: str) -> list[str]:
    """What a shell is offered for the last word."""
    *before, begun = words
    shell = BashComplete(app, {}, "pleinair", "_PLEINAIR_COMPLETE")
    return [item.value for item in shell.get_completions(before, begun)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with two styles, two rolls and another folder."""
    network = random_network(3, width=4, blocks=1, kernel=3)
    for name in ("integers", "inks"):
        write_model(tmp_path / "models" / name, network)
    for name in ("roof", "rooftop", "room"):
        (tmp_path / "rolls" / name).mkdir(parents=True)
        if name != "room":
            (tmp_path / "rolls" / name / "roll.json").write_text("{}")
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_styles_boards_rolls_and_engines_are_completed(place, monkeypatch):
    assert completed("run", "--style", "in") == ["inks", "integers"]
    assert completed("paint", "a.png", "b.png", "--engine", "") == ["auto", *ENGINES]
    assert completed("build", "starry-night-board", "--board", "z") == ["zcu104"]
    assert set(completed("compare", "--boards", "")) == {*BOARDS, "none"}
    assert completed("status", "rolls/roo") == ["rolls/roof", "rolls/rooftop"]
    monkeypatch.chdir(place / "rolls")
    assert completed("resume", "rooft") == ["rooftop"]
    assert completed("run", "--backend", "") == ["cpu", "reference", "fpga"]
    assert completed("stat") == ["status"]


def test_where_nothing_is_known_folders_are_completed(place):
    shell = BashComplete(app, {}, "pleinair", "_PLEINAIR_COMPLETE")
    (item,) = shell.get_completions(["status"], "nowhere/")
    assert (item.value, item.type) == ("nowhere/", "dir")
    (item,) = shell.get_completions(["paint", "a.png", "b.png", "--style"], "./mod")
    assert (item.value, item.type) == ("./mod", "dir")


def test_a_shell_gets_its_script_and_its_words(place):
    command = [sys.executable, "-c", "from pleinair.cli.main import entry; entry()"]

    def ask(**variables: str) -> str:
        return children.run(command, variables=variables, check=True, deadline=60).stdout

    assert "complete" in ask(_PLEINAIR_COMPLETE="zsh_source")
    words = ask(_PLEINAIR_COMPLETE="bash_complete", COMP_WORDS="pleinair run --style in", COMP_CWORD="3")
    assert words.split() == ["plain,inks", "plain,integers"]


# -- errors


def test_only_a_package_of_the_extra_is_called_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pleinair_training.export", None)
    arguments = ["export", "run", "--out", "x"]
    with pytest.raises(ImportError, match=r"pleinair_training\.export"):
        main(arguments)
    monkeypatch.delitem(sys.modules, "pleinair_training.export")
    for name in [name for name in sys.modules if name.startswith("pleinair_training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(arguments) == 2
    assert capsys.readouterr().err == "pleinair: export needs torch: pip install '.[train]' in a checkout of pleinair\n"


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("style", "--style"),
        ("start", "--from"),
        ("notify", "--notify-cmd"),
        ("keep_free", "--keep-free"),
        ("for", "--for"),
    ],
)
def test_an_argument_is_named_as_the_command_writes_it(monkeypatch, capsys, option, flag):
    def refuse(*_: object) -> None:
        raise OptionError("'x': is refused", option=option)

    monkeypatch.setattr("pleinair.cli.painting._film_at_once", refuse)
    assert main(["run", "--out", "film.mp4"]) == 2
    assert capsys.readouterr().err == f"pleinair: {flag} 'x': is refused\n"


LONG = 300 * "x"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--camera", "synthetic", "--out", f"{LONG}.mp4"],
        ["paint", "photo.png", f"{LONG}.png"],
        ["status", LONG],
        ["service", "install", LONG],
        ["doctor", "--roll", LONG],
        ["train", "--style", "a.png", "--content", "photos", "--loss-network", "vgg16:none.npz", "--out", LONG],
        ["evaluate", "--content", LONG, "--loss-network", "vgg16:none.npz", "--out", "report"],
        ["export", LONG, "--out", "model"],
        ["build", "starry-night-board", "--bits", "4", "--board", "zcu104", "--size", "16x16", "--out", LONG],
        ["simulate", "build", "--image", "photo.png", "--out", f"{LONG}.png"],
        ["deploy", LONG, "--out", "box.tar.gz"],
        ["compare", "--out", "/".join(["x" * 200] * 21)],
        ["styles", "add", LONG],
    ],
)
def test_a_name_that_no_disk_can_hold_is_refused_before_the_work(place, capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "the name is too long" in err and len(err) < 250
    assert sorted(path.name for path in place.iterdir()) == ["models", "rolls"]


@pytest.mark.parametrize("model", [LONG, "nul\0"])
def test_a_network_of_such_a_name_is_none(place, capsys, model):
    build = ["build", model, "--bits", "4", "--board", "zcu104", "--size", "16x16", "--out", "build"]
    assert main(build) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["boards", "--help"], ["styles"]])
def test_a_full_device_and_a_closed_pipe(place, arguments):
    command = [sys.executable, "-c", "from pleinair.cli.main import entry; entry()", *arguments]
    with open("/dev/full", "w") as full:
        done = children.run(command, stdout=full)
    assert done.returncode == 2 and done.stderr == "pleinair: standard output: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = children.run(command, stdout=writer)
    os.close(writer)
    assert done.stderr == "" and done.returncode in (1, 141)
