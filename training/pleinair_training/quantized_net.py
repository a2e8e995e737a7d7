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
from typing import Any, TypeVar, cast

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

_Self = TypeVar("_Self", bound="QuantizedTransformNet")
_PIXEL_EXPONENT = -8
#: Share of the contract's bound that calibration may use, so that fine-tuning has room.
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
            self.convolutions[key(shape.name)] = qnn.QuantConv2d(
                shape.inputs,
                shape.outputs,
                shape.kernel,
                stride=shape.stride,
                padding=shape.kernel // 2,
                # In an adaptive network the norm after it brings the offset.
                bias=shape.role == "pixel" or not architecture.adaptive,
                weight_quant=_weight_quantiser(width),
                bias_quant=_bias_quantiser(48 if max(width, bits) > 8 else 32),
                return_quant_tensor=False,
            )
            if shape.role == "activation" and shape != architecture.head[-1]:
                self.activations[key(shape.name)] = self._relu(exponents[shape.name])
        self.trunk = self._relu(exponents["trunk"])
        self.branch = qnn.QuantIdentity(act_quant=_branch_quantiser(bits, self.trunk), return_quant_tensor=True)

    def _relu(self, exponent: int) -> nn.Module:
        quantiser = _activation_quantiser(self.bits, exponent, True)
        return cast(nn.Module, qnn.QuantReLU(act_quant=quantiser, return_quant_tensor=True))

    def _activation(self, shape: ConvolutionShape) -> Any:
        """The quantiser that a convolution's unsigned output goes through."""
        return self.trunk if shape == self.architecture.head[-1] else self.activations[key(shape.name)]

    def _convolve(self, shape: ConvolutionShape, x: Any, margin: int) -> Any:
        return self.convolutions[key(shape.name)](x)

    def forward(self, x: Tensor, margin: int = 0) -> Tensor:
        """Float [N, 3, H, W], pixel / 256, H and W multiples of 4; the same shape and scale.

        ``margin``: pixels around the frame that an adaptive network's norms do not count.
        """
        architecture = self.architecture
        if architecture.entry > 1:
            x = F.pixel_unshuffle(x, architecture.entry)
        y: Any = self.pixels_in(x)
        for shape in architecture.head:
            y = self._activation(shape)(self._convolve(shape, y, margin))
        for first, second in architecture.residual:
            inner = self._activation(first)(self._convolve(first, y, margin))
            y = self.trunk(y + self.branch(self._convolve(second, inner, margin)))
        for shape in architecture.tail[:-1]:
            y = self._activation(shape)(self._convolve(shape, _upsample(y), margin))
        y = self._convolve(architecture.tail[-1], y, margin)
        if architecture.exit > 1:
            y = F.pixel_shuffle(y, architecture.exit)
        return cast(Tensor, self.pixels_out(y))

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
            convolution: Any = network.convolutions[key(shape.name)]
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
            width = int(convolution.weight_quant.tensor_quant.msb_clamp_bit_width_impl())
            exponent = weight_exponents(weight, width, maxima[shape.name])
            value = convolution.weight_quant.tensor_quant.scaling_impl.value
            value.copy_((exponent + (width - 1)).view(value.shape))
        return network

    @classmethod
    def restore(cls: type[_Self], architecture: Architecture, bits: int, state: dict[str, Tensor]) -> _Self:
        """The network of a checkpoint's ``state``."""
        names = [s.name for s in architecture.convolutions if s.role == "activation"]
        network = cls(architecture, bits, dict.fromkeys([*names, "trunk"], 0))
        network.initialise()
        take_state(network, state)
        return network

    @torch.no_grad()
    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The latent float weights [O, I, k, k] and biases [O] by convolution."""
        layers: dict[str, Any] = {s.name: self.convolutions[key(s.name)] for s in self.architecture.convolutions}
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


@torch.no_grad()
def take_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a state into a network's own parameters and buffers. Raises RuntimeError for another network's state.

    Brevitas's ``load_state_dict`` puts new modules in the place of quantisers: an optimizer would go on with the old
    ones' parameters, and trunk and branch would no longer share one scale.
    """
    own = network.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in state.items()}:
        raise RuntimeError("a state of another network")
    for name, value in own.items():
        value.copy_(state[name])


def key(name: str) -> str:
    """A convolution's name as a module's."""
    return name.replace(".", "_")


@torch.no_grad()
def calibrate(network: TransformNet, bits: int, batches: list[Tensor], margin: int = 0) -> dict[str, int]:
    """log2 scale of least squared error for each unsigned ``bits``-bit activation, and the common ``trunk``.

    The trunk's scale also serves the branches, whose signed range reaches only half as far: their error counts.
    """
    samples: dict[str, list[Tensor]] = {}
    architecture = network.architecture
    trunk = {architecture.head[-1].name, *(second.name for _, second in architecture.residual)}
    for batch in batches:
        for name, value in network.activations(batch, margin).items():
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
def weight_exponents(weight: Tensor, bits: int, input_max: int, limit: int = 1 << 24) -> Tensor:
    """log2 scale of least squared error per output channel, float [O], for signed narrow ``bits``-bit weights.

    At 8 bits and below a channel takes a coarser scale where sum|w| * ``input_max`` would come near ``limit``.
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
            too_large = integers.abs().sum(1) * input_max > _BOUND_SHARE * limit
            error = torch.where(too_large, math.inf, error)
        chosen = torch.where(error < best, exponent, chosen)
        best = torch.minimum(error, best)
    return chosen.float()
