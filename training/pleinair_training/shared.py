"""Several styles trained on a cluster: one lesson for a style and a stage, each of which may be interrupted.

All machines see the runs' folders, the photos and the loss network under the same paths, as on a shared disk. Each run
has a file ``progress.json``, which says how far it is.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from pleinair.durable import file_sha256, write_file
from pleinair.errors import OptionError
from pleinair.farm.steps import Step
from pleinair.images import SUFFIXES
from pleinair.network.floating import FLOAT_BITS
from pleinair_training.evening import style_name
from pleinair_training.stages import ADAPTIVE_STEPS, train_stages
from pleinair_training.trainer import Progress

PROGRESS = "progress.json"
#: Seconds between two writings of it.
_NOTE = 1.0


@dataclass(frozen=True)
class Lesson:
    """One stage of one style: ``bits`` of the quantised stage, 32 for the float parent alone. Paths are absolute."""

    style: str
    out: Path
    bits: int
    start: Path | None
    threads: int
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """What came of a lesson: the checkpoint, and the SHA-256 of its file."""

    checkpoint: Path
    sha256: str


def paintings_in(folder: Path) -> dict[str, Path]:
    """The paintings of a folder by the names that their styles get. Raises OptionError."""
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise OptionError(f"{folder}: {error.strerror}", option="styles") from error
    if not files:
        raise OptionError(f"{folder}: no image file in it", option="styles")
    named = dict[str, Path]()
    for file in files:
        other = named.setdefault(style_name(file), file)
        if other != file:
            raise OptionError(f"{folder}: {other.name} and {file.name} would be styles of one name", option="styles")
    return named


@dataclass(frozen=True)
class PlannedRun:
    """A run that becomes a style: its name, its painting, and its network's width."""

    name: str
    painting: Path
    width: int


def runs_of(paintings: Mapping[str, Path], widths: Sequence[int]) -> list[PlannedRun]:
    """A run for each painting and width; of several widths each is in its runs' names."""
    return [
        PlannedRun(f"{name}-w{width}" if len(widths) > 1 else name, painting, width)
        for width in widths
        for name, painting in paintings.items()
    ]


def lessons(
    paintings: Mapping[str, Path],
    out: Path,
    *,
    bits: Sequence[int],
    widths: Sequence[int],
    start: Path | None,
    threads: int,
    device: str = "cpu",
    **options: Any,
) -> list[Step]:
    """The lessons of some styles, each after those that it needs; runs are folders in ``out``.

    A run's bits come one after another, behind its float parent. Where there is no ``start``, the first painting's
    parent at each width is trained from nothing, and the others of that width start from it.
    """
    steps, firsts = list[Step](), dict[int, str]()
    for run in runs_of(paintings, widths):
        warm, before = start, ""
        first = firsts.setdefault(run.width, run.name)
        if start is None and run.name != first:
            warm, before = out / first, _named(first, FLOAT_BITS)
        for number in (FLOAT_BITS, *(number for number in bits if _is_trained(number, options))):
            told = {**options, "style": str(run.painting), "width": run.width}
            lesson = Lesson(run.name, out / run.name, number, warm, threads, device, told)
            steps.append(Step(_named(run.name, number), lesson, (before,) if before else ()))
            before = _named(run.name, number)
    return steps


def _is_trained(bits: int, options: Mapping[str, Any]) -> bool:
    """Whether a number of bits has a stage of its own; what has none is rounded by `pleinair export`."""
    if bits == FLOAT_BITS:
        return False
    return options.get("shape") == "johnson" or bool(options.get("quantised_steps", None) or ADAPTIVE_STEPS[bits])


def _named(name: str, bits: int) -> str:
    return f"{name} {'parent' if bits == FLOAT_BITS else f'{bits}-bit'}"


def teach(lesson: Lesson, fetch: Callable[[], None]) -> Learned:
    """Train one stage, or go on with it; this runs on a worker. Raises OptionError, TrainingError, OutputError."""
    torch.set_num_threads(lesson.threads)
    noted = [0.0]

    def note(step: Progress) -> None:
        if time.monotonic() - noted[0] >= _NOTE or step.step == step.steps:
            noted[0] = time.monotonic()
            write_file(lesson.out / PROGRESS, json.dumps(asdict(step)).encode(), durable=False)

    checkpoint = train_stages(
        lesson.out, bits=lesson.bits, device=lesson.device, start=lesson.start, report=note, **lesson.options
    )
    return Learned(checkpoint, file_sha256(checkpoint))


def read_progress(run: Path) -> Progress | None:
    """How far a run is; None where it does not say."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        values = json.loads((run / PROGRESS).read_bytes())
        return Progress(**{f.name: values[f.name] for f in fields(Progress)})
    return None
