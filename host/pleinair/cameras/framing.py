"""Framing: which part of a camera's picture becomes the frame, which way up, and how large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pleinair.cameras.camera import Camera, Frame, remarks_of
from pleinair.errors import OptionError
from pleinair.painting.tiles import MIN_SIDE


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop the middle to the shape of ``size`` (width, height) and scale it; uint8 [H, W, 3]."""
    width, height = size
    if (image.shape[1], image.shape[0]) == size:
        return image
    # Cropped first, so that no picture, however thin, grows beyond the film's size.
    columns = min(image.shape[1], max(1, round(image.shape[0] * width / height)))
    rows = min(image.shape[0], max(1, round(image.shape[1] * height / width)))
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    middle = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    scaled: np.ndarray = cv2.resize(middle, size, interpolation=cv2.INTER_AREA if width < columns else cv2.INTER_CUBIC)
    return scaled


@dataclass(frozen=True)
class Framing:
    """Turned clockwise by ``rotate`` degrees first, then cropped to (width, height, left, top), then scaled to size."""

    rotate: int = 0
    crop: tuple[int, int, int, int] | None = None

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that a picture of ``size`` has after turn and crop. Raises OptionError when it has not."""
        width, height = size[::-1] if self.rotate in (90, 270) else size
        if self.crop is None:
            return width, height
        if self.crop[0] + self.crop[2] > width or self.crop[1] + self.crop[3] > height:
            text = "{}x{}+{}+{}".format(*self.crop)
            raise OptionError(f"{text!r}: reaches outside the camera's {width}x{height}", option="crop")
        return self.crop[:2]

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 [H, W, 3] to the frame of ``size``, (width, height); a picture too small for the crop is fitted whole.

        A camera may come back from a fault with pictures of another size, and a frame askew is better than none.
        """
        image = np.ascontiguousarray(np.rot90(image, -self.rotate // 90))
        if self.crop is not None:
            width, height, left, top = self.crop
            if left + width <= image.shape[1] and top + height <= image.shape[0]:
                image = np.ascontiguousarray(image[top : top + height, left : left + width])
        return fit(image, size)


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """``WIDTHxHEIGHT+LEFT+TOP`` in pixels. Raises OptionError."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})\+([0-9]{1,5})\+([0-9]{1,5})", text)
    if match is None or min(int(match[1]), int(match[2])) < MIN_SIDE:
        smallest = f"{MIN_SIDE}x{MIN_SIDE}"
        raise OptionError(f"{text!r}: write WIDTHxHEIGHT+LEFT+TOP in pixels, at least {smallest}", option="crop")
    width, height, left, top = map(int, match.groups())
    return width, height, left, top


class FramedCamera:
    """A camera whose frames are turned and cropped; scaled to ``size`` where it is given."""

    def __init__(self, camera: Camera, framing: Framing, size: tuple[int, int] | None) -> None:
        """Raises OptionError when the crop does not lie within the camera's picture."""
        self.camera, self.framing = camera, framing
        self.name, self.count, self.skipped = camera.name, camera.count, camera.skipped
        self.remarks = remarks_of(camera)
        own = framing.size_of(camera.size)
        self.size = size or own

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`~pleinair.cameras.camera.Camera`."""
        for frame in self.camera.frames(start):
            yield replace(frame, image=self.framing(frame.image, self.size))
