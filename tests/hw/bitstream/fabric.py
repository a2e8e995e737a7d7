"""A chip of 2 x 2 tiles, a processing system, a slice and their interconnect: its tables and nextpnr's database.

From the upper left: a corner without anything, the processing system (PSS2), the interconnect (INT_L) and a tile with
two slices (CLBLL_L). The file is written here by its description, not by nextpnr.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.wires import LUT_IN, ROUTING, SITE_IN, SITE_OUT, Wires

PART, DEVICE = "fab1tqg12-1", "fab1"
#: A wire of the interconnect, and the wires of other tiles that are one node with it.
_JOINED = {
    "LOGIC_OUTS0": ("CLBLL_L", "CLBLL_LOGIC_OUTS0"),
    "LOGIC_OUTS1": ("CLBLL_L", "CLBLL_LOGIC_OUTS1"),
    "LOGIC_OUTS2": ("CLBLL_L", "CLBLL_LOGIC_OUTS2"),
    "IMUX0": ("CLBLL_L", "CLBLL_IMUX0"),
    "IMUX1": ("CLBLL_L", "CLBLL_IMUX1"),
    "IMUX2": ("CLBLL_L", "CLBLL_IMUX2"),
    "CLK0": ("CLBLL_L", "CLBLL_CLK0"),
    "CTRL0": ("CLBLL_L", "CLBLL_CTRL0"),
    "FROM_PS0": ("PSS2", "PSS_OUT0"),
    "FROM_PS1": ("PSS2", "PSS_OUT1"),
    "TO_PS0": ("PSS2", "PSS_IN0"),
    "TO_PS1": ("PSS2", "PSS_IN1"),
}
#: The interconnect's pips, each with the bit that chooses it; no bit for the last: it is there when no other is.
_CHOICES = {
    "TO_PS0": ("LOGIC_OUTS0", "LOGIC_OUTS1", "GND_WIRE"),
    "TO_PS1": ("LOGIC_OUTS1", "LOGIC_OUTS2", "VCC_WIRE"),
    "IMUX0": ("FROM_PS1", "LOGIC_OUTS0", "VCC_WIRE"),
    "IMUX1": ("LOGIC_OUTS1", "FROM_PS1", "VCC_WIRE"),
    "IMUX2": ("LOGIC_OUTS2", "GND_WIRE", "VCC_WIRE"),
    "CLK0": ("FROM_PS0", "GND_WIRE"),
    "CTRL0": ("FROM_PS1", "GND_WIRE"),
}
_SITE = "SLICE_X0Y0"
_INPUTS = {"A1": "IMUX0", "A2": "IMUX1", "A3": "IMUX2", "B1": "IMUX1", "AX": "IMUX2", "CLK": "CLK0", "SR": "CTRL0"}
_OUTPUTS = {"A": "LOGIC_OUTS0", "AQ": "LOGIC_OUTS1", "COUT": "LOGIC_OUTS2"}
_OPEN = ("A4", "A5", "A6", "B2", "B3", "B4", "B5", "B6", "BX", "CX", "DX", "CIN", "CE")
_OPEN += tuple(f"{row}{number}" for row in "CD" for number in range(1, 7))
_PS_IN = {"MAXIGP0ARREADY": "PSS_IN0", "MAXIGP0BID1": "PSS_IN1"}
_PS_OUT = {"FCLKCLK0": "PSS_OUT0", "MAXIGP0RREADY": "PSS_OUT1"}

Pip = tuple[str, str, int]


def _slice_pips() -> list[Pip]:
    pips = []
    for pin, wire in {**_INPUTS, **dict.fromkeys(_OPEN, "")}.items():
        kind = LUT_IN if pin[1:].isdigit() else SITE_IN
        if wire:
            pips.append((f"CLBLL_{wire}", f"CLBLL_LL_{pin}", ROUTING))
        pips.append((f"CLBLL_LL_{pin}", f"{_SITE}.{pin}", kind))
    pips.append(("CLBLL_LL_A2", f"{_SITE}.A1", LUT_IN))  # another input may serve: not the one meant
    for pin, wire in _OUTPUTS.items():
        pips += [(f"{_SITE}.{pin}", f"CLBLL_LL_{pin}", SITE_OUT), (f"CLBLL_LL_{pin}", f"CLBLL_{wire}", ROUTING)]
    return pips


def _processor_pips() -> list[Pip]:
    pips = []
    for pin, wire in _PS_IN.items():
        pips += [(wire, f"PS7_{pin}", ROUTING), (f"PS7_{pin}", f"PS7_X0Y0.{pin}", SITE_IN)]
    for name in ("MAXIGP0BID0", "MAXIGP0BVALID"):  # wires that nothing drives
        pips.append((f"PS7_{name}", f"PS7_X0Y0.{name}", SITE_IN))
    for pin, wire in _PS_OUT.items():
        pips += [(f"PS7_X0Y0.{pin}", f"PS7_{pin}", SITE_OUT), (f"PS7_{pin}", wire, ROUTING)]
    pips.append(("PS7_X0Y0.FCLKCLK1", "PS7_FCLKCLK1", SITE_OUT))
    return pips


#: The tile types in the order of the grid, with their pips.
TYPES: list[tuple[str, list[Pip]]] = [
    ("NULL", []),
    ("PSS2", _processor_pips()),
    ("INT_L", [(source, target, ROUTING) for target, sources in _CHOICES.items() for source in sources]),
    ("CLBLL_L", _slice_pips()),
]
_PLACES = {name: number for number, (name, _) in enumerate(TYPES)}


def _always(pips: list[Pip], kind: str) -> str:
    return "".join(f"{kind}.{target}.{source} always\n" for source, target, how in pips if how == ROUTING)


def write_tables(folder: Path) -> Database:
    """prjxray's tables of the chip: one column of 36 frames."""
    (folder / DEVICE).mkdir(parents=True)
    (folder / PART).mkdir()
    bits, defaults = [], []
    for number, (target, sources) in enumerate(_CHOICES.items()):
        for bit, source in enumerate(sources[:-1]):
            bits.append(f"INT_L.{target}.{source} {number:02d}_{bit:02d}")
        defaults.append(f"INT_L.{target}.{sources[-1]} default")
    flags = (
        "AFF.ZINI",
        "AFF.ZRST",
        "FFSYNC",
        "CLKINV",
        "SRUSEDMUX",
        "CEUSEDMUX",
        "LATCH",
        "PRECYINIT.C1",
        "PRECYINIT.AX",
    )
    flags += ("AFFMUX.O6", "AFFMUX.AX", "AFFMUX.XOR", "CARRY4.ACY0", "ALUT.RAM")
    slices = [f"CLBLL_L.SLICEL_X0.{flag} {20 + number:02d}_00" for number, flag in enumerate(flags)]
    for row in "AB":
        slices += [f"CLBLL_L.SLICEL_X0.{row}LUT.INIT[{bit:02d}] {'AB'.index(row):02d}_{bit:02d}" for bit in range(64)]
    grid = {}
    for number, (kind, _) in enumerate(TYPES):
        place = {"baseaddr": "0x00000000", "frames": 36, "offset": 4 * number, "words": 2}
        sites = {"PSS2": {"PS7_X0Y0": "PS7"}, "CLBLL_L": {"SLICE_X0Y0": "SLICEL"}}.get(kind, {})
        bus = {"CLB_IO_CLK": place} if kind in ("INT_L", "CLBLL_L") else {}
        grid[f"{kind}_X0Y0"] = {"type": kind, "grid_x": number % 2, "grid_y": number // 2, "bits": bus, "sites": sites}
    column = {"CLB_IO_CLK": {"configuration_columns": {"0": {"frame_count": 36}}}}
    part = {"idcode": 5, "global_clock_regions": {"top": {"rows": {"0": {"configuration_buses": column}}}}}
    for name, text in (
        (f"{DEVICE}/tilegrid.json", json.dumps(grid)),
        (f"{PART}/part.json", json.dumps(part)),
        ("segbits_int_l.db", "\n".join(bits)),
        ("ppips_int_l.db", "\n".join(defaults)),
        ("segbits_clbll_l.db", "\n".join(slices)),
        ("ppips_clbll_l.db", _always(TYPES[3][1], "CLBLL_L")),
        ("ppips_pss2.db", _always(TYPES[1][1], "PSS2")),
    ):
        (folder / name).write_text(text)
    return Database(folder, PART)


class _File:
    """Bytes in which slices are found by offsets relative to where these stand."""

    def __init__(self) -> None:
        self.data = bytearray(4)

    def put(self, part: bytes) -> int:
        """Append, at a multiple of four."""
        self.data += bytes(-len(self.data) % 4)
        at = len(self.data)
        self.data += part
        return at

    def point(self, field: int, target: int, count: int | None = None) -> None:
        """Let the field at this place point to another one, with how many records lie there."""
        struct.pack_into("<i", self.data, field, target - field)
        if count is not None:
            struct.pack_into("<i", self.data, field + 4, count)

    def text(self, field: int, text: str) -> None:
        """Let the field point to a text."""
        self.point(field, self.put(text.encode() + b"\0"))


def write_wires(path: Path, device: str = DEVICE, version: int = 6) -> Path:
    """nextpnr's database of the chip. Two names, GND_WIRE's and VCC_WIRE's, are strings like all others."""
    file = _File()
    strings = ["" for _ in range(3)]  # what nextpnr knows by heart
    kinds: list[tuple[list[str], Sequence[Pip]]] = []
    for _, pips in TYPES:
        kinds.append((sorted({wire for source, target, _ in pips for wire in (source, target)}), pips))
    strings += sorted({wire for wires, _ in kinds for wire in wires})
    types = file.put(bytes(40 * len(kinds)))
    for number, (wires, pips) in enumerate(kinds):
        table = file.put(b"".join(struct.pack("<i", strings.index(wire)) + bytes(44) for wire in wires))
        file.point(types + 40 * number + 12, table, len(wires))
        rows = [struct.pack("<iiiIii", wires.index(a), wires.index(b), 0, kind, 0, 0) for a, b, kind in pips]
        file.point(types + 40 * number + 20, file.put(b"".join(rows)), len(rows))
    tiles = file.put(b"".join(struct.pack("<4i", 0, number, number, 0) for number in range(4)))
    routes = [[(0x7000, 0, 0)] * len(wires) for wires, _ in kinds]
    shapes = []
    for own, (kind, other) in _JOINED.items():
        root, place = kinds[2][0].index(own), _PLACES[kind]
        wire, dx, dy = kinds[place][0].index(other), place % 2 - 0, place // 2 - 1
        shapes.append([(0, 0, root), (dx, dy, wire)])
        routes[2][root] = (0x7001, len(shapes) - 1, 0)
        routes[place][wire] = (-dx, -dy, root)

    def relative(triples: Sequence[tuple[int, int, int]]) -> bytes:
        return b"".join(struct.pack("<hhH", *triple) for triple in triples)

    nodes = file.put(bytes(12 * len(shapes)))
    for number, shape in enumerate(shapes):
        file.point(nodes + 12 * number, file.put(relative(shape)), len(shape))
    shaped = file.put(bytes(12 * 4))
    for number, route in enumerate(routes):
        file.point(shaped + 12 * number, file.put(relative(route)), len(route))
    known = file.put(struct.pack("<iii", 3, 0, 0))
    names = file.put(bytes(4 * (len(strings) - 3)))
    for number, text in enumerate(strings[3:]):
        file.text(names + 4 * number, text)
    file.point(known + 4, names, len(strings) - 3)
    root = file.put(struct.pack("<4i", 13270183, version, 2, 2) + bytes(12 + 48 + 8))
    for number, text in enumerate(("xilinx", device, "by hand")):
        file.text(root + 16 + 4 * number, text)
    for number, (at, count) in enumerate(((types, 4), (tiles, 4), (nodes, len(shapes)), (shaped, 4))):
        file.point(root + 28 + 8 * number, at, count)
    file.point(root + 76, known)
    struct.pack_into("<i", file.data, 0, root)
    path.write_bytes(file.data)
    return path


def fabric(folder: Path) -> tuple[Database, Wires]:
    """The chip's tables and wires, written into a new folder."""
    database = write_tables(folder)
    return database, Wires(write_wires(folder / "chipdb-fab1.bin"), database)
