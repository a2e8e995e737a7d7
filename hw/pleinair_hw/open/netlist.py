"""A placed and routed design back to primitives, as Verilog: what lies in the chip, to be simulated.

nextpnr's cells keep the primitive that they came from (X_ORIG_TYPE) and the port that each physical pin stands for
(X_ORIG_PORT_*), the router's permutations of tables' inputs included. The result is read with Yosys' cells_sim.v and
``packed.v`` beside this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pleinair_hw.open.steps import OpenToolError

#: Largest netlist that is read, in bytes.
_MOST = 2 << 30
#: The parameters that matter to Yosys' models; of types that are not here, all but nextpnr's own.
_PARAMETERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "RAMD32", "FDRE", "FDSE", "FDCE", "FDPE", "INV"),
        frozenset({"INIT"}),
    ),
    "RAMD64E": frozenset({"INIT", "DEEP", "HALF"}),
    **dict.fromkeys(("CARRY4", "MUXF7", "MUXF8", "PS7"), frozenset()),
}
#: Bits of ports that are buses.
_BUSES = {("CARRY4", port): 4 for port in ("S", "DI", "O", "CO")}
_DSP = {"A": 30, "B": 18, "C": 48, "D": 25, "P": 48, "ACIN": 30, "BCIN": 18, "PCIN": 48, "ACOUT": 30, "BCOUT": 18}
_DSP |= {"PCOUT": 48, "OPMODE": 7, "ALUMODE": 4, "INMODE": 5, "CARRYINSEL": 3, "CARRYOUT": 4}
_BUSES |= {("DSP48E1", port): bits for port, bits in _DSP.items()}
for _kind, _data, _parity, _enables in (("RAMB18E1", 16, 2, (2, 4)), ("RAMB36E1", 32, 4, (4, 8))):
    _address = 14 if _kind == "RAMB18E1" else 16
    _BUSES |= {(_kind, port): _data for port in ("DIADI", "DIBDI", "DOADO", "DOBDO")}
    _BUSES |= {(_kind, port): _parity for port in ("DIPADIP", "DIPBDIP", "DOPADOP", "DOPBDOP")}
    _BUSES |= {(_kind, port): _address for port in ("ADDRARDADDR", "ADDRBWRADDR")}
    _BUSES |= {(_kind, "WEA"): _enables[0], (_kind, "WEBWE"): _enables[1]}
_OUTPUTS = {("CARRY4", "O"), ("CARRY4", "CO")}
_OUTPUTS |= {("DSP48E1", port) for port in ("P", "PCOUT", "ACOUT", "BCOUT", "CARRYOUT")}
_OUTPUTS |= {(k, p) for k in ("RAMB18E1", "RAMB36E1") for p in ("DOADO", "DOBDO", "DOPADOP", "DOPBDOP")}
_CONSTANTS = {"PSEUDO_VCC": 1, "VCC": 1, "PSEUDO_GND": 0, "GND": 0}
_BLACK = re.compile(r"(A|B|C|D|INMODE|OPMODE|ALUMODE|CARRYINSEL)(\d+)$")

_BENCH = Path(__file__).resolve().parents[1] / "shell" / "bench.sv"

#: A port's bits: index (None for a port of one bit) to the net or constant at it.
_Port = dict[int | None, str]


def _module(path: Path) -> Mapping[str, Any]:
    """The design in nextpnr's file. Raises OpenToolError."""
    try:
        if path.stat().st_size > _MOST:
            raise ValueError(f"larger than {_MOST >> 30} GiB")
        modules = json.loads(path.read_bytes())["modules"]
        module: Mapping[str, Any] = next(m for m in modules.values() if m["cells"])
        return module
    except (OSError, ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
        raise OpenToolError(f"{path}: is no routed design of nextpnr's ({error})") from error


def processing_system() -> dict[str, tuple[bool, int]]:
    """The ports of the processing system's model in simulation: whether each is an output, and its bits."""
    text = re.search(r"^module PS7 \((.*?)^\);", _BENCH.read_text(), re.M | re.S)
    assert text is not None
    ports: dict[str, tuple[bool, int]] = {}
    output, bits = False, 1
    for part in text[1].split(","):
        found = re.match(r"\s*(?:(input|output)\s+logic\s+(?:\[(\d+):0\]\s*)?)?(\w+)\s*$", part)
        assert found is not None, part
        if found[1]:
            output, bits = found[1] == "output", int(found[2] or 0) + 1
        ports[found[3]] = output, bits
    return ports


def _net(bit: int | str, nets: set[int]) -> str:
    if isinstance(bit, str):
        return f"1'b{bit if bit in ('0', '1') else 'x'}"
    nets.add(bit)
    return f"n{bit}"


def _place(name: str) -> tuple[str, int | None]:
    """A primitive's port and the index in it: ``A[3]`` is bit 3 of A."""
    found = re.match(r"(.*)\[(\d+)\]$", name)
    return (found[1], int(found[2])) if found else (name, None)


def _ports(kind: str, cell: Mapping[str, Any], nets: set[int], system: Mapping[str, object]) -> dict[str, _Port]:
    """The primitive's ports and what lies at their bits."""
    attributes, ports = cell["attributes"], dict[str, _Port]()
    for value, names in (("1'b1", "DSP_VCC_PINS"), ("1'b0", "DSP_GND_PINS")):
        for name in attributes.get(names, "").split():
            found = _BLACK.match(name)
            port, index = (found[1], int(found[2])) if found else (name, None)
            ports.setdefault(port, {})[index] = value
    for pin, bits in cell["connections"].items():
        if not bits:
            continue
        origin = attributes.get(f"X_ORIG_PORT_{pin}")
        if origin is None:
            # Pins that the packer ties, and a table's inputs that it does not use, stand for no port.
            if cell["type"].startswith("SLICE_LUT") or kind.startswith("RAMB"):
                continue
            origin = pin
        for name in origin.split():
            if kind == "RAMD32" and name in ("RADR5", "WADR5", "WADR6", "WADR7"):
                continue
            port, index = _place(name)
            if kind != "PS7" or port in system:
                ports.setdefault(port, {})[index] = _net(bits[0], nets)
    return ports


def _invert(parameters: Mapping[str, str], ports: dict[str, _Port]) -> dict[str, str]:
    """Inverters at the pins, which Yosys' models do not know, into the connections; the other parameters."""
    for name, value in parameters.items():
        found = re.match(r"IS_(\w+?)(?:\[(\d+)\])?_INVERTED$", name)
        if found and str(value).strip()[-1:] == "1":
            index = int(found[2]) if found[2] else None
            at = ports.get(found[1], {})
            if index in at:
                at[index] = "~" + at[index]
    return {name: value for name, value in parameters.items() if not name.endswith("_INVERTED")}


def _connections(
    number: int, kind: str, ports: Mapping[str, _Port], system: Mapping[str, tuple[bool, int]]
) -> Iterator[tuple[str, str]]:
    """For each port its connection, or a declaration that it needs (with an empty name)."""
    for port, at in sorted(ports.items()):
        if None in at:
            yield port, at[None]
            continue
        output, width = (kind, port) in _OUTPUTS, _BUSES.get((kind, port), 0)
        if kind == "PS7":
            output, width = system[port]
        width = width or max(index for index in at if index is not None) + 1
        bits = []
        for index in range(width):
            if index in at:
                bits.append(at[index])
                continue
            wire = f"open{number}_{port}_{index}"
            yield "", f"wire {wire};" if output else f"wire {wire} = 1'b0;"
            bits.append(wire)
        yield port, "{" + ", ".join(reversed(bits)) + "}"


def _parameters(kind: str, parameters: Mapping[str, str]) -> str:
    kept = _PARAMETERS.get(kind)
    texts = []
    for name, value in sorted(parameters.items()):
        text = str(value).strip()
        if name.startswith(("X_", "$", "BEL", "NEXTPNR")) or (kept is not None and name not in kept):
            continue
        if kind.startswith(("FD", "LUT", "RAMD")) and "x" in text:
            continue
        texts.append(f".{name}({len(text)}'b{text})" if re.fullmatch("[01xz]+", text) else f'.{name}("{text}")')
    return f"#({', '.join(texts)}) " if texts else ""


def write_verilog(routed: Path, target: Path, top: str) -> dict[str, int]:
    """Write the design as a module ``top`` without ports, its processing system an instance ``ps7``.

    Returns how many of each primitive there are. Raises OpenToolError for a file that is no routed design.
    """
    module, system = _module(routed), processing_system()
    nets: set[int] = set()
    lines: list[str] = []
    counts: dict[str, int] = {}
    for number, (_, cell) in enumerate(sorted(module["cells"].items())):
        kind = cell["attributes"].get("X_ORIG_TYPE") or cell["type"]
        parameters = cell["parameters"]
        if kind in _CONSTANTS:
            outputs = [bits[0] for bits in cell["connections"].values() if bits]
            lines += [f"assign {_net(bit, nets)} = 1'b{_CONSTANTS[kind]};" for bit in outputs]
            continue
        ports = _ports(kind, cell, nets, system)
        if kind in ("BUFGCTRL", "BUFG"):
            source = ports.get("I0") or ports["I"]
            lines.append(f"assign {ports['O'][None]} = {source[None]};")
            continue
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "RAMD64E" and None in ports.get("WADR6", {}):
            # In a memory of 128 words the seventh address bit chooses between two tables of a slice.
            table = cell["attributes"]["NEXTPNR_BEL"].rsplit(".", 1)[1][0]
            parameters = {**parameters, "DEEP": "1", "HALF": "1" if table in "AC" else "0"}
        if kind == "DSP48E1":
            parameters = _invert(parameters, ports)
        joined = []
        for port, text in _connections(number, kind, ports, system):
            if port:
                joined.append(f".{port}({text})")
            else:
                lines.append(text)
        name = "ps7" if kind == "PS7" else f"c{number}"
        lines.append(f"{kind} {_parameters(kind, parameters)}{name} ({', '.join(joined)});")
    declarations = [f"wire n{net};" for net in sorted(nets)]
    target.write_text("\n".join([f"module {top}();", *declarations, *lines, "endmodule", ""]))
    return counts
