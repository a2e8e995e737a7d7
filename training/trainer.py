"""One training run: a painting and photos to a transform network, in three stages that build on each other.

``parent``   float, instance norm: finds the style;
``plain``    float, the parent's statistics frozen at their averages: learns to do without the norm;
``quantised`` (``8bit`` ...): the plain network folded into Brevitas, weights, biases, activations as integers.

A run is a folder: ``run.json`` (settings and hashes), ``losses.csv``, ``previews/``, one ``STAGE.pt`` for each
finished stage and ``progress.pt`` for the one in progress. A run that was interrupted goes on from its last
checkpoint to the same losses: batches depend only on seed, stage and step.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from host.errors import TrainingError
from host.grain import grain_pattern
from host.images import read_image, write_bytes, write_image
from host.models import DEFAULT_GRAIN
from training.architecture import Architecture
from training.loss_network import CONTENT_LAYER, STYLE_LAYERS, LossNetwork, parse_loss_network
from training.losses import ContentLoss, StabilityLoss, StyleLoss, TotalVariationLoss
from training.photos import Photos, load_painting
from training.quantized_net import QuantizedTransformNet
from training.transform_net import TransformNet


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes. Sizes in pixels; weights multiply the losses' sums.

    ``margin`` is the reflected border that is painted and cropped before the loss, ``grain`` the grey levels of
    canvas grain under every photo, both as at work.
    """

    style: str
    content: str
    loss_network: str
    width: int = 16
    blocks: int = 3
    kernel: int = 9
    crop: int = 224
    batch: int = 3
    style_size: int = 512
    content_weight: float = 1.0
    style_weight: float = 1.5
    balanced: bool = True
    variation_weight: float = 2e5
    stability_weight: float = 4e6
    margin: int = 24
    grain: int = DEFAULT_GRAIN
    hold_out: int = 14
    parent_steps: int = 2000
    plain_steps: int = 2400
    quantised_steps: int = 500
    parent_rate: float = 2e-3
    plain_rate: float = 1e-3
    quantised_rate: float = 2e-4
    precision: str = "float32"
    seed: int = 1

    @property
    def architecture(self) -> Architecture:
        """The network's shape."""
        return Architecture(self.width, self.blocks, self.kernel)


@dataclass(frozen=True)
class Progress:
    """What a run says of itself after each step; losses are weighted sums' terms, averaged over 20 steps."""

    stage: str
    step: int
    steps: int
    content: float
    style: float
    seconds_per_step: float


Report = Callable[[Progress], None]
_CLIP = 1e5
_FREEZE_BATCHES = 24
_LOSSES = ("content", "style", "variation", "stability")
_AVERAGED = 20


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to ``path``, whole or not at all. Raises OutputError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what save_checkpoint wrote, without unpickling code. Raises TrainingError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"checkpoint {path}: no such file") from error
    except Exception as error:  # torch raises a dozen kinds for a damaged archive
        raise TrainingError(f"checkpoint {path}: damaged ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise TrainingError(f"checkpoint {path}: not a checkpoint of this program")
    return state


def load_float(path: Path, wanted: Architecture | None = None) -> TransformNet:
    """A finished parent or plain network. Raises TrainingError, also when it is not of the ``wanted`` shape."""
    state = load_checkpoint(path)
    if wanted is not None and state.get("architecture") != asdict(wanted):
        raise TrainingError(f"checkpoint {path}: a network of {state.get('architecture')}, not {asdict(wanted)}")
    try:
        network = TransformNet(Architecture(**state["architecture"]))
        network.load_state_dict(state["network"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"checkpoint {path}: not a float network of this program") from error
    return network


def load_quantised(path: Path, bits: int) -> tuple[QuantizedTransformNet, dict[str, Any]]:
    """A finished ``bits``-bit network and its checkpoint. Raises TrainingError."""
    state = load_checkpoint(path)
    try:
        network = QuantizedTransformNet.restore(Architecture(**state["architecture"]), bits, state["network"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"checkpoint {path}: not a {bits}-bit network of this program") from error
    return network, state


def learning_rate(peak: float, step: int, steps: int) -> float:
    """Linear rise over the first twentieth, then a cosine down to a hundredth of ``peak``."""
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    along = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def to_tensor(crops: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in 0..255, channels last in memory."""
    return torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()


class Run:
    """A training run in its folder; construct, then :meth:`train` a stage at a time."""

    def __init__(
        self, folder: Path, settings: Settings, device: str = "cpu", checkpoint_seconds: float = 120.0
    ) -> None:
        """Open or create the run. Raises TrainingError when the folder holds a run of other settings."""
        self.folder, self.settings, self.device = folder, settings, torch.device(device)
        self._checkpoint_seconds = checkpoint_seconds
        kind, weights = parse_loss_network(settings.loss_network)
        self.photos = Photos(Path(settings.content), settings.crop, settings.batch, settings.seed, settings.hold_out)
        compute = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
        layers = (*STYLE_LAYERS[kind], CONTENT_LAYER[kind])
        self.loss_network = LossNetwork(kind, weights, layers, compute).to(self.device)
        self.content_layer = CONTENT_LAYER[kind]
        painting = load_painting(Path(settings.style), settings.style_size)
        with torch.no_grad():
            features = self.loss_network(to_tensor(painting[None], self.device))
        self.style_loss = StyleLoss(features, STYLE_LAYERS[kind], balanced=settings.balanced).to(self.device)
        self.content_loss = ContentLoss(self.content_layer)
        self.variation_loss = TotalVariationLoss()
        self.stability_loss = StabilityLoss()
        self.weights = {name: float(getattr(settings, f"{name}_weight")) for name in _LOSSES}
        self.record = {
            "settings": asdict(settings),
            "painting_sha256": file_hash(Path(settings.style)),
            "loss_network_sha256": file_hash(weights),
            "held_out": self.photos.kept_apart,
            "photos": len(self.photos.files),
        }
        self._claim()

    def _claim(self) -> None:
        known = self.folder / "run.json"
        if not known.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "previews").mkdir(exist_ok=True)
            write_bytes(known, json.dumps(self.record, indent=1).encode())
            return
        try:
            before = json.loads(known.read_text())
        except ValueError as error:
            raise TrainingError(f"run {known}: damaged ({error})") from error
        old, new = dict(before.get("settings", {})), asdict(self.settings)
        for key in new:
            # Later stages may be lengthened without touching what is finished.
            if old.get(key) != new[key] and not key.startswith(("plain_", "quantised_")):
                raise TrainingError(
                    f"run {self.folder}: was begun with {key} = {old.get(key)!r}, not {new[key]!r}; "
                    "use its value or another --out"
                )
        write_bytes(known, json.dumps(self.record, indent=1).encode())

    def checkpoint(self, stage: str) -> Path:
        """Where a finished stage's network lies."""
        return self.folder / f"{stage}.pt"

    def painted(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """The network's painting of pixels [N, 3, H, W] 0..255, margin cropped, same scale."""
        m = self.settings.margin
        y: Tensor = network(self.prepared(pixels))
        return y.float()[..., m:-m, m:-m] * 256

    def prepared(self, pixels: Tensor) -> Tensor:
        """What the network sees of pixels [N, 3, H, W] 0..255: pixel / 256 with grain under and margin around it."""
        m = self.settings.margin
        grain = grain_pattern(pixels.shape[2], pixels.shape[3], self.settings.grain).transpose(2, 0, 1)
        grained = (pixels + torch.from_numpy(grain).to(pixels)).clamp(0, 255)
        return F.pad(grained / 256, (m, m, m, m), mode="reflect").contiguous(memory_format=torch.channels_last)

    def losses(self, network: nn.Module, pixels: Tensor, stage: str, step: int) -> dict[str, Tensor]:
        """The losses of a batch [N, 3, H, W] 0..255 by name, not weighted; those of weight 0 are left out."""
        autocast: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.settings.precision == "bfloat16" and not stage.endswith("bit"):
            autocast = torch.autocast(self.device.type, torch.bfloat16)

        def paint(photos: Tensor) -> Tensor:
            with autocast:
                return self.painted(network, photos)

        painting = paint(pixels)
        with torch.no_grad():
            photo = self.loss_network(pixels, last=self.content_layer)
        features = self.loss_network(painting)
        losses = {
            "content": self.content_loss(features, photo),
            "style": self.style_loss(features),
            "variation": self.variation_loss(painting),
        }
        # The parent is only a way to the style; what a film needs is asked of the network that will make it.
        if self.weights["stability"] and stage != "parent":
            seed = (self.settings.seed << 32) + step
            # One photo of the batch: a second forward of all would double the network's share of a step.
            losses["stability"] = self.stability_loss(paint, pixels[:1], painting[:1], seed)
        return losses

    # -- stages

    def float_network(self, path: Path) -> TransformNet:
        """A finished parent or plain network, on the run's device. Raises TrainingError for another architecture's."""
        return load_float(path, self.settings.architecture).to(self.device)

    def train_parent(self, report: Report | None = None, start: Path | None = None) -> None:
        """Stage one, from random weights or from ``start``, another run's folder, whose parent it goes on from."""
        torch.manual_seed(self.settings.seed)
        network = TransformNet(self.settings.architecture)
        if start is not None:
            network = self.float_network(start / "parent.pt")
        self._train("parent", network, self.settings.parent_steps, self.settings.parent_rate, report)

    def train_plain(self, report: Report | None = None) -> None:
        """Stage two, from the parent."""
        network = self.float_network(self.checkpoint("parent"))
        network.freeze_statistics(self.calibration())
        self._train("plain", network, self.settings.plain_steps, self.settings.plain_rate, report)

    def train_quantised(self, bits: int, report: Report | None = None) -> None:
        """Stage three, from the plain network."""
        network = QuantizedTransformNet.from_float(
            self.float_network(self.checkpoint("plain")), bits, list(self.calibration(4))
        )
        stage = f"{bits}bit"
        self._train(stage, network, self.settings.quantised_steps, self.settings.quantised_rate, report)

    def calibration(self, batches: int = _FREEZE_BATCHES) -> Iterator[Tensor]:
        """Batches as the network sees them, from a stream of their own."""
        for crops in self.photos.stream("calibration", 0, batches):
            yield self.prepared(to_tensor(crops, self.device))

    def _train(self, stage: str, network: nn.Module, steps: int, rate: float, report: Report | None) -> None:
        if self.checkpoint(stage).exists():
            return
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scales = [p for n, p in network.named_parameters() if "scaling_impl" in n]
        known = {id(p) for p in scales}
        groups = [
            {"params": [p for p in network.parameters() if id(p) not in known], "peak": rate},
            # Brevitas learns a threshold's logarithm: a step of 0.01 is 0.7 %.
            {"params": scales, "peak": 10 * rate},
        ]
        optimizer = torch.optim.Adam([g for g in groups if g["params"]], lr=rate)
        start, progress = 0, self.folder / "progress.pt"
        if progress.exists():
            state = load_checkpoint(progress)
            if state.get("stage") == stage:
                network.load_state_dict(state["network"])
                optimizer.load_state_dict(state["optimizer"])
                start = int(state["step"])
        recent = self._trim_log(stage, start)[-_AVERAGED:]
        network.train()
        began = saved = time.monotonic()
        for step, crops in enumerate(self.photos.stream(stage, start, steps), start):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["peak"], step, steps)
            losses = self.losses(network, to_tensor(crops, self.device), stage, step)
            total = sum((self.weights[name] * loss for name, loss in losses.items()), torch.zeros(()))
            optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
            if not math.isfinite(float(total.detach())):
                raise TrainingError(f"stage {stage}: the loss is not finite at step {step}; lower the learning rate")
            recent = [*recent[1 - _AVERAGED :], self._log(stage, step, losses)]
            done = step + 1
            if report is not None:
                mean = np.mean(recent, axis=0)
                pace = (time.monotonic() - began) / (done - start)
                report(Progress(stage, done, steps, float(mean[0]), float(mean[1]), pace))
            if done % 250 == 0 or done == steps:
                self.preview(network, self.folder / "previews" / f"{stage}-{done:06d}.png")
            if time.monotonic() - saved >= self._checkpoint_seconds and done < steps:
                state = {"stage": stage, "step": done, "network": network.state_dict()}
                save_checkpoint(progress, {**state, "optimizer": optimizer.state_dict()})
                saved = time.monotonic()
        save_checkpoint(
            self.checkpoint(stage),
            {
                "stage": stage,
                "steps": steps,
                "architecture": asdict(self.settings.architecture),
                "network": network.state_dict(),
                "losses": dict(zip(_LOSSES, np.mean(recent, axis=0).tolist(), strict=True)),
            },
        )
        progress.unlink(missing_ok=True)

    def _log(self, stage: str, step: int, losses: dict[str, Tensor]) -> list[float]:
        """Append a line to losses.csv; the values as they stand there."""
        values = [f"{losses[name].item() if name in losses else 0.0:.6g}" for name in _LOSSES]
        with (self.folder / "losses.csv").open("a", newline="") as file:
            csv.writer(file).writerow([stage, step, *values])
        return [float(v) for v in values]

    def _trim_log(self, stage: str, start: int) -> list[list[float]]:
        """Drop the lines of steps that will be done again; the values of the stage's steps that stay."""
        path = self.folder / "losses.csv"
        header = ["stage", "step", *_LOSSES]
        rows = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [r for r in csv.reader(file) if len(r) == len(header) and r[1].isdigit()]
        kept = [r for r in rows if r[0] != stage or int(r[1]) < start]
        write_bytes(path, "".join(",".join(r) + "\r\n" for r in [header, *kept]).encode())
        return [[float(v) for v in r[2:]] for r in kept if r[0] == stage]

    @torch.no_grad()
    def preview(self, network: nn.Module, path: Path) -> None:
        """Two photos and their paintings, side by side in one picture."""
        network.eval()
        rows = []
        for index in (0, len(self.photos.files) // 2):
            photo = read_image(self.photos.files[index])
            scale = 512 / max(photo.shape[:2])
            size = (int(photo.shape[1] * scale) // 4 * 4, int(photo.shape[0] * scale) // 4 * 4)
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
            painting = self.painted(network, to_tensor(photo[None], self.device))[0]
            painted = painting.clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
            rows.append(np.hstack([photo, painted]))
        width = min(r.shape[1] for r in rows)
        write_image(path, np.vstack([r[:, :width] for r in rows]))
        network.train()


def run_record(folder: Path) -> dict[str, Any]:
    """A run's ``run.json``. Raises TrainingError."""
    path = folder / "run.json"
    if not path.is_file():
        raise TrainingError(f"run {folder}: no run.json there, so not a training run")
    try:
        record = json.loads(path.read_text())
        Settings(**record["settings"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise TrainingError(f"run {path}: damaged ({type(error).__name__})") from error
    return dict(record)
