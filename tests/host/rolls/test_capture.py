"""Capture: every tick kept or told, and what faults of camera, disk and clock cost."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pleinair import durable
from pleinair.cameras.guarded import GuardedCamera
from pleinair.rolls.originals import original_path
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Clock, Schedule
from pleinair.rolls.settings import Settings
from tests.rolls import (
    HEIGHT,
    WIDTH,
    Still,
    Unruly,
    coded_frame,
    events,
    film_roll,
    frames_of,
    joined,
    new_roll,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_late_ticks_are_journalled(tmp_path):
    def plan(number: int) -> np.ndarray:
        time.sleep(0.3 if number == 5 else 0)
        return coded_frame(number)

    lapse = film_roll(new_roll(tmp_path / "roll", every=0.1, frames=10), Still(plan))
    skips = events(tmp_path / "roll", "skipped")
    assert {s["reason"] for s in skips} == {"late"} and sum(s["ticks"] for s in skips) >= 2
    assert lapse.roll.ledger.skipped["late"] == sum(s["ticks"] for s in skips)
    assert lapse.roll.ledger.frames == 10


def test_seconds_end_a_roll_and_the_time_off_counts(tmp_path):
    class Later(Clock):
        """Ten hours on, by the wall clock, with a monotonic clock that began anew."""

        def wall(self) -> float:
            return super().wall() + 36_000

        def boot(self) -> tuple[str, float]:
            return "another", 5.0

    film_roll(new_roll(tmp_path / "roll", frames=None, seconds=0.5, every=0.05), Still())
    first = len(frames_of(tmp_path / "roll"))
    assert 7 <= first <= 10
    roll = Roll.open(tmp_path / "roll")
    film_roll(roll, Still(), schedule=Schedule(0.05, clock=Later()))
    assert len(frames_of(tmp_path / "roll")) == first  # it was over long ago


def test_a_wrong_clock_closes_nothing(tmp_path):
    """A resume with the clock a day ahead: in the same run of the machine, and after another boot."""

    class Ahead(Clock):
        def __init__(self, by: float, boot: str) -> None:
            self.by, self.name = by, boot

        def wall(self) -> float:
            return super().wall() + self.by

        def boot(self) -> tuple[str, float]:
            return (self.name, 5.0) if self.name else super().boot()

    settings = {"frames": None, "seconds": 3.0, "every": 0.05}
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    film_roll(new_roll(tmp_path / "roll", **settings), Still(), stop)
    first = len(frames_of(tmp_path / "roll"))
    shutil.copytree(tmp_path / "roll", tmp_path / "copy")
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    lapse = film_roll(Roll.open(tmp_path / "roll"), Still(), stop, schedule=Schedule(0.05, clock=Ahead(86_400, "")))
    assert len(frames_of(tmp_path / "roll")) > first and lapse.capture.seconds < 3
    # In another run of the machine only its clock can tell: it is over, until the clock is right again.
    film_roll(Roll.open(tmp_path / "copy"), Still(), schedule=Schedule(0.05, clock=Ahead(86_400, "other")))
    assert len(frames_of(tmp_path / "copy")) == first
    with Roll.open(tmp_path / "copy") as roll:
        assert roll.ledger.state == "complete" and roll.ledger.seconds > 86_000
        assert roll.resumed_seconds(Ahead(0.0, "third")) < 60


def guarded(folder: Path, faults: dict[int, str]) -> GuardedCamera:
    """The unruly camera in its process."""
    folder.mkdir(exist_ok=True)
    return GuardedCamera(partial(Unruly, folder, faults), "unruly", deadline=1.0)


@pytest.mark.parametrize("fault", ["hang", "die", "crash", "raise", "short"])
def test_a_camera_that_fails_at_some_frames(tmp_path, fault):
    roll = new_roll(tmp_path / "roll", every=0.1, frames=16)
    camera = guarded(tmp_path / "camera", {3: fault, 9: fault})
    lapse = film_roll(roll, camera)
    assert lapse.capture.state == "complete"
    got = joined(tmp_path / "roll")
    # All that it gave is there, but for the two that it did not give.
    assert got == sorted(set(range(18)) - {3, 9})
    troubles = [r["message"] for r in events(tmp_path / "roll", "trouble")]
    wanted = {
        "hang": "hung for 1 s",
        "die": "its process died",
        "crash": "ZeroDivisionError: in the driver",
        "raise": "no signal",
        "short": "6144 bytes",
    }[fault]
    assert any(wanted in message for message in troubles), troubles
    assert lapse.roll.ledger.skipped["camera"] >= 2
    assert (camera.restarts > 0) == (fault in ("hang", "die", "crash"))
    assert len(events(tmp_path / "roll", "recovered")) == 2


def test_a_camera_that_is_gone_is_told_ever_more_rarely_and_comes_back(tmp_path):
    (tmp_path / "camera").mkdir()
    broken = tmp_path / "camera" / "broken"
    roll = new_roll(tmp_path / "roll", every=0.05, frames=12)
    camera = guarded(tmp_path / "camera", {4: "die"})
    threading.Timer(0.1, broken.touch).start()
    threading.Timer(3.0, broken.unlink).start()
    lapse = film_roll(roll, camera)
    assert lapse.capture.state == "complete" and len(joined(tmp_path / "roll")) == 12
    failures = lapse.roll.ledger.skipped["camera"]
    assert failures > 10 and len(events(tmp_path / "roll", "trouble")) <= 2 + np.log2(failures)


def test_black_and_torn_frames_are_kept_and_not_filmed(tmp_path):
    def plan(number: int) -> np.ndarray:
        image = coded_frame(number)
        if number in (3, 4):  # once more is no better
            image[:] = 0
        if number == 8:  # once more is better
            image[:] = 128
        if number in (12, 13):
            image[HEIGHT // 2 :] = (128, 127, 128)
        return image

    lapse = film_roll(new_roll(tmp_path / "roll"), Still(plan))
    suspects = {r["seq"]: r["suspect"] for r in frames_of(tmp_path / "roll") if "suspect" in r}
    assert list(suspects.values()) == ["blank", "torn"] and lapse.roll.ledger.suspects == 2
    assert all(original_path(tmp_path / "roll" / "originals", seq, "png").exists() for seq in suspects)
    got = joined(tmp_path / "roll")
    assert got == [n for n in range(28) if n not in (3, 4, 8, 12, 13)] and len(got) == 23


def test_a_night_that_is_really_black_is_filmed(tmp_path):
    dusk = [(coded_frame(0xAAAA) * (0.75**i)).astype(np.uint8) for i in range(12)]
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    film_roll(new_roll(tmp_path / "roll", frames=20), Still(lambda n: dusk[n] if n < 12 else black))
    assert not any("suspect" in record for record in frames_of(tmp_path / "roll"))
    assert len(joined(tmp_path / "roll")) == 20


def test_pictures_of_another_size_are_fitted_and_told(tmp_path):
    def plan(number: int) -> np.ndarray:
        image = coded_frame(number)
        return image if number < 10 else np.kron(image, np.ones((2, 2, 1), np.uint8))

    film_roll(new_roll(tmp_path / "roll"), Still(plan))
    assert joined(tmp_path / "roll") == list(range(25))
    (trouble,) = events(tmp_path / "roll", "trouble")
    assert trouble["message"] == "its pictures were 64x48 and are 128x96 now; fitted"


def test_a_mistake_of_ours_is_raised_as_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError):
        film_roll(new_roll(tmp_path / "roll"), Still(lambda number: coded_frame(number) if number < 5 else 1 // 0))
    assert [r["seq"] for r in frames_of(tmp_path / "roll")] == [0, 1, 2, 3, 4]


class Set(Clock):
    """A wall clock that is set by ``by`` seconds after a while."""

    def __init__(self, by: float) -> None:
        self.by, self.began = by, time.monotonic()

    def wall(self) -> float:
        return super().wall() + (self.by if time.monotonic() - self.began > 0.5 else 0.0)


@pytest.mark.parametrize("by", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_by_a_day_costs_no_frame(tmp_path, by):
    film_roll(new_roll(tmp_path / "roll", every=0.05, frames=25), Still(), schedule=Schedule(0.05, clock=Set(by)))
    records = frames_of(tmp_path / "roll")
    assert [r["seq"] for r in records] == list(range(25))
    assert np.diff([r["t"] for r in records]).max() < 10  # the roll's own time did not jump
    (jump,) = events(tmp_path / "roll", "clock")
    assert jump["by"] == pytest.approx(by, abs=1)
    assert joined(tmp_path / "roll") == list(range(25))


def test_without_a_clock_nothing_is_overwritten(tmp_path):
    class Unset(Clock):
        def wall(self) -> float:
            return 300.0 + time.monotonic() % 1

    roll = new_roll(tmp_path / "roll", frames=8)
    film_roll(roll, Still(), schedule=Schedule(0.02, clock=Unset()))
    first = {r["seq"]: r["sha256"] for r in frames_of(tmp_path / "roll")}
    assert all(r["clock"] is False for r in frames_of(tmp_path / "roll"))
    roll = Roll.open(tmp_path / "roll")
    roll.settings = Settings(**{**roll.settings.__dict__, "frames": 16})
    film_roll(roll, Still(lambda n: coded_frame(n + 8)), schedule=Schedule(0.02, clock=Unset()))
    both = {r["seq"]: r["sha256"] for r in frames_of(tmp_path / "roll")}
    assert sorted(both) == list(range(16)) and first.items() <= both.items()
    assert "not set" in events(tmp_path / "roll", "trouble")[0]["message"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_disk_that_fails_for_a_moment_ends_nothing(tmp_path, monkeypatch, number):
    write, failing = durable.write_all, [True] * 3

    def moody(handle: int, data: bytes) -> None:
        if failing and len(frames_of(tmp_path / "roll")) == 5:
            failing.pop()
            raise OSError(number, "trouble of the moment")
        write(handle, data)

    roll = new_roll(tmp_path / "roll")
    monkeypatch.setattr(durable, "write_all", moody)
    lapse = film_roll(roll, Still())
    assert not failing and lapse.capture.state == "complete"
    assert [r["seq"] for r in frames_of(tmp_path / "roll")] == list(range(25))
    assert joined(tmp_path / "roll") == list(range(25))
