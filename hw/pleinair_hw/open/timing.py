"""The slowest path of a routed design, and the pins on it that nobody has figures for.

nextpnr names a clock by the delays that it knows. With figures for what it does not know
(:mod:`pleinair_hw.open.delays`) paths are followed here once more, from register to register.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pleinair_hw.open.delays import Delays, joined_pins

#: Cells on no path between registers: constants, and the clock's buffer.
_CONSTANT = re.compile(r"(PSEUDO_)?(VCC|GND)$")
_CLOCK = re.compile(r"BUFG")
#: Pins that need no figures: the processor's resets, which stand still while the accelerator works.
_STANDING_STILL = {"PS7.FCLKRESETN"}
Pin = tuple[str, str]


@dataclass(frozen=True)
class Hop:
    """A piece of the slowest path: what it is, from where to where, in ns."""

    kind: str
    start: str
    end: str
    ns: float


class _Design:
    """Who drives a net and who reads it."""

    def __init__(self, cells: Mapping[str, Any]) -> None:
        self.cells = cells
        self.driver: dict[int, Pin] = {}
        self.readers = defaultdict[int, list[Pin]](list)
        for name, cell in cells.items():
            for pin, nets in joined_pins(cell).items():
                for net in nets:
                    if cell["port_directions"][pin] == "output":
                        self.driver[net] = (name, pin)
                    else:
                        self.readers[net].append((name, pin))
        self.clocks = {net for net, (name, _) in self.driver.items() if _CLOCK.match(cells[name]["type"])}
        self.constants = {net for net, (name, _) in self.driver.items() if _CONSTANT.match(cells[name]["type"])}

    def net(self, name: str, pin: str) -> int:
        """The net at a pin; -1 if there is none."""
        nets = self.cells[name]["connections"].get(pin)
        return int(nets[0]) if nets else -1

    def _is_constant(self, name: str) -> bool:
        """Whether a cell only passes a constant on."""
        directions = self.cells[name]["port_directions"]
        read = [pin for pin in joined_pins(self.cells[name]) if directions[pin] != "output"]
        return bool(read) and all(self.net(name, pin) in self.constants for pin in read)

    def outputs(self, name: str) -> list[str]:
        """A cell's outputs that are joined to a net."""
        directions = self.cells[name]["port_directions"]
        return [pin for pin in joined_pins(self.cells[name]) if directions[pin] == "output"]

    def signals(self) -> Iterator[int]:
        """Nets that carry data from a cell to another."""
        for net, (name, _) in self.driver.items():
            if net in self.clocks or net in self.constants or self._is_constant(name):
                continue
            if any(not _CLOCK.match(self.cells[reader]["type"]) for reader, _ in self.readers[net]):
                yield net


def slowest(cells: Mapping[str, Any], delays: Delays) -> tuple[tuple[Hop, ...], tuple[str, ...]]:
    """The path that takes longest, hop by hop, and the names of what has no figures.

    Args:
        cells: of the module that nextpnr wrote, by name.
        delays: of it.

    Returns:
        The hops, from clock to clock, whose sum is the shortest period (none if no path is timed); and primitives by
        name, or single pins (``CARRY4.DI``), through which paths are not timed.
    """
    design = _Design(cells)
    arrival, before, open_ends = _arrivals(design, delays)
    worst, end = 0.0, None
    for name, checks in delays.checks.items():
        for pin, clock, ns in checks:
            net = design.net(name, pin)
            if net in arrival and design.net(name, clock) in design.clocks:
                period = arrival[net] + delays.wires.get((name, pin), 0.0) + ns - delays.wires.get((name, clock), 0.0)
                if period > worst:
                    worst, end = period, (name, pin, clock, ns)
    return _hops(design, delays, before, end) if end else (), _untimed(design, delays, open_ends)


#: For a driver's net: the pin that its latest signal came in by, and what it took from there.
Before = dict[int, tuple[str, str, str, float]]


def _arrivals(design: _Design, delays: Delays) -> tuple[dict[int, float], Before, set[str]]:
    """When each net stands still after the clock, where that came from, and cells in loops, which are never timed."""
    arrival: dict[int, float] = {}
    before: Before = {}
    waiting: dict[int, int] = defaultdict(int)
    into = defaultdict[int, list[tuple[int, str, str, str, float]]](list)  # by a net: the ways behind its readers
    for name, ways in delays.ways.items():
        for start, end, ns in ways:
            net, out = design.net(name, start), design.net(name, end)
            if net in design.clocks:
                begun = delays.wires.get((name, start), 0.0) + ns
                if begun > arrival.get(out, -1.0):
                    arrival[out], before[out] = begun, (name, start, end, ns)
            elif net in design.driver and net not in design.constants:
                into[net].append((out, name, start, end, ns))
                waiting[out] += 1
    ready = [net for net in {*into, *arrival} if not waiting[net]]
    while ready:
        net = ready.pop()
        for out, name, start, end, ns in into.get(net, ()):
            if net in arrival:
                there = arrival[net] + delays.wires.get((name, start), 0.0) + ns
                if there > arrival.get(out, -1.0):
                    arrival[out], before[out] = there, (name, start, end, ns)
            waiting[out] -= 1
            if not waiting[out]:
                ready.append(out)
    return arrival, before, {design.driver[out][0] for out, left in waiting.items() if left}


def _untimed(design: _Design, delays: Delays, loops: set[str]) -> tuple[str, ...]:
    """Primitives, or single pins of them, at which signals enter or leave without a figure."""
    timed = defaultdict[str, set[str]](set)
    reach = defaultdict[tuple[str, str], set[str]](set)  # by nextpnr's type and pin: where any cell's ways lead
    for name, ways in delays.ways.items():
        for start, end, _ in ways:
            if design.net(name, start) not in design.constants:
                timed[name] |= {start, end}
            reach[design.cells[name]["type"], start].add(end)
    checked = set[tuple[str, str]]()
    for name, checks in delays.checks.items():
        timed[name] |= {pin for pin, clock, _ in checks if design.net(name, clock) in design.clocks}
        checked |= {(design.cells[name]["type"], pin) for pin, _, _ in checks}
    used, missing = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for net in design.signals():
        for name, pin in (design.driver[net], *design.readers[net]):
            cell = design.cells[name]
            kind = cell["attributes"].get("X_ORIG_TYPE") or cell["type"]
            if _CONSTANT.match(cell["type"]) or _CLOCK.match(cell["type"]) or _bus(kind, pin) in _STANDING_STILL:
                continue
            used[kind].add(pin)
            if pin in timed[name] and name not in loops:
                continue
            if (cell["type"], pin) not in checked and name not in loops and (ends := reach.get((cell["type"], pin))):
                read = {out for out in design.outputs(name) if design.readers[design.net(name, out)]}
                if read <= timed[name] - ends:
                    continue  # elsewhere it leads to outputs that nobody reads here
            missing[kind].add(pin)
    names = set[str]()
    for kind, pins in missing.items():
        names |= {kind} if pins == used[kind] else {_bus(kind, pin) for pin in pins}
    return tuple(sorted(names))


def _bus(kind: str, pin: str) -> str:
    return f"{kind}.{pin.rstrip('0123456789')}"


def _hops(design: _Design, delays: Delays, before: Before, end: tuple[str, str, str, float]) -> tuple[Hop, ...]:
    """The path to a pin, from the clock that begins it to the clock that ends it."""
    name, pin, clock, ns = end
    hops = [Hop("setup", f"{name}.{pin}", f"{name}.{pin}", round(ns, 3))]
    last = (name, clock)
    while True:
        net = design.net(name, pin)
        driver = design.driver[net]
        wire = round(delays.wires.get((name, pin), 0.0), 3)
        hops.append(Hop("routing", ".".join(driver), f"{name}.{pin}", wire))
        name, pin, out, ns = before[net]
        begins = design.net(name, pin) in design.clocks
        hops.append(Hop("clk-to-q" if begins else "logic", f"{name}.{pin}", f"{name}.{out}", round(ns, 3)))
        if begins:
            skew = delays.wires.get((name, pin), 0.0) - delays.wires.get(last, 0.0)
            hops.append(Hop("clk-skew", f"{name}.{pin}", ".".join(last), round(skew, 3)))
            return tuple(reversed(hops))
