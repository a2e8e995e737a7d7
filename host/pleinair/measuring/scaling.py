"""Whether cost grows linearly: larger and larger frames painted, longer and longer films made, and a plot of both."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pleinair.backends import open_painter
from pleinair.errors import OptionError
from pleinair.images import write_bytes
from pleinair.measuring.footprint import film_alone, noise
from pleinair.measuring.timing import Report, measure
from pleinair.models import Model

#: Frames of 0.25, 1, 4 and 12 megapixels, 4:3; widths and heights.
FRAME_SIZES = ((576, 432), (1152, 864), (2304, 1728), (4000, 3000))
#: Films of so many frames, small ones.
FILM_LENGTHS, FILM_SIZE = (100, 1000, 5000), (160, 120)
PLOT_SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Painting:
    """``ms`` of a frame, the median, and ``processor_ms`` of all threads together."""

    megapixels: float
    ms: float
    processor_ms: float


@dataclass(frozen=True)
class Film:
    """A film of so many frames: ``seconds`` from its first frame to its file, and the process's peak of memory."""

    frames: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Scaling:
    """``size``: of the films' frames, (width, height)."""

    engine: str
    threads: int
    size: tuple[int, int]
    paintings: tuple[Painting, ...]
    films: tuple[Film, ...]


def measure_scaling(
    model: Model,
    engine: str,
    threads: int,
    rounds: int,
    report: Report | None = None,
    sizes: tuple[tuple[int, int], ...] = FRAME_SIZES,
    lengths: tuple[int, ...] = FILM_LENGTHS,
) -> Scaling:
    """Paint frames of all ``sizes`` in turns, then films of all ``lengths``, each in a process of its own.

    Raises EngineError, OutputError.
    """
    with closing(open_painter(model, f"cpu:{engine}", threads)) as painter:
        calls: dict[str, Callable[[], object]] = {
            f"{width}x{height}": partial(painter.paint, noise(width, height)) for width, height in sizes
        }
        timings = measure(calls, rounds, 1, report)
    paintings = tuple(
        Painting(width * height / 1e6, 1e3 * t.median, 1e3 * t.processor_median)
        for (width, height), t in zip(sizes, timings.values(), strict=True)
    )
    films = []
    for done, frames in enumerate(lengths):
        if report is not None:
            report(f"a film of {frames} frames", done, len(lengths))
        found = film_alone(model, engine, threads, FILM_SIZE, frames)
        films.append(Film(frames, found.seconds, found.peak_bytes))
    return Scaling(engine, threads, FILM_SIZE, paintings, tuple(films))


def check_plot(path: Path) -> None:
    """Raise OptionError where a plot could not be drawn, before the work for it is done."""
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise OptionError(f"{path}: write {' or '.join(PLOT_SUFFIXES)}", option="plot")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise OptionError(f"{path}: needs {error.name}: pip install matplotlib", option="plot") from error


def plot(scaling: Scaling, title: str, path: Path) -> None:
    """Draw both, with what exactly linear would be, to .png or .svg. Raises OptionError, OutputError."""
    check_plot(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    frames, films, memory = figure.subplots(1, 3)
    x = [p.megapixels for p in scaling.paintings]
    for values, label in (
        ([p.ms for p in scaling.paintings], "time"),
        ([p.processor_ms for p in scaling.paintings], "processor time, all threads"),
    ):
        frames.plot(x, values, "o-", label=label)
    per_pixel = scaling.paintings[-1].ms / x[-1]
    frames.plot(x, [per_pixel * v for v in x], ":", color="grey", label=f"{per_pixel:.0f} ms a megapixel")
    frames.set(xscale="log", yscale="log", xlabel="megapixels of a frame", ylabel="ms", title="painting")
    frames.set_xticks(x, [f"{v:.2g}" for v in x], minor=False)
    frames.minorticks_off()
    frames.legend()
    n = [film.frames for film in scaling.films]
    films.plot(n, [film.seconds for film in scaling.films], "o-", label="time")
    per_frame = scaling.films[-1].seconds / n[-1]
    films.plot(n, [per_frame * v for v in n], ":", color="grey", label=f"{1e3 * per_frame:.1f} ms a frame")
    width, height = scaling.size
    films.set(xscale="log", yscale="log", xlabel="frames", ylabel="s", title=f"films of {width}x{height}")
    films.legend()
    peaks = [film.peak_bytes / 1e6 for film in scaling.films]
    memory.plot(n, peaks, "o-")
    memory.set(xscale="log", xlabel="frames", ylabel="MB", title="peak memory of filming", ylim=(0, 1.2 * max(peaks)))
    for axes in (films, memory):
        axes.set_xticks(n, [f"{v:,}" for v in n], minor=False)
        axes.minorticks_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lower()[1:], dpi=150)
    write_bytes(path, drawn.getvalue())
