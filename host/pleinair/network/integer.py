"""The integer network: the contract that every machine computes the same pixels.

Input and output are uint8 RGB. Every convolution holds signed narrow-range integer weights, an integer bias
at accumulator scale and a right shift per output channel; its result is requantised by

    clamp(round_half_even((sum(w * x) + bias) * multiplier / 2**shift), low, high)

to an unsigned ``bits``-bit activation, or to a signed one where a residual block adds it to its input, which
is then clamped to 0 .. 2**bits - 1. Upsampling repeats pixels. There are no scales: all were powers of two
and live on as shifts.

Only *adaptive* convolutions have a multiplier other than 1. They also hold a :class:`Norm`, from which a frame's own
light (:mod:`pleinair.network.light`) derives their bias, multiplier and shift; those that the file holds are the
average light of photos.

File form (``*.npz``, read with NumPy alone): ``header`` is UTF-8 JSON as uint8, ``N.weight`` [O, I, k, k],
``N.bias`` [O] and ``N.shift`` [O] belong to convolution number N in order of execution. Header:
``{"format": "pleinair-integer-network", "version": 1, "bits": 8, "layers": [...]}`` where a layer is
``{"kind": "convolution", "name", "stride", "weight_bits", "out_bits"}``, ``{"kind": "upsample"}`` or
``{"kind": "residual", "body": [convolution, ...]}``.

Version 2 is a version 1 file that has something new in it: a layer ``{"kind": "space_to_depth", "block"}`` or
``{"kind": "depth_to_space", "block"}``, or a convolution with ``"adaptive": true``, whose further arrays are
``N.multiplier``, ``N.gamma``, ``N.beta``, ``N.meter_bias``, ``N.meter_multiplier`` and ``N.meter_shift`` [O].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError
from pleinair.network.chain import (
    MAX_CHANNELS,
    MAX_CONVOLUTIONS,
    MAX_KERNEL,
    Chain,
    ConvolutionShape,
    DepthToSpace,
    ResidualShape,
    SpaceToDepth,
    Upsample,
    check_chain,
)
from pleinair.network.npz import MAX_FILE_BYTES, Arrays, LayerReader, layer_name, read_arrays, read_chain, write_chain

__all__ = [
    "BITS",
    "FORMAT",
    "MAX_CHANNELS",
    "MAX_CONVOLUTIONS",
    "MAX_FILE_BYTES",
    "MAX_KERNEL",
    "MOST_GAIN",
    "Convolution",
    "DepthToSpace",
    "IntegerNetwork",
    "Layer",
    "Norm",
    "Residual",
    "SpaceToDepth",
    "Upsample",
    "dump",
    "load",
    "metering",
    "parse",
    "read_arrays",
    "validate",
]

FORMAT = "pleinair-integer-network"
BITS = (4, 8, 16)
#: Greatest multiplier of a convolution: five bits, a few adders in hardware.
MOST_GAIN = 31
#: Greatest magnitude of an adaptive convolution's gamma and beta.
MOST_NORM = 1 << 24


@dataclass(frozen=True)
class Norm:
    """What an adaptive convolution holds of its instance norm; see :mod:`pleinair.network.light`.

    ``gamma`` (0 and above) and ``beta``: int64 [O], the deviation and the mean that each channel of the output shall
    have, in 1/256 of a level. ``meter_bias``, ``meter_multiplier``, ``meter_shift``: int64 [O], the requantisation to
    0 .. 255 that a frame is metered with.
    """

    gamma: np.ndarray
    beta: np.ndarray
    meter_bias: np.ndarray
    meter_multiplier: np.ndarray
    meter_shift: np.ndarray


@dataclass(frozen=True)
class Convolution(ConvolutionShape):
    """One convolution with its requantisation.

    ``weight``: int16 or int8 [O, I, k, k]; ``bias``: int64 [O]; ``shift``: int64 [O], all >= 0; ``multiplier``:
    int64 [O], 1 to 31, and ``norm`` only where the convolution is adaptive. Zero padding of k // 2. ``signed`` is
    true for the last convolution of a residual block: its output is -2**(b-1) .. 2**(b-1) - 1 for b = ``out_bits``,
    all others' 0 .. 2**b - 1.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    stride: int
    weight_bits: int
    out_bits: int
    signed: bool = False
    multiplier: np.ndarray | None = None
    norm: Norm | None = None

    @property
    def gain(self) -> np.ndarray:
        """The multiplier, int64 [O]; ones where there is none."""
        return np.ones(self.outputs, np.int64) if self.multiplier is None else self.multiplier

    def longest_shift(self, bits: int) -> int:
        """The greatest shift in a network of ``bits`` bits.

        With a multiplier the product of an output that is not clamped must stay below 2**24, which float32 holds.
        """
        wide = max(bits, self.weight_bits) > 8
        if self.norm is None:
            return 47 if wide else 31
        return 40 if wide else 24 - self.out_bits

    @property
    def low(self) -> int:
        """Least output value."""
        return -(1 << (self.out_bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Greatest output value."""
        return (1 << (self.out_bits - 1)) - 1 if self.signed else (1 << self.out_bits) - 1

    @cached_property
    def weight_sums(self) -> np.ndarray:
        """The sum of each output channel's weights without their signs, int64 [O]."""
        sums: np.ndarray = np.abs(self.weight.astype(np.int64)).sum((1, 2, 3))
        return sums

    def accumulator_bound(self, input_high: int) -> np.ndarray:
        """Greatest magnitude, int64 [O], of any partial sum for inputs 0 .. ``input_high``: sum|w| x + |b|.

        Includes the half that rounding adds. Holds for every order of summation.
        """
        magnitude = self.weight_sums * input_high
        half = np.where(self.shift > 0, np.int64(1) << np.maximum(self.shift - 1, 0), 0)
        bound: np.ndarray = magnitude + np.abs(self.bias) + half
        return bound

    def header(self) -> dict[str, object]:
        """Kind, name, stride and both widths; whether it is adaptive."""
        header = {**super().header(), "weight_bits": self.weight_bits, "out_bits": self.out_bits}
        return header if self.norm is None else {**header, "adaptive": True}

    def arrays(self) -> dict[str, np.ndarray]:
        """Weight, bias and shift, and an adaptive convolution's further ones, in the smallest types that hold them."""
        arrays = {
            "weight": self.weight.astype("<i2" if self.weight_bits > 8 else "i1"),
            "bias": self.bias.astype("<i8"),
            "shift": self.shift.astype("i1"),
        }
        if self.norm is not None:
            arrays |= {
                "multiplier": self.gain.astype("i1"),
                "gamma": self.norm.gamma.astype("<i4"),
                "beta": self.norm.beta.astype("<i4"),
                "meter_bias": self.norm.meter_bias.astype("<i8"),
                "meter_multiplier": self.norm.meter_multiplier.astype("i1"),
                "meter_shift": self.norm.meter_shift.astype("i1"),
            }
        return arrays


@dataclass(frozen=True)
class Residual(ResidualShape):
    """``clamp(x + body(x), 0, 2**bits - 1)``; the body's last convolution is signed, all have stride 1."""

    body: tuple[Convolution, ...]

    def convolutions(self) -> tuple[Convolution, ...]:
        """The body."""
        return self.body


Layer = Convolution | Upsample | Residual | SpaceToDepth | DepthToSpace


@dataclass(frozen=True)
class IntegerNetwork(Chain[Layer, Convolution]):
    """A chain of layers from uint8 RGB to uint8 RGB; construct it through :func:`validate` or :func:`load`."""

    bits: int
    layers: tuple[Layer, ...]

    @property
    def wide(self) -> bool:
        """Whether int8 operators cannot hold it: there are more than 8 bits somewhere."""
        return self.bits > 8 or any(c.weight_bits > 8 for c in self.convolutions())

    @property
    def adaptive(self) -> bool:
        """Whether a frame's own light changes what it paints."""
        return any(c.norm is not None for c in self.convolutions())


def _check_numbers(c: Convolution, input_high: int, bits: int) -> None:
    """Check what the geometry leaves open: widths, types, ranges and the accumulator. Raises ContractError."""

    def refuse(what: str) -> ContractError:
        return ContractError(f"layer {c.name}: {what}")

    if c.weight_bits not in BITS:
        raise refuse(f"{c.weight_bits}-bit weights, allowed are {BITS}")
    for name, array in (("weights", c.weight), ("bias", c.bias), ("shift", c.shift)):
        if array.dtype.kind != "i":
            raise refuse(f"{name} of type {array.dtype}, need signed integers")
    for name, array in (("bias", c.bias), ("shift", c.shift)):
        if array.shape != (c.outputs,):
            raise refuse(f"{name} of shape {array.shape}, need ({c.outputs},)")
    greatest = (1 << (c.weight_bits - 1)) - 1
    if int(c.weight.max()) > greatest or int(c.weight.min()) < -greatest:
        worst = int(c.weight.max()) if int(c.weight.max()) > greatest else int(c.weight.min())
        raise refuse(f"weight {worst} outside +-{greatest}, the narrow range of {c.weight_bits} bits")
    wide = max(bits, c.weight_bits) > 8
    longest = c.longest_shift(bits)
    if int(c.shift.min()) < 0 or int(c.shift.max()) > longest:
        worst = int(c.shift.min()) if int(c.shift.min()) < 0 else int(c.shift.max())
        raise refuse(f"shift {worst}, allowed are 0 to {longest}")
    limit = 1 << (47 if wide else 24)
    # The bias alone first: a hostile one could overflow the sum below.
    if bool(((c.bias > limit) | (c.bias < -limit)).any()):
        raise refuse(f"a bias outside +-2^{limit.bit_length() - 1}")
    if c.norm is not None or c.multiplier is not None:
        _check_norm(c, bits, input_high, limit)
    # A shift beyond 2 * limit rounds everything to zero; it must not overflow the bound either.
    worst = int(c.accumulator_bound(input_high).max())
    if worst > limit:
        raise refuse(
            f"an accumulator can reach {worst} (2^{math.log2(worst):.2f}), allowed is 2^{limit.bit_length() - 1}"
        )


def _check_norm(c: Convolution, bits: int, input_high: int, limit: int) -> None:
    """Check what only an adaptive convolution holds. Raises ContractError."""

    def refuse(what: str) -> ContractError:
        return ContractError(f"layer {c.name}: {what}")

    if c.norm is None or c.multiplier is None:
        raise refuse("a multiplier and a norm go together")
    for name, array, least, most in (
        ("multiplier", c.multiplier, 1, MOST_GAIN),
        ("gamma", c.norm.gamma, 0, MOST_NORM),
        ("beta", c.norm.beta, -MOST_NORM, MOST_NORM),
        ("meter_bias", c.norm.meter_bias, -limit, limit),
        ("meter_multiplier", c.norm.meter_multiplier, 1, MOST_GAIN),
        ("meter_shift", c.norm.meter_shift, 0, metering(c).longest_shift(bits)),
    ):
        if array.dtype.kind != "i" or array.shape != (c.outputs,):
            raise refuse(f"{name} is {array.dtype} {array.shape}, need signed integers ({c.outputs},)")
        if int(array.min()) < least or int(array.max()) > most:
            worst = int(array.min()) if int(array.min()) < least else int(array.max())
            raise refuse(f"{name} {worst}, allowed are {least} to {most}")
    # Half of the range is kept for the bias that a light brings.
    greatest = int(c.weight_sums.max()) * input_high
    if greatest > limit // 2:
        raise refuse(f"adaptive sums can reach {greatest}, allowed is 2^{(limit // 2).bit_length() - 1}")
    worst = int(metering(c).accumulator_bound(input_high).max())
    if worst > limit:
        raise refuse(f"while metering an accumulator can reach {worst}, allowed is 2^{limit.bit_length() - 1}")


def metering(c: Convolution) -> Convolution:
    """An adaptive convolution as it is while a frame is metered: unsigned, of 8 bits, the same for every frame."""
    assert c.norm is not None
    return replace(
        c,
        bias=c.norm.meter_bias,
        multiplier=c.norm.meter_multiplier,
        shift=c.norm.meter_shift,
        out_bits=8,
        signed=False,
    )


def _check_residual(block: Residual, input_high: int, bits: int) -> None:
    """The same for a residual block, whose input must have the network's own range."""
    high = input_high
    for c in block.body:
        _check_numbers(c, high, bits)
        if c.signed != (c is block.body[-1]):
            raise ContractError(f"layer {c.name}: signed output is for the last of a residual block")
        if c.out_bits != bits:
            raise ContractError(f"layer {c.name}: {c.out_bits}-bit output in a {bits}-bit network")
        high = c.high
    if input_high != (1 << bits) - 1:
        raise ContractError(f"layer {block.body[0].name}: a residual block on the pixels themselves")


def validate(network: IntegerNetwork) -> IntegerNetwork:
    """Return ``network`` if it keeps the contract; else raise ContractError naming the layer and the number.

    For 8 bits and below it proves that no accumulator can leave +-2**24, so that a float32 engine is exact
    too; for 16 bits +-2**47, so that int64, float64 and a 48-bit DSP are.
    """
    bits = network.bits
    if bits not in BITS:
        raise ContractError(f"network of {bits} bits, allowed are {BITS}")
    check_chain(network)
    convolutions = list(network.convolutions())
    for end in (convolutions[0], convolutions[-1]):
        if end.weight_bits < 8:
            raise ContractError(f"layer {end.name}: {end.weight_bits}-bit weights, first and last need at least 8")
    high = 255
    for layer in network.layers:
        if isinstance(layer, Residual):
            _check_residual(layer, high, bits)
        elif isinstance(layer, Convolution):
            _check_numbers(layer, high, bits)
            if layer.signed:
                raise ContractError(f"layer {layer.name}: signed output outside a residual block")
            wanted = 8 if layer is convolutions[-1] else bits
            if layer.out_bits != wanted:
                raise ContractError(f"layer {layer.name}: {layer.out_bits}-bit output, need {wanted}")
            high = layer.high
    return network


# -- the file


def dump(network: IntegerNetwork) -> bytes:
    """The file form; the same network always gives the same bytes."""
    return write_chain({"format": FORMAT, "version": _version(network), "bits": network.bits}, network)


def _version(network: IntegerNetwork) -> int:
    """The least version that can say what the network is."""
    new = network.adaptive or any(isinstance(layer, (SpaceToDepth, DepthToSpace)) for layer in network.layers)
    return 2 if new else 1


def _read_convolution(entry: Mapping[str, Any], arrays: Arrays, signed: bool = False) -> Convolution:
    adaptive = entry.get("adaptive", False) is True
    names = ("multiplier", *(field.name for field in fields(Norm))) if adaptive else ()
    weight, bias, shift, *more = arrays.next("weight", "bias", "shift", *names)
    multiplier, *norm = (array.astype(np.int64) for array in more) if more else (None,)
    if weight.dtype not in (np.int8, np.dtype("<i2")):
        raise arrays.refuse(f"weights are {weight.dtype}, need int8 or int16")
    return Convolution(
        name=layer_name(entry, arrays.name),
        weight=weight.astype(weight.dtype.newbyteorder("=")),
        bias=bias.astype(np.int64),
        shift=shift.astype(np.int64),
        stride=int(entry["stride"]),
        weight_bits=int(entry["weight_bits"]),
        out_bits=int(entry["out_bits"]),
        signed=signed,
        multiplier=multiplier,
        norm=Norm(*norm) if norm else None,
    )


def _read_residual(entry: Mapping[str, Any], arrays: Arrays) -> Residual:
    body = entry["body"]
    return Residual(tuple(_read_convolution(e, arrays, signed=e is body[-1]) for e in body))


def _read_upsample(entry: Mapping[str, Any], arrays: Arrays) -> Upsample:
    return Upsample()


def _read_space_to_depth(entry: Mapping[str, Any], arrays: Arrays) -> SpaceToDepth:
    return SpaceToDepth(int(entry["block"]))


def _read_depth_to_space(entry: Mapping[str, Any], arrays: Arrays) -> DepthToSpace:
    return DepthToSpace(int(entry["block"]))


_READERS: dict[str, LayerReader[Layer]] = {
    "convolution": _read_convolution,
    "residual": _read_residual,
    "upsample": _read_upsample,
    "space_to_depth": _read_space_to_depth,
    "depth_to_space": _read_depth_to_space,
}


def parse(data: bytes, name: str) -> IntegerNetwork:
    """Read the file form and validate it. Raises ModelError (ContractError) that calls it ``name``."""
    header, layers = read_chain(data, name, form=FORMAT, kinds="iu", readers=_READERS, versions=(1, 2))
    try:
        bits = int(header["bits"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"network {name}: damaged header ({type(error).__name__}: {error})") from error
    network = IntegerNetwork(bits, layers)
    if header["version"] != _version(network):
        raise ModelError(f"network {name}: says version {header['version']}, holds version {_version(network)}")
    return validate(network)


def load(path: Path) -> IntegerNetwork:
    """Read and validate a network file. Raises ModelError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"network {path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"network {path}: {error.strerror}") from error
    return parse(data, str(path))
