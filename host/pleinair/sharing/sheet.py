"""A contact sheet: one picture, painted in every style."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np

from pleinair.backends import open_painter
from pleinair.errors import ModelError, PleinairError
from pleinair.films.stamp import stamp
from pleinair.films.tone import Tone, choose_tone
from pleinair.models import load_model, read_card, styles
from pleinair.network.floating import FLOAT_BITS
from pleinair.scenery.day import SyntheticDay

#: Columns of a sheet, pixels between pictures.
_COLUMNS, _GAP, _PAPER = 3, 8, 255
_WIDTH, _HEIGHT, _SECONDS = 480, 320, 18 * 3600.0
#: The preferred widths, the best known first.
_PREFERRED = (8, 16, 4)


def sheet_picture() -> np.ndarray:
    """The synthetic day at six in the evening, uint8 [320, 480, 3] RGB."""
    return SyntheticDay(_WIDTH, _HEIGHT).frame(_SECONDS)


def paint_in_each(
    picture: np.ndarray, names: Sequence[str] | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[str, np.ndarray | PleinairError]]:
    """A picture (uint8 [H, W, 3] RGB) in every style, or in those of these names: each name, and the painting.

    Each style paints at 8 bits if it can, as ``pleinair paint`` would. One that cannot be read, or that does not paint,
    gives its error.
    """
    for name, folder in styles().items():
        if names is not None and name not in names:
            continue
        say(name)
        try:
            networks = read_card(folder).networks
            bits = next((bits for bits in _PREFERRED if bits in networks), FLOAT_BITS)
            model = load_model(folder, bits)
            toned = Tone(choose_tone(None, adaptive=model.adaptive))
            with closing(open_painter(model)) as painter:
                yield name, toned(painter.paint(picture), toned.of(picture))
        except PleinairError as error:
            yield name, error


def contact_sheet(picture: np.ndarray, say: Callable[[str], None] = lambda _: None) -> tuple[np.ndarray, list[str]]:
    """A picture (uint8 [H, W, 3] RGB) and what every style paints of it, each with its name, on one sheet.

    Returns the sheet, uint8 [H, W, 3], and a line for each style that was left out because it cannot be read. Raises
    ModelError where there is no style.
    """
    pictures, left_out = [stamp(picture, "the photo")], []
    for name, painting in paint_in_each(picture, say=say):
        if isinstance(painting, PleinairError):
            left_out.append(str(painting))
        else:
            pictures.append(stamp(painting, name))
    if len(pictures) == 1:
        raise ModelError("; ".join(left_out) or "there is no style")
    return _laid_out(pictures), left_out


def _laid_out(pictures: list[np.ndarray]) -> np.ndarray:
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(_COLUMNS, len(pictures))
    sheet = np.full((_GAP + rows * (height + _GAP), _GAP + columns * (width + _GAP), 3), _PAPER, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, _COLUMNS)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet
