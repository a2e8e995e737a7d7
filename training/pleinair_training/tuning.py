"""``pleinair tune``: a style fitted to one scene, because a time-lapse looks at one scene.

A shipped network works with its parent's instance statistics averaged over a hundred photos. Here they are
measured on the roll's own first frames: on those the folded network paints as its parent, instance norm and
all. It is then drawn to the parent's paintings of these frames (no loss network is needed), quantised and
drawn to them once more. The result is a model folder like any other: for every backend it is other data only.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pleinair.errors import ModelError, OptionError
from pleinair.models import PARENT, find_style, read_card, read_parent
from pleinair.painting.grain import Grain
from pleinair.painting.tiles import round_up
from pleinair_training.architecture import Architecture
from pleinair_training.export import export_run
from pleinair_training.parent import parse_parent
from pleinair_training.quantized_net import QuantizedTransformNet
from pleinair_training.trainer import Settings, learning_rate, save_checkpoint, to_tensor
from pleinair_training.transform_net import TransformNet

_CROP = 160
_BATCH = 2
_RATE = {"plain": 5e-4, "quantised": 2e-4}

Report = Callable[[str, int, int, float], None]


class Scene:
    """Frames of one scene as a network sees them, and the parent's paintings of them."""

    @torch.no_grad()
    def __init__(self, frames: list[np.ndarray], parent: TransformNet, grain: int, margin: int) -> None:
        """``frames``: uint8 [H, W, 3], all of one size, sides of 64 pixels or more. Raises OptionError."""
        sizes = {frame.shape[:2] for frame in frames}
        if not frames or len(sizes) > 1 or min(min(sizes)) < 64:
            raise OptionError(f"frames of {sorted(sizes)}: tuning needs frames of one size, 64 pixels or more a side")
        parent.eval()
        self.margin = margin
        height, width = (side // 4 * 4 for side in frames[0].shape[:2])
        canvas = Grain(grain)
        pixels = [to_tensor(canvas(frame)[None, :height, :width], torch.device("cpu")) for frame in frames]
        self.inputs = [F.pad(p / 256, (margin,) * 4, mode="reflect") for p in pixels]
        self.paintings = [parent(x)[..., margin:-margin, margin:-margin] for x in self.inputs]

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows of inputs, float [N, 3, S + 2 margin, ...], and of the parent's paintings, float [N, 3, S, S]."""
        windows, targets = [], []
        height, width = self.paintings[0].shape[2:]
        side = min(_CROP, height, width)
        whole = side + 2 * self.margin
        for _ in range(_BATCH):
            index = int(rng.integers(len(self.inputs)))
            # Multiples of 4, so that the strides fall as they do on the whole frame.
            top, left = (4 * int(rng.integers((extent - side) // 4 + 1)) for extent in (height, width))
            windows.append(self.inputs[index][..., top : top + whole, left : left + whole])
            targets.append(self.paintings[index][..., top : top + side, left : left + side])
        return torch.cat(windows), torch.cat(targets)

    @torch.no_grad()
    def distance(self, network: nn.Module) -> float:
        """Root mean squared difference to the parent's paintings over all frames, in grey levels."""
        m, squares = self.margin, []
        network.eval()
        for x, painting in zip(self.inputs, self.paintings, strict=True):
            squares.append(float((network(x)[..., m:-m, m:-m] - painting).square().mean()))
        return float(np.sqrt(np.mean(squares))) * 256

    def draw_near(self, network: nn.Module, stage: str, steps: int, report: Report | None) -> None:
        """Train ``network`` towards the parent's paintings."""
        rng, m = np.random.default_rng(1), self.margin
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE[stage])
        network.train()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(_RATE[stage], step, steps)
            x, target = self.batch(rng)
            loss = F.mse_loss(network(x)[..., m:-m, m:-m], target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if report is not None:
                report(stage, step + 1, steps, float(loss.detach()) ** 0.5 * 256)
        network.eval()


def _settings(card: dict[str, Any], folder: Path) -> Settings:
    """The training settings that a card tells, for the tuned card to tell again. Raises ModelError."""
    training = dict(card.get("training", {}))
    known = {key: value for key, value in training.items() if key in Settings.__dataclass_fields__}
    kind, file = training.get("loss_network"), training.get("loss_network_file")
    try:
        known["loss_network"] = f"{kind}:{file}"
        settings = Settings(**{**known, "style": card["painting"]["file"], "content": ""})
        return replace(settings, **asdict(Architecture(**card["architecture"])))
    except (KeyError, TypeError) as error:
        raise ModelError(f"card {folder}: does not tell how the style was trained ({error})") from error


def tune_style(
    style: str, frames: list[np.ndarray], bits: int, steps: int, out: Path, report: Report | None = None
) -> dict[str, float]:
    """Fit ``style`` to ``frames`` (uint8 [H, W, 3]) and write the model folder ``out``.

    ``steps`` of float training and half as many quantised. The distances to the parent's paintings, in grey
    levels, by stage. Raises ModelError for a style without its parent, OptionError, OutputError.
    """
    folder = find_style(style)
    card = read_card(folder)
    settings = _settings(card, folder)
    parent = parse_parent(read_parent(folder, card), folder / PARENT, settings.architecture)
    torch.manual_seed(settings.seed)
    halo = max(int(entry["halo"]) for entry in card["networks"].values())
    scene = Scene(frames, parent, card["grain"], round_up(max(halo, card["margin"]), 4))
    plain = copy.deepcopy(parent)
    plain.freeze_statistics(scene.inputs)
    distances = {"folded": scene.distance(plain)}
    scene.draw_near(plain, "plain", steps, report)
    distances["plain"] = scene.distance(plain)
    network = QuantizedTransformNet.from_float(plain, bits, scene.inputs[:4])
    distances["calibrated"] = scene.distance(network)
    scene.draw_near(network, "quantised", steps // 2, report)
    distances[f"{bits}bit"] = scene.distance(network)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary)
        shape = asdict(settings.architecture)
        losses = {"distance": distances[f"{bits}bit"]}
        state = {"architecture": shape, "steps": steps // 2, "losses": losses}
        save_checkpoint(run / "parent.pt", {**state, "stage": "parent", "network": parent.state_dict()})
        save_checkpoint(run / "plain.pt", {**state, "stage": "plain", "network": plain.state_dict()})
        save_checkpoint(run / f"{bits}bit.pt", {**state, "stage": f"{bits}bit", "network": network.state_dict()})
        record = {
            "settings": asdict(settings),
            "painting_sha256": card["painting"].get("sha256", ""),
            "loss_network_sha256": card["training"].get("loss_network_sha256", ""),
            "held_out": card["training"].get("held_out", []),
            "photos": card["training"].get("photos", 0),
        }
        (run / "run.json").write_text(json.dumps(record))
        title, licence = card["painting"].get("title", ""), card["painting"].get("licence", "")
        height, width = frames[0].shape[:2]
        tuned = {"frames": len(frames), "size": f"{width}x{height}", "steps": steps}
        export_run(
            run,
            out,
            painting=title,
            painting_licence=licence,
            licence=card.get("licence", ""),
            margin=card["margin"],
            grain=card["grain"],
            tuned=tuned,
        )
    return distances
