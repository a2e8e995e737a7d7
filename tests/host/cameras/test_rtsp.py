"""Cameras by RTSP, against a small server of the tests': key frames, passwords, silence."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from pleinair.cameras import rtsp
from pleinair.cameras.rtsp import RtspCamera
from pleinair.errors import CameraError
from tests.network_cameras import LOGIN, PASSWORD, Rtsp
from tests.rolls import coded_frame, read_code


@pytest.mark.parametrize("scheme", ["", "Basic", "MD5"])
def test_each_picture_is_the_next_key_frame_of_its_own_connection(scheme, capfd):
    login = f"{LOGIN}@" if scheme else ""
    with Rtsp(scheme) as server:
        camera = RtspCamera(f"rtsp://{login}{server.host}/live?token=a1")
        assert (camera.name, camera.size) == (f"rtsp://{server.host}", (64, 48))
        frames = [camera.shoot() for _ in range(3)]
        assert [read_code(frame.image) for frame in frames] == [0, 1, 2]
        np.testing.assert_allclose(frames[2].image.mean(), coded_frame(2).mean(), atol=2)
        assert f"SETUP rtsp://{server.host}/live?token=a1/track1" in server.asked
    assert capfd.readouterr() == ("", "")  # FFmpeg says nothing, above all not the address


def opened(address: str) -> str:
    """What a camera cannot be opened for."""
    with pytest.raises(CameraError) as caught:
        RtspCamera(address)
    assert not any(secret in str(caught.value) for secret in (PASSWORD, LOGIN, "/live", "token"))
    return str(caught.value).partition(": ")[2]


def test_what_goes_wrong_is_told_in_time_and_without_the_address(monkeypatch, capfd):
    monkeypatch.setattr(rtsp, "TIMEOUT", 0.5)
    with Rtsp("Basic") as server:
        refusal = "refuses: Server returned 401 Unauthorized (authorization failed)"
        assert opened(f"rtsp://me:wrong@{server.host}/live?token=a1") == refusal
        advice = "; give the address as rtsp://USER:PASSWORD@HOST/PATH"
        assert opened(f"rtsp://{server.host}/live?token=a1") == refusal + advice
    for method in ("OPTIONS", "DESCRIBE"):
        with Rtsp(silent=method) as server:
            assert "did not answer within 0.5 s" in opened(f"rtsp://{LOGIN}@{server.host}/live?token=a1")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert opened(f"rtsp://{LOGIN}@127.0.0.1:{port}/live?token=a1") == "Connection refused"
    assert capfd.readouterr() == ("", "")
