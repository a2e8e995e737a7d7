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
from pleinair.processes import as_child, start_child
from pleinair.rolls.developer import Developer, Event, OpenLook, Place, open_look

#: A frame at which painting died so often is left out.
_CHANCES = 3


@dataclass(frozen=True)
class Work:
    """What a darkroom is to paint: originals ``first`` .. ``last``, leaving out ``avoid``.

    ``complete`` says that no more will come, so that the last piece is closed; ``close`` that it is to be closed
    although more will come. After each frame the darkroom rests ``rest`` times as long as the frame took. Frames up to
    ``alone_to`` are painted one at a time.
    """

    first: int = 0
    last: int = -1
    complete: bool = False
    close: bool = False
    rest: float = 0.0
    avoid: frozenset[int] = frozenset()
    alone_to: int = -1


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

        def begin(seq: int) -> bool:
            # Where other work has come, the frames that were begun are painted and told of first.
            if connection.poll():
                return False
            connection.send(Event("begins", seq))
            return True

        while True:
            developer.avoid = set(work.avoid)
            # While the machine rests, nothing is to be painted beside it.
            alone_to = work.last if work.rest else work.alone_to
            for event in developer.develop(
                work.first, work.last, work.complete or work.close, begin=begin, alone_to=alone_to
            ):
                connection.send(event)
                if event.kind == "painted" and work.rest:
                    time.sleep(work.rest * event.seconds)
            if not connection.poll():
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
        self._avoid = frozenset[int]()
        self._alone_to = -1
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
            try:
                painted = self._run_child()
            except OSError as error:  # no descriptor or process to be had for the moment
                painted = False
                self._tell(Event("failed", message=f"painting: {error.strerror}"))
            wait = 0.25 if painted else min(60.0, 2 * wait)
            if not self.done.is_set():
                self._stop.wait(wait)

    def _run_child(self) -> bool:
        """One life of the process; whether it painted a frame."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_develop, args=(theirs, self._place, self._painter), daemon=True)
        start_child(process)
        theirs.close()
        sent, painted, ended, cause = None, 0, "", ""
        begun = list[int]()
        heard, busy = time.monotonic(), True
        try:
            while not self._stop.is_set() and not self.done.is_set():
                work = self._work()
                # A process at work learns of further frames when it has painted those that it knows.
                if sent is not None and work != sent and (not busy or work != replace(sent, last=work.last)):
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
                    sent = self._work()
                    ours.send(sent)
                elif event.kind == "crashed":
                    cause = event.message
                    continue
                elif event.kind == "begins":
                    begun.append(event.seq)
                    continue
                elif event.kind == "painted":
                    painted += 1
                    self._slowest = max(self._slowest, event.seconds)
                elif event.kind == "idle":
                    busy = False
                    if event.message and sent == self._work():
                        self.done.set()
                if event.kind in ("painted", "lost", "left out"):
                    begun.remove(event.seq)
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
            self._strike(begun, ended)
        return painted > 0

    def _work(self) -> Work:
        """What is to be painted, and what this has learnt from deaths before."""
        return replace(self.work, avoid=self._avoid, alone_to=self._alone_to)

    def _strike(self, begun: list[int], ended: str) -> None:
        """The process ended with frames begun: one of them was the last straw, if there are any."""
        where = ""
        if len(begun) == 1:
            where = f" at frame {begun[0]}"
        elif begun:
            where = f" at one of the frames {begun[0]} to {begun[-1]}"
        kind = ended.partition(" ")[0].rstrip(":")
        seq = begun[0] if begun else -1
        self._tell(Event(kind, seq, message=f"the painting process {ended}{where}"))
        if len(begun) > 1:
            # Painted one at a time, they will show which of them it is.
            self._alone_to = begun[-1]
        elif begun:
            self._strikes[seq] = self._strikes.get(seq, 0) + 1
            if self._strikes[seq] >= _CHANCES:
                self._avoid |= {seq}
                self._tell(
                    Event("left out", seq, message=f"painting ended {_CHANCES} times at frame {seq}; it is left out")
                )


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {-status}"
    return f"status {status}"
