"""The journal's records: their lines are what they always were, and come back as the same records."""

from __future__ import annotations

import json

import pytest

from pleinair.errors import RollError
from pleinair.rolls.journal import format_line, parse_line
from pleinair.rolls.records import (
    Begun,
    Captured,
    ClockSet,
    Deleted,
    Ended,
    Lost,
    PaintingBegun,
    Recovered,
    Sealed,
    Skipped,
    Troubled,
    Unsealed,
    read_record,
)

#: Journals and originals on people's disks hold these very bytes.
LINES = [
    (
        Captured(seq=7, t=0.5, wall=1.8e9, late=0.003, live=True, clock=False, metadata={"gain": 1.5}, suspect="black"),
        '{"event":"frame","seq":7,"t":0.5,"wall":1800000000.0,"late":0.003,"live":true,"clock":false,'
        '"metadata":{"gain":1.5},"suspect":"black"}',
    ),
    (
        Captured(seq=7, t=0.5, wall=1.8e9, position=9, name="noon.jpg", sha256="ab", recovered=True),
        '{"event":"frame","seq":7,"t":0.5,"wall":1800000000.0,"position":9,"name":"noon.jpg","sha256":"ab",'
        '"recovered":true}',
    ),
    (
        Begun(wall=5.5, t=0.0, host="roof", boot="b", pid=12, settings={"camera": "pi:0"}),
        '{"event":"begin","wall":5.5,"t":0.0,"host":"roof","boot":"b","pid":12,"settings":{"camera":"pi:0"}}',
    ),
    (
        Ended(state="stopped", message="", t=9.5, wall=6.5),
        '{"event":"end","state":"stopped","message":"","t":9.5,"wall":6.5}',
    ),
    (Skipped(ticks=2, reason="late", wall=6.5), '{"event":"skipped","ticks":2,"reason":"late","wall":6.5}'),
    (
        Troubled(what="camera", message="hung", wall=6.5),
        '{"event":"trouble","what":"camera","message":"hung","wall":6.5}',
    ),
    (Recovered(what="camera", after=3, wall=6.5), '{"event":"recovered","what":"camera","after":3,"wall":6.5}'),
    (ClockSet(by=-3600.5, wall=6.5), '{"event":"clock","by":-3600.5,"wall":6.5}'),
    (
        Sealed(file="p/0-9.mkv", first=0, last=9, frames=8, sha256="cd", wall=6.5),
        '{"event":"sealed","file":"p/0-9.mkv","first":0,"last":9,"frames":8,"sha256":"cd","wall":6.5}',
    ),
    (Unsealed(file="p/0-9.mkv"), '{"event":"unsealed","file":"p/0-9.mkv"}'),
    (Deleted(below=10, wall=6.5), '{"event":"deleted","below":10,"wall":6.5}'),
    (Lost(seq=3), '{"event":"lost","seq":3}'),
    (
        PaintingBegun(name="plain-8bit", look={"style": "plain", "bits": 8}),
        '{"event":"painting","name":"plain-8bit","look":{"style":"plain","bits":8}}',
    ),
]


@pytest.mark.parametrize(("record", "line"), LINES, ids=[line[10:19] for _, line in LINES])
def test_a_record_makes_the_line_it_always_made_and_is_read_from_it(record, line):
    written = format_line(record.line())
    assert written.startswith(line[:-1].encode() + b',"crc":"')
    read = read_record(parse_line(written))
    assert read == record and read.line() == json.loads(line)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "frame", "t": 0.5, "wall": 1.5},
        {"event": "frame", "seq": "7", "t": 0.5, "wall": 1.5},
        {"event": "frame", "seq": 7, "t": None, "wall": 1.5},
        {"event": "frame", "seq": 7, "t": 0.5, "wall": 1.5, "live": 1},
        {"event": "frame", "seq": 7, "t": 0.5, "wall": 1.5, "metadata": []},
        {"event": "sealed", "file": "x"},
        {"event": "deleted", "below": 1.5},
        {"event": "begin", "wall": 1.5, "settings": "all"},
    ],
)
def test_a_line_that_lacks_a_field_or_has_another_type_is_refused(wrong):
    with pytest.raises(RollError, match=f"^journal: {wrong['event']}: "):
        read_record(wrong)


def test_events_and_fields_of_later_programs_are_passed_over():
    assert read_record({"event": "from the future"}) is None and read_record({"event": ["x"]}) is None
    assert read_record({"event": "lost", "seq": 3, "why": "moon"}) == Lost(seq=3)
