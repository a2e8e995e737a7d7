"""The float network: file form, geometry, engines against each other, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pleinair.backends import open_painter
from pleinair.cli.main import main
from pleinair.engines.exact import check_image
from pleinair.engines.onnxruntime import OnnxRunner
from pleinair.errors import ContractError, ModelError
from pleinair.models import CARD, load_model
from pleinair.network import floating as float_network
from pleinair.network.floating import FloatConvolution, FloatNetwork, FloatResidual, dump, parse, validate
from pleinair.network.integer import Upsample
from pleinair.painting.painter import NetworkPainter
from tests.models import write_model
from tests.networks import floats_like, random_network

INTEGERS = random_network(3, width=4, blocks=1, kernel=5)
N = floats_like(INTEGERS)


def test_file_holds_everything_and_is_reproducible():
    data = dump(N)
    again = parse(data, "given")
    assert dump(again) == data and again.bits == 32
    for one, other in zip(N.convolutions(), again.convolutions(), strict=True):
        assert (one.name, one.stride, one.relu) == (other.name, other.stride, other.relu)
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {m.date_time for m in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert json.loads(archive["header"].tobytes())["layers"][0]["name"] == "enter"
        np.testing.assert_array_equal(archive["0.weight"], N.layers[0].weight)


def test_geometry_is_the_integer_network_s():
    assert (N.stride, N.halo, N.macs_per_pixel()) == (INTEGERS.stride, INTEGERS.halo, INTEGERS.macs_per_pixel())


def by_hand(network: FloatNetwork, image: np.ndarray) -> np.ndarray:
    """The network by OpenCV's own correlation, in float64."""
    x = list(image.transpose(2, 0, 1) / 256)

    def convolve(x: list[np.ndarray], c: FloatConvolution) -> list[np.ndarray]:
        out = []
        for kernels, bias in zip(c.weight.astype(np.float64), c.bias, strict=True):
            pairs = zip(x, kernels, strict=True)
            y = sum(cv2.filter2D(p, cv2.CV_64F, k, borderType=cv2.BORDER_CONSTANT) for p, k in pairs) + bias
            y = y[:: c.stride, :: c.stride]
            out.append(np.maximum(y, 0) if c.relu else y)
        return out

    for layer in network.layers:
        if isinstance(layer, Upsample):
            x = [np.kron(p, np.ones((2, 2))) for p in x]
        elif isinstance(layer, FloatResidual):
            branch = x
            for c in layer.body:
                branch = convolve(branch, c)
            x = [np.maximum(a + b, 0) for a, b in zip(x, branch, strict=True)]
        else:
            x = convolve(x, layer)
    return np.clip(np.stack(x, 2) * 256, 0, 255)


@pytest.mark.parametrize(("width", "blocks", "kernel"), [(4, 0, 9), (8, 2, 9), (5, 3, 3)])
def test_engines_agree_to_a_grey_level(width, blocks, kernel):
    network = floats_like(random_network(1, width, blocks, 8, kernel), width)
    rng = np.random.default_rng(0)
    for image in (check_image(), rng.integers(0, 256, (36, 100, 3), dtype=np.uint8)):
        exact = by_hand(network, image)
        assert len(np.unique(exact.round())) > 50
        assert np.abs(float_network.run(network, image) - exact).max() < 0.5001
        for optimise in (True, False):
            painting = OnnxRunner(network, 1, optimise=optimise)(image)
            assert painting.dtype == np.uint8 and np.abs(painting - exact).max() < 0.51


def test_ties_go_to_even():
    weight = np.zeros((3, 3, 1, 1), np.float32)
    bias = np.array([0.5, 1.5, 300], np.float32) / 256
    network = validate(FloatNetwork((FloatConvolution("leave", weight, bias, 1, False),)))
    image = np.zeros((16, 16, 3), np.uint8)
    for painting in (float_network.run(network, image), OnnxRunner(network, 1)(image)):
        assert painting[3, 3].tolist() == [0, 2, 255]


# -- painters, command line


def test_painters_say_that_they_are_not_exact(tmp_path):
    model = load_model(str(write_model(tmp_path / "floats", N)), 32)
    frame = np.random.default_rng(1).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    painters = [open_painter(model, backend, 1) for backend in ("cpu", "reference")]
    assert all("not exact across machines" in p.name for p in painters)
    one, other = (p.paint(frame).astype(int) for p in painters)
    assert one.shape == frame.shape and np.abs(one - other).max() <= 1
    tiled = NetworkPainter("tiled", N, model.margin, OnnxRunner(N, 1), 100, model.grain).paint(frame)
    assert np.abs(one - tiled.astype(int)).max() <= 1


def test_paint_at_32_bits(tmp_path, capsys):
    folder = write_model(tmp_path / "floats", N)
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    cv2.imwrite(str(photo), check_image())
    assert main(["paint", str(photo), str(out), "--style", str(folder), "--bits", "32"]) == 0
    assert "float32, not exact across machines" in capsys.readouterr().out
    wanted = open_painter(load_model(str(folder), 32), "reference").paint(check_image()[..., ::-1])
    assert np.abs(cv2.imread(str(out))[..., ::-1].astype(int) - wanted).max() <= 1
    assert main(["paint", str(photo), str(out), "--style", str(folder)]) == 2
    assert capsys.readouterr().err == "pleinair: --bits 8: style floats has 32\n"


def test_an_integer_network_is_no_float_one(tmp_path, capsys):
    folder = write_model(tmp_path / "mixed", INTEGERS)
    (folder / "network-32bit.npz").write_bytes((folder / "network-8bit.npz").read_bytes())
    card = json.loads((folder / CARD).read_text())
    card["networks"]["32"] = card["networks"]["8"]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"network-32bit\.npz: format 'pleinair-integer-network'"):
        load_model(str(folder), 32)
    (folder / "network-32bit.npz").unlink()
    assert main(["paint", "x.png", str(tmp_path / "out.png"), "--style", str(folder), "--bits", "32"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- what is refused


def _changed(layer: str, /, **fields: object) -> FloatNetwork:
    changed = (replace(c, **fields) if getattr(c, "name", "") == layer else c for c in N.layers)
    return replace(N, layers=tuple(changed))


def _one(array: np.ndarray, value: float) -> np.ndarray:
    out = array.copy()
    out.reshape(-1)[0] = value
    return out


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda: _changed("up1", weight=_one(N.layers[5].weight, np.nan)), r"up1: weights that are not finite"),
        (lambda: _changed("up1", bias=_one(N.layers[5].bias, np.inf)), r"up1: bias that are not finite"),
        (lambda: _changed("up1", weight=N.layers[5].weight.astype(np.float64)), r"up1.*float64"),
        (lambda: _changed("up1", bias=N.layers[5].bias[:-1]), r"up1.*\(7,\)"),
        (lambda: _changed("up1", weight=N.layers[5].weight[:, :-1]), r"up1.*15 input channels"),
        (lambda: _changed("up1", weight=N.layers[5].weight[0]), r"up1.*shape"),
        (lambda: _changed("up1", weight=N.layers[5].weight[..., :2, :2]), r"up1.*kernel 2"),
        (lambda: _changed("down1", stride=3), r"down1.*stride 3"),
        (lambda: _changed("down1", stride=1), r"upsampling beyond"),
        (lambda: _changed("up1", name="down1"), r"same name"),
        (lambda: FloatNetwork(()), r"0 convolutions"),
        (lambda: FloatNetwork(N.layers[:-1]), r"last layer"),
        (lambda: FloatNetwork((*N.layers[:3], FloatResidual(()), *N.layers[3:])), r"without convolutions"),
    ],
)
def test_validator_names_the_layer(broken, says):
    with pytest.raises(ContractError, match=says):
        validate(broken())


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def _saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _with_header(change_header) -> bytes:
    members = _members(dump(N))
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    text = json.dumps(change_header(header) or header).encode()
    return _zip({**members, "header.npy": _saved(np.frombuffer(text, np.uint8))})


def _claims(shape: tuple[int, ...]) -> bytes:
    """An array whose header claims more than is there."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return _zip({**_members(dump(N)), "0.weight.npy": out.getvalue() + b"\0" * 100})


class Boom:
    """Fails the test if it is ever unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def _pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, header=np.array([Boom()], object))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 not a zip",
        dump(N)[:-200],
        dump(N)[: len(dump(N)) // 2],
        _pickled(),
        _zip({**_members(dump(N)), "0.weight.npy": _saved(np.zeros((4, 3, 5, 5), np.int32))}),
        _zip({**_members(dump(N)), "0.weight.npy": _saved(np.full((4, 3, 5, 5), np.nan, np.float32))}),
        _zip({**_members(dump(N)), "header.npy": _saved(np.frombuffer(b"[" * 100_000, np.uint8))}),
        _zip({**_members(dump(N)), "header.npy": _saved(np.frombuffer(b"{}", np.uint8))}),
        _zip({**_members(dump(N)), "header.npy": b"no array"}),
        _claims((1 << 38,)),
        _claims((1 << 70,)),
        _claims((-1, 4)),
        _zip({**_members(dump(N)), "bomb.npy": b"\0" * (65 << 20)}),
        _zip({**_members(dump(N)), "extra.npy": _members(dump(N))["0.bias.npy"]}),
        _zip({f"{i}.npy": b"" for i in range(1000)}),
        _zip({k: v for k, v in _members(dump(N)).items() if k != "3.bias.npy"}),
        _with_header(lambda h: h.update(version=2)),
        _with_header(lambda h: h.update(format="pleinair-integer-network")),
        _with_header(lambda h: h.update(layers=None)),
        _with_header(lambda h: h.update(layers=h["layers"] * 100)),
        _with_header(lambda h: h["layers"][0].update(kind="loop")),
        _with_header(lambda h: h["layers"][0].update(name="x" * 1000)),
        _with_header(lambda h: h["layers"][0].pop("relu")),
        _with_header(lambda h: h["layers"][0].update(stride=1e400)),
        _with_header(lambda h: h["layers"][3].update(body=[])),
        _with_header(lambda h: [h]),
    ],
)
def test_hostile_files_are_refused_in_one_line(data):
    with pytest.raises(ModelError) as caught:
        parse(data, "given.npz")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
