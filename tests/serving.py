"""The page in tests: a roll to show, how it stands, and what the server answers."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pleinair.rolls.originals import with_number
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.status import Status, Trouble, read_status
from pleinair.serving.listening import Names, listen
from pleinair.serving.server import Server
from pleinair.serving.shelf import Shelf
from pleinair.serving.site import Site
from tests.rolls import HEIGHT, WIDTH, coded_frame

#: A moment, in seconds since 1970.
WALL = 1.8e9


def make_roll(folder: Path, frames: int = 3, painted: int | None = 1, **settings: object) -> Path:
    """A roll with so many frames; its newest painting is plain grey and of the frame ``painted``."""
    values = {"camera": "still", "size": (WIDTH, HEIGHT), "look": Look("plain", 8), **settings}
    with Roll.create(folder, Settings(**values)) as roll:  # type: ignore[arg-type]
        for number in range(frames):
            roll.keep(coded_frame(number), Captured(t=float(number), wall=WALL + number, live=True))
        if painted is not None:
            write_painting(folder, painted)
    return folder


def write_painting(folder: Path, seq: int | None, grey: int = 200, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """The newest painting of a roll, of that frame; None for one that does not say of which."""
    path = folder / "paintings" / "plain-8bit" / "latest.jpg"
    data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), grey, np.uint8))[1].tobytes()
    part = path.with_suffix(".part")
    part.write_bytes(data if seq is None else with_number(data, seq))
    part.replace(path)
    return path


def status_in(folder: Path, **changes: object) -> Status:
    """How a roll stands, with changes."""
    return replace(read_status(folder), **changes)  # type: ignore[arg-type]


def busy_status(folder: Path) -> Status:
    """How a roll stands that has been filming for long and had its troubles."""
    return status_in(
        folder,
        state="running",
        frames=1234,
        painted=1200,
        pending=34,
        every=10.0,
        skipped={"late": 3},
        troubles=1,
        frames_per_hour=360.0,
        paint_seconds=0.5,
        free=5_500_000_000,
        celsius=71.4,
        rest=0.5,
        last_wall=WALL,
        errors=(Trouble(WALL, "camera", "<b>hung</b> & so on"),),
    )


def page_showing(roll: Path, status: Status, host: str = "127.0.0.1") -> Server:
    """The page of one roll that stands in a way, as that of a roll that is being filmed: it changes nothing."""
    shelf, names = Shelf(roll), Names(host)
    (shown,) = shelf.rolls().values()
    shown.tell = lambda: status
    return Server(Site(shelf).app, names, listen(names, 0))


def ask(
    port: int,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """What a request is answered: status, body and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def get(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    """What a request is answered: status and body; nothing may be kept by the browser."""
    status, body, headers = ask(port, path, method, {"Host": host} if host else {})
    assert headers["Cache-Control"] == "no-store" and "script-src 'self'" in headers["Content-Security-Policy"]
    return status, body
