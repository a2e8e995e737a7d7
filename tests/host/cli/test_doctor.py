"""``pleinair doctor``: the findings as a table or as JSON, and the exit status."""

from __future__ import annotations

import json

import pytest

from pleinair.cli.main import main
from pleinair.doctor.finding import BAD, DOUBTFUL, GOOD, Finding

FINDINGS = [Finding("disk", GOOD, "9 GB free"), Finding("clock", DOUBTFUL, "not set \x1b[31m", "wait")]
BROKEN = Finding("camera", BAD, "none", "a cable")


@pytest.mark.parametrize(("findings", "status"), [(FINDINGS, 0), ([*FINDINGS, BROKEN], 2)])
def test_findings_as_json_and_as_a_table(monkeypatch, capsys, findings, status):
    monkeypatch.setattr("pleinair.doctor.examine.examine", lambda *_, **__: iter(findings))
    assert main(["doctor", "--json"]) == status
    assert json.loads(capsys.readouterr().out) == [
        {"subject": f.subject, "state": f.state, "found": f.found, "remedy": f.remedy} for f in findings
    ]
    assert main(["doctor"]) == status
    out = capsys.readouterr().out
    assert all(f.subject in out and f.state in out and f.remedy in out for f in findings) and "\x1b" not in out


def test_the_raspberry_pi_s_thermometer_and_camera_are_given(monkeypatch):
    from pleinair_pi.camera import PiCamera
    from pleinair_pi.heat import read_heat

    asked = {}
    monkeypatch.setattr("pleinair.doctor.examine.examine", lambda *_, **given: asked.update(given) or iter(()))
    assert main(["doctor"]) == 0
    assert asked["thermometer"] is read_heat and asked["drivers"]["pi"] is PiCamera
