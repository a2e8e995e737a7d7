"""A day at a glance: its strip, a sheet of its frames, and its brightness over time, as pictures.

The *strip* (a keogram) holds the middle column of each frame, side by side: clouds and light of a day in one picture.
The *sheet* shows frames that are evenly chosen in time, with their times. *Brightness* is the mean of (R + 2 G + B) / 4
of each frame, 0 to 255. All three come from one walk through the frames, of which no more than one is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pleinair.errors import OptionError, RollError
from pleinair.films.choice import Choice, choose
from pleinair.films.encoder import even
from pleinair.films.stamp import stamp
from pleinair.rolls.cut import PieceReader, Reel
from pleinair.rolls.originals import load_original
from pleinair.rolls.timeline import Shot, Timeline, read_timeline

#: Frames that are looked at, at most: the most columns of a strip. Fewer frames get columns as wide as fit into _WIDTH.
COLUMNS = 3840
_WIDTH = 1440
#: A strip's height at most, and a sheet's: columns, rows, width of a picture and space around it, in pixels.
_TALL = 720
_SHEET, _CELL, _SPACE = (6, 4), 320, 8
#: The graph of brightness: its size, and the space around it for words.
_GRAPH, _LEFT, _EDGE, _FOOT = (1440, 360), 56, 16, 40
_PAPER, _INK, _LINE, _SOFT = (246, 244, 239), (35, 33, 29), (178, 106, 0), (205, 200, 188)


@dataclass(frozen=True)
class Glance:
    """What a day looks like: pictures, uint8 [H, W, 3], and the mean brightness of each frame looked at."""

    strip: np.ndarray
    sheet: np.ndarray
    graph: np.ndarray
    brightness: Sequence[float]
    frames: int
    first: str
    last: str


def glance(
    reel: Reel,
    choice: Choice | None = None,
    *,
    original: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Glance:
    """Look at some days or hours of a roll's painting, or of its originals; at all of it by default.

    ``choice`` gives days and hours alone. Raises OptionError, and RollError where there is no frame.
    """
    line = read_timeline(reel.folder, None if original else reel.look)
    if not line.shots:
        raise RollError(f"roll {reel.folder}: no {'original is left' if original else 'frame is painted yet'}")
    choice = choice or Choice()
    if choice.dated and not line.dated:
        raise OptionError(f"roll {reel.folder}: its frames have no dates, so days and hours cannot be chosen")
    times = [shot.time for shot in line.shots]
    numbers = choose(times, choice)[:, 0]
    frames = len(numbers)
    if frames > COLUMNS:
        numbers = choose(times, replace(choice, count=COLUMNS))[:, 0]
    count = _SHEET[0] * _SHEET[1]
    shown = choose(times, replace(choice, count=min(count, frames)))[:, 0]
    pictures = _Pictures(line)
    columns, levels, cells = list[np.ndarray](), list[float](), dict[int, np.ndarray]()
    try:
        for done, number in enumerate(sorted({*numbers.tolist(), *shown.tolist()})):
            image = pictures.read(line.shots[number])
            if number in shown:
                cells[number] = _small(image, line.caption(line.shots[number]))
            columns += [_column(image)] * int((numbers == number).sum())
            levels += [_brightness(image)] * int((numbers == number).sum())
            if report is not None:
                report(done + 1, len(numbers))
    finally:
        pictures.close()
    ends = [line.shots[numbers[at]] for at in (0, -1)]
    return Glance(
        strip=_strip(columns),
        sheet=_sheet([cells[number] for number in shown.tolist()]),
        graph=_graph(line, [line.shots[number] for number in numbers.tolist()], levels),
        brightness=levels,
        frames=frames,
        first=line.caption(ends[0]),
        last=line.caption(ends[1]),
    )


class _Pictures:
    """The pictures of a timeline's shots."""

    def __init__(self, line: Timeline) -> None:
        self._line, self._reader = line, PieceReader()

    def read(self, shot: Shot) -> np.ndarray:
        if shot.piece >= 0:
            return self._reader.read(self._line.pieces[shot.piece].path, shot.place)
        return even(load_original(self._line.original(shot))[1])

    def close(self) -> None:
        self._reader.close()


def _column(image: np.ndarray) -> np.ndarray:
    """The middle column, uint8 [H, 3]; of a tall picture every row is the mean of those that it stands for."""
    middle = image[:, image.shape[1] // 2 : image.shape[1] // 2 + 1]
    if len(middle) > _TALL:
        middle = cv2.resize(middle, (1, _TALL), interpolation=cv2.INTER_AREA)
    column: np.ndarray = middle.reshape(-1, 3)
    return column


def _strip(columns: Sequence[np.ndarray]) -> np.ndarray:
    height = len(columns[0])
    # Where a roll's frames changed their size, columns are cut or their foot repeated.
    strip = np.stack([_tall(column, height) for column in columns], axis=1)
    strip = np.repeat(strip, max(1, _WIDTH // len(columns)), axis=1)
    return strip


def _brightness(image: np.ndarray) -> float:
    red, green, blue = (float(mean) for mean in image.reshape(-1, 3).mean(axis=0))
    return (red + 2 * green + blue) / 4


def _small(image: np.ndarray, caption: str) -> np.ndarray:
    height = max(1, round(image.shape[0] * _CELL / image.shape[1]))
    method = cv2.INTER_AREA if image.shape[1] > _CELL else cv2.INTER_CUBIC
    return stamp(cv2.resize(image, (_CELL, height), interpolation=method), caption)


def _sheet(cells: Sequence[np.ndarray]) -> np.ndarray:
    across = min(_SHEET[0], len(cells))
    down, height = -(-len(cells) // across), cells[0].shape[0]
    size = _SPACE + down * (height + _SPACE), _SPACE + across * (_CELL + _SPACE), 3
    sheet = np.empty(size, np.uint8)
    sheet[:] = _PAPER
    for number, cell in enumerate(cells):
        top, left = _SPACE + number // across * (height + _SPACE), _SPACE + number % across * (_CELL + _SPACE)
        sheet[top : top + height, left : left + _CELL] = _tall(cell, height)
    return sheet


def _tall(picture: np.ndarray, height: int) -> np.ndarray:
    """A picture or column of that height: cut, or its foot repeated."""
    missing = [(0, max(0, height - len(picture)))] + [(0, 0)] * (picture.ndim - 1)
    tall: np.ndarray = np.pad(picture[:height], missing, mode="edge")
    return tall


def _graph(line: Timeline, shots: Sequence[Shot], levels: Sequence[float]) -> np.ndarray:
    """Brightness over time: a line from 0 to 255 with marks at both sides and the time below."""
    width, height = _GRAPH
    graph = np.empty((height, width, 3), np.uint8)
    graph[:] = _PAPER
    inner = width - _LEFT - _EDGE, height - _EDGE - _FOOT

    def place(at: float, level: float) -> tuple[int, int]:
        return _LEFT + round(at * (inner[0] - 1)), _EDGE + round((1 - level / 255) * (inner[1] - 1))

    def write(text: str, at: tuple[int, int]) -> None:
        cv2.putText(graph, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)

    for level in (0, 64, 128, 192, 255):
        cv2.line(graph, place(0, level), place(1, level), _SOFT, 1)
        write(str(level), (10, place(0, level)[1] + 5))
    begin, end = shots[0].time, shots[-1].time
    spans = [(shot.time - begin) / (end - begin) if end > begin else 0.0 for shot in shots]
    if any(b < a for a, b in zip(spans, spans[1:], strict=False)):
        spans = [n / max(1, len(shots) - 1) for n in range(len(shots))]  # the clock was set back
    points = np.array([place(at, level) for at, level in zip(spans, levels, strict=True)], np.int32)
    cv2.polylines(graph, [points.reshape(-1, 1, 2)], False, _LINE, 2, cv2.LINE_AA)
    for part in range(7):
        shot = min(range(len(shots)), key=lambda n: abs(spans[n] - part / 6))
        text = line.caption(shots[shot])
        text = text[-5:] if line.dated and end - begin < 2 * 86_400 else text[:10]
        x = place(part / 6, 0)[0]
        cv2.line(graph, (x, height - _FOOT), (x, height - _FOOT + 5), _INK, 1)
        write(text, (min(max(4, x - 4 * len(text)), width - 9 * len(text)), height - 14))
    return graph
