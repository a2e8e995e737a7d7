"""The float network: what the integer ones are compared with. Not part of the integer contract.

A chain of convolutions with bias and ReLU, upsamplings and residual blocks as in ``pleinair.network.integer``, in float32,
as training leaves it once its norm is folded. Pixels enter as pixel / 256 and leave as
``clamp(round_half_even(256 * y), 0, 255)``. Sums of floats depend on their order, so two machines may differ by
a grey level, and so may two tilings of one frame: only integer networks paint the same pixels everywhere.

File form (``*.npz``, read with NumPy alone): ``header`` is UTF-8 JSON as uint8, ``N.weight`` float32
[O, I, k, k] and ``N.bias`` float32 [O] belong to convolution number N in order of execution. Header:
``{"format": "pleinair-float-network", "version": 1, "layers": [...]}`` where a layer is
``{"kind": "convolution", "name", "stride", "relu"}``, ``{"kind": "upsample"}`` or
``{"kind": "residual", "body": [convolution, ...]}``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pleinair.errors import ContractError, ModelError
from pleinair.network.integer import (
    MAX_CONVOLUTIONS,
    Convolution,
    IntegerNetwork,
    Layer,
    Residual,
    Upsample,
    read_arrays,
)
from pleinair.network.integer import validate as validate_integers

FORMAT = "pleinair-float-network"
#: What stands for the float network where a width is asked for.
FLOAT_BITS = 32


@dataclass(frozen=True)
class FloatConvolution:
    """``weight``: float32 [O, I, k, k]; ``bias``: float32 [O]. Zero padding of k // 2."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int
    relu: bool

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Input channels."""
        return int(self.weight.shape[1])

    @property
    def kernel(self) -> int:
        """Side of the square kernel."""
        return int(self.weight.shape[2])


@dataclass(frozen=True)
class FloatResidual:
    """``relu(x + body(x))``; the body's convolutions have stride 1."""

    body: tuple[FloatConvolution, ...]


FloatLayer = FloatConvolution | Upsample | FloatResidual


@dataclass(frozen=True)
class FloatNetwork:
    """A chain of layers from uint8 RGB to uint8 RGB; construct it through :func:`validate` or :func:`parse`."""

    layers: tuple[FloatLayer, ...]
    bits = FLOAT_BITS

    def convolutions(self) -> Iterator[FloatConvolution]:
        """All convolutions in order of execution."""
        for layer in self.layers:
            if isinstance(layer, FloatConvolution):
                yield layer
            elif isinstance(layer, FloatResidual):
                yield from layer.body

    @cached_property
    def skeleton(self) -> IntegerNetwork:
        """An integer network of the same layers and sizes, all zeros: it knows shapes, reach and work."""

        def zeros(c: FloatConvolution, signed: bool) -> Convolution:
            nothing = np.zeros(c.outputs, np.int64)
            weight = np.broadcast_to(np.int8(0), c.weight.shape)
            return Convolution(c.name, weight, nothing, nothing, c.stride, 8, 8, signed)

        layers: list[Layer] = []
        for layer in self.layers:
            if isinstance(layer, Upsample):
                layers.append(layer)
            elif isinstance(layer, FloatResidual):
                layers.append(Residual(tuple(zeros(c, c is layer.body[-1]) for c in layer.body)))
            else:
                layers.append(zeros(layer, False))
        return IntegerNetwork(8, tuple(layers))

    @property
    def stride(self) -> int:
        """Height and width of a frame must be multiples of this."""
        return self.skeleton.stride

    @property
    def halo(self) -> int:
        """The receptive field's radius, as of an integer network."""
        return self.skeleton.halo

    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per output pixel."""
        return self.skeleton.macs_per_pixel()


def validate(network: FloatNetwork) -> FloatNetwork:
    """Return ``network`` if its layers fit each other and all numbers are finite; else raise ContractError.

    Shapes, names, strides and bounds are those of the integer contract.
    """
    for c in network.convolutions():
        if c.weight.ndim != 4 or c.bias.shape != c.weight.shape[:1]:
            raise ContractError(f"layer {c.name}: weights of shape {c.weight.shape} and bias of {c.bias.shape}")
        for name, array in (("weights", c.weight), ("bias", c.bias)):
            if array.dtype != np.float32:
                raise ContractError(f"layer {c.name}: {name} of type {array.dtype}, need float32")
            if not np.isfinite(array).all():
                raise ContractError(f"layer {c.name}: {name} that are not finite")
    validate_integers(network.skeleton)
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


def _layer_header(layer: FloatLayer) -> dict[str, Any]:
    if isinstance(layer, Upsample):
        return {"kind": "upsample"}
    if isinstance(layer, FloatResidual):
        return {"kind": "residual", "body": [_layer_header(c) for c in layer.body]}
    return {"kind": "convolution", "name": layer.name, "stride": layer.stride, "relu": layer.relu}


def dump(network: FloatNetwork) -> bytes:
    """The file form; the same network always gives the same bytes."""
    header = {"format": FORMAT, "version": 1, "layers": [_layer_header(layer) for layer in network.layers]}
    arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for i, c in enumerate(network.convolutions()):
        arrays[f"{i}.weight"], arrays[f"{i}.bias"] = c.weight.astype("<f4"), c.bias.astype("<f4")
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # its members bear the date 1980-01-01, whenever they are written
    return out.getvalue()


def parse(data: bytes, name: str) -> FloatNetwork:
    """Read the file form and validate it. Raises ModelError that calls it ``name``, ContractError with the layer."""
    arrays = read_arrays(data, name, "fiu")
    number = 0

    def convolution(entry: dict[str, Any]) -> FloatConvolution:
        nonlocal number
        weight, bias = (arrays.pop(f"{number}.{part}") for part in ("weight", "bias"))
        number += 1
        title = entry["name"]
        if not isinstance(title, str) or not 0 < len(title) <= 64 or not title.isprintable():
            raise ModelError(f"network {name}: a layer has no proper name")
        return FloatConvolution(title, weight, bias, int(entry["stride"]), bool(entry["relu"]))

    try:
        header = json.loads(arrays.pop("header").tobytes().decode())
        if header.get("format") != FORMAT or header.get("version") != 1:
            raise ModelError(
                f"network {name}: format {header.get('format')!r} version {header.get('version')!r}, "
                f"this program reads {FORMAT!r} version 1"
            )
        if len(header["layers"]) > 2 * MAX_CONVOLUTIONS:
            raise ModelError(f"network {name}: {len(header['layers'])} layers")
        layers: list[FloatLayer] = []
        for entry in header["layers"]:
            if entry["kind"] == "upsample":
                layers.append(Upsample())
            elif entry["kind"] == "convolution":
                layers.append(convolution(entry))
            elif entry["kind"] == "residual":
                layers.append(FloatResidual(tuple(convolution(e) for e in entry["body"])))
            else:
                raise ModelError(f"network {name}: layer of unknown kind {entry['kind']!r}")
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"network {name}: damaged header ({type(error).__name__}: {error})") from error
    if arrays:
        raise ModelError(f"network {name}: holds arrays that no layer uses: {', '.join(sorted(arrays))}")
    return validate(FloatNetwork(tuple(layers)))
