"""What is in a bitstream paints: from its bits to a netlist, from the netlist to pixels, by a simulator of our own.

A small counter on an invented chip always runs. The accelerator whose features lie beside prjxray's tables (two frames
of 8x8, see ``test_xc7z020.py``) is read back from its .bit alone and paints in some 3,500 cycles, behind a processor
that writes registers and a memory that answers bursts.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from pleinair_hw.bitstream.assemble import assemble
from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.netlist import netlist
from pleinair_hw.bitstream.read import features, read
from pleinair_hw.bitstream.wires import Wires
from tests.hw.bitstream.gates import Gates
from tests.hw.bitstream.test_netlist import TOGGLE, read_back
from tests.hw.bitstream.test_xc7z020 import FOLDER, PART

READ, WRITE = 0x4000_0000, 0x4001_0000
SOURCE, SINK = 0x1000_0000, 0x1800_0000


def test_a_toggle_counts_as_its_bits_say(tmp_path: Path):
    """The bit turns round in each cycle in which it is told to, and not in others."""
    gates = Gates(read_back(tmp_path, TOGGLE).verilog)
    turns = [1, 1, 0, 1, 0, 0, 1, 1, 1, 0]
    seen = [gates.clock({"MAXIGP0RREADY": turn})["MAXIGP0ARREADY"] for turn in turns]
    assert seen == [sum(turns[:cycle]) % 2 for cycle in range(len(turns))]


def test_a_carry_chain_adds_as_its_bits_say(tmp_path: Path):
    """Its first bit is what the flip-flop holds plus what is told plus one; that it holds next."""
    text = TOGGLE.replace("AFFMUX.O6", "AFFMUX.XOR") + "CLBLL_L_X0Y0.SLICEL_X0.PRECYINIT.C1\n"
    gates = Gates(read_back(tmp_path, text).verilog)
    state = 0
    for told in (1, 0, 0, 1, 1, 1, 0):
        assert gates.clock({"MAXIGP0RREADY": told})["MAXIGP0ARREADY"] == state
        state = (state + told + 1) % 2


class Processor:
    """The processing system's side of the accelerator: a program of register accesses, and a memory behind bursts."""

    def __init__(self, words: list[int], frames: int) -> None:
        self.drive = {"MAXIGP0BREADY": 1, "MAXIGP0RREADY": 1, "MAXIGP0WLAST": 1, "FCLKRESETN": 0}
        self.words, self.written = words, {}
        engines = [(READ + 0x10, SOURCE), (READ + 0x1C, frames), (WRITE + 0x10, SINK), (WRITE + 0x1C, frames)]
        self._program = [*engines, (READ, 1), (WRITE, 1)]
        self._busy = False
        self._read = (0, 0, 0)  # address, words left, cycles to wait
        self._write: int | None = None
        self._answer = 0
        self.done = False

    def before(self, cycle: int) -> dict[str, int]:
        """What it drives in this cycle."""
        drive = self.drive
        drive["FCLKRESETN"] = int(cycle > 8)
        if cycle > 20 and not self._busy:
            self._busy = True
            if self._program:
                address, value = self._program[0]
                drive.update(MAXIGP0AWADDR=address, MAXIGP0WDATA=value, MAXIGP0AWVALID=1, MAXIGP0WVALID=1)
            else:
                drive.update(MAXIGP0ARADDR=WRITE, MAXIGP0ARVALID=1)
        address, left, wait = self._read
        drive["SAXIHP0ARREADY"] = int(left == 0)
        drive["SAXIHP0RVALID"] = int(left > 0 and wait == 0 and cycle % 3 != 0)
        drive["SAXIHP0RDATA"] = self.words[(address - SOURCE) // 8] if left else 0
        drive["SAXIHP0AWREADY"] = int(self._write is None and not self._answer)
        drive["SAXIHP0WREADY"] = int(self._write is not None and cycle % 4 != 0)
        drive["SAXIHP0BVALID"] = self._answer
        return drive

    def after(self, seen: dict[str, int]) -> None:
        """What came of it. A pin that always reads 1 is not in the netlist."""
        drive = self.drive
        for name in ("AW", "W", "AR"):
            if drive.get(f"MAXIGP0{name}VALID") and seen[f"MAXIGP0{name}READY"]:
                drive[f"MAXIGP0{name}VALID"] = 0
        if seen["MAXIGP0BVALID"]:
            self._busy = False
            del self._program[0]
        if seen["MAXIGP0RVALID"]:
            self._busy, self.done = False, bool(seen["MAXIGP0RDATA"] & 2)
        address, left, wait = self._read
        if drive["SAXIHP0RVALID"] and seen["SAXIHP0RREADY"]:
            address, left = address + 8, left - 1
        self._read = (address, left, max(0, wait - 1))
        if drive["SAXIHP0ARREADY"] and seen["SAXIHP0ARVALID"]:
            self._read = (seen["SAXIHP0ARADDR"], seen["SAXIHP0ARLEN"] + 1, 12)
        if self._answer and seen.get("SAXIHP0BREADY", 1):
            self._answer = 0
        if self._write is not None and drive["SAXIHP0WREADY"] and seen["SAXIHP0WVALID"]:
            self.written[(self._write - SINK) // 8] = seen["SAXIHP0WDATA"]
            self._write += 8
            if seen["SAXIHP0WLAST"]:
                self._write, self._answer = None, 1
        if drive["SAXIHP0AWREADY"] and seen["SAXIHP0AWVALID"]:
            self._write = seen["SAXIHP0AWADDR"]


def _hex(name: str) -> list[int]:
    return [int(line, 16) for line in (FOLDER / "example" / name).read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(
    not (FOLDER / "chipdb-xc7z020.bin.xz").is_file(), reason="nextpnr's chip database and an example are not here"
)
def test_an_accelerator_paints_from_its_bits_alone(tmp_path: Path):
    chip = Database(FOLDER / "zynq7", PART)
    for name, source in (("wires.bin", "chipdb-xc7z020.bin.xz"), ("design.fasm", "example/design.fasm.xz")):
        (tmp_path / name).write_bytes(lzma.decompress((FOLDER / source).read_bytes()))
    assemble(chip, tmp_path / "design.fasm", tmp_path / "design.bit")
    (tmp_path / "design.fasm").unlink()
    found = features(chip, read(chip, tmp_path / "design.bit").frames)
    made = netlist(chip, Wires(tmp_path / "wires.bin", chip), found)
    # Yosys's netlist has just these; LUTs come in other numbers, as the router passes through some.
    assert {kind: made.cells[kind] for kind in ("FDRE", "FDSE", "DSP48E1", "MUXF7", "PS7", "BUFG")} == {
        **{"FDRE": 4601, "FDSE": 164, "DSP48E1": 9, "MUXF7": 16, "PS7": 1, "BUFG": 1},
    }
    assert made.undriven == 0
    gates, processor = Gates(made.verilog), Processor(_hex("input.hex"), frames=2)
    for cycle in range(6000):
        processor.after(gates.clock(processor.before(cycle)))
        if processor.done:
            break
    expected = _hex("expected.hex")
    assert [processor.written.get(word) for word in range(len(expected))] == expected
