"""``pleinair train``: the stages of a run one after the other, with progress, interruptible at any moment."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pleinair.errors import OptionError, OutputError
from pleinair.network.integer import BITS
from pleinair_training.trainer import Progress as Step
from pleinair_training.trainer import Run, Settings

#: Steps of quantised fine-tuning unless a number is given: fewer bits, more to make good.
QUANTISED_STEPS = {4: 500, 8: 300, 16: 0, 32: 0}
#: And the peak learning rate. At 16 bits there is nothing to make good: any step leads away from the float network.
QUANTISED_RATE = {4: 6e-4, 8: 2e-4, 16: 1e-5, 32: 2e-4}
DISTILLATION_WEIGHT = {4: 6e6, 8: 0.0, 16: 0.0, 32: 0.0}


def train_stages(
    out: Path,
    bits: int,
    device: str,
    start: Path | None = None,
    compiled: bool = False,
    quantised_steps: int | None = None,
    distillation_weight: float | None = None,
    **options: Any,
) -> None:
    """Train up to the asked width (32: the float network), from ``start`` where that is given.

    ``start``: another run's folder, whose parent this one goes on from, or one of its checkpoints.
    Raises PleinairError's kinds for what a user can mend.
    """
    if bits not in (*BITS, 32):
        raise OptionError(f"--bits {bits}: choose from 4, 8, 16, 32")
    if options["precision"] not in ("float32", "bfloat16"):
        raise OptionError(f"--precision {options['precision']!r}: choose from float32, bfloat16")
    if not math.isfinite(options["style_weight"]):
        raise OptionError(f"--style-weight {options['style_weight']}: must be a finite number")
    if options["crop"] % 4:
        raise OptionError(f"--crop {options['crop']}: must be a multiple of 4")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise OptionError(f"--device {device!r}: choose cpu, or cuda where there is one")
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    try:
        steps = QUANTISED_STEPS[bits] if quantised_steps is None else quantised_steps
        weight = DISTILLATION_WEIGHT[bits] if distillation_weight is None else distillation_weight
        settings = Settings(
            **options, quantised_steps=steps, quantised_rate=QUANTISED_RATE[bits], distillation_weight=weight
        )
        run = Run(out, settings, device, compiled=compiled)
    except OSError as error:
        raise OutputError(f"--out {out}: {error.strerror}") from error
    for name, why in run.photos.skipped.items():
        console.print(f"skipped {name}: {why}", highlight=False, markup=False)
    console.print(f"{len(run.photos.files)} photos, {len(run.photos.kept_apart)} kept apart; run in {out}")
    columns = (
        TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[losses]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def report(step: Step) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.stage, total=step.steps, losses="")
            bars.update(
                tasks[step.stage], completed=step.step,
                losses=f"content {step.content:,.0f} style {step.style:,.0f} {step.seconds_per_step:.2f} s a step",
            )  # fmt: skip

        run.train_parent(report, start)
        run.train_plain(report)
        if bits != 32:
            run.train_quantised(bits, report)
    finished = "plain" if bits == 32 else f"{bits}bit"
    console.print(f"done: {run.checkpoint(finished)}; next: pleinair export {out} --out models/NAME")
