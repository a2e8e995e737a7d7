"""Tests of pleinair.scenery.village: houses stand on the land, and their windows light by night."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.scenery.day import SyntheticDay
from pleinair.scenery.land import Land
from pleinair.scenery.layers import ASPECT, View
from pleinair.scenery.light import Moment, heavens_at
from pleinair.scenery.village import Village


def _moment(hour: float) -> Moment:
    plane = np.zeros((2, 2), np.float32)
    black = (0.0, 0.0, 0.0)
    return Moment(heavens_at(hour * 3600.0, 0.8, 0), (plane,) * 3, plane, 1.0, black, black, (plane[0],) * 3)


@pytest.mark.parametrize("seed", [0, 1, 4, 7])
def test_the_village_stands_on_its_side_of_the_lake(seed: int) -> None:
    view = View.of(320, 180, seed)
    land, bare = Land.prepare(view), Land.prepare(view)
    Village.prepare(view, land)
    changed = np.any([a != b for a, b in zip(land.albedo, bare.albedo, strict=True)], axis=0)
    x = view.x[np.nonzero(changed.any(axis=0))[0]]
    assert x.min() > 0.40 and x.max() <= ASPECT
    assert changed.sum() > 1500
    # whatever stands there is not seen through
    assert np.all(land.alpha >= bare.alpha - 1e-6)


def test_windows_light_by_night_alone() -> None:
    view = View.of(320, 180, 0)
    village = Village.prepare(view, Land.prepare(view))

    def lit(hour: float) -> int:
        canvas = np.zeros((3, 180, 320), np.float32)
        village.paint(canvas, _moment(hour))
        return int((canvas[0] > 0.3).sum())

    assert lit(12.0) == lit(17.0) == 0
    assert 0 < lit(19.6) < lit(20.5) < lit(21.5)
    assert lit(21.9) > lit(25.0 % 24) > lit(3.0) > 0


@pytest.mark.parametrize(("width", "height", "seed"), [(641, 479, 5), (1100, 40, 5), (640, 480, 5)])
def test_a_house_may_stand_across_the_frames_edge(width: int, height: int, seed: int) -> None:
    frame = SyntheticDay(width, height, seed).frame(22.0 * 3600)
    assert frame.shape == (height, width, 3)
