"""On Ray itself: several nodes on this machine, each a process with workers and a store of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pleinair.models import load_model
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.settings import Look, Settings
from tests.house import PYTHONPATH
from tests.models import write_model
from tests.networks import adaptive_network
from tests.rolls import HEIGHT, WIDTH, coded_frame, events, pleinair

ray = pytest.importorskip("ray", reason="needs Ray: pip install '.[farm]'")
pytestmark = pytest.mark.slow

SEED, FRAMES, KILLS, DRIVERS = 20261127, 2000, 20, 5
#: For every Python on the liar's machine: one frame in fifty gets a bit flipped once it is painted.
_LIAR = """
import hashlib, sys
from importlib.machinery import PathFinder

class Liar:
    def find_spec(self, name, path=None, target=None):
        if name != "pleinair.farm.work":
            return None
        spec = PathFinder.find_spec(name, path, target)
        real = spec.loader.exec_module
        def exec_module(module):
            real(module)
            paint = module.Brush.paint
            def lie(self, *given):
                paintings = paint(self, *given)
                for painting in paintings:
                    if int(hashlib.sha256(painting.tobytes()).hexdigest(), 16) % 50 == 0:
                        painting[3, 5, 1] ^= 1
                return paintings
            module.Brush.paint = lie
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Liar())
"""


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

    def workers(self) -> list[int]:
        """Process numbers of workers that are at a task."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                name = (entry / "cmdline").read_bytes()
                if name.startswith((b"ray::paint", b"ray::meter")) and self._ours(int(entry.name)):
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


@pytest.fixture
def nodes(monkeypatch) -> Iterator[Nodes]:
    """A cluster with no workers yet."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setattr(ray._private.services, "get_node", patiently(ray._private.services.get_node))
    made = Nodes()
    yield made
    made.cluster.shutdown()


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A folder with the adaptive style ``lit``."""
    write_model(tmp_path / "models" / "lit", adaptive_network(2, 4), margin=24)
    monkeypatch.setenv("PLEINAIR_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def new_roll(place: Path, frames: int = FRAMES) -> Path:
    """A captured roll whose frames show their numbers; the same each time."""
    look = Look("lit", 8, network=load_model("lit", 8).sha256, light="frame", light_every=12, steady=4, tone=0.5)
    settings = Settings(camera="synthetic", size=(WIDTH, HEIGHT), look=look, spool="png", keep_free=0, frames=frames)
    with Roll.create(place, settings) as roll:
        roll.begin(1.8e9, 0.0)
        for number in range(frames):
            roll.keep(coded_frame(number), Captured(t=float(number), wall=1.8e9 + number))
    return place


def film_of(roll: Path, models: Path) -> str:
    """SHA-256 of the film that is joined from a painted roll."""
    process = pleinair("finish", roll, "--out", roll.with_suffix(".mp4"), models=models, deadline=1800)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return hashlib.sha256(roll.with_suffix(".mp4").read_bytes()).hexdigest()


def repaint(roll: Path, address: str, models: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, on the cluster; with the settings that the roll began with, so that it is the same painting."""
    same = ["--style", "lit", "--light-every", "12", "--tone", "0.5"]
    return pleinair("repaint", roll, *same, "--on", f"ray:{address}", *arguments, models=models, deadline=1800)


def test_workers_and_the_command_are_killed_again_and_again(tmp_path, models, nodes):
    chance = random.Random(SEED)
    # A film's title is its roll's name, so both are called the same.
    (tmp_path / "farm").mkdir()
    roll = new_roll(tmp_path / "farm" / "roll")
    wanted = film_of(shutil.copytree(roll, tmp_path / "alone" / "roll"), models)
    for _ in range(2):
        nodes.add(2)
    killed, drivers, began = 0, 0, time.monotonic()
    process = repaint(roll, nodes.address, models)
    while killed < KILLS or drivers < DRIVERS:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < 1800
        time.sleep(chance.uniform(0.05, 0.5))
        there = nodes.workers()
        if there and killed < KILLS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(there), signal.SIGKILL)
                killed += 1
        if there and drivers < DRIVERS and killed >= (drivers + 1) * KILLS // (DRIVERS + 1):
            process.kill()
            process.communicate()
            drivers += 1
            process = repaint(roll, nodes.address, models)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert film_of(roll, models) == wanted
    print(f"seed {SEED}: {killed} workers, {drivers} commands killed; {err.splitlines()[-4:]}", file=sys.stderr)


def test_a_worker_that_flips_a_bit_is_named_and_the_film_is_right(tmp_path, models, nodes):
    (tmp_path / "liar").mkdir()
    (tmp_path / "liar" / "sitecustomize.py").write_text(_LIAR)
    # A film's title is its roll's name, so both are called the same.
    (tmp_path / "farm").mkdir()
    roll = new_roll(tmp_path / "farm" / "roll")
    wanted = film_of(shutil.copytree(roll, tmp_path / "alone" / "roll"), models)
    for _ in range(2):
        nodes.add(1)
    liar = nodes.add(1, f"{tmp_path / 'liar'}{os.pathsep}{PYTHONPATH}")
    process = repaint(roll, nodes.address, models, "--audit", "50%")
    _, err = process.communicate()
    assert process.returncode == 0, err
    named = {event["worker"] for event in events(roll, "distrusted")}
    assert named == {liar.node_id[:12]}, err
    assert f"({liar.node_id[:12]}) painted a frame falsely: all that it did" in err
    assert film_of(roll, models) == wanted
    print(err, file=sys.stderr)
