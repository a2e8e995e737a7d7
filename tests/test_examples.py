"""The examples run as they are, each in a process and a folder of its own; so do the notebook's cells."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.children import python
from tests.films import read_video, write_frames
from tests.house import ROOT

EXAMPLES = ROOT / "examples"
#: How each example is called, and what it prints.
CALLS = {
    "paint_photo": (("photo.png", "painting.png"), ""),
    "paint_each_frame": ((), "frame 11: mean colour"),
    "film_pictures": (("pictures", "film.mp4"), "film.mp4: 3 frames; left out: none"),
    "film_day": (("film.mp4",), ""),
    "roll": (("garden",), "garden: complete"),
    "roll_status": (("garden",), "complete: 6 frames by synthetic, 6 painted, 0 to come"),
    "list_styles": ((), "starry-night-small: "),
    "compare_bits": ((), "8 bits: "),
    "own_network": ((), "after"),
    "own_camera": (("film.mp4",), "film.mp4: 10 frames"),
}


def run(name: str, *arguments: str, cwd: Path) -> str:
    """What an example prints; it must succeed within two minutes."""
    done = python(EXAMPLES / f"{name}.py", *arguments, cwd=cwd, deadline=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_an_example_does_what_it_says(name: str, tmp_path: Path):
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    write_frames(tmp_path / "pictures", [40, 120, 200])
    if name == "roll_status":
        run("roll", "garden", cwd=tmp_path)
    arguments, says = CALLS[name]
    assert says in run(name, *arguments, cwd=tmp_path)
    if name == "paint_photo":
        assert cv2.imread(str(tmp_path / "painting.png")).shape == photo.shape
    if "film.mp4" in arguments:
        assert len(read_video(tmp_path / "film.mp4")) == {"film_pictures": 3, "film_day": 24, "own_camera": 10}[name]
    if name == "compare_bits":
        # The fewer bits, the farther from 16.
        lines = run(name, cwd=tmp_path).splitlines()
        assert (levels := [float(line.split()[2]) for line in lines]) == sorted(levels)


def test_a_second_call_goes_on_with_the_roll(tmp_path: Path):
    for _ in range(2):
        assert "garden: complete" in run("roll", "garden", cwd=tmp_path)


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path):
    notebook = json.loads((EXAMPLES / "paintings.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] in ("code", "markdown")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = python("-c", code + "\nprint('end')", cwd=tmp_path, deadline=180)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("end\n")
