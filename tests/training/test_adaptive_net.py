"""The integer norm in the loop: Brevitas paints what the integers paint, value for value; its gradients are right."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pleinair.errors import ContractError
from pleinair.network.integer import dump, parse
from pleinair.network.light import in_light
from pleinair.painting import meter
from pleinair.painting.tiles import Window
from pleinair_training.adaptive_net import AdaptiveTransformNet, IntegerNorm
from pleinair_training.export import brevitas_painting
from pleinair_training.quantized_net import key
from tests.training.parents import MARGIN, SHAPE, day_frames, random_parent


def pictures(hours: list[float]) -> list[np.ndarray]:
    return day_frames(64, 40, hours)


def lights() -> list[np.ndarray]:
    """Frames of different light: noon, dusk and night; nothing to see, in black and in white; noise."""
    noise = np.random.default_rng(0).integers(0, 256, (88, 112, 3), dtype=np.uint8)
    return [*pictures([12, 18.5, 23]), np.zeros_like(noise), np.full_like(noise, 255), noise]


def tensor(padded: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 256


@cache
def _made(bits: int) -> AdaptiveTransformNet:
    return AdaptiveTransformNet.from_parent(random_parent(3), bits, [tensor(p) for p in pictures([6, 12, 18])], MARGIN)


def made(bits: int) -> AdaptiveTransformNet:
    """A parent of random weights, quantised; nothing trained."""
    return deepcopy(_made(bits))


def trained(network: AdaptiveTransformNet, steps: int = 3) -> AdaptiveTransformNet:
    """After some steps with a rate so high that scales, weights and metering are others than before."""
    before = network.to_integers()
    scales = [p for name, p in network.named_parameters() if "scaling_impl" in name]
    others = [p for name, p in network.named_parameters() if "scaling_impl" not in name]
    optimizer = torch.optim.Adam([{"params": others, "lr": 0.02}, {"params": scales, "lr": 0.4}])
    network.train()
    for padded in pictures([8, 13, 20])[:steps]:
        x = tensor(padded)
        optimizer.zero_grad()
        F.mse_loss(network(x, MARGIN), 1 - x).backward()
        optimizer.step()
        network.keep_bounds()
    network.eval()
    after = network.to_integers()
    assert all(len(np.unique(c.weight)) > 5 for c in after.convolutions())
    for old, new in zip(before.convolutions(), after.convolutions(), strict=True):
        assert (old.weight != new.weight).any()
        assert old.norm is None or (old.norm.meter_bias != new.norm.meter_bias).any()
    return network


@pytest.mark.parametrize(
    ("bits", "state"), [(4, "random"), (4, "trained"), (8, "random"), (8, "trained"), (16, "random")]
)
def test_brevitas_paints_what_the_integers_paint(bits, state):
    network = made(bits) if state == "random" else trained(made(bits))
    integers = parse(dump(network.to_integers()), "given")
    found = set()
    for padded in lights():
        height, width = padded.shape[:2]
        frame = Window(MARGIN, MARGIN, height - MARGIN, width - MARGIN)
        light = meter.measure(integers, padded, frame)
        found.add(light.digest())
        wanted = meter.paint(integers, padded, frame)
        painted = brevitas_painting(network, padded, MARGIN)[MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert int((painted != wanted).sum()) == 0
        assert in_light(integers, light).bits == bits
    assert len(found) == 6  # six lights, indeed


def test_frames_of_a_batch_are_each_in_their_own_light():
    network, (noon, _, night, *_) = made(4), lights()
    together = network(torch.cat([tensor(noon), tensor(night)]), MARGIN)
    for i, padded in enumerate((noon, night)):
        assert torch.equal(together[i], network(tensor(padded), MARGIN)[0])


@pytest.mark.parametrize(("bits", "most"), [(8, 4.5), (4, 25.0)])
def test_quantising_keeps_the_parent_s_painting(bits, most):
    parent, network = random_parent(3), made(bits)
    for padded in pictures([7, 13]):
        with torch.no_grad():
            wanted = parent(tensor(padded), MARGIN)[0].permute(1, 2, 0).numpy() * 256
        apart = (brevitas_painting(network, padded, MARGIN) - wanted)[MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert wanted.std() > 10 and np.sqrt((apart**2).mean()) < most


def test_training_computes_the_same_as_evaluation():
    """But for metering, which follows the frames in training: with a momentum of 0 the two are equal."""
    network, x = made(4), tensor(pictures([10])[0])
    wanted = network(x, MARGIN)
    for norm in network.norms.values():
        norm.momentum = 0.0
    assert torch.equal(network.train()(x, MARGIN), wanted)


def test_gradients_are_those_of_instance_norm():
    """Against autograd through F.instance_norm, with the frame's deviation and the two levels in its place."""
    torch.manual_seed(1)
    norm = IntegerNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -2.0, 1.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -1.0]))
        norm.meter.copy_(torch.tensor([[0] * 3, [16] * 3, [10] * 3]))
    y = (5 * torch.randn(2, 3, 6, 7) + 2).requires_grad_()
    unit = torch.full((3,), 1e-9)  # so small that the two levels do not count
    slope = torch.randn(2, 3, 6, 7)
    (norm.smooth(y, y, unit) * slope).sum().backward()
    found = y.grad, norm.weight.grad, norm.bias.grad
    again, weight, bias = y.detach().requires_grad_(), norm.weight.detach().abs().requires_grad_(), norm.bias.detach()
    bias.requires_grad_()
    (F.instance_norm(again, weight=weight, bias=bias, eps=0.0) * slope).sum().backward()
    assert weight.grad is not None and again.grad is not None and bias.grad is not None
    for a, b in zip(found, (again.grad, weight.grad * torch.tensor([1, -1, 1]), bias.grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_point_where_the_parent_s_do():
    """Each tensor's cosine to the float network's gradient of the same weights, in a loss without any sense."""
    network = made(8)
    parent, x = network.as_parent(), tensor(pictures([7])[0])
    slope = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    for each in (parent, network.train()):
        (each(x, MARGIN) * slope).mean().backward()
    for shape in SHAPE.convolutions:
        layer = parent.layer(shape.name)
        pairs = [(layer.convolution.weight, network.convolutions[key(shape.name)].weight)]
        if layer.norm is not None:
            norm = network.norms[key(shape.name)]
            pairs += [(layer.norm.weight, norm.weight), (layer.norm.bias, norm.bias)]
        for wanted, found in pairs:
            assert float(F.cosine_similarity(wanted.grad.flatten(), found.grad.flatten(), dim=0)) > 0.85


def test_training_brings_the_painting_nearer_to_its_parent():
    parent, network, x = random_parent(3), made(4), tensor(pictures([13])[0])
    with torch.no_grad():
        wanted = parent(x, MARGIN)
        before = float(F.mse_loss(network(x, MARGIN), wanted))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()
    for _ in range(12):
        optimizer.zero_grad()
        F.mse_loss(network(x, MARGIN), wanted).backward()
        optimizer.step()
    with torch.no_grad():
        after = float(F.mse_loss(network.eval()(x, MARGIN), wanted))
    assert after < 0.9 * before


def test_training_cannot_lead_out_of_the_contract():
    """All weights of the first convolution as large as they can be, which sums of half of the range do not hold."""
    network = made(4)
    with torch.no_grad():
        network.convolutions["enter"].weight[:3] = 10.0
    with pytest.raises(ContractError, match="enter: adaptive sums can reach"):
        network.to_integers()
    network.keep_bounds()
    before = network.to_integers().convolutions()
    network.keep_bounds()
    assert all((a.weight == b.weight).all() for a, b in zip(before, network.to_integers().convolutions(), strict=True))


def test_the_ends_keep_8_bit_weights_and_the_trunk_one_scale():
    network = made(4).to_integers()
    widths = {c.name: c.weight_bits for c in network.convolutions()}
    assert widths.pop("enter") == widths.pop("leave") == 8 and set(widths.values()) == {4}
    assert [c.out_bits for c in network.convolutions()] == [4] * (len(widths) + 1) + [8]


@torch.no_grad()
def test_it_goes_back_to_a_float_parent():
    """The latent weights with the norm: the parent itself, but for the signs of channels that were turned round."""
    parent, x = random_parent(3), tensor(pictures([10])[0])
    back = made(8).as_parent()
    torch.testing.assert_close(back(x, MARGIN), parent(x, MARGIN), rtol=0, atol=1e-4)
    assert not back.frozen and all((back.layer(s.name).norm.weight >= 0).all() for s in SHAPE.convolutions[:-1])


def test_a_checkpoint_restores_the_same_integers():
    network = trained(made(4))
    again = AdaptiveTransformNet.restore(SHAPE, 4, network.state_dict())
    assert dump(again.to_integers()) == dump(network.to_integers())
