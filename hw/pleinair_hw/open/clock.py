"""The clocks that a Zynq-7000's processing system gives to the fabric, and the choice among them.

FCLK0 is the IO PLL's clock divided twice, each time by a whole number from 1 to 63 (AMD UG585, register
FPGA0_CLK_CTRL). The boot loader of PYNQ's images sets the IO PLL to IO_PLL_MHZ.
"""

from __future__ import annotations

from dataclasses import dataclass

from pleinair.errors import OptionError
from pleinair.fpga.handoff import IO_PLL_MHZ

MOST_DIVISOR = 63
#: The slowest and the fastest FCLK0 that is chosen here, MHz; AMD DS187 gives 250 MHz as the most for FCLK.
SLOWEST_MHZ, FASTEST_MHZ = 1, 250


@dataclass(frozen=True)
class Clock:
    """A clock of FCLK0: the IO PLL divided by ``divisors``, the first of which is the larger."""

    divisors: tuple[int, int]

    @property
    def mhz(self) -> float:
        """The frequency in MHz."""
        return IO_PLL_MHZ / (self.divisors[0] * self.divisors[1])


def _divisors(product: int) -> tuple[int, int] | None:
    """Two divisors with this product, as near to each other as can be; None where there are none up to 63."""
    for small in range(int(product**0.5), 0, -1):
        if product % small == 0 and product // small <= MOST_DIVISOR:
            return product // small, small
    return None


def clocks() -> list[Clock]:
    """Every clock of FCLK0 from SLOWEST_MHZ to FASTEST_MHZ, the fastest first."""
    products = range(IO_PLL_MHZ // FASTEST_MHZ, IO_PLL_MHZ // SLOWEST_MHZ + 1)
    return [Clock(pair) for product in products if (pair := _divisors(product)) is not None]


def choose(fmax_mhz: float, margin: float, most_mhz: float) -> Clock:
    """The fastest clock that is at least ``margin`` per cent below ``fmax_mhz`` and not above ``most_mhz``.

    Args:
        fmax_mhz: the highest frequency that place and route report.
        margin: per cent of it that are kept for what they do not model, 0 to 90.
        most_mhz: the clock that was planned; a faster one was not asked for.

    Raises:
        OptionError: no clock of FCLK0 is slow enough.
    """
    limit = min(fmax_mhz * (1 - margin / 100), most_mhz)
    for clock in clocks():
        if clock.mhz <= limit * (1 + 1e-9):
            return clock
    raise OptionError(
        f"{margin:g} per cent below {fmax_mhz:.1f} MHz is slower than every clock that FCLK0 can make "
        f"({SLOWEST_MHZ} MHz and more)",
        option="clock_margin",
    )
