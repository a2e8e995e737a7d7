"""Film with a camera of your own: python own_camera.py film.mp4

A class with these four attributes and this method is a camera; nothing needs to be registered.
"""

import sys
from collections.abc import Iterator

import numpy as np

import pleinair


class Sunrise:
    """A red sun that rises."""

    name = "sunrise"
    size = (160, 96)  # width, height
    count = 10

    def __init__(self) -> None:
        self.skipped: list[str] = []  # a line for each frame that could not be used

    def frames(self, start: int = 0) -> Iterator[pleinair.Frame]:
        """The frames from ``start`` on."""
        rows, columns = np.indices((96, 160))
        for number in range(start, self.count):
            image = np.full((96, 160, 3), (60, 90, 160), np.uint8)
            image[np.hypot(rows - 100 + 9 * number, columns - 80) < 16] = (230, 80, 40)
            yield pleinair.Frame(image, index=number, seconds=60.0 * number, name=f"{number}", position=number)


with pleinair.open_painter("starry-night-small") as painter:
    made = pleinair.film(Sunrise(), painter, sys.argv[1])
print(f"{made.film}: {made.progress.recorded} frames")
