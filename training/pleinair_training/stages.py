"""The stages of a training run, one after the other; interruptible at any moment."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pleinair.errors import OptionError, OutputError
from pleinair.network.floating import FLOAT_BITS
from pleinair.network.integer import BITS
from pleinair_training.trainer import Progress, Run, Settings, run_record

#: Steps of quantised fine-tuning by default: fewer bits need more.
QUANTISED_STEPS = {4: 500, 8: 300, 16: 0, 32: 0}
#: Its peak learning rate. At 16 bits nothing was lost that training could win back: any step only leads away.
QUANTISED_RATE = {4: 6e-4, 8: 2e-4, 16: 1e-5, 32: 2e-4}
DISTILLATION_WEIGHT = {4: 6e6, 8: 0.0, 16: 0.0, 32: 0.0}
#: The same in shape adaptive: only 4 bits lose by rounding what training can win back.
ADAPTIVE_STEPS = {4: 500, 8: 0, 16: 0, 32: 0}
#: Weight of the loss against the parent's paintings there.
ADAPTIVE_DISTILLATION = 4e7
#: What a run has unless it is told otherwise, by shape: ``adaptive``, the second generation, whose parent is rounded
#: or, at 4 bits, trained on; and ``johnson``, the first.
DEFAULTS: dict[str, dict[str, float]] = {
    "adaptive": {
        "kernel": 3,
        "entry": 4,
        "exit": 2,
        "crop": 320,
        "batch": 1,
        "stability_weight": 1e6,
        "grid_weight": 2e3,
        "light_weight": 4e4,
        "parent_steps": 3000,
        "parent_rate": 1.5e-3,
        "plain_steps": 0,
    },
    "johnson": {
        "crop": 224,
        "batch": 3,
        "stability_weight": 4e6,
        "grid_weight": 0.0,
        "light_weight": 0.0,
        "parent_steps": 1500,
        "plain_steps": 1500,
    },
}
SHAPES = tuple(DEFAULTS)
#: Steps of a parent of the second generation that starts from another one.
WARM_STEPS = 800
#: The least crop that the light loss can compare.
_LEAST_LIT = 80
PRECISIONS, DEVICES = ("float32", "bfloat16"), ("cpu", "cuda")


def train_stages(
    out: Path,
    *,
    bits: int = 8,
    shape: str | None = None,
    device: str = "cpu",
    start: Path | None = None,
    compiled: bool = False,
    quantised_steps: int | None = None,
    distillation_weight: float | None = None,
    report: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] | None = None,
    **options: Any,
) -> Path:
    """Train and return the last checkpoint.

    Args:
        out: the run's folder.
        bits: of the quantised stage: 4, 8 or 16; 32 stops at the float network. A run of the shape adaptive has one at
            4 bits, and at others where it is given ``quantised_steps``.
        shape: one of :data:`SHAPES`; when None that of the run in ``out``, ``adaptive`` for a new one.
        start: the folder of another run or of a model, to start from its parent, or a run's checkpoint.
        compiled: run the networks through torch.compile.
        report: called after every step.
        tell: called with a line about each photo that is skipped, and one about the run.
        options: further fields of :class:`~pleinair_training.trainer.Settings`; what is None or missing is as
            :data:`DEFAULTS` has it for the shape.

    Raises:
        OptionError, TrainingError, OutputError: what a user can mend.
    """
    report, tell = report or (lambda _: None), tell or (lambda _: None)
    if bits not in (*BITS, FLOAT_BITS):
        raise OptionError(f"{bits}: choose from {', '.join(map(str, (*BITS, FLOAT_BITS)))}", option="bits")
    shape = _shape(out, shape)
    given = {name: value for name, value in options.items() if value is not None}
    quantising = {"quantised_steps": quantised_steps, "distillation_weight": distillation_weight}
    if shape == "adaptive":
        _refuse_stages(given)
        given = {**_warm(start), **_in_the_loop(bits, quantised_steps), **given}
    else:
        given |= _quantising(bits)
    given |= {name: value for name, value in quantising.items() if value is not None}
    try:
        settings = Settings(**{**DEFAULTS[shape], **given})
        _check(settings, device)
        run = Run(out, settings, device, compiled=compiled)
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror}", option="out") from error
    for name, why in run.photos.skipped.items():
        tell(f"skipped {name}: {why}")
    tell(f"{len(run.photos.files)} photos, {len(run.photos.kept_apart)} kept apart; run in {out}")
    run.train_parent(report, start)
    if not settings.architecture.adaptive:
        run.train_plain(report)
    elif not settings.quantised_steps:
        return run.checkpoint("parent")
    if bits == FLOAT_BITS:
        return run.checkpoint("parent" if settings.architecture.adaptive else "plain")
    run.train_quantised(bits, report)
    return run.checkpoint(f"{bits}bit")


def _shape(out: Path, shape: str | None) -> str:
    """The shape to train: the one asked for, else that of the run in ``out``. Raises OptionError, TrainingError."""
    if shape is not None and shape not in DEFAULTS:
        raise OptionError(f"{shape!r}: choose from {', '.join(SHAPES)}", option="shape")
    if shape is not None or not os.path.isfile(out / "run.json"):
        return shape or "adaptive"
    return "adaptive" if Settings(**run_record(out)["settings"]).architecture.adaptive else "johnson"


def _warm(start: Path | None) -> dict[str, int]:
    """What differs when a parent starts from another one."""
    return {} if start is None else {"parent_steps": WARM_STEPS}


def _quantising(bits: int) -> dict[str, float]:
    """The settings of the quantised stage at a width, where nothing else is asked for."""
    return {
        "quantised_steps": QUANTISED_STEPS[bits],
        "quantised_rate": QUANTISED_RATE[bits],
        "distillation_weight": DISTILLATION_WEIGHT[bits],
    }


def _in_the_loop(bits: int, steps: int | None) -> dict[str, float]:
    """The settings of the quantised stage of a run of the second generation, where it has one."""
    steps = ADAPTIVE_STEPS[bits] if steps is None else steps
    if not steps:
        return {"quantised_steps": 0}
    return {
        "quantised_steps": steps,
        "quantised_rate": QUANTISED_RATE[bits],
        "distillation_weight": ADAPTIVE_DISTILLATION,
    }


def _refuse_stages(given: Mapping[str, object]) -> None:
    """Raise OptionError for a setting of a stage that a run of the second generation does not have."""
    if given.get("plain_steps") is not None:
        raise OptionError("is for the shape johnson; this run has no plain stage", option="plain_steps")


def _check(settings: Settings, device: str) -> None:
    """Raise OptionError for a value outside what is allowed."""
    if settings.precision not in PRECISIONS:
        raise OptionError(f"{settings.precision!r}: choose from {', '.join(PRECISIONS)}", option="precision")
    if not math.isfinite(settings.style_weight):
        raise OptionError(f"{settings.style_weight}: must be a finite number", option="style_weight")
    if settings.crop % 4:
        raise OptionError(f"{settings.crop}: must be a multiple of 4", option="crop")
    if settings.light_weight and settings.crop < _LEAST_LIT:
        raise OptionError(f"{settings.crop}: must be at least {_LEAST_LIT} for the light loss", option="crop")
    if device not in DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise OptionError(f"{device!r}: choose cpu, or cuda where there is one", option="device")
