"""What the texts for people name is there: files, commands and their options, versions."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from pleinair.cli.main import app
from tests.house import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "pi" / "README.md"])
#: A path of the checkout: in one of its folders, or a file at its top that is written in capitals.
_PATH = re.compile(
    r"(?<![\w./~-])((?:host|training|hw|pi|tests|docs|examples|models)/[\w./-]*\w|[A-Z]{4,}\.md|Makefile|Dockerfile\.finn)"
)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]*)?\)")
_COMMAND = re.compile(r"(?:^    |[`;] *)(?:sudo )?(?:\S*bin/)?(pleinair [a-z][^`;#\n]*)", re.MULTILINE)
#: Folders that a command in the texts makes, and one that stands for any style.
_MADE = ("models/mine", "models/NAME", "models/STYLE")

texts = pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@texts
def test_paths_are_there(text: Path):
    named = set(_PATH.findall(text.read_text()))
    missing = {path for path in named if not (ROOT / path).exists() and not path.startswith(_MADE)}
    assert not missing


@texts
def test_links_lead_to_files(text: Path):
    assert not {link for link in _LINK.findall(text.read_text()) if not (text.parent / link).exists()}


@texts
def test_commands_and_options_are_there(text: Path):
    wrong = []
    for line in _COMMAND.findall(text.read_text()):
        words = shlex.split(line.replace("'", ""), comments=True)[1:]
        command: click.Command | None = app
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.commands.get(words.pop(0))
        if command is None:
            wrong.append(f"{line}: no such command")
            continue
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        known |= {"--help", "--version"}
        for word in words:
            option = word.split("=")[0].split("|")[0].rstrip(".,:)")
            if option.startswith("--") and option not in known:
                wrong.append(f"{line}: no {option}")
    assert not wrong, "\n".join(wrong)


def test_the_pattern_finds_commands_in_blocks_and_in_sentences():
    assert _COMMAND.findall("    pleinair styles\nand `pleinair run --out x` too;  `.venv/bin/pleinair bench`") == [
        "pleinair styles",
        "pleinair run --out x",
        "pleinair bench",
    ]


def test_pre_commit_uses_the_ruff_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = (p.removeprefix("ruff==") for p in project["optional-dependencies"]["dev"] if p.startswith("ruff"))
    assert f"rev: v{pinned} " in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_changelog_knows_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\n## {project['version']}, " in (ROOT / "CHANGELOG.md").read_text()
