"""Text from anywhere, made fit for a terminal."""

from __future__ import annotations

import pytest

from pleinair.text import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("  two\n\tlines  ", "two lines"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("nul\0", "nul\\x00"),
        ("Vétheuil — 夜", "Vétheuil — 夜"),
        ("lone \ud800", "lone \\ud800"),
        ("right to left \u202e", "right to left \\u202e"),
        ("", ""),
    ],
)
def test_one_printable_line(text, line):
    assert one_line(text) == line
    assert line.isprintable() and line.encode() is not None
    assert one_line(one_line(text)) == line
