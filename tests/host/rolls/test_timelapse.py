"""A time-lapse on a roll: from the first frame to the film, gone on with, slowed by heat, over many frames."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import StoredShooter
from pleinair.cameras.opening import open_camera
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.segments import find_segments
from pleinair.rolls.status import Status, read_status
from pleinair.rolls.timelapse import Timelapse
from pleinair_pi.heat import MOST_REST, Heat
from tests.rolls import (
    Still,
    events,
    film_roll,
    frames_of,
    joined,
    new_roll,
    open_plain,
    open_slow,
    pleinair,
    write_coded,
)

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_a_roll_from_the_first_frame_to_the_film(tmp_path):
    lapse = film_roll(new_roll(tmp_path / "roll"), Still())
    assert lapse.capture.state == "complete" and lapse.pending == 0
    records = frames_of(tmp_path / "roll")
    assert [r["seq"] for r in records] == list(range(25))
    assert all(r["metadata"] == {"gain": 1.5} and r["live"] for r in records)
    assert all(abs(r["wall"] - time.time()) < 600 for r in records)
    assert [(s.first, s.last) for s in find_segments(tmp_path / "roll" / "paintings" / "plain-8bit")] == [
        (0, 9),
        (10, 19),
        (20, 24),
    ]
    assert joined(tmp_path / "roll") == list(range(25))
    status = read_status(tmp_path / "roll")
    assert (status.state, status.frames, status.painted, status.pending) == ("complete", 25, 25, 0)
    assert sum(status.lateness) == 25


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
    film_roll(roll, StoredShooter(camera, roll.ledger.position), schedule=Schedule(None))
    assert joined(tmp_path / "roll") == list(range(30))


def test_heat_slows_painting_and_is_told(tmp_path):
    (tmp_path / "tell.sh").write_text(
        f'#!/bin/sh\necho "$PLEINAIR_LEVEL $PLEINAIR_WHAT: $1|$PLEINAIR_PICTURE$PLEINAIR_FRAMES" >> {tmp_path}/told\n'
    )
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
    told = (tmp_path / "told").read_text().splitlines()
    picture = tmp_path / "roll" / "originals" / "000000" / "00000000.png"
    assert sorted(told) == [
        f"news finished: the roll is finished, with {seen[-1].frames} frames|{seen[-1].frames}",
        f"news first-frame: the first frame is there: {picture}|{picture}",
        f"trouble heat: {trouble['message']}|",
    ]


def film_many(tmp_path: Path, count: int, models: Path) -> None:
    """``count`` frames of 64x64 at 50 a second through the command line: memory, timestamps, journal."""

    (tmp_path / "frames").mkdir()
    for kind in range(50):
        image = np.random.default_rng(kind).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"kind{kind}.png"), image)
    for number in range(count):
        os.link(tmp_path / f"kind{number % 50}.png", tmp_path / "frames" / f"{number:06d}.png")
    roll = tmp_path / "roll"
    process = pleinair(
        "run",
        "--camera",
        f"frames:{tmp_path / 'frames'}",
        "--every",
        "20ms",
        "--roll",
        roll,
        *["--style", "plain", "--backend", "reference", "--keep-free", "0"],
        models=models,
    )
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
