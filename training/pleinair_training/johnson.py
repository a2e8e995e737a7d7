"""Two float networks in PyTorch whose speed is compared with ours: Johnson's, and a style's own float network.

Johnson's network is how style transfer is usually run. It is the one of Johnson, Alahi, Fei-Fei, *Perceptual Losses for
Real-Time Style Transfer and Super-Resolution* (2016), arXiv:1603.08155, supplementary material, table 1: a 9x9
convolution at either end, two convolutions of stride 2 on the way down, five residual blocks of 128 channels, and two
convolutions on the way up. In three points it follows PyTorch's own example (pytorch/examples, fast_neural_style), as
most programs do: it has instance norm (Ulyanov et al., 2016, arXiv:1607.08022) for the paper's batch norm, reflection
padding before every convolution, and nearest-neighbour upsampling before a convolution for the paper's transposed
convolution. No activation follows a residual sum or the last convolution. Pixels are 0..255 throughout.

Johnson's network has random weights here, so it can be timed but does not paint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair.measuring.outside import JohnsonNetwork
from pleinair.network.chain import DepthToSpace, SpaceToDepth, Upsample
from pleinair.network.floating import (
    EPSILON,
    FloatConvolution,
    FloatNetwork,
    FloatNorm,
    FloatResidual,
    Place,
    counted,
)
from pleinair.painting.whole import FrameRunner


class _Convolution(nn.Sequential):
    """A convolution behind reflection padding, with upsampling before and instance norm after it where asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, upsample: bool = False, norm: bool = True
    ) -> None:
        layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")] if upsample else []
        layers += [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)]
        if norm:
            layers.append(nn.InstanceNorm2d(outputs, affine=True))
        super().__init__(*layers)


class _Residual(nn.Module):
    """The input plus what two convolutions make of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _Convolution(channels, channels, 3), _Convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.relu(self.first(x)))
        return x + y


class JohnsonNet(nn.Module):
    """Johnson's network, see this module's docstring. The first convolution has ``width`` outputs."""

    def __init__(self, width: int = 32, blocks: int = 5) -> None:
        super().__init__()
        w = width
        self.head = nn.ModuleList(
            [_Convolution(3, w, 9), _Convolution(w, 2 * w, 3, 2), _Convolution(2 * w, 4 * w, 3, 2)]
        )
        self.blocks = nn.Sequential(*(_Residual(4 * w) for _ in range(blocks)))
        self.tail = nn.ModuleList(
            [_Convolution(4 * w, 2 * w, 3, upsample=True), _Convolution(2 * w, w, 3, upsample=True)]
        )
        self.last = _Convolution(w, 3, 9, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """Paint float [N, 3, H, W] in 0..255.

        The result is not clamped. Its height and width are those of the input, rounded up to a multiple of 4.
        """
        for layer in self.head:
            x = F.relu(layer(x))
        x = self.blocks(x)
        for layer in self.tail:
            x = F.relu(layer(x))
        y: Tensor = self.last(x)
        return y

    def macs_per_pixel(self) -> float:
        """Multiply-accumulates for each output pixel, of a picture whose sides are multiples of 4."""
        macs, area = 0.0, 1.0
        for module in self.modules():
            if isinstance(module, nn.Upsample):
                area *= 4
            elif isinstance(module, nn.Conv2d):
                area /= module.stride[0] ** 2
                macs += area * module.weight.numel()
        return macs

    def size_bytes(self) -> int:
        """Bytes of all parameters in float32."""
        return sum(4 * p.numel() for p in self.parameters())


class PlainNet(nn.Module):
    """A style's float network (``pleinair.network.floating``) in ordinary PyTorch layers. It computes the same."""

    def __init__(self, network: FloatNetwork) -> None:
        super().__init__()
        self.network = network
        self.convolutions = nn.ModuleList(map(_layer, network.convolutions()))

    def forward(self, x: Tensor, place: Place | None = None) -> Tensor:
        """Paint float [N, 3, H, W] of pixel / 256; the result has the same shape and scale and is not clamped.

        The sides must be multiples of the network's stride. ``place``: the rows and columns whose statistics the norms
        take; None for all.
        """
        layers: Iterator[nn.Module] = iter(self.convolutions)
        scale = 1

        def convolve(x: Tensor, c: FloatConvolution) -> Tensor:
            y: Tensor = next(layers)(x)
            if c.norm is not None:
                y = _normalised(y, c.norm, None if place is None else counted(place, scale))
            return F.relu(y) if c.relu else y

        for layer in self.network.layers:
            scale = scale * layer.down // layer.up
            if isinstance(layer, Upsample):
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            elif isinstance(layer, SpaceToDepth):
                x = F.pixel_unshuffle(x, layer.block)
            elif isinstance(layer, DepthToSpace):
                x = F.pixel_shuffle(x, layer.block)
            elif isinstance(layer, FloatResidual):
                branch = x
                for c in layer.body:
                    branch = convolve(branch, c)
                x = F.relu(x + branch)
            else:
                x = convolve(x, layer)
        return x


def _normalised(y: Tensor, norm: FloatNorm, place: Place | None) -> Tensor:
    """Float [N, C, H, W] behind its norm, by the statistics of some of its rows and columns; None for all."""
    gamma, beta = (torch.from_numpy(array.copy()) for array in (norm.gamma, norm.beta))
    if place is None:
        return F.instance_norm(y, weight=gamma, bias=beta, eps=EPSILON)
    variance, mean = torch.var_mean(y[..., place[0], place[1]], (2, 3), correction=0, keepdim=True)
    gain = gamma.view(-1, 1, 1) * torch.rsqrt(variance + EPSILON)
    return torch.addcmul(beta.view(-1, 1, 1) - mean * gain, y, gain)


def _layer(c: FloatConvolution) -> nn.Conv2d:
    outputs, inputs, kernel, _ = c.weight.shape
    convolution = nn.Conv2d(inputs, outputs, kernel, c.stride, kernel // 2)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(c.weight.copy()))
        assert convolution.bias is not None
        convolution.bias.copy_(torch.from_numpy(c.bias.copy()))
    return convolution


def eager_runner(network: nn.Module, scale: float = 1.0) -> FrameRunner:
    """A function that paints uint8 [H, W, 3] with ``network``, in PyTorch's eager mode.

    The network is given the pixels divided by ``scale``, and the frame's place where the function is given one.
    """
    network = network.eval()

    @torch.inference_mode()
    def run(pixels: np.ndarray, place: Place | None = None) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / scale
        y = ((network(x) if place is None else network(x, place))[0] * scale).round().clamp(0, 255).to(torch.uint8)
        height, width = pixels.shape[:2]
        return np.ascontiguousarray(y[:, :height, :width].permute(1, 2, 0).numpy())

    return run


def johnson_runner(seed: int = 0) -> tuple[JohnsonNet, Callable[[np.ndarray], np.ndarray]]:
    """Johnson's network with random weights, and the function that runs it on a frame."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JohnsonNet()
    return network, eager_runner(network)


def plain_runner(network: FloatNetwork) -> FrameRunner:
    """A function that paints with a style's float network in PyTorch; a frame's sides are multiples of its stride."""
    return eager_runner(PlainNet(network), 256)


class EagerTorch:
    """What ``pleinair bench`` and ``compare`` time: :class:`pleinair.measuring.outside.Torch`."""

    def __init__(self, threads: int) -> None:
        """PyTorch takes so many threads from now on."""
        torch.set_num_threads(threads)
        self.name = f"PyTorch {torch.__version__}"

    def johnson(self) -> JohnsonNetwork:
        """See :class:`pleinair.measuring.outside.Torch`."""
        network, run = johnson_runner()
        return JohnsonNetwork(network.macs_per_pixel(), network.size_bytes(), run)

    def plain(self, network: FloatNetwork) -> FrameRunner:
        """See :class:`pleinair.measuring.outside.Torch`."""
        return plain_runner(network)
