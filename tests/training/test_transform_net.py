"""The float network's two ages, and its quantised form's scales."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pleinair_training.architecture import Architecture
from pleinair_training.quantized_net import QuantizedTransformNet, weight_exponents
from pleinair_training.transform_net import TransformNet, _InwardClamp


@pytest.fixture
def network() -> TransformNet:
    torch.manual_seed(0)
    net = TransformNet(Architecture(4, 2))
    for p in net.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return net


def batches(count: int = 3) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (2, 3, 48, 64), generator=g) / 256 for _ in range(count)]


def plain_by_hand(net: TransformNet, x: torch.Tensor) -> torch.Tensor:
    """The folded network in torch's functions alone."""
    w = net.folded()
    conv = lambda name, x, stride=1: F.conv2d(x, *w[name], stride=stride, padding=w[name][0].shape[2] // 2)  # noqa: E731
    x = F.relu(conv("enter", x))
    x = F.relu(conv("down2", F.relu(conv("down1", x, 2)), 2))
    for i in (1, 2):
        x = F.relu(x + conv(f"block{i}.conv2", F.relu(conv(f"block{i}.conv1", x))))
    x = F.relu(conv("up1", x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    x = F.relu(conv("up2", x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    return conv("leave", x).clamp(0, 255 / 256)


def test_parent_normalises_every_frame_and_the_frozen_net_none(network):
    x = batches(1)[0]
    dark = torch.cat([x[:1], 0.2 * x[1:]])
    # Alone or beside another, a frame is painted alike; brighter or darker, the parent sees the same.
    torch.testing.assert_close(network(dark)[:1], network(dark[:1]))
    scaled = network.activations(0.5 * x)["down1"]
    torch.testing.assert_close(network.activations(x)["down1"], scaled, rtol=1e-2, atol=1e-2)
    network.freeze_statistics(batches())
    assert not torch.allclose(
        network.activations(x)["down1"], network.activations(0.5 * x)["down1"], rtol=1e-2, atol=1e-2
    )


def test_folding_changes_nothing(network):
    network.freeze_statistics(batches())
    x = batches(1)[0]
    torch.testing.assert_close(plain_by_hand(network, x), network(x), rtol=1e-4, atol=1e-5)


def test_frozen_statistics_are_the_data_s_own(network):
    network.freeze_statistics(batches())
    features = torch.cat([network.activations(b)["down1"] for b in batches()])
    weight, bias = network.folded()["down1"]
    x = torch.cat([network.activations(b)["enter"] for b in batches()])
    norm = network.layers["down1"].norm
    normal = (F.conv2d(x, weight, bias, 2, 1) - norm.bias.view(-1, 1, 1)) / norm.weight.view(-1, 1, 1)
    assert float(normal.mean((0, 2, 3)).abs().max().detach()) < 1e-3
    assert float((normal.std((0, 2, 3)) - 1).abs().max().detach()) < 1e-2
    assert features.shape[0] == 6


def test_folding_an_unfrozen_network_is_our_mistake(network):
    with pytest.raises(RuntimeError, match="not frozen"):
        network.folded()


def test_clamp_lets_gradients_back_in():
    x = torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0], requires_grad=True)
    y = _InwardClamp.apply(x)
    torch.testing.assert_close(y.detach(), torch.tensor([0, 0, 0.5, 255 / 256, 255 / 256]))
    y.backward(torch.tensor([1.0, -1.0, 3.0, 1.0, -1.0]))  # descent moves against these
    assert x.grad is not None and x.grad.tolist() == [0, -1, 3, 1, 0]


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_quantised_scales_are_powers_of_two_and_shared_along_the_trunk(network, bits):
    network.freeze_statistics(batches())
    q = QuantizedTransformNet.from_float(network, bits, batches()).eval()
    q(batches(1)[0])
    for key, conv in q.convolutions.items():
        scale = conv.quant_weight().scale.flatten()
        assert bool((torch.frexp(scale)[0] == 0.5).all()), key
        ends = key in ("enter", "leave")
        assert int(conv.quant_weight().bit_width) == (max(8, bits) if ends else bits)
    trunk = q.trunk(torch.rand(1, 16, 4, 4))
    branch = q.branch(torch.randn(1, 16, 4, 4))
    assert float(trunk.scale) == float(branch.scale) and branch.signed and not trunk.signed


def test_quantising_finely_changes_little(network):
    network.freeze_statistics(batches())
    x = batches(1)[0]
    error = {}
    for bits in (4, 8, 16):
        q = QuantizedTransformNet.from_float(network, bits, batches()).eval()
        error[bits] = float((q(x) - network(x)).abs().mean() * 256)
    assert error[16] < error[8] < error[4]
    assert error[16] < 0.3 and error[8] < 6  # the output's own rounding is a quarter of a grey level


def test_weight_exponents_keep_the_accumulator_bound():
    weight = torch.full((2, 256, 3, 3), 0.5)
    weight[1] = 0.001
    exponent = weight_exponents(weight, 8, 255)
    integers = (weight / torch.exp2(exponent).view(-1, 1, 1, 1)).round()
    assert float(integers.abs().sum((1, 2, 3)).max()) * 255 < 1 << 24


def test_weight_exponents_are_the_best_by_search():
    torch.manual_seed(0)
    weight = torch.randn(6, 8, 3, 3) * torch.tensor([1, 0.3, 0.1, 2, 5, 0.01]).view(-1, 1, 1, 1)
    for bits in (4, 8):
        q = (1 << (bits - 1)) - 1
        errors = [
            ((weight / 2.0**e).round().clamp(-q, q) * 2.0**e - weight).square().sum((1, 2, 3)) for e in range(-20, 6)
        ]
        wanted = torch.stack(errors).argmin(0) - 20
        torch.testing.assert_close(weight_exponents(weight, bits, 15), wanted.float())
