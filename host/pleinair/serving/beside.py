"""The page of a roll that this process films, served by another process.

Capture would wait for viewers if both shared one Python, which runs one thread at a time. So the process that films
only listens: it opens the port and hands it on. The other process reads the roll from its disk, as ``pleinair serve``
does, and changes nothing. When it dies, another one takes its place; browsers wait meanwhile.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from pleinair.errors import OptionError
from pleinair.processes import as_child, isolated
from pleinair.serving.listening import Names, listen

_PROGRAM = "from pleinair.serving.beside import serve; serve()"
#: Seconds until a port that is taken is tried again, and until a page that ended begins again.
_AGAIN = 15.0
#: Lower than capture and as painting.
_NICE = 5
#: Pictures that it keeps in memory.
_PICTURES = 16
#: What serves, and comes with an extra.
_LIBRARIES = ("starlette", "uvicorn")


class Beside:
    """The page of one roll while the context is open."""

    def __init__(self, roll: Path, port: int, host: str = "127.0.0.1") -> None:
        """``port`` 0 takes a free one. After ``host`` and a comma, further names by which the page is asked for.

        :attr:`problem` says why the port cannot be had; it is tried again and again. Raises ImportError where a library
        is missing.
        """
        for name in _LIBRARIES:
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self._roll, self._host, self._names = roll.absolute(), host, Names(host, "preview_host")
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        #: Why there is no page yet; "" when there is.
        self.problem = ""
        self.port = port
        self._listen()
        self._thread = threading.Thread(target=self._keep, name="page", daemon=True)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return self._names.address(self.port)

    def _listen(self) -> None:
        try:
            self._listener = listen(self._names, self.port, "preview")
        except OptionError as error:
            self.problem = str(error)
        else:
            self.port, self.problem = self._listener.getsockname()[1], ""

    def _keep(self) -> None:
        """Have a process serve, and another one when that ends."""
        while not self._closed.is_set():
            if self._listener is None:
                self._listen()
            else:
                self._serve(self._listener)
            self._closed.wait(_AGAIN)

    def _serve(self, listener: socket.socket) -> None:
        # The process ends with the thread that starts it, so it is started here.
        command = [*isolated(_PROGRAM), str(listener.fileno()), self._host, os.fspath(self._roll)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()], cwd="/"
            )
        except OSError:
            return  # no memory or no descriptor for the moment
        with process:
            self._process = process
            if self._closed.is_set():
                process.kill()
            process.wait()

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join()
        if self._listener is not None:
            self._listener.close()


def serve() -> None:
    """The process that serves: its arguments are a descriptor that listens, a host with names, and a roll."""
    as_child()
    os.nice(_NICE)
    import cv2

    from pleinair.serving.server import Server
    from pleinair.serving.shelf import Shelf
    from pleinair.serving.site import Site

    cv2.setNumThreads(1)
    descriptor, host, roll = sys.argv[1:]
    site = Site(Shelf(Path(roll)), most=_PICTURES)
    with Server(site.app, Names(host), socket.socket(fileno=int(descriptor))):
        threading.Event().wait()  # until it is killed
