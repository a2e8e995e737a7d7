"""Runs: stages, checkpoints, interruption, refusals."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import pytest
import torch

from pleinair.errors import OptionError, OutputError, TrainingError
from pleinair_training.trainer import (
    Progress,
    Run,
    Settings,
    learning_rate,
    load_checkpoint,
    load_float,
    load_quantised,
    save_checkpoint,
)
from pleinair_training.transform_net import TransformNet
from tests import children
from tests.training.conftest import random_vgg16


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


def test_a_run_goes_on_with_the_same_contents_wherever_they_lie(tmp_path, settings, monkeypatch):
    home = tmp_path / "workshop"
    shutil.copytree(Path(settings.content).parent, home)
    monkeypatch.chdir(home)
    here = replace(settings, style="painting.png", content="photos", loss_network="vgg16:vgg.npz")
    run = tmp_path / "run"
    Run(run, here)
    elsewhere = tmp_path / "moved"
    home.rename(elsewhere)
    there = replace(
        settings,
        style=str(elsewhere / "painting.png"),
        content=str(elsewhere / "photos"),
        loss_network=f"vgg16:{elsewhere / 'vgg.npz'}",
    )
    Run(run, there)
    assert json.loads((run / "run.json").read_text())["settings"]["style"] == there.style

    def refused(says: str) -> None:
        before = (run / "run.json").read_bytes()
        with pytest.raises(TrainingError, match=says):
            Run(run, there)
        assert (run / "run.json").read_bytes() == before

    photo, other = (elsewhere / "photos" / "deep" / name for name in ("1.jpg", "z.jpg"))
    shutil.copy(photo, other)
    refused("was begun with other photos: 4 to train on then, 5 in .*photos now")
    other.unlink()
    photo.rename(elsewhere / "1.jpg")
    refused("was begun with other photos: 4 to train on then, 3 in")
    shutil.copy(elsewhere / "photos" / "0.jpg", photo)
    refused("was begun with other photos: 4 to train on then, 4 in")
    shutil.copy(elsewhere / "1.jpg", photo)
    Run(run, there)
    painting = Path(there.style).read_bytes()
    picture = cv2.imread(there.style)
    assert cv2.imwrite(there.style, picture[::-1])
    refused("was begun with another painting than .*painting.png is now")
    Path(there.style).write_bytes(painting)
    random_vgg16(elsewhere / "vgg.npz", seed=1)
    refused("was begun with another loss network than vgg16:.*vgg.npz is now")


def test_a_run_of_an_older_version_goes_on(tmp_path, settings):
    Run(tmp_path / "run", settings)
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    del record["photos_sha256"], record["settings"]["light_weight"]
    path.write_text(json.dumps(record))
    Run(tmp_path / "run", settings)
    assert "photos_sha256" in json.loads(path.read_text())
    for odd in ("[]", '{"settings": 5}', '{"settings": {"nonsense": 1}}'):
        path.write_text(odd)
        with pytest.raises(TrainingError, match=r"run\.json: damaged"):
            Run(tmp_path / "run", settings)


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


def test_a_run_may_start_from_any_stage_of_another(tmp_path, settings):
    first = run_all(tmp_path / "first", settings)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    for stage in ("plain", "8bit"):
        other = Run(tmp_path / stage, replace(settings, plain_rate=0.0))
        other.train_parent(start=first.checkpoint(stage))
        other.train_plain()
        assert "parent" not in (tmp_path / stage / "losses.csv").read_text()  # there was nothing to train
        got = load_float(other.checkpoint("plain"))
        wanted = load_float(first.checkpoint("plain"))
        difference = (got(x) - wanted(x)).abs().mean()
        # The 8-bit network's latent weights went on from the plain ones for four steps.
        assert difference == 0 if stage == "plain" else 0 < difference < 0.05


def test_distillation_draws_the_quantised_network_to_its_teacher(tmp_path, settings):
    distances = {}
    for weight in (0.0, 1e9):
        run = Run(tmp_path / f"{weight}", replace(settings, distillation_weight=weight, quantised_steps=30))
        run.train_parent()
        run.train_plain()
        run.train_quantised(4)
        with (run.folder / "losses.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["stage"] == "4bit"]
        assert (float(rows[0]["distillation"]) > 0) == (weight > 0)
        plain, quantised = load_float(run.checkpoint("plain")), load_quantised(run.checkpoint("4bit"), 4)[0].eval()
        x = torch.cat(list(run.calibration(3)))
        with torch.no_grad():
            distances[weight] = float((plain(x) - quantised(x)).square().mean())
    assert distances[1e9] < 0.8 * distances[0.0]


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, settings, monkeypatch):
    whole = Run(tmp_path / "whole", settings)
    whole.train_parent()
    run = Run(tmp_path / "run", settings, checkpoint_seconds=0.0)
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        if "progress" in os.readlink(f"/proc/self/fd/{descriptor}"):
            calls.append(descriptor)
        if len(calls) == 3:  # a checkpoint after each step
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"progress\.pt: No space left on device"):
        run.train_parent()
    monkeypatch.setattr(os, "fsync", sync)
    assert load_checkpoint(run.folder / "progress.pt")["step"] == 2
    assert not list(run.folder.glob(".*.part"))
    Run(tmp_path / "run", settings).train_parent()
    one, other = (load_checkpoint(r.checkpoint("parent"))["network"] for r in (whole, run))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_log_that_cannot_be_written_is_one_line(tmp_path, settings):
    run = Run(tmp_path / "run", settings)
    (tmp_path / "run/losses.csv").mkdir()
    with pytest.raises(OutputError, match=r"losses\.csv"):
        run.train_parent()


_TORCHRUN = """
import sys
import torch
from pathlib import Path
from pleinair_training.trainer import Run, Settings
import json
torch.set_num_threads(1)
run = Run(Path(sys.argv[1]), Settings(**json.loads(sys.argv[2])))
run.train_parent()
run.train_plain()
run.train_quantised(8)
"""


def test_two_processes_train_as_one(tmp_path, settings):
    pytest.importorskip("lightning_fabric")
    alone = run_all(tmp_path / "alone", settings)
    script = tmp_path / "script.py"
    script.write_text(_TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "2"]
    command += ["--nproc-per-node", "2", str(script)]  # a run goes on where a process that died left it
    command += [str(tmp_path / "two"), json.dumps(asdict(settings))]
    done = children.run(command, variables={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    logs = []
    for folder in ("alone", "two"):
        with (tmp_path / folder / "losses.csv").open() as file:
            logs.append([[float(v) for v in list(row.values())[2:]] for row in csv.DictReader(file)])
    assert len(logs[0]) == len(logs[1]) == 12
    # Equal up to the order of float sums, which Adam and then the quantisers' rounding carry ever further.
    for one, other in list(zip(*logs, strict=True))[:3]:
        assert other == pytest.approx(one, rel=1e-3)
    torch.manual_seed(settings.seed)
    start = TransformNet(settings.architecture).state_dict()
    moves = []
    for folder in ("alone", "two"):
        end = load_checkpoint(tmp_path / folder / "parent.pt")["network"]
        moves.append(torch.cat([(end[key] - start[key]).flatten() for key in start if "weight" in key]))
    assert float(torch.cosine_similarity(*moves, dim=0)) > 0.999
    assert not (tmp_path / "two/progress.pt").exists() and alone.checkpoint("8bit").exists()


def test_the_batch_must_be_shared_evenly(tmp_path, settings, monkeypatch):
    class Three:
        count, rank, first, device = 3, 0, True, torch.device("cpu")

    monkeypatch.setattr("pleinair_training.trainer.Processes", lambda device: Three())
    with pytest.raises(OptionError, match=r"batch 2: must be a multiple of the 3 processes"):
        Run(tmp_path / "run", settings)


def test_tensorboard_gets_the_losses(tmp_path, settings):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = Run(tmp_path / "run", replace(settings, parent_steps=10))
    run.train_parent()
    events = reader.EventAccumulator(str(tmp_path / "run/tensorboard/parent")).Reload()
    (point,) = events.Scalars("parent/style")
    last = (tmp_path / "run/losses.csv").read_text().split()[-1].split(",")
    assert point.step == 10 and point.value == pytest.approx(float(last[3]), rel=1e-5)
    assert "parent/preview" in events.Tags()["images"]


def test_layers_and_part_of_the_painting_can_be_chosen(tmp_path, settings):
    default = Run(tmp_path / "a", settings)
    run = Run(
        tmp_path / "b",
        replace(settings, content_layer="relu2_2", style_layers="relu1_1, relu3_1", style_crop="64x64+10+5"),
    )
    assert run.content_layer == "relu2_2" and run.style_loss.layers == ("relu1_1", "relu3_1")
    assert default.content_layer == "relu3_3" and len(default.style_loss.layers) == 4
    with pytest.raises(OptionError, match=r"layer 'relu9_9': vgg16 has relu1_1"):
        Run(tmp_path / "c", replace(settings, style_layers="relu9_9"))
    for crop, why in (("64x64", "write WIDTHxHEIGHT"), ("90x64+20+0", "beyond the painting's 96x80")):
        with pytest.raises(OptionError, match=why):
            Run(tmp_path / "d", replace(settings, style_crop=crop))


@pytest.mark.slow
def test_compiled_training_learns_the_same(tmp_path, settings):
    plain = Run(tmp_path / "plain", settings)
    plain.train_parent()
    compiled = Run(tmp_path / "compiled", settings, compiled=True)
    compiled.train_parent()
    rows = [(r.folder / "losses.csv").read_text().split()[-1].split(",") for r in (plain, compiled)]
    assert [float(v) for v in rows[1][2:]] == pytest.approx([float(v) for v in rows[0][2:]], rel=1e-2)
