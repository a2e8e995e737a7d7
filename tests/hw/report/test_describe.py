"""What a report says of a plan adds up, and every stage reads what its maker gives."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BUDGET, shell
from pleinair_hw.plan.search import fastest_plan, plan_for_cycles
from tests.hw.report.reports import PLANS, bare, plan, report_of
from tests.networks import random_network


def test_resources_add_up() -> None:
    report = report_of(plan())
    board = BOARDS["kv260"]
    available = {"dsp": board.dsp, "lut": board.lut, "lutram": board.lutram, "ff": board.ff, "bram": 288, "uram": 64}
    for kind, r in report.resources.items():
        parts = [s.resources[kind] for s in report.stages] + [report.shell[kind]]
        assert min(parts) >= 0 and sum(parts) == r.used, kind
        assert r.available == available[kind] and r.budget == BUDGET[kind]
        assert r.share == pytest.approx(r.used / r.available)
    assert report.resources["dsp"].used == sum(c.resources["dsp"] for c in report.convolutions) > 0
    # A memory's resources are part of its stage's.
    for s in report.stages:
        if s.memory is not None:
            assert all(s.memory.resources[kind] <= s.resources[kind] for kind in s.resources)


def test_the_work_of_a_network_by_hand() -> None:
    report = report_of(bare(), size=(16, 16), margin=0)
    # Pixels x outputs x inputs x kernel, layer by layer: enter, down1, down2, two of the block, up1, up2, leave.
    macs = 256 * 4 * 3 * 9 + 64 * 8 * 4 * 9 + 16 * 16 * 8 * 9 + 2 * 16 * 16 * 16 * 9
    macs += 64 * 8 * 16 * 9 + 256 * 4 * 8 * 9 + 256 * 3 * 4 * 9
    work, rate = report.work, report.rate
    assert work.macs_network == macs
    assert work.macs_executed == sum(c.macs for c in report.convolutions)
    assert work.ideal_cycles == math.ceil(work.macs_executed / work.lanes)
    assert work.lanes_busy == pytest.approx(work.ideal_cycles / rate.interval, rel=1e-3)
    assert rate.interval == max(s.cycles for s in report.stages)
    assert rate.fps == pytest.approx(100e6 / rate.interval)
    assert {s.name for s in report.stages if s.busy == 1} == set(rate.binding_stages)


@pytest.mark.parametrize("which", PLANS)
def test_every_stage_reads_what_its_maker_gives(which: str) -> None:
    report = report_of(PLANS[which]())
    stages = {s.name: s for s in report.stages}
    first = [s for s in report.stages if not s.reads]
    assert [s.name for s in first] == [report.stages[0].name]
    readers = Counter(name for s in report.stages for name in s.reads)
    outputs = {name: 2 if s.kind == "DuplicateStreams" else 1 for name, s in stages.items()}
    ends = [name for name in stages if name not in readers]
    assert len(ends) == 1 and stages[ends[0]].layer == "leave"
    assert all(readers[name] == outputs[name] for name in stages if name not in ends)
    for s in report.stages:
        assert len(s.reads) == (2 if s.kind == "AddClamp" else 1) or s is first[0]
        if s.kind == "StreamingFIFO":
            assert s.stream_bits == stages[s.reads[0]].stream_bits
        if s.kind == "StreamingDataWidthConverter":
            # The same values a frame, in other words.
            assert s.shape == stages[s.reads[0]].shape
            assert stages[s.reads[0]].stream_bits * s.pe == s.stream_bits * s.simd


@pytest.mark.parametrize("which", PLANS)
def test_a_frame_leaves_each_stage_in_whole_words(which: str) -> None:
    made = PLANS[which]()
    for s, stage in zip(report_of(made).stages, made.stages, strict=True):
        height, width, channels = s.shape
        values, lanes = height * width * channels, stage.pe or stage.simd
        bits = made.dataflow.operator(stage.operator).output.bits if s.kind in ("MVAU", "RequantShift") else None
        assert values % lanes == 0
        assert bits is None or s.stream_bits == lanes * bits


def test_fifos_on_other_streams_are_joined() -> None:
    made = plan()
    names = [s.name for s in made.stages]
    behind = [names[0], "down1.product", next(n for n in names if n.endswith(".product.width")), "leave.requantise"]
    report = report_of(made.with_fifos(dict.fromkeys(behind, 9)))
    reads = {s.name: list(s.reads) for s in report.stages}
    bits = {s.name: s.stream_bits for s in report.stages}
    for name in behind:
        assert reads[f"{name}.fifo"] == [name]
        assert [n for n, sources in reads.items() if name in sources] == [f"{name}.fifo"]
        assert bits[f"{name}.fifo"] == bits[name]


def test_what_goes_past_a_centred_block_is_read_from_its_windows() -> None:
    network = random_network(1, width=4, blocks=1)
    made = plan_for_cycles(network, 32, 48, BOARDS["zcu104"], 40_000, forms={"block1.conv1": "centred"})
    reads = {s.name: list(s.reads) for s in report_of(made).stages}
    assert reads["block1.conv1.fork"] == ["block1.conv1.window"]
    assert reads["block1.conv1.centre"] == ["block1.conv1.fork"]
    assert reads["block1.conv1.centre.fifo"] == ["block1.conv1.centre"]
    assert reads["block1.conv2.add"][0] in ("block1.conv1.centre.fifo", "block1.conv2.add.width")
    assert "centred" in {c.form for c in report_of(made).convolutions}


def test_what_a_plan_takes_beside_its_stages_is_the_shells() -> None:
    dma = shell(plan().dataflow, plan().stages, plan().board, plan().options)
    assert report_of(plan()).shell == {
        "dsp": dma.dsp,
        "lut": dma.lut + dma.lutram,
        "lutram": dma.lutram,
        "ff": dma.ff,
        "bram": dma.bram18,
        "uram": dma.uram,
    }


def test_finns_estimates_are_those_of_the_stage() -> None:
    product = next(s for s in plan().stages if s.kind == "MVAU")
    given = {"cycles": product.cycles, "LUT": 0, "DSP": 12_345, "BRAM_18K": 3, "BRAM_efficiency": 0.5}
    for name in (product.name, product.name.replace(".", "_")):
        found = {s.name: s.finn for s in report_of(plan(), finn={name: given}).stages if s.finn is not None}
        assert found == {product.name: {"cycles": product.cycles, "LUT": 0, "DSP": 12_345, "BRAM_18K": 3}}


def test_the_fullest_resource_is_the_one_nearest_its_budget() -> None:
    made = fastest_plan(random_network(3, width=4, blocks=1), 32, 32, BOARDS["pynq-z2"])
    report = report_of(made)
    fill = {kind: (r.share or 0) / r.budget for kind, r in report.resources.items()}
    assert report.rate.fullest.resource == max(fill, key=lambda kind: fill[kind])
    assert max(fill.values()) <= 1


def test_of_what_a_board_lacks_there_is_no_share() -> None:
    made = plan()
    lacking = replace(made, board=replace(made.board, lutram=0))
    report = report_of(lacking)
    assert report.resources["lutram"].used > 0 and report.resources["lutram"].share is None
    assert report.rate.fullest.resource == "lutram" and report.rate.fullest.share is None
