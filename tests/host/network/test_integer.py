"""The integer network: file form, contract, geometry."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from pleinair.errors import ContractError, ModelError
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, Upsample, dump, load, parse, validate
from tests.networks import random_network


def change(network: IntegerNetwork, layer: str, /, **fields: object) -> IntegerNetwork:
    """The network with one convolution's fields replaced."""

    def swap(c: Convolution) -> Convolution:
        return replace(c, **fields) if c.name == layer else c  # type: ignore[arg-type]

    layers = [
        Residual(tuple(swap(c) for c in part.body))
        if isinstance(part, Residual)
        else swap(part)
        if isinstance(part, Convolution)
        else part
        for part in network.layers
    ]
    return replace(network, layers=tuple(layers))


def find(network: IntegerNetwork, name: str) -> Convolution:
    return next(c for c in network.convolutions() if c.name == name)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_file_holds_everything_and_is_reproducible(bits, tmp_path):
    network = random_network(bits, width=4, blocks=1, bits=bits, kernel=5)
    data = dump(network)
    (tmp_path / "n.npz").write_bytes(data)
    again = load(tmp_path / "n.npz")
    assert dump(again) == data
    for one, other in zip(network.convolutions(), again.convolutions(), strict=True):
        assert (one.name, one.stride, one.weight_bits, one.out_bits, one.signed) == (
            other.name,
            other.stride,
            other.weight_bits,
            other.out_bits,
            other.signed,
        )
        for field in ("weight", "bias", "shift"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_file_is_plain_numpy(tmp_path):
    network = random_network(1, width=4, blocks=1)
    (tmp_path / "n.npz").write_bytes(dump(network))
    with np.load(tmp_path / "n.npz", allow_pickle=False) as archive:
        header = json.loads(archive["header"].tobytes())
        np.testing.assert_array_equal(archive["0.weight"], find(network, "enter").weight)
    assert header["bits"] == 8 and header["layers"][0]["name"] == "enter"


N = random_network(3, width=4, blocks=1, kernel=5)
_ENTER, _CONV2 = find(N, "enter"), find(N, "block1.conv2")


def _one(array: np.ndarray, value: int) -> np.ndarray:
    out = array.astype(np.int64)
    out.reshape(-1)[0] = value
    return out


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda: change(N, "down1", weight=_one(find(N, "down1").weight, -128)), r"down1.*-128.*127"),
        (lambda: change(N, "down1", weight=find(N, "down1").weight * 1.0), r"down1.*float64"),
        (lambda: change(N, "up1", shift=_one(find(N, "up1").shift, -1)), r"up1.*shift -1"),
        (lambda: change(N, "up1", shift=_one(find(N, "up1").shift, 32)), r"up1.*shift 32"),
        (lambda: change(N, "up1", shift=find(N, "up1").shift[:-1]), r"up1.*shape \(7,\)"),
        (lambda: change(N, "up2", bias=_one(find(N, "up2").bias, (1 << 24) + 1)), r"up2.*2\^24"),
        (lambda: change(N, "up2", bias=_one(find(N, "up2").bias, -(1 << 63))), r"up2.*2\^24"),
        (lambda: change(N, "up2", bias=_one(find(N, "up2").bias, (1 << 24) - 9)), r"up2.*accumulator.*\d{8}"),
        (lambda: change(N, "block1.conv2", signed=False), r"block1\.conv2.*signed"),
        (lambda: change(N, "down2", signed=True), r"down2.*signed"),
        (lambda: change(N, "down2", stride=3), r"down2.*stride 3"),
        (lambda: change(N, "down2", stride=1), r"upsampling beyond"),
        (lambda: change(N, "block1.conv1", stride=2), r"block1\.conv1.*stride 2"),
        (lambda: change(N, "enter", weight_bits=4), r"enter.*(4-bit|narrow range of 4)"),
        (lambda: change(N, "up1", weight_bits=5), r"up1.*5-bit"),
        (lambda: change(N, "up1", out_bits=4), r"up1.*4-bit output"),
        (lambda: change(N, "leave", out_bits=16), r"leave.*16-bit output"),
        (lambda: change(N, "up1", weight=find(N, "up1").weight[:, :-1]), r"up1.*15 input channels.*16"),
        (lambda: change(N, "up1", weight=find(N, "up1").weight[..., :2, :2]), r"up1.*kernel 2"),
        (lambda: change(N, "up1", weight=find(N, "up1").weight[0]), r"up1.*shape"),
        (lambda: change(N, "up1", name="down1"), r"same name"),
        (lambda: replace(N, bits=7), r"7 bits"),
        (lambda: replace(N, layers=N.layers[:-1]), r"last layer"),
        (lambda: replace(N, layers=(Residual(()), *N.layers)), r"without convolutions"),
        (lambda: replace(N, layers=(Residual((replace(_CONV2, name="x"),)), *N.layers)), r"x: 16 input.*3"),
        (lambda: replace(N, layers=(Upsample(), *N.layers)), r"upsampling beyond"),
        (lambda: replace(N, layers=()), r"0 convolutions"),
    ],
)
def test_validator_names_layer_and_number(broken, says):
    validate(N)
    with pytest.raises(ContractError, match=says):
        validate(broken())


def test_accumulator_bound_is_reached_and_never_passed():
    c = find(N, "up1")
    bound = c.accumulator_bound(255)
    worst = np.where(c.weight > 0, 255, 0)  # the input that drives output 0 to its maximum
    positive = (c.weight.astype(np.int64) * worst).sum((1, 2, 3))
    negative = (c.weight.astype(np.int64) * (255 - worst)).sum((1, 2, 3))
    half = 1 << (c.shift - 1)
    np.testing.assert_array_equal(positive - negative + np.abs(c.bias) + half, bound)


def _archive(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def _with_header(change_header) -> bytes:
    members = _members(dump(N))
    header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    text = json.dumps(change_header(header) or header).encode()
    out = io.BytesIO()
    np.save(out, np.frombuffer(text, np.uint8))
    return _zip({**members, "header.npy": out.getvalue()})


def _huge_claim() -> bytes:
    """An array whose header claims a terabyte."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|i1", "fortran_order": False, "shape": (1 << 40,)})
    return _zip({**_members(dump(N)), "0.weight.npy": out.getvalue() + b"\0" * 100})


class Boom:
    """Fails the test if it is ever unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 not a zip",
        dump(N)[:-200],
        dump(N)[: len(dump(N)) // 2],
        _archive(header=np.array([Boom()], object)),
        _archive(header=np.frombuffer(b"not json", np.uint8)),
        _archive(header=np.frombuffer(b"[" * 100_000, np.uint8)),
        _archive(header=np.frombuffer(b"{}", np.uint8)),
        _archive(nothing=np.zeros(3)),
        _huge_claim(),
        _zip({**_members(dump(N)), "bomb.npy": b"\0" * (65 << 20)}),
        _zip({**_members(dump(N)), "extra.npy": _members(dump(N))["0.bias.npy"]}),
        _zip({f"{i}.npy": b"" for i in range(1000)}),
        _zip({k: v for k, v in _members(dump(N)).items() if k != "3.bias.npy"}),
        _with_header(lambda h: h.update(version=2)),
        _with_header(lambda h: h.update(bits="many")),
        _with_header(lambda h: h.update(layers=None)),
        _with_header(lambda h: h.update(layers=h["layers"] * 100)),
        _with_header(lambda h: h["layers"][0].update(kind="loop")),
        _with_header(lambda h: h["layers"][0].update(name="x" * 1000)),
        _with_header(lambda h: h["layers"][0].pop("stride")),
        _with_header(lambda h: h["layers"][0].update(stride=float("inf"))),
        _with_header(lambda h: h["layers"][3].update(body=[])),
        _with_header(lambda h: [h]),
    ],
)
def test_hostile_files_are_refused_in_one_line(data):
    with pytest.raises(ModelError) as caught:
        parse(data, "given.npz")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def _transparent(kernel: int, blocks: int) -> IntegerNetwork:
    """A network that passes every change on: all weights 1, shifts that never round a change away."""
    network = random_network(0, width=1, blocks=blocks, bits=8, kernel=kernel)

    def clear(c: Convolution) -> Convolution:
        one = np.ones_like(c.weight[:, :1])
        weight = np.concatenate([one, np.zeros_like(c.weight[:, 1:])], 1)
        zero = np.zeros(c.outputs, np.int64)
        # A quiet frame gives 100 k^2 everywhere inside; the bias brings it to 0, so any rise shows.
        return replace(c, weight=weight, bias=zero, shift=zero)

    layers, x = [], np.full((3, 96, 96), 100, np.int64)
    for layer in network.layers:
        if isinstance(layer, Upsample):
            layers.append(layer)
        else:
            body = [clear(c) for c in (layer.body if isinstance(layer, Residual) else (layer,))]
            inner = x
            done = []
            for c in body:
                level = int(reference.convolve(inner, c)[0].max())
                c = replace(c, bias=np.full(c.outputs, -level, np.int64))
                inner = reference.requantise(reference.convolve(inner, c), c)
                done.append(c)
            layers.append(Residual(tuple(done)) if isinstance(layer, Residual) else done[0])
        x = reference.run_layer(x, layers[-1], 8)
    return IntegerNetwork(8, tuple(layers))


@pytest.mark.parametrize(("kernel", "blocks"), [(9, 1), (9, 2), (5, 1), (3, 2), (7, 0)])
def test_halo_is_the_measured_reach(kernel, blocks):
    network = _transparent(kernel, blocks)
    h = network.halo
    assert _felt(network, h) and not _felt(network, h + 1)


def _felt(network: IntegerNetwork, distance: int) -> bool:
    """Whether an input ``distance`` pixels beyond an aligned block of outputs, on either side, changes it."""
    side, s = 128, network.stride
    block = slice(64, 64 + s)
    quiet = np.full((side, side, 3), 100, np.uint8)
    before = reference.run(network, quiet)[block, block]
    for at in (64 - distance, 64 + s - 1 + distance):
        bright = quiet.copy()
        bright[at] = 255
        if (reference.run(network, bright)[block, block] != before).any():
            return True
    return False


def test_stride_and_work():
    network = random_network(0, width=16, blocks=3)
    assert network.stride == 4
    w = 16
    by_hand = 81 * 3 * w + 9 * w * 2 * w / 4 + 9 * 2 * w * 4 * w / 16
    by_hand += 6 * 9 * (4 * w) ** 2 / 16 + 9 * 4 * w * 2 * w / 4 + 9 * 2 * w * w + 81 * w * 3
    assert network.macs_per_pixel() == by_hand
