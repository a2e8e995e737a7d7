"""The light of a film: in which light each of its frames is painted, where the network is adaptive.

A frame's light follows from the film's frames up to it and from how many there were, and from nothing else. So a film
that was killed and resumed, painted again or painted in pieces by several machines has the same pixels.

===========  =========================================================================================================
``frame``    Every ``every``-th frame of the film is metered, from the first on. With ``every`` 1, each frame is painted
             in its own light; else in the light of the last two metered frames together.
``scene``    One light for the film: that of its first frames. It is settled when ``SCENE`` frames have been metered.
``fixed``    The average light of photos, which the network's file holds.
===========  =========================================================================================================

Sums add up (:mod:`pleinair.network.light`): the light of several frames is that of one large frame made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pleinair.cameras.opening import CameraSource
from pleinair.errors import OptionError
from pleinair.network.light import Light, Sums
from pleinair.painting.adaptive import LightMeter

LIGHTS = ("frame", "scene", "fixed")
MAX_EVERY = 1000
#: Frames from which the light of a scene is taken.
SCENE = 8
#: Metered frames whose sums are added up where not every frame is metered: the light moves in half steps then.
_WINDOW = 2
#: Frames from one metered frame to the next in a video, and the scene time in seconds after which a frame is metered.
_VIDEO_EVERY, _SOON = 12, 3600.0


@dataclass(frozen=True)
class Lighting:
    """How the light of a film is found: the module's table. Raises ValueError for values outside the bounds."""

    light: str = "frame"
    every: int = 1

    def __post_init__(self) -> None:
        if self.light not in LIGHTS:
            raise ValueError(f"light {self.light!r}: choose from {', '.join(LIGHTS)}")
        if not 1 <= self.every <= MAX_EVERY:
            raise ValueError(f"every {self.every}: 1 to {MAX_EVERY}")

    @property
    def own(self) -> bool:
        """Whether each frame is painted in its own light."""
        return self.light == "frame" and self.every == 1

    def meters(self, count: int) -> bool:
        """Whether a film's frame is metered that has ``count`` frames before it; its own light is another thing."""
        if self.own or self.light == "fixed":
            return False
        return count < SCENE if self.light == "scene" else count % self.every == 0


def default_every(source: CameraSource | None, apart: float | None) -> int:
    """From how many frames of a camera one is metered where nobody says; ``apart``: the seconds between frames.

    Metering a frame costs somewhat more than painting it. So one frame in twelve is metered of a video or a synthetic
    day, where a frame is much like the one before it, but one at least for each hour of the scene. Photos in a folder
    stand by themselves, and a live camera leaves the time for it, so each of theirs is metered.
    """
    if source is None or source.kind == "frames":
        return 1
    if source.live:
        return 1 if apart is None or apart >= 1 else _VIDEO_EVERY
    return _VIDEO_EVERY if apart is None else max(1, min(_VIDEO_EVERY, int(_SOON / max(apart, 1e-3))))


def choose_lighting(
    light: str | None, every: int | None, *, adaptive: bool, default: int, own_only: bool = False
) -> Lighting:
    """The lighting of a film where ``light`` and ``every`` may be left out (None).

    ``adaptive`` tells whether the film's network is, ``own_only`` whether it paints each frame in its own light and can
    paint in no other. Raises OptionError for values outside the bounds, and for a light where the network has none.
    """
    if own_only:
        return _only_own(light, every)
    if not adaptive:
        if light not in (None, "fixed"):
            raise OptionError(f"{light!r}: this style is not adaptive; it has one light", option="light")
        if every is not None:
            raise OptionError(f"{every}: this style is not adaptive; it measures no light", option="light_every")
        return Lighting("fixed")
    light = "frame" if light is None else light
    if light not in LIGHTS:
        raise OptionError(f"{light!r}: choose from {', '.join(LIGHTS)}", option="light")
    if light != "frame":
        if every is not None:
            raise OptionError(f"{every}: goes with the light frame, not with {light}", option="light_every")
        return Lighting(light)
    every = default if every is None else every
    if not 1 <= every <= MAX_EVERY:
        raise OptionError(f"{every}: 1 to {MAX_EVERY}", option="light_every")
    return Lighting(light, every)


def _only_own(light: str | None, every: int | None) -> Lighting:
    """Each frame's own light. Raises OptionError for another one."""
    why = "at 32 bits each frame is painted in its own light"
    if light not in (None, "frame"):
        raise OptionError(f"{light!r}: {why}; only frame is allowed", option="light")
    if every not in (None, 1):
        raise OptionError(f"{every}: {why}; only 1 is allowed", option="light_every")
    return Lighting()


class FilmLight:
    """Gives the frames of one film their light, in order."""

    def __init__(self, lighting: Lighting) -> None:
        self.lighting = lighting
        self._count = 0
        self._metered: list[tuple[Sums, ...]] = []
        self._light: Light | None = None

    def __call__(self, frame: np.ndarray, meter: LightMeter) -> Light | None:
        """The light that the film's next frame is painted in; None where that is its own."""
        lighting = self.lighting
        if lighting.own:
            return None
        if lighting.light == "fixed":
            return meter.average
        if lighting.meters(self._count):
            self._metered.append(meter.sums(frame))
            if lighting.light == "frame":
                self._metered = self._metered[-_WINDOW:]
            self._light = None
        self._count += 1
        if self._light is None:
            self._light = meter.light_of(_together(self._metered))
        return self._light

    @property
    def count(self) -> int:
        """How many frames have got their light, where it depends on other frames."""
        return self._count

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame's light depends on, as arrays; none where it depends on no other frame."""
        if self.lighting.own or self.lighting.light == "fixed":
            return {}
        channels = [len(sums.first) for sums in self._metered[0]] if self._metered else []
        numbers = [[n for s in sums for n in (s.count, *s.first, *s.second)] for sums in self._metered]
        return {
            "count": np.array(self._count, np.int64),
            "channels": np.array(channels, np.int64),
            "metered": np.array(numbers, np.int64) if numbers else np.zeros((0, 0), np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`. Raises ValueError or KeyError for anything else, and then changes nothing."""
        if not self.state():
            return
        count, channels = int(state["count"]), [int(n) for n in state["channels"]]
        table = np.asarray(state["metered"])
        if table.ndim != 2 or table.dtype != np.int64 or (table < 0).any() or count < 0 or min(channels, default=0) < 0:
            raise ValueError("no light's state")
        if table.shape[1] != sum(1 + 2 * n for n in channels) or len(table) > SCENE:
            raise ValueError("no light's state")
        self._metered = [_unpacked(row, channels) for row in table.tolist()]
        self._count, self._light = count, None


def _unpacked(row: list[int], channels: list[int]) -> tuple[Sums, ...]:
    sums, at = [], 0
    for n in channels:
        sums.append(Sums(row[at], tuple(row[at + 1 : at + 1 + n]), tuple(row[at + 1 + n : at + 1 + 2 * n])))
        at += 1 + 2 * n
    return tuple(sums)


def _together(metered: list[tuple[Sums, ...]]) -> tuple[Sums, ...]:
    total = metered[0]
    for sums in metered[1:]:
        total = tuple(a + b for a, b in zip(total, sums, strict=True))
    return total
