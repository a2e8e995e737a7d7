"""The geometry that networks share: reach, stride and work against counting by hand, and a kind of layer of our own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from pleinair.errors import ContractError
from pleinair.network.chain import Chain, ChainLayer, ConvolutionShape, ResidualShape, Upsample, check_chain
from pleinair.network.integer import Convolution, IntegerNetwork


@dataclass(frozen=True)
class Plain(ConvolutionShape):
    """A convolution of zeros."""

    name: str
    weight: np.ndarray
    stride: int = 1


@dataclass(frozen=True)
class Block(ResidualShape):
    body: tuple[Plain, ...]

    def convolutions(self) -> tuple[Plain, ...]:
        return self.body


@dataclass(frozen=True)
class Fold(ChainLayer):
    """A kind that the program does not have: 2x2 pixels become the channels of one."""

    kind = "fold"

    @property
    def down(self) -> int:
        return 2

    def needs(self, low: int, high: int) -> tuple[int, int]:
        return 2 * low, 2 * high + 1

    def check(self, channels: int) -> int:
        return 4 * channels

    def header(self) -> dict[str, object]:
        return {"kind": self.kind}


@dataclass(frozen=True)
class Net(Chain[ChainLayer, Plain]):
    layers: tuple[ChainLayer, ...]


def plain(name: str, outputs: int, inputs: int, kernel: int = 3, stride: int = 1) -> Plain:
    return Plain(name, np.zeros((outputs, inputs, kernel, kernel), np.int8), stride)


JOHNSON = Net(
    (
        plain("enter", 8, 3, 9),
        plain("down", 16, 8, stride=2),
        Block((plain("one", 4, 16), plain("two", 16, 4, 5))),
        Upsample(),
        plain("up", 8, 16),
        plain("leave", 3, 8, 7),
    )
)
FOLDED = Net((Fold(), plain("in", 8, 12, 5), plain("down", 8, 8, stride=2), Upsample(), Upsample(), plain("out", 3, 8)))


def depends(layers: tuple[ChainLayer, ...], side: int) -> np.ndarray:
    """Whether output row i depends on input row j: bool [side, side], by boolean matrix products."""
    at, total = side, np.eye(side, dtype=bool)
    for layer in layers:
        if isinstance(layer, Block):
            step = depends(layer.body, at) | np.eye(at, dtype=bool)
        elif isinstance(layer, Plain):
            rows = np.arange(0, at, layer.stride)
            step = np.abs(rows[:, None] - np.arange(at)) <= layer.kernel // 2
        else:
            group = np.kron(np.eye(at // 2, dtype=bool), np.ones((1, 2), bool))
            step = group if isinstance(layer, Fold) else np.kron(np.eye(at, dtype=bool), np.ones((2, 1), bool))
        at, total = len(step), step.astype(int) @ total.astype(int) > 0
    return total


@pytest.mark.parametrize("net", [JOHNSON, FOLDED, Net(JOHNSON.layers[2:3]), Net((Fold(), Upsample()))])
def test_halo_is_the_reach_that_row_by_row_dependence_gives(net):
    side, at = 128, 64
    rows = np.flatnonzero(depends(net.layers, side)[at : at + net.stride].any(0))
    assert net.halo == max(at - rows[0], rows[-1] - (at + net.stride - 1))


def test_stride_is_the_coarsest_resolution_on_the_way():
    assert (JOHNSON.stride, FOLDED.stride, Net((Upsample(),)).stride) == (2, 4, 1)


def test_work_counts_each_convolution_at_its_resolution():
    assert JOHNSON.macs_per_pixel() == (
        81 * 3 * 8 + 9 * 8 * 16 / 4 + (9 * 16 * 4 + 25 * 4 * 16) / 4 + 9 * 16 * 8 + 49 * 8 * 3
    )
    assert FOLDED.macs_per_pixel() == 25 * 12 * 8 / 4 + 9 * 8 * 8 / 16 + 9 * 8 * 3


def test_convolutions_come_in_order_of_execution():
    assert [c.name for c in JOHNSON.convolutions()] == ["enter", "down", "one", "two", "up", "leave"]


def test_a_kind_of_layer_of_ones_own_fits_in():
    check_chain(FOLDED)
    check_chain(JOHNSON)


ENTER, LEAVE = JOHNSON.layers[0], JOHNSON.layers[-1]


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ((), r"0 convolutions"),
        (tuple(plain(str(i), 3, 3) for i in range(129)), r"129 convolutions, allowed are 1 to 128"),
        ((ENTER, plain("leave", 3, 7)), r"leave: 7 input channels, but 8 arrive"),
        ((ENTER, Plain("leave", np.zeros((3, 8, 3, 1), np.int8))), r"leave: weights of shape"),
        ((ENTER, Plain("leave", np.zeros((3, 8), np.int8))), r"leave: weights of shape"),
        ((ENTER, plain("leave", 3, 8, 4)), r"leave: kernel 4"),
        ((ENTER, plain("leave", 3, 8, 17)), r"leave: kernel 17, need an odd number up to 15"),
        ((plain("enter", 1025, 3, 1), plain("leave", 3, 1025, 1)), r"enter: 1025 output channels"),
        ((plain("enter", 0, 3, 1), plain("leave", 3, 0, 1)), r"enter: 0 output channels"),
        ((ENTER, plain("leave", 3, 8, stride=3)), r"leave: stride 3"),
        ((ENTER, plain("leave", 3, 8, stride=2)), r"1/2 of the input's size"),
        ((ENTER, plain("enter", 3, 8)), r"same name"),
        ((ENTER, Block(()), LEAVE), r"without convolutions"),
        ((ENTER, Block((plain("in", 8, 8, stride=2),)), LEAVE), r"in: stride 2 inside"),
        ((ENTER, Block((plain("in", 4, 8),)), LEAVE), r"in: 4 channels added to 8"),
        ((ENTER, Upsample(), plain("down", 8, 8, stride=2), LEAVE), r"upsampling beyond"),
        ((ENTER,), r"8 channels, need a convolution to 3"),
        ((ENTER, plain("down", 3, 8, stride=2), Upsample()), r"need a convolution to 3"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_number(layers, says):
    with pytest.raises(ContractError, match=says):
        check_chain(Net(layers))


def test_a_layer_tells_a_file_what_it_is():
    assert Upsample().header() == {"kind": "upsample"}
    assert Block((plain("a", 3, 3),)).header() == {
        "kind": "residual",
        "body": [{"kind": "convolution", "name": "a", "stride": 1}],
    }


def _plain(name: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> Convolution:
    weight, zero = np.ones((outputs, inputs, kernel, kernel), np.int8), np.zeros(outputs, np.int64)
    return Convolution(name, weight, zero, zero + 6, stride, 8, 8, False)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([*(_plain(f"d{i}", 3, 3, 3, 2) for i in range(5)), *[Upsample()] * 5, _plain("end", 3, 3)], "stride 32"),
        ([*(_plain(f"w{i}", 3, 3, 15) for i in range(40)), _plain("end", 3, 3)], "halo 280"),
        ([_plain("wide", 3, 300), _plain("end", 300, 3)], "300 values a pixel"),
        ([_plain("a", 3, 250), _plain("heavy", 250, 250, 13), _plain("end", 250, 3)], "10.6 million products a pixel"),
    ],
)
def test_networks_that_would_cost_too_much_are_refused_at_once(layers, said):
    with pytest.raises(ContractError, match=said):
        check_chain(IntegerNetwork(8, tuple(layers)))
