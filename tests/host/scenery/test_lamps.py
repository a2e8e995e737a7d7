"""Tests of pleinair.scenery.lamps: lamps keep their hours, shine about their pane and can be hidden."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.scenery.lamps import Burning, Lamps
from pleinair.scenery.layers import ASPECT, View
from pleinair.scenery.light import Moment, heavens_at

VIEW = View.of(160, 90, 0)


def _moment(hour: float) -> Moment:
    plane = np.zeros((2, 2), np.float32)
    black = (0.0, 0.0, 0.0)
    return Moment(heavens_at(hour * 3600.0, 0.8, 0), (plane,) * 3, plane, 1.0, black, black, (plane[0],) * 3)


def _pane(x: float, v: float, size: float = 0.02) -> list[tuple[float, float]]:
    return [(x - size, v - size), (x + size, v - size), (x + size, v + size), (x - size, v + size)]


def _shine(lamps: Lamps, hour: float, view: View = VIEW) -> np.ndarray:
    canvas = np.zeros((3, view.height, view.width), np.float32)
    lamps.paint(canvas, _moment(hour))
    return canvas


def test_a_lamp_burns_past_midnight_and_again_in_the_morning() -> None:
    burning = Burning(on=20.0, off=25.5, morning_on=5.0, morning_off=6.5)
    for hour, level in ((19.9, 0), (20.125, 0.5), (20.25, 1), (23.9, 1), (0.1, 1), (1.5, 1), (1.625, 0.5), (1.8, 0)):
        assert burning.level(hour) == pytest.approx(level), hour
    for hour, level in ((4.9, 0.0), (5.25, 1.0), (6.5, 1.0), (6.8, 0.0), (12.0, 0.0)):
        assert burning.level(hour) == pytest.approx(level), hour
    assert Burning(on=20.0, off=23.0).level(6.0) == 0.0


def test_a_lamp_shines_at_its_pane_and_about_it() -> None:
    lamps = Lamps(VIEW)
    lamps.add(_pane(0.8, 0.4), halo=0.1, burning=Burning(on=20.0, off=30.0), colour=(1.0, 0.8, 0.3))
    assert not _shine(lamps, 12.0).any()
    shine = _shine(lamps, 22.0)
    column, row = int(0.8 / ASPECT * 160), int(0.4 * 90)
    assert shine[0, row, column] > 1.0
    # warm: red over green over blue, and more so in the halo
    red, green, blue = shine[:, row + 4, column]
    assert red > green > blue > 0.0
    ys, xs = np.nonzero(shine[0])
    assert np.hypot((xs + 0.5) / 160 * ASPECT - 0.8, (ys + 0.5) / 90 - 0.4).max() < 0.1


def test_paint_in_front_hides_a_lamp() -> None:
    def lit() -> Lamps:
        lamps = Lamps(VIEW)
        lamps.add(_pane(0.8, 0.4), halo=0.1, burning=Burning(on=20.0, off=30.0), colour=(1.0, 0.8, 0.3))
        return lamps

    hidden, beside = lit(), lit()
    hidden.hide(0, 0, np.ones((90, 160)))
    beside.hide(0, 0, np.ones((20, 160)))
    np.testing.assert_allclose(_shine(hidden, 22.0), 0.1 * _shine(lit(), 22.0), atol=1e-6)
    assert np.array_equal(_shine(beside, 22.0), _shine(lit(), 22.0))


@pytest.mark.parametrize(("x", "v"), [(-0.04, 0.4), (ASPECT + 0.04, 0.4), (0.8, -0.04), (0.8, 0.7)])
def test_of_a_pane_beyond_the_edge_only_the_halo_is_seen(x: float, v: float) -> None:
    lamps = Lamps(VIEW)
    lamps.add(_pane(x, v, 0.01), halo=0.1, burning=Burning(on=20.0, off=30.0), colour=(1.0, 0.8, 0.3))
    shine = _shine(lamps, 22.0)
    assert 0.0 < shine.max() < 0.4


def test_a_lamp_far_outside_is_none() -> None:
    lamps = Lamps(VIEW)
    lamps.add(_pane(3.0, 0.4), halo=0.1, burning=Burning(on=20.0, off=30.0), colour=(1.0, 0.8, 0.3))
    assert not _shine(lamps, 22.0).any()
