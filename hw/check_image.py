#!/usr/bin/env python3
"""Run the steps of Dockerfile.finn without Docker: in a Debian made by debootstrap, then build and simulate inside.

    make check-image                               # as root; it stays in build/image
    hw/check_image.py [--root DIR] [--show PATH]   # the same

The steps are read from Dockerfile.finn itself and run one by one in a chroot, each with the variables, the folder and
the user that the file gives it. A step that this script does not know ends it. A step that passed is not run again as
long as it, every step before it and every file it copies are the same; otherwise all of it starts anew. At the end the
image's entry point compiles a small accelerator and simulates it, as ``make finn`` would call it: any user, the working
folder at /work.

What differs from a real image:

- The base is Debian 12 with Debian's own Python 3.11. The file's base image is the same Debian with a Python 3.11 that
  was compiled for it.
- A chroot is no container: the kernel, the network and the clock are this machine's.
- pip is told what this machine's pip is told: its settings, certificates, and with --show folders of this machine.

Needs root, debootstrap, and the network. Only Python's standard library is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKERFILE = REPOSITORY / "Dockerfile.finn"
#: What stands in for the base image, and what debootstrap is asked for: a shell's needs, and Python as the base has it.
BASE = re.compile(r"python:3\.11(\.\d+)?-slim-bookworm(@sha256:[0-9a-f]{64})?")
PACKAGES = "ca-certificates,python3,python3-venv,python3-dev"
STEPS = ".steps.json"
#: What docker sets for every step.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: This machine's settings that pip needs to find packages; copied where they are files.
SETTINGS = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = re.compile(r"(?i)PIP_.*|(https?|no)_proxy")
#: The proof: a style, a board and a size that take minutes, and a photo of noise.
BUILD = ("starry-night-small", "--bits", "4", "--board", "pynq-z2", "--size", "16x16", "--fps", "100", "--out", "build")
PHOTO = """
import cv2, numpy
cv2.imwrite("photo.png", numpy.random.default_rng(1).integers(0, 256, (16, 16, 3), numpy.uint8))
"""


class ImageError(Exception):
    """A step failed, or cannot be run here; the message is one sentence."""


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile: the instruction's name in capitals, and the rest of it."""

    name: str
    argument: str


@dataclass
class State:
    """What instructions change for those after them."""

    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    entry: tuple[str, ...] = ()


def read_dockerfile(text: str) -> list[Instruction]:
    """A Dockerfile's instructions, continued lines joined, comments dropped."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = []
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            name, _, argument = line.strip().partition(" ")
            found.append(Instruction(name.upper(), argument.strip()))
    return found


def sent_to_docker(source: str, patterns: Sequence[str]) -> Iterator[Path]:
    """The files below ``source`` that .dockerignore does not keep away; the last of its patterns that fits decides."""
    top = REPOSITORY / source
    if not top.exists():
        raise ImageError(f"COPY {source}: the working folder has no {source}")
    for path in sorted([top] if top.is_file() else (p for p in top.rglob("*") if p.is_file() and not p.is_symlink())):
        name = path.relative_to(REPOSITORY)
        above = [str(name), *(str(parent) for parent in name.parents if str(parent) != ".")]
        kept = True
        for pattern in patterns:
            plain, deep = pattern.lstrip("!").strip("/").removeprefix("**/"), "**/" in pattern
            candidates = above + ([part for n in above for part in Path(n).parts] if deep else [])
            if any(fnmatchcase(candidate, plain) for candidate in candidates):
                kept = pattern.startswith("!")
        if kept:
            yield path


def run(command: Sequence[str], step: str) -> None:
    """Run a command, what it prints shown. Raises ImageError when it fails."""
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ImageError(f"{step}: {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise ImageError(f"{step} failed with status {done.returncode}; what it said is above")


class Root:
    """The chroot at ``folder``; ``shown`` are folders of this machine that are visible in it, read-only."""

    def __init__(self, folder: Path, shown: Sequence[Path]) -> None:
        self.folder, self.shown = folder, shown

    def make(self) -> None:
        """A fresh Debian with Python; what was there is removed, but never what is mounted in it."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        if inside := [place for place in mounted if Path(place).is_relative_to(self.folder)]:
            raise ImageError(f"{inside[0]} is still mounted by a run that was killed: umount it, then try again")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(self.folder)]
        run(command, "debootstrap")
        # The base image has its Python under these names.
        (self.folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")

    def copy_settings(self) -> None:
        for name in SETTINGS:
            source, target = Path(name), self.folder / name.lstrip("/")
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Within it /proc, /dev and the shown folders are there."""
        mounts: list[Path] = []
        try:
            for kind, source in [("proc", "proc"), ("dev", "/dev"), *(("", str(path)) for path in self.shown)]:
                target = self.folder / (kind or source.lstrip("/"))
                target.mkdir(parents=True, exist_ok=True)
                how = ["-t", "proc"] if kind == "proc" else ["--bind"]
                run(["mount", *how, source, str(target)], f"mount {source}")
                mounts.append(target)
                if not kind:
                    run(["mount", "-o", "remount,ro,bind", str(target)], f"mount {source} read-only")
            yield
        finally:
            for target in reversed(mounts):
                subprocess.run(["umount", "--lazy", str(target)], check=False)

    def run(self, command: Sequence[str], state: State, step: str, user: str | None = None) -> None:
        """A command inside, with a step's variables, folder and user."""
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        variables = {**passed, **state.arguments, **state.environment}
        inside = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        # The folder is entered by the shell inside: chroot itself starts in /.
        enter = ["sh", "-c", 'cd "$0" && exec "$@"', state.folder, *command]
        run(["chroot", f"--userspec={user or state.user}", str(self.folder), *inside, *enter], step)


def expanded(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda m: variables.get(m[1] or m[2], ""), text)


def apply(root: Root, instruction: Instruction, state: State, *, done: bool) -> None:
    """Carry out one instruction; ``done`` of those that change files means that they need not be run.

    Raises ImageError.
    """
    name, argument = instruction.name, instruction.argument
    if name == "FROM":
        if not BASE.fullmatch(argument):
            raise ImageError(f"FROM {argument}: only a slim Debian 12 with Python 3.11 has a stand-in here")
    elif name == "ENV":
        for assignment in shlex.split(argument):
            variable, _, value = assignment.partition("=")
            state.environment[variable] = expanded(value, state.environment)
    elif name == "ARG":
        variable, _, default = argument.partition("=")
        value = os.environ.get(variable, default)
        if value or default:
            state.arguments[variable] = value
    elif name == "WORKDIR":
        state.folder = str(Path(state.folder) / argument)
        (root.folder / state.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        state.user = argument
    elif name == "ENTRYPOINT":
        state.entry = tuple(json.loads(argument))
    elif name == "COPY":
        *sources, target = argument.split()
        if not done:
            patterns = (REPOSITORY / ".dockerignore").read_text().split()
            for source in sources:
                top = REPOSITORY / source
                for path in sent_to_docker(source, patterns):
                    place = root.folder / (Path(state.folder) / target).as_posix().lstrip("/")
                    place /= path.name if top.is_file() else path.relative_to(top)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, place)
    elif name == "RUN":
        if not done:
            root.run(["sh", "-c", argument], state, f"RUN {argument[:60]}...")
    else:
        raise ImageError(f"{name} {argument}: this script does not know the instruction")


def digest(instruction: Instruction, before: str) -> str:
    """What an instruction depends on: itself, all before it, the files that it copies."""
    made = hashlib.sha256(f"{before}\n{instruction.name} {instruction.argument}\n".encode())
    if instruction.name == "ARG":
        made.update(os.environ.get(instruction.argument.partition("=")[0], "").encode())
    if instruction.name == "COPY":
        patterns = (REPOSITORY / ".dockerignore").read_text().split()
        for source in instruction.argument.split()[:-1]:
            for path in sent_to_docker(source, patterns):
                made.update(f"{path.relative_to(REPOSITORY)} {path.stat().st_mode}\n".encode())
                made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()


def build_image(root: Root) -> State:
    """Every step of Dockerfile.finn, in ``root``; what they leave for the entry point."""
    instructions = read_dockerfile(DOCKERFILE.read_text())
    digests: list[str] = []
    for instruction in instructions:
        digests.append(digest(instruction, digests[-1] if digests else PACKAGES))
    record = root.folder / STEPS
    try:
        before = json.loads(record.read_text())
    except (OSError, ValueError):
        before = []
    if not before or before != digests[: len(before)]:
        print("check-image: debootstrap ...", flush=True)
        root.make()
        before = []
    root.copy_settings()
    state = State()
    with root.mounted():
        for number, (instruction, made) in enumerate(zip(instructions, digests, strict=True)):
            done = number < len(before)
            words = f"{instruction.name} {instruction.argument[:70]}"
            print(
                f"check-image: {number + 1}/{len(instructions)} {words}{' (done before)' if done else ''}", flush=True
            )
            began = time.monotonic()
            try:
                apply(root, instruction, state, done=done)
            except ImageError:
                record.unlink(missing_ok=True)  # half of a step may be done: the next run starts anew
                raise
            if not done:
                before.append(made)
                record.write_text(json.dumps(before))
                if time.monotonic() - began > 1:
                    print(f"check-image: {time.monotonic() - began:.0f} s", flush=True)
    return state


def prove(root: Root, state: State) -> None:
    """What ``make finn`` does: the entry point as some user, who owns the working folder."""
    user = "12345:12345"
    work = root.folder / state.folder.lstrip("/")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.chown(work, 12345, 12345)
    with root.mounted():
        root.run(["/opt/venv/bin/python", "-c", PHOTO], state, "a photo", user)
        for arguments in (
            ["--version"],
            ["build", *BUILD],
            ["simulate", "build", "--image", "photo.png", "--out", "painted.png"],
        ):
            began = time.monotonic()
            print(f"check-image: pleinair {' '.join(arguments)}", flush=True)
            root.run([*state.entry, *arguments], state, f"pleinair {arguments[0]}", user)
            print(f"check-image: {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Run the steps of Dockerfile.finn in a chroot; build and simulate inside."
    )
    parser.add_argument("--root", type=Path, default=REPOSITORY / "build/image", help="where the Debian lies")
    parser.add_argument(
        "--show",
        type=Path,
        action="append",
        default=[],
        help="a folder of this machine to show inside, read-only; repeatable",
    )
    given = parser.parse_args()
    try:
        if os.geteuid():
            raise ImageError("root is needed, for chroot and mount")
        if shutil.which("debootstrap") is None:
            raise ImageError("debootstrap was not found (apt-get install debootstrap)")
        for path in given.show:
            if not path.is_absolute() or not path.is_dir():
                raise ImageError(f"--show {path}: not a folder, or its path is not absolute")
        root = Root(given.root.resolve(), given.show)
        prove(root, build_image(root))
    except ImageError as error:
        print(f"check-image: {error}", file=sys.stderr)
        return 2
    print("check-image: every step of Dockerfile.finn passed, and an accelerator was built and simulated inside")
    return 0


if __name__ == "__main__":
    sys.exit(main())
