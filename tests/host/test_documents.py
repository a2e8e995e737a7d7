"""JSON files without trust: what a field may be, what a file may be, and that every refusal is one sentence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from pleinair.documents import Record, read_bytes, read_record
from pleinair.errors import ModelError, OptionError
from tests.children import python


def record(**values: object) -> Record:
    return Record("given", values, OptionError)


def refused(call) -> str:
    with pytest.raises(OptionError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 500
    return line


def test_fields_of_their_types():
    r = record(flag=False, text=" a\x1b b ", n=3, x=2.5, size=[640, 480], part={"n": 1}, parts=[{"n": 2}], nothing=None)
    assert r.flag("flag") is False and r.text("text") == "a\\x1b b" and r.string("text") == " a\x1b b "
    assert r.number("x", 0, 3) == 2.5 and r.whole("n", 3, 3) == 3 and r.choice("n", (3, 4)) == 3
    assert r.size("size") == (640, 480)
    assert r.part("part").whole("n", 0, 9) == 1 and r.parts("parts", 1)[0].whole("n", 0, 9) == 2
    assert r.has("n") and not r.has("nothing") and not r.has("missing")
    assert dict(r.items()) == r.values


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: r.flag("n"), "given: n 3; allowed is true or false"),
        (lambda r: r.text("n"), "given: n 3; allowed is text of up to 200 characters"),
        (lambda r: r.text("long"), "allowed is text of up to 200"),
        (lambda r: r.string("long", 299), "allowed is text of up to 299"),
        (lambda r: r.number("yes", 0, 9), "yes True; allowed is a number from 0 to 9"),
        (lambda r: r.number("n", 4, 9), "n 3;"),
        (lambda r: r.number("nan", -9, 9), "nan nan;"),
        (lambda r: r.number("huge", 0, 1e300), "huge 1000"),
        (lambda r: r.number("missing", 0, 9), "missing None;"),
        (lambda r: r.whole("x", 0, 9), "x 2.5; allowed is a whole number"),
        (lambda r: r.choice("n", (4, 8)), "n 3; allowed is 4, 8"),
        (lambda r: r.choice("yes", (1,)), "yes True;"),
        (lambda r: r.choice("list", (4, 8)), "list [1];"),
        (lambda r: r.size("list"), "allowed is [width, height]"),
        (lambda r: r.size("flat"), "allowed is [width, height]"),
        (lambda r: r.part("n"), "given: n: not an object"),
        (lambda r: r.parts("n", 5), "allowed is a list of up to 5"),
        (lambda r: r.parts("flat", 1), "allowed is a list of up to 1"),
        (lambda r: r.parts("flat", 5), "given: flat 1: not an object"),
        (lambda r: r.check_format("ours"), "given: not a version 1 ours"),
    ],
)
def test_what_a_field_is_not(call, says):
    r = record(n=3, x=2.5, yes=True, long="x" * 300, nan=math.nan, huge=10**400, list=[1], flat=[0, 5])
    assert says in refused(lambda: call(r))


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"format": "ours", "version": 1}, True),
        ({"format": "ours", "version": True}, False),
        ({"format": "ours", "version": 2}, False),
        ({"format": "ours"}, False),
        ({"format": ["ours"], "version": 1}, False),
    ],
)
def test_format_and_version(values, same):
    assert record(**values).is_format("ours") is same


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 100_000, "larger than 1 KiB"),
        (b"[" * 1000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"3", "no JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b" " * 1025, "larger than 1 KiB"),
    ],
)
def test_what_a_file_is_not(tmp_path, data, says):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    line = refused(lambda: read_record(path, most=1024, error=OptionError))
    assert line.startswith(f"{path}: ") and says in line


def test_deep_nesting_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"[" * 1_000_000)
    assert "no JSON" in refused(lambda: read_record(path, most=2 << 20, error=OptionError))


def test_a_file_of_the_greatest_size_is_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": "Vétheuil"}, ensure_ascii=False).ljust(1023), encoding="utf-8")
    assert path.stat().st_size == 1024
    assert read_record(path, most=1024, error=OptionError).string("a") == "Vétheuil"


def test_a_byte_order_mark_is_allowed(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_record(tmp_path / "x.json", most=1024, error=OptionError).values == {"a": 1}


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (tmp_path, "not a file"),
        (tmp_path / "pipe", "not a file"),
        (tmp_path / "none", "No such file"),
        (tmp_path / ("x" * 300), "too long"),
        (Path("a\0b"), "null"),
    ):
        assert says in refused(lambda path=path: read_bytes(path, most=9, error=OptionError))


def test_the_reader_says_which_error_and_which_name(tmp_path):
    with pytest.raises(ModelError, match="^card of x: No such file"):
        read_record(tmp_path / "none", most=9, error=ModelError, name="card of x")


def test_a_board_needs_the_standard_library_alone():
    code = (
        "import sys; before = set(sys.modules); import pleinair.documents;"
        "print([m for m in set(sys.modules) - before if m.partition('.')[0] not in sys.stdlib_module_names])"
    )
    found = python("-c", code, check=True)
    assert {name.partition(".")[0] for name in eval(found.stdout)} == {"pleinair"}
