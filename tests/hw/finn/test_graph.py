"""The dataflow as an ONNX graph: a node for every operator, and tensors of its shapes and integers."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair_hw.finn import environment
from pleinair_hw.finn.graph import datatype, tensor_name, write_graph
from pleinair_hw.plan.dataflow import PIXELS, AddClamp, Fork, MatrixProduct, Requantise, Tensor, build_dataflow
from tests.hw.finn.test_environment import needs_finn, own_environment  # noqa: F401
from tests.networks import random_network

pytestmark = needs_finn


@pytest.fixture
def dataflow():
    return build_dataflow(random_network(1, width=4, blocks=1), 16, 20, {"enter": "taps", "up1": "phases"})


@pytest.fixture
def model(dataflow, tmp_path):
    environment.prepare(tmp_path, workers=1)
    import pleinair_hw.finn.operators  # noqa: F401

    return write_graph(dataflow)


def test_names():
    assert tensor_name("block1.conv1.fork") == "block1_conv1_fork"
    assert tensor_name("block1.conv1.fork", 1) == "block1_conv1_fork_1"
    assert datatype(Tensor(1, 1, 1, 22, True)) == "INT22" and datatype(Tensor(1, 1, 1, 4)) == "UINT4"


def test_a_node_for_every_operator(dataflow, model):
    assert [node.name for node in model.graph.node] == [tensor_name(o.name) for o in dataflow.operators]


def test_tensors_have_the_dataflows_shapes_and_integers(dataflow, model):
    assert model.get_tensor_shape(PIXELS) == [1, 16, 20, 3]
    for o in dataflow.operators:
        for output in range(1 + isinstance(o, Fork)):
            name = tensor_name(o.name, output)
            assert model.get_tensor_shape(name) == [1, o.output.height, o.output.width, o.output.channels]
            kind = model.get_tensor_datatype(name)
            assert (kind.bitwidth(), kind.signed()) == (o.output.bits, o.output.signed)


def test_constants_are_the_networks(dataflow, model):
    for o in dataflow.operators:
        name = tensor_name(o.name)
        if isinstance(o, MatrixProduct):
            assert np.array_equal(model.get_initializer(f"{name}_weights"), o.weight)
            assert model.get_tensor_datatype(f"{name}_weights").name == f"INT{o.weight_bits}"
        elif isinstance(o, Requantise):
            assert np.array_equal(model.get_initializer(f"{name}_bias"), o.bias)
            assert np.array_equal(model.get_initializer(f"{name}_shift"), o.shift)


def test_a_forks_second_stream_goes_past_the_body(dataflow, model):
    adds = [o for o in dataflow.operators if isinstance(o, AddClamp)]
    assert len(adds) == 1
    (node,) = [node for node in model.graph.node if node.name == tensor_name(adds[0].name)]
    assert list(node.input) == ["block1_conv1_fork_1", "block1_conv2_requantise"]
    assert [n.name for n in model.graph.node if "block1_conv1_fork" in n.input] == ["block1_conv1_window"]
