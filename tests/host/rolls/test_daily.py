"""Films of days, made beside filming, on a clock that the tests turn."""

from __future__ import annotations

import datetime
import json
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

import pleinair.rolls.daily as daily
from pleinair.images import read_image
from pleinair.rolls import retention
from pleinair.rolls.records import Unfilmed
from pleinair.rolls.retention import Retention
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.status import read_status
from tests.clocks import HeldClock
from tests.rolls import HEIGHT, Still, coded_frame, events, film_codes, film_roll, new_roll

BEGUN = datetime.datetime(2026, 11, 24, 22)
HOUR = 3600.0
pytestmark = pytest.mark.usefixtures("no_thread_stays")


def filmed(folder: Path, frames: int, clock: HeldClock | None = None, shooter=None, stop=None, **settings):
    """A roll of a frame each ten minutes from 22:00 on, with its days' films: frame 12 is the next day's first."""
    thermometer = settings.pop("thermometer", None)
    roll = new_roll(folder, **{"every": 600.0, "frames": frames, "daily": True} | settings)
    schedule = Schedule(600.0, clock=clock or HeldClock(BEGUN))
    return film_roll(roll, shooter or Still(), stop, schedule=schedule, thermometer=thermometer)


def test_each_day_has_its_film(tmp_path):
    filmed(tmp_path / "roll", 170)
    films = tmp_path / "roll" / "films"
    assert sorted(path.name for path in films.glob("*.mp4")) == [f"2026-11-{day}.mp4" for day in (24, 25, 26)]
    assert film_codes(films / "2026-11-24.mp4") == list(range(12))
    assert film_codes(films / "2026-11-25.mp4") == list(range(12, 156))
    assert film_codes(films / "2026-11-26.mp4") == list(range(156, 170))
    told = events(tmp_path / "roll", "film")
    assert [(line["day"], line["frames"], line["last"]) for line in told] == [
        ("2026-11-24", 12, 11),
        ("2026-11-25", 144, 155),
        ("2026-11-26", 14, 169),
    ]
    for what, shape in (("strip", (HEIGHT, 1440, 3)), ("brightness", (360, 1440, 3)), ("sheet", (1000, 1976, 3))):
        assert read_image(films / f"2026-11-25-{what}.png").shape == shape
    assert read_status(tmp_path / "roll").films == ("2026-11-24", "2026-11-25", "2026-11-26")


def test_suspect_frames_at_the_end_of_a_day_hold_nothing_up(tmp_path):
    # Each tick asks twice for a black frame: frames 10 and 11 are the last two of the day, with no piece of their own.
    black = {10, 11, 12, 13}
    filmed(tmp_path / "roll", 30, shooter=Still(lambda number: coded_frame(number) * (number not in black)))
    suspect = [line["seq"] for line in events(tmp_path / "roll", "frame") if "suspect" in line]
    assert suspect == [10, 11]
    assert [(line["day"], line["frames"]) for line in events(tmp_path / "roll", "film")] == [
        ("2026-11-24", 10),
        ("2026-11-25", 18),
    ]


class Sleepy(HeldClock):
    """A clock that stops when a frame would be due at ``until``, and waits there as a real one does."""

    def __init__(self, begun: datetime.datetime, until: datetime.datetime) -> None:
        super().__init__(begun)
        self.until = until.timestamp()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        if self.now + seconds < self.until:
            self.now += seconds
        else:
            self.now = self.until
            stop.wait(0.05)


def test_a_film_is_made_when_the_day_is_over_although_its_piece_is_not_full(tmp_path):
    # Midnight has come, and the next frame is hours away: a roll that films by day alone.
    stop, seen = threading.Event(), list[bool]()
    clock = Sleepy(BEGUN, datetime.datetime(2026, 11, 25, 0, 1))

    def watch() -> None:
        until = time.monotonic() + 150
        while time.monotonic() < until and not (tmp_path / "roll" / "films" / "2026-11-24.mp4").exists():
            time.sleep(0.05)
        until = time.monotonic() + 60
        while time.monotonic() < until and not events(tmp_path / "roll", "film"):
            time.sleep(0.05)
        seen.append(bool(events(tmp_path / "roll", "film")))
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    # Pieces of a hundred frames: the twelve of this evening would not fill one.
    filmed(tmp_path / "roll", 5000, clock, stop=stop, piece=100)
    watcher.join()
    assert seen == [True]
    assert film_codes(tmp_path / "roll" / "films" / "2026-11-24.mp4")[:12] == list(range(12))


def test_the_command_is_called_with_each_film(tmp_path):
    command = tmp_path / "upload"
    command.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"names = ('PLEINAIR_WHAT', 'PLEINAIR_DAY', 'PLEINAIR_FILM', 'PLEINAIR_ROLL')\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as file:\n"
        "    print(json.dumps([sys.argv[1:], *(os.environ[name] for name in names)]), file=file)\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    filmed(tmp_path / "roll", 20, on_film=f"{command} --to here")
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    films = [str(tmp_path / "roll" / "films" / f"2026-11-{day}.mp4") for day in (24, 25)]
    assert told == [[["--to", "here", film], "film", Path(film).stem, film, str(tmp_path / "roll")] for film in films]


class Hot:
    """It is hot until ``cool`` says otherwise."""

    def __init__(self, cool: threading.Event) -> None:
        self.cool, self.celsius = cool, 80.0

    def now(self) -> list[str]:
        return []

    def since_boot(self) -> list[str]:
        return []

    def rest(self) -> float:
        return 0.0 if self.cool.is_set() else 0.5


def test_a_hot_machine_makes_no_film(tmp_path, monkeypatch):
    import pleinair.rolls.timelapse as timelapse

    monkeypatch.setattr(timelapse, "_HEAT", 0.1)
    cool, early = threading.Event(), list[bool]()

    def wait() -> None:
        until = time.monotonic() + 150
        while time.monotonic() < until and not events_of(tmp_path, "end"):
            time.sleep(0.05)
        time.sleep(1.0)
        early.append((tmp_path / "roll" / "films").exists())
        cool.set()

    watcher = threading.Thread(target=wait)
    watcher.start()
    filmed(tmp_path / "roll", 14, thermometer=lambda: Hot(cool))
    watcher.join()
    assert early == [False] and len(events(tmp_path / "roll", "film")) == 2


def events_of(folder: Path, kind: str) -> list[dict]:
    """The journal's lines of a kind; none where there is no roll yet."""
    return events(folder / "roll", kind) if (folder / "roll" / "journal.jsonl").exists() else []


def test_without_room_the_film_waits_and_no_frame_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(daily, "_BESIDES", 10**18)
    filmed(tmp_path / "roll", 30)
    assert len(events(tmp_path / "roll", "frame")) == 30
    assert events(tmp_path / "roll", "film") == []
    told = [line["message"] for line in events(tmp_path / "roll", "trouble")]
    assert any("the film of 2026-11-24 waits for" in line for line in told)
    # With room again, going on makes what is missing.
    monkeypatch.undo()
    roll = Roll.open(tmp_path / "roll")
    film_roll(roll, Still(), schedule=Schedule(600.0, clock=HeldClock(BEGUN + datetime.timedelta(hours=6))))
    assert [line["day"] for line in events(tmp_path / "roll", "film")] == ["2026-11-24", "2026-11-25"]


def test_when_all_is_captured_painted_originals_still_go_for_a_film(tmp_path, monkeypatch):
    folder = tmp_path / "roll"

    def free(_: Path) -> int:
        """Room for frames, but for no film before three originals went."""
        return daily._BESIDES - 2_000_000 + 1_000_000 * (10 - len(list((folder / "originals").rglob("*.png"))))

    monkeypatch.setattr(daily, "free_bytes", free)
    monkeypatch.setattr(retention, "free_bytes", free)
    # One day, which is over when all is captured.
    filmed(folder, 10, keep="painted", keep_free=0)
    assert [(line["day"], line["frames"]) for line in events(folder, "film")] == [("2026-11-24", 10)]
    assert read_status(folder).deleted > 0


def test_a_film_that_cannot_be_made_is_told_and_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(daily, "_AGAIN", 0.0)
    roll = new_roll(tmp_path / "roll", every=600.0, frames=14, daily=True)
    (tmp_path / "roll" / "films").write_text("no folder")
    film_roll(roll, Still(), schedule=Schedule(600.0, clock=HeldClock(BEGUN)))
    told = [line["message"] for line in events(tmp_path / "roll", "trouble") if line["what"] == "film"]
    assert len(told) == 6 and told[2].endswith("given up") and len(events(tmp_path / "roll", "frame")) == 14


def test_pieces_of_days_that_have_their_film_go_first(tmp_path):
    filmed(tmp_path / "roll", 30, keep="none")
    roll = Roll.open(tmp_path / "roll")
    pieces = tmp_path / "roll" / "paintings" / "plain-8bit"
    count, films = len(list(pieces.glob("*.mkv"))), tmp_path / "roll" / "films"
    keeper = Retention(roll)
    order = list[tuple[int, int, int]]()
    while keeper._delete():
        left = len(list(roll.originals.rglob("*.png"))), len(list(pieces.glob("*.mkv"))), len(list(films.glob("*.mp4")))
        order.append(left)
    roll.close()
    # Originals, then pieces of days that have their films; the films stay, and the newest piece.
    assert order == sorted(order, reverse=True) and order[-1] == (0, 1, 2) and count > 2


def test_films_go_before_the_pieces_of_days_that_have_none(tmp_path):
    filmed(tmp_path / "roll", 30, keep="none")
    roll = Roll.open(tmp_path / "roll")
    films = tmp_path / "roll" / "films"
    for path in roll.originals.rglob("*.png"):
        path.unlink()
    # As if the second day had not been filmed yet.
    roll.write(Unfilmed(day="2026-11-25"))
    keeper, left = Retention(roll), list[list[str]]()
    while keeper._delete():
        left.append(sorted(path.name for path in films.glob("2026-11-24*")))
    roll.close()
    assert left[0] and left[-1] == []
    assert [line["day"] for line in events(tmp_path / "roll", "unfilmed")] == ["2026-11-25", "2026-11-24"]
