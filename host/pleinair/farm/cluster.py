"""Clusters: what the farm asks of the library that hands work to machines.

A *worker* is a machine of the cluster (a node, in Ray's words), named by a short text that stays the same while it
runs. A *task* is one call of a function on some worker. A task whose worker dies is begun again elsewhere by the
cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pleinair.errors import FarmError, OptionError

#: Kinds of clusters.
RAY = "ray"
_ADDRESS = re.compile(r"[A-Za-z0-9.\-\[\]:_]{1,255}")


@dataclass(frozen=True)
class Where:
    """Where work is done: ``ray`` is this machine, ``ray:10.0.0.1:6379`` the cluster at that address."""

    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Where:
        """Read such a text. Raises OptionError."""
        kind, colon, address = text.partition(":")
        if kind != RAY or (colon and not _ADDRESS.fullmatch(address)):
            raise OptionError(
                f"{text!r}: give {RAY} for this machine, or {RAY}:ADDRESS such as {RAY}:10.0.0.1:6379", option="on"
            )
        return cls(address)

    def __str__(self) -> str:
        return f"{RAY}:{self.address}" if self.address else RAY


class LostError(FarmError):
    """A task has no result: workers died of it, or its result was lost with them. It may be submitted again."""


@dataclass(frozen=True)
class Result:
    """What a task gave, and the worker that it ran on."""

    worker: str
    value: Any


class Cluster(Protocol):
    """Runs functions on workers. One thread may use it."""

    def keep(self, value: Any) -> Any:
        """A handle of a value, which travels to a worker when a task that is given the handle runs there."""
        ...

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
        """A task: ``function(job, fetch, *values)`` on a worker that is not one of ``away``.

        It takes so many cores and GPUs there.

        The values are those of ``handles``; ``fetch()`` gives that of the handle ``shared``, which travels only where
        it is called. ``name`` is for people who watch the cluster. The worker finds ``function`` by module and name.
        """
        ...

    def ready(self, tasks: Sequence[Any], seconds: float) -> list[Any]:
        """Those tasks that have ended; waits up to so many seconds for the first."""
        ...

    def result(self, task: Any) -> Result:
        """What an ended task gave. Raises LostError, and FarmError for what its function raised."""
        ...

    def cancel(self, task: Any) -> None:
        """The task's result is not wanted any more."""
        ...

    def workers(self) -> dict[str, str]:
        """The workers that are there now, each with its address, for people."""
        ...

    def slots(self, cores: int) -> int:
        """How many tasks of so many cores all workers together run at a time."""
        ...

    def room(self) -> int:
        """Bytes that handles and results may take up together."""
        ...

    def close(self) -> None:
        """Leave the cluster."""
        ...
