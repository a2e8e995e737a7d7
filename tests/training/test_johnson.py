"""Johnson's network against figures from elsewhere, ours against its float64 reference."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from pleinair.network import floating as float_network  # noqa: E402
from pleinair.network.floating import FloatConvolution, FloatNetwork, FloatResidual  # noqa: E402
from pleinair.network.integer import Upsample  # noqa: E402
from pleinair_training.johnson import JohnsonNet, johnson_runner, plain_runner  # noqa: E402

#: By hand from the paper's table: (inputs, outputs, kernel, pixels of output per pixel of the image, norm).
TABLE = (
    (3, 32, 9, 1.0, True),
    (32, 64, 3, 1 / 4, True),
    (64, 128, 3, 1 / 16, True),
    *((128, 128, 3, 1 / 16, True),) * 10,
    (128, 64, 3, 1 / 4, True),
    (64, 32, 3, 1.0, True),
    (32, 3, 9, 1.0, False),
)
from tests.networks import adaptive_network, floats_like  # noqa: E402


def test_parameters_and_macs_are_the_tables() -> None:
    network = JohnsonNet()
    weights = sum(i * o * k * k + o + (2 * o if norm else 0) for i, o, k, _, norm in TABLE)
    assert weights == 1_679_235  # what is commonly said of PyTorch's example
    assert sum(p.numel() for p in network.parameters()) == weights
    assert network.size_bytes() == 4 * weights
    assert network.macs_per_pixel() == sum(i * o * k * k * area for i, o, k, area, _ in TABLE) == 153_792


def test_macs_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network, size = JohnsonNet().eval(), (40, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size))
    assert counter.get_total_flops() == 2 * network.macs_per_pixel() * size[0] * size[1]


@pytest.mark.parametrize("size", [(16, 20), (17, 30), (48, 64)])
def test_a_frame_comes_out_as_large_as_it_went_in(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    network, run = johnson_runner()
    painted = run(frame)
    assert painted.shape == frame.shape and painted.dtype == np.uint8
    assert not network.training
    np.testing.assert_array_equal(painted, johnson_runner()[1](frame))  # the same weights each time


def test_it_normalises_by_the_frame() -> None:
    """Instance norm: the first layer does not see contrast or brightness, batch norm and no norm would."""
    network = JohnsonNet().eval()
    x = torch.rand(1, 3, 32, 32) * 100
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(2 * x + 10), rtol=1e-3, atol=1e-3)


def test_random_weights_leave_the_callers_seed_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    johnson_runner()
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def small_float_network(seed: int) -> FloatNetwork:
    rng = np.random.default_rng(seed)

    def conv(
        name: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> FloatConvolution:
        weight = rng.normal(0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel)).astype(np.float32)
        return FloatConvolution(name, weight, rng.normal(0.2, 0.1, outputs).astype(np.float32), stride, relu)

    body = (conv("b1", 8, 8), conv("b2", 8, 8, relu=False))
    layers = (
        conv("enter", 3, 4, 5),
        conv("down", 4, 8, stride=2),
        FloatResidual(body),
        Upsample(),
        conv("up", 8, 4),
        conv("leave", 4, 3, 5, relu=False),
    )
    return float_network.validate(FloatNetwork(layers))


@pytest.mark.parametrize("place", [None, (slice(8, 29), slice(5, 22))])
def test_ours_is_the_float_reference_with_norms(place) -> None:
    network = floats_like(adaptive_network(2, width=4), 4)
    image = np.random.default_rng(3).integers(0, 256, (36, 28, 3), dtype=np.uint8)
    expected = float_network.run(network, image, place).astype(int)
    assert len(np.unique(expected)) > 50
    difference = np.abs(plain_runner(network)(image, place).astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_ours_is_the_float_reference() -> None:
    seed = 11
    network = small_float_network(seed)
    image = np.random.default_rng(seed).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    expected = float_network.run(network, image).astype(int)
    assert len(np.unique(expected)) > 50  # lively, so that equality says something
    difference = np.abs(plain_runner(network)(image).astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01  # float32 against float64, halves may round apart
