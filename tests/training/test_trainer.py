"""Runs: stages, checkpoints, interruption, refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from host.errors import TrainingError
from training.trainer import Progress, Run, Settings, learning_rate, load_checkpoint, save_checkpoint


class Stop(Exception):
    """Stands for a kill at a chosen step."""


def run_all(folder: Path, settings: Settings, stop: tuple[str, int] | None = None) -> Run:
    def report(p: Progress) -> None:
        if stop == (p.stage, p.step):
            raise Stop

    run = Run(folder, settings, checkpoint_seconds=0.0)
    run.train_parent(report)
    run.train_plain(report)
    run.train_quantised(8, report)
    return run


@pytest.mark.parametrize("stop", [("parent", 2), ("plain", 3), ("8bit", 1)])
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, settings, stop):
    whole = run_all(tmp_path / "whole", settings)
    with pytest.raises(Stop):
        run_all(tmp_path / "cut", settings, stop)
    cut = run_all(tmp_path / "cut", settings)
    for stage in ("parent", "plain", "8bit"):
        one, other = (load_checkpoint(r.checkpoint(stage))["network"] for r in (whole, cut))
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), (stage, key)
    assert (tmp_path / "whole/losses.csv").read_bytes() == (tmp_path / "cut/losses.csv").read_bytes()
    assert not (tmp_path / "cut/progress.pt").exists()


def test_training_learns_and_logs(tmp_path, settings):
    run = Run(tmp_path / "run", replace(settings, parent_steps=40))
    run.train_parent()
    with (tmp_path / "run/losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(40))
    # The style loss is summed over layers and spread over decades: its share of the total must fall.
    first = sum(float(r["style"]) for r in rows[:8])
    assert sum(float(r["style"]) for r in rows[-8:]) < 0.8 * first
    assert (tmp_path / "run/previews/parent-000040.png").exists()
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert len(record["held_out"]) == 1 and len(record["painting_sha256"]) == 64


def test_a_finished_stage_is_not_done_again(tmp_path, settings):
    run = Run(tmp_path / "run", settings)
    run.train_parent()
    before = run.checkpoint("parent").stat().st_mtime_ns
    run.train_parent()
    assert run.checkpoint("parent").stat().st_mtime_ns == before


def test_a_run_may_start_from_another_s_parent(tmp_path, settings):
    first = Run(tmp_path / "first", settings)
    first.train_parent()
    # A learning rate of nothing shows where the second began.
    second = Run(tmp_path / "second", replace(settings, seed=9, parent_rate=0.0))
    second.train_parent(start=tmp_path / "first")
    one, other = (load_checkpoint(r.checkpoint("parent"))["network"] for r in (first, second))
    assert all(torch.equal(one[key], other[key]) for key in one)
    third = Run(tmp_path / "third", replace(settings, width=8))
    with pytest.raises(TrainingError, match=r"first/parent\.pt: a network of .*'width': 4"):
        third.train_parent(start=tmp_path / "first")


def test_other_settings_need_another_folder(tmp_path, settings):
    Run(tmp_path / "run", settings)
    Run(tmp_path / "run", replace(settings, plain_steps=9))  # a later stage may be lengthened
    with pytest.raises(TrainingError, match=r"begun with crop = 64, not 96"):
        Run(tmp_path / "run", replace(settings, crop=96))


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path, settings):
    run = Run(tmp_path / "run", settings)
    run.checkpoint("parent").write_bytes(b"garbage")
    with pytest.raises(TrainingError, match=r"parent\.pt: damaged"):
        run.train_plain()
    save_checkpoint(run.checkpoint("parent"), {"architecture": {"width": 99}, "network": {}})
    with pytest.raises(TrainingError, match=r"parent\.pt: a network of .*99"):
        run.train_plain()
    shape = {"width": 4, "blocks": 1, "kernel": 9}
    save_checkpoint(run.checkpoint("parent"), {"architecture": shape, "network": {"other": torch.zeros(1)}})
    with pytest.raises(TrainingError, match=r"parent\.pt: not a float network"):
        run.train_plain()
    torch.save(torch.nn.Conv2d(1, 1, 1), run.checkpoint("parent"))  # pickled code
    with pytest.raises(TrainingError, match=r"parent\.pt: damaged"):
        run.train_plain()
    run.checkpoint("parent").unlink()
    with pytest.raises(TrainingError, match=r"parent\.pt: no such file"):
        run.train_plain()
    (tmp_path / "run/run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run\.json: damaged"):
        Run(tmp_path / "run", settings)


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(1.0, s, 100) for s in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) <= 5 and rates[-1] < 0.02
