"""Filming on a roll: what comes out, and what faults of camera, painter, disk and clock cost."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pleinair import durable
from pleinair.cameras.camera import StoredShooter
from pleinair.cameras.guarded import GuardedCamera
from pleinair.cameras.opening import open_camera
from pleinair.errors import CameraError, DiskFullError, OutputError, RollError
from pleinair.rolls.developer import open_look
from pleinair.rolls.finish import finish, paint_all
from pleinair.rolls.originals import original_path, read_original
from pleinair.rolls.retention import Retention
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Clock, Schedule
from pleinair.rolls.segments import find_segments
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.status import Status, read_status
from pleinair.rolls.timelapse import Timelapse
from pleinair_pi.heat import MOST_REST, Heat
from tests.house import PATHS
from tests.rolls import (
    HEIGHT,
    WIDTH,
    Plain,
    Still,
    Unruly,
    coded_frame,
    film_codes,
    frames_of,
    journal,
    open_moody,
    open_plain,
    pleinair,
    write_coded,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_thread_stays():
    """Every test ends with the threads that it began with."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def new_roll(folder: Path, **settings) -> Roll:
    """A roll of the still camera, ten frames to a piece."""
    look = settings.pop("look", Look("plain", 8))
    values = {"every": 0.02, "frames": 25, "spool": "png", "piece": 10, "keep_free": 0} | settings
    return Roll.create(folder, Settings(camera="still", size=(WIDTH, HEIGHT), look=look, **values))


def film(roll: Roll, shooter, stop: threading.Event | None = None, **settings) -> Timelapse:
    """Film until it ends; the roll is closed."""
    schedule = settings.pop("schedule", None) or Schedule(roll.settings.every)
    lapse = Timelapse(roll, shooter, schedule=schedule, **{"painter": open_plain, "patience": 20.0} | settings)
    try:
        lapse.run(stop or threading.Event())
    finally:
        shooter.close()
        roll.close()
    return lapse


def joined(folder: Path) -> list[int]:
    """The numbers that the roll's film shows."""
    with contextlib.closing(Roll.open(folder)) as roll:
        path = folder.parent / "joined.mp4"
        finish(roll, roll.settings.look, path, painter=open_plain)
    return film_codes(path)


def events(folder: Path, kind: str) -> list[dict]:
    """The journal's lines of a kind."""
    return [record for record in journal(folder) if record["event"] == kind]


# -- as it should be


def test_a_roll_from_the_first_frame_to_the_film(tmp_path):
    lapse = film(new_roll(tmp_path / "roll"), Still())
    assert lapse.capture.state == "complete" and lapse.pending == 0
    records = frames_of(tmp_path / "roll")
    assert [r["seq"] for r in records] == list(range(25))
    assert all(r["metadata"] == {"gain": 1.5} and r["live"] for r in records)
    assert all(abs(r["wall"] - time.time()) < 600 for r in records)
    assert [(s.first, s.last) for s in find_segments(tmp_path / "roll" / "paintings" / "plain-8bit")] == [
        (0, 9), (10, 19), (20, 24)
    ]  # fmt: skip
    assert joined(tmp_path / "roll") == list(range(25))
    status = read_status(tmp_path / "roll")
    assert (status.state, status.frames, status.painted, status.pending) == ("complete", 25, 25, 0)
    assert sum(status.lateness) == 25


def test_the_tags_say_what_it_is(tmp_path):
    import av

    film(new_roll(tmp_path / "rooftop"), Still())
    joined(tmp_path / "rooftop")
    with av.open(str(tmp_path / "joined.mp4")) as container:
        assert container.metadata["title"] == "plain: rooftop"
        assert "25 frames, one every 0.02 s" in container.metadata["comment"]


def test_an_original_carries_its_record_where_others_find_it(tmp_path):
    film(new_roll(tmp_path / "roll", spool="jpg"), Still())
    record = frames_of(tmp_path / "roll")[7]
    data = original_path(tmp_path / "roll" / "originals", 7, "jpg").read_bytes()
    at = data.index(b"\xff\xfe")  # a JPEG's comment
    assert f'"sha256":"{record["sha256"]}"'.encode() in data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    kept, _ = read_original(original_path(tmp_path / "roll" / "originals", 7, "jpg"))
    assert kept | {"crc": record["crc"]} == record


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


class Slow(Plain):
    """A painter that takes its time."""

    def paint(self, frame: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return frame


def open_slow(look: Look, backend: str, threads: int) -> Slow:
    """For the painting process."""
    return Slow()


def test_late_ticks_are_journalled(tmp_path):
    def plan(number: int) -> np.ndarray:
        time.sleep(0.3 if number == 5 else 0)
        return coded_frame(number)

    lapse = film(new_roll(tmp_path / "roll", every=0.1, frames=10), Still(plan))
    skips = events(tmp_path / "roll", "skipped")
    assert {s["reason"] for s in skips} == {"late"} and sum(s["ticks"] for s in skips) >= 2
    assert lapse.roll.ledger.skipped["late"] == sum(s["ticks"] for s in skips)
    assert lapse.roll.ledger.frames == 10


def test_seconds_end_a_roll_and_the_time_off_counts(tmp_path):
    class Later(Clock):
        """Ten hours on, by the wall clock, with a monotonic clock that began anew."""

        def wall(self) -> float:
            return super().wall() + 36_000

    film(new_roll(tmp_path / "roll", frames=None, seconds=0.5, every=0.05), Still())
    first = len(frames_of(tmp_path / "roll"))
    assert 7 <= first <= 10
    roll = Roll.open(tmp_path / "roll")
    film(roll, Still(), schedule=Schedule(0.05, clock=Later()))
    assert len(frames_of(tmp_path / "roll")) == first  # it was over long ago


def test_a_stored_camera_goes_on_where_it_was(tmp_path):
    write_coded(tmp_path / "frames", 30)
    stop = threading.Event()

    def counting(status: Status) -> None:
        if status.frames >= 8:
            stop.set()

    roll = new_roll(tmp_path / "roll", frames=None)
    camera = StoredShooter(open_camera(f"frames:{tmp_path / 'frames'}"))
    lapse = Timelapse(roll, camera, schedule=Schedule(0.05), painter=open_plain)
    lapse.run(stop, report=counting)
    roll.close()
    assert lapse.capture.state == "stopped" and 8 <= len(frames_of(tmp_path / "roll")) < 30
    roll = Roll.open(tmp_path / "roll")
    camera = open_camera(f"frames:{tmp_path / 'frames'}")
    film(roll, StoredShooter(camera, roll.ledger.position), schedule=Schedule(None))
    assert joined(tmp_path / "roll") == list(range(30))


# -- two at once, and places where no roll can be


def test_the_second_of_two_runs_is_refused(tmp_path):
    roll = new_roll(tmp_path / "roll")
    for attempt in (lambda: Roll.open(tmp_path / "roll"), lambda: new_roll(tmp_path / "roll")):
        with pytest.raises(RollError, match=f"in use by another pleinair .process {os.getpid()}|something already"):
            attempt()
    roll.close()
    Roll.open(tmp_path / "roll").close()


def test_places_where_no_roll_can_be(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    for name, cause in (
        ("file", "something already; name a new"),
        ("full", "something already"),
        ("no/roll", "does not exist"),
    ):
        with pytest.raises(RollError, match=cause):
            new_roll(tmp_path / name)
    for name, cause in (("file", "Not a directory"), ("full", "no roll there"), ("none", "No such file")):
        with pytest.raises(RollError, match=cause):
            Roll.open(tmp_path / name)
    film(new_roll(tmp_path / "roll"), Still())
    with pytest.raises(RollError, match="go on with it by: pleinair resume"):
        new_roll(tmp_path / "roll")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    film(new_roll(tmp_path / "roll"), Still())
    for path in [tmp_path / "roll", *tmp_path.glob("roll/**/*")]:
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    os.chmod(tmp_path, 0o755)
    # All is imported, and the folder entered, before the privileges go.
    code = (
        f"import os, sys; sys.path[:0] = {PATHS!r}; os.chdir({str(tmp_path)!r})\n"
        "import pleinair.rolls.beginning, pleinair.rolls.preview, pleinair_pi.camera, pleinair_pi.heat\n"
        "from pleinair.cli.main import main\n"
        "os.setuid(65534); sys.exit(main(['resume', 'roll']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr == "pleinair: roll roll: Permission denied\n"


# -- the camera


def guarded(folder: Path, faults: dict[int, str]) -> GuardedCamera:
    """The unruly camera in its process."""
    folder.mkdir(exist_ok=True)
    return GuardedCamera(partial(Unruly, folder, faults), "unruly", deadline=1.0)


@pytest.mark.parametrize("fault", ["hang", "die", "crash", "raise", "short"])
def test_a_camera_that_fails_at_some_frames(tmp_path, fault):
    roll = new_roll(tmp_path / "roll", every=0.1, frames=16)
    camera = guarded(tmp_path / "camera", {3: fault, 9: fault})
    lapse = film(roll, camera)
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
    lapse = film(roll, camera)
    assert lapse.capture.state == "complete" and len(joined(tmp_path / "roll")) == 12
    failures = lapse.roll.ledger.skipped["camera"]
    assert failures > 10 and len(events(tmp_path / "roll", "trouble")) <= 2 + np.log2(failures)


def test_a_camera_that_does_not_open(tmp_path):
    (tmp_path / "broken").touch()
    with pytest.raises(CameraError, match="camera unruly: not there"):
        guarded(tmp_path, {})
    camera = GuardedCamera(partial(Unruly, tmp_path, {}), "unruly", patient=True)
    with pytest.raises(CameraError, match="not there"):
        camera.shoot()
    (tmp_path / "broken").unlink()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(CameraError):
            frame = camera.shoot()
            break
        time.sleep(0.05)
    np.testing.assert_array_equal(frame.image, coded_frame(0))
    camera.close()


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

    lapse = film(new_roll(tmp_path / "roll"), Still(plan))
    suspects = {r["seq"]: r["suspect"] for r in frames_of(tmp_path / "roll") if "suspect" in r}
    assert list(suspects.values()) == ["blank", "torn"] and lapse.roll.ledger.suspects == 2
    assert all(original_path(tmp_path / "roll" / "originals", seq, "png").exists() for seq in suspects)
    got = joined(tmp_path / "roll")
    assert got == [n for n in range(28) if n not in (3, 4, 8, 12, 13)] and len(got) == 23


def test_a_night_that_is_really_black_is_filmed(tmp_path):
    dusk = [(coded_frame(0xAAAA) * (0.75**i)).astype(np.uint8) for i in range(12)]
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    film(new_roll(tmp_path / "roll", frames=20), Still(lambda n: dusk[n] if n < 12 else black))
    assert not any("suspect" in record for record in frames_of(tmp_path / "roll"))
    assert len(joined(tmp_path / "roll")) == 20


def test_pictures_of_another_size_are_fitted_and_told(tmp_path):
    def plan(number: int) -> np.ndarray:
        image = coded_frame(number)
        return image if number < 10 else np.kron(image, np.ones((2, 2, 1), np.uint8))

    film(new_roll(tmp_path / "roll"), Still(plan))
    assert joined(tmp_path / "roll") == list(range(25))
    (trouble,) = events(tmp_path / "roll", "trouble")
    assert trouble["message"] == "its pictures were 64x48 and are 128x96 now; fitted"


# -- the painter


@pytest.mark.parametrize("what", ["hang", "die", "crash"])
def test_a_painter_that_hangs_or_dies_is_started_again(tmp_path, what):
    orders = tmp_path / "moody"
    orders.write_text(f"4 {what}\n13 {what}\n")
    roll = new_roll(tmp_path / "roll", look=Look(str(orders), 8))
    lapse = film(roll, Still(), painter=open_moody, patience=2.0)
    assert lapse.capture.state == "complete" and lapse.pending == 0
    assert joined(tmp_path / "roll") == list(range(25))
    troubles = [r["message"] for r in events(tmp_path / "roll", "trouble")]
    assert len(troubles) == 2 and "at frame 4" in troubles[0] and "at frame 13" in troubles[1]
    assert {"hang": "hung: nothing for", "die": "died (signal 9)", "crash": "in the engine"}[what] in troubles[0]


def test_a_mistake_of_ours_is_raised_as_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError):
        film(new_roll(tmp_path / "roll"), Still(lambda number: coded_frame(number) if number < 5 else 1 // 0))
    assert [r["seq"] for r in frames_of(tmp_path / "roll")] == [0, 1, 2, 3, 4]


def test_a_frame_that_keeps_killing_the_painter_is_left_out(tmp_path):
    orders = tmp_path / "moody"
    orders.write_text("4 die\n" * 3)
    film(new_roll(tmp_path / "roll", look=Look(str(orders), 8)), Still(), painter=open_moody)
    film_of = find_segments(tmp_path / "roll" / "paintings" / "moody-8bit")
    assert [n for s in film_of for n in film_codes(s.path)] == [n for n in range(25) if n != 4]
    assert "left out" in events(tmp_path / "roll", "trouble")[-1]["message"]


def test_a_model_that_was_emptied_stops_the_painting_and_never_the_capture(tmp_path):
    roll = new_roll(tmp_path / "roll", look=Look(str(tmp_path / "nowhere"), 8))
    with pytest.raises(RollError, match="all is captured, but style .*nowhere"):
        film(roll, Still(), painter=open_look)
    assert [r["seq"] for r in frames_of(tmp_path / "roll")] == list(range(25))
    # With the model back, it is painted.
    assert joined(tmp_path / "roll") == list(range(25))


# -- the disk


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


def capture_only(roll: Roll, shooter) -> str:
    """Capture without painting, in this thread; the state it ended in."""
    from pleinair.rolls.capture import Capture

    capture = Capture(roll, shooter, Schedule(None))
    capture.run(threading.Event())
    roll.close()
    return capture.state


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
        from pleinair.rolls.retention import free_bytes

        lowest.append(free_bytes(tmp_path))
        # Painting may take its time to start, and what is not painted may not go: then the disk would be rightly full.
        began = tmp_path / "roll" / "paintings" / "plain-8bit" / "latest.jpg"
        deadline = time.monotonic() + 60
        while keep != "originals" and number > 10 and not began.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.01 if keep == "originals" else 0.03)
        return coded_frame(number)

    roll = new_roll(tmp_path / "roll", frames=300, keep=keep, keep_free=floor)
    lapse = film(roll, Still(plan))
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


def test_nothing_that_is_not_painted_is_deleted(tmp_path, monkeypatch):
    roll = new_roll(tmp_path / "roll", frames=9, keep="none")
    fake_disk(monkeypatch, tmp_path / "roll", 0)
    with pytest.raises(DiskFullError, match="keep 'none'"):
        Retention(roll).make_room(1)
    roll.close()


# -- the clock


class Set(Clock):
    """A wall clock that is set by ``by`` seconds after a while."""

    def __init__(self, by: float) -> None:
        self.by, self.began = by, time.monotonic()

    def wall(self) -> float:
        return super().wall() + (self.by if time.monotonic() - self.began > 0.5 else 0.0)


@pytest.mark.parametrize("by", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_by_a_day_costs_no_frame(tmp_path, by):
    film(new_roll(tmp_path / "roll", every=0.05, frames=25), Still(), schedule=Schedule(0.05, clock=Set(by)))
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
    film(roll, Still(), schedule=Schedule(0.02, clock=Unset()))
    first = {r["seq"]: r["sha256"] for r in frames_of(tmp_path / "roll")}
    assert all(r["clock"] is False for r in frames_of(tmp_path / "roll"))
    roll = Roll.open(tmp_path / "roll")
    roll.settings = Settings(**{**roll.settings.__dict__, "frames": 16})
    film(roll, Still(lambda n: coded_frame(n + 8)), schedule=Schedule(0.02, clock=Unset()))
    both = {r["seq"]: r["sha256"] for r in frames_of(tmp_path / "roll")}
    assert sorted(both) == list(range(16)) and first.items() <= both.items()
    assert "not set" in events(tmp_path / "roll", "trouble")[0]["message"]


# -- heat, and telling


def test_heat_slows_painting_and_is_told(tmp_path):
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$PLEINAIR_WHAT: $1" >> {tmp_path}/told\n')
    (tmp_path / "tell.sh").chmod(0o755)
    roll = new_roll(tmp_path / "roll", notify=str(tmp_path / "tell.sh"))
    lapse = Timelapse(roll, Still(), schedule=Schedule(0.02), painter=open_slow, thermometer=lambda: Heat(83.0, 0b0101))
    seen = list[Status]()
    lapse.run(threading.Event(), report=seen.append)
    roll.close()
    assert seen[-1].rest == MOST_REST and seen[-1].celsius == 83.0
    captured, painted = (next(i for i, s in enumerate(seen) if getattr(s, k) == 25) for k in ("frames", "painted"))
    assert captured < painted  # 25 frames of 0.05 s, and four times as long a rest after each
    gaps = [s.wall for s in seen]
    assert gaps[-1] - gaps[0] > 25 * 0.05 * (1 + MOST_REST) * 0.8
    (trouble,) = events(tmp_path / "roll", "trouble")
    assert trouble["message"] == "the Pi reports under-voltage, throttled at 83 C"
    assert (tmp_path / "told").read_text() == f"heat: {trouble['message']}\n"


# -- many frames


def film_many(tmp_path: Path, count: int, models: Path) -> None:
    """``count`` frames of 64x64 at 50 a second through the command line: memory, timestamps, journal."""
    import cv2

    (tmp_path / "frames").mkdir()
    for kind in range(50):
        image = np.random.default_rng(kind).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"kind{kind}.png"), image)
    for number in range(count):
        os.link(tmp_path / f"kind{number % 50}.png", tmp_path / "frames" / f"{number:06d}.png")
    roll = tmp_path / "roll"
    process = pleinair(
        "run", "--camera", f"frames:{tmp_path / 'frames'}", "--every", "20ms", "--roll", roll, "--style", "plain",
        "--backend", "reference", "--keep-free", "0", models=models,
    )  # fmt: skip
    memory = dict[int, int]()
    while process.poll() is None:
        time.sleep(0.2)
        with contextlib.suppress(OSError, IndexError):  # it has ended in between
            frames = sum(1 for _ in (roll / "journal.jsonl").open("rb"))
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory[frames] = int(status.partition("VmRSS:")[2].split()[0])
    _, err = process.communicate()
    assert process.returncode == 0, err
    records = frames_of(roll)
    assert [r["seq"] for r in records] == list(range(count)) == [r["position"] for r in records]
    late = np.array([r["late"] for r in records])
    bounds = [0, 0.5, 1, 2, 5, 10, 50, 1e9]
    histogram = np.histogram(1e3 * late, bounds)[0]
    skipped = sum(r["ticks"] for r in events(roll, "skipped"))
    print(f"{count} frames: late by ms {dict(zip(bounds, histogram.tolist(), strict=False))}, {skipped} ticks skipped")
    print({frames: memory[frames] for frames in sorted(memory)[:: max(1, len(memory) // 12)]})
    assert (late <= 0.005).mean() > 0.9
    early = [v for k, v in memory.items() if count * 0.2 < k < count * 0.5]
    end = [v for k, v in memory.items() if k > count * 0.8]
    assert min(end) < max(early) + 4_000  # kB
    status = read_status(roll)
    assert (status.frames, status.painted, status.pending, status.state) == (count, count, 0, "complete")


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder with the style ``plain``."""
    from tests.models import write_model
    from tests.rolls import identity_network

    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    return tmp_path / "models"


def test_many_frames(tmp_path, models):
    film_many(tmp_path, 300, models)


@pytest.mark.slow
def test_ten_thousand_frames(tmp_path, models):
    film_many(tmp_path, 10_000, models)
