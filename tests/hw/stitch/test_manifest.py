"""The manifest of a folder of stitched RTL: damage is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pleinair_hw.stitch import StitchError
from pleinair_hw.stitch.manifest import FORMAT, MANIFEST, Manifest


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 2}', '{"format": 1}', '{"format": 1, "inputs": 3}']
)
def test_damaged_manifests_are_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(StitchError, match="is not a manifest"):
        Manifest.read(tmp_path)


def test_a_manifest_that_reaches_out_of_its_folder_is_refused(tmp_path):
    empty = Manifest("top", "simulation", ("../x.sv",), (), (), (), (), (), (), {"../x.sv": ""})
    (tmp_path / MANIFEST).write_text(json.dumps({"format": FORMAT, **dataclasses.asdict(empty)}))
    with pytest.raises(StitchError, match=r"\.\./x\.sv lies outside"):
        Manifest.read(tmp_path)
