"""Kill -9 at random moments, and torn copies: whatever was captured is there, once, in order, and in the film."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pleinair.rolls.capture import _LEAST_NEED
from pleinair.rolls.finish import finish
from pleinair.rolls.originals import load_original, original_path
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import count_frames, find_segments
from pleinair.rolls.settings import Settings
from tests.films import read_video
from tests.house import PYTHONPATH
from tests.models import write_model
from tests.rolls import (
    HEIGHT,
    WIDTH,
    coded_frame,
    film_codes,
    frames_of,
    identity_network,
    look_of,
    pleinair,
    write_coded,
)

SEED = 20261123


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder with the style ``plain``, which changes nothing."""
    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    return tmp_path / "models"


def begin(roll: Path, frames: Path, models: Path, piece: int = 10) -> None:
    """A roll of a folder camera, a frame every 50 ms, ten frames to a piece of the film: more moments to kill at."""
    look = look_of(models, steady=4, deflicker=16)
    settings = Settings(
        camera=f"frames:{frames}",
        size=(WIDTH, HEIGHT),
        look=look,
        every=0.05,
        spool="png",
        piece=piece,
        keep_free=0,
        backend="reference",
    )
    Roll.create(roll, settings).close()


def captured(roll: Path) -> int:
    """Frames whose originals are in place."""
    return sum(1 for _ in roll.glob("originals/*/*.png"))


def wait_for_frames(roll: Path, more_than: int) -> None:
    """Until the roll has another original."""
    end = time.monotonic() + 60
    while captured(roll) <= more_than:
        assert time.monotonic() < end, "no frame was captured for a minute"
        time.sleep(0.01)


def check_roll(roll: Path, frames: Path, film: Path) -> int:
    """Everything that was captured is there, once, in order, whole, and in the film; how many frames."""
    records = sorted(frames_of(roll), key=lambda record: record["seq"])
    count = len(records)
    # The journal: every frame once; the source's frames one after another, none twice, none left out.
    assert [record["seq"] for record in records] == list(range(count))
    assert [record["position"] for record in records] == list(range(count))
    assert [record["name"] for record in records] == [f"frame{i:05d}.png" for i in range(count)]
    # The originals: the very pixels of the source, and the hash that the journal has.
    for i, record in enumerate(records):
        kept, image = load_original(original_path(roll / "originals", i, "png"))
        assert kept.sha256 == record["sha256"]
        np.testing.assert_array_equal(image, coded_frame(i))
    # Every closed piece decodes to its end, and the film shows every frame once and in order.
    covered = [seq for s in find_segments(roll / "paintings" / "plain-8bit") for seq in range(s.first, s.last + 1)]
    assert covered == list(range(count))
    assert sum(count_frames(s.path) or 0 for s in find_segments(roll / "paintings" / "plain-8bit")) == count
    assert film_codes(film) == list(range(count))
    return count


def kill_again_and_again(place: Path, models: Path, kills: int, **settings: Any) -> None:
    """``kills`` times kill -9, at random moments from the process's first instant on."""
    chance = random.Random(SEED)
    roll, frames = place / "roll", write_coded(place / "frames", 30 + 25 * kills)
    begin(roll, frames, models)
    lost = 0
    for kill in range(kills):
        before = captured(roll)
        process = pleinair("resume", roll, models=models, **settings)
        # A third while it starts and mends, the others while it films.
        if chance.random() < 0.33 and kill:
            time.sleep(chance.uniform(0.0, 1.2))
        else:
            wait_for_frames(roll, before)
            time.sleep(chance.uniform(0.0, 0.9))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        there, known = captured(roll), len(frames_of(roll))
        # An original may be there whose line the kill kept from the journal: one, no more.
        assert 0 <= there - known <= 1, f"seed {SEED}, kill {kill}"
        lost += len(list(roll.glob("originals/*/*.part")))
    count = check_all(roll, frames, models)
    print(f"seed {SEED}: {kills} kills, {count} frames, {lost} kills cut a frame at hand", file=sys.stderr)


def check_all(roll: Path, frames: Path, models: Path, short: bool = False) -> int:
    """Finish a roll after all that happened to it, and check it; how many frames it has.

    ``short``: runs have ended for themselves, each with a piece that is shorter than those of one painting in one go.
    """
    place, film = frames.parent, frames.parent / "film.mp4"
    process = pleinair("finish", roll, "--out", film, models=models)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    count = check_roll(roll, frames, film)
    # Painted again in one go, it is the same film, byte for byte, for all the filters that remember frames before.
    shutil.rmtree(roll / "paintings" / "plain-8bit")
    process = pleinair("finish", roll, "--out", place / "again.mp4", models=models)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    if not short:
        assert (place / "again.mp4").read_bytes() == film.read_bytes()
    for one, other in zip(read_video(film), read_video(place / "again.mp4"), strict=True):
        # Apart from where key frames stand.
        assert abs(one.astype(int) - other).mean() < 3
    return count


def test_kill_9_at_random_moments(tmp_path, models):
    kill_again_and_again(tmp_path, models, 6)


@pytest.mark.slow
def test_kill_9_two_hundred_times(tmp_path, models):
    kill_again_and_again(tmp_path, models, 200)


# -- on a slow disk, and on a full one

#: For every Python that is started: whoever syncs waits up to 0.4 s, some of it before the disk has it.
_SLOW = """
import os, random, time
def fsync(handle, real=os.fsync):
    time.sleep(random.uniform(0, 0.2))
    real(handle)
    time.sleep(random.uniform(0, 0.2))
os.fsync = fsync
"""


def kill_on_a_slow_disk(place: Path, models: Path, kills: int) -> None:
    (place / "slow").mkdir()
    (place / "slow" / "sitecustomize.py").write_text(_SLOW)
    variables = {**os.environ, "PYTHONPATH": f"{place / 'slow'}:{PYTHONPATH}", "PLEINAIR_MODELS": str(models)}
    kill_again_and_again(place, models, kills, env=variables)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 48 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "pleinair-test", disk], capture_output=True, timeout=60
    )
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True, timeout=60)


def leave(disk: Path, filler: Path, free: int) -> None:
    """Let a file grow until so many bytes of the disk are free."""
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        found = os.statvfs(disk)
        file.write(bytes(max(0, found.f_bavail * found.f_frsize - free)))


def kill_on_a_full_disk(disk: Path, models: Path, kills: int) -> None:
    """Kill -9 while a disk fills up, to the last byte, under who films and paints; then there is room again."""
    chance = random.Random(SEED)
    roll, frames, filler = disk / "roll", write_coded(disk.parent / "frames", 30 + 25 * kills), disk / "filler"
    begin(roll, frames, models)
    killed, ended = 0, 0
    while killed < kills:
        before = captured(roll)
        # Below _LEAST_NEED a run counts its disk as full and ends for itself.
        leave(disk, filler, _LEAST_NEED + chance.choice([-4096, 30_000, 200_000, 1_000_000]))
        process = pleinair("resume", roll, models=models)
        end = time.monotonic() + 60
        while process.poll() is None and captured(roll) <= before and time.monotonic() < end:
            time.sleep(0.01)
        leave(disk, filler, chance.choice([0, 0, 4096, 8192, 20_000]))
        time.sleep(chance.uniform(0.0, 0.9))
        over = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=300)
        filler.unlink()
        killed, ended = killed + (not over), ended + over
        # A run that ends for itself says why.
        assert "Traceback" not in err and (not over or process.returncode == 2), f"seed {SEED}, kill {killed}: {err}"
        assert 0 <= captured(roll) - len(frames_of(roll)) <= 1, f"seed {SEED}, kill {killed}"
    count = check_all(roll, frames, models, short=ended > 0)
    print(f"seed {SEED}: {killed} kills, {ended} runs ended by the full disk, {count} frames", file=sys.stderr)


def test_kill_9_on_a_slow_disk(tmp_path, models):
    kill_on_a_slow_disk(tmp_path, models, 2)


def test_kill_9_on_a_full_disk(small_disk, models):
    kill_on_a_full_disk(small_disk, models, 3)


@pytest.mark.slow
def test_kill_9_on_a_slow_disk_sixty_times(tmp_path, models):
    kill_on_a_slow_disk(tmp_path, models, 60)


@pytest.mark.slow
def test_kill_9_on_a_full_disk_sixty_times(small_disk, models):
    kill_on_a_full_disk(small_disk, models, 60)


# -- torn copies


@pytest.fixture
def whole_roll(tmp_path, models, monkeypatch) -> Path:
    """A roll of 47 frames that was cut off while it painted: pieces closed, one open, the last frames unpainted."""
    monkeypatch.setenv("PLEINAIR_MODELS", str(models))
    roll, frames = tmp_path / "roll", write_coded(tmp_path / "frames", 47)
    begin(roll, frames, models)
    process = pleinair("resume", roll, models=models)
    wait_for_frames(roll, 46)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return roll


def tear(file: Path, chance: random.Random) -> str:
    """Cut a file off, or overwrite its end with zeros, as a power cut does; what was done."""
    data = file.read_bytes()
    cut = chance.randrange(len(data)) if data else 0
    if chance.random() < 0.5:
        file.write_bytes(data[:cut])
        return f"{file.name} cut at {cut} of {len(data)}"
    file.write_bytes(data[:cut] + bytes(len(data) - cut))
    return f"{file.name} zero from {cut} of {len(data)}"


def torn_copies(tmp_path: Path, whole: Path, copies: int) -> None:
    """Each copy has one of its files torn; all that the tear left comes back, and goes on."""
    chance = random.Random(SEED)
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file() and p.name != "lock")
    # The few that matter as often as the many.
    originals = [p for p in files if p.parts[0] == "originals"]
    others = [p for p in files if p.parts[0] != "originals"]
    journalled = {record["seq"] for record in frames_of(whole)}
    recovered = 0
    for copy in range(copies):
        roll = tmp_path / f"torn{copy}"
        shutil.copytree(whole, roll)
        victim = chance.choice(others if chance.random() < 0.7 else originals)
        told = f"seed {SEED}, copy {copy}: {tear(roll / victim, chance)}"
        damaged = int(victim.stem) if victim in originals else None
        # Where its original is torn, a frame that a closed piece holds is in the film all the same.
        segments = find_segments(roll / "paintings" / "plain-8bit")
        painted = any(s.first <= (damaged or 0) <= s.last for s in segments)
        wanted = [i for i in range(47) if i != damaged or painted]
        film = tmp_path / "torn.mp4"
        with contextlib.closing(Roll.open(roll)) as opened:
            assert finish(opened, opened.settings.look, film) == len(wanted), told
            # A frame that neither the journal nor a whole original tells of is taken from the source again.
            gone = damaged is not None and damaged not in journalled
            assert opened.ledger.position == 47 - gone, told
        assert film_codes(film) == wanted, told
        seqs = sorted({record["seq"] for record in frames_of(roll)})
        assert seqs == [i for i in range(47) if i != damaged or i in seqs], told
        with contextlib.closing(Roll.open(roll)) as again:
            assert again.mended == [], told
        recovered += 1
        shutil.rmtree(roll)
    print(f"seed {SEED}: {recovered} torn copies came back")


def test_torn_copies_of_a_roll(tmp_path, whole_roll):
    torn_copies(tmp_path, whole_roll, 20)


@pytest.mark.slow
def test_a_hundred_torn_copies_of_a_roll(tmp_path, whole_roll):
    torn_copies(tmp_path, whole_roll, 100)
