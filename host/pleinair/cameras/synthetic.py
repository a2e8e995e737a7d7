"""The synthetic day as a camera: frames of ``pleinair.scenery``, drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pleinair.cameras.camera import Frame
from pleinair.errors import OptionError
from pleinair.painting.tiles import MIN_SIDE
from pleinair.scenery.day import MAX_HEIGHT, MAX_WIDTH, SyntheticDay

_DAY = 86_400.0
#: Scene time between two frames unless told otherwise, in seconds: a day is 288 frames.
SYNTHETIC_STEP = 300.0


@dataclass
class SyntheticCamera:
    """The synthetic day from 4:30 in the morning on, a frame every ``every`` seconds of scene time."""

    size: tuple[int, int]
    count: int | None
    every: float = SYNTHETIC_STEP
    seed: int = 0
    start: float = 4.5 * 3600
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = "synthetic day"
        if not (MIN_SIDE <= self.size[0] <= MAX_WIDTH and MIN_SIDE <= self.size[1] <= MAX_HEIGHT):
            size, largest = "x".join(map(str, self.size)), f"{MAX_WIDTH}x{MAX_HEIGHT}"
            allowed = f"{MIN_SIDE}x{MIN_SIDE} to {largest}"
            raise OptionError(f"{size!r}: the synthetic day is drawn at {allowed}", option="size")
        if self.count is None:
            self.count = max(1, round(_DAY / self.every))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`~pleinair.cameras.camera.Camera`."""
        scene = SyntheticDay(*self.size, seed=self.seed)
        assert self.count is not None
        for index in range(start, self.count):
            seconds = self.start + index * self.every
            clock = int(seconds % _DAY)
            yield Frame(scene.frame(seconds), index, seconds, f"{clock // 3600:02d}:{clock // 60 % 60:02d}", index)
