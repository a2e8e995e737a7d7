"""The status of a roll: from its files, from the process that films it, and as JSON."""

from __future__ import annotations

import json
import threading

import pytest

from pleinair.errors import RollError
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.status import Status, read_status
from pleinair.rolls.timelapse import Timelapse
from tests.rolls import Still, events, film_roll, new_roll, open_plain


def test_a_roll_that_no_process_holds(tmp_path):
    roll = new_roll(tmp_path / "roll")
    assert read_status(tmp_path / "roll").state == "in use"  # held, and not begun
    film_roll(roll, Still())
    status = read_status(tmp_path / "roll")
    assert (status.state, status.frames, status.wanted, status.painted, status.pending) == ("complete", 25, 25, 25, 0)
    assert (status.camera, status.look, status.paintings) == ("still", "plain-8bit", ("plain-8bit",))
    assert status.size == (64, 48) and status.pid is None and status.free is not None
    with pytest.raises(RollError, match="no roll there"):
        read_status(tmp_path)


def test_a_roll_that_was_killed_is_interrupted(tmp_path):
    roll = new_roll(tmp_path / "roll")
    roll.begin(1.8e9, 0.0)
    assert read_status(tmp_path / "roll").state == "running"
    roll.close()
    assert read_status(tmp_path / "roll").state == "interrupted"


def test_a_roll_that_is_filmed_says_what_only_its_process_knows(tmp_path):
    roll = new_roll(tmp_path / "roll")
    seen = list[tuple[Status, Status]]()
    with Timelapse(roll, Still(), schedule=Schedule(0.02), painter=open_plain) as lapse:
        lapse.run(threading.Event(), report=lambda live: seen.append((live, read_status(tmp_path / "roll"))))
        last = lapse.status()
    live, outside = seen[-1]
    assert live.pid == outside.pid is not None and outside.painter in ("", "plain")
    assert last.painted == last.frames == 25 and last.painter == "plain" and last.paint_seconds is not None
    assert {status.state for status, _ in seen} <= {"running", "complete"}
    # The file is the same status, whole.
    written = json.loads((tmp_path / "roll" / "state.json").read_text())
    wanted = json.loads(json.dumps(last.to_json()))
    assert list(written) == list(wanted)
    assert {k: written[k] for k in ("state", "frames", "painted", "errors", "size")} == {
        "state": "complete",
        "frames": 25,
        "painted": 25,
        "errors": [],
        "size": [64, 48],
    }
    assert len(events(tmp_path / "roll", "end")) == 1
