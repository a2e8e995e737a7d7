"""The page's server: who is answered, and that nobody can cost a frame."""

from __future__ import annotations

import contextlib
import errno
import heapq
import http.client
import resource
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pleinair.errors import OptionError
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Settings
from pleinair.serving import server as module
from pleinair.serving.listening import Names, listen
from pleinair.serving.server import Pace, Server
from tests.models import write_model
from tests.rolls import (
    HEIGHT,
    WIDTH,
    frames_of,
    identity_network,
    joined,
    journal,
    look_of,
    pleinair,
    write_coded,
)
from tests.serving import ask, busy_status, get, make_roll, page_showing


@pytest.fixture
def roll(tmp_path) -> Path:
    """A roll with three frames and a painting."""
    return make_roll(tmp_path / "roof")


def page(roll: Path, host: str = "127.0.0.1") -> Server:
    """The page of a roll that has been filming for long."""
    return page_showing(roll, busy_status(roll), host)


def test_slow_clients_are_ended_and_keep_nobody_out(roll, monkeypatch):
    monkeypatch.setattr(module, "_DEADLINE", 1.0)
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 16)
    monkeypatch.setattr(module, "_LOOK", 0.05)
    with page(roll) as served:
        threads = threading.active_count()
        slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(64)]
        for client in slow:
            with contextlib.suppress(OSError):
                client.send(b"GET / HT")
        for _ in range(20):  # although all connections are taken, a whole request finds one
            assert get(served.port, "/state.json")[0] == 200
        assert threading.active_count() - threads <= module._THREADS
        for client in slow:
            client.settimeout(20)
            with contextlib.suppress(OSError):
                while client.recv(1000):  # until it is ended
                    pass
            client.close()


def test_a_client_that_takes_nothing_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_DEADLINE", 0.5)
    monkeypatch.setattr(module, "_LOOK", 0.05)
    roll = make_roll(tmp_path / "roof")
    (roll / "films").mkdir()
    (roll / "films" / "2026-11-25.mp4").write_bytes(bytes(32 << 20))
    with page(roll) as served, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        client.send(b"GET /roll/roof/days/2026-11-25.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 30
        while served.connections:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_it_ends_while_a_film_is_being_sent(tmp_path):
    roll = make_roll(tmp_path / "roof")
    (roll / "films").mkdir()
    (roll / "films" / "2026-11-25.mp4").write_bytes(bytes(32 << 20))
    with socket.socket() as client:
        with page(roll) as served:
            client.connect(("127.0.0.1", served.port))
            client.send(b"GET /roll/roof/days/2026-11-25.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", served.port), 5).close()


def besiege(place: Path, clients: int, frames: int) -> tuple[int, int, int]:
    """Film ``frames`` on a roll while slow clients are at its page: each sends a byte now and then, and comes again.

    How many connections were had, how many bytes they sent before they were ended, and how many the longest did: the
    request's first line whole, and then headers without an end.
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
    had, open_ones = 0, list[socket.socket | None]([None] * clients)
    sent, longest, whole = [0] * clients, 0, 0
    try:
        while process.poll() is None:
            for number, client in enumerate(open_ones):
                if client is None:
                    client = open_ones[number] = socket.socket()
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", port))
                    had, sent[number] = had + 1, 0
                try:
                    done = client.send(asked[sent[number] :][:1] or b"x")
                    sent[number], whole = sent[number] + done, whole + done
                    longest = max(longest, sent[number])
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
    return had, whole, longest


def test_slow_clients_cost_a_running_roll_no_frame(tmp_path):
    had, sent, _ = besiege(tmp_path, 100, 30)
    assert had >= 100 and sent >= 100


@pytest.mark.slow
def test_a_thousand_and_twenty_four_slow_clients_cost_a_running_roll_no_frame(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        had, sent, longest = besiege(tmp_path, 1024, 600)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{had} connections, {sent} bytes, at most {longest} of one, 600 frames, none lost", file=sys.stderr)
    # Every client sent something, and some were let in. How far they come depends on how fast they are put out.
    assert had >= 1024 and sent >= had and longest > 1


def test_head_the_icon_and_who_may_ask(roll):
    with page(roll, "0.0.0.0,cam.example.org") as served:
        assert get(served.port, "/", "HEAD") == (200, b"")
        assert get(served.port, "/favicon.ico")[0] == 200
        for host in ("192.168.1.7:8080", "[::1]:8080", "Cam.example.org", "localhost", socket.gethostname()):
            assert get(served.port, "/state.json", host=host)[0] == 200, host
        for host in ("evil.example", "evil.example:80", "cam.example.org.evil", "a b", ":80"):
            assert get(served.port, "/state.json", host=host)[0] == 403, host
    with page(roll, "127.0.0.1,cam.example.org") as served:
        assert get(served.port, "/", host="cam.example.org:443")[0] == 200
        assert get(served.port, "/", host="192.168.1.7")[0] == 403


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_ipv6(roll):
    try:
        served = page(roll, "::1")
    except OptionError:
        pytest.skip("no IPv6 loopback here")
    with served, socket.create_connection(("::1", served.port)) as client:
        client.sendall(b"GET /state.json HTTP/1.0\r\nHost: [::1]\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_the_page_of_a_run_reads_and_never_writes_and_stays_at_home(roll):
    with page(roll) as served:
        for method in ("POST", "PUT", "DELETE"):
            assert get(served.port, "/", method)[0] == 405
        assert get(served.port, "/state.json", host="evil.example")[0] == 403
        assert get(served.port, "/state.json", host=f"localhost:{served.port}")[0] == 200
        with pytest.raises(OptionError, match=f"port {served.port} on 127.0.0.1: Address already in use"):
            listen(Names("127.0.0.1"), served.port)


def memory(pid: int) -> float:
    """Megabytes of a process and of all that it started; what several have in common counts once."""
    kilobytes, pids = 0, [pid]
    for one in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
            line = next(x for x in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines() if x.startswith("Pss:"))
            kilobytes += int(line.split()[1])
    return kilobytes / 1024


@dataclass(frozen=True)
class Crowd:
    """What came of viewers.

    Answers that they had; ticks that came too late; how late the others were, in milliseconds: 19 of 20 by no more than
    the first figure, all by no more than the second; the most megabytes of all processes that filmed, painted, served.
    """

    answers: int
    late: int
    milliseconds: tuple[int, int]
    megabytes: int


def crowd(place: Path, viewers: int, frames: int, every: float, pause: float) -> Crowd:
    """Film ``frames`` on a roll, one each ``every`` seconds, while viewers look at its page, with pauses between as it
    asks for, and at least ``pause`` seconds.
    """
    models, roll = place / "models", place / "roll"
    write_model(models / "plain", identity_network(), margin=0, grain=0)
    source = {"camera": f"frames:{write_coded(place / 'frames', frames)}", "size": (WIDTH, HEIGHT), "every": every}
    settings = Settings(look=look_of(models), spool="png", keep_free=0, backend="reference", **source)
    Roll.create(roll, settings).close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = pleinair("resume", roll, "--preview", str(port), models=models, deadline=1800)
    over, answers, most = threading.Event(), [0] * viewers, [0.0]

    def view(number: int) -> None:
        wait, paths = pause, ["/", "/page.css", "/page.js", f"/roll/roll/original/{number % frames}"]
        while not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, headers = ask(port, paths[0])
                answers[number] += status in (200, 404)
                paths = paths[1:] or ["/live"]
                wait = max(pause, float(headers.get("Poll-After", pause)))  # as the page's own script does
            over.wait(wait)

    def weigh() -> None:
        while not over.wait(1.0):
            most.append(memory(process.pid))

    threads = [threading.Thread(target=view, args=(number,)) for number in range(viewers)]
    threads.append(threading.Thread(target=weigh))
    try:
        for thread in threads:
            thread.start()
        _, said = process.communicate(timeout=1800)
    finally:
        over.set()
        process.kill()
        for thread in threads:
            thread.join()
    assert process.returncode == 0, said
    assert [record["position"] for record in frames_of(roll)] == list(range(frames))
    assert not [line for line in journal(roll) if line["event"] == "trouble"]
    assert joined(roll) == list(range(frames))
    late = sum(line["ticks"] for line in journal(roll) if line["event"] == "skipped")
    by = sorted(round(1000 * record["late"]) for record in frames_of(roll))
    return Crowd(sum(answers), late, (by[len(by) * 19 // 20], by[-1]), round(max(most)))


def test_viewers_cost_a_running_roll_no_frame(tmp_path):
    assert crowd(tmp_path, 20, 20, 0.1, 0.2).answers > 20


@pytest.mark.slow
@pytest.mark.parametrize("viewers", [0, 200])
def test_two_hundred_viewers_cost_a_running_roll_no_frame(tmp_path, viewers):
    came = crowd(tmp_path, viewers, 120, 0.5, 2.0)
    print(f"{viewers} viewers, 120 frames, none lost: {came}", file=sys.stderr)
    assert came.answers >= viewers


@pytest.mark.parametrize("viewers", [1, 20, 200, 2000])
def test_many_viewers_ask_no_more_often_than_a_few(viewers):
    pace, due = Pace(), [(number % 20 / 10, number) for number in range(viewers)]
    asked = list[float]()
    heapq.heapify(due)
    while due[0][0] < 400:
        now, number = heapq.heappop(due)
        asked.append(now)
        heapq.heappush(due, (now + pace.next(now), number))
    late = [now for now in asked if now >= 200]
    assert len(late) / 200 <= max(15.0, 1.2 * viewers / 60)
    assert len(late) / 200 >= min(viewers / 2.1, 5.0)  # and nobody waits for nothing


@pytest.mark.parametrize("host", ["", " ", ",cam.example.org"])
def test_no_address_is_not_every_address(host):
    with pytest.raises(OptionError, match="no address to listen on"):
        Names(host)
