"""What a painter loses in the pipeline: a film of prepared frames against the painter alone, in the same process.

The frames are the synthetic day's, rendered beforehand and kept as JPEG files of the quality that rolls keep: the film
decodes, steadies, paints, steadies, encodes and writes each one, as ``pleinair run --camera frames:DIR`` does. Beyond
:data:`DISTINCT` they come again, backwards and forwards, so that a film is no slide show. The painter alone is timed on
decoded frames, half of them before the film and half after it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair.cameras.stored import FolderCamera
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.films.pipeline import Progress, run
from pleinair.films.recorder import FilmRecorder
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.images import read_image
from pleinair.painting.painter import Painter
from pleinair.rolls.originals import encode

#: Frames that are rendered, and of which the painter alone paints each once or more.
DISTINCT = 32
#: Scene time between two frames, seconds.
_STEP = 30.0
_WARM_UP = 2
#: Most frames for the painter alone: their median is steady long before.
_ALONE = 100


@dataclass(frozen=True)
class PipelineFigures:
    """A film and the painter alone. Rates in frames a second, times in milliseconds a frame, sizes in pixels and bytes.

    ``..._cpu_ms`` is processor time: a stage's is that of its own thread, in which a painter's or codec's helpers do
    not count; ``painter_cpu_ms`` and ``pipeline_cpu_ms`` are of all threads of the process.
    """

    width_px: int
    height_px: int
    frames: int
    painter_fps: float
    pipeline_fps: float
    #: The pipeline's rate as a share of the painter's.
    ratio: float
    painter_ms: float
    painter_cpu_ms: float
    pipeline_cpu_ms: float
    capture_ms: float
    paint_ms: float
    record_ms: float
    capture_cpu_ms: float
    paint_cpu_ms: float
    record_cpu_ms: float
    film_bytes: int


def measure_pipeline(
    painter: Painter | Sequence[Painter], size: tuple[int, int], frames: int,
    report: Callable[[int, int], None] | None = None,
) -> PipelineFigures:  # fmt: skip
    """Film ``frames`` frames of ``size``, (width, height), with a painter, and time it alone.

    Several painters film together, see :func:`pleinair.films.pipeline.run`; alone, they paint at the same time, too.
    ``report`` is called with the steps that are done and their total. Raises ValueError for no frames, OptionError for
    a size that the synthetic day is not drawn at, OutputError where the temporary folder does not take the film.
    """
    painters = painter if isinstance(painter, Sequence) else [painter]
    if frames < 1:
        raise ValueError(f"frames {frames}: at least 1")
    alone = min(frames, _ALONE)
    distinct = min(frames, DISTINCT)
    done, total = 0, distinct + alone + frames

    def step() -> None:
        nonlocal done
        done += 1
        if report is not None:
            report(done, total)

    with (
        tempfile.TemporaryDirectory(prefix="pleinair-bench-") as name, ThreadPoolExecutor(len(painters)) as pool
    ):  # fmt: skip
        folder = Path(name)
        shots = _prepare(folder, size, frames, distinct, step)
        pictures = itertools.cycle([read_image(path) for path in shots])
        for _ in range(_WARM_UP):
            _paint_once(pool, painters, pictures)
        times = list[float]()
        worked = _paint_alone(pool, painters, pictures, (alone + 1) // 2, times, step)
        recorder = FilmRecorder(folder / "film.mp4")
        camera = FolderCamera(folder / "frames", size, None)
        began, computed = time.perf_counter(), time.process_time()
        outcome = run(camera, painter, recorder, steady=DEFAULT_STRENGTH, report=lambda _: step())
        seconds, computed = time.perf_counter() - began, time.process_time() - computed
        worked += _paint_alone(pool, painters, pictures, alone // 2, times, step)
        film_bytes = outcome.film.stat().st_size
    return _figures(size, statistics.median(times), worked / alone, seconds, computed, outcome.progress, film_bytes)


def _prepare(folder: Path, size: tuple[int, int], frames: int, distinct: int, step: Callable[[], None]) -> list[Path]:
    """The rendered frames' files, and ``frames`` links to them in ``folder``/frames."""
    shots = list[Path]()
    # From noon on: half of the day is night, in which little moves.
    for frame in SyntheticCamera(size, distinct, every=_STEP, start=12 * 3600.0).frames():
        shots.append(folder / f"{frame.index}.jpg")
        shots[-1].write_bytes(encode(frame.image, {}, "jpg")[0])
        step()
    (folder / "frames").mkdir()
    there_and_back = itertools.cycle([*shots, *shots[-2:0:-1]])
    for number, shot in enumerate(itertools.islice(there_and_back, frames)):
        (folder / "frames" / f"{number:06d}.jpg").symlink_to(shot)
    return shots


def _paint_alone(
    pool: ThreadPoolExecutor, painters: Sequence[Painter], pictures: Iterator[np.ndarray], count: int,
    times: list[float], step: Callable[[], None],
) -> float:  # fmt: skip
    """Every painter ``count`` times; adds the seconds a picture to ``times``, returns the processor's for ``count``."""
    worked = time.process_time()
    for _ in range(count):
        began = time.perf_counter()
        _paint_once(pool, painters, pictures)
        times.append((time.perf_counter() - began) / len(painters))
        step()
    return (time.process_time() - worked) / len(painters)


def _paint_once(pool: ThreadPoolExecutor, painters: Sequence[Painter], pictures: Iterator[np.ndarray]) -> None:
    """A picture by every painter, at the same time."""
    for painting in [pool.submit(painter.paint, next(pictures)) for painter in painters]:
        painting.result()


def _figures(
    size: tuple[int, int], alone: float, alone_cpu: float, seconds: float, computed: float, progress: Progress,
    film_bytes: int,
) -> PipelineFigures:  # fmt: skip
    count = progress.recorded
    each = 1e3 / count
    return PipelineFigures(
        width_px=size[0], height_px=size[1], frames=count,
        painter_fps=1 / alone, pipeline_fps=count / seconds, ratio=count / seconds * alone,
        painter_ms=1e3 * alone, painter_cpu_ms=1e3 * alone_cpu, pipeline_cpu_ms=computed * each,
        capture_ms=progress.capture_seconds * each, paint_ms=progress.paint_seconds * each,
        record_ms=progress.record_seconds * each, capture_cpu_ms=progress.capture_cpu_seconds * each,
        paint_cpu_ms=progress.paint_cpu_seconds * each, record_cpu_ms=progress.record_cpu_seconds * each,
        film_bytes=film_bytes,
    )  # fmt: skip
