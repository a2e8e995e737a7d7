"""prjxray's tables: an invented chip's are read as they were written; damaged ones are refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pleinair_hw.bitstream.database import BitstreamError as Refused
from pleinair_hw.bitstream.database import Block, Database, find_family, split_index
from tests.hw.bitstream import toy


def test_frames_lie_in_the_order_of_a_bitstream(tmp_path: Path):
    database = toy.toy(tmp_path)
    assert database.addresses == toy.ADDRESSES
    assert database.row_ends == toy.ROW_ENDS
    assert (database.idcode, database.device) == (toy.IDCODE, toy.DEVICE)


def test_tiles_know_where_their_bits_lie(tmp_path: Path):
    tiles = toy.toy(tmp_path).tiles
    assert tiles["GATE_X0Y2"].blocks == {"CLB_IO_CLK": Block(5, 3, 99, 2)}
    assert tiles["STORE_X1Y0"].blocks == {"CLB_IO_CLK": Block(3, 2, 10, 1), "BLOCK_RAM": Block(8, 4, 10, 1)}
    assert tiles["STORE_X1Y0"].blocks["BLOCK_RAM"].origin == 8 * 3232 + 320
    assert (tiles["KEY_X1Y1"].x, tiles["KEY_X1Y1"].y, tiles["KEY_X1Y1"].number) == (1, 1, 4)


def test_a_word_tells_its_tiles(tmp_path: Path):
    database = toy.toy(tmp_path)
    assert [tile.name for tile in database.at(1, 3)] == ["GATE_X0Y1"]
    assert [tile.name for tile in database.at(11, 10)] == ["STORE_X1Y0"]
    assert database.at(4, 11) == []


def test_features_have_the_bits_of_the_tables(tmp_path: Path):
    gate = toy.toy(tmp_path).type("GATE")
    number = gate.find("T.INIT", 2)
    assert number is not None and gate.names[number] == "T.INIT[2]" and gate.ones[number] == (3232 + 33,)
    number = gate.find("MUX.A", None)
    assert number is not None and (gate.ones[number], gate.zeros[number]) == ((3232,), (3233,))
    assert gate.find("T.INIT", 4) is None and gate.find("T.INIT", None) == gate.find("T.INIT", 0)
    assert gate.pseudo == {"OUT.WIRE": "always", "OUT.SPARE": "hint"}


def test_a_type_without_a_table_has_no_features(tmp_path: Path):
    assert toy.toy(tmp_path).type("GHOST").names == []


@pytest.mark.parametrize(
    "name, parts", [("A.INIT[063]", ("A.INIT", 63)), ("A.B", ("A.B", None)), ("A[x]", ("A[x]", None))]
)
def test_an_index_is_split_off(name: str, parts: tuple[str, int | None]):
    assert split_index(name) == parts


def test_the_family_is_found_in_a_folder_of_tools(tmp_path: Path):
    family = toy.write_tables(tmp_path / "share" / "toys")
    assert find_family(family, toy.PART) == find_family(tmp_path / "share", toy.PART) == family
    assert find_family(tmp_path, toy.PART) == family
    with pytest.raises(Refused, match="no tables of part xc7z020clg400-1"):
        find_family(tmp_path, "xc7z020clg400-1")


@pytest.mark.parametrize(
    "name, text, said",
    [
        (f"{toy.DEVICE}/tilegrid.json", "{", "tilegrid.json: damaged, it is no JSON"),
        (f"{toy.DEVICE}/tilegrid.json", "{}", "tilegrid.json: no tiles"),
        (f"{toy.PART}/part.json", "[]", "part.json: damaged, it holds no JSON object"),
        (f"{toy.PART}/part.json", '{"idcode": 0}', "idcode 0; allowed is"),
        (f"{toy.PART}/part.json", '{"idcode": 1, "global_clock_regions": {}}', "allowed is regions with frames"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, name: str, text: str, said: str):
    (toy.write_tables(tmp_path) / name).write_text(text)
    with pytest.raises(Refused, match=said):
        Database(tmp_path, toy.PART)


@pytest.mark.parametrize(
    "name, line, said",
    [
        ("segbits_gate.db", "GATE.T 0_x", "line 10: damaged, '0_x' is no bit"),
        ("segbits_gate.db", "GATE.T 0_3232", "line 10: damaged, '0_3232' lies outside a frame"),
        ("segbits_gate.db", "GATE.INVERT 01_02", "line 10: damaged, INVERT is there twice"),
        ("segbits_gate.db", "STORE.ON 01_02", "line 10: damaged, 'STORE.ON' is no feature of GATE"),
        ("ppips_gate.db", "GATE always", "line 3: damaged, 'GATE' is no feature"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, name: str, line: str, said: str):
    path = toy.write_tables(tmp_path) / name
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(Refused, match=said):
        Database(tmp_path, toy.PART).type("GATE")


def test_a_missing_table_is_named(tmp_path: Path):
    grid = toy.write_tables(tmp_path) / toy.DEVICE / "tilegrid.json"
    grid.unlink()
    with pytest.raises(Refused, match=r"no tilegrid.json for toy9tqg12-1"):
        Database(tmp_path, toy.PART)
    with pytest.raises(Refused, match=r"no tables of part toy9tqg12-2; it has toy9tqg12-1"):
        Database(tmp_path, "toy9tqg12-2")
    with pytest.raises(Refused, match=r"no such folder"):
        Database(tmp_path / "absent", toy.PART)
    with pytest.raises(Refused, match=r"not the name of a part"):
        Database(tmp_path, "../toy9")


@pytest.mark.parametrize(
    "change",
    [{"baseaddr": "0x00000100"}, {"frames": 4}, {"baseaddr": "0x00800000"}, {"offset": 100}, {"baseaddr": "nought"}],
)
def test_a_grid_of_another_chip_is_refused(tmp_path: Path, change: dict[str, object]):
    grid = toy.grid()
    bits = grid["GATE_X0Y0"]["bits"]
    assert isinstance(bits, dict)
    bits["CLB_IO_CLK"].update(change)
    (toy.write_tables(tmp_path) / toy.DEVICE / "tilegrid.json").write_text(json.dumps(grid))
    with pytest.raises(Refused, match="tile GATE_X0Y0: CLB_IO_CLK: (baseaddr|words)"):
        Database(tmp_path, toy.PART)


def test_a_part_with_fewer_frames_is_another_chip(tmp_path: Path):
    toy.write_part(toy.write_tables(tmp_path), toy.IDCODE, frames=2)
    with pytest.raises(Refused, match="this tile grid is of another chip"):
        Database(tmp_path, toy.PART)
