"""A cluster of Ray's, the only file that imports it. A worker is a node: a machine that runs Ray's daemon.

What is kept lies in Ray's object store; a machine fetches it once, when the first of its tasks needs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pleinair.errors import FarmError
from pleinair.farm.cluster import LostError, Result, Where
from pleinair.machine import cores as cores_here

#: How often Ray begins a task again elsewhere that died with its worker.
_RETRIES = 20
#: Hexadecimal digits of a node's name that name a worker.
_DIGITS = 12
#: Seconds for which what was asked of the cluster counts as known.
_KNOWN = 2.0
_NODE = "ray.io/node-id"
#: What workers begin with. A painting may be computed by a new thread, and each thread that glibc gives memory of its
#: own keeps some; so memory would grow for thousands of frames, to three times of what a painter takes.
_WORKERS = {"MALLOC_ARENA_MAX": "2"}
#: The variable that says whether Ray's processes show each other a token, which lies in ~/.ray/auth_token.
_AUTHENTICATION = "RAY_AUTH_MODE"


def import_ray(where: Where) -> Any:
    """Ray, for a cluster. Raises FarmError where it is not installed."""
    if not where.address:
        # A token keeps other users of this machine out. Ray does so by itself from 2.60 on, with a warning; it reads
        # the variable when it is imported.
        os.environ.setdefault(_AUTHENTICATION, "token")
    # Else Ray sends statistics of its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's next way, and without it a warning: a task without a GPU is not kept from one.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise FarmError("needs Ray: pip install 'pleinair[farm]'", option="on") from error
    return ray


def _on_worker(function: Callable[..., Any], job: Any, shared: list[Any], *values: Any) -> tuple[str, Any]:
    """Runs on a worker: its name and what the function gave, which fetches what is shared only where it asks."""
    import ray

    value = function(job, lambda: ray.get(shared[0]), *values)
    return str(ray.get_runtime_context().get_node_id())[:_DIGITS], value


class RayCluster:
    """See :class:`pleinair.farm.cluster.Cluster`."""

    def __init__(self, where: Where) -> None:
        """Join a cluster, or begin one on this machine that ends with this process. Raises FarmError."""
        self._ray = ray = import_ray(where)
        terminated = signal.getsignal(signal.SIGTERM)
        here = {} if where.address else {"num_cpus": cores_here(), "include_dashboard": False}
        try:
            ray.init(
                address=where.address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=False,
                runtime_env={"env_vars": _WORKERS},
                **here,
            )
        except Exception as error:  # Ray raises all sorts, this one itself among them
            hint = "" if _AUTHENTICATION in os.environ else f"; one that asks for a token needs {_AUTHENTICATION}=token"
            raise FarmError(f"{where}: no cluster of Ray's there: {_first_line(error)}{hint}", option="on") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray has put its own there
        self._remote = ray.remote(max_retries=_RETRIES)(_on_worker)
        self._looked, self._nodes = float("-inf"), list[dict[str, Any]]()

    def keep(self, value: Any) -> Any:
        """A handle of a value."""
        return self._ray.put(value)

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
        """A task: ``function(job, fetch, *values)``."""
        options: dict[str, Any] = {"num_cpus": cores, "num_gpus": gpus, "name": name}
        if away:
            full = [node["NodeID"] for node in self._ray.nodes() if node["NodeID"][:_DIGITS] in away]
            if full:
                options["label_selector"] = {_NODE: f"!in({','.join(full)})"}
        return self._remote.options(**options).remote(function, job, [shared], *handles)

    def ready(self, tasks: Sequence[Any], seconds: float) -> list[Any]:
        """Those tasks that have ended."""
        done, _ = self._ray.wait(list(tasks), num_returns=1, timeout=seconds)
        if done and len(tasks) > 1:
            done, _ = self._ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        return list(done)

    def result(self, task: Any) -> Result:
        """What an ended task gave. Raises LostError, FarmError."""
        errors = self._ray.exceptions
        try:
            worker, value = self._ray.get(task)
        except errors.RayTaskError as error:
            raise FarmError(f"a worker at {getattr(error, 'ip', '?')}: {_first_line(error.cause)}") from error
        except errors.RayError as error:
            raise LostError(_first_line(error)) from error
        return Result(str(worker), value)

    def cancel(self, task: Any) -> None:
        """The task's result is not wanted any more."""
        with contextlib.suppress(Exception):
            self._ray.cancel(task, force=False)

    def _alive(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        if now - self._looked >= _KNOWN:
            self._nodes, self._looked = [node for node in self._ray.nodes() if node["Alive"]], now
        return self._nodes

    def workers(self) -> dict[str, str]:
        """The nodes that have cores for tasks."""
        return {
            node["NodeID"][:_DIGITS]: str(node["NodeManagerAddress"])
            for node in self._alive()
            if node["Resources"].get("CPU", 0) >= 1
        }

    def slots(self, cores: int) -> int:
        """How many tasks run at a time."""
        return sum(int(node["Resources"].get("CPU", 0)) // max(1, cores) for node in self._alive())

    def room(self) -> int:
        """Half of the object store of this machine's node."""
        own = self._ray.get_runtime_context().get_node_id()
        stores = [node["Resources"].get("object_store_memory", 0) for node in self._alive() if node["NodeID"] == own]
        return int(stores[0] / 2) if stores and stores[0] else 64 << 20

    def close(self) -> None:
        """Leave the cluster; one that was begun here ends."""
        self._ray.shutdown()


def _first_line(error: object) -> str:
    """The last line of what an error says, which in Ray's is the cause."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
