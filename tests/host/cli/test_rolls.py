"""Rolls by the command line: film, status, resume, finish, repaint; and what is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cli.main import main
from pleinair.cli.rolls import due_lines
from pleinair.rolls.ledger import read_ledger
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import make_schedule
from pleinair.rolls.settings import read_settings
from tests.films import read_video
from tests.models import write_model
from tests.networks import random_network
from tests.rolls import (
    coded_frame,
    film_codes,
    frames_of,
    give_styles,
    pleinair,
    read_code,
    write_coded,
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder: 12 frames, the style ``plain`` that changes nothing, and ``integers`` that does."""
    write_coded(tmp_path / "frames", 12)
    give_styles(tmp_path / "models", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def film(*arguments: str) -> list[str]:
    """A run over the frames on a roll."""
    return [
        *["run", "--style", "plain", "--backend", "reference", "--camera", "frames:frames"],
        *["--roll", "roll", "--keep-free", "0"],
        *arguments,
    ]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_a_rolls_fractional_rate_comes_from_a_config_and_reaches_every_film(place, capsys, suffix):
    import av

    Path("run.toml").write_text("fps = 23.976\n")
    assert main(film("--out", f"film.{suffix}", "--config", "run.toml")) == 0
    assert "12 frames, 0.5 s at 23.976 fps" in capsys.readouterr().out
    assert main(["finish", "roll", "--out", f"again.{suffix}"]) == 0
    painting = json.loads((place / "roll/paintings/plain-8bit/painting.json").read_text())
    assert painting["fps"] == "24000/1001"
    for name in ("film", "again"):
        with av.open(str(place / f"{name}.{suffix}")) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == Fraction(24000, 1001)
            times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
        np.testing.assert_allclose(times, np.arange(12) * 1001 / 24000, atol=6e-4 if suffix == "mkv" else 1e-9)


def test_a_roll_and_its_film(place, capsys):
    assert main(film("--out", "film.mp4")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("film.mp4: 12 frames, 0.5 s at 24 fps, ") and err == "roll: complete, 12 frames\n"
    assert film_codes(place / "film.mp4") == list(range(12))
    assert main(["status", "roll"]) == 0
    out, _ = capsys.readouterr()
    lines = dict(line.strip().split("  ", 1) for line in out.splitlines())
    assert lines["state"] == "complete" and lines["captured"].startswith("12 frames in 1 session, the last ")
    assert lines["painted"] == "12 frames by plain-8bit; 0 to come"
    assert main(["status", "roll", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["frames"], status["painted"], status["pending"]) == ("complete", 12, 12, 0)
    assert status["size"] == [64, 48] and sum(status["lateness"]) == 0 and status["paintings"] == ["plain-8bit"]


def test_strokes_on_a_roll_are_those_of_a_direct_film(place, capsys):
    options = ["run", "--style", "integers", "--backend", "reference", "--camera", "frames:frames", "--strokes", "2"]
    options += ["--steady", "2", "--spool", "png", "--keep-free", "0", "--frames", "4"]
    assert main([*options, "--roll", "roll", "--out", "roll.mp4"]) == 0
    settings = read_settings(place / "roll", read_ledger(place / "roll"))
    assert settings.look.strokes == 2 and settings.look.name == "integers-8bit-strokes2"
    direct = [o for o in options if o not in ("--spool", "png", "--keep-free", "0")]
    assert main([*direct, "--out", "direct.mp4"]) == 0
    for shown, own in zip(read_video(place / "roll.mp4"), read_video(place / "direct.mp4"), strict=True):
        np.testing.assert_allclose(shown.astype(int), own, atol=12)  # encoded by other numbers of threads
    # Another painting of the same style, with other strokes; by default those of the roll.
    again = ["repaint", "roll", "--style", "integers", "--backend", "reference"]
    assert main([*again, "--strokes", "1"]) == 0 and (place / "roll/paintings/integers-8bit").is_dir()
    assert main(again) == 0
    assert sorted(os.listdir(place / "roll/paintings")) == ["integers-8bit", "integers-8bit-strokes2"]
    assert main([*again, "--strokes", "4"]) == 2
    assert "--strokes 4: frames of 64x48 would be painted at 12 pixels a side" in capsys.readouterr().err


def test_when_the_first_frame_is_due_is_told(place, capsys, monkeypatch):
    now = time.time()
    soon, later = (time.strftime("%H:%M", time.localtime(now + s)) for s in (7200, 10_800))
    lines = list(due_lines(make_schedule(86_400.0, start=soon, stop=later)))
    assert len(lines) == 1 and lines[0].startswith("the first frame is due at 20") and lines[0].endswith(soon)
    lines = list(due_lines(make_schedule(86_400.0)))
    assert lines == []
    rare = make_schedule(7 * 86_400.0, start=later)
    rare.follow(now - 86_400.0, now - 86_400.0)
    (line,) = due_lines(rare)
    assert line.startswith("warning: no frame is due within a day; the first is due at ")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    capsys.readouterr()
    assert main(film("--every", "1m", "--from", "00:00", "--until", "00:30", "--daylight", "0,0")) == 2
    assert "there is no daylight within a year" in capsys.readouterr().err and not (place / "roll").exists()


def test_a_sleeping_roll_says_when_it_wakes(place, capsys):
    now = time.time()
    soon, later = (time.strftime("%H:%M", time.localtime(now + s)) for s in (7200, 10_800))
    process = pleinair(*film("--every", "1d", "--from", soon, "--until", later), models=place / "models", cwd=place)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (place / "roll" / "state.json").exists():
        time.sleep(0.1)
    while time.monotonic() < deadline and json.loads((place / "roll" / "state.json").read_text())["due"] is None:
        time.sleep(0.1)
    assert main(["status", "roll"]) == 0
    out = capsys.readouterr().out
    assert "asleep" in out or "running" in out
    assert soon in next(line for line in out.splitlines() if "next due" in line)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130


@pytest.mark.parametrize("roll", [True, False])
def test_a_folder_that_is_away_for_a_while_costs_no_frame(place, roll):
    write_coded(place / "frames", 60)
    arguments = film("--out", "film.mp4")
    if not roll:
        at = arguments.index("--roll")
        del arguments[at : at + 4]
    process = pleinair(*arguments, models=place / "models", cwd=place, stderr=-1)
    deadline = time.monotonic() + 60
    sign = place / "roll" / "originals" if roll else place / ".film.mp4.part.mkv"
    while time.monotonic() < deadline and not sign.exists():
        time.sleep(0.01)
    (place / "frames").rename(place / "away")
    time.sleep(1.0)
    (place / "away").rename(place / "frames")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert film_codes(place / "film.mp4") == list(range(60))


def test_damaged_images_of_a_roll_end_in_status_3_and_the_last_line(place, capsys):
    (place / "frames" / "frame00003.png").write_bytes(b"no image")
    assert main(film("--out", "film.mp4")) == 3
    err = capsys.readouterr().err
    assert "1 skipped (damaged)" in err and err.splitlines()[-1] == "left out of the film: 1 damaged"
    assert film_codes(place / "film.mp4") == [n for n in range(12) if n != 3]


def test_repaint_in_another_style_from_the_same_originals(place, capsys):
    assert main(film("--out", "film.mp4", "--spool", "png", "--steady", "0")) == 0
    assert main(["repaint", "roll", "--style", "integers", "--backend", "reference", "--out", "other.mp4"]) == 0
    assert main(["finish", "roll", "--out", "first.mp4"]) == 0
    assert main(["finish", "roll", "--style", "integers", "--out", "second.mp4"]) == 0
    capsys.readouterr()
    assert film_codes(place / "first.mp4") == list(range(12))
    assert (place / "second.mp4").read_bytes() == (place / "other.mp4").read_bytes()
    from pleinair.backends import open_painter
    from pleinair.models import load_model

    painter = open_painter(load_model("integers", 8), "reference")
    for number, image in enumerate(read_video(place / "other.mp4")):
        assert np.abs(image.mean(2) - painter.paint(coded_frame(number)).mean(2)).mean() < 12
    assert main(["finish", "roll", "--style", "nobody", "--out", "third.mp4"]) == 2
    assert "has the paintings plain-8bit, integers-8bit" in capsys.readouterr().err


def test_stopped_and_gone_on_with_it_is_the_film_that_was_not_stopped(place):
    write_coded(place / "frames", 40)
    assert main([*film("--out", "whole.mp4"), "--roll", "whole", "--deflicker", "16"]) == 0
    process = pleinair(*film("--every", "50ms", "--out", "film.mp4", "--deflicker", "16"))
    while not (place / "roll" / "journal.jsonl").exists() or len(frames_of(place / "roll")) < 10:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "go on with it by: pleinair resume roll" in err and out == ""
    assert read_ledger(place / "roll").state == "stopped" and not (place / "film.mp4").exists()
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    process = pleinair("resume", place / "roll", cwd=elsewhere)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert film_codes(place / "film.mp4") == list(range(40))
    assert packets(place / "film.mp4") == packets(place / "whole.mp4")


def packets(path: Path) -> list[bytes]:
    """A film's coded frames."""
    import av

    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_running_roll_is_looked_at_and_joined_and_not_touched(place, capsys):
    write_coded(place / "frames", 400)
    process = pleinair(*film("--every", "20ms"))
    try:
        while len(list(place.glob("roll/paintings/*/*.mkv"))) < 1:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        assert main(["status", "roll"]) == 0
        assert "state  running" in capsys.readouterr().out
        assert main(["finish", "roll", "--out", "sofar.mp4"]) == 0
        assert "more are not closed yet" in capsys.readouterr().out
        codes = film_codes(place / "sofar.mp4")
        assert codes == list(range(len(codes))) and len(codes) >= 120
        for arguments in (["resume", "roll"], ["repaint", "roll", "--style", "integers"]):
            assert main(arguments) == 2
            assert (
                capsys.readouterr().err == f"pleinair: roll roll: in use by another pleinair (process {process.pid})\n"
            )
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_killed_roll_says_so(place, capsys):
    process = pleinair(*film("--every", "50ms"))
    while not (place / "roll" / "journal.jsonl").exists() or len(frames_of(place / "roll")) < 3:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert main(["status", "roll"]) == 0
    assert "state  interrupted" in capsys.readouterr().out


def test_another_network_under_the_same_name_is_refused(place, capsys):
    assert main(film()) == 0
    write_model(place / "models" / "plain", random_network(4, width=4, blocks=1, kernel=3))
    for path in place.glob("roll/paintings/plain-8bit/*.mkv"):
        path.unlink()
    capsys.readouterr()
    assert main(["finish", "roll", "--out", "film.mp4"]) == 2
    assert "is not the one that the roll began with; paint the roll anew" in capsys.readouterr().err


def test_an_empty_model_file_is_refused_before_there_is_a_roll(place, capsys):
    (place / "models" / "plain" / "network-8bit.npz").write_bytes(b"")
    assert main(film()) == 2
    err = capsys.readouterr().err
    assert "network-8bit.npz: damaged or exchanged" in err and err.count("\n") == 1 and not (place / "roll").exists()


def test_framing_on_a_roll(place):
    assert main(film("--rotate", "90", "--crop", "48x32+0+32", "--timestamp", "1", "--out", "film.mp4")) == 0
    kept = cv2.imread(str(place / "roll" / "originals" / "000000" / "00000005.jpg"))
    assert kept.shape == (32, 48, 3)
    turned = cv2.rotate(coded_frame(5), cv2.ROTATE_90_CLOCKWISE)[32:64, 0:48]
    assert np.abs(kept.astype(int) - turned[..., ::-1]).mean() < 3
    shot = read_video(place / "film.mp4")[5].astype(int)
    assert (
        np.abs(shot[:16] - turned[:16]).mean() < 6 and np.abs(shot[22:] - turned[22:]).mean() > 12
    )  # the time is on it


def test_framing_without_a_roll(place):
    arguments = ["run", "--style", "plain", "--backend", "reference", "--camera", "frames:frames", "--steady", "0"]
    assert main([*arguments, "--rotate", "180", "--out", "film.mp4"]) == 0
    assert [read_code(np.rot90(image, 2)) for image in read_video(place / "film.mp4")] == list(range(12))


def test_settings_come_through(place):
    # Where it is noon now, whenever this runs.
    noon = f"0,{12 * 15 - time.time() % 86_400 / 240:.2f}"
    assert main(
        film(
            *["--keep", "painted", "--keep-free", "1.5GB", "--spool", "png", "--from", "00:00", "--until", "24:00"],
            *["--daylight", noon, "--notify-cmd", "true", "--size", "32x24", "--fps", "12", "--every", "10ms"],
        )
    ) in (0, 130)
    settings = read_settings(place / "roll", read_ledger(place / "roll"))
    assert (settings.keep, settings.keep_free, settings.spool, settings.size) == (
        "painted",
        1_500_000_000,
        "png",
        (32, 24),
    )
    assert (settings.start, settings.stop, settings.daylight, settings.notify) == ("00:00", "24:00", noon, "true")
    assert (settings.every, settings.look.fps, settings.camera) == (0.01, 12, f"frames:{place / 'frames'}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (film("--keep", "all"), "--keep 'all': choose from originals, painted, none"),
        (film("--keep-free", "lots"), "--keep-free 'lots': write a size like 500MB"),
        (film("--spool", "gif"), "--spool 'gif': choose from jpg, png"),
        (film("--from", "26:00"), "--from '26:00': write a time of day"),
        (film("--daylight", "north"), "--daylight 'north'"),
        (film("--notify-cmd", "'"), "--notify-cmd"),
        (film("--out", "film.avi"), "a film ends in"),
        (film("--backend", "gpu"), "--backend 'gpu': choose from"),
        (film("--style", "nobody"), "--style 'nobody': unknown"),
        (film("--camera", "pi:x"), "--camera 'pi:x': choose from"),
        (film("--camera", "v4l2:63"), "v4l2:63: there is no /dev/video63"),
        (film("--camera", "frames:none"), "/none: No such file"),
        (film("--crop", "100x100+0+0"), "reaches outside the camera's 64x48"),
        (film("--preview", "0"), "'--preview'"),
        (film("--roll", "no/where"), "--roll no/where: the folder"),
        (film("--roll", "frames"), "--roll frames: there is something already; name a new folder"),
        (["run", "--camera", "v4l2:63"], "give --roll ROLL, --out FILM, or both"),
        (["resume", "frames"], "roll frames: no roll there"),
        (["resume", "none"], "roll none: No such file"),
        (["status", "none"], "roll none: No such file"),
        (["finish", "none", "--out", "film.mp4"], "roll none: No such file"),
        (["repaint", "none", "--style", "plain"], "roll none: No such file"),
        (["service", "install", "none"], "roll none: No such file"),
    ],
)
def test_refused_in_one_line(place, capsys, arguments, said):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and said in err
    assert sorted(os.listdir(place)) == ["frames", "models"]


def test_what_is_captured_is_painted_without_its_source(place, capsys):
    assert main(film("--out", "film.mp4")) == 0
    (place / "film.mp4").unlink()
    for path in place.glob("roll/paintings/plain-8bit/*.mkv"):
        path.unlink()
    os.rename(place / "frames", place / "gone")
    assert main(["resume", "roll"]) == 0
    assert film_codes(place / "film.mp4") == list(range(12))
    os.rename(place / "gone", place / "frames")
    write_coded(place / "frames", 15)  # more has come since
    assert main(["resume", "roll"]) == 0
    assert film_codes(place / "film.mp4") == list(range(15))


def test_a_roll_that_is_there_is_not_begun_again(place, capsys):
    assert main(film()) == 0
    capsys.readouterr()
    assert main(film()) == 2
    assert "there is something already; go on with it by: pleinair resume roll" in capsys.readouterr().err
    with Roll.open(place / "roll").journal.path.open() as journal:
        assert len(journal.readlines()) > 12
