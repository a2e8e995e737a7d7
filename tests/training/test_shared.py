"""Styles trained on a cluster: the order of their lessons, and the same checkpoints as alone, whatever dies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pleinair.errors import OptionError
from pleinair.farm.steps import run_steps
from pleinair_training import shared
from pleinair_training.shared import lessons, paintings_in, read_progress, teach
from pleinair_training.stages import train_stages
from pleinair_training.trainer import Progress, load_checkpoint
from tests.farms import Died, Village, honest


@pytest.fixture
def given(workshop: Path) -> dict[str, Any]:
    """Small and few."""
    return {
        "content": str(workshop / "photos"),
        "loss_network": f"vgg16:{workshop / 'vgg.npz'}",
        "blocks": 1,
        "crop": 80,
        "style_size": 96,
        "hold_out": 1,
        "parent_steps": 3,
        "quantised_steps": 2,
    }


@pytest.fixture
def paintings(workshop, tmp_path) -> Path:
    """A folder with two paintings and a text."""
    folder = tmp_path / "paintings"
    folder.mkdir()
    for name in ("Dog (1).png", "cat.png"):
        shutil.copy(workshop / "painting.png", folder / name)
    (folder / "notes.txt").write_text("none")
    return folder


def test_styles_are_named_after_their_files(paintings):
    assert list(paintings_in(paintings)) == ["dog-1", "cat"]
    shutil.copy(paintings / "cat.png", paintings / "Cat.PNG")
    with pytest.raises(OptionError, match="styles .*Cat.PNG and cat.png would be styles of one name"):
        paintings_in(paintings)
    with pytest.raises(OptionError, match="no image file in it"):
        paintings_in(paintings.parent / "paintings" / "..")
    with pytest.raises(OptionError, match="No such file"):
        paintings_in(paintings / "none")


def test_the_order_of_lessons(tmp_path):
    named = {"dog": Path("/dog.png"), "cat": Path("/cat.png")}
    steps = lessons(named, tmp_path, bits=(8, 4), widths=(4,), start=None, threads=1)
    # 8 bits are rounded by `export`; without a start, the second style starts from the first one's parent.
    assert [(s.name, s.after) for s in steps] == [
        ("dog parent", ()),
        ("dog 4-bit", ("dog parent",)),
        ("cat parent", ("dog parent",)),
        ("cat 4-bit", ("cat parent",)),
    ]
    assert [s.job.start for s in steps] == [None, None, tmp_path / "dog", tmp_path / "dog"]
    assert [s.job.bits for s in steps] == [32, 4, 32, 4]
    steps = lessons(named, tmp_path, bits=(8, 4), widths=(4,), start=Path("/style"), threads=1, shape="johnson")
    assert [(s.name, s.after) for s in steps[3:]] == [
        ("cat parent", ()),
        ("cat 8-bit", ("cat parent",)),
        ("cat 4-bit", ("cat 8-bit",)),
    ]
    assert {s.job.start for s in steps} == {Path("/style")}


def test_each_width_is_a_style_and_has_a_first_parent(tmp_path):
    named = {"dog": Path("/dog.png"), "cat": Path("/cat.png")}
    steps = lessons(named, tmp_path, bits=(8,), widths=(16, 8), start=None, threads=1)
    assert [(s.name, s.after, s.job.options["width"], s.job.start) for s in steps] == [
        ("dog-w16 parent", (), 16, None),
        ("cat-w16 parent", ("dog-w16 parent",), 16, tmp_path / "dog-w16"),
        ("dog-w8 parent", (), 8, None),
        ("cat-w8 parent", ("dog-w8 parent",), 8, tmp_path / "dog-w8"),
    ]
    assert [s.job.out for s in steps[::2]] == [tmp_path / "dog-w16", tmp_path / "dog-w8"]


def test_the_checkpoints_are_those_of_one_machine(tmp_path, paintings, given, monkeypatch):
    """Two styles at two widths; in each lesson its worker dies once, at a step where nothing was kept yet."""
    before = torch.get_num_threads()
    named = paintings_in(paintings)
    steps = lessons(named, tmp_path / "farm", bits=(8, 4), widths=(4,), start=None, threads=1, **given)
    monkeypatch.setattr(shared, "_NOTE", 0.0)
    try:
        with monkeypatch.context() as patch:
            real = shared.write_file
            seen: set[tuple[str, str]] = set()

            def mortal(path: Path, data: bytes, **settings: Any) -> None:
                step = Progress(**shared.json.loads(data))
                if step.step == 2 and (key := (str(path), step.stage)) not in seen:
                    seen.add(key)
                    raise Died
                real(path, data, **settings)

            patch.setattr(shared, "write_file", mortal)
            run_steps(Village({"anna": honest, "bert": honest}), teach, steps)
            assert len(seen) == 6  # for each style: the parent, 8 bits, 4 bits
        torch.set_num_threads(1)
        start: Path | None = None
        for name, painting in named.items():
            alone, farm = tmp_path / "alone" / name, tmp_path / "farm" / name
            for bits in (32, 8, 4):
                train_stages(alone, bits=bits, start=start, style=str(painting), width=4, **given)
            for stage in ("parent", "8bit", "4bit"):
                one, other = (load_checkpoint(run / f"{stage}.pt") for run in (alone, farm))
                weights = [tensors(checkpoint) for checkpoint in (one, other)]
                assert weights[0].keys() == weights[1].keys() and len(weights[0]) > 5
                for key, value in weights[0].items():
                    np.testing.assert_array_equal(value, weights[1][key], err_msg=f"{name} {stage} {key}")
            told = read_progress(farm)
            assert told is not None and told.step == told.steps == 2
            start = start or alone
    finally:
        torch.set_num_threads(before)


def tensors(value: Any, name: str = "") -> dict[str, np.ndarray]:
    """All tensors of a checkpoint, by where they are."""
    if isinstance(value, torch.Tensor):
        return {name: value.detach().numpy()}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {key: tensor for part, held in parts for key, tensor in tensors(held, f"{name}/{part}").items()}


def test_a_run_that_says_nothing_of_its_progress(tmp_path):
    assert read_progress(tmp_path) is None
    for text in ("", "{}", "[]", '{"stage": 1}', "\0"):
        (tmp_path / "progress.json").write_text(text)
        assert read_progress(tmp_path) is None
