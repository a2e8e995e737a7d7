"""The test of releases at work: one painting against the stored fingerprint, and what it says when one differs."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.releases import fingerprints
from tests.releases.fingerprints import EVERYWHERE, SAME_MACHINE, SIZES, SMALL_STYLE, STORED, Lab, main

NAME = f"painting/{SMALL_STYLE}/4/33x47"
#: Stands in for the command: the "painting" is the photo.
COPY = shlex.join([sys.executable, "-c", "import shutil, sys; shutil.copy(sys.argv[2], sys.argv[3])"])


def stored() -> dict[str, dict[str, str]]:
    return json.loads(STORED.read_bytes())


def test_a_painting_is_what_it_was(tmp_path):
    lab = Lab(tmp_path, (sys.executable, "-m", "pleinair"), ())
    assert fingerprints.paint(lab, SMALL_STYLE, 4, SIZES[0], "--engine", "onnxruntime") == stored()[EVERYWHERE][NAME]


def test_every_item_has_a_fingerprint_and_every_fingerprint_an_item():
    file = stored()
    for item in fingerprints.items():
        assert any(item.owns(key) for section in (EVERYWHERE, SAME_MACHINE) for key in file[section]), item.name
    assert not fingerprints.orphans(file, EVERYWHERE)
    assert not fingerprints.orphans(file, SAME_MACHINE)


def test_another_painting_is_reported(tmp_path, capsys):
    assert main(["--check", "--only", NAME, "--pleinair", COPY]) == 1
    assert f"{NAME}: {stored()[EVERYWHERE][NAME]} -> " in capsys.readouterr().out


def test_what_was_written_is_the_same(tmp_path, capsys):
    file = tmp_path / "prints.json"
    arguments = ["--only", NAME, "--pleinair", COPY, "--json", str(file)]
    assert main(["--write", *arguments]) == 0
    assert list(json.loads(file.read_bytes())[EVERYWHERE]) == [NAME]
    assert main(["--check", *arguments]) == 0
    assert "0 differences" in capsys.readouterr().out


@pytest.mark.parametrize(
    "code, message",
    [
        ("import sys; sys.exit('no paint left')", "status 1; no paint left"),
        ("import time; time.sleep(60)", "not done after 1 s"),
        ("import sys; sys.stdin.read(1) or sys.exit('no input')", "no input"),
    ],
)
def test_a_child_that_fails_or_hangs_is_reported(code, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprints, "DEADLINE", 1.0 if "sleep" in code else 60.0)
    command = shlex.join([sys.executable, "-c", code])
    file = tmp_path / "prints.json"
    for action in ("--check", "--write"):
        assert main([action, "--only", NAME, "--pleinair", command, "--json", str(file)]) == 1
        assert message in capsys.readouterr().out
    assert json.loads(file.read_bytes())[EVERYWHERE] == {}


def test_engines_that_disagree_are_reported(tmp_path, capsys):
    script = tmp_path / "paints_otherwise.py"
    script.write_text(
        "import cv2, sys\n"
        "photo = cv2.imread(sys.argv[2])\n"
        "photo[0, 0, 0] ^= 'reference' in sys.argv\n"
        "cv2.imwrite(sys.argv[3], photo)\n"
    )
    command = shlex.join([sys.executable, str(script)])
    assert main(["--check", "--only", NAME, "--pleinair", command]) == 1
    assert f"{NAME}: paintings differ: onnxruntime" in capsys.readouterr().out


def test_hardware_is_hashed_without_place_and_random_names(tmp_path):
    def build(place: Path, ending: str, depth: int) -> str:
        folder = place / f"code_gen_ipgen_enter_product_{ending}"
        folder.mkdir(parents=True)
        (folder / "top.v").write_text(f'INIT_FILE = "{folder}/memblock.dat"; DEPTH = {depth}')
        return fingerprints.sha256(fingerprints.hardware_parts(place))

    one = build(tmp_path / "one", "ab3_x9k2", depth=4)
    assert one == build(tmp_path / "deeper" / "two", "zz_0001a", depth=4)
    assert one != build(tmp_path / "three", "ab3_x9k2", depth=5)


def test_the_picture_is_made_of_integers_alone():
    image = fingerprints.picture(5, 7)
    assert image.dtype == np.uint8 and image.shape == (5, 7, 3)
    y, x, c, shift = 4, 6, 2, 300
    wave = abs(((x + shift) * 5 * (c + 1) + y * 3 + 80 * c) % 510 - 255)
    rough = (((x + shift) * 73_856_093 ^ y * 19_349_663 ^ c * 83_492_791) >> 7) % 61
    value = wave * 3 // 4 + rough * ((x + shift) % 128) // 128
    assert fingerprints.picture(5, 7, shift)[y, x, c] == value
