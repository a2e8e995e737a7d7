"""A direct film, in one call: a stored camera's frames, painted, into a file. Nothing else is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pleinair.cameras.camera import Camera
from pleinair.cameras.opening import CameraSource
from pleinair.films.lighting import choose_lighting, default_every
from pleinair.films.pipeline import Outcome, Progress, run
from pleinair.films.rate import Rate, read_rate
from pleinair.films.recorder import FilmRecorder
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.films.tone import choose_tone
from pleinair.painting.painter import Painter


def film(
    camera: Camera,
    painter: Painter,
    out: Path | str,
    *,
    fps: Rate | float | str = 24,
    steady: int = DEFAULT_STRENGTH,
    deflicker: int = 0,
    timestamp: bool = False,
    light: str | None = None,
    light_every: int | None = None,
    tone: float | None = None,
    source: CameraSource | None = None,
    every: float | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Paint all of a camera's frames into the film ``out`` (.mp4, .mkv or .mov), ``fps`` a second.

    ``fps`` is whole or a fraction: see :func:`pleinair.films.rate.read_rate`.

    ``steady`` holds the film still against camera noise of so many grey levels, ``deflicker`` evens out exposure over
    so many frames, 0 switches either off; ``timestamp`` writes each frame's time on it.

    ``light`` says in which light an adaptive network paints: "frame" (the default), "scene" or "fixed", and
    ``light_every`` of how many frames one is metered: see :mod:`pleinair.films.lighting`. By default that depends on
    the ``source`` that was opened as ``camera`` and on ``every``, the seconds between its frames. ``tone``, 0 to 1, is
    how much of the scene's own brightness is brought back (:mod:`pleinair.films.tone`).

    For ``report``, ``stop`` and what is raised see :func:`pleinair.films.pipeline.run`. Raises OutputError when no film
    can be written there, OptionError for a light or tone that cannot be.
    """
    default = default_every(source, every)
    lighting = choose_lighting(
        light, light_every, adaptive=painter.adaptive, default=default, own_only=painter.own_light_only
    )
    tone = choose_tone(tone, adaptive=painter.adaptive)
    recorder = FilmRecorder(Path(out), read_rate(fps))
    return run(
        camera,
        painter,
        recorder,
        steady=steady,
        deflicker=deflicker,
        timestamp=timestamp,
        lighting=lighting,
        tone=tone,
        report=report,
        stop=stop,
    )
