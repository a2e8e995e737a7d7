"""A cluster in this process, for tests: its workers do what a test wants of them, in an order that a seed gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pleinair.errors import FarmError, PleinairError
from pleinair.farm.cluster import LostError, Result
from pleinair.farm.work import METER, Done, Job, Unfit
from pleinair.network.light import Sums

#: Changes a worker's answer to a job on frames.
Habit = Callable[[Job, Sequence[np.ndarray], Any], Any]


class Died(BaseException):
    """The process of a worker ends in the middle of a task."""


def honest(job: Job, frames: Sequence[np.ndarray], done: Any) -> Any:
    """Changes nothing."""
    return done


def flips(share: float, seed: int = 0, kinds: Collection[str] = ("paint",)) -> Habit:
    """Flips a bit of one pixel in this share of the frames, or takes one from a sum of a metered frame.

    Another seed is another pixel, so that liars do not agree.
    """
    chance = random.Random(seed)

    def habit(job: Job, frames: Sequence[np.ndarray], done: Done) -> Done:
        if job.kind not in kinds:
            return done
        if job.kind == METER:
            return replace(done, sums=tuple(_moved(sums) if chance.random() < share else sums for sums in done.sums))
        paintings = []
        for painting in done.paintings:
            painting = painting.copy()
            if chance.random() < share:
                painting[seed, 0, 0] ^= 1
            paintings.append(painting)
        return replace(done, paintings=tuple(paintings))

    return habit


def _moved(sums: tuple[Sums, ...]) -> tuple[Sums, ...]:
    first = sums[0]
    return (Sums(first.count, (max(0, first.first[0] - 1), *first.first[1:]), first.second), *sums[1:])


def unfit(job: Job, frames: Sequence[np.ndarray], done: Any) -> Any:
    """A worker without an engine."""
    return Unfit("cannot paint: onnxruntime is not installed")


@dataclass(eq=False)
class _Task:
    function: Callable[..., Any]
    job: Job
    shared: Any
    values: tuple[Any, ...]
    away: frozenset[str]


@dataclass
class Village:
    """See :class:`pleinair.farm.cluster.Cluster`. ``habits`` are its workers'; ``losses`` the share of tasks lost."""

    habits: dict[str, Habit]
    seed: int = 0
    losses: float = 0.0
    store: int = 1 << 30
    #: The most tasks that were out at a time, and the bytes of frames that they held.
    most_out: int = 0
    most_bytes: int = 0
    done: int = 0
    chance: random.Random = field(init=False)
    out: list[_Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def keep(self, value: Any) -> Any:
        """See Cluster."""
        return value

    def submit(
        self,
        function: Callable[..., Any],
        job: Any,
        shared: Any,
        *handles: Any,
        cores: int,
        gpus: int = 0,
        name: str,
        away: Collection[str] = (),
    ) -> Any:
        """See Cluster."""
        task = _Task(function, job, shared, handles, frozenset(away))
        self.out.append(task)
        self.most_out = max(self.most_out, len(self.out))
        self.most_bytes = max(
            self.most_bytes, sum(frame.nbytes for t in self.out for part in t.values for frame in part)
        )
        return task

    def ready(self, tasks: Sequence[Any], seconds: float) -> list[Any]:
        """A few of those that anybody may do, in any order; none where nobody waits."""
        able = [task for task in tasks if self.habits.keys() - task.away]
        return self.chance.sample(able, min(len(able), self.chance.randint(1 if seconds else 0, 3)))

    def result(self, task: Any) -> Result:
        """See Cluster."""
        self.out.remove(task)
        if self.chance.random() < self.losses:
            raise LostError("the worker died")
        worker = self.chance.choice(sorted(self.habits.keys() - task.away))
        # A worker sees what it was sent, and can change nothing of ours.
        parts = [tuple(frame.copy() for frame in part) for part in task.values]
        try:
            answer = task.function(task.job, lambda: task.shared, *parts)
        except Died as error:
            raise LostError("the worker died") from error
        except PleinairError as error:
            raise FarmError(f"a worker at 10.0.0.1: {error}") from error
        self.done += 1
        return Result(worker, self.habits[worker](task.job, [frame for part in parts for frame in part], answer))

    def cancel(self, task: Any) -> None:
        """See Cluster."""
        if task in self.out:
            self.out.remove(task)

    def workers(self) -> dict[str, str]:
        """See Cluster."""
        return {worker: f"10.0.0.{i}" for i, worker in enumerate(self.habits)}

    def slots(self, cores: int) -> int:
        """See Cluster."""
        return len(self.habits)

    def room(self) -> int:
        """See Cluster."""
        return self.store

    def close(self) -> None:
        """See Cluster."""
