"""nextpnr's chip database: nodes, pips and pins of an invented chip; damaged files are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.bitstream.database import BitstreamError
from pleinair_hw.bitstream.wires import ROUTING, SITE_OUT, Wires
from tests.hw.bitstream.fabric import fabric, write_tables, write_wires


def test_a_node_joins_wires_of_several_tiles(tmp_path: Path):
    _, wires = fabric(tmp_path)
    interconnect, logic = wires.place("INT_L_X0Y0"), wires.place("CLBLL_L_X0Y0")
    assert (interconnect, logic, wires.width, wires.height) == (2, 3, 2, 2)
    own = (interconnect, wires.type_at(interconnect).numbers["IMUX1"])
    other = (logic, wires.type_at(logic).numbers["CLBLL_IMUX1"])
    assert wires.root(own) == wires.root(other) == own
    assert list(wires.members(own)) == [own, other]
    alone = (logic, wires.type_at(logic).numbers["CLBLL_LL_AX"])
    assert wires.root(alone) == alone and list(wires.members(alone)) == [alone]
    processor = (wires.place("PSS2_X0Y0"), wires.type_at(1).numbers["PSS_IN1"])
    assert wires.root(processor) == (interconnect, wires.type_at(interconnect).numbers["TO_PS1"])


def test_pips_and_pins_are_named(tmp_path: Path):
    _, wires = fabric(tmp_path)
    logic = wires.type_at(3)
    drivers = logic.drivers(logic.numbers["CLBLL_LOGIC_OUTS1"])
    assert [(logic.wires[source], kind, name) for source, kind, name in drivers] == [
        ("CLBLL_LL_AQ", ROUTING, "CLBLL_LOGIC_OUTS1.CLBLL_LL_AQ")
    ]
    assert [kind for _, kind, _ in logic.drivers(logic.numbers["CLBLL_LL_AQ"])] == [SITE_OUT]
    # A table's inputs may stand for each other; the pin is the one of that name.
    assert logic.wires[logic.pins["SLICE_X0Y0.A1"]] == "CLBLL_LL_A1"
    assert logic.wires[logic.pins["SLICE_X0Y0.COUT"]] == "CLBLL_LL_COUT"


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("x.bin", b"", "damaged, or no chip database"),
        ("x.bin", bytes(100), "no chip database of nextpnr"),
        ("none.bin", None, "No such file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str):
    database = write_tables(tmp_path / "db")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BitstreamError, match=said):
        Wires(tmp_path / name, database)


def test_another_chip_or_version_is_refused(tmp_path: Path):
    database = write_tables(tmp_path / "db")
    with pytest.raises(BitstreamError, match="of xilinx xc7a35t, not of fab1"):
        Wires(write_wires(tmp_path / "a.bin", device="xc7a35t"), database)
    with pytest.raises(BitstreamError, match="version 7 of nextpnr's chip database; read is 6"):
        Wires(write_wires(tmp_path / "b.bin", version=7), database)


def test_a_damaged_file_ends_in_one_sentence(tmp_path: Path):
    """Whatever byte is altered or wherever the file ends: an answer or a refusal, never another error."""
    database = write_tables(tmp_path / "db")
    whole = write_wires(tmp_path / "whole.bin").read_bytes()
    rng, path = np.random.default_rng(2), tmp_path / "x.bin"
    refused = 0
    for number in range(300):
        data = bytearray(whole[: int(rng.integers(len(whole)))] if number % 3 == 0 else whole)
        for _ in range(3):
            if data:
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            wires = Wires(path, database)
            for place in range(4):
                kind = wires.type_at(place)
                for wire in range(len(kind.wires)):
                    list(wires.members(wires.root((place, wire))))
        except BitstreamError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100
