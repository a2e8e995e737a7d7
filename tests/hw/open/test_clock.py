"""The clocks of FCLK0, and the choice among them."""

from __future__ import annotations

import pytest

from pleinair.errors import OptionError
from pleinair_hw.open.clock import Clock, choose, clocks


def test_the_clocks_are_all_quotients_that_two_divisors_make():
    every = {1000 / (a * b) for a in range(1, 64) for b in range(1, 64)}
    assert [clock.mhz for clock in clocks()] == sorted((f for f in every if 1 <= f <= 250), reverse=True)
    assert all(1 <= d <= 63 for clock in clocks() for d in clock.divisors)


@pytest.mark.parametrize(
    ("fmax", "margin", "most", "mhz"),
    [
        (99.25, 15, 100, 83.333),  # 84.36 at most
        (118, 15, 100, 100),  # 100.3, just enough
        (117.6, 15, 100, 90.909),  # 99.96, just not
        (300, 15, 100, 100),  # no faster than planned
        (300, 0, 90, 83.333),  # the plan's clock is none of FCLK0's
        (100, 0, 100, 100),
        (71.5, 0, 100, 71.429),
    ],
)
def test_the_next_clock_below_what_the_margin_leaves(fmax, margin, most, mhz):
    assert choose(fmax, margin, most).mhz == pytest.approx(mhz, abs=1e-3)


def test_a_design_too_slow_for_every_clock_is_refused():
    with pytest.raises(OptionError, match=r"clock_margin 50 per cent below 1\.5 MHz"):
        choose(1.5, 50, 100)


def test_the_divisors_make_the_clock():
    assert Clock((5, 2)).mhz == 100 and Clock((4, 3)).mhz == pytest.approx(83.3333, abs=1e-4)
