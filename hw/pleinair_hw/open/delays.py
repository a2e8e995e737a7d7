"""Delays of a routed design: what nextpnr's file says (SDF), and figures that it lacks.

nextpnr says nothing of a pin that it cannot time; a path through it is merely absent, and the clock is too good. Its
file of delays (``--sdf``) holds each wire, each way through a cell and each setup time that it knows. Figures for the
pins that a usual nextpnr leaves out are here, by Project X-Ray's tables of the xc7z020 (``zynq7/timings``: BRAM_L.sdf,
CLBLM_L.sdf; the slow corner's maximum).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_WIRE = re.compile(r"\s*\(INTERCONNECT \S+ (\S+) \([\d.]+:[\d.]+:([\d.]+)\)")
_WAY = re.compile(r"\s*\(IOPATH (\S+) (\S+) \([\d.]+:[\d.]+:([\d.]+)\)")
_CHECK = re.compile(r"\s*\(SETUPHOLD \(posedge (\S+)\) \(\w+ (\S+)\) \([\d.]+:[\d.]+:([\d.]+)\)")
_INSTANCE = re.compile(r"\s*\(INSTANCE (.*)\)$")
_ESCAPE = re.compile(r"\\(.)")
_NUMBER = re.compile(r"\d+$")
_INPUT = re.compile(r"A\d$")

#: CARRY4 from DI0 to DI3 to carries (CO0 to CO3) and sums (O0 to O3), in ns; None: no way.
_CARRY: tuple[tuple[float | None, ...], ...] = (
    (0.438, 0.511, 0.590, 0.550, None, 0.436, 0.596, 0.659),
    (None, 0.480, 0.559, 0.520, None, None, 0.566, 0.629),
    (None, None, 0.391, 0.404, None, None, None, 0.463),
    (None, None, None, 0.396, None, None, None, None),
)
#: Block RAM: a pin's port, and how long before the clock it must stand, in ns.
_BLOCK_RAM = {
    "ADDRARDADDR": ("A", 0.566),
    "ADDRBWRADDR": ("B", 0.566),
    "WEA": ("A", 0.532),
    "WEBWE": ("B", 0.532),
    "ENARDEN": ("A", 0.443),
    "ENBWREN": ("B", 0.443),
    "REGCEAREGCE": ("A", 0.360),
    "REGCEB": ("B", 0.360),
    "RSTRAMARSTRAM": ("A", 0.359),
    "RSTRAMB": ("B", 0.359),
    "RSTREGARSTREG": ("A", 0.342),
    "RSTREGB": ("B", 0.342),
}
#: The same for data that is written; a memory that gives what was there before takes it later.
_WRITTEN, _WRITTEN_READ_FIRST = 0.737, 0.241
#: From the clock to a block RAM's output, without and with its register, in ns.
_READ, _READ_REGISTERED = 2.454, 0.882
#: Data of memories in tables, for which Project X-Ray has none: what nextpnr has for their write enable.
_TABLE_DATA = 0.600


@dataclass(frozen=True)
class Delays:
    """Delays in ns at the slow corner, of pins that are joined to a net.

    Attributes:
        wires: from a net's driver to a cell's pin, by (cell, pin).
        ways: through a cell, by cell: (from, to, ns); from a clock's pin it is the time to the output.
        checks: by cell: (pin, clock's pin, ns that the pin must stand before the clock).
    """

    wires: dict[tuple[str, str], float] = field(default_factory=dict)
    ways: dict[str, list[tuple[str, str, float]]] = field(default_factory=lambda: defaultdict(list))
    checks: dict[str, list[tuple[str, str, float]]] = field(default_factory=lambda: defaultdict(list))


def joined_pins(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """A cell's pins that are joined to a net, and mean something.

    Two tables that share a site share its inputs; nextpnr joins each to those of the other, too.
    """
    pins = {pin: nets for pin, nets in cell["connections"].items() if nets}
    if cell["type"] != "SLICE_LUTX":
        return pins
    own = cell["attributes"]
    return {pin: nets for pin, nets in pins.items() if f"X_ORIG_PORT_{pin}" in own or not _INPUT.match(pin)}


def _plain(name: str) -> str:
    return _ESCAPE.sub(r"\1", name)


def read_delays(cells: Mapping[str, Any], sdf: Iterable[str]) -> Delays:
    """What a file of delays says of a design, and figures that it lacks.

    Args:
        cells: of the module that nextpnr wrote (``--write``), by name.
        sdf: the lines of its file of delays.

    Raises:
        ValueError: the file is not whole.
        KeyError: it tells of another design.
    """
    delays = Delays()
    cell, last = "", ""
    joined: Mapping[str, Any] = {}
    for line in sdf:
        last = line
        if found := _WIRE.match(line):
            end, pin = _plain(found[1]).rsplit("/", 1)
            delays.wires[end, pin] = float(found[2]) / 1000
        elif found := _WAY.match(line):
            start, end = _plain(found[1]), _plain(found[2])
            if start in joined and end in joined:
                delays.ways[cell].append((start, end, float(found[3]) / 1000))
        elif found := _CHECK.match(line):
            pin, clock = _plain(found[1]), _plain(found[2])
            if pin in joined and clock in joined:
                delays.checks[cell].append((pin, clock, float(found[3]) / 1000))
        elif found := _INSTANCE.match(line):
            cell = _plain(found[1])
            joined = joined_pins(cells[cell]) if cell else {}
    if last.rstrip("\n") != ")":
        raise ValueError("the file of delays ends too early")
    _add_missing(cells, delays)
    return delays


def _carry() -> Iterator[tuple[str, str, float]]:
    """The ways into a carry chain that nextpnr leaves out."""
    for number, row in enumerate(_CARRY):
        for output, ns in zip(("CO0", "CO1", "CO2", "CO3", "O0", "O1", "O2", "O3"), row, strict=True):
            if ns is not None:
                yield f"DI{number}", output, ns


def _block_ram(cell: Mapping[str, Any]) -> tuple[list[tuple[str, str, float]], list[tuple[str, str, float]]]:
    """Ways and checks of a block RAM's pins, by the clock of their port; a RAMB36 has one for either half."""
    half = "L" if cell["type"].startswith("RAMB36E1") else ""
    clocks = {"A": f"CLKARDCLK{half}", "B": f"CLKBWRCLK{half}"}
    parameters = cell["parameters"]
    simple = parameters.get("RAM_MODE") == "SDP"  # A reads all outputs, B writes all data
    ways, checks = [], []
    for pin, direction in cell["port_directions"].items():
        base = _NUMBER.sub("", pin)
        if direction == "output":
            port = "A" if simple or base.startswith(("DOA", "DOPA")) else "B"
            registered = int(parameters.get(f"DO{port}_REG", "0"), 2) != 0
            ways.append((clocks[port], pin, _READ_REGISTERED if registered else _READ))
        elif base.startswith(("DIA", "DIB", "DIPA", "DIPB")):
            port = "B" if simple or base.startswith(("DIB", "DIPB")) else "A"
            first = parameters.get(f"WRITE_MODE_{port}") == "READ_FIRST"
            checks.append((pin, clocks[port], _WRITTEN_READ_FIRST if first else _WRITTEN))
        elif found := _BLOCK_RAM.get(base) or _BLOCK_RAM.get(base.rstrip("LU")):
            port, ns = found
            checks.append((pin, clocks[port], ns))
    return ways, checks


def _add_missing(cells: Mapping[str, Any], delays: Delays) -> None:
    """Put figures where nextpnr has none."""
    carry = list(_carry())
    for name, cell in cells.items():
        joined = joined_pins(cell)
        if cell["type"] == "CARRY4":
            known = {start for start, _, _ in delays.ways[name]}
            delays.ways[name] += [way for way in carry if way[0] not in known and way[0] in joined and way[1] in joined]
        elif cell["type"].startswith(("RAMB18E1", "RAMB36E1")):
            # nextpnr's are the same where they name the right clock, and all of NO_CHANGE for what is written.
            ways, checks = _block_ram(cell)
            delays.ways[name] = [way for way in ways if way[0] in joined and way[1] in joined]
            delays.checks[name] = [check for check in checks if check[0] in joined and check[1] in joined]
        elif cell["type"] == "SLICE_LUTX" and "WE" in joined:
            known = {pin for pin, _, _ in delays.checks[name]}
            delays.checks[name] += [
                (pin, "CLK", _TABLE_DATA) for pin in ("DI1", "DI2") if pin not in known and pin in joined
            ]
