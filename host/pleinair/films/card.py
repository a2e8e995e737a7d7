"""Pictures that stand in a film beside its frames: its title card, and an original with its painting in one picture."""

from __future__ import annotations

import cv2
import numpy as np

from pleinair.text import one_line

#: Seconds for which a title card is shown.
CARD_SECONDS = 3
HALF, BESIDE = "half", "beside"
SPLITS = (HALF, BESIDE)
_PAPER, _INK, _SOFT = (23, 22, 19), (236, 232, 223), (155, 149, 138)
#: Height of the letters in parts of the picture's, and the part of its width that a line may take.
_TITLE, _LINE, _WIDE = 0.105, 0.045, 0.86


def title_card(width: int, height: int, title: str, line: str = "") -> np.ndarray:
    """A dark picture with a title and a smaller line below it, uint8 [height, width, 3]; long ones are set smaller.

    OpenCV 5 writes any alphabet that its fonts hold, older ones Latin letters without accents.
    """
    card = np.empty((height, width, 3), np.uint8)
    card[:] = _PAPER
    _write(card, one_line(title), 0.47 if line else 0.53, _TITLE, _INK)
    if line:
        _write(card, one_line(line), 0.6, _LINE, _SOFT)
    return card


def _write(card: np.ndarray, text: str, at: float, part: float, colour: tuple[int, int, int]) -> None:
    """A line of text in the middle of the picture's width, its foot at ``at`` parts of the height."""
    height, width = card.shape[:2]
    size = max(8.0, part * height)
    wide = _text_width(text, size)
    if wide > _WIDE * width:
        size *= _WIDE * width / wide
        wide = _text_width(text, size)
    place = (max(0, round((width - wide) / 2)), round(at * height))
    if hasattr(cv2, "FontFace"):
        # ``sans`` is built in.
        cv2.putText(card, text, place, colour, cv2.FontFace("sans"), max(4, round(size)), 400)
    else:
        bold = max(1, round(size / 18))
        cv2.putText(card, text, place, cv2.FONT_HERSHEY_SIMPLEX, size / 30, colour, bold, cv2.LINE_AA)


def _text_width(text: str, size: float) -> int:
    if hasattr(cv2, "FontFace"):
        box = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), max(4, round(size)), 400)
        return int(box[2])
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 30, max(1, round(size / 18)))
    return int(wide)


def split_picture(original: np.ndarray, painting: np.ndarray, how: str = HALF) -> np.ndarray:
    """An original and its painting, both uint8 [H, W, 3], in one picture.

    ``half`` is the left half of the original and the right half of the painting, with a white line between them;
    ``beside`` shows both whole, side by side, and is twice as wide.
    """
    if how == BESIDE:
        return np.concatenate((original, painting), axis=1)
    width = original.shape[1]
    middle, line = width // 2, max(1, width // 640)
    picture = painting.copy()
    picture[:, :middle] = original[:, :middle]
    picture[:, middle - line : middle + line] = 255
    return picture
