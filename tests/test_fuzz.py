"""Damaged and odd files of every kind: refused in one line, or taken (tests/fuzz.py)."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz import MEMORY, SECONDS, fuzz


def check(first: int, count: int) -> None:
    result = fuzz(first, count)
    print(result, file=sys.stderr)
    assert result["failures"] == [] and result["files"] == count
    assert result["slowest"][0] < SECONDS and result["grown"] < MEMORY
    # Neither everything nor nothing is refused: the files are hardly damaged, and damage is noticed.
    taken, refused = (sum(tally[i] for tally in result["seen"].values()) for i in (0, 1))
    assert min(taken, refused) > count / 10


def test_damaged_files():
    check(0, 400)


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files():
    check(0, 100_000)
