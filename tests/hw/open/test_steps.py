"""Steps: results are cached whole or not at all; tools are bounded, and end with one sentence."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pleinair.errors import OutputError
from pleinair_hw.open import steps
from pleinair_hw.open.steps import Limits, OpenToolError, ToolFailure, cached, first_error, run_tool, take
from tests import children
from tests.children import python

FREE = Limits(60, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pleinair" / "open"


def make(text: str = "made"):
    """Work that counts its calls."""

    def work(folder: Path) -> None:
        work.calls += 1
        (folder / "a.txt").write_text(text)
        (folder / "scratch").mkdir()

    work.calls = 0
    return work


def test_a_result_is_made_once_and_kept_without_scratch(cache):
    work = make()
    folder, there = cached("step", "k" * 64, ("a.txt",), work)
    assert not there and (folder / "a.txt").read_text() == "made"
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "step.json"]
    assert cached("step", "k" * 64, ("a.txt",), work) == (folder, True) and work.calls == 1
    assert cached("step", "j" * 64, ("a.txt",), work)[1] is False and work.calls == 2


def test_a_result_that_was_altered_is_made_again(cache):
    work = make()
    folder, _ = cached("step", "k" * 64, ("a.txt",), work)
    (folder / "a.txt").write_text("altered")
    again, there = cached("step", "k" * 64, ("a.txt",), work)
    assert (again, there) == (folder, False) and (folder / "a.txt").read_text() == "made"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OpenToolError("no"), OSError(28, "x")])
def test_nothing_half_made_is_left(cache, error):
    def work(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        cached("step", "k" * 64, ("a.txt",), work)
    assert list(cache.iterdir()) == []


def test_results_longest_unused_make_room(cache, monkeypatch):
    monkeypatch.setattr(steps, "CACHE_BYTES", 2500)
    keys = [letter * 64 for letter in "abc"]
    for number, key in enumerate(keys[:2]):
        folder, _ = cached("step", key, ("a.txt",), make("x" * 1000))
        os.utime(folder, (number, number))
    cached("step", keys[0], ("a.txt",), make())  # used again: the other one is older now
    cached("step", keys[2], ("a.txt",), make("x" * 1000))
    assert [cached("step", key, ("a.txt",), make())[1] for key in keys] == [True, False, True]


def test_what_a_killed_run_left_is_removed(cache):
    gone = children.start([sys.executable, "-c", ""])
    gone.communicate()
    left, mine = cache / f"step-x.part-{gone.pid}", cache / f"other-x.part-{os.getppid()}"
    left.mkdir(parents=True)
    mine.mkdir()
    cached("step", "k" * 64, ("a.txt",), make())
    assert not left.exists() and mine.exists()


def test_a_full_disk_is_one_sentence(cache, monkeypatch):
    monkeypatch.setattr(steps.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match="the disk is full; make room"):
        cached("step", "k" * 64, ("a.txt",), make())
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="Not a directory"):
        cached("step", "k" * 64, ("a.txt",), make())


def test_what_a_tool_says_and_takes_is_told(tmp_path):
    seen = []
    code = "print('one'); import sys; print('two', file=sys.stderr); bytearray(200_000_000)"
    run = run_tool("tool", [sys.executable, "-c", code], tmp_path, tmp_path / "x.log", FREE, look=seen.append)
    assert sorted(run.text.split()) == ["one", "two"] and (tmp_path / "x.log").read_text() == run.text
    assert "".join(seen) == run.text and run.seconds > 0


def test_a_tools_first_error_is_told(tmp_path):
    code = "print('Info: fine'); print('ERROR: the first.'); print('ERROR: the second'); raise SystemExit(3)"
    with pytest.raises(ToolFailure) as raised:
        run_tool("tool", [sys.executable, "-c", code], tmp_path, tmp_path / "x.log", FREE)
    assert raised.value.error == "the first." and raised.value.log == tmp_path / "x.log"


def test_a_tool_that_crashes_is_told(tmp_path):
    code = "import os, signal; print('Info: fine', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ToolFailure, match="it died of SIGSEGV"):
        run_tool("tool", [sys.executable, "-c", code], tmp_path, tmp_path / "x.log", FREE)


def test_a_program_that_does_not_start_is_told(tmp_path):
    with pytest.raises(ToolFailure, match="nowhere does not start: No such file"):
        run_tool("tool", [str(tmp_path / "nowhere")], tmp_path, tmp_path / "x.log", FREE)


def test_a_deadline_ends_a_tool_and_its_children(tmp_path):
    code = (
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(p.pid, flush=True); "
        "time.sleep(600)"
    )
    with pytest.raises(OpenToolError, match="stopped after 3 s"):
        run_tool("tool", [sys.executable, "-c", code], tmp_path, tmp_path / "x.log", Limits(3, 0))
    text = (tmp_path / "x.log").read_text()
    for pid in map(int, text.split()):
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline, "the child goes on"
            time.sleep(0.05)


def test_a_bound_on_memory_is_told(tmp_path):
    code = "bytearray(900_000_000)"
    with pytest.raises(OpenToolError, match=r"needs more than 0\.5 GiB of memory"):
        run_tool("tool", [sys.executable, "-c", code], tmp_path, tmp_path / "x.log", Limits(60, 512 << 20))


def test_a_tool_dies_with_a_run_that_is_killed(tmp_path):
    log = tmp_path / "x.log"
    code = (
        "from pathlib import Path; import sys; from pleinair_hw.open.steps import Limits, run_tool;"
        "tool = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)';"
        f"run_tool('tool', [sys.executable, '-c', tool], Path({str(tmp_path)!r}), Path({str(log)!r}), Limits(600, 0))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = children.start([sys.executable, "-c", code], env=environment, stdout=None, stderr=None)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().endswith("\n")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    pid = int(log.read_text())
    child.send_signal(signal.SIGKILL)
    child.wait()
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the tool goes on"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Info: a\nERROR: b\nERROR: c\n", "b"),
        ("x.sv:3:4: error: unknown module\n", "x.sv:3:4: error: unknown module"),
        ("a_b.sv:1: ERROR: unknown module 'c'\n\nERROR: elaboration failed\n", "a_b.sv:1: ERROR: unknown module 'c'"),
        ("a\nlast\n\n", "last"),
        ("", ""),
    ],
)
def test_the_first_error_of_a_log(text, error):
    assert first_error(text) == error


def test_a_file_is_taken_whole(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("one")
    target.write_text("before")
    take(source, target)
    assert target.read_text() == "one"


def test_the_wrapper_needs_nothing_of_ours():
    done = python("-c", steps._WRAPPER, "0", sys.executable, "-c", "print(5)")
    assert (done.returncode, done.stdout) == (0, "5\n")
