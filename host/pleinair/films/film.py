"""A direct film, in one call: a stored camera's frames, painted, into a file. Nothing else is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pleinair.cameras.camera import Camera
from pleinair.films.pipeline import Outcome, Progress, run
from pleinair.films.recorder import FilmRecorder
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.painting.painter import Painter


def film(
    camera: Camera,
    painter: Painter,
    out: Path | str,
    *,
    fps: int = 24,
    steady: int = DEFAULT_STRENGTH,
    deflicker: int = 0,
    timestamp: bool = False,
    report: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Paint all of a camera's frames into the film ``out`` (.mp4, .mkv or .mov), ``fps`` a second.

    ``steady`` holds the film still against camera noise of so many grey levels, ``deflicker`` evens out exposure over
    so many frames, 0 switches either off; ``timestamp`` writes each frame's time on it. For ``report``, ``stop`` and
    what is raised see :func:`pleinair.films.pipeline.run`; OutputError when no film can be written there.
    """
    recorder = FilmRecorder(Path(out), fps)
    return run(
        camera,
        painter,
        recorder,
        steady=steady,
        deflicker=deflicker,
        timestamp=timestamp,
        report=report,
        stop=stop,
    )
