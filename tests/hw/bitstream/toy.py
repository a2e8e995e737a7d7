"""A chip that does not exist, with tables as prjxray writes them: 12 frames in three rows, four kinds of tiles.

GATE has two bits of a multiplexer and a table of four; STORE has bits on both buses; KEY lies around the code's word,
and every bitstream has its feature ON; GHOST has no table.
"""

from __future__ import annotations

import json
from pathlib import Path

from pleinair_hw.bitstream.database import Database

PART, DEVICE, IDCODE = "toy9tqg12-1", "toy9", 0x0BADC0DE
#: The frames' addresses in the order of a .bit, and the last ones of rows, worked out by hand.
ADDRESSES = [0, 1, 2, 0x80, 0x81, 0x400000, 0x400001, 0x400002, 0x800000, 0x800001, 0x800002, 0x800003]
ROW_ENDS = [4, 7, 11]
GATE = """\
GATE.T.INIT[00] 00_00
GATE.T.INIT[01] 00_05
GATE.T.INIT[02] 01_33
GATE.T.INIT[03] 02_63
GATE.MUX.A !01_01 01_00
GATE.MUX.B 01_01 !01_00
GATE.MUX.C 01_00 01_01
GATE.MUX.NONE !01_00 !01_01
GATE.INVERT 02_10
"""
PSEUDO = "GATE.OUT.WIRE always\nGATE.OUT.SPARE hint\n"
STORE = "STORE.ON 00_03\nSTORE.MODE.WIDE 01_31\n"
CONTENTS = "".join(f"STORE.DATA_{row}[{bit:03d}] {row:02d}_{bit:02d}\n" for row in range(4) for bit in range(32))
KEY = "KEY.ON 00_45\nKEY.LAST 02_95\nKEY.FIRST 01_00\n"


def column(frames: int) -> dict[str, int]:
    """A column of the part's frames."""
    return {"frame_count": frames}


def block(address: int, frames: int, offset: int, words: int) -> dict[str, object]:
    """A tile's bits in the grid."""
    return {"baseaddr": f"0x{address:08X}", "frames": frames, "offset": offset, "words": words}


def tile(kind: str, x: int, y: int, **bits: object) -> dict[str, object]:
    """A tile in the grid."""
    return {"type": kind, "grid_x": x, "grid_y": y, "bits": bits, "sites": {f"{kind}_SITE_X{x}Y{y}": kind}}


def grid() -> dict[str, dict[str, object]]:
    """The tile grid."""
    return {
        "GATE_X0Y0": tile("GATE", 0, 0, CLB_IO_CLK=block(0, 3, 0, 2)),
        "GATE_X0Y1": tile("GATE", 0, 1, CLB_IO_CLK=block(0, 3, 2, 2)),
        "GATE_X0Y2": tile("GATE", 0, 2, CLB_IO_CLK=block(0x400000, 3, 99, 2)),
        "STORE_X1Y0": tile("STORE", 1, 0, CLB_IO_CLK=block(0x80, 2, 10, 1), BLOCK_RAM=block(0x800000, 4, 10, 1)),
        "KEY_X1Y1": tile("KEY", 1, 1, CLB_IO_CLK=block(0x400000, 3, 49, 3)),
        "GHOST_X1Y2": tile("GHOST", 1, 2),
    }


def write_tables(folder: Path) -> Path:
    """Write all tables of the chip into a folder, and give the folder."""
    (folder / DEVICE).mkdir(parents=True)
    (folder / PART).mkdir()
    for name, text in (
        ("segbits_gate.db", GATE),
        ("ppips_gate.db", PSEUDO),
        ("segbits_store.db", STORE),
        ("segbits_store.block_ram.db", CONTENTS),
        ("segbits_key.db", KEY),
        (f"{PART}/required_features.fasm", "KEY_X1Y1.ON\n"),
        (f"{DEVICE}/tilegrid.json", json.dumps(grid())),
    ):
        (folder / name).write_text(text)
    write_part(folder, IDCODE)
    return folder


def write_part(folder: Path, idcode: int, frames: int = 3) -> None:
    """Write part.json; ``frames`` is how many the first column of the upper row has."""
    top = {
        "CLB_IO_CLK": {"configuration_columns": {"0": column(frames), "1": column(2)}},
        "BLOCK_RAM": {"configuration_columns": {"0": column(4)}},
    }
    bottom = {"CLB_IO_CLK": {"configuration_columns": {"0": column(3)}}}
    regions = {
        "top": {"rows": {"0": {"configuration_buses": top}}},
        "bottom": {"rows": {"0": {"configuration_buses": bottom}}},
    }
    part = {"idcode": idcode, "global_clock_regions": regions}
    (folder / PART / "part.json").write_text(json.dumps(part))


def toy(folder: Path) -> Database:
    """The chip's database, its tables written into a new folder."""
    return Database(write_tables(folder), PART)
