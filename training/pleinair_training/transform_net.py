"""The float transform network in its two ages: with instance norm (the parent), then plain.

Pixels enter as x = pixel / 256 and leave as y = pixel / 256, clamped to 0 .. 255/256: the scales of the
integer network, from the first step on.

The parent normalises every activation by its own frame's statistics (Ulyanov et al., 2016), which reaches
the style several times faster. :meth:`TransformNet.freeze_statistics` replaces those by averages over
photos; what remains is affine and :meth:`TransformNet.folded` merges it into weights and biases. Until then
the frozen statistics stay as they are while everything else trains on: the same functions as plain
convolutions with biases, better conditioned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair_training.architecture import Architecture, ConvolutionShape

_PIXEL_MAX = 255 / 256


class _InwardClamp(torch.autograd.Function):
    """Clamp to 0 .. 255/256 whose gradient still passes where it would bring a value back inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, _PIXEL_MAX)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        (gradient,) = gradients
        outward = ((x < 0) & (gradient > 0)) | ((x > _PIXEL_MAX) & (gradient < 0))
        return gradient.masked_fill(outward, 0)


class Norm(nn.Module):
    """Instance norm with learned scale and offset; after ``freeze`` the same with fixed statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean: Tensor
        self.variance: Tensor
        self.frozen: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))
        self.eps = 1e-5

    def scale(self) -> Tensor:
        """The factor per channel, float [C], that the frozen norm multiplies with."""
        return self.weight * torch.rsqrt(self.variance + self.eps)

    def forward(self, x: Tensor, border: tuple[int, int] = (0, 0)) -> Tensor:
        """Float [N, C, H, W] to the same shape.

        ``border``: rows and columns at the top and left, and at the bottom and right, that are not counted.
        """
        if not self.frozen and border == (0, 0):
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        if not self.frozen:
            first, last = border
            inner = x[..., first : x.shape[2] - last, first : x.shape[3] - last].float()
            variance, mean = torch.var_mean(inner, (2, 3), correction=0, keepdim=True)
            scale = self.weight.view(-1, 1, 1) * torch.rsqrt(variance + self.eps)
            return torch.addcmul(self.bias.view(-1, 1, 1) - mean * scale, x, scale)
        scale = self.scale()
        return torch.addcmul((self.bias - self.mean * scale).view(-1, 1, 1), x, scale.view(-1, 1, 1))


class Convolution(nn.Module):
    """A convolution and the norm after it; the last has a bias and no norm."""

    def __init__(self, shape: ConvolutionShape) -> None:
        super().__init__()
        last = shape.role == "pixel"
        self.convolution = nn.Conv2d(
            shape.inputs, shape.outputs, shape.kernel, shape.stride, shape.kernel // 2, bias=last
        )
        self.norm = None if last else Norm(shape.outputs)
        if last and self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    def forward(self, x: Tensor, border: tuple[int, int] = (0, 0)) -> Tensor:
        """The convolution and its norm, which does not count ``border``; see :class:`Norm`."""
        y: Tensor = self.convolution(x)
        return y if self.norm is None else self.norm(y, border)


class TransformNet(nn.Module):
    """Johnson's transform network in float; see the module's docstring for its two ages."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.layers = nn.ModuleDict({s.name.replace(".", "_"): Convolution(s) for s in architecture.convolutions})

    def layer(self, name: str) -> Convolution:
        """The convolution of that name, and its norm."""
        layer = self.layers[name.replace(".", "_")]
        assert isinstance(layer, Convolution)
        return layer

    def forward(self, x: Tensor, margin: int = 0) -> Tensor:
        """Float [N, 3, H, W] (pixel / 256, H and W multiples of 4) to the same shape and scale.

        ``margin``: pixels around the frame that the second generation's norms do not count, as metering does not
        (:class:`pleinair.painting.meter.Meter`). Johnson's shape counts them all.
        """
        return self.activations(x, margin)["leave"]

    def activations(self, x: Tensor, margin: int = 0) -> dict[str, Tensor]:
        """Every convolution's output after ReLU, residual sum or clamp, by the convolution's name.

        A residual block's second convolution stands for the trunk after the sum; ``NAME/branch`` is the
        branch before it.
        """
        out: dict[str, Tensor] = {}
        scale = self.architecture.entry

        def border() -> tuple[int, int]:
            # A position counts where it shares a pixel with the frame.
            return (margin // scale, margin // scale) if self.architecture.adaptive else (0, 0)

        x = F.pixel_unshuffle(x, self.architecture.entry)
        for shape in self.architecture.head:
            x = out[shape.name] = F.relu(self.layer(shape.name)(x, border()))
        for first, second in self.architecture.residual:
            inner = out[first.name] = F.relu(self.layer(first.name)(x, border()))
            branch = out[f"{second.name}/branch"] = self.layer(second.name)(inner, border())
            x = out[second.name] = F.relu(x + branch)
        for shape in self.architecture.tail[:-1]:
            x, scale = F.interpolate(x, scale_factor=2.0, mode="nearest"), scale // 2
            x = out[shape.name] = F.relu(self.layer(shape.name)(x, border()))
        last = self.layer("leave")(x)
        last = F.pixel_shuffle(last, self.architecture.exit)
        out["leave"] = _InwardClamp.apply(0.5 + 0.25 * last)  # type: ignore[no-untyped-call]
        return out

    @torch.no_grad()
    def freeze_statistics(self, batches: Iterable[Tensor]) -> None:
        """Replace each instance norm's statistics by their averages over ``batches`` (as for forward).

        Layer after layer, each measured behind the ones already frozen, so that every layer keeps the
        distribution it will see. The variance is the pooled one: within frames plus between them.
        """
        inputs = list(batches)
        for shape in self.architecture.convolutions:
            norm = self.layer(shape.name).norm
            if norm is None:
                continue
            means, squares = [], []

            def measure(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
                means.append(arguments[0].mean((0, 2, 3)))  # noqa: B023
                squares.append(arguments[0].square().mean((0, 2, 3)))  # noqa: B023

            hook = norm.register_forward_pre_hook(measure)
            for batch in inputs:
                self(batch)
            hook.remove()
            mean = torch.stack(means).mean(0)
            norm.mean.copy_(mean)
            norm.variance.copy_((torch.stack(squares).mean(0) - mean.square()).clamp_min(0))
            norm.frozen.fill_(True)

    @property
    def frozen(self) -> bool:
        """Whether the statistics are fixed, so that the network is plain."""
        norms = [self.layer(s.name).norm for s in self.architecture.convolutions]
        return all(bool(norm.frozen) for norm in norms if norm is not None)

    @classmethod
    @torch.no_grad()
    def from_folded(cls, architecture: Architecture, plain: dict[str, tuple[Tensor, Tensor]]) -> TransformNet:
        """A frozen network of these weights [O, I, k, k] and biases [O], the inverse of :meth:`folded`."""
        network = cls(architecture)
        for shape in architecture.convolutions:
            layer, (weight, bias) = network.layer(shape.name), plain[shape.name]
            if layer.norm is None:
                assert layer.convolution.bias is not None
                layer.convolution.weight.copy_(4 * weight)
                layer.convolution.bias.copy_(4 * (bias - 0.5))
                continue
            layer.convolution.weight.copy_(weight)
            layer.norm.weight.fill_((1 + layer.norm.eps) ** 0.5)
            layer.norm.bias.copy_(bias)
            layer.norm.frozen.fill_(True)
        return network

    @torch.no_grad()
    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Plain weights [O, I, k, k] and biases [O] by convolution; the network must be frozen."""
        plain: dict[str, tuple[Tensor, Tensor]] = {}
        for shape in self.architecture.convolutions:
            layer = self.layer(shape.name)
            weight = layer.convolution.weight.detach()
            if layer.norm is None:
                assert layer.convolution.bias is not None
                plain[shape.name] = (0.25 * weight, 0.5 + 0.25 * layer.convolution.bias.detach())
                continue
            if not layer.norm.frozen:
                raise RuntimeError(f"{shape.name}: statistics are not frozen")
            scale = layer.norm.scale().detach()
            bias = layer.norm.bias.detach() - layer.norm.mean * scale
            plain[shape.name] = (weight * scale.view(-1, 1, 1, 1), bias)
        return plain
