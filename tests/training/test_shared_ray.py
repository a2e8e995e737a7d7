"""Styles trained on Ray itself, by two workers of which one is killed: the checkpoints are those of one machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pleinair_training.shared import paintings_in, read_progress, runs_of
from pleinair_training.stages import train_stages
from pleinair_training.trainer import load_checkpoint
from tests.ray_nodes import Nodes, begun
from tests.rolls import pleinair
from tests.training.test_shared import tensors

pytest.importorskip("ray", reason="needs Ray: pip install '.[farm]'")
pytestmark = pytest.mark.slow

NAMES, WIDTHS = ("bird", "cat", "dog"), (8, 4)
PARENT_STEPS, QUANTISED_STEPS = 16, 6
#: The run whose worker is killed, and the step of its parent from which on.
VICTIM, FROM = "cat-w8", 4


@pytest.fixture
def nodes(monkeypatch) -> Iterator[Nodes]:
    """A cluster with no workers yet."""
    with begun(monkeypatch) as made:
        yield made


def test_six_trainings_and_a_killed_worker(workshop, tmp_path, nodes):
    before = torch.get_num_threads()
    (tmp_path / "paintings").mkdir()
    for name in NAMES:
        shutil.copy(workshop / "painting.png", tmp_path / "paintings" / f"{name}.png")
    given = {"blocks": 1, "crop": 80, "style_size": 96, "hold_out": 1}
    given |= {"parent_steps": PARENT_STEPS, "quantised_steps": QUANTISED_STEPS}
    content, judge = workshop / "photos", f"vgg16:{workshop / 'vgg.npz'}"
    command = ["train", "--styles", tmp_path / "paintings", "--content", content, "--loss-network", judge]
    command += ["--bits", "4", "--width", "8,4", "--out", tmp_path / "farm", "--on", f"ray:{nodes.address}"]
    command += [text for key, value in given.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    for _ in range(2):
        nodes.add(1)
    process = pleinair(*map(str, command), deadline=1800)
    killed = 0
    while not killed:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        told = read_progress(tmp_path / "farm" / VICTIM)
        if told is None or told.step < FROM:
            continue
        assert told.stage == "parent" and told.step < PARENT_STEPS, f"too late to kill anybody: {told}"
        for pid in nodes.workers(f"{VICTIM} parent"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed = told.step
    out, err = process.communicate()
    assert process.returncode == 0, err
    runs = runs_of(paintings_in(tmp_path / "paintings"), WIDTHS)
    assert (tmp_path / "farm" / "report" / "report.html").is_file()
    assert len(runs) == 6 and all(run.name in out for run in runs), out
    print(f"killed at step {killed} of {PARENT_STEPS}\n{err}", file=sys.stderr)
    try:
        # A worker trains with as many threads as it was given cores.
        torch.set_num_threads(1)
        for run in runs:
            alone, first = tmp_path / "alone" / run.name, tmp_path / "alone" / f"{NAMES[0]}-w{run.width}"
            start: Path | None = None if alone == first else first
            told = {"style": str(run.painting), "content": str(content), "loss_network": judge, "width": run.width}
            for bits in (32, 4):
                train_stages(alone, bits=bits, start=start, **told, **given)
            for stage in ("parent", "4bit"):
                folders = (alone, tmp_path / "farm" / run.name)
                one, other = (tensors(load_checkpoint(folder / f"{stage}.pt")) for folder in folders)
                assert one.keys() == other.keys() and len(one) > 5
                for key, value in one.items():
                    np.testing.assert_array_equal(value, other[key], err_msg=f"{run.name} {stage} {key}")
    finally:
        torch.set_num_threads(before)
