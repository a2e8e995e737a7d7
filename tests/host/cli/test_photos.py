"""``pleinair paint`` with many photos, folders, patterns, standard input and output, and strokes."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cli.main import main
from pleinair.cli.photos import errands
from pleinair.exif import find_exif, taken_at, with_exif
from pleinair.images import decode_image, read_image
from pleinair.models import load_model
from pleinair.painting.strokes import with_strokes
from tests.models import write_model
from tests.networks import random_network

#: A TIFF structure with one field: DateTime, 2026:05:03 14:20:00.
EXIF = b"II*\0\x08\0\0\0\x01\0\x32\x01\x02\0\x14\0\0\0\x1a\0\0\0" + bytes(4) + b"2026:05:03 14:20:00\0"


@pytest.fixture(scope="session")
def style(tmp_path_factory) -> Path:
    """A model folder, small and quick."""
    return write_model(tmp_path_factory.mktemp("models") / "integers", random_network(3, width=4, blocks=1, kernel=3))


def photo(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (70, 90, 3)).astype(np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch, style) -> Path:
    """The working folder with a folder of photos; the random style is the only one there is."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.png", "b.PNG", "c.jpg", "d.webp")):
        done, data = cv2.imencode(name[1:].lower(), cv2.cvtColor(photo(number), cv2.COLOR_RGB2BGR))
        assert done
        (tmp_path / "in" / name).write_bytes(with_exif(data.tobytes(), EXIF))
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    (tmp_path / "in" / ".hidden.png").write_text("no photo")
    monkeypatch.setenv("PLEINAIR_MODELS", str(style.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paint(*arguments: str | Path) -> int:
    return main(["paint", "--style", "integers", *map(str, arguments)])


def expected(style: Path, image: np.ndarray, strokes: int = 1) -> np.ndarray:
    with with_strokes(open_painter(load_model(style, 8), "reference"), strokes) as painter:
        return painter.paint(image)


def test_a_folder_is_painted_into_another_and_keeps_names_and_dates(place, style, capsys):
    assert paint("in", "--out-dir", "out") == 0
    assert sorted(os.listdir("out")) == ["a.png", "b.png", "c.jpg", "d.webp"]
    assert np.array_equal(read_image(Path("out/a.png")), expected(style, photo(0)))
    assert np.array_equal(read_image(Path("out/b.png")), expected(style, photo(1)))
    for name in ("a.png", "b.png", "c.jpg"):
        assert taken_at(find_exif(Path("out", name).read_bytes())) == "2026-05-03 14:20"
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_files_patterns_and_a_format(place, style):
    assert paint("in/[ab].*", "in/c.jpg", "--out-dir", "out", "--format", "png", "--strokes", "3") == 0
    assert sorted(os.listdir("out")) == ["a.png", "c.png"] or sorted(os.listdir("out")) == ["a.png", "b.png", "c.png"]
    assert np.array_equal(read_image(Path("out/a.png")), expected(style, photo(0), 3))


def test_one_photo_with_strokes(place, style):
    assert paint("in/a.png", "a.png", "--strokes", "2") == 0
    assert np.array_equal(read_image(Path("a.png")), expected(style, photo(0), 2))


class Bytes(io.TextIOWrapper):
    """A standard stream that holds bytes."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data))


def test_standard_input_and_output(place, style, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Bytes(Path("in/a.png").read_bytes()))
    stream = Bytes()
    monkeypatch.setattr(sys, "stdout", stream)
    assert paint("-", "-") == 0
    data = stream.buffer.getvalue()
    assert data.startswith(b"\x89PNG") and np.array_equal(decode_image(data, "out"), expected(style, photo(0)))
    assert taken_at(find_exif(data)) == "2026-05-03 14:20"
    monkeypatch.setattr(sys, "stdout", stream := Bytes())
    assert paint("in/c.jpg", "-", "--format", "jpg") == 0
    assert stream.buffer.getvalue().startswith(b"\xff\xd8\xff")
    assert "-: 90x70 in " in capsys.readouterr().err


def test_standard_input_and_output_that_are_closed(place, style, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert paint("-", "a.png") == 2
    assert "image from standard input: it is closed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", None)
    assert paint("in/c.jpg", "-") == 2
    assert "standard output: it is closed" in capsys.readouterr().err


def test_a_link_to_nothing_in_a_folder_is_told(place, capsys):
    Path("in/away.jpg").symlink_to("nowhere.jpg")
    assert paint("in", "--out-dir", "out") == 3
    assert "left out: image in/away.jpg: No such file" in capsys.readouterr().err


def test_a_name_of_control_characters_is_escaped(place, capsys):
    Path("in/c.jpg").rename("in/c\x1b[31m\nd.jpg")
    assert paint("in", "--out-dir", "out") == 0
    out = capsys.readouterr().out
    assert "c\\x1b[31m" in out and "\x1b" not in out


def test_damaged_photos_are_left_out_and_told(place, capsys):
    data = Path("in/c.jpg").read_bytes()
    Path("in/c.jpg").write_bytes(data[: len(data) // 2])
    cv2.imwrite("in/e.png", np.zeros((8, 8, 3), np.uint8))
    assert paint("in", "--out-dir", "out") == 3
    err = capsys.readouterr().err
    assert "left out: image in/c.jpg: " in err and "left out: image in/e.png: 8x8" in err
    assert err.endswith("left out: 2 of 5 images\n")
    assert sorted(os.listdir("out")) == ["a.png", "b.png", "d.webp"]
    for name in ("a.png", "b.PNG", "d.webp"):
        os.unlink(f"in/{name}")
    assert paint("in", "--out-dir", "out") == 2
    assert "none of 2 images could be painted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in/a.png"], "give IMAGE and OUT, or images and --out-dir FOLDER"),
        (["in/a.png", "in/b.PNG", "out.png"], "give IMAGE and OUT, or images and --out-dir FOLDER"),
        (["in", "--out-dir", "in"], "output in/a.png: is the photo itself; name another file"),
        (
            ["in/a.png", "in/c.jpg", "copy/a.png", "--out-dir", "out"],
            "in/a.png and copy/a.png: both paintings would be out/a.png",
        ),
        (["nothing*.png", "--out-dir", "out"], "image nothing*.png: no file is called so"),
        (["empty", "--out-dir", "out"], "image empty: the folder holds none"),
        (["in", "--out-dir", "no/where"], "--out-dir no/where: No such file"),
        (["in/a.png", "a.png", "--format", "jpg"], "--format jpg: goes with --out-dir"),
        (["in/a.png", "a.png", "--strokes", "5"], "--strokes 5: choose from 1, 2, 3, 4, auto"),
        (["small.png", "a.png", "--strokes", "4"], "--strokes 4: frames of 40x40 would be painted at 10 pixels a side"),
        (["in/a.png", "a.png", "--strokes", "auto"], "--strokes auto: this style does not say"),
    ],
)
def test_refused_in_one_line(place, capsys, arguments, said):
    (place / "empty").mkdir()
    (place / "copy").mkdir()
    (place / "copy" / "a.png").write_bytes((place / "in" / "a.png").read_bytes())
    cv2.imwrite("small.png", np.zeros((40, 40, 3), np.uint8))
    assert paint(*arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not any(path.is_file() for path in (place / "out").glob("*")) and not (place / "a.png").exists()


def test_a_photo_named_twice_is_painted_once(place):
    found = errands([Path("in/a.png"), Path("in/a.png"), Path("in")], Path("out"), None)
    assert [errand.photo.name for errand in found] == ["a.png", "b.PNG", "c.jpg", "d.webp"]
