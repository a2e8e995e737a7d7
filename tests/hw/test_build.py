"""``pleinair build`` from the command line: what it leaves, what it refuses, and what an interruption does."""

from __future__ import annotations

import json
import resource
import shutil

import numpy as np
import pytest

from pleinair.cli.main import main
from pleinair.errors import OptionError
from pleinair.fpga.build_folder import STATE, read_build
from pleinair.network.integer import load
from pleinair_hw.build import GRAPH, PLAN, Request, build, read_folding
from pleinair_hw.finn import environment
from pleinair_hw.plan.boards import find_board
from pleinair_hw.plan.search import plan_with_folding
from tests.children import python
from tests.hw.finn.test_environment import needs_finn
from tests.networks import random_network

STYLE = "starry-night-small"
SMALL = ["build", STYLE, "--bits", "8", "--board", "zcu104", "--size", "16x16", "--fps", "100"]


@pytest.fixture(autouse=True)
def no_vivado(monkeypatch):
    monkeypatch.setattr(environment, "find_vivado", lambda: None)


def refusal(capsys, *arguments):
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("pleinair: ") and "\n" not in said
    return said


@needs_finn
def test_a_build_leaves_an_accelerator(tmp_path, capsys):
    out = tmp_path / "my accelerator"  # a blank is allowed
    assert main([*SMALL, "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "frames a second at 300 MHz" in said and "bitstream is missing, which needs Vivado" in said
    made = read_build(out)
    assert (made.bits, made.margin, made.height, made.width) == (8, 40, 96, 96)
    report = json.loads((out / "report.json").read_text())
    assert report["format"] == "pleinair-build-report"
    assert (out / "report.html").stat().st_size > 10_000
    assert json.loads((out / "rtl" / "manifest.json").read_text())["top"]
    assert load(out / "network.npz").bits == 8
    assert (out / GRAPH).is_file()
    # The same again, over the first: nothing left of that, the same RTL.
    first = {p.name: p.read_bytes() for p in (out / "rtl" / "sources").iterdir()}
    (out / "finn" / "leftover").write_text("x")
    assert main([*SMALL, "--out", str(out)]) == 0
    assert not (out / "finn" / "leftover").exists()
    assert first.keys() == {p.name for p in (out / "rtl" / "sources").iterdir()}


def test_a_folder_with_a_blank_in_its_name(tmp_path, monkeypatch, capsys):
    """It is built in, or refused before any work."""
    for name in ("ends in a blank /build", "ends in a blank ", "a line\nbreak"):
        said = refusal(capsys, *SMALL, "--out", str(tmp_path / name))
        assert "--out " in said and "no folder's name that ends in a blank" in said
    with monkeypatch.context() as patch:
        vivado = environment.Vivado(tmp_path, (2022, 2))
        patch.setattr(environment, "find_vivado", lambda: vivado)
        assert "Vivado 2022.2 cannot hold a path with blanks" in refusal(
            capsys, *SMALL, "--out", str(tmp_path / "my build")
        )
    assert list(tmp_path.iterdir()) == []


@needs_finn
def test_a_builds_plan_can_be_built_again_and_finns_folding_too(tmp_path):
    first = build(Request(STYLE, "zcu104", (16, 16), tmp_path / "a", 8, 200.0))
    again = build(Request(STYLE, "zcu104", (16, 16), tmp_path / "b", 8, folding=tmp_path / "a" / PLAN))
    assert again.plan.folding == first.plan.folding
    assert first.checked == 96 * 96 * 3
    theirs = tmp_path / "folding.json"
    theirs.write_text(json.dumps({"Defaults": {}, "MVAU_rtl_0": {"PE": 8, "SIMD": 27, "ram_style": "auto"}}))
    folded = build(Request(STYLE, "zcu104", (16, 16), tmp_path / "c", 8, folding=theirs))
    stage = folded.plan.stage("enter.product")
    assert (stage.simd, stage.pe) == (27, 8)
    assert folded.plan.cycles == stage.cycles


def test_options_that_cannot_be_are_one_line(tmp_path, capsys):
    out = str(tmp_path / "x")
    common = ["build", STYLE, "--bits", "8", "--out", out]
    said = refusal(capsys, *common, "--board", "vcu118", "--size", "64x64")
    assert all(name in said for name in ("vcu118", "pynq-z2", "ultra96", "kv260", "zcu104"))
    assert "--size '8x8'" in refusal(capsys, *common, "--board", "zcu104", "--size", "8x8")
    assert "--fps 'fast'" in refusal(capsys, *common, "--board", "zcu104", "--size", "64x64", "--fps", "fast")
    assert "--fps '-3'" in refusal(capsys, *common, "--board", "zcu104", "--size", "64x64", "--fps", "-3")
    said = refusal(capsys, *common, "--board", "zcu104", "--size", "64x64", "--fifo-sizing", "guess")
    assert "--fifo-sizing 'guess': choose from estimate, simulate" in said
    said = refusal(capsys, *common, "--board", "zcu104", "--size", "64x64", "--folding", "nowhere.json")
    assert "--folding nowhere.json: No such file or directory" in said
    assert "unknown; there are" in refusal(
        capsys, "build", "nothing", "--bits", "8", "--out", out, "--board", "zcu104", "--size", "64x64"
    )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "must hold an object of objects"),
        ("{", "not JSON"),
        (
            '{"stages": {}, "forms": {"enter": "sideways"}}',
            "form 'sideways' of enter; allowed are centred, direct, phases, taps",
        ),
        ('{"stages": {}, "fifos": {"enter": -1}}', "FIFO depth -1 of enter; allowed are 0 to 4194304"),
        ('{"stages": {"enter": 4}}', "enter must hold attributes"),
        ('{"enter.product": {"PE": "four"}}', "PE 'four' of enter.product"),
        ('{"enter.product": {"PE": true}}', "PE True of enter.product"),
    ],
)
def test_a_folding_file_that_cannot_be_is_refused(tmp_path, content, problem):
    """The library names the argument; the command's own tests show the flag."""
    file = tmp_path / "folding.json"
    file.write_text(content)
    network = random_network(1, width=4, blocks=1)
    plan = plan_with_folding(network, 16, 16, find_board("zcu104"), {}, {})
    with pytest.raises(OptionError) as refused:
        read_folding(file, plan)
    assert refused.value.option == "folding" and str(refused.value).startswith(f"folding {file}: {problem}")


def test_a_sizing_that_is_unknown_is_refused(tmp_path):
    with pytest.raises(OptionError, match="^fifo_sizing 'guess': allowed are estimate, simulate$"):
        build(Request(STYLE, "zcu104", (16, 16), tmp_path / "x", 8, fifo_sizing="guess"))
    assert not (tmp_path / "x").exists()


@needs_finn
def test_a_rate_that_cannot_fit_says_what_binds_and_the_best(tmp_path, capsys):
    out = str(tmp_path / "x")
    said = refusal(
        capsys, "build", STYLE, "--bits", "8", "--board", "pynq-z2", "--size", "640x480", "--fps", "60", "--out", out
    )
    assert "--fps 60: does not fit pynq-z2 at 100 MHz" in said and "the best that fits is 10." in said


@needs_finn
def test_somebody_elses_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "theirs.txt").write_text("precious")
    assert "holds no build" in refusal(capsys, *SMALL, "--out", str(tmp_path))
    assert (tmp_path / "theirs.txt").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.txt"]


@needs_finn
def test_an_interrupted_build_is_no_build_and_the_next_starts_cleanly(tmp_path, monkeypatch):
    out = tmp_path / "x"
    from pleinair_hw import build as module

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(Request(STYLE, "zcu104", (16, 16), out, 8, 100.0))
    assert json.loads((out / STATE).read_text())["state"] == "started"
    with pytest.raises(Exception, match="was interrupted; run it again"):
        read_build(out)
    build(Request(STYLE, "zcu104", (16, 16), out, 8, 100.0))
    assert json.loads((out / STATE).read_text())["state"] == "complete"
    assert read_build(out).size == (16, 16)


@needs_finn
def test_a_full_disk_is_one_line(tmp_path):
    """A limit on file size stands for the full disk: writes fail with an error of the system while FINN generates."""
    code = (
        "import resource, sys; from pleinair.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"sys.exit(main({[*SMALL, '--out', str(tmp_path / 'x')]!r}))"
    )
    done = python("-c", code)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pleinair: ") and "File too large" in last
    assert "Traceback" not in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 60_000


@needs_finn
def test_a_network_that_is_not_the_qonnx_files_is_refused(tmp_path, capsys):
    from pleinair.models import find_style

    folder = tmp_path / "model"
    shutil.copytree(find_style(STYLE), folder)
    path = folder / "network-8bit.npz"
    path.write_bytes(path.read_bytes()[:-10] + bytes(np.zeros(10, np.uint8)))
    arguments = ["build", str(folder), "--bits", "8", "--board", "zcu104", "--size", "16x16"]
    assert "network-8bit.npz" in refusal(capsys, *arguments, "--out", str(tmp_path / "x"))
