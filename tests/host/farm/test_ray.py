"""On Ray itself: several nodes on this machine, each a process with workers and a store of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pleinair.models import load_model
from pleinair.rolls.records import Captured
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import LENGTH
from pleinair.rolls.settings import Look, Settings
from tests.house import PYTHONPATH
from tests.models import write_model
from tests.networks import adaptive_network
from tests.ray_nodes import Nodes, begun
from tests.rolls import HEIGHT, WIDTH, coded_frame, events, pleinair

pytest.importorskip("ray", reason="needs Ray: pip install '.[farm]'")
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


@pytest.fixture
def nodes(monkeypatch) -> Iterator[Nodes]:
    """A cluster with no workers yet."""
    with begun(monkeypatch) as made:
        yield made


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


def closed_pieces(roll: Path) -> int:
    """Of the painting."""
    return len(list(roll.glob("paintings/*/*.mkv")))


def shuffled(pids: list[int], chance: random.Random) -> list[int]:
    """The same in any order."""
    return chance.sample(pids, len(pids))


def killed(pid: int) -> bool:
    """Kill a process; whether it was there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def test_workers_and_the_command_are_killed_again_and_again(tmp_path, models, nodes):
    chance = random.Random(SEED)
    # A film's title is its roll's name, so both are called the same.
    (tmp_path / "farm").mkdir()
    roll = new_roll(tmp_path / "farm" / "roll")
    wanted = film_of(shutil.copytree(roll, tmp_path / "alone" / "roll"), models)
    for _ in range(2):
        nodes.add(2)
    # How much of the film is closed when each of them dies, all over its first half: on a busy machine they die late.
    most = FRAMES // LENGTH // 2
    plan = [(chance.randrange(most), "worker") for _ in range(KILLS)]
    plan += [(chance.randrange(most), "command") for _ in range(DRIVERS)]
    process, began, commands = repaint(roll, nodes.address, models), time.monotonic(), list[int]()
    for after, what in sorted(plan, key=lambda entry: entry[0]):
        wait = chance.uniform(0.0, 0.2)
        while closed_pieces(roll) < after or not nodes.workers("paint", "meter"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - began < 1800
            time.sleep(0.02)
        time.sleep(wait)
        if what == "worker":
            while not any(killed(pid) for pid in shuffled(nodes.workers("paint", "meter"), chance)):
                assert process.poll() is None, process.communicate()
        else:
            assert process.poll() is None, process.communicate()
            process.kill()
            process.communicate()
            commands.append(closed_pieces(roll))
            process = repaint(roll, nodes.address, models)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert film_of(roll, models) == wanted
    print(f"seed {SEED}: commands killed with {commands} pieces closed; {err.splitlines()[-4:]}", file=sys.stderr)


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


def test_without_an_address_the_cores_of_this_machine_share_the_work(tmp_path, models):
    (tmp_path / "farm").mkdir()
    roll = new_roll(tmp_path / "farm" / "roll", 150)
    wanted = film_of(shutil.copytree(roll, tmp_path / "alone" / "roll"), models)
    same = ["--style", "lit", "--light-every", "12", "--tone", "0.5", "--on", "ray"]
    process = pleinair("repaint", roll, *same, models=models, deadline=600)
    _, err = process.communicate()
    # Nothing of Ray's own is said.
    assert process.returncode == 0 and "RAY" not in err and "gcs" not in err, err
    assert "150 frames painted" in err and film_of(roll, models) == wanted
