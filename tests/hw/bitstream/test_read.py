"""A .bit read back: nothing lost, nothing added, and every altered bit told with its place."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from pleinair_hw.bitstream import layout
from pleinair_hw.bitstream.assemble import assemble, place_text
from pleinair_hw.bitstream.database import BitstreamError, Database
from pleinair_hw.bitstream.read import MOST_FAULTS, check, features, name_of
from tests.hw.bitstream import toy
from tests.hw.bitstream.test_assemble import SMALL


@pytest.fixture
def made(tmp_path: Path) -> tuple[Database, Path, Path]:
    """The invented chip, the FASM of a small design, and its .bit."""
    database, fasm, bit = toy.toy(tmp_path / "db"), tmp_path / "small.fasm", tmp_path / "small.bit"
    fasm.write_text(SMALL)
    assemble(database, fasm, bit)
    return database, fasm, bit


def test_a_whole_file_is_right(made):
    database, fasm, bit = made
    report = check(database, bit, fasm)
    assert report.right and not report.faults
    assert (report.frames, report.used, report.wrong_codes) == (12, 8, 0)
    # MUX.C sets what A and B set alone; they clear each other's bit, so neither is found.
    assert (report.features, report.asked, report.implied) == (10, 11, 0)
    assert report.idcode == toy.IDCODE and report.header["design"] == "pleinair"
    assert check(database, bit).right


def test_every_feature_alone_comes_back(tmp_path: Path):
    database = toy.toy(tmp_path)
    for tile in database.tiles.values():
        kind = database.type(tile.type)
        for name, ones in zip(kind.names, kind.ones, strict=True):
            text = f"{tile.name}.{name}"
            found = {name_of(database, code) for code in features(database, place_text(database, text).frames)}
            assert found == {"KEY_X1Y1.ON"} | ({text} if ones else set())


def test_a_random_design_comes_back(tmp_path: Path):
    rng = np.random.default_rng(9)
    database = toy.toy(tmp_path)
    for _ in range(20):
        wanted = {"KEY_X1Y1.ON"}
        for tile in database.tiles.values():
            kind = database.type(tile.type)
            names = [name for name in kind.names if not name.startswith("MUX.N") and rng.random() < 0.5]
            sources = [name for name in names if name in ("MUX.A", "MUX.B", "MUX.C")]
            wanted |= {f"{tile.name}.{name}" for name in names if name not in sources[1:]}
        frames = place_text(database, "\n".join(sorted(wanted))).frames
        assert {name_of(database, code) for code in features(database, frames).tolist()} == wanted


def alter(bit: Path, position: int) -> None:
    """Turn one bit of a file's frames round, the code left as it was. ``position`` counts padding as well."""
    data = bytearray(bit.read_bytes())
    start = _frames_start(data)
    word, offset = divmod(position, 32)
    data[start + 4 * word + 3 - offset // 8] ^= 1 << offset % 8
    bit.write_bytes(data)


def _frames_start(data: bytes) -> int:
    return data.index((0x50000000 | 18 * 101).to_bytes(4, "big")) + 4


def test_an_altered_bit_is_told_with_frame_word_and_tile(made):
    database, fasm, bit = made
    alter(bit, 1 * 3232 + 0)  # MUX.A, frame 1
    report = check(database, bit, fasm)
    assert (report.lost, report.added, report.wrong_codes) == (1, 0, 1)
    told = "lost: the bit at frame 1 (0x00000001), word 0, bit 0 (GATE_X0Y0), of GATE_X0Y0.MUX.A"
    assert told in report.faults
    assert "the error-correcting code of frame 1 (0x00000001) is wrong" in report.faults
    assert any(fault.startswith("the checksum is") for fault in report.faults)


def test_an_added_bit_is_told(made):
    database, fasm, bit = made
    alter(bit, 2 * 3232 + 10)
    report = check(database, bit, fasm)
    assert (report.lost, report.added) == (0, 1)
    told = "added: the bit at frame 2 (0x00000002), word 0, bit 10 (GATE_X0Y0), as in GATE_X0Y0.INVERT"
    assert told in report.faults


def test_a_bit_of_no_feature_is_told(made):
    database, _, bit = made
    alter(bit, 2 * 3232 + 1000)
    report = check(database, bit)
    assert report.unexplained == 1
    assert "no feature explains the bit at frame 2 (0x00000002), word 31, bit 8 (no tile)" in report.faults


def test_a_bit_of_the_padding_is_told(made):
    database, fasm, bit = made
    alter(bit, 5 * 3232 + 40)
    report = check(database, bit, fasm)
    assert "the padding frame 5 of the file is not empty (word 1)" in report.faults and report.wrong_codes == 0


def test_all_frames_altered_at_once_are_counted(made):
    database, fasm, bit = made
    for frame in range(18):
        alter(bit, frame * 3232 + 7)
        alter(bit, frame * 3232 + 1999)
    report = check(database, bit, fasm)
    assert report.wrong_codes == 12 and report.added == 24
    assert len(report.faults) == MOST_FAULTS + 1 and report.faults[-1].startswith("and ")


def test_no_altered_bit_of_a_whole_file_stays_unnoticed(made):
    """Header, packets, frames, padding: without the FASM file, four hundred single bits anywhere."""
    database, _, bit = made
    data = bit.read_bytes()
    rng = np.random.default_rng(3)
    head = 8 * (_frames_start(data))
    places = [*rng.choice(head, 150, replace=False), *(head + rng.choice(8 * len(data) - head, 250, replace=False))]
    for place in map(int, places):
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        bit.write_bytes(altered)
        try:
            faults = check(database, bit).faults
        except BitstreamError as refused:
            faults = (str(refused),)
        assert faults and all("\n" not in fault for fault in faults), place


def test_altered_frames_are_noticed_without_our_checksum(made):
    """As in a file that another program wrote: by the codes alone."""
    database, fasm, bit = made
    assemble(database, fasm, bit, "sunrise")
    bit.write_bytes(bit.read_bytes().replace(b"Version=pleinair", b"Version=2025.1.0"))
    assert check(database, bit, fasm).right
    alter(bit, 17 * 101 * 32 - 1 - 3232)
    report = check(database, bit)
    assert report.faults and report.wrong_codes == 1


def test_another_chips_file_is_told(made, tmp_path: Path):
    database, fasm, bit = made
    toy.write_part(database.folder, 0x0BADF00D)
    other = Database(database.folder, toy.PART)
    report = check(other, bit, fasm)
    assert report.faults == ("IDCODE 0x0BADC0DE, toy9tqg12-1 has 0x0BADF00D",)
    toy.write_part(database.folder, 0x1BADC0DE)  # another revision of the same chip
    assert check(Database(database.folder, toy.PART), bit, fasm).right
    toy.write_part(database.folder, toy.IDCODE, frames=4)
    report = check(Database(database.folder, toy.PART), bit, fasm)
    assert "1,818 words of frames, toy9tqg12-1 has 1,919" in report.faults[0] and report.frames == 0


def test_what_is_no_bitstream_is_refused(made, tmp_path: Path):
    database, _, bit = made
    with pytest.raises(BitstreamError, match="No such file"):
        check(database, tmp_path / "none.bit")
    with pytest.raises(BitstreamError, match="not a file"):
        check(database, tmp_path)
    bit.write_bytes(bit.read_bytes()[:-100])
    with pytest.raises(BitstreamError, match="bytes after the header"):
        check(database, bit)


def test_a_missing_or_foreign_idcode_is_told(made):
    database, fasm, bit = made
    frames = place_text(database, SMALL).frames
    when = datetime.datetime(2000, 1, 1)
    data = layout.write(frames, database.row_ends, database.idcode, "x", "toy9abc1", when)
    bit.write_bytes(data)
    assert check(database, bit, fasm).faults == (
        "the header names the part 'toy9abc1', toy9tqg12-1 is written 'toy9tqg12'",
    )
