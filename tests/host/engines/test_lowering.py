"""Lowered programs, run in NumPy, against the reference: every window of every shape gives the network's own pixels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pleinair.engines import lowering
from pleinair.engines.lowering import Convolve, Double, Input, Join, Program, Unblock, View, blocked, lower, merged
from pleinair.models import load_model
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Upsample, validate
from pleinair.painting.tiles import Window
from tests.networks import random_network


def execute(program: Program, image: np.ndarray) -> np.ndarray:
    """What the operations' descriptions say, one by one."""
    values: list[np.ndarray] = []
    for o in program.operations:
        if isinstance(o, Input):
            y = program.reads.of(image).astype(np.int64)
        elif isinstance(o, Convolve):
            y = convolve(values[o.source], o)
        elif isinstance(o, View):
            y = values[o.source].reshape(o.shape)
        elif isinstance(o, Double):
            y = values[o.source].repeat(2, 0).repeat(2, 1)
        elif isinstance(o, Unblock):
            height, width, channels = values[o.source].shape
            y = np.stack(np.split(values[o.source], o.rows, axis=2), axis=1)
            y = y.reshape(height * o.rows, width, channels // o.rows)
        else:
            height, width, _ = o.shape
            trunk = values[o.trunk][o.top : o.top + height, o.left : o.left + width]
            y = np.clip(trunk + values[o.branch], 0, o.high)
        assert y.shape == o.shape
        values.append(y)
    return values[-1].astype(np.uint8)


def convolve(x: np.ndarray, o: Convolve) -> np.ndarray:
    top, left, bottom, right = o.pads
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    down, across = o.strides
    windows = np.lib.stride_tricks.sliding_window_view(x, o.weight.shape[1:3], (0, 1))[::down, ::across]
    total = np.einsum("yxikl,okli->yxo", windows[: o.shape[0], : o.shape[1]], o.weight.astype(np.int64), optimize=True)
    rounded = reference.round_half_even_shift(total + o.bias, np.broadcast_to(o.shift, total.shape))
    return np.clip(rounded, o.low, o.high)


def differing(network: IntegerNetwork, size: tuple[int, int], window: Window, seed: int) -> tuple[int, Program]:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    program = lower(network, *size, window)
    assert program.paints.holds(window)
    painted = window.within(program.paints).of(execute(program, image))
    return int((painted != window.of(reference.run(network, image))).sum()), program


@pytest.mark.parametrize(("width", "blocks", "kernel"), [(4, 0, 9), (8, 2, 9), (16, 1, 9), (24, 1, 5), (5, 3, 3)])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_any_window_of_any_network(width, blocks, kernel, bits):
    seed = 100 * width + 10 * blocks + bits
    print(f"seed {seed}")
    network = random_network(seed, width, blocks, bits, kernel)
    rng = np.random.default_rng(seed)
    for k in range(8):
        height, breadth = (int(network.stride * n) for n in rng.integers(6, 30, 2))
        (top, bottom), (left, right) = (sorted(rng.choice(side + 1, 2, replace=False)) for side in (height, breadth))
        window = Window(int(top), int(left), int(bottom), int(right)) if k else Window(0, 0, height, breadth)
        assert differing(network, (height, breadth), window, k)[0] == 0, (height, breadth, window)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("style", ["starry-night-board", "starry-night-small"])
def test_the_shipped_networks_interior(style, bits):
    network = load_model(style, bits).network
    window = Window(40, 40, 72, 80)
    wrong, program = differing(network, (112, 120), window, 1)
    assert wrong == 0
    whole = lower(network, 112, 120)
    assert program.macs() < 0.7 * whole.macs()
    # Within the margin nothing is padded but for what makes blocks come out even, so no zero is ever seen.
    assert not any(isinstance(o, Double) for o in program.operations) or bits == 8


def doubled(bits: int, weight_bits: int, greatest: int) -> IntegerNetwork:
    """A network with one doubling whose weights are all ``greatest``."""
    network = random_network(3, 8, 0, bits, 3)
    layers = list(network.layers)
    for i, (a, b) in enumerate(pairwise(layers)):
        if isinstance(a, Upsample) and isinstance(b, Convolution):
            weight = np.full(b.weight.shape, greatest, b.weight.dtype)
            layers[i + 1] = replace(b, weight=weight, weight_bits=weight_bits, bias=np.zeros_like(b.bias))
    return validate(replace(network, layers=tuple(layers)))


@pytest.mark.parametrize(("greatest", "fits"), [(31, True), (32, False)])
def test_doublings_are_merged_only_where_the_sums_fit(greatest, fits):
    network = doubled(8, 8, greatest)
    wrong, program = differing(network, (64, 64), Window(24, 24, 40, 40), 2)
    assert wrong == 0
    assert any(isinstance(o, Double) for o in program.operations) is not fits
    assert all(np.abs(c.weight).max() <= 127 for c in program.convolutions())


def test_blocked_and_merged_weights_by_hand():
    weight = np.arange(1, 10).reshape(1, 3, 3, 1)
    wide = blocked(weight, 1, 2)
    assert wide.shape == (2, 3, 2, 2)
    assert wide[0, 0].ravel().tolist() == [1, 2, 3, 0] and wide[1, 0].ravel().tolist() == [0, 1, 2, 3]
    few = merged(weight)
    # Top left phase: row i - 1 holds the doubled rows above and at the window's first, row i the one below.
    assert few[0, :, :, 0].tolist() == [[1 + 2 + 4 + 5, 3 + 6], [7 + 8, 9]]
    assert few[3, :, :, 0].tolist() == [[1, 2 + 3], [4 + 7, 5 + 6 + 8 + 9]]
    assert few.dtype == np.int16 and merged(np.full((1, 3, 3, 1), 1 << 30), np.int64).max() == 4 << 30


def test_the_worked_example_of_one_axis():
    zero = np.zeros(1, np.int64)

    def taps(name: str, stride: int = 1) -> Convolution:
        return Convolution(name, np.zeros((1, 1, 3, 3), np.int8), zero, zero, stride, 8, 8)

    layers = [taps("first"), taps("down", 2), Upsample(), taps("last")]
    chain = [lowering._Form(layer, extent) for layer, extent in zip(layers, (16, 8, 16, 16), strict=True)]
    assert [(step.gives, step.reads, step.pads) for step in lowering._fit(chain, (0, 4), 16)] == [
        ((0, 6), (0, 7), (1, 0)),
        ((0, 3), (0, 6), (1, 0)),
        ((0, 6), (0, 3), (0, 0)),
        ((0, 5), (0, 6), (1, 0)),
    ]


def test_macs_are_what_is_computed():
    program = lower(random_network(1, 8, 1), 64, 64)
    by_hand = sum(c.shape[0] * c.shape[1] * c.shape[2] * c.weight[0].size for c in program.convolutions())
    assert program.macs() == by_hand > 64 * 64 * random_network(1, 8, 1).macs_per_pixel()


@pytest.mark.parametrize(
    ("size", "window"), [((62, 64), None), ((64, 64), Window(0, 0, 65, 64)), ((64, 64), Window(5, 5, 5, 9))]
)
def test_what_cannot_be_is_refused(size, window):
    with pytest.raises(ValueError, match="not"):
        lower(random_network(1), *size, window)


def test_a_program_is_small_and_ordered():
    program = lower(random_network(1, 8, 2), 96, 96)
    for i, o in enumerate(program.operations):
        sources = [o.trunk, o.branch] if isinstance(o, Join) else [] if isinstance(o, Input) else [o.source]
        assert all(0 <= s < i for s in sources)
