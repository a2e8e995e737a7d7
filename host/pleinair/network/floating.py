"""The float network: what the integer ones are compared with. Not part of the integer contract.

A chain of convolutions with bias and ReLU, upsamplings and residual blocks, as in ``pleinair.network.integer`` but in
float32, as training leaves it once its norm is folded. Pixels enter as pixel / 256 and leave as
``clamp(round_half_even(256 * y), 0, 255)``. The sum of floats depends on their order. So two machines may differ by
a grey level, and so may two tilings of one frame: only integer networks paint the same pixels everywhere.

File form (``*.npz``, read with NumPy alone): ``header`` is UTF-8 JSON as uint8, ``N.weight`` float32
[O, I, k, k] and ``N.bias`` float32 [O] belong to convolution number N in order of execution. Header:
``{"format": "pleinair-float-network", "version": 1, "layers": [...]}`` where a layer is
``{"kind": "convolution", "name", "stride", "relu"}``, ``{"kind": "upsample"}`` or
``{"kind": "residual", "body": [convolution, ...]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pleinair.errors import ContractError
from pleinair.network.chain import Chain, ConvolutionShape, ResidualShape, Upsample, check_chain
from pleinair.network.npz import Arrays, LayerReader, layer_name, read_chain, write_chain

FORMAT = "pleinair-float-network"
#: What stands for the float network where a width is asked for.
FLOAT_BITS = 32


@dataclass(frozen=True)
class FloatConvolution(ConvolutionShape):
    """``weight``: float32 [O, I, k, k]; ``bias``: float32 [O]. Zero padding of k // 2."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int
    relu: bool

    def header(self) -> dict[str, object]:
        """Kind, name, stride and whether a ReLU follows."""
        return {**super().header(), "relu": self.relu}

    def arrays(self) -> dict[str, np.ndarray]:
        """Weight and bias."""
        return {"weight": self.weight.astype("<f4"), "bias": self.bias.astype("<f4")}


@dataclass(frozen=True)
class FloatResidual(ResidualShape):
    """``relu(x + body(x))``; the body's convolutions have stride 1."""

    body: tuple[FloatConvolution, ...]

    def convolutions(self) -> tuple[FloatConvolution, ...]:
        """The body."""
        return self.body


FloatLayer = FloatConvolution | Upsample | FloatResidual


@dataclass(frozen=True)
class FloatNetwork(Chain[FloatLayer, FloatConvolution]):
    """A chain of layers from uint8 RGB to uint8 RGB; construct it through :func:`validate` or :func:`parse`."""

    layers: tuple[FloatLayer, ...]
    bits = FLOAT_BITS


def validate(network: FloatNetwork) -> FloatNetwork:
    """Return ``network`` if its layers fit each other and all numbers are finite; else raise ContractError.

    Shapes, names, strides and their bounds are those of an integer network.
    """
    for c in network.convolutions():
        if c.weight.ndim != 4 or c.bias.shape != c.weight.shape[:1]:
            raise ContractError(f"layer {c.name}: weights of shape {c.weight.shape} and bias of {c.bias.shape}")
        for name, array in (("weights", c.weight), ("bias", c.bias)):
            if array.dtype != np.float32:
                raise ContractError(f"layer {c.name}: {name} of type {array.dtype}, need float32")
            if not np.isfinite(array).all():
                raise ContractError(f"layer {c.name}: {name} that are not finite")
    check_chain(network)
    return network


# -- the reference


def convolve(x: np.ndarray, c: FloatConvolution) -> np.ndarray:
    """Float64 [O, H / stride, W / stride], ReLU included, of float64 [I, H, W]; zero padding."""
    reach, stride = c.kernel // 2, c.stride
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    y = c.bias.astype(np.float64)[:, None, None]
    for i in range(c.kernel):
        for j in range(c.kernel):
            window = padded[:, i : i + height : stride, j : j + width : stride]
            y = y + np.tensordot(c.weight[:, :, i, j].astype(np.float64), window, 1)
    return np.maximum(y, 0) if c.relu else y


def run(network: FloatNetwork, image: np.ndarray) -> np.ndarray:
    """The network in float64 on uint8 [H, W, 3], multiples of its stride; uint8 of the same shape."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"uint8 [H, W, 3] needed, not {image.dtype} {image.shape}")
    if image.shape[0] % network.stride or image.shape[1] % network.stride:
        raise ValueError(f"{image.shape[:2]} is not a multiple of the stride {network.stride}")
    x = image.transpose(2, 0, 1) / 256
    for layer in network.layers:
        if isinstance(layer, Upsample):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
        elif isinstance(layer, FloatResidual):
            branch = x
            for c in layer.body:
                branch = convolve(branch, c)
            x = np.maximum(x + branch, 0)
        else:
            x = convolve(x, layer)
    return np.ascontiguousarray(np.clip(np.rint(x * 256), 0, 255).astype(np.uint8).transpose(1, 2, 0))


# -- the file


def dump(network: FloatNetwork) -> bytes:
    """The file form; the same network always gives the same bytes."""
    return write_chain({"format": FORMAT, "version": 1}, network, zip64=True)


def _read_convolution(entry: Mapping[str, Any], arrays: Arrays) -> FloatConvolution:
    weight, bias = arrays.next("weight", "bias")
    name = layer_name(entry, arrays.name)
    return FloatConvolution(name, weight, bias, int(entry["stride"]), bool(entry["relu"]))


def _read_residual(entry: Mapping[str, Any], arrays: Arrays) -> FloatResidual:
    return FloatResidual(tuple(_read_convolution(e, arrays) for e in entry["body"]))


def _read_upsample(entry: Mapping[str, Any], arrays: Arrays) -> Upsample:
    return Upsample()


_READERS: dict[str, LayerReader[FloatLayer]] = {
    "convolution": _read_convolution,
    "residual": _read_residual,
    "upsample": _read_upsample,
}


def parse(data: bytes, name: str) -> FloatNetwork:
    """Read the file form and validate it. Raises ModelError that calls it ``name``, ContractError with the layer."""
    _, layers = read_chain(data, name, form=FORMAT, kinds="fiu", readers=_READERS)
    return validate(FloatNetwork(layers))
