"""How a roll stands, in words."""

from __future__ import annotations

import pytest

from pleinair.rolls.status import Trouble
from pleinair.serving.words import figures, minute, moment, said, size, span, told, troubles
from tests.serving import WALL, make_roll, status_in


@pytest.fixture
def roll(tmp_path):
    """A roll with three frames."""
    return make_roll(tmp_path / "roof")


@pytest.mark.parametrize(
    ("changes", "word", "more", "tone"),
    [
        ({"state": "running", "wall": WALL}, "running", "3 frames so far.", "good"),
        ({"state": "running", "wall": WALL, "due": WALL + 3600}, "running", f"due {moment(WALL + 3600)}", "good"),
        ({"state": "running", "wall": WALL - 300}, "not heard from", f"since {moment(WALL - 300)}", "bad"),
        ({"state": "running", "camera_failures": 7}, "waiting for the camera", "7 times in a row", "bad"),
        ({"state": "running", "camera_failures": 1}, "waiting for the camera", "no frame once", "bad"),
        ({"state": "asleep", "due": WALL + 9e4}, f"asleep until {minute(WALL + 9e4)}", "no frame is taken", "warn"),
        ({"state": "new", "frames": 0}, "not begun", "Nothing was filmed", "warn"),
        ({"state": "complete", "pending": 2}, "finished", "3 frames. 2 are still to be painted", "good"),
        ({"state": "stopped", "reason": "by a signal"}, "stopped", "By a signal.", "warn"),
        ({"state": "interrupted"}, "interrupted", "a power cut", "bad"),
        ({"state": "in use"}, "in use", "Another command", "warn"),
        ({"state": "full", "reason": "no room"}, "disk full", "No room.", "bad"),
        ({"state": "failed", "reason": "EIO"}, "failed", "EIO.", "bad"),
    ],
    ids=lambda value: str(value.get("state")) if isinstance(value, dict) else None,
)
def test_states(roll, changes, word, more, tone):
    what = said(status_in(roll, **changes), WALL)
    assert what.word == word and more in what.more and what.tone == tone


def test_figures_say_what_is_to_come(roll):
    status = status_in(
        roll, state="running", pending=120, paint_seconds=2.0, rest=0.5, wanted=1000, heat=("throttled",), celsius=82.0
    )
    found = {figure.name: figure for figure in figures(status)}
    assert found["Captured"].note == "of 1,000"
    assert found["Painted"].note == "120 to come, about 6 min"
    assert found["Heat"].value == "82 °C" and found["Heat"].tone == "bad"


def test_troubles_are_told_once_the_newest_first(roll):
    status = status_in(roll, errors=(Trouble(5.0, "camera", "hung"), Trouble(9.0, "disk", "full")))
    lines = [
        {"event": "trouble", "wall": 5.1, "what": "camera", "message": "hung"},
        {"event": "trouble", "wall": 7.0, "what": "heat", "message": "hot"},
        {"event": "trouble", "wall": "x", "what": "odd", "message": "odd"},
        {"event": "frame", "wall": 8.0},
    ]
    assert [(t.wall, t.what) for t in troubles(status, lines)] == [(9.0, "disk"), (7.0, "heat"), (5.0, "camera")]


def test_lines_of_the_journal():
    assert told({"event": "frame", "seq": 7, "name": "a.jpg", "late": 0.25}) == "number 7, a.jpg, 250 ms late"
    assert told({"event": "skipped", "ticks": 3, "reason": "camera"}) == "3 ticks, camera"
    assert told({"event": "recovered", "what": "camera", "after": 4}) == "camera: works again after 4 failures"
    assert told({"event": "end", "state": "stopped"}) == "stopped"
    assert told({"event": "odd", "file": ["x"]}) == "['x']"


def test_lengths_and_sizes():
    assert [span(s) for s in (0.5, 12, 600, 7200, 200_000)] == ["0.5 s", "12 s", "10 min", "2.0 h", "2.3 days"]
    assert [size(n) for n in (5_500_000_000, 120_000_000)] == ["5.5 GB", "120 MB"]
    assert moment(float("inf")) == "at no known time"
