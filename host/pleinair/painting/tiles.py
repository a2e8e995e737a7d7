"""Borders and tiles: any frame through a network, in pieces of bounded size, to the same pixels.

The *margin* is image around the frame, made of the frame's own edge, painted and cropped, so that the zeros which the
network pads with never show. The *halo* is the receptive field's radius: tiles that overlap by it at inner seams and
lie flush with the margin's edge at outer ones give exactly what the whole would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

#: Smallest and largest side and the largest area of a frame, in pixels.
MIN_SIDE = 16

#: Paints uint8 [H, W, 3], multiples of the network's stride, to a new array of the same shape.
Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Window:
    """Rows ``top`` .. ``bottom`` and columns ``left`` .. ``right`` of an image, half open."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the window's pixels."""
        return self.bottom - self.top, self.right - self.left, 3

    def of(self, image: np.ndarray) -> np.ndarray:
        """The window's part of an image, not copied."""
        return image[self.top : self.bottom, self.left : self.right]

    def within(self, outer: Window) -> Window:
        """The same window in coordinates that begin at ``outer``'s corner."""
        return Window(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)

    def holds(self, inner: Window) -> bool:
        """Whether ``inner`` lies within it."""
        return (
            self.top <= inner.top
            and self.left <= inner.left
            and self.bottom >= inner.bottom
            and self.right >= inner.right
        )


@runtime_checkable
class WindowRunner(Protocol):
    """A runner that need not compute what nobody asks for."""

    def window(self, piece: np.ndarray, window: Window) -> np.ndarray:
        """The window's pixels of the painted piece, uint8 [H, W, 3] with H and W multiples of the stride."""


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


def add_margin(frame: np.ndarray, margin: int, stride: int, *, adaptive: bool) -> np.ndarray:
    """The frame, uint8 [H, W, 3], with ``margin`` pixels on each side, more at bottom and right up to the stride.

    They mirror the frame; for an ``adaptive`` network they go on with half of its slope:
    ``(3 * edge - mirrored + 1) >> 1`` within 0 .. 255, where ``edge`` is the frame's nearest pixel. A mirror turns a
    slope of brightness round, and the network paints the ridge or valley that this makes.
    """
    height, width = frame.shape[:2]
    tall, wide = padded_size(height, width, margin, stride)
    bottom, right = tall - height - margin, wide - width - margin
    sides = margin, bottom, margin, right
    padded: np.ndarray = cv2.copyMakeBorder(frame, *sides, cv2.BORDER_REFLECT_101)
    if not adaptive:
        return padded
    edge = cv2.copyMakeBorder(frame, *sides, cv2.BORDER_REPLICATE)
    rows, columns = slice(margin, margin + height), slice(margin, margin + width)
    above, below, left, right_of = slice(margin), slice(rows.stop, None), slice(margin), slice(columns.stop, None)
    for part in ((above,), (below,), (rows, left), (rows, right_of)):
        sloped = (3 * edge[part].astype(np.int16) - padded[part] + 1) >> 1
        padded[part] = np.clip(sloped, 0, 255)
    return padded


def even_tile(length: int, tile: int, halo: int, stride: int) -> int:
    """The least tile that covers ``length`` in as many pieces as ``tile`` does."""
    if length <= tile:
        return length
    border = 2 * round_up(halo, stride)
    pieces = len(spans(length, tile, halo, stride))
    return min(tile, border + round_up(-(-(length - border) // pieces), stride))


def paint_tiled(
    frame: np.ndarray,
    run: Runner | WindowRunner,
    margin: int,
    halo: int,
    stride: int,
    tile: tuple[int, int],
    *,
    adaptive: bool,
) -> np.ndarray:
    """Paint uint8 [H, W, 3] in tiles of ``tile`` (height, width) at most, multiples of ``stride``.

    ``adaptive``: whether the network is, for :func:`add_margin`.
    """
    height, width = frame.shape[:2]
    border = round_up(halo, stride)
    if margin > border:
        # What lies farther out than the halo reaches no pixel of the frame. A stride's phase stays as it was.
        margin = border + (margin - border) % stride
    padded = add_margin(frame, margin, stride, adaptive=adaptive)
    tall, wide = (even_tile(padded.shape[k], tile[k], halo, stride) for k in (0, 1))
    # One window for all tiles, so that engines need one program for them; it holds what is right in each.
    inner = Window(border, border, tall - border, wide - border)
    canvas = np.empty((height, width, 3), np.uint8)
    for row, column in plan(padded.shape[0], padded.shape[1], (tall, wide), halo, stride):
        visible = Window(
            max(row.first, margin),
            max(column.first, margin),
            min(row.last, margin + height),
            min(column.last, margin + width),
        )
        if visible.top >= visible.bottom or visible.left >= visible.right:
            continue
        tile_window = Window(row.start, column.start, row.stop, column.stop)
        piece, wanted = tile_window.of(padded), visible.within(tile_window)
        if isinstance(run, WindowRunner):
            asked = inner if inner.holds(wanted) else wanted
            painted = wanted.within(asked).of(run.window(piece, asked))
        else:
            painted = wanted.of(run(piece))
        if painted.shape == frame.shape and painted.flags.c_contiguous:
            return painted
        canvas[visible.top - margin : visible.bottom - margin, visible.left - margin : visible.right - margin] = painted
    return canvas
