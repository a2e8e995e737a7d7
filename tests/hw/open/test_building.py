"""``pleinair build --toolchain open``: what it refuses, how it ends without tools, and the deployment it leaves."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from pleinair.cli.main import main
from pleinair.fpga.build_folder import read_build
from pleinair.fpga.deployment import DeploymentError, read_deployment
from pleinair.fpga.handoff import bitstream, shell_clock
from pleinair_hw import build as building
from pleinair_hw.open.clock import Clock
from pleinair_hw.open.flow import Made
from pleinair_hw.open.place import Figures
from pleinair_hw.open.tools import Search
from pleinair_hw.plan.frontend import Source
from pleinair_hw.report.data import read_report
from pleinair_hw.shell.write import write_shell
from tests.hw.open.stand_ins import PART, tools
from tests.models import write_model
from tests.networks import random_network

needs_finn = pytest.mark.skipif(find_spec("finn") is None, reason="finn-plus is not installed")
ASKED = [
    "build",
    "small",
    "--bits",
    "8",
    "--board",
    "pynq-z2",
    "--size",
    "16x16",
    "--fps",
    "100",
    "--toolchain",
    "open",
]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--board", "zcu104"], "--toolchain open: makes bitstreams for pynq-z2, not for zcu104"),
        (["--pump"], "--pump cannot be with the open tools"),
        (["--seeds", "0"], "--seeds': 0 is not in the range"),
        (["--clock-margin", "95"], "--clock-margin': 95 is not in the range"),
        (["--toolchain", "ise"], "--toolchain 'ise': choose from vivado, open"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(tmp_path, capsys, more, said):
    out = tmp_path / "out"
    assert main([*ASKED, "--out", str(out), *more]) == 2
    assert said in capsys.readouterr().err and not out.exists()


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A style of random integers, and a build that reads it."""
    made = random_network(3, width=4, blocks=1, kernel=3)
    model = write_model(tmp_path / "small", made, 12)
    monkeypatch.setattr(building, "read_source", lambda *_: Source(made, "small", 12, 2, model))
    return made


def made_up(shell, folder: Path, planned: float) -> Made:
    """A bitstream at 83.3 MHz that nobody routed."""
    folder.mkdir()
    (folder / "design.bit").write_bytes(bitstream("7z020clg400"))
    cells = {"lut_cells": 9, "ff": 8, "carry4": 7, "dsp": 6, "ramb18": 5, "ramb36": 4}
    return Made(
        folder=folder,
        shell=shell,
        clock=Clock((4, 3)),
        planned_mhz=planned,
        margin=15,
        figures=Figures(2, 99.25, 5, cells, cells, ("PS7",), (), {}),
        seeds={"1": None, "2": 99.25},
        netlist={},
        delays=0,
        usage={},
        versions={},
        checked={"asked": 1234},
        reused=(),
    )


@needs_finn
def test_without_tools_it_ends_after_the_rtl_with_one_sentence(tmp_path, network, monkeypatch, capsys):
    monkeypatch.setenv("PLEINAIR_OPEN_TOOLS", str(tmp_path))
    monkeypatch.setattr(building.tools, "search", lambda board: Search(PART, None, None, None, ()))
    out = tmp_path / "out"
    assert main([*ASKED, "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the bitstream is missing, which needs nextpnr-himbaechel, chipdb-xc7z020.bin" in told
    assert "`pleinair doctor --toolchain open` says where people get it" in told
    made = read_build(out)
    assert (made.request["toolchain"], made.request["clock_margin"]) == ("open", 15)
    manifest = json.loads((out / "synthesis" / "manifest.json").read_text())
    assert manifest["purpose"] == "routing" and not (out / "deploy").exists() and not (out / "open").exists()


@needs_finn
def test_a_deployment_has_the_clock_that_was_found(tmp_path, network, monkeypatch, capsys):
    made_tools = tools(tmp_path / "tools", {})
    found = Search(PART, made_tools.placer, made_tools.chip_database, made_tools.database, ())
    monkeypatch.setattr(building.tools, "search", lambda board: found)

    def make(rtl, build, board, tools, planned, **how):
        assert tools == made_tools and how["seeds"] == 1 and how["margin"] == 15
        return made_up(write_shell(rtl, build / "shell"), build / "open", planned)

    monkeypatch.setattr(building, "make_bitstream", make)
    out = tmp_path / "out"
    assert main([*ASKED, "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Bitstream at 83.3 MHz" in told and "place and route reach 99.2 MHz, of which 15% are kept" in told
    deployed = read_deployment(out / "deploy")
    assert deployed.clock_mhz == pytest.approx(1000 / 12) and deployed.board == "pynq-z2"
    assert shell_clock(deployed.bitfile.with_suffix(".hwh")) == pytest.approx(1000 / 12)
    assert deployed.settings["fclk_mhz"] == pytest.approx(1000 / 12)
    assert deployed.engines == ("idma0", "odma0")
    report = read_report(out)
    assert report.routed is not None and report.clock_mhz == 100
    assert report.routed.fps == pytest.approx(report.rate.fps / 1.2)
    assert report.routed.resources == {"lut": 5, "ff": 8, "dsp": 6, "bram": 13}
    page = (out / "report.html").read_text()
    assert "Placed and routed" in page and "Nobody has figures for the delays of PS7" in page
    deployed.bitfile.write_bytes(b"altered")
    with pytest.raises(DeploymentError, match="damaged, its SHA-256 is another; copy the folder again"):
        read_deployment(out / "deploy")
    assert dataclasses.replace(report, routed=None) != report
