"""Tests of pleinair.scenery.clouds: the coarse grid, and a sky of clouds on it."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.scenery.clouds import Clouds, SkyGrid
from pleinair.scenery.layers import ASPECT, View
from pleinair.scenery.light import heavens_at


@pytest.mark.parametrize(("width", "height"), [(16, 16), (97, 55), (160, 90), (1200, 40)])
def test_the_grid_is_brought_up_bilinearly(width: int, height: int) -> None:
    view = View.of(width, height, 0)
    grid = SkyGrid.over(view)
    assert 65 <= grid.x.size <= 513
    # a plane that is linear in x and v is what bilinear interpolation keeps
    plane = (0.3 * grid.x - 0.7 * grid.v + 0.1).astype(np.float32)
    rows = slice(1, int(0.6 * height))
    expected = 0.3 * view.screen_x[None, :] - 0.7 * view.v[rows, None] + 0.1
    np.testing.assert_allclose(grid.enlarge(plane, rows), expected, atol=2e-5)
    columns = slice(2, width - 1)
    np.testing.assert_allclose(grid.patch(plane, rows, columns), expected[:, columns], atol=2e-5)


def test_a_sample_outside_is_the_nearest_inside() -> None:
    grid = SkyGrid.over(View.of(160, 90, 0))
    plane = 0.3 * grid.x - 0.7 * grid.v + 0.1
    assert grid.sample(plane, 0.5, 0.25) == pytest.approx(0.3 * 0.5 - 0.7 * 0.25 + 0.1)
    assert grid.sample(plane, -1.0, -1.0) == pytest.approx(0.1)
    assert grid.sample(plane, 9.0, 9.0) == pytest.approx(0.3 * ASPECT - 0.7 * 0.66 + 0.1, abs=1e-3)


def test_clouds_come_and_go_and_let_through_what_they_should() -> None:
    view = View.of(96, 54, 0)
    clouds = Clouds(view, SkyGrid.over(view))
    clear = []
    for hour in range(0, 240, 5):
        sky = clouds.at(heavens_at(hour * 3600.0, view.noon_x, 0))
        assert sky.through.dtype == np.float32 and all(c.dtype == np.float32 for c in sky.rgb)
        assert sky.through.min() >= 0.0 and sky.through.max() <= 1.0
        assert 0.0 <= sky.clear <= 1.0
        assert min(float(c.min()) for c in sky.rgb) > 0.0
        clear.append(float(sky.through.mean()))
    assert min(clear) < 0.6 and max(clear) > 0.75


def test_the_sky_is_brightest_about_the_sun() -> None:
    view = View.of(160, 90, 0)
    clouds = Clouds(view, SkyGrid.over(view))
    for hour in (8.0, 17.0):
        heavens = heavens_at(hour * 3600.0, view.noon_x, 0)
        sky = clouds.at(heavens)
        grid = SkyGrid.over(view)
        red = sky.rgb[0].astype(np.float64)
        there = grid.sample(red, heavens.sun.x, heavens.sun.v)
        assert there > np.percentile(red, 80)
