"""Bars: on a terminal they are drawn; elsewhere nothing is written, or lines now and then."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from pleinair.cli import console
from pleinair.cli.console import Bars, FilmBars, spinner
from pleinair.films.pipeline import Progress
from tests import children


def test_without_a_terminal_nothing_is_written(capsys):
    with Bars("title") as bars, FilmBars("film") as film, spinner("start") as update:
        bars.show("painting", 1, 2, "note")
        film.update(Progress(total=3, captured=1))
        update("next")
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_its_first_and_last_line_and_one_in_ten_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Bars(lines=True) as bars:
        for step in range(1, 11):
            bars.show("parent", step, 10, f"loss {step}")
            now[0] += 4.0
        bars.tell("done\x1b[31m")
    assert capsys.readouterr().err.splitlines() == [
        "parent: 1 of 10, loss 1",
        "parent: 4 of 10, loss 4",
        "parent: 7 of 10, loss 7",
        "parent: 10 of 10, loss 10",
        "done\\x1b[31m",
    ]


def test_a_quiet_process_says_nothing(capsys):
    with Bars(lines=True, quiet=True) as bars:
        bars.show("parent", 1, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", ["", "single=True", "refresh=False", "single=True, refresh=False"])
def test_on_a_terminal_bars_are_drawn(options):
    code = (
        "from pleinair.cli.console import Bars\n"
        f"with Bars('[b]title', {options}) as bars:\n"
        "    for done in range(4):\n"
        "        bars.show('[b]frames', done, 3, '[b]note')\n"
    )
    master, terminal = pty.openpty()
    child = children.start(
        [sys.executable, "-c", code],
        deadline=60,
        variables={"TERM": "xterm", "COLUMNS": "100"},
        stderr=terminal,
        stdout=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # Linux's end of a terminal
        pass
    assert child.wait(timeout=60) == 0
    text = shown.decode()
    assert "[b]title" in text and "[b]frames" in text and "3/3" in text and "[b]note" in text
