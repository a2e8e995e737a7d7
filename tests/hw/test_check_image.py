"""hw/check_image.py reads Dockerfile.finn as Docker does. The steps themselves run by `make check-image`, as root."""

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.house import ROOT

_SPEC = importlib.util.spec_from_file_location("check_image", ROOT / "hw/check_image.py")
check_image = importlib.util.module_from_spec(_SPEC)
sys.modules["check_image"] = check_image  # dataclasses look their module up
_SPEC.loader.exec_module(check_image)


@pytest.fixture
def root(tmp_path):
    return check_image.Root(tmp_path, [])


def test_every_step_of_the_file_is_known(root, monkeypatch):
    ran, state = [], check_image.State()
    monkeypatch.setattr(root, "run", lambda command, state, step: ran.append((command[-1], state.user, state.folder)))
    for instruction in check_image.read_dockerfile(check_image.DOCKERFILE.read_text()):
        check_image.apply(root, instruction, state, done=False)
    assert [user for _, user, _ in ran] == ["root", "root"] and ran[1][2] == "/opt/pleinair"
    assert "apt-get install" in ran[0][0] and "hw/toolchain.sh" in ran[1][0]
    assert state.user == "pleinair" and state.folder == "/work" and state.entry == ("/opt/venv/bin/pleinair",)
    assert state.environment["HOME"] == "/home/pleinair" and state.arguments["TORCH"].startswith("torch==")
    copied = root.folder / "opt/pleinair"
    assert (copied / "hw/toolchain.sh").stat().st_mode & 0o111 and (copied / "LICENSE").is_file()
    assert (copied / "host/pleinair/__init__.py").is_file() and not list(copied.rglob("__pycache__"))


def test_a_step_that_passed_is_not_run_again(root, monkeypatch):
    monkeypatch.setattr(root, "run", lambda *_: pytest.fail("it was run"))
    check_image.apply(root, check_image.Instruction("RUN", "false"), check_image.State(), done=True)
    check_image.apply(root, check_image.Instruction("COPY", "LICENSE ./"), check_image.State(), done=True)
    assert not list(root.folder.iterdir())


@pytest.mark.parametrize("line", ["HEALTHCHECK CMD true", "FROM debian:13", "FROM python:3.12.1-slim-bookworm"])
def test_what_it_does_not_know_ends_it(root, line):
    [instruction] = check_image.read_dockerfile(line)
    with pytest.raises(check_image.ImageError, match=instruction.argument.split()[0]):
        check_image.apply(root, instruction, check_image.State(), done=False)


def test_lines_and_variables():
    text = "# no\nRUN a \\\n  # inside\n    && b\nENV A=1 B=${A}/x\nARG C\nARG D=2\n"
    found = check_image.read_dockerfile(text)
    assert [i.name for i in found] == ["RUN", "ENV", "ARG", "ARG"] and found[0].argument.split() == ["a", "&&", "b"]
    state = check_image.State(environment={"A": "0"})
    for instruction in found[1:]:
        check_image.apply(check_image.Root(Path("/nowhere"), []), instruction, state, done=False)
    assert state.environment == {"A": "1", "B": "1/x"} and state.arguments == {"D": "2"}


def test_a_changed_file_changes_what_depends_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr(check_image, "REPOSITORY", tmp_path)
    (tmp_path / ".dockerignore").write_text("**/__pycache__\nsub/no\n*.mp4\n!keep.mp4\n")
    for name in ("sub/a", "sub/no/b", "sub/__pycache__/c", "film.mp4", "keep.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert [p.name for p in check_image.sent_to_docker("sub", (tmp_path / ".dockerignore").read_text().split())] == [
        "a"
    ]
    copy, run = check_image.Instruction("COPY", "sub/ sub/"), check_image.Instruction("RUN", "x")
    before = check_image.digest(copy, "0")
    (tmp_path / "sub/no/b").write_text("2")
    assert check_image.digest(copy, "0") == before
    (tmp_path / "sub/a").write_text("2")
    assert check_image.digest(copy, "0") != before
    assert check_image.digest(run, before) != check_image.digest(run, check_image.digest(copy, "0"))


def test_a_command_that_fails_says_which_step():
    with pytest.raises(check_image.ImageError, match="RUN it failed with status 3"):
        check_image.run(["sh", "-c", "exit 3"], "RUN it")
    with pytest.raises(check_image.ImageError, match="no-such-program"):
        check_image.run(["no-such-program"], "RUN it")
