"""Stand-ins for the open tools: a placer that writes what it is told to, a chip database that is only a head."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

from pleinair_hw.open.synthesis import NETLIST, Netlist
from pleinair_hw.open.tools import OpenTools
from pleinair_hw.plan.synthesis import Cells

PART = "xc7z020clg400-1"
VERSION = "0.8-7-gstandin"

#: The placer: each call adds its arguments to calls.json beside it, then does what plan.json beside it says.
_PLACER = """#!{python}
import json, os, sys, time
from pathlib import Path
here = Path(__file__).resolve().parent
if "--version" in sys.argv:
    print('"nextpnr-himbaechel" -- Next Generation Place and Route (Version {version})', file=sys.stderr)
    sys.exit(0)
calls = here / "calls.json"
done = json.loads(calls.read_text()) if calls.exists() else []
calls.write_text(json.dumps([*done, sys.argv[1:]]))
plan = json.loads((here / "plan.json").read_text())
seed = sys.argv[sys.argv.index("--seed") + 1]
plan = plan.get(seed, plan)
print("Info: Packing constants..", flush=True)
time.sleep(plan.get("sleep", 0))
if plan.get("memory"):
    bytearray(plan["memory"])
print("Info: Routing..", flush=True)
print("Info:     iter=3 wires=10 overused=4 overuse=5 archfail=0", flush=True)
if "stuck" in plan and "--router2-alt-weights" not in sys.argv:
    for number, wires in enumerate(plan["stuck"], 1):
        print("Info:     iter=%d wires=900 overused=%d overuse=5 archfail=0" % (number, wires), flush=True)
    time.sleep(60)
if "crash" in plan:
    os.kill(os.getpid(), 11)
print(plan.get("says", ""), flush=True)
if "error" in plan:
    print("ERROR: " + plan["error"], flush=True)
    sys.exit(1)
for name, text in plan["files"].items():
    Path(name).write_text(text)
"""


def report(achieved: float, **changes: Any) -> dict[str, Any]:
    """nextpnr's report for a table and a flip-flop between a processing system and itself."""
    values: dict[str, Any] = {
        "fmax": {"clk": {"achieved": achieved, "constraint": 100.0}},
        "utilization": {
            "SLICE_LUTX": {"used": 3, "available": 106400},
            "SLICE_FFX": {"used": 1, "available": 106400},
            "DSP48E1_DSP48E1": {"used": 1, "available": 220},
        },
    }
    return {**values, **changes}


def cell(kind: str, origin: str = "", bel: str = "", inputs: str = "", **outputs: int) -> dict[str, Any]:
    """A placed cell: ``inputs`` are pins and the nets that they read (``A1=3 A2=``), ``outputs`` what it drives.

    A pin in brackets, ``(A2)=3``, is one that nextpnr joined for another table of the same site.
    """
    read = dict(pair.split("=") for pair in inputs.split())
    own = {f"X_ORIG_PORT_{pin}": pin for pin in (*read, *outputs) if not pin.startswith("(")}
    attributes = {"NEXTPNR_BEL": bel, **({"X_ORIG_TYPE": origin} if origin else {}), **own}
    read = {pin.strip("()"): net for pin, net in read.items()}
    connections = {pin: [int(net)] if net else [] for pin, net in read.items()}
    connections |= {pin: [net] for pin, net in outputs.items()}
    directions = {**dict.fromkeys(read, "input"), **dict.fromkeys(outputs, "output")}
    return {
        "type": kind,
        "attributes": attributes,
        "parameters": {},
        "connections": connections,
        "port_directions": directions,
    }


def cells() -> dict[str, Any]:
    """Two tables of one site and one of another, a flip-flop and a DSP: ff -> a -> ff, ff -> b -> dsp -> c."""
    return {
        "a": cell("SLICE_LUTX", "LUT6", "SLICE_X0Y0.A6LUT", "A1=1 A2=0 A3=", O6=2),
        "b": cell("SLICE_LUTX", "LUT5", "SLICE_X0Y0.A5LUT", "A1=1", O5=3),
        "c": cell("SLICE_LUTX", "LUT6", "SLICE_X0Y1.A6LUT", "A1=4", O6=5),
        "ff": cell("SLICE_FFX", "FDRE", "SLICE_X0Y0.AFF", "D=2 CK=9 CE=0", Q=1),
        "dsp": cell("DSP48E1_DSP48E1", "DSP48E1", "DSP48_X0Y0.DSP48E1", "A0=3 CLK=9", P0=4),
        "vcc": cell("PSEUDO_VCC", bel="VCC", Y=0),
        "clock": cell("BUFGCTRL", "BUFG", "BUFGCTRL_X0Y0", "I0=8", O=9),
    }


def delays(ways: str, wires: str = "") -> str:
    """nextpnr's file of delays.

    ``cell/pin>pin`` is a way through a cell, ``cell/pin@clock`` a setup time, both of 100 ps or of what stands behind
    a colon; ``wires`` are pins with the delay of their wire (``a/A1:500``).
    """

    def ps(text: str) -> tuple[str, str]:
        what, number = text.rsplit(":", 1) if re.search(r":\d+$", text) else (text, "100")
        return what, f"(10:{number}:{number}) (10:{number}:{number})"

    lines = ["(DELAYFILE", "  (CELL", "    (INSTANCE )"]
    for wire in wires.split():
        pin, times = ps(wire)
        lines.append(f"        (INTERCONNECT x/Q {pin} {times})")
    for way in ways.split():
        name, _, rest = way.rpartition("/")
        pins, times = ps(rest)
        lines += ["  (CELL", f"    (INSTANCE {name})"]
        if ">" in pins:
            lines.append(f"        (IOPATH {pins.replace('>', ' ')} {times})")
        else:
            pin, clock = pins.split("@")
            lines.append(f"      (SETUPHOLD (posedge {pin}) (posedge {clock}) {times})")
        lines.append("  )")
    return "\n".join([*lines, ")", ""])


#: All that can be timed of :func:`cells` but the DSP and the table before it.
TIMED = "a/A1>O6 c/A1>O6 ff/CK>Q ff/D@CK"


def files(achieved: float, **changes: Any) -> dict[str, Any]:
    """A plan in which all goes well."""
    texts = {
        "report.json": json.dumps(report(achieved, **changes)),
        "routed.json": json.dumps({"modules": {"top": {"cells": cells()}}}),
        "delays.sdf": delays(TIMED),
        "design.fasm": "CLBLL_L_X2Y0.SLICEL_X0.ALUT.INIT[00] 1\n",
    }
    return {"files": texts}


def write_placer(folder: Path, plan: dict[str, Any]) -> Path:
    """A placer in ``folder`` that follows ``plan``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    path = folder / "nextpnr-himbaechel"
    path.write_text(_PLACER.format(python=sys.executable, version=VERSION))
    path.chmod(0o755)
    return path


def calls(placer: Path) -> list[list[str]]:
    """The arguments of each call of a placer so far."""
    path = placer.parent / "calls.json"
    found: list[list[str]] = json.loads(path.read_text()) if path.exists() else []
    return found


def write_chip(path: Path, chip: str = "xc7z020", family: str = "xilinx", layout: int = 6) -> Path:
    """A chip database that ends after its head; every pointer counts from where it stands."""
    names = family.encode() + b"\0" + chip.encode() + b"\0"
    head = struct.pack("<iiii", 0x00CA7CA7, layout, 157, 187)
    head += struct.pack("<iii", 12, 8 + len(family) + 1, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<i", 4) + head + names)
    return path


def tools(folder: Path, plan: dict[str, Any]) -> OpenTools:
    """Stand-ins for all tools in ``folder``."""
    placer = write_placer(folder, plan)
    database = folder / "zynq7"
    (database / PART).mkdir(parents=True, exist_ok=True)
    return OpenTools(placer, VERSION, write_chip(folder / "chipdb-xc7z020.bin"), database)


def netlist(folder: Path) -> Netlist:
    """A netlist that a stand-in does not read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETLIST).write_text("{}")
    return Netlist(folder, Cells(2, 0, 0, 1, 0, 1, 0, 0, 0), 0, {}, False)
