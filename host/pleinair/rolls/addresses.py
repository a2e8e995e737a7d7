"""Where the addresses of network cameras are kept, which may hold passwords: in files that only their user may read.

A roll's settings and journal name an address by its host and a mark (``rtsp://cam.lan/...#1f0c...``), so that
``resume`` and the service find it, and whoever is given the roll does not. The mark is made with this user's key
(:mod:`pleinair.rolls.consent`); nothing can be guessed from it.
"""

from __future__ import annotations

from pathlib import Path

from pleinair import durable
from pleinair.cameras.address import kept_mark, kept_name, public
from pleinair.cameras.opening import CameraSource
from pleinair.errors import CameraError, OptionError
from pleinair.rolls.consent import give_consent, state_folder

_LONGEST = 8192


def _file(mark: str) -> Path:
    return state_folder() / "cameras" / mark


def keep_address(source: CameraSource) -> str:
    """The camera's name for a roll's settings; an address is kept for this user. Raises OptionError."""
    address = source.address
    if address is None:
        return str(source)
    mark = give_consent(address)[:16]
    path = _file(mark)
    try:
        if not mark:
            raise OSError(None, "cannot be written")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write_file(path, address.encode(), shared=True, private=True)
    except OSError as error:
        raise OptionError(
            f"{public(address)}: its address is kept in {path.parent}: {error.strerror}", option="camera"
        ) from error
    return kept_name(address, mark)


def find_camera(name: str) -> CameraSource:
    """The camera that a roll's settings name. Raises CameraError where its address is not kept here, OptionError."""
    mark = kept_mark(name)
    if mark is None:
        source = CameraSource.parse(name)
        if source.address is None:
            return source
    try:
        with _file(mark or "none").open() as file:
            found = CameraSource.parse(file.read(_LONGEST))
        if found.address is not None and kept_name(found.address, mark or "") == name:
            return found
    except (OSError, ValueError, OptionError):
        pass
    raise CameraError(
        f"{public(name)}: this user has not given its address; to give it: pleinair resume ROLL --camera ADDRESS",
        option="camera",
    )
