"""JSON files read without trust: of bounded size, every field's type and range checked, every refusal one sentence.

The files are our own (cards, deployments, builds, benches), but they may come from another machine, be damaged, or be
made to do harm. A reader says which error it raises, and which name of the file that error begins with. Standard
library alone, as boards read them too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pleinair.durable import open_file
from pleinair.errors import PleinairError
from pleinair.text import one_line

#: Makes the error of a reader from a sentence: an error class, or a function that adds what it needs.
Refusal = Callable[[str], PleinairError]
#: Most characters of a text field, unless a reader says otherwise.
MAX_TEXT = 200


def short(value: Any) -> str:
    """A value as Python writes it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_bytes(path: Path, *, most: int, error: Refusal, name: str | None = None) -> bytes:
    """What a file holds, up to ``most`` bytes. ``name`` is how errors call it, by default its path.

    A folder, device or pipe is refused: reading a pipe would wait for ever.
    """
    name = name or str(path)
    try:
        with open_file(path) as file:
            data = file.read(most + 1)
    except IsADirectoryError as cause:
        raise error(f"{name}: not a file") from cause
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        raise error(f"{name}: {getattr(cause, 'strerror', None) or cause}") from cause
    if len(data) > most:
        raise error(f"{name}: larger than {f'{most >> 20} MiB' if most >> 20 else f'{most >> 10} KiB'}")
    return data


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def read_record(path: Path, *, most: int, error: Refusal, name: str | None = None) -> Record:
    """The JSON object in a file of up to ``most`` bytes. Raises ``error``; NaN and Infinity are refused, too."""
    name = name or str(path)
    data = read_bytes(path, most=most, error=error, name=name)
    try:
        values = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError as cause:
        raise error(f"{name}: damaged, it is not UTF-8") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{name}: damaged, it is no JSON ({cause})") from cause
    if not isinstance(values, dict):
        raise error(f"{name}: damaged, it holds no JSON object")
    return Record(name, values, error)


class Record:
    """An object of an untrusted file. Its methods give a field of the type that they are called; they refuse others.

    ``values`` is the object as it was parsed.
    """

    def __init__(self, name: str, values: Any, error: Refusal) -> None:
        if not isinstance(values, dict):
            raise error(f"{name}: not an object")
        self._name, self._error = name, error
        self.values: dict[str, Any] = values

    def refuse(self, key: str, allowed: str) -> PleinairError:
        """The error for a field that is not what is allowed, to be raised."""
        return self._error(f"{self._name}: {key} {short(self.values.get(key))}; allowed is {allowed}")

    def is_format(self, name: str, version: int = 1) -> bool:
        """Whether ``format`` and ``version`` are these."""
        found = self.values.get("version")
        return self.values.get("format") == name and found == version and not isinstance(found, bool)

    def check_format(self, name: str, version: int = 1) -> None:
        """Refuse another ``format`` or ``version``."""
        if not self.is_format(name, version):
            raise self._error(f"{self._name}: not a version {version} {name}")

    def has(self, key: str) -> bool:
        """Whether a field is there and not null."""
        return self.values.get(key) is not None

    def items(self) -> Iterator[tuple[str, Any]]:
        """All fields, unchecked."""
        yield from self.values.items()

    def part(self, key: str) -> Record:
        """An object inside."""
        return Record(f"{self._name}: {key}", self.values.get(key), self._error)

    def parts(self, key: str, most: int) -> list[Record]:
        """A list of up to ``most`` objects."""
        values = self.values.get(key)
        if not isinstance(values, list) or len(values) > most:
            raise self.refuse(key, f"a list of up to {most}")
        return [Record(f"{self._name}: {key} {number}", value, self._error) for number, value in enumerate(values, 1)]

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def string(self, key: str, most: int = MAX_TEXT) -> str:
        """Text of up to ``most`` characters as it stands, such as a path."""
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > most:
            raise self.refuse(key, f"text of up to {most} characters")
        return value

    def text(self, key: str, most: int = MAX_TEXT) -> str:
        """Text of up to ``most`` characters to be shown: one printable line."""
        return one_line(self.string(key, most))

    def number(self, key: str, least: float, most: float) -> float:
        """A number from ``least`` to ``most``."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.refuse(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``; 8.0 is one."""
        value = self.number(key, least, most)
        if value != int(value):
            raise self.refuse(key, "a whole number")
        return int(value)

    def choice(self, key: str, allowed: tuple[int, ...]) -> int:
        """One of the numbers that are allowed."""
        value = self.values.get(key)
        if isinstance(value, bool) or value not in allowed:
            raise self.refuse(key, ", ".join(map(str, allowed)))
        return int(value)

    def size(self, key: str) -> tuple[int, int]:
        """Width and height, 1 to 65536 each."""
        value = self.values.get(key)
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 1 << 16 for n in value)
        ):
            return value[0], value[1]
        raise self.refuse(key, "[width, height]")
