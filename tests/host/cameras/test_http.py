"""Cameras by HTTP, against servers of the tests': pictures, streams, passwords, and whatever goes wrong."""

from __future__ import annotations

import socket
import threading
from typing import Any

import numpy as np
import pytest

from pleinair.cameras import http
from pleinair.cameras.http import HttpCamera
from pleinair.cameras.remote import RefusedError
from pleinair.errors import CameraError
from tests.network_cameras import LOGIN, PASSWORD, challenge, jpeg, lets_in, pictures, send, served
from tests.rolls import coded_frame, read_code


def numbers(camera: HttpCamera, count: int) -> list[int]:
    """What the next frames show."""
    return [read_code(camera.shoot().image) for _ in range(count)]


@pytest.mark.parametrize("scheme", ["", "Basic", "MD5", "SHA-256"])
def test_pictures_come_with_and_without_a_password(scheme, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # is not used
    with served(pictures(scheme)) as server:
        login = f"{LOGIN}@" if scheme else ""
        camera = HttpCamera(f"http://{login}{server.host}/snap?res=4&token=a1")
        assert camera.size == (64, 48) and camera.name == f"http://{server.host}"
        assert numbers(camera, 3) == [0, 1, 2]
        np.testing.assert_allclose(camera.shoot().image, coded_frame(3), atol=12)
        assert {path for path, _ in server.asked} == {"/snap?res=4&token=a1"}
        # Only one who is asked for the password says it.
        assert server.asked[0][1] is None


def test_a_camera_that_offers_several_ways_is_answered_in_the_safest(monkeypatch):
    def answer(handler: Any) -> None:
        if lets_in("MD5", "GET", handler.headers.get("Authorization")):
            return send(handler, jpeg(5))
        handler.send_response(401)
        for line in ('Digest realm="x", nonce="1", algorithm=SHA-512-256', challenge("Basic"), challenge("MD5")):
            handler.send_header("WWW-Authenticate", line)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with served(answer) as server:
        assert numbers(HttpCamera(f"http://{LOGIN}@{server.host}/"), 1) == [5]
        assert len(server.asked) == 2 and not any((said or "").startswith("Basic") for _, said in server.asked)


@pytest.mark.parametrize("scheme", ["Basic", "MD5"])
def test_a_wrong_password_is_tried_once_and_then_after_long_pauses(scheme):
    now = [0.0]
    right = [True]

    def answer(handler: Any) -> None:
        if right[0]:
            return pictures(scheme)(handler)
        send(handler, b"", 401, WWW_Authenticate=challenge(scheme))

    with served(answer) as server:
        with pytest.raises(CameraError, match="401 Unauthorized") as caught:
            HttpCamera(f"http://me:{PASSWORD[:4]}@{server.host}/")
        assert PASSWORD[:4] not in str(caught.value) and len(server.asked) == 2
        camera = HttpCamera(f"http://{LOGIN}@{server.host}/")
        camera._clock = lambda: now[0]
        right[0], camera._first = False, None
        asked = list[float]()
        for second in range(0, 3000, 5):
            before, now[0] = len(server.asked), float(second)
            with pytest.raises(CameraError, match="401 Unauthorized"):
                camera.shoot()
            if len(server.asked) > before:
                asked.append(now[0])
                assert len(server.asked) <= before + 2
        pauses = np.diff(asked)
        assert list(pauses[:5]) == [5, 5, 5, 10, 20] and max(pauses) == 600 and pauses[-1] == 600
        right[0] = True
        now[0] = 5000.0
        camera.shoot()


def test_an_mjpeg_stream_gives_its_first_picture_of_now():
    def answer(handler: Any) -> None:
        number = len(handler.server.asked) - 1
        length = number % 2 == 0
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/x-mixed-replace; boundary="--cut"')
        handler.send_header("Connection", "close")
        handler.end_headers()
        for n in range(number, number + 50):
            data = jpeg(n)
            told = f"Content-length: {len(data)}\r\n" if length else ""
            handler.wfile.write(f"\r\n--cut\r\nContent-Type: image/jpeg\r\n{told}\r\n".encode() + data)

    with served(answer) as server:
        assert numbers(HttpCamera(f"http://{server.host}/"), 4) == [0, 1, 2, 3]


def refused(server: Any, path: str = "/", **login: str) -> str:
    """What a camera at that server cannot be opened for."""
    with pytest.raises(CameraError) as caught:
        HttpCamera(f"http://{LOGIN}@{server.host}{path}")
    assert PASSWORD not in str(caught.value) and "token" not in str(caught.value)
    return str(caught.value).removeprefix(f"camera http://{server.host}: ")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("file:///etc/passwd", "answered 302 Found, which leads to no picture"),
        ("ftp://127.0.0.1/x", "gave an answer that cannot be read (str)"),
        ("data:image/png,x", "answered 302 Found, which leads to no picture"),
        ("/again", "answered 302 Found, which leads to no picture"),
    ],
)
def test_redirects_lead_to_http_alone_and_end(target, said):
    with served(lambda handler: send(handler, b"", 302, Location=target)) as server:
        assert refused(server, "/?token=1") == said
        assert len(server.asked) <= 6


def test_a_redirect_takes_no_password_to_another_host():
    with served(pictures("Basic")) as other:
        with served(lambda handler: send(handler, b"", 302, Location=f"http://{other.host}/x")) as server:
            assert "401 Unauthorized" in refused(server)
        assert [said for _, said in other.asked] == [None]
    with served(
        lambda handler: send(handler, jpeg(3)) if handler.path == "/b" else send(handler, b"", 302, Location="/b")
    ) as here:
        assert numbers(HttpCamera(f"http://{here.host}/a"), 1) == [3]


def test_what_is_no_picture_is_told(monkeypatch):
    monkeypatch.setattr(http, "MAX_PICTURE", 100_000)
    whole = jpeg(1)
    answers = {
        "/html": lambda h: send(h, b"<html>token</html>", kind="text/html"),
        "/cut": lambda h: send(h, whole[: len(whole) // 2]),
        "/empty": lambda h: send(h, b""),
        "/404": lambda h: send(h, b"", 404),
        "/500": lambda h: send(h, b"", 500),
        "/large": lambda h: send(h, bytes(200_000)),
        "/part": lambda h: send(h, b"--x\r\n\r\nabc", kind="multipart/x-mixed-replace; boundary=x"),
        "/noise": lambda h: h.wfile.write(b"\0\1\2 token"),
    }
    with served(lambda handler: answers[handler.path](handler)) as server:
        said = {path: refused(server, path) for path in answers}
    assert said == {
        "/html": "its picture: not an image that is read here (JPEG, PNG, WebP, TIFF, BMP, HEIC)",
        "/cut": "its picture: truncated, its end is missing",
        "/empty": "its picture: the file is empty",
        "/404": "answered 404 Not Found",
        "/500": "answered 500 Internal Server Error",
        "/large": "sent more than 0 MiB for a picture",
        "/part": "ended its stream within a picture",
        "/noise": "gave an answer that cannot be read (BadStatusLine)",
    }


def test_a_camera_that_is_slow_or_away_ends_in_time(monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT", 0.3)
    monkeypatch.setattr(http, "DEADLINE", 0.5)
    over = threading.Event()

    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b"x")

    with served(drip) as server:
        assert refused(server) == "took longer than 0.5 s for a picture"
        over.set()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(CameraError, match=f"camera http://127.0.0.1:{port}: did not answer within 0.3 s"):
            HttpCamera(f"http://127.0.0.1:{port}/secret")
    with pytest.raises(CameraError, match="Connection refused") as caught:
        HttpCamera(f"http://127.0.0.1:{port}/secret")
    assert not isinstance(caught.value, RefusedError) and "secret" not in str(caught.value)
