"""Place and route: nextpnr-himbaechel, from a netlist to the features of the bitstream and the highest clock.

No pins are used (clock and reset come from the processing system), so the file of constraints is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.durable import file_sha256
from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.open.delays import read_delays
from pleinair_hw.open.steps import (
    DIED,
    Limits,
    OpenToolError,
    Run,
    ToolFailure,
    cached,
    digest_of,
    run_tool,
    writing_to,
)
from pleinair_hw.open.synthesis import Netlist
from pleinair_hw.open.timing import Hop, slowest
from pleinair_hw.open.tools import GET_CHIP, GET_PLACER, OpenTools, chip_of

#: Part of the cache's key: raise it when the command or what is read of its files changes.
_RECIPE = 3
FASM, ROUTED, FIGURES = "design.fasm", "routed.json", "figures.json"
_REPORT, _DELAYS = "report.json", "delays.sdf"
#: From which round on the router may count as stuck, and with more than how many wires too many.
_ROUNDS, _MANY = 12, 200
#: nextpnr's types of cells, by what they count as: two half tables make a LUT site.
_KINDS = {
    "lut_cells": r"SLICE_LUTX",
    "ff": r"SLICE_FFX",
    "carry4": r"CARRY4",
    "dsp": r"DSP48E1_DSP48E1",
    "ramb18": r"RAMB18E1_RAMB18E1",
    "ramb36": r"RAMB36E1_RAMB36E1",
}
#: How nextpnr begins its list of missed hold times, once before routing and once behind it.
_HOLD_MISSES = re.compile(r"(\d+) Hold/min time violations")


@dataclass(frozen=True)
class Figures:
    """What place and route reached.

    Attributes:
        fmax_mhz: the highest clock, by nextpnr's figures for delays and by those that it lacks
            (:mod:`pleinair_hw.open.timing`).
        lut_sites: LUT sites in use, of which each holds a table of six inputs or two of five.
        cells: placed cells by kind: ``lut_cells`` (half sites), ``ff``, ``carry4``, ``dsp``, ``ramb18``, ``ramb36``.
        available: what the chip has of each.
        untimed: primitives, or single pins of them, for which nobody has figures: paths through them do not count.
        slowest: the path that sets the clock.
        usage: what place and route took: seconds, cpu_seconds, memory (bytes).
        hold_misses: paths that change too early for the register behind them, by nextpnr's figures; None in results
            of before these were counted.
        steady: placed and routed in the other way; see :func:`place`. ``usage`` is that of this run alone.
        placer_mhz: the highest clock that nextpnr names; paths through pins without figures do not count in it.
    """

    seed: int
    fmax_mhz: float
    lut_sites: int
    cells: Mapping[str, int]
    available: Mapping[str, int]
    untimed: tuple[str, ...]
    slowest: tuple[Hop, ...]
    usage: Mapping[str, float]
    hold_misses: int | None = None
    steady: bool = False
    placer_mhz: float = 0.0


@dataclass(frozen=True)
class Routed:
    """A placed and routed design in the cache: its features, its netlist, what was reached."""

    folder: Path
    figures: Figures
    was_there: bool

    @property
    def fasm(self) -> Path:
        return self.folder / FASM

    @property
    def netlist(self) -> Path:
        return self.folder / ROUTED


def command(tools: OpenTools, part: str, netlist: Path, clock_mhz: float, seed: int, steady: bool = False) -> list[str]:
    """What runs nextpnr in a folder with an empty ``empty.xdc``; ``steady``: see :func:`place`."""
    return [
        str(tools.placer),
        *("--device", part),
        *("--chipdb", str(tools.chip_database)),
        *("--json", str(netlist)),
        *("-o", "xdc=empty.xdc"),
        *("-o", f"fasm={FASM}"),
        *("--write", ROUTED),
        *("--report", _REPORT),
        *("--sdf", _DELAYS),
        *("--freq", f"{clock_mhz:g}"),
        "--timing-allow-fail",
        *("--seed", str(seed)),
        *(["--placer", "static", "--router2-alt-weights"] if steady else []),
    ]


class _Stuck(Exception):
    """The router gets no nearer to its end."""


def is_stuck(wires: Sequence[int]) -> bool:
    """Whether a router that had so many wires too many, round by round, gets no nearer to its end.

    It has had twelve rounds, some hundreds are left, and the last five took less than a fifth of them.
    """
    return len(wires) >= _ROUNDS and wires[-1] > _MANY and wires[-1] > 0.8 * wires[-6]


def place(
    netlist: Netlist,
    tools: OpenTools,
    part: str,
    clock_mhz: float,
    seed: int,
    log: Path,
    limits: Limits,
    *,
    progress: Callable[[str], None] | None = None,
) -> Routed:
    """Place and route a netlist, or take it from the cache.

    nextpnr's router raises the price of a wire that two signals want from round to round. Where many block RAMs lie
    all over the chip and the rest close around the processing system, some hundred wires change hands for ever. It is
    stopped then, and begun anew in a way that takes longer (``steady``): with the placer ``static``, which spreads
    cells over the chip, and the router's other weights, under which the price of each wire counts what it cost before.

    Args:
        netlist: from ``synthesise``.
        tools: from ``pleinair_hw.open.tools.require``.
        part: the chip, its package and speed grade.
        clock_mhz: the clock to aim for; missing it is no error.
        seed: of nextpnr's random numbers.
        log: the file for what nextpnr says.
        limits: what it may take, each time.
        progress: called with what is being done.

    Raises:
        ToolchainError: placer and chip database do not belong together, or the placer knows no such chip.
        OpenToolError: the design does not fit or cannot be routed, or takes too much.
        OutputError: the disk is full.
    """
    key = digest_of(
        f"{_RECIPE} {part} {clock_mhz:g} {seed}",
        file_sha256(netlist.json),
        file_sha256(tools.placer),
        file_sha256(tools.chip_database),
    )

    say = progress or (lambda _: None)

    def route(folder: Path, steady: bool) -> Run:
        wires: list[int] = []

        def look(text: str) -> None:
            for line in text.splitlines():
                if placing := re.search(r"at iteration #(\d+)", line):
                    say(f"place, seed {seed}, round {placing[1]}")
                elif routing := re.search(r"iter=(\d+).*?overused=(\d+)", line):
                    wires.append(int(routing[2]))
                    say(f"route, seed {seed}, round {routing[1]}, wires too many: {wires[-1]:,}")
                    if not steady and is_stuck(wires):
                        raise _Stuck

        with writing_to(folder):
            (folder / "empty.xdc").write_bytes(b"")
        arguments = command(tools, part, netlist.json, clock_mhz, seed, steady)
        try:
            return run_tool("nextpnr", arguments, folder, log, limits, look=look)
        except ToolFailure as failure:
            raise explain(failure, tools, part, seed) from failure

    def work(folder: Path) -> None:
        steady = False
        try:
            run = route(folder, steady)
        except _Stuck:
            say(f"seed {seed}: the router is stuck; begin anew with the other placer and steadier weights")
            steady = True
            run = route(folder, steady)
        figures = replace(read_figures(folder, run.text, seed, run.usage, log), steady=steady)
        with writing_to(folder):
            (folder / FIGURES).write_text(json.dumps(asdict(figures), indent=1) + "\n")

    folder, was_there = cached("route", key, (FASM, ROUTED, FIGURES), work)
    content = json.loads((folder / FIGURES).read_text())
    content["slowest"] = tuple(Hop(**hop) for hop in content["slowest"])
    content["untimed"] = tuple(content["untimed"])
    return Routed(folder, Figures(**content), was_there)


def explain(failure: ToolFailure, tools: OpenTools, part: str, seed: int) -> Exception:
    """nextpnr's own error as one sentence with what to try next."""
    error, log = failure.error.rstrip("."), failure.log
    if found := re.search(r"chipdb uses db version (\d+) but nextpnr is expecting version (\d+)", error):
        return ToolchainError(
            f"{tools.chip_database}: layout {found[1]}, and {tools.placer} reads layout {found[2]}: use a placer and a "
            "chip database of one release"
        )
    if re.search(r"chipdb|himb\S+chel database|[Ss]peed grade|[Pp]ackage '|database device uarch", error):
        return ToolchainError(f"{tools.chip_database}: nextpnr refuses it ({error}); {GET_CHIP}")
    if error.startswith(DIED):
        return OpenToolError(
            f"nextpnr {tools.version}: {error}; is {tools.chip_database} whole, and made for this nextpnr? "
            f"Its log is {log}"
        )
    if re.search(r"unable to load uarch|Invalid device|Unsupported architecture|unrecogni[sz]ed option", error):
        return ToolchainError(f"{tools.placer}: knows no {chip_of(part)} ({error}); needs {GET_PLACER}")
    if "support placer" in error:
        return ToolchainError(f"{tools.placer}: has no placer 'static' ({error}); needs {GET_PLACER}")
    if re.search(r"no BELs remaining|[Ff]ailed to place|legal placement|placement location|utilisation limit", error):
        return OpenToolError(
            f"the design does not fit the chip: {error}; plan fewer frames a second (--fps) or a smaller frame "
            f"(--size); its log is {log}"
        )
    if re.search(r"[Ff]ailed to route|attempting to reserve|unroutable|route tree", error):
        return OpenToolError(
            f"the design cannot be routed with seed {seed}: {error}; try more seeds (--seeds 3), or fewer frames a "
            f"second (--fps); its log is {log}"
        )
    return OpenToolError(f"nextpnr {tools.version} stops: {error}; its log is {log}")


def _cells(routed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The placed cells, by name."""
    cells: Mapping[str, Any] = next(m["cells"] for m in routed["modules"].values() if m["cells"])
    return cells


def _sites(cells: Mapping[str, Any]) -> int:
    """LUT sites in use: a site's two tables lie at bels called A5LUT and A6LUT (B, C, D)."""
    bels = (cell["attributes"].get("NEXTPNR_BEL", "") for cell in cells.values())
    return len({re.sub(r"[56]LUT$", "", bel) for bel in bels if re.search(r"[56]LUT$", bel)})


def read_figures(folder: Path, text: str, seed: int, usage: Mapping[str, float], log: Path) -> Figures:
    """What nextpnr's files in ``folder`` say, once they are whole. Raises OpenToolError.

    ``text`` is its log, whose last part is about what has been routed.
    """
    try:
        report = json.loads((folder / _REPORT).read_text())
        cells = _cells(json.loads((folder / ROUTED).read_text()))
        with (folder / _DELAYS).open() as lines:
            path, without_figures = slowest(cells, read_delays(cells, lines))
        with (folder / FASM).open("rb") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                raise ValueError(f"{FASM} ends within a line")
        clocks = [(name, entry["achieved"]) for name, entry in report["fmax"].items()]
        if len(clocks) != 1:
            raise ValueError(f"{len(clocks)} clocks")
        used = {
            kind: sum(e["used"] for name, e in report["utilization"].items() if re.fullmatch(pattern, name))
            for kind, pattern in _KINDS.items()
        }
        available = {
            kind: sum(e["available"] for name, e in report["utilization"].items() if re.fullmatch(pattern, name))
            for kind, pattern in _KINDS.items()
        }
        ns = sum(hop.ns for hop in path)
        placer_mhz = float(clocks[0][1])
        return Figures(
            seed=seed,
            fmax_mhz=min(placer_mhz, 1000 / ns) if ns else placer_mhz,
            placer_mhz=placer_mhz,
            lut_sites=_sites(cells),
            cells=used,
            available=available,
            untimed=without_figures,
            slowest=path,
            hold_misses=int(found[-1]) if (found := _HOLD_MISSES.findall(text[text.rfind("Routing") :])) else 0,
            usage=dict(usage),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise OpenToolError(
            f"nextpnr ended, but its files are not whole ({error}); is the disk full? Its log is {log}"
        ) from error
