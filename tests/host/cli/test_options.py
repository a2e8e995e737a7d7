"""What commands share: options in a file, what is missing here, how many frames a time is."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pleinair.cameras.opening import CameraSource
from pleinair.cli.options import config_option, extra, frames_for
from pleinair.cli.types import SIZE
from pleinair.errors import OptionError


@click.command()
@click.option("--size", type=SIZE)
@click.option("--pump", is_flag=True)
@click.option("--large/--no-large", default=None)
@click.option("--timestamp", type=click.BOOL, is_flag=False, flag_value=True, default=False)
@config_option
def command(**values):
    """Gives its values back."""
    return values


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('size = "64x48"', {"size": (64, 48)}),
        ("pump = true", {"pump": True}),
        ("pump = 1", {"pump": True}),
        ("pump = false", {"pump": False}),
        ("large = false", {"large": False}),
        ("timestamp = true\npump = false", {"timestamp": True, "pump": False}),
        ("timestamp = 0", {"timestamp": False}),
    ],
)
def test_flags_in_a_file_are_true_false_1_or_0(tmp_path, text, wanted):
    path = Path(tmp_path / "run.toml")
    path.write_text(text)
    values = command.main(["--config", str(path)], standalone_mode=False)
    assert {name: values[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", ["torch", "brevitas.nn", "matplotlib.figure"])
def test_a_missing_package_of_the_extra_is_named(name):
    said = rf"^train needs {name.split('.')[0]}: pip install '\.\[train\]'"
    with pytest.raises(OptionError, match=said), extra("train", "train"):
        raise ImportError("none", name=name)


@pytest.mark.parametrize("name", ["pleinair_training.stages", "pleinair", "sympy", None])
def test_any_other_import_error_goes_on(name):
    with pytest.raises(ImportError), extra("train", "train"):
        raise ImportError("none", name=name)


@pytest.mark.parametrize(
    ("seconds", "camera", "every", "count"),
    [(3600.0, "synthetic", 600.0, 6), (3 * 86_400.0, "video:a.mp4", 86_400.0, 3), (1.0, "synthetic", 3600.0, 1)],
)
def test_how_many_frames_a_time_is(seconds, camera, every, count):
    assert frames_for(seconds, CameraSource.parse(camera), every, None) == count


@pytest.mark.parametrize(
    ("camera", "every", "frames", "said"),
    [
        ("frames:a", None, None, "for '90m': a folder of frames has no clock; give --frames"),
        ("video:a.mp4", None, None, "for '90m': needs --every"),
        ("synthetic", None, 3, "for '90m': give --for or --frames, not both"),
        ("synthetic", 1e-4, None, "for '90m': 54000000 frames at that --every, allowed are 10000000"),
    ],
)
def test_times_that_are_no_number_of_frames(camera, every, frames, said):
    with pytest.raises(OptionError) as caught:
        frames_for(5400.0, CameraSource.parse(camera), every, frames)
    assert str(caught.value) == said
