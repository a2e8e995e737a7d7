"""Programs of more than 8 bits in ONNX Runtime, against the reference: every form that a convolution may take."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pleinair.engines.exact import check_image, worst_case
from pleinair.engines.lowering import Join, View, lower
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, Upsample, validate
from pleinair.painting.tiles import Window
from tests.networks import random_network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from pleinair.engines import onnxruntime_wide as ort_wide  # noqa: E402
from pleinair.engines.onnxruntime import VARIANTS, OrtEngine  # noqa: E402


def differing(network: IntegerNetwork, image: np.ndarray, window: Window | None = None, threads: int = 1) -> list[int]:
    """For each variant how many values of the window are not the reference's."""
    whole = Window(0, 0, *image.shape[:2])
    program = lower(network, *image.shape[:2], window)
    wanted = (window or whole).of(reference.run(network, image))
    counts = []
    for variant in VARIANTS:
        painted = OrtEngine(threads, variant).compile(program)(program.reads.of(image))
        counts.append(int(((window or whole).within(program.paints).of(painted) != wanted).sum()))
    return counts


def operators(network: IntegerNetwork, height: int, width: int) -> Counter[str]:
    """How many nodes of each operator the graph has, those of its steps included."""
    graph = onnx.load_from_string(ort_wide.build(lower(network, height, width))).graph
    found: Counter[str] = Counter()
    for node in graph.node:
        found[node.op_type] += 1
        for attribute in node.attribute:
            found.update(inner.op_type for inner in attribute.g.node)
    return found


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def chain(*layers: Convolution | Upsample) -> IntegerNetwork:
    return validate(IntegerNetwork(16, layers))


def convolution(name: str, weight: np.ndarray, shift: int, bias: int = 0, out_bits: int = 16) -> Convolution:
    outputs = len(weight)
    return Convolution(
        name,
        weight.astype(np.int16),
        np.full(outputs, bias, np.int64),
        np.full(outputs, shift, np.int64),
        1,
        16,
        out_bits,
    )


@pytest.mark.parametrize(
    ("seed", "width", "blocks", "kernel"), [(1, 4, 0, 9), (2, 8, 2, 9), (3, 24, 1, 5), (4, 5, 2, 3)]
)
def test_random_networks_whole_and_in_windows(seed, width, blocks, kernel):
    network = random_network(seed, width, blocks, 16, kernel)
    image = noise(72, 100)
    for hard in (network, worst_case(network)):
        assert len(np.unique(reference.run(hard, image))) > 3
        for window in (None, Window(0, 0, 36, 52), Window(11, 14, 50, 61), Window(40, 48, 72, 100)):
            assert differing(hard, image, window) == [0, 0]
    assert differing(network, image, threads=2) == [0, 0]


def test_a_shipped_network_in_a_window():
    network = load_model("starry-night-board", 16).network
    assert isinstance(network, IntegerNetwork)
    assert differing(network, noise(136, 152), Window(40, 40, 96, 112)) == [0, 0]


def test_tame_sums_become_float32_in_the_product_and_the_largest_stay_integers():
    """Both ways to float64 are taken where they are meant to be, so the other tests test both."""
    network = random_network(5, 8, 1, 16)
    tame = replace(
        network,
        layers=tuple(replace(c, weight=c.weight // 64) if isinstance(c, Convolution) else c for c in network.layers),
    )
    assert operators(tame, 64, 64)["MatMulIntegerToFloat"] > operators(tame, 64, 64)["MatMulInteger"]
    hardest = worst_case(random_network(5, 40, 1, 16))
    assert operators(hardest, 64, 64)["MatMulInteger"] > 0


@pytest.mark.parametrize("shift", [0, 1, 7, 8, 16, 31, 38, 46])
@pytest.mark.parametrize("extreme", [32640, 32767])
def test_ties_at_every_shift_with_the_outermost_weights(shift, extreme):
    """Weights of both signs in each column need all of a signed high byte; sums lie around halves."""
    rng = np.random.default_rng(shift)
    enter = convolution("enter", np.full((4, 3, 1, 1), 257), 0)
    weight = rng.choice([extreme, -extreme, 1, 255, -129], (6, 4, 3, 3))
    leave = convolution("leave", weight[:3], shift, 128 << shift if shift < 39 else 0, out_bits=8)
    leave = replace(leave, bias=leave.bias + np.array([0, 1, -1]) + ((1 << shift) >> 1))
    image = noise(24, 28) // 64
    image[:12] = 0
    image[0, 0] = 255
    network = chain(enter, leave)
    assert differing(network, image) == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_doublings_are_merged_with_what_follows(seed):
    """Sums of four weights take three bytes; zeros beyond the edges belong to the doubled size."""
    rng = np.random.default_rng(seed)

    def full(name: str, inputs: int, outputs: int, out_bits: int) -> Convolution:
        weight = rng.choice([32767, -32767, 32767, 12345], (outputs, inputs, 3, 3))
        return convolution(name, weight, 47 - 28 if out_bits == 16 else 26, 3, out_bits)

    enter = convolution("enter", rng.integers(-300, 300, (6, 3, 3, 3)), 0)
    down = replace(full("down", 6, 6, 16), stride=2)
    deeper = replace(full("deeper", 6, 6, 16), stride=2)
    network = chain(enter, down, deeper, Upsample(), full("up1", 6, 12, 16), Upsample(), full("up2", 12, 3, 8))
    image = noise(28, 36)
    assert len(np.unique(reference.run(network, image))) > 50
    assert differing(network, image) == [0, 0]
    for window in (Window(3, 5, 20, 22), Window(0, 7, 9, 36)):
        assert differing(network, image, window) == [0, 0]


@pytest.mark.parametrize("channels", [2, 4, 6])
@pytest.mark.parametrize("doubled", [False, True])
def test_residuals_of_few_channels_and_after_a_doubling(channels, doubled):
    """Branches of few channels are blocked, so a pixel's channels are those of several; trunks may be merged ones."""
    rng = np.random.default_rng(channels)

    def weights(outputs: int, inputs: int, greatest: int) -> np.ndarray:
        return rng.integers(-greatest, greatest + 1, (outputs, inputs, 3, 3))

    enter = convolution("enter", weights(channels, 3, 900), 0, 1 << 15)
    first = convolution("first", weights(channels, channels, 32767), 16, 1 << 31)
    second = replace(convolution("second", weights(channels, channels, 32767), 17), signed=True)
    up = convolution("up", weights(channels, channels, 32767), 17, 1 << 32)
    leave = convolution("leave", weights(3, channels, 32767), 26, 1 << 33, 8)
    kinds = set()
    for before in ((), (up,)) if doubled else ((),):
        head = (replace(enter, stride=2), Upsample(), *before) if doubled else (enter,)
        network = validate(
            IntegerNetwork(16, (*head, Residual((first, second)), Residual((replace(second, name="third"),)), leave))
        )
        image = noise(48, 64)
        assert len(np.unique(reference.run(network, image))) > 100
        for window in (None, Window(8, 9, 40, 50), Window(16, 16, 32, 48)):
            assert differing(network, image, window) == [0, 0]
            operations = lower(network, 48, 64, window).operations
            kinds |= {type(operations[o.branch]) for o in operations if isinstance(o, Join)}
    assert doubled or View in kinds, "no branch was blocked"


def test_digits_put_together_are_the_weights():
    rng = np.random.default_rng(0)
    for greatest in (127, 32639, 32640, 32767, 131068):
        weight = rng.integers(-greatest, greatest + 1, (5, 3, 2, 7))
        weight[0, 0, 0, :2] = greatest, -greatest
        program = lower(random_network(1, 4, 0, 16), 32, 32)
        c = replace(next(program.convolutions()), weight=weight)
        terms = ort_wide._terms(c, 1)
        together = sum(t.weight << t.exponent for t in terms)
        np.testing.assert_array_equal(together, weight.transpose(1, 2, 3, 0).reshape(-1, 5))
        for term in terms:
            assert (term.weight >= term.least).all() and (term.weight <= term.least + 255).all()
            assert (np.abs(term.least + 128) <= 128).all(), "beyond the zero points of a byte"
        assert len(terms) == (1 if greatest < 128 else 2 if greatest < 32768 else 3)


def test_one_lost_unit_is_seen():
    """The comparison can fail: a single bias less by one, at shift 0."""
    enter = convolution("enter", np.full((3, 3, 1, 1), 1), 2, out_bits=8)
    leave = convolution("leave", np.eye(3, dtype=np.int64)[:, :, None, None], 0, 5, out_bits=8)
    network = chain(replace(enter, out_bits=16), leave)
    image = check_image(32)
    painted = OrtEngine(1).compile(
        lower(replace(network, layers=(network.layers[0], replace(leave, bias=leave.bias - 1))), 32, 32)
    )(image)
    assert differing(network, image) == [0, 0] and (painted != reference.run(network, image)).any()


def test_a_large_picture_takes_no_more_memory_than_its_tables():
    """Steps hold some rows alone: the peak of a step's arrays does not grow with the height."""
    network = random_network(3, 8, 1, 16)
    short, tall = (onnx.load_from_string(ort_wide.build(lower(network, height, 256))).graph for height in (256, 1024))
    largest = [max(np.prod(i.dims, initial=1) for i in graph.initializer) for graph in (short, tall)]
    rows = [
        max(o.type.tensor_type.shape.dim[0].dim_value for n in graph.node for a in n.attribute for o in a.g.output)
        for graph in (short, tall)
    ]
    assert rows[1] <= 1.5 * rows[0] and largest[1] <= 5 * largest[0]
