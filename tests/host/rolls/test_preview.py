"""The preview page: what it serves, to whom, and how it looks in a browser."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.errors import OptionError
from pleinair.images import decode_image
from pleinair.rolls import preview as module
from pleinair.rolls.preview import MOST_CONNECTIONS, SIDE, Preview
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from pleinair.rolls.status import Status, Trouble
from tests.models import write_model
from tests.rolls import (
    HEIGHT,
    WIDTH,
    coded_frame,
    frames_of,
    identity_network,
    joined,
    journal,
    look_of,
    pleinair,
    write_coded,
)

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


STATE = {
    "state": "running",
    "reason": "",
    "camera": "still",
    "due": None,
    "painter": "plain",
    "look": "plain-8bit",
    "size": [64, 48],
    "every": 10.0,
    "frames": 1234,
    "wanted": None,
    "painted": 1200,
    "pending": 34,
    "last_wall": 1.8e9,
    "skipped": {"late": 3},
    "troubles": 1,
    "camera_failures": 0,
    "frames_per_hour": 360.0,
    "paint_seconds": 0.5,
    "free": 5.5e9,
    "keep_free": 1e9,
    "celsius": 71.4,
    "heat": [],
    "rest": 0.5,
    "errors": [{"wall": 1.8e9, "what": "camera", "message": "<b>hung</b> & so on"}],
    "suspects": 2,
    "lost": 1,
    "deleted": 0,
    "sessions": 3,
    "begun": 1.7e9,
    "seconds": 12340.0,
    "wanted_seconds": None,
    "keep": "originals",
    "damaged": 0,
    "last_trouble": "camera: hung",
    "lateness": [1, 0, 0, 0, 0, 0, 0],
    "paintings": ["plain-8bit"],
    "films": ["2026-11-24", "2026-11-25"],
    "wall": 1.8e9,
    "pid": 4321,
}


STATUS = Status(
    **{
        **STATE,
        "size": (64, 48),
        "heat": (),
        "lateness": tuple(STATE["lateness"]),
        "paintings": ("plain-8bit",),
        "films": ("2026-11-24", "2026-11-25"),
        "errors": (Trouble(1.8e9, "camera", "<b>hung</b> & so on"),),
    }
)


@pytest.fixture
def roll(tmp_path) -> Path:
    """A roll with three frames and a painting."""
    roll = Roll.create(tmp_path / "roof", Settings(camera="still", size=(WIDTH, HEIGHT), look=Look("plain", 8)))
    for number in range(3):
        roll.keep(coded_frame(number), Captured(t=float(number), wall=1.8e9 + number))
    cv2.imwrite(str(roll.painting_folder(roll.settings.look) / "latest.jpg"), np.full((48, 64, 3), 200, np.uint8))
    roll.close()
    return tmp_path / "roof"


def get(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    """What a request is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.headers["Cache-Control"] == "no-store" or answer.status >= 500
    connection.close()
    return answer.status, body


def test_what_the_preview_serves(roll):
    with Preview(roll, lambda: STATUS, 0) as preview:
        assert preview.address == f"http://localhost:{preview.port}/"
        assert get(preview.port, "/")[1].startswith(b"<!doctype html>")
        assert json.loads(get(preview.port, "/state.json")[1]) == {**STATE, "roll": "roof"}
        events = json.loads(get(preview.port, "/journal.json")[1])
        assert [e["seq"] for e in events if e["event"] == "frame"] == [0, 1, 2]
        shown = decode_image(get(preview.port, "/original.jpg?3")[1], "original")
        np.testing.assert_allclose(shown, coded_frame(2), atol=30)
        assert decode_image(get(preview.port, "/painting.jpg")[1], "painting").mean() == pytest.approx(200, abs=2)
        for path in ("/roll.json", "/../roll.json", "/originals/000000/00000000.jpg", "/preview.html"):
            assert get(preview.port, path)[0] == 404


def test_the_pictures_of_days_are_served_and_nothing_else(roll, tmp_path):
    (roll / "films").mkdir()
    names = [f"2026-11-25-{what}.png" for what in ("strip", "sheet", "brightness")]
    for name in names:
        (roll / "films" / name).write_bytes(name.encode())
    (tmp_path / "secret.png").write_bytes(b"secret")
    (roll / "films" / "2026-11-24-strip.png").symlink_to(tmp_path / "secret.png")
    with Preview(roll, lambda: STATUS, 0) as preview:
        for name in names:
            assert get(preview.port, f"/days/{name}") == (200, name.encode())
        for other in (
            "2026-11-24-strip.png",
            "2026-11-23-strip.png",
            "2026-11-25.mp4",
            "../journal.jsonl",
            "2026-11-25-strip.png/..",
            "%2e%2e/secret.png",
        ):
            assert get(preview.port, f"/days/{other}")[0] == 404


def test_slow_clients_cost_nothing(roll, monkeypatch):
    monkeypatch.setattr(module, "_DEADLINE", 1)
    with Preview(roll, lambda: STATUS, 0) as preview:
        threads = threading.active_count()
        slow = [socket.create_connection(("127.0.0.1", preview.port)) for _ in range(64)]
        for client in slow:
            with contextlib.suppress(OSError):
                client.send(b"GET / HT")
        time.sleep(0.3)
        assert threading.active_count() - threads <= 2 * MOST_CONNECTIONS
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for client in slow:  # a byte now and then
                with contextlib.suppress(OSError):
                    client.send(b"T")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(preview.port, "/state.json")[0] == 200:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError("never answered again")
        for client in slow:
            client.close()


def besiege(place: Path, clients: int, frames: int) -> tuple[int, int]:
    """Film ``frames`` on a roll while slow clients are at its page: each sends a byte now and then, and comes again.

    How many connections were had, and how many bytes they sent before they were ended.
    """
    models, roll = place / "models", place / "roll"
    write_model(models / "plain", identity_network(), margin=0, grain=0)
    look = look_of(models)
    source = {"camera": f"frames:{write_coded(place / 'frames', frames)}", "size": (WIDTH, HEIGHT), "every": 0.05}
    Roll.create(roll, Settings(look=look, spool="png", keep_free=0, backend="reference", **source)).close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    few = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, few[1]), few[1]))

    process = pleinair("resume", roll, "--preview", str(port), models=models, deadline=1800, preexec_fn=limited)
    asked = b"GET /journal.json HTTP/1.1\r\nX: "
    had, sent, open_ones = 0, 0, list[socket.socket | None]([None] * clients)
    try:
        while process.poll() is None:
            for number, client in enumerate(open_ones):
                if client is None:
                    client = open_ones[number] = socket.socket()
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", port))
                    had += 1
                try:
                    sent += client.send(asked[sent % len(asked) :][:1])
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno != errno.ENOTCONN:
                        client.close()
                        open_ones[number] = None
                if number % 64 == 0 and process.poll() is not None:
                    break
            time.sleep(0.2)
    finally:
        process.kill()
        _, said = process.communicate(timeout=60)
        for client in open_ones:
            if client is not None:
                client.close()
    assert process.returncode == 0, said
    records = frames_of(roll)
    assert [record["position"] for record in records] == list(range(frames))
    assert [record["name"] for record in records] == [f"frame{i:05d}.png" for i in range(frames)]
    assert not [line for line in journal(roll) if line["event"] == "trouble"]
    assert joined(roll) == list(range(frames))
    return had, sent


def test_slow_clients_cost_a_running_roll_no_frame(tmp_path):
    had, sent = besiege(tmp_path, 100, 30)
    assert had >= 100 and sent >= 16


@pytest.mark.slow
def test_a_thousand_and_twenty_four_slow_clients_cost_a_running_roll_no_frame(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        had, sent = besiege(tmp_path, 1024, 600)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"1024 clients, {had} connections, {sent} bytes, 600 frames, none lost", file=sys.stderr)
    assert had >= 1024


def test_a_port_that_is_taken_is_tried_again(roll, monkeypatch):
    monkeypatch.setattr(module, "_AGAIN", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        late = Preview(roll, lambda: STATUS, port, patient=True)
        assert "Address already in use" in late.problem
        late.__enter__()
    deadline = time.monotonic() + 20
    while late.problem and time.monotonic() < deadline:
        time.sleep(0.02)
    assert get(port, "/state.json")[0] == 200
    late.__exit__()


def test_head_the_icon_and_who_may_ask(roll):
    with Preview(roll, lambda: STATUS, 0, "0.0.0.0,cam.example.org") as preview:
        assert get(preview.port, "/", "HEAD") == (200, b"")
        assert get(preview.port, "/favicon.ico")[0] == 200
        for host in ("192.168.1.7:8080", "[::1]:8080", "Cam.example.org", "localhost", socket.gethostname()):
            assert get(preview.port, "/state.json", host=host)[0] == 200, host
        for host in ("evil.example", "evil.example:80", "cam.example.org.evil", "a b", ":80"):
            assert get(preview.port, "/state.json", host=host)[0] == 403, host
    with Preview(roll, lambda: STATUS, 0, "127.0.0.1,cam.example.org") as preview:
        assert get(preview.port, "/", host="cam.example.org:443")[0] == 200
        assert get(preview.port, "/", host="192.168.1.7")[0] == 403


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_ipv6(roll):
    try:
        preview = Preview(roll, lambda: STATUS, 0, "::1")
    except OptionError:
        pytest.skip("no IPv6 loopback here")
    with preview, socket.create_connection(("::1", preview.port)) as client:
        client.sendall(b"GET /state.json HTTP/1.0\r\nHost: [::1]\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")


def test_the_preview_reads_and_never_writes_and_stays_at_home(roll):
    with Preview(roll, lambda: STATUS, 0) as preview:
        for method in ("POST", "PUT", "DELETE"):
            assert get(preview.port, "/", method)[0] == 501
        assert get(preview.port, "/state.json", host="evil.example")[0] == 403
        assert get(preview.port, "/state.json", host=f"localhost:{preview.port}")[0] == 200
        with pytest.raises(OptionError, match=f"preview {preview.port} on 127.0.0.1: Address already in use"):
            Preview(roll, lambda: STATUS, preview.port)


def test_large_pictures_are_shrunk_and_torn_ones_are_none(roll):
    path = roll / "paintings" / "plain-8bit" / "latest.jpg"
    with Preview(roll, lambda: STATUS, 0) as preview:
        cv2.imwrite(str(path), np.full((1000, 4000, 3), 90, np.uint8))
        assert decode_image(get(preview.port, "/painting.jpg")[1], "painting").shape == (400, SIDE, 3)
        path.write_bytes(path.read_bytes()[:500])
        assert get(preview.port, "/painting.jpg")[0] == 404
        path.unlink()
        assert get(preview.port, "/painting.jpg")[0] == 404


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_in_a_browser(roll, tmp_path, width):
    with Preview(roll, lambda: STATUS, 0) as preview:
        shot = tmp_path / "page.png"
        flags = [
            *["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
            f"--window-size={width},1300",
            "--virtual-time-budget=4000",
            f"--user-data-dir={tmp_path / 'browser'}",
        ]
        address = f"http://localhost:{preview.port}/"
        dom = subprocess.run(
            [BROWSER, *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120
        ).stdout
        subprocess.run([BROWSER, *flags, f"--screenshot={shot}", address], capture_output=True, timeout=120, check=True)
    text = re.sub(r"<[^>]*>", " ", dom.partition("<main>")[2].partition("<script>")[0])
    for told in ("running", "roof · still", "1,234", "1,200", "34 to come", "3 late", "71 °C", "number 2", "5.5 GB"):
        assert told in text, told
    assert "&lt;b&gt;hung&lt;/b&gt; &amp; so on" in dom and "<b>hung" not in dom
    # The slider stands in the middle: left of it the original's blocks, right of it the painting's plain grey.
    picture = cv2.imread(str(shot))[..., ::-1].astype(int)
    column, edge = min(1080, width) - 32, max(0, (width - 1080) // 2) + 16
    rows = slice(200, 200 + column // 4)
    assert (
        picture[rows, edge + column * 3 // 4].std() < 3 and abs(picture[rows, edge + column * 3 // 4].mean() - 200) < 4
    )
    assert picture[rows, edge + 30 : edge + column // 2 - 60].std() > 20
    assert picture.shape[1] == width
