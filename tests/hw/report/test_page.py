"""The build's report: what it says adds up, the page is well-formed, and nothing in it is taken for markup."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pleinair.errors import OutputError
from pleinair.network.integer import Residual
from pleinair_hw.plan.boards import BOARDS
from pleinair_hw.plan.plan import BUDGET, Plan, Stage
from pleinair_hw.plan.resources import Resources
from pleinair_hw.plan.search import fastest_plan, plan_for_cycles
from pleinair_hw.report import page as report
from tests.networks import random_network

SVG = "{http://www.w3.org/2000/svg}"
_EMPTY = {"meta", "br", "rect", "path"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Width 4, two residual blocks, 96 x 64, on a board with UltraRAM."""
    return plan_for_cycles(random_network(3, width=4, blocks=2), 64, 96, BOARDS["kv260"], 40_000)


def describe(plan: Plan, **more: object) -> dict:
    options: dict = {"title": "A title", "bits": 8, "size": (80, 48), "margin": 8, "network_sha256": "ab" * 32} | more
    return report.describe(plan, **options)


def svg_of(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


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


def test_the_files_hold_the_description(plan: Plan, tmp_path: Path) -> None:
    description = describe(plan, target_fps=25.0)
    paths = report.write_report(tmp_path, description)
    assert json.loads(paths[0].read_text()) == description == describe(plan, target_fps=25.0)
    assert description["format"] == "pleinair-build-report" and description["version"] == 1
    assert paths[1].read_text() == report.render_html(json.loads(paths[0].read_text()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_report_that_cannot_be_written(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"report\.json: cannot be written"):
        report.write_report(tmp_path / "missing", describe(plan))


def test_resources_add_up(plan: Plan) -> None:
    d = describe(plan)
    board = BOARDS["kv260"]
    available = {"dsp": board.dsp, "lut": board.lut, "lutram": board.lutram, "ff": board.ff, "bram": 288, "uram": 64}
    for kind, r in d["resources"].items():
        parts = [s["resources"][kind] for s in d["stages"]] + [d["shell"][kind]]
        assert min(parts) >= 0 and sum(parts) == r["used"], kind
        assert r["available"] == available[kind] and r["budget"] == BUDGET[kind]
        assert r["share"] == pytest.approx(r["used"] / r["available"])
    assert d["resources"]["dsp"]["used"] == sum(c["resources"]["dsp"] for c in d["convolutions"]) > 0
    # A memory's resources are part of its stage's.
    for s in d["stages"]:
        if s["memory"] is not None:
            assert all(s["memory"]["resources"][k] <= s["resources"][k] for k in s["resources"])


def test_the_work_of_a_network_by_hand() -> None:
    network = random_network(4, width=4, blocks=1, kernel=3)
    plan = plan_for_cycles(network, 16, 16, BOARDS["pynq-z2"], 100_000)
    d = describe(plan, size=(16, 16), margin=0)
    # Pixels x outputs x inputs x kernel, layer by layer: enter, down1, down2, two of the block, up1, up2, leave.
    macs = 256 * 4 * 3 * 9 + 64 * 8 * 4 * 9 + 16 * 16 * 8 * 9 + 2 * 16 * 16 * 16 * 9
    macs += 64 * 8 * 16 * 9 + 256 * 4 * 8 * 9 + 256 * 3 * 4 * 9
    assert d["work"]["macs_network"] == macs
    assert d["work"]["macs_executed"] == sum(c["macs"] for c in d["convolutions"])
    assert d["work"]["ideal_cycles"] == math.ceil(d["work"]["macs_executed"] / d["work"]["lanes"])
    assert d["work"]["lanes_busy"] == pytest.approx(d["work"]["ideal_cycles"] / d["rate"]["interval"], rel=1e-3)
    assert d["rate"]["interval"] == max(s["cycles"] for s in d["stages"])
    assert d["rate"]["fps"] == pytest.approx(100e6 / d["rate"]["interval"])
    assert {s["name"] for s in d["stages"] if s["busy"] == 1} == set(d["rate"]["binding_stages"])
    assert "UltraRAM" not in "".join(parse(report._bars(d)).text)  # the board has none


@pytest.fixture(scope="module")
def twice() -> Plan:
    """A plan in which widths change by way of a common multiple, in two converters."""
    plan = plan_for_cycles(random_network(3, width=12, blocks=1), 32, 32, BOARDS["zcu104"], 2000)
    assert sum(s.name.endswith(".width.up") for s in plan.stages) > 1
    return plan


@pytest.mark.parametrize("which", ["plan", "twice"])
def test_every_stage_reads_what_its_maker_gives(which: str, request: pytest.FixtureRequest) -> None:
    d = describe(request.getfixturevalue(which))
    stages = {s["name"]: s for s in d["stages"]}
    first = [s for s in d["stages"] if not s["reads"]]
    assert [s["name"] for s in first] == [d["stages"][0]["name"]]
    readers = Counter(name for s in d["stages"] for name in s["reads"])
    outputs = {name: 2 if s["kind"] == "DuplicateStreams" else 1 for name, s in stages.items()}
    ends = [name for name in stages if name not in readers]
    assert len(ends) == 1 and stages[ends[0]]["layer"] == "leave"
    assert all(readers[name] == outputs[name] for name in stages if name not in ends)
    for s in d["stages"]:
        assert len(s["reads"]) == (2 if s["kind"] == "AddClamp" else 1) or s is first[0]
        if s["kind"] == "StreamingFIFO":
            assert s["stream_bits"] == stages[s["reads"][0]]["stream_bits"]
        if s["kind"] == "StreamingDataWidthConverter":
            before = stages[s["reads"][0]]
            # The same values a frame, in other words.
            assert before["stream_bits"] * s["pe"] == s["stream_bits"] * s["simd"]


@pytest.fixture(scope="module")
def short() -> Plan:
    """A residual block of one convolution, whose skip goes past its own row alone."""
    network = random_network(6, width=4, blocks=1, kernel=3)
    block = network.layers[3]
    assert isinstance(block, Residual)
    layers = (*network.layers[:3], Residual(block.body[1:]), *network.layers[4:])
    return plan_for_cycles(replace(network, layers=layers), 32, 32, BOARDS["zcu104"], 20_000)


@pytest.mark.parametrize("which", ["plan", "short", "twice"])
def test_every_stage_is_in_the_picture(which: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(which)
    page = report.render_html(describe(plan))
    drawn = [g.get("data-stage") for g in svg_of(page).iter(f"{SVG}g")]
    assert sorted(drawn) == sorted(s.name for s in plan.stages)
    skips = [p for p in svg_of(page).iter(f"{SVG}path") if p.get("class") == "skip"]
    assert len(skips) == sum(s.kind == "AddClamp" for s in plan.stages) > 0


@pytest.mark.parametrize("which", ["plan", "short", "twice"])
def test_boxes_lie_inside_and_apart(which: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(which)
    svg = svg_of(report.render_html(describe(plan)))
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    boxes = []
    for g in svg.iter(f"{SVG}g"):
        for rect in g.findall(f"{SVG}rect")[:1]:
            x, y, w, h = (float(rect.get(k, "")) for k in ("x", "y", "width", "height"))
            assert min(x, y) >= 0 and x + w <= width and y + h <= height, g.get("data-stage")
            boxes.append((x, y, x + w, y + h))
            filled = g.findall(f"{SVG}rect")[1] if g.findall(f"{SVG}text") else None
            if filled is not None:
                busy = next(s.cycles / plan.cycles for s in plan.stages if s.name == g.get("data-stage"))
                assert float(filled.get("height", "")) == pytest.approx(h * busy, abs=0.06)
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_fifos_on_other_streams_are_drawn_and_joined(plan: Plan) -> None:
    names = [s.name for s in plan.stages]
    behind = [names[0], "down1.product", next(n for n in names if n.endswith(".product.width")), "leave.requantise"]
    fifos = [
        Stage(f"{name}.fifo", "StreamingFIFO", plan.stage(name).operator, 0, 1, 100, Resources(lut=9), depth=2)
        for name in behind
    ]
    d = describe(replace(plan, stages=(*plan.stages, *fifos)))
    reads = {s["name"]: s["reads"] for s in d["stages"]}
    for name in behind:
        assert reads[f"{name}.fifo"] == [name]
        assert [n for n, sources in reads.items() if name in sources] == [f"{name}.fifo"]
        bits = {s["name"]: s["stream_bits"] for s in d["stages"]}
        assert bits[f"{name}.fifo"] == bits[name]
    drawn = {g.get("data-stage") for g in svg_of(report.render_html(d)).iter(f"{SVG}g")}
    assert {f"{name}.fifo" for name in behind} <= drawn


def test_the_page_is_whole_without_the_network(plan: Plan) -> None:
    page = report.render_html(describe(plan))
    parser = parse(page)
    assert parser.tags["svg"] == 1 and parser.tags["script"] == parser.tags["link"] == parser.tags["img"] == 0
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and "url(" not in page
    assert "prefers-color-scheme" in page
    text = "".join(parser.text)
    for stage in plan.stages:
        assert stage.name in text


def test_hostile_titles_stay_text(plan: Plan) -> None:
    hostile = """</title><script>alert("1")</script>'&amp;"""
    page = report.render_html(describe(plan, title=hostile, network_sha256="<img src=x onerror=alert(1)>"))
    parser = parse(page)
    assert parser.tags["script"] == parser.tags["img"] == 0
    assert hostile in "".join(parser.text)


def test_hostile_layer_names_stay_text() -> None:
    network = random_network(5, width=4, blocks=1, kernel=3)
    name = '"><script>&'
    layers = (replace(network.layers[0], name=name), *network.layers[1:])
    plan = plan_for_cycles(replace(network, layers=layers), 16, 16, BOARDS["zcu104"], 30_000)
    page = report.render_html(describe(plan))
    assert parse(page).tags["script"] == 0
    assert any((g.get("data-stage") or "").startswith(name) for g in svg_of(page).iter(f"{SVG}g"))


def test_finns_estimates_stand_beside_ours(plan: Plan) -> None:
    product = next(s for s in plan.stages if s.kind == "MVAU")
    name = product.name.replace(".", "_")
    finn = {name: {"cycles": product.cycles, "LUT": 0, "DSP": 12_345, "BRAM_18K": 3, "BRAM_efficiency": 0.5}}
    d = describe(plan, finn=finn)
    given = {s["name"]: s["finn"] for s in d["stages"] if s["finn"] is not None}
    assert given == {product.name: {"cycles": product.cycles, "LUT": 0, "DSP": 12_345, "BRAM_18K": 3}}
    text = parse(report.render_html(d)).text
    assert "12,345" in text and "FINN DSP" in text
    assert "FINN DSP" not in parse(report.render_html(describe(plan))).text


def test_measured_figures_have_their_own_section(plan: Plan) -> None:
    fifo = next(s for s in plan.stages if s.kind == "StreamingFIFO")
    measured = {"latency": 765_432, "interval": 43_210, "fps": 11.25, "lanes_busy": 0.875, "differing_bytes": 0}
    occupancies = {fifo.name.replace(".", "_"): 77_777}
    d = describe(plan, measured={**measured, "size": (96, 64), "occupancies": occupancies})
    assert d["measured"] == {**measured, "size": [96, 64], "occupancies": occupancies}
    text = parse(report.render_html(d)).text
    for figure in (
        "Measured in simulation",
        "765,432",
        "43,210",
        "11.2",
        "87.5%",
        "96 x 64",
        "77,777",
        f"{fifo.depth:,}",
    ):
        assert figure in text
    assert "Measured in simulation" not in parse(report.render_html(describe(plan))).text


def test_a_plan_over_budget_is_shown_as_such() -> None:
    plan = plan_for_cycles(random_network(3, width=16, blocks=2), 64, 96, BOARDS["pynq-z2"], 8_000)
    assert plan.over
    page = report.render_html(describe(plan))
    parse(page)
    assert page.count('class="bar over"') == len(plan.over)


def test_the_fullest_resource_is_the_one_nearest_its_budget() -> None:
    plan = fastest_plan(random_network(3, width=4, blocks=1), 32, 32, BOARDS["pynq-z2"])
    d = describe(plan)
    fill = {kind: r["share"] / r["budget"] for kind, r in d["resources"].items()}
    assert d["rate"]["fullest"]["resource"] == max(fill, key=lambda kind: fill[kind])
    assert max(fill.values()) <= 1
