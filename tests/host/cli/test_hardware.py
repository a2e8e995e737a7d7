"""``pleinair boards``, ``build``, ``bitstream``: tables fit a terminal, programs read the JSON, refusals name flags."""

from __future__ import annotations

import json

import pytest

from pleinair.cli.main import main
from pleinair.errors import OptionError
from pleinair_hw.bitstream.assemble import assemble
from pleinair_hw.plan.boards import BOARDS
from tests.hw.bitstream.fabric import PART as FABRIC
from tests.hw.bitstream.fabric import fabric
from tests.hw.bitstream.test_assemble import SMALL
from tests.hw.bitstream.test_netlist import TOGGLE
from tests.hw.bitstream.toy import PART, toy
from tests.models import write_model
from tests.networks import random_network


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    """``boards`` for a small network on two boards."""
    monkeypatch.setenv("COLUMNS", "80")
    style = write_model(tmp_path / "small", random_network(3, width=4, blocks=1, kernel=3))
    return ["boards", "--style", str(style), "--size", "48x32", "--board", "zcu104", "--board", "pynq-z2"]


def test_json_holds_the_boards_and_the_plans(arguments, capsys):
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == "" and [board["name"] for board in found["boards"]] == ["zcu104", "pynq-z2"]
    assert [board["part"] for board in found["boards"]] == [BOARDS["zcu104"].part, BOARDS["pynq-z2"].part]
    assert [plan["board"] for plan in found["plans"]] == ["zcu104", "pynq-z2"]
    for plan in found["plans"]:
        assert plan["size"] == [48, 32] and plan["bits"] == 8 and plan["fps"] > 0 and plan["binds"]
        assert plan["shares"]["dsp"] == pytest.approx(plan["total"]["dsp"] / BOARDS[plan["board"]].dsp)


def test_tables_are_whole_at_80_columns(arguments, capsys):
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and not any("\u2026" in line for line in lines)
    assert any(BOARDS["zcu104"].part in line and "230,400" in line for line in lines)
    assert sum("48x32" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--bits", "5"], "--bits 5: choose from 4, 8, 16"),
        (["--size", "8x8"], "--size '8x8': write WIDTHxHEIGHT"),
        (["--board", "pynq-z9"], "pynq-z9"),
        (["--clock", "9"], "'--clock': 9 is not in the range 10<=x<=800"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, capsys, changes, said):
    assert main([*arguments, *changes]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("pleinair: ") and said in err


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("pumped", "--pump"),
        ("folding", "--folding"),
        ("fifo_sizing", "--fifo-sizing"),
        ("bits", "--bits"),
        ("margin", "--margin"),
    ],
)
def test_the_command_writes_the_flag_of_the_argument_that_is_refused(tmp_path, monkeypatch, capsys, option, flag):
    def refuse(*_):
        raise OptionError("is refused", option=option)

    monkeypatch.setattr("pleinair_hw.build.build", refuse)
    out = str(tmp_path / "x")
    assert (
        main(["build", "starry-night-board", "--bits", "8", "--board", "zcu104", "--size", "64x64", "--out", out]) == 2
    )
    assert capsys.readouterr().err == f"pleinair: {flag} is refused\n"


def test_a_bitstream_is_checked_with_and_without_its_features(tmp_path, capsys):
    database, fasm, bit = toy(tmp_path / "tools" / "family"), tmp_path / "small.fasm", tmp_path / "small.bit"
    fasm.write_text(SMALL)
    assemble(database, fasm, bit)
    arguments = ["bitstream", "check", str(bit), "--tools", str(tmp_path / "tools"), "--part", PART]
    assert main([*arguments, "--fasm", str(fasm)]) == 0
    out = capsys.readouterr().out
    assert f"{bit}: {PART}, IDCODE 0x0BADC0DE, 12 frames (8 used), 0 wrong codes, 10 features, 0 bits" in out
    assert f"{fasm}: 11 features set; 0 bits lost, 0 added." in out
    fasm.write_text(SMALL + "GATE_X0Y0.INVERT\n")
    assert main([*arguments, "--fasm", str(fasm), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["lost"] == 1 and found["faults"][0].endswith("(GATE_X0Y0), of GATE_X0Y0.INVERT")
    assert main([*arguments[:4], str(tmp_path / "absent"), "--part", PART]) == 2
    assert "no tables of part toy9tqg12-1" in capsys.readouterr().err


def test_a_bitstream_is_read_back_to_a_netlist(tmp_path, capsys):
    database, _ = fabric(tmp_path / "tools" / "family")
    fasm, bit, out = tmp_path / "toggle.fasm", tmp_path / "toggle.bit", tmp_path / "bits.v"
    fasm.write_text(TOGGLE)
    assemble(database, fasm, bit)
    arguments = ["bitstream", "netlist", str(bit), "--out", str(out), "--tools", str(tmp_path / "tools")]
    assert main([*arguments, "--part", FABRIC]) == 0
    assert "1 LUT2, 1 FDRE, 1 PS7; " in capsys.readouterr().out
    text = out.read_text()
    assert text.startswith("module pleinair_bits();") and "module pleinair_ram18" in text
    data = bytearray(bit.read_bytes())
    data[len(data) // 2] ^= 4
    bit.write_bytes(data)
    out.unlink()
    assert main([*arguments, "--part", FABRIC]) == 1
    assert "is wrong" in capsys.readouterr().out and not out.exists()
    next((tmp_path / "tools").rglob("chipdb-fab1.bin")).unlink()
    assert main([*arguments, "--part", FABRIC]) == 2
    assert "no chipdb-fab1.bin in it; it comes with nextpnr" in capsys.readouterr().err
