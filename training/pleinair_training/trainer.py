"""One training run, which makes a network from a painting and photos, in stages that build on each other.

A run of the second generation has the parent. It keeps its norm, and is rounded to integers when it is exported. For a
width that loses by rounding (``4bit``) it has a second stage, a Brevitas network with the integer norm in the loop
(:mod:`pleinair_training.adaptive_net`). A run of Johnson's shape has three stages:

``parent``     a float network with instance norm finds the style;
``plain``      the parent's statistics are frozen at their averages, and the network learns to do without the norm;
``quantised``  (``8bit`` ...) the plain network is folded into Brevitas, where weights, biases and activations are
               integers; the plain network's paintings can be a further target (distillation).

A run is a folder. It holds ``run.json`` (settings and hashes), ``losses.csv``, ``previews/``, one ``STAGE.pt`` for each
finished stage, ``progress.pt`` for the stage that is under way, and ``tensorboard/`` where that is installed. A run
that was interrupted goes on from its last checkpoint, and comes to the same losses, since batches depend only on the
seed, the stage and the step.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair.durable import file_sha256
from pleinair.errors import ModelError, OptionError, OutputError, TrainingError
from pleinair.images import read_image, write_bytes, write_image
from pleinair.models import CARD, DEFAULT_GRAIN, PARENT, read_card, read_parent
from pleinair.painting.grain import grain_pattern
from pleinair_training.adaptive_net import AdaptiveTransformNet
from pleinair_training.architecture import Architecture
from pleinair_training.loss_network import CONTENT_LAYER, STYLE_LAYERS, LossNetwork, parse_layers, parse_loss_network
from pleinair_training.losses import (
    ContentLoss,
    DistillationLoss,
    GridLoss,
    LightLoss,
    StabilityLoss,
    StyleLoss,
    TotalVariationLoss,
)
from pleinair_training.parent import parse_parent
from pleinair_training.photos import Photos, load_painting
from pleinair_training.processes import Processes
from pleinair_training.quantized_net import QuantizedTransformNet, take_state
from pleinair_training.transform_net import TransformNet


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes. Sizes are in pixels; each weight multiplies its loss in the sum.

    ``margin`` is the border that is painted with a photo and cropped before the loss; ``grain`` is the grey
    levels of canvas grain under every photo. Both are what a painter does later. ``style_crop`` is the part of the
    painting's file to use, WIDTHxHEIGHT+LEFT+TOP, or "" for all of it. ``content_layer`` and ``style_layers`` (several
    with commas between) are the loss network's own choice when empty.
    """

    style: str
    content: str
    loss_network: str
    width: int = 16
    blocks: int = 3
    kernel: int = 9
    entry: int = 1
    exit: int = 1
    crop: int = 224
    batch: int = 3
    style_size: int = 416
    style_crop: str = ""
    content_layer: str = ""
    style_layers: str = ""
    content_weight: float = 1.0
    style_weight: float = 1.5
    balanced: bool = True
    variation_weight: float = 2e5
    stability_weight: float = 2e6
    distillation_weight: float = 0.0
    grid_weight: float = 0.0
    light_weight: float = 0.0
    margin: int = 24
    grain: int = DEFAULT_GRAIN
    hold_out: int = 14
    parent_steps: int = 1500
    plain_steps: int = 1500
    quantised_steps: int = 300
    parent_rate: float = 2e-3
    plain_rate: float = 1e-3
    quantised_rate: float = 2e-4
    precision: str = "float32"
    seed: int = 1

    @property
    def architecture(self) -> Architecture:
        """The network's shape."""
        return Architecture(self.width, self.blocks, self.kernel, self.entry, self.exit)


@dataclass(frozen=True)
class Progress:
    """What a run reports after each step. ``content`` and ``style`` are losses before weighting, means of 20 steps."""

    stage: str
    step: int
    steps: int
    content: float
    style: float
    seconds_per_step: float


Report = Callable[[Progress], None]
_CLIP = 1e5
_FREEZE_BATCHES = 24
#: What rest counts for one of stability: the changes that it asks about are that much smaller.
_REST = 100.0
#: Photos that choose the scales of a quantised stage of the second generation.
_ADAPTIVE_PHOTOS = 12
_LOSSES = ("content", "style", "variation", "stability", "distillation", "grid", "light")
_AVERAGED = 20
_BOARD_STEPS = 10
_PREVIEW_STEPS = 250
#: The first pictures of a stage come sooner: who waits wants to see that it works.
_EARLY_PREVIEWS = (20, 100)
#: Settings that name a painting and a folder: they may lie elsewhere when a run goes on.
_FILES = ("style", "content")
#: Settings that a finished stage does not depend on: they may change from one stage of a run to the next.
_LATER = ("plain_", "quantised_", "distillation_", "stability_")


def save_checkpoint(path: Path, state: Mapping[str, object]) -> None:
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
    try:
        shape = Architecture(**state["architecture"])
        check_shape(f"checkpoint {path}", shape, wanted)
        network = TransformNet(shape)
        network.load_state_dict(state["network"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"checkpoint {path}: not a float network of this program") from error
    return network


def check_shape(what: str, shape: Architecture, wanted: Architecture | None) -> None:
    """Raise TrainingError when a network is not of the ``wanted`` shape; any will do for None."""
    if wanted not in (None, shape):
        assert wanted is not None
        raise TrainingError(f"{what}: a network of {shape.as_record()}, not {wanted.as_record()}")


def load_start(path: Path, wanted: Architecture) -> TransformNet:
    """A float network to train on from. Raises TrainingError, ModelError.

    ``path`` is a run's folder, for its parent; a model's folder, for the parent that lies in it; or any stage's
    checkpoint. A quantised network is taken with its latent weights; one of Johnson's shape comes back frozen, as a
    plain one.
    """
    if (path / CARD).is_file() and not (path / "parent.pt").exists():
        card = read_card(path)
        try:
            shape = Architecture(**card.architecture)
        except (TypeError, ValueError) as error:
            raise ModelError(f"card {path / CARD}: architecture {card.architecture!r}: unknown") from error
        check_shape(f"model {path}", shape, wanted)
        return parse_parent(read_parent(path, card), path / PARENT, shape)
    if path.is_dir():
        path = path / "parent.pt"
    stage = load_checkpoint(path).get("stage", "")
    if not (isinstance(stage, str) and stage.endswith("bit") and stage.removesuffix("bit").isdigit()):
        return load_float(path, wanted)
    network, _ = load_quantised(path, int(stage.removesuffix("bit")))
    check_shape(f"checkpoint {path}", network.architecture, wanted)
    if isinstance(network, AdaptiveTransformNet):
        return network.as_parent()
    return TransformNet.from_folded(wanted, network.folded())


def load_quantised(path: Path, bits: int) -> tuple[QuantizedTransformNet, dict[str, Any]]:
    """A finished network of ``bits`` bits, and its checkpoint. Raises TrainingError."""
    state = load_checkpoint(path)
    try:
        shape = Architecture(**state["architecture"])
        kind = AdaptiveTransformNet if shape.adaptive else QuantizedTransformNet
        network = kind.restore(shape, bits, state["network"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"checkpoint {path}: not a {bits}-bit network of this program") from error
    return network, state


def _board(folder: Path, start: int, stage: str) -> Any:
    """A TensorBoard writer, or None where tensorboard is not installed; steps from ``start`` on are replaced."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / stage), purge_step=start or None)


def learning_rate(peak: float, step: int, steps: int) -> float:
    """The learning rate of a step: it rises evenly over the first twentieth, then falls along a cosine.

    It ends at a hundredth of ``peak``.
    """
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    along = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def to_tensor(crops: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in 0..255, channels last in memory."""
    return torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()


def with_margin(pixels: Tensor, margin: int, *, adaptive: bool) -> Tensor:
    """Float [N, 3, H, W] in 0..255 with ``margin`` pixels around it: :func:`pleinair.painting.tiles.add_margin`."""
    sides = (margin,) * 4
    mirrored = F.pad(pixels, sides, mode="reflect")
    if not adaptive:
        return mirrored
    edge = F.pad(pixels, sides, mode="replicate")
    sloped = torch.floor((3 * edge - mirrored + 1) / 2).clamp(0, 255)
    m = margin
    sloped[..., m:-m, m:-m] = pixels
    return sloped


def _optimizer(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam over a network's parameters; each group keeps its peak learning rate as ``peak``."""
    scales = [p for n, p in network.named_parameters() if "scaling_impl" in n]
    known = {id(p) for p in scales}
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in known], "peak": rate},
        # Brevitas learns a threshold's logarithm: a step of 0.01 is 0.7 %.
        {"params": scales, "peak": 10 * rate},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=rate)


class Run:
    """A training run in its folder; construct, then :meth:`train` a stage at a time."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        device: str = "cpu",
        checkpoint_seconds: float = 120.0,
        compiled: bool = False,
    ) -> None:
        """Open or create the run. Raises TrainingError when the folder holds a run of other settings.

        ``compiled``: float networks and the loss network run through torch.compile.
        """
        self.folder, self.settings = folder, settings
        self.processes = Processes(device)
        self.device = self.processes.device
        if settings.batch % self.processes.count:
            raise OptionError(
                f"{settings.batch}: must be a multiple of the {self.processes.count} processes", option="batch"
            )
        self._checkpoint_seconds, self._compiled = checkpoint_seconds, compiled
        kind, weights = parse_loss_network(settings.loss_network)
        self.photos = Photos(Path(settings.content), settings.crop, settings.batch, settings.seed, settings.hold_out)
        compute = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
        style_layers = parse_layers(settings.style_layers, kind) or STYLE_LAYERS[kind]
        (self.content_layer,) = parse_layers(settings.content_layer, kind)[:1] or (CONTENT_LAYER[kind],)
        self.loss_network: Callable[..., dict[str, Tensor]]
        loss_network = LossNetwork(kind, weights, (*style_layers, self.content_layer), compute)
        self.loss_network = loss_network.to(self.device)
        painting = load_painting(Path(settings.style), settings.style_size, settings.style_crop)
        with torch.no_grad():
            features = self.loss_network(to_tensor(painting[None], self.device))
        if compiled:
            self.loss_network = torch.compile(self.loss_network)
        self.style_loss = StyleLoss(features, style_layers, balanced=settings.balanced).to(self.device)
        self.content_loss = ContentLoss(self.content_layer)
        self.variation_loss = TotalVariationLoss()
        self.stability_loss, self.rest_loss = StabilityLoss(), StabilityLoss(noise=1.0, gain=0.01, shift=0)
        self.distillation_loss = DistillationLoss()
        self.grid_loss, self.light_loss = GridLoss(), LightLoss()
        self.weights = {name: float(getattr(settings, f"{name}_weight")) for name in _LOSSES}
        self.record = {
            "settings": asdict(settings),
            "painting_sha256": file_sha256(Path(settings.style)),
            "loss_network_sha256": file_sha256(weights),
            "held_out": self.photos.kept_apart,
            "photos": len(self.photos.files),
            "photos_sha256": self.photos.sha256(),
        }
        if self.processes.first:
            self._claim()
        self.processes.wait()

    def _claim(self) -> None:
        known = self.folder / "run.json"
        (self.folder / "previews").mkdir(parents=True, exist_ok=True)
        if not known.exists():
            write_bytes(known, json.dumps(self.record, indent=1).encode())
            return
        before = run_record(self.folder)
        new = asdict(self.settings)
        # A setting that is newer than the run had its default's effect.
        defaults = {f.name: f.default for f in fields(Settings)}
        old = {**defaults, **before["settings"]}
        old["loss_network"] = str(old["loss_network"]).partition(":")[0]
        new["loss_network"] = self.settings.loss_network.partition(":")[0]
        for key in new:
            # Later stages may be changed without touching what is finished. Files count by what is in them.
            if key in _FILES or key.startswith(_LATER) or old[key] == new[key]:
                continue
            raise TrainingError(
                f"run {self.folder}: was begun with {key} = {old[key]!r}, not {new[key]!r}; "
                "use its value or another folder"
            )
        self._check_contents(before)
        write_bytes(known, json.dumps(self.record, indent=1).encode())

    def _check_contents(self, before: Mapping[str, Any]) -> None:
        """Raise TrainingError where files hold something else than when the run began."""
        named = {"painting_sha256": self.settings.style, "loss_network_sha256": self.settings.loss_network}
        for key, name in named.items():
            # A run of an older version does not know all of them.
            if key in before and before[key] != self.record[key]:
                what = key.removesuffix("_sha256").replace("_", " ")
                raise TrainingError(
                    f"run {self.folder}: was begun with another {what} than {name} is now; "
                    "give that one again, or use another folder"
                )
        told = ("photos", "photos_sha256", "held_out")
        if any(key in before and before[key] != self.record[key] for key in told):
            raise TrainingError(
                f"run {self.folder}: was begun with other photos: {before.get('photos')} to train on then, "
                f"{self.record['photos']} in {self.settings.content} now, which must be the same; "
                "restore them, or use another folder"
            )

    def checkpoint(self, stage: str) -> Path:
        """Where the network of a finished stage is kept."""
        return self.folder / f"{stage}.pt"

    def painted(self, network: Callable[..., Tensor], pixels: Tensor) -> Tensor:
        """The network's painting of pixels [N, 3, H, W] in 0..255, in the same scale, with the margin cropped."""
        m = self.settings.margin
        # Norms of the second generation count the frame alone, as metering does.
        y: Tensor = network(self.prepared(pixels), *((m,) if self.settings.architecture.adaptive else ()))
        return y.float()[..., m:-m, m:-m] * 256

    def prepared(self, pixels: Tensor) -> Tensor:
        """What the network sees of pixels [N, 3, H, W] 0..255: pixel / 256 with grain under and margin around it."""
        m = self.settings.margin
        grain = grain_pattern(pixels.shape[2], pixels.shape[3], self.settings.grain).transpose(2, 0, 1)
        grained = (pixels + torch.from_numpy(grain).to(pixels)).clamp(0, 255)
        padded = with_margin(grained, m, adaptive=self.settings.architecture.adaptive)
        return (padded / 256).contiguous(memory_format=torch.channels_last)

    def losses(
        self,
        network: Callable[[Tensor], Tensor],
        pixels: Tensor,
        stage: str,
        step: int,
        teacher: nn.Module | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch [N, 3, H, W] in 0..255, by name and not weighted; those of weight 0 are left out."""

        def paint(photos: Tensor) -> Tensor:
            with self._autocast(stage):
                return self.painted(network, photos)

        if teacher is not None:
            with torch.no_grad(), self._autocast("teacher"):
                taught = self.painted(teacher, pixels)

        painting = paint(pixels)
        with torch.no_grad():
            photo = self.loss_network(pixels, last=self.content_layer)
        features = self.loss_network(painting)
        losses = {
            "content": self.content_loss(features, photo),
            "style": self.style_loss(features),
            "variation": self.variation_loss(painting),
        }
        weights = self.weights_in(stage)
        if weights["grid"]:
            losses["grid"] = self.grid_loss(painting)
        if weights["light"]:
            losses["light"] = self.light_loss(painting, pixels)
        # What a film needs is asked of the network that will make it: of Johnson's shape that is not the parent.
        films = stage != "parent" or self.settings.architecture.adaptive
        if weights["stability"] and films and self.processes.first:
            seed = (self.settings.seed << 32) + step
            # One photo of the whole batch: a second forward of all would double the network's share of a step.
            loss = self.rest_loss if self._rests(stage) else self.stability_loss
            stability = loss(paint, pixels[:1], painting[:1], seed)
            losses["stability"] = stability * self.processes.count
        if teacher is not None:
            losses["distillation"] = self.distillation_loss(painting, taught)
        return losses

    def weights_in(self, stage: str) -> dict[str, float]:
        """What each loss counts in a stage."""
        return {**self.weights, "stability": _REST * self.weights["stability"]} if self._rests(stage) else self.weights

    def _rests(self, stage: str) -> bool:
        """Whether stability asks for rest alone: the parent has learned what a frame that has moved asks for.

        What is left are roundings that the least noise tips.
        """
        return stage.endswith("bit") and self.settings.architecture.adaptive

    def _autocast(self, stage: str) -> contextlib.AbstractContextManager[Any]:
        # What quantisers round is only exact in float32.
        if self.settings.precision == "bfloat16" and not stage.endswith("bit"):
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    # -- stages

    def float_network(self, path: Path) -> TransformNet:
        """A finished parent or plain network, on the run's device. Raises TrainingError for another architecture's."""
        return load_float(path, self.settings.architecture).to(self.device)

    def train_parent(self, report: Report | None = None, start: Path | None = None) -> None:
        """Stage one, from random weights or from ``start``, see :func:`load_start`.

        Where ``start`` is a parent, it is trained on. Where it is a plain or quantised network, it has no instance norm
        any more: it takes the place of this run's parent, and training goes on with the plain stage.
        """
        if self.checkpoint("parent").exists():
            return
        torch.manual_seed(self.settings.seed)
        network = TransformNet(self.settings.architecture)
        if start is not None:
            network = load_start(start, self.settings.architecture)
            if network.frozen:
                if self.processes.first:
                    self._finish("parent", 0, network, [])
                self.processes.wait()
                return
        self._train("parent", network, self.settings.parent_steps, self.settings.parent_rate, report)

    def train_plain(self, report: Report | None = None) -> None:
        """Stage two, from the parent."""
        network = self.float_network(self.checkpoint("parent"))
        if not network.frozen:
            network.freeze_statistics(self.calibration())
        self._train("plain", network, self.settings.plain_steps, self.settings.plain_rate, report)

    def train_quantised(self, bits: int, report: Report | None = None) -> None:
        """The last stage, from the float network, whose paintings are a further target where distillation has weight.

        That is the plain network, in the second generation the parent.
        """
        if self.checkpoint(f"{bits}bit").exists():
            return
        network: QuantizedTransformNet
        if self.settings.architecture.adaptive:
            teacher = self.float_network(self.checkpoint("parent"))
            batches = list(self.calibration(max(1, _ADAPTIVE_PHOTOS // self.settings.batch)))
            network = AdaptiveTransformNet.from_parent(teacher, bits, batches, self.settings.margin)
        else:
            teacher = self.float_network(self.checkpoint("plain"))
            network = QuantizedTransformNet.from_float(teacher, bits, list(self.calibration(4)))
        steps, rate = self.settings.quantised_steps, self.settings.quantised_rate
        self._train(f"{bits}bit", network, steps, rate, report, teacher)

    def calibration(self, batches: int = _FREEZE_BATCHES) -> Iterator[Tensor]:
        """Batches as the network sees them, from a stream of their own."""
        for crops in self.photos.stream("calibration", 0, batches):
            yield self.prepared(to_tensor(crops, self.device))

    def _train(
        self,
        stage: str,
        network: nn.Module,
        steps: int,
        rate: float,
        report: Report | None,
        teacher: nn.Module | None = None,
    ) -> None:
        if self.checkpoint(stage).exists():
            return
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not self.weights["distillation"]:
            teacher = None
        if teacher is not None:
            teacher.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        quantised, first = stage.endswith("bit"), self.processes.first
        runs: Callable[[Tensor], Tensor] = network
        if self._compiled and not quantised:
            runs = torch.compile(network)
        optimizer = _optimizer(network, rate)
        start, seconds = self._resumed(stage, network, optimizer)
        recent = self._trim_log(stage, start)[-_AVERAGED:]
        board = _board(self.folder / "tensorboard", start, stage) if first else None
        share = slice(self.processes.rank, None, self.processes.count)
        network.train()
        began = saved = time.monotonic()
        for step, crops in enumerate(self.photos.stream(stage, start, steps), start):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["peak"], step, steps)
            losses = self.losses(runs, to_tensor(crops[share], self.device), stage, step, teacher)
            values = self._descend(network, optimizer, losses, self.weights_in(stage))
            if not all(map(math.isfinite, values)):
                raise TrainingError(f"stage {stage}: the loss is not finite at step {step}; lower the learning rate")
            done = step + 1
            if not first:
                continue
            recent = [*recent[1 - _AVERAGED :], self._log(stage, step, values)]
            if report is not None:
                content, style = np.mean(recent, axis=0)[:2]
                pace = (time.monotonic() - began) / (done - start)
                report(Progress(stage, done, steps, float(content), float(style), pace))
            self._show(board, stage, done, steps, recent[-1], network)
            if time.monotonic() - saved >= self._checkpoint_seconds and done < steps:
                self._pause(stage, done, seconds + time.monotonic() - began, network, optimizer)
                saved = time.monotonic()
        if board is not None:
            board.close()
        if first:
            self._finish(stage, steps, network, recent, (seconds + time.monotonic() - began) / 60)
        # The others read what the first has written.
        self.processes.wait()

    def _resumed(self, stage: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
        """The step at which a stage begins, and the seconds that it has taken so far.

        Where the stage was interrupted, the network and the optimiser become what they were then.
        """
        path = self.folder / "progress.pt"
        state = load_checkpoint(path) if path.exists() else {}
        if state.get("stage") != stage:
            return 0, 0.0
        take_state(network, state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state.get("seconds", 0.0))

    def _pause(
        self, stage: str, done: int, seconds: float, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Write what :meth:`_resumed` reads."""
        state = {"stage": stage, "step": done, "seconds": seconds, "network": network.state_dict()}
        save_checkpoint(self.folder / "progress.pt", {**state, "optimizer": optimizer.state_dict()})

    def _show(self, board: Any, stage: str, done: int, steps: int, values: Sequence[float], network: nn.Module) -> None:
        """Every so many steps, and at the last: the losses on the board, a preview in the run's folder and on it."""
        if board is not None and (done % _BOARD_STEPS == 0 or done == steps):
            for name, value in zip(_LOSSES, values, strict=True):
                board.add_scalar(f"{stage}/{name}", value, done)
        if done % _PREVIEW_STEPS == 0 or done in _EARLY_PREVIEWS or done == steps:
            picture = self.preview(network, self.folder / "previews" / f"{stage}-{done:06d}.png")
            if board is not None:
                board.add_image(f"{stage}/preview", picture, done, dataformats="HWC")

    def _descend(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: Mapping[str, Tensor],
        weights: Mapping[str, float],
    ) -> list[float]:
        """Take one step down the weighted sum of the losses; return each of ``_LOSSES``, averaged over processes."""
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.processes.average_gradients(network.parameters())
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        if isinstance(network, AdaptiveTransformNet):
            network.keep_bounds()
        zero = torch.zeros((), device=self.device)
        terms = torch.stack([losses.get(name, zero).detach() for name in _LOSSES])
        values: list[float] = self.processes.mean(terms).tolist()
        return values

    def _finish(
        self, stage: str, steps: int, network: nn.Module, recent: list[list[float]], minutes: float = 0.0
    ) -> None:
        # A stage of no steps has measured nothing.
        means = dict(zip(_LOSSES, np.mean(recent, axis=0).tolist(), strict=True)) if recent else {}
        save_checkpoint(
            self.checkpoint(stage),
            {
                "stage": stage,
                "steps": steps,
                "minutes": round(minutes, 1),
                "architecture": self.settings.architecture.as_record(),
                "settings": self._stage_settings(),
                "network": network.state_dict(),
                "losses": means,
            },
        )
        (self.folder / "progress.pt").unlink(missing_ok=True)

    def _stage_settings(self) -> dict[str, object]:
        """What may differ from stage to stage of one run, for its checkpoint to tell."""
        return {k: v for k, v in asdict(self.settings).items() if k.startswith(_LATER)}

    def _log(self, stage: str, step: int, values: list[float]) -> list[float]:
        """Append a line to losses.csv; the values as they stand there. Raises OutputError."""
        texts = [f"{value:.6g}" for value in values]
        path = self.folder / "losses.csv"
        try:
            with path.open("a", newline="") as file:
                csv.writer(file).writerow([stage, step, *texts])
        except OSError as error:
            raise OutputError(f"output {path}: {error.strerror}") from error
        return [float(text) for text in texts]

    def _trim_log(self, stage: str, start: int) -> list[list[float]]:
        """Drop the lines of steps that will be done again; the values of the stage's steps that stay."""
        path = self.folder / "losses.csv"
        header = ["stage", "step", *_LOSSES]
        rows = []
        if path.is_file():
            with path.open(newline="") as file:
                # Runs of an older version have fewer columns.
                rows = [r + ["0"] * (len(header) - len(r)) for r in csv.reader(file) if len(r) > 2 and r[1].isdigit()]
        kept = [r for r in rows if r[0] != stage or int(r[1]) < start]
        if self.processes.first:
            write_bytes(path, "".join(",".join(r) + "\r\n" for r in [header, *kept]).encode())
        return [[float(v) for v in r[2:]] for r in kept if r[0] == stage]

    @torch.no_grad()
    def preview(self, network: nn.Module, path: Path) -> np.ndarray:
        """Two photos and their paintings side by side, uint8 [H, W, 3], also written to ``path``."""
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
        picture = np.vstack([r[:, :width] for r in rows])
        write_image(path, picture)
        network.train()
        return picture


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
