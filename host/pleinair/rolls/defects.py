"""What can be wrong with a frame that a camera gave without complaint: all of one colour, or torn."""

from __future__ import annotations

import numpy as np

#: A frame whose values lie this close together shows nothing (a sensor's own noise is wider).
_FLAT = 4
#: Rows at the bottom that are one colour, as a share of the height, in a torn frame.
_TORN = 0.04
#: Darker than this, a scene may really be black, in grey levels.
_DARK = 20.0


def defect(image: np.ndarray, before: float | None) -> str | None:
    """``blank`` or ``torn``, None for a frame that can be one; uint8 [H, W, 3].

    ``before`` is the mean of the last good frame: after a dark one, black is what the scene is. A decoder fills what is
    missing of a torn picture with one colour or with the last row that it had, so the rows at its end are all the
    same and the rest is not.
    """
    flat = int(image.max()) - int(image.min()) <= _FLAT
    if flat:
        night = before is None or before < _DARK
        return None if night and float(image.mean()) < _DARK else "blank"
    rows = image[::-1]
    same = (rows == rows[0]).all(axis=(1, 2))
    if int(np.argmin(same)) < max(3, round(_TORN * len(rows))):
        return None
    # Saturated ends are real: a burnt-out sky below a camera that hangs upside down, a black frame around a window.
    last = rows[0]
    return None if int(last.min()) >= 250 or int(last.max()) <= 5 else "torn"
