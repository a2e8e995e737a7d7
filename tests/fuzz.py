"""Damaged and odd files against everything that reads files.

    .venv/bin/python -m tests.fuzz --count 100000

Each file is taken, or refused by a PleinairError of one line; never a traceback, a crash, a hang, or much memory. A
child of limited memory reads them; each file has so many seconds of processor time. Number ``n`` is the same file on
every run: ``--first n --count 1`` tries it alone.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from pleinair.cli.main import app
from pleinair.emulator.stand_in import stand_in
from pleinair.errors import PleinairError
from pleinair.exif import about, for_painting, with_exif
from pleinair.fpga.build_folder import Build, read_build
from pleinair.fpga.deployment import MANIFEST, SETTINGS, read_deployment
from pleinair.fpga.handoff import is_zynq_7000, light_port, weight_ports
from pleinair.images import decode_photo
from pleinair.models import load_model
from pleinair.network import floating, integer, qonnx
from pleinair.network.npz import write_arrays
from pleinair.network.qonnx_writer import write_qonnx
from pleinair.rolls.finish import paint_all
from pleinair.rolls.journal import format_line, parse_line
from pleinair.rolls.originals import split
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import _checksum
from pleinair.rolls.status import read_status
from tests.house import ROOT
from tests.models import write_model
from tests.networks import adaptive_network, floats_like, random_network, without_norms
from tests.rolls import Still, capture_only, new_roll, open_plain

#: Processor time for a file, in seconds; resident memory of the process, in bytes, over what it takes for nothing.
SECONDS, MEMORY = 10.0, 1 << 30
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65_536, 2**31, 2**63, 10**18, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "0", "x" * 5000, "\0", "\ud800", "../..", "/etc/passwd", "a\nb", "\x1b[2J"),
    *([], {}, [[]], [0] * 300, {"": {}}),
)

Case = Callable[[random.Random], None]


class Hang(BaseException):
    """A file took too long."""


# -- how files are damaged


def bent(data: bytes, chance: random.Random) -> bytes:
    """Bytes with bits flipped, parts overwritten, cut out, doubled, or the end cut off."""
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not work:
            break
        at = chance.randrange(len(work))
        length = min(chance.choice((1, 2, 4, 16, 256, 4096)), len(work) - at)
        kind = chance.randrange(7)
        if kind == 0:
            work[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            work[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            work[at : at + length] = bytes((chance.choice((0, 255)),)) * length
        elif kind == 3:
            del work[at : at + length]
        elif kind == 4:
            work[at:at] = work[at : at + length]
        elif kind == 5:
            del work[at:]
        else:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            order = chance.choice(("little", "big"))
            work[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(work)


def odd(value: Any, chance: random.Random) -> Any:
    """A JSON value with one of its parts changed, gone, doubled, or deep below others."""
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            walk(inner[key])

    value = json.loads(json.dumps(value))
    walk(value)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if not places:
            return chance.choice(_ODD)
        inner, key = chance.choice(places)
        kind = chance.randrange(8)
        with contextlib.suppress(KeyError, IndexError):
            if kind == 0:
                del inner[key]
            elif kind == 1 and isinstance(inner, dict):
                inner[chance.choice(("extra", "", "__class__", "x" * 300))] = inner[key]
            elif kind == 2:
                deep: Any = inner[key]
                for _ in range(chance.choice((3, 50, 250))):
                    deep = [deep]
                inner[key] = deep
            elif kind == 3 and isinstance(inner[key], int) and not isinstance(inner[key], bool):
                inner[key] += chance.choice((-1, 1, 7, -1000, 1 << 40))
            else:
                inner[key] = chance.choice(_ODD)
    return value


def as_text(value: Any) -> bytes:
    """JSON, lone surrogates escaped."""
    return json.dumps(value).encode()


# -- what reads them


class Bench:
    """Files as they should be, made once in a folder, and what reads each when it is damaged."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.networks = [random_network(1, 4, 1, 8, 3), random_network(2, 4, 0, 4, 3), adaptive_network(3, 4, 1, 8, 3)]
        self.packed = [integer.dump(network) for network in self.networks]
        self.floats = [floating.dump(floats_like(without_norms(self.networks[0])))]
        self.graphs = [write_qonnx(network) for network in self.networks]
        self.pictures = list(_pictures())
        write_model(place / "style", self.networks[0], 40)
        assert capture_only(new_roll(place / "roll", frames=7, piece=3), Still()) == "complete"
        with Roll.open(place / "roll") as roll:
            paint_all(roll, roll.settings.look, painter=open_plain)
        model = write_model(place / "model", adaptive_network(1, 4, 1, 8, 3), 16)
        deployed = {"board": "zcu104", "clock_mhz": 300, "height": 64, "width": 96, "metering": True}
        stand_in(place / "deploy", model, 8, **deployed)
        (place / "build").mkdir()
        request = {"model": "style", "board": "kv260", "size": [16, 16]}
        facts = {"style": "s", "bits": 8, "margin": 40, "grain": 2, "height": 96, "width": 96, "board": "kv260"}
        Build(request=request, clock_mhz=300.0, network_sha256=64 * "0", **facts).write(place / "build", "complete")
        self.work = place / "work"
        self.cases: dict[str, tuple[int, Case]] = {
            "network": (22, self.network),
            "float network": (6, self.float_network),
            "QONNX": (8, self.graph),
            "picture": (26, self.picture),
            "card": (10, self.card),
            "roll": (12, self.roll),
            "settings (TOML)": (6, self.settings),
            "deployment": (8, self.deployment),
            "build": (2, self.build),
        }

    def run(self, number: int) -> tuple[str, bool]:
        """Make and read file ``number``; its kind, and whether it was taken."""
        chance = random.Random(number)
        kinds = list(self.cases)
        kind = chance.choices(kinds, [self.cases[k][0] for k in kinds])[0]
        try:
            self.cases[kind][1](chance)
        except PleinairError as error:
            line = str(error)
            if "\n" in line or len(line) > 1200 or not line.isprintable():
                raise AssertionError(f"{line!r} is no line to show") from error
            return kind, False
        return kind, True

    def _archive(self, data: bytes, chance: random.Random) -> bytes:
        """An npz whose members are damaged, or its own bytes."""
        if chance.random() < 0.25:
            return bent(data, chance)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        way = chance.random()
        if way < 0.45:
            header = np.load(io.BytesIO(members["header.npy"]))
            text = as_text(odd(json.loads(header.tobytes()), chance))
            arrays = {name.removesuffix(".npy"): np.load(io.BytesIO(raw)) for name, raw in members.items()}
            arrays["header"] = np.frombuffer(text, np.uint8)
            return write_arrays(arrays)
        name = chance.choice(list(members))
        if way < 0.6:
            array = np.load(io.BytesIO(members[name])).copy()
            if array.size:
                with contextlib.suppress(OverflowError, ValueError):
                    array.flat[chance.randrange(array.size)] = chance.choice((0, 1, -1, 127, 128, -128, 1 << 30))
            out = io.BytesIO()
            np.save(out, array.astype(chance.choice((array.dtype, "<i8", "<u1", ">i4", "<f4"))), allow_pickle=False)
            members[name] = out.getvalue()
        elif way < 0.8:
            members[name] = bent(members[name], chance)
        elif way < 0.9:
            del members[name]
        else:
            members[chance.choice(("0.weight.npy", "99999.bias.npy", "../x.npy", "header.npy.npy"))] = members[name]
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, raw in members.items():
                archive.writestr(member, raw)
        return out.getvalue()

    def network(self, chance: random.Random) -> None:
        integer.parse(self._archive(chance.choice(self.packed), chance), "fuzzed")

    def float_network(self, chance: random.Random) -> None:
        floating.parse(self._archive(chance.choice(self.floats), chance), "fuzzed")

    def graph(self, chance: random.Random) -> None:
        qonnx.read_qonnx(bent(chance.choice(self.graphs), chance), "fuzzed")

    def picture(self, chance: random.Random) -> None:
        photo = decode_photo(bent(chance.choice(self.pictures), chance), "fuzzed")
        assert photo.image.dtype == np.uint8 and photo.image.ndim == 3 and photo.image.shape[2] == 3
        if photo.exif is not None and (kept := for_painting(photo.exif)) is not None:
            about(with_exif(chance.choice(self.pictures), kept))

    def _copied(self, name: str) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.place / name, self.work)
        return self.work

    def card(self, chance: random.Random) -> None:
        file = self._copied("style") / "card.json"
        data = file.read_bytes()
        file.write_bytes(bent(data, chance) if chance.random() < 0.3 else as_text(odd(json.loads(data), chance)))
        load_model(str(self.work), 8)

    def roll(self, chance: random.Random) -> None:
        folder = self._copied("roll")
        way = chance.random()
        if way < 0.25:
            file = folder / "roll.json"
            record = odd(json.loads(file.read_bytes()), chance)
            if isinstance(record, dict) and chance.random() < 0.8:
                with contextlib.suppress(TypeError, ValueError):
                    record["sha256"] = _checksum(record.get("settings"))
            file.write_bytes(as_text(record))
            if chance.random() < 0.7:  # else the journal tells the settings
                (folder / "journal.jsonl").unlink()
        elif way < 0.55:
            self._odd_journal(folder / "journal.jsonl", chance)
        else:
            files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock")
            victim = chance.choice(files)
            data = victim.read_bytes()
            victim.write_bytes(bent(data, chance))
            if victim.suffix == ".png":
                split(victim.read_bytes())
        read_status(folder)
        with Roll.open(folder) as roll:
            assert roll.ledger.last < 10**9

    def _odd_journal(self, file: Path, chance: random.Random) -> None:
        lines = file.read_bytes().splitlines(True)
        at = chance.randrange(len(lines))
        record = parse_line(lines[at])
        changed = odd(record, chance)
        if isinstance(changed, dict):
            lines[at] = format_line(changed)
        if chance.random() < 0.3:
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
        file.write_bytes(b"".join(lines))

    def settings(self, chance: random.Random) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        file = self.work / "film.toml"
        command = app.commands[chance.choice(("run", "train", "build", "compare", "bench"))]
        names = [opt[2:] for parameter in command.params for opt in parameter.opts if opt.startswith("--")]
        lines = []
        for name in chance.sample(names, min(len(names), 4)):
            value = chance.choice((*_ODD, 1 << 30_000, "10s", "640x480", 8, "cpu", -3))
            with contextlib.suppress(ValueError, UnicodeEncodeError):
                text = (
                    json.dumps(value, ensure_ascii=chance.random() < 0.5) if not isinstance(value, int) else hex(value)
                )
                text.encode()
                lines.append(f"{name} = {text}")
        data = "\n".join(lines).encode()
        file.write_bytes(bent(data, chance) if chance.random() < 0.4 else data)
        with contextlib.suppress(click.UsageError, click.exceptions.Exit, click.Abort):
            command.make_context(command.name, ["--config", str(file)])

    def deployment(self, chance: random.Random) -> None:
        folder = self._copied("deploy")
        manifest = json.loads((folder / MANIFEST).read_bytes())
        way = chance.random()
        if way < 0.25:
            (folder / MANIFEST).write_bytes(as_text(odd(manifest, chance)))
        elif way < 0.85:
            # With the right checksum, as somebody would who means it.
            name = chance.choice((SETTINGS, SETTINGS, *manifest["files"]))
            data = (folder / name).read_bytes()
            is_json = name.endswith(".json") and chance.random() < 0.8
            data = as_text(odd(json.loads(data), chance)) if is_json else bent(data, chance)
            (folder / name).write_bytes(data)
            manifest["files"][name] = hashlib.sha256(data).hexdigest()
            (folder / MANIFEST).write_bytes(as_text(manifest))
        else:
            victim = folder / chance.choice(list(manifest["files"]))
            victim.write_bytes(bent(victim.read_bytes(), chance))
        deployment = read_deployment(folder)
        handoff = deployment.bitfile.with_suffix(".hwh")
        is_zynq_7000(handoff), weight_ports(handoff), light_port(handoff)
        assert isinstance(deployment.runtime_weights, list) and len(deployment.engines) == 2
        load_model(str(deployment.model), deployment.bits)

    def build(self, chance: random.Random) -> None:
        file = self._copied("build") / "build.json"
        data = file.read_bytes()
        file.write_bytes(bent(data, chance) if chance.random() < 0.3 else as_text(odd(json.loads(data), chance)))
        read_build(self.work)


def _pictures() -> list[bytes]:
    """Small pictures of every kind that is read."""
    rng = np.random.default_rng(0)
    small = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
    found = []
    for kind, options in (
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        (".png", []),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
        (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
        (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
        (".bmp", []),
    ):
        found.append(cv2.imencode(kind, small, options)[1].tobytes())
    found.append(cv2.imencode(".png", np.dstack([small, small[..., :1]]))[1].tobytes())
    found.append(cv2.imencode(".png", small.astype(np.uint16) * 257)[1].tobytes())
    found.append(cv2.imencode(".webp", np.dstack([small, small[..., :1]]))[1].tobytes())
    taken = b"II*\0" + struct.pack("<IHHHIHHHHII", 8, 2, 0x0112, 3, 1, 6, 0, 0x0132, 2, 20, 38)
    taken += bytes(4) + b"2026:05:03 14:20:07\0"
    found += [with_exif(data, taken) for data in found]
    return found


# -- the child that reads, and its parent


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(first: int, count: int, place: Path, told: Path) -> None:
    """Read files, and note before each which one it is; at the end a line of JSON with what was seen."""
    bench = Bench(place)
    cv2.setNumThreads(1)

    def too_long(_: int, __: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, too_long)
    seen: dict[str, list[int]] = {}
    for number in range(first, min(first + 200, first + count)):  # whatever grows at first use
        with contextlib.suppress(Exception):
            bench.run(number)
    limit = _resident() + MEMORY
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    slowest, before = (0.0, first), _peak()
    with told.open("w") as file:
        for number in range(first, first + count):
            file.seek(0)
            file.write(f"{number:12d}")
            file.flush()
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                kind, taken = bench.run(number)
            except (Hang, Exception) as error:
                kind, taken = "failed", False
                print(f"file {number}: {type(error).__name__}: {str(error)[:300]!r}", flush=True)
                traceback.print_exc(limit=-4)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, (time.process_time() - began, number))
            tally = seen.setdefault(kind, [0, 0])
            tally[not taken] += 1
            if _resident() > limit:
                print(f"file {number}: more than {MEMORY >> 20} MiB of memory stay", flush=True)
                break
    print(json.dumps({"seen": seen, "slowest": slowest, "grown": max(0, _peak() - before)}), flush=True)


def fuzz(first: int, count: int) -> dict[str, Any]:
    """Read ``count`` files; figures, and under ``failures`` a line about each that should not be."""
    result: dict[str, Any] = {"files": 0, "seen": {}, "failures": [], "slowest": [0.0, first], "grown": 0}
    end = first + count
    while first < end:
        part = min(10_000, end - first)
        with tempfile.TemporaryDirectory(prefix="pleinair-fuzz-") as place:
            told = Path(place) / "told"
            words = ["--child", place, "--first", str(first), "--count", str(part)]
            done = subprocess.run(
                [sys.executable, "-m", "tests.fuzz", *words],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if "-v" in sys.argv else subprocess.DEVNULL,
                text=True,
                check=False,
                timeout=7200,
            )
            *lines, last = done.stdout.splitlines() or [""]
            result["failures"] += [line for line in lines if line.startswith("file ")]
            if done.returncode == 0:
                figures = json.loads(last)
                for kind, (taken, refused) in figures["seen"].items():
                    tally = result["seen"].setdefault(kind, [0, 0])
                    tally[0], tally[1] = tally[0] + taken, tally[1] + refused
                result["slowest"] = max(result["slowest"], figures["slowest"])
                result["grown"] = max(result["grown"], figures["grown"])
                at = first + part
            else:
                number = int(told.read_text() or first) if told.exists() else first
                result["failures"].append(f"file {number}: the process ended with status {done.returncode}")
                at = number + 1
        result["files"] += at - first
        first = at
        print(f"{result['files']} of {count} files, {len(result['failures'])} failures", file=sys.stderr, flush=True)
    return result


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Damaged and odd files against everything that reads files.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-v", action="store_true", help="show tracebacks")
    options = parser.parse_args()
    if options.child is not None:
        child(options.first, options.count, options.child, options.child / "told")
        return 0
    result = fuzz(options.first, options.count)
    print(json.dumps(result, indent=1))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
