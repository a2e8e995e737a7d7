"""A camera in a process of its own, with a deadline for each frame.

Camera stacks hang, and a capture that never returns cannot be interrupted from within its process. So the camera lives
in a child process, which is killed when a frame does not come in time. It is started again at once the first time, then
after a pause that doubles up to a minute. Whatever happens there, the caller gets a frame or a CameraError, in time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from pleinair.cameras.camera import Frame, Shooter
from pleinair.errors import CameraError, PleinairError
from pleinair.processes import as_child, start_child

_LONGEST_WAIT = 60.0


def _serve(connection: Any, make: Callable[[], Shooter]) -> None:
    """The child process: opens the camera, then answers each request with a frame or an error."""
    as_child()
    try:
        camera = make()
    except Exception as error:
        told = str(error) if isinstance(error, PleinairError) else f"{type(error).__name__}: {error}"
        connection.send(("refused", told))
        return
    connection.send(("ready", camera.name, camera.size))
    with contextlib.suppress(EOFError):
        while True:
            connection.recv()
            try:
                frame = camera.shoot()
            except PleinairError as error:
                connection.send(("failed", str(error)))
                continue
            except Exception as error:
                # Whatever a camera stack raises: start anew.
                connection.send(("crashed", f"{type(error).__name__}: {error}"))
                raise
            if frame is None:
                connection.send(("end",))
                continue
            image = np.ascontiguousarray(frame.image)
            connection.send(("frame", image.shape, str(image.dtype), frame.seconds, frame.name, dict(frame.metadata)))
            connection.send_bytes(image.tobytes())


class GuardedCamera:
    """Runs the camera that ``make`` opens, a function that a new process can import, in a child process."""

    live = True

    def __init__(
        self,
        make: Callable[[], Shooter],
        name: str,
        *,
        deadline: float = 20.0,
        start_deadline: float = 60.0,
        patient: bool = False,
    ) -> None:
        """``deadline`` seconds for a frame, ``start_deadline`` to open.

        Raises CameraError when it does not open, unless ``patient``: then it is tried again with each frame asked for.
        """
        self.name, self.size = name, (0, 0)
        #: Times the camera's process was started again.
        self.restarts = 0
        self._make, self._deadline, self._start_deadline = make, deadline, start_deadline
        self._process: Any = None
        self._connection: Any = None
        # One thread for all starts: a child dies with the thread that made it.
        self._starter = ThreadPoolExecutor(1, "camera start")
        self._starting: Future[None] | None = None
        self._index = 0
        self._wait, self._not_before = 0.0, 0.0
        self._problem = ""
        self._starter.submit(self._start).result()
        if self._process is None and not patient:
            self._starter.shutdown()
            raise CameraError(self._problem)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        try:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._make), daemon=True)
            start_child(process)
            theirs.close()
        except OSError as error:  # no descriptor or process to be had for the moment
            self._problem = f"camera {self.name}: {error.strerror}"
            return
        try:
            answer = self._receive(process, ours, self._start_deadline)
            if answer[0] != "ready":
                raise CameraError(answer[1])
            if not self.name:
                self.name = answer[1]
            self.size = answer[2]
            self._process, self._connection, self._problem = process, ours, ""
        except CameraError as error:
            self._problem = str(error)
            process.kill()
            process.join()
            ours.close()

    def _receive(self, process: Any, connection: Any, seconds: float, raw: bool = False) -> Any:
        """A message of the child, which is killed when it does not send one in time."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            return connection.recv_bytes() if raw else connection.recv()
        except (EOFError, OSError) as error:
            process.join(1)
            what = f"hung for {seconds:g} s" if late.is_set() else f"its process died (status {process.exitcode})"
            raise CameraError(f"camera {self.name}: {what}") from error
        finally:
            timer.cancel()

    def shoot(self) -> Frame | None:
        """See :class:`~pleinair.cameras.camera.Shooter`.

        Raises CameraError when a frame does not come, and while the camera is being started again.
        """
        if self._starting is not None and self._starting.done():
            self._starting = None
        if self._process is None:
            self._restart()
            raise CameraError(self._problem or f"camera {self.name}: is being started again")
        began = time.monotonic()
        try:
            self._connection.send("shoot")
            answer = self._receive(self._process, self._connection, self._deadline)
            if answer[0] == "crashed":
                raise CameraError(f"camera {self.name}: its process died ({answer[1]})")
            if answer[0] == "frame":
                left = max(1.0, self._deadline - (time.monotonic() - began))
                data = self._receive(self._process, self._connection, left, raw=True)
        except (CameraError, OSError) as error:
            self._problem = str(error)
            self._end()
            self._restart()
            raise CameraError(self._problem) from error
        if answer[0] == "end":
            return None
        if answer[0] == "failed":
            raise CameraError(answer[1])
        _, shape, dtype, seconds, name, metadata = answer
        if dtype != "uint8" or len(shape) != 3 or shape[2] != 3 or len(data) != int(np.prod(shape)):
            raise CameraError(f"camera {self.name}: gave {len(data)} bytes for a picture of {dtype} {tuple(shape)}")
        self._wait = 0.0
        image = np.frombuffer(data, np.uint8).reshape(shape)
        frame = Frame(image, self._index, seconds, name, self._index, metadata)
        self._index += 1
        return frame

    def _restart(self) -> None:
        """Start the camera again beside the ticks, which go on."""
        if self._starting is not None or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + self._wait
        self._wait = min(_LONGEST_WAIT, max(1.0, 2 * self._wait))
        self.restarts += 1
        self._starting = self._starter.submit(self._start)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def close(self) -> None:
        """See :class:`~pleinair.cameras.camera.Shooter`."""
        if self._starting is not None:
            self._starting.result()
        self._end()
        self._starter.shutdown()
