"""Features to frames, on an invented chip, against frames worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pleinair.errors import OutputError
from pleinair_hw.bitstream import layout
from pleinair_hw.bitstream.assemble import CODE, assemble, header_part, place, place_text
from pleinair_hw.bitstream.database import BitstreamError, Database
from pleinair_hw.bitstream.read import name_of
from tests.hw.bitstream import toy

SMALL = """\
GATE_X0Y0.MUX.A
GATE_X0Y0.OUT.WIRE
GATE_X0Y1.T.INIT[3:0] = 4'b1101
GATE_X0Y2.MUX.C
STORE_X1Y0.ON
STORE_X1Y0.DATA_3[31:0] = 32'h80000001
KEY_X1Y1.LAST
"""


def test_a_small_design_sets_the_bits_that_it_should(tmp_path: Path):
    path = tmp_path / "small.fasm"
    path.write_text(SMALL)
    database = toy.toy(tmp_path / "db")
    made = place(database, path)
    wanted = np.zeros((12, 101), np.uint32)
    wanted[1, 0] = 1 << 0  # MUX.A of the tile at words 0 and 1: bit 0 of frame 1
    wanted[0, 2] = 1 << 0  # INIT[0] of the tile at words 2 and 3; INIT[1] is not set
    wanted[1, 3] = 1 << 1  # INIT[2]: bit 33 of frame 1
    wanted[2, 3] = 1 << 31  # INIT[3]: bit 63 of frame 2
    wanted[6, 99] = 0b11  # MUX.C in the lower half, whose frames are numbers 5 to 7
    wanted[3, 10] = 1 << 3  # STORE.ON
    wanted[11, 10] = 1 << 31 | 1  # its contents, in the last frame
    wanted[7, 51] = 1 << 31  # KEY.LAST: bit 95 from word 49
    wanted[5, 50] = 1 << 13  # KEY.ON, which every bitstream has: bit 45, the first after the code
    code = made.frames[:, 50] & 0x1FFF
    assert (made.frames & np.where(np.arange(101) == 50, 0xFFFFE000, 0xFFFFFFFF).astype(np.uint32) == wanted).all()
    assert (code == layout.ecc(wanted)).all() and code[0] and not code[4]
    assert made.asked == 11 and len(made.placed) == 10
    names = {name_of(database, code) for code in made.placed.tolist()}
    assert {"GATE_X0Y0.MUX.A", "STORE_X1Y0.DATA_3[31]", "KEY_X1Y1.ON"} < names


def test_every_feature_alone_sets_its_bits_and_no_others(tmp_path: Path):
    database = toy.toy(tmp_path)
    for tile in database.tiles.values():
        kind = database.type(tile.type)
        for number, name in enumerate(kind.names):
            frames, rest = (place_text(database, text).frames for text in (f"{tile.name}.{name}", ""))
            if (tile.type, name) == ("KEY", "ON"):  # it is in every bitstream
                assert (frames == rest).all()
                continue
            frames, rest = (part & np.where(np.arange(101) == 50, ~0x1FFF, ~0) for part in (frames, rest))
            _same_bits(database, frames ^ rest, tile.name, number)


def _same_bits(database, changed: np.ndarray, tile: str, number: int) -> None:
    kind, place_ = database.type(database.tiles[tile].type), database.tiles[tile].blocks
    block = place_[kind.buses[number]]
    found = {
        (frame - block.frame) * 3232 + (word - block.offset) * 32 + bit
        for frame, word in zip(*map(np.ndarray.tolist, np.nonzero(changed)), strict=True)
        for bit in range(32)
        if int(changed[frame, word]) >> bit & 1
    }
    assert found == set(kind.ones[number])


@pytest.mark.parametrize(
    "text, said",
    [
        ("GATE_X9Y9.MUX.A", "line 1: toy9 has no tile GATE_X9Y9"),
        ("GATE_X0Y0.MUX.D", r"no bits are known in toy9 for GATE_X0Y0.MUX.D \(line 1\)"),
        ("GATE_X0Y0.T.INIT[7:0] = 8'hff", r"T.INIT\[4\] .* GATE_X0Y0.T.INIT\[6\] \(line 1\) and 1 more"),
        ("GHOST_X1Y2.ON", r"no bits are known in toy9 for GHOST_X1Y2.ON"),
        ("GATE_X0Y0.MUX.A\nGATE_X0Y0.MUX.C", "MUX.C sets and GATE_X0Y0.MUX.A clears bit 1 of frame 0x00000001"),
    ],
)
def test_what_has_no_bits_is_refused_by_name(tmp_path: Path, text: str, said: str):
    with pytest.raises(BitstreamError, match=said) as refused:
        place_text(toy.toy(tmp_path), text, "small.fasm")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("small.fasm: ")


def test_a_tile_that_shares_its_bits_is_refused(tmp_path: Path):
    grid = toy.grid()
    bits = grid["GATE_X0Y0"]["bits"]
    assert isinstance(bits, dict)
    bits["CLB_IO_CLK"]["alias"] = {"type": "OTHER", "start_offset": 0, "sites": {}}
    (toy.write_tables(tmp_path) / toy.DEVICE / "tilegrid.json").write_text(json.dumps(grid))
    with pytest.raises(BitstreamError, match="GATE_X0Y0.INVERT lies in a tile whose bits are another tile's"):
        place_text(Database(tmp_path, toy.PART), "GATE_X0Y0.INVERT")


def test_the_same_features_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database, path = toy.toy(tmp_path / "db"), tmp_path / "small.fasm"
    path.write_text(SMALL)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assemble(database, path, tmp_path / "a.bit")
    path.write_text("\n".join(reversed(SMALL.splitlines())))
    assemble(database, path, tmp_path / "b.bit")
    data = (tmp_path / "a.bit").read_bytes()
    assert data == (tmp_path / "b.bit").read_bytes() and b"1970/01/01" in data
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assemble(database, path, tmp_path / "c.bit", "other-name")
    later = (tmp_path / "c.bit").read_bytes()
    assert b"1970/01/02" in later and b"aother" not in later and b"other-name;" in later
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(BitstreamError, match="SOURCE_DATE_EPOCH 'today'"):
        assemble(database, path, tmp_path / "d.bit")
    with pytest.raises(BitstreamError, match="no name of a design"):
        assemble(database, path, tmp_path / "d.bit", "a;b")
    assert not (tmp_path / "d.bit").exists()


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path):
    path = tmp_path / "small.fasm"
    path.write_text(SMALL)
    with pytest.raises(OutputError, match=r"absent.x\.bit: No such file"):
        assemble(toy.toy(tmp_path / "db"), path, tmp_path / "absent" / "x.bit")
    with pytest.raises(BitstreamError, match="No such file"):
        assemble(toy.toy(tmp_path / "db2"), tmp_path / "none.fasm", tmp_path / "x.bit")
    assert not list(tmp_path.glob("*.bit*"))


def test_a_placed_features_code_holds_tile_and_feature(tmp_path: Path):
    database = toy.toy(tmp_path)
    (code,) = place_text(database, "GATE_X0Y2.INVERT").placed[:1].tolist()
    assert (code // CODE, database.type("GATE").names[code % CODE]) == (2, "INVERT")
    assert header_part("xc7z020clg400-1") == "7z020clg400"
