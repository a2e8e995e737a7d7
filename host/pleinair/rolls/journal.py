"""The journal of a roll: one JSON object a line, each with a checksum, appended and synced.

A line is ``{"event": ..., ..., "crc": "0a1b2c3d"}``, ``crc`` being zlib's CRC-32 of the object without it, as it
stands in the file. A power cut tears at most the tail; whoever opens the journal for writing cuts that off. A
damaged line anywhere else is passed over and counted, and nothing after it is lost.
"""

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.errors import RollError

#: A line as it was parsed; :func:`pleinair.rolls.records.read_record` makes a record of it.
Line = dict[str, Any]

_LINE = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}', re.DOTALL)
#: No line of ours is longer; what is has lost its end.
_LONGEST = 1 << 16
_TAIL = 256


def format_line(record: Mapping[str, object]) -> bytes:
    """A record as one line with its checksum, the newline included."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def parse_line(line: bytes) -> Line | None:
    """The record of a line, without the checksum; None when the line is not whole."""
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if match is None or zlib.crc32(match[1] + b"}") != int(match[2], 16):
        return None
    try:
        record = json.loads(match[1] + b"}")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "event" in record else None


class Reading:
    """Iterates over the whole records of a journal, from the byte ``start`` on. ``damaged`` counts lines that were
    passed over, the torn tail apart; ``end`` is the byte after the last whole line."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path, self.damaged, self.end = path, 0, start

    def __iter__(self) -> Iterator[Line]:
        """Raises RollError when the file cannot be read; a missing one is empty."""
        passed, position = 0, self.end
        try:
            with durable.open_file(self.path, follow=False) as file:
                file.seek(position)
                while line := file.readline(_LONGEST):
                    position += len(line)
                    record = parse_line(line) if line.endswith(b"\n") else None
                    if record is None:
                        passed += 1
                        continue
                    self.damaged, self.end = self.damaged + passed, position
                    passed = 0
                    yield record
        except FileNotFoundError:
            return
        except OSError as error:
            raise RollError(f"journal {self.path}: {error.strerror}") from error


def tail(path: Path, count: int) -> list[Line]:
    """The last ``count`` whole records, oldest first, without reading the rest."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - count * _TAIL * 4))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    records = (parse_line(line) for line in lines)
    return [record for record in records if record is not None][-count:]


class Journal:
    """A journal open for appending, from any thread. Raises RollError when it cannot be."""

    def __init__(self, path: Path, end: int) -> None:
        """``end`` is where the whole lines end (:attr:`Reading.end`); what stands after it is cut off."""
        self.path = path
        self._lock = threading.Lock()
        try:
            fresh = not path.exists()
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            if os.fstat(self._handle).st_size > end:
                os.ftruncate(self._handle, end)
                durable.sync_file(self._handle)
            if fresh:
                durable.sync_folder(path.parent)
        except OSError as error:
            raise RollError(f"journal {path}: {error.strerror}") from error

    def append(self, record: Mapping[str, object], sync: bool = True) -> None:
        """Add a record whole or not at all; with ``sync`` it is on the disk when this returns. Raises OSError."""
        with self._lock:
            before = os.fstat(self._handle).st_size
            try:
                durable.write_all(self._handle, format_line(record))
                if sync:
                    durable.sync_file(self._handle)
            except OSError:
                os.ftruncate(self._handle, before)
                raise

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
