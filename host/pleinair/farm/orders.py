"""Orders: pieces of work that are out at workers, and their answers, checked and audited.

A share of the frames is done again on another worker once the first has answered, so that none can know beforehand
which. Where the two differ, this machine does the frame itself, and whoever gave anything else has lied. One audit in
ten it does itself at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pleinair.errors import FarmError
from pleinair.farm.cluster import Cluster, LostError
from pleinair.farm.work import METER, Brush, Done, Job, Unfit, digest, fault_of, work
from pleinair.models import Model
from pleinair.network.light import Sums

#: How often a piece may be lost with its worker before it counts as what kills workers.
_CHANCES = 5
#: The share of audits that this machine does itself, so that workers which lie alike are found out, too.
_HERE = 0.1
#: Seconds between two looks at which workers there are, and of waiting for any before that is told.
_LOOK, _PATIENCE = 2.0, 30.0


class LiedError(FarmError):
    """A worker gave a false result."""

    def __init__(self, worker: str, message: str) -> None:
        super().__init__(message)
        self.worker = worker


@dataclass
class Tally:
    """What a worker has done: frames painted and metered, seconds of that, frames that agreed when done elsewhere.

    ``processor`` and ``opening``: processor seconds of that work, and of opening its processes before
    (:class:`~pleinair.farm.work.Done`).
    """

    address: str
    frames: int = 0
    metered: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    opening: float = 0.0
    audited: int = 0
    engine: str = ""


@dataclass
class Order:
    """A piece of work: its frames, handles of them in parts (tuples of frames), and what becomes of it."""

    job: Job
    frames: list[np.ndarray]
    parts: list[Any]
    #: Whatever the caller wants to know the frames by.
    tags: list[Any] = field(default_factory=list)
    #: The workers that a frame's light comes from, for each frame.
    lit_by: list[frozenset[str]] = field(default_factory=list)
    name: str = ""
    worker: str = ""
    done: Done | None = None
    #: Audits that are not over.
    pending: int = 0
    lost: int = 0

    @property
    def over(self) -> bool:
        """Whether the answer is there and every audit of it is over."""
        return self.done is not None and not self.pending


@dataclass
class _Audit:
    """One frame of an order, done again elsewhere."""

    of: Order
    index: int
    order: Order


class Orders:
    """The work that is out. One thread may use it."""

    def __init__(
        self,
        cluster: Cluster,
        model: Model,
        own: Brush,
        *,
        audit: float,
        distrusted: Sequence[str] = (),
        tell: Callable[[str], None],
    ) -> None:
        """``own`` is this machine's brush, the judge. ``audit``: the share of frames that are done twice, 0 to 1.

        ``tell`` gets a line for people now and then.
        """
        self.cluster, self._own, self._audit_share, self._tell = cluster, own, audit, tell
        self._model = cluster.keep(model)
        self._chance = random.SystemRandom()
        self.tallies: dict[str, Tally] = {}
        #: Workers that get no more work.
        self.away = set(distrusted)
        self._out: dict[Any, Order | _Audit] = {}
        self._there: dict[str, str] = {}
        self._looked, self._missing = float("-inf"), 0.0
        meter = own.meter
        self._channels = [] if meter is None else [len(layer.bias) for layer in meter.average.layers]

    def name_of(self, worker: str) -> str:
        """What people call a worker: its address and its name."""
        address = self._there.get(worker) or (self.tallies[worker].address if worker in self.tallies else "")
        return f"{address} ({worker})" if address else worker

    def submit(self, order: Order) -> Order:
        """Give an order out."""
        order.name = order.job.name(order.frames)
        self._send(order, order, self.away)
        return order

    def _send(self, order: Order, what: Order | _Audit, away: set[str]) -> None:
        task = self.cluster.submit(
            work,
            order.job,
            self._model,
            *order.parts,
            cores=order.job.threads,
            name=f"{order.job.kind} {order.name[:16]}",
            away=away,
        )
        self._out[task] = what

    def look(self) -> dict[str, str]:
        """The workers that are there and may work, with their addresses; a few seconds old."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._there, self._looked = self.cluster.workers(), now
            self._mind_absence(now)
        return {worker: address for worker, address in self._there.items() if worker not in self.away}

    def _mind_absence(self, now: float) -> None:
        """Audits that nobody is left to do are done here. Raises FarmError where only distrusted workers are left."""
        able = self._there.keys() - self.away
        for task, audit in list(self._out.items()):
            if isinstance(audit, _Audit) and not able - {audit.of.worker}:
                self.cluster.cancel(task)
                del self._out[task]
                self._judge(audit.of, audit.index, None)
        if able or not self._out:
            self._missing = now
        elif self._there and self.away >= self._there.keys():
            raise FarmError(f"none of the {len(self._there)} workers may go on: each of them failed or lied")
        elif now - self._missing > _PATIENCE:
            self._missing = now
            self._tell("no worker is there; waiting for one")

    def pump(self, seconds: float) -> None:
        """Take in what has ended, waiting up to so many seconds for it. Raises LiedError, FarmError."""
        self.look()
        if not self._out:
            return
        for task in self.cluster.ready(list(self._out), seconds):
            what = self._out.pop(task)
            order = what if isinstance(what, Order) else what.order
            away = self.away if isinstance(what, Order) else self.away | {what.of.worker}
            try:
                result = self.cluster.result(task)
            except LostError as error:
                order.lost += 1
                if order.lost >= _CHANCES:
                    raise FarmError(
                        f"a piece of {len(order.frames)} frames was lost {_CHANCES} times: {error}"
                    ) from error
                self._send(order, what, away)
                continue
            worker, value = result.worker, result.value
            if isinstance(value, Unfit):
                self._leave_out(worker, value.message)
                self._send(order, what, away | self.away)
                continue
            fault = fault_of(value, order.job, order.name, order.frames, self._channels)
            if fault:
                raise LiedError(worker, f"worker {self.name_of(worker)} {fault}")
            if isinstance(what, Order):
                self._answered(what, worker, value)
            else:
                self._audited(what, worker, value)

    def _leave_out(self, worker: str, message: str) -> None:
        if worker not in self.away:
            self._tell(f"worker {self.name_of(worker)} {message}; it is left out")
            self.away.add(worker)

    def _answered(self, order: Order, worker: str, done: Done) -> None:
        if worker in self.away:  # found out while this was under way
            self._send(order, order, self.away)
            return
        order.worker, order.done = worker, done
        tally = self.tallies.setdefault(worker, Tally(self._there.get(worker, "")))
        tally.seconds, tally.engine = tally.seconds + done.seconds, done.engine
        tally.processor, tally.opening = tally.processor + done.processor, tally.opening + done.opening
        if order.job.kind == METER:
            tally.metered += len(order.frames)
        else:
            tally.frames += len(order.frames)
        for index in range(len(order.frames)):
            if self._chance.random() < self._audit_share:
                order.pending += 1
                self._begin_audit(order, index)

    def _begin_audit(self, order: Order, index: int) -> None:
        if not self.look().keys() - {order.worker} or self._chance.random() < _HERE:
            self._judge(order, index, None)
            return
        job = order.job
        lit = bool(job.lights)
        one = replace(job, lights=(job.lights[job.which[index]],) if lit else (), which=(0,) if lit else ())
        frame = order.frames[index]
        again = Order(one, [frame], [self.cluster.keep((frame,))])
        again.name = one.name(again.frames)
        self._send(again, _Audit(order, index, again), self.away | {order.worker})

    def _audited(self, audit: _Audit, worker: str, done: Done) -> None:
        assert audit.of.done is not None
        if _answer(done, 0) == _answer(audit.of.done, audit.index):
            audit.of.pending -= 1
            self.tallies[audit.of.worker].audited += 1
            return
        self._judge(audit.of, audit.index, (worker, _answer(done, 0)))

    def _judge(self, order: Order, index: int, other: tuple[str, object] | None) -> None:
        """Do a frame of an order here. Raises LiedError where a worker gave anything else."""
        assert order.done is not None
        frame, job = order.frames[index], order.job
        truth: object
        if job.kind == METER:
            truth = self._own.sums(frame)
        else:
            truth = digest(self._own.paint([frame], [job.lights_of(len(order.frames))[index]], job.tone)[0])
        what = "metered" if job.kind == METER else "painted"
        for worker, answer in ((order.worker, _answer(order.done, index)), *([other] if other else [])):
            if answer != truth:
                raise LiedError(worker, f"worker {self.name_of(worker)} {what} a frame falsely")
        order.pending -= 1
        self.tallies[order.worker].audited += 1

    def cancel(self) -> None:
        """Nothing that is out is wanted any more."""
        for task in self._out:
            self.cluster.cancel(task)
        self._out.clear()


def _answer(done: Done, index: int) -> tuple[Sums, ...] | str:
    """What is compared of one frame."""
    return done.sums[index] if done.sums else digest(done.paintings[index])
