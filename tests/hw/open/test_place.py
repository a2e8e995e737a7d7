"""Place and route with a stand-in for nextpnr: what it is asked, what is read of it, and what its errors become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pleinair.errors import OutputError, PleinairError
from pleinair_hw.finn.environment import ToolchainError
from pleinair_hw.open import steps
from pleinair_hw.open.place import is_stuck, place
from pleinair_hw.open.steps import Limits, OpenToolError
from tests.hw.open.stand_ins import PART, TIMED, calls, delays, files, netlist, tools


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pleinair" / "open"


FREE = Limits(60, 0)


def run(tmp_path, plan, seed=1, clock=100.0, limits=FREE, said=None):
    made = tools(tmp_path / "tools", plan)
    log = tmp_path / "route.log"
    say = (lambda _: None) if said is None else said.append
    return place(netlist(tmp_path / "netlist"), made, PART, clock, seed, log, limits, progress=say), made


def test_figures_are_read_of_what_the_placer_wrote(tmp_path):
    said: list[str] = []
    routed, made = run(tmp_path, files(97.5), said=said)
    figures = routed.figures
    assert (figures.fmax_mhz, figures.seed, routed.was_there) == (97.5, 1, False)
    assert figures.lut_sites == 2  # two tables share a site
    assert figures.cells["lut_cells"] == 3 and figures.cells["dsp"] == 1 and figures.available["dsp"] == 220
    assert figures.untimed == ("DSP48E1", "LUT5")
    assert [(hop.kind, hop.ns) for hop in figures.slowest if hop.ns] == [
        ("clk-to-q", 0.1),
        ("logic", 0.1),
        ("setup", 0.1),
    ]
    assert routed.fasm.read_text().startswith("CLBLL") and json.loads(routed.netlist.read_text())["modules"]
    (asked,) = calls(made.placer)
    assert asked[asked.index("--device") + 1] == PART and asked[asked.index("--freq") + 1] == "100"
    assert any(line == "route, seed 1, round 3, wires too many: 4" for line in said)


def test_the_clock_is_what_both_our_paths_and_the_placers_allow(tmp_path):
    plan = files(97.5)
    plan["files"]["delays.sdf"] = delays(TIMED, "a/A1:19700")
    figures = run(tmp_path, plan)[0].figures
    assert (round(figures.fmax_mhz, 6), figures.placer_mhz) == (50.0, 97.5)


@pytest.mark.parametrize(
    ("says", "misses"),
    [
        ("Info: 7 Hold/min time violations (showing 10 worst paths):\nInfo: Routing complete.\nInfo: 3 Hold/min time "
         "violations (showing 10 worst paths):", 3),
        ("Info: 7 Hold/min time violations (showing 10 worst paths):\nInfo: Routing complete.", 0),
        ("Info: Routing complete.\n", 0),
    ],
)  # fmt: skip
def test_hold_times_are_those_behind_routing(tmp_path, says, misses):
    routed, _ = run(tmp_path, {**files(97.5), "says": says})
    assert routed.figures.hold_misses == misses


def test_a_design_is_routed_once_for_each_seed_and_clock(tmp_path):
    first, made = run(tmp_path, files(97.5))
    again, _ = run(tmp_path, files(97.5))
    assert again.was_there and again.figures == first.figures
    assert run(tmp_path, files(97.5), seed=2)[0].was_there is False
    assert run(tmp_path, files(97.5), clock=90.0)[0].was_there is False
    assert len(calls(made.placer)) == 3


#: Wires too many, round by round, of a network with 207 block RAMs, which was given up, and of one that was routed.
STUCK = [44809, 12470, 4950, 2639, 1826, 1450, 1349, 1197, 1112, 1003, 945, 930, 916, 877, 862]
ROUTED = [29535, 6215, 1177, 319, 169, 109, 87, 72, 56, 37, 24, 27, 22, 16, 11, 22, 9, 2, 3, 5, 6, 7, 2, 0]


def test_a_router_is_stuck_when_rounds_take_little_from_many():
    assert [is_stuck(STUCK[:n]) for n in range(1, 16)] == [False] * 14 + [True]
    assert not any(is_stuck(ROUTED[:n]) for n in range(1, len(ROUTED) + 1))


def test_a_router_that_is_stuck_begins_anew_in_another_way(tmp_path):
    said: list[str] = []
    routed, made = run(tmp_path, {**files(97.5), "stuck": STUCK}, said=said)
    assert routed.figures.steady and routed.figures.fmax_mhz == 97.5
    first, second = calls(made.placer)
    assert second == [*first, "--placer", "static", "--router2-alt-weights"]
    assert "seed 1: the router is stuck; begin anew with the other placer and steadier weights" in said
    again, _ = run(tmp_path, {**files(97.5), "stuck": STUCK})
    assert again.was_there and again.figures == routed.figures and len(calls(made.placer)) == 2


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            "chipdb uses db version 5 but nextpnr is expecting version 6 (did you forget?).",
            ToolchainError,
            "one release",
        ),
        ("Unable to read chipdb /c", ToolchainError, "nextpnr refuses it"),
        ("Package 'clg400' not found in database.", ToolchainError, "nextpnr refuses it"),
        ("unable to load uarch for device 'xc7z020', included uarches: gowin", ToolchainError, "knows no xc7z020"),
        ("Himbächel architecture does not support placer 'static'", ToolchainError, "has no placer 'static'"),
        (
            "Unable to place cell 'x', no BELs remaining to implement cell type 'y'",
            OpenToolError,
            "does not fit.*--fps",
        ),
        (
            "Unable to find legal placement for all cells, design is probably at utilisation limit.",
            OpenToolError,
            "fit",
        ),
        ("Failed to route arc 3.0 of net 'n', from a to b.", OpenToolError, "cannot be routed with seed 1.*--seeds 3"),
        ("attempting to reserve sink input path wire 'w' for nets 'a' and 'b'", OpenToolError, "cannot be routed"),
        ("something new", OpenToolError, r"nextpnr 0\.8-7-gstandin stops: something new; its log is .*route\.log"),
    ],
)
def test_its_errors_are_one_sentence_with_what_to_try(tmp_path, cache, error, kind, said):
    with pytest.raises(kind, match=said) as raised:
        run(tmp_path, {"error": error})
    assert isinstance(raised.value, PleinairError) and "\n" not in str(raised.value)
    assert list(cache.iterdir()) == []
    assert error in (tmp_path / "route.log").read_text()


def test_a_placer_that_crashes_makes_one_look_at_the_chip_database(tmp_path, cache):
    with pytest.raises(OpenToolError, match=r"it died of SIGSEGV; is .*chipdb-xc7z020\.bin whole, and made for this"):
        run(tmp_path, {"crash": True})
    assert list(cache.iterdir()) == []


def test_a_placer_that_takes_too_long_is_stopped(tmp_path, cache):
    with pytest.raises(OpenToolError, match="nextpnr was stopped after 2 s"):
        run(tmp_path, {**files(90), "sleep": 60}, limits=Limits(2, 0))
    assert list(cache.iterdir()) == []


def test_a_placer_that_takes_too_much_memory_is_stopped(tmp_path):
    with pytest.raises(OpenToolError, match=r"nextpnr needs more than 0\.5 GiB"):
        run(tmp_path, {**files(90), "memory": 900_000_000}, limits=Limits(60, 512 << 20))


def test_a_disk_that_is_full_while_it_routes_is_told(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(steps.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0})())
    with pytest.raises(OutputError, match="the disk is full"):
        run(tmp_path, {"error": "failed to write"})
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ["report.json", "routed.json", "delays.sdf", "design.fasm"])
@pytest.mark.parametrize("cut", [0, 30])
def test_files_that_are_not_whole_are_no_result(tmp_path, cache, name, cut):
    plan = files(90)
    plan["files"][name] = plan["files"][name][:cut]
    with pytest.raises(OpenToolError, match="its files are not whole"):
        run(tmp_path, plan)
    assert list(cache.iterdir()) == []


def test_two_clocks_are_no_result(tmp_path):
    clock = {"achieved": 90.0, "constraint": 100.0}
    with pytest.raises(OpenToolError, match="2 clocks"):
        run(tmp_path, files(90, **{"fmax": {"a": clock, "b": clock}}))
