"""What may become hardware: model folders as they are shipped; QONNX files from elsewhere refused in one message."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest

from pleinair.errors import ModelError, OptionError
from pleinair.models import find_style, load_model, read_card, read_file
from pleinair.network.integer import dump
from pleinair_hw.plan.frontend import read_graph, read_source, unfit_nodes
from tests.models import write_model
from tests.networks import floats_like, random_network

onnx = pytest.importorskip("onnx")
helper = onnx.helper


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_shipped_model_is_read_from_its_qonnx_file(bits):
    style = "starry-night-board"
    source = read_source(style, bits, None)
    model = load_model(style, bits)
    assert dump(source.network) == dump(model.network)
    assert (source.title, source.margin, source.folder) == (style, model.margin, find_style(style))


def test_a_qonnx_file_needs_a_margin(tmp_path):
    folder = find_style("starry-night-small")
    file = tmp_path / "mine.onnx"
    file.write_bytes(read_file(folder, read_card(folder), 8, "qonnx"))
    with pytest.raises(OptionError, match="margin is needed for mine.onnx"):
        read_source(str(file), None, None)
    with pytest.raises(OptionError, match="margin 8: below the network's halo of 39 pixels"):
        read_source(str(file), None, 8)
    source = read_source(str(file), None, 40)
    assert dump(source.network) == dump(load_model("starry-night-small", 8).network)
    with pytest.raises(OptionError, match="bits 4: mine.onnx is a network of 8 bits"):
        read_source(str(file), 4, 40)


@pytest.mark.parametrize("bits", [8, 16])
def test_an_adaptive_network_is_read_in_the_light_of_its_file(bits, tmp_path):
    folder = find_style("san-giorgio")
    file = tmp_path / "mine.onnx"
    file.write_bytes(read_file(folder, read_card(folder), bits, "qonnx"))
    model = load_model("san-giorgio", bits)
    assert model.network.adaptive
    for source in (read_source(str(file), None, 40), read_source("san-giorgio", bits, None)):
        assert dump(source.network) == dump(model.network)
    assert (source.title, source.margin, source.grain) == ("san-giorgio", model.margin, model.grain)


def test_a_light_that_nothing_quantises_is_named():
    """Bias, multiplier and divisor are inputs of the graph; the nodes that take them must end in a quantiser."""
    folder = find_style("san-giorgio")
    model = onnx.load_model_from_string(read_file(folder, read_card(folder), 8, "qonnx"))
    assert unfit_nodes(model.graph) == []
    (quant,) = [n for n in model.graph.node if n.op_type == "Quant" and n.input[0] == "enter.divided"]
    quant.input[0] = "enter.multiplied"
    named = [line.split(":")[0] for line in unfit_nodes(model.graph)]
    assert named == ["enter", "enter.lifted", "enter.multiplied", "enter.divided"]


def test_what_the_folder_cannot_give_is_refused(tmp_path):
    floats = write_model(tmp_path / "floats", floats_like(random_network(3, 4, 0)))
    with pytest.raises(OptionError, match="bits are needed"):
        read_source("starry-night-board", None, None)
    with pytest.raises(OptionError, match="bits 32: a float network"):
        read_source(str(floats), 32, None)
    with pytest.raises(OptionError, match="margin 12: the card of starry-night-board says 40"):
        read_source("starry-night-board", 8, 12)
    folder = tmp_path / "two"
    shutil.copytree(find_style("starry-night-small"), folder)
    (folder / "qonnx-8bit.onnx.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ModelError, match="qonnx-8bit"):
        read_source(str(folder), 8, None)


def _graph(*nodes, weights=()):
    made = [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)]
    given = [helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, [1, 3, 8, 8])]
    constants = [onnx.numpy_helper.from_array(np.zeros((3, 3, 3, 3), np.float32), w) for w in weights]
    return helper.make_model(helper.make_graph(nodes, "g", given, made, constants)).SerializeToString()


def test_everything_that_cannot_be_hardware_is_named_at_once():
    node = helper.make_node
    data = _graph(
        node("Conv", ["in", "w1"], ["a"], name="conv_a"),
        node("InstanceNormalization", ["a", "s", "b"], ["n"], name="norm_a"),
        node("Relu", ["n"], ["r"], name="relu_a"),
        node("ConvTranspose", ["r", "w2"], ["t"], name="grow"),
        node("Tanh", ["t"], ["out"], name="ends"),
        weights=("w1", "w2"),
    )
    with pytest.raises(ModelError) as refusal:
        read_graph(data, "theirs.onnx")
    message = str(refusal.value)
    assert message.startswith("network theirs.onnx cannot be hardware: ")
    for expected in (
        "conv_a: a convolution of float weights: train it quantised",
        "norm_a: InstanceNormalization needs the statistics of the whole frame",
        "grow: ConvTranspose has no streaming form",
        "use nearest x2 upsampling",
        "ends: Tanh is a float function",
    ):
        assert expected in message
    assert "\n" not in message


def test_numbers_that_no_quantiser_takes_are_named():
    node = helper.make_node
    data = _graph(
        node("Mul", ["in", "w1"], ["m"], name="gain"),
        node("Div", ["m", "w1"], ["d"], name="share"),
        node("Add", ["d", "in"], ["s"], name="sum"),
        node("Quant", ["m", "a", "b", "c"], ["out"], name="quant"),
        weights=("w1",),
    )
    with pytest.raises(ModelError, match="gain: a product that is not quantised.*share: a quotient.*sum: a sum"):
        read_graph(data, "theirs.onnx")


def test_unknown_operators_and_endless_lists_are_cut_short():
    nodes = [helper.make_node("Gelu", [f"x{i}"], [f"x{i + 1}"], name=f"g{i}") for i in range(40)]
    with pytest.raises(ModelError, match=r"g0: Gelu has no hardware form.*g11: .*; and 28 more$"):
        read_graph(_graph(*nodes), "deep.onnx")


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"not onnx at all"])
def test_what_is_not_onnx_is_refused(data):
    with pytest.raises(ModelError, match=r"junk\.onnx"):
        read_graph(data, "junk.onnx")
