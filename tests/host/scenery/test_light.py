"""Tests of pleinair.scenery.light: sun and moon keep their hours, and light falls from where they stand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pleinair.scenery.light import Heavens, Moon, Sun, air_colours, daylight, heavens_at, light_at

MIDDLE = 0.8


def _heavens(hour: float, day: int = 0) -> Heavens:
    return heavens_at((24 * day + hour) * 3600.0, MIDDLE, 0)


def test_the_sun_rises_at_six_and_sets_at_half_past_seven() -> None:
    assert _heavens(6.0).sun.altitude == pytest.approx(0.0, abs=1e-7)
    assert _heavens(19.5).sun.altitude == pytest.approx(0.0, abs=1e-7)
    noon = _heavens(12.75).sun
    assert noon.altitude == pytest.approx(1.0, abs=1e-7) and noon.x == pytest.approx(MIDDLE, abs=1e-7)
    assert _heavens(6.0).sun.v == pytest.approx(0.53, abs=1e-7)
    assert _heavens(7.0).sun.x < MIDDLE < _heavens(18.0).sun.x


def test_night_is_dark_and_day_is_not() -> None:
    assert [_heavens(h).dark for h in (0.0, 3.0, 23.0)] == [1.0, 1.0, 1.0]
    assert [_heavens(h).dark for h in (7.0, 12.0, 18.9)] == [0.0, 0.0, 0.0]
    assert 0.0 < _heavens(19.6).dark < 1.0


def test_the_moon_has_a_month() -> None:
    phases = [_heavens(0.0, day).moon.phase for day in range(60)]
    assert all(0.0 <= p < 1.0 for p in phases)
    steps = {round((b - a) % 1.0, 6) for a, b in zip(phases, phases[1:], strict=False)}
    assert steps == {round(1 / 29.530588, 6)}
    # it shines only by night, and by a full moon most
    best = max(range(60), key=lambda day: _heavens(0.0, day).moon.shine)
    assert phases[best] == pytest.approx(0.5, abs=0.05)
    assert max(_heavens(12.0, day).moon.shine for day in range(60)) == 0.0


def test_hours_and_days_of_a_time() -> None:
    heavens = _heavens(20.5, 365)
    assert heavens.hour == pytest.approx(20.5) and heavens.hours == 365 * 24 + 20.5
    assert _heavens(24.0).hour == 0.0
    assert 0.0 <= heavens_at(1e300, MIDDLE, 0).hour <= 24.0


def test_colours_between_two_hours_are_in_proportion() -> None:
    ten, two = light_at(10.0), light_at(14.0)
    assert ten.zenith == pytest.approx((44 / 255, 114 / 255, 206 / 255))
    for a, b, c in zip(ten, two, light_at(11.0), strict=True):
        np.testing.assert_allclose(c, 0.75 * np.array(a) + 0.25 * np.array(b), atol=1e-12)
    for hour in (3.0, 22.2, 24.0):
        np.testing.assert_allclose(light_at(hour), light_at(0.0), atol=1e-12)


def test_a_face_is_lit_from_where_the_sun_stands() -> None:
    for hour, towards in ((8.0, -1.0), (18.0, 1.0)):
        base, slope = daylight(_heavens(hour), 1.0, MIDDLE)
        assert all(towards * s > 0.0 for s in slope[:1]), hour
        # nothing that is lit turns negative
        assert all(b - abs(s) > -0.01 for b, s in zip(base, slope, strict=True))


def test_clouds_take_a_third_of_the_sun() -> None:
    noon = _heavens(12.75)
    clear, _ = daylight(noon, 1.0, MIDDLE)
    cloudy, _ = daylight(noon, 0.0, MIDDLE)
    for c in range(3):
        assert clear[c] - cloudy[c] == pytest.approx(0.78 * 0.34 * noon.light.sun[c])


def test_the_air_is_palest_under_sun_and_moon() -> None:
    x = np.linspace(0.0, 16 / 9, 200)
    dusk = _heavens(19.3)
    air = air_colours(dusk, x)
    assert all(a.dtype == np.float32 and a.shape == (200,) for a in air)
    assert abs(float(x[int(np.argmax(air[0]))]) - dusk.sun.x) < 0.01
    night = dataclasses.replace(_heavens(0.0), sun=Sun(0.8, 1.0, -1.0), moon=Moon(0.5, 0.3, 0.5, 1.0))
    assert abs(float(x[int(np.argmax(air_colours(night, x)[2]))]) - 0.5) < 0.01
