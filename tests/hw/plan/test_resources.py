"""Estimates against hand-made cases, exhaustive search, and FINN's own classes; test_synthesis.py has Yosys."""

from __future__ import annotations

import math
import random
from functools import cache
from pathlib import Path

import pytest

from pleinair_hw.plan import resources
from pleinair_hw.plan.boards import BOARDS, find_board
from pleinair_hw.plan.resources import Resources

# ---------------------------------------------------------------------------------------------------- memories


@pytest.mark.parametrize(
    "depth, bits, blocks",
    [
        (512, 36, 1),  # one RAMB18 at its widest
        (512, 72, 2),  # one RAMB36 at its widest
        (513, 36, 2),  # 1024 x 36 is a RAMB36
        (1024, 18, 1),
        (1024, 20, 2),  # 18 + 2
        (2048, 9, 1),
        (2048, 64, 8),  # 7 x 9 + 1: no wider aspect is that deep
        (1536, 64, 8),  # as 2048 deep
        (4096, 4, 1),
        (4096, 8, 2),
        (8192, 2, 1),
        (16384, 1, 1),
        (16385, 1, 2),
        (20928, 8, 11),  # 9 bits of 2048 words, eleven times; 8 single bits would be 16
        (142, 32, 1),
        (71, 128, 4),  # 3 x 36 + 20
        (72, 1024, 29),  # 28 x 36 = 1008, and 16 more
    ],
)
def test_block_memory_is_packed_as_by_hand(depth, bits, blocks):
    assert resources.bram18_blocks(depth, bits) == blocks


def test_block_memory_packing_is_the_cheapest_cut_into_columns():
    """Against a plain search over all cuts, also for words too wide for the table in the code."""
    aspects = [(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)]

    @cache
    def least(depth: int, bits: int) -> int:
        allowed = [(w, d) for w, d in aspects if not (w == 36 and depth > 512)]
        return min(-(-depth // d) + (least(depth, bits - w) if bits > w else 0) for w, d in allowed)

    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(150):
        depth = rng.choice([rng.randint(2, 600), rng.randint(2, 5000), rng.randint(2, 60000)])
        bits = rng.choice([rng.randint(1, 80), rng.randint(200, 700)])
        for b in range(1, bits):
            least(depth, b)  # from small to large, so that the recursion stays shallow
        assert resources.bram18_blocks(depth, bits) == least(depth, bits), (depth, bits)


@pytest.mark.parametrize(
    ("depth", "bits", "constant", "blocks"),
    [
        (512, 36, False, 1),
        (512, 37, False, 2),
        (3072, 12, True, 2),  # three parts of 1024 words side by side are 36 bits: one RAMB36
        (3072, 12, False, 3),  # with whole bytes they are 54 bits of 1024 words
        (12288, 24, False, 18),  # three parts of 4096 words, three bytes each: nine RAMB36; mixed aspects would be 17
        (8714, 62, False, 32),  # nine parts of 1024 words, seven bytes each: 63 bytes in RAMB36 of four
        (1024, 54, True, 3),
    ],
)
def test_block_memory_of_one_aspect_is_packed_as_by_hand(depth, bits, constant, blocks):
    assert resources.uniform_bram18_blocks(depth, bits, constant) == blocks
    assert resources.memory(depth, bits, "uniform", constant).bram18 == blocks


def test_ultraram_has_one_aspect():
    assert [resources.uram_blocks(d, b) for d, b in [(1, 1), (4096, 72), (4097, 72), (4096, 73)]] == [1, 1, 2, 2]


def test_distributed_memory_holds_its_bits():
    """RAM32M and RAM64M: 4 tables hold 6 bits of 32 words, or 3 of 64."""
    assert resources.lutram_tables(32, 6) == Resources(lutram=4)
    assert resources.lutram_tables(64, 3) == Resources(lutram=4)
    assert resources.lutram_tables(256, 3).lutram == 16
    assert resources.rom_tables(64, 10) == 10
    assert resources.rom_tables(256, 10) == 40
    assert resources.rom_tables(1, 10) == 0
    for depth in (2, 40, 100, 1000):
        assert resources.lutram_tables(depth, 24).lutram * 64 >= depth * 24


# ------------------------------------------------------------------------------------------ matrix-vector unit


@pytest.mark.parametrize(
    "block, weight, activation, narrow, lanes",
    [
        ("DSP48E1", 4, 4, True, 4),
        ("DSP48E1", 4, 4, False, 3),
        ("DSP48E2", 4, 4, False, 4),
        ("DSP48E1", 8, 8, True, 2),
        ("DSP48E2", 8, 8, True, 2),
        ("DSP48E2", 4, 8, True, 3),
        ("DSP48E1", 4, 8, True, 2),
        ("DSP48E1", 16, 16, True, 1),
        ("DSP48E2", 10, 8, True, 2),
        ("DSP48E1", 10, 8, True, 1),
        ("DSP48E1", 25, 8, False, 1),
    ],
)
def test_lanes_of_a_dsp(block, weight, activation, narrow, lanes):
    assert resources.lanes(block, weight, activation, narrow) == lanes


def test_lanes_are_as_many_as_lie_side_by_side():
    """A lane needs w + a - 1 bits; the leftmost weight, with a guard bit unless narrow, ends at the port's end."""
    for block, port in (("DSP48E1", 25), ("DSP48E2", 27)):
        for weight in range(2, 19):
            for activation in range(2, 17):
                for narrow in (True, False):
                    count = 1
                    while count * (weight + activation - 1) + weight + (not narrow) <= port:
                        count += 1
                    assert resources.lanes(block, weight, activation, narrow) == count


def test_odd_numbers_of_rows_waste_part_of_a_dsp():
    assert resources.mvu_dsp(27, 4, 8, 8, "DSP48E2") == 14 * 4
    assert resources.mvu_dsp(9, 1, 4, 4, "DSP48E1") == 3
    assert resources.mvu_dsp(3, 6, 8, 8, "DSP48E1") == 12


def test_a_dsp_block_without_formula_is_refused():
    with pytest.raises(ValueError, match="DSP58"):
        resources.lanes("DSP58", 8, 8)


def test_weights_hold_every_bit():
    for style, part in (("block", "bram18"), ("ultra", "uram")):
        used = resources.weights(576, 64, 8, 16, 8, style)
        assert getattr(used, part) * {"bram18": 18 * 1024, "uram": 288 * 1024}[part] >= 576 * 64 * 8
    constant = resources.weights(36, 8, 2, 4, 8, "distributed")
    assert constant.lut * 64 >= 36 * 8 * 8 and constant.bram18 == 0


def test_weights_in_ultraram_need_a_chip_that_has_it():
    with pytest.raises(ValueError, match="ultra96"):
        resources.weights(576, 64, 8, 16, 8, "ultra", find_board("ultra96"))
    assert resources.weights(576, 64, 8, 16, 8, "ultra", find_board("kv260")).uram == 15


def test_an_unknown_memory_style_is_refused():
    with pytest.raises(ValueError, match="srl"):
        resources.memory(100, 8, "srl")


# ----------------------------------------------------------------------------------------------- every stage

STAGES = {
    "mvu": lambda: resources.mvu(144, 16, 4, 12, 8, 8, 24, "DSP48E2"),
    "mvu, everything at once": lambda: resources.mvu(9, 4, 4, 9, 4, 4, 16, "DSP48E1"),
    "mvu, one lane": lambda: resources.mvu(9, 4, 1, 1, 4, 4, 16, "DSP48E1"),
    "weights": lambda: resources.weights(144, 16, 4, 12, 8, "auto"),
    "weights, constant tables": lambda: resources.weights(9, 4, 4, 9, 4, "distributed"),
    "window": lambda: resources.window(16, 4, (3, 3), 1, 34, 34, 8),
    "window of a column": lambda: resources.window(3, 3, (9, 1), 1, 40, 36, 8, "block"),
    "parallel window": lambda: resources.window(16, 16, (3, 3), 2, 34, 34, 8, "auto", True),
    "pad": lambda: resources.pad(16, 4, 34, 34, 8),
    "width converter": lambda: resources.width_converter(24, 16),
    "no width to convert": lambda: resources.width_converter(16, 16),
    "fifo": lambda: resources.fifo(2, 8),
    "requant": lambda: resources.requant(4, 16, 24, 22, 4, 8, 6),
    "requant of one channel": lambda: resources.requant(1, 1, 12, 10, 1, 4),
    "add": lambda: resources.add(4, 8),
    "fork": lambda: resources.fork(32, 3),
    "upsample": lambda: resources.upsample(32, 32),
    "tap sum": lambda: resources.tap_sum(3, 3, 9, 20, 23),
    "pixel shuffle": lambda: resources.pixel_shuffle(64, 32),
    "dma": lambda: resources.dma(24, 24),
    "trim border": lambda: resources.trim_border(64, 134, 94, 8),
    "interconnect": resources.interconnect,
}


@pytest.mark.parametrize("name", STAGES)
def test_no_stage_is_free(name):
    used = STAGES[name]()
    assert used.lut > 0
    assert all(isinstance(getattr(used, key), int) for key in ("lut", "lutram", "ff", "dsp", "bram18", "uram"))
    assert used.dsp == 0 or name.startswith("mvu")
    assert used.ff > 0 or name == "no width to convert"


def test_more_parallel_costs_more():
    last = 0
    for pe, simd in [(1, 1), (2, 1), (2, 4), (4, 12), (8, 24), (16, 48)]:
        used = resources.mvu(144, 16, pe, simd, 8, 8, 24, "DSP48E2").total_lut
        assert used > last
        last = used


# ---------------------------------------------------------------------------------------------- sums and shares


def test_resources_add_up_and_are_shares_of_a_board():
    used = sum([Resources(lut=100, dsp=11), Resources(lut=432, lutram=532, bram18=28)], Resources())
    assert used == Resources(532, 532, 0, 11, 28, 0)
    assert used.total_lut == 1064
    board = find_board("pynq-z2")
    shares = used.shares(board)
    assert shares["lut"] == pytest.approx(0.02)
    assert shares["dsp"] == pytest.approx(0.05)
    assert shares["bram"] == pytest.approx(0.1)
    assert shares["lutram"] == pytest.approx(532 / 17400)
    assert shares["uram"] == 0
    assert used.binding(board) == ("bram", pytest.approx(0.1))
    assert used.fits(board) and not used.fits(board, 0.09)


def test_what_a_chip_lacks_does_not_fit():
    assert Resources(uram=1).binding(find_board("pynq-z2")) == ("uram", math.inf)
    assert not Resources(uram=1).fits(find_board("ultra96"))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_shell_leaves_room(board):
    assert (resources.dma(24, 24, wide=board.is_ultrascale) + resources.interconnect()).fits(board, 0.1)


# ------------------------------------------------------------------------------------------------ against FINN


def test_fifos_as_finn_measured_them_in_vivado():
    """finn-plus' own model of its FIFO was fitted to Vivado's reports: the same memories; tables from -30 to +50 %.

    (And forty tables: its fit counts no control at all for the shallowest.)
    """
    models = pytest.importorskip("finn.util.resource_models", reason="finn-plus is not installed")
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(400):
        depth = rng.choice([rng.randint(2, 64), rng.randint(2, 600), rng.randint(34, 9000)])
        bits = 8 * rng.randint(1, 32)
        style = rng.choice(["auto", "distributed", "block", "ultra"])
        chosen = resources.fifo_style(depth, bits, style)
        finn_style = models._resolve(depth, bits, style)
        assert chosen == {"srl": "shift"}.get(finn_style, finn_style)
        if chosen == "distributed" and depth > 1100:
            continue  # nobody builds these
        ours, theirs = resources.fifo(depth, bits, style), models._fifo_cost(depth, bits, finn_style)
        where = (depth, bits, chosen)
        assert (ours.bram18, ours.uram) == (theirs.bram, theirs.uram), where
        assert 0.7 * theirs.lut - 40 <= ours.total_lut <= 1.5 * theirs.lut + 40, (where, ours, theirs)


def test_the_windows_buffer_is_as_deep_as_finns(tmp_path: Path):
    pytest.importorskip("finn.util.basic", reason="finn-plus is not installed")
    from onnx import helper

    from pleinair_hw.finn import environment

    environment.prepare(tmp_path, workers=1)
    from finn.custom_op.fpgadataflow.rtl.convolutioninputgenerator_rtl import ConvolutionInputGenerator_rtl

    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(60):
        rows, columns = rng.choice([(3, 3), (9, 1), (2, 2), (9, 9), (1, 3)])
        stride = rng.choice([1, 2])
        simd = rng.randint(1, 8)
        parallel = rng.random() < 0.3
        channels = simd if parallel else simd * rng.randint(1, 4)
        height, width = rng.randint(12, 60), rng.randint(12, 60)
        node = helper.make_node(
            "ConvolutionInputGenerator_rtl",
            ["x"],
            ["y"],
            ConvKernelDim=[rows, columns],
            IFMChannels=channels,
            IFMDim=[height, width],
            OFMDim=[(height - rows) // stride + 1, (width - columns) // stride + 1],
            SIMD=simd,
            Stride=[stride, stride],
            Dilation=[1, 1],
            inputDataType="UINT8",
            outputDataType="UINT8",
            depthwise=0,
            parallel_window=int(parallel),
            domain="finn.custom_op.fpgadataflow.rtl",
        )
        depth = ConvolutionInputGenerator_rtl(node).get_buffer_depth()
        ours = resources.window_depth(channels, simd, (rows, columns), stride, width, parallel)
        assert ours == depth, (rows, columns, stride, channels, simd, width, parallel)
