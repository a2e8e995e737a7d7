"""The adaptive network in Brevitas, with the integer norm in the loop: it is trained on what the integers compute.

Weights, activations and the residual sum are quantised as in :mod:`pleinair_training.quantized_net`. Between a
convolution and its activation stands the norm of :mod:`pleinair.network.light`: the accumulators are metered to 8-bit
levels, the levels are summed over the frame, and from the sums follow bias, five-bit multiplier and shift. The forward
pass computes these very integers, with the functions that painters meter with, so the exported network paints the same
values. The backward pass is that of an ordinary instance norm over the frame's accumulators: nothing is rounded there.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pleinair.network.integer import (
    MOST_NORM,
    Convolution,
    DepthToSpace,
    IntegerNetwork,
    Layer,
    Norm,
    Residual,
    SpaceToDepth,
    Upsample,
    validate,
)
from pleinair.network.light import FLOOR, SPREAD, LayerLight, Sums, layer_light
from pleinair_training.architecture import Architecture, ConvolutionShape
from pleinair_training.quantized_net import QuantizedTransformNet, calibrate, key, weight_exponents
from pleinair_training.rounding import LEAST_GAIN, meter_numbers
from pleinair_training.transform_net import TransformNet

#: Adaptive sums may reach half of the range: the other half is kept for a light's bias.
_SUMS_LIMIT = 1 << 23
#: How far each frame of training moves the averages that metering is centred on.
_MOMENTUM = 0.02
#: A deviation that no channel falls below, so that a dead one can be metered, too.
_LEAST_DEVIATION = 1e-6


class _Through(torch.autograd.Function):
    """The exact value forward, the gradient of its smooth neighbour backward."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        return exact

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


class IntegerNorm(nn.Module):
    """Instance norm as the integer network computes it; ``weight`` and ``bias`` are the float norm's.

    ``first`` and ``second`` are running means of the convolution's output and of its square. In training the metering
    numbers follow from them anew in each forward pass; in evaluation they stay.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.first: Tensor
        self.second: Tensor
        self.meter: Tensor
        self.register_buffer("first", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("second", torch.ones(channels, dtype=torch.float64))
        #: Rows: bias, multiplier and shift.
        self.register_buffer("meter", torch.tensor([[0], [1], [0]]).repeat(1, channels))
        self.momentum = _MOMENTUM

    def deviation(self) -> np.ndarray:
        """Each channel's deviation over frames and within them, float64 [C], of the convolution's output."""
        variance = (self.second.double() - self.first.double().square()).clamp_min(_LEAST_DEVIATION**2)
        deviation: np.ndarray = variance.sqrt().cpu().numpy()
        return deviation

    def numbers(self, target: float) -> Norm:
        """What the integer network holds of this norm, for an output of scale ``target``."""
        gamma = np.round(256 * self.weight.detach().abs().double().cpu().numpy() / target)
        beta = np.round(256 * self.bias.detach().double().cpu().numpy() / target)
        return Norm(
            gamma=gamma.clip(0, MOST_NORM).astype(np.int64),
            beta=beta.clip(-MOST_NORM, MOST_NORM).astype(np.int64),
            **dict(
                zip(("meter_bias", "meter_multiplier", "meter_shift"), self.meter.numpy(force=True).copy(), strict=True)
            ),
        )

    @torch.no_grad()
    def centre(self, counted: Tensor, unit: np.ndarray, longest: int) -> None:
        """Move the running means towards those of ``counted`` [N, C, H, W], and metering with them."""
        values = counted.double()
        self.first.lerp_(values.mean((0, 2, 3)).to(self.first), self.momentum)
        self.second.lerp_(values.square().mean((0, 2, 3)).to(self.second), self.momentum)
        mean = self.first.double().cpu().numpy()
        numbers = meter_numbers(mean / unit, self.deviation() / unit, longest)
        self.meter.copy_(torch.from_numpy(np.stack(numbers)))

    def smooth(self, y: Tensor, counted: Tensor, unit: Tensor) -> Tensor:
        """The instance norm that gradients are taken of."""
        _, multiplier, shift = self.meter.to(y)
        floor = (FLOOR * torch.exp2(shift) / multiplier * unit).square()
        variance, mean = torch.var_mean(counted, (2, 3), correction=0, keepdim=True)
        scale = self.weight.abs().view(-1, 1, 1) * torch.rsqrt(variance + floor.view(-1, 1, 1))
        return torch.addcmul(self.bias.view(-1, 1, 1) - mean * scale, y, scale)


def _most_sum(shape: ConvolutionShape, bits: int) -> int:
    """The greatest sum of magnitudes that a channel's weights could have."""
    return shape.inputs * shape.kernel**2 * ((1 << (bits - 1)) - 1)


class AdaptiveTransformNet(QuantizedTransformNet):
    """Quantised network of the second generation; see the module's docstring and :class:`QuantizedTransformNet`."""

    def __init__(self, architecture: Architecture, bits: int, exponents: dict[str, int]) -> None:
        super().__init__(architecture, bits, exponents)
        shapes = architecture.convolutions[:-1]
        self.norms = nn.ModuleDict({key(shape.name): IntegerNorm(shape.outputs) for shape in shapes})
        halves = {shape.name: architecture.entry >> i for i, shape in enumerate(architecture.tail, 1)}
        self._scale = {shape.name: halves.get(shape.name, architecture.entry) for shape in shapes}
        self._highs = self.input_maxima()

    def _norm(self, shape: ConvolutionShape) -> IntegerNorm:
        return cast(IntegerNorm, self.norms[key(shape.name)])

    def _target(self, shape: ConvolutionShape) -> float:
        """The scale of a convolution's output."""
        quantiser: Any = self.trunk if shape.role == "branch" else self._activation(shape)
        return float(quantiser.act_quant.scale().detach())

    @torch.no_grad()
    def _unit(self, shape: ConvolutionShape) -> tuple[np.ndarray, np.ndarray]:
        """A convolution's weights as integers [O, I, k, k], and the scale [O] that they are multiples of."""
        weight: Any = cast(Any, self.convolutions[key(shape.name)]).quant_weight()
        scale = weight.scale.double().view(-1, 1, 1, 1)
        integers = (weight.value.double() / scale).round().cpu().numpy()
        bits = int(weight.bit_width)
        return integers.astype(np.int16 if bits > 8 else np.int8), scale.flatten().cpu().numpy()

    def _convolution(self, shape: ConvolutionShape, weight: np.ndarray) -> Convolution:
        """An adaptive convolution in integers; its light is none in particular."""
        one = np.ones(shape.outputs, np.int64)
        return Convolution(
            name=shape.name,
            weight=weight,
            bias=0 * one,
            shift=0 * one,
            stride=shape.stride,
            weight_bits=self._width(shape),
            out_bits=self.bits,
            signed=shape.role == "branch",
            multiplier=one,
            norm=self._norm(shape).numbers(self._target(shape)),
        )

    def _width(self, shape: ConvolutionShape) -> int:
        return int(cast(Any, self.convolutions[key(shape.name)]).weight_quant.bit_width())

    def _longest_meter(self, shape: ConvolutionShape) -> int:
        return 40 if max(self.bits, self._width(shape)) > 8 else 16

    def _convolve(self, shape: ConvolutionShape, x: Any, margin: int) -> Any:
        y: Tensor = self.convolutions[key(shape.name)](x)
        if shape.role == "pixel":
            return y
        norm, edge = self._norm(shape), margin // self._scale[shape.name]
        counted = y[..., edge : y.shape[2] - edge, edge : y.shape[3] - edge]
        weight, unit = self._unit(shape)
        unit = unit * float(x.scale.detach())
        if self.training:
            norm.centre(counted.detach(), unit, self._longest_meter(shape))
        c, target = self._convolution(shape, weight), self._target(shape)
        exact = self._in_own_light(c, y.detach(), edge, unit, target)
        if not torch.is_grad_enabled():
            return exact
        return _Through.apply(exact, norm.smooth(y, counted, torch.from_numpy(unit).to(y)))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _in_own_light(self, c: Convolution, y: Tensor, edge: int, unit: np.ndarray, target: float) -> Tensor:
        """The output that is then rounded and clamped, of each frame in its own light, as y [N, O, H, W]."""
        assert c.norm is not None

        def column(numbers: Any) -> Tensor:
            return torch.from_numpy(np.asarray(numbers, np.float64)).to(y.device).view(-1, c.outputs, 1, 1)

        accumulators = y.double() / column(unit)
        gain = column(c.norm.meter_multiplier) * column(np.ldexp(1.0, -c.norm.meter_shift))
        levels = ((accumulators + column(c.norm.meter_bias)) * gain).round_().clamp_(0, 255)
        levels = levels[..., edge : y.shape[2] - edge, edge : y.shape[3] - edge]
        lights = self._lights(c, levels)
        gains = [light.multiplier * np.ldexp(target, -light.shift) for light in lights]
        accumulators += column([light.bias for light in lights])
        return (accumulators * column(gains)).to(y)

    def _lights(self, c: Convolution, levels: Tensor) -> list[LayerLight]:
        """The light of each frame of metered levels [N, O, H, W]."""
        count = levels.shape[2] * levels.shape[3]
        first, second = (v.sum((2, 3)).cpu().numpy().astype(np.int64).tolist() for v in (levels, levels.square()))
        frames = (Sums(count, tuple(t1), tuple(t2)) for t1, t2 in zip(first, second, strict=True))
        high = self._highs[c.name]
        return [layer_light(c, sums, bits=self.bits, input_high=high) for sums in frames]

    @classmethod
    @torch.no_grad()
    def from_parent(cls, parent: TransformNet, bits: int, batches: list[Tensor], margin: int) -> AdaptiveTransformNet:
        """Quantise a parent whose norms are not frozen, its ranges calibrated on ``batches`` (as for forward)."""
        parent.eval()
        network = cls(parent.architecture, bits, calibrate(parent, bits, batches, margin))
        network.initialise()
        for shape in parent.architecture.convolutions:
            layer, own = parent.layer(shape.name), cast(Any, network.convolutions[key(shape.name)])
            if layer.norm is None:
                assert layer.convolution.bias is not None
                own.weight.copy_(0.25 * layer.convolution.weight)
                own.bias.copy_(0.5 + 0.25 * layer.convolution.bias)
            else:
                # A negative gamma turns the channel round: the contract's gamma is not negative.
                sign = torch.where(layer.norm.weight < 0, -1.0, 1.0)
                own.weight.copy_(layer.convolution.weight * sign.view(-1, 1, 1, 1))
                network._norm(shape).weight.copy_(layer.norm.weight.abs())
                network._norm(shape).bias.copy_(layer.norm.bias)
            limit = (1 << 24) if layer.norm is None else _SUMS_LIMIT
            exponent = weight_exponents(own.weight, network._width(shape), network._highs[shape.name], limit)
            network._set_exponent(shape, exponent)
        network.settle(batches, margin)
        if network._refine_gains():
            network.settle(batches, margin)
        return network.eval()

    def _set_exponent(self, shape: ConvolutionShape, exponent: Tensor) -> None:
        value = cast(Any, self.convolutions[key(shape.name)]).weight_quant.tensor_quant.scaling_impl.value
        value.copy_((exponent + (self._width(shape) - 1)).view(value.shape))

    @torch.no_grad()
    def keep_bounds(self) -> None:
        """Double the scale of channels whose sums training has led out of the contract's range."""
        for shape in self.architecture.convolutions:
            if self._width(shape) > 8 or self._highs[shape.name] * _most_sum(shape, self._width(shape)) <= _SUMS_LIMIT:
                continue
            while True:
                weight, unit = self._unit(shape)
                over = np.abs(weight.astype(np.int64)).sum((1, 2, 3)) * self._highs[shape.name] > _SUMS_LIMIT
                if not over.any():
                    break
                self._set_exponent(shape, torch.from_numpy(np.log2(unit) + over).float())

    @torch.no_grad()
    def settle(self, batches: list[Tensor], margin: int) -> None:
        """Centre metering on the average of ``batches`` (as for forward)."""
        self.train()
        for i, batch in enumerate(batches, 1):
            for norm in self.norms.values():
                cast(IntegerNorm, norm).momentum = 1 / i
            self(batch, margin)
        for norm in self.norms.values():
            cast(IntegerNorm, norm).momentum = _MOMENTUM
        self.eval()

    @torch.no_grad()
    def _refine_gains(self) -> bool:
        """Make weights smaller where the gain would be too few steps of the multiplier; whether any was."""
        changed, sources = False, self._sources()
        for shape in self.architecture.convolutions[:-1]:
            weight, unit = self._unit(shape)
            c, norm = self._convolution(shape, weight), self._norm(shape)
            spread = norm.deviation() / (unit * sources[shape.name])
            wanted = norm.weight.double().cpu().numpy() / self._target(shape)
            steps = wanted / spread * 2.0 ** c.longest_shift(self.bits)
            finer = np.ceil(np.log2(LEAST_GAIN / np.maximum(steps, 1e-9))).clip(0, 3)
            # Not where a light's average photo could no longer be metered, nor where few integers would be left.
            most = 2.0 ** self._longest_meter(shape) * 31
            finer[
                (SPREAD / spread * 2**finer * 2.0 ** self._longest_meter(shape) >= most) | (self._width(shape) < 8)
            ] = 0
            if finer.any():
                self._set_exponent(shape, torch.from_numpy(np.log2(unit) + finer).float())
                changed = True
        return changed

    def _sources(self) -> dict[str, float]:
        """The scale of each convolution's input, by its name."""
        architecture = self.architecture
        trunk, scales, source = self._target(architecture.head[-1]), {}, 1 / 256
        for shape in architecture.head:
            scales[shape.name], source = source, self._target(shape)
        for first, second in architecture.residual:
            scales |= {first.name: trunk, second.name: self._target(first)}
        for shape in architecture.tail:
            scales[shape.name] = source
            source = source if shape.role == "pixel" else self._target(shape)
        return scales

    @torch.no_grad()
    def to_integers(self) -> IntegerNetwork:
        """The integer network, in no light in particular. Raises ContractError where it does not keep the contract."""
        architecture = self.architecture

        def adaptive(shape: ConvolutionShape) -> Convolution:
            return self._convolution(shape, self._unit(shape)[0])

        layers: list[Layer] = [SpaceToDepth(architecture.entry), *map(adaptive, architecture.head)]
        layers += [Residual((adaptive(first), adaptive(second))) for first, second in architecture.residual]
        for shape in architecture.tail[:-1]:
            layers += [Upsample(), adaptive(shape)]
        layers += [self._last(architecture.tail[-1]), DepthToSpace(architecture.exit)]
        return validate(IntegerNetwork(self.bits, tuple(layers)))

    def _last(self, shape: ConvolutionShape) -> Convolution:
        weight, unit = self._unit(shape)
        unit = unit * self._sources()[shape.name]
        bias = cast(Any, self.convolutions[key(shape.name)]).bias.detach().double().cpu().numpy()
        return Convolution(
            name=shape.name,
            weight=weight,
            bias=np.round(bias / unit).astype(np.int64),
            shift=np.round(-8 - np.log2(unit)).astype(np.int64),
            stride=1,
            weight_bits=self._width(shape),
            out_bits=8,
        )

    @torch.no_grad()
    def as_parent(self) -> TransformNet:
        """The latent weights as a float network with instance norm, to train on from."""
        network = TransformNet(self.architecture)
        for shape in self.architecture.convolutions:
            layer, own = network.layer(shape.name), cast(Any, self.convolutions[key(shape.name)])
            if layer.norm is None:
                assert layer.convolution.bias is not None
                layer.convolution.weight.copy_(4 * own.weight)
                layer.convolution.bias.copy_(4 * (own.bias - 0.5))
            else:
                layer.convolution.weight.copy_(own.weight)
                layer.norm.weight.copy_(self._norm(shape).weight.abs())
                layer.norm.bias.copy_(self._norm(shape).bias)
        return network
