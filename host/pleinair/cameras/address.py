"""Addresses of network cameras: ``rtsp://USER:PASSWORD@HOST/PATH``, ``http://HOST/snapshot.jpg?user=...``.

Whatever stands behind the host may be secret: a password before it, a token in the path or the query. So only scheme,
host and port are ever shown, and an address is kept in a file of its user's (:mod:`pleinair.rolls.addresses`).
"""

from __future__ import annotations

import re
import urllib.parse

from pleinair.errors import OptionError

#: Kinds of addresses that a camera may have.
SCHEMES = ("rtsp", "http", "https")
_LONGEST = 2000
#: How an address is written where it must not be known: the end names it.
_KEPT = re.compile(r"\.\.\.#([0-9a-f]{16})")


def is_address(text: str) -> bool:
    """Whether a camera's name is an address, of whatever kind: then it may hold a password and is not repeated."""
    return "://" in text or text.partition(":")[0].lower() in SCHEMES


def check_address(text: str) -> str:
    """An address that can be asked, percent-encoded where it must be. Raises OptionError, which does not repeat it."""
    scheme = text.partition(":")[0].lower()
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urllib.parse.SplitResult("", "", "", "", ""), None
    fine = len(text) <= _LONGEST and text.isprintable() and not re.search(r"[\s\\<>\"]", text)
    if scheme not in SCHEMES or not fine or not re.fullmatch(r"[\w.:%-]+", parts.hostname or "") or port == 0:
        kinds = ", ".join(f"{kind}://" for kind in SCHEMES)
        raise OptionError(f"address: write {kinds} with HOST or USER:PASSWORD@HOST, and the path", option="camera")
    return scheme + urllib.parse.quote(text[len(scheme) :], safe="%/:=&?~#+!$,;'@()*[]")


def public(address: str) -> str:
    """What may be shown of an address: ``rtsp://cam.lan:554``."""
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def login(address: str) -> tuple[str, str] | None:
    """User and password of an address; None where it has none."""
    parts = urllib.parse.urlsplit(address)
    if parts.username is None:
        return None
    return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")


def without_login(address: str) -> str:
    """The address as it is asked for: without user, password and fragment."""
    parts = urllib.parse.urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path or "/", fragment="").geturl()


def kept_name(address: str, mark: str) -> str:
    """What stands on a roll for an address that is kept elsewhere under a mark of 16 hexadecimal digits."""
    return f"{public(address)}/...#{mark}"


def kept_mark(text: str) -> str | None:
    """The mark in a name of :func:`kept_name`; None for an address itself."""
    match = _KEPT.search(text)
    return match[1] if match and match.end() == len(text) else None
