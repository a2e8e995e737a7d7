"""Consent to a roll's stored command: who began the roll here gave it; a roll that came from elsewhere has none.

``--notify-cmd`` is kept in the roll, so that ``resume`` needs no options. A roll may come from somebody else, and their
command is not run. So the roll holds a mark of the command, made with a key that is this user's and never on a roll.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

_LENGTH = 32


def state_folder() -> Path:
    """Where this user's key lies, and what else belongs to them and not to a roll."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "pleinair"


def _key(make: bool) -> bytes | None:
    """This user's key; None where there is none, or it cannot be made."""
    path = state_folder() / "key"
    with contextlib.suppress(OSError):
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{secrets.token_hex(8)}")
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, secrets.token_bytes(_LENGTH))
            finally:
                os.close(handle)
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
            part.unlink()
        key = path.read_bytes()
        return key if len(key) == _LENGTH else None
    return None


def _mark(key: bytes, command: str) -> str:
    return hmac.new(key, command.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def give_consent(command: str | None) -> str:
    """The mark of a command that this user gave; "" where there is no command or no place for a key."""
    key = _key(make=True) if command is not None else None
    return "" if key is None or command is None else _mark(key, command)


def has_consent(command: str, mark: str) -> bool:
    """Whether the mark was made for this command by this user."""
    key = _key(make=False)
    return key is not None and hmac.compare_digest(_mark(key, command), mark)
