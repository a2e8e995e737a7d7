"""Pins that a placer has no figures for: paths through them do not count in the clock that it reaches.

nextpnr says nothing of a pin that it cannot time; such a path is merely absent. Its file of delays (SDF, ``--sdf``)
holds each way through a cell that it does know, and each setup time. What a signal enters or leaves without one of
these is not timed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Cells on no path between registers: constants and the clock's buffer.
_CONSTANTS_AND_CLOCKS = re.compile(r"(PSEUDO_)?(VCC|GND)$|BUFG")
#: Pins that need no figures: the processor's resets, which stand still while the accelerator works.
_STANDING_STILL = {"PS7.FCLKRESETN"}
_WAY = re.compile(r"\s*\(IOPATH (\S+) (\S+) ")
_CHECK = re.compile(r"\s*\(SETUPHOLD \(\w+ (\S+)\) \(\w+ (\S+)\)")
_INSTANCE = re.compile(r"\s*\(INSTANCE (.*)\)$")
_ESCAPE = re.compile(r"\\(.)")


def _plain(name: str) -> str:
    return _ESCAPE.sub(r"\1", name)


def _timed(cells: Mapping[str, Any], sdf: Iterable[str]) -> dict[str, set[str]]:
    """The pins of each cell that have a figure of their own. Raises ValueError where the file ends too early."""
    timed = defaultdict[str, set[str]](set)
    cell, last = "", ""
    joined: Mapping[str, list[int]] = {}
    for line in sdf:
        last = line
        if found := _WAY.match(line):
            start, end = _plain(found[1]), _plain(found[2])
            if joined.get(start) and joined.get(end):
                timed[cell] |= {start, end}
        elif found := _CHECK.match(line):
            pin, clock = _plain(found[1]), _plain(found[2])
            if joined.get(pin) and joined.get(clock):
                timed[cell].add(pin)
        elif found := _INSTANCE.match(line):
            cell = _plain(found[1])
            joined = cells[cell]["connections"] if cell else {}
    if last.rstrip("\n") != ")":
        raise ValueError("the file of delays ends too early")
    return timed


def _pins(cells: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Cell and pin wherever a signal leaves a cell or enters one."""
    drivers: dict[int, tuple[str, str]] = {}
    readers = defaultdict[int, list[tuple[str, str]]](list)
    for name, cell in cells.items():
        for pin, nets in cell["connections"].items():
            for net in nets:
                if cell["port_directions"][pin] == "output":
                    drivers[net] = (name, pin)
                elif not _CONSTANTS_AND_CLOCKS.match(cell["type"]):
                    readers[net].append((name, pin))
    signals = [net for net, (name, _) in drivers.items() if not _CONSTANTS_AND_CLOCKS.match(cells[name]["type"])]
    idle = set(cells) - {drivers[net][0] for net in signals if readers[net]}
    for net in signals:
        if readers[net]:
            yield drivers[net]
        # Nobody reads this table of a memory. Its address is the memory's address for writing, which enters at WA.
        for name, pin in readers[net]:
            if not (name in idle and "WE" in cells[name]["connections"] and re.fullmatch(r"A\d", pin)):
                yield name, pin


def untimed(cells: Mapping[str, Any], sdf: Iterable[str]) -> tuple[str, ...]:
    """What has no figures, by primitive: its name where no pin has any, else name and pin (``CARRY4.DI``).

    Args:
        cells: of the module that nextpnr wrote (``--write``), by name.
        sdf: the lines of its file of delays.

    Raises:
        ValueError: the file of delays is not whole.
        KeyError: it tells of another design.
    """
    timed = _timed(cells, sdf)
    used, missing = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for name, pin in _pins(cells):
        kind = cells[name]["attributes"].get("X_ORIG_TYPE") or cells[name]["type"]
        bus = pin.rstrip("0123456789")
        if f"{kind}.{bus}" in _STANDING_STILL:
            continue
        used[kind].add(pin)
        if pin not in timed[name]:
            missing[kind].add(pin)
    names = set[str]()
    for kind, pins in missing.items():
        names |= {kind} if pins == used[kind] else {f"{kind}.{pin.rstrip('0123456789')}" for pin in pins}
    return tuple(sorted(names))
