"""Networks of more than 8 bits at the ends of the contract, against answers known beforehand and the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pleinair.engines.exact import EngineRunner, check_image, differing
from pleinair.engines.onnxruntime import VARIANTS, OrtEngine
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, validate
from tests.networks import random_network

WHITE = np.full((24, 28, 3), 255, np.uint8)


def brightest(outputs: int) -> Convolution:
    """A first layer that makes every white pixel 65535 in all channels."""
    weight = np.full((outputs, 3, 1, 1), 32767, np.int16)
    return Convolution("enter", weight, np.zeros(outputs, np.int64), np.full(outputs, 1), 1, 16, 16)


def weights(pattern: str, shape: tuple[int, ...]) -> np.ndarray:
    """16-bit weights that are hardest to split: the contract's ends, and where a signed byte would overflow."""
    rng = np.random.default_rng(1)
    choices = {"high": [32767], "low": [-32767], "both": [32767, -32767], "bytes": [32640, 32639, -129, -128, 127, 255]}
    return rng.choice(choices[pattern], shape).astype(np.int16)


@pytest.mark.parametrize("shift", [0, 1, 20, 38])
@pytest.mark.parametrize("pattern", ["high", "low", "both", "bytes"])
def test_no_unit_of_the_largest_sums_is_lost_and_ties_go_to_even(pattern, shift):
    """Sums of up to 2**45 are brought by the bias to two ties and to a unit below a third; shift 0 has none."""
    weight = weights(pattern, (3, 8, 9, 9))
    unit = 1 << shift
    halves = [255 * unit // 2, 257 * unit // 2, 401 * unit // 2 - 1] if shift else [127, 128, 200]
    bias = np.array(halves) - weight.astype(np.int64).sum((1, 2, 3)) * 65535
    leave = Convolution("leave", weight, bias, np.full(3, shift), 1, 16, 8)
    network = validate(IntegerNetwork(16, (brightest(8), leave)))
    wanted = reference.run(network, WHITE)
    assert wanted[12, 12].tolist() == ([128, 128, 200] if shift else halves)
    for variant in VARIANTS:
        np.testing.assert_array_equal(EngineRunner(network, OrtEngine(1, variant))(WHITE), wanted)


@pytest.mark.parametrize("pattern", ["high", "low", "both"])
def test_the_largest_branches_saturate_the_trunk(pattern):
    weight = weights(pattern, (4, 4, 3, 3))
    body = Convolution(
        "branch", weight, np.array([0, 1, -(1 << 40), 1 << 40]), np.array([0, 17, 24, 31]), 1, 16, 16, True
    )
    leave = replace(brightest(3), name="leave", weight=np.full((3, 4, 1, 1), 9000, np.int16), out_bits=8)
    leave = replace(leave, shift=np.full(3, 24), bias=np.array([0, -(1 << 28), 1 << 28]))
    network = validate(IntegerNetwork(16, (brightest(4), Residual((body,)), leave)))
    for picture in (check_image(), WHITE):
        assert differing(network, EngineRunner(network, OrtEngine(1)), picture) == 0


def test_sums_of_more_products_than_int32_holds():
    """256 channels of 15 x 15: the sum of products of low bytes alone would reach 3.7e9 in one operator."""
    weight = np.random.default_rng(2).choice([16383, -16383], (3, 256, 15, 15)).astype(np.int16)
    weight[0], weight[1] = 16383, -16129  # low bytes of 255
    bias = (128 << 36) - weight.astype(np.int64).sum((1, 2, 3)) * 65535
    leave = Convolution("leave", weight, bias, np.full(3, 36), 1, 16, 8)
    network = validate(IntegerNetwork(16, (brightest(256), leave)))
    picture = np.full((24, 24, 3), 255, np.uint8)
    picture[:4] = np.random.default_rng(3).integers(0, 256, (4, 24, 3))
    wanted = reference.run(network, picture)
    assert wanted[14, 12].tolist() == [128] * 3 and len(np.unique(wanted)) > 15
    np.testing.assert_array_equal(EngineRunner(network, OrtEngine(1))(picture), wanted)


def rewritten(network: IntegerNetwork, **changes) -> IntegerNetwork:
    """The network with the named layers changed."""
    return replace(network, layers=tuple(changes.get(getattr(c, "name", ""), lambda c: c)(c) for c in network.layers))


def test_layers_of_different_widths_in_one_network():
    """Weights of 4 and 8 bits at 16-bit activations, and of 16 bits at 8-bit ones."""

    def narrower(bits: int):
        def change(c: Convolution) -> Convolution:
            drop = 16 - bits
            weight = np.clip(c.weight.astype(np.int64) >> drop, -(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1)
            shift = np.maximum(c.shift - drop, 0)
            return replace(c, weight=weight.astype(np.int8), weight_bits=bits, bias=c.bias >> drop, shift=shift)

        return change

    def wider(c: Convolution) -> Convolution:
        weight = c.weight.astype(np.int16) * 128 + (c.weight > 0)
        return replace(c, weight=weight, weight_bits=16, bias=c.bias * 128, shift=c.shift + 7)

    sixteen = random_network(5, 6, 1, 16)
    eight = random_network(5, 6, 1, 8)
    mixed = [
        rewritten(sixteen, down1=narrower(8), up1=narrower(4), leave=narrower(8)),
        rewritten(eight, enter=wider, up1=wider),
        rewritten(eight, leave=wider),
    ]
    assert sixteen.wide and not eight.wide
    for network in map(validate, mixed):
        assert network.wide and len(np.unique(reference.run(network, check_image()))) > 20
        for variant in VARIANTS:
            assert differing(network, EngineRunner(network, OrtEngine(1, variant)), check_image()) == 0


def test_weights_that_only_a_signed_byte_s_range_holds_are_seen():
    """The comparison can fail: 32767 taken for 32639, the most that two signed bytes reach."""
    network = random_network(2, 4, 0, 16)
    clipped = rewritten(network, leave=lambda c: replace(c, weight=np.minimum(c.weight, 32639)))
    assert network.layers[-1].weight.max() > 32639
    assert differing(network, EngineRunner(clipped, OrtEngine(1)), check_image()) > 0
