"""Steps of the open tools: each a process of its own with a log, a deadline and a bound on memory; results are cached.

A step's result is a folder, kept below ``$XDG_CACHE_HOME/pleinair/open`` (or ``~/.cache``) under the name of the step
and a digest of all that goes in. It is made beside its place and renamed, so that it is there whole or not at all; the
SHA-256 of every file is kept with it and compared before it is used again. What a killed run left behind is removed by
the next one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pleinair.durable import file_sha256
from pleinair.errors import OutputError, PleinairError
from pleinair_hw.finn.environment import user_cache

Progress = Callable[[str], None]

SEAL = "step.json"
_PART = ".part-"
#: What the cache may hold.
CACHE_BYTES = 10 << 30
#: With less than this free after a tool has run, its files are not trusted: some tools do not notice a full disk.
_LEAST_FREE = 1 << 20
#: Bytes of a log that are searched for a tool's first error.
_MOST_LOG = 64 << 20
#: How the error of a tool begins that ended without a word.
DIED = "it died"
#: How often a running tool is looked at, seconds.
_PERIOD = 0.2


class OpenToolError(PleinairError):
    """An open tool failed, took too long or too much memory, or refuses the design; the message says what to try."""


@dataclass(frozen=True)
class Limits:
    """What a tool may take: seconds on the clock, and bytes of memory (0 for no bound)."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Run:
    """A tool's run: what it said, how long it took by the clock and on the processor, its peak of memory (bytes)."""

    text: str
    seconds: float
    cpu_seconds: float
    memory: int

    @property
    def usage(self) -> dict[str, float]:
        """Time and memory, for a report."""
        return {"seconds": round(self.seconds, 1), "cpu_seconds": round(self.cpu_seconds, 1), "memory": self.memory}


class ToolFailure(Exception):
    """A tool ended with an error: its own first one, its log's file, all that it said."""

    def __init__(self, tool: str, error: str, log: Path, text: str) -> None:
        super().__init__(f"{tool}: {error}")
        self.tool, self.error, self.log, self.text = tool, error, log, text


def cache_folder() -> Path:
    """Where results of steps are kept."""
    return user_cache() / "open"


def digest_of(*parts: str | bytes) -> str:
    """One SHA-256 of several texts, each told apart from the next."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def digest_of_files(files: Mapping[str, Path]) -> str:
    """One SHA-256 of files and the names that they are used under."""
    return digest_of(*(f"{name} {file_sha256(path)}" for name, path in sorted(files.items())))


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """A disk that is full or cannot be written becomes one sentence. Raises OutputError."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def disk_error(folder: Path, error: OSError) -> OutputError:
    """The sentence for a file that could not be written below ``folder``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{folder}: the disk is full; make room (a large network takes some GB) and run it again")
    return OutputError(f"{folder}: {error.strerror or error}")


def _is_whole(folder: Path, outputs: Sequence[str]) -> bool:
    """Whether a step's folder has its outputs as they were written."""
    try:
        seal = json.loads((folder / SEAL).read_text())
        return all(seal[name] == file_sha256(folder / name) for name in outputs)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sweep(place: Path) -> None:
    """Remove what runs that are no more left half-made."""
    for path in place.glob(f"*{_PART}*"):
        with contextlib.suppress(ValueError):
            owner = int(path.name.rpartition("-")[2])
            if not Path(f"/proc/{owner}").exists():
                shutil.rmtree(path, ignore_errors=True)


def _prune(place: Path, keep: Path) -> None:
    """Remove the results longest unused until the rest is within CACHE_BYTES; ``keep`` stays."""
    with contextlib.suppress(OSError):
        folders = sorted(
            (path for path in place.iterdir() if (path / SEAL).is_file()), key=lambda path: path.stat().st_mtime
        )
        sizes = {folder: sum(path.stat().st_size for path in folder.iterdir()) for folder in folders}
        total = sum(sizes.values())
        for folder in folders:
            if total <= CACHE_BYTES:
                break
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]


def cached(name: str, key: str, outputs: Sequence[str], work: Callable[[Path], None]) -> tuple[Path, bool]:
    """The folder of a step's result, and whether it was there already.

    Args:
        name: of the step.
        key: a digest of all that goes in.
        outputs: names of the files that the step leaves; others that it made are removed.
        work: makes them in the empty folder that it is given.

    Raises:
        OutputError: the cache cannot be written.
        Whatever ``work`` raises; nothing is left behind then.
    """
    place = cache_folder()
    folder = place / f"{name}-{key[:32]}"
    if _is_whole(folder, outputs):
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder, True
    part = place / f"{folder.name}{_PART}{os.getpid()}"
    with writing_to(place):
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
    try:
        work(part)
        with writing_to(place):
            if shutil.disk_usage(part).free < _LEAST_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            seal = {output: file_sha256(part / output) for output in outputs}
            for path in part.iterdir():
                if path.name not in outputs:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            (part / SEAL).write_text(json.dumps(seal, indent=1) + "\n")
            # What stands there is damaged, or another run has been faster: either way this one is as good.
            shutil.rmtree(folder, ignore_errors=True)
            try:
                part.rename(folder)
            except OSError:
                if not _is_whole(folder, outputs):
                    raise
        _prune(place, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder, False


def take(source: Path, target: Path) -> None:
    """Put a file of a step's result into another folder: the same file where the disk allows it, else a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def first_error(text: str, pattern: str = r"^(?:ERROR|FATAL|Error)\b:?\s*|: (?:error|ERROR): ") -> str:
    """The first line of a log that is an error, without the word; else the last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if re.search(pattern, line):
            return re.sub(r"^(?:ERROR|FATAL|Error)\b:?\s*", "", line)
    return lines[-1] if lines else ""


#: Dies with its parent, whatever ends that, and takes no more memory than it may; then becomes the tool.
_WRAPPER = """
import ctypes, os, resource, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
memory = int(sys.argv[1])
if memory:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"ERROR: {sys.argv[2]} does not start: {error.strerror}")
"""


def _usage(pid: int) -> tuple[float, int]:
    """Seconds of processor that a running process has taken, and its peak of memory in bytes; zeros once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return seconds, 1024 * int(peak[1]) if peak else 0
    except (OSError, ValueError, IndexError):
        return 0.0, 0


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a tool and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def run_tool(
    tool: str,
    command: Sequence[str],
    folder: Path,
    log: Path,
    limits: Limits,
    *,
    environment: Mapping[str, str] | None = None,
    look: Callable[[str], None] | None = None,
) -> Run:
    """Run a tool in ``folder`` to its end; ``log`` holds what it said.

    Args:
        tool: its name for people.
        command: program and arguments.
        folder: where it runs.
        log: the file for all that it prints.
        limits: what it may take.
        environment: variables beside those of this process.
        look: is given each new piece of what it prints, for progress.

    Raises:
        ToolFailure: it ended with an error.
        OpenToolError: it does not start, or was stopped at a limit.
        OutputError: the disk is full.
    """
    with writing_to(log.parent):
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    began, cpu_seconds, memory = time.monotonic(), 0.0, 0
    with output, log.open("rb") as reader:
        try:
            child = subprocess.Popen(
                [sys.executable, "-c", _WRAPPER, str(limits.memory), *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise OpenToolError(f"{tool} does not start: {error.strerror or error}") from error
        try:
            while True:
                seconds, peak = _usage(child.pid)
                cpu_seconds, memory = max(cpu_seconds, seconds), max(memory, peak)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=_PERIOD)
                if look is not None:
                    look(reader.read().decode(errors="replace"))
                if child.returncode is not None:
                    break
                if time.monotonic() - began > limits.seconds:
                    raise OpenToolError(
                        f"{tool} was stopped after {limits.seconds:.0f} s; plan fewer frames a second or a smaller "
                        f"frame, or give it more time; its log is {log}"
                    )
        finally:
            _end(child)
    with log.open("rb") as file:
        text = file.read(_MOST_LOG).decode(errors="replace")
    if child.returncode == 0:
        return Run(text, time.monotonic() - began, cpu_seconds, memory)
    if "No space left on device" in text or shutil.disk_usage(folder).free < _LEAST_FREE:
        raise disk_error(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if re.search(r"bad_alloc|MemoryError|Cannot allocate memory|out of memory", text, re.I):
        raise OpenToolError(
            f"{tool} needs more than {limits.memory / 2**30:.1f} GiB of memory; plan fewer frames a second or a "
            f"smaller frame; its log is {log}"
        )
    if child.returncode < 0:
        raise ToolFailure(tool, f"{DIED} of {signal.Signals(-child.returncode).name}", log, text)
    raise ToolFailure(tool, first_error(text) or f"exit status {child.returncode}", log, text)
