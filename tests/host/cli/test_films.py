"""The options of a film's cut, by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pleinair.cli.main import main
from tests.films import read_video
from tests.models import write_model
from tests.rolls import film_codes, frames_of, identity_network, read_code, write_coded


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The working folder with a roll of 12 frames, in the style ``plain`` that changes nothing."""
    write_coded(tmp_path / "frames", 12)
    write_model(tmp_path / "models" / "plain", identity_network(), margin=0, grain=0)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    options = ["--style", "plain", "--backend", "reference", "--steady", "0", "--keep-free", "0"]
    assert main(["run", *options, "--camera", "frames:frames", "--roll", "roll"]) == 0
    return tmp_path


def test_a_film_of_a_length(place, capsys):
    capsys.readouterr()
    assert main(["finish", "roll", "--out", "film.mp4", "--length", "500ms", "--fps", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("film.mp4: 4 frames, 0.5 s at 8 fps, 64x48, ")
    assert film_codes(place / "film.mp4") == [0, 4, 7, 11]
    assert main(["finish", "roll", "--out", "film.mp4", "--every", "5"]) == 0
    assert "is now film.before-1.mp4" in capsys.readouterr().err
    assert film_codes(place / "film.mp4") == [0, 5, 10]


def test_originals_split_title_and_a_moving_picture(place, capsys):
    options = ["--split", "beside", "--title", "Roof", "--preview-image", "film.webp"]
    assert main(["finish", "roll", "--out", "film.mp4", *options]) == 0
    out = capsys.readouterr().out
    assert "84 frames, 3.5 s at 24 fps, 128x48" in out and "film.webp: 84 frames" in out
    assert [read_code(image[:, 64:]) for image in read_video(place / "film.mp4")[72:]] == list(range(12))
    assert main(["finish", "roll", "--out", "own.mp4", "--original", "--blend", "3", "--size", "128x96"]) == 0
    assert read_video(place / "own.mp4")[0].shape == (96, 128, 3)
    # A picture of the film as it is.
    assert main(["finish", "roll", "--out", "all.mp4", "--preview-image", "all.gif"]) == 0
    assert film_codes(place / "all.mp4") == film_codes(place / "all.gif") == list(range(12))


def test_repaint_cuts_its_film_too(place):
    options = ["--style", "plain", "--bits", "8", "--backend", "reference"]
    assert main(["repaint", "roll", *options, "--out", "film.mp4", "--every", "4", "--timestamp"]) == 0
    assert len(read_video(place / "film.mp4")) == 3


def test_several_rolls_become_one_film(place, capsys):
    options = ["--style", "plain", "--backend", "reference", "--steady", "0", "--keep-free", "0", "--frames", "5"]
    assert main(["run", *options, "--camera", "frames:frames", "--roll", "second"]) == 0
    assert main(["finish", "roll", "second", "--out", "film.mp4"]) == 0
    assert film_codes(place / "film.mp4") == [*range(12), *range(5)]


def test_what_cannot_be_is_refused_before_the_work(place, capsys):
    before = len(frames_of(place / "roll"))
    for options, text in (
        (["--length", "1s", "--every", "2"], "give --length or --every, not both"),
        (["--original", "--split"], "--split half: shows the original, too; leave out --original"),
        (["--day", "today"], "--day 'today': write a date like 2026-11-25"),
        (["--day", "2026-11-25"], "roll roll: its frames have no dates"),
        (["--every", "0"], "--every '0': write a number of frames like 10, or a time like 5m"),
        (["--blend", "61"], "--blend"),
        (["--preview-image", "film.jpg"], "--preview-image film.jpg: a moving picture ends in .webp or .gif"),
        (["--style", "none", "--length", "1s"], "--style none: roll roll has the paintings plain-8bit"),
    ):
        capsys.readouterr()
        assert main(["finish", "roll", "--out", "film.mp4", *options]) == 2
        assert text in capsys.readouterr().err
    assert main(["repaint", "roll", "--style", "plain", "--length", "1s"]) == 2
    assert "give --out FILM" in capsys.readouterr().err
    assert not (place / "film.mp4").exists() and len(frames_of(place / "roll")) == before


def test_a_roll_at_a_glance(place, capsys):
    capsys.readouterr()
    options = ["--strip", "strip.png", "--sheet", "sheet.jpg", "--brightness", "light.png"]
    assert main(["glance", "roll", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "strip.png: 1440x48, of 12 frames, frame00000.png to frame00011.png"
    assert all((place / name).exists() for name in options[1::2])
    assert main(["glance", "roll", "--strip", "own.png", "--original"]) == 0
    assert main(["glance", "roll"]) == 2
    assert "give --strip, --sheet or --brightness" in capsys.readouterr().err
    assert main(["glance", "roll", "--strip", "strip.mp4"]) == 2
    assert main(["glance", "roll", "--strip", "strip.png", "--day", "2026-11-25"]) == 2
    assert "its frames have no dates" in capsys.readouterr().err
