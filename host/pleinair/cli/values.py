"""What options mean: sizes, times, TOML files. Every refusal names the option, the value and what is allowed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pleinair.errors import OptionError
from pleinair.images import MAX_PIXELS
from pleinair.painting.tiles import MIN_SIDE

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 366 * 86_400.0
_MAX_CONFIG = 1 << 20


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """``640x360`` as (width, height) in pixels. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    allowed = f"write WIDTHxHEIGHT, {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
    if match is None:
        raise OptionError(f"{option} {text!r}: {allowed}")
    width, height = int(match[1]), int(match[2])
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise OptionError(f"{option} {text!r}: {allowed}")
    return width, height


def parse_duration(text: str, option: str) -> float:
    """``10s``, ``5m``, ``2h``, ``1.5h``, ``200ms`` or ``1d`` in seconds. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise OptionError(f"{option} {text!r}: write a time like 500ms, 10s, 5m, 2h or 1d, above 0 and up to a year")
    return seconds


_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str, option: str) -> int:
    """``500MB``, ``1GB``, ``1.5GB`` or ``0`` in bytes. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(kB|MB|GB|TB)", text)
    if match is None and text != "0":
        raise OptionError(f"{option} {text!r}: write a size like 500MB or 1GB, or 0")
    return round(float(match[1]) * _BYTES[match[2]]) if match else 0


def read_config(path: Path, known: set[str]) -> dict[str, str]:
    """Options from a TOML file, as the text that the command line would hold. Raises OptionError.

    Keys are long option names without the dashes, values text or numbers.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG + 1)
        if len(data) > _MAX_CONFIG:
            raise OptionError(f"--config {path}: larger than {_MAX_CONFIG >> 20} MiB")
        values = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise OptionError(f"--config {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"--config {path}: not TOML ({error})") from error
    for key, value in values.items():
        if key not in known:
            raise OptionError(f"--config {path}: unknown option {key!r}; there are {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise OptionError(f"--config {path}: {key} is {_toml_type(value)}; allowed are text and numbers")
    return {key: str(value) for key, value in values.items()}


def _toml_type(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "an array" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"
