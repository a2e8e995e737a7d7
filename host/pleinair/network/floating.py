"""The float network: what the integer ones are compared with. Not part of the integer contract.

A chain of the layers of ``pleinair.network.integer`` but in float32. Pixels enter as pixel / 256 and leave as
``clamp(round_half_even(256 * y), 0, 255)``. There are two generations, as there are of integer networks:

- Convolutions with bias and ReLU, as training leaves them once its norm is folded.
- Convolutions with an instance norm, ``gamma * (y - mean) / sqrt(variance + 1e-5) + beta``. Mean and variance are each
  channel's, over the positions that share a pixel with the frame: what metering counts, too
  (:class:`pleinair.painting.meter.Meter`). So each frame is painted in its own statistics, and whole, since a tile has
  others. The last convolution has a bias and no norm.

The sum of floats depends on their order. So two machines may differ by a grey level, and so may two tilings of one
frame: only integer networks paint the same pixels everywhere.

File form (``*.npz``, read with NumPy alone): ``header`` is UTF-8 JSON as uint8, ``N.weight`` float32
[O, I, k, k] and ``N.bias`` float32 [O] belong to convolution number N in order of execution. Header:
``{"format": "pleinair-float-network", "version": 1, "layers": [...]}`` where a layer is
``{"kind": "convolution", "name", "stride", "relu"}``, ``{"kind": "upsample"}`` or
``{"kind": "residual", "body": [convolution, ...]}``.

Version 2 is a version 1 file that has something new in it: a layer ``{"kind": "space_to_depth", "block"}`` or
``{"kind": "depth_to_space", "block"}``, or a convolution with ``"norm": true``, which has ``N.gamma`` and ``N.beta``
float32 [O] in place of ``N.bias``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError
from pleinair.network.chain import (
    Chain,
    ConvolutionShape,
    DepthToSpace,
    ResidualShape,
    SpaceToDepth,
    Upsample,
    check_chain,
)
from pleinair.network.npz import Arrays, LayerReader, layer_name, read_chain, write_chain
from pleinair.network.reference import depth_to_space, space_to_depth

FORMAT = "pleinair-float-network"
#: What stands for the float network where a width is asked for.
FLOAT_BITS = 32
#: What the norm adds to a channel's variance.
EPSILON = 1e-5

#: The rows and the columns of an image that a frame fills.
Place = tuple[slice, slice]


@dataclass(frozen=True)
class FloatNorm:
    """The instance norm after a convolution: ``gamma`` and ``beta``, float32 [O]."""

    gamma: np.ndarray
    beta: np.ndarray


@dataclass(frozen=True)
class FloatConvolution(ConvolutionShape):
    """``weight``: float32 [O, I, k, k]; ``bias``: float32 [O]. Zero padding of k // 2.

    With a ``norm`` the bias is zero: the norm would take any other away.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int
    relu: bool
    norm: FloatNorm | None = None

    def header(self) -> dict[str, object]:
        """Kind, name, stride and whether a ReLU follows, or a norm."""
        norm = {} if self.norm is None else {"norm": True}
        return {**super().header(), "relu": self.relu, **norm}

    def arrays(self) -> dict[str, np.ndarray]:
        """Weight, and bias or gamma and beta."""
        named = {"bias": self.bias} if self.norm is None else {"gamma": self.norm.gamma, "beta": self.norm.beta}
        return {name: array.astype("<f4") for name, array in {"weight": self.weight, **named}.items()}


@dataclass(frozen=True)
class FloatResidual(ResidualShape):
    """``relu(x + body(x))``; the body's convolutions have stride 1."""

    body: tuple[FloatConvolution, ...]

    def convolutions(self) -> tuple[FloatConvolution, ...]:
        """The body."""
        return self.body


FloatLayer = FloatConvolution | Upsample | FloatResidual | SpaceToDepth | DepthToSpace


@dataclass(frozen=True)
class FloatNetwork(Chain[FloatLayer, FloatConvolution]):
    """A chain of layers from uint8 RGB to uint8 RGB; construct it through :func:`validate` or :func:`parse`."""

    layers: tuple[FloatLayer, ...]
    bits = FLOAT_BITS

    @property
    def adaptive(self) -> bool:
        """Whether it has a norm, and so paints each frame in its own statistics."""
        return any(c.norm is not None for c in self.convolutions())


def validate(network: FloatNetwork) -> FloatNetwork:
    """Return ``network`` if its layers fit each other and all numbers are finite; else raise ContractError.

    Shapes, names, strides and their bounds are those of an integer network.
    """
    convolutions = list(network.convolutions())
    if convolutions and convolutions[-1].norm is not None:
        raise ContractError(f"layer {convolutions[-1].name}: the last convolution has a norm, and must have a bias")
    for c in convolutions:
        if c.weight.ndim != 4 or c.bias.shape != c.weight.shape[:1]:
            raise ContractError(f"layer {c.name}: weights of shape {c.weight.shape} and bias of {c.bias.shape}")
        named = {"weights": c.weight, "bias": c.bias}
        if c.norm is not None:
            named |= {"gamma": c.norm.gamma, "beta": c.norm.beta}
        for name, array in named.items():
            if name != "weights" and array.shape != c.bias.shape:
                raise ContractError(f"layer {c.name}: {name} of shape {array.shape}, need {c.bias.shape}")
            if array.dtype != np.float32:
                raise ContractError(f"layer {c.name}: {name} of type {array.dtype}, need float32")
            if not np.isfinite(array).all():
                raise ContractError(f"layer {c.name}: {name} that are not finite")
        if c.norm is not None and c.bias.any():
            raise ContractError(f"layer {c.name}: a bias and a norm, which takes it away")
    check_chain(network)
    return network


# -- the reference


def counted(place: Place, scale: int) -> Place:
    """The positions that share a pixel with the frame, in a layer of 1 / ``scale`` of the input's size."""
    rows, columns = (slice(s.start // scale, -(-s.stop // scale)) for s in place)
    return rows, columns


def normalise(y: np.ndarray, norm: FloatNorm, place: Place) -> np.ndarray:
    """Float64 [O, H, W] with each channel's mean and variance at ``place`` brought to ``norm``'s."""
    inner = y[:, place[0], place[1]]
    mean, variance = inner.mean((1, 2), keepdims=True), inner.var((1, 2), keepdims=True)
    gamma, beta = (array.astype(np.float64)[:, None, None] for array in (norm.gamma, norm.beta))
    normed: np.ndarray = gamma * (y - mean) / np.sqrt(variance + EPSILON) + beta
    return normed


def convolve(x: np.ndarray, c: FloatConvolution, place: Place = (slice(None), slice(None))) -> np.ndarray:
    """Float64 [O, H / stride, W / stride], norm and ReLU included, of float64 [I, H, W]; zero padding.

    ``place``: the positions of the output whose statistics a norm takes.
    """
    reach, stride = c.kernel // 2, c.stride
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    y = c.bias.astype(np.float64)[:, None, None]
    for i in range(c.kernel):
        for j in range(c.kernel):
            window = padded[:, i : i + height : stride, j : j + width : stride]
            y = y + np.tensordot(c.weight[:, :, i, j].astype(np.float64), window, 1)
    if c.norm is not None:
        y = normalise(y, c.norm, place)
    return np.maximum(y, 0) if c.relu else y


def run(network: FloatNetwork, image: np.ndarray, place: Place | None = None) -> np.ndarray:
    """The network in float64 on uint8 [H, W, 3], multiples of its stride; uint8 of the same shape.

    ``place``: the part of the image that the frame fills, whose statistics norms take; None for all of it.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"uint8 [H, W, 3] needed, not {image.dtype} {image.shape}")
    if image.shape[0] % network.stride or image.shape[1] % network.stride:
        raise ValueError(f"{image.shape[:2]} is not a multiple of the stride {network.stride}")
    place = (slice(0, image.shape[0]), slice(0, image.shape[1])) if place is None else place
    x, scale = image.transpose(2, 0, 1) / 256, 1
    for layer in network.layers:
        scale = scale * layer.down // layer.up
        if isinstance(layer, Upsample):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        elif isinstance(layer, SpaceToDepth):
            x = space_to_depth(x, layer.block)
        elif isinstance(layer, DepthToSpace):
            x = depth_to_space(x, layer.block)
        elif isinstance(layer, FloatResidual):
            branch = x
            for c in layer.body:
                branch = convolve(branch, c, counted(place, scale))
            x = np.maximum(x + branch, 0)
        else:
            x = convolve(x, layer, counted(place, scale))
    return np.ascontiguousarray(np.clip(np.rint(x * 256), 0, 255).astype(np.uint8).transpose(1, 2, 0))


# -- the file


def dump(network: FloatNetwork) -> bytes:
    """The file form; the same network always gives the same bytes."""
    return write_chain({"format": FORMAT, "version": _version(network)}, network, zip64=True)


def _version(network: FloatNetwork) -> int:
    """The least version that can say what the network is."""
    new = network.adaptive or any(isinstance(layer, SpaceToDepth | DepthToSpace) for layer in network.layers)
    return 2 if new else 1


def _read_convolution(entry: Mapping[str, Any], arrays: Arrays) -> FloatConvolution:
    normed = entry.get("norm", False) is True
    weight, *more = arrays.next("weight", *(("gamma", "beta") if normed else ("bias",)))
    norm = FloatNorm(*more) if normed else None
    bias = more[0] if norm is None else np.zeros(weight.shape[:1], np.float32)
    name = layer_name(entry, arrays.name)
    return FloatConvolution(name, weight, bias, int(entry["stride"]), bool(entry["relu"]), norm)


def _read_residual(entry: Mapping[str, Any], arrays: Arrays) -> FloatResidual:
    return FloatResidual(tuple(_read_convolution(e, arrays) for e in entry["body"]))


_READERS: dict[str, LayerReader[FloatLayer]] = {
    "convolution": _read_convolution,
    "residual": _read_residual,
    "upsample": lambda entry, arrays: Upsample(),
    "space_to_depth": lambda entry, arrays: SpaceToDepth(int(entry["block"])),
    "depth_to_space": lambda entry, arrays: DepthToSpace(int(entry["block"])),
}


def parse(data: bytes, name: str) -> FloatNetwork:
    """Read the file form and validate it. Raises ModelError that calls it ``name``, ContractError with the layer."""
    header, layers = read_chain(data, name, form=FORMAT, kinds="fiu", readers=_READERS, versions=(1, 2))
    network = FloatNetwork(layers)
    if header["version"] != _version(network):
        raise ModelError(f"network {name}: says version {header['version']}, holds version {_version(network)}")
    return validate(network)
