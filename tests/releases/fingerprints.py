"""Fingerprints of a release: SHA-256 of what the command makes, to see that a change left all of it as it was.

The command paints, films, builds and exports in a temporary folder. What it made is hashed and compared with
``fingerprints.json``, which an earlier version wrote. Only the command line is used, so modules may move freely::

    python tests/releases/fingerprints.py --check                      # make test-release
    python tests/releases/fingerprints.py --check --only painting/starry-night-board
    python tests/releases/fingerprints.py --check --same-machine       # floats and whole files, too
    python tests/releases/fingerprints.py --write                      # after a change that is wanted

The JSON file has two parts. "everywhere" must be equal on every machine: paintings of integer networks, frames of
films, the hardware of a build. "same machine" holds what may differ with the processor or with a library's version:
paintings of float networks, training, the bytes of film files. ``--write`` notes the machine and the versions.

Every input is made from integers alone, in this file. An item that needs a package that is not here is left out, with
a word. ``build/emulated-board`` needs the environment .venv-pynq31 (``make boards``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("fingerprints.json")
EVERYWHERE, SAME_MACHINE = "everywhere", "same machine"

#: Children that run at once, and the seconds after which one is killed.
AT_ONCE, DEADLINE = 2, 600.0
#: (height, width) of the pictures that are painted.
SIZES = ((47, 33), (97, 131), (203, 257))
#: The engine of the default installation, and the others with their packages.
FIRST_ENGINE = "onnxruntime"
OTHER_ENGINES = {"openvino": "openvino", "litert": "ai_edge_litert"}
#: The NumPy reference is slow: sizes but the smallest are for this style alone.
SMALL_STYLE = "starry-night-small"
#: What the values of "same machine" may depend on.
PACKAGES = ("av", "brevitas", "finn-plus", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "qonnx", "torch")

_HARDWARE = {".v", ".sv", ".vh", ".svh", ".vhd", ".dat"}
#: The compiler's folders end in eight random characters.
_RANDOM_FOLDER = re.compile(rb"(code_gen_ipgen_\w+?)_[a-z0-9_]{8}(?=/)")
#: Of a model's card: what is another at every run.
_TIMES = {"minutes", "seconds"}


class Failure(Exception):
    """A child failed, or two paintings differ that must not."""


@dataclass
class Prints:
    """The fingerprints that an item took, by name, for either part of the JSON file."""

    everywhere: dict[str, str] = field(default_factory=dict)
    same_machine: dict[str, str] = field(default_factory=dict)

    def part(self, section: str) -> dict[str, str]:
        """Those of a part of the JSON file."""
        return self.everywhere if section == EVERYWHERE else self.same_machine


@dataclass(frozen=True)
class Lab:
    """Where an item works: its folder, and the command as a list of words. ``board`` is the command with PYNQ."""

    folder: Path
    command: tuple[str, ...]
    board: tuple[str, ...]

    def pleinair(self, *arguments: object, board: bool = False) -> None:
        """Run the command in the folder. Raises Failure."""
        words = [*(self.board if board else self.command), *map(str, arguments)]
        child = subprocess.Popen(
            words,
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        said = shlex.join(map(str, arguments))
        try:
            output, _ = child.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failure(f"pleinair {said}: not done after {DEADLINE:g} s") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
        if child.returncode:
            lines = output.decode(errors="replace").strip().splitlines()
            raise Failure(f"pleinair {said}: status {child.returncode}; {lines[-1] if lines else 'no output'}")


def environment() -> dict[str, str]:
    """The children's environment: this checkout's rooms, and nothing that changes what the command does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLEINAIR_")}
    rooms = os.pathsep.join(str(ROOT / room) for room in ("host", "training", "hw", "pi"))
    return {**kept, "PYTHONPATH": rooms, "TZ": "UTC", "OMP_NUM_THREADS": "2"}


# -- inputs


def picture(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A picture from integers, uint8 [height, width, 3] in OpenCV's order: slanted waves, rougher to the right."""
    y, x, c = np.ogrid[:height, :width, :3]
    x = x + shift
    waves = np.abs((x * 5 * (c + 1) + y * 3 + 80 * c) % 510 - 255)
    rough = ((x * 73_856_093 ^ y * 19_349_663 ^ c * 83_492_791) >> 7) % 61
    image: np.ndarray = np.clip(waves * 3 // 4 + rough * (x % 128) // 128, 0, 255).astype(np.uint8)
    return image


def write_png(path: Path, image: np.ndarray) -> Path:
    """Write an image, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def write_loss_network(path: Path) -> None:
    """An .npz with VGG-16's shapes up to conv4_3 and random weights."""
    random, arrays, inputs = np.random.RandomState(0), {}, 3
    for block, (count, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512)), start=1):
        for number in range(1, count + 1):
            scale = (2 / (9 * inputs)) ** 0.5
            weight = random.normal(0, scale, (outputs, inputs, 3, 3)).astype(np.float16)
            arrays[f"conv{block}_{number}.weight"] = weight
            arrays[f"conv{block}_{number}.bias"] = np.zeros(outputs, np.float16)
            inputs = outputs
    np.savez(path, **arrays)


# -- hashes


def sha256(parts: Iterable[bytes]) -> str:
    """Of the parts one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def array_parts(array: np.ndarray) -> Iterator[bytes]:
    """An array's type, shape and values."""
    yield f"{array.dtype.str} {array.shape}\n".encode()
    yield np.ascontiguousarray(array).tobytes()


def image_parts(path: Path) -> Iterator[bytes]:
    """A picture's decoded pixels."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise Failure(f"{path}: no picture")
    yield from array_parts(image)


def film_parts(path: Path) -> Iterator[bytes]:
    """A film's decoded frames with their times; the planes are as the codec has them, no colours converted."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield f"{frame.format.name} {frame.width}x{frame.height} at {frame.pts * frame.time_base}\n".encode()
            yield from array_parts(frame.to_ndarray())


def npz_parts(path: Path) -> Iterator[bytes]:
    """The arrays of an .npz file in the order of their names."""
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            yield f"{name} ".encode()
            yield from array_parts(arrays[name])


def hardware_parts(build: Path) -> Iterator[bytes]:
    """A build's sources and memory contents with their names, but for its place and the names of random folders."""
    place = str(build.resolve()).encode()
    files = {}
    for path in build.rglob("*"):
        if path.is_file() and path.suffix in _HARDWARE:
            name = _RANDOM_FOLDER.sub(rb"\1", path.relative_to(build).as_posix().encode())
            files[name] = _RANDOM_FOLDER.sub(rb"\1", path.read_bytes().replace(place, b"BUILD"))
    for name in sorted(files):
        yield b"%s %d\n" % (name, len(files[name]))
        yield files[name]


def json_parts(path: Path) -> Iterator[bytes]:
    """A JSON file's values without times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(one) for key, one in value.items() if key not in _TIMES}
        return [timeless(one) for one in value] if isinstance(value, list) else value

    yield json.dumps(timeless(json.loads(path.read_bytes())), sort_keys=True).encode()


# -- items


def paint(lab: Lab, style: str, bits: int, size: tuple[int, int], *how: str, board: bool = False) -> str:
    """Paint the picture of a (height, width) with more options; the painting's fingerprint."""
    photo, painting = lab.folder / "photo.png", lab.folder / "painting.png"
    write_png(photo, picture(*size))
    painting.unlink(missing_ok=True)
    lab.pleinair("paint", photo, painting, "--style", style, "--bits", bits, *how, board=board)
    return sha256(image_parts(painting))


def painting_item(lab: Lab, *, name: str, style: str, bits: int, size: tuple[int, int]) -> Prints:
    """A painting by every engine that is here, and by the reference; all must be equal, but for the float network's."""
    engines = [FIRST_ENGINE]
    if bits <= 8:
        engines += [engine for engine, package in OTHER_ENGINES.items() if find_spec(package)]
    ways = {engine: ("--engine", engine) for engine in engines}
    if size == SIZES[0] or style == SMALL_STYLE:
        ways["reference"] = ("--backend", "reference")
    taken = {way: paint(lab, style, bits, size, *how) for way, how in ways.items()}
    if bits == 32:
        return Prints(same_machine={f"{name}/{way}": value for way, value in taken.items()})
    if len(set(taken.values())) > 1:
        raise Failure(f"paintings differ: {', '.join(f'{way} {value[:8]}' for way, value in taken.items())}")
    return Prints({name: taken[FIRST_ENGINE]})


def film_item(lab: Lab, *, name: str, suffix: str, options: tuple[str, ...]) -> Prints:
    """A film of the synthetic camera."""
    film = lab.folder / f"film{suffix}"
    common = ("--camera", "synthetic", "--size", "160x120", "--every", "1h", "--frames", "12")
    lab.pleinair("run", *common, *options, "--out", film)
    prints = Prints({f"{name}/frames": sha256(film_parts(film))})
    if suffix != ".mkv":  # Matroska holds a random identifier
        prints.same_machine[f"{name}/bytes"] = sha256([film.read_bytes()])
    return prints


def roll_item(
    lab: Lab, *, name: str, spool: str, suffix: str, options: tuple[str, ...], repaint: str | None = None
) -> Prints:
    """A roll of stored pictures, 130 of them for two pieces: originals, pieces and the joined film.

    The joined film's bytes are not hashed, as it holds the time of day.
    """
    for number in range(130):
        write_png(lab.folder / "pictures" / f"{number}.png", picture(48, 64, 3 * number))
    roll, film = lab.folder / "roll", lab.folder / f"film{suffix}"
    camera = ("--camera", "frames:pictures", "--style", SMALL_STYLE, "--bits", "4")
    lab.pleinair("run", *camera, "--roll", roll, "--spool", spool, "--out", film, *options)
    prints = Prints({f"{name}/film": sha256(film_parts(film))})
    if repaint is not None:
        other = lab.folder / "other.mkv"
        lab.pleinair("repaint", roll, "--style", SMALL_STYLE, "--bits", repaint, "--out", other)
        prints.everywhere[f"{name}/repainted"] = sha256(film_parts(other))
    originals = sorted((roll / "originals").rglob(f"*.{spool}"))
    if len(originals) != 130:
        raise Failure(f"{len(originals)} originals of 130")
    prints.everywhere[f"{name}/originals"] = sha256(part for path in originals for part in image_parts(path))
    for piece in sorted((roll / "paintings").glob("*/*.mkv")):
        key = f"{name}/{piece.parent.name}/{piece.stem}"
        prints.everywhere[key] = sha256(film_parts(piece))
        prints.same_machine[f"{key}/bytes"] = sha256([piece.read_bytes()])
    return prints


def build_item(lab: Lab, *, name: str, bits: int, options: tuple[str, ...]) -> Prints:
    """A build's hardware, plan and report."""
    out = lab.folder / "build"
    lab.pleinair("build", SMALL_STYLE, "--bits", bits, "--size", "64x64", "--out", out, *options)
    return Prints(
        {
            f"{name}/hardware": sha256(hardware_parts(out)),
            f"{name}/plan": sha256(json_parts(out / "plan.json")),
            f"{name}/report": sha256(json_parts(out / "report.json")),
        }
    )


def board_item(lab: Lab, *, name: str) -> Prints:
    """A painting through PYNQ and the emulated board of a build, which must be the processor's."""
    out = lab.folder / "build"
    lab.pleinair("build", SMALL_STYLE, "--bits", 4, "--size", "64x64", "--board", "pynq-z2", "--fps", 5, "--out", out)
    fpga = ("--backend", "fpga", "--overlay", f"emulated:{out}")
    by_board = paint(lab, SMALL_STYLE, 4, SIZES[1], *fpga, board=True)
    by_processor = paint(lab, SMALL_STYLE, 4, SIZES[1])
    if by_board != by_processor:
        raise Failure(f"paintings differ: fpga {by_board[:8]}, cpu {by_processor[:8]}")
    return Prints({name: by_board})


def export_item(lab: Lab, *, name: str, bits: int) -> Prints:
    """A model trained for six steps, and exported."""
    write_loss_network(lab.folder / "vgg.npz")
    write_png(lab.folder / "painting.png", picture(80, 96, 1000))
    for number in range(5):
        write_png(lab.folder / "photos" / f"{number}.png", picture(120, 160, 40 * number))
    lab.pleinair(
        *("train", "--style", "painting.png", "--content", "photos", "--loss-network", "vgg16:vgg.npz"),
        *("--shape", "johnson", "--bits", bits, "--width", 4, "--blocks", 1),
        *("--crop", 64, "--batch", 2, "--style-size", 96),
        *("--hold-out", 1, "--parent-steps", 2, "--plain-steps", 2, "--quantised-steps", 2, "--out", "run"),
    )
    lab.pleinair("export", "run", "--out", "model", "--float", "--painting", "Waves")
    prints = Prints()
    for path in sorted((lab.folder / "model").iterdir()):
        parts = {".npz": npz_parts, ".json": json_parts}.get(path.suffix, lambda path: iter([path.read_bytes()]))
        prints.same_machine[f"{name}/{path.name}"] = sha256(parts(path))
    return prints


@dataclass(frozen=True)
class Item:
    """What is made and hashed together. ``needs`` are the modules without which it is left out."""

    name: str
    take: Callable[[Lab], Prints]
    needs: tuple[str, ...] = ()
    same_machine: bool = False

    def owns(self, key: str) -> bool:
        """Whether a fingerprint in the JSON file is this item's."""
        return key == self.name or key.startswith(self.name + "/")

    def lacks(self, board: tuple[str, ...]) -> str:
        """What is missing here, or nothing."""
        if "pynq" in self.needs and not board:
            return "the environment of `make boards`"
        return ", ".join(module for module in self.needs if module != "pynq" and not find_spec(module))


def items() -> list[Item]:
    """All that there are; a style that is added to models/ adds paintings."""
    found = []

    def add(
        name: str, take: Callable[..., Prints], needs: tuple[str, ...] = (), here: bool = False, **what: Any
    ) -> None:
        found.append(Item(name, partial(take, name=name, **what), needs, here))

    # The longest first, so that both children have work until the end.
    for bits in (4, 8):
        add(f"export/{bits}", export_item, needs=("torch", "brevitas"), here=True, bits=bits)
    pynq_z2 = ("--board", "pynq-z2", "--fps", "5")
    writeable = ("--board", "zcu104", "--fps", "60", "--writeable-weights")
    add("build/emulated-board", board_item, needs=("finn", "pynq"))
    add("build/pynq-z2", build_item, needs=("finn",), bits=4, options=pynq_z2)
    add("build/zcu104-writeable", build_item, needs=("finn",), bits=8, options=writeable)
    for path in sorted((ROOT / "models").glob("*/network-*bit.npz")):
        style, bits = path.parent.name, int(path.stem[len("network-") : -len("bit")])
        for height, width in SIZES:
            name = f"painting/{style}/{bits}/{width}x{height}"
            add(name, painting_item, here=bits == 32, style=style, bits=bits, size=(height, width))
    small = ("--style", SMALL_STYLE, "--bits", "8")
    add("film/defaults", film_item, suffix=".mp4", options=())
    add("film/plain", film_item, suffix=".mkv", options=small)
    add("film/timestamp", film_item, suffix=".mp4", options=(*small, "--timestamp", "1"))
    add("film/deflicker", film_item, suffix=".mp4", options=(*small, "--deflicker", "5"))
    add("film/unsteady", film_item, suffix=".mp4", options=(*small, "--steady", "0"))
    add("film/framed", film_item, suffix=".mov", options=(*small, "--rotate", "90", "--crop", "99x81+7+5"))
    add("roll/png", roll_item, spool="png", suffix=".mkv", options=(), repaint="8")
    add("roll/jpg", roll_item, spool="jpg", suffix=".mp4", options=("--deflicker", "5", "--steady", "0", "--fps", "30"))
    return found


# -- the command

Stored = dict[str, dict[str, str]]


def versions() -> dict[str, str]:
    """The machine and the packages that the values of "same machine" go with."""

    def one(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "none"

    return {"machine": platform.machine(), **{package: one(package) for package in PACKAGES}}


def read_stored(path: Path) -> Stored:
    """The JSON file, or an empty one."""
    empty: Stored = {EVERYWHERE: {}, SAME_MACHINE: {}, "versions": {}}
    return {**empty, **json.loads(path.read_bytes())} if path.is_file() else empty


def take_all(
    chosen: list[Item], command: tuple[str, ...], board: tuple[str, ...]
) -> Iterator[tuple[Item, Prints | Exception, float]]:
    """Each item with its fingerprints, or with what went wrong, and its seconds; in the order in which they end."""

    def take(item: Item) -> tuple[Item, Prints | Exception, float]:
        began = time.monotonic()
        result: Prints | Exception
        with tempfile.TemporaryDirectory(prefix="fingerprints-") as folder:
            try:
                result = item.take(Lab(Path(folder), command, board))
            except (Failure, OSError, av.FFmpegError) as error:
                result = error
        return item, result, time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in as_completed([pool.submit(take, item) for item in chosen]):
            yield future.result()


def differences(expected: dict[str, str], taken: dict[str, str]) -> list[str]:
    """A line for each value that is not as expected."""
    return [
        f"{key}: {expected.get(key, 'nothing')} -> {taken.get(key, 'nothing')}"
        for key in sorted({*expected, *taken})
        if expected.get(key) != taken.get(key)
    ]


def compare(item: Item, result: Prints | Exception, stored: Stored, sections: list[str]) -> list[str]:
    """What differs of an item: a line each."""
    if isinstance(result, Exception):
        return [f"{item.name}: {result}"]
    lines = []
    for section in sections:
        expected = {key: value for key, value in stored[section].items() if item.owns(key)}
        lines += differences(expected, result.part(section))
    return lines


def orphans(stored: Stored, section: str) -> list[str]:
    """What no item makes any more."""
    there = items()
    return [key for key in stored[section] if not any(item.owns(key) for item in there)]


def write(path: Path, stored: Stored, taken: list[tuple[Item, Prints]], everything: bool) -> None:
    """Write the JSON file. Items that were left out, or failed, keep what the file has of them."""
    new = {"versions": versions() if everything or not stored["versions"] else stored["versions"]}
    for section in (EVERYWHERE, SAME_MACHINE):
        gone = orphans(stored, section) if everything else []
        values = {
            key: value
            for key, value in stored[section].items()
            if key not in gone and not any(item.owns(key) for item, _ in taken)
        }
        for _, prints in taken:
            values.update(prints.part(section))
        new[section] = dict(sorted(values.items()))
    path.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="compare with the JSON file")
    action.add_argument("--write", action="store_true", help="write the JSON file")
    parser.add_argument("--pleinair", metavar="COMMAND", help="the command to run; this checkout's if not given")
    parser.add_argument("--board", metavar="COMMAND", help="the command in an environment that has PYNQ")
    parser.add_argument("--only", metavar="NAME", action="append", help="items whose name begins so; may be repeated")
    parser.add_argument("--same-machine", action="store_true", help="compare also what depends on the machine")
    parser.add_argument("--json", metavar="FILE", type=Path, default=STORED, help="the JSON file")
    return parser.parse_args(arguments)


def choose(names: list[str] | None, sections: list[str], board: tuple[str, ...]) -> list[Item]:
    """The items that are asked for and can be made here; says which cannot."""
    chosen = []
    for item in items():
        if names and not any(item.name.startswith(name) for name in names):
            continue
        if item.same_machine and SAME_MACHINE not in sections:
            continue
        if lack := item.lacks(board):
            print(f"          left out  {item.name}: needs {lack}")
        else:
            chosen.append(item)
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 where anything failed or, with --check, differs."""
    o = parse(arguments)
    pynq = ROOT / ".venv-pynq31" / "bin" / "python"
    command = tuple(shlex.split(o.pleinair) if o.pleinair else (sys.executable, "-m", "pleinair"))
    board = tuple(shlex.split(o.board) if o.board else (str(pynq), "-m", "pleinair") if pynq.is_file() else ())
    sections = [EVERYWHERE, SAME_MACHINE] if o.write or o.same_machine else [EVERYWHERE]
    stored, began = read_stored(o.json), time.monotonic()
    chosen = choose(o.only, sections, board)
    found, taken = [], list[tuple[Item, Prints]]()
    for item, result, seconds in take_all(chosen, command, board):
        lines = compare(item, result, stored, sections)
        if isinstance(result, Prints):
            taken.append((item, result))
        word = "failed" if isinstance(result, Exception) else "differs" if lines else "same"
        print(f"{seconds:7.1f} s {word:>8}  {item.name}", flush=True)
        found += lines
    if not o.only:
        found += [
            f"{key}: {stored[section][key]} -> nothing" for section in sections for key in orphans(stored, section)
        ]
    count = sum(len(prints.part(section)) for _, prints in taken for section in sections)
    print(f"{time.monotonic() - began:.0f} s, {count} fingerprints taken, {len(found)} differences")
    for line in sorted(found):
        print(f"  {line}")
    if found and (others := differences(stored["versions"], versions())):
        print(f"  The file is from other versions: {'; '.join(others)}")
    if o.write:
        write(o.json, stored, taken, everything=not o.only)
        return int(len(taken) < len(chosen))
    return int(bool(found) or not chosen)


if __name__ == "__main__":
    sys.exit(main())
