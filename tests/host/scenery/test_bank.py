"""Tests of pleinair.scenery.bank: the meadow closes the picture below, and the cypresses stand at its edge."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.bank import Bank, Cypresses
from pleinair.scenery.layers import View


@pytest.mark.parametrize("seed", [0, 1, 9])
@pytest.mark.parametrize(("width", "height"), [(16, 16), (97, 55), (320, 180)])
def test_the_bank_covers_the_lower_edge(width: int, height: int, seed: int) -> None:
    bank = Bank.prepare(View.of(width, height, seed))
    assert bank.y1 == height and (bank.x0, bank.x1) == (0, width)
    assert np.all(bank.alpha[-1] > 0.9)
    assert np.all(np.diff(bank.alpha.astype(float), axis=0) > -1e-6)


def test_flowers_are_few_and_bright() -> None:
    bank = Bank.prepare(View.of(640, 360, 0))
    red, green, _ = bank.albedo
    poppies = (red > 0.6) & (green < 0.35) & (bank.alpha > 0.9)
    assert 0 < poppies.sum() < 0.05 * poppies.size


def test_three_cypresses_stand_at_the_edge() -> None:
    view = View.of(320, 180, 0)
    trees = Cypresses.prepare(view)
    assert trees.x0 < 0.03 * 320 and trees.x1 < 0.32 * 320
    # seen from above: three dark stems at their foot, and one tall tip
    tip = int(np.argmax(trees.alpha.max(axis=1) > 0.5)) + trees.y0
    assert 0.15 < tip / 180 < 0.25
    low = trees.alpha[int(0.55 * 180) - trees.y0] > 0.5
    starts = np.flatnonzero(np.diff(low.astype(int)) == 1)
    assert len(starts) >= 2
    assert max(float(a[trees.alpha > 0.9].max()) for a in trees.albedo) < 0.6


def test_a_mirrored_view_has_the_mirrored_bank() -> None:
    plain = View.of(96, 54, 0)
    flipped = dataclasses.replace(plain, flip=True, x=np.ascontiguousarray(plain.x[::-1]))
    a, b = Bank.prepare(plain), Bank.prepare(flipped)
    np.testing.assert_array_equal(a.alpha[:, ::-1], b.alpha)
    np.testing.assert_array_equal(-a.side[:, ::-1], b.side)
