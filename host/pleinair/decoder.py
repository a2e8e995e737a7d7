"""Decoding in a process of its own, with a deadline and a bound on memory, for pictures that may take minutes.

A few kilobytes can ask a decoder for hours (scans of a JPEG, a TIFF within which is anything, HEVC). Nothing interrupts
a C library within the process, so such pictures go to a child, which is killed at its deadline and started again for
the next. It costs a copy of the pixels; pictures whose time is known beforehand are decoded where they are.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import struct
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np

from pleinair.errors import ImageError
from pleinair.processes import MEMORY, as_child, bound_memory, isolated

#: Seconds for a picture: a Pi takes some ten for the largest that is taken.
DEADLINE = 30.0
#: The child's program; ``pleinair.images`` stands above this room, so it is named and not imported.
_PROGRAM = "from pleinair.images import serve_pictures; serve_pictures()"
_LENGTH = struct.Struct("<Q")


def _read_exactly(file: IO[bytes], count: int) -> bytes:
    """So many bytes. Raises EOFError."""
    data = file.read(count)
    if len(data) != count:
        raise EOFError
    return data


class Decoder:
    """A child that decodes, started with the first picture; one picture at a time, from any thread."""

    def __init__(self, program: str = _PROGRAM, deadline: float = DEADLINE) -> None:
        self._program, self._deadline = program, deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        # One thread for all starts: a child dies with the thread that made it.
        self._starter = ThreadPoolExecutor(1, "decoder start")
        atexit.register(self.close)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(isolated(self._program), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def decode(self, data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
        """The picture, uint8 [H, W, 3] RGB, and what else the child says of it. Raises ImageError that names it."""
        with self._lock:
            try:
                process = self._starter.submit(self._start).result()
            except OSError as error:
                raise ImageError(f"image {name}: {error.strerror}") from error
            late = threading.Event()

            def kill() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(self._deadline, kill)
            timer.start()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(_LENGTH.pack(len(data)) + data)
                process.stdin.flush()
                (size,) = _LENGTH.unpack(_read_exactly(process.stdout, _LENGTH.size))
                told = json.loads(_read_exactly(process.stdout, size))
                if "error" in told:
                    raise ImageError(f"image {name}: {told['error']}")
                height, width = told["size"]
                pixels = _read_exactly(process.stdout, height * width * 3)
            except (EOFError, OSError, ValueError, KeyError) as error:
                self._end()
                why = f"takes longer than {self._deadline:g} s to decode" if late.is_set() else "its decoder died of it"
                raise ImageError(f"image {name}: {why}") from error
            finally:
                timer.cancel()
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3), told

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def close(self) -> None:
        """End the child; the next picture starts another."""
        with self._lock:
            self._end()


#: The child that this process shares.
SHARED = Decoder()


def serve(decode: Callable[[bytes], tuple[np.ndarray, dict[str, Any]]]) -> None:
    """The child: decodes each picture that it gets, until nobody is there to send any more."""
    as_child()
    bound_memory()
    # What libraries print must not come between pictures.
    answers, pictures = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    while True:
        try:
            (size,) = _LENGTH.unpack(_read_exactly(pictures, _LENGTH.size))
            data = _read_exactly(pictures, size)
        except EOFError:
            return
        image = None
        try:
            image, told = decode(data)
            told = {**told, "size": image.shape[:2]}
        except ImageError as error:
            told = {"error": str(error)}
        except MemoryError:
            told = {"error": f"needs more than {MEMORY >> 30} GiB to decode"}
        head = json.dumps(told).encode()
        answers.write(_LENGTH.pack(len(head)) + head)
        if image is not None:
            answers.write(np.ascontiguousarray(image).data)
        answers.flush()
