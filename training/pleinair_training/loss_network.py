"""VGG feature extractors for perceptual losses, read from a weight file.

Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition* (2015).
Only the convolutions are defined. Two published forms of weights are read, neither in a way that runs code in the file:

* torchvision's state files (``vgg16-*.pth``, ``vgg19-*.pth``: ``features.N.weight``), whose input is
  RGB in 0..1, normalised by ImageNet's mean and deviation;
* NumPy archives with ``convB_C.weight`` and ``convB_C.bias`` (OIHW), whose input is RGB * 255 less
  ``mean``, divided by ``deviation`` (three numbers each). Without those two it is less ImageNet's mean (the original
  Caffe training).

:func:`reduce_network` makes such an archive of what training needs, in half precision: 15 MB instead of 0.5 GB.
"""

from __future__ import annotations

import http.client
import io
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair.errors import OptionError, OutputError, TrainingError
from pleinair.images import write_bytes

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


def reduced_path(kind: Kind) -> Path:
    """Where training without ``--loss-network`` looks for what :func:`reduce_network` wrote."""
    return cache_folder() / f"{kind}-half.npz"


def reduce_network(kind: Kind, source: Path, out: Path) -> int:
    """Write the layers that training uses by default, as float16, to a NumPy archive; how many bytes it has.

    ``source`` is any weight file of ``kind``. Raises TrainingError for one that is not, OutputError.
    """
    layers, mean, deviation = _read(source, kind)
    names = _names(kind)
    deepest = max(names.index(n.removeprefix("relu")) for n in (CONTENT_LAYER[kind], *STYLE_LAYERS[kind]))
    LossNetwork(kind, source, tuple(f"relu{n}" for n in names[: deepest + 1]))  # refuses what is missing
    arrays = {"mean": mean, "deviation": deviation}
    for name in names[: deepest + 1]:
        weight, bias = layers[name]
        with np.errstate(over="ignore"):  # told below
            arrays[f"conv{name}.weight"] = weight.astype(np.float16)
            arrays[f"conv{name}.bias"] = bias.astype(np.float16)
        if not all(np.isfinite(arrays[f"conv{name}.{part}"]).all() for part in ("weight", "bias")):
            raise TrainingError(f"loss network {source}: a weight of conv{name} is too large for half precision")
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output {out}: {error.strerror}") from error
    write_bytes(out, file.getvalue())
    return len(file.getvalue())


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


#: Mean and deviation of the pixels, RGB in 0..255, that a network was trained with: Caffe's and torchvision's.
_CAFFE = (np.array([123.68, 116.779, 103.939], np.float32), np.ones(3, np.float32))
_TORCHVISION = (
    np.array([0.485, 0.456, 0.406], np.float32) * 255,
    np.array([0.229, 0.224, 0.225], np.float32) * 255,
)


def _normalisation(archive: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """An archive's own mean and deviation, or Caffe's. Raises ValueError."""
    if "mean" not in archive or "deviation" not in archive:
        return _CAFFE
    mean, deviation = (np.asarray(archive[name], np.float32) for name in ("mean", "deviation"))
    if mean.shape != (3,) or deviation.shape != (3,) or not (np.isfinite(mean).all() and (deviation > 0).all()):
        raise ValueError("mean or deviation")
    return mean, deviation


def _read(path: Path, kind: Kind) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """Weights by layer (``1_1`` ...); mean and deviation of its input, float32 [3] each."""
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
                return layers, *_normalisation(archive)
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, key in _torchvision_keys(kind).items():
            if f"{key}.weight" in state:
                layers[name] = (state[f"{key}.weight"].numpy(), state[f"{key}.bias"].numpy())
        return layers, *_TORCHVISION
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
        weights, mean, deviation = _read(path, kind)
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
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.from_numpy(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.from_numpy(deviation).view(1, 3, 1, 1), persistent=False)

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
