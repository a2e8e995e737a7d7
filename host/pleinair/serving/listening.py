"""Where the page listens, and the names by which it may be asked for.

Unless told otherwise it listens on this machine alone, and then answers to this machine's own names only; to the
network it answers by address and by this machine's names. So no web page elsewhere can have a browser read it.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from pleinair.errors import OptionError

_LOCAL = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]{1,5})?")
#: Connections that wait until they are taken.
_WAITING = 128


class Names:
    """The names by which a server may be asked for."""

    def __init__(self, host: str, option: str = "host") -> None:
        """``host`` is an address to listen on; after it and a comma, further names, such as a proxy's.

        Raises OptionError, which names ``option``, where there is no address: the system would take it for every one.
        """
        self.host, *names = (name.strip() for name in host.split(","))
        if not self.host:
            raise OptionError(f"{host!r}: no address to listen on", option=option)
        self.local = self.host in _LOCAL
        own = socket.gethostname().lower()
        self._names = {*_LOCAL, *map(str.lower, names)}
        if not self.local:
            self._names |= {self.host.lower(), own, f"{own.partition('.')[0]}.local"}

    def know(self, asked: str) -> bool:
        """Whether a request's Host is this machine's name, or an address: a page elsewhere can take neither."""
        match = _HOST.fullmatch(asked)
        if match is None:
            return False
        name = match[1].strip("[]").lower().rstrip(".")
        if name in self._names:
            return True
        if self.local:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def address(self, port: int) -> str:
        """Where a browser on this machine finds the page."""
        shown = "localhost" if self.local else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{port}/"


def listen(names: Names, port: int, option: str = "port") -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises OptionError, which names ``option``."""
    host = names.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING)
    except (OSError, OverflowError, ValueError) as error:
        listener.close()
        cause = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"{port} on {host}: {cause}", option=option) from error
    return listener
