"""Files that a comparison is given: what `pleinair evaluate`, `build` and `bench` wrote, here or on other machines.

They are untrusted: of bounded size, every field's type and range checked, every refusal one sentence that names the
file and the field.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError
from pleinair.measuring.comparison_rows import (
    EMULATED,
    ENGINE_NAMES,
    JOHNSON,
    MEASURED,
    PLANNED,
    SIMULATED,
    STATED,
    Energy,
    Quality,
    Row,
)
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair.text import one_line

_MAX_FILE = 8 << 20
_MAX_TEXT = 200
#: What pynq calls the rail that a board is fed by.
_INPUT_RAIL = "12V"


@dataclass(frozen=True)
class StatedPower:
    """The most that a board's power supply gives, in watts, and who says so."""

    watts: float
    source: str


#: Upper bounds of what a board draws, whatever it computes: none of the sources says what a full chip takes.
#: No document was found that rates the ZCU104's supply (and it takes an ATX one too), so it is not here.
STATED_POWER = {
    "pynq-z2": StatedPower(
        36.0, "12 V (PYNQ documentation, PYNQ-Z2 setup guide), supplies of 2 A to 3 A (FOBOS 3, power)"
    ),
    "ultra96": StatedPower(
        48.0,
        "12 V, 4 A: AES-ACC-U96-4APWR, Avnet's largest supply for 96Boards (96Boards, Power Accessories,"
        " https://github.com/96boards/website, _product/accessories/power/README.md)",
    ),
    "kv260": StatedPower(
        36.0,
        "12 V, 3 A supply (AMD, Booting Kria Starter Kit Linux on KV260, in the Kria SOM documentation,"
        " https://xilinx.github.io/kria-apps-docs/)",
    ),
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Record:
    """An object of an untrusted JSON file, or a row of a CSV file; every refusal names file and field."""

    def __init__(self, name: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise OptionError(f"{name}: not an object")
        self._name, self._values = name, values

    def refuse(self, key: str, allowed: str) -> OptionError:
        return OptionError(f"{self._name}: {key} {_short(self._values.get(key))}; allowed is {allowed}")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def part(self, key: str) -> _Record:
        return _Record(f"{self._name}: {key}", self._values.get(key))

    def items(self) -> Iterator[tuple[str, Any]]:
        yield from self._values.items()

    def parts(self, key: str, most: int) -> list[_Record]:
        values = self._values.get(key)
        if not isinstance(values, list) or len(values) > most:
            raise self.refuse(key, f"a list of up to {most}")
        return [_Record(f"{self._name}: {key} {number}", value) for number, value in enumerate(values, 1)]

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise self.refuse(key, f"text of up to {_MAX_TEXT} characters")
        return one_line(value)

    def number(self, key: str, least: float, most: float) -> float:
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.refuse(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def whole(self, key: str, least: int, most: int) -> int:
        value = self.number(key, least, most)
        if value != int(value):
            raise self.refuse(key, "a whole number")
        return int(value)

    def size(self, key: str) -> tuple[int, int]:
        value = self._values.get(key)
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 1 << 16 for n in value)
        ):
            return value[0], value[1]
        raise self.refuse(key, "[width, height]")

    def bits(self, key: str) -> int:
        value = self._values.get(key)
        if isinstance(value, bool) or value not in (*BITS, FLOAT_BITS):
            raise self.refuse(key, ", ".join(map(str, (*BITS, FLOAT_BITS))))
        return int(value)


def _read(path: Path, option: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise OptionError(f"{option} {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_FILE:
        raise OptionError(f"{option} {path}: larger than {_MAX_FILE >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"{option} {path}: not UTF-8") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _read_json(path: Path, option: str) -> _Record:
    try:
        return _Record(f"{option} {path}", json.loads(_read(path, option), parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{option} {path}: not JSON ({error})") from error


_SCORE_COLUMNS = ("subject", "network", "content", "style")


def read_evaluation(path: Path, style: str) -> dict[int, Quality]:
    """The scores of ``style`` in ``scores.csv`` (or the folder of `pleinair evaluate` with it), by bits.

    Raises OptionError, also when the style is not among them.
    """
    file = path / "scores.csv" if path.is_dir() else path
    name = f"--evaluation {file}"
    try:
        table = list(csv.DictReader(io.StringIO(_read(file, "--evaluation")), strict=True))
    except csv.Error as error:
        raise OptionError(f"{name}: not CSV ({error})") from error
    if not table or not set(_SCORE_COLUMNS) <= set(table[0]):
        raise OptionError(f"{name}: not the scores of `pleinair evaluate`; needs columns {', '.join(_SCORE_COLUMNS)}")

    def number(row: dict[str, Any], key: str) -> float | None:
        text = row.get(key)
        if not text:
            return None
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise OptionError(f"{name}: {key} {_short(text)}; allowed is a number")
        return value

    found: dict[int, Quality] = {}
    # A run's float network is called plain, a model's 32bit; the parent has instance norm and is neither.
    names = {**{f"{bits}bit": bits for bits in (*BITS, FLOAT_BITS)}, "plain": FLOAT_BITS}
    for row in table:
        bits = names.get(str(row["network"]))
        if row["subject"] != style or bits is None:
            continue
        content, loss = number(row, "content"), number(row, "style")
        if content is None or loss is None:
            raise OptionError(f"{name}: {style} at {bits} bits has no losses")
        optional = {key: number(row, key) for key in ("ratio", "ssim", "flicker")}
        found[bits] = Quality(content + loss, content, loss, **optional)
    if not found:
        there = ", ".join(sorted({one_line(str(row["subject"])) for row in table}))
        raise OptionError(f"{name}: has no scores of {style}; there are {there}")
    return found


def read_build(folder: Path) -> Row:
    """A build's rate: from its simulation, where `pleinair simulate` ran two photos or more, else as planned."""
    record = _read_json(folder / "report.json", "--build")
    if record.text("format") != "pleinair-build-report":
        raise record.refuse("format", "'pleinair-build-report'")
    asked, board, rate, used = (record.part(key) for key in ("asked", "board", "rate", "resources"))
    clock = record.number("clock_mhz", 1, 10_000) * 1e6
    planned = rate.whole("interval", 1, 1 << 53)
    cycles, how, note = planned, PLANNED, "not simulated with two photos or more yet (pleinair simulate)"
    if record.has("measured") and record.part("measured").has("interval"):
        measured = record.part("measured")
        if measured.whole("differing", 0, 1 << 53):
            raise OptionError(
                f"--build {folder}: its simulation differed from the reference, so its speed says nothing"
            )
        cycles, how = measured.whole("interval", 1, 1 << 53), SIMULATED
        note = f"{cycles:,} cycles a frame, {planned:,} planned ({cycles / planned - 1:+.1%})"
    counts = {kind: used.part(kind).number("used", 0, 1 << 32) for kind in ("dsp", "lut", "bram", "uram")}
    name, title = board.text("name"), board.text("title")
    row = Row(
        title, "board", record.text("title"), asked.bits("bits"), how, f"{title}, {clock / 1e6:g} MHz",
        asked.size("size"), clock / cycles, engine="build", note=note, resources=resources(counts),
    )  # fmt: skip
    return replace(row, energy=stated(name, row.fps))


def resources(counts: Mapping[str, float]) -> dict[str, float]:
    """As report.json has them, from counts in which ``bram`` is of halves."""
    return {"dsp": counts["dsp"], "lut": counts["lut"], "bram36": counts["bram"] / 2, "uram": counts["uram"]}


def stated(board: str, fps: float | None) -> Energy | None:
    """The most that a board can use for a frame at that rate; None where its power supply is not known."""
    power = STATED_POWER.get(board)
    if power is None or not fps:
        return None
    return Energy(power.watts / fps, STATED, f"at most {power.watts:g} W: {power.source}")


def read_bench(path: Path) -> list[Row]:
    """What `pleinair bench --json` wrote on a board, on another machine, or on one that stood in for a board."""
    record = _read_json(path, "--bench")
    if record.text("format") != "pleinair-bench" or record.whole("version", 0, 1 << 31) != 1:
        raise record.refuse("format", "'pleinair-bench', version 1")
    machine = record.part("machine")
    where = machine.text("board") or machine.text("processor")
    found = [_benched(each, record, where) for each in record.parts("measurements", 256)]
    if not found:
        raise record.refuse("measurements", "a list of at least one")
    return found


def _benched(each: _Record, record: _Record, where: str) -> Row:
    """One measurement of a bench, on the machine that ``where`` names."""
    style, size, network = record.text("style"), record.size("size"), each.text("network")
    threads, frames = each.whole("threads", 0, 1 << 16), each.whole("frames", 1, 1 << 31)
    fps = each.number("fps", 1e-9, 1e9)
    low, high = (each.number(key, 0, 1e12) if each.has(key) else None for key in ("ms_low", "ms_high"))
    row = Row(
        "", "other", style, each.bits("bits"), MEASURED, where, size, fps, each.text("name"), threads, low, high, frames
    )
    if network != "johnson":
        row = replace(row, macs_per_pixel=record.number("macs_per_pixel", 0, 1e12))
    if each.text("backend") != "fpga":
        engine = each.text("engine")
        backend = JOHNSON if network == "johnson" else ENGINE_NAMES.get(engine, engine)
        return replace(row, backend=f"{backend}, {where}")
    from pleinair_hw.plan.boards import BOARDS

    board = each.text("board")
    title = BOARDS[board.lower()].title if board.lower() in BOARDS else board
    if each.flag("emulated"):
        return replace(row, backend=title, kind="board", how=EMULATED, threads=None)
    row = replace(row, backend=title, kind="board", threads=None, where=title)
    if not each.has("watts"):
        return replace(row, energy=stated(board.lower(), fps))
    rails = each.part("watts")
    watts = {one_line(rail): rails.number(rail, 0, 1e4) for rail, _ in rails.items()}
    # The board's input, where it has a sensor: the other rails are fed from it.
    chosen = {rail: w for rail, w in watts.items() if rail == _INPUT_RAIL} or watts
    source = f"sensors of {', '.join(chosen)}"
    return replace(row, energy=Energy(sum(chosen.values()) / fps, MEASURED, source))
