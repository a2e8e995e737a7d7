"""Children of tests: programs that see this checkout, end by their deadline, and can be interrupted.

A shell starts what runs in its background, and all its descendants, with SIGINT ignored. A child that a test sends
SIGINT would then never end. So a launcher restores the default handlers, sets an alarm that kills the child at its
deadline even if the test has died, and becomes the program.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.house import PYTHONPATH

#: Seconds that a child may take unless told otherwise.
DEADLINE = 300.0

# Python ignores SIGPIPE and SIGXFSZ, which the program must not inherit.
_LAUNCHER = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGXFSZ"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.alarm(int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
"""

Word = str | os.PathLike[str]


def start(
    command: Sequence[Word],
    *,
    deadline: float = DEADLINE,
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> subprocess.Popen[str]:
    """Start a program.

    SIGALRM ends it ``deadline`` seconds from now. ``variables`` are added to the environment, which has this checkout
    on Python's path. The other settings are Popen's; output is text, and is piped unless they say otherwise.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(math.ceil(deadline))]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **settings}
    settings.setdefault("env", {**os.environ, "PYTHONPATH": PYTHONPATH, **(variables or {})})
    return subprocess.Popen([*launcher, *map(os.fspath, command)], **settings)


def run(
    command: Sequence[Word],
    *,
    deadline: float = DEADLINE,
    check: bool = False,
    input: str | None = None,
    **settings: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises TimeoutExpired, and kills the program with all it started, once ``deadline`` seconds have passed; with
    ``check`` raises AssertionError with its output if it fails. Settings as for :func:`start`.
    """
    settings.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
    child = start(command, deadline=deadline + 60, start_new_session=True, **settings)
    try:
        output, errors = child.communicate(input, timeout=deadline)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    done = subprocess.CompletedProcess([*map(os.fspath, command)], child.returncode, output, errors)
    if check and done.returncode:
        raise AssertionError(f"{done.args}: status {done.returncode}\n{output}\n{errors}")
    return done


def python(*arguments: Word | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run this Python with arguments. Settings as for :func:`run`."""
    return run([sys.executable, *arguments], **settings)
