"""A float network with instance norm to an adaptive integer network, by rounding alone.

No training: weights are rounded per output channel, activations to steps that some photos choose, and the norm becomes
gamma, beta and the metering of :mod:`pleinair.network.light`.

**Every channel has a step of its own**, though the integer network knows of none: a channel whose norm gives a c-th of
its values, and whose readers' weights for it are c times as large, changes nothing in the float network (Nagel et al.,
*Data-Free Quantization Through Weight Equalization and Bias Correction*, 2019). So before it is rounded, the parent is
scaled until one step serves all channels. The trunk's channels keep one step through all blocks.

What rounding adds to the trunk, all later layers repeat and amplify, and it tips from frame to frame. So the trunk's
steps are tried finer than what costs the least squared error in the trunk itself, and those are kept with which the
paintings come nearest to the parent's.

Scales of weights need not be powers of two either: the norm divides by the deviation, whatever its scale. Only the last
convolution, which has no norm, needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from pleinair.engines.meter import EngineMeter
from pleinair.engines.onnxruntime import OrtEngine
from pleinair.errors import EngineError
from pleinair.network.integer import (
    MOST_GAIN,
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
from pleinair.network.light import MIDDLE, SPREAD, Light, Sums, in_light, light_of_sums
from pleinair.painting.meter import paint, sums
from pleinair.painting.tiles import Window
from pleinair_training.architecture import Architecture, ConvolutionShape
from pleinair_training.transform_net import Norm as FloatNorm
from pleinair_training.transform_net import TransformNet

#: The step of all activations once the parent is scaled, as an exponent of two.
_STEP = -6
#: Tried for a channel: shares of the step that holds its greatest value.
_SHARES = np.linspace(0.1, 1, 37)
#: Tried for the trunk: shares of its channels' steps of least squared error.
_TRUNK_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)
#: Photos whose paintings choose among these.
_JUDGED = 4
#: Gains below so many steps of the multiplier are too coarse; weights are made smaller until they are not.
LEAST_GAIN = 12
#: One in so many values chooses the scales.
_EVERY = 7


@dataclass(frozen=True)
class _Statistics:
    """What calibration measures: each activation's steps, float64 [C], and each norm's mean and variance, [O].

    ``step`` has the trunk's under ``trunk``. Mean and variance are of the convolution's output.
    """

    step: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]


@torch.no_grad()
def round_network(parent: TransformNet, bits: int, photos: Sequence[np.ndarray], *, margin: int) -> IntegerNetwork:
    """The adaptive network of ``bits`` bits (4, 8 or 16) of a parent whose norms are not frozen.

    ``photos``: what the network is given of some photos, uint8 [H, W, 3] with grain and ``margin``, sides multiples
    of 4; they choose the scales, and their average light is the one that the network comes in. Raises ContractError
    where the weights do not fit the contract.
    """
    seen = _calibrated(parent, bits, photos, margin)
    # At 16 bits nothing is lost that finer steps could win back.
    shares = _TRUNK_SHARES if bits <= 8 else (1.0,)
    tried = (_rounded(_scaled(parent, seen, share), bits, seen) for share in shares)
    if len(shares) == 1:
        network = next(tried)
    else:
        wanted = [_painted(parent, photo, margin) for photo in photos[:_JUDGED]]
        network = min(tried, key=lambda each: _error(each, photos[:_JUDGED], wanted, margin))
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
        for name, value in parent.activations(_pixels(photo), margin).items():
            seen.setdefault(name, []).append(value[0].flatten(1)[:, ::_EVERY])
    for hook in hooks:
        hook.remove()
    values = {name: torch.cat(kept, 1) for name, kept in seen.items()}
    names = _trunk(architecture)
    branches = torch.cat([values[f"{second.name}/branch"] for _, second in architecture.residual], 1)
    step = {"trunk": _steps(torch.cat([values[name] for name in names], 1), top, branches)}
    step |= {shape.name: _steps(values[shape.name], top) for shape in _inner(architecture)}
    for name in step:
        # gamma and beta are held in 256ths of a step and within bounds; a channel that is always 0 would leave them.
        norms = [parent.layer(writer).norm for writer in (names if name == "trunk" else (name,))]
        held = [p.detach().abs().double().numpy() for norm in norms if norm is not None for p in norm.parameters()]
        step[name] = np.maximum(step[name], 2 * 256 / min(_TRUNK_SHARES) * np.max(held, 0) / MOST_NORM)
    mean = {name: np.mean([m for m, _ in kept], 0) for name, kept in moments.items()}
    # Pooled: within photos, and between them.
    variance = {
        name: np.mean([v for _, v in kept], 0) + np.var([m for m, _ in kept], 0) for name, kept in moments.items()
    }
    return _Statistics(step, mean, variance)


def _pixels(photo: np.ndarray) -> torch.Tensor:
    """What the float network sees of uint8 [H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None].float() / 256


def _trunk(architecture: Architecture) -> tuple[str, ...]:
    """The convolutions that write to the trunk."""
    return (architecture.head[-1].name, *(second.name for _, second in architecture.residual))


def _inner(architecture: Architecture) -> tuple[ConvolutionShape, ...]:
    """The convolutions that a single other one reads."""
    return (*(first for first, _ in architecture.residual), *architecture.tail[:-1])


def _steps(values: torch.Tensor, top: int, signed: torch.Tensor | None = None) -> np.ndarray:
    """Each channel's step at which rounding [C, N] to 0 .. ``top`` costs the least squared error, float64 [C].

    ``signed`` [C, M] are rounded at the same step, to half as far on either side.
    """
    middle = (top + 1) // 2
    greatest = values.amax(1)
    if signed is not None:
        greatest = torch.maximum(greatest, 2 * signed.abs().amax(1))
    # A channel that is always 0, or nearly so, is rounded as one that is not.
    greatest = torch.maximum(greatest, 1e-3 * greatest.max()).clamp_min(1e-6)
    best, least = greatest / top, torch.full_like(greatest, np.inf)
    for share in _SHARES.tolist():
        step = (share * greatest / top)[:, None]
        missed = ((values / step).round().clamp(0, top) * step - values).square().mean(1)
        if signed is not None:
            rounded = (signed / step).round().clamp(-middle, middle - 1) * step
            missed = missed + (rounded - signed).square().mean(1)
        better = missed < least
        best, least = torch.where(better, step[:, 0], best), torch.where(better, missed, least)
    steps: np.ndarray = best.double().numpy()
    return steps


@torch.no_grad()
def _scaled(parent: TransformNet, seen: _Statistics, share: float) -> TransformNet:
    """The parent with the same paintings whose activations all have the step 2^_STEP; ``share`` is of the trunk's."""
    network, architecture = deepcopy(parent), parent.architecture
    factors = {name: torch.from_numpy(step / 2.0**_STEP).float() for name, step in seen.step.items()}
    factors["trunk"] *= share

    def write(name: str, factor: torch.Tensor) -> None:
        norm = network.layer(name).norm
        assert isinstance(norm, FloatNorm)
        norm.weight.div_(factor)
        norm.bias.div_(factor)

    def read(name: str, factor: torch.Tensor) -> None:
        network.layer(name).convolution.weight.mul_(factor.view(1, -1, 1, 1))

    for name in _trunk(architecture):
        write(name, factors["trunk"])
    for first, second in architecture.residual:
        read(first.name, factors["trunk"])
        write(first.name, factors[first.name])
        read(second.name, factors[first.name])
    source = factors["trunk"]
    for shape in architecture.tail:
        read(shape.name, source)
        if shape.role != "pixel":
            source = factors[shape.name]
            write(shape.name, source)
    return network


def _painted(parent: TransformNet, photo: np.ndarray, margin: int) -> np.ndarray:
    """The float network's painting of a photo with its margin, float [H, W, 3] in 0..255 without it."""
    painted: np.ndarray = 256 * parent(_pixels(photo), margin)[0].permute(1, 2, 0).numpy()
    return painted[margin:-margin, margin:-margin]


def _error(network: IntegerNetwork, photos: Sequence[np.ndarray], wanted: Sequence[np.ndarray], margin: int) -> float:
    """Mean squared difference of the paintings of photos, each in its own light, to those that are wanted."""
    try:
        painting = EngineMeter(network, OrtEngine()).paint
    except EngineError:  # no ONNX Runtime here
        painting = partial(paint, network)
    errors = []
    for photo, near in zip(photos, wanted, strict=True):
        height, width = photo.shape[:2]
        found = painting(photo, Window(margin, margin, height - margin, width - margin))
        errors.append(np.square(found - near).mean())
    return float(np.mean(errors))


def _rounded(parent: TransformNet, bits: int, seen: _Statistics) -> IntegerNetwork:
    """The integer network, in no light in particular, of a parent whose activations have the step 2^_STEP."""
    architecture = parent.architecture
    layers: list[Layer] = []
    if architecture.entry > 1:
        layers.append(SpaceToDepth(architecture.entry))
    source = -8  # pixels are pixel / 256
    for shape in architecture.head:
        layers.append(_adaptive(parent, shape, bits, seen, source))
        source = _STEP
    for pair in architecture.residual:
        first, second = (_adaptive(parent, shape, bits, seen, source) for shape in pair)
        layers.append(Residual((first, second)))
    for shape in architecture.tail[:-1]:
        layers += [Upsample(), _adaptive(parent, shape, bits, seen, source)]
    layers.append(_last(parent, architecture.tail[-1], bits, source))
    if architecture.exit > 1:
        layers.append(DepthToSpace(architecture.exit))
    return validate(IntegerNetwork(bits, tuple(layers)))


def _adaptive(parent: TransformNet, shape: ConvolutionShape, bits: int, seen: _Statistics, source: int) -> Convolution:
    """A convolution and its norm; ``source`` is the exponent of its input's step."""
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
    wanted = np.abs(gamma) / 2.0**_STEP
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
            beta=np.round(256 * beta / 2.0**_STEP).astype(np.int64),
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
