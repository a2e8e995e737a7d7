"""Where addresses are kept that may hold passwords, of cameras and of notices: in files that only their user may read.

A roll's settings and journal name a camera's address by its host and a mark (``rtsp://cam.lan/...#1f0c...``), so that
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

_LONGEST = 16384


def _file(kind: str, mark: str) -> Path:
    return state_folder() / kind / mark


def _keep(kind: str, text: str) -> str:
    """The mark under which a text is kept for this user. Raises OSError."""
    mark = give_consent(text)[:16]
    path = _file(kind, mark)
    if not mark:
        raise OSError(None, f"{path.parent} cannot be written")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    durable.write_file(path, text.encode(), shared=True, private=True)
    return mark


def _kept(kind: str, mark: str | None) -> str | None:
    """What this user keeps under a mark; None for nothing."""
    if not mark or not mark.isalnum():
        return None
    try:
        with _file(kind, mark).open() as file:
            return file.read(_LONGEST)
    except (OSError, ValueError):
        return None


def keep_address(source: CameraSource) -> str:
    """The camera's name for a roll's settings; an address is kept for this user. Raises OptionError."""
    address = source.address
    if address is None:
        return str(source)
    try:
        return kept_name(address, _keep("cameras", address))
    except OSError as error:
        raise OptionError(
            f"{public(address)}: its address cannot be kept: {error.strerror}", option="camera"
        ) from error


def find_camera(name: str) -> CameraSource:
    """The camera that a roll's settings name. Raises CameraError where its address is not kept here, OptionError."""
    source, mark = CameraSource.parse(name), kept_mark(name)
    if source.address is None:
        return source
    address = _kept("cameras", mark)
    if address is None or mark is None or kept_name(address, mark) != name:
        raise CameraError(
            f"{source}: this user has not given its address; to give it: pleinair resume ROLL --camera ADDRESS",
            option="camera",
        )
    return CameraSource.parse(address)


def keep_notices(addresses: list[str]) -> str:
    """The mark under which addresses of notices are kept for this user. Raises OptionError."""
    try:
        return _keep("notices", " ".join(addresses))
    except OSError as error:
        raise OptionError(f"addresses cannot be kept: {error.strerror}", option="notify") from error


def find_notices(mark: str) -> list[str]:
    """The addresses that a roll's settings name; none where this user has not given them."""
    return (_kept("notices", mark) or "").split()
