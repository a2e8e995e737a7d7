"""Hold times of memories in tables: a table between each flip-flop and the write addresses that it drives.

A memory in tables (LUT RAM) wants its write address to stay up to 0.75 ns beyond the clock's edge, by Project X-Ray's
figures (``slicem.sdf``, WA1 to WA8). A flip-flop that lies beside the memory changes it sooner. nextpnr lists such
misses and mends none. A table and a second wire on the way add what is missing. The flip-flop's other readers stay as
they are, so the counters themselves get no slower.

Data and write enables ask for 0.27 ns at most, and are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

#: Ports that hold the write address, by type of memory. Each has its enable at WE.
_WRITE_ADDRESSES = {
    "RAM32M": ("ADDRD",),
    "RAM64M": ("ADDRD",),
    "RAM32X1S": tuple(f"A{bit}" for bit in range(5)),
    "RAM64X1S": tuple(f"A{bit}" for bit in range(6)),
    "RAM128X1S": tuple(f"A{bit}" for bit in range(7)),
    "RAM256X1S": ("A",),
    "RAM32X1D": tuple(f"A{bit}" for bit in range(5)),
    "RAM64X1D": tuple(f"A{bit}" for bit in range(6)),
    "RAM128X1D": ("A",),
}
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
#: Of the cells that are added, before a number.
_NAME = "hold$"


def delay_writes(module: MutableMapping[str, Any]) -> int:
    """Put a LUT1 between flip-flops and the write addresses of memories in tables; how many were put.

    Args:
        module: of a netlist as Yosys writes it (``write_json``) after synthesis for 7-series chips; it is changed. A
            flip-flop gets one table for all the memories that it addresses. Memories that are never written
            (WE is constantly 0) are left as they are.
    """
    cells: dict[str, Any] = module["cells"]
    registered = {
        bit for cell in cells.values() if cell["type"] in _FLIP_FLOPS for bit in cell["connections"].get("Q", ())
    }
    free = 1 + max((bit for bits in _all_bits(module) for bit in bits if isinstance(bit, int)), default=1)
    late = dict[int, int]()
    for cell in cells.values():
        ports = _WRITE_ADDRESSES.get(cell["type"], ())
        if not ports or cell["connections"]["WE"] == ["0"]:
            continue
        for port in ports:
            bits = cell["connections"].get(port, [])
            for bit in bits:
                if bit in registered and bit not in late:
                    late[bit] = free + len(late)
            cell["connections"][port] = [late.get(bit, bit) for bit in bits]
    for number, (bit, delayed) in enumerate(late.items()):
        name = f"{_NAME}{number}"
        cells[name] = {
            "hide_name": 0,
            "type": "LUT1",
            "parameters": {"INIT": "10"},
            "attributes": {"keep": "1"},
            "port_directions": {"I0": "input", "O": "output"},
            "connections": {"I0": [bit], "O": [delayed]},
        }
        module["netnames"][f"{name}.O"] = {"hide_name": 0, "bits": [delayed], "attributes": {}}
    return len(late)


def _all_bits(module: Mapping[str, Any]) -> Iterator[Sequence[int | str]]:
    for net in module["netnames"].values():
        yield net["bits"]
    for cell in module["cells"].values():
        yield from cell["connections"].values()
