"""Adaptive networks as QONNX: qonnx, ONNX Runtime and the reference paint alike; files are read as written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("qonnx")

from onnx import helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from qonnx.core import onnx_exec  # noqa: E402
from qonnx.core.modelwrapper import ModelWrapper  # noqa: E402
from qonnx.custom_op.general.intquant import int_quant  # noqa: E402
from qonnx.transformation.infer_datatypes import InferDataTypes  # noqa: E402
from qonnx.util.cleanup import cleanup_model  # noqa: E402

from pleinair.errors import LightError, ModelError  # noqa: E402
from pleinair.models import load_model, read_card, read_file, styles  # noqa: E402
from pleinair.network import reference  # noqa: E402
from pleinair.network.integer import IntegerNetwork, dump  # noqa: E402
from pleinair.network.light import Light, in_light, light_of  # noqa: E402
from pleinair.network.qonnx import read_qonnx  # noqa: E402
from pleinair.network.qonnx_writer import (  # noqa: E402
    METADATA,
    contract_order,
    light_inputs,
    onnx_order,
    quant_function,
    write_qonnx,
)
from pleinair.painting.meter import measure  # noqa: E402
from pleinair.painting.tiles import Window  # noqa: E402
from tests.networks import adaptive_network, random_network  # noqa: E402
from tests.qonnx import convolutions_of_doubles, qonnx_painting, runtime_painting  # noqa: E402

SHIPPED = [
    (name, bits)
    for name, folder in styles().items()
    for bits, entry in read_card(folder).networks.items()
    if entry.adaptive and bits <= 16
]


def pictures() -> list[np.ndarray]:
    """Frames whose lights are far apart, uint8 [48, 64, 3]: noise, a dark ramp, a bright one with a black corner."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    y, x, c = np.ogrid[:48, :64, :3]
    dark = ((x * 3 + y * 5 + c * 40) // 8 % 64).astype(np.uint8)
    bright = (150 + (x * 5 + y * (c + 1)) % 106).astype(np.uint8)
    bright[:16, :20] = 0
    return [noise, dark, bright]


def lights(network: IntegerNetwork) -> list[Light]:
    """The network's own, and those of the frames without 4 pixels on each side."""
    return [light_of(network), *(measure(network, frame, Window(4, 4, 44, 60)) for frame in pictures())]


@pytest.fixture
def doubles(monkeypatch):
    """qonnx has convolutions of doubles."""
    monkeypatch.setattr(onnx_exec, "execute_node", convolutions_of_doubles(onnx_exec.execute_node))


@pytest.mark.parametrize(
    ("seed", "width", "blocks", "bits", "kernel"),
    [
        (0, 8, 1, 8, 3),
        (1, 3, 0, 8, 5),
        (2, 5, 2, 8, 1),
        (3, 8, 2, 4, 3),
        (4, 4, 1, 4, 5),
    ],
)
def test_qonnx_and_onnx_runtime_paint_what_the_reference_does_in_every_light(seed, width, blocks, bits, kernel):
    network = adaptive_network(seed, width, blocks, bits, exit_kernel=kernel)
    data, seen = write_qonnx(network), set()
    for light in lights(network):
        lit, inputs = in_light(network, light), light_inputs(network, light)
        for frame in pictures():
            wanted = reference.run(lit, frame)
            np.testing.assert_array_equal(qonnx_painting(data, frame, inputs), wanted)
            np.testing.assert_array_equal(runtime_painting(data, frame, inputs), wanted)
        seen.add(wanted.tobytes())
    assert len(seen) == 4, "a light changes the painting"
    own = reference.run(network, frame)
    np.testing.assert_array_equal(qonnx_painting(data, frame), own)
    np.testing.assert_array_equal(runtime_painting(data, frame), own)


@pytest.mark.parametrize(("seed", "width", "blocks"), [(0, 8, 1), (1, 3, 2)])
def test_sixteen_bits_are_exact_in_doubles(seed, width, blocks, doubles):
    network = adaptive_network(seed, width, blocks, bits=16)
    data = write_qonnx(network)
    for light in lights(network):
        wanted = reference.run(in_light(network, light), pictures()[1])
        np.testing.assert_array_equal(qonnx_painting(data, pictures()[1], light_inputs(network, light)), wanted)


def test_onnx_s_own_evaluator_is_exact_at_sixteen_bits():
    """It knows neither qonnx nor this project, and it is slow."""
    network, frame = adaptive_network(1, 2, 1, bits=16), pictures()[2][:16, 4:20]
    light = measure(network, frame, Window(0, 0, 16, 16))
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(write_qonnx(network, (16, 16))))
    pixels = frame.transpose(2, 0, 1)[None].astype(np.float32)
    (found,) = evaluator.run(None, {"pixels": pixels, **light_inputs(network, light)})
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), reference.run(in_light(network, light), frame))


def test_sixteen_bits_are_refused_by_what_has_no_doubles():
    """Rather than painted wrongly."""
    data = write_qonnx(adaptive_network(0, 3, 0, bits=16))
    with pytest.raises(Exception, match="Conv"):
        qonnx_painting(data, pictures()[0])
    with pytest.raises(Exception, match="Conv"):
        runtime_painting(data, pictures()[0])


@pytest.mark.parametrize(("style", "bits"), SHIPPED)
def test_shipped_files_are_the_networks_in_any_light(style, bits, request):
    model = load_model(style, bits)
    network, data = model.network, read_file(model.folder, model.card, bits, "qonnx")
    assert data == write_qonnx(network)
    assert dump(read_qonnx(data, style)) == dump(network)
    if network.wide:
        request.getfixturevalue("doubles")
    found = lights(network)
    for light, frame in zip(found, [pictures()[2], *pictures()], strict=True):
        wanted, inputs = reference.run(in_light(network, light), frame), light_inputs(network, light)
        np.testing.assert_array_equal(qonnx_painting(data, frame, inputs), wanted)
        if not network.wide:
            np.testing.assert_array_equal(runtime_painting(data, frame, inputs), wanted)
    assert len(set(found)) == 4


def test_two_styles_are_shipped_so():
    assert {"san-giorgio", "water-lilies"} <= {style for style, _ in SHIPPED}


def test_networks_without_light_are_written_too():
    """Strides, and no inputs but the pixels."""
    network = random_network(5, 4, 1, bits=8, kernel=5)
    data = write_qonnx(network)
    assert dump(read_qonnx(data, "given")) == dump(network) and light_inputs(network, light_of(network)) == {}
    for frame in pictures():
        np.testing.assert_array_equal(qonnx_painting(data, frame), reference.run(network, frame))


# -- reading what was written


def _darker(network: IntegerNetwork) -> IntegerNetwork:
    """In a light whose gains could be written with greater multipliers and shifts."""
    light = light_of(network)
    first = light.layers[0]
    own = replace(first, multiplier=first.multiplier // 2 + 1, shift=np.maximum(first.shift - 1, 0))
    return in_light(network, replace(light, layers=(own, *light.layers[1:])))


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_network_survives_its_file_and_qonnx_s_cleanup(bits):
    for seed in range(3):
        network = adaptive_network(seed, width=3 + seed, blocks=seed, bits=bits)
        frames = pictures()
        for lit in (network, _darker(network), in_light(network, measure(network, frames[2], Window(0, 0, 48, 64)))):
            data = write_qonnx(lit, (48, 32))
            assert dump(read_qonnx(data, "given")) == dump(lit)
            cleaned = cleanup_model(ModelWrapper(onnx.load_model_from_string(data)))
            assert [value.name for value in cleaned.graph.input] == ["global_in"]
            assert dump(read_qonnx(cleaned.model.SerializeToString(), "given")) == dump(lit)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_equal_networks_give_equal_files_that_keep_onnx_s_own_rules(bits):
    network = adaptive_network(2, bits=bits)
    data = write_qonnx(network)
    assert data == write_qonnx(read_qonnx(data, "given"))
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {"", "qonnx.custom_op.general"}
    assert {node.op_type for node in model.graph.node if node.domain} == {"Quant"}
    bare = onnx.load_model_from_string(data)
    del bare.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True)

    def shapes(of):
        return {v.name: (v.type.tensor_type.elem_type, str(v.type.tensor_type.shape)) for v in of.graph.value_info}

    assert shapes(inferred) == shapes(model) and len(shapes(model)) > 20


def test_tools_see_integers_and_their_widths():
    network = adaptive_network(2, bits=4)
    proto = onnx.load_model_from_string(write_qonnx(network))
    given = [value.name for value in proto.graph.input]
    assert given[:4] == ["pixels", "enter.bias", "enter.multiplier", "enter.divisor"]
    assert len(given) == 1 + 3 * len(light_of(network).layers) and "leave.bias" not in given
    model = ModelWrapper(proto).transform(InferDataTypes())
    assert model.get_tensor_datatype("bytes").name == "UINT8"
    assert model.get_tensor_datatype("enter.integers").name == "INT8"
    assert model.get_tensor_datatype("block1.conv1.integers").name == "INT4"
    assert model.get_tensor_datatype("block1.conv1.out").name == "UINT4"
    assert model.get_tensor_datatype("block1.conv2.out").name == "INT4"


def test_a_light_of_another_network_is_refused():
    with pytest.raises(LightError, match="another network"):
        light_inputs(adaptive_network(1), light_of(adaptive_network(2)))


def test_a_size_that_the_network_cannot_have_is_a_mistake():
    with pytest.raises(ValueError, match="multiple of the stride 4"):
        write_qonnx(adaptive_network(1), (64, 62))


@pytest.mark.parametrize("block", [2, 4])
def test_the_two_orders_of_channels(block):
    """Channel c * b^2 + i * b + j here is (i * b + j) * C + c in ONNX; C is not b^2, so they are not each other."""
    weight = np.arange(2 * 3 * block**2).reshape(2, -1, 1, 1)
    other = onnx_order(weight, block)
    for c in range(3):
        for i in range(block):
            for j in range(block):
                assert (other[:, (i * block + j) * 3 + c] == weight[:, c * block**2 + i * block + j]).all()
    np.testing.assert_array_equal(contract_order(other, block), weight)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
def test_the_file_s_quant_is_qonnx_s(signed, narrow):
    """Ties, both ends, scales, a zero point, floats and doubles."""
    rng = np.random.default_rng(signed)
    for kind, code in ((np.float32, 1), (np.float64, 11)):
        for bits, zero in ((2, 0), (4, 0), (8, 3), (16, 0)):
            x = np.concatenate([np.arange(-40, 40) / 2, rng.normal(0, 2**bits, 40), [1e6, -1e6]]).astype(kind)
            values = (x, np.float32(0.5), np.float32(zero), np.float32(bits))
            node = helper.make_node(
                "Quant",
                ["x", "s", "z", "b"],
                ["y"],
                domain="qonnx.custom_op.general",
                signed=signed,
                narrow=narrow,
                rounding_mode="ROUND",
            )
            given = [helper.make_tensor_value_info("x", code, x.shape)]
            given += [helper.make_tensor_value_info(name, 1, []) for name in "szb"]
            graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", 1, x.shape)])
            opsets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 2)]
            model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[quant_function()])
            onnx.checker.check_model(model, full_check=True)
            session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            (found,) = session.run(None, dict(zip("xszb", map(np.asarray, values), strict=True)))
            np.testing.assert_array_equal(found, int_quant(*values, signed, narrow, "ROUND").astype(np.float32))


# -- what is refused


@pytest.fixture(scope="module")
def written() -> bytes:
    return write_qonnx(adaptive_network(0, width=2))


def _edited(data: bytes, edit) -> bytes:
    model = onnx.load_model_from_string(data)
    edit(model)
    return model.SerializeToString()


def _node(model, name: str):
    return next(node for node in model.graph.node if node.name == name)


def _constant(name: str, change):
    def edit(model) -> None:
        (constant,) = (i for i in model.graph.initializer if i.name == name)
        constant.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(constant)), name))

    return edit


def _attribute(node: str, name: str, value):
    def edit(model) -> None:
        found = _node(model, node)
        kept = [a for a in found.attribute if a.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edit


def _metadata(change):
    def edit(model) -> None:
        (entry,) = model.metadata_props
        value = change(json.loads(entry.value))
        entry.value = value if isinstance(value, str) else json.dumps(value)

    return edit


def _first(change):
    """The metadata with its first convolution's entry changed."""
    return _metadata(lambda entries: [change(entries[0]), *entries[1:]])


def _input(node: str, number: int, name: str):
    return lambda model: _node(model, node).input.__setitem__(number, name)


def _nested(model) -> None:
    model.metadata_props[0].value = "[" * 200_000


def _circle(model) -> None:
    """A doubling of a doubling of the same tensor."""
    node = next(n for n in model.graph.node if n.op_type == "Resize")
    again = model.graph.node.add()
    again.CopyFrom(node)
    again.input[0] = node.output[0]


def _lying_function(model) -> None:
    model.functions[0].node[0].op_type = "Neg"


def _function_of_relu(model) -> None:
    model.functions.append(
        helper.make_function(
            "", "Relu", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], [helper.make_opsetid("", 17)]
        )
    )


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_constant("enter.bias", lambda a: a + np.float32(0.5)), "enter.lifted: a number that is not whole"),
        (_constant("enter.bias", lambda a: a * np.float32(np.nan)), "enter.lifted: a number that is not whole"),
        (_constant("enter.bias", lambda a: a + np.float32(2**25)), r"enter: a bias outside \+-2\^24"),
        (_constant("enter.bias", lambda a: a[:, :1]), r"enter.lifted: float32 \(1, 1, 1, 1\), need"),
        (_constant("enter.bias", lambda a: a.reshape(-1)), "enter.lifted: float32"),
        (_constant("enter.bias", lambda a: a.astype(np.int64)), "enter.lifted: int64"),
        (_constant("enter.multiplier", lambda a: a + 31), "enter: multiplier .* allowed are 1 to 31"),
        (_constant("enter.multiplier", lambda a: a * 0), "enter: multiplier 0"),
        (_constant("enter.divisor", lambda a: a * 0 + 3), r"enter.divided: scale 3\.0 is not a power of two"),
        (_constant("enter.divisor", lambda a: a * 0), "enter.divided: a scale is not positive"),
        (_constant("enter.divisor", lambda a: a * 0 + 2.0**40), "enter: shift 40, allowed are 0 to 16"),
        (_constant("number_8", lambda a: a + 1), "9 bits|9-bit"),
        (_constant("enter.weight", lambda a: a * 0 + 127), "enter: adaptive sums can reach 13990320"),
        (_constant("enter.weight", lambda a: a[:, :-1]), "damaged graph|input channels"),
        (_constant("number_1", lambda a: a * 3), "not a power of two"),
        (_input("enter.lifted", 1, "leave.bias"), "enter.lifted"),
        (_input("enter.lifted", 1, "enter.sums"), "enter.lifted"),
        (_input("enter.multiplied", 0, "enter.sums"), "enter.multiplied: the order is a bias"),
        (_input("enter.divided", 0, "enter.sums"), "enter.divided: the order is a bias"),
        (_input("enter.out", 0, "enter.sums"), "enter.out: its convolution has no bias"),
        (_input("enter.out", 0, "enter.lifted"), "a multiplier and a norm go together"),
        (_attribute("enter", "pads", [0] * 4), "enter: pads"),
        (_attribute("enter", "group", 2), "enter: grouped"),
        (_attribute("space_to_depth", "blocksize", 3), "3"),
        (_attribute("space_to_depth", "blocksize", 1 << 40), "damaged graph|blocks of"),
        (_attribute("depth_to_space", "mode", "DCR"), "depth_to_space: needs the order CRD"),
        (_attribute("enter.out", "signed", 1), "unsigned input"),
        (_attribute("enter.out", "rounding_mode", "FLOOR"), "enter.out: rounding b'FLOOR'"),
        (lambda m: setattr(_node(m, "enter.divided"), "op_type", "Sub"), "operator Sub has no integer form"),
        (lambda m: setattr(_node(m, "enter.lifted"), "op_type", "InstanceNormalization"), "InstanceNormalization"),
        (_circle, "makes more or other than one new tensor"),
        (lambda m: _node(m, "enter").output.append("more"), "enter: makes more"),
        (_lying_function, "a function that is not the writer's Quant"),
        (_function_of_relu, "a function that is not the writer's Quant"),
        (lambda m: m.ClearField("metadata_props"), "a multiplier and a norm go together"),
        (_metadata(lambda e: e[1:]), rf"{METADATA} is not a list of its 5 convolutions"),
        (_metadata(lambda e: {"enter": e}), rf"{METADATA} is not a list"),
        (_metadata(lambda e: [1, *e[1:]]), rf"{METADATA} is not a list"),
        (_metadata(lambda e: "nothing"), "damaged graph"),
        (_nested, "damaged graph"),
        (_first(lambda e: {**e, "name": "a\nb"}), "no proper name"),
        (_first(lambda e: {**e, "name": "leave"}), "same name"),
        (_first(lambda e: {k: v for k, v in e.items() if k != "name"}), "damaged graph"),
        (_first(lambda e: {"name": "enter"}), "a multiplier and a norm go together"),
        (_first(lambda e: {k: v for k, v in e.items() if k != "beta"}), "enter"),
        (_first(lambda e: {**e, "more": [1]}), "enter"),
        (_first(lambda e: {**e, "gamma": 1}), "enter.*whole numbers"),
        (_first(lambda e: {**e, "gamma": [*e["gamma"][1:], 1.5]}), "enter.*whole numbers"),
        (_first(lambda e: {**e, "gamma": [*e["gamma"][1:], True]}), "enter.*whole numbers"),
        (_first(lambda e: {**e, "gamma": [*e["gamma"][1:], 10**30]}), "enter.*whole numbers"),
        (_first(lambda e: {**e, "gamma": e["gamma"][1:]}), "enter: gamma is"),
        (_first(lambda e: {**e, "gamma": [*e["gamma"][1:], -1]}), "enter: gamma -1"),
        (_first(lambda e: {**e, "meter_shift": [99] * len(e["meter_shift"])}), "enter: meter_shift 99"),
    ],
)
def test_files_outside_the_contract_are_refused(written, edit, says):
    with pytest.raises(ModelError, match=says) as refusal:
        read_qonnx(_edited(written, edit), "given")
    assert "given" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_without_the_function_is_read_as_well(written):
    assert dump(read_qonnx(_edited(written, lambda m: m.ClearField("functions")), "given")) == dump(
        read_qonnx(written, "given")
    )


def test_damaged_files_are_refused_or_read_but_nothing_else(written):
    rng, read = np.random.default_rng(0), 0
    for data in (b"", b"hello", written[: len(written) // 2]):
        with pytest.raises(ModelError, match="given"):
            read_qonnx(data, "given")
    for _ in range(300):
        damaged = bytearray(written)
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            read_qonnx(bytes(damaged), "given")
            read += 1
        except ModelError as error:
            assert "given" in str(error)
    assert 0 < read < 300
