"""Opening a camera by its name: ``synthetic:3``, ``frames:garden``, ``video:clip.mp4``, ``pi:0``, ``v4l2:1``, ``rtsp://cam``.

A name is parsed once, to a :class:`CameraSource`; everything below asks that. To add a live camera, write a class with
:class:`~pleinair.cameras.camera.Shooter`'s methods, enter its kind of name in ``_LIVE``, ``_NUMBER`` and ``ALL_KINDS``,
and give it to :func:`open_shooter` as a driver; CONTRIBUTING.md has all the steps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pleinair.cameras.address import check_address, is_address, public
from pleinair.cameras.camera import Camera, Shooter, StoredShooter
from pleinair.cameras.framing import FramedCamera, Framing
from pleinair.cameras.guarded import GuardedCamera
from pleinair.cameras.stored import ORDERS, FolderCamera
from pleinair.cameras.synthetic import SYNTHETIC_STEP, SyntheticCamera
from pleinair.cameras.v4l2 import V4l2Camera
from pleinair.cameras.video import VideoCamera
from pleinair.errors import OptionError
from pleinair.processes import bound_memory

#: What a direct film can be made from, for help and errors.
STORED_KINDS = "synthetic[:SEED], frames:DIR, video:FILE"
#: What a roll can be filmed from.
LIVE_KINDS = "pi[:N], v4l2:N, gphoto2[:PORT], rtsp://ADDRESS, http://ADDRESS, https://ADDRESS"
ALL_KINDS = f"{STORED_KINDS}, {LIVE_KINDS}"
#: Seconds between live frames unless told otherwise.
LIVE_EVERY = 10.0
_NUMBER = {"synthetic": re.compile("[0-9]{0,9}"), "pi": re.compile("[0-9]{1,2}"), "v4l2": re.compile("[0-9]{1,2}")}
_LIVE = ("pi", "v4l2")
#: Kinds of :class:`~pleinair.cameras.remote.RemoteCamera`, and seconds after which one that hangs is killed.
_REMOTE = {"rtsp": 40.0, "http": 50.0, "https": 50.0, "gphoto2": 120.0}
#: gphoto2's names of ports, such as ``usb:001,004`` or ``ptpip:192.168.1.20``.
_PORT = re.compile(r"[a-z]{2,10}:[A-Za-z0-9:.,/_-]{0,100}")

#: Opens live camera ``number``: asked for pictures of a size, (width, height) or None, one every so many seconds.
Driver = Callable[[int, tuple[int, int] | None, float], Shooter]


def _open_v4l2(number: int, size: tuple[int, int] | None, every: float) -> Shooter:
    return V4l2Camera(number, size)


#: The live cameras that need nothing but OpenCV. The command line adds the Raspberry Pi's.
DRIVERS: Mapping[str, Driver] = {"v4l2": _open_v4l2}


def _open_remote(kind: str, where: str) -> Shooter:
    """In the camera's process, which reads what strangers send, and which alone imports what that needs."""
    bound_memory()
    if kind == "gphoto2":
        from pleinair.cameras.gphoto2 import Gphoto2Camera

        return Gphoto2Camera(where)
    if kind == "rtsp":
        from pleinair.cameras.rtsp import RtspCamera

        return RtspCamera(where)
    from pleinair.cameras.http import HttpCamera

    return HttpCamera(where)


@dataclass(frozen=True)
class CameraSource:
    """Which camera: its kind, the ``path`` of a folder or video, the ``number`` of a device, or a day's seed.

    ``address`` is a network camera's, with what is secret in it; ``port`` is gphoto2's.
    """

    kind: str
    path: Path | None = None
    number: int | None = None
    address: str | None = field(default=None, repr=False)
    port: str | None = None

    @classmethod
    def parse(cls, text: str) -> CameraSource:
        """From a name like ``video:clip.mp4``; a tilde at a path's beginning is the home folder. Raises OptionError."""
        kind, colon, rest = text.partition(":")
        if is_address(text):
            return cls(kind.lower(), address=check_address(text))
        if kind == "gphoto2" and (not colon or _PORT.fullmatch(rest)):
            return cls(kind, port=rest or None)
        if kind in ("frames", "video") and rest:
            # The shell leaves the tilde in frames:~/garden alone.
            return cls(kind, path=Path(os.path.expanduser(rest)))
        if kind == "synthetic" and not _NUMBER[kind].fullmatch(rest):
            raise OptionError(f"{text!r}: the seed after synthetic: is a whole number", option="camera")
        if kind not in _NUMBER or (kind in _LIVE and colon and not _NUMBER[kind].fullmatch(rest)):
            raise OptionError(f"{text!r}: choose from {ALL_KINDS}", option="camera")
        return cls(kind, number=int(rest) if rest else None)

    def __str__(self) -> str:
        """The name; parsed again, it gives the same source, but for an address, of which only the host is told."""
        if self.address is not None:
            return public(self.address)
        rest = next((part for part in (self.path, self.number, self.port) if part is not None), None)
        return self.kind if rest is None else f"{self.kind}:{rest}"

    @property
    def live(self) -> bool:
        """Whether frames that nobody takes are gone."""
        return self.kind in _LIVE or self.kind in _REMOTE

    @property
    def timed(self) -> bool:
        """Whether its frames have a time; a folder's have none."""
        return self.kind != "frames"

    def absolute(self) -> CameraSource:
        """The same camera, found from any working folder."""
        return self if self.path is None else replace(self, path=Path(os.path.abspath(self.path)))


def open_camera(
    source: CameraSource | str,
    *,
    size: tuple[int, int] | None = None,
    every: float | None = None,
    frames: int | None = None,
    framing: Framing | None = None,
    order: str = ORDERS[0],
) -> Camera:
    """A stored camera, for a direct film.

    ``size`` is (width, height) of its frames, ``every`` the seconds of scene time between them, ``frames`` how many
    there are at most, ``order`` that of a folder's images: "name", or "time" (EXIF's, else the file's). Raises
    OptionError for what is no stored camera, CameraError when the source does not serve.
    """
    source = CameraSource.parse(source) if isinstance(source, str) else source
    check_order(order, source)
    if framing is not None and framing != Framing():
        return FramedCamera(open_camera(source, every=every, frames=frames, order=order), framing, size)
    if source.kind == "synthetic":
        return SyntheticCamera(size or (640, 360), frames, every or SYNTHETIC_STEP, source.number or 0)
    if source.path is None:
        raise OptionError(
            f"{str(source)!r}: a live camera films on a roll; choose from {STORED_KINDS}", option="camera"
        )
    if source.kind == "video":
        return VideoCamera(source.path, size, every, frames)
    if every is not None:
        raise OptionError(f"{every:g}s: a folder of frames has no clock; leave it out", option="every")
    return FolderCamera(source.path, size, frames, order)


def check_order(order: str, source: CameraSource) -> None:
    """Raise OptionError for an order that is none, or of a camera that has its own."""
    if order not in ORDERS:
        raise OptionError(f"{order!r}: choose from {', '.join(ORDERS)}", option="order")
    if order != ORDERS[0] and source.kind != "frames":
        raise OptionError(f"{order!r}: only frames:DIR has no order of its own, not {str(source)!r}", option="order")


def open_shooter(
    source: CameraSource,
    *,
    size: tuple[int, int] | None = None,
    step: float | None = None,
    frames: int | None = None,
    start: int = 0,
    every: float | None = None,
    patient: bool = False,
    order: str = ORDERS[0],
    drivers: Mapping[str, Driver] = DRIVERS,
) -> Shooter:
    """The camera of a roll, asked for each frame when it is due. Live ones run in a process of their own.

    ``size``, (width, height), is asked of live cameras and of the synthetic day; others give their own. ``step`` is the
    scene time between stored frames, ``frames`` how many synthetic ones there are, ``start`` the position to go on
    from, ``every`` the seconds between live frames, ``order`` that of a folder's images.

    Raises OptionError, CameraError; a ``patient`` caller takes a live camera that does not open, and asks it again.
    """
    check_order(order, source)
    if not source.live:
        asked = {"size": size, "frames": frames} if source.kind == "synthetic" else {}
        return StoredShooter(open_camera(source, every=step, order=order, **asked), start)  # type: ignore[arg-type]
    if source.kind in _REMOTE:
        remote = partial(_open_remote, source.kind, source.address or source.port or "")
        seconds = _REMOTE[source.kind]
        return GuardedCamera(remote, str(source), deadline=seconds, start_deadline=seconds, patient=patient)
    if source.kind not in drivers:
        raise OptionError(f"{str(source)!r}: no driver of that name was given", option="camera")
    number = source.number or 0
    make = partial(drivers[source.kind], number, size, every or LIVE_EVERY)
    return GuardedCamera(make, f"{source.kind}:{number}", patient=patient)
