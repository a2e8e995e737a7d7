"""What a service tells systemd: that it is ready, that it is alive, how it stands (sd_notify(3), by its protocol)."""

from __future__ import annotations

import contextlib
import os
import socket


def tell_systemd(**values: str) -> bool:
    """Send ``READY="1"``, ``WATCHDOG="1"``, ``STATUS="..."``; whether there is a systemd that listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    # A leading @ is systemd's way to write the abstract name space.
    name = "\0" + address[1:] if address.startswith("@") else address
    message = "\n".join(f"{key}={value}" for key, value in values.items()).encode()
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message, name)
        return True
    return False
