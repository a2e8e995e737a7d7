"""FASM: every way to write a feature, and what is none."""

from __future__ import annotations

import pytest

from pleinair_hw.bitstream.database import BitstreamError
from pleinair_hw.bitstream.fasm import Entry, parse

TEXT = """\
# routing for net a[0]
GATE_X0Y0.MUX.A

GATE_X0Y0.T.INIT[3:0] = 4'b1010
GATE_X0Y0.T.INIT[2]   # one of them
STORE_X1Y0.DATA_0[31:0] = 32'hDEAD_beef {.attribute = "value"}
STORE_X1Y0.DATA_1[7:4] = 'd9
STORE_X1Y0.ON = 0
STORE_X1Y0.DATA_2[5:3]=3'o7
"""


def test_features_are_read_as_they_are_written():
    assert list(parse(TEXT)) == [
        Entry(2, "GATE_X0Y0", "MUX.A", None, 1),
        Entry(4, "GATE_X0Y0", "T.INIT", 0, 0b1010),
        Entry(5, "GATE_X0Y0", "T.INIT", 2, 1),
        Entry(6, "STORE_X1Y0", "DATA_0", 0, 0xDEADBEEF),
        Entry(7, "STORE_X1Y0", "DATA_1", 4, 9),
        Entry(8, "STORE_X1Y0", "ON", None, 0),
        Entry(9, "STORE_X1Y0", "DATA_2", 3, 7),
    ]
    assert list(map(str, parse("A.B[4]\nA.C"))) == ["A.B[4]", "A.C"]


@pytest.mark.parametrize(
    "line, said",
    [
        ("nonsense", "'nonsense' is no feature"),
        ("A.B = 4'b", "is no feature"),
        ("A.B[1:0] = 2'b12", "'12' is no number of base 2"),
        ("A.B[1:0] = 2'b_", "'_' is no number of base 2"),
        ("A.B[0:3] = 4'b1", "allowed are up to 4096 bits, highest first"),
        ("A.B[9000:0] = 1", "allowed are up to 4096 bits, highest first|is no feature"),
        ("A.B[3:0] = 4'h1F", "does not fit the 4 bits of A.B"),
        ("A.B[3:0] = 8'h1", "does not fit the 4 bits of A.B"),
        ("A.B = 2", "does not fit the 1 bits of A.B"),
        ("A.B" + "x" * 20_000, "longer than 20,000 characters"),
        ("A\x00.B", "is no feature"),
    ],
)
def test_what_is_no_feature_is_refused_with_its_line(line: str, said: str):
    with pytest.raises(BitstreamError, match=r"design\.fasm: line 2: ") as refused:
        list(parse(f"GATE_X0Y0.MUX.A\n{line}\n", "design.fasm"))
    assert refused.match(said) and "\n" not in str(refused.value)
