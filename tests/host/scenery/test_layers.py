"""Tests of pleinair.scenery.layers: where scene points lie in a frame, and how paint covers paint."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.layers import ASPECT, Relief, View, painting_bands, preparing_bands, shore, shores
from pleinair.scenery.light import Moment, heavens_at


def _moment(width: int) -> Moment:
    """A moment whose light and air are plain numbers."""
    plane = np.zeros((2, 2), np.float32)
    return Moment(
        heavens=heavens_at(0.0, 0.8, 0),
        sky=(plane, plane, plane),
        through=plane,
        clear=1.0,
        base=(0.5, 0.6, 0.7),
        slope=(0.25, 0.1, -0.2),
        air=tuple(np.full(width, value, np.float32) for value in (0.9, 0.8, 0.7)),  # type: ignore[arg-type]
    )


def test_a_view_spans_the_scene_whatever_its_shape() -> None:
    for width, height in ((16, 16), (97, 55), (1920, 1080)):
        view = View.of(width, height, 0)
        assert not view.flip
        assert view.x.shape == (width,) and view.v.shape == (height,)
        assert view.x[0] == pytest.approx(ASPECT / width / 2) and view.x[-1] == pytest.approx(ASPECT - view.x[0])
        assert view.v[0] + view.v[-1] == pytest.approx(1.0)
        assert view.column(ASPECT) == pytest.approx(width)
        assert 0 < view.land_end <= height


def test_half_of_the_seeds_are_mirrored() -> None:
    views = [View.of(16, 16, seed) for seed in range(200)]
    assert 70 < sum(view.flip for view in views) < 130
    mirrored = next(view for view in views if view.flip)
    np.testing.assert_allclose(mirrored.x, mirrored.screen_x[::-1])
    assert mirrored.column(0.0) == pytest.approx(16.0)
    assert mirrored.noon_x == pytest.approx(ASPECT - 0.8)


@pytest.mark.parametrize("start", [0, 13])
@pytest.mark.parametrize("width", [1, 640, 4096, 10**7])
def test_bands_cover_every_row_once(start: int, width: int) -> None:
    for bands in (painting_bands, preparing_bands):
        rows = [row for band in bands(start, 200, width) for row in range(band.start, band.stop)]
        assert rows == list(range(start, 200))
    assert max(b.stop - b.start for b in painting_bands(0, 200, 4096)) * 4096 <= 40960


def test_a_polygon_covers_its_area() -> None:
    view = View.of(160, 90, 0)
    for points in ([(0.5, 0.2), (0.9, 0.25), (0.6, 0.7)], [(0.6, 0.7), (0.9, 0.25), (0.5, 0.2)]):
        y0, x0, cover = view.polygon(points)
        assert cover.min() == 0.0 and cover.max() == 1.0
        # the shoelace formula, in pixels of 1/90 by 1/90
        area = 0.5 * abs(sum(a * d - c * b for (a, b), (c, d) in zip(points, points[1:] + points[:1], strict=True)))
        assert cover.sum() == pytest.approx(area * 90 * 90, rel=0.02)
        ys, xs = np.nonzero(cover == 1.0)
        assert (x0 + xs.min()) * ASPECT / 160 >= 0.5 and (y0 + ys.max()) / 90 <= 0.7


def test_a_wall_thinner_than_a_pixel_fades() -> None:
    view = View.of(160, 90, 0)
    width = 0.25 * ASPECT / 160
    _, _, cover = view.polygon([(0.5, 0.2), (0.5 + width, 0.2), (0.5 + width, 0.6), (0.5, 0.6)])
    assert cover.max() < 0.5
    assert cover.sum() == pytest.approx(0.25 * 0.4 * 90, rel=0.6)


def test_the_shore_of_a_point_and_of_many() -> None:
    x = np.linspace(0, ASPECT, 33)
    np.testing.assert_allclose(shores(x), [shore(float(v)) for v in x], atol=1e-15)
    assert shore(0.0) == 0.612 and shore(ASPECT) == 0.65


def test_paint_over_paint() -> None:
    """Porter and Duff's "over" (1984), with colours kept apart from coverage."""
    relief = Relief(2, 6, 3, 8)
    rng = np.random.default_rng(0)
    alpha = np.zeros((4, 5))
    premultiplied = np.zeros((4, 5))
    for _ in range(3):
        cover = rng.uniform(0.05, 1, (9, 10))
        red = float(rng.uniform())
        relief.lay(0, 0, cover, colour=(red, 0.0, 0.0), side=red, haze=0.0)
        c = cover[2:6, 3:8]
        premultiplied = c * red + premultiplied * (1 - c)
        alpha = c + alpha * (1 - c)
    np.testing.assert_allclose(relief.alpha, alpha, atol=1e-6)
    np.testing.assert_allclose(relief.albedo[0], premultiplied / alpha, atol=1e-6)
    np.testing.assert_allclose(relief.side, premultiplied / alpha, atol=1e-6)


def test_paint_beyond_the_layer_is_cut() -> None:
    relief = Relief(2, 6, 3, 8)
    for y0, x0 in ((-5, 0), (6, 0), (0, 8), (0, -9)):
        relief.lay(y0, x0, np.ones((4, 3)), colour=(1.0, 1.0, 1.0), side=0.0, haze=0.0)
    assert not relief.alpha.any()
    relief.lay(5, 7, np.ones((4, 3)), colour=(1.0, 1.0, 1.0), side=0.0, haze=0.0)
    assert relief.alpha.sum() == 1.0 and relief.alpha[3, 4] == 1.0


def test_a_relief_is_lit_by_side_behind_its_haze() -> None:
    relief = Relief(1, 3, 2, 6)
    relief.lay(1, 2, np.full((2, 4), 0.5), colour=(0.4, 0.5, 0.6), side=-0.5, haze=0.25)
    canvas = np.full((3, 5, 7), 0.125, np.float32)
    relief.paint(canvas, _moment(7))
    for c, (albedo, base, slope, air) in enumerate(
        ((0.4, 0.5, 0.25, 0.9), (0.5, 0.6, 0.1, 0.8), (0.6, 0.7, -0.2, 0.7))
    ):
        lit = albedo * (base - 0.5 * slope)
        seen = lit + 0.25 * (air - lit)
        np.testing.assert_allclose(canvas[c, 1:3, 2:6], 0.5 * seen + 0.5 * 0.125, atol=1e-6)
    outside = np.ones((5, 7), bool)
    outside[1:3, 2:6] = False
    assert np.all(canvas[:, outside] == 0.125)


def test_a_layer_outside_the_frame_paints_nothing() -> None:
    canvas = np.zeros((3, 5, 7), np.float32)
    Relief(1, 3, 6, 4).paint(canvas, _moment(7))
    Relief(3, 1, 0, 4).paint(canvas, _moment(7))
    assert not canvas.any()


def test_sides_are_mirrored() -> None:
    relief = Relief(0, 2, 0, 2)
    relief.lay(0, 0, np.ones((2, 2)), colour=(1.0, 1.0, 1.0), side=0.75, haze=0.0)
    relief.mirror_sides()
    assert np.all(relief.side == -0.75)


def test_a_view_is_not_changed_by_its_users() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        View.of(16, 16, 0).width = 17  # type: ignore[misc]
