"""Trimmed networks: convolutions that do not pad, so that an image shrinks from layer to layer.

A convolution that pads with zeros gives as many pixels as it takes, and those near the border depend on the zeros. A
painting is made with a margin around the frame, so that none of these is in the frame. A machine that does not pad
computes all other pixels, and no margin that nobody looks at. What is lost on each side of the painting is its *inset*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pleinair.errors import OptionError
from pleinair.network.integer import IntegerNetwork


@dataclass(frozen=True)
class Grid:
    """Where a convolution's positions lie on the network's input.

    One of them is ``scale`` pixels high and wide. In a trimmed network the first ``inset`` rows and columns are
    missing, and as many at the end.
    """

    scale: int
    inset: int


def grids(network: IntegerNetwork, *, trimmed: bool) -> list[Grid]:
    """The grid of each convolution, in order of execution."""
    return _walk(network, trimmed)[0]


def inner(image: np.ndarray, inset: int) -> np.ndarray:
    """An image [H, W, ...] without ``inset`` pixels on each side; not copied."""
    return image[inset : image.shape[0] - inset, inset : image.shape[1] - inset]


def inset_of(network: IntegerNetwork) -> int:
    """Pixels that a trimmed network's painting is without on each side."""
    return _walk(network, True)[1]


def check_trimmable(network: IntegerNetwork, height: int, width: int) -> None:
    """Raise OptionError for a network that cannot be trimmed, or of whose frame nothing would be left."""
    for c in network.convolutions():
        if c.stride != 1:
            raise OptionError(f"cannot be: layer {c.name} has a stride of {c.stride}, allowed is 1", option="trim")
    inset = inset_of(network)
    if min(height, width) <= 2 * inset:
        raise OptionError(
            f"cannot be: {width}x{height} with the margin, allowed are sides above {2 * inset}",
            option="trim",
        )


def _walk(network: IntegerNetwork, trimmed: bool) -> tuple[list[Grid], int]:
    found: list[Grid] = []
    scale, inset = 1, 0
    for layer in network.layers:
        for c in layer.convolutions():
            scale *= c.stride
            inset += c.kernel // 2 if trimmed else 0
            found.append(Grid(scale, inset))
        if not layer.convolutions():
            scale = scale * layer.down // layer.up
            inset = inset * layer.up // layer.down
    return found, inset
