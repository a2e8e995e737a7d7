"""Numbers and sentences of the page."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.dataflow import build_dataflow
from pleinair_hw.plan.plan import BuildOptions
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.report import words
from pleinair_hw.report.data import PlacedAndRouted
from tests.hw.report.reports import plan, report_of, short
from tests.hw.report.test_data import MEASURED, ONE_FRAME
from tests.networks import adaptive_network


def text_of(markup: words.Markup) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup.html))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (12.345, "12.3"), (99.96, "100.0"), (100.4, "100")),
        *((300.0, "300"), (1_234_567.8, "1,234,568"), (-0.5, "0")),
    ],
)
def test_numbers_have_three_places(value: float, text: str) -> None:
    assert words.number(value) == text


def test_shares() -> None:
    assert words.share(None) == "none there"
    shown = [words.share(value) for value in (0, 0.0123, 0.0999, 0.1, 0.5, 1, 2.344)]
    assert shown == ["0%", "1.2%", "10.0%", "10%", "50%", "100%", "234%"]


def test_block_ram_alone_is_counted_in_tiles() -> None:
    assert [words.count("bram", n) for n in (0, 1, 2, 2001)] == ["0", "0.5", "1", "1,000.5"]
    assert [words.count(kind, 2001) for kind in ("dsp", "lut", "uram")] == ["2,001"] * 3
    assert words.resource("bram") == "block RAM, 36 Kib" and words.resource("dsp") == "DSPs"


def test_what_was_asked_for() -> None:
    said = words.asked(report_of(plan(), target_fps=12.5))
    assert said == (
        "Asked for: frames of 80 x 48, 12.5 frames/s. With a margin of 8 pixels the network paints 96 x 64. "
        f"Part {plan().board.part}, {words.number(plan().clock_hz / 1e6)} MHz."
    )
    pumped = replace(plan(), options=BuildOptions(writeable=True, pumped=True))
    said = words.asked(report_of(pumped))
    assert "80 x 48, as fast as fits. " in said
    assert "96 x 64. Weights can be changed at run time. Matrix products run at twice the clock. Part" in said


def test_what_the_routers_clock_leaves_out() -> None:
    assert words.untimed(report_of(plan())) == ""
    routed = PlacedAndRouted(120.0, 15, 100.0, 10.0, 1, {"lut": 1}, (), 9)
    said = {
        misses: words.untimed(replace(report_of(plan()), routed=replace(routed, hold_misses=misses)))
        for misses in (None, 0, 1, 1234)
    }
    assert said[None] == said[0] == ""
    assert "1 hold time is missed. " in said[1] and "1,234 hold times are missed. " in said[1234]
    both = words.untimed(replace(report_of(plan()), routed=replace(routed, untimed=("PS7",), hold_misses=2)))
    assert re.search(r"delays of PS7: .* do not count\. By the placer's figures 2 hold", both)


def test_a_trimmed_plan_says_what_comes_out_and_counts_what_it_computes() -> None:
    network = adaptive_network(1, width=2, blocks=1)
    made = plan_for_cycles(network, 96, 120, BOARDS["zcu104"], 90_000, options=BuildOptions(trimmed=True))
    report, inset = report_of(made), made.dataflow.inset
    assert f"120 x 96. Trimmed: {120 - 2 * inset} x {96 - 2 * inset} of these come out. Part" in words.asked(report)
    direct = build_dataflow(network, 96, 120, trimmed=True)
    assert report.work.macs_network == direct.macs


def test_what_sets_the_rate() -> None:
    report = report_of(short())
    names = [s.name for s in report.stages if s.kind == "MVAU"]

    def said(*binding: str) -> str:
        return text_of(words.work(replace(report, rate=replace(report.rate, binding_stages=binding))))

    assert said(names[0]).endswith(f" Stage {names[0]} sets the rate.")
    assert said(*names[:2]).endswith(f" Stage {names[0]} and 1 as slow one sets the rate.")
    assert said(*names[:3]).endswith(f" Stage {names[0]} and 2 as slow ones set the rate.")


def test_what_merged_phases_save_is_said_where_they_do() -> None:
    report = report_of(short())
    merged = replace(report, work=replace(report.work, macs_executed=3_000_000, macs_network=4_000_000))
    assert "takes 3 million multiply-accumulates (4 million as the network is written; merged phases save 25%). " in (
        text_of(words.work(merged))
    )
    plain = replace(report, work=replace(report.work, macs_executed=4_000_000, macs_network=4_000_000))
    assert "takes 4 million multiply-accumulates. On" in text_of(words.work(plain))


def test_a_stages_note_says_what_it_has() -> None:
    stages = report_of(plan()).stages
    fifo = next(s for s in stages if s.kind == "StreamingFIFO")
    product = next(s for s in stages if s.kind == "MVAU" and s.memory is not None)
    assert f"\n{fifo.depth:,} words deep" in words.stage_note(fifo) and "deep" not in words.stage_note(product)
    assert words.stage_note(product).startswith(f"{product.name} (MVAU)\nSIMD {product.simd}, PE {product.pe}, ")
    assert "words of" not in words.stage_note(replace(product, memory=None))


def test_measured_figures_stand_beside_planned_ones() -> None:
    report = report_of(plan(), measured=MEASURED)
    rows = {figures[0]: figures[1:] for figures in words.measured(report)}
    assert rows["bytes that differ from the integer reference"] == ("0", "")
    assert all("_" not in name for name in rows)  # words, not the file's names
    assert rows["cycles between frames"] == ("43,210", f"{report.rate.interval:,}")
    assert rows["multiplier lanes busy"] == ("87.5%", f"{report.work.lanes_busy:.1%}")
    assert rows["frames/s at the planned clock"] == ("11.2", words.number(report.rate.fps))
    one = [figures[0] for figures in words.measured(report_of(plan(), measured=ONE_FRAME))]
    two = {"cycles between frames", "multiplier lanes busy", "frames/s at the planned clock"}
    assert rows.keys() - set(one) == two
    assert list(words.measured(report_of(plan()))) == []
