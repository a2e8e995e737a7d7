"""Rolls of network cameras by the command line: secrets stay with their user, a camera that is away comes back."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pleinair.cli.main import main
from pleinair.rolls.roll import Roll
from tests.network_cameras import LOGIN, PASSWORD, Rtsp, pictures, send, served
from tests.rolls import film_codes, frames_of, give_styles, journal, pleinair

#: What must be nowhere, as it is typed and as it is meant.
SECRETS = (PASSWORD, LOGIN, "s3cr", "t0ken", "roof%20cam")
RUN = ["run", "--style", "plain", "--backend", "reference", "--roll", "roll", "--keep-free", "0", "--steady", "0"]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder, this user's state, and the style ``plain``."""
    give_styles(tmp_path / "models", monkeypatch)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def nothing_told(place: Path, *texts: str) -> None:
    """No secret is in anything that was said, or that lies in the working folder."""
    written = b"".join(path.read_bytes() for path in (place / "work").rglob("*") if path.is_file())
    for secret in SECRETS:
        assert not any(secret in text for text in texts) and secret.encode() not in written


def test_a_roll_by_http_keeps_its_secrets_and_goes_on(place, capsys, monkeypatch):
    with served(pictures("MD5")) as server:
        monkeypatch.setenv("PLEINAIR_CAMERA", f"http://{LOGIN}@{server.host}/snap?t0ken=1")
        assert main([*RUN, "--every", "200ms", "--frames", "3"]) == 0
        monkeypatch.delenv("PLEINAIR_CAMERA")
        said = capsys.readouterr()
        assert "warning" not in said.err
        assert json.loads(Path("roll/state.json").read_text())["camera"] == f"http://{server.host}"
        settings = json.loads(Path("roll/roll.json").read_text())["settings"]
        assert settings["camera"].startswith(f"http://{server.host}/...#")
        (kept,) = (place / "state" / "pleinair" / "cameras").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600 and kept.parent.stat().st_mode & 0o777 == 0o700
        assert main(["status", "roll"]) == main(["status", "roll", "--json"]) == 0
        # Two more frames, from the roll alone.
        roll_with(frames=5)
        assert main(["resume", "roll"]) == 0
        assert len(frames_of(Path("roll"))) == 5
        # For somebody else it is an address that is not known, until it is given.
        monkeypatch.setenv("XDG_STATE_HOME", str(place / "somebody else"))
        roll_with(frames=6)
        assert main(["resume", "roll"]) == 2
        said = capsys.readouterr()
        assert f"--camera http://{server.host}: this user has not given its address" in said.err
        Path("again.toml").write_text(f'camera = "http://{LOGIN}@{server.host}/other?t0ken=2"\n')
        assert main(["resume", "roll", "--config", "again.toml"]) == 0
        Path("again.toml").unlink()
        roll_with(frames=7)
        assert main(["resume", "roll"]) == 0 and server.asked[-1][0] == "/other?t0ken=2"
        assert main(["finish", "roll", "--out", "film.mp4"]) == 0
        codes = film_codes(Path("film.mp4"))
        assert codes == sorted(codes) and len(codes) == 7
        nothing_told(place, *said, *capsys.readouterr())


def roll_with(**settings: Any) -> None:
    """Let the roll film more."""
    with Roll.open(Path("roll")) as roll:
        roll.change(replace(roll.settings, **settings))


def test_a_camera_that_is_away_costs_its_ticks_and_comes_back(place, capsys):
    give = pictures()
    away = range(4, 6)

    def answer(handler: Any) -> None:
        if len(handler.server.asked) in away:
            send(handler, b"", 503)
        else:
            give(handler)

    with served(answer) as server:
        address = f"http://{server.host}/snap?t0ken=1"
        assert main([*RUN, "--camera", address, "--every", "200ms", "--frames", "6"]) == 0
        asked = len(server.asked)
    events = journal(Path("roll"))
    assert len(frames_of(Path("roll"))) == 6 and not any("suspect" in line for line in events)
    told = [line["message"] for line in events if line["event"] == "trouble"]
    assert told[0] == f"camera http://{server.host}: answered 503 Service Unavailable"
    missed = sum(line["ticks"] for line in events if line["event"] == "skipped" and line["reason"] == "camera")
    assert missed > len(away) and asked == 6 + len(away) + 1  # while it rests, it is not asked
    assert any(line["event"] == "recovered" for line in events)
    said = capsys.readouterr()
    assert "warning: what is typed shows in the machine's list of processes" in said.err
    nothing_told(place, *said)


def test_rtsp_films_in_a_process_whose_arguments_say_nothing(place):
    with Rtsp("MD5") as server:
        Path("../camera.toml").write_text(f'camera = "rtsp://{LOGIN}@{server.host}/t0ken"\n')
        arguments = [*RUN, "--config", "../camera.toml", "--every", "500ms", "--frames", "3", "--out", "film.mp4"]
        process = pleinair(*arguments, models=place / "models")
        seen = set[str]()
        while process.poll() is None:
            for line in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(line.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.2)
        said = process.communicate()
        assert process.returncode == 0, said
    assert any("camera.toml" in line for line in seen)
    nothing_told(place, *said, *seen)
    codes = film_codes(Path("film.mp4"))
    assert len(codes) == 3 and codes == sorted(codes)


@pytest.mark.parametrize("wrong", ["rstp://me:s3cr@cam/t0ken", "http://me:s3cr@cam:x/t0ken", "http://me:s3cr@/t0ken"])
def test_a_mistyped_address_is_not_repeated(place, capsys, wrong):
    for command in (["run", "--roll", "roll"], ["doctor"]):
        assert main([*command, "--camera", wrong]) == 2
        said = capsys.readouterr()
        assert "camera address: write rtsp://, http://, https://" in said.err
        nothing_told(place, *said)
