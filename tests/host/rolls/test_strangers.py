"""Rolls that came from elsewhere: links, altered settings, commands, odd numbers; and rolls cut off while made."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from pathlib import Path

import pytest

from pleinair import durable
from pleinair.errors import ImageError, RollError
from pleinair.rolls.beginning import begin_roll, open_roll
from pleinair.rolls.developer import _SEAL, _unsealed
from pleinair.rolls.finish import find_painting
from pleinair.rolls.journal import format_line
from pleinair.rolls.lock import is_running
from pleinair.rolls.originals import read_original
from pleinair.rolls.resuming import resume_roll
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Settings
from pleinair.rolls.status import read_status
from tests.models import write_model
from tests.rolls import Still, film_roll, frames_of, identity_network, joined, new_roll, write_coded


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder: 12 frames, the style ``plain``, and a home of its own."""
    write_coded(tmp_path / "frames", 12)
    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAIN = {"style": "plain", "backend": "reference", "keep_free": 0, "steady": 0}


@pytest.mark.parametrize(
    "name",
    ["lock", "journal.jsonl", "roll.json", "state.json", "originals", "originals/000000", "paintings/plain-8bit"],
)
def test_a_link_in_a_roll_is_refused_and_its_target_stays(tmp_path, name):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    target, part = tmp_path / "precious", tmp_path / "roll" / name
    (shutil.move(part, target) if part.exists() else target.write_text("precious"))
    before = sorted(target.iterdir()) if target.is_dir() else target.read_bytes()
    part.symlink_to(target)
    with pytest.raises(RollError, match=f"{name} is a link"):
        Roll.open(tmp_path / "roll")
    assert (sorted(target.iterdir()) if target.is_dir() else target.read_bytes()) == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["lock", "journal.jsonl", "roll.json", "state.json", "paintings/plain-8bit/painting.json"]
)
@pytest.mark.parametrize("look", [read_status, Roll.open, find_painting], ids=["status", "open", "find"])
def test_a_pipe_in_a_roll_is_refused_and_nobody_waits_for_it(tmp_path, name, look):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    part = tmp_path / "roll" / name
    part.unlink(missing_ok=True)
    os.mkfifo(part)
    with pytest.raises(RollError, match=f"{name} is neither a file nor a folder"):
        look(tmp_path / "roll")
    assert not is_running(tmp_path / "roll")


@pytest.mark.parametrize("name", ["roll.json", "journal.jsonl", "originals"])
def test_status_follows_no_link_in_a_roll(tmp_path, name):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    shutil.move(tmp_path / "roll" / name, tmp_path / "away")
    (tmp_path / "roll" / name).symlink_to(tmp_path / "away")
    with pytest.raises(RollError, match=f"{name} is a link"):
        read_status(tmp_path / "roll")


@pytest.mark.timeout(60)
def test_an_original_that_is_a_pipe_or_huge_is_damaged(tmp_path):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    first, second, _ = sorted((tmp_path / "roll" / "originals").glob("*/*"))
    first.unlink()
    os.mkfifo(first)
    with second.open("r+b") as file:
        file.truncate(6 << 30)  # of holes
    with pytest.raises(ImageError, match="not a file"):
        read_original(first)
    with pytest.raises(ImageError, match="larger than 257 MiB"):
        read_original(second)


def test_settings_of_gigabytes_are_damaged_and_the_journal_has_them(tmp_path):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    with (tmp_path / "roll" / "roll.json").open("r+b") as file:
        file.truncate(6 << 30)
    assert read_status(tmp_path / "roll").frames == 3


def test_nothing_is_written_through_a_planted_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "file.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        durable.write_file(tmp_path / "file", b"new")
    (tmp_path / "file.part").unlink(missing_ok=True)
    (tmp_path / "file.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        durable.DurableFile(tmp_path / "file.part")
    assert (tmp_path / "precious").read_text() == "precious"


def test_altered_settings_are_not_obeyed(place):
    with begin_roll("roof", camera="frames:frames", notify_cmd="true", **PLAIN) as lapse:
        assert lapse.run() == "complete"
    path = place / "roof" / "roll.json"
    path.write_text(path.read_text().replace('"notify": "true"', '"notify": "touch /tmp/gotcha"'))
    with open_roll("roof") as roll:
        assert roll.settings.notify == "true" and "roll.json" in roll.mended[0]


def test_a_command_runs_for_who_gave_it_alone(place, monkeypatch):
    with begin_roll("roof", camera="frames:frames", notify_cmd="true", daily=True, on_film="true", **PLAIN) as lapse:
        lapse.run()
    with open_roll("roof") as roll:
        mine = resume_roll(roll)
        assert mine is not None and not mine.warnings and roll.settings.notify == roll.settings.on_film == "true"
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "somebody else"))
    with open_roll("roof") as roll:
        foreign = resume_roll(roll)
        assert foreign is not None and roll.settings.notify is None and roll.settings.on_film is None
        assert "'true' was not given by this user and is not run" in foreign.warnings[0]
        assert "pleinair resume --on-film COMMAND" in foreign.warnings[1]
    with open_roll("roof") as roll:
        allowed = resume_roll(roll, notify_cmd="true", on_film="true")
        assert allowed is not None and not allowed.warnings and roll.settings.on_film == "true"


@pytest.mark.parametrize(
    "odd",
    [
        {"every": 0},
        {"every": float("nan")},
        {"every": 1e300},
        {"piece": 0},
        {"piece": 10**18},
        {"size": [0, 0]},
        {"size": [10**9, 10]},
        {"size": [float("inf"), 10]},
        {"crop": [float("nan"), 10, 0, 0]},
        {"frames": -1},
        {"seconds": float("inf")},
        {"notify": 7},
        {"on_film": 7},
        {"daily": "yes"},
        {"camera": "frames:\0"},
        {"preview": 10**6},
        {"rotate": 45},
        {"look": {"style": "../../x/..", "bits": 8}},
        {"look": {"style": "plain", "bits": 8, "fps": 0}},
        {"look": {"style": "plain", "bits": 8, "tone": float("nan")}},
    ],
)
def test_odd_settings_are_damaged(tmp_path, odd):
    values = json.loads(json.dumps(new_roll(tmp_path / "roll").settings.to_json()))
    with pytest.raises((ValueError, TypeError, KeyError)):
        Settings.from_json({**values, **odd})


@pytest.mark.parametrize("values", [{"seq": 10**18}, {"seq": 10**10}, {"late": float("nan")}, {"t": float("inf")}])
def test_odd_lines_of_a_journal_with_right_checksums_are_damaged(tmp_path, values):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    line = {"event": "frame", "seq": 3, "t": 1.0, "wall": 1.9e9} | values
    with (tmp_path / "roll" / "journal.jsonl").open("ab") as file:
        file.write(format_line(line))
        file.write(b'{"event":' + b"[" * 30_000 + b',"crc":"%08x"}\n' % zlib.crc32(b'{"event":' + b"[" * 30_000 + b"}"))
    assert read_status(tmp_path / "roll").frames == 3
    assert joined(tmp_path / "roll") == [0, 1, 2]


@pytest.mark.parametrize(
    "values",
    [
        {"style": 7},
        {"alias": "../../elsewhere"},
        {"alias": ".."},
        {"style": "a\0b"},
        {"bits": "8"},
        {"style": ""},
        [],
        3,
    ],
)
def test_a_painting_of_odd_values_is_none_and_leads_nowhere(tmp_path, values):
    film_roll(new_roll(tmp_path / "roll", frames=3), Still())
    folder = tmp_path / "roll" / "paintings" / "other-8bit"
    folder.mkdir()
    odd = {"style": "other", "bits": 8, "fps": 24} | values if isinstance(values, dict) else values
    (folder / "painting.json").write_text(json.dumps(odd))
    with (tmp_path / "roll" / "journal.jsonl").open("ab") as file:
        file.write(format_line({"event": "painting", "name": "third-8bit", "look": odd}))
    with Roll.open(tmp_path / "roll") as roll:
        assert list(roll.paintings()) == ["plain-8bit"]
    assert joined(tmp_path / "roll") == [0, 1, 2]


def test_every_wrong_bit_of_the_filters_memory_means_to_warm_up_anew(tmp_path):
    film_roll(new_roll(tmp_path / "roll", frames=12), Still())
    (path,) = (tmp_path / "roll" / "paintings" / "plain-8bit").glob("filters-00000012.npz")
    data = path.read_bytes()
    assert _SEAL in data and _unsealed(data)
    for bit in range(0, 8 * len(data), 7):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            kept = _unsealed(bytes(broken))
        except ValueError:
            continue
        assert kept == bytes(broken)  # without its seal: read as one of version 0.1.0, and refused there


class _Cut(BaseException):
    """The power is cut."""


def test_a_roll_appears_whole_or_its_remain_is_taken_over(tmp_path, monkeypatch):
    steps, left = [0], list[list[str]]()
    for name in ("mkdir", "fsync", "replace", "rename"):
        real = getattr(os, name)

        def cut(*arguments, real=real, **options):
            steps[0] -= 1
            if steps[0] == 0:
                raise _Cut
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, cut)
    for moment in range(1, 20):
        steps[0] = moment
        try:
            new_roll(tmp_path / "roll").close()
        except _Cut:
            pass
        else:
            steps[0] = -1
            left.append(["whole"])
            break
        steps[0] = -1
        if (tmp_path / "roll").exists():
            left.append(sorted(os.listdir(tmp_path / "roll")))
            # A copy: in this process, the lock is still held.
            shutil.move(shutil.copytree(tmp_path / "roll", tmp_path / "copy"), tmp_path / "after")
            Roll.open(tmp_path / "after").close()
            shutil.rmtree(tmp_path / "after")
            shutil.rmtree(tmp_path / "roll")
    assert left and left[-1] == ["whole"] and all("roll.json" in names for names in left[:-1])
    # What 0.1.0 left of a roll that was cut off, and a folder that is there and empty.
    for names in ([], ["lock"], ["lock", "originals", "paintings"]):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / "roll")
        (tmp_path / "roll").mkdir()
        for name in names:
            (tmp_path / "roll" / name).touch() if name == "lock" else (tmp_path / "roll" / name).mkdir()
        film_roll(new_roll(tmp_path / "roll", frames=2), Still())
        assert len(frames_of(tmp_path / "roll")) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(RollError, match="there is something already"):
        new_roll(tmp_path / "mine")
