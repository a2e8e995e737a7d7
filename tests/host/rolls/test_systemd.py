"""What systemd hears."""

from __future__ import annotations

import os
import socket

import pytest

from pleinair.rolls.systemd import tell_systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears(tmp_path, monkeypatch, abstract):
    name = f"\0pleinair-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        assert tell_systemd(READY="1", STATUS="12 frames")
        assert listener.recv(100) == b"READY=1\nSTATUS=12 frames"
    assert tell_systemd(WATCHDOG="1") is False  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert tell_systemd(WATCHDOG="1") is False
