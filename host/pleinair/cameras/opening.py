"""Cameras for a roll, by the name that ``--camera`` gives: live ones in a process of their own, and stored ones."""

from __future__ import annotations

import os
import re
from functools import partial

from pleinair.cameras.guarded import GuardedCamera
from pleinair.cameras.stored import KINDS, Shooter, StoredShooter, open_camera
from pleinair.cameras.v4l2 import V4l2Camera
from pleinair.errors import OptionError

#: What ``--camera`` takes for a roll, for help and errors.
ALL_KINDS = f"{KINDS}, pi[:N], v4l2:N"
_LIVE = re.compile(r"(pi|v4l2)(?::([0-9]{1,2}))?")
#: Seconds between live frames when ``--every`` is not given.
LIVE_EVERY = 10.0


def is_live(spec: str) -> bool:
    """Whether a camera's frames are gone when nobody takes them."""
    return _LIVE.fullmatch(spec) is not None


def absolute(spec: str) -> str:
    """The same camera, named so that it is found from any folder."""
    kind, _, rest = spec.partition(":")
    return f"{kind}:{os.path.abspath(os.path.expanduser(rest))}" if kind in ("frames", "video") and rest else spec


def open_shooter(
    spec: str, size: tuple[int, int] | None, step: float | None, limit: int | None, start: int = 0,
    every: float | None = None, patient: bool = False,
) -> Shooter:  # fmt: skip
    """The camera of a roll. ``size`` is asked of live ones, (width, height); stored ones give their own.

    ``step`` is the scene time between stored frames, ``limit`` how many there are, ``start`` where to go on.
    Raises OptionError, CameraError; a ``patient`` caller takes a live camera that does not open, and asks it again.
    """
    match = _LIVE.fullmatch(spec)
    if match is None:
        if spec.partition(":")[0] in ("pi", "v4l2"):
            raise OptionError(f"--camera {spec!r}: choose from {ALL_KINDS}")
        kind = spec.partition(":")[0]
        if kind == "synthetic":
            return StoredShooter(open_camera(spec, size, step, limit), start)
        return StoredShooter(open_camera(spec, None, step), start)
    number = int(match[2] or 0)
    if match[1] == "v4l2":
        return GuardedCamera(partial(V4l2Camera, number, size), f"v4l2:{number}", patient=patient)
    from pleinair_pi.camera import PiCamera

    return GuardedCamera(partial(PiCamera, number, size, every or LIVE_EVERY), f"pi:{number}", patient=patient)
