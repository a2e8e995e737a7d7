"""Brevitas = QONNX = integer reference = ONNX Runtime: the chain, on random networks and on what is shipped.

Besides it the float network, which is near and not equal.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper

from pleinair.backends import open_painter
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.cli.main import main
from pleinair.engines.exact import exact_runner, installed_engines
from pleinair.engines.meter import EngineMeter
from pleinair.engines.onnxruntime import FloatFrameRunner, OnnxRunner
from pleinair.errors import ContractError, ModelError
from pleinair.images import read_image, write_image
from pleinair.models import CARD, FILES, Card, load_model, read_card, read_file, styles
from pleinair.network import floating as float_network
from pleinair.network import reference
from pleinair.network.integer import MAX_FILE_BYTES, IntegerNetwork, dump
from pleinair.network.light import in_light
from pleinair.network.qonnx import read_qonnx
from pleinair.network.qonnx_writer import light_inputs
from pleinair.painting import meter
from pleinair.painting.grain import Grain
from pleinair.painting.tiles import Runner, Window, add_margin
from pleinair_training.architecture import Architecture
from pleinair_training.export import brevitas_painting, export_qonnx_bytes, float_network_of, with_quantised_weights
from pleinair_training.quantized_net import QuantizedTransformNet
from pleinair_training.transform_net import TransformNet
from tests.house import SHARED
from tests.models import card_of, write_model
from tests.networks import random_network
from tests.qonnx import qonnx_painting, runtime_painting
from tests.training.parents import MARGIN as PARENTS_MARGIN
from tests.training.parents import day_frames, random_parent


def random_float(width: int, blocks: int, seed: int = 0) -> tuple[TransformNet, list[torch.Tensor]]:
    """A float network with random weights and norms, frozen, and the pictures it was measured on."""
    torch.manual_seed(seed)
    net = TransformNet(Architecture(width, blocks))
    for name, p in net.named_parameters():
        p.data += (0.3 if "norm" in name else 0.05) * torch.randn_like(p)
    batches = [torch.randint(0, 256, (1, 3, 48, 48)) / 256 for _ in range(2)]
    net.freeze_statistics(batches)
    return net, batches


def random_quantised(width: int, blocks: int, bits: int, seed: int = 0) -> QuantizedTransformNet:
    """A quantised network with random weights, biases and scales, nothing trained."""
    net, batches = random_float(width, blocks, seed)
    q = QuantizedTransformNet.from_float(net, bits, batches)
    with torch.no_grad():
        for conv in q.convolutions.values():
            conv.bias += 0.2 * torch.randn_like(conv.bias)
    return q.eval()


def real_frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Frames of the two real sequences and photos, scaled down; empty where ../shared is absent."""
    data = SHARED / "data"
    files = [
        *sorted((data / "timelapse" / "icecube").glob("*.jpg"))[::7],
        *sorted((data / "content").glob("*.jpg"))[::9],
    ]
    return [cv2.resize(read_image(f), size, interpolation=cv2.INTER_AREA) for f in files][:count]


def noise(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def engine_runners(network: IntegerNetwork) -> list[Runner]:
    """Every installed engine with one and two threads, and the graph for other programs, optimised and as it is."""
    runners: list[Runner] = [exact_runner(network, t, e) for t in (1, 2) for e in installed_engines(network.wide)]
    if not network.wide:
        runners += [OnnxRunner(network, 1), OnnxRunner(network, 2, optimise=False)]
    return runners


@pytest.mark.parametrize(
    ("width", "blocks", "bits"),
    [(4, 1, 8), (8, 2, 8), (16, 1, 8), (6, 0, 8), (8, 1, 4), (5, 2, 4), (8, 1, 16), (4, 2, 16), (16, 0, 16)],
)
def test_chain_on_random_networks(width, blocks, bits):
    q = random_quantised(width, blocks, bits, seed=width)
    data = export_qonnx_bytes(q)
    integers = read_qonnx(data, "random")
    assert [c.name for c in integers.convolutions()] == [s.name for s in q.architecture.convolutions]
    runners = engine_runners(integers)
    day = [f.image for f in SyntheticCamera((48, 32), 3, every=7 * 3600).frames()]
    for image in [*noise(3), *day]:
        wanted = reference.run(integers, image)
        np.testing.assert_array_equal(brevitas_painting(q, image), wanted)
        for run in runners:
            np.testing.assert_array_equal(run(image), wanted)
        if bits <= 8:  # qonnx executes in float32, which cannot hold 16-bit accumulators
            np.testing.assert_array_equal(qonnx_painting(data, image, unit=1 / 256), wanted)
    assert len(np.unique(wanted)) > 10


def brevitas_from_qonnx(data: bytes, width: int, blocks: int, bits: int) -> QuantizedTransformNet:
    """The shipped file's float weights and scales put into fresh Brevitas layers."""
    graph = onnx.load_model_from_string(data).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    producer = {o: n for n in graph.node for o in n.output}
    consumers: dict[str, list] = {}
    for node in graph.node:
        for i in node.input:
            consumers.setdefault(i, []).append(node)
    architecture = Architecture(width, blocks)
    names = [s.name for s in architecture.convolutions if s.role == "activation"]
    q = QuantizedTransformNet(architecture, bits, dict.fromkeys([*names, "trunk"], 0))
    q.initialise()
    with torch.no_grad():
        for node in (n for n in graph.node if n.op_type == "Conv"):
            conv = q.convolutions[node.name.replace(".", "_")]
            weight, bias = (producer[i] for i in node.input[1:])
            conv.weight.copy_(torch.from_numpy(constants[weight.input[0]].copy()))
            conv.bias.copy_(torch.from_numpy(constants[bias.input[0]].copy()))
            scale = torch.from_numpy(constants[weight.input[1]].astype(np.float64))
            b = int(constants[weight.input[3]])
            value = conv.weight_quant.tensor_quant.scaling_impl.value
            value.copy_((torch.log2(scale) + b - 1).view(value.shape))
            after = consumers[node.output[0]][0]
            if after.op_type == "Relu":
                (after,) = consumers[after.output[0]]
            shape = next(s for s in architecture.convolutions if s.name == node.name)
            if shape.role == "activation":
                act = q.trunk if shape.name == "down2" else q.activations[node.name.replace(".", "_")]
                threshold = math.log2(float(constants[after.input[1]])) + bits
                act.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value.fill_(threshold)
    return q.eval()


SHIPPED = [(name, bits) for name, folder in styles().items() for bits in read_card(folder).networks if bits <= 16]
#: Those that Brevitas trained, and those that were rounded and are painted in each frame's own light.
TRAINED, ADAPTIVE = (
    [(name, bits) for name, bits in SHIPPED if read_card(styles()[name]).networks[bits].adaptive == w]
    for w in (False, True)
)


@pytest.mark.parametrize(("style", "bits"), ADAPTIVE)
def test_chain_on_shipped_adaptive_networks(style, bits):
    """Metered and painted by every engine, painted by qonnx = the reference, in the light of several frames."""
    model = load_model(style, bits)
    network, margin = model.network, model.margin
    qonnx = read_file(model.folder, model.card, bits, "qonnx")
    assert dump(read_qonnx(qonnx, style)) == dump(network)
    day = [f.image for f in SyntheticCamera((96, 64), 3, every=8 * 3600).frames()]
    pictures = [*real_frames(1, (96, 64)), *day]
    frame, lights = Window(margin, margin, margin + 64, margin + 96), set()
    for image in pictures:
        pixels = add_margin(Grain(model.grain)(image), margin, network.stride, adaptive=network.adaptive)
        light = meter.measure(network, pixels, frame)
        lights.add(light)
        lit = in_light(network, light)
        wanted = reference.run(lit, pixels)
        assert wanted.std() > 10
        for run in engine_runners(lit):
            np.testing.assert_array_equal(run(pixels), wanted)
        if bits <= 8:
            for execute in (qonnx_painting, runtime_painting):
                np.testing.assert_array_equal(execute(qonnx, pixels, light_inputs(network, light)), wanted)
            metered = EngineMeter(network, exact_runner(network).engine)
            assert metered.measure(pixels, frame) == light
            np.testing.assert_array_equal(metered.paint(pixels, frame), frame.of(wanted))
    assert len(lights) == len(pictures) >= 3
    with open_painter(model) as painter:
        np.testing.assert_array_equal(painter.paint(image), frame.of(wanted))
    if bits > 8:
        return
    shipped = ort.InferenceSession(read_file(model.folder, model.card, bits, "cpu"), providers=["CPUExecutionProvider"])
    image = noise(1, 64, 96)[0]
    np.testing.assert_array_equal(shipped.run(None, {"x": image[None]})[0][0], reference.run(network, image))


@pytest.mark.parametrize(("style", "bits"), TRAINED)
def test_chain_on_shipped_networks(style, bits):
    """Over 20 real frames (where there are any), the synthetic day and noise: 0 differing values."""
    model = load_model(style, bits)
    card = model.card
    qonnx = read_file(model.folder, card, bits, "qonnx")
    assert dump(read_qonnx(qonnx, style)) == dump(model.network)
    brevitas = brevitas_from_qonnx(qonnx, card.architecture["width"], card.architecture["blocks"], bits)
    runners = engine_runners(model.network)
    if bits <= 8:
        shipped = ort.InferenceSession(read_file(model.folder, card, bits, "cpu"), providers=["CPUExecutionProvider"])
        runners.append(lambda image: shipped.run(None, {"x": image[None]})[0][0])
    day = [f.image for f in SyntheticCamera((96, 64), 6, every=4 * 3600).frames()]
    pictures = [*real_frames(22, (96, 64)), *day, *noise(3, 64, 96)]
    values = 0
    for image in pictures:
        wanted = reference.run(model.network, image)
        np.testing.assert_array_equal(brevitas_painting(brevitas, image), wanted)
        for run in runners:
            np.testing.assert_array_equal(run(image), wanted)
        if bits <= 8:
            np.testing.assert_array_equal(qonnx_painting(qonnx, image, unit=1 / 256), wanted)
        values += wanted.size
    assert values >= 9 * 64 * 96 * 3


@pytest.mark.parametrize(("style", "bits"), SHIPPED)
def test_shipped_files_tell_nothing_of_the_machine(style, bits):
    model = load_model(style, bits)
    for role, name in FILES.items():
        path = model.folder / name.format(bits=bits)
        if path.exists():
            data = read_file(model.folder, model.card, bits, role)
            # Long enough that weights cannot spell them by chance.
            for word in (b"site-packages", b"stack_trace", b"training/", b"training.", b"/python3"):
                assert word not in data, (role, word)
    assert "/" not in json.dumps(model.card.training)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_quantised_weights_in_qonnx(bits):
    """Whatever latent weights lie between the integers, their file becomes that of the integers, which is stable."""
    data = export_qonnx_bytes(random_quantised(4, 1, bits))
    integers = read_qonnx(data, "given")
    assert with_quantised_weights(data) == data
    moved = onnx.load_model_from_string(data)
    conv = next(n for n in moved.graph.node if n.op_type == "Conv")
    quant = next(n for n in moved.graph.node if conv.input[1] in n.output)
    weight, scale = (next(i for i in moved.graph.initializer if i.name == name) for name in quant.input[:2])
    values = numpy_helper.to_array(weight) + numpy_helper.to_array(scale) * np.float32(0.25)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    latent = moved.SerializeToString(deterministic=True)
    assert latent != data and dump(read_qonnx(latent, "given")) == dump(integers)
    assert with_quantised_weights(latent) == data


# -- the float network


@pytest.mark.parametrize(("width", "blocks"), [(4, 0), (8, 2)])
def test_float_network_is_torch_s(width, blocks):
    """Before rounding to float32's accuracy; as a painting to a grey level, by NumPy and by ONNX Runtime."""
    net, _ = random_float(width, blocks)
    floats = float_network.parse(float_network.dump(float_network_of(net)), "given")
    for image in noise(2):
        x = torch.from_numpy(image).permute(2, 0, 1)[None] / 256
        with torch.no_grad():
            wanted = net(x)[0].permute(1, 2, 0).numpy()
        y = image.transpose(2, 0, 1) / 256
        y = float_network.convolve(y, floats.layers[0])
        with torch.no_grad():
            np.testing.assert_allclose(y, net.activations(x)["enter"][0].numpy(), atol=1e-4)
        exact = wanted.astype(np.float64) * 256
        assert len(np.unique(exact.round())) > 50
        for run in (lambda i: float_network.run(floats, i), OnnxRunner(floats, 1)):
            assert np.abs(run(image) - exact).max() < 0.51


@pytest.mark.parametrize("seed", [0, 1])
def test_the_float_network_of_a_parent_is_the_parent(seed):
    """With the frame's statistics alone, by NumPy and by ONNX Runtime, as the trainer's own network has it."""
    parent = random_parent(seed)
    floats = float_network.parse(float_network.dump(float_network_of(parent)), "given")
    assert floats.adaptive
    for picture in day_frames(72, 48, [12.0, 23.0]):
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 256
        with torch.no_grad():
            exact = parent.double()(x.double(), PARENTS_MARGIN)[0].permute(1, 2, 0).numpy() * 256
        assert len(np.unique(exact.round())) > 50
        place = (slice(PARENTS_MARGIN, 48 + PARENTS_MARGIN), slice(PARENTS_MARGIN, 72 + PARENTS_MARGIN))
        for painting in (float_network.run(floats, picture, place), FloatFrameRunner(floats, 1)(picture, place)):
            assert np.abs(painting - exact).max() < 0.51


# -- packed files


def _packed(folder, data: bytes) -> Card:
    """A model folder whose QONNX file is ``data``, and its card."""
    write_model(folder, random_network(0, 2, 0, kernel=3))
    (folder / FILES["qonnx"].format(bits=8)).write_bytes(data)
    card = card_of(folder)
    card["networks"]["8"]["sha256"]["qonnx"] = hashlib.sha256(data).hexdigest()
    (folder / CARD).write_text(json.dumps(card))
    return read_card(folder)


def test_packed_files_are_unpacked(tmp_path):
    card = _packed(tmp_path, gzip.compress(b"graph" * 1000, mtime=0))
    assert read_file(tmp_path, card, 8, "qonnx") == b"graph" * 1000


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "damaged"),
        (b"graph", "not gzip"),
        (gzip.compress(b"graph", mtime=0)[:-6], "damaged"),
        (gzip.compress(b"graph", mtime=0)[:-8] + b"\0" * 8, "damaged"),
        (gzip.compress(b"graph", mtime=0) + b"x", "damaged"),
        (zlib.compress(b"graph"), "not gzip"),
        (gzip.compress(b"\0" * (MAX_FILE_BYTES + 1), mtime=0), "more than 64 MiB"),
    ],
    ids=["empty", "not packed", "cut", "another checksum", "a byte more", "zlib", "a bomb"],
)
def test_damaged_packed_files_are_refused(tmp_path, data, says):
    card = _packed(tmp_path, data)
    with pytest.raises(ModelError, match=rf"qonnx-8bit\.onnx\.gz: .*{says}") as caught:
        read_file(tmp_path, card, 8, "qonnx")
    assert "\n" not in str(caught.value)


# -- what QONNX must not hold


@pytest.fixture(scope="module")
def exported() -> bytes:
    return export_qonnx_bytes(random_quantised(4, 1, 8))


def _edited(data: bytes, edit) -> bytes:
    model = onnx.load_model_from_string(data)
    edit(model.graph)
    return model.SerializeToString()


def _set(graph, node_index: int, input_index: int, value) -> None:
    quants = [n for n in graph.node if n.op_type == "Quant"]
    name = f"changed_{node_index}_{input_index}"
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    quants[node_index].input[input_index] = name


def _conv(graph):
    return next(n for n in graph.node if n.op_type == "Conv")


def _attribute(node, name: str, value) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda g: _set(g, 0, 1, 0.004), r"0\.004.* not a power of two"),
        (lambda g: _set(g, 0, 1, 2.0**-7), r"2\^-7"),
        (lambda g: _set(g, 1, 2, 3.0), r"zero point 3"),
        (lambda g: _set(g, 2, 1, 0.5), r"enter.*bias"),
        (lambda g: _attribute(next(n for n in g.node if n.op_type == "Quant"), "rounding_mode", "FLOOR"), r"FLOOR"),
        (lambda g: _attribute(_conv(g), "group", 3), r"enter.*grouped"),
        (lambda g: _attribute(_conv(g), "pads", [0, 0, 0, 0]), r"enter.*pads"),
        (lambda g: setattr(_conv(g), "op_type", "ConvTranspose"), r"ConvTranspose"),
        (
            lambda g: setattr(next(n for n in g.node if n.op_type == "Relu"), "op_type", "InstanceNormalization"),
            r"InstanceNormalization.*norm folded",
        ),
        (lambda g: _attribute(next(n for n in g.node if n.op_type == "Resize"), "mode", "linear"), r"nearest"),
        (lambda g: g.output[0].__setattr__("name", "elsewhere"), r"output"),
    ],
)
def test_graphs_outside_the_contract_are_refused(exported, edit, says):
    with pytest.raises(ModelError, match=says):
        read_qonnx(_edited(exported, edit), "given")


def test_damaged_qonnx_is_refused(exported):
    for data in (b"", b"hello", exported[: len(exported) // 2]):
        with pytest.raises(ModelError, match="given"):
            read_qonnx(data, "given")

    def outside(graph) -> None:
        graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
        graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(ModelError, match="another file"):
        read_qonnx(_edited(exported, outside), "given")


def test_an_overflowing_network_is_refused_with_its_layer():
    q = random_quantised(16, 0, 8)
    with torch.no_grad():
        q.convolutions["leave"].weight.fill_(1.0)
        q.convolutions["leave"].weight_quant.tensor_quant.scaling_impl.value.fill_(0.0)
    with pytest.raises(ContractError, match=r"leave: an accumulator can reach \d+"):
        read_qonnx(export_qonnx_bytes(q), "given")


# -- the command line, from a painting to a painting


def test_train_export_paint(tmp_path, workshop, capsys):
    """Everything a user does, in miniature: each command, an interrupted one too."""
    common = [
        "--style",
        workshop / "painting.png",
        "--content",
        workshop / "photos",
        "--hold-out",
        "1",
        "--loss-network",
        f"vgg16:{workshop / 'vgg.npz'}",
        "--out",
        tmp_path / "run",
        *["--width", "4", "--shape", "johnson", "--blocks", "1", "--crop", "64", "--batch", "1", "--style-size", "96"],
        *["--parent-steps", "2", "--plain-steps", "2", "--quantised-steps", "2"],
    ]
    common = [str(c) for c in common]
    assert main(["train", *common, "--bits", "32"]) == 0
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "mine")]) == 2
    assert "no quantised network" in capsys.readouterr().err
    for bits in (8, 4, 16):
        assert main(["train", *common, "--bits", str(bits)]) == 0
    capsys.readouterr()
    report = ["--out", str(tmp_path / "report")]
    assert main(["evaluate", str(tmp_path / "run"), *common[2:4], *common[6:8], *report]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("photos", "parent", "float", "4 bits", "8 bits", "16 bits"))
    assert (tmp_path / "report/report.html").stat().st_size > 10_000
    export = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "mine"), "--painting", "Swirl"]
    assert main(export) == 0 and set(read_card(tmp_path / "mine").networks) == {4, 8, 16}
    assert main([*export, "--float"]) == 0
    made = [n.format(bits=b) for n in FILES.values() for b in (4, 8)]
    made += ["parent.npz", "network-16bit.npz", "qonnx-16bit.onnx.gz", "network-32bit.npz"]
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == sorted(["card.json", *made])
    write_image(tmp_path / "photo.png", noise(1, 37, 51)[0])
    for bits in (4, 8, 16, 32):
        painted = {}
        for backend in ("cpu", "reference"):
            out = tmp_path / f"{backend}.png"
            style = ["--style", str(tmp_path / "mine"), "--bits", str(bits)]
            assert main(["paint", str(tmp_path / "photo.png"), str(out), *style, "--backend", backend]) == 0
            painted[backend] = read_image(out).astype(int)
        assert painted["cpu"].shape == (37, 51, 3)
        assert np.abs(painted["cpu"] - painted["reference"]).max() <= (bits == 32)
    card = card_of(tmp_path / "mine")
    assert card["painting"]["title"] == "Swirl" and card["training"]["held_out"]
    halo = card["networks"]["8"]["halo"]
    assert halo <= card["margin"] < halo + 4 and card["margin"] % 4 == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--bits": "5"}, "--bits 5"),
        ({"--style": "missing.png"}, "missing.png"),
        ({"--content": "missing"}, "missing"),
        ({"--loss-network": "vgg16:missing.npz"}, "missing.npz"),
        ({"--loss-network": "lenet:x"}, "vgg16:FILE"),
        ({"--crop": "66"}, "--crop 66"),
        ({"--style-weight": "nan"}, "--style-weight nan"),
        ({"--crop": "9"}, "--crop"),
        ({"--precision": "int3"}, "int3"),
        ({"--device": "tpu"}, "tpu"),
        ({"--out": "/dev/null/run"}, "/dev/null"),
        ({"--shape": "square"}, "--shape"),
    ],
)
@pytest.mark.parametrize("shape", ["johnson", "adaptive"])
def test_train_refuses_in_one_line(tmp_path, workshop, capsys, shape, change, says):
    options = {
        "--shape": shape,
        "--style": str(workshop / "painting.png"),
        "--content": str(workshop / "photos"),
        "--loss-network": f"vgg16:{workshop / 'vgg.npz'}",
        "--out": str(tmp_path / "run"),
        "--style-size": "96",
        "--crop": "96",
        "--hold-out": "0",
    }
    assert main(["train", *(x for pair in {**options, **change}.items() for x in pair)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err and "Traceback" not in err


def test_export_refuses_in_one_line(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "m")]) == 2
    assert "not a training run" in capsys.readouterr().err
