"""Ray's nodes for tests: several on this machine, each a process with workers and a store of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import PYTHONPATH


def _little() -> dict[str, Any]:
    """What makes a node small, and ports of its own: it waits fifteen seconds for those that it is not told."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    return {"object_store_memory": 100 << 20, "include_log_monitor": False, **ports}


class Nodes:
    """A cluster: a head without cores for work, and nodes with some."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        common = {"include_dashboard": False, "no_monitor": True, **_little()}
        # On a busy machine nobody counts as dead for being slow.
        patient = {"health_check_failure_threshold": 1000, "worker_register_timeout_seconds": 900}
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": patient, **common}
        )

    @property
    def address(self) -> str:
        """Where it is joined."""
        return str(self.cluster.address)

    def add(self, cpus: int, path: str = PYTHONPATH) -> Any:
        """A node with so many workers, whose Python finds modules on ``path``."""
        variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return self.cluster.add_node(num_cpus=cpus, env_vars=variables, wait=False, **_little())

    def workers(self, *names: str) -> list[int]:
        """Process numbers of workers that are at a task whose name begins with one of these."""
        marks = tuple(f"ray::{name}".encode() for name in names)
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if (entry / "cmdline").read_bytes().startswith(marks) and self._ours(int(entry.name)):
                    found.append(int(entry.name))
        return found

    def _ours(self, pid: int) -> bool:
        """Whether this process is an ancestor."""
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid == os.getpid():
                return True
        return False


def patiently(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Asks again for ten minutes: Ray gives a node half a minute to begin, which is short on a busy machine."""

    def answer(*arguments: Any) -> Any:
        end = time.monotonic() + 600
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    return answer


@contextlib.contextmanager
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A cluster with no workers yet, which ends with the context."""
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    # Else Ray's workers wait for all other programs.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setattr(ray._private.services, "get_node", patiently(ray._private.services.get_node))
    made = Nodes()
    try:
        yield made
    finally:
        made.cluster.shutdown()
