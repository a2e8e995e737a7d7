"""What docs/licences.md says of the wheels, and the floors of what pip installs."""

from __future__ import annotations

import importlib.metadata
import re

from tests.house import ROOT


def test_every_package_that_pip_installs_is_listed():
    said = (ROOT / "docs" / "licences.md").read_text().lower()
    project = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    cpu = re.search(r"^cpu = \[(.*?)\]", project, re.MULTILINE)
    assert found is not None and cpu is not None
    names = re.findall(r'"([a-z-]+)', found[1] + cpu[1])
    assert len(names) > 7
    for name in set(names) - {"tomli"}:
        assert {"onnxruntime": "onnx runtime", "av": "pyav"}.get(name, name) in said, name


def test_gpl_encoders_are_said_while_they_are_there():
    files = [str(file) for file in importlib.metadata.files("av") or []]
    there = any("x264" in file or "x265" in file for file in files)
    assert not there or "x264 and x265, which are under the GPL" in (ROOT / "docs" / "licences.md").read_text()


def test_opencv_has_no_known_hole_in_its_webp():
    floor = re.search(r"opencv-python-headless>=([0-9.]+)", (ROOT / "pyproject.toml").read_text())
    assert floor is not None and tuple(map(int, floor[1].split("."))) >= (4, 8, 1, 78)
