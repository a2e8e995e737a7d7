"""The darkroom: a developer in a process of its own, which may hang, crash or be killed for want of memory.

The capture notices nothing of that. The process is started again, and a frame that keeps killing it is left out.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2

from pleinair.errors import PleinairError
from pleinair.processes import as_child
from pleinair.rolls.developer import Developer, Event, OpenLook, Place, open_look

#: A frame at which painting died so often is left out.
_CHANCES = 3


@dataclass(frozen=True)
class Work:
    """What a darkroom is to paint: originals ``first`` .. ``last``, leaving out ``avoid``.

    ``complete`` says that no more will come, so that the last piece is closed. After each frame the darkroom rests
    ``rest`` times as long as the frame took.
    """

    first: int = 0
    last: int = -1
    complete: bool = False
    rest: float = 0.0
    avoid: frozenset[int] = frozenset()


def _develop(connection: Any, place: Place, open_painter: OpenLook) -> None:
    """The child process: paints what :class:`Work` says, tells each :class:`Event`, ends with its parent."""
    as_child()
    os.nice(5)
    cv2.setNumThreads(1)  # OpenCV's own threads spin for a while after each call, on the painter's cores
    try:
        painter = open_painter(place.look, place.backend, place.threads)
        connection.send(Event("ready", message=painter.name))
        developer = Developer(place, painter)
        work: Work = connection.recv()
        while True:
            developer.avoid = set(work.avoid)
            for event in developer.develop(work.first, work.last, work.complete):
                # Between frames, so that no event of one that was begun is lost.
                if event.kind == "begins" and connection.poll():
                    break
                connection.send(event)
                if event.kind == "painted" and work.rest:
                    time.sleep(work.rest * event.seconds)
            else:
                connection.send(Event("idle", work.last, message="complete" if work.complete else ""))
            work = connection.recv()
            while connection.poll():
                work = connection.recv()
    except EOFError:
        return
    except (PleinairError, OSError) as error:
        text = str(error) if isinstance(error, PleinairError) else f"painting: {error.strerror}"
        with contextlib.suppress(OSError):
            connection.send(Event("failed", message=text))
    except Exception as error:
        # A mistake of ours, or of a library: tell the parent, which has somewhere to write it.
        with contextlib.suppress(OSError):
            connection.send(Event("crashed", message=f"{type(error).__name__}: {error}"))
        raise


class Darkroom:
    """A developer in a process of its own, watched by a thread of this one.

    ``tell`` is called in that thread with each event. Besides the developer's there are ``ready``, ``failed`` (the
    process could not paint and says why), ``died``, and ``hung`` (it sent nothing for too long). After the last three
    the process is started again, after a pause that doubles up to a minute.
    """

    def __init__(
        self,
        place: Place,
        tell: Callable[[Event], None],
        *,
        patience: float = 600.0,
        painter: OpenLook = open_look,
    ) -> None:
        """``patience``: seconds without an event that count as hanging, until the first frame is painted.

        From then on it is ten times as long as the slowest frame took.
        """
        self.work = Work()
        self.done = threading.Event()
        self._place, self._tell, self._patience, self._painter = place, tell, patience, painter
        self._stop = threading.Event()
        self._strikes: dict[int, int] = {}
        self._slowest = 0.0
        self._thread = threading.Thread(target=self._watch, name="darkroom", daemon=True)

    def start(self) -> None:
        """Begin to paint."""
        self._thread.start()

    def close(self) -> None:
        """End painting, at the frame it is at, and wait for it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        wait = 0.25
        while not self._stop.is_set() and not self.done.is_set():
            painted = self._run_child()
            wait = 0.25 if painted else min(60.0, 2 * wait)
            if not self.done.is_set():
                self._stop.wait(wait)

    def _run_child(self) -> bool:
        """One life of the process; whether it painted a frame."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_develop, args=(theirs, self._place, self._painter), daemon=True)
        process.start()
        theirs.close()
        sent, current, painted, ended, cause = None, -1, 0, "", ""
        heard, busy = time.monotonic(), True
        try:
            while not self._stop.is_set() and not self.done.is_set():
                work = self.work
                if sent is not None and work != sent:
                    ours.send(work)
                    sent, busy, heard = work, True, time.monotonic()
                if not ours.poll(0.1):
                    limit = max(self._patience if not painted else min(60.0, self._patience), 10 * self._slowest)
                    if busy and time.monotonic() - heard > limit:
                        ended = f"hung: nothing for {limit:.0f} s"
                        break
                    continue
                event: Event = ours.recv()
                heard = time.monotonic()
                if event.kind == "ready":
                    sent = self.work
                    ours.send(sent)
                elif event.kind == "crashed":
                    cause = event.message
                    continue
                elif event.kind == "begins":
                    current = event.seq
                    continue
                elif event.kind == "painted":
                    painted += 1
                    self._slowest = max(self._slowest, event.seconds)
                elif event.kind == "idle":
                    busy = False
                    if event.message and sent == self.work:
                        self.done.set()
                current = -1 if event.kind != "failed" else current
                self._tell(event)
                if event.kind == "failed":
                    return painted > 0
        except (EOFError, OSError):
            process.join(1)
            ended = f"died ({cause or _cause(process.exitcode)})"
        finally:
            if process.is_alive():
                process.kill()
            process.join()
            ours.close()
        if ended:
            self._strike(current, ended)
        return painted > 0

    def _strike(self, seq: int, ended: str) -> None:
        kind = ended.partition(" ")[0].rstrip(":")
        self._tell(Event(kind, seq, message=f"the painting process {ended}" + (f" at frame {seq}" if seq >= 0 else "")))
        if seq < 0:
            return
        self._strikes[seq] = self._strikes.get(seq, 0) + 1
        if self._strikes[seq] >= _CHANCES:
            self.work = replace(self.work, avoid=self.work.avoid | {seq})
            self._tell(
                Event("left out", seq, message=f"painting ended {_CHANCES} times at frame {seq}; it is left out")
            )


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {-status}"
    return f"status {status}"
