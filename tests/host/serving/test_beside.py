"""The page of a roll that is being filmed: another process serves it, and lasts as long as the filming, no longer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pleinair.cli.rolls import _show_page
from pleinair.rolls.roll import Roll
from pleinair.serving import beside
from pleinair.serving.beside import Beside
from tests import children
from tests.serving import ask, get, make_roll

#: A process that shows a roll's page until it is killed, and says at which port.
_SHOWS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from pleinair.serving.beside import Beside
with Beside(Path(sys.argv[1]), 0) as page:
    print(page.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def roll(tmp_path) -> Path:
    """A roll with three frames and a painting."""
    return make_roll(tmp_path / "roof")


def wait_until(true: Callable[[], object], what: str) -> None:
    """Look again and again, for a minute at most."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def pid_of(page: Beside) -> int:
    """The process that serves, which is not this one."""
    wait_until(lambda: page._process is not None, "no process")
    assert page._process is not None and page._process.pid != os.getpid()
    return page._process.pid


def test_another_process_shows_the_roll_as_it_stands_and_changes_nothing(roll):
    with Roll.open(roll), Beside(roll, 0) as page:
        assert page.address == f"http://localhost:{page.port}/" and not page.problem
        told = json.loads(get(page.port, "/state.json")[1])
        assert told["roll"] == "roof" and told["frames"] == 3 and told["state"] == "in use"
        assert b"Frame 1, taken" in get(page.port, "/")[1]
        for path in ("/enter", "/roll/roof/stop", "/roll/roof/start", "/photo"):
            assert ask(page.port, path, "POST")[0] in (404, 405)
        assert get(page.port, "/state.json", host="evil.example")[0] == 403
        served_by = pid_of(page)
    with pytest.raises(ProcessLookupError):
        os.kill(served_by, 0)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", page.port), 5).close()


def test_a_page_that_died_comes_back_and_browsers_wait_for_it(roll, monkeypatch):
    monkeypatch.setattr(beside, "_AGAIN", 0.5)
    with Beside(roll, 0) as page:
        assert get(page.port, "/state.json")[0] == 200
        first = pid_of(page)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: page._process is not None and page._process.poll() is not None, "it lives")
        assert get(page.port, "/state.json")[0] == 200
        assert pid_of(page) != first


def test_it_ends_with_the_process_that_films_whatever_ends_that(roll):
    shows = children.start([sys.executable, "-c", _SHOWS, roll])
    assert shows.stdout is not None
    port = int(shows.stdout.readline())
    assert get(port, "/state.json")[0] == 200
    shows.kill()
    shows.communicate(timeout=60)

    def refused() -> bool:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            return False
        return True

    wait_until(refused, "it is still served")


def test_a_port_that_is_taken_is_tried_again(roll, monkeypatch):
    monkeypatch.setattr(beside, "_AGAIN", 0.05)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with Beside(roll, port) as page:
        assert page.problem == f"preview {port} on 127.0.0.1: Address already in use"
        taken.close()
        wait_until(lambda: not page.problem, page.problem)
        assert get(port, "/state.json")[0] == 200


def test_without_its_libraries_filming_goes_on_without_a_page(roll, monkeypatch, capsys):
    monkeypatch.setattr(beside, "find_spec", lambda name: None)
    with contextlib.ExitStack() as stack:
        _show_page(SimpleNamespace(roll=SimpleNamespace(folder=roll)), 0, "127.0.0.1", stack)
    told = capsys.readouterr().err
    assert "warning: the page needs starlette: pip install" in told and "filming goes on without it" in told
