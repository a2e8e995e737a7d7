"""A month on a roll, on a clock that jumps ahead: films of days, their pictures, a film of a minute, a disk of 1 GB."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pleinair.cameras.camera import Frame
from pleinair.films.choice import Choice
from pleinair.rolls import daily, retention
from pleinair.rolls.cut import Cut, Reel, cut_film
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.status import read_status
from pleinair.rolls.timelapse import Timelapse
from pleinair.serving.site import page_of
from tests.clocks import HeldClock
from tests.films import read_video
from tests.rolls import HEIGHT, WIDTH, Still, coded_frame, events, frames_of, open_plain, read_code

BEGUN = datetime.datetime(2026, 11, 1)
BUDGET, FLOOR = 1_000_000_000, 50_000_000
#: What else is on the disk.
_OTHERS = 500_000_000
#: Frames that wait for their painting at most: as in a real month, painting keeps up.
_AHEAD = 200


class Scene(Still):
    """A sky that brightens and darkens through the day, with a camera's noise, and the frame's number in a corner."""

    def __init__(self, size: tuple[int, int], a_day: int) -> None:
        super().__init__()
        self.size, self._a_day = size, a_day
        self.lapse: Timelapse | None = None
        generator = np.random.default_rng(1)
        self._noise = [generator.normal(0, 4, (size[1], size[0], 3)).astype(np.int16) for _ in range(8)]
        rows = np.linspace(1, 0, size[1])[:, None, None]
        self._sky = np.repeat(rows, size[0], axis=1) * np.array([0.6, 0.8, 1.0])

    def shoot(self) -> Frame:
        """See Shooter. Frames come as fast as they are painted."""
        while self.lapse is not None and self.lapse.pending > _AHEAD and not self.lapse._stop.is_set():
            time.sleep(0.01)
        number = self.taken
        self.taken += 1
        light = 60 + 110 * np.sin(np.pi * (number % self._a_day) / self._a_day)
        image = (self._sky * light + 40 + self._noise[number % 8]).clip(0, 255).astype(np.uint8)
        image[:HEIGHT, :WIDTH] = coded_frame(number)
        return Frame(image, number, 0.0, "", number)


class Disk:
    """A disk of :data:`BUDGET` bytes that holds a roll and :data:`_OTHERS`; a thread measures it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.used, self.most, self._over = folder, 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)
        self._thread.start()

    def _measure(self) -> None:
        while not self._over.wait(1.0):
            total = _OTHERS
            for folder, _, names in os.walk(self.folder):
                for name in names:
                    with contextlib.suppress(OSError):
                        total += os.stat(os.path.join(folder, name)).st_size
            self.used, self.most = total, max(self.most, total)

    def free(self, folder: Path) -> int:
        """See durable.free_bytes."""
        return BUDGET - self.used

    def close(self) -> None:
        """Measure no more."""
        self._over.set()
        self._thread.join()


class Watcher:
    """Looks at status and page all the while, as somebody on the sofa does."""

    def __init__(self, folder: Path, lapse: Timelapse) -> None:
        self.folder, self.lapse, self.looks, self.problems = folder, lapse, 0, list[str]()
        self.states = Counter[str]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        frames, films = 0, 0
        with page_of(self.folder, 0) as page:
            over = False
            while not over:
                over = self._over.wait(1.0)  # once more at the end, so that a fast machine looks, too
                try:
                    state = json.loads(self._get(page.port, "/state.json"))
                    status = read_status(self.folder)
                    self._expect(
                        frames <= state["frames"] <= status.frames + 1 or status.frames >= frames, "frames go back"
                    )
                    self._expect(state["painted"] <= state["frames"], "more painted than filmed")
                    self._expect(films <= len(state["films"]), "films go back")
                    days = 1 + (state["frames"] - 1) // self.lapse.shooter._a_day  # type: ignore[attr-defined]
                    self._expect(len(state["films"]) <= days, "more films than days")
                    if state["films"]:
                        strip = self._get(page.port, f"/roll/{self.folder.name}/days/{state['films'][-1]}-strip.png")
                        self._expect(strip.startswith(b"\x89PNG"), "no strip")
                    frames, films = state["frames"], len(state["films"])
                    self.states[state["state"]] += 1
                    self.looks += 1
                except Exception as error:
                    self.problems.append(f"{type(error).__name__}: {error}")

    def _get(self, port: int, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, (path, answer.status)
        return body

    def _expect(self, true: bool, problem: str) -> None:
        if not true:
            self.problems.append(problem)

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()


def film_days(folder: Path, monkeypatch: pytest.MonkeyPatch, *, days: int, every: float, size: tuple[int, int]) -> Disk:
    """Film so many days; the disk that it was on. What every such roll must be is looked at here."""
    a_day = round(86_400 / every)
    disk = Disk(folder)
    monkeypatch.setattr(retention, "free_bytes", disk.free)
    monkeypatch.setattr(daily, "free_bytes", disk.free)
    settings = Settings(
        camera="still",
        size=size,
        look=Look("plain", 8),
        every=every,
        frames=days * a_day,
        keep="painted",
        keep_free=FLOOR,
        daily=True,
    )
    shooter = Scene(size, a_day)
    roll = Roll.create(folder, settings)
    began = time.monotonic()
    schedule = Schedule(every, clock=HeldClock(BEGUN))
    with Timelapse(roll, shooter, schedule=schedule, painter=open_plain, patience=60.0) as lapse:
        shooter.lapse = lapse
        watcher = Watcher(folder, lapse)
        try:
            assert lapse.run(threading.Event()) == "complete"
        finally:
            watcher.close()
            disk.close()
    assert watcher.problems == [] and watcher.looks > 0
    records = frames_of(folder)
    assert [record["seq"] for record in records] == list(range(days * a_day))
    films = [line["day"] for line in events(folder, "film")]
    assert films == [(BEGUN + datetime.timedelta(days=n)).strftime("%Y-%m-%d") for n in range(days)]
    assert all(line["frames"] == a_day for line in events(folder, "film"))
    status = read_status(folder)
    assert (status.frames, status.painted, len(status.films)) == (days * a_day, days * a_day, days)
    print(
        f"{len(records)} frames in {time.monotonic() - began:.0f} s, {watcher.looks} looks ({dict(watcher.states)}), "
        f"disk at most {disk.most / 1e6:.0f} MB, originals below {status.deleted} deleted, "
        f"troubles {status.troubles}: {status.last_trouble}"
    )
    for day in (films[0], films[-1]):
        shown = [read_code(image) for image in read_video(folder / "films" / f"{day}.mp4")]
        first = films.index(day) * a_day
        assert shown == list(range(first, first + a_day))
    return disk


def minute(folder: Path, film: Path, seconds: float) -> list[int]:
    """The numbers that a film of so many seconds shows."""
    began = time.monotonic()
    made = cut_film([Reel(folder, Look("plain", 8))], film, Cut(seconds=seconds, title="November"), tags={})
    shown = [read_code(image) for image in read_video(film)]
    assert made.frames == len(shown) == round(24 * seconds) + 72
    print(f"{made.frames} frames, {film.stat().st_size / 1e6:.1f} MB, in {time.monotonic() - began:.0f} s")
    return shown[72:]


def test_two_days(tmp_path, monkeypatch):
    film_days(tmp_path / "roll", monkeypatch, days=2, every=3600.0, size=(160, 96))
    shown = minute(tmp_path / "roll", tmp_path / "film.mp4", 1.0)
    assert shown == [round(47 * n / 23 - 1e-9) for n in range(24)]
    choice = Choice(days=(datetime.date(2026, 11, 2),), nth=6)
    made = cut_film([Reel(tmp_path / "roll", Look("plain", 8))], tmp_path / "day.mp4", Cut(choice=choice), tags={})
    assert (made.frames, made.first) == (4, "2026-11-02 00:00")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_month(tmp_path, monkeypatch):
    disk = film_days(tmp_path / "roll", monkeypatch, days=30, every=300.0, size=(480, 270))
    assert disk.most < BUDGET
    assert read_status(tmp_path / "roll").deleted > 0
    shown = minute(tmp_path / "roll", tmp_path / "film.mp4", 60.0)
    assert np.abs(np.array(shown) - np.linspace(0, 8639, 1440)).max() <= 0.5 + 1e-6
