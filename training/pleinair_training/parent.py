"""The instance-norm parent as a file of the model folder, small enough to ship: what other styles start from.

An npz without pickled objects: ``NAME.weight`` [O, I, k, k] and ``NAME.bias`` float16 by convolution, and for
all but the last ``NAME.scale`` and ``NAME.offset`` float32, the norm's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pleinair.errors import ModelError
from pleinair.network.npz import read_arrays, write_arrays
from pleinair_training.architecture import Architecture
from pleinair_training.transform_net import TransformNet


def dump_parent(parent: TransformNet) -> bytes:
    """The file of a network whose norms are not frozen."""
    arrays: dict[str, np.ndarray] = {}
    for shape in parent.architecture.convolutions:
        layer = parent.layer(shape.name)
        arrays[f"{shape.name}.weight"] = layer.convolution.weight.detach().numpy().astype(np.float16)
        if layer.norm is None:
            assert layer.convolution.bias is not None
            arrays[f"{shape.name}.bias"] = layer.convolution.bias.detach().numpy().astype(np.float16)
        else:
            arrays[f"{shape.name}.scale"] = layer.norm.weight.detach().numpy()
            arrays[f"{shape.name}.offset"] = layer.norm.bias.detach().numpy()
    return write_arrays(arrays, zip64=True)


def parse_parent(data: bytes, path: Path, architecture: Architecture) -> TransformNet:
    """The network of :func:`dump_parent`'s bytes; ``path`` names it in errors. Raises ModelError."""
    network = TransformNet(architecture)
    arrays = read_arrays(data, str(path), "f")
    with torch.no_grad():
        for shape in architecture.convolutions:
            layer = network.layer(shape.name)
            targets: dict[str, torch.Tensor] = {"weight": layer.convolution.weight}
            if layer.norm is None:
                assert layer.convolution.bias is not None
                targets["bias"] = layer.convolution.bias
            else:
                targets.update(scale=layer.norm.weight, offset=layer.norm.bias)
            for part, target in targets.items():
                array = arrays.get(f"{shape.name}.{part}")
                if array is None or array.shape != tuple(target.shape) or not np.isfinite(array).all():
                    found = "missing" if array is None else f"of shape {array.shape} or not finite"
                    raise ModelError(f"network {path}: {shape.name}.{part} is {found}, need {tuple(target.shape)}")
                target.copy_(torch.from_numpy(array.astype(np.float32)))
    return network
