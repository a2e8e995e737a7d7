"""The synthetic day as a camera: it follows the clock, and has its limits."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.cameras.opening import open_camera
from pleinair.errors import OptionError
from pleinair.scenery.day import SyntheticDay


def test_synthetic_day_follows_the_clock():
    camera = open_camera("synthetic:3", size=(32, 24), every=3600.0, frames=4)
    frames = list(camera.frames())
    assert camera.count == 4 and camera.size == (32, 24)
    assert [f.name for f in frames] == ["04:30", "05:30", "06:30", "07:30"]
    np.testing.assert_array_equal(frames[2].image, SyntheticDay(32, 24, seed=3).frame(6.5 * 3600))


@pytest.mark.parametrize("size", [(4097, 100), (100, 4097), (15, 100)])
def test_synthetic_day_has_its_limits(size):
    with pytest.raises(OptionError, match=rf"size '{size[0]}x{size[1]}'.*16x16 to 4096x4096"):
        open_camera("synthetic", size=size)


def test_synthetic_day_is_a_day_unless_told():
    assert open_camera("synthetic", size=(16, 16)).count == 288
    assert open_camera("synthetic", size=(16, 16), every=7200.0).count == 12
