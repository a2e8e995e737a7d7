"""Rolls for tests: frames that carry their number for anybody to read, a network that changes nothing, a camera box."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import Frame, Shooter
from pleinair.errors import CameraError
from pleinair.network.integer import Convolution, IntegerNetwork, validate
from pleinair.painting.painter import Painter
from pleinair.rolls.capture import Capture
from pleinair.rolls.finish import finish
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.timelapse import Timelapse
from tests import children
from tests.films import read_video
from tests.models import write_model
from tests.networks import random_network

WIDTH, HEIGHT = 64, 48
_BITS, _COLUMNS = 16, 8


def coded_frame(number: int, noise: int = 3) -> np.ndarray:
    """A frame of WIDTH x HEIGHT that shows ``number`` as a chequer of 16 bits, under its own noise."""
    rows = _BITS // _COLUMNS
    bits = np.array([number >> i & 1 for i in range(_BITS)]).reshape(rows, _COLUMNS)
    blocks = np.kron(np.where(bits, 205, 50), np.ones((HEIGHT // rows, WIDTH // _COLUMNS), int))
    grains = np.random.default_rng(number).integers(-noise, noise + 1, (HEIGHT, WIDTH, 1))
    return np.repeat(blocks[:, :, None] + grains, 3, axis=2).clip(0, 255).astype(np.uint8)


def read_code(image: np.ndarray) -> int:
    """The number that a frame shows, painted or not, as long as light stayed light."""
    rows = _BITS // _COLUMNS
    cells = image[:HEIGHT, :WIDTH].mean(2).reshape(rows, HEIGHT // rows, _COLUMNS, WIDTH // _COLUMNS).mean((1, 3))
    return sum(int(value > 127) << i for i, value in enumerate(cells.ravel()))


def film_codes(path: Path) -> list[int]:
    """The numbers that a film's frames show."""
    return [read_code(image) for image in read_video(path)]


def give_styles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the styles ``plain``, which changes nothing, and ``integers``, which does, and no others of a user's."""
    write_model(folder / "plain", identity_network(), margin=0, grain=0)
    write_model(folder / "integers", random_network(3, width=4, blocks=1, kernel=3))
    monkeypatch.setenv("PLEINAIR_MODELS", str(folder))


def write_coded(folder: Path, count: int) -> Path:
    """A folder of ``count`` PNG frames that show 0, 1, 2 ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        assert cv2.imwrite(str(folder / f"frame{number:05d}.png"), coded_frame(number))
    return folder


def identity_network() -> IntegerNetwork:
    """One convolution that gives back what it takes."""
    weight = np.zeros((3, 3, 1, 1), np.int8)
    weight[range(3), range(3)] = 64
    zero = np.zeros(3, np.int64)
    return validate(IntegerNetwork(8, (Convolution("only", weight, zero, zero + 6, 1, 8, 8, False),)))


def pleinair(*arguments: str | Path, models: Path | None = None, **settings: Any) -> subprocess.Popen[str]:
    """The command in a process of its own; ``models`` is where its styles are."""
    variables = {"OMP_NUM_THREADS": "1"}
    if models is not None:
        variables["PLEINAIR_MODELS"] = str(models)
    command = [sys.executable, "-c", "from pleinair.cli.main import entry; entry()", *arguments]
    return children.start(command, variables=variables, **settings)


def journal(roll: Path) -> list[dict[str, Any]]:
    """A journal's lines, read with nothing but JSON; every one must be one, but for a last one without its end."""
    return [json.loads(line) for line in (roll / "journal.jsonl").read_text().splitlines(True) if line.endswith("\n")]


def frames_of(roll: Path) -> list[dict[str, Any]]:
    """The journal's frames."""
    return [record for record in journal(roll) if record["event"] == "frame"]


def look_of(models: Path, **settings: Any) -> Look:
    """The look of the style ``plain`` in a folder of models."""
    card = json.loads((models / "plain" / "card.json").read_text())
    return Look("plain", 8, network=card["networks"]["8"]["sha256"]["network"], **settings)


class Still(Shooter):
    """A live camera whose frames show how many were taken; each behaves as ``plan`` says: a function of its number."""

    live = True
    name = "still"
    size = (WIDTH, HEIGHT)

    def __init__(self, plan: Callable[[int], np.ndarray | None] | None = None) -> None:
        self.plan, self.taken, self.closed = plan or coded_frame, 0, False

    def shoot(self) -> Frame | None:
        """See Shooter."""
        number = self.taken
        self.taken += 1
        image = self.plan(number)
        return None if image is None else Frame(image, number, 0.0, "", number, {"gain": 1.5})

    def close(self) -> None:
        """See Shooter."""
        self.closed = True


class Plain(Painter):
    """A painter that changes nothing, so that films can be read."""

    name = "plain"

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        return frame

    def close(self) -> None:
        """See Painter."""


def open_plain(look: Look, backend: str, threads: int) -> Plain:
    """For the painting process."""
    return Plain()


class Moody(Plain):
    """A painter that hangs or dies at a frame: as often as the file that ``style`` names holds lines for it."""

    def __init__(self, orders: Path) -> None:
        self.orders = orders

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        lines = self.orders.read_text().splitlines()
        code = read_code(frame)
        for i, line in enumerate(lines):
            number, what = line.split()
            if int(number) == code:
                self.orders.write_text("\n".join(lines[:i] + lines[i + 1 :]))
                if what == "hang":
                    time.sleep(3600)
                if what == "crash":
                    raise ZeroDivisionError("in the engine")
                os.kill(os.getpid(), signal.SIGKILL)
        return frame


def open_moody(look: Look, backend: str, threads: int) -> Moody:
    """For the painting process; the style is the file of orders."""
    return Moody(Path(look.style))


class Unruly(Still):
    """A camera for a process of its own, of many faults: ``hang``, ``die``, ``raise``, ``short`` at given frames.

    ``folder`` remembers the frames taken over restarts, as a scene does.
    """

    def __init__(self, folder: Path, faults: dict[int, str]) -> None:
        super().__init__()
        self.folder, self.faults = folder, faults
        if (folder / "broken").exists():
            raise CameraError("camera unruly: not there")

    def shoot(self) -> Frame | None:
        """See Shooter."""
        count = self.folder / "count"
        number = int(count.read_text()) if count.exists() else 0
        count.write_text(str(number + 1))
        fault = self.faults.get(number)
        if fault == "hang":
            time.sleep(3600)
        if fault == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "crash":
            raise ZeroDivisionError("in the driver")
        if fault == "raise":
            raise CameraError("camera unruly: no signal")
        image = coded_frame(number)
        if fault == "short":
            image = image[..., :2]
        return Frame(image, number, 0.0, "", number)


def new_roll(folder: Path, **settings) -> Roll:
    """A roll of the still camera, ten frames to a piece."""
    look = settings.pop("look", Look("plain", 8))
    values = {"every": 0.02, "frames": 25, "spool": "png", "piece": 10, "keep_free": 0} | settings
    return Roll.create(folder, Settings(camera="still", size=(WIDTH, HEIGHT), look=look, **values))


def film_roll(roll: Roll, shooter, stop: threading.Event | None = None, **settings) -> Timelapse:
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


def capture_only(roll: Roll, shooter) -> str:
    """Capture without painting, in this thread; the state it ended in."""
    capture = Capture(roll, shooter, Schedule(None))
    capture.run(threading.Event())
    roll.close()
    return capture.state


class Slow(Plain):
    """A painter that takes its time."""

    def paint(self, frame: np.ndarray) -> np.ndarray:
        """See Painter."""
        time.sleep(0.05)
        return frame


def open_slow(look: Look, backend: str, threads: int) -> Slow:
    """For the painting process."""
    return Slow()
