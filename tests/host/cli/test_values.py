"""Options: what is allowed comes through as it was meant, all else is refused with name, value and choice."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pleinair.cli.values import parse_duration, parse_size, read_config
from pleinair.errors import OptionError

KNOWN = {"fps", "size", "style-weight", "out"}


def config(folder: Path, data: bytes | str) -> Path:
    """A file of that content."""
    path = folder / "pleinair.toml"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_sizes():
    assert parse_size("640x360") == (640, 360)
    assert parse_size("16x16") == (16, 16)
    assert parse_size("8000x8000") == (8000, 8000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "640",
        "640x",
        "x360",
        "640X360",
        "15x16",
        "16x15",
        "8001x8000",
        "99999x99999",
        "-64x48",
        "6.4x48",
        "64x48x3",
        " 64x48",
        "64x48\n",
        "640000x16",
        "\u0666\u0664x\u0664\u0668",
    ],
)
def test_sizes_refused(text):
    with pytest.raises(OptionError) as caught:
        parse_size(text)
    assert f"size {text!r}" in str(caught.value) and "16x16 to 64 megapixels" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("5m", 300), ("2h", 7200), ("1.5h", 5400), ("200ms", 0.2), ("1d", 86400), ("366d", 366 * 86400)],
)
def test_durations(text, seconds):
    assert parse_duration(text, "every") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "0s", "0.0ms", "-5s", "5 s", "5S", "5w", "367d", "1e3s", "nan", "infs", ".5s", "5s\n", "\u0665s"],
)
def test_durations_refused(text):
    with pytest.raises(OptionError) as caught:
        parse_duration(text, "every")
    assert f"every {text!r}" in str(caught.value) and "up to a year" in str(caught.value)


def test_a_config_reads_as_the_command_line_would(tmp_path):
    path = config(tmp_path, 'fps = 12\nsize = "64x48"\nstyle-weight = 2.5\n')
    assert read_config(path, KNOWN) == {"fps": "12", "size": "64x48", "style-weight": "2.5"}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("speed = 3", r"unknown option 'speed'; there are fps, out, size, style-weight"),
        ("[run]\nfps = 3", "unknown option 'run'"),
        ("fps = true", "fps is true; allowed are text and numbers"),
        ("fps = [1]", "fps is an array"),
        ("fps = {a = 1}", "fps is a table"),
        ("fps = 2026-01-01", "fps is a date or time"),
        ("fps =", "not TOML"),
        ("fps = 1\nfps = 2", "not TOML"),
        (b"\xff\xfe\x00", "not TOML"),
        ("fps = " + "[" * 50_000, "not TOML"),
        (b"#" * (2 << 20), "larger than 1 MiB"),
    ],
)
def test_configs_refused(tmp_path, data, cause):
    path = config(tmp_path, data)
    with pytest.raises(OptionError, match=cause) as caught:
        read_config(path, KNOWN)
    assert f"config {path}" in str(caught.value)


def test_configs_that_cannot_be_read(tmp_path):
    with pytest.raises(OptionError, match="No such file"):
        read_config(tmp_path / "none.toml", KNOWN)
    with pytest.raises(OptionError, match="Is a directory"):
        read_config(tmp_path, KNOWN)


def test_a_pipe_serves(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("fps = 7",), daemon=True)
    writer.start()
    assert read_config(path, KNOWN) == {"fps": "7"}
    writer.join()
