"""A float network with instance norm to an adaptive integer network, by rounding alone.

No training: weights are rounded per output channel, activations to powers of two that some photos choose, and the
norm becomes gamma, beta and the metering of :mod:`pleinair.network.light`. At 8 bits the painting stays within 2 to 3
grey levels of the float network's; at 4 bits some 10 remain.

Scales of weights need not be powers of two here: the norm divides by the deviation, whatever its scale. Only the last
convolution, which has no norm, needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from pleinair.engines.meter import EngineMeter
from pleinair.engines.onnxruntime import OrtEngine
from pleinair.errors import EngineError
from pleinair.network.integer import (
    MOST_GAIN,
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
from pleinair.network.light import MIDDLE, SPREAD, Light, Sums, in_light, light_of_sums
from pleinair.painting.meter import sums
from pleinair.painting.tiles import Window
from pleinair_training.architecture import ConvolutionShape
from pleinair_training.transform_net import Norm as FloatNorm
from pleinair_training.transform_net import TransformNet

#: Powers of two below the one that holds the greatest value, which are tried for an activation.
_TRIED = 6
#: Gains below so many steps of the multiplier are too coarse; weights are made smaller until they are not.
LEAST_GAIN = 12
#: One in so many values chooses the scales.
_EVERY = 7


@dataclass(frozen=True)
class _Statistics:
    """What calibration measures: scales of activations as exponents of two, and each norm's mean and variance."""

    exponent: dict[str, int]
    mean: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]


@torch.no_grad()
def round_network(parent: TransformNet, bits: int, photos: Sequence[np.ndarray], *, margin: int) -> IntegerNetwork:
    """The adaptive network of ``bits`` bits (4, 8 or 16) of a parent whose norms are not frozen.

    ``photos``: what the network is given of some photos, uint8 [H, W, 3] with grain and ``margin``, sides multiples
    of 4; they choose the scales, and their average light is the one that the network comes in. Raises ContractError
    where the weights do not fit the contract.
    """
    network = _rounded(parent, bits, _calibrated(parent, bits, photos, margin))
    return in_light(network, average_light(network, photos, margin))


def _calibrated(parent: TransformNet, bits: int, photos: Sequence[np.ndarray], margin: int) -> _Statistics:
    """Run the float network on the photos and keep what rounding needs to know."""
    architecture, top = parent.architecture, (1 << bits) - 1
    seen: dict[str, list[torch.Tensor]] = {}
    moments: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_: torch.nn.Module, __: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            edge = margin // (2 if name.startswith("up") else architecture.entry)
            values = out[..., edge : out.shape[2] - edge, edge : out.shape[3] - edge].double()
            moments.setdefault(name, []).append((values.mean((0, 2, 3)).numpy(), values.var((0, 2, 3)).numpy()))

        return parent.layer(name).convolution.register_forward_hook(keep)

    hooks = [watch(shape.name) for shape in architecture.convolutions]
    for photo in photos:
        x = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None].float() / 256
        for name, value in parent.activations(x, margin).items():
            seen.setdefault(name, []).append(value.flatten()[::_EVERY])
    for hook in hooks:
        hook.remove()
    # The trunk has one scale from its first convolution to its last block.
    trunk = [architecture.head[-1].name, *(second.name for _, second in architecture.residual)]
    seen["trunk"] = [value for name in trunk for value in seen.pop(name)]
    exponent = {name: _best_exponent(torch.cat(values), top) for name, values in seen.items()}
    exponent |= {name: exponent["trunk"] for name in trunk}
    mean = {name: np.mean([m for m, _ in kept], 0) for name, kept in moments.items()}
    # Pooled: within photos, and between them.
    variance = {
        name: np.mean([v for _, v in kept], 0) + np.var([m for m, _ in kept], 0) for name, kept in moments.items()
    }
    return _Statistics(exponent, mean, variance)


def _best_exponent(values: torch.Tensor, top: int) -> int:
    """The power of two at which rounding to 0 .. ``top`` costs the least squared error."""
    highest = int(np.ceil(np.log2(max(float(values.max()), 1e-9) / top)))

    def error(exponent: int) -> float:
        step = 2.0**exponent
        return float(((values / step).round().clamp(0, top) * step - values).square().mean())

    return min(range(highest - _TRIED + 1, highest + 1), key=error)


def _rounded(parent: TransformNet, bits: int, seen: _Statistics) -> IntegerNetwork:
    architecture = parent.architecture
    trunk = seen.exponent["trunk"]
    layers: list[Layer] = []
    if architecture.entry > 1:
        layers.append(SpaceToDepth(architecture.entry))
    source = -8  # pixels are pixel / 256
    for shape in architecture.head:
        layers.append(_adaptive(parent, shape, bits, seen, source, seen.exponent[shape.name]))
        source = seen.exponent[shape.name]
    for first, second in architecture.residual:
        inner = seen.exponent[first.name]
        layers.append(
            Residual(
                (
                    _adaptive(parent, first, bits, seen, trunk, inner),
                    _adaptive(parent, second, bits, seen, inner, trunk),
                )
            )
        )
    for shape in architecture.tail[:-1]:
        layers += [Upsample(), _adaptive(parent, shape, bits, seen, source, seen.exponent[shape.name])]
        source = seen.exponent[shape.name]
    layers.append(_last(parent, architecture.tail[-1], bits, source))
    if architecture.exit > 1:
        layers.append(DepthToSpace(architecture.exit))
    return validate(IntegerNetwork(bits, tuple(layers)))


def _adaptive(
    parent: TransformNet, shape: ConvolutionShape, bits: int, seen: _Statistics, source: int, target: int
) -> Convolution:
    """A convolution and its norm; ``source`` and ``target`` are the exponents of its input and its output."""
    layer = parent.layer(shape.name)
    assert isinstance(layer.norm, FloatNorm)
    weight = layer.convolution.weight.detach().double().numpy()
    gamma, beta = (p.detach().double().numpy() for p in (layer.norm.weight, layer.norm.bias))
    # A negative gamma turns the channel round: the contract's gamma is not negative.
    sign = np.where(gamma < 0, -1.0, 1.0)
    weight, mean = weight * sign[:, None, None, None], seen.mean[shape.name] * sign
    deviation = np.sqrt(np.maximum(seen.variance[shape.name], 1e-12))
    weight_bits = max(8, bits) if shape.name == "enter" else bits
    wide, most = max(bits, weight_bits) > 8, (1 << (weight_bits - 1)) - 1
    high = 255 if source == -8 and shape.name == "enter" else (1 << bits) - 1
    longest = 40 if wide else 16
    integers, unit = _weights(weight, most)
    # Smaller weights where sums would leave half of the range, or gains would be too few steps of the multiplier.
    step = 2.0**source
    wanted = np.abs(gamma) / 2.0**target
    for o in range(len(integers)):
        while True:
            spread = deviation[o] / (unit[o] * step)
            sums_high = int(np.abs(integers[o]).sum()) * high
            shift = min(longest, 24 - bits) if not wide else longest
            coarse = wanted[o] / spread * 2.0**shift < LEAST_GAIN and SPREAD / spread * 2.0**longest < 31
            if (sums_high <= (1 << (46 if wide else 23)) and not coarse) or np.abs(integers[o]).max() <= most // 8:
                break
            integers[o], unit[o] = _row(weight[o], unit[o] * 1.25, most)
    meter_bias, meter_multiplier, meter_shift = meter_numbers(mean / (unit * step), deviation / (unit * step), longest)
    none = np.zeros(len(integers), np.int64)
    return Convolution(
        name=shape.name,
        weight=integers.astype(np.int16 if weight_bits > 8 else np.int8),
        bias=none,
        shift=none,
        stride=shape.stride,
        weight_bits=weight_bits,
        out_bits=bits,
        signed=shape.role == "branch",
        multiplier=none + 1,
        norm=Norm(
            gamma=np.round(256 * wanted).astype(np.int64),
            beta=np.round(256 * beta / 2.0**target).astype(np.int64),
            meter_bias=meter_bias,
            meter_multiplier=meter_multiplier,
            meter_shift=meter_shift,
        ),
    )


def meter_numbers(mean: np.ndarray, deviation: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A layer's metering: bias, multiplier and shift, int64 [O], of accumulators of this mean and deviation."""
    shift = np.clip(np.floor(np.log2(MOST_GAIN * deviation / SPREAD)), 0, longest)
    multiplier = np.clip(np.round(SPREAD / deviation * 2**shift), 1, MOST_GAIN)
    bias = np.round(MIDDLE * 2**shift / multiplier - mean)
    return bias.astype(np.int64), multiplier.astype(np.int64), shift.astype(np.int64)


def _row(weight: np.ndarray, unit: float, most: int) -> tuple[np.ndarray, float]:
    return np.clip(np.round(weight / unit), -most, most), unit


def _weights(weight: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers float64 [O, I, k, k] within +-``most``, and the float that each output's integers are multiples of.

    Below 8 bits the greatest weights are clipped where that costs less squared error in all.
    """
    greatest = np.maximum(np.abs(weight).max((1, 2, 3)), 1e-12)
    shares = np.linspace(0.4, 1, 25) if most < 100 else np.ones(1)
    best, unit, error = np.zeros_like(weight), np.ones(len(weight)), np.full(len(weight), np.inf)
    for share in shares:
        step = (share * greatest / most)[:, None, None, None]
        integers = np.clip(np.round(weight / step), -most, most)
        missed = ((integers * step - weight) ** 2).sum((1, 2, 3))
        better = missed < error
        best[better], unit[better], error[better] = integers[better], step[better, 0, 0, 0], missed[better]
    return best, unit


def _last(parent: TransformNet, shape: ConvolutionShape, bits: int, source: int) -> Convolution:
    """The convolution to the pixels: 256 * (0.5 + 0.25 * y), its scale a power of two."""
    layer = parent.layer(shape.name)
    assert layer.convolution.bias is not None
    weight = 64 * layer.convolution.weight.detach().double().numpy() * 2.0**source
    bias = 128 + 64 * layer.convolution.bias.detach().double().numpy()
    weight_bits = max(8, bits)
    most = (1 << (weight_bits - 1)) - 1
    shift = np.floor(np.log2(most / np.maximum(np.abs(weight).max((1, 2, 3)), 1e-12)))
    limit = 0.9 * (1 << (47 if weight_bits > 8 else 24))
    while True:
        integers = np.round(weight * 2.0 ** shift[:, None, None, None])
        offsets = np.round(bias * 2.0**shift)
        over = np.abs(integers).sum((1, 2, 3)) * ((1 << bits) - 1) + np.abs(offsets) > limit
        if not over.any():
            break
        shift -= over
    return Convolution(
        name=shape.name,
        weight=integers.astype(np.int16 if weight_bits > 8 else np.int8),
        bias=offsets.astype(np.int64),
        shift=shift.astype(np.int64),
        stride=1,
        weight_bits=weight_bits,
        out_bits=8,
    )


def average_light(network: IntegerNetwork, photos: Sequence[np.ndarray], margin: int) -> Light:
    """The light of the sums of all photos, each metered in its own light."""
    try:
        metered = EngineMeter(network, OrtEngine()).sums
    except EngineError:  # no ONNX Runtime here
        metered = partial(sums, network)
    totals: list[Sums] = []
    for photo in photos:
        height, width = photo.shape[:2]
        own = metered(photo, Window(margin, margin, height - margin, width - margin))
        totals = [a + b for a, b in zip(totals, own, strict=True)] if totals else list(own)
    return light_of_sums(network, totals)
