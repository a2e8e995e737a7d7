"""The image transform network's shape, once, for every form it takes (float, quantised, exported).

Johnson, Alahi, Fei-Fei, *Perceptual Losses for Real-Time Style Transfer and Super-Resolution* (2016),
supplementary table 1, with two departures that hardware asks for: nearest-neighbour upsampling and a
convolution instead of a transposed convolution (Odena et al., 2016: no checkerboards), and a ReLU after
each residual sum, so that the trunk stays unsigned.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    """A transform network of a given ``width`` and depth, in one of two shapes.

    ``blocks`` is the number of residual blocks, which have 4 * ``width`` channels at a quarter of the resolution, and
    ``kernel`` the odd size of the first and last kernel.

    ``entry`` 1 and ``exit`` 1 is Johnson's shape: the first convolution sees pixels, two of stride 2 follow, two
    doublings lead back. ``entry`` 4 and ``exit`` 2 is the second generation's: space to depth in blocks of 4 x 4, a
    convolution, the blocks, one doubling to ``width`` channels, a convolution to four pixels at once, depth to space.
    With kernels of 3 it has 18,288 multiply-accumulates a pixel at width 16 where Johnson's has 33,120.
    """

    width: int = 16
    blocks: int = 3
    kernel: int = 9
    entry: int = 1
    exit: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError for a shape that is neither."""
        if (self.entry, self.exit) not in ((1, 1), (4, 2)):
            raise ValueError(f"entry {self.entry} and exit {self.exit}: allowed are 1 and 1, or 4 and 2")

    @property
    def adaptive(self) -> bool:
        """Whether its networks keep instance norm and are painted in each frame's own light."""
        return self.entry > 1

    def as_record(self) -> dict[str, int]:
        """The shape in files. What Johnson's has by nature is left out, as it is in files of the first generation."""
        return {name: value for name, value in asdict(self).items() if name not in ("entry", "exit") or value > 1}

    @property
    def head(self) -> tuple[ConvolutionShape, ...]:
        """The convolutions before the residual blocks, down to a quarter of the resolution."""
        w = self.width
        if self.entry > 1:
            return (ConvolutionShape("enter", 3 * self.entry**2, 4 * w, self.kernel, 1, "activation"),)
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
        """The convolutions after the blocks; each but the last follows a nearest x2 upsampling."""
        w = self.width
        if self.exit > 1:
            return (
                ConvolutionShape("up1", 4 * w, w, 3, 1, "activation"),
                ConvolutionShape("leave", w, 3 * self.exit**2, self.kernel, 1, "pixel"),
            )
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
