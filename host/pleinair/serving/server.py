"""The page's server: Starlette's application on uvicorn, in a thread.

Connections are few and have deadlines, and what takes long runs in few threads. When all connections are taken, a new
one takes the place of the one that has waited longest with nothing asked. Who asks for another name than the server's
is refused.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pleinair.serving.listening import Names

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Sent with every answer.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; media-src 'self'; connect-src 'self'; "
    "style-src 'self'; script-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
}
#: Connections at a time, and as many that wait for one.
MOST_CONNECTIONS = 128
#: Seconds for a request to come, and for a client to take what it was sent; for a whole answer, such as a film; and
#: between two looks at that.
_DEADLINE, _LONGEST, _LOOK = 20.0, 3600.0, 1.0
#: Threads that read files and scale pictures.
_THREADS = 6
#: Seconds that a browser waits at least and at most before it asks again; questions a second that are aimed at, and
#: seconds over which they are counted.
_PAUSES, _RATE, _WINDOW = (2.0, 60.0), 10.0, 5.0


class Pace:
    """How long browsers wait before they ask again: many of them ask no more often together than a few do."""

    def __init__(self) -> None:
        self._pause, self._since, self._asked = _PAUSES[0], 0.0, 0
        self._lock = threading.Lock()

    def next(self, now: float) -> float:
        """Seconds for a browser that asks at ``now``, in seconds of any clock."""
        with self._lock:
            passed = now - self._since
            if passed >= _WINDOW:
                viewers = self._asked / passed * self._pause
                self._pause = min(_PAUSES[1], max(_PAUSES[0], round(viewers / _RATE, 1)))
                self._since, self._asked = now, 0
            self._asked += 1
            return self._pause


class _Guard:
    """Refuses requests for other names, and gives each answer its headers."""

    def __init__(self, app: ASGIApp, names: Names) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        known = len(hosts) == 1 and self._names.know(hosts[0].decode("latin-1"))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = _HEADERS if b"cache-control" in given else {**_HEADERS, "Cache-Control": "no-store"}
                message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in more.items())]
            await send(message)

        if known:
            await self._app(scope, receive, with_headers)
            return
        headers = [(b"content-type", b"text/plain"), (b"connection", b"close"), (b"content-length", b"15")]
        await with_headers({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": b"not from there\n"})


class _Connection(H11Protocol):
    """A connection that ends at its deadline, whatever its client does."""

    _open: dict[_Connection, None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._waits_since = self._began = time.monotonic()
        self._stalled: float | None = None
        self._busy = False
        if len(self._open) >= MOST_CONNECTIONS:
            idle = next((other for other in self._open if not other._answers()), None)
            (idle or self).transport.abort()
            if idle is None:
                return
            del self._open[idle]
        self._open[self] = None
        self._timer = self.loop.call_later(_LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._open.pop(self, None)
        super().connection_lost(exc)

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        now, answers = time.monotonic(), self._answers()
        if answers != self._busy:
            self._busy, self._waits_since = answers, now
        if self._stalled is not None:
            late = now - self._stalled > _DEADLINE
        else:
            late = now - self._waits_since > (_LONGEST if answers else _DEADLINE)
        if late or self.transport.is_closing():
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(_LOOK, self._look)

    def pause_writing(self) -> None:
        """See asyncio: the client does not take what it was sent."""
        super().pause_writing()
        self._stalled = time.monotonic()

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self._stalled = None


class Server:
    """Serves an application while the context is open."""

    def __init__(self, app: ASGIApp, names: Names, listener: socket.socket) -> None:
        """``listener`` was opened by :func:`~pleinair.serving.listening.listen`, and is closed in the end."""
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        #: Where a browser finds the page.
        self.address = names.address(self.port)
        connection = type("Connection", (_Connection,), {"_open": {}})
        config = uvicorn.Config(
            _Guard(app, names),
            http=connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._uvicorn.server_state.connections)

    def _serve(self) -> None:
        with self._listener:
            asyncio.run(self._run())

    async def _run(self) -> None:
        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            # No descriptor to spare, a client that went away: nobody's trouble.
            if not isinstance(context.get("exception"), OSError):
                loop.default_exception_handler(context)

        asyncio.get_running_loop().set_exception_handler(handle)
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await self._uvicorn.serve(sockets=[self._listener])

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = self._uvicorn.force_exit = True
        self._thread.join()
