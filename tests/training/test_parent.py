"""The float parent's file: read as it was written, refused where it is damaged or of another shape."""

from __future__ import annotations

import pytest
import torch

from pleinair.errors import ModelError
from pleinair_training.architecture import Architecture
from pleinair_training.parent import dump_parent, parse_parent
from pleinair_training.transform_net import TransformNet


def test_a_parent_survives_its_file(tmp_path):
    torch.manual_seed(0)
    parent = TransformNet(Architecture(4, 1, 9))
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    again = parse_parent(dump_parent(parent), tmp_path / "parent.npz", parent.architecture)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert 0 < float((parent(x) - again(x)).abs().max()) < 0.02  # float16
    with pytest.raises(ModelError, match=r"parent\.npz: enter\.weight is of shape"):
        parse_parent(dump_parent(parent), tmp_path / "parent.npz", Architecture(8, 1, 9))
    for data in (b"", b"PK\x03\x04", dump_parent(parent)[:-40]):
        with pytest.raises(ModelError, match=r"parent\.npz: damaged"):
            parse_parent(data, tmp_path / "parent.npz", parent.architecture)
