"""The Tcl with which FINN tells Vivado to add one node to a block design.

Each node's ``code_generation_ipi()`` gives commands that add its sources, make its cells and connect them. The few
commands that FINN's nodes of RTL use are read here; any other is refused with its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pleinair_hw.stitch import StitchError

_Value = TypeVar("_Value")


@dataclass
class BlockDesign:
    """What a node's Tcl builds: sources; cells (path: module); stream pins of its own (name: True for an input)
    with other pins; and pairs of connected pins, which are paths. A node of one cell has that cell alone."""

    files: list[Path] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)
    hierarchy: bool = False
    pins: list[str] = field(default_factory=list)
    streams: dict[str, bool] = field(default_factory=dict)
    axilite: list[str] = field(default_factory=list)
    nets: list[tuple[str, str]] = field(default_factory=list)
    stream_nets: list[tuple[str, str]] = field(default_factory=list)


def _paths(text: str) -> list[Path]:
    """Absolute paths that a blank parts; FINN does not quote them, and folders may have blanks in their names."""
    return [Path(part) for part in re.split(r"\s+(?=/)", text.strip("{} "))]


def read_tcl(node: str, commands: Iterable[str]) -> BlockDesign:
    """The block design that a node's Tcl commands build; StitchError at the first that is not known.

    Pins are given as ``(cell, pin)`` paths without the node's own name, which comes first in all of them.
    """
    design = BlockDesign()

    def inside(path: str) -> str:
        parts = path.strip("/").split("/")
        if parts[0] != node:
            raise StitchError(f"{node}: the path {path} lies outside the node")
        return "/".join(parts[1:])

    def add(to: dict[str, _Value], path: str, value: _Value) -> None:
        to[inside(path)] = value

    def join(nets: list[tuple[str, str]], match: re.Match[str]) -> None:
        nets.append((inside(match[1]), inside(match[2])))

    vlnv = r"-vlnv xilinx\.com:interface"
    known: list[tuple[str, Callable[[re.Match[str]], None]]] = [
        (r"add_files -norecurse (.+)", lambda m: design.files.extend(_paths(m[1]))),
        (r"create_bd_cell -type (?:module|hier) -reference (\S+) (\S+)", lambda m: add(design.cells, m[2], m[1])),
        (rf"create_bd_cell -type hier /?{re.escape(node)}", lambda _: setattr(design, "hierarchy", True)),
        (r"create_bd_pin -dir I -type (?:clk|rst) (\S+)", lambda m: design.pins.append(inside(m[1]))),
        (
            rf"create_bd_intf_pin -mode (Master|Slave) {vlnv}:axis_rtl:1\.0 (\S+)",
            lambda m: add(design.streams, m[2], m[1] == "Slave"),
        ),
        (
            rf"create_bd_intf_pin -mode Slave {vlnv}:aximm_rtl:1\.0 (\S+/s_axilite)",
            lambda m: design.axilite.append(inside(m[1])),
        ),
        (r"connect_bd_net \[get_bd_pins (\S+)\] \[get_bd_pins (\S+)\]", lambda m: join(design.nets, m)),
        (
            r"connect_bd_intf_net \[get_bd_intf_pins (\S+)\] \[get_bd_intf_pins (\S+)\]",
            lambda m: join(design.stream_nets, m),
        ),
        (r"assign_bd_address|save_bd_design|", lambda _: None),
    ]
    for command in (line.strip() for block in commands for line in block.splitlines()):
        for pattern, action in known:
            if (match := re.fullmatch(pattern, command)) is not None:
                action(match)
                break
        else:
            raise StitchError(f"{node}: the Tcl command {command!r} is not known")
    return design
