"""What the values of options mean: sizes, times, bytes, rates, and TOML files of options.

A value is parsed once into what the library takes. Every refusal is one line that names the option,
the value and what is allowed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError
from pleinair.images import MAX_PIXELS
from pleinair.painting.tiles import MIN_SIDE

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 366 * 86_400.0
_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MAX_CONFIG = 1 << 20


def parse_size(text: str, option: str = "size") -> tuple[int, int]:
    """``640x360`` as (width, height) in pixels. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    refusal = OptionError(
        f"{text!r}: write WIDTHxHEIGHT, {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels", option=option
    )
    if match is None:
        raise refusal
    width, height = int(match[1]), int(match[2])
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise refusal
    return width, height


def parse_duration(text: str, option: str) -> float:
    """``10s``, ``5m``, ``2h``, ``1.5h``, ``200ms`` or ``1d`` in seconds. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise OptionError(
            f"{text!r}: write a time like 500ms, 10s, 5m, 2h or 1d, above 0 and up to a year", option=option
        )
    return seconds


def parse_step(text: str, option: str) -> int | float:
    """``10``, a whole number of frames, or a time as in :func:`parse_duration`, a float. Raises OptionError."""
    if re.fullmatch("[0-9]{1,7}", text) and int(text):
        return int(text)
    try:
        return parse_duration(text, option)
    except OptionError:
        raise OptionError(f"{text!r}: write a number of frames like 10, or a time like 5m", option=option) from None


def duration_text(seconds: float) -> str:
    """A time as one would write it: ``1h``, ``90m``, ``250ms``."""
    for unit, length in reversed(_UNITS.items()):
        if (seconds / length).is_integer():
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"


def parse_bytes(text: str, option: str) -> int:
    """``500MB``, ``1GB``, ``1.5GB`` or ``0`` in bytes. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(kB|MB|GB|TB)", text)
    if match is None and text != "0":
        raise OptionError(f"{text!r}: write a size like 500MB or 1GB, or 0", option=option)
    return round(float(match[1]) * _BYTES[match[2]]) if match else 0


def parse_rate(text: str, option: str) -> float | None:
    """A number of frames per second, None for ``max``. Raises OptionError."""
    try:
        rate = None if text == "max" else float(text)
    except ValueError:
        rate = -1.0
    if rate is not None and not 0 < rate <= 100_000:
        raise OptionError(f"{text!r}: a number above 0, or max", option=option)
    return rate


def parse_share(text: str, name: str = "share") -> float:
    """A part of a whole, 0 to 1, from ``1%`` or ``0.01``. Raises OptionError."""
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise OptionError(f"{text!r}: give a share such as 1% or 0.01, at most 100%", option=name)
    return share


def read_config(path: Path, known: AbstractSet[str], switches: AbstractSet[str] = frozenset()) -> dict[str, str]:
    """Options from a TOML file, as the text that the command line would hold. Raises OptionError.

    Keys are long option names without the dashes. Values are text or numbers; those of ``switches``, which are
    among the known, may also be true or false.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG + 1)
        if len(data) > _MAX_CONFIG:
            raise OptionError(f"{path}: larger than {_MAX_CONFIG >> 20} MiB", option="config")
        values = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}", option="config") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path}: not TOML ({error})", option="config") from error
    for key, value in values.items():
        if key not in known:
            raise OptionError(f"{path}: unknown option {key!r}; there are {', '.join(sorted(known))}", option="config")
        if isinstance(value, bool) and key in switches:
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            allowed = "true and false" if key in switches else "text and numbers"
            raise OptionError(f"{path}: {key} is {_toml_type(value)}; allowed are {allowed}", option="config")
        if (isinstance(value, str) and "\0" in value) or (isinstance(value, int) and abs(value) > 10**18):
            raise OptionError(f"{path}: {key}: no value of an option", option="config")
    return {key: str(value) for key, value in values.items()}


def _toml_type(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "an array" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"
