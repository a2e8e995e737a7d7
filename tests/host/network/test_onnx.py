"""The interchange graphs against the reference; what cannot be such a graph is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pleinair.engines.exact import check_image, differing
from pleinair.engines.onnxruntime import OnnxRunner
from pleinair.errors import ContractError
from pleinair.models import FILES, load_model
from pleinair.network import reference
from pleinair.network.onnx import build_onnx
from tests.networks import random_network


@pytest.mark.parametrize(("width", "blocks", "kernel"), [(4, 0, 9), (8, 2, 9), (16, 1, 9), (24, 1, 5), (5, 3, 3)])
@pytest.mark.parametrize("bits", [4, 8])
def test_graphs_equal_the_reference(width, blocks, kernel, bits):
    network = random_network(width + bits, width, blocks, bits, kernel)
    rng = np.random.default_rng(width)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 64), (32, 100))] + [check_image()]
    for optimise in (True, False):
        for threads in (1, 2):
            run = OnnxRunner(network, threads, optimise, wide_sums=True)
            for picture in pictures:
                np.testing.assert_array_equal(run(picture), reference.run(network, picture))


def test_graphs_are_standard_operators_alone_but_for_the_join():
    model = onnx.load_from_string(build_onnx(random_network(1, 8, 2)))
    onnx.checker.check_model(model)
    assert {n.op_type for n in model.graph.node if n.domain} == {"QLinearAdd"}


@pytest.mark.parametrize("bits", [4, 8])
def test_the_shipped_file_is_the_networks_graph(bits):
    model = load_model("starry-night-board", bits)
    file = model.folder / FILES["cpu"].format(bits=bits)
    shipped = onnx.load(file)
    assert shipped == onnx.load_from_string(build_onnx(model.network))


def test_sixteen_bits_are_refused():
    with pytest.raises(ContractError, match="16 bits"):
        build_onnx(random_network(1, 4, 0, 16))


def test_a_changed_graph_is_seen():
    one, other = random_network(1, 8, 1), random_network(2, 8, 1)
    assert differing(one, OnnxRunner(other, 1), check_image()) > 0
