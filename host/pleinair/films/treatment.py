"""The treatment: what a film does to each frame besides painting it, in this order.

::

    frame -> deflicker -> steady -> (the painter) -> steady -> stamp -> film

A direct film (:mod:`pleinair.films.pipeline`) and a roll's film (``pleinair.rolls.developer``) both call
:meth:`Treatment.before` and :meth:`Treatment.after`, so the same frames give the same film on either way.

The painting is steadied, too: a steadied frame still differs from the one before it by a level here and there, and
that tips roundings everywhere in its painting.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pleinair.films.deflicker import Deflicker
from pleinair.films.stamp import stamp
from pleinair.films.steadiness import Steady


class Treatment:
    """The filters of one film and what they remember of the frames so far.

    ``before`` and ``after`` may be called from two threads, each of them by one, with frames in order.
    """

    def __init__(self, *, steady: int = 0, deflicker: int = 0, timestamp: bool = False) -> None:
        """``steady`` is :class:`Steady`'s strength, ``deflicker`` :class:`Deflicker`'s frames; 0 switches either off.

        ``timestamp`` writes each frame's caption on its painting. Raises ValueError for a value out of range.
        """
        self.timestamp = timestamp
        self._deflicker = Deflicker(deflicker)
        self._frames, self._paintings = Steady(steady), Steady(steady)

    def before(self, frame: np.ndarray) -> np.ndarray:
        """A captured frame, uint8 [H, W, 3], as the painter gets it."""
        return self._frames(self._deflicker(frame))

    def after(self, painting: np.ndarray, caption: str = "") -> np.ndarray:
        """A painting, uint8 [H, W, 3], as the film gets it; ``caption`` is its frame's time or name."""
        steadied = self._paintings(painting)
        return stamp(steadied, caption) if self.timestamp and caption else steadied

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays with names like ``deflicker.lift``."""
        return {f"{part}.{key}": value for part, held in self._parts() for key, value in held.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`. Raises KeyError or ValueError for anything else, and then changes nothing."""
        known = {part: held.state() for part, held in self._parts()}
        told = {part: {key: state[f"{part}.{key}"] for key in keys} for part, keys in known.items()}
        for part, held in self._parts():
            held.restore(told[part])

    def _parts(self) -> tuple[tuple[str, Deflicker | Steady], ...]:
        return ("deflicker", self._deflicker), ("frames", self._frames), ("paintings", self._paintings)
