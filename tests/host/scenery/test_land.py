"""Tests of pleinair.scenery.land: the land stands from the crest to the shore, and is mirrored as a whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.land import Land
from pleinair.scenery.layers import View, shores


@pytest.mark.parametrize("seed", [0, 1, 9, 2**70])
def test_sky_above_land_below(seed: int) -> None:
    view = View.of(160, 90, seed)
    land = Land.prepare(view)
    assert (land.y1, land.x0, land.x1) == (view.land_end, 0, 160)
    assert not land.alpha[0].any()
    assert np.all(land.alpha[-1] > 0.999)
    # once below the crest there is no hole
    filled = np.maximum.accumulate(land.alpha > 0.999, axis=0)
    assert np.all(land.alpha[filled] > 0.98)
    assert all(float(plane.min()) >= 0.0 and float(plane.max()) <= 1.2 for plane in land.albedo)
    assert np.abs(land.side).max() <= 1.0


def test_far_is_hazier_than_near() -> None:
    land = Land.prepare(View.of(160, 90, 0))
    solid = land.alpha > 0.999
    crest = np.argmax(solid, axis=0)
    assert np.mean(land.haze[crest, np.arange(160)]) > 2.0 * np.mean(land.haze[-3])


def test_a_pale_strand_lies_at_the_water() -> None:
    view = View.of(320, 180, 0)
    land = Land.prepare(view)
    at_shore = (shores(view.x) * 180).astype(int) - land.y0
    columns = np.arange(320)
    red = land.albedo[0]
    assert red[at_shore, columns].mean() > red[at_shore - 6, columns].mean() + 0.08


def test_a_mirrored_view_has_the_mirrored_land() -> None:
    plain = View.of(96, 54, 0)
    flipped = dataclasses.replace(plain, flip=True, x=np.ascontiguousarray(plain.x[::-1]))
    a, b = Land.prepare(plain), Land.prepare(flipped)
    for p, q in zip((*a.albedo, a.haze, a.alpha), (*b.albedo, b.haze, b.alpha), strict=True):
        np.testing.assert_array_equal(p[:, ::-1], q)
    np.testing.assert_array_equal(-a.side[:, ::-1], b.side)
