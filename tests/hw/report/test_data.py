"""``report.json`` holds a report whole, and what is no report is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pleinair.fpga.deployment import DeploymentError
from pleinair_hw.report.data import JSON_FILE, Measured, Report, as_json, read_report
from tests.hw.report.reports import PLANS, plan, report_of, short

MEASURED = Measured(
    frames=2,
    differing=0,
    latency=765_432,
    occupancies={"a_fifo": 7},
    cycles=900_000,
    cycles_per_second=12_345,
    interval=43_210,
    fps=11.25,
    lanes_busy=0.875,
)
ONE_FRAME = replace(MEASURED, frames=1, interval=None, fps=None, lanes_busy=None)


def put(folder: Path, values: Any) -> Path:
    (folder / JSON_FILE).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("which", PLANS)
@pytest.mark.parametrize("measured", [None, MEASURED, ONE_FRAME])
def test_a_report_comes_back_as_it_was(which: str, measured: Measured | None, tmp_path: Path) -> None:
    made = PLANS[which]()
    finn = {made.stages[0].name: {"LUT": 7, "URAM": 0.5}}
    report = report_of(made, target_fps=25.0, finn=finn, measured=measured)
    back = read_report(put(tmp_path, as_json(report)))
    assert back == report
    assert json.dumps(as_json(back)) == json.dumps(as_json(report))  # 7 is not 7.0


def test_the_file_has_the_fields_that_other_programs_read() -> None:
    values = json.loads(json.dumps(as_json(report_of(plan(), measured=ONE_FRAME))))
    assert list(values) == [
        *("format", "version", "title", "asked", "board", "clock_mhz", "rate", "work", "resources", "shell"),
        *("convolutions", "stages", "measured"),
    ]
    assert values["format"] == "pleinair-build-report" and values["version"] == 1
    assert values["asked"]["size"] == [80, 48] and values["asked"]["input"] == [96, 64]
    assert list(values["measured"]) == ["frames", "differing", "latency", "occupancies", "cycles", "cycles_per_second"]
    assert as_json(report_of(plan()))["measured"] is None


def test_of_several_stages_as_slow_a_product_is_named() -> None:
    report = report_of(short())
    product = next(s.name for s in report.stages if s.kind == "MVAU")
    other = next(s.name for s in report.stages if s.kind != "MVAU")

    def setting(*names: str) -> str:
        return replace(report, rate=replace(report.rate, binding_stages=names)).setting

    assert setting(other) == setting(other, other + "x") == other
    assert setting(other, product) == setting(product, other) == product


def _spoil(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(values: dict[str, Any]) -> None:
        part: Any = values
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = to

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_spoil("version", to=2), "not a version 1 pleinair-build-report"),
        (_spoil("title", to=7), "title 7; allowed is text"),
        (_spoil("asked", "bits", to="8"), "asked: bits '8'; allowed is a whole number"),
        (_spoil("asked", "pumped", to=0), "asked: pumped 0; allowed is true or false"),
        (_spoil("asked", "margin", to=True), "asked: margin True; allowed is a whole number"),
        (_spoil("asked", "size", to=[1, 2, 3]), r"asked: size \[1, 2, 3\]; allowed is a list of 2"),
        (_spoil("rate", "fps", to=None), "rate: fps None; allowed is a number"),
        (_spoil("rate", "interval", to=1 << 64), "rate: interval 18446744073709551616; allowed is a whole number"),
        (_spoil("board", to=[]), "board: not an object"),
        (_spoil("stages", to={}), "stages {}; allowed is a list"),
        (_spoil("stages", 3, "resources", to=None), "stages 4: resources: not an object"),
        (_spoil("stages", to=[]), "of no pipeline"),
        (_spoil("stages", 1, "reads", to=["nobody"]), "of no pipeline"),
        (_spoil("shell", to={"lut": 1}), "of no pipeline"),
        (_spoil("rate", "binding_stages", to=[]), "of no pipeline"),
        (_spoil("stages", 0, "shape", to=[0, 1, 1]), "of no pipeline"),
        (_spoil("work", "macs_network", to=0), "of no pipeline"),
    ],
)
def test_what_is_no_report_is_refused(spoil: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    values = json.loads(json.dumps(as_json(report_of(plan()))))
    spoil(values)
    with pytest.raises(DeploymentError, match=said):
        read_report(put(tmp_path, values))


def test_stages_that_read_each_other_are_refused(tmp_path: Path) -> None:
    report: Report = report_of(plan())
    first, second, *rest = report.stages
    around = (replace(first, reads=(second.name,)), replace(second, reads=(first.name,)), *rest)
    with pytest.raises(DeploymentError, match="of no pipeline"):
        read_report(put(tmp_path, as_json(replace(report, stages=around))))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', '{"clock_mhz": 1e999}'])
def test_what_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / JSON_FILE).write_text(text)
    with pytest.raises(DeploymentError, match=JSON_FILE):
        read_report(tmp_path)


def test_numbers_without_end_are_refused(tmp_path: Path) -> None:
    text = json.dumps(as_json(report_of(plan()))).replace('"clock_mhz": ', '"clock_mhz": 1e999, "was": ')
    (tmp_path / JSON_FILE).write_text(text)
    with pytest.raises(DeploymentError, match="clock_mhz inf"):
        read_report(tmp_path)


def test_a_report_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"report\.json: No such file"):
        read_report(tmp_path)
