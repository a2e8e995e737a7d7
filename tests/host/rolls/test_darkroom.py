"""The darkroom: a painter that hangs or dies costs no frame, and one frame that kills it is left out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import RollError
from pleinair.painting.side_by_side import Task, paint_side_by_side
from pleinair.rolls.developer import open_look
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.segments import find_segments
from pleinair.rolls.settings import Look
from pleinair.rolls.status import Status, read_status
from pleinair.rolls.timelapse import Timelapse
from tests import children
from tests.models import write_model
from tests.rolls import (
    Moody,
    Still,
    capture_only,
    events,
    film_codes,
    film_roll,
    frames_of,
    identity_network,
    joined,
    new_roll,
    open_moody,
    open_slow,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_capture_does_not_wait_for_painting(tmp_path):
    roll = new_roll(tmp_path / "roll", frames=60)
    lapse = Timelapse(roll, Still(), schedule=Schedule(0.02), painter=open_slow)
    began, over = time.monotonic(), list[float]()

    def report(status: Status) -> None:
        if status.frames == 60 and not over:
            over.append(time.monotonic() - began)
            assert status.pending > 20

    lapse.run(threading.Event(), report=report)
    roll.close()
    assert over[0] < 10 and lapse.roll.ledger.skipped.get("late", 0) < 30
    assert joined(tmp_path / "roll") == sorted(r["seq"] for r in frames_of(tmp_path / "roll"))


@pytest.mark.parametrize("what", ["hang", "die", "crash"])
def test_a_painter_that_hangs_or_dies_is_started_again(tmp_path, what):
    orders = tmp_path / "moody"
    orders.write_text(f"4 {what}\n13 {what}\n")
    roll = new_roll(tmp_path / "roll", look=Look(str(orders), 8))
    lapse = film_roll(roll, Still(), painter=open_moody, patience=8.0)  # longer than a busy machine needs to start one
    assert lapse.capture.state == "complete" and lapse.pending == 0
    assert joined(tmp_path / "roll") == list(range(25))
    troubles = [r["message"] for r in events(tmp_path / "roll", "trouble")]
    assert len(troubles) == 2 and "at frame 4" in troubles[0] and "at frame 13" in troubles[1]
    assert {"hang": "hung: nothing for", "die": "died (signal 9)", "crash": "in the engine"}[what] in troubles[0]


def test_a_frame_that_keeps_killing_the_painter_is_left_out(tmp_path):
    orders = tmp_path / "moody"
    orders.write_text("4 die\n" * 3)
    film_roll(new_roll(tmp_path / "roll", look=Look(str(orders), 8)), Still(), painter=open_moody)
    film_of = find_segments(tmp_path / "roll" / "paintings" / "moody-8bit")
    assert [n for s in film_of for n in film_codes(s.path)] == [n for n in range(25) if n != 4]
    assert "left out" in events(tmp_path / "roll", "trouble")[-1]["message"]


class Crowd(Moody):
    """Three moody painters that paint side by side."""

    def paint_each(self, frames: Iterable[np.ndarray]) -> Generator[np.ndarray, None, None]:
        """See Painter."""
        with closing(paint_side_by_side(frames, lambda frame: Task(partial(self.paint, frame), 3))) as paintings:
            for painted in paintings:
                yield painted.painting


def open_crowd(look: Look, backend: str, threads: int) -> Crowd:
    """For the painting process; the style is the file of orders."""
    return Crowd(Path(look.style))


def test_of_frames_that_are_painted_side_by_side_only_the_one_that_kills_is_left_out(tmp_path):
    """Which one it is shows when they are painted one at a time: once more than that, painting dies of it."""
    orders = tmp_path / "moody"
    orders.write_text("14 die\n" * 4)
    roll = new_roll(tmp_path / "roll", look=Look(str(orders), 8))
    capture_only(roll, Still())
    film_roll(Roll.open(tmp_path / "roll"), Still(), painter=open_crowd)
    segments = find_segments(tmp_path / "roll" / "paintings" / "moody-8bit")
    assert [n for s in segments for n in film_codes(s.path)] == [n for n in range(25) if n != 14]
    troubles = [r["message"] for r in events(tmp_path / "roll", "trouble")]
    first, *others, last = troubles
    number = r"1[0-7]"
    assert re.search(f"died .signal 9. at one of the frames {number} to {number}$", first), first
    assert len(others) == 3 and all(text.endswith("at frame 14") for text in others)
    assert "left out" in last and not orders.read_text()


def test_a_model_that_was_emptied_stops_the_painting_and_never_the_capture(tmp_path):
    roll = new_roll(tmp_path / "roll", look=Look(str(tmp_path / "nowhere"), 8))
    with pytest.raises(RollError, match="all is captured, but style .*nowhere"):
        film_roll(roll, Still(), painter=open_look)
    assert [r["seq"] for r in frames_of(tmp_path / "roll")] == list(range(25))
    # With the model back, it is painted.
    assert joined(tmp_path / "roll") == list(range(25))


def _begins_to_paint(parent: int) -> bool:
    """Whether the process that paints has been started."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            its_child = int(stat.read_text().rpartition(")")[2].split()[1]) == parent
            if its_child and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                return True
    return False


def test_ctrl_c_while_the_painting_process_starts_is_no_trouble(tmp_path):
    """A terminal sends it to both processes."""
    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    process = children.start(
        [
            *(sys.executable, "-c", "from pleinair.cli.main import entry; entry()"),
            *("run", "--roll", "roll", "--frames", "100000", "--size", "64x48", "--style", "plain", "--keep-free", "0"),
        ],
        cwd=tmp_path,
        variables={"PLEINAIR_MODELS": str(tmp_path / "models")},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not _begins_to_paint(process.pid):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    status = read_status(tmp_path / "roll")
    assert status.state == "stopped" and status.troubles == 0
