"""Memory that painting takes at its peak, measured in a process of its own that does nothing else.

The kernel's VmHWM counts from the program's start; ``getrusage`` would count the parent's memory, too.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

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


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a fresh process is to do: paint one frame of noise, or record a film where ``frames`` says how long."""

    style: str
    bits: int
    engine: str
    threads: int
    size: tuple[int, int]
    tile_pixels: int = TILE_PIXELS
    frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a job took.

    ``peak_bytes`` is the most memory, ``opened_bytes`` the most before the first frame. ``seconds`` are those of the
    frame or of the film. ``sha256`` is that of the painting; a film has none.
    """

    peak_bytes: int
    opened_bytes: int
    seconds: float
    sha256: str = ""


def paint_alone(
    model: Model, engine: str, threads: int, size: tuple[int, int], tile_pixels: int = TILE_PIXELS
) -> Footprint:
    """Paint one frame of noise in a fresh process.

    Raises whatever opening a painter does, EngineError when the process dies.
    """
    return _alone(_job(model, engine, threads, size, tile_pixels=tile_pixels))


def film_alone(model: Model, engine: str, threads: int, size: tuple[int, int], frames: int) -> Footprint:
    """Paint and record a film in a fresh process. Raises as :func:`paint_alone` does."""
    return _alone(_job(model, engine, threads, size, frames=frames))


def _job(model: Model, engine: str, threads: int, size: tuple[int, int], **rest: int) -> Job:
    style = str(model.folder.resolve())
    return Job(style=style, bits=model.bits, engine=engine, threads=threads, size=size, **rest)


def _alone(job: Job) -> Footprint:
    # The package that runs now, whatever the working folder holds.
    program = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from {__name__} import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(asdict(job))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode == _REFUSED:
        raise EngineError(done.stdout.strip())
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise EngineError(f"the process that measures memory died: {said[0]}")
    return Footprint(**json.loads(done.stdout.splitlines()[-1]))


def _paint(job: Job) -> Footprint:
    model = load_model(job.style, job.bits)
    frame = noise(*job.size)
    with closing(open_painter(model, f"cpu:{job.engine}", job.threads, tile_pixels=job.tile_pixels)) as painter:
        opened = peak_bytes()
        began = time.perf_counter()
        painting = painter.paint(frame)
        seconds = time.perf_counter() - began
        peak = peak_bytes()
    digest = hashlib.sha256(painting.tobytes()).hexdigest()
    return Footprint(peak_bytes=peak, opened_bytes=opened, seconds=seconds, sha256=digest)


def _film(job: Job, frames: int) -> Footprint:
    from pleinair.measuring.bench_pipeline import measure_pipeline

    model = load_model(job.style, job.bits)
    width, height = job.size
    with closing(open_painter(model, f"cpu:{job.engine}", job.threads)) as painter:
        opened = peak_bytes()
        figures = measure_pipeline(painter, (width, height), frames)
        seconds = figures.frames / figures.pipeline_fps
        return Footprint(peak_bytes=peak_bytes(), opened_bytes=opened, seconds=seconds)


def main() -> int:
    """What the fresh process does: the job of its only argument; the result is the last line of stdout."""
    values = json.loads(sys.argv[1])
    job = Job(**{**values, "size": tuple(values["size"])})
    try:
        print(json.dumps(asdict(_paint(job) if job.frames is None else _film(job, job.frames))))
    except PleinairError as error:
        print(error)
        return _REFUSED
    return 0
