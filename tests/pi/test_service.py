"""The service's unit: as systemd understands it, for a roll that there is."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

import pytest

from pleinair.errors import OptionError, OutputError, RollError
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from pleinair_pi import service
from pleinair_pi.service import WATCHDOG, install, remove, unit_name, unit_text
from tests import children


@pytest.fixture
def roll(tmp_path) -> Path:
    """A roll that is to make a film elsewhere."""
    (tmp_path / "films").mkdir()
    out = str(tmp_path / "films" / "roof.mp4")
    settings = Settings(camera="pi", size=(64, 48), look=Look("plain", 8), every=10.0, out=out)
    Roll.create(tmp_path / "roof", settings).close()
    return tmp_path / "roof"


def read_unit(text: str) -> configparser.ConfigParser:
    """A unit file's sections; of options that may stand twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_the_unit_resumes_the_roll_and_may_write_nothing_else(roll, tmp_path):
    unit = read_unit(unit_text(roll, "pi", Path("/home/pi/venv/bin/pleinair"), 8080))["Service"]
    assert unit["ExecStart"] == f"/home/pi/venv/bin/pleinair resume {roll} --preview 8080"
    assert unit["ReadWritePaths"].split() == [str(roll), str(tmp_path / "films")]
    assert (unit["Type"], unit["WatchdogSec"], unit["User"]) == ("notify", str(WATCHDOG), "pi")
    assert (unit["ProtectSystem"], unit["NoNewPrivileges"], unit["CapabilityBoundingSet"]) == ("strict", "yes", "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_it_and_finds_it_well_locked(roll, tmp_path):
    path = tmp_path / unit_name(roll)
    path.write_text(unit_text(roll, "root", Path("/bin/true")))
    done = children.run(["systemd-analyze", "verify", path])
    assert (done.returncode, done.stderr) == (0, "")
    done = children.run(["systemd-analyze", "security", "--offline=true", "--threshold=30", path])
    assert done.returncode == 0, done.stdout[-500:]


def test_installed_started_and_removed(roll, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(service.subprocess, "run", lambda command, **_: asked.append(command[1:]) or _Done())
    path = install(roll, "pi", None, units=tmp_path)
    assert path.name == "pleinair-roof.service" and "resume" in path.read_text()
    assert asked == [["daemon-reload"], ["enable", "--now", "pleinair-roof.service"]]
    assert remove(roll, tmp_path) == path and not path.exists()
    with pytest.raises(OutputError, match="there is none"):
        remove(roll, tmp_path)


class _Done:
    returncode = 0


def test_another_rolls_unit_is_not_replaced(roll, tmp_path, monkeypatch):
    monkeypatch.setattr(service.subprocess, "run", lambda command, **_: _Done())
    install(roll, "pi", None, units=tmp_path)
    (tmp_path / "2027").mkdir()
    shutil.copytree(roll, tmp_path / "2027" / roll.name)
    for change in (lambda other: install(other, "pi", None, units=tmp_path), lambda other: remove(other, tmp_path)):
        with pytest.raises(OptionError, match="is that of the roll"):
            change(tmp_path / "2027" / roll.name)
    install(roll, "pi", None, units=tmp_path)
    with pytest.raises(OptionError, match="no name of a user"):
        install(roll, "pi\nExecStart=x", None, units=tmp_path)


def test_what_cannot_be(roll, tmp_path):
    with pytest.raises(OutputError, match="No such file.*by sudo"):
        install(roll, "pi", None, units=tmp_path / "nowhere")
    with pytest.raises(RollError):
        unit_text(tmp_path / "none", "pi", Path("/bin/true"))
    spaced = tmp_path / "my roll"
    shutil.move(roll, spaced)
    with pytest.raises(OptionError, match="without spaces"):
        unit_text(spaced, "pi", Path("/bin/true"))
