"""Servers for tests: a network camera by RTSP, and HTTP ones that give pictures, ask for passwords, take notices."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from tests.rolls import coded_frame

USER, PASSWORD = "roof cam", "s3cr:t/p@ss"
#: As they are written in an address.
LOGIN = "roof%20cam:s3cr%3At%2Fp%40ss"
REALM, NONCE = "cam", "5f2a9e"


def jpeg(number: int) -> bytes:
    """The frame of that number, as a camera sends it."""
    done, data = cv2.imencode(".jpg", coded_frame(number)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return data.tobytes()


def challenge(scheme: str) -> str:
    """What a server asks with: ``Basic``, ``MD5``, ``SHA-256``."""
    if scheme == "Basic":
        return f'Basic realm="{REALM}"'
    return f'Digest realm="{REALM}", nonce="{NONCE}", algorithm={scheme}, qop="auth"'


def lets_in(scheme: str, method: str, header: str | None) -> bool:
    """Whether an Authorization header is right (RFC 7617, RFC 7616), computed here from nothing but the RFC."""
    if header is None:
        return False
    if scheme == "Basic":
        return header == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    said = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^\s,]+)', header)}
    new = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[scheme]

    def h(*parts: str) -> str:
        return new(":".join(parts).encode()).hexdigest()

    middle = [said["nc"], said["cnonce"], said["qop"]] if "qop" in said else []
    expected = h(h(USER, REALM, PASSWORD), NONCE, *middle, h(method, said["uri"]))
    return said["username"] == USER and said["response"] == expected


class Http(http.server.ThreadingHTTPServer):
    """Answers each GET or POST by ``answer(handler)``; keeps what it was asked, and what was posted."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Any], None]) -> None:
        self.asked, self.bodies = list[tuple[str, str | None]](), list[bytes]()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.server.asked.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
                with contextlib.suppress(OSError):
                    answer(self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.bodies.append(body)  # type: ignore[attr-defined]
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def served(answer: Callable[[Any], None]) -> Iterator[Http]:
    """An HTTP server while it is needed."""
    with Http(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def send(handler: Any, body: bytes, status: int = 200, kind: str = "image/jpeg", **headers: str) -> None:
    """An answer of an HTTP server's."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def pictures(scheme: str = "") -> Callable[[Any], None]:
    """A camera that gives frame after frame, to whoever knows the password where there is a scheme."""
    taken = iter(range(1 << 16))

    def answer(handler: Any) -> None:
        if scheme and not lets_in(scheme, "GET", handler.headers.get("Authorization")):
            send(handler, b"<html>", 401, "text/html", WWW_Authenticate=challenge(scheme))
        else:
            send(handler, jpeg(next(taken)))

    return answer


def h264(images: list[np.ndarray]) -> tuple[bytes, list[list[bytes]]]:
    """SPS and PPS for an SDP, and the NAL units of each image; all but the first image lean on it."""
    with av.open(io.BytesIO(), "w", format="h264") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": "1000", "bf": "0", "tune": "zerolatency", "qp": "12", "x264-params": "slices=1"}
        units = list[list[bytes]]()
        for i, image in enumerate([*images, None]):
            frame = None
            if image is not None:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 10)
            for packet in stream.encode(frame):
                units.append([unit for unit in re.split(rb"\x00\x00\x00?\x01", bytes(packet)) if unit])
    sets = b",".join(base64.b64encode(unit) for unit in units[0] if unit[0] & 31 in (7, 8))
    return sets, units


class Rtsp:
    """A camera by RTSP over TCP (RFC 2326, RFC 6184): each client gets key frames of its own number, from 0 on.

    ``scheme`` asks for the password; ``silent`` says after which method nothing is sent any more.
    """

    def __init__(self, scheme: str = "", silent: str = "") -> None:
        self.scheme, self.silent = scheme, silent
        self.asked, self.taken = list[str](), 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._listen)]
        self._over = threading.Event()
        self._threads[0].start()

    def __enter__(self) -> Rtsp:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(15)
            with connection.makefile("rb") as file:
                while not self._over.is_set():
                    if not self._answer(connection, file):
                        return

    def _answer(self, connection: socket.socket, file: Any) -> bool:
        lines = list[str]()
        while (line := file.readline().decode().rstrip("\r\n")) or not lines:
            if not line:
                return False
            lines.append(line)
        method, url, _ = lines[0].split(" ")
        headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in lines[1:])
        self.asked.append(f"{method} {url}")
        status, more, body = "200 OK", "", b""
        if self.silent == method:
            self._over.wait(15)
            return False
        if self.scheme and method != "OPTIONS" and not lets_in(self.scheme, method, headers.get("authorization")):
            asked = challenge(self.scheme).partition(", qop")[0]
            status, more = "401 Unauthorized", f"WWW-Authenticate: {asked}\r\n"
        elif method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            self._sets, self._units = h264([coded_frame(self.taken), coded_frame(self.taken + 1)])
            self.taken += 1
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={self._sets.decode()}\r\na=control:track1\r\n"
            ).encode()
            more = f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7\r\n"
        elif method == "PLAY":
            more = "Session: 7\r\n"
        elif method == "TEARDOWN":
            return False
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        answer = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}{length}\r\n".encode() + body
        connection.sendall(answer)
        if method == "PLAY":
            self._play(connection)
        return True

    def _play(self, connection: socket.socket) -> None:
        """First what leans on a frame that this client never got, as from a running camera; then key frames, too."""
        sequence = round_ = 0
        while not self._over.wait(0.01):  # until the client has enough, and is gone
            units, round_ = self._units[(round_ + 1) % 2], round_ + 1
            for i, unit in enumerate(units):
                last = 0x80 if i == len(units) - 1 else 0
                packet = struct.pack(">BBHII", 0x80, last | 96, sequence, 9000 * round_, 1) + unit
                connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1
