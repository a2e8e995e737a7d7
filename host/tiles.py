"""Borders and tiles: any frame through a network, in pieces of bounded size, to the same pixels.

The *margin* is reflected image around the frame, painted and cropped, so that the zeros which the network
pads with never show. The *halo* is the receptive field's radius: tiles that overlap by it at inner seams and
lie flush with the margin's edge at outer ones give exactly what the whole would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

#: Smallest and largest side and the largest area of a frame, in pixels.
MIN_SIDE = 16

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Span:
    """One tile along one axis: input ``start`` .. ``stop``, of which ``first`` .. ``last`` is right."""

    start: int
    stop: int
    first: int
    last: int


def round_up(value: int, multiple: int) -> int:
    """The least multiple of ``multiple`` not below ``value``."""
    return -(-value // multiple) * multiple


def spans(length: int, tile: int, halo: int, stride: int) -> list[Span]:
    """Tiles of at most ``tile`` pixels (a multiple of ``stride``) that cover 0 .. ``length``.

    Each starts at a multiple of ``stride``; all but a single one are exactly ``tile`` long, the last flush
    with the end. ``tile`` must exceed twice the halo. ValueError when it does not.
    """
    if length <= tile:
        return [Span(0, length, 0, length)]
    overlap = round_up(halo, stride)
    if tile <= 2 * overlap or tile % stride:
        raise ValueError(f"tile {tile}: must be a multiple of {stride} above {2 * overlap}")
    out, done = [], 0
    while done < length:
        start = min(max(0, done - overlap), length - tile)
        last = length if start + tile == length else start + tile - overlap
        out.append(Span(start, start + tile, done, last))
        done = last
    return out


def tile_side(stride: int, halo: int, pixels: int) -> int:
    """Side of the square tile of about ``pixels`` pixels, never below what the halo needs."""
    side = round_up(int(pixels**0.5), stride)
    return max(side, 2 * round_up(halo, stride) + stride)


def plan(height: int, width: int, tile: tuple[int, int], halo: int, stride: int) -> Iterator[tuple[Span, Span]]:
    """Pairs of vertical and horizontal spans, row by row."""
    columns = spans(width, tile[1], halo, stride)
    for row in spans(height, tile[0], halo, stride):
        for column in columns:
            yield row, column


def padded_size(height: int, width: int, margin: int, stride: int) -> tuple[int, int]:
    """Height and width of a frame with its margin, rounded up to the stride: what a network paints."""
    return round_up(height + 2 * margin, stride), round_up(width + 2 * margin, stride)


def add_margin(frame: np.ndarray, margin: int, stride: int) -> np.ndarray:
    """The frame with ``margin`` reflected pixels on each side, more at bottom and right up to the stride."""
    height, width = frame.shape[:2]
    tall, wide = padded_size(height, width, margin, stride)
    bottom, right = tall - height - margin, wide - width - margin
    padded: np.ndarray = cv2.copyMakeBorder(frame, margin, bottom, margin, right, cv2.BORDER_REFLECT_101)
    return padded


def paint_tiled(
    frame: np.ndarray, run: Runner, margin: int, halo: int, stride: int, tile: tuple[int, int]
) -> np.ndarray:
    """Paint uint8 [H, W, 3] with ``run`` (uint8 [h, w, 3] to the same, h and w multiples of ``stride``)."""
    height, width = frame.shape[:2]
    padded = add_margin(frame, margin, stride)
    canvas = np.empty((height, width, 3), np.uint8)
    for row, column in plan(padded.shape[0], padded.shape[1], tile, halo, stride):
        top, left = max(row.first, margin), max(column.first, margin)
        bottom, right = min(row.last, margin + height), min(column.last, margin + width)
        if top >= bottom or left >= right:
            continue
        piece = run(padded[row.start : row.stop, column.start : column.stop])
        canvas[top - margin : bottom - margin, left - margin : right - margin] = piece[
            top - row.start : bottom - row.start, left - column.start : right - column.start
        ]
    return canvas
