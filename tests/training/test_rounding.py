"""A float parent of the second generation, rounded: how near the integers paint, and what they must keep."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch

from pleinair.network import reference
from pleinair.network.integer import dump, parse, validate
from pleinair.network.light import in_light
from pleinair.painting.meter import measure, paint
from pleinair.painting.tiles import Window
from pleinair_training.rounding import round_network
from pleinair_training.transform_net import TransformNet
from tests.training.parents import MARGIN, day_frames, random_parent


@pytest.fixture(scope="module")
def parent() -> TransformNet:
    return random_parent(3)


def pictures(hours: list[float]) -> list[np.ndarray]:
    return day_frames(96, 64, hours)


@torch.no_grad()
def floated(network: TransformNet, padded: np.ndarray) -> np.ndarray:
    """The float painting, with the frame's statistics as metering takes them: of the frame without its margin."""
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 256
    painted = network(x, MARGIN)[0].permute(1, 2, 0).numpy() * 256
    return np.clip(np.rint(painted), 0, 255)[MARGIN:-MARGIN, MARGIN:-MARGIN]


@pytest.mark.parametrize(("bits", "most"), [(16, 2.5), (8, 4.0), (4, 25.0)])
def test_rounding_keeps_the_painting(parent, bits, most):
    """Root mean square in levels. What is left at 16 bits are the gains' five bits: 1/32 each at the most."""
    network = round_network(parent, bits, pictures([6, 9, 12, 18]), margin=MARGIN)
    for padded in pictures([7, 13, 22]):
        height, width = (length - 2 * MARGIN for length in padded.shape[:2])
        light = measure(network, padded, Window(MARGIN, MARGIN, MARGIN + height, MARGIN + width))
        painted = reference.run(in_light(network, light), padded)[MARGIN:-MARGIN, MARGIN:-MARGIN]
        wanted = floated(parent, padded)
        assert wanted.std() > 10
        assert np.sqrt(np.mean((painted - wanted) ** 2.0)) < most


@torch.no_grad()
def uneven(parent: TransformNet) -> TransformNet:
    """The same paintings from channels of very different ranges, some of them always 0."""
    network = deepcopy(parent)
    shape = network.architecture
    generator = torch.Generator().manual_seed(5)
    readers = [(first.name, second.name) for first, second in shape.residual]
    for writer, reader in [*readers, *((a.name, b.name) for a, b in pairwise(shape.tail))]:
        norm = network.layer(writer).norm
        assert norm is not None
        factor = torch.exp2(torch.randint(-5, 6, (len(norm.weight),), generator=generator).float())
        norm.weight.mul_(factor)
        norm.bias.mul_(factor)
        network.layer(reader).convolution.weight.div_(factor.view(1, -1, 1, 1))
    dead = network.layer(readers[0][0]).norm
    assert dead is not None
    dead.bias[:2] = -1000 * dead.weight[:2].abs()
    return network


def test_channels_of_very_different_ranges_lose_no_more(parent):
    network = uneven(parent)
    integers = round_network(network, 8, pictures([6, 9, 12, 18]), margin=MARGIN)
    for padded in pictures([7, 13]):
        height, width = (length - 2 * MARGIN for length in padded.shape[:2])
        painted = paint(integers, padded, Window(MARGIN, MARGIN, MARGIN + height, MARGIN + width))
        assert np.sqrt(np.mean((painted - floated(network, padded)) ** 2.0)) < 4


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_the_result_keeps_the_contract_and_survives_its_file(parent, bits):
    network = validate(round_network(parent, bits, pictures([9, 15]), margin=MARGIN))
    assert network.adaptive and network.bits == bits and dump(parse(dump(network), "given")) == dump(network)


def test_the_average_light_paints_an_average_photo_nearly_as_its_own(parent):
    photos = pictures([11, 12])
    network = round_network(parent, 8, photos, margin=MARGIN)
    own = measure(network, photos[0], Window(MARGIN, MARGIN, MARGIN + 64, MARGIN + 96))
    apart = reference.run(network, photos[0]).astype(float) - reference.run(in_light(network, own), photos[0])
    assert 0 < np.abs(apart).mean() < 12
