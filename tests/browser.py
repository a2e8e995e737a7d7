"""A headless Chromium that tests drive: the page is looked at, clicked on, and given files, as people do.

It speaks the DevTools protocol over two pipes: messages of JSON, each ended by a zero byte
(https://chromedevtools.github.io/devtools-protocol/).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import children

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
#: Chromium reads at descriptor 3 and writes at 4.
_LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
#: Seconds for an answer, and for what is waited for.
_PATIENCE = 120.0


class Browser:
    """One page in a browser of its own, ``size`` (width, height) pixels large; ``place`` is a folder for its files."""

    def __init__(
        self, place: Path, size: tuple[int, int] = (1200, 1300), *, dark: bool = False, scale: float = 1.0
    ) -> None:
        assert CHROMIUM is not None
        # Above 4, so that the launcher takes neither of them away.
        (read, theirs_out), (theirs_in, write) = os.pipe(), os.pipe()
        pipes = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={place / 'browser'}"]
        command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *map(str, pipes), CHROMIUM, *flags]
        self._process = children.start(
            command,
            deadline=3600,
            pass_fds=pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in pipes:
            os.close(end)
        self._read, self._write, self._buffer, self._number = read, write, b"", 0
        self._session = ""
        #: What went wrong on the page: exceptions, and what was refused to it.
        self.faults: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(size, scale)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[theme])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("the browser does not answer")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a command of the protocol is answered."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        deadline = time.monotonic() + _PATIENCE
        while True:
            told = self._next(deadline)
            if told.get("id") == self._number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]  # type: ignore[no-any-return]
            if told.get("method") == "Runtime.exceptionThrown":
                self.faults.append(str(told["params"]["exceptionDetails"]))
            elif told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.faults.append(told["params"]["entry"]["text"])
            elif told.get("method") == "Page.javascriptDialogOpening":
                self._accept()

    def _accept(self) -> None:
        """Say yes to what the page asks; the answer to that, which is number 0, is passed over."""
        asked = {"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
        os.write(self._write, json.dumps({**asked, "sessionId": self._session}).encode() + b"\0")

    # -- what one does with a page

    def resize(self, size: tuple[int, int], scale: float = 1.0) -> None:
        """Give the page another size in CSS pixels, each of ``scale`` dots."""
        self.scale = scale
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=scale, mobile=False
        )

    def open(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        self.ask("Page.navigate", url=address)
        self.wait_for(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript on the page."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait_for(self, script: str, patience: float = _PATIENCE) -> None:
        """Wait until an expression is true, for so many seconds at most."""
        deadline = time.monotonic() + patience
        while not self.run(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)

    def text(self, selector: str = "main") -> str:
        """The words that are seen in an element, with single blanks."""
        return " ".join(str(self.run(f"document.querySelector({json.dumps(selector)}).innerText")).split())

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field in place of what it has."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.ask("Input.insertText", text=text)

    def _centre(self, selector: str) -> tuple[float, float]:
        """The middle of an element, which is brought into view."""
        box = self.run(
            f"(e => (e.scrollIntoView({{block: 'center'}}), e = e.getBoundingClientRect(), [e.x + e.width / 2, "
            f"e.y + e.height / 2]))(document.querySelector({json.dumps(selector)}))"
        )
        return box[0], box[1]

    def click(self, selector: str) -> None:
        """Click on an element with the mouse."""
        x, y = self._centre(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drop(self, selector: str, file: Path) -> None:
        """Drop a file on an element, as one drags it in from a folder."""
        x, y = self._centre(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def picture(self, *, whole: bool = False, kind: str = "png", **more: Any) -> bytes:
        """What is seen, or the ``whole`` page, as a picture; ``more`` is Page.captureScreenshot's."""
        size = more
        if whole:
            width, height = self.run("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            size = {**more, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        shot = self.ask("Page.captureScreenshot", format=kind, captureBeyondViewport=whole, **size)
        return base64.b64decode(shot["data"])
