"""Light: a frame's own requantisation of an adaptive network, in integers, the same on every machine.

An adaptive convolution does the work of a convolution and an instance norm (Ulyanov et al. 2016, arXiv:1607.08022).
It holds ``gamma`` and ``beta`` instead of a bias, and the *light* tells it how to requantise:

    clamp(round_half_even((acc + bias) * multiplier / 2**shift), low, high)        acc = sum(w * x)

A light holds these three integers for every channel of every adaptive convolution. It follows from a frame by
*metering*: the layer first runs with a requantisation to 0 .. 255 that its file holds and that is the same for every
frame (:func:`pleinair.network.integer.metering`); in it an average photo has mean 128 and deviation 16. Summed are
these values q and their squares. Any engine can do that, and hardware sums bytes. Sums of the pieces of a frame, or of
several frames, add up, so a large frame can be metered in tiles and a film over a few frames.

With count n, T1 = sum(q), T2 = sum(q^2), the channel's gamma g and beta t, its metering numbers b0, m0, s0, and the
greatest shift L of its layer:

    D = n T2 - T1^2 + 4 n^2                            n^2 times the variance of q, plus 2 levels squared: never 0
    m(s) = (isqrt(4 g^2 n^2 m0^2 4^s // (2^16 4^s0 D)) + 1) // 2                    the gain times 2^s, rounded
    shift = the largest s of 0 .. L with m(s) <= 31; 0 where there is none
    multiplier = min(max(m(shift), 1), 31)
    bias = b0 + floor((2 N + Q) / (2 Q))
           with N = t 2^shift n m0 - 256 multiplier T1 2^s0  and  Q = 256 multiplier n m0
    bias is then clamped to +-(R - 2^(shift - 1))  (+-R for shift 0)

``isqrt`` is the integer square root, ``//`` rounds towards minus infinity, and nothing overflows: these are integers
of any size. L is 24 - out_bits in networks of up to 8 bits, so that an unsaturated product stays below 2^24 and an
engine of float32 is exact; 40 in wider ones. R is 2^24 (2^47) less the greatest magnitude of acc that the weights
allow. The 2 levels bound the gain at 8 times the average one: a frame without contrast is not blown up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import isqrt

import numpy as np

from pleinair.errors import ContractError, LightError
from pleinair.network.integer import MOST_GAIN, Convolution, IntegerNetwork, Layer, Norm, Residual, validate

#: Deviation, in levels of metering, that is added to a frame's own (their squares add).
FLOOR = 2
#: Mean and deviation of an average photo in levels of metering.
MIDDLE, SPREAD = 128, 16


@dataclass(frozen=True)
class Sums:
    """What is metered of one convolution: ``count`` positions, and for each channel the sums of q and of q^2.

    The sums are Python's integers of any size.
    """

    count: int
    first: tuple[int, ...]
    second: tuple[int, ...]

    def __add__(self, other: Sums) -> Sums:
        """The sums of two pieces of a frame, or of two frames."""
        return Sums(
            self.count + other.count,
            tuple(a + b for a, b in zip(self.first, other.first, strict=True)),
            tuple(a + b for a, b in zip(self.second, other.second, strict=True)),
        )


def sums_of(levels: np.ndarray) -> Sums:
    """The sums of the metered levels, integers 0 .. 255 [O, H, W]."""
    flat = levels.reshape(len(levels), -1).astype(np.int64)
    return Sums(flat.shape[1], tuple(flat.sum(1).tolist()), tuple((flat * flat).sum(1).tolist()))


def requantiser(
    sums: tuple[int, int, int], norm: tuple[int, int, int, int, int], *, longest: int, room: int
) -> tuple[int, int, int]:
    """(bias, multiplier, shift) of one channel; the module's docstring is the formula.

    ``sums``: n, T1, T2. ``norm``: g, t, b0, m0, s0. ``longest`` is L, ``room`` R.
    """
    count, first, second = sums
    gamma, beta, meter_bias, meter_gain, meter_shift = norm
    squares = count * second - first * first + FLOOR * FLOOR * count * count << 16 + 2 * meter_shift
    power = 4 * (gamma * count * meter_gain) ** 2

    def multiplier(shift: int) -> int:
        return (isqrt((power << 2 * shift) // squares) + 1) // 2

    # m(s) is at most 31 where the square root is at most 62, so where power << 2 s is below 63^2 times the squares.
    most = (2 * MOST_GAIN + 1) ** 2 * squares
    shift = min(longest, max(0, (most.bit_length() - power.bit_length() + 1) // 2)) if power else longest
    while shift > 0 and power << 2 * shift >= most:
        shift -= 1
    gain = min(max(multiplier(shift), 1), MOST_GAIN)
    target = (beta << shift) * count * meter_gain - (256 * gain * first << meter_shift)
    unit = 256 * gain * count * meter_gain
    bias = meter_bias + (2 * target + unit) // (2 * unit)
    limit = room - (1 << shift - 1 if shift else 0)
    return min(max(bias, -limit), limit), gain, shift


@dataclass(frozen=True)
class LayerLight:
    """The light of one convolution: ``bias``, ``multiplier`` and ``shift``, int64 [O] each."""

    name: str
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Light:
    """The light of an adaptive network, in order of execution; ``network`` is :func:`identity` of that network."""

    network: str
    layers: tuple[LayerLight, ...]

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are equal."""
        return isinstance(other, Light) and self.digest() == other.digest()

    def __hash__(self) -> int:
        """Of all numbers."""
        return hash(self.digest())

    def digest(self) -> str:
        """SHA-256 of all numbers, hexadecimal."""
        sha = hashlib.sha256(self.network.encode())
        for layer in self.layers:
            sha.update(layer.name.encode() + b"\0")
            for array in (layer.bias, layer.multiplier, layer.shift):
                sha.update(array.astype("<i8").tobytes())
        return sha.hexdigest()


def identity(network: IntegerNetwork) -> str:
    """SHA-256, hexadecimal, of what a light depends on: names, weights and norms of the adaptive convolutions."""
    sha = hashlib.sha256(str(network.bits).encode())
    for c in network.convolutions():
        if c.norm is not None:
            sha.update(c.name.encode() + b"\0")
            for array in (c.weight, *(getattr(c.norm, field.name) for field in fields(Norm))):
                sha.update(array.astype("<i8").tobytes())
    return sha.hexdigest()


def layer_light(c: Convolution, sums: Sums, *, bits: int, input_high: int) -> LayerLight:
    """The light of an adaptive convolution in a network of ``bits`` bits, whose inputs are 0 .. ``input_high``."""
    assert c.norm is not None
    wide = max(bits, c.weight_bits) > 8
    room, longest = (1 << (47 if wide else 24)) - c.weight_sums * input_high, c.longest_shift(bits)
    numbers = zip(*(getattr(c.norm, field.name).tolist() for field in fields(Norm)), strict=True)
    channels = [
        requantiser((sums.count, first, second), norm, longest=longest, room=left)
        for first, second, norm, left in zip(sums.first, sums.second, numbers, room.tolist(), strict=True)
    ]
    bias, multiplier, shift = (np.array(column, np.int64) for column in zip(*channels, strict=True))
    return LayerLight(c.name, bias, multiplier, shift)


def light_of_sums(network: IntegerNetwork, sums: Sequence[Sums]) -> Light:
    """The light that follows from the sums of one frame, or of several frames, of each adaptive convolution."""
    numbers, layers, high = iter(sums), [], 255
    for c in network.convolutions():
        if c.norm is not None:
            layers.append(layer_light(c, next(numbers), bits=network.bits, input_high=high))
        high = (1 << network.bits) - 1
    return Light(identity(network), tuple(layers))


def light_of(network: IntegerNetwork) -> Light:
    """The light that a network holds: the average light of photos, as its file says, or the one it was put into."""
    layers = tuple(LayerLight(c.name, c.bias, c.gain, c.shift) for c in network.convolutions() if c.norm is not None)
    return Light(identity(network), layers)


def in_light(network: IntegerNetwork, light: Light) -> IntegerNetwork:
    """The network with the light's numbers. Raises LightError for another network's light and for bad numbers."""
    if light.network != identity(network):
        raise LightError("light: measured with another network")
    if {layer.name for layer in light.layers} != {c.name for c in network.convolutions() if c.norm is not None}:
        raise LightError("light: names other layers than the network's adaptive ones")
    try:
        return validate(with_numbers(network, light))
    except ContractError as error:
        raise LightError(f"light: {error}") from error


def with_numbers(network: IntegerNetwork, light: Light) -> IntegerNetwork:
    """As :func:`in_light`, and nothing is checked: hardware computes with whatever it holds."""
    given = {layer.name: layer for layer in light.layers}

    def lit(c: Convolution) -> Convolution:
        own = given.get(c.name)
        return c if own is None else replace(c, bias=own.bias, multiplier=own.multiplier, shift=own.shift)

    return IntegerNetwork(network.bits, tuple(_mapped(layer, lit) for layer in network.layers))


def _mapped(layer: Layer, change: Callable[[Convolution], Convolution]) -> Layer:
    """The layer with each of its convolutions changed."""
    if isinstance(layer, Residual):
        return Residual(tuple(map(change, layer.body)))
    return change(layer) if isinstance(layer, Convolution) else layer
