"""The table of boards against what is known of the chips from elsewhere."""

from __future__ import annotations

import pytest

from pleinair.errors import OptionError
from pleinair_hw.plan.boards import BOARDS, find_board


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board_is_consistent(board):
    assert BOARDS[board.name] is board
    assert board.is_zynq_7000 != board.is_ultrascale
    assert board.dsp_block == ("DSP48E1" if board.is_zynq_7000 else "DSP48E2")
    assert board.yosys_family == ("xc7" if board.is_zynq_7000 else "xcup")
    # Every slice has two flip-flops a table; some of the slices, not most, can be memory.
    assert board.ff == 2 * board.lut
    assert board.lut / 4 < board.lutram < board.lut / 2
    assert board.lutram % 8 == 0 or board.is_zynq_7000
    assert board.bram18 == 2 * board.bram36
    assert board.clock_ns * board.clock_hz == pytest.approx(1e9)


@pytest.mark.parametrize(
    "name, mebibits", [("pynq-z2", 1.06), ("ultra96", 1.8), ("aup-zu3", 1.8), ("kv260", 3.5), ("zcu104", 6.2)]
)
def test_tables_that_can_be_memory_make_the_data_sheets_distributed_ram(name, mebibits):
    """DS190 and DS891 give the sum of the distributed RAM in mebibits, to two digits: 64 bits a table."""
    assert find_board(name).lutram * 64 / 2**20 == pytest.approx(mebibits, rel=0.03)


def test_finn_knows_the_boards_by_the_same_parts():
    basic = pytest.importorskip("finn.util.basic", reason="finn-plus is not installed")
    for board in BOARDS.values():
        assert basic.part_map[board.finn_name] == board.part
        assert basic.get_dsp_block(board.part) == board.dsp_block


def test_a_board_is_found_in_any_case():
    assert find_board(" ZCU104 ") is BOARDS["zcu104"]


def test_an_unknown_board_is_answered_with_the_list():
    with pytest.raises(OptionError) as caught:
        find_board("arty")
    assert all(name in str(caught.value) for name in ("arty", "pynq-z2", "ultra96", "aup-zu3", "kv260", "zcu104"))
