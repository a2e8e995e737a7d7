"""The reference: the integer network in int64 NumPy, written to be plainly right rather than fast.

Every other engine, the hardware included, is compared with this and must equal it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pleinair.network.integer import Convolution, DepthToSpace, IntegerNetwork, Layer, Residual, SpaceToDepth, Upsample


def round_half_even_shift(value: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """``value / 2**shift`` rounded to the nearest integer, ties to even; int64, shift >= 0, broadcast."""
    floor = value >> shift
    remainder = value - (floor << shift)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 1)
    up = (remainder > half) | ((remainder == half) & (floor % 2 == 1))
    rounded: np.ndarray = floor + up
    return rounded


def convolve(x: np.ndarray, c: Convolution) -> np.ndarray:
    """Accumulators with bias, int64 [O, H / stride, W / stride], of int64 [I, H, W]; zero padding."""
    reach, stride = c.kernel // 2, c.stride
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    rows, columns = -(-height // stride), -(-width // stride)
    out = np.zeros((c.outputs, rows * columns), np.int64) + c.bias[:, None]
    weight = c.weight.astype(np.int64)
    for i in range(c.kernel):
        for j in range(c.kernel):
            window = padded[:, i : i + height : stride, j : j + width : stride]
            out += weight[:, :, i, j] @ window.reshape(c.inputs, rows * columns)
    accumulators: np.ndarray = out.reshape(c.outputs, rows, columns)
    return accumulators


def requantise(accumulator: np.ndarray, c: Convolution) -> np.ndarray:
    """Multiply, shift, round half to even, clamp: int64 [O, H, W] to the convolution's output range."""
    rounded = round_half_even_shift(accumulator * c.gain[:, None, None], c.shift[:, None, None])
    clamped: np.ndarray = np.clip(rounded, c.low, c.high)
    return clamped


def space_to_depth(x: np.ndarray, block: int) -> np.ndarray:
    """[C, H, W] to [C * block**2, H / block, W / block]; see :class:`pleinair.network.chain.SpaceToDepth`."""
    channels, height, width = x.shape
    blocks = x.reshape(channels, height // block, block, width // block, block).transpose(0, 2, 4, 1, 3)
    return blocks.reshape(channels * block * block, height // block, width // block)


def depth_to_space(x: np.ndarray, block: int) -> np.ndarray:
    """The inverse of :func:`space_to_depth`."""
    channels, height, width = x.shape
    blocks = x.reshape(channels // block**2, block, block, height, width).transpose(0, 3, 1, 4, 2)
    return blocks.reshape(channels // block**2, height * block, width * block)


def run_layer(x: np.ndarray, layer: Layer, bits: int) -> np.ndarray:
    """One layer on int64 [C, H, W]."""
    if isinstance(layer, Upsample):
        return x.repeat(2, axis=1).repeat(2, axis=2)
    if isinstance(layer, SpaceToDepth):
        return space_to_depth(x, layer.block)
    if isinstance(layer, DepthToSpace):
        return depth_to_space(x, layer.block)
    if isinstance(layer, Residual):
        branch = x
        for c in layer.body:
            branch = requantise(convolve(branch, c), c)
        total: np.ndarray = np.clip(x + branch, 0, (1 << bits) - 1)
        return total
    return requantise(convolve(x, layer), layer)


def run_by(
    network: IntegerNetwork, image: np.ndarray, through: Callable[[Convolution, np.ndarray], np.ndarray]
) -> np.ndarray:
    """As :func:`run`, with ``through(c, x)`` for each convolution, in order: int64 [O, h, w] of int64 [I, H, W]."""
    x = image.transpose(2, 0, 1).astype(np.int64)
    for layer in network.layers:
        if isinstance(layer, Convolution):
            x = through(layer, x)
        elif isinstance(layer, Residual):
            branch = x
            for c in layer.body:
                branch = through(c, branch)
            x = np.clip(x + branch, 0, (1 << network.bits) - 1)
        else:
            x = run_layer(x, layer, network.bits)
    return np.ascontiguousarray(x.astype(np.uint8).transpose(1, 2, 0))


def run(network: IntegerNetwork, image: np.ndarray) -> np.ndarray:
    """The network on uint8 [H, W, 3], height and width multiples of its stride; uint8 of the same shape."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"uint8 [H, W, 3] needed, not {image.dtype} {image.shape}")
    if image.shape[0] % network.stride or image.shape[1] % network.stride:
        raise ValueError(f"{image.shape[:2]} is not a multiple of the stride {network.stride}")
    x = image.transpose(2, 0, 1).astype(np.int64)
    for layer in network.layers:
        x = run_layer(x, layer, network.bits)
    return np.ascontiguousarray(x.astype(np.uint8).transpose(1, 2, 0))
