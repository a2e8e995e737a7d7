"""The open tools are found, and what is another's is refused; the doctor says which."""

from __future__ import annotations

import json
import shutil

import pytest

from pleinair.cli.main import main
from pleinair.errors import PleinairError
from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.open import tools as module
from pleinair_hw.open.tools import check_chip_database, examine, placer_version, require, search
from pleinair_hw.plan.boards import BOARDS
from tests.hw.open.stand_ins import PART, VERSION, tools, write_chip, write_placer

BOARD = BOARDS["pynq-z2"]


def test_a_folder_that_is_named_has_it_all(tmp_path):
    made = tools(tmp_path, {})
    found = search(BOARD, {"PLEINAIR_OPEN_TOOLS": str(tmp_path)})
    assert found.missing == [] and require(found) == made
    assert require(found).version == VERSION


def test_data_beside_a_program_on_the_path(tmp_path):
    placer = write_placer(tmp_path / "bin", {})
    chip = write_chip(tmp_path / "share" / "nextpnr" / "himbaechel" / "xilinx" / "chipdb-xc7z020.bin")
    (tmp_path / "prjxray-db" / "zynq7" / PART).mkdir(parents=True)
    found = search(BOARD, {"PATH": str(tmp_path / "bin")})
    assert (found.placer, found.chip_database) == (placer, chip)
    assert found.database == tmp_path / "prjxray-db" / "zynq7"


def test_the_folder_that_is_named_goes_before_the_path(tmp_path):
    write_placer(tmp_path / "path", {})
    ours = tools(tmp_path / "ours", {})
    found = search(BOARD, {"PATH": str(tmp_path / "path"), "PLEINAIR_OPEN_TOOLS": str(tmp_path / "ours")})
    assert found.placer == ours.placer


@pytest.mark.parametrize(
    ("gone", "name"),
    [
        ("nextpnr-himbaechel", "nextpnr-himbaechel"),
        ("chipdb-xc7z020.bin", "chipdb-xc7z020.bin"),
        (f"zynq7/{PART}", "Project X-Ray's zynq7"),
    ],
)
def test_what_is_missing_is_named(tmp_path, gone, name):
    tools(tmp_path, {})
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = search(BOARD, {"PLEINAIR_OPEN_TOOLS": str(tmp_path), "PATH": ""})
    assert found.missing == [name]
    with pytest.raises(ToolchainError, match=f"^{name}: not found; `pleinair doctor --toolchain open` says more$"):
        require(found)


def test_a_python_without_yosys_is_named(tmp_path, monkeypatch):
    tools(tmp_path, {})
    monkeypatch.setattr(module, "find_yosys", lambda: None)
    assert search(BOARD, {"PLEINAIR_OPEN_TOOLS": str(tmp_path)}).missing == ["Yosys"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ToolchainError, match="PLEINAIR_OPEN_TOOLS is .*nowhere, and there is no such folder"):
        search(BOARD, {"PLEINAIR_OPEN_TOOLS": str(tmp_path / "nowhere")})


def test_a_chip_databases_layout_is_read(tmp_path):
    assert check_chip_database(write_chip(tmp_path / "c.bin", layout=9), PART) == 9


@pytest.mark.parametrize(
    ("chip", "family", "said"), [("xc7z010", "xilinx", "of xc7z010, not of xc7z020"), ("GW1N-1", "gowin", "of GW1N-1")]
)
def test_a_chip_database_of_another_chip_is_refused(tmp_path, chip, family, said):
    path = write_chip(tmp_path / "chipdb-xc7z020.bin", chip, family)
    with pytest.raises(ToolchainError, match=f"{said}.*; put the right one there"):
        check_chip_database(path, PART)


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xff\xff\x7f" + bytes(60), b"<html>" * 30, bytes(200)])
def test_a_damaged_chip_database_is_refused(tmp_path, data):
    path = tmp_path / "chipdb-xc7z020.bin"
    path.write_bytes(data)
    with pytest.raises(ToolchainError, match="is no chip database of nextpnr's himbaechel, or damaged"):
        check_chip_database(path, PART)


def test_a_chip_database_cut_short_anywhere_is_refused(tmp_path):
    data = write_chip(tmp_path / "whole.bin").read_bytes()
    path = tmp_path / "cut.bin"
    for length in range(len(data) - len("xc7z020\0")):
        path.write_bytes(data[:length])
        with pytest.raises(ToolchainError):
            check_chip_database(path, PART)


def test_a_program_that_is_not_nextpnr_is_refused(tmp_path):
    program = tmp_path / "nextpnr-himbaechel"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    with pytest.raises(ToolchainError, match="does not say that it is nextpnr"):
        placer_version(program)


def test_the_doctor_says_what_is_missing_and_where_people_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLEINAIR_OPEN_TOOLS", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert main(["doctor", "--toolchain", "open", "--json"]) == 2
    found = {entry["subject"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert [found[name]["state"] for name in ("placer", "chip", "x-ray")] == ["bad"] * 3
    assert "openXC7" in found["placer"]["remedy"] and "prjxray-db" in found["x-ray"]["remedy"]
    tools(tmp_path, {})
    assert main(["doctor", "--toolchain", "open", "--json"]) == 0
    assert all(entry["state"] in ("good", "doubtful") for entry in json.loads(capsys.readouterr().out))


def test_the_doctor_tells_a_wrong_placer_and_a_wrong_chip(tmp_path):
    made = tools(tmp_path, {})
    made.placer.write_text("#!/bin/sh\nexit 1\n")
    write_chip(made.chip_database, "xc7z010")
    found = {f.subject: f for f in examine("pynq-z2", {"PLEINAIR_OPEN_TOOLS": str(tmp_path)})}
    assert found["placer"].state == found["chip"].state == "bad"
    assert "xc7z010" in found["chip"].found


def test_the_doctor_knows_no_open_tools_for_the_other_boards():
    (finding,) = examine("zcu104", {})
    assert finding.state == "bad" and "Zynq UltraScale+" in finding.found
    with pytest.raises(PleinairError):
        list(examine("pynq-z9", {}))
