"""The preview: a small page that shows how a roll stands. It reads and never writes.

``/`` is the page, ``/state.json`` the state, ``/journal.json`` the journal's last lines, ``/original.jpg`` and
``/painting.jpg`` the newest of each, scaled to :data:`SIDE`. Unless told otherwise it listens on this machine alone,
and then answers to this machine's own names only, so that no web page elsewhere can have a browser read it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2

from pleinair.errors import ImageError, OptionError
from pleinair.images import read_image
from pleinair.rolls.journal import Line, tail
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


class Preview:
    """Serves the page while the context is open. ``status`` tells how the roll stands."""

    def __init__(self, roll: Path, status: Callable[[], Status], port: int, host: str = "127.0.0.1") -> None:
        """``port`` 0 takes a free one. Raises OptionError when the address cannot be had."""
        self._roll, self._status = roll, status
        self._local = host in _LOCAL
        self._scaled: dict[str, tuple[tuple[str, int], bytes]] = {}
        self._scaling = threading.Lock()
        self._page = Path(__file__).with_name("preview.html").read_bytes()
        preview = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_GET(self) -> None:
                preview._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"{port} on {host}: {cause}", option="preview") from error
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"http://{'localhost' if self._local else host}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="preview", daemon=True)

    def __enter__(self) -> Preview:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        name = (request.headers.get("Host") or "").rpartition(":")[0].strip("[]") or request.headers.get("Host", "")
        if self._local and name not in _LOCAL:
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
        elif path in ("/original.jpg", "/painting.jpg"):
            picture = self._picture(path[1:-4])
            if picture is None:
                self._send(request, 404, "text/plain", b"none yet\n")
            else:
                self._send(request, 200, "image/jpeg", picture)
        else:
            self._send(request, 404, "text/plain", b"not found\n")

    def _send(self, request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        try:
            request.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                request.send_header(name, value)
            request.end_headers()
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
