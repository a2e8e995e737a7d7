"""Power cuts, simulated: at any call of the disk, also while a roll is created, no acknowledged frame is lost."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from pleinair.errors import ImageError, RollError
from pleinair.rolls import retention
from pleinair.rolls.finish import paint_all
from pleinair.rolls.originals import load_original, original_path
from pleinair.rolls.records import Captured
from pleinair.rolls.retention import Retention
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import find_segments
from tests.disks import PowerCuts
from tests.rolls import Still, capture_only, coded_frame, frames_of, joined, new_roll, open_plain

SEED = 20261127
FRAMES = 9


def film(cuts: PowerCuts, folder: Path, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll's life on the disk: created, filmed and painted twice, where ``keep`` allows with originals deleted."""
    acknowledged: tuple[tuple[int, str], ...] = ()
    keeping = Roll.keep

    def keep_frame(roll, image, record):
        nonlocal acknowledged
        full = keeping(roll, image, record)
        # From here on the frame is promised.
        acknowledged = (*acknowledged, (full.seq, full.sha256))
        cuts.note = acknowledged
        return full

    with monkeypatch.context() as patch:
        patch.setattr(Roll, "keep", keep_frame)
        cuts.note = acknowledged
        with cuts.watching():
            new_roll(folder, frames=FRAMES, piece=3, keep=keep).close()
            for end in (5, FRAMES):
                roll = Roll.open(folder)
                start = roll.ledger.last + 1
                camera = Still(lambda n, start=start: coded_frame(n + start))
                if end == FRAMES:
                    assert capture_only(roll, camera) == "complete"
                else:
                    take(roll, camera, end - start)
                with Roll.open(folder) as roll:
                    paint_all(roll, roll.settings.look, painter=open_plain)
                    if keep == "painted":
                        room = iter([0])
                        patch.setattr(retention, "free_bytes", lambda _, room=room: next(room, 10**15))
                        Retention(roll).make_room(1)


def take(roll: Roll, camera: Still, count: int) -> None:
    """Frames without an end of the roll."""
    with roll:
        for _ in range(count):
            frame = camera.shoot()
            assert frame is not None
            roll.keep(frame.image, Captured(seq=0, t=0.0, wall=1.9e9, position=frame.position))


def check(state: Path, acknowledged: tuple[tuple[int, str], ...], whole: bool) -> str:
    """What a power cut left goes on: every acknowledged frame is there; ``whole`` films the rest, too."""
    folder = state / "roll"
    try:
        roll = Roll.open(folder)
    except RollError:
        # Nothing was promised, and a new roll can be begun there.
        assert acknowledged == ()
        roll = new_roll(folder, frames=FRAMES, piece=3)
        begun = "begun anew"
    else:
        begun = "opened"
    with roll:
        known = {record["seq"]: record["sha256"] for record in frames_of(folder)}
        painted = [s for look in roll.paintings().values() for s in find_segments(roll.painting_folder(look))]
        for seq, sha256 in acknowledged:
            if any(s.first <= seq <= s.last for s in painted):
                continue
            assert known.get(seq) == sha256, f"frame {seq} is lost"
            try:
                record, image = load_original(original_path(roll.originals, seq, "png"))
            except ImageError as error:
                raise AssertionError(f"frame {seq} is lost: {error}") from error
            assert record.sha256 == sha256 and (image == coded_frame(seq)).all()
    if whole:
        roll = Roll.open(folder)
        start = roll.ledger.last + 1
        if start < FRAMES:
            capture_only(roll, Still(lambda n, start=start: coded_frame(n + start)))
        else:
            roll.close()
        shown = joined(folder)
        assert {seq for seq, _ in acknowledged} <= set(shown) and shown == sorted(set(shown))
    return begun


def cut_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> dict[str, int]:
    """At least ``count`` states; how many were opened, begun anew, and how many frames were promised in all."""
    chance = random.Random(SEED)
    told = {"states": 0, "opened": 0, "begun anew": 0, "while created": 0, "acknowledged frames": 0}
    number = 0
    while told["states"] < count:
        keep, place = ("originals", "painted")[number % 2], tmp_path / f"disk{number}"
        place.mkdir()
        cuts = PowerCuts(place, tmp_path / f"states{number}", chance, share=min(0.5, count / 3000))
        film(cuts, place / "roll", keep, monkeypatch)
        for index, (state, acknowledged) in enumerate(cuts.notes[: count - told["states"]]):
            assert isinstance(acknowledged, tuple)
            try:
                begun = check(state, acknowledged, whole=index % 20 == 0)
            except Exception as error:
                kept = Path(tmp_path / "failed")
                shutil.copytree(state, kept, dirs_exist_ok=True)
                raise AssertionError(f"seed {SEED}, run {number}, state {index} ({keep}): {error}") from error
            told["states"] += 1
            told[begun] += 1
            told["while created"] += not acknowledged
            told["acknowledged frames"] += len(acknowledged)
        cuts.close()
        shutil.rmtree(place)
        shutil.rmtree(tmp_path / f"states{number}", ignore_errors=True)
        number += 1
    return told


def test_no_acknowledged_frame_is_lost(tmp_path, monkeypatch):
    told = cut_power(tmp_path, monkeypatch, 60)
    assert told["acknowledged frames"] > 50 and told["while created"] > 2


@pytest.mark.slow
def test_a_thousand_power_cuts(tmp_path, monkeypatch):
    told = cut_power(tmp_path, monkeypatch, 1000)
    print(told, file=sys.stderr)
    assert told["while created"] > 50


def test_the_model_loses_what_is_not_synced(tmp_path):
    """Of one who does not sync, the model leaves everything, nothing and parts; of one who does, the whole."""
    left = {False: set[bytes | None](), True: set[bytes | None]()}
    for sync in (False, True):
        (tmp_path / f"{sync}").mkdir()
        cuts = PowerCuts(tmp_path / f"{sync}", tmp_path / f"states{sync}", random.Random(1), 1.0)
        for name in map(str, range(30)):
            with cuts.watching():
                handle = os.open(tmp_path / f"{sync}" / name, os.O_WRONLY | os.O_CREAT)
                os.write(handle, b"whole")
                if sync:
                    os.fsync(handle)
                    folder = os.open(tmp_path / f"{sync}", os.O_RDONLY)
                    os.fsync(folder)
                    os.close(folder)
                os.close(handle)
            file = cuts.notes[-1][0] / name
            left[sync].add(file.read_bytes() if file.exists() else None)
        cuts.close()
    assert left[True] == {b"whole"}
    assert {None, b"", b"whole", b"whole"[:3]} & left[False] >= {None, b"whole"} and len(left[False]) > 4
