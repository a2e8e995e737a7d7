"""Tests of pleinair.scenery.sky: stars by night, and sun and moon where the heavens say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.clouds import SkyGrid
from pleinair.scenery.layers import ASPECT, View
from pleinair.scenery.light import Heavens, Moment, Moon, Sun, heavens_at
from pleinair.scenery.sky import Sky

VIEW = View.of(320, 180, 0)
GRID = SkyGrid.over(VIEW)
SKY = Sky.prepare(VIEW, GRID)
BELOW = Sun(0.8, 1.5, -1.0)


def _painted(heavens: Heavens, *, air: float, through: float = 1.0) -> np.ndarray:
    """The sky layer in front of a plain sky of one grey, behind even clouds."""
    shape = (GRID.v.size, GRID.x.size)
    grey, clouds = np.full(shape, air, np.float32), np.full(shape, through, np.float32)
    width = np.zeros(VIEW.width, np.float32)
    moment = Moment(heavens, (grey, grey, grey), clouds, 1.0, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (width, width, width))
    canvas = np.full((3, VIEW.height, VIEW.width), -1.0, np.float32)
    SKY.paint(canvas, moment)
    return canvas


def _heavens(sun: Sun, moon: Moon, dark: float) -> Heavens:
    return dataclasses.replace(heavens_at(0.0, VIEW.noon_x, 0), sun=sun, moon=moon, dark=dark)


def _bright_spot(difference: np.ndarray) -> tuple[float, float, float]:
    """Scene x and v of the middle of what is bright, and its area in pixels."""
    ys, xs = np.nonzero(difference > 0.5 * difference.max())
    return (xs.mean() + 0.5) * ASPECT / VIEW.width, (ys.mean() + 0.5) / VIEW.height, float(xs.size)


def test_it_covers_the_frame_down_to_the_lands_end() -> None:
    canvas = _painted(_heavens(BELOW, Moon(0.5, 2.0, 0.5, 0.0), 0.0), air=0.4)
    assert np.all(canvas[:, : VIEW.land_end] == np.float32(0.4))
    assert np.all(canvas[:, VIEW.land_end :] == -1.0)


def test_the_sun_is_a_disc_where_the_heavens_say() -> None:
    canvas = _painted(_heavens(Sun(0.6, 0.3, 0.7), Moon(0.5, 2.0, 0.5, 0.0), 0.0), air=0.4)
    x, v, area = _bright_spot(canvas[0] - 0.4)
    assert (x, v) == (pytest.approx(0.6, abs=0.005), pytest.approx(0.3, abs=0.005))
    assert area == pytest.approx(np.pi * (0.028 * 180) ** 2, rel=0.2)


def test_a_cloud_dims_the_sun() -> None:
    heavens = _heavens(Sun(0.6, 0.3, 0.7), Moon(0.5, 2.0, 0.5, 0.0), 0.0)
    clear, cloudy = _painted(heavens, air=0.4), _painted(heavens, air=0.4, through=0.0)
    assert 0.0 < cloudy.max() - 0.4 < 0.3 * (clear.max() - 0.4)


@pytest.mark.parametrize(("phase", "side"), [(0.25, 1.0), (0.75, -1.0)])
def test_a_half_moon_is_lit_on_its_side(phase: float, side: float) -> None:
    """A waxing moon in the northern evening is lit on the right, where the sun has set."""
    heavens = _heavens(BELOW, Moon(0.9, 0.25, phase, 0.5), 0.25)
    x, v, area = _bright_spot(_painted(heavens, air=0.1)[0, : int(0.5 * VIEW.height)] - 0.1)
    assert side * (x - 0.9) > 0.002 and abs(v - 0.25) < 0.01
    full = _heavens(BELOW, Moon(0.9, 0.25, 0.5, 0.5), 0.25)
    assert area < 0.75 * _bright_spot(_painted(full, air=0.1)[0] - 0.1)[2]


def test_stars_come_with_the_dark_turn_and_hide_behind_clouds() -> None:
    moon = Moon(0.5, 2.0, 0.5, 0.0)
    night = _heavens(BELOW, moon, 1.0)
    canvas = _painted(night, air=0.05)
    lit = (canvas[0] > 0.2)[: VIEW.land_end]
    assert 100 < lit.sum() < 0.1 * lit.size
    assert not (_painted(_heavens(BELOW, moon, 0.3), air=0.05)[0] > 0.2).any()
    assert not (_painted(night, air=0.05, through=0.0)[0] > 0.2).any()
    later = _painted(dataclasses.replace(night, hours=1.0), air=0.05)
    assert (lit & (later[0] > 0.2)[: VIEW.land_end]).sum() < 0.5 * lit.sum()


def test_stars_drown_about_a_shining_moon() -> None:
    """The stars about the moon's disc, each at 1 - 1 / (1 + 60 r^2) of its light."""
    away, there = (_painted(_heavens(BELOW, Moon(0.9, v, 0.5, 1.0), 1.0), air=0.0)[0] for v in (2.0, 0.2))
    r2 = (VIEW.screen_x[None, :] - 0.9) ** 2 + (VIEW.v[:, None] - 0.2) ** 2
    ring = (r2 > 0.045**2) & (r2 < 0.15**2)
    assert away[ring].max() > 0.1
    left = 1 - 1 / (1 + 60 * r2[ring])
    # a star is dimmed as a whole, by where its middle lies
    np.testing.assert_allclose(there[ring], left * away[ring], atol=0.06)
    assert there[ring].sum() == pytest.approx((left * away[ring]).sum(), rel=0.1)
