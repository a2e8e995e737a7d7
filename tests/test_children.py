"""A test never hangs: its children have a deadline and default handlers, and so has every test."""

from __future__ import annotations

import ast
import signal
import subprocess
import time

import pytest

from tests import children
from tests.house import PATHS, ROOT

#: Starts children by its own means, and gives them a deadline.
OWN_MEANS = {"children.py", "fingerprints.py"}


def test_a_child_sees_this_checkout():
    done = children.python("-c", "import pleinair, tests; print(pleinair.__file__, tests.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{PATHS[0]}/pleinair/__init__.py", f"{ROOT}/tests/__init__.py"]


def test_output_status_and_input_come_back():
    done = children.python("-c", "import sys; print(input()); print('no', file=sys.stderr); sys.exit(3)", input="yes\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n", "no\n")
    with pytest.raises(AssertionError, match=r"status 1\n\nTraceback(.*\n)*KeyError: 5"):
        children.python("-c", "{}[5]", check=True)


def test_a_child_that_is_waited_for_is_killed_with_all_it_started():
    """The grandchild would keep the pipe open for a minute."""
    began = time.monotonic()
    code = "import subprocess; subprocess.run(['sleep', '60'])"
    with pytest.raises(subprocess.TimeoutExpired):
        children.python("-c", code, deadline=1)
    assert time.monotonic() - began < 30


def test_a_child_whose_test_forgot_it_is_killed():
    child = children.start(["sleep", "60"], deadline=1)
    assert child.wait(timeout=30) == -signal.SIGALRM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_child_is_interrupted_though_its_parents_ignore_the_signal(number):
    """As in a job that a shell started in its background, or under nohup."""
    code = f"""
import signal, sys
signal.signal({int(number)}, signal.SIG_IGN)
from tests.children import start
child = start([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
child.stdout.readline()
child.send_signal({int(number)})
print(child.wait(timeout=30))
"""
    assert children.python("-c", code, check=True).stdout == f"{-number}\n"


def test_a_child_of_the_shell_dies_of_a_closed_pipe():
    child = children.start(["sh", "-c", "echo ready; yes"])
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.stdout.close()
    assert child.wait(timeout=30) == -signal.SIGPIPE or child.returncode == 128 + signal.SIGPIPE


def test_every_test_has_a_deadline(request, tmp_path):
    pytest.importorskip("pytest_timeout")
    assert request.node.get_closest_marker("timeout").args == (900,)
    (tmp_path / "test_hang.py").write_text("import threading\ndef test_hang():\n    threading.Event().wait()\n")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "1", "--rootdir", str(tmp_path), "."]
    done = children.python(*command, cwd=tmp_path)
    assert done.returncode == 1 and "test_hang.py:3" in done.stdout and "1 failed" in done.stdout


def _calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    """Calls of subprocess.NAME."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "subprocess"
        and call.func.attr in names
    ]


def test_no_test_starts_a_child_without_a_deadline():
    """Programs that stay up are started by tests.children; one that is run to its end may just have a timeout."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name in OWN_MEANS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong = _calls(tree, "Popen", "call", "check_call", "check_output")
        ends = _calls(tree, "run")
        wrong += [call for call in ends if not any(keyword.arg == "timeout" for keyword in call.keywords)]
        found += [f"{path.relative_to(ROOT)}:{call.lineno}" for call in wrong]
    assert found == []
