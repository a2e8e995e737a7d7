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
from pleinair.engines.onnxruntime import FloatFrameRunner, OnnxRunner
from pleinair.errors import ContractError, ImageError, ModelError
from pleinair.models import CARD, load_model
from pleinair.network import floating as float_network
from pleinair.network.chain import DepthToSpace, SpaceToDepth, Upsample
from pleinair.network.floating import FloatConvolution, FloatNetwork, FloatResidual, Place, dump, parse, validate
from pleinair.painting import whole
from pleinair.painting.painter import NetworkPainter
from pleinair.painting.tiles import add_margin
from tests.models import write_model
from tests.networks import adaptive_network, floats_like, random_network

INTEGERS = random_network(3, width=4, blocks=1, kernel=5)
N = floats_like(INTEGERS)
#: The same of the second generation: with instance norm, in blocks of pixels.
NORMED = floats_like(adaptive_network(2, width=4))


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


def test_a_network_with_norms_survives_its_file():
    data = dump(NORMED)
    again = parse(data, "given")
    assert dump(again) == data and again.adaptive and not N.adaptive
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in NORMED.layers]
    for one, other in zip(NORMED.convolutions(), again.convolutions(), strict=True):
        assert (one.norm is None) == (other.norm is None) == (one.name == "leave")
        if one.norm is not None:
            np.testing.assert_array_equal(one.norm.gamma, other.norm.gamma)
            np.testing.assert_array_equal(one.norm.beta, other.norm.beta)
            assert not other.bias.any()
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert json.loads(archive["header"].tobytes())["version"] == 2
        assert "0.gamma" in archive and "0.bias" not in archive and f"{4}.bias" in archive
    with np.load(io.BytesIO(dump(N)), allow_pickle=False) as archive:
        assert json.loads(archive["header"].tobytes())["version"] == 1


def test_geometry_is_the_integer_network_s():
    assert (N.stride, N.halo, N.macs_per_pixel()) == (INTEGERS.stride, INTEGERS.halo, INTEGERS.macs_per_pixel())


def by_hand(network: FloatNetwork, image: np.ndarray, frame: np.ndarray | None = None) -> np.ndarray:
    """The network by OpenCV's own correlation, in float64.

    ``frame``: the pixels, bool [H, W], that statistics are of; a position counts where any of its pixels does.
    """
    x = list(image.transpose(2, 0, 1) / 256)
    frame = np.ones(image.shape[:2], bool) if frame is None else frame

    def normalise(y: np.ndarray, gamma: float, beta: float) -> np.ndarray:
        side = frame.shape[0] // y.shape[0]
        positions = [(r // side, c // side) for r, c in zip(*frame.nonzero(), strict=True)]
        values = np.array([y[at] for at in sorted(set(positions))])
        mean = values.sum() / len(values)
        return gamma * (y - mean) / (((values - mean) ** 2).sum() / len(values) + 1e-5) ** 0.5 + beta

    def convolve(x: list[np.ndarray], c: FloatConvolution) -> list[np.ndarray]:
        out = []
        for kernels, bias in zip(c.weight.astype(np.float64), c.bias, strict=True):
            pairs = zip(x, kernels, strict=True)
            y = sum(cv2.filter2D(p, cv2.CV_64F, k, borderType=cv2.BORDER_CONSTANT) for p, k in pairs) + bias
            y = y[:: c.stride, :: c.stride]
            if c.norm is not None:
                y = normalise(y, float(c.norm.gamma[len(out)]), float(c.norm.beta[len(out)]))
            out.append(np.maximum(y, 0) if c.relu else y)
        return out

    for layer in network.layers:
        if isinstance(layer, Upsample):
            x = [np.kron(p, np.ones((2, 2))) for p in x]
        elif isinstance(layer, SpaceToDepth):
            x = [
                p[i :: layer.block, j :: layer.block] for p in x for i in range(layer.block) for j in range(layer.block)
            ]
        elif isinstance(layer, DepthToSpace):
            x = [
                np.dstack(x[k : k + 4]).reshape(*x[0].shape, 2, 2).swapaxes(1, 2).reshape(2 * len(x[0]), -1)
                for k in (0, 4, 8)
            ]
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


@pytest.mark.parametrize(("width", "blocks", "exit_kernel"), [(4, 0, 5), (8, 2, 3)])
@pytest.mark.parametrize("place", [None, (slice(9, 30), slice(5, 34)), (slice(8, 32), slice(12, 40))])
def test_norms_take_the_statistics_of_the_frame(width, blocks, exit_kernel, place: Place | None):
    network = floats_like(adaptive_network(1, width, blocks, exit_kernel=exit_kernel), width)
    image = np.random.default_rng(5).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    image[:8] = 255  # a margin unlike the frame
    frame = np.zeros(image.shape[:2], bool)
    frame[place or ...] = True
    exact = by_hand(network, image, frame)
    assert len(np.unique(exact.round())) > 50
    assert np.abs(float_network.run(network, image, place) - exact).max() < 0.5001
    painting = FloatFrameRunner(network, 1)(image, place)
    assert painting.dtype == np.uint8 and np.abs(painting - exact).max() < 0.51
    if place is not None:
        assert np.abs(exact - by_hand(network, image)).max() > 1


def test_one_runner_paints_frames_of_many_places():
    image = np.random.default_rng(6).integers(0, 256, (32, 36, 3), dtype=np.uint8)
    run = FloatFrameRunner(NORMED, 1)
    places = [(slice(k, 28), slice(4, 30 + k)) for k in range(4)]
    for place in (*places, *places):
        assert np.abs(run(image, place).astype(int) - float_network.run(NORMED, image, place)).max() <= 1


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


@pytest.mark.parametrize("size", [(45, 61), (16, 16), (70, 33)])
def test_a_network_with_norms_paints_frames_whole(tmp_path, size):
    """The frame's statistics are those of what can be seen, whatever its margin and rounding up."""
    model = load_model(str(write_model(tmp_path / "normed", NORMED, margin=26)), 32)
    assert model.adaptive and model.own_light_only
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    paintings = []
    for backend in ("cpu", "reference"):
        with open_painter(model, backend, 2) as painter:
            assert painter.adaptive and painter.own_light_only and "not exact across machines" in painter.name
            paintings.append(painter.paint(frame).astype(int))
            for each in painter.paint_each([frame, frame[:, ::-1], frame]):
                assert each.shape == frame.shape
            np.testing.assert_array_equal(each, paintings[-1])
    assert np.abs(paintings[0] - paintings[1]).max() <= 1
    padded = add_margin(painter._grain(frame), 26, 4, adaptive=True)
    seen = np.zeros(padded.shape[:2], bool)
    seen[26 : 26 + size[0], 26 : 26 + size[1]] = True
    exact = by_hand(NORMED, padded, seen)[26 : 26 + size[0], 26 : 26 + size[1]]
    assert np.abs(paintings[1] - exact).max() < 0.5001


@pytest.mark.parametrize("level", [0, 255])
def test_a_covered_lens_is_no_error(tmp_path, level):
    model = load_model(str(write_model(tmp_path / "normed", NORMED, margin=26, grain=0)), 32)
    frame = np.full((20, 24, 3), level, np.uint8)
    one, other = (open_painter(model, backend, 1).paint(frame).astype(int) for backend in ("cpu", "reference"))
    assert np.abs(one - other).max() <= 1


def test_a_frame_that_cannot_be_painted_whole_is_refused(tmp_path, monkeypatch):
    model = load_model(str(write_model(tmp_path / "normed", NORMED)), 32)
    frame = np.zeros((1100, 1000, 3), np.uint8)
    with open_painter(model, "cpu", 1) as painter:
        monkeypatch.setattr(whole, "available_memory", lambda: 100_000_000)
        with pytest.raises(ImageError, match=r"1000x1100: at 32 bits .* takes 0\.1 GB of memory, and 0\.1 GB are free"):
            painter.paint(frame)
        monkeypatch.setattr(whole, "MAX_WHOLE_PIXELS", 1_000_000)
        with pytest.raises(ImageError, match=r"1000x1100: at 32 bits .* up to 1 megapixels"):
            painter.paint(frame)


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


def _changed(layer: str, network: FloatNetwork = N, /, **fields: object) -> FloatNetwork:
    changed = (replace(c, **fields) if getattr(c, "name", "") == layer else c for c in network.layers)
    return replace(network, layers=tuple(changed))


#: The first convolution of the network with norms.
ENTER = next(NORMED.convolutions())


def _renormed(**fields: np.ndarray) -> FloatNetwork:
    return _changed("enter", NORMED, norm=replace(ENTER.norm, **fields))


def _twelve() -> dict[str, np.ndarray]:
    return {"gamma": np.ones(12, np.float32), "beta": np.zeros(12, np.float32)}


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
        (lambda: _renormed(gamma=_one(ENTER.norm.gamma, np.nan)), r"enter: gamma that are not finite"),
        (lambda: _renormed(beta=_one(ENTER.norm.beta, np.inf)), r"enter: beta that are not finite"),
        (lambda: _renormed(gamma=ENTER.norm.gamma[1:]), r"enter: gamma of shape \(15,\)"),
        (lambda: _renormed(beta=ENTER.norm.beta.astype(np.float64)), r"enter: beta of type float64"),
        (lambda: _changed("enter", NORMED, bias=_one(ENTER.bias, 1)), r"enter: a bias and a norm"),
        (
            lambda: _changed("leave", NORMED, norm=replace(ENTER.norm, **_twelve())),
            r"leave: the last convolution has a norm",
        ),
        (lambda: FloatNetwork((*NORMED.layers[1:2], NORMED.layers[0], *NORMED.layers[2:])), r"enter|space to depth"),
        (lambda: FloatNetwork((SpaceToDepth(3), *NORMED.layers[1:])), r"blocks of 3"),
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


def _with_header(change_header, network: FloatNetwork = N) -> bytes:
    members = _members(dump(network))
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
        _with_header(lambda h: h.update(version=3)),
        _with_header(lambda h: h.update(version=1), NORMED),
        _with_header(lambda h: h["layers"][1].pop("norm"), NORMED),
        _with_header(lambda h: h["layers"][0].update(block="x"), NORMED),
        _with_header(lambda h: h["layers"][0].update(block=1 << 40), NORMED),
        _zip({k: v for k, v in _members(dump(NORMED)).items() if k != "1.gamma.npy"}),
        _zip({**_members(dump(NORMED)), "1.gamma.npy": _saved(np.zeros((16, 2), np.float32))}),
    ],
)
def test_hostile_files_are_refused_in_one_line(data):
    with pytest.raises(ModelError) as caught:
        parse(data, "given.npz")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
