"""The command on trouble: told what and why, once in a while; one that fails harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair.rolls.notify import Notifier


def test_the_command_on_trouble_is_told_what_and_why_once_in_a_while(tmp_path):
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\necho "$1|$2|$PLEINAIR_WHAT|$PLEINAIR_ROLL" >> {tmp_path}/told\n')
    script.chmod(0o755)
    failed = []
    notifier = Notifier(f"{script} --now", Path("/rolls/roof"), failed.append)
    for _ in range(3):
        notifier.tell("camera", 'hung; $(rm -rf /) "quoted"')
        notifier.tell("disk", "full")
    notifier.close()
    assert (tmp_path / "told").read_text().splitlines() == [
        '--now|hung; $(rm -rf /) "quoted"|camera|/rolls/roof',
        "--now|full|disk|/rolls/roof",
    ]
    assert failed == []


@pytest.mark.parametrize(("command", "said"), [("false", "ended with status 1"), ("/nowhere/tell", "No such file")])
def test_a_command_that_fails_is_told_and_harms_nothing(command, said):
    failed = []
    notifier = Notifier(command, Path("roll"), failed.append)
    notifier.tell("camera", "hung")
    notifier.close()
    assert len(failed) == 1 and said in failed[0]


def test_what_no_command_can_be_told_ends_nothing(tmp_path):
    """A NUL, a lone surrogate and a line break in a message or a variable: escaped or told, and later ones come."""
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {tmp_path}/told\n')
    script.chmod(0o755)
    failed = []
    notifier = Notifier(str(script), Path("/rolls/roof"), failed.append, quiet=0.0)
    for message in ("a\0b", "a\ud800b", "a\nb"):
        notifier.tell("camera", message)
    notifier.tell("film", "made", {"PLEINAIR_FILM": "a\0b"})
    notifier.tell("film", "made", {"PLEINAIR_FILM": "a\ud800b"})
    notifier.tell("disk", "full")
    notifier.close()
    assert (tmp_path / "told").read_text().splitlines() == ["a\\x00b", "a\\ud800b", "a b", "full"]
    assert len(failed) == 2 and all(str(script) in line for line in failed)
