"""The preview: a small page that shows how a roll stands. It reads and never writes.

``/`` is the page, ``/state.json`` the state, ``/journal.json`` the journal's last lines, ``/original.jpg`` and
``/painting.jpg`` the newest of each, scaled to :data:`SIDE`, ``/days/2026-11-25-strip.png`` a day's pictures, as
``--daily`` makes them. Unless told otherwise it listens on this machine alone,
and then answers to this machine's own names only; to the network it answers by address and by this machine's names. So
no web page elsewhere can have a browser read it. It never costs a frame: its connections are few and have a deadline.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2

from pleinair.errors import ImageError, OptionError
from pleinair.images import read_image
from pleinair.rolls.journal import Line, tail
from pleinair.rolls.roll import FILMS
from pleinair.rolls.status import Status

#: Longer side of the pictures shown, in pixels.
SIDE = 1600
_QUALITY = 88
_LINES = 14
_LOCAL = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
}


#: Seconds for a whole request, and until a port that is taken is tried again.
_DEADLINE, _AGAIN = 20, 15.0
#: Connections at a time; a further one is closed at once.
MOST_CONNECTIONS = 16
_ICON = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="3" fill="#b26a00"/></svg>'


_DAY = re.compile(r"/days/([0-9]{4}-[0-9]{2}-[0-9]{2}-(?:strip|sheet|brightness)\.png)")
#: Bytes of a day's picture at most.
_LARGEST = 64 << 20


class _Server(ThreadingHTTPServer):
    """A server that cannot cost a frame: few connections, each with a deadline, whatever its client does."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((host, port), handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """See socketserver; without a descriptor to spare it waits a little."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.2)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """See socketserver."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See socketserver."""

        def end() -> None:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_DEADLINE, end)
        timer.daemon = True
        try:
            timer.start()
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's trouble."""


class Preview:
    """Serves the page while the context is open. ``status`` tells how the roll stands."""

    def __init__(
        self,
        roll: Path,
        status: Callable[[], Status],
        port: int,
        host: str = "127.0.0.1",
        *,
        patient: bool = False,
    ) -> None:
        """``port`` 0 takes a free one. After ``host`` and a comma, further names by which the page is asked for.

        Raises OptionError when the address cannot be had; ``patient`` tries again, and ``problem`` says why.
        """
        self._roll, self._status = roll, status
        self._host, *names = (name.strip() for name in host.split(","))
        self._local = self._host in _LOCAL
        own = socket.gethostname().lower()
        self._names = {*_LOCAL, *map(str.lower, names)}
        if not self._local:
            self._names |= {self._host.lower(), own, f"{own.partition('.')[0]}.local"}
        self._scaled: dict[str, tuple[tuple[str, int], bytes]] = {}
        self._scaling = threading.Lock()
        self._page = Path(__file__).with_name("preview.html").read_bytes()
        preview = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _DEADLINE

            def do_GET(self) -> None:
                preview._answer(self)

            def do_HEAD(self) -> None:
                preview._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._handler = Handler
        self._server: _Server | None = None
        self._closed, self._changing, self._serving = threading.Event(), threading.Lock(), False
        #: Why there is no page yet; "" when there is.
        self.problem = ""
        self.port = port
        try:
            self._open()
        except OptionError as error:
            if not patient:
                raise
            self.problem = str(error)
        self._thread = threading.Thread(target=self._serve, name="preview", daemon=True)

    def _open(self) -> None:
        try:
            self._server = _Server(self._host, self.port, self._handler)
        except (OSError, OverflowError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"{self.port} on {self._host}: {cause}", option="preview") from error
        self.port, self.problem = self._server.server_address[1], ""

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        shown = "localhost" if self._local else f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{shown}:{self.port}/"

    def _serve(self) -> None:
        while self._server is None:
            if self._closed.wait(_AGAIN):
                return
            with contextlib.suppress(OptionError):
                self._open()
        with self._changing:
            if self._closed.is_set():
                self._server.server_close()
                return
            self._serving = True
        self._server.serve_forever()

    def __enter__(self) -> Preview:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changing:
            self._closed.set()
        if self._serving and self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._thread.join()

    def _is_known(self, name: str) -> bool:
        """Whether a request may be for this name: this machine's, or an address; a page elsewhere can take neither."""
        name = name.lower().rstrip(".")
        if name in self._names:
            return True
        if self._local:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]{1,5})?", request.headers.get("Host") or "")
        if asked is None or not self._is_known(asked[1].strip("[]")):
            self._send(request, 403, "text/plain", b"not from there\n")
            return
        path = request.path.partition("?")[0]
        if path == "/":
            self._send(request, 200, "text/html; charset=utf-8", self._page)
        elif path == "/state.json":
            state = {**self._status().to_json(), "roll": self._roll.resolve().name}
            self._send(request, 200, "application/json", json.dumps(state).encode())
        elif path == "/journal.json":
            self._send(request, 200, "application/json", json.dumps(self._journal()).encode())
        elif path == "/favicon.ico":
            self._send(request, 200, "image/svg+xml", _ICON)
        elif path in ("/original.jpg", "/painting.jpg"):
            picture = self._picture(path[1:-4])
            if picture is None:
                self._send(request, 404, "text/plain", b"none yet\n")
            else:
                self._send(request, 200, "image/jpeg", picture)
        elif (asked := _DAY.fullmatch(path)) is not None and (day := self._day(asked[1])) is not None:
            self._send(request, 200, "image/png", day)
        else:
            self._send(request, 404, "text/plain", b"not found\n")

    def _send(self, request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        try:
            request.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                request.send_header(name, value)
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(body)
        except OSError:
            request.close_connection = True  # the browser has gone

    def _journal(self) -> list[Line]:
        records = tail(self._roll / "journal.jsonl", _LINES)
        return [{k: v for k, v in record.items() if k not in ("settings", "sha256")} for record in records]

    def _picture(self, which: str) -> bytes | None:
        """The newest original or painting as a JPEG to show; None when there is none or it cannot be read."""
        path = self._newest(which)
        if path is None:
            return None
        try:
            key = (str(path), path.stat().st_mtime_ns)
            with self._scaling:
                if which not in self._scaled or self._scaled[which][0] != key:
                    self._scaled[which] = (key, _shrunk(path))
                return self._scaled[which][1]
        except (OSError, ImageError):
            return None

    def _day(self, name: str) -> bytes | None:
        """A picture of a day; None where there is none."""
        path = self._roll / FILMS / name
        try:
            return None if path.is_symlink() or path.stat().st_size > _LARGEST else path.read_bytes()
        except OSError:
            return None

    def _newest(self, which: str) -> Path | None:
        if which == "painting":
            path = self._roll / "paintings" / self._status().look / "latest.jpg"
            return path if path.exists() else None
        folders = sorted((self._roll / "originals").iterdir(), reverse=True)
        for folder in folders[:2]:
            found = sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png"))
            if found:
                return found[-1]
        return None


def _shrunk(path: Path) -> bytes:
    image = read_image(path)
    scale = SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(data.tobytes())
