"""Nodes: their lanes, words and cycles, counted by hand and by FINN's own classes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pleinair_hw.finn import environment
from pleinair_hw.plan.dataflow import Dataflow, Window, build_dataflow
from pleinair_hw.plan.nodes import (
    MVAU,
    ConvolutionInputGenerator,
    FMPadding,
    TrimBorder,
    WindowCentre,
    conversion,
    convert_cycles,
    divisors,
    node_of,
)
from tests.hw.finn.test_environment import needs_finn, own_environment  # noqa: F401
from tests.networks import adaptive_network, random_network


@pytest.fixture(scope="module")
def flow() -> Dataflow:
    """16 x 16 pixels through a 9 x 9 convolution by taps, a doubling by phases, and all else directly."""
    return build_dataflow(random_network(1, width=4, blocks=1), 16, 16, {"enter": "taps", "up1": "phases"})


def test_divisors_are_as_many_as_the_prime_factors_say():
    assert divisors(1) == (1,) and divisors(7) == (1, 7)
    assert len(divisors(360)) == (3 + 1) * (2 + 1) * (1 + 1)  # 2**3 * 3**2 * 5
    assert [a * b for a, b in zip(divisors(360), reversed(divisors(360)), strict=True)] == [360] * 24


def test_every_operator_has_its_node(flow):
    kinds = {
        "tapsum": "TapSum",
        "requantise": "RequantShift",
        "shuffle": "PixelShuffle",
        "upsample": "UpsampleNearestNeighbour",
        "fork": "DuplicateStreams",
        "add": "AddClamp",
    }
    found = {o.name: node_of(flow, o) for o in flow.operators if o.name.rsplit(".", 1)[1] not in ("window", "product")}
    assert {name.rsplit(".", 1)[1] for name in found} == set(kinds)
    assert all(node.kind == kinds[name.rsplit(".", 1)[1]] and node.name == name for name, node in found.items())


def test_the_middle_of_windows_by_hand():
    """Eight channels of 4 x 4 windows of 3 x 3 pixels, in words of two or of 72 values."""
    flow = build_dataflow(random_network(1, width=4, blocks=1), 16, 16, {"block1.conv1": "centred"})
    node, fork = (node_of(flow, flow.operator(f"block1.conv1.{name}")) for name in ("centre", "fork"))
    assert isinstance(node, WindowCentre) and node.kind == "WindowCentre" and fork.follows and node.follows
    pixels, channels = node.output.pixels, node.output.channels
    assert (node.reads(2), node.gives(2), node.cycles(2)) == (2, 2, pixels * 9 * channels // 2)
    whole = replace(node, whole=True)
    assert (whole.reads(channels), whole.gives(channels), whole.cycles(channels)) == (9 * channels, channels, pixels)
    assert fork.cycles(2) == node.cycles(2)
    direct = build_dataflow(random_network(1, width=4, blocks=1), 16, 16)
    assert not node_of(direct, direct.operator("block1.conv1.fork")).follows


def test_a_trimmed_border_by_hand():
    """13 x 10 pixels of 16 channels come in, all but two on each side go on."""
    flow = build_dataflow(adaptive_network(1, width=4, blocks=1), 60, 48, trimmed=True)
    node = node_of(flow, flow.operator("block1.conv1.trim"))
    assert isinstance(node, TrimBorder) and node.kind == "TrimBorder"
    assert (node.source.height, node.source.width, node.output.height, node.output.width) == (13, 10, 9, 6)
    assert (node.reads(2), node.gives(2), node.cycles(2)) == (2, 2, 13 * 10 * 16 // 2)


def test_words_and_cycles_by_hand(flow):
    def node(name: str):
        return node_of(flow, flow.operator(name))

    # Nine partial sums of four outputs at each of 16 rows of 16 + 4 columns.
    taps = node("enter.tapsum")
    assert (taps.reads(2), taps.gives(2), taps.cycles(1), taps.cycles(4)) == (18, 2, 16 * 20 * 4, 16 * 20)
    # Four phases of eight outputs at 5 x 5 windows come in, 8 x 8 pixels of eight go out.
    shuffle = node("up1.shuffle")
    assert (shuffle.cycles(1), shuffle.cycles(8)) == (5 * 5 * 32, 5 * 5 * 4)
    assert (shuffle.buffer(2).words, shuffle.buffer(2).bits) == (8 * 4, 2 * 8)
    # 8 x 8 pixels of eight channels come in, four times as many go out.
    upsample = node("up2.upsample")
    assert upsample.cycles(2) == 16 * 16 * 8 // 2
    assert (upsample.buffer(2).words, upsample.buffer(2).bits) == (2 * 8 * 4, 2 * 8)
    assert node("block1.conv2.add").cycles(4) == 4 * 4 * 16 // 4


def test_blocks_and_stations_by_hand():
    flow = build_dataflow(adaptive_network(1, width=4), 16, 24, {"up1": "phases"})
    assert [node_of(flow, s).kind for s in flow.stations] == ["RequantLight"] * 4
    # Blocks of 4 x 4: three rows of 24 pixels come in, then four rows of six blocks go out.
    blocks = node_of(flow, flow.operator("enter.blocks"))
    assert (blocks.kind, blocks.channels, blocks.cycles(1), blocks.cycles(3)) == ("SpaceToDepth", 3, 4 * 504, 4 * 168)
    assert (blocks.buffer(3).words, blocks.buffer(3).bits) == (3 * 24, 24)
    # A station's positions are its layer's, also where the layer's product has four phases.
    (up,) = [s for s in flow.stations if s.layer == "up1"]
    assert flow.operator(up.inputs[0]).name == "up1.shuffle" and node_of(flow, up).cycles(1) == 8 * 12 * 4
    # Without a border 8 x 12 windows of four phases are 16 x 24 pixels.
    leave = node_of(flow, flow.operator("leave.pixels"))
    assert (leave.kind, leave.cycles(1), leave.cycles(3)) == ("PixelShuffle", 16 * 24 * 3, 16 * 24)


def test_a_parallel_window_shows_all_its_pixels(flow):
    o = flow.operator("down1.window")
    assert isinstance(o, Window)
    window = ConvolutionInputGenerator(o, o.padded)
    assert (window.gives(2), window.in_parallel().gives(4)) == (2, 4 * 9)
    # One pixel a cycle of the padded 17 x 17 (nothing looks at what lies right and below), and two more.
    assert window.in_parallel().cycles(4) == 17 * 17 + 2
    assert window.in_parallel().operator is o and not window.parallel


@needs_finn
def test_cycles_of_finns_nodes_are_finns_own(tmp_path):
    environment.prepare(tmp_path, workers=1)
    from finn.custom_op.fpgadataflow.rtl.convolutioninputgenerator_rtl import ConvolutionInputGenerator_rtl
    from finn.custom_op.fpgadataflow.rtl.fmpadding_rtl import FMPadding_rtl
    from onnx import helper

    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(20):
        network = random_network(rng.randrange(1000), width=4, blocks=1, kernel=rng.choice([3, 5, 9]))
        flow = build_dataflow(network, 4 * rng.randint(3, 8), 4 * rng.randint(3, 8))
        o = rng.choice([o for o in flow.operators if isinstance(o, Window)])
        simd = rng.choice(divisors(o.source.channels))
        common = {"SIMD": simd, "inputDataType": f"UINT{o.source.bits}", "domain": "finn.custom_op.fpgadataflow.rtl"}
        pad = helper.make_node(
            "FMPadding_rtl",
            ["x"],
            ["y"],
            ImgDim=[o.source.height, o.source.width],
            Padding=list(o.pad),
            NumChannels=o.source.channels,
            **common,
        )
        assert FMPadding(o, o.source).cycles(simd) == FMPadding_rtl(pad).get_exp_cycles()
        for parallel in {False, simd == o.source.channels}:
            window = helper.make_node(
                "ConvolutionInputGenerator_rtl",
                ["x"],
                ["y"],
                ConvKernelDim=list(o.kernel),
                IFMChannels=o.source.channels,
                IFMDim=[o.padded.height, o.padded.width],
                OFMDim=[o.output.height, o.output.width],
                Stride=[o.stride, o.stride],
                Dilation=[1, 1],
                outputDataType=f"UINT{o.source.bits}",
                depthwise=0,
                parallel_window=int(parallel),
                **common,
            )
            ours = ConvolutionInputGenerator(o, o.padded, parallel)
            assert ours.cycles(simd) == ConvolutionInputGenerator_rtl(window).get_exp_cycles(), (o, simd, parallel)


def test_a_matrix_vector_unit_by_hand():
    unit = MVAU(
        rows=36,
        outputs=8,
        pixels=100,
        weight_bits=8,
        activation_bits=8,
        sum_bits=22,
        dsp_block="DSP48E2",
        pumped=True,
    )
    assert unit.cycles(6, 4) == 100 * (36 // 6) * (8 // 4)
    assert unit.pumps(6) and not unit.pumps(1)  # one input cannot be halved
    assert unit.lanes(12, 6) == 12 * 2 * 2 and unit.lanes(12, 1) == 12 * 2  # two products of 8 x 8 bits a DSP
    weights = unit.weights(6, 4, writeable=False)
    assert (weights.words, weights.bits) == (36 * 8 // 24, 6 * 4 * 8)


def test_width_converters_take_longer_where_neither_width_divides_the_other():
    assert convert_cycles(1200, 1, 12) == convert_cycles(1200, 12, 1) == 1200
    assert convert_cycles(1200, 4, 12) == 300
    assert convert_cycles(1200, 4, 4) == 300
    assert convert_cycles(1200, 16, 12) == 1200 // 48 * (3 + 4 - 1)


def test_a_converter_that_is_too_slow_goes_by_way_of_the_common_multiple():
    (direct,) = conversion(4800, 16, 12, 8, target=600)
    assert (direct.into, direct.out, direct.cycles) == (16, 12, 600)
    up, down = conversion(4800, 16, 12, 8, target=599)
    assert (up.into, up.out, up.cycles) == (16, 48, 4800 // 16)
    assert (down.into, down.out, down.cycles) == (48, 12, 4800 // 12)
    assert len(conversion(4800, 4, 12, 8, target=1)) == 1  # nothing is gained where one width divides the other
    assert conversion(4800, 12, 12, 8, target=1) == []
