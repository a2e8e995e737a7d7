"""Who may change something on the page: who has the token that was printed at its start, or the password.

The secret comes in the header ``Authorization: Bearer SECRET``, as it is or percent-encoded; a page elsewhere cannot
have a browser send that. Besides, a request that says that it comes from another page is refused, whatever it has.
Whoever is wrong too often has to wait.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pleinair.durable import open_file
from pleinair.errors import OptionError

#: Letters of a token: none can be taken for another.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 4, 4
#: A password has so many characters at least and at most.
_SHORTEST, _LONGEST = 8, 1000
#: Wrong secrets from one address within so many seconds, and addresses that are remembered.
_TRIES, _WITHIN, _ADDRESSES = 10, 60.0, 1000


def new_token() -> str:
    """A token that is easy to type: ``k7pf-92ma-xq3d-hh4t``, of 78 random bits."""
    letters = [secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP)]
    return "-".join("".join(letters[i : i + _GROUP]) for i in range(0, len(letters), _GROUP))


def read_password(path: Path) -> str:
    """The first line of a file that nobody else can read. Raises OptionError."""
    try:
        with open_file(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LONGEST * 4 + 1)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}", option="password_file") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OptionError(f"{path}: others can read it; chmod 600 {path}", option="password_file")
    try:
        password = data.split(b"\n", 1)[0].decode().strip()
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: its first line is no UTF-8 text", option="password_file") from error
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise OptionError(
            f"{path}: its first line is the password, of {_SHORTEST} to {_LONGEST} characters", option="password_file"
        )
    return password


class Permit:
    """Checks who asks for a change. Safe from any thread."""

    def __init__(self, secret: str | None) -> None:
        """``secret`` None permits nothing to anybody."""
        self._digest = None if secret is None else hashlib.sha256(secret.encode()).digest()
        self._wrong: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    @property
    def given(self) -> bool:
        """Whether anything can be changed at all."""
        return self._digest is not None

    def refusal(self, headers: Mapping[str, str], address: str) -> tuple[int, str] | None:
        """Why a request from a network address may not change anything, as a status and a sentence; None if it may.

        ``headers`` have small letters.
        """
        if self._digest is None:
            return 403, "Nothing can be changed here."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and (not urlsplit(origin).netloc or urlsplit(origin).netloc != headers.get("host")):
            return 403, "Not from another page."
        if site is not None and site not in ("same-origin", "none"):
            return 403, "Not from another page."
        kind, _, secret = headers.get("authorization", "").partition(" ")
        with self._lock:
            now = time.monotonic()
            tries = self._wrong.get(address, deque[float]())
            while tries and now - tries[0] > _WITHIN:
                tries.popleft()
            if len(tries) >= _TRIES:
                return 429, "Too many wrong tokens; wait a minute."
            if kind.lower() == "bearer" and self._is_right(secret.strip()):
                self._wrong.pop(address, None)
                return None
            if not secret:
                return 401, "This needs the token that was printed when the page was started."
            tries.append(now)
            self._wrong.pop(address, None)
            while len(self._wrong) >= _ADDRESSES:
                del self._wrong[next(iter(self._wrong))]
            self._wrong[address] = tries
            return 401, "The token is not the one that was printed when the page was started."

    def _is_right(self, secret: str) -> bool:
        right = False
        for given in (secret, unquote(secret, errors="replace")):
            digest = hashlib.sha256(given.encode(errors="replace")).digest()
            right |= hmac.compare_digest(digest, self._digest or b"")
        return right
