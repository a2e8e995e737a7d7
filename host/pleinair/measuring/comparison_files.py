"""Files that a comparison is given: what `pleinair evaluate`, `build` and `bench` wrote, here or on other machines.

They are untrusted: of bounded size, every field's type and range checked, every refusal one sentence that names the
file and the field.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pleinair.documents import Record, Refusal, read_bytes, read_record, short
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


def _refusal(option: str) -> Refusal:
    """The error of a file that ``option`` names."""
    return partial(OptionError, option=option)


_SCORE_COLUMNS = ("subject", "network", "content", "style")


def read_evaluation(path: Path, style: str) -> dict[int, Quality]:
    """The scores of ``style`` in ``scores.csv`` (or the folder of `pleinair evaluate` with it), by bits.

    Raises OptionError, also when the style is not among them.
    """
    file = path / "scores.csv" if path.is_dir() else path
    refuse = _refusal("evaluation")
    data = read_bytes(file, most=_MAX_FILE, error=refuse)
    try:
        table = list(csv.DictReader(io.StringIO(data.decode("utf-8")), strict=True))
    except UnicodeDecodeError as error:
        raise refuse(f"{file}: not UTF-8") from error
    except csv.Error as error:
        raise refuse(f"{file}: not CSV ({error})") from error
    if not table or not set(_SCORE_COLUMNS) <= set(table[0]):
        raise refuse(f"{file}: not the scores of `pleinair evaluate`; needs columns {', '.join(_SCORE_COLUMNS)}")

    def number(row: dict[str, str], key: str) -> float | None:
        text = row.get(key)
        if not text:
            return None
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise refuse(f"{file}: {key} {short(text)}; allowed is a number")
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
            raise refuse(f"{file}: {style} at {bits} bits has no losses")
        optional = {key: number(row, key) for key in ("ratio", "ssim", "flicker")}
        found[bits] = Quality(content + loss, content, loss, **optional)
    if not found:
        there = ", ".join(sorted({one_line(str(row["subject"])) for row in table}))
        raise refuse(f"{file}: has no scores of {style}; there are {there}")
    return found


def read_build(folder: Path) -> Row:
    """A build's rate: from its simulation, where `pleinair simulate` ran two photos or more, else as planned."""
    record = read_record(folder / "report.json", most=_MAX_FILE, error=_refusal("build"))
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
                f"{folder}: its simulation differed from the reference, so its speed says nothing", option="build"
            )
        cycles, how = measured.whole("interval", 1, 1 << 53), SIMULATED
        note = f"{cycles:,} cycles a frame, {planned:,} planned ({cycles / planned - 1:+.1%})"
    counts = {kind: used.part(kind).number("used", 0, 1 << 32) for kind in ("dsp", "lut", "bram", "uram")}
    name, title = board.text("name"), board.text("title")
    row = Row(
        backend=title,
        kind="board",
        style=record.text("title"),
        bits=asked.choice("bits", (*BITS, FLOAT_BITS)),
        how=how,
        where=f"{title}, {clock / 1e6:g} MHz",
        size=asked.size("size"),
        fps=clock / cycles,
        engine="build",
        note=note,
        resources=resources(counts),
    )
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


def read_bench(path: Path, titles: Mapping[str, str]) -> list[Row]:
    """The file that `pleinair bench` wrote on a board, on another machine, or on one that stood in for a board.

    ``titles`` are boards' names for people, by their name.
    """
    record = read_record(path, most=_MAX_FILE, error=_refusal("bench"))
    if not record.is_format("pleinair-bench"):
        raise record.refuse("format", "'pleinair-bench', version 1")
    machine = record.part("machine")
    where = machine.text("board") or machine.text("processor")
    found = [_benched(each, record, where, titles) for each in record.parts("measurements", 256)]
    if not found:
        raise record.refuse("measurements", "a list of at least one")
    return found


def _benched(each: Record, record: Record, where: str, titles: Mapping[str, str]) -> Row:
    """One measurement of a bench, on the machine that ``where`` names."""
    style, size, network = record.text("style"), record.size("size"), each.text("network")
    threads, frames = each.whole("threads", 0, 1 << 16), each.whole("frames", 1, 1 << 31)
    fps = each.number("fps", 1e-9, 1e9)
    low, high = (each.number(key, 0, 1e12) if each.has(key) else None for key in ("ms_low", "ms_high"))
    row = Row(
        "",
        "other",
        style,
        each.choice("bits", (*BITS, FLOAT_BITS)),
        MEASURED,
        where,
        size,
        fps,
        each.text("name"),
        threads,
        low,
        high,
        frames,
    )
    if network != "johnson":
        row = replace(row, macs_per_pixel=record.number("macs_per_pixel", 0, 1e12))
    if each.text("backend") != "fpga":
        engine = each.text("engine")
        backend = JOHNSON if network == "johnson" else ENGINE_NAMES.get(engine, engine)
        return replace(row, backend=f"{backend}, {where}")
    board = each.text("board")
    title = titles.get(board.lower(), board)
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
