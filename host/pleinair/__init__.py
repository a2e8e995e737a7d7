"""A time-lapse camera that paints.

    import pleinair

    painting = pleinair.paint(frame, style="great-wave")  # NumPy, uint8 [H, W, 3], RGB

    with pleinair.open_painter("water-lilies") as painter:
        for painting in painter.paint_each(frames):
            ...
        pleinair.film("frames:garden", painter, "garden.mp4", fps=24)

docs/python.md shows the rest by example. What a caller can mend raises a :class:`PleinairError`, whose text is one
sentence. Importing this package loads neither OpenCV nor any engine and changes nothing in the process; each call
loads what it needs.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pleinair.errors import (
    CameraError,
    ContractError,
    DiskFullError,
    EngineError,
    ImageError,
    ModelError,
    OptionError,
    OutputError,
    PleinairError,
    RollError,
    TrainingError,
)

if TYPE_CHECKING:
    import numpy as np

    from pleinair.backends import Backend as Backend
    from pleinair.cameras.camera import Camera as Camera
    from pleinair.cameras.camera import Frame as Frame
    from pleinair.cameras.opening import CameraSource
    from pleinair.cameras.opening import open_camera as open_camera
    from pleinair.films.pipeline import Outcome
    from pleinair.films.rate import Rate
    from pleinair.models import Model as Model
    from pleinair.models import styles as styles
    from pleinair.painting.painter import NetworkPainter
    from pleinair.painting.painter import Painter as Painter
    from pleinair.rolls.beginning import begin_roll as begin_roll
    from pleinair.rolls.beginning import open_roll as open_roll
    from pleinair.rolls.resuming import resume_roll as resume_roll
    from pleinair.rolls.status import read_status as read_status

    __version__: str

# fmt: off
__all__ = [
    # painting
    "paint", "open_painter", "Painter", "Backend",
    # styles
    "styles", "load_style", "Model",
    # films
    "film", "open_camera", "Camera", "Frame",
    # rolls
    "begin_roll", "resume_roll", "open_roll", "read_status",
    # errors
    "PleinairError", "CameraError", "ContractError", "DiskFullError", "EngineError", "ImageError", "ModelError",
    "OptionError", "OutputError", "RollError", "TrainingError",
    "__version__",
]
# fmt: on

#: Where the names are that this module gives as they are; each is loaded when it is first asked for.
_ELSEWHERE = {
    "Backend": "pleinair.backends",
    "Camera": "pleinair.cameras.camera",
    "Frame": "pleinair.cameras.camera",
    "Model": "pleinair.models",
    "Painter": "pleinair.painting.painter",
    "begin_roll": "pleinair.rolls.beginning",
    "open_camera": "pleinair.cameras.opening",
    "open_roll": "pleinair.rolls.beginning",
    "read_status": "pleinair.rolls.status",
    "resume_roll": "pleinair.rolls.resuming",
    "styles": "pleinair.models",
}

DEFAULT_STYLE = "starry-night"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("pleinair")
        except PackageNotFoundError:
            # Run from a folder that was copied, not installed.
            value = "unknown"
    elif name in _ELSEWHERE:
        value = getattr(import_module(_ELSEWHERE[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_style(style: str | Path, *, bits: int = 8) -> Model:
    """A style's network at a width, by the style's name or its folder: see :func:`styles`.

    ``bits`` is 4, 8, 16 or 32 (the float network), where the style has it. Raises ModelError.
    """
    from pleinair.models import load_model

    return load_model(style, bits)


def open_painter(
    style: str | Path | Model = DEFAULT_STYLE,
    *,
    bits: int = 8,
    backend: Backend | str = "cpu",
    engine: str = "auto",
    threads: int = 0,
) -> NetworkPainter:
    """A painter of a style, for many frames; a context manager that closes itself.

    ``style`` is a name, a folder, or a model that was loaded (which has its own ``bits``). ``backend`` is "cpu",
    "reference" (NumPy, slow) or "fpga:OVERLAY": see :mod:`pleinair.backends`. ``engine`` is the library that the cpu
    computes with: "onnxruntime", "openvino", "litert", or "auto", the fastest that ``pleinair bench`` found here.
    ``threads`` 0 means every core. All of them paint the same pixels, but at 32 bits.

    Raises ModelError, OptionError, EngineError; for an FPGA also DeploymentError and AcceleratorError.
    """
    from dataclasses import replace

    from pleinair import backends
    from pleinair.engines.exact import AUTO
    from pleinair.models import Model, load_model

    chosen = backends.Backend.parse(backend) if isinstance(backend, str) else backend
    if engine != AUTO:
        chosen = replace(chosen, engine=engine)
    model = style if isinstance(style, Model) else load_model(style, bits)
    return backends.open_painter(model, chosen, threads)


def paint(
    frame: np.ndarray,
    *,
    style: str | Path | Model = DEFAULT_STYLE,
    bits: int = 8,
    backend: Backend | str = "cpu",
    engine: str = "auto",
    threads: int = 0,
    tone: float | None = None,
    strokes: int | str = 1,
) -> np.ndarray:
    """Paint one frame: uint8 [H, W, 3] RGB, 16 x 16 to 64 megapixels, to the same shape.

    ``tone``, 0 to 1, is how much of the frame's own brightness is brought back into the painting: by default half in
    styles that even it out (:mod:`pleinair.films.tone`), nothing in others. ``strokes``, 1 to 4 or "auto", paints at
    that part of the size and enlarges the painting (:mod:`pleinair.painting.strokes`).

    Each call reads the style and checks the engine; for several frames :func:`open_painter` does that once, and
    explains the other arguments. Raises what it raises, and ImageError for a frame of another kind or size.
    """
    from pleinair.films.tone import Tone, choose_tone
    from pleinair.models import Model
    from pleinair.painting.painter import checked_frame
    from pleinair.painting.strokes import choose_strokes, with_strokes

    # Before the style is loaded: the caller's mistake is told at once.
    checked_frame(frame)
    model = style if isinstance(style, Model) else load_style(style, bits=bits)
    wide = choose_strokes(strokes, (frame.shape[1], frame.shape[0]), model.trained_side)
    with with_strokes(open_painter(model, backend=backend, engine=engine, threads=threads), wide) as painter:
        toned = Tone(choose_tone(tone, adaptive=painter.adaptive))
        return toned(painter.paint(frame), toned.of(frame))


def _refuse_with_open_camera(**options: object) -> None:
    """Raise OptionError for an option of opening a camera, where the camera is open."""
    for option, value in options.items():
        if value is not None:
            raise OptionError(f"{value}: the camera is open already; open it with that", option=option)


def film(
    camera: Camera | CameraSource | str,
    painter: Painter,
    path: str | Path,
    *,
    fps: Rate | float | str = 24,
    steady: int = 4,
    deflicker: int = 0,
    timestamp: bool = False,
    light: str | None = None,
    light_every: int | None = None,
    tone: float | None = None,
    every: float | None = None,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    order: str = "name",
) -> Outcome:
    """Paint all of a camera's frames into the film ``path`` (.mp4, .mkv or .mov), ``fps`` of them a second: a whole
    number, a fraction, or ``"23.976"``, which is 24000/1001.

    ``camera`` is a name ("frames:DIR", "video:FILE", "synthetic:SEED"), or a :class:`Camera` that is open. With a
    name, ``every`` is the scene time between frames in seconds, ``frames`` how many there are at most, and ``size``
    the film's (width, height), ``order`` that of a folder's images: "name", or "time", which is EXIF's, else the
    file's. Live cameras film on a roll: see :func:`begin_roll`.

    ``steady`` holds the film still against camera noise of so many grey levels, ``deflicker`` evens out exposure over
    so many frames, and 0 switches either off; ``timestamp`` writes each frame's time on it.

    ``light`` is the light that an adaptive style paints in: "frame" (the default), "scene" or "fixed". It is measured
    on every ``light_every``-th frame: by default 12 for videos, synthetic days and live cameras faster than a frame a
    second, else 1. ``tone``, 0 to 1, is how much of the scene's own brightness is brought back: by default half in such
    styles, else nothing. See :mod:`pleinair.films.lighting` and :mod:`pleinair.films.tone`.

    The first error is raised after the film of all frames before it is complete. Raises OptionError, CameraError,
    ImageError, OutputError.
    """
    import os.path

    from pleinair.cameras.opening import CameraSource, open_camera
    from pleinair.films.film import film as film_camera

    source = None
    if isinstance(camera, (str, CameraSource)):
        source = CameraSource.parse(camera) if isinstance(camera, str) else camera
        if source.path is not None and os.path.exists(path) and os.path.samefile(source.path, path):
            raise OptionError(f"{path}: is the video that the film is made from; name another file", option="path")
        camera = open_camera(source, size=size, every=every, frames=frames, order=order)
    else:
        _refuse_with_open_camera(every=every, frames=frames, size=size, order=None if order == "name" else order)
    return film_camera(
        camera,
        painter,
        path,
        fps=fps,
        steady=steady,
        deflicker=deflicker,
        timestamp=timestamp,
        light=light,
        light_every=light_every,
        tone=tone,
        source=source,
        every=every,
    )
