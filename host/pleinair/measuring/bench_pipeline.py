"""What a painter loses in the pipeline: a film of prepared frames against the painter alone, in the same process.

The frames are the synthetic day's, rendered beforehand and kept as JPEG files of the quality that rolls keep: the film
decodes, steadies, paints, steadies, encodes and writes each one, as ``pleinair run --camera frames:DIR`` does. Beyond
:data:`DISTINCT` they come again, backwards and forwards, so that a film is no slide show. The painter alone paints
decoded frames, half of them before the film and half after it, as the film does: by ``paint_each``. An adaptive
network's film has the light and the tone that a video has by default, and the painter alone paints in that light.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pleinair.cameras.opening import CameraSource
from pleinair.cameras.stored import FolderCamera
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.films.lighting import FilmLight, choose_lighting, default_every
from pleinair.films.pipeline import Progress, run
from pleinair.films.recorder import FilmRecorder
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.films.tone import choose_tone
from pleinair.images import read_image
from pleinair.machine import cores
from pleinair.painting.painter import Painter
from pleinair.rolls.originals import encode
from pleinair.rolls.records import Captured

#: Frames that are rendered, and of which the painter alone paints each once or more.
DISTINCT = 32
#: Scene time between two frames, seconds.
_STEP = 30.0
#: Frames that do not count, for each core.
_WARM_UP = 2
#: Most frames for the painter alone: their mean is steady long before.
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
    painter: Painter, size: tuple[int, int], frames: int, report: Callable[[int, int], None] | None = None
) -> PipelineFigures:
    """Film ``frames`` frames of ``size``, (width, height), with a painter, and time the painter alone.

    ``report`` is called with the steps that are done and their total. Raises ValueError for no frames, OptionError for
    a size that the synthetic day is not drawn at, OutputError where the temporary folder does not take the film.
    """
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

    with tempfile.TemporaryDirectory(prefix="pleinair-bench-") as name:
        folder = Path(name)
        shots = _prepare(folder, size, frames, distinct, step)
        pictures = itertools.cycle([read_image(path) for path in shots])
        every = default_every(CameraSource("video"), None)
        lighting = choose_lighting(None, None, adaptive=painter.adaptive, default=every)
        tone = choose_tone(None, adaptive=painter.adaptive)
        lit = painter.lit_by(FilmLight(lighting))
        # Each frame that is painted at a time has a program of its own, compiled at its first one.
        _paint_alone(lit, pictures, _WARM_UP * cores(), lambda: None)
        first = _paint_alone(lit, pictures, (alone + 1) // 2, step)
        recorder = FilmRecorder(folder / "film.mp4")
        camera = FolderCamera(folder / "frames", size, None)
        began, computed = time.perf_counter(), time.process_time()
        outcome = run(
            camera,
            painter,
            recorder,
            steady=DEFAULT_STRENGTH,
            lighting=lighting,
            tone=tone,
            report=lambda _: step(),
        )
        film = _Cost(time.perf_counter() - began, time.process_time() - computed)
        last = _paint_alone(lit, pictures, alone // 2, step)
        film_bytes = outcome.film.stat().st_size
    each = _Cost((first.seconds + last.seconds) / alone, (first.processor + last.processor) / alone)
    return _figures(size, each, film, outcome.progress, film_bytes)


@dataclass(frozen=True)
class _Cost:
    """Seconds, and processor seconds of all threads."""

    seconds: float
    processor: float


def _prepare(folder: Path, size: tuple[int, int], frames: int, distinct: int, step: Callable[[], None]) -> list[Path]:
    """The rendered frames' files, and ``frames`` links to them in ``folder``/frames."""
    shots = list[Path]()
    # From noon on: half of the day is night, in which little moves.
    for frame in SyntheticCamera(size, distinct, every=_STEP, start=12 * 3600.0).frames():
        shots.append(folder / f"{frame.index}.jpg")
        shots[-1].write_bytes(encode(frame.image, Captured(seq=frame.index, t=frame.seconds, wall=0.0), "jpg")[0])
        step()
    (folder / "frames").mkdir()
    there_and_back = itertools.cycle([*shots, *shots[-2:0:-1]])
    for number, shot in enumerate(itertools.islice(there_and_back, frames)):
        (folder / "frames" / f"{number:06d}.jpg").symlink_to(shot)
    return shots


def _paint_alone(painter: Painter, pictures: Iterator[np.ndarray], count: int, step: Callable[[], None]) -> _Cost:
    """Paint so many pictures and do nothing with them."""
    began, computed = time.perf_counter(), time.process_time()
    for _ in painter.paint_each(itertools.islice(pictures, count)):
        step()
    return _Cost(time.perf_counter() - began, time.process_time() - computed)


def _figures(size: tuple[int, int], alone: _Cost, film: _Cost, progress: Progress, film_bytes: int) -> PipelineFigures:
    """``alone`` is of one frame, ``film`` of all of them."""
    count = progress.recorded
    each = 1e3 / count
    return PipelineFigures(
        width_px=size[0],
        height_px=size[1],
        frames=count,
        painter_fps=1 / alone.seconds,
        pipeline_fps=count / film.seconds,
        ratio=count / film.seconds * alone.seconds,
        painter_ms=1e3 * alone.seconds,
        painter_cpu_ms=1e3 * alone.processor,
        pipeline_cpu_ms=film.processor * each,
        capture_ms=progress.capture_seconds * each,
        paint_ms=progress.paint_seconds * each,
        record_ms=progress.record_seconds * each,
        capture_cpu_ms=progress.capture_cpu_seconds * each,
        paint_cpu_ms=progress.paint_cpu_seconds * each,
        record_cpu_ms=progress.record_cpu_seconds * each,
        film_bytes=film_bytes,
    )
