"""Notices by Apprise, to a webhook of the tests' own: delivered, refused, hanging, and never with their addresses."""

from __future__ import annotations

import importlib.util
import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pleinair.errors import OptionError
from pleinair.rolls import telling
from pleinair.rolls.beginning import begin_roll, open_roll
from pleinair.rolls.notices import Apprise, parse_addresses
from pleinair.rolls.notify import Command, Notice
from pleinair.rolls.resuming import resume_roll
from tests.network_cameras import Http, send, served
from tests.rolls import frames_of, give_styles, write_coded

pytest.importorskip("apprise")
ROLL = Path("/rolls/roof")


def told(server: Http) -> list[dict[str, Any]]:
    """What a webhook was told."""
    return [json.loads(body) for body in server.bodies]


def test_a_webhook_is_told():
    with served(lambda handler: send(handler, b"")) as server:
        addresses = parse_addresses(f"json://me:s3cr3t@{server.host}/t0ken")
        assert server.asked == []  # nothing is sent to check an address
        tell = Apprise(addresses)
        assert tell(Notice("camera", "camera pi:0: hung for 20 s"), ROLL) == ""
        assert tell(Notice("film-ready", "the film of 2026-11-25 is ready", news=True), ROLL) == ""
        assert [(t["title"], t["message"], t["type"]) for t in told(server)] == [
            ("pleinair: roof", "camera pi:0: hung for 20 s", "warning"),
            ("pleinair: roof", "the film of 2026-11-25 is ready", "info"),
        ]
        assert server.asked[0][0] == "/t0ken"


def test_what_fails_or_hangs_is_told_by_its_kind_alone():
    over = threading.Event()
    with served(lambda handler: send(handler, b"", 500)) as server, served(lambda handler: over.wait(30)) as deaf:
        good = Apprise([f"json://me:s3cr3t@{server.host}/t0ken"])
        assert good(Notice("disk", "full"), ROLL) == "json:// did not take a notice"
        hangs = Apprise([f"json://me:s3cr3t@{deaf.host}/t0ken?rto=30&cto=30"], timeout=3.0)
        assert hangs(Notice("disk", "full"), ROLL) == "json:// took longer than 3 s"
        over.set()


@pytest.mark.parametrize("text", ["", "s3cr3t", "json://a/ xyz://s3cr3t", "j://\x1bs3cr3t"])
def test_what_is_no_address_is_refused_and_not_repeated(text):
    with pytest.raises(OptionError, match="^notify ") as caught:
        parse_addresses(text)
    assert "s3cr3t" not in str(caught.value)


def test_without_apprise_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"^notify mailto://: needs apprise: pip install '.\[notify\]'"):
        parse_addresses("mailto://me:s3cr3t@example.org")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder: 12 frames, the style ``plain``, this user's state."""
    give_styles(tmp_path / "models", monkeypatch)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_coded(tmp_path / "work" / "frames", 12)
    return tmp_path


def test_a_roll_tells_its_news_and_keeps_the_address_to_its_user(place, monkeypatch):
    with served(lambda handler: send(handler, b"")) as server:
        address = f"json://me:s3cr3t@{server.host}/t0ken"
        about = {"style": "plain", "backend": "reference", "keep_free": 0, "steady": 0}
        with begin_roll("roof", "frames:frames", notify=address, **about) as lapse:
            assert lapse.run() == "complete"
            assert not lapse.errors
        assert [t["message"].partition(":")[0] for t in told(server)] == [
            "the first frame is there",
            "the roll is finished, with 12 frames",
        ]
    written = b"".join(path.read_bytes() for path in Path("roof").rglob("*") if path.is_file())
    assert b"s3cr3t" not in written and b"t0ken" not in written
    with open_roll("roof") as roll:
        mine = resume_roll(roll)
        assert mine is not None and not mine.warnings
        monkeypatch.setenv("XDG_STATE_HOME", str(place / "somebody else"))
        foreign = resume_roll(roll)
        assert foreign is not None and "were not given by this user" in foreign.warnings[0]
        assert foreign.teller._all == []
        again = resume_roll(roll, notify="json://127.0.0.1:1/t0ken")
        assert again is not None and not again.warnings and len(again.teller._all) == 1


def test_notices_that_hang_cost_no_frame(place, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(telling, "Apprise", partial(Apprise, timeout=3.0))
    monkeypatch.setattr(telling, "Command", partial(Command, timeout=3.0))
    with served(lambda handler: over.wait(60)) as deaf:
        about = {"style": "plain", "backend": "reference", "keep_free": 0, "steady": 0}
        address = f"json://{deaf.host}/?rto=60"
        with begin_roll("roof", "frames:frames", notify=address, notify_cmd="sh -c 'sleep 60'", **about) as lapse:
            assert lapse.run() == "complete"
            told = {trouble.message for trouble in lapse.errors}
        over.set()
    assert told == {"sh took longer than 3 s", "json:// took longer than 3 s"}
    assert len(frames_of(Path("roof"))) == 12
