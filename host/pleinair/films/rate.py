"""A film's rate: frames a second, a whole number or a fraction such as 24000/1001, never a rounded number.

Times in a film are multiples of one frame's, so a rate that was rounded would drift against sound or another film.
"""

from __future__ import annotations

import re
from fractions import Fraction

from pleinair.errors import OptionError

#: Frames a second, kept as int where it is whole.
Rate = int | Fraction
SLOWEST, FASTEST = 1, 240
#: The largest number above or below the line: what a film's header and every player hold.
_MOST = 1_000_000
#: Rates of television, whose decimals (23.976, 29.97) stand for a thousandth less than a whole number.
_TELEVISION = tuple(Fraction(1000 * whole, 1001) for whole in (24, 30, 48, 60, 120, 240))
_DECIMAL = re.compile(r"[0-9]{1,3}\.[0-9]{1,9}")
_FRACTION = re.compile(r"([0-9]{1,7})(?:/([0-9]{1,7}))?")


def read_rate(value: Rate | float | str, option: str = "fps") -> Rate:
    """A rate from ``24``, ``12.5``, ``24000/1001`` or ``23.976``, which is 24000/1001 as everywhere in film.

    Raises OptionError for what is none, or outside 1 to 240.
    """
    text = str(value)
    if _DECIMAL.fullmatch(text):
        rate = Fraction(text)
        # 23.98 is as far from 23.976 as people round it.
        rate = next((exact for exact in _TELEVISION if 0 < abs(exact - rate) <= Fraction(1, 200)), rate)
        rate = Fraction(rate).limit_denominator(10_000)
    elif (found := _FRACTION.fullmatch(text)) and int(found[2] or 1):
        rate = Fraction(int(found[1]), int(found[2] or 1))
    else:
        rate = Fraction(0)
    if not SLOWEST <= rate <= FASTEST or max(rate.numerator, rate.denominator) > _MOST:
        allowed = f"write a number from {SLOWEST} to {FASTEST}, such as 24, 23.976 or 24000/1001"
        raise OptionError(f"{text!r}: {allowed}", option=option)
    return rate.numerator if rate.denominator == 1 else rate


def rate_text(rate: Rate) -> str:
    """A rate as people read it: ``24``, ``12.5``, ``23.976``."""
    return f"{float(rate):.5g}"


def length_text(frames: int, rate: Rate) -> str:
    """How long a film is: ``0.5 s at 23.976 fps``."""
    return f"{frames / float(rate):.1f} s at {rate_text(rate)} fps"


def rate_to_json(rate: Rate) -> int | str:
    """A rate as files hold it: 24, or ``"24000/1001"``."""
    return rate if isinstance(rate, int) else str(rate)
