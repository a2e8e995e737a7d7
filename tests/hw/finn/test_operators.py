"""Our operators in FINN: what their Verilog is told, and the shapes and cycles that FINN is told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pleinair_hw.finn import environment
from tests.hw.finn.test_environment import needs_finn, own_environment  # noqa: F401

pytestmark = needs_finn


@pytest.fixture
def operators(tmp_path):
    environment.prepare(tmp_path, workers=1)
    import pleinair_hw.finn.operators as module

    return module


def lanes(packed: str, bits: int) -> list[int]:
    """The numbers of ``bits`` bits in a Verilog constant, the lowest first."""
    found = re.fullmatch(r"(\d+)'h([0-9a-f]+)", packed)
    assert found is not None and int(found[1]) % bits == 0
    value = int(found[2], 16)
    assert value >> int(found[1]) == 0
    return [value >> at & ((1 << bits) - 1) for at in range(0, int(found[1]), bits)]


@pytest.mark.parametrize("seed", range(6))
def test_requantisation_is_told_shift_and_bias_with_its_half(operators, seed):
    rng = np.random.default_rng(seed)
    shift = rng.integers(0 if seed % 2 else 3, 4 + 3 * seed, 12)
    bias = rng.integers(-(1 << 4 * seed), 1 << 4 * seed, 12, endpoint=True)
    told = operators.requant_parameters(bias, shift)
    width, least = int(told["BW"]), int(told["SMIN"])
    assert least == shift.min()
    for c, lane in enumerate(lanes(str(told["PARAMS"]), width + int(told["SW"]))):
        number = lane & ((1 << width) - 1)
        number -= (number >> (width - 1)) << width  # two's complement
        half = 2 ** int(shift[c]) // 2 if shift[c] else 0
        assert (lane >> width) + least == shift[c] and number == bias[c] + half


def made(operators, kind: str, **attributes: object):
    from onnx import helper

    inputs = {"RequantShift": ["x", "b", "s"], "AddClamp": ["x", "y"]}.get(kind, ["x"])
    return getattr(operators, kind)(helper.make_node(kind, inputs, ["out"], **attributes))


def test_shapes_words_and_cycles_by_hand(operators):
    common = {"NumChannels": 6, "PE": 2, "inputDataType": "INT10", "outputDataType": "INT13"}
    taps = made(operators, "TapSum", Taps=5, Lead=2, numInputVectors=[1, 4, 9], **common)
    assert taps.get_normal_input_shape() == (1, 4, 9, 30) and taps.get_normal_output_shape() == (1, 4, 7, 6)
    assert (taps.get_instream_width(), taps.get_outstream_width()) == (2 * 5 * 10, 2 * 13)
    assert taps.get_exp_cycles() == 4 * 9 * 3
    shuffle = made(operators, "PixelShuffle", numInputVectors=[1, 5, 3], **common)
    assert shuffle.get_normal_input_shape() == (1, 5, 3, 24) and shuffle.get_normal_output_shape() == (1, 8, 4, 6)
    assert shuffle.get_exp_cycles() == 5 * 3 * 12
    common["NumChannels"] = 3
    depth = made(operators, "PixelShuffle", numInputVectors=[1, 5, 3], Border=0, **common | {"PE": 3})
    assert depth.get_normal_input_shape() == (1, 5, 3, 12) and depth.get_normal_output_shape() == (1, 10, 6, 3)
    assert depth.get_exp_cycles() == 10 * 6
    blocks = made(operators, "SpaceToDepth", numInputVectors=[1, 8, 12], Block=4, **common | {"NumChannels": 48})
    assert blocks.get_normal_input_shape() == (1, 8, 12, 3) and blocks.get_normal_output_shape() == (1, 2, 3, 48)
    assert (
        made(
            operators, "SpaceToDepth", numInputVectors=[1, 8, 12], Block=4, **common | {"NumChannels": 48, "PE": 3}
        ).get_exp_cycles()
        == 2 * 7 * 12
    )
    common["NumChannels"] = 6
    requant = made(operators, "RequantShift", numInputVectors=[1, 5, 3], **common)
    assert requant.get_normal_input_shape(1) == (6,) and requant.get_instream_width(1) == 0
    assert requant.get_exp_cycles() == 5 * 3 * 3


def test_a_sum_reads_two_kinds_of_integers(operators):
    add = made(
        operators,
        "AddClamp",
        NumChannels=4,
        PE=4,
        numInputVectors=[1, 1, 2],
        inputDataType="UINT4",
        inputDataType1="INT5",
        outputDataType="UINT4",
    )
    assert (add.get_instream_width(0), add.get_instream_width(1)) == (16, 20)
    context = {"x": np.float32([[[[0, 9, 15, 7], [1, 2, 3, 4]]]]), "y": np.float32([[[[-3, 9, 1, -2], [0, 0, 0, -5]]]])}
    add.execute_node(context, None)
    assert context["out"].tolist() == [[[[0, 15, 15, 5], [1, 2, 3, 0]]]]
