"""A disk that fails or is full at any write, of the capture and of the painting."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest

from pleinair import durable
from pleinair.errors import OutputError, RollError
from pleinair.rolls.finish import paint_all
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import find_segments
from tests.rolls import (
    Still,
    capture_only,
    coded_frame,
    frames_of,
    joined,
    new_roll,
    open_plain,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


class Disk:
    """Fails the write, the sync or the rename of number ``at`` with ``error``, and all that follow while ``full``."""

    def __init__(self, monkeypatch, at: int, full: bool, error: int = errno.ENOSPC) -> None:
        self.count, self.at, self.full, self.error = 0, at, full, error
        self.failed = 0
        for name in ("write_all", "sync_file", "sync_folder", "replace"):
            monkeypatch.setattr(durable, name, self.wrap(getattr(durable, name)))

    def wrap(self, real):
        def wrapped(*arguments):
            self.count += 1
            if self.count == self.at or (self.full and self.count > self.at):
                self.failed += 1
                if real.__name__ == "write_all":  # half of it
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        return wrapped


@pytest.mark.parametrize("full", [True, False])
def test_a_disk_that_is_full_at_any_write(tmp_path, monkeypatch, full):
    """Every write, sync and rename of a run of six frames, one after the other, fails once, or from then on."""
    with monkeypatch.context() as patch:
        disk = Disk(patch, -1, False)
        assert capture_only(new_roll(tmp_path / "whole", frames=6), Still()) == "complete"
    calls, begun = disk.count, 0
    for at in range(1, calls + 1):
        folder = tmp_path / f"at{at}"
        with monkeypatch.context() as patch:
            disk = Disk(patch, at, full)
            try:
                roll = new_roll(folder, frames=6)
            except RollError as error:
                assert "No space left" in str(error)
                continue
            begun += 1
            camera = Still()
            assert capture_only(roll, camera) in ("full", "complete")
            assert disk.failed
        if camera.taken == 0:
            continue
        # With room again it goes on, with every frame that it had said was kept, and no hole.
        before = {r["seq"]: r["sha256"] for r in frames_of(folder)}
        assert len(before) >= camera.taken - 1
        roll = Roll.open(folder)
        start = roll.ledger.last + 1
        assert capture_only(roll, Still(lambda n, start=start: coded_frame(n + start))) == "complete"
        after = {r["seq"]: r["sha256"] for r in frames_of(folder)}
        assert sorted(after) == list(range(6)) and before.items() <= after.items()
        assert joined(folder) == list(range(6)), at
    assert begun > 30


def test_a_disk_that_is_full_while_painting(tmp_path, monkeypatch):
    """The same for every write of the painting: what was closed stays, and the film is whole in the end."""
    assert capture_only(new_roll(tmp_path / "roll", frames=25), Still()) == "complete"
    done, at = False, 0
    while not done:
        at += 3
        with monkeypatch.context() as patch, contextlib.closing(Roll.open(tmp_path / "roll")) as roll:
            closed = find_segments(tmp_path / "roll" / "paintings" / "plain-8bit")
            disk = Disk(patch, at, True)
            try:
                paint_all(roll, roll.settings.look, painter=open_plain)
                done = True
            except OutputError as error:
                assert "No space left" in str(error)
        assert set(closed) <= set(find_segments(tmp_path / "roll" / "paintings" / "plain-8bit"))
        assert disk.failed or done
    assert joined(tmp_path / "roll") == list(range(25)) and at > 15
