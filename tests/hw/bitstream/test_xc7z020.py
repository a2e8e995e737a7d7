"""The Pynq-Z2's chip: the features of a placed and routed accelerator to a .bit and back.

prjxray's tables and the accelerator's FASM are not part of the project. They are looked for in the folder that
PLEINAIR_OPEN_TOOLS names, and in ``data/xc7z020`` of what lies beside the checkout.
"""

from __future__ import annotations

import lzma
import os
import re
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.bitstream import layout
from pleinair_hw.bitstream.assemble import Assembly, assemble, place_text
from pleinair_hw.bitstream.database import Database
from pleinair_hw.bitstream.netlist import site_cells
from pleinair_hw.bitstream.read import MOST_FAULTS, check, features, name_of
from pleinair_hw.bitstream.wires import Wires
from tests.house import SHARED

PART = "xc7z020clg400-1"
FOLDER = next(
    (
        folder
        for folder in (Path(os.environ.get("PLEINAIR_OPEN_TOOLS", SHARED / "absent")), SHARED / "data" / "xc7z020")
        if (folder / "zynq7" / PART / "part.json").is_file()
    ),
    SHARED / "absent",
)
FASM = FOLDER / "example" / "design.fasm.xz"
pytestmark = pytest.mark.skipif(not FASM.is_file(), reason="prjxray's tables and an example for xc7z020 are not here")


@pytest.fixture(scope="module")
def chip() -> Database:
    """The chip's database."""
    return Database(FOLDER / "zynq7", PART)


@pytest.fixture(scope="module")
def design(chip: Database, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Assembly]:
    """The accelerator's FASM, its .bit, and what was assembled."""
    folder = tmp_path_factory.mktemp("design")
    fasm, bit = folder / "design.fasm", folder / "design.bit"
    fasm.write_bytes(lzma.decompress(FASM.read_bytes()))
    return fasm, bit, assemble(chip, fasm, bit)


def test_the_accelerators_features_all_become_bits(chip: Database, design: tuple[Path, Path, Assembly]):
    _, bit, made = design
    assert made.asked == 279_795 and len(made.placed) == 229_726 and made.frames.shape == (9_996, 101)
    data = bit.read_bytes()
    # AMD gives 32,364,512 bits for this chip (UG470).
    assert len(data) - data.index(b"e", 80) - 5 == layout.size(9_996, len(chip.row_ends)) == 32_364_512 // 8
    assert len(chip.row_ends) == 6


def test_the_file_has_each_feature_and_no_other(chip: Database, design: tuple[Path, Path, Assembly]):
    fasm, bit, _ = design
    report = check(chip, bit, fasm)
    assert report.right and (report.lost, report.added, report.wrong_codes, report.implied) == (0, 0, 0, 0)
    assert report.idcode == 0x03727093 and report.used == 1_027 and report.features == 228_222


def test_two_thousand_altered_bits_are_all_noticed(chip: Database, design: tuple[Path, Path, Assembly]):
    """One bit in each of 2,000 frames; every one of the frames' codes tells, and so does the comparison."""
    fasm, bit, _ = design
    rng = np.random.default_rng(1)
    data = np.frombuffer(bit.read_bytes(), np.uint8).copy()
    start = len(data) - 32_364_512 // 8 + bytes(data[-32_364_512 // 8 :]).index(bytes.fromhex("30004000")) + 8
    padded = np.setdiff1d(
        np.arange(9_996 + 12), [end + 1 + 2 * n + k for n, end in enumerate(chip.row_ends) for k in (0, 1)]
    )
    frames = rng.choice(9_996, 2_000, replace=False)
    bits = rng.integers(0, 3232, 2_000)
    np.bitwise_xor.at(data, start + padded[frames] * 404 + bits // 8, (1 << bits % 8).astype(np.uint8))
    altered = bit.with_name("altered.bit")
    altered.write_bytes(data.tobytes())
    report = check(chip, altered, fasm)
    assert report.wrong_codes == 2_000
    # Bits 0 to 12 of word 50 are the code itself; every other bit is lost or added besides.
    order = bits ^ 24  # bytes lie in a word from its upper end
    own = (order // 32 == 50) & (order % 32 < 13)
    assert report.lost + report.added == 2_000 - own.sum()
    assert len(report.faults) == MOST_FAULTS + 1


def test_every_segment_bit_there_and_back(chip: Database):
    """Each feature of each tile type of logic, interconnect, memory and arithmetic, alone in a tile of its own."""
    tiles: dict[str, list[str]] = {}
    for tile in chip.tiles.values():
        tiles.setdefault(tile.type, []).append(tile.name)
    kinds = ("CLBLL_L", "CLBLL_R", "CLBLM_L", "CLBLM_R", "INT_L", "INT_R", "BRAM_L", "DSP_R", "HCLK_L")
    checked = 0
    for kind_name in kinds:
        kind, here = chip.type(kind_name), tiles[kind_name]
        contents = [n for n, bus in enumerate(kind.buses) if bus == "BLOCK_RAM"]
        rest = [n for n, bus in enumerate(kind.buses) if bus != "BLOCK_RAM" and kind.ones[n]]
        # Contents have a bit each: many at once, in one tile the even ones and in another the odd ones.
        rounds = [(contents[0::2], [here[0]] * len(contents)), (contents[1::2], [here[1]] * len(contents))]
        rounds += [(rest[start : start + len(here)], here) for start in range(0, len(rest), len(here))]
        for numbers, places in rounds:
            wanted = {f"{place}.{kind.names[number]}" for number, place in zip(numbers, places, strict=False)}
            frames = place_text(chip, "\n".join(wanted)).frames
            found = {name_of(chip, code) for code in features(chip, frames).tolist()}
            assert wanted <= found
            extra = {name for name in found - wanted if not name.startswith("CFG_CENTER_MID")}
            # A few features' bits are part of another's; nothing else may appear.
            for name in extra:
                tile, _, feature = name.partition(".")
                (other,) = (n for n, place in zip(numbers, places, strict=False) if place == tile)
                assert set(kind.ones[kind.names.index(feature)]) <= set(kind.ones[other])
            checked += len(numbers)
    assert checked > 45_000


def test_a_block_rams_bits_come_back_as_its_content_and_modes(chip: Database, tmp_path: Path):
    """Both halves of one, each in modes of its own; nothing is joined to them, so their pins read 1."""
    tile = next(tile.name for tile in chip.tiles.values() if tile.type == "BRAM_L")
    rows = {0: 0x1234_5678_9ABC_DEF0 << 192 | 0xF, 63: 1 << 255}
    flags = [
        "IN_USE",
        "READ_WIDTH_A_18",
        "WRITE_WIDTH_B_9",
        "DOB_REG",
        "WRITE_MODE_A_NO_CHANGE",
        "WRITE_MODE_B_READ_FIRST",
    ]
    flags += ["ZINV_CLKARDCLK", "ZINV_ENARDEN", "ZINV_ENBWREN", "ZINV_RSTRAMB", "ZSRVAL_A[17:0] = 18'h3fff0"]
    flags += ["ZINIT_B[17:0] = 18'h00000", "INITP_07[255:0] = 256'h3"]
    flags += [f"INIT_{number:02X}[255:0] = 256'h{value:x}" for number, value in rows.items()]
    text = "".join(f"{tile}.RAMB18_Y0.{flag}\n" for flag in flags)
    text += f"{tile}.RAMB18_Y1.IN_USE\n{tile}.RAMB18_Y1.SDP_READ_WIDTH_36\n{tile}.RAMB18_Y1.SDP_WRITE_WIDTH_36\n"
    (tmp_path / "wires.bin").write_bytes(lzma.decompress((FOLDER / "chipdb-xc7z020.bin.xz").read_bytes()))
    wires = Wires(tmp_path / "wires.bin", chip)
    found = features(chip, place_text(chip, text).frames)
    cells = site_cells(chip, wires, found, [(tile, "RAMB18_X0Y0", "DOADO3"), (tile, "RAMB18_X0Y1", "DOBDO15")])
    lower, upper = (dict(re.findall(r"\.(\w+)\(([^()]*)\)", cell)) for cell in cells)
    wanted = {"READ_A": "18", "READ_B": "1", "WRITE_A": "1", "WRITE_B": "9", "MODE_A": "2", "MODE_B": "1", "REG_A": "0"}
    wanted |= {"REG_B": "1", "RESET_A": "18'h0000f", "FIRST_B": "18'h3ffff", "RESET_B": "18'h3ffff"}
    wanted |= {
        "INITP": f"2048'h{3 << 7 * 256:x}",
        "en_a": "1'b1",
        "rst_a": "1'b0",
        "rst_b": "1'b1",
        "we_a": "{1'b0, 1'b1}",
    }
    wanted["INIT"] = f"16384'h{sum(value << 256 * number for number, value in rows.items()):x}"
    assert {key: lower[key] for key in wanted} == wanted
    wanted = {"READ_A": "36", "WRITE_B": "36", "we_b": "{1'b1, 1'b1, 1'b1, 1'b1}", "en_a": "1'b0", "MODE_A": "0"}
    assert {key: upper[key] for key in wanted} == wanted
