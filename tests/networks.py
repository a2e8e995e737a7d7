"""Random integer networks that keep the contract, for every test that compares engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pleinair.network import floating
from pleinair.network.floating import FloatConvolution, FloatNetwork, FloatNorm, FloatResidual
from pleinair.network.integer import (
    Convolution,
    DepthToSpace,
    IntegerNetwork,
    Layer,
    Norm,
    Residual,
    SpaceToDepth,
    Upsample,
    metering,
    validate,
)
from pleinair.network.light import MIDDLE, SPREAD, layer_light, sums_of
from pleinair.network.reference import convolve, requantise, run_layer


def random_convolution(
    rng: np.random.Generator,
    x: np.ndarray,
    name: str,
    outputs: int,
    kernel: int,
    stride: int,
    weight_bits: int,
    input_high: int,
    out_bits: int,
    signed: bool = False,
) -> Convolution:
    """Weights over the narrow range, as large as the bound allows; shifts and biases that use the output's
    range on ``x`` (int64 [I, H, W]), so that values stay lively to the last layer."""
    greatest = (1 << (weight_bits - 1)) - 1
    weight = rng.integers(-greatest, greatest + 1, (outputs, x.shape[0], kernel, kernel))
    wide = max(weight_bits, out_bits) > 8
    budget = ((1 << 47) if wide else (1 << 24)) * 0.7 / input_high
    for o in range(outputs):
        total = np.abs(weight[o]).sum()
        if total > budget:
            weight[o] = np.trunc(weight[o] * (budget / total))
    weight = weight.astype(np.int16 if weight_bits > 8 else np.int8)
    zero = np.zeros(outputs, np.int64)
    bare = Convolution(name, weight, zero, zero, stride, weight_bits, out_bits, signed)
    accumulator = convolve(x, bare)
    span = 1 << out_bits
    spread = np.maximum(accumulator.std((1, 2)), 1)
    shift = np.clip(np.round(np.log2(4 * spread / span)), 1, 40).astype(np.int64)
    middle = 0 if signed else span // 3
    bias = (middle << shift) - np.round(accumulator.mean((1, 2))).astype(np.int64)
    limit = int(0.25 * ((1 << 47) if wide else (1 << 24)))
    bias = np.clip(bias, -limit, limit)
    return Convolution(name, weight, bias, shift, stride, weight_bits, out_bits, signed)


def random_network(seed: int, width: int = 8, blocks: int = 2, bits: int = 8, kernel: int = 9) -> IntegerNetwork:
    """A transform network of Johnson's form with random integers."""
    rng = np.random.default_rng(seed)
    ends, w = max(8, bits), width
    x = rng.integers(0, 256, (3, 32, 32)).astype(np.int64)
    layers: list[Layer] = []

    def conv(name: str, outputs: int, k: int = 3, stride: int = 1, signed: bool = False) -> Convolution:
        last = name == "leave"
        high = 255 if name == "enter" else (1 << bits) - 1
        weights = ends if name in ("enter", "leave") else bits
        return random_convolution(rng, x, name, outputs, k, stride, weights, high, 8 if last else bits, signed)

    def add(layer: Layer) -> None:
        nonlocal x
        layers.append(layer)
        x = run_layer(x, layer, bits)

    add(conv("enter", w, kernel))
    add(conv("down1", 2 * w, stride=2))
    add(conv("down2", 4 * w, stride=2))
    for b in range(1, blocks + 1):
        trunk = x
        first = conv(f"block{b}.conv1", 4 * w)
        x = requantise(convolve(trunk, first), first)
        second = conv(f"block{b}.conv2", 4 * w, signed=True)
        x = trunk
        add(Residual((first, second)))
    add(Upsample())
    add(conv("up1", 2 * w))
    add(Upsample())
    add(conv("up2", w))
    add(conv("leave", 3, kernel))
    return validate(IntegerNetwork(bits, tuple(layers)))


def adaptive_network(seed: int, width: int = 8, blocks: int = 1, bits: int = 8, exit_kernel: int = 3) -> IntegerNetwork:
    """A network of the second generation with random integers, in the light of noise.

    Space to depth 4, a convolution, residual blocks, a doubling, two convolutions, depth to space 2; all convolutions
    but the last are adaptive.
    """
    rng = np.random.default_rng(seed)
    ends, trunk = max(8, bits), 4 * width
    top, unit = (1 << bits) - 1, 256 << bits
    x = rng.integers(0, 256, (3, 48, 48)).astype(np.int64)
    layers: list[Layer] = []

    def adaptive(
        x: np.ndarray, name: str, *, outputs: int, high: int, weight_bits: int = bits, signed: bool = False
    ) -> Convolution:
        bare = random_convolution(rng, x, name, outputs, 3, 1, weight_bits, high, bits, signed)
        limit = 1 << (46 if max(weight_bits, bits) > 8 else 23)
        weight = bare.weight.astype(np.int64)
        for o in range(outputs):
            total = int(np.abs(weight[o]).sum()) * high
            if total > limit:
                weight[o] = np.trunc(weight[o] * (limit / total))
        none = np.zeros(outputs, np.int64)
        bare = replace(bare, weight=weight.astype(bare.weight.dtype), bias=none, shift=none)
        accumulator = convolve(x, bare)
        spread = np.maximum(accumulator.std((1, 2)), 1)
        meter_shift = np.clip(np.floor(np.log2(31 * spread / SPREAD)), 0, 40 if limit > 1 << 24 else 16)
        meter_multiplier = np.clip(np.round(SPREAD / spread * 2**meter_shift), 1, 31)
        meter_bias = np.round(MIDDLE * 2**meter_shift / meter_multiplier - accumulator.mean((1, 2)))
        norm = Norm(
            gamma=rng.integers(unit // 16, unit // 4, outputs),
            beta=rng.integers(-unit // 8, unit // 8, outputs) if signed else rng.integers(0, unit // 2, outputs),
            meter_bias=meter_bias.astype(np.int64),
            meter_multiplier=meter_multiplier.astype(np.int64),
            meter_shift=meter_shift.astype(np.int64),
        )
        c = replace(bare, multiplier=np.ones(outputs, np.int64), norm=norm)
        light = layer_light(c, sums_of(run_layer(x, metering(c), bits)), bits=bits, input_high=high)
        return replace(c, bias=light.bias, multiplier=light.multiplier, shift=light.shift)

    def add(layer: Layer) -> None:
        nonlocal x
        layers.append(layer)
        x = run_layer(x, layer, bits)

    add(SpaceToDepth(4))
    add(adaptive(x, "enter", outputs=trunk, high=255, weight_bits=ends))
    for b in range(1, blocks + 1):
        first = adaptive(x, f"block{b}.conv1", outputs=trunk, high=top)
        second = adaptive(run_layer(x, first, bits), f"block{b}.conv2", outputs=trunk, high=top, signed=True)
        add(Residual((first, second)))
    add(Upsample())
    add(adaptive(x, "up1", outputs=width, high=top))
    add(random_convolution(rng, x, "leave", 12, exit_kernel, 1, ends, top, 8))
    add(DepthToSpace(2))
    return validate(IntegerNetwork(bits, tuple(layers)))


def without_norms(network: IntegerNetwork) -> IntegerNetwork:
    """An adaptive network as an ordinary one: the same layers, each gain as the nearest power of two."""

    def plain(c: Convolution) -> Convolution:
        shift = np.maximum(c.shift - np.round(np.log2(c.gain)).astype(np.int64), 0)
        return replace(c, shift=shift, multiplier=None, norm=None)

    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Residual):
            layers.append(Residual(tuple(map(plain, layer.body))))
        else:
            layers.append(plain(layer) if isinstance(layer, Convolution) else layer)
    return validate(IntegerNetwork(network.bits, tuple(layers)))


def floats_like(integers: IntegerNetwork, seed: int = 0) -> FloatNetwork:
    """A float network of an integer one's shape: random weights that keep values lively to the last layer.

    It has a norm where the integer one is adaptive.
    """
    rng = np.random.default_rng(seed)

    def convolution(c: Convolution, relu: bool) -> FloatConvolution:
        weight = rng.normal(0, (2 / c.weight[0].size) ** 0.5, c.weight.shape)
        bias, norm = rng.normal(0.3, 0.1, c.outputs), None
        if c.norm is not None:
            bias *= 0
            norm = FloatNorm(*(rng.normal(*of, c.outputs).astype(np.float32) for of in ((0.1, 0.05), (0.1, 0.1))))
        return FloatConvolution(c.name, weight.astype(np.float32), bias.astype(np.float32), c.stride, relu, norm)

    layers = []
    *_, last = integers.convolutions()
    for layer in integers.layers:
        if isinstance(layer, Upsample | SpaceToDepth | DepthToSpace):
            layers.append(layer)
        elif isinstance(layer, Residual):
            layers.append(FloatResidual(tuple(convolution(c, c is not layer.body[-1]) for c in layer.body)))
        else:
            layers.append(convolution(layer, layer is not last))
    return floating.validate(FloatNetwork(tuple(layers)))
