"""The treatment: what a film does to each frame besides painting it, in this order.

::

    frame -> deflicker -> steady -> (the painter, in the film's light) -> tone -> steady -> stamp -> film

A direct film (:mod:`pleinair.films.pipeline`) and a roll's film (``pleinair.rolls.developer``) both call
:meth:`Treatment.before` and :meth:`Treatment.after`, so the same frames give the same film on either way.

The light is metered in the frame as it is painted, when exposure has been evened out and noise has been held still.
Tone brings back the brightness of that same frame, so it undoes neither. The painting is steadied, too: a steadied
frame still differs from the one before it by a level here and there, and that tips roundings everywhere in its
painting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from pleinair.films.deflicker import Deflicker
from pleinair.films.lighting import FilmLight, Lighting
from pleinair.films.stamp import stamp
from pleinair.films.steadiness import Steady
from pleinair.films.tone import Tone


class Treatment:
    """The filters of one film and what they remember of the frames so far.

    ``before`` and ``after`` may be called from two threads, each of them by one, with frames in order.
    """

    def __init__(
        self,
        *,
        steady: int = 0,
        deflicker: int = 0,
        timestamp: bool = False,
        lighting: Lighting | None = None,
        tone: float = 0.0,
    ) -> None:
        """``steady`` is :class:`Steady`'s strength, ``deflicker`` :class:`Deflicker`'s frames; 0 switches either off.

        ``lighting`` says how the film's light is found, by default each frame's own, and ``tone`` how much of the
        scene's brightness :class:`Tone` brings back. ``timestamp`` writes each frame's caption on its painting. Raises
        ValueError for a value out of range.
        """
        self.timestamp = timestamp
        self._deflicker = Deflicker(deflicker)
        self._frames, self._paintings = Steady(steady), Steady(steady)
        self._tone = Tone(tone)
        #: The brightness of frames whose paintings are not there yet.
        self._scenes = deque[np.ndarray]()
        #: The light of the film's frames; a painter of an adaptive network asks it.
        self.light = FilmLight(lighting or Lighting())

    def before(self, frame: np.ndarray) -> np.ndarray:
        """A captured frame, uint8 [H, W, 3], as the painter gets it."""
        treated = self._frames(self._deflicker(frame))
        self._scenes.append(self._tone.of(treated))
        return treated

    def after(self, painting: np.ndarray, caption: str = "") -> np.ndarray:
        """A painting, uint8 [H, W, 3], as the film gets it; ``caption`` is its frame's time or name.

        Paintings come in the order in which their frames went through :meth:`before`, each of them once.
        """
        steadied = self._paintings(self._tone(painting, self._scenes.popleft()))
        return stamp(steadied, caption) if self.timestamp and caption else steadied

    def state(self, *parts: str) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays with names like ``deflicker.lift``.

        ``parts`` asks for some parts alone: ``deflicker`` and ``frames``, which :meth:`before` changes, ``paintings``,
        which :meth:`after` changes, ``light``, which the painter changes. The arrays may change with the next frame.
        """
        asked = [(part, held) for part, held in self._parts() if not parts or part in parts]
        return {f"{part}.{key}": value for part, held in asked for key, value in held.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`. Raises KeyError or ValueError for anything else, and then changes nothing."""
        known = {part: held.state() for part, held in self._parts()}
        told = {part: {key: state[f"{part}.{key}"] for key in keys} for part, keys in known.items()}
        self.light.restore(told["light"])  # the only one that may refuse
        for part, held in self._parts():
            held.restore(told[part])

    def _parts(self) -> tuple[tuple[str, Deflicker | Steady | FilmLight], ...]:
        return (
            ("deflicker", self._deflicker),
            ("frames", self._frames),
            ("paintings", self._paintings),
            ("light", self.light),
        )
