"""Heat: what the kernel and the firmware say, and how painting rests."""

from __future__ import annotations

import os

import pytest

from pleinair_pi.heat import MOST_REST, Heat, read_heat, read_throttled


def zone(folder, number: int, text: str) -> None:
    """A thermal zone as the kernel shows it."""
    path = folder / f"thermal_zone{number}"
    path.mkdir()
    (path / "temp").write_text(text)


def firmware(tmp_path, monkeypatch, script: str) -> None:
    """A vcgencmd that does as the script says."""
    path = tmp_path / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_the_hottest_zone_counts_and_nonsense_does_not(tmp_path):
    for number, text in enumerate(("48312\n", "61500\n", "-273150\n", "", "none\n")):
        zone(tmp_path, number, text)
    assert read_heat(tmp_path).celsius == 61.5
    assert read_heat(tmp_path / "nowhere").celsius is None


@pytest.mark.parametrize(
    ("answer", "now", "since"),
    [
        ("throttled=0x0", [], []),
        ("throttled=0x50005", ["under-voltage", "throttled"], ["under-voltage", "throttled"]),
        ("throttled=0xe0008", ["soft temperature limit"], ["frequency capped", "throttled", "soft temperature limit"]),
    ],
)
def test_the_firmwares_flags(tmp_path, monkeypatch, answer, now, since):
    firmware(tmp_path, monkeypatch, f'[ "$1" = get_throttled ] && echo {answer}')
    heat = Heat(50.0, read_throttled())
    assert (heat.now(), heat.since_boot()) == (now, since)


@pytest.mark.parametrize("script", ["exit 1", "echo VCHI initialization failed", "echo throttled="])
def test_a_firmware_that_does_not_answer(tmp_path, monkeypatch, script):
    firmware(tmp_path, monkeypatch, script)
    assert read_throttled() is None


@pytest.mark.parametrize(
    ("celsius", "flags", "rest"),
    [
        (None, None, 0),
        (40.0, 0, 0),
        (70.0, 0, 0),
        (75.0, 0, MOST_REST / 2),
        (80.0, 0, MOST_REST),
        (95.0, 0, MOST_REST),
        (50.0, 0b0100, MOST_REST),
        (50.0, 0b1000, MOST_REST),
        (50.0, 0b0001, 0),
        (50.0, 0b0100 << 16, 0),
    ],
)
def test_painting_rests_when_it_is_hot(celsius, flags, rest):
    assert Heat(celsius, flags).rest() == pytest.approx(rest)
