"""Light: a frame's own requantisation of an adaptive network, in integers, the same on every machine.

An adaptive convolution does the work of a convolution and an instance norm (Ulyanov et al. 2016, arXiv:1607.08022).
It holds ``gamma`` and ``beta`` instead of a bias, and it is told by the *light* how to requantise:

    clamp(round_half_even((acc + bias) * multiplier / 2**shift), low, high)        acc = sum(w * x)

A light holds these three integers for every channel of every adaptive convolution. It follows from the *sums* of acc
and of acc * acc over the frame: :func:`requantiser` is the whole rule. Sums of the pieces of a frame add up to the
sums of the frame, so a large frame is measured in tiles.

With count n, sums S1 = sum(acc), S2 = sum(acc^2), the channel's gamma g and beta t (both in 1/256 of an output level),
its floor f and the greatest shift L of its layer:

    D = n S2 - S1^2 + n^2 4^f                       n^2 times the variance, floor added: never 0
    m(s) = (isqrt(4 g^2 n^2 4^s // (2^16 D)) + 1) // 2        the gain g / (256 sqrt(variance)) times 2^s, rounded
    shift = the largest s of 0 .. L with m(s) <= 31; 0 where there is none
    multiplier = min(max(m(shift), 1), 31)
    bias = floor((2 N + Q) / (2 Q))  with  N = t 2^shift n - 256 multiplier S1,  Q = 256 multiplier n
    bias is then clamped to +-(R - 2^(shift - 1))  (+-R for shift 0), where R is what the accumulator's range leaves

``isqrt`` is the integer square root, ``//`` rounds towards minus infinity, and nothing overflows: these are integers
of any size. L is 24 - out_bits for networks of up to 8 bits, so that an unsaturated product stays below 2^24 and an
engine of float32 is exact; 40 for wider ones. R is 2^24 (2^47) less the greatest magnitude of acc that the weights
allow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np

from pleinair.errors import ContractError, LightError
from pleinair.network.integer import MOST_GAIN, Convolution, IntegerNetwork, Layer, Residual, validate


@dataclass(frozen=True)
class Sums:
    """What is measured of one convolution: ``count`` positions, and for each channel the sums of acc and of acc^2.

    The sums are Python's integers of any size.
    """

    count: int
    first: tuple[int, ...]
    second: tuple[int, ...]

    def __add__(self, other: Sums) -> Sums:
        """The sums of two pieces of one frame."""
        return Sums(
            self.count + other.count,
            tuple(a + b for a, b in zip(self.first, other.first, strict=True)),
            tuple(a + b for a, b in zip(self.second, other.second, strict=True)),
        )


def sums_of(accumulators: np.ndarray) -> Sums:
    """The sums of int64 [O, H, W], row by row so that nothing can overflow: a row of 2^15 values of 2^24 stays below
    2^63. Accumulators of more than 24 bits are summed as Python's integers."""
    outputs, height, width = accumulators.shape
    if not height * width:
        return Sums(0, (0,) * outputs, (0,) * outputs)
    narrow = int(np.abs(accumulators).max()) <= 1 << 24 and width <= 1 << 14
    first = accumulators.sum((1, 2))
    if narrow:
        rows = np.einsum("ohw,ohw->oh", accumulators, accumulators)
        second = [sum(row) for row in rows.tolist()]
    else:
        second = [sum(v * v for v in channel) for channel in accumulators.reshape(outputs, -1).tolist()]
    return Sums(height * width, tuple(first.tolist()), tuple(second))


def requantiser(
    *, gamma: int, beta: int, floor: int, longest: int, room: int, count: int, first: int, second: int
) -> tuple[int, int, int]:
    """(bias, multiplier, shift) of one channel from its sums; the module's docstring is the formula."""
    squares = count * second - first * first + (count * count << 2 * floor)
    power = 4 * gamma * gamma * count * count

    def multiplier(shift: int) -> int:
        return (isqrt((power << 2 * shift) // (squares << 16)) + 1) // 2

    shift = longest
    while shift > 0 and multiplier(shift) > MOST_GAIN:
        shift -= 1
    gain = min(max(multiplier(shift), 1), MOST_GAIN)
    target, unit = (beta << shift) * count - 256 * gain * first, 256 * gain * count
    bias = (2 * target + unit) // (2 * unit)
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
            for array in (c.weight, c.norm.gamma, c.norm.beta, c.norm.floor):
                sha.update(array.astype("<i8").tobytes())
    return sha.hexdigest()


def layer_light(c: Convolution, sums: Sums, *, bits: int, input_high: int) -> LayerLight:
    """The light of an adaptive convolution in a network of ``bits`` bits, whose inputs are 0 .. ``input_high``."""
    assert c.norm is not None
    wide = max(bits, c.weight_bits) > 8
    reach = np.abs(c.weight.astype(np.int64)).sum((1, 2, 3)) * input_high
    room = (1 << (47 if wide else 24)) - reach
    channels = [
        requantiser(
            gamma=int(c.norm.gamma[o]),
            beta=int(c.norm.beta[o]),
            floor=int(c.norm.floor[o]),
            longest=c.longest_shift(bits),
            room=int(room[o]),
            count=sums.count,
            first=sums.first[o],
            second=sums.second[o],
        )
        for o in range(c.outputs)
    ]
    bias, multiplier, shift = (np.array(column, np.int64) for column in zip(*channels, strict=True))
    return LayerLight(c.name, bias, multiplier, shift)


def light_of(network: IntegerNetwork) -> Light:
    """The light that a network holds: the average light of photos, as its file says, or the one it was put into."""
    layers = tuple(LayerLight(c.name, c.bias, c.gain, c.shift) for c in network.convolutions() if c.norm is not None)
    return Light(identity(network), layers)


def in_light(network: IntegerNetwork, light: Light) -> IntegerNetwork:
    """The network with the light's numbers. Raises LightError for another network's light and for bad numbers."""
    if light.network != identity(network):
        raise LightError("light: measured with another network")
    given = {layer.name: layer for layer in light.layers}
    if set(given) != {c.name for c in network.convolutions() if c.norm is not None}:
        raise LightError("light: names other layers than the network's adaptive ones")

    def lit(c: Convolution) -> Convolution:
        if c.norm is None:
            return c
        own = given[c.name]
        return replace(c, bias=own.bias, multiplier=own.multiplier, shift=own.shift)

    try:
        return validate(IntegerNetwork(network.bits, tuple(_mapped(layer, lit) for layer in network.layers)))
    except ContractError as error:
        raise LightError(f"light: {error}") from error


def _mapped(layer: Layer, change: Callable[[Convolution], Convolution]) -> Layer:
    """The layer with each of its convolutions changed."""
    if isinstance(layer, Residual):
        return Residual(tuple(map(change, layer.body)))
    return change(layer) if isinstance(layer, Convolution) else layer
