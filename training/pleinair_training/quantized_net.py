"""The transform network in Brevitas, quantised so that every engine computes the same integers.

All scales are powers of two: per output channel for weights (signed, narrow range), per tensor for
activations (unsigned, full range); rounding is half to even. Pixels are constant 8-bit at 2**-8. One trunk
quantiser serves the trunk's entry and every residual sum; a branch is requantised to signed integers at the
trunk's own scale, so the sum needs none. First and last convolution keep at least 8-bit weights.

The scales are learned as log2 thresholds: threshold = scale * 2**bits for activations and
scale * 2**(bits-1) for weights, rounded to an integer exponent with a straight-through gradient (Jain et
al., *Trained Quantization Thresholds*, 2020).
"""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair_training.architecture import Architecture, ConvolutionShape
from pleinair_training.transform_net import TransformNet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    from brevitas.core.function_wrapper.ops_ste import RoundSte
    from brevitas.inject.enum import ScalingImplType
    from brevitas.quant import Int32Bias
    from brevitas.quant.fixed_point import (
        Int8ActPerTensorFixedPoint,
        Int8WeightPerChannelFixedPoint,
        Uint8ActPerTensorFixedPoint,
    )

_PIXEL_EXPONENT = -8
#: Share of the contract's 2**24 that calibration may use, so that fine-tuning has room.
_BOUND_SHARE = 0.8


def weight_bits(shape: ConvolutionShape, bits: int, first: str, last: str) -> int:
    """Weight width of a convolution in a network of ``bits``: the ends keep at least 8."""
    return max(8, bits) if shape.name in (first, last) else bits


def _weight_quantiser(bits: int) -> type:
    class Weight(Int8WeightPerChannelFixedPoint):  # type: ignore[misc]
        bit_width = bits
        scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
        # Rounding, not the default ceiling: a learned exponent then sits in the middle of its bin.
        restrict_value_float_to_int_impl = RoundSte

    return Weight


def _activation_quantiser(bits: int, exponent: int, learned: bool) -> type:
    class Activation(Uint8ActPerTensorFixedPoint):  # type: ignore[misc]
        bit_width = bits
        scaling_impl_type = ScalingImplType.PARAMETER if learned else ScalingImplType.CONST
        scaling_init = 2.0 ** (exponent + bits)
        restrict_value_float_to_int_impl = RoundSte

    return Activation


class _Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, bit_width: Tensor, signed: Any = None) -> Tensor:
        return cast(Tensor, self.value)


def _branch_quantiser(bits: int, trunk: nn.Module) -> type:
    """Signed integers at the very scale of the unsigned quantiser ``trunk`` (the same parameter)."""
    shared = trunk.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl  # type: ignore[union-attr]

    class Branch(Int8ActPerTensorFixedPoint):  # type: ignore[misc]
        bit_width = bits
        scaling_impl = shared
        # The unsigned threshold's divisor; the signed default of 2**(bits-1) would double the scale.
        int_scaling_impl = _Constant(2.0**bits)

    return Branch


def _bias_quantiser(bits: int) -> type:
    class Bias(Int32Bias):  # type: ignore[misc]
        bit_width = bits

    return Bias


def _upsample(x: Any) -> Any:
    # qnn.QuantUpsample fails in the exporter, which traces with plain tensors.
    if hasattr(x, "value") and hasattr(x, "set"):
        return x.set(value=F.interpolate(x.value, scale_factor=2.0, mode="nearest"))
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class QuantizedTransformNet(nn.Module):
    """Quantised transform network; input and output float [N, 3, H, W] of pixel / 256.

    ``exponents`` gives each activation's initial log2 scale by convolution name, and ``trunk``'s.
    """

    def __init__(self, architecture: Architecture, bits: int, exponents: dict[str, int]) -> None:
        super().__init__()
        self.architecture, self.bits = architecture, bits
        shapes = architecture.convolutions
        self.pixels_in = qnn.QuantIdentity(
            act_quant=_activation_quantiser(8, _PIXEL_EXPONENT, False), return_quant_tensor=True
        )
        self.pixels_out = qnn.QuantReLU(
            act_quant=_activation_quantiser(8, _PIXEL_EXPONENT, False), return_quant_tensor=False
        )
        self.convolutions = nn.ModuleDict()
        self.activations = nn.ModuleDict()
        for shape in shapes:
            width = weight_bits(shape, bits, shapes[0].name, shapes[-1].name)
            self.convolutions[_key(shape.name)] = qnn.QuantConv2d(
                shape.inputs,
                shape.outputs,
                shape.kernel,
                stride=shape.stride,
                padding=shape.kernel // 2,
                bias=True,
                weight_quant=_weight_quantiser(width),
                bias_quant=_bias_quantiser(48 if max(width, bits) > 8 else 32),
                return_quant_tensor=False,
            )
            if shape.role == "activation" and shape.name != "down2":
                self.activations[_key(shape.name)] = self._relu(exponents[shape.name])
        self.trunk = self._relu(exponents["trunk"])
        self.branch = qnn.QuantIdentity(act_quant=_branch_quantiser(bits, self.trunk), return_quant_tensor=True)

    def _relu(self, exponent: int) -> nn.Module:
        quantiser = _activation_quantiser(self.bits, exponent, True)
        return cast(nn.Module, qnn.QuantReLU(act_quant=quantiser, return_quant_tensor=True))

    def _convolve(self, shape: ConvolutionShape, x: Any) -> Any:
        return self.convolutions[_key(shape.name)](x)

    def forward(self, x: Tensor) -> Tensor:
        """Float [N, 3, H, W], pixel / 256, H and W multiples of 4; the same shape and scale."""
        y: Any = self.pixels_in(x)
        for shape in self.architecture.head[:-1]:
            y = self.activations[_key(shape.name)](self._convolve(shape, y))
        y = self.trunk(self._convolve(self.architecture.head[-1], y))
        for first, second in self.architecture.residual:
            inner = self.activations[_key(first.name)](self._convolve(first, y))
            y = self.trunk(y + self.branch(self._convolve(second, inner)))
        for shape in self.architecture.tail[:-1]:
            y = self.activations[_key(shape.name)](self._convolve(shape, _upsample(y)))
        return cast(Tensor, self.pixels_out(self._convolve(self.architecture.tail[-1], y)))

    @classmethod
    @torch.no_grad()
    def from_float(cls, plain: TransformNet, bits: int, batches: list[Tensor]) -> QuantizedTransformNet:
        """Quantise a frozen float network, its ranges calibrated on ``batches`` (as for forward)."""
        plain.eval()
        exponents = calibrate(plain, bits, batches)
        network = cls(plain.architecture, bits, exponents)
        network.initialise()
        maxima = network.input_maxima()
        for shape in plain.architecture.convolutions:
            weight, bias = plain.folded()[shape.name]
            convolution: Any = network.convolutions[_key(shape.name)]
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
            width = int(convolution.weight_quant.tensor_quant.msb_clamp_bit_width_impl())
            exponent = weight_exponents(weight, width, maxima[shape.name])
            value = convolution.weight_quant.tensor_quant.scaling_impl.value
            value.copy_((exponent + (width - 1)).view(value.shape))
        return network

    @classmethod
    def restore(cls, architecture: Architecture, bits: int, state: dict[str, Tensor]) -> QuantizedTransformNet:
        """The network of a checkpoint's ``state``."""
        names = [s.name for s in architecture.convolutions if s.role == "activation"]
        network = cls(architecture, bits, dict.fromkeys([*names, "trunk"], 0))
        network.initialise()
        network.load_state_dict(state)
        return network

    @torch.no_grad()
    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The latent float weights [O, I, k, k] and biases [O] by convolution."""
        layers: dict[str, Any] = {s.name: self.convolutions[_key(s.name)] for s in self.architecture.convolutions}
        return {name: (layer.weight.detach().clone(), layer.bias.detach().clone()) for name, layer in layers.items()}

    @torch.no_grad()
    def initialise(self) -> None:
        """Bring the scale parameters into being; Brevitas makes them at the first forward."""
        training = self.training
        self.eval()
        self(torch.zeros(1, 3, 16, 16))
        self.train(training)

    def input_maxima(self) -> dict[str, int]:
        """Greatest integer that arrives at each convolution."""
        shapes = self.architecture.convolutions
        return {s.name: 255 if s is shapes[0] else (1 << self.bits) - 1 for s in shapes}


def _key(name: str) -> str:
    return name.replace(".", "_")


@torch.no_grad()
def calibrate(plain: TransformNet, bits: int, batches: list[Tensor]) -> dict[str, int]:
    """log2 scale of least squared error for each unsigned ``bits``-bit activation, and the common ``trunk``.

    The trunk's scale also serves the branches, whose signed range reaches only half as far: their error counts.
    """
    samples: dict[str, list[Tensor]] = {}
    architecture = plain.architecture
    trunk = {architecture.head[-1].name, *(second.name for _, second in architecture.residual)}
    for batch in batches:
        for name, value in plain.activations(batch).items():
            if name == architecture.tail[-1].name:
                continue
            flat = value.flatten()
            group = "branch" if name.endswith("/branch") else "trunk" if name in trunk else name
            samples.setdefault(group, []).append(flat[:: max(1, flat.numel() // 100_000)])
    values = {group: torch.cat(parts) for group, parts in samples.items()}
    branch = values.pop("branch", None)
    return {
        group: _best_exponent(unsigned, branch if group == "trunk" else None, bits)
        for group, unsigned in values.items()
    }


def _best_exponent(unsigned: Tensor, signed: Tensor | None, bits: int) -> int:
    high, middle = (1 << bits) - 1, 1 << (bits - 1)
    greatest = max(float(unsigned.max()) / high, 0.0 if signed is None else float(signed.abs().max()) / middle, 1e-9)
    top = math.ceil(math.log2(greatest))

    def error(exponent: int) -> float:
        scale = 2.0**exponent
        total = ((unsigned / scale).round().clamp(0, high) * scale - unsigned).square().mean()
        if signed is not None:
            total = total + ((signed / scale).round().clamp(-middle, middle - 1) * scale - signed).square().mean()
        return float(total)

    return min(range(top - 5, top + 1), key=error)


@torch.no_grad()
def weight_exponents(weight: Tensor, bits: int, input_max: int) -> Tensor:
    """log2 scale of least squared error per output channel, float [O], for signed narrow ``bits``-bit weights.

    At 8 bits and below a channel takes a coarser scale where sum|w| * ``input_max`` would come near 2**24.
    """
    greatest = (1 << (bits - 1)) - 1
    rows = weight.reshape(weight.shape[0], -1).double()
    top = torch.ceil(torch.log2(rows.abs().amax(1).clamp_min(1e-8) / greatest))
    best, chosen = torch.full_like(top, math.inf), top.clone()
    for finer in range(-8, 4):
        exponent = top - finer
        scale = torch.exp2(exponent)[:, None]
        integers = (rows / scale).round().clamp(-greatest, greatest)
        error = (integers * scale - rows).square().sum(1)
        if bits <= 8:
            too_large = integers.abs().sum(1) * input_max > _BOUND_SHARE * (1 << 24)
            error = torch.where(too_large, math.inf, error)
        chosen = torch.where(error < best, exponent, chosen)
        best = torch.minimum(error, best)
    return chosen.float()
