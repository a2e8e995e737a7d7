"""Rates: whole, decimal and fractional ones mean what films mean by them; others are refused."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from pleinair.errors import OptionError
from pleinair.films.rate import rate_text, rate_to_json, read_rate


@pytest.mark.parametrize(
    ("value", "rate", "shown"),
    [
        (24, 24, "24"),
        ("24", 24, "24"),
        (25.0, 25, "25"),
        ("1", 1, "1"),
        ("240", 240, "240"),
        ("24000/1001", Fraction(24000, 1001), "23.976"),
        ("48/2", 24, "24"),
        (Fraction(30000, 1001), Fraction(30000, 1001), "29.97"),
        ("23.976", Fraction(24000, 1001), "23.976"),
        (23.976, Fraction(24000, 1001), "23.976"),
        ("23.98", Fraction(24000, 1001), "23.976"),
        ("23.976023976", Fraction(24000, 1001), "23.976"),
        ("29.97", Fraction(30000, 1001), "29.97"),
        ("59.94", Fraction(60000, 1001), "59.94"),
        ("12.5", Fraction(25, 2), "12.5"),
        ("29.9", Fraction(299, 10), "29.9"),
        ("14.985", Fraction(2997, 200), "14.985"),
    ],
)
def test_rates(value, rate, shown):
    read = read_rate(value)
    assert read == rate and type(read) is type(rate) and rate_text(read) == shown
    assert read_rate(json.loads(json.dumps(rate_to_json(read)))) == rate


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0.5", "241", "240.5", "-1", "x", "1e2", "nan", "inf", "24/0", "0/0", "24000/1001/1", " 24", "24\n"),
        *("9999999/1000001", "0x10", "\u0662\u0664", True),
    ],
)
def test_rates_refused(text):
    with pytest.raises(OptionError) as caught:
        read_rate(text)
    assert f"fps {str(text)!r}: write a number from 1 to 240" in str(caught.value)
