"""The command on trouble: told what and why, once in a while; one that fails harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair.rolls.notify import Command, Notice, Notifier


def test_the_command_on_trouble_is_told_what_and_why_once_in_a_while(tmp_path):
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\necho "$1|$2|$PLEINAIR_WHAT|$PLEINAIR_ROLL" >> {tmp_path}/told\n')
    script.chmod(0o755)
    failed = []
    notifier = Notifier(Command(f"{script} --now"), Path("/rolls/roof"), failed.append)
    for _ in range(3):
        notifier.tell(Notice("camera", 'hung; $(rm -rf /) "quoted"'))
        notifier.tell(Notice("disk", "full"))
    notifier.close()
    assert (tmp_path / "told").read_text().splitlines() == [
        '--now|hung; $(rm -rf /) "quoted"|camera|/rolls/roof',
        "--now|full|disk|/rolls/roof",
    ]
    assert failed == []


def test_news_are_never_too_many_and_nobody_waits_for_a_command_that_hangs(tmp_path):
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\necho "$PLEINAIR_LEVEL $PLEINAIR_WHAT $PLEINAIR_DAY" >> {tmp_path}/told\n')
    script.chmod(0o755)
    failed = []
    notifier = Notifier(Command(str(script)), Path("/rolls/roof"), failed.append)
    for day in ("24", "25"):
        notifier.tell(Notice("film-ready", "made", True, {"PLEINAIR_DAY": day}))
        notifier.tell(Notice("camera", "hung"))
    notifier.close()
    lines = (tmp_path / "told").read_text().splitlines()
    assert lines == ["news film-ready 24", "trouble camera ", "news film-ready 25"]
    # After its close it begins anew.
    notifier.tell(Notice("finished", "over", True))
    notifier.close()
    assert (tmp_path / "told").read_text().splitlines()[3:] == ["news finished "] and failed == []
    hangs = Notifier(Command("sh -c 'sleep 60'", timeout=0.2), Path("roll"), failed.append, quiet=0.0)
    for _ in range(100):
        hangs.tell(Notice("camera", "hung"))  # far more than are kept
    thread = hangs._thread
    hangs.close(0.5)
    assert thread is not None
    thread.join(30)  # with the command at hand, and no other
    assert not thread.is_alive() and set(failed) == {"sh took longer than 0 s"} and len(failed) < 16


@pytest.mark.parametrize(("command", "said"), [("false", "ended with status 1"), ("/nowhere/tell", "No such file")])
def test_a_command_that_fails_is_told_and_harms_nothing(command, said):
    failed = []
    notifier = Notifier(Command(command), Path("roll"), failed.append)
    notifier.tell(Notice("camera", "hung"))
    notifier.close()
    assert len(failed) == 1 and said in failed[0]


def test_what_no_command_can_be_told_ends_nothing(tmp_path):
    """A NUL, a lone surrogate and a line break in a message or a variable: escaped or told, and later ones come."""
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {tmp_path}/told\n')
    script.chmod(0o755)
    failed = []
    notifier = Notifier(Command(str(script)), Path("/rolls/roof"), failed.append, quiet=0.0)
    for message in ("a\0b", "a\ud800b", "a\nb"):
        notifier.tell(Notice("camera", message))
    notifier.tell(Notice("film", "made", more={"PLEINAIR_FILM": "a\0b"}))
    notifier.tell(Notice("film", "made", more={"PLEINAIR_FILM": "a\ud800b"}))
    notifier.tell(Notice("disk", "full"))
    notifier.close()
    assert (tmp_path / "told").read_text().splitlines() == ["a\\x00b", "a\\ud800b", "a b", "full"]
    assert len(failed) == 2 and all(str(script) in line for line in failed)
