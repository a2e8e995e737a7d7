"""The picture is well-formed, every stage is in it, and boxes lie inside and apart."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pleinair_hw.plan.plan import Plan
from pleinair_hw.plan.search import plan_for_cycles
from pleinair_hw.report.picture import pipeline_svg
from tests.hw.report.reports import PLANS, bare, plan, report_of, short
from tests.networks import random_network

SVG = "{http://www.w3.org/2000/svg}"


def drawn(plan: Plan) -> ElementTree.Element:
    return ElementTree.fromstring(pipeline_svg(report_of(plan)).html)


@pytest.mark.parametrize("which", PLANS)
def test_every_stage_is_in_the_picture(which: str) -> None:
    made = PLANS[which]()
    svg = drawn(made)
    assert sorted(g.get("data-stage", "") for g in svg.iter(f"{SVG}g")) == sorted(s.name for s in made.stages)
    skips = [p for p in svg.iter(f"{SVG}path") if p.get("class") == "skip"]
    assert len(skips) == sum(s.kind == "AddClamp" for s in made.stages) > 0


@pytest.mark.parametrize("which", PLANS)
def test_boxes_lie_inside_and_apart(which: str) -> None:
    made = PLANS[which]()
    svg = drawn(made)
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    boxes = []
    for g in svg.iter(f"{SVG}g"):
        for rect in g.findall(f"{SVG}rect")[:1]:
            x, y, w, h = (float(rect.get(k, "")) for k in ("x", "y", "width", "height"))
            assert min(x, y) >= 0 and x + w <= width and y + h <= height, g.get("data-stage")
            boxes.append((x, y, x + w, y + h))
            filled = g.findall(f"{SVG}rect")[1] if g.findall(f"{SVG}text") else None
            if filled is not None:
                busy = next(s.cycles / made.cycles for s in made.stages if s.name == g.get("data-stage"))
                assert float(filled.get("height", "")) == pytest.approx(h * busy, abs=0.06)
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_fifos_on_other_streams_are_drawn() -> None:
    names = [s.name for s in plan().stages]
    behind = [names[0], "down1.product", next(n for n in names if n.endswith(".product.width")), "leave.requantise"]
    svg = drawn(plan().with_fifos(dict.fromkeys(behind, 9)))
    assert {f"{name}.fifo" for name in behind} <= {g.get("data-stage") for g in svg.iter(f"{SVG}g")}


def test_the_stages_that_set_the_rate_are_framed_and_one_is_named() -> None:
    report = report_of(short())
    svg = ElementTree.fromstring(pipeline_svg(report).html)
    framed = {g.get("data-stage") for g in svg.iter(f"{SVG}g") if "binds" in g.get("class", "").split()}
    assert framed == set(report.rate.binding_stages)
    marks = [t.text for t in svg.iter(f"{SVG}text") if t.get("class") == "mark"]
    assert marks == ["sets the rate"]


def test_hostile_layer_names_stay_text() -> None:
    network = random_network(5, width=4, blocks=1, kernel=3)
    name = '"><script>&'
    layers = (replace(network.layers[0], name=name), *network.layers[1:])
    svg = drawn(plan_for_cycles(replace(network, layers=layers), 16, 16, bare().board, 100_000))
    assert {e.tag.removeprefix(SVG) for e in svg.iter()} == {"svg", "g", "title", "rect", "path", "text"}
    assert any(g.get("data-stage", "").startswith(name) for g in svg.iter(f"{SVG}g"))
