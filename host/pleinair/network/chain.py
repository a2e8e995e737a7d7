"""What integer and float networks share: a chain of layers, and its geometry.

A network is a tuple of layers that run one after the other. Each kind of layer says for itself how it changes the
size of an image, how far it looks around, how much it computes, and how it stands in a file's header. Everything
that is said of a whole network (stride, halo, work, whether the layers fit) is computed here from those answers.

To add a kind of layer:

1. Derive a frozen dataclass from :class:`ChainLayer` and answer its questions. For the geometry that is all.
2. Name its reader in the ``_READERS`` of each file form that may hold it (integer.py, floating.py).
3. Compute it: ``run_layer`` in reference.py, ``run`` in floating.py, then the engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from pleinair.errors import ContractError

#: Bounds on a network, far above any network worth painting with.
MAX_CONVOLUTIONS = 128
MAX_CHANNELS = 1024
MAX_KERNEL = 15
#: Of what a network may cost: engines fail at larger strides, a megapixel takes a gigabyte at so many values a
#: pixel, each tile is computed with a halo around it, and so many products take a minute and more for a megapixel.
MAX_STRIDE, MAX_HALO, MAX_VALUES, MAX_WORK = 16, 256, 256, 8_000_000


class ChainLayer(ABC):
    """One kind of layer. Sizes are those of its input and output images, in pixels of each."""

    #: The word for this kind in a file's header.
    kind: ClassVar[str]

    @property
    def down(self) -> int:
        """Height and width are divided by this."""
        return 1

    @property
    def up(self) -> int:
        """Height and width are multiplied by this."""
        return 1

    @abstractmethod
    def needs(self, low: int, high: int) -> tuple[int, int]:
        """First and last input row (or column) that output rows ``low`` .. ``high`` depend on, border ignored."""

    @abstractmethod
    def check(self, channels: int) -> int:
        """Output channels for an input of ``channels``. Raises ContractError where it does not fit."""

    @abstractmethod
    def header(self) -> dict[str, object]:
        """How the layer stands in a file's header; plain JSON with ``kind``."""

    def convolutions(self) -> tuple[ConvolutionShape, ...]:
        """The convolutions inside, in order of execution."""
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one output pixel of the layer."""
        return sum(c.weight.size for c in self.convolutions())


class ConvolutionShape(ChainLayer):
    """A square convolution with zero padding of k // 2; integer and float convolutions add their numbers.

    ``weight``: [O, I, k, k]. ``stride``: 1 or 2.
    """

    kind = "convolution"
    name: str
    weight: np.ndarray
    stride: int

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Input channels."""
        return int(self.weight.shape[1])

    @property
    def kernel(self) -> int:
        """Side of the square kernel."""
        return int(self.weight.shape[2])

    @property
    def down(self) -> int:
        """Height and width are divided by the stride."""
        return self.stride

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """The rows under the kernel: ``k // 2`` more on either side."""
        reach = self.kernel // 2
        return low * self.stride - reach, high * self.stride + reach

    def check(self, channels: int) -> int:
        """Raises ContractError for a shape, kernel, stride or channel count that is not allowed."""

        def refuse(what: str) -> ContractError:
            return ContractError(f"layer {self.name}: {what}")

        if self.weight.ndim != 4 or self.weight.shape[2] != self.weight.shape[3]:
            raise refuse(f"weights of shape {self.weight.shape}, need [outputs, inputs, k, k]")
        if self.kernel % 2 == 0 or not 1 <= self.kernel <= MAX_KERNEL:
            raise refuse(f"kernel {self.kernel}, need an odd number up to {MAX_KERNEL}")
        if not 1 <= self.outputs <= MAX_CHANNELS:
            raise refuse(f"{self.outputs} output channels, allowed are 1 to {MAX_CHANNELS}")
        if self.inputs != channels:
            raise refuse(f"{self.inputs} input channels, but {channels} arrive")
        if self.stride not in (1, 2):
            raise refuse(f"stride {self.stride}, allowed are 1 and 2")
        return self.outputs

    def header(self) -> dict[str, object]:
        """Kind, name and stride; a subclass adds what else it needs."""
        return {"kind": self.kind, "name": self.name, "stride": self.stride}

    def convolutions(self) -> tuple[ConvolutionShape, ...]:
        """Itself."""
        return (self,)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that a file keeps of it, by their part of the name (``weight`` for ``N.weight``)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Upsample(ChainLayer):
    """Nearest neighbour, x2 in height and width."""

    kind = "upsample"

    @property
    def up(self) -> int:
        """Height and width are doubled."""
        return 2

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """Each input row gives two output rows."""
        return low // 2, high // 2

    def check(self, channels: int) -> int:
        """It fits any channels and keeps them."""
        return channels

    def header(self) -> dict[str, object]:
        """Its kind says all."""
        return {"kind": self.kind}


@dataclass(frozen=True)
class SpaceToDepth(ChainLayer):
    """``block`` x ``block`` pixels become one of as many times the channels; the first layer only.

    Channel c * block**2 + i * block + j of the output is channel c at row i and column j of the block (the order of
    torch's ``pixel_unshuffle``; Shi et al. 2016, arXiv:1609.05158, read backwards).
    """

    block: int
    kind = "space_to_depth"

    @property
    def down(self) -> int:
        """Height and width are divided by the block's side."""
        return self.block

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """Every output row is a block of input rows."""
        return low * self.block, high * self.block + self.block - 1

    def check(self, channels: int) -> int:
        """Raises ContractError for another block than 2 or 4."""
        if self.block not in (2, 4):
            raise ContractError(f"space to depth in blocks of {self.block}, allowed are 2 and 4")
        return channels * self.block**2

    def header(self) -> dict[str, object]:
        """Kind and block."""
        return {"kind": self.kind, "block": self.block}


@dataclass(frozen=True)
class DepthToSpace(ChainLayer):
    """Each pixel becomes ``block`` x ``block`` pixels of as many times fewer channels; the last layer only.

    The inverse of :class:`SpaceToDepth` (torch's ``pixel_shuffle``).
    """

    block: int
    kind = "depth_to_space"

    @property
    def up(self) -> int:
        """Height and width are multiplied by the block's side."""
        return self.block

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """A block of output rows comes from one input row."""
        return low // self.block, high // self.block

    def check(self, channels: int) -> int:
        """Raises ContractError for another block than 2, or channels that do not fill the blocks."""
        if self.block != 2:
            raise ContractError(f"depth to space in blocks of {self.block}, allowed is 2")
        if channels % self.block**2:
            raise ContractError(f"depth to space of {channels} channels, need a multiple of {self.block**2}")
        return channels // self.block**2

    def header(self) -> dict[str, object]:
        """Kind and block."""
        return {"kind": self.kind, "block": self.block}


class ResidualShape(ChainLayer):
    """A branch of convolutions of stride 1 whose output is added to the block's input."""

    kind = "residual"

    def needs(self, low: int, high: int) -> tuple[int, int]:
        """What the branch needs; the input itself is less."""
        for c in reversed(self.convolutions()):
            low, high = c.needs(low, high)
        return low, high

    def check(self, channels: int) -> int:
        """Raises ContractError for an empty branch, a stride inside, or other channels than arrive."""
        body = self.convolutions()
        if not body:
            raise ContractError("a residual block without convolutions")
        inner = channels
        for c in body:
            inner = c.check(inner)
            if c.stride != 1:
                raise ContractError(f"layer {c.name}: stride {c.stride} inside a residual block")
        if inner != channels:
            raise ContractError(f"layer {body[-1].name}: {inner} channels added to {channels}")
        return channels

    def header(self) -> dict[str, object]:
        """Kind, and the convolutions of the body."""
        return {"kind": self.kind, "body": [c.header() for c in self.convolutions()]}


LayerT = TypeVar("LayerT", bound=ChainLayer)
ConvolutionT = TypeVar("ConvolutionT", bound=ConvolutionShape)


class Chain(Generic[LayerT, ConvolutionT]):
    """A network: its layers in order of execution, from uint8 RGB to uint8 RGB."""

    layers: tuple[LayerT, ...]

    def convolutions(self) -> Iterator[ConvolutionT]:
        """All convolutions in order of execution."""
        for layer in self.layers:
            yield from cast("tuple[ConvolutionT, ...]", layer.convolutions())

    @property
    def stride(self) -> int:
        """Height and width of a frame must be multiples of this."""
        scale = deepest = 1
        for layer in self.layers:
            scale = scale * layer.down // layer.up
            deepest = max(deepest, scale)
        return deepest

    @property
    def halo(self) -> int:
        """The receptive field's radius: no input farther than this from an output pixel changes it.

        It is the least such number. An aligned block of ``stride`` output rows is walked backwards through the
        layers; the input rows that it needs reach beyond it, and the farther side counts.
        """
        low, high = 0, self.stride - 1
        for layer in reversed(self.layers):
            low, high = layer.needs(low, high)
        return max(-low, high - (self.stride - 1))

    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per output pixel of the network."""
        area, total = 1.0, 0.0
        for layer in self.layers:
            area = area * layer.up**2 / layer.down**2
            total += area * layer.macs
        return total


def check_chain(chain: Chain[Any, Any]) -> None:
    """Check that names, sizes and channels of a network's layers fit each other, from 3 channels to 3.

    Raises ContractError that names the layer and the number.
    """
    convolutions = list(chain.convolutions())
    if not convolutions or len(convolutions) > MAX_CONVOLUTIONS:
        raise ContractError(f"network of {len(convolutions)} convolutions, allowed are 1 to {MAX_CONVOLUTIONS}")
    names = [c.name for c in convolutions]
    if len(set(names)) != len(names):
        raise ContractError("two layers have the same name")
    channels, scale = 3, 1
    for layer in chain.layers:
        channels = layer.check(channels)
        scale *= layer.down
        if scale % layer.up:
            raise ContractError("an upsampling beyond the input's resolution")
        scale //= layer.up
    layers = chain.layers
    if isinstance(layers[0], SpaceToDepth) and (len(layers) < 2 or not isinstance(layers[1], ConvolutionShape)):
        raise ContractError("space to depth is for a convolution that follows it")
    if any(isinstance(layer, SpaceToDepth) for layer in layers[1:]):
        raise ContractError("space to depth is for the first layer")
    if any(isinstance(layer, DepthToSpace) for layer in layers[:-1]):
        raise ContractError("depth to space is for the last layer")
    last = layers[-2] if isinstance(layers[-1], DepthToSpace) and len(layers) > 1 else layers[-1]
    if not isinstance(last, ConvolutionShape) or channels != 3:
        raise ContractError(f"the last layer gives {channels} channels, need a convolution to 3")
    if scale != 1:
        raise ContractError(f"the output is 1/{scale} of the input's size, need 1")
    _check_cost(chain)


def _check_cost(chain: Chain[Any, Any]) -> None:
    """Refuse a network that would take unreasonable memory or time before its first pixel. Raises ContractError."""
    if chain.stride > MAX_STRIDE:
        raise ContractError(f"network of stride {chain.stride}, allowed are up to {MAX_STRIDE}")
    if chain.halo > MAX_HALO:
        raise ContractError(f"network of halo {chain.halo}, allowed are up to {MAX_HALO}")
    if (work := chain.macs_per_pixel()) > MAX_WORK:
        raise ContractError(
            f"network of {work / 1e6:.1f} million products a pixel, allowed are up to {MAX_WORK / 1e6:g}"
        )
    channels, down, up = 3, 1, 1
    for layer in chain.layers:
        channels = layer.check(channels)
        down, up = down * layer.down, up * layer.up
        if channels * up**2 > MAX_VALUES * down**2:
            raise ContractError(
                f"{channels * up**2 / down**2:.0f} values a pixel between two layers, allowed are up to {MAX_VALUES}"
            )
