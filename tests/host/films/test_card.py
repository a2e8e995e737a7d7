"""Title cards and split pictures."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.films.card import split_picture, title_card


@pytest.mark.parametrize("size", [(160, 120), (640, 360), (1920, 1080), (1080, 1920)])
@pytest.mark.parametrize(
    "title", ["Roof", "Roof, a month of autumn above the river and its three bridges, from the south"]
)
def test_a_title_stands_in_the_middle_and_within_the_picture(size, title):
    card = title_card(*size, title, "2026-11-01 to 2026-11-30")
    assert card.shape == (size[1], size[0], 3) and card.dtype == np.uint8
    rows, columns = np.nonzero(card.max(axis=2) > 60)
    assert len(rows)
    left, right = columns.min(), size[0] - 1 - columns.max()
    assert min(left, right) >= 0.02 * size[0] and abs(left - right) <= 0.08 * size[0] + 2
    assert 0.2 * size[1] < rows.min() and rows.max() < 0.8 * size[1]


def test_a_film_without_dates_has_one_line():
    both, one = title_card(640, 360, "Roof", "2026"), title_card(640, 360, "Roof")
    assert (both > 60).sum() > (one > 60).sum()


def test_halves_and_wholes():
    original, painting = np.full((48, 64, 3), 10, np.uint8), np.full((48, 64, 3), 200, np.uint8)
    half = split_picture(original, painting, "half")
    assert half.shape == (48, 64, 3)
    assert (half[:, :30] == 10).all() and (half[:, 31:33] == 255).all() and (half[:, 34:] == 200).all()
    beside = split_picture(original, painting, "beside")
    assert (beside[:, :64] == 10).all() and (beside[:, 64:] == 200).all()
