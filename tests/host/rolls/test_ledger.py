"""The ledger: what a journal's lines add up to."""

from __future__ import annotations

from dataclasses import replace

from pleinair.rolls.journal import format_line
from pleinair.rolls.ledger import Ledger, read_ledger
from pleinair.rolls.records import Sealed, Unsealed

FILE = "paintings/plain-8bit/00000000-00000009.mkv"
PIECE = Sealed(file=FILE, first=0, last=9, frames=8, sha256="cd" * 32)


def test_pieces_are_told_apart_by_their_painting():
    ledger = Ledger()
    other = replace(PIECE, file="paintings/plain-8bit-2/00000000-00000009.mkv")
    for piece in (PIECE, other):
        ledger.add(piece)
    assert ledger.pieces("paintings/plain-8bit/") == [PIECE]
    ledger.add(Unsealed(file=PIECE.file))
    assert ledger.pieces("paintings/plain-8bit/") == [] and ledger.sealed == {other.file: other}


def test_what_a_journal_adds_up_to(tmp_path):
    records = [
        {"event": "begin", "wall": 5.0, "settings": {}},
        *({"event": "frame", "seq": n, "t": n / 2, "wall": 6.0 + n, "late": 0.003} for n in (0, 1, 3)),
        {"event": "skipped", "ticks": 2, "reason": "late"},
        {"event": "skipped", "ticks": 1, "reason": "late"},
        {"event": "trouble", "what": "camera", "message": "hung"},
        {"event": "sealed", "file": "x.mkv"},  # lacks its hash: counted as damaged
        {"event": "from the future"},
        {"event": "end", "state": "stopped", "message": "", "t": 9.0},
    ]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(map(format_line, records)) + b"torn")
    ledger = read_ledger(tmp_path)
    assert ledger.damaged == 1 and ledger.sealed == {}
    assert (ledger.last, ledger.skipped, ledger.last_trouble) == (3, {"late": 3}, "camera: hung")
    assert (ledger.state, ledger.seconds, ledger.sessions, ledger.begun) == ("stopped", 9.0, 1, 5.0)
    assert [ledger.knows(n) for n in range(4)] == [True, True, False, True]
    assert ledger.lateness == [0, 0, 3, 0, 0, 0, 0]
