"""The exposure controller: still in still light, through dusk and dawn without a jump, back after a surprise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pleinair_pi.exposure import TARGET, Controller, Exposure, Limits, luma_level, split

LIMITS = Limits()
SEED = 4
SCENE = np.random.default_rng(SEED).uniform(0.05, 0.5, 3000)


def expose(light: float, exposure: Exposure, noise: np.random.Generator) -> tuple[float, float]:
    """What a sensor's luma plane says of the scene in a light."""
    linear = SCENE * light * exposure.total / 10_000
    luma = np.rint(255 * np.clip(linear + noise.normal(0, 0.002, SCENE.shape), 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return luma_level(luma)


def follow(lights: list[float], every: float, start: Exposure) -> tuple[np.ndarray, np.ndarray]:
    """Levels and exposures (log2 of the product) over frames in those lights."""
    controller, noise, exposure = Controller(every, LIMITS), np.random.default_rng(SEED), start
    levels, exposures = [], []
    for light in lights:
        level, burnt = expose(light, exposure, noise)
        levels.append(level)
        exposures.append(math.log2(exposure.total))
        exposure = controller.next(level, burnt, exposure)
    return np.array(levels), np.array(exposures)


def test_still_light_keeps_the_exposure_locked():
    levels, exposures = follow([1.0] * 200, 10.0, Exposure(10_000, 1.0))
    assert np.ptp(exposures[60:]) == 0 and abs(math.log2(levels[-1] / TARGET)) * 2.2 < 0.3


def test_passing_clouds_of_a_fifth_of_a_stop_move_nothing():
    settled = follow([1.0] * 100, 10.0, Exposure(10_000, 1.0))[1][-1]
    start = split(2.0**settled, LIMITS)
    lights = [2.0 ** (0.1 * math.sin(i / 3)) for i in range(100)]
    assert np.ptp(follow(lights, 10.0, start)[1]) == 0


@pytest.mark.parametrize("every", [2.0, 10.0, 60.0])
@pytest.mark.parametrize("direction", [-1, 1])
def test_dusk_and_dawn_are_followed_without_a_step_that_shows(every, direction):
    count = round(1800 / every)
    stops = np.linspace(0, 7, count) if direction < 0 else np.linspace(7, 0, count)
    steady = [2.0 ** -stops[0]] * max(20, round(1200 / every))
    lights = [*steady, *(2.0**-stops)]
    levels, exposures = follow(lights, every, split(10_000 * 2.0 ** stops[0], LIMITS))
    dusk = slice(len(steady), None)
    assert np.abs(np.diff(exposures)).max() <= 0.33 + 1e-9
    off = 2.2 * np.abs(np.log2(levels[dusk] / TARGET))
    assert off.max() < 1.3 and abs(exposures[-1] - exposures[len(steady)]) > 5


def test_a_cover_taken_off_is_met_within_minutes():
    levels, _ = follow([0.02] * 60 + [1.0] * 120, 10.0, Exposure(500_000, 1.0))
    assert levels[60] > 250 and 2.2 * abs(math.log2(levels[-1] / TARGET)) < 0.5


def test_a_bright_sky_makes_it_darker_by_a_stop_at_most():
    controller = Controller(60.0, LIMITS)
    used = Exposure(10_000, 1.0)
    assert controller.next(TARGET, 0.0, used) == used
    assert controller.next(TARGET, 0.3, used).total < used.total
    exposure = used
    for _ in range(50):
        level = TARGET * (exposure.total / used.total) ** (1 / 2.2)
        exposure = controller.next(level, 0.3, exposure)
    assert 0.8 < math.log2(used.total / exposure.total) < 1.1


@pytest.mark.parametrize(
    ("total", "wanted"),
    [
        (1.0, (60, 1)),
        (5_000, (5_000, 1)),
        (2_000_000, (2_000_000, 1)),
        (8_000_000, (2_000_000, 4)),
        (1e9, (2_000_000, 8)),
    ],
)
def test_time_comes_before_gain(total, wanted):
    exposure = split(total, LIMITS)
    assert (exposure.microseconds, exposure.gain) == wanted


def test_a_black_frame_is_no_division_by_zero():
    assert Controller(10.0, LIMITS).next(0.0, 0.0, Exposure(10_000, 1.0)).total > 10_000
