"""The journal: lines that anybody can check, torn tails cut off, damage in the middle passed over."""

from __future__ import annotations

import errno
import json
import os
import zlib

import pytest

from pleinair import durable
from pleinair.errors import RollError
from pleinair.rolls.journal import Journal, Reading, format_line, parse_line, tail


def write(path, count: int) -> list[dict]:
    """A journal of so many frames."""
    journal = Journal(path, 0)
    records = [{"event": "frame", "seq": i, "name": 'ü "quoted" \n'} for i in range(count)]
    for record in records:
        journal.append(record)
    journal.close()
    return records


def test_lines_are_json_with_the_crc_of_the_rest(tmp_path):
    records = write(tmp_path / "journal.jsonl", 5)
    for line, record in zip((tmp_path / "journal.jsonl").read_bytes().splitlines(), records, strict=True):
        values = json.loads(line)
        crc = values.pop("crc")
        assert values == record
        body = line[: line.index(b',"crc"')] + b"}"
        assert f"{zlib.crc32(body):08x}" == crc


@pytest.mark.parametrize("cut", range(1, 60, 7))
@pytest.mark.parametrize("zeros", [0, 500])
def test_a_torn_tail_is_cut_off_and_written_over(tmp_path, cut, zeros):
    path = tmp_path / "journal.jsonl"
    records = write(path, 4)
    path.write_bytes(path.read_bytes()[:-cut] + bytes(zeros))
    reading = Reading(path)
    assert list(reading) == records[:3] and reading.damaged == 0
    journal = Journal(path, reading.end)
    journal.append({"event": "next"})
    journal.close()
    assert list(Reading(path)) == [*records[:3], {"event": "next"}]


def test_damage_in_the_middle_costs_its_lines_alone(tmp_path):
    path = tmp_path / "journal.jsonl"
    records = write(path, 10)
    data = bytearray(path.read_bytes())
    at = data.index(b'"seq":4')
    data[at + 6 : at + 7] = b"7"  # still JSON
    data[data.index(b'"seq":6') - 10] = 0x0A  # two lines of one
    path.write_bytes(bytes(data))
    reading = Reading(path)
    assert list(reading) == [r for r in records if r["seq"] not in (4, 6)] and reading.damaged == 3


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"null\n", b'{"event":"x"}\n', b'{"event":"x","crc":"00000000"}\n', b"\0" * 99]
)
def test_lines_that_are_none(line):
    assert parse_line(line) is None
    assert parse_line(format_line({"event": "x", "crc2": [1, {"a": "}"}]})) == {"event": "x", "crc2": [1, {"a": "}"}]}


def test_a_line_that_the_disk_does_not_take_leaves_no_trace(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    records = write(path, 2)
    journal = Journal(path, path.stat().st_size)
    real = durable.write_all

    def half(handle: int, data: bytes) -> None:
        real(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_all", half)
        with pytest.raises(OSError, match="No space"):
            journal.append({"event": "lost"})
    journal.append({"event": "kept"})
    journal.close()
    assert list(Reading(path)) == [*records, {"event": "kept"}]


def test_the_tail_of_a_long_one(tmp_path):
    records = write(tmp_path / "journal.jsonl", 400)
    assert tail(tmp_path / "journal.jsonl", 7) == records[-7:]
    assert tail(tmp_path / "none", 7) == []


def test_a_journal_that_cannot_be_read(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RollError, match="Is a directory"):
        list(Reading(tmp_path / "journal.jsonl"))
    assert list(Reading(tmp_path / "none")) == []
