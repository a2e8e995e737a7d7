"""VGG feature extractors for perceptual losses, read from a weight file.

Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition* (2015).
Only the convolutions are defined. Two published forms of weights are read, neither in a way that runs code in the file:

* torchvision's state files (``vgg16-*.pth``, ``vgg19-*.pth``: ``features.N.weight``), whose input is
  RGB in 0..1, normalised by ImageNet's mean and deviation;
* NumPy archives with ``convB_C.weight`` and ``convB_C.bias`` (OIHW), whose input is RGB * 255 less
  ImageNet's mean (the original Caffe training).
"""

from __future__ import annotations

import http.client
import os
import pickle
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair.errors import OptionError, TrainingError

Kind = Literal["vgg16", "vgg19"]

# Convolutions per block; a 2x2 max pool stands between blocks.
_BLOCKS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)

#: Layers of the losses. VGG-16: Johnson et al. 2016, section 4.1. VGG-19: Gatys et al. 2016, section 3,
#: with the content layer at relu4_2 and the first four style layers.
CONTENT_LAYER: dict[str, str] = {"vgg16": "relu3_3", "vgg19": "relu4_2"}
STYLE_LAYERS: dict[str, tuple[str, ...]] = {
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "vgg19": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
}
_MAX_FILE = 1 << 30

#: What NumPy and torch raise for a file that is not what it seems.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    zipfile.BadZipFile,
    EOFError,
    pickle.UnpicklingError,
)
#: torchvision's published files; a name ends in the first digits of the file's SHA-256.
PUBLISHED = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}


def parse_loss_network(text: str) -> tuple[Kind, Path]:
    """``vgg16:FILE``, or ``vgg16`` alone for the published file, as (kind, path); the same for ``vgg19``.

    The published file (0.5 GB) is fetched once, into :func:`cache_folder`. Raises OptionError for anything
    else, TrainingError when it cannot be fetched.
    """
    kind, colon, path = text.partition(":")
    if kind not in _BLOCKS or (colon and not path):
        raise OptionError(f"{text!r}: write vgg16, vgg19, vgg16:FILE or vgg19:FILE", option="loss_network")
    return kind, Path(path) if path else fetch_published(kind)  # type: ignore[return-value]


def cache_folder() -> Path:
    """Where fetched weights are kept: ``$XDG_CACHE_HOME/pleinair``, by default ``~/.cache/pleinair``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pleinair"


def fetch_published(kind: str) -> Path:
    """torchvision's weight file in the cache, fetched unless it is there already; its hash is checked.

    Raises TrainingError without a network, without room, or when what came has another hash.
    """
    url = PUBLISHED[kind]
    path = cache_folder() / url.rpartition("/")[2]
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Downloads beside the place, compares the hash and renames: a cut line leaves nothing behind.
        torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise TrainingError(
            f"loss network {kind}: {url} could not be fetched to {path.parent} ({error}); "
            f"fetch it by other means and name it: {kind}:FILE"
        ) from error
    return path


def parse_layers(text: str, kind: str) -> tuple[str, ...]:
    """Names of VGG's ReLU outputs from ``relu1_2,relu2_2``. Raises OptionError for one that ``kind`` lacks."""
    layers = tuple(part.strip() for part in text.split(",") if part.strip())
    for layer in layers:
        if layer.removeprefix("relu") not in _names(kind) or not layer.startswith("relu"):
            raise OptionError(f"layer {layer!r}: {kind} has {', '.join('relu' + n for n in _names(kind))}")
    return layers


def _names(kind: str) -> list[str]:
    return [f"{b}_{c}" for b, n in enumerate(_BLOCKS[kind], 1) for c in range(1, n + 1)]


def _torchvision_keys(kind: Kind) -> dict[str, str]:
    keys, index = {}, 0
    for block, count in enumerate(_BLOCKS[kind], 1):
        for c in range(1, count + 1):
            keys[f"{block}_{c}"] = f"features.{index}"
            index += 2  # convolution, ReLU
        index += 1  # pool
    return keys


def _read(path: Path, kind: Kind) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], bool]:
    """Weights by layer (``1_1`` ...) and whether they are torchvision's."""
    if not path.is_file():
        raise TrainingError(f"loss network {path}: no such file")
    if path.stat().st_size > _MAX_FILE:
        raise TrainingError(f"loss network {path}: larger than {_MAX_FILE >> 20} MiB")
    layers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                for name in _names(kind):
                    if f"conv{name}.weight" in archive:
                        layers[name] = (archive[f"conv{name}.weight"], archive[f"conv{name}.bias"])
            return layers, False
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, key in _torchvision_keys(kind).items():
            if f"{key}.weight" in state:
                layers[name] = (state[f"{key}.weight"].numpy(), state[f"{key}.bias"].numpy())
        return layers, True
    except _UNREADABLE as error:
        raise TrainingError(f"loss network {path}: not a {kind} weight file ({type(error).__name__})") from error


class LossNetwork(nn.Module):
    """VGG features of pixels; frozen.

    ``forward(pixels)`` takes float [N, 3, H, W] RGB in 0..255 and returns the named ReLU outputs in
    ``compute``. That may be ``torch.bfloat16`` on processors and GPUs with such units:
    features then differ by under 1 %, gradients by an angle of 3 degrees, at 1.7 times the speed (measured
    on a CPU with AVX512-BF16).
    """

    def __init__(self, kind: Kind, path: Path, layers: tuple[str, ...], compute: torch.dtype = torch.float32) -> None:
        """Read the weights needed for ``layers`` (``relu1_2`` ...). Raises TrainingError naming the file."""
        super().__init__()
        names = _names(kind)
        wanted = [layer.removeprefix("relu") for layer in layers]
        parse_layers(",".join(layers), kind)
        self.layers, self.compute = layers, compute
        self._order = names[: max(names.index(n) for n in wanted) + 1]
        weights, torchvision = _read(path, kind)
        inputs = 3
        for name in self._order:
            outputs = _CHANNELS[int(name[0]) - 1]
            found = weights.get(name)
            if found is None or found[0].shape != (outputs, inputs, 3, 3) or found[1].shape != (outputs,):
                raise TrainingError(
                    f"loss network {path}: layer conv{name} is "
                    f"{'missing' if found is None else 'of shape ' + str(found[0].shape)}, "
                    f"{kind} needs {(outputs, inputs, 3, 3)}"
                )
            for part, value in zip(("weight", "bias"), found, strict=True):
                tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32)).to(compute)
                if tensor.ndim == 4:
                    tensor = tensor.to(memory_format=torch.channels_last)
                self.register_buffer(f"conv{name}_{part}", tensor, persistent=False)
            inputs = outputs
        mean = torch.tensor([123.68, 116.779, 103.939])
        deviation = torch.full((3,), 1.0)
        if torchvision:
            mean = torch.tensor([0.485, 0.456, 0.406]) * 255
            deviation = torch.tensor([0.229, 0.224, 0.225]) * 255
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Features by layer name, [N, C, h, w] of type ``compute``; nothing deeper than layer ``last`` is computed."""
        x = ((pixels - self.mean) / self.deviation).to(self.compute)
        x = x.contiguous(memory_format=torch.channels_last)
        features: dict[str, Tensor] = {}
        block = 1
        for name in self._order:
            if int(name[0]) != block:
                block, x = int(name[0]), F.max_pool2d(x, 2)
            weight, bias = getattr(self, f"conv{name}_weight"), getattr(self, f"conv{name}_bias")
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if f"relu{name}" in self.layers:
                features[f"relu{name}"] = x
            if f"relu{name}" == last:
                break
        return features
