"""Child processes: they end with their parent, and Ctrl-C is the parent's matter."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests import children

CHILD = "from pleinair.processes import as_child; as_child(); import time; print('begun', flush=True); time.sleep(60)"
#: A parent that starts the child, tells its number, and waits.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def python(code: str) -> subprocess.Popen[str]:
    """Another Python, which knows our packages."""
    return children.start([sys.executable, "-c", code], stderr=None)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(way):
    parent = python(PARENT)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(way)
        parent.wait(20)
        end = time.monotonic() + 10
        while alive(child) and time.monotonic() < end:
            time.sleep(0.02)
        assert not alive(child)
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_of_the_terminal_are_left_to_the_parent(sent):
    child = python(CHILD)
    try:
        assert child.stdout is not None and child.stdout.readline() == "begun\n"
        child.send_signal(sent)
        time.sleep(0.3)
        assert child.poll() is None
        child.kill()
        assert child.wait(20) == -signal.SIGKILL
    finally:
        child.kill()
        child.communicate()
