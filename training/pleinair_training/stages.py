"""The stages of a training run, one after the other; interruptible at any moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pleinair.errors import OptionError, OutputError
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair_training.trainer import Progress, Run, Settings

#: Steps of quantised fine-tuning by default: fewer bits need more.
QUANTISED_STEPS = {4: 500, 8: 300, 16: 0, 32: 0}
#: Its peak learning rate. At 16 bits nothing was lost that training could win back: any step only leads away.
QUANTISED_RATE = {4: 6e-4, 8: 2e-4, 16: 1e-5, 32: 2e-4}
DISTILLATION_WEIGHT = {4: 6e6, 8: 0.0, 16: 0.0, 32: 0.0}
PRECISIONS, DEVICES = ("float32", "bfloat16"), ("cpu", "cuda")


def train_stages(
    out: Path,
    *,
    bits: int,
    device: str = "cpu",
    start: Path | None = None,
    compiled: bool = False,
    quantised_steps: int | None = None,
    distillation_weight: float | None = None,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    **options: Any,
) -> Path:
    """Train up to the asked width and return the last checkpoint.

    Args:
        out: the run's folder.
        bits: 4, 8 or 16; 32 stops at the float network.
        start: another run's folder, to start from its parent, or one of its checkpoints.
        compiled: run the networks through torch.compile.
        report: called after every step.
        tell: called with a line about each photo that is skipped, and one about the run.
        options: further fields of :class:`~pleinair_training.trainer.Settings`.

    Raises:
        OptionError, TrainingError, OutputError: what a user can mend.
    """
    report, tell = report or (lambda _: None), tell or (lambda _: None)
    _check(bits, device, options)
    try:
        settings = Settings(
            **options,
            quantised_steps=QUANTISED_STEPS[bits] if quantised_steps is None else quantised_steps,
            quantised_rate=QUANTISED_RATE[bits],
            distillation_weight=DISTILLATION_WEIGHT[bits] if distillation_weight is None else distillation_weight,
        )
        run = Run(out, settings, device, compiled=compiled)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}", option="out") from error
    for name, why in run.photos.skipped.items():
        tell(f"skipped {name}: {why}")
    tell(f"{len(run.photos.files)} photos, {len(run.photos.kept_apart)} kept apart; run in {out}")
    run.train_parent(report, start)
    run.train_plain(report)
    if bits == FLOAT_BITS:
        return run.checkpoint("plain")
    run.train_quantised(bits, report)
    return run.checkpoint(f"{bits}bit")


def _check(bits: int, device: str, options: dict[str, Any]) -> None:
    """Raise OptionError for a value outside what is allowed."""
    precision, weight, crop = options["precision"], options["style_weight"], options["crop"]
    if bits not in (*BITS, FLOAT_BITS):
        raise OptionError(f"{bits}: choose from {', '.join(map(str, (*BITS, FLOAT_BITS)))}", option="bits")
    if precision not in PRECISIONS:
        raise OptionError(f"{precision!r}: choose from {', '.join(PRECISIONS)}", option="precision")
    if not math.isfinite(weight):
        raise OptionError(f"{weight}: must be a finite number", option="style_weight")
    if crop % 4:
        raise OptionError(f"{crop}: must be a multiple of 4", option="crop")
    if device not in DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise OptionError(f"{device!r}: choose cpu, or cuda where there is one", option="device")
