"""The integer network as streaming operators: every form of every convolution gives the reference's integers."""

from __future__ import annotations

import numpy as np
import pytest

from pleinair.errors import ContractError, OptionError
from pleinair.models import load_model, styles
from pleinair.network import reference
from pleinair.network.integer import Convolution, IntegerNetwork, Residual, Upsample, validate
from pleinair.network.light import in_light
from pleinair.network.trimming import grids, inset_of
from pleinair.painting.meter import measure
from pleinair.painting.tiles import Window
from pleinair.scenery import day as synthetic
from pleinair_hw.plan.dataflow import (
    AddClamp,
    MatrixProduct,
    TapSum,
    TrimBorder,
    build_dataflow,
    execute,
    narrow_bits,
    possible_forms,
    signed_bits,
)
from tests.networks import adaptive_network, random_convolution, random_network


def all_forms(network: IntegerNetwork) -> list[dict[str, str]]:
    """Form choices that between them put every convolution into every form that it may take."""
    allowed: dict[str, tuple[str, ...]] = {}
    for at, layer in enumerate(network.layers):
        upsampled = at > 0 and isinstance(network.layers[at - 1], Upsample)
        for number, c in enumerate((layer,) if isinstance(layer, Convolution) else getattr(layer, "body", ())):
            heads = c is not layer and number == 0
            allowed[c.name] = possible_forms(c, upsampled and c is layer, heads_block=heads)
    every = ("direct", "taps", "phases", "centred")
    return [{n: f for n, fs in allowed.items() for f in fs if f == form} for form in every]


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_form_equals_the_reference(bits, seed):
    network = random_network(seed, width=4, blocks=1, bits=bits)
    frame = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    expected = reference.run(network, frame)
    assert len(np.unique(expected)) > 20  # lively enough to tell a wrong network
    for forms in all_forms(network):
        dataflow = build_dataflow(network, 24, 32, forms)
        assert np.array_equal(execute(dataflow, frame), expected), forms


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("exit_kernel", [1, 3, 5])
def test_every_form_of_adaptive_networks_equals_the_reference_in_two_lights(bits, exit_kernel):
    network = adaptive_network(10 * bits + exit_kernel, width=4, blocks=1, bits=bits, exit_kernel=exit_kernel)
    rng = np.random.default_rng(bits)
    frame = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    own = measure(network, frame // 3, Window(0, 0, 24, 32))
    for lit in (network, in_light(network, own)):
        expected = reference.run(lit, frame)
        assert len(np.unique(expected)) > 20
        for forms in all_forms(lit):
            dataflow = build_dataflow(lit, 24, 32, forms)
            assert np.array_equal(execute(dataflow, frame), expected), forms


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("exit_kernel", [1, 3, 5])
def test_every_form_of_trimmed_networks_equals_the_reference_inside(bits, exit_kernel):
    network = adaptive_network(bits + exit_kernel, width=4, blocks=2, bits=bits, exit_kernel=exit_kernel)
    frame = np.random.default_rng(bits).integers(0, 256, (84, 76, 3), dtype=np.uint8)
    expected = reference.run(network, frame)
    for forms in all_forms(network):
        dataflow = build_dataflow(network, 84, 76, forms, trimmed=True)
        inset = dataflow.inset
        assert inset == inset_of(network) > 0 and not any(any(getattr(o, "pad", ())) for o in dataflow.operators)
        painted = execute(dataflow, frame)
        assert np.array_equal(painted, expected[inset : 84 - inset, inset : 76 - inset]), forms
        places = zip(network.convolutions(), grids(network, trimmed=True), strict=True)
        found = [(84 // g.scale - 2 * g.inset, 76 // g.scale - 2 * g.inset) for c, g in places if c.norm is not None]
        assert [(s.output.height, s.output.width) for s in dataflow.stations] == found
        trims = [o.border for o in dataflow.operators if isinstance(o, TrimBorder)]
        assert trims == [1 if "centred" in forms.values() else 2] * 2


def test_a_network_with_strides_is_not_trimmed():
    with pytest.raises(OptionError, match="trim cannot be: layer down1"):
        build_dataflow(random_network(1, width=4), 64, 64, trimmed=True)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_station_holds_what_its_layer_has_and_bounds_every_light(bits):
    network = adaptive_network(5, width=4, blocks=1, bits=bits)
    adaptive = [c for c in network.convolutions() if c.norm is not None]
    for forms in all_forms(network):
        dataflow = build_dataflow(network, 16, 24, forms)
        assert [s.layer for s in dataflow.stations] == [c.name for c in adaptive]
        for station, c in zip(dataflow.stations, adaptive, strict=True):
            up = 2 if c.name == "up1" else 1
            assert (station.output.height, station.output.width) == (4 * up, 6 * up)
            assert (station.output.channels, station.output.bits, station.output.signed) == (c.outputs, bits, c.signed)
            for name in ("bias", "multiplier", "shift"):
                assert np.array_equal(getattr(station, name), getattr(c, name)), name
            assert station.norm is c.norm
            assert station.longest == (16 if bits == 8 else 40)
            biases = np.abs([c.bias, c.norm.meter_bias])
            assert (biases <= station.room).all()
            # The greatest bias that a light may have: its sums stay within the contract's limit.
            worst = np.abs(c.weight.astype(np.int64)).sum((1, 2, 3)) * (255 if c.name == "enter" else (1 << bits) - 1)
            assert ((worst + station.room) == (1 << 24 if bits == 8 else 1 << 47)).all()
            assert int(station.room.max()).bit_length() + 1 == station.bias_bits


def test_blocks_belong_to_the_convolutions_beside_them():
    network = adaptive_network(3, width=4, blocks=1)
    operators = build_dataflow(network, 16, 16, {"up1": "phases", "leave": "taps"}).operators
    assert [o.name for o in operators[:3]] == ["enter.blocks", "enter.window", "enter.product"]
    names = ["leave.window", "leave.product", "leave.tapsum", "leave.requantise", "leave.pixels"]
    assert [o.name for o in operators[-5:]] == names
    assert len({o.name for o in operators}) == len(operators)


@pytest.mark.parametrize("style", sorted(styles()))
def test_shipped_networks_in_the_forms_of_hardware(style):
    network = load_model(style, 8).network
    frame = next(iter(synthetic_frames(1)))
    forms = {k: v for choice in all_forms(network)[1:] for k, v in choice.items()}
    dataflow = build_dataflow(network, *frame.shape[:2], forms)
    assert np.array_equal(execute(dataflow, frame), reference.run(network, frame))


def synthetic_frames(count: int, height: int = 64, width: int = 96):
    """Frames of the synthetic valley, uint8 [H, W, 3]."""
    day = synthetic.SyntheticDay(width, height)
    for number in range(count):
        yield day.frame(3600.0 * (8 + 4 * number))


def test_only_the_first_convolution_of_a_block_can_be_centred():
    network = random_network(3, width=4, blocks=2)
    heads = {layer.body[0].name for layer in network.layers if isinstance(layer, Residual)}
    assert set(all_forms(network)[3]) == heads and len(heads) == 2
    flow = build_dataflow(network, 16, 24, all_forms(network)[3])
    for name in heads:
        fork, centre = flow.operator(f"{name}.fork"), flow.operator(f"{name}.centre")
        assert fork.inputs == (f"{name}.window",) and fork.output.channels == 9 * centre.output.channels
        assert [o.name for o in flow.consumers(fork.name)] == [centre.name, f"{name}.product"]
        assert [type(o) for o in flow.consumers(centre.name)] == [AddClamp]
    with pytest.raises(ValueError, match="cannot take the form centred: allowed are direct, taps"):
        build_dataflow(network, 16, 24, {"block1.conv2": "centred"})


@pytest.mark.parametrize("kernel", [1, 5])
def test_other_kernels_behind_an_upsampling_stay_direct(kernel):
    rng = np.random.default_rng(kernel)
    x = rng.integers(0, 256, (3, 16, 16))
    down = random_convolution(rng, x, "down", 6, 3, 2, 8, 255, 8)
    half = reference.requantise(reference.convolve(x, down), down).repeat(2, 1).repeat(2, 2)
    up = random_convolution(rng, half, "up", 3, kernel, 1, 8, 255, 8)
    network = validate(IntegerNetwork(8, (down, Upsample(), up)))
    assert possible_forms(up, True) == ("direct",)
    frame = x.transpose(1, 2, 0).astype(np.uint8)
    assert np.array_equal(execute(build_dataflow(network, 16, 16), frame), reference.run(network, frame))


def test_the_weights_of_phases_are_sums_of_the_kernel():
    """Row by row of the matrix: the window's pixels in order, the channels of each fastest; a column is a phase's."""
    network = random_network(5, width=4, blocks=0, kernel=3)
    c = next(c for c in network.convolutions() if c.name == "up1")
    weight = c.weight.astype(np.int64)
    product = build_dataflow(network, 16, 16, {"up1": "phases"}).operator("up1.product")
    assert isinstance(product, MatrixProduct)
    phases = product.weight.reshape(2, 2, c.inputs, 2, 2, c.outputs)  # window row, column, channel; phase row, column
    # The phase at the top left: rows and columns 0 and 1 of the kernel fall on the window's first, 2 on its second.
    assert np.array_equal(phases[0, 0, :, 0, 0], weight[:, :, :2, :2].sum((2, 3)).T)
    assert np.array_equal(phases[1, 1, :, 0, 0], weight[:, :, 2, 2].T)
    # At the bottom right: 0 on the first, 1 and 2 on the second.
    assert np.array_equal(phases[0, 1, :, 1, 1], weight[:, :, 0, 1:].sum(2).T)
    assert np.array_equal(phases[1, 0, :, 1, 1], weight[:, :, 1:, 0].sum(2).T)
    # On an image of ones every phase adds up the whole kernel.
    everything = np.broadcast_to(weight.sum((2, 3)).T[:, None, None], (c.inputs, 2, 2, c.outputs))
    assert np.array_equal(phases.sum((0, 1)), everything)
    assert product.weight_bits == max(narrow_bits(phases), c.weight_bits) <= 10


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_no_sum_can_leave_its_width(bits):
    """The worst inputs, column by column, of every matrix product and of the sums along the row."""
    network = random_network(7, width=4, blocks=1, bits=bits)
    for forms in all_forms(network):
        dataflow = build_dataflow(network, 16, 16, forms)
        for o in dataflow.operators:
            if not isinstance(o, MatrixProduct):
                continue
            high = (1 << o.activation_bits) - 1
            greatest = np.where(o.weight > 0, o.weight, 0).sum(0).max() * high
            least = np.where(o.weight < 0, o.weight, 0).sum(0).min() * high
            assert signed_bits(int(least), int(greatest)) <= o.output.bits <= 48
            assert np.abs(o.weight).max() < 1 << (o.weight_bits - 1)
            after = dataflow.consumers(o.name)[0]
            if isinstance(after, TapSum):
                magnitude = np.abs(o.weight).sum(0).reshape(-1, after.taps).sum(1).max() * high
                assert signed_bits(-int(magnitude), int(magnitude)) <= after.output.bits


def test_a_size_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ContractError, match="30x32.*multiples of 4"):
        build_dataflow(random_network(1, width=4, blocks=1), 32, 30)


def test_a_form_that_a_layer_cannot_take_is_refused():
    with pytest.raises(ValueError, match="down1 cannot take the form taps"):
        build_dataflow(random_network(1, width=4, blocks=1), 16, 16, {"down1": "taps"})


def test_residual_blocks_keep_their_trunk():
    network = random_network(3, width=4, blocks=2)
    assert sum(isinstance(layer, Residual) for layer in network.layers) == 2
    names = [o.name for o in build_dataflow(network, 16, 16).operators]
    assert len(set(names)) == len(names)
    assert sum(name.endswith(".fork") for name in names) == 2
