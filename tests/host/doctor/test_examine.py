"""The doctor: all well, or the remedy named."""

from __future__ import annotations

import time

from pleinair.cli.main import main
from pleinair.doctor import examine as doctor
from pleinair.doctor.examine import BAD, DOUBTFUL, GOOD, look_at_clock, look_at_folder, look_at_memory


def test_the_doctor_finds_all_well_or_names_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["doctor", "--style", "starry-night-small", "--roll", str(tmp_path)]
    monkeypatch.setattr(doctor, "_DISK", 0)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count(" good ") >= 7 and "megabyte is on the disk" in out and "starry-night-small at 8 bits" in out
    for argument, value, said in (
        ("--camera", "v4l2:63", "there is no /dev/video63"),
        ("--style", "nobody", "pleinair styles"),
        ("--roll", str(tmp_path / "none"), "No such file"),
        ("--camera", f"frames:{tmp_path}", "no image in it"),
    ):
        assert main([*arguments, argument, value]) == 2
        out = capsys.readouterr().out
        assert " bad " in out and said in out


def test_the_doctor_on_clock_memory_and_folders(tmp_path):
    assert look_at_clock(lambda: 86_400.0).state == BAD
    assert look_at_clock(time.time, tmp_path).state == DOUBTFUL
    (tmp_path / "synchronized").touch()
    assert look_at_clock(time.time, tmp_path).state == GOOD
    meminfo = tmp_path / "meminfo"
    for available, state in ((3_000_000, GOOD), (200_000, BAD)):
        meminfo.write_text(f"MemTotal: 4000000 kB\nMemAvailable: {available} kB\n")
        assert look_at_memory(meminfo).state == state
    assert look_at_folder(tmp_path / "none").state == BAD
    assert look_at_folder(tmp_path).state in (GOOD, DOUBTFUL) and not list(tmp_path.glob(".pleinair*"))
