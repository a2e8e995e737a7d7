"""Small float parents of the second generation, and frames for them: for rounding and for the quantised stage."""

from __future__ import annotations

import numpy as np
import torch

from pleinair.painting.tiles import add_margin
from pleinair.scenery.day import SyntheticDay
from pleinair_training.architecture import Architecture
from pleinair_training.transform_net import TransformNet

MARGIN = 24
SHAPE = Architecture(4, 1, 3, 4, 2)


def random_parent(seed: int) -> TransformNet:
    """Random weights, with norms that are not all alike and one channel turned round."""
    torch.manual_seed(seed)
    network = TransformNet(SHAPE).eval()
    with torch.no_grad():
        for shape in SHAPE.convolutions:
            norm = network.layer(shape.name).norm
            if norm is not None:
                norm.weight.copy_(torch.rand_like(norm.weight) + 0.3)
                norm.weight[0] *= -1
                norm.bias.copy_(0.3 * torch.randn_like(norm.bias))
    return network


def day_frames(width: int, height: int, hours: list[float]) -> list[np.ndarray]:
    """Frames of the synthetic day, as a network is given them."""
    day = SyntheticDay(width, height, seed=2)
    return [add_margin(day.frame(hour * 3600.0), MARGIN, 4, adaptive=True) for hour in hours]
