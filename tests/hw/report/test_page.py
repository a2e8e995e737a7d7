"""The build's page is well-formed, shows the report's figures, and nothing in it is taken for markup."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pleinair.errors import OutputError
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.report import page
from pleinair_hw.report.data import as_json, read_report
from tests.hw.report.reports import bare, plan, report_of
from tests.hw.report.test_data import MEASURED
from tests.networks import random_network

_EMPTY = {"meta", "br", "rect", "path"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed by another, and keeps the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_files_hold_the_report(tmp_path: Path) -> None:
    report = report_of(plan(), target_fps=25.0, measured=MEASURED)
    paths = page.write_report(tmp_path, report)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert json.loads(paths[0].read_text()) == json.loads(json.dumps(as_json(report)))
    # An old report can be written again.
    before = [path.read_bytes() for path in paths]
    assert page.write_report(tmp_path, read_report(tmp_path)) == paths
    assert [path.read_bytes() for path in paths] == before


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"report\.json: cannot be written"):
        page.write_report(tmp_path / "missing", report_of(plan()))


def test_the_page_is_whole_without_the_network() -> None:
    text = page.render_html(report_of(plan()))
    parser = parse(text)
    assert parser.tags["svg"] == 1 and parser.tags["script"] == parser.tags["link"] == parser.tags["img"] == 0
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "url(" not in text and "prefers-color-scheme" in text
    shown = "".join(parser.text)
    for stage in plan().stages:
        assert stage.name in shown


def test_what_the_board_lacks_has_no_bar() -> None:
    assert "UltraRAM" in "".join(parse(page.bars(report_of(plan())).html).text)
    assert "UltraRAM" not in "".join(parse(page.bars(report_of(bare())).html).text)


def test_a_plan_over_budget_is_shown_as_such() -> None:
    over = plan_for_cycles(random_network(3, width=16, blocks=2), 64, 96, BOARDS["pynq-z2"], 8_000)
    assert over.over
    text = page.render_html(report_of(over))
    parse(text)
    assert text.count('class="bar over"') == len(over.over)


def test_hostile_titles_stay_text() -> None:
    hostile = """</title><script>alert("1")</script>'&amp;"""
    text = page.render_html(report_of(plan(), title=hostile, network_sha256="<img src=x onerror=alert(1)>"))
    parser = parse(text)
    assert parser.tags["script"] == parser.tags["img"] == 0
    assert hostile in "".join(parser.text)


def test_finns_estimates_stand_beside_ours() -> None:
    product = next(s for s in plan().stages if s.kind == "MVAU")
    finn = {product.name: {"DSP": 12_345, "BRAM_18K": 2469}}
    text = parse(page.render_html(report_of(plan(), finn=finn))).text
    assert "12,345" in text and "1,234.5" in text and "FINN DSP" in text  # block RAM in tiles
    assert "FINN DSP" not in parse(page.render_html(report_of(plan()))).text


def test_measured_figures_have_their_own_section() -> None:
    fifo = next(s for s in plan().stages if s.kind == "StreamingFIFO")
    occupancies = {fifo.name.replace(".", "_"): 77_777}
    report = report_of(plan(), measured=replace(MEASURED, occupancies=occupancies))
    text = parse(page.render_html(report)).text
    for figure in ("Measured in simulation", "765,432", "43,210", "11.2", "87.5%", "77,777", f"{fifo.depth:,}"):
        assert figure in text
    assert "Measured in simulation" not in parse(page.render_html(report_of(plan()))).text
