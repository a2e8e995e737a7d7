"""``pleinair evaluate``: a run's networks on the photos that training never saw.

Losses as others publish them, so that figures compare: photos at 384 x 256, VGG-16, content = mean squared
difference at relu3_3, style = sum over relu1_2, 2_2, 3_3, 4_3 of the mean squared difference of Gram matrices
(unbalanced), the painting at 384 pixels. Networks paint with a margin beyond their halo and the grain
that they ship with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from host.cameras import fit
from host.errors import TrainingError
from host.grain import Grain
from host.images import read_image
from host.models import DEFAULT_GRAIN
from host.network import BITS
from training.loss_network import CONTENT_LAYER, STYLE_LAYERS, LossNetwork, parse_loss_network
from training.losses import ContentLoss, StyleLoss
from training.photos import load_painting
from training.trainer import load_float, load_quantised, run_record, to_tensor

SIZE = (384, 256)
#: No less than the halo of any network up to five residual blocks, so that no border counts.
MARGIN = 56


@dataclass(frozen=True)
class Score:
    """Mean losses of one network over the photos; ``name`` is its stage, or ``photo`` for the photos themselves."""

    name: str
    content: float
    style: float

    @property
    def total(self) -> float:
        """Content plus style."""
        return self.content + self.style


def _network(run: Path, stage: str) -> Callable[[Tensor], Tensor] | None:
    path = run / f"{stage}.pt"
    if not path.exists():
        return None
    network: torch.nn.Module
    if stage.endswith("bit"):
        network, _ = load_quantised(path, int(stage.removesuffix("bit")))
    else:
        network = load_float(path)
    # 16-bit accumulators need more than float32 holds.
    kind = torch.float64 if stage == "16bit" else torch.float32
    network.eval().to(kind)

    def paint(pixels: Tensor) -> Tensor:
        y: Tensor = network(F.pad(pixels / 256, (MARGIN,) * 4, mode="reflect").to(kind))
        return y.float()[..., MARGIN:-MARGIN, MARGIN:-MARGIN] * 256

    return paint


@torch.no_grad()
def evaluate_run(run: Path, content: Path, loss_network: str, style: Path) -> list[Score]:
    """Scores of the held-out photos and of every finished stage. Raises TrainingError, OptionError, ImageError."""
    apart = set(run_record(run).get("held_out", []))
    files = sorted(p for p in content.rglob("*") if p.name in apart)
    if not files:
        raise TrainingError(f"photos {content}: none of the run's {len(apart)} held-out photos is there")
    kind, weights = parse_loss_network(loss_network)
    loss = LossNetwork(kind, weights, (*STYLE_LAYERS[kind], CONTENT_LAYER[kind]))
    painting = to_tensor(load_painting(style, SIZE[0])[None], torch.device("cpu"))
    style_loss = StyleLoss(loss(painting), STYLE_LAYERS[kind])
    content_loss = ContentLoss(CONTENT_LAYER[kind])
    grain = Grain(DEFAULT_GRAIN)
    painters: dict[str, Callable[[Tensor], Tensor]] = {"photo": lambda pixels: pixels}
    for stage in ("parent", "plain", *(f"{bits}bit" for bits in BITS)):
        paint = _network(run, stage)
        if paint is not None:
            painters[stage] = paint
    losses: dict[str, list[tuple[float, float]]] = {name: [] for name in painters}
    for path in files:
        image = fit(read_image(path), SIZE)
        photo, grained = (to_tensor(i[None], torch.device("cpu")) for i in (image, grain(image)))
        wanted = loss(photo)
        for name, paint in painters.items():
            features = loss(paint(photo if name == "photo" else grained))
            losses[name].append((float(content_loss(features, wanted)), float(style_loss(features))))
    return [Score(name, *np.mean(values, axis=0).tolist()) for name, values in losses.items()]
