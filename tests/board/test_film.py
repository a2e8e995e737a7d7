"""The whole pipeline with an emulated board, beside the same with a processor."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cameras.opening import open_camera
from pleinair.cli.main import main
from pleinair.films.pipeline import run
from pleinair.fpga import painter as accelerator_painter
from tests.board.boards import FAMILIES
from tests.children import python
from tests.films import read_video, write_frames
from tests.house import ROOT, SHARED

ICECUBE = SHARED / "data" / "timelapse" / "icecube"


class Paintings:
    """A recorder that keeps what it is given."""

    def __init__(self):
        self.kept, self.frames = [], 0

    def add(self, image):
        """See Recorder."""
        self.kept.append(image.copy())
        self.frames += 1

    def finish(self):
        """See Recorder."""
        return Path("memory")

    def discard(self):
        """See Recorder."""


@pytest.fixture
def photos(tmp_path):
    """Real frames where there are some, else drawn ones."""
    if ICECUBE.is_dir():
        return ICECUBE
    write_frames(tmp_path / "frames", [40, 90, 140, 190, 240], "png")
    return tmp_path / "frames"


def film(camera, painter, steady=2):
    recorder = Paintings()
    outcome = run(camera, painter, recorder, steady=steady)
    assert outcome.progress.recorded == outcome.progress.captured == len(recorder.kept)
    return recorder.kept


@pytest.mark.parametrize("bits", (4, 8, 16))
@pytest.mark.parametrize("size", ((41, 33), "equal", (151, 99)), ids=str)
def test_a_film_of_real_frames_is_the_processors(board, photos, bits, size):
    b = board(FAMILIES[bits == 8 and -1], bits, blocks=1)
    margin = b.model.margin
    extent = (b.deployment.width - 2 * margin, b.deployment.height - 2 * margin) if size == "equal" else size
    films = [
        film(open_camera(f"frames:{photos}", size=extent, frames=5), painter)
        for painter in (b.painter(), open_painter(b.model, "cpu", 1), b.reference())
    ]
    assert len(films[0]) == 5 and films[0][0].shape == (extent[1], extent[0], 3)
    for fpga, cpu, reference in zip(*films, strict=True):
        assert np.array_equal(fpga, cpu) and np.array_equal(fpga, reference)


@pytest.mark.parametrize("kind", ("hang", "late", "short", "bus"))
@pytest.mark.parametrize("lasting, fallback", ((False, False), (True, True)))
def test_faults_cost_a_film_nothing(board, tmp_path, kind, lasting, fallback, monkeypatch):
    """What is captured while the accelerator is out of order is painted: by itself later, or by the fallback."""
    monkeypatch.setattr(accelerator_painter, "REST", 0.1)
    write_frames(tmp_path / "frames", list(range(20, 240, 20)))
    b = board(faults=f"{kind}@4{'+' if lasting else ''}")
    painter = b.painter(b.reference() if fallback else None)
    painted = film(open_camera(f"frames:{tmp_path / 'frames'}"), painter)
    expected = film(open_camera(f"frames:{tmp_path / 'frames'}"), b.reference())
    assert len(painted) == 11
    assert all(np.array_equal(a, c) for a, c in zip(painted, expected, strict=True))
    assert painter.reloads and bool(painter.replaced) == fallback
    assert len(b.device.memory.live) in (0, 4)


def test_without_a_fallback_a_film_ends_with_what_was_painted(board, tmp_path, capsys, monkeypatch):
    b = board()
    write_frames(tmp_path / "frames", list(range(20, 240, 20)))
    monkeypatch.setenv("PLEINAIR_FAULTS", "short@6+")
    out = tmp_path / "film.mp4"
    assert (
        main(
            [
                "run",
                "--camera",
                f"frames:{tmp_path / 'frames'}",
                "--backend",
                "fpga",
                "--overlay",
                f"emulated:{b.deployment.folder}",
                "--out",
                str(out),
            ]
        )
        == 2
    )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("pleinair: the accelerator stopped before the tile's end"), said
    assert "holds the 4 frames before that" in said
    assert len(read_video(out)) == 4


# -- the command line


def shell(*arguments, **environment):
    """The command in a process of its own: status, stdout, stderr."""
    code = "from pleinair.cli.main import entry; entry()"
    done = python("-W", "ignore", "-c", code, *map(str, arguments), cwd=ROOT, variables=environment)
    return done.returncode, done.stdout, done.stderr


def test_run_and_paint_take_style_and_bits_from_the_overlay(board, tmp_path):
    b = board(bits=4)
    write_frames(tmp_path / "frames", [30, 120, 200])
    films = []
    accelerated = ["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}"]
    plain = ["--backend", "reference", "--style", b.model.folder, "--bits", "4"]
    for k, options in enumerate((accelerated, plain)):
        films.append(tmp_path / f"{k}.mp4")
        status, _, err = shell("run", "--camera", f"frames:{tmp_path / 'frames'}", *options, "--out", films[-1])
        assert status == 0, err
        assert shell("paint", tmp_path / "frames" / "frame0002.png", tmp_path / f"{k}.png", *options)[0] == 0
    assert all(np.array_equal(a, c) for a, c in zip(*map(read_video, films), strict=True))
    assert np.array_equal(*(cv2.imread(str(tmp_path / f"{k}.png")) for k in range(2)))


def test_a_roll_is_painted_by_the_board(board, tmp_path):
    """In a process of its own, which is started again when the accelerator fails; the roll loses nothing."""
    b = board()
    write_frames(tmp_path / "frames", list(range(20, 240, 20)))
    films = []
    for k, (options, faults) in enumerate(
        (
            (["--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}"], "bus@5 short@9 bus@12"),
            (
                ["--backend", "fpga", "--fallback", "reference", "--overlay", f"emulated:{b.deployment.folder}"],
                "short@3+",
            ),
            (["--backend", "reference", "--style", b.model.folder], ""),
        )
    ):
        films.append(tmp_path / f"{k}.mp4")
        status, _, err = shell(
            "run",
            "--camera",
            f"frames:{tmp_path / 'frames'}",
            *options,
            "--roll",
            tmp_path / f"roll{k}",
            "--out",
            films[-1],
            "--keep-free",
            "1MB",
            PLEINAIR_FAULTS=faults,
        )
        assert status == 0, err
    videos = [read_video(path) for path in films]
    assert [len(video) for video in videos] == [11, 11, 11]
    for frames in zip(*videos, strict=True):
        assert all(np.array_equal(frame, frames[-1]) for frame in frames)


def test_bench_divides_the_time_and_says_that_it_is_emulated(board):
    b = board()
    for _ in range(3):  # a busy machine may take longer once
        status, out, err = shell(
            "bench", "--backend", "fpga", "--overlay", f"emulated:{b.deployment.folder}", "--frames", 5
        )
        assert status == 0, err
        if "prepare 0." in out:
            break
    size = f"{b.deployment.width - 2 * b.model.margin}x{b.deployment.height - 2 * b.model.margin}"
    assert f"8-bit, {size}, zcu104 (emulated) accelerator of 96x64" in out
    assert "tile of 96x64, of which there were 5: prepare 0." in out and "EMULATED" in out
    status, out, err = shell(
        "bench", "--backend", "reference", "--style", b.model.folder, "--size", "40x30", "--frames", 2
    )
    assert status == 0 and "frames a second" in out and "EMULATED" not in out, err


@pytest.mark.parametrize(
    "options, said",
    (
        (["--backend", "fpga"], "--backend fpga: needs --overlay DEPLOY"),
        (["--overlay", "x"], "--overlay x: needs --backend fpga"),
        (["--fallback", "cpu"], "--fallback cpu: needs --backend fpga"),
        (["--backend", "fpga", "--overlay", "nowhere"], "nowhere/hashes.json: No such file"),
        (["--backend", "fpga", "--overlay", "imagined:x"], "imagined:x/hashes.json: No such file"),
        (["--backend", "fpga", "--overlay", "emulated:GOOD", "--fallback", "fpga"], "--fallback 'fpga': choose from"),
        (
            ["--backend", "fpga", "--overlay", "emulated:GOOD", "--style", "starry-night-small"],
            "paints model at 8 bits",
        ),
        (["--backend", "fpga", "--overlay", "emulated:GOOD", "--bits", "4"], "--bits 4: style model has 8"),
        (["--backend", "fpga", "--overlay", "GOOD"], "pynq finds no board here"),
        (["--backend", "fpga", "--overlay", "simulated:GOOD"], "not a build's folder"),
    ),
)
def test_refusals(board, tmp_path, options, said):
    b = board()
    write_frames(tmp_path / "frames", [30])
    options = [option.replace("GOOD", str(b.deployment.folder)) for option in options]
    status, _, err = shell("paint", tmp_path / "frames" / "frame0001.png", tmp_path / "out.png", *options)
    assert status == 2 and "Traceback" not in err
    assert said in err.strip().splitlines()[-1], err
