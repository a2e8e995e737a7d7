"""From the bits of a .bit back to a netlist that can be simulated.

:func:`netlist` takes the features that were found in the frames, nothing else: no FASM file, no name of the design. It
begins at what leaves the fabric, the inputs of the processing system, and goes backwards: from a pin along the pips
whose bits are set to the pin that drives it, into that site, and on to the site's own inputs. What nothing depends on
is left out. What comes out is Verilog of Xilinx's primitives, for Yosys's ``cells_sim.v`` and our ``cells.v``.

What is told apart: tables with their content, as logic, memory or shift register; flip-flops with reset, enable and
first value; carry chains; wide multiplexers; DSP48E1 with its registers and inverted pins; block RAM with content,
widths and modes, each half of 18 Kib by itself; clock buffers. A site that is used in another way is refused by name.

A pin whose wire nothing drives reads 1, as in the chip.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair_hw.bitstream.assemble import CODE
from pleinair_hw.bitstream.database import BitstreamError, Database, TileType
from pleinair_hw.bitstream.wires import SITE_OUT, Wire, Wires

#: Verilog of the cells that no library of Yosys has.
CELLS = Path(__file__).with_name("cells.v")
ZERO, ONE = "1'b0", "1'b1"
_CONSTANTS = {
    "VCC_WIRE": ONE,
    "GND_WIRE": ZERO,
    "DSP_VCC_L": ONE,
    "DSP_VCC_R": ONE,
    "DSP_GND_L": ZERO,
    "DSP_GND_R": ZERO,
}
_ROWS = "ABCD"
#: Most pips that a signal passes; a chip this long there is not.
_MOST_PIPS = 10_000
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Netlist:
    """A netlist as Verilog. ``cells``: how many primitives of each kind. ``wires``: how many nodes carry its signals.

    ``undriven``: pins that read 1 because nothing drives their wire.
    """

    verilog: str
    cells: Counter[str]
    wires: int
    pips: int
    undriven: int


def netlist(
    database: Database,
    wires: Wires,
    codes: np.ndarray,
    ports: Collection[str] | None = None,
    top: str = "pleinair_bits",
) -> Netlist:
    """The netlist that these features (:func:`pleinair_hw.bitstream.read.features`) make.

    ``top`` names its module; its processing system is called ``ps7``. ``ports`` are the ports of the processing system
    that are joined, all of them; by default those are joined of which a bit does not simply read 1.

    Raises:
        BitstreamError: two wires drive one, or a site is used in a way that is not known here; the message names it.
    """
    return _Builder(database, wires, codes).build(ports, top)


def site_cells(
    database: Database, wires: Wires, codes: np.ndarray, outputs: Sequence[tuple[str, str, str]]
) -> list[str]:
    """The cells behind outputs of sites, each ``(tile, site, pin)``, as Verilog; nothing around them.

    Raises BitstreamError as :func:`netlist` does.
    """
    builder = _Builder(database, wires, codes)
    for tile, site, pin in outputs:
        builder.drive(tile, site, pin, f"{tile}_{site}_{pin}")
    return [line for line in builder.lines if not line.startswith(("assign ", "wire "))]


class _Builder:
    """Walks backwards through the chip; ``_pending`` are outputs of sites that something needs."""

    def __init__(self, database: Database, wires: Wires, codes: np.ndarray) -> None:
        self.database, self.wires = database, wires
        self.features: dict[str, set[str]] = {}
        for code in codes.tolist():
            tile = database.by_number[code // CODE]
            self.features.setdefault(tile.name, set()).add(database.type(tile.type).names[code % CODE])
        self.lines: list[str] = []
        self.cells: Counter[str] = Counter()
        self.names: set[str] = set()
        self.undriven = 0
        self.pips: set[tuple[Wire, Wire]] = set()
        self._driven: dict[Wire, str | None] = {}
        self._pending: list[tuple[str, str, str]] = []
        self._sites: dict[tuple[str, str], _Site] = {}

    # Wires.

    def signal(self, tile: str, pin: str) -> str | None:
        """What drives a site's pin: a wire's name or a constant; None if nothing does."""
        place = self.wires.place(tile)
        number = self.wires.type_at(place).pins.get(pin)
        if number is None:
            raise BitstreamError(f"{tile}: the chip database has no pin {pin}")
        path = []
        wire = self.wires.root((place, number))
        found: str | None = None
        while wire not in self._driven:
            path.append(wire)
            if len(path) > _MOST_PIPS:
                raise BitstreamError(f"{tile}: what drives {pin} runs in a circle")
            step = self._before(wire)
            if isinstance(step, tuple):
                self.pips.add((step, wire))
                wire = step
                continue
            found = step
            break
        else:
            found = self._driven[wire]
        self._driven.update(dict.fromkeys(path, found))
        return found

    def pin(self, tile: str, pin: str) -> str:
        """As :meth:`signal`; a pin that nothing drives reads 1."""
        found = self.signal(tile, pin)
        if found is None:
            self.undriven += 1
            return ONE
        return found

    def _before(self, root: Wire) -> Wire | str | None:
        """What drives a node: another node, a constant or a site's output by its name, or nothing."""
        chosen: list[tuple[Wire, str]] = []
        outputs: list[tuple[str, str]] = []
        fixed: list[tuple[Wire, str]] = []
        spare: list[Wire] = []
        for place, number in self.wires.members(root):
            here = self.wires.type_at(place)
            if number >= len(here.wires) or place not in self.wires.tile_names:
                raise self.wires.damaged(place)
            tile, own = self.wires.tile_names[place], here.wires[number]
            if own in _CONSTANTS:
                return _CONSTANTS[own]
            kind = self.database.type(self.database.tiles[tile].type)
            features = self.features.get(tile, _NONE)
            for source, pip, feature in here.drivers(number):
                if pip == SITE_OUT:
                    outputs.append((tile, here.wires[source]))
                elif feature in features:
                    chosen.append(((place, source), f"{tile}.{feature}"))
                elif feature in kind.pseudo:
                    if kind.pseudo[feature] == "always":
                        fixed.append(((place, source), here.wires[source]))
                    elif kind.pseudo[feature] == "default":
                        spare.append((place, source))
                elif feature in kind.silent or (own.startswith("DSP_") and not self._is_known(kind, feature)):
                    # prjxray's list of a DSP's fixed connections has gaps: they are what has no bits.
                    spare.append((place, source))
        sources = {self.wires.root(wire) for wire, _ in chosen}
        if len(sources) > 1:
            raise BitstreamError(f"{chosen[0][1]} and {chosen[1][1]} both drive one wire")
        if sources:
            return sources.pop()
        if outputs:
            return self._output(outputs)
        # A block RAM's pins are those of its two halves and of the whole: the halves are built.
        fixed = [(wire, name) for wire, name in fixed if not re.match(r"BRAM_FIFO36_", name)] or fixed
        for wire in [wire for wire, _ in fixed] + spare:
            return self.wires.root(wire)
        return None

    @staticmethod
    def _is_known(kind: TileType, feature: str) -> bool:
        """Whether the tables have a pip as a feature."""
        return feature in kind.numbers

    def _output(self, outputs: Sequence[tuple[str, str]]) -> str:
        """The name of a site's output, which will be built. Several variants of a site may share the wire."""
        tile, pin = outputs[0]
        for tile_, pin_ in outputs:
            if self._builds(pin_):
                tile, pin = tile_, pin_
        return self.output(tile, pin)

    @staticmethod
    def _builds(pin: str) -> bool:
        site, name = pin.split(".", 1)
        return not (site.startswith("RAMB") and re.match(r"DO\d|DOP\d|FIFO", name))

    def output(self, tile: str, pin: str) -> str:
        """The name of a site's output pin (``SLICE_X0Y0.AQ``), which will be built."""
        name = f"{tile}_{pin.replace('.', '_')}"
        if name not in self.names:
            self.names.add(name)
            self._pending.append((tile, pin, name))
        return name

    # Verilog.

    def wire(self, name: str) -> str:
        """Declare a wire of the netlist's own."""
        self.names.add(name)
        return name

    def cell(self, kind: str, name: str, parameters: dict[str, str], ports: dict[str, str]) -> None:
        """Write an instance."""
        self.cells[kind] += 1
        given = ", ".join(f".{key}({value})" for key, value in parameters.items())
        joined = ", ".join(f".{key}({value})" for key, value in ports.items())
        self.lines.append(f"{kind} {f'#({given}) ' if given else ''}\\{name}  ({joined});")

    def join(self, target: str, source: str) -> None:
        """Let one signal be another."""
        self.lines.append(f"assign {target} = {source};")

    def build(self, ports: Collection[str] | None, top: str) -> Netlist:
        """Everything that the processing system's inputs depend on."""
        processors = [tile.name for tile in self.database.tiles.values() if "PS7" in tile.sites.values()]
        tops = [(tile, _Processor(self, tile, ports)) for tile in processors if "PS7_X0Y0.FCLKCLK0" in self._pins(tile)]
        if not tops:
            raise BitstreamError(
                f"{self.database.device}: a chip without a processing system, from which netlists begin"
            )
        for _, processor in tops:
            processor.find_inputs()
        while self._pending:
            tile, pin, name = self._pending.pop()
            self.drive(tile, pin.partition(".")[0], pin.partition(".")[2], name)
        for site in list(self._sites.values()):
            site.finish()
        declared = "".join(f"wire {name};\n" for name in sorted(self.names))
        verilog = f"module {top}();\n{declared}" + "\n".join(self.lines) + "\nendmodule\n"
        return Netlist(verilog, self.cells, len(self._driven), len(self.pips), self.undriven)

    def drive(self, tile: str, site: str, pin: str, name: str) -> None:
        """Write what drives an output pin, whose wire has this name."""
        self._site(tile, site).drive(pin, name)

    def _pins(self, tile: str) -> Collection[str]:
        return self.wires.type_at(self.wires.place(tile)).pins

    def add(self, tile: str, site: str, made: _Site) -> None:
        """Enter a site."""
        self._sites[tile, site] = made

    def _site(self, tile: str, site: str) -> _Site:
        found = self._sites.get((tile, site))
        if found is None:
            for start, make in _SITES.items():
                if site.startswith(start):
                    found = self._sites[tile, site] = make(self, tile, site)
                    break
            else:
                raise BitstreamError(f"{tile}: {site} is used, a site that cannot be read back")
        return found


class _Site:
    """A site of a tile: writes the cells behind those of its outputs that are needed."""

    #: What stands before the site's features in the tile's, as a pattern.
    prefix = ""

    def __init__(self, builder: _Builder, tile: str, site: str) -> None:
        self.builder, self.tile, self.site = builder, tile, site
        self.id = f"{tile}_{site}"
        prefix = self._prefix()
        own = builder.features.get(tile, ())
        self.features = {name[len(prefix) :] for name in own if name.startswith(prefix)}

    def _prefix(self) -> str:
        return ""

    def pin(self, name: str) -> str:
        """What an input pin reads."""
        return self.builder.pin(self.tile, f"{self.site}.{name}")

    def refuse(self, why: str) -> BitstreamError:
        """The error that this site is used in a way that is not known."""
        return BitstreamError(f"{self.tile}: {self.site} {why}")

    def value(self, name: str, width: int) -> int:
        """A feature's bits as a number: ``INIT[0]`` and so on."""
        return sum(1 << bit for bit in range(width) if f"{name}[{bit}]" in self.features)

    def bus(self, name: str, width: int, first: int = 0) -> list[str]:
        """What the pins of a bus read, from pin ``first`` up."""
        return [self.pin(f"{name}{number}") for number in range(first, first + width)]

    def drive(self, pin: str, name: str) -> None:
        """Write what drives an output pin, whose wire has this name."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is written once all outputs are known."""


def _vector(bits: Sequence[str]) -> str:
    """Signals, from bit 0 up, as one of Verilog's."""
    return "{" + ", ".join(reversed(bits)) + "}"


class _Slice(_Site):
    """A slice: four tables, eight flip-flops, a carry chain, three multiplexers."""

    def __init__(self, builder: _Builder, tile: str, site: str) -> None:
        super().__init__(builder, tile, site)
        self._made: dict[str, str] = {}
        tables: dict[str, int] = dict.fromkeys(_ROWS, 0)
        for feature in self.features:
            if feature[1:9] == "LUT.INIT":
                tables[feature[0]] |= 1 << int(feature[10:-1])
        self._tables = tables

    def _prefix(self) -> str:
        half = self.site.partition("_")[2][:2]  # X0 or X1
        memory = half == "X0" and self.builder.database.tiles[self.tile].type.startswith("CLBLM")
        return f"SLICE{'M' if memory else 'L'}_{half}."

    def drive(self, pin: str, name: str) -> None:
        row = pin[0]
        if pin in _ROWS:
            source = self._o6(row)
        elif pin == "COUT":
            source = self._carry("CO", 3)
        elif pin[1:] == "Q":
            source = self._register(row, "FF")
        elif pin[1:] == "MUX":
            source = self._choose(row, "OUTMUX", {f"{row}5Q": lambda: self._register(row, "5FF")})
        else:
            raise self.refuse(f"has an output {pin} that cannot be read back")
        self.builder.join(name, source)

    def _once(self, key: str, make: Callable[[str], None]) -> str:
        """A wire of this slice, made when it is first asked for."""
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self.builder.wire(f"{self.id}_{key}_")
            make(found)
        return found

    def _choose(self, row: str, mux: str, more: dict[str, Callable[[], str]]) -> str:
        """The source that a multiplexer before a flip-flop or an output takes."""
        chosen = [name.partition(".")[2] for name in self.features if name.startswith(f"{row}{mux}.")]
        number = _ROWS.index(row)
        sources: dict[str, Callable[[], str]] = {
            "O6": lambda: self._o6(row),
            "O5": lambda: self._o5(row),
            "XOR": lambda: self._carry("O", number),
            "CY": lambda: self._carry("CO", number),
            "F7": lambda: self._f7(row),
            "F8": self._f8,
            "MC31": lambda: self._mc31("A"),
            **more,
        }
        if len(chosen) != 1 or chosen[0] not in sources:
            raise self.refuse(f"has {row}{mux} set to {' and '.join(sorted(chosen)) or 'nothing'}")
        return sources[chosen[0]]()

    # Tables.

    def _kind(self, row: str) -> str:
        """What a table is: logic, ram, ram32, srl or srl16."""
        flags = {flag for flag in ("RAM", "SRL", "SMALL") if f"{row}LUT.{flag}" in self.features}
        kinds = {"": "logic", "RAM": "ram", "RAM SMALL": "ram32", "SRL": "srl", "SMALL SRL": "srl16"}
        kind = kinds.get(" ".join(sorted(flags)))
        if kind is None:
            raise self.refuse(f"has a table {row} that is {' and '.join(sorted(flags))}")
        return kind

    def _o6(self, row: str) -> str:
        if self._kind(row) == "logic":
            return self._once(f"{row}6", lambda name: self._logic(row, self._tables[row], 6, name))
        return self._memory(row, "o6")

    def _o5(self, row: str) -> str:
        if self._kind(row) == "logic":
            return self._once(f"{row}5", lambda name: self._logic(row, self._tables[row] & 0xFFFFFFFF, 5, name))
        return self._memory(row, "o5")

    def _mc31(self, row: str) -> str:
        return self._memory(row, "mc31")

    def _logic(self, row: str, table: int, inputs: int, name: str) -> None:
        """A table as logic: of the inputs those that it depends on, constants worked in."""
        signals: list[str] = []
        for at in range(inputs):
            low, high = split_table(table, len(signals), inputs - at + len(signals))
            if low == high:
                table = low
                continue
            signal = self.pin(f"{row}{at + 1}")
            if signal in (ZERO, ONE):
                table = high if signal == ONE else low
                continue
            signals.append(signal)
        kept: list[str] = []
        for at, signal in enumerate(signals):  # once more: constants may have left an input without effect
            low, high = split_table(table, len(kept), len(signals) - at + len(kept))
            if low == high:
                table = low
            else:
                kept.append(signal)
        if not kept:
            self.builder.join(name, ONE if table & 1 else ZERO)
            return
        ports = {"O": name} | {f"I{k}": signal for k, signal in enumerate(kept)}
        self.builder.cell(f"LUT{len(kept)}", f"{name}lut", {"INIT": f"{1 << len(kept)}'h{table:x}"}, ports)

    def _memory(self, row: str, output: str) -> str:
        """A table that is written: one cell with all its outputs."""
        kind = self._kind(row)
        outputs = {"ram": ("o6", "o5"), "ram32": ("o6", "o5"), "srl": ("o6", "mc31"), "srl16": ("o6", "o5", "mc31")}[
            kind
        ]
        if output not in outputs:
            raise self.refuse(f"has no {output.upper()} of a {kind} in table {row}")
        if f"{row}{kind}" not in self._made:
            self._made[f"{row}{kind}"] = ""
            ports = {port: self._once(f"{row}_{port}", lambda name: None) for port in outputs}
            ports |= {"clk": self._clock(), "we": self._write_enable()}
            parameters = {"INIT": f"64'h{self._tables[row]:016x}"}
            own, written = self.bus(row, 6, first=1), self.bus("D", 6, first=1)
            if kind == "ram":
                wide = [f"WA{bit}USED" in self.features for bit in (7, 8)]
                upper = [row in "AC", row in "AB"]
                high = [self.pin(pin) if used else ZERO for pin, used in zip(("CX", "BX"), wide, strict=True)]
                parameters |= {"WIDE": f"2'd{wide[0] + 2 * wide[1]}", "UPPER": f"2'd{upper[0] + 2 * upper[1]}"}
                ports |= {"ra": _vector(own), "wa": _vector(written + high), "di": self._data(row)}
            elif kind == "ram32":
                ports |= {"ra": _vector(own[:5]), "wa": _vector(written[:5])}
                ports |= {"di1": self._data(row), "di2": self.pin(f"{row}X")}
            elif kind == "srl":
                ports |= {"a": _vector(own[1:]), "di": self._data(row)}
            else:
                ports |= {"a": _vector(own[1:5]), "di1": self._data(row), "di2": self.pin(f"{row}X")}
            self.builder.cell(
                f"pleinair_{'ram64' if kind == 'ram' else 'srl32' if kind == 'srl' else kind}",
                f"{self.id}_{row}{kind}",
                parameters,
                ports,
            )
        return self._once(f"{row}_{output}", lambda name: None)

    def _data(self, row: str) -> str:
        """What a table writes or shifts in: its own pin, or what the table before it has."""
        if row == "D" or f"{row}LUT.DI1MUX.{row}I" in self.features:
            return self.pin(f"{row}I")
        before = {"A": "B", "B": "D", "C": "D"}[row]
        following = {"A": "B", "B": "C", "C": "D"}[row]
        if self._kind(row).startswith("srl"):
            return self._mc31(following)
        return self._data(before)

    def _write_enable(self) -> str:
        return self.pin("CE" if "WEMUX.CE" in self.features else "WE")

    # The rest.

    def _clock(self) -> str:
        signal = self.pin("CLK")
        return f"~{signal}" if "CLKINV" in self.features else signal

    def _register(self, row: str, kind: str) -> str:
        return self._once(f"{row}{kind}", lambda name: self._make_register(row, kind, name))

    def _make_register(self, row: str, kind: str, name: str) -> None:
        if "LATCH" in self.features:
            raise self.refuse("has latches, which cannot be read back")
        if kind == "FF":
            data = self._choose(row, "FFMUX", {f"{row}X": lambda: self.pin(f"{row}X")})
        else:
            data = self._choose(row, "5FFMUX", {"IN_A": lambda: self._o5(row), "IN_B": lambda: self.pin(f"{row}X")})
        low = f"{row}{kind}.ZRST" in self.features
        if "FFSYNC" in self.features:
            primitive, reset = ("FDRE", "R") if low else ("FDSE", "S")
        else:
            primitive, reset = ("FDCE", "CLR") if low else ("FDPE", "PRE")
        parameters = {"INIT": ZERO if f"{row}{kind}.ZINI" in self.features else ONE}
        if "CLKINV" in self.features:
            parameters["IS_C_INVERTED"] = ONE
        ports = {
            "Q": name,
            "C": self.pin("CLK"),
            "CE": self.pin("CE") if "CEUSEDMUX" in self.features else ONE,
            "D": data,
            reset: self.pin("SR") if "SRUSEDMUX" in self.features else ZERO,
        }
        self.builder.cell(primitive, f"{name}ff", parameters, ports)

    def _carry(self, output: str, bit: int) -> str:
        key = f"carry_{output}"
        self._once("carry", self._make_carry)
        return f"{self._made[key]}[{bit}]"

    def _make_carry(self, name: str) -> None:
        starts = {feature.partition(".")[2] for feature in self.features if feature.startswith("PRECYINIT.")}
        if len(starts) > 1 or not starts <= {"CIN", "AX", "C0", "C1"}:
            raise self.refuse(f"begins its carry chain with {' and '.join(sorted(starts))}")
        start = next(iter(starts), "C0")  # a 0 has no bit
        for output in ("CO", "O"):
            self._made[f"carry_{output}"] = f"{self.id}_{output}_"
            self.builder.lines.append(f"wire [3:0] {self.id}_{output}_;")
        self.builder.join(name, f"{self.id}_CO_[3]")
        data = [self._o5(row) if f"CARRY4.{row}CY0" in self.features else self.pin(f"{row}X") for row in _ROWS]
        ports = {
            "CO": f"{self.id}_CO_",
            "O": f"{self.id}_O_",
            "CI": self.pin("CIN") if start == "CIN" else ZERO,
            "CYINIT": {"AX": lambda: self.pin("AX"), "C1": lambda: ONE}.get(start, lambda: ZERO)(),
            "DI": _vector(data),
            "S": _vector([self._o6(row) for row in _ROWS]),
        }
        self.builder.cell("CARRY4", f"{self.id}_carry4", {}, ports)

    def _f7(self, row: str) -> str:
        low, high, select = ("B", "A", "AX") if row == "A" else ("D", "C", "CX")
        if row not in "AC":
            raise self.refuse(f"takes an F7 in row {row}")
        return self._once(f"F7{row}", lambda name: self._mux("MUXF7", name, self._o6(low), self._o6(high), select))

    def _f8(self) -> str:
        return self._once("F8", lambda name: self._mux("MUXF8", name, self._f7("C"), self._f7("A"), "BX"))

    def _mux(self, kind: str, name: str, low: str, high: str, select: str) -> None:
        self.builder.cell(kind, f"{name}mux", {}, {"O": name, "I0": low, "I1": high, "S": self.pin(select)})


def split_table(table: int, at: int, inputs: int) -> tuple[int, int]:
    """The halves of a table of ``inputs`` inputs where input ``at`` is 0 and where it is 1."""
    low = high = 0
    below = (1 << at) - 1
    for word in range(1 << (inputs - 1)):
        index = (word & ~below) << 1 | word & below
        low |= (table >> index & 1) << word
        high |= (table >> (index | 1 << at) & 1) << word
    return low, high


class _GlobalBuffer(_Site):
    """A global clock buffer that passes its first input on."""

    def _prefix(self) -> str:
        return f"BUFGCTRL.{self.site}."

    def drive(self, pin: str, name: str) -> None:
        wanted = {"IN_USE", "ZINV_CE0", "ZINV_S0", "IS_IGNORE1_INVERTED"}
        extra = self.features - wanted - {"IS_IGNORE0_INVERTED", "ZINV_CE1", "ZINV_S1"}
        if pin != "O" or not wanted <= self.features or extra:
            raise self.refuse(f"is no plain buffer ({', '.join(sorted(self.features)) or 'not in use'})")
        if (self.pin("CE0"), self.pin("S0")) != (ONE, ONE):
            raise self.refuse("is a clock buffer that can be switched off")
        self.builder.cells["BUFG"] += 1
        self.builder.join(name, self.pin("I0"))


class _RowBuffer(_Site):
    """A clock region's buffer."""

    def _prefix(self) -> str:
        return f"BUFHCE.{self.site}."

    def drive(self, pin: str, name: str) -> None:
        if pin != "O" or self.features != {"IN_USE", "ZINV_CE"}:
            raise self.refuse(f"is no plain buffer ({', '.join(sorted(self.features)) or 'not in use'})")
        self.builder.cells["BUFH"] += 1
        self.builder.join(name, self.pin("I"))


_BUSES_IN = {"A": 30, "B": 18, "C": 48, "D": 25, "OPMODE": 7, "ALUMODE": 4, "INMODE": 5, "CARRYINSEL": 3}
_PINS_IN = (
    *(
        "CEA1",
        "CEA2",
        "CEAD",
        "CEALUMODE",
        "CEB1",
        "CEB2",
        "CEC",
        "CECARRYIN",
        "CECTRL",
        "CED",
        "CEINMODE",
        "CEM",
        "CEP",
    ),
    *("RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD", "RSTINMODE", "RSTM", "RSTP"),
    *("CARRYIN", "CLK"),
)
_BUSES_OUT = {"P": 48, "PCOUT": 48, "ACOUT": 30, "BCOUT": 18, "CARRYOUT": 4}
_PINS_OUT = ("CARRYCASCOUT", "MULTSIGNOUT", "OVERFLOW", "UNDERFLOW", "PATTERNDETECT", "PATTERNBDETECT")


class _Dsp(_Site):
    """A DSP48E1. A register that is not asked for leaves a bit set, as does a pin that is not inverted."""

    def __init__(self, builder: _Builder, tile: str, site: str) -> None:
        super().__init__(builder, tile, site)
        self._made = False

    def _prefix(self) -> str:
        return f"DSP48.DSP_{self.site[-1]}."

    def drive(self, pin: str, name: str) -> None:
        if pin in ("PATTERNDETECT", "PATTERNBDETECT", "OVERFLOW", "UNDERFLOW"):
            raise self.refuse(f"uses {pin}, which cannot be read back")
        if not self.features:  # its neighbour could add what a DSP holds that is not in use: nothing
            self.builder.join(name, ZERO)
            return
        if not self._made:
            self._made = True
            self._make()
        self.builder.join(name, self._wire(pin))

    def _wire(self, pin: str) -> str:
        found = re.fullmatch(r"([A-Z]+)(\d+)", pin)
        if found and found[1] in _BUSES_OUT:
            return f"{self.id}_{found[1]}_[{found[2]}]"
        return f"{self.id}_{pin}_"

    def _make(self) -> None:
        has = self.features.__contains__
        registers = {
            name: 0 if has(f"Z{name}[0]") else 1
            for name in (
                *("ADREG", "ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "CREG", "DREG", "INMODEREG", "MREG"),
                *("OPMODEREG", "PREG"),
            )
        }
        for port in "AB":
            depth = 0 if has(f"{port}REG_0") else 2 if has(f"{port}REG_2") else 1
            registers[f"{port}REG"] = depth
            registers[f"{port}CASCREG"] = depth if depth < 2 or has(f"Z{port}REG_2_{port}CASCREG_1") else 1
        parameters = {name: str(value) for name, value in registers.items()}
        cascades = {port: has(f"{port}_INPUT[0]") for port in "AB"}
        parameters |= {f"{port}_INPUT": '"CASCADE"' if used else '"DIRECT"' for port, used in cascades.items()}
        parameters["USE_DPORT"] = '"TRUE"' if has("USE_DPORT[0]") else '"FALSE"'
        simd = "FOUR12" if has("USE_SIMD_FOUR12") else "TWO24" if has("USE_SIMD_FOUR12_TWO24") else "ONE48"
        parameters["USE_SIMD"] = f'"{simd}"'
        ports: dict[str, str] = {}
        for name, width in _BUSES_IN.items():
            ports[name] = _vector(
                [self._inverted(name, bit, width, signal) for bit, signal in enumerate(self.bus(name, width))]
            )
        for name in _PINS_IN:
            ports[name] = self.pin(name)
        for name in ("CARRYIN", "CLK"):
            if not has(f"ZIS_{name}_INVERTED"):
                ports[name] = f"~{ports[name]}"
        wide = self._mode("OPMODE", 4, 7)
        ports["ACIN"] = _vector(self.bus("ACIN", 30)) if cascades["A"] else "30'd0"
        ports["BCIN"] = _vector(self.bus("BCIN", 18)) if cascades["B"] else "18'd0"
        # 001 and 101 of OPMODE's upper bits add what the DSP below has.
        ports["PCIN"] = _vector(self.bus("PCIN", 48)) if wide is None or wide in (1, 5) else "48'd0"
        carry = self._mode("CARRYINSEL", 0, 3)
        ports["CARRYCASCIN"] = self.pin("CARRYCASCIN") if carry is None or carry == 2 else ZERO
        ports["MULTSIGNIN"] = self.pin("MULTSIGNIN") if wide is None else ZERO
        for name, width in _BUSES_OUT.items():
            self.builder.lines.append(f"wire [{width - 1}:0] {self.id}_{name}_;")
            ports[name] = f"{self.id}_{name}_"
        for name in ("CARRYCASCOUT", "MULTSIGNOUT"):
            ports[name] = self.builder.wire(f"{self.id}_{name}_")
        self.builder.cell("DSP48E1", f"{self.id}_dsp", parameters, ports)

    def _inverted(self, name: str, bit: int, width: int, signal: str) -> str:
        """A signal as it comes behind the inverter of its pin, where there is one."""
        if name not in ("OPMODE", "ALUMODE", "INMODE") or f"ZIS_{name}_INVERTED[{bit}]" in self.features:
            return signal
        return {ZERO: ONE, ONE: ZERO}.get(signal, f"~{signal}")

    def _mode(self, name: str, low: int, high: int) -> int | None:
        """Bits of a mode that are constants; None if one of them is not."""
        bits = [self._inverted(name, bit, high, self.pin(f"{name}{bit}")) for bit in range(low, high)]
        if any(bit not in (ZERO, ONE) for bit in bits):
            return None
        return sum(1 << number for number, bit in enumerate(bits) if bit == ONE)


class _BlockRam(_Site):
    """Half of a block RAM, 18 Kib: also where the whole is one of 36 Kib, whose bits lie in its halves in turn."""

    def __init__(self, builder: _Builder, tile: str, site: str) -> None:
        super().__init__(builder, tile, site)
        self._made = False

    def _prefix(self) -> str:
        return f"RAMB18_Y{self.site[-1]}."

    def drive(self, pin: str, name: str) -> None:
        found = re.fullmatch(r"(DO[AB]DO|DOP[AB]DOP)(\d+)", pin)
        if found is None or "IN_USE" not in self.features:
            raise self.refuse(f"has an output {pin} that cannot be read back")
        if not self._made:
            self._made = True
            self._make()
        self.builder.join(name, f"{self.id}_{found[1]}_[{found[2]}]")

    def _make(self) -> None:
        has = self.features.__contains__
        refused = [name for name in self._tile_features() if name.startswith(("RAMB36.BRAM36", "RAMB36.EN_ECC"))]
        if has("FIFO_MODE") or refused:
            raise self.refuse(f"is used in a way that cannot be read back ({', '.join(refused) or 'FIFO_MODE'})")
        widths = {way: {port: self._width(way, port) for port in "AB"} for way in ("READ", "WRITE")}
        if has("SDP_READ_WIDTH_36"):
            widths["READ"]["A"] = 36
        if has("SDP_WRITE_WIDTH_36"):
            widths["WRITE"]["B"] = 36
        parameters = {f"{way}_{port}": str(width) for way, ports in widths.items() for port, width in ports.items()}
        ports: dict[str, str] = {}
        for port, address, clock in (("A", "ADDRARDADDR", "CLKARDCLK"), ("B", "ADDRBWRADDR", "CLKBWRCLK")):
            low = port.lower()
            modes = [has(f"WRITE_MODE_{port}_{mode}") for mode in ("READ_FIRST", "NO_CHANGE")]
            parameters[f"MODE_{port}"] = str(modes[0] + 2 * modes[1])
            parameters[f"REG_{port}"] = "1" if has(f"DO{port}_REG") else "0"
            for word, feature in (("FIRST", "ZINIT"), ("RESET", "ZSRVAL")):
                value = ~self.value(f"{feature}_{port}", 18) & 0x3FFFF
                parameters[f"{word}_{port}"] = f"18'h{value:05x}"
            ports[f"addr_{low}"] = _vector(self.bus(address, 14))
            ports[f"di_{low}"] = _vector(self.bus(f"DI{port}DI", 16))
            ports[f"dip_{low}"] = _vector(self.bus(f"DIP{port}DIP", 2))
            ports[f"clk_{low}"] = self._plain(clock)
            ports[f"en_{low}"] = self._plain("ENARDEN" if port == "A" else "ENBWREN")
            ports[f"rst_{low}"] = self._plain("RSTRAMARSTRAM" if port == "A" else "RSTRAMB")
            ports[f"rstreg_{low}"] = self._plain("RSTREGARSTREG" if port == "A" else "RSTREGB")
            ports[f"regce_{low}"] = self.pin("REGCEAREGCE" if port == "A" else "REGCEB")
        ports["we_a"] = _vector(self._enables("WEA", widths["WRITE"]["A"], 2))
        ports["we_b"] = _vector(self._enables("WEBWE", widths["WRITE"]["B"], 4))
        for output, width in (("DOADO", 16), ("DOBDO", 16), ("DOPADOP", 2), ("DOPBDOP", 2)):
            self.builder.lines.append(f"wire [{width - 1}:0] {self.id}_{output}_;")
        for port, output in (("do_a", "DOADO"), ("do_b", "DOBDO"), ("dop_a", "DOPADOP"), ("dop_b", "DOPBDOP")):
            ports[port] = f"{self.id}_{output}_"
        for stem, count in (("INIT", 64), ("INITP", 8)):
            value = sum(self.value(f"{stem}_{number:02X}", 256) << 256 * number for number in range(count))
            parameters[stem] = f"{256 * count}'h{value:x}"
        self.builder.cell("pleinair_ram18", f"{self.id}_ram", parameters, ports)

    def _tile_features(self) -> Collection[str]:
        return self.builder.features.get(self.tile, ())

    def _width(self, way: str, port: str) -> int:
        """The width of a port; 1 has no bit."""
        stem = f"{way}_WIDTH_{port}_"
        found = [int(name[len(stem) :]) for name in self.features if name.startswith(stem)]
        if len(found) > 1:
            raise self.refuse(f"has two widths, {stem}{found[0]} and {stem}{found[1]}")
        return found[0] if found else 1

    def _plain(self, pin: str) -> str:
        """What a pin reads behind its inverter."""
        signal = self.pin(pin)
        if f"ZINV_{pin}" in self.features:
            return signal
        return {ZERO: ONE, ONE: ZERO}.get(signal, f"~{signal}")

    def _enables(self, name: str, width: int, bytes_: int) -> list[str]:
        """The enables of a port's bytes. A site has one for each half byte; both must be the same."""
        used = max(1, width // 9) if width > 9 else 1
        pins = self.bus(name, 2 * used)
        for number in range(used):
            if pins[2 * number] != pins[2 * number + 1]:
                raise self.refuse(f"writes halves of bytes ({name}{2 * number} and {name}{2 * number + 1} differ)")
        return [*pins[0::2], *[ZERO] * (bytes_ - used)]


class _Processor(_Site):
    """The processing system: where signals leave the fabric, and come into it."""

    def __init__(self, builder: _Builder, tile: str, ports: Collection[str] | None) -> None:
        super().__init__(builder, tile, "PS7_X0Y0")
        builder.add(tile, "PS7_X0Y0", self)
        self._allowed = ports
        self._inputs: dict[str, dict[int | None, str]] = {}
        self._outputs: dict[str, dict[int | None, str]] = {}
        place = builder.wires.place(tile)
        here = builder.wires.type_at(place)
        drives = {here.wires[source] for ups in here.ups.values() for source, kind in ups if kind == SITE_OUT}
        self._pins = {name.partition(".")[2]: name in drives for name in here.pins}
        self._widths: Counter[str] = Counter(_port(pin)[0] for pin in self._pins if _port(pin)[1] is not None)

    def find_inputs(self) -> None:
        """Find what drives each input."""
        for pin, drives in self._pins.items():
            port, bit = _port(pin)
            if drives or (self._allowed is not None and port not in self._allowed):
                continue
            self._inputs.setdefault(port, {})[bit] = self.builder.signal(self.tile, f"{self.site}.{pin}") or ONE
        if self._allowed is None:
            self._inputs = {port: bits for port, bits in self._inputs.items() if set(bits.values()) != {ONE}}

    def drive(self, pin: str, name: str) -> None:
        port, bit = _port(pin)
        self._outputs.setdefault(port, {})[bit] = name

    def finish(self) -> None:
        ports = {}
        for found, rest in ((self._inputs, ONE), (self._outputs, "")):
            for port, bits in sorted(found.items()):
                if None in bits:
                    ports[port] = bits[None]
                    continue
                signals = []
                for bit in range(self._widths[port]):
                    signals.append(bits.get(bit) or rest or self.builder_open(port, bit))
                ports[port] = _vector(signals)
        self.builder.cell("PS7", "ps7", {}, ports)

    def builder_open(self, port: str, bit: int) -> str:
        """A wire for an output that nothing needs."""
        return self.builder.wire(f"open_{port}_{bit}_")


def _port(pin: str) -> tuple[str, int | None]:
    """Port and bit of a pin: ``MAXIGP0ARADDR`` and 12, or a port of one bit and None."""
    found = re.fullmatch(r"(.*?[A-Z])(\d+)", pin)
    return (found[1], int(found[2])) if found else (pin, None)


_SITES: dict[str, Callable[[_Builder, str, str], _Site]] = {
    "SLICE": _Slice,
    "BUFGCTRL": _GlobalBuffer,
    "BUFHCE": _RowBuffer,
    "DSP48": _Dsp,
    "RAMB18": _BlockRam,
}
