"""What options mean: sizes, times, TOML files. Every refusal names the option, the value and what is allowed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from host.errors import OptionError
from host.images import MAX_PIXELS
from host.tiles import MIN_SIDE

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 366 * 86_400.0
_MAX_CONFIG = 1 << 20


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """``640x360`` as (width, height) in pixels. Raises OptionError."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    allowed = f"write WIDTHxHEIGHT, {MIN_SIDE}x{MIN_SIDE} to {MAX_PIXELS // 1_000_000} megapixels"
    if match is None:
        raise OptionError(f"{option} {text!r}: {allowed}")
    width, height = int(match[1]), int(match[2])
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise OptionError(f"{option} {text!r}: {allowed}")
    return width, height


def parse_duration(text: str, option: str) -> float:
    """``10s``, ``5m``, ``2h``, ``1.5h``, ``200ms`` or ``1d`` in seconds. Raises OptionError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise OptionError(f"{option} {text!r}: write a time like 500ms, 10s, 5m, 2h or 1d, above 0 and up to a year")
    return seconds


def read_config(path: Path, known: set[str]) -> dict[str, Any]:
    """Options from a TOML file; keys are long option names without the dashes. Raises OptionError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise OptionError(f"--config {path}: larger than {_MAX_CONFIG >> 20} MiB")
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"--config {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"--config {path}: not TOML ({error})") from error
    for key, value in values.items():
        if key not in known:
            raise OptionError(f"--config {path}: unknown option {key!r}; there are {', '.join(sorted(known))}")
        if not isinstance(value, (str, int, float, bool)):
            raise OptionError(f"--config {path}: {key} must be a single value")
    return dict(values)
