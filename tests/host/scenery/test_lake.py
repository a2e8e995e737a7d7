"""Tests of pleinair.scenery.lake: a still lake is a mirror, ripples shake it, light lies on it, a boat floats on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.lake import Boat, Lake
from pleinair.scenery.layers import ASPECT, View, shores
from pleinair.scenery.light import Moment, Moon, Sun, heavens_at

VIEW = View.of(320, 180, 0)


NO_SUN = Sun(0.8, 1.5, -1.0)
NO_MOON = Moon(0.5, 2.0, 0.5, 0.0)


def _moment(sun: Sun = NO_SUN, moon: Moon = NO_MOON) -> Moment:
    plane = np.zeros((2, 2), np.float32)
    heavens = heavens_at(0.0, 0.8, 0)
    black = (0.0, 0.0, 0.0)
    light = heavens.light._replace(zenith=black)
    heavens = dataclasses.replace(heavens, light=light, sun=sun, moon=moon)
    air = (np.zeros(VIEW.width, np.float32),) * 3
    return Moment(heavens, (plane,) * 3, plane, 1.0, black, black, air)


def _still() -> Lake:
    lake = Lake.prepare(VIEW)
    zero = np.zeros_like(lake.waves[0])
    # a lake without ripples that shows nothing of its own colour
    return dataclasses.replace(lake, waves=(zero, zero), calm=zero)


def test_a_still_lake_is_a_mirror() -> None:
    canvas = np.random.default_rng(0).uniform(0, 1, (3, 180, 320)).astype(np.float32)
    # smooth along each column, so that half rows can be told
    canvas = np.cumsum(canvas, axis=1) / 100
    canvas = canvas.astype(np.float32)
    above = canvas.copy()
    _still().paint(canvas, _moment())
    rows = np.arange(180) + 0.5
    for column in (0, 100, 319):
        shore = float(shores(VIEW.x)[column]) * 180
        for row in (125, 140, 160, 179):
            # half a row above the middle of the pixel
            mirrored = np.clip(2 * shore - row, 0.5, VIEW.land_end - 1.5)
            expected = np.interp(mirrored, rows, above[1, :, column])
            assert canvas[1, row, column] == pytest.approx(expected, abs=1e-4)


def test_nothing_above_the_shore_is_changed() -> None:
    canvas = np.random.default_rng(0).uniform(0, 1, (3, 180, 320)).astype(np.float32)
    before = canvas.copy()
    Lake.prepare(VIEW).paint(canvas, _moment())
    above = (np.arange(180)[:, None] + 1) / 180 < shores(VIEW.x)[None, :]
    assert np.array_equal(canvas[:, above], before[:, above])
    below = (np.arange(180)[:, None] - 1) / 180 > shores(VIEW.x)[None, :]
    assert np.mean(canvas[0][below] != before[0][below]) > 0.99


def test_ripples_are_as_strong_in_both_patterns_and_finer_far_away() -> None:
    lake = Lake.prepare(VIEW)
    a, b = (float(wave.std()) for wave in lake.waves)
    assert 0.8 < a / b < 1.25
    assert abs(np.corrcoef(lake.waves[0].ravel(), lake.waves[1].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("x", [0.4, 1.3])
def test_a_path_of_light_lies_under_the_sun_and_under_the_moon(x: float) -> None:
    for moment in (_moment(sun=Sun(x, 0.3, 0.5)), _moment(moon=Moon(x, 0.3, 0.5, 1.0))):
        canvas = np.zeros((3, 180, 320), np.float32)
        _still().paint(canvas, moment)
        light = canvas[0].sum(axis=0)
        assert light.max() > 0.0
        assert (int(np.argmax(light)) + 0.5) * ASPECT / 320 == pytest.approx(x, abs=0.01)
        assert np.average(VIEW.screen_x, weights=light) == pytest.approx(x, abs=0.02)


def test_the_boat_floats_on_the_lake_and_has_a_fainter_reflection() -> None:
    boat = Boat.prepare(VIEW)
    coverage = boat.alpha.sum(axis=1)
    rows = np.arange(boat.y0, boat.y1)
    # the hull is the widest and lies between 0.69 and 0.73 of the height
    widest = rows[int(np.argmax(coverage))] / 180
    assert 0.68 < widest < 0.74
    line = int(np.argmax(coverage)) + 1
    assert 0.15 * coverage[:line].sum() < coverage[line:].sum() < 0.9 * coverage[:line].sum()
    assert not boat.alpha[0].any() and not boat.alpha[:, 0].any() and not boat.alpha[:, -1].any()
