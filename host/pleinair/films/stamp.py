"""The stamp: the time that a painting shows, written on it."""

from __future__ import annotations

import cv2
import numpy as np

from pleinair.text import one_line


def stamp(image: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text at its lower left, white with a dark edge; uint8 [H, W, 3]."""
    text = one_line(text)  # OpenCV dies of a name that is no UTF-8
    height, width = image.shape[:2]
    scale = max(0.35, height / 600)
    edge = 1 + round(2 * scale)
    strip = min(height, round(40 * scale) + 2 * edge)
    letters = np.zeros((strip, width), np.uint8)
    place = (round(0.02 * height) + edge, strip - round(0.025 * height) - edge)
    cv2.putText(letters, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, round(1.5 * scale)), cv2.LINE_AA)
    # The edge is grown from the letters: drawn as bolder ones, OpenCV 5 would set them wider.
    around = cv2.dilate(letters, np.ones((2 * edge + 1, 2 * edge + 1), np.uint8))
    marked = image.copy()
    part = marked[height - strip :].astype(np.int32)
    for colour, mask in ((16, around), (245, letters)):
        part += (colour - part) * mask[..., None].astype(np.int32) // 255
    marked[height - strip :] = part
    return marked
