"""Painting several frames at a time, each in a thread of its own; the paintings come in the frames' order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Painted:
    """A painting, the seconds that it took, and the seconds that its thread computed."""

    painting: np.ndarray
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Task:
    """How a frame is painted, and how many frames of its kind are painted at a time."""

    paint: Callable[[], np.ndarray]
    at_once: int


def paint_side_by_side(
    frames: Iterable[np.ndarray], prepare: Callable[[np.ndarray], Task]
) -> Generator[Painted, None, None]:
    """Paint ``frames``; ``prepare`` says how each is painted.

    Reads one frame more ahead than are painted at a time, and reads on only when the next painting is asked for. What
    ``frames``, ``prepare`` or painting raises is raised after the paintings of all frames before it. Closing the
    generator waits for the frames that are being painted and leaves out the rest.
    """
    source = iter(frames)
    painting = deque[Future[Painted]]()
    pool, workers = None, 0
    failure: Exception | None = None
    try:
        while True:
            try:
                task = prepare(next(source))
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            if pool is None or workers != task.at_once:
                while painting:
                    yield painting.popleft().result()
                if pool is not None:
                    pool.shutdown()
                pool, workers = ThreadPoolExecutor(task.at_once, thread_name_prefix="painter"), task.at_once
            painting.append(pool.submit(_timed, task))
            # One more than are painted at a time, so that no thread waits while a painting is handed on.
            if len(painting) > task.at_once:
                yield painting.popleft().result()
        while painting:
            yield painting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _timed(task: Task) -> Painted:
    began, computed = time.monotonic(), time.thread_time()
    painting = task.paint()
    return Painted(painting, time.monotonic() - began, time.thread_time() - computed)
