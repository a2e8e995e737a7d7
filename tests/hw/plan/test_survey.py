"""The survey of boards: its rows are the folding search's, its tables say what the rows say."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from pleinair.errors import ModelError, OptionError
from pleinair.models import load_model
from pleinair.network.integer import IntegerNetwork
from pleinair_hw.plan import survey
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BUDGET
from pleinair_hw.plan.search import fastest_plan, plan_for_cycles
from tests.models import write_model
from tests.networks import adaptive_network, random_network

SIZES = ((48, 32),)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return random_network(7, width=4, blocks=1, kernel=3)


@pytest.fixture(scope="module")
def folder(network: IntegerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", network, margin=5)


@pytest.fixture(scope="module")
def seen() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def rows(folder: Path, seen: list[tuple[int, int]]) -> list[survey.Row]:
    """One network, two boards, over two processes."""
    boards = ["pynq-z2", "KV260"]
    return survey.survey([str(folder)], boards, SIZES, (4, 8), progress=lambda done, of: seen.append((done, of)))


def test_rows_are_the_fastest_plans(rows: list[survey.Row], network: IntegerNetwork) -> None:
    assert [(row.board.name, row.bits, row.size) for row in rows] == [("pynq-z2", 8, (48, 32)), ("kv260", 8, (48, 32))]
    for row in rows:
        # 48 + 2 x 5 = 58 and 32 + 2 x 5 = 42, up to multiples of 4.
        assert row.input == (60, 44) and (row.width, row.blocks) == (4, 1)
        plan = fastest_plan(network, 44, 60, row.board)
        assert (row.fps, row.cycles, row.total, row.lanes) == (plan.fps, plan.cycles, plan.total, plan.lanes)
        assert row.lanes_busy == plan.lanes_busy
        assert all(share <= BUDGET[kind] for kind, share in row.shares.items())


def test_progress_counts_up_to_all_rows(rows: list[survey.Row], seen: list[tuple[int, int]]) -> None:
    assert seen == [(number, len(rows)) for number in range(1, len(rows) + 1)]


def test_what_binds_is_what_a_faster_plan_lacks() -> None:
    plan = fastest_plan(random_network(7, width=8, blocks=1, kernel=3), 64, 64, BOARDS["pynq-z2"])
    told = survey.what_binds(plan)
    faster = plan_for_cycles(plan.dataflow.network, 64, 64, plan.board, int(plan.cycles / 1.004))
    assert faster.over
    words = {"dsp": "DSPs", "lut": "LUTs", "lutram": "LUTs as memory", "bram": "block RAM", "ff": "flip-flops"}
    assert told == ", ".join(words[kind] for kind in faster.over)


def test_a_stage_binds_where_nothing_is_short(network: IntegerNetwork) -> None:
    plan = fastest_plan(network, 16, 16, BOARDS["zcu104"])
    told = survey.what_binds(plan)
    assert told.startswith("stage ")
    assert told.removeprefix("stage ") in {stage.name for stage in plan.stages}


def test_a_network_that_does_not_fit_says_why() -> None:
    wide = random_network(8, width=48, blocks=3, kernel=3)
    row = survey.survey_network(wide, "wide", 0, BOARDS["pynq-z2"], (3840, 2160))
    slow = plan_for_cycles(wide, 2160, 3840, BOARDS["pynq-z2"], 3840 * 2160 * 4096)
    assert row.fps is None and slow.over["bram"] > 1
    assert row.binds.startswith("needs ") and f"{math.ceil(100 * slow.over['bram'])}% of the block RAM" in row.binds
    page = survey.markdown([row], {("wide", 8): ["wide"]})
    assert "does not fit" in page and row.binds in page


def test_the_page_says_what_was_routed_at_which_clock(rows: list[survey.Row]) -> None:
    page = survey.markdown(rows, {(rows[0].style, rows[0].bits): [rows[0].style]})
    section = page.partition("\n## Placed and routed\n")[2].partition("\n## ")[0]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    heads, found = table[0], [dict(zip(table[0], line, strict=True)) for line in table[2:]]
    noted = [row for row in json.loads(survey.ROUTED.read_text()) if len(row["configuration"]) == 6]
    assert len(found) == len(noted) > 0 and "clock, MHz" in heads
    for line, row in zip(found, noted, strict=True):
        clock, reached = float(line["clock, MHz"]), float(line["reached, MHz"])
        assert line["style"].startswith(row["configuration"][0]) and clock <= 0.85 * reached + 0.1
        share = float(line["frames/s"]) / float(line["frames/s at 100 MHz"])
        assert share == pytest.approx(clock / 100, abs=0.02)


def test_no_plan_is_faster_than_the_dsps_allow(rows: list[survey.Row]) -> None:
    for row in rows:
        assert row.fps is not None and row.fps <= row.limit


def test_the_dsps_limit_by_hand() -> None:
    network = random_network(8, width=16, blocks=1, kernel=3)
    # Two products of 8 x 8 bits a DSP, and of the merged 10 x 8 bits too on a DSP48E2; a quarter of the pixels behind
    # each downsampling. Phases see 2 x 2 pixels and one row and column more than there are: (16 + 1)^2, (32 + 1)^2.
    macs = 64 * 64 * 16 * 3 * 9 + 32 * 32 * 32 * 16 * 9 + 16 * 16 * 64 * 32 * 9 + 2 * 16 * 16 * 64 * 64 * 9
    macs += 17 * 17 * 4 * 32 * 64 * 4 + 33 * 33 * 4 * 16 * 32 * 4 + 64 * 64 * 3 * 16 * 9
    assert survey.dsp_limit(network, 64, 64, BOARDS["kv260"], 2e8) == pytest.approx(1248 * 2e8 * 2 / macs)


def test_bad_options_are_refused(folder: Path) -> None:
    with pytest.raises(OptionError, match="no board 'zx81'"):
        survey.survey([str(folder)], ["zx81"], SIZES, (8,))
    with pytest.raises(OptionError, match="bits 5"):
        survey.survey([str(folder)], ["kv260"], SIZES, (5,))
    with pytest.raises(ModelError, match="style 'nobody'"):
        survey.survey(["nobody"], ["kv260"], SIZES, (8,))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_holds_every_row(rows: list[survey.Row]) -> None:
    style = rows[0].style
    page = survey.markdown(rows, {(style, 8): [style, "other"]})
    assert "python -m pleinair_hw.plan.survey docs/boards.md" in page and "Much the same holds for other." in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    for row in rows:
        assert row.fps is not None
        found = [c for c in map(cells, tables) if c[:2] == [row.board.name, "48x32"]]
        assert len(found) == 1
        assert float(found[0][2]) == pytest.approx(row.fps, rel=0.01)
        assert found[0][3] == f"{row.total.dsp} ({row.total.dsp / row.board.dsp:.0%})"
        assert found[0][4].startswith(f"{row.total.bram18 / 2:.1f}".removesuffix(".0"))
        assert found[0][-2:] == [f"{row.lanes_busy:.0%}", row.binds]
    widths = [line.count("|") for line in tables]
    assert all(widths[i] == widths[i - 1] for i in range(1, len(tables)) if tables[i].startswith("| ---"))


def test_aims_are_judged_and_missed_ones_tried_in_tiles_and_at_twice_the_clock(folder: Path) -> None:
    def row(board: str, size: tuple[int, int], fps: float, busy: float) -> survey.Row:
        return survey.Row(
            str(folder), 8, 16, 3, BOARDS[board], size, size, 1e8, fps, 1, survey.Resources(dsp=1), 1, busy, "DSPs", 99
        )

    rows = [row("zcu104", (640, 480), 60, 0.84), row("kv260", (640, 480), 29.9, 0.85), row("kv260", (256, 256), 1, 1)]
    page = survey.markdown(rows, {(str(folder), 8): ["any"]})
    aims = [cells(line) for line in page.splitlines() if "bits, 640x480" in line]
    assert [(a[0], a[2], a[4]) for a in aims[:2]] == [
        ("zcu104, 8 bits, 640x480", "60", "yes"),
        ("kv260, 8 bits, 640x480", "30", "no"),
    ]
    assert [a[6] for a in aims[:2]] == ["no", "yes"]
    other = [(a[0], a[1].removeprefix("width 4, 1 block"), a[4]) for a in aims[2:]]
    assert other == [("kv260, 8 bits, 640x480", way, "yes") for way in (", 2 tiles", ", pumped", ", 2 tiles, pumped")]
    # Half a frame and its margin of 5 pixels on every side, twice: no more than the DSPs of the tile allow.
    network = load_model(str(folder), 8).network
    assert isinstance(network, IntegerNetwork)
    limit = survey.dsp_limit(network, 492, 332, BOARDS["kv260"], 1e8) / 2
    assert float(aims[2][7].replace(",", "")) == pytest.approx(limit, rel=0.01)
    assert 30 < float(aims[2][3].replace(",", "")) <= limit


def test_adaptive_styles_are_trimmed_where_an_aim_is_missed(tmp_path: Path) -> None:
    network = adaptive_network(1, width=2, blocks=1)
    style = str(write_model(tmp_path / "adaptive", network, margin=32))
    size = (640, 480)
    missed = survey.Row(
        style, 8, 2, 1, BOARDS["pynq-z2"], size, size, 1e8, 9.9, 1, survey.Resources(dsp=1), 1, 1, "DSPs", 99
    )
    page = survey.markdown([missed], {(style, 8): ["any"]})
    aims = [cells(line) for line in page.splitlines() if "bits, 640x480" in line]
    ways = ["", ", 2 tiles", ", pumped", ", 2 tiles, pumped", ", trimmed"]
    ways += [", 2 tiles, trimmed", ", pumped, trimmed", ", 2 tiles, pumped, trimmed"]
    assert [a[1].partition("1 block")[2].removeprefix(", adaptive") for a in aims] == ways
    # Nearly nothing but margin is left out: 704 x 544 pixels a frame, of which 640 x 480 are shown.
    limits = [float(a[7].replace(",", "")) for a in aims]
    assert 1.02 < limits[5] / limits[1] < 704 * 544 / (640 * 480)


def test_styles_of_the_same_layers_share_a_row(folder: Path, tmp_path: Path) -> None:
    twin = write_model(tmp_path / "twin", random_network(9, width=4, blocks=1, kernel=3), margin=5)
    wider = write_model(tmp_path / "wider", random_network(9, width=8, blocks=1, kernel=3), margin=5)
    names = [str(folder), str(twin), str(wider)]
    assert survey.representatives(names, (4, 8, 16)) == {(names[2], 8): [names[2]], (names[0], 8): names[:2]}


def test_an_adaptive_style_is_surveyed_by_its_own_width(tmp_path: Path) -> None:
    network = adaptive_network(1, width=4, blocks=1)
    adaptive = str(write_model(tmp_path / "adaptive", network, margin=32))
    plain = str(write_model(tmp_path / "plain", random_network(9, width=8, blocks=1, kernel=3), margin=32))
    assert survey.representatives([plain, adaptive], (8,)) == {(adaptive, 8): [adaptive], (plain, 8): [plain]}
    (row,) = survey.survey([adaptive], ["zcu104"], SIZES, (8,))
    assert (row.width, row.blocks, row.adaptive) == (4, 1, True)
    page = survey.markdown([row], {(adaptive, 8): [adaptive]})
    assert "### Width 4, 1 block, adaptive, 8 bits" in page
    # 16 channels at a quarter of the input, four phases of four for the doubling, four to twelve at half of it.
    quarter, half = 96 // 4 * 112 // 4, 96 // 2 * 112 // 2
    macs = quarter * (48 * 16 + 16 * 16 + 16 * 16) * 9 + 25 * 29 * 16 * 16 * 4 + half * 4 * 12 * 9
    assert row.limit == pytest.approx(1728 * 3e8 * 2 / macs)


@pytest.mark.parametrize("width", [80, 200])
def test_tables_for_a_terminal(rows: list[survey.Row], width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(survey.resources_table(list(BOARDS.values())), survey.boards_table(rows))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width and "\u2026" not in text  # nothing is cut off
    for board in BOARDS.values():
        assert board.part in text and f"{board.lut:,}" in text
    lines = [line for line in text.splitlines() if "48x32" in line]
    assert len(lines) == len(rows)
    letters = "".join(text.split())
    for line, row in zip(lines, rows, strict=True):
        assert f"{row.style},{row.bits}bits" in letters
        assert row.board.name in line and f"{row.lanes_busy:.0%}" in line and row.binds.split()[0] in line
        if width == 200:
            assert row.binds in line
