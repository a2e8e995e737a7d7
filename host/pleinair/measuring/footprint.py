"""Memory that painting takes at its peak, measured in a process of its own that does nothing else.

The kernel's VmHWM counts from the program's start; ``getrusage`` would count the parent's memory, too.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.backends import open_painter
from pleinair.errors import EngineError, PleinairError
from pleinair.images import MAX_PIXELS
from pleinair.machine import kernel_bytes
from pleinair.models import Model, load_model
from pleinair.painting.painter import TILE_PIXELS

_ROOT = Path(__file__).resolve().parents[2]
#: Tiles of so many pixels are the whole frame, whatever an engine's share of them is.
UNTILED = 64 * MAX_PIXELS
#: The sentence of a job that failed for a reason of its user's.
_REFUSED = 3


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that this process has held so far. Raises EngineError where the kernel does not tell."""
    peak = kernel_bytes(status, "VmHWM")
    if peak is None:
        raise EngineError(f"{status}: does not tell the peak of memory; a Linux with /proc does")
    return peak


def noise(width: int, height: int) -> np.ndarray:
    """uint8 [H, W, 3], always the same: what integers cost does not depend on what they are."""
    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, (height, width, 3), dtype=np.uint8)


def paint_alone(
    model: Model, engine: str, threads: int, size: tuple[int, int], tile_pixels: int | None = None
) -> dict[str, Any]:
    """Paint one frame of noise in a fresh process.

    ``peak_bytes``; ``opened_bytes``, of which before the frame; ``seconds``; ``sha256`` of the painting. Raises
    whatever opening a painter does, EngineError when the process dies.
    """
    job = {"work": "paint", "engine": engine, "threads": threads, "size": size, "tile_pixels": tile_pixels}
    return _alone(model, job)


def film_alone(model: Model, engine: str, threads: int, size: tuple[int, int], frames: int) -> dict[str, Any]:
    """Paint and record a film in a fresh process: ``peak_bytes``, ``seconds`` of the film. Raises as above."""
    return _alone(model, {"work": "film", "engine": engine, "threads": threads, "size": size, "frames": frames})


def _alone(model: Model, job: dict[str, Any]) -> dict[str, Any]:
    job = {**job, "style": str(model.folder.resolve()), "bits": model.bits}
    # The package that runs now, whatever the working folder holds.
    program = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from {__name__} import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(job)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode == _REFUSED:
        raise EngineError(done.stdout.strip())
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise EngineError(f"the process that measures memory died: {said[0]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _paint(job: dict[str, Any]) -> dict[str, Any]:
    model = load_model(job["style"], job["bits"])
    frame = noise(*job["size"])
    tile_pixels = job["tile_pixels"] or TILE_PIXELS
    with closing(open_painter(model, f"cpu:{job['engine']}", job["threads"], tile_pixels=tile_pixels)) as painter:
        opened = peak_bytes()
        began = time.perf_counter()
        painting = painter.paint(frame)
        seconds = time.perf_counter() - began
        peak = peak_bytes()
    digest = hashlib.sha256(painting.tobytes()).hexdigest()
    return {"peak_bytes": peak, "opened_bytes": opened, "seconds": seconds, "sha256": digest}


def _film(job: dict[str, Any]) -> dict[str, Any]:
    from pleinair.measuring.bench_pipeline import measure_pipeline

    model = load_model(job["style"], job["bits"])
    width, height = job["size"]
    with closing(open_painter(model, f"cpu:{job['engine']}", job["threads"])) as painter:
        figures = measure_pipeline(painter, (width, height), job["frames"])
        return {"peak_bytes": peak_bytes(), "seconds": figures.frames / figures.pipeline_fps}


def main() -> int:
    """What the fresh process does: the job of its only argument; the result is the last line of stdout."""
    job = json.loads(sys.argv[1])
    work: Callable[[dict[str, Any]], dict[str, Any]] = {"paint": _paint, "film": _film}[job["work"]]
    try:
        print(json.dumps(work(job)))
    except PleinairError as error:
        print(error)
        return _REFUSED
    return 0
