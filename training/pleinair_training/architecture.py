"""The image transform network's shape, once, for every form it takes (float, quantised, exported).

Johnson, Alahi, Fei-Fei, *Perceptual Losses for Real-Time Style Transfer and Super-Resolution* (2016),
supplementary table 1, with two departures that hardware asks for: nearest-neighbour upsampling and a
convolution instead of a transposed convolution (Odena et al., 2016: no checkerboards), and a ReLU after
each residual sum, so that the trunk stays unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["activation", "branch", "pixel"]


@dataclass(frozen=True)
class ConvolutionShape:
    """One convolution: channels, kernel (square, odd), stride, and what its output is.

    ``activation``: rectified, unsigned. ``branch``: signed, added to the trunk. ``pixel``: the uint8 image.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    role: Role


@dataclass(frozen=True)
class Architecture:
    """Johnson's transform network of a given ``width`` (channels after the first layer) and depth.

    ``blocks`` is the number of residual blocks, ``kernel`` the odd size of the first and last kernel.
    """

    width: int = 16
    blocks: int = 3
    kernel: int = 9

    @property
    def head(self) -> tuple[ConvolutionShape, ...]:
        """The convolutions before the residual blocks: full, half and quarter resolution."""
        w = self.width
        return (
            ConvolutionShape("enter", 3, w, self.kernel, 1, "activation"),
            ConvolutionShape("down1", w, 2 * w, 3, 2, "activation"),
            ConvolutionShape("down2", 2 * w, 4 * w, 3, 2, "activation"),
        )

    @property
    def residual(self) -> tuple[tuple[ConvolutionShape, ConvolutionShape], ...]:
        """The residual blocks' two convolutions each, at quarter resolution."""
        c = 4 * self.width
        return tuple(
            (
                ConvolutionShape(f"block{i}.conv1", c, c, 3, 1, "activation"),
                ConvolutionShape(f"block{i}.conv2", c, c, 3, 1, "branch"),
            )
            for i in range(1, self.blocks + 1)
        )

    @property
    def tail(self) -> tuple[ConvolutionShape, ...]:
        """The convolutions after the blocks; each of the first two follows a nearest x2 upsampling."""
        w = self.width
        return (
            ConvolutionShape("up1", 4 * w, 2 * w, 3, 1, "activation"),
            ConvolutionShape("up2", 2 * w, w, 3, 1, "activation"),
            ConvolutionShape("leave", w, 3, self.kernel, 1, "pixel"),
        )

    @property
    def convolutions(self) -> tuple[ConvolutionShape, ...]:
        """All convolutions in the order of execution."""
        blocks = tuple(shape for pair in self.residual for shape in pair)
        return (*self.head, *blocks, *self.tail)
