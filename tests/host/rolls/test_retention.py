"""Retention: the floor is kept by deleting what may go, the oldest first."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import DiskFullError
from pleinair.rolls import retention
from pleinair.rolls.retention import Retention, low_room
from pleinair.rolls.segments import find_segments
from tests.rolls import (
    Still,
    coded_frame,
    events,
    film_roll,
    frames_of,
    joined,
    new_roll,
    open_slow,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def fake_disk(monkeypatch, roll_folder: Path, size: int) -> None:
    """A disk of ``size`` bytes that holds the roll alone."""

    def free(_: Path) -> int:
        used = 0
        for folder, _folders, names in os.walk(roll_folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # the other process may just have deleted it
                    used += os.stat(os.path.join(folder, name)).st_size
        return size - used

    monkeypatch.setattr("pleinair.rolls.retention.free_bytes", free)


@pytest.mark.parametrize("keep", ["originals", "painted", "none"])
def test_the_floor_is_kept_by_deleting_what_may_go_the_oldest_first(tmp_path, monkeypatch, keep):
    floor, need = 3_000_000, 2_000_000
    fake_disk(monkeypatch, tmp_path / "roll", floor + need + 250_000)
    lowest = []

    def plan(number: int) -> np.ndarray:
        lowest.append(retention.free_bytes(tmp_path))
        # Painting may take its time to start, and what is not painted may not go: then the disk would be rightly full.
        began = tmp_path / "roll" / "paintings" / "plain-8bit" / "latest.jpg"
        deadline = time.monotonic() + 60
        while keep != "originals" and number > 10 and not began.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.01 if keep == "originals" else 0.03)
        return coded_frame(number)

    roll = new_roll(tmp_path / "roll", frames=300, keep=keep, keep_free=floor)
    lapse = film_roll(roll, Still(plan))
    assert min(lowest) >= floor
    originals = sorted(int(p.stem) for p in tmp_path.glob("roll/originals/*/*.png"))
    pieces = find_segments(tmp_path / "roll" / "paintings" / "plain-8bit")
    captured = [r["seq"] for r in frames_of(tmp_path / "roll")]
    if keep == "originals":
        assert lapse.capture.state == "full" and originals == captured and "keep 'originals'" in lapse.capture.reason
        assert joined(tmp_path / "roll") == captured
        assert events(tmp_path / "roll", "end")[-1]["state"] == "full"
        return
    # The oldest go first, and only painted ones.
    assert 0 < len(originals) < len(captured) and originals == captured[-len(originals) :]
    covered = [seq for piece in pieces for seq in range(piece.first, piece.last + 1)]
    assert covered == captured[len(captured) - len(covered) :]
    if keep == "painted":
        assert covered[0] == 0 and joined(tmp_path / "roll") == captured
    else:
        assert lapse.capture.state == "complete" and covered[0] > 0 and joined(tmp_path / "roll") == covered


def test_room_that_runs_low_is_told_before_the_disk_is_full(tmp_path, monkeypatch):
    """A day of frames ahead, each as large as the largest so far, and its painting half of that."""
    roll = new_roll(tmp_path / "roll", every=600.0, frames=None, keep="originals", keep_free=1_000_000)
    monkeypatch.setattr(retention, "free_bytes", lambda _: 1_000_000 + free)
    free = 0
    assert low_room(roll) == ""  # nobody knows yet how large frames are
    roll.largest = 100_000
    need = 144 * 150_000
    for free, low in ((need, False), (need - 1, True), (0, True), (-500_000, True)):
        told = low_room(roll)
        assert bool(told) == low, free
    assert told == "room for about 0 more frames, then capture stops; 1 MB are kept free"
    free = 15 * 150_000
    assert low_room(roll).startswith("room for about 15 more frames")
    # Not where fewer are wanted, nor where originals may go.
    for settings in ({"frames": 15}, {"seconds": 9000.0}, {"keep": "painted"}, {"every": None}):
        roll.settings, before = replace(roll.settings, **settings), roll.settings
        assert low_room(roll) == ""
        roll.settings = before
    roll.close()


def test_nothing_that_is_not_painted_is_deleted(tmp_path, monkeypatch):
    roll = new_roll(tmp_path / "roll", frames=9, keep="none")
    fake_disk(monkeypatch, tmp_path / "roll", 0)
    with pytest.raises(DiskFullError, match="keep 'none'"):
        Retention(roll).make_room(1)
    roll.close()


def test_capture_goes_on_as_soon_as_painting_makes_room(tmp_path, monkeypatch):
    """Painting lags behind; at the floor, frames that are painted soon are no reason to end."""
    fake_disk(monkeypatch, tmp_path / "roll", 2_000_000 + 420_000)
    roll = new_roll(tmp_path / "roll", keep="painted", frames=150, every=0.02)
    lapse = film_roll(roll, Still(lambda number: coded_frame(number, noise=40)), painter=open_slow)
    assert lapse.capture.state == "complete" and lapse.roll.ledger.frames == 150
    assert lapse.roll.ledger.skipped["disk"] > 0 and lapse.roll.ledger.deleted > 0
    assert any("waiting for that" in r["message"] for r in events(tmp_path / "roll", "trouble"))
