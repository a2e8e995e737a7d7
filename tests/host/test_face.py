"""The face of the library, ``import pleinair``: what the command does, a few lines of Python do."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import numpy as np
import pytest

import pleinair
from pleinair.cameras.synthetic import SyntheticCamera
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.network import reference
from pleinair.network.floating import FloatNetwork
from tests.films import read_video

FRAME = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def by_hand(frame: np.ndarray, style: str, bits: int = 8) -> np.ndarray:
    """The frame painted in one piece by the NumPy reference, border and grain laid by hand."""
    from pleinair.painting.grain import Grain

    model = pleinair.load_style(style, bits=bits)
    assert not isinstance(model.network, FloatNetwork)
    height, width = frame.shape[:2]
    stride, margin = model.network.stride, model.margin
    below, right = (-(height + 2 * margin)) % stride, (-(width + 2 * margin)) % stride
    border = ((margin, margin + below), (margin, margin + right), (0, 0))
    padded = np.pad(Grain(model.grain)(frame), border, mode="reflect")
    return reference.run(model.network, padded)[margin : margin + height, margin : margin + width]


@pytest.mark.parametrize(
    ("style", "bits"), [("starry-night-board", 8), ("starry-night-board", 16), ("starry-night-small", 4)]
)
def test_paint_gives_the_references_pixels(style: str, bits: int):
    np.testing.assert_array_equal(pleinair.paint(FRAME, style=style, bits=bits), by_hand(FRAME, style, bits))


def test_a_painter_paints_one_frame_and_each_frame_alike():
    frames = [FRAME, FRAME[::-1], 255 - FRAME]
    with pleinair.open_painter("starry-night-board", bits=8, threads=1) as painter:
        paintings = list(painter.paint_each(frames))
        for frame, painting in zip(frames, paintings, strict=True):
            np.testing.assert_array_equal(painter.paint(frame), painting)
        assert "8-bit network" in repr(painter) and "closed" not in repr(painter)
    np.testing.assert_array_equal(paintings[0], by_hand(FRAME, "starry-night-board"))
    assert "closed" in repr(painter)


def test_a_style_may_be_a_name_a_folder_or_a_model():
    painted = pleinair.paint(FRAME, style="starry-night-board")
    for style in (pleinair.styles()["starry-night-board"], pleinair.load_style("starry-night-board")):
        np.testing.assert_array_equal(pleinair.paint(FRAME, style=style), painted)


def test_reference_and_engines_are_chosen_by_name():
    painted = pleinair.paint(FRAME, style="starry-night-small")
    for choice in ({"backend": "reference"}, {"engine": "onnxruntime"}, {"backend": "cpu:onnxruntime"}):
        np.testing.assert_array_equal(pleinair.paint(FRAME, style="starry-night-small", **choice), painted)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("photo.jpg", "must be a NumPy array of uint8 [height, width, 3], RGB, not a str"),
        (FRAME.tolist(), "not a list"),
        (FRAME / 255, "not of float64 [40, 56, 3]"),
        (FRAME.astype(np.float32), "not of float32 [40, 56, 3]"),
        (FRAME[..., 0], "not of uint8 [40, 56]"),
        (np.dstack([FRAME, FRAME[..., :1]]), "not of uint8 [40, 56, 4]"),
        (FRAME.transpose(2, 0, 1), "not of uint8 [3, 40, 56]"),
        (FRAME[:15], "frame of 56x15: painted are 16x16 to 64 megapixels"),
        (np.zeros((0, 0, 3), np.uint8), "frame of 0x0"),
    ],
)
def test_a_frame_of_a_wrong_kind_gets_one_sentence(frame, says: str):
    with pytest.raises(pleinair.ImageError) as refused:
        pleinair.paint(frame)
    text = str(refused.value)
    assert says in text and "\n" not in text and "--" not in text


@pytest.mark.parametrize(
    ("call", "error", "option"),
    [
        (lambda: pleinair.paint(FRAME, style="nope"), pleinair.ModelError, "style"),
        (lambda: pleinair.paint(FRAME, bits=5), pleinair.ModelError, "bits"),
        (lambda: pleinair.open_painter(backend="gpu"), pleinair.OptionError, "backend"),
        (lambda: pleinair.open_painter(engine="abacus"), pleinair.OptionError, "engine"),
        (lambda: pleinair.open_painter(backend="reference", engine="openvino"), pleinair.OptionError, "engine"),
        (lambda: pleinair.open_camera("fax:1"), pleinair.OptionError, "camera"),
        (lambda: pleinair.begin_roll("r", "synthetic", style="nope"), pleinair.ModelError, "style"),
        (lambda: pleinair.load_style("starry-night-small", bits=16), pleinair.ModelError, "bits"),
    ],
)
def test_errors_name_the_argument_and_no_flag(call, error, option: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as refused:
        call()
    assert refused.value.option == option and str(refused.value).startswith(option)
    assert "--" not in str(refused.value) and isinstance(refused.value, pleinair.PleinairError)


def test_a_film_of_a_named_camera_is_that_of_an_open_one(tmp_path: Path):
    with pleinair.open_painter("starry-night-small", threads=1) as painter:
        made = pleinair.film("synthetic:3", painter, tmp_path / "a.mkv", every=3600, frames=4, size=(64, 48))
        camera = SyntheticCamera((64, 48), 4, 3600, 3)
        pleinair.film(camera, painter, tmp_path / "b.mkv")
    assert made.progress.recorded == 4 and made.film == tmp_path / "a.mkv"
    first, second = read_video(tmp_path / "a.mkv"), read_video(tmp_path / "b.mkv")
    assert len(first) == 4
    np.testing.assert_array_equal(first, second)


def test_a_film_does_not_overwrite_the_video_that_it_is_made_from(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    with pleinair.open_painter("starry-night-small", threads=1) as painter:
        pleinair.film("synthetic", painter, clip, every=3600, frames=2, size=(64, 48))
        before = clip.read_bytes()
        with pytest.raises(pleinair.OptionError, match="made from"):
            pleinair.film(f"video:{clip}", painter, clip)
    assert clip.read_bytes() == before


def test_an_open_camera_has_its_size_already(tmp_path: Path):
    camera = pleinair.open_camera("synthetic", frames=1, size=(64, 48))
    with pleinair.open_painter("starry-night-small") as painter, pytest.raises(pleinair.OptionError, match="size"):
        pleinair.film(camera, painter, tmp_path / "a.mp4", size=(64, 48))


def test_a_roll_is_begun_read_and_opened_again(tmp_path: Path):
    folder = tmp_path / "roll"
    with pleinair.begin_roll(
        folder, "synthetic", style="starry-night-small", every=3600, frames=3, size=(64, 48)
    ) as lapse:
        assert lapse.run() == "complete"
    with pleinair.open_roll(folder) as roll:
        assert (roll.status.state, roll.status.frames, roll.status.painted) == ("complete", 3, 3)
    assert pleinair.read_status(folder).frames == 3


def test_all_names_are_there_and_listed():
    for name in pleinair.__all__:
        assert getattr(pleinair, name) is not None and name in dir(pleinair)
    assert len(set(pleinair.__all__)) == len(pleinair.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = pleinair.nope


def test_versions_agree():
    from importlib.metadata import version

    assert pleinair.__version__ == version("pleinair")


@pytest.mark.parametrize("name", ["paint", "open_painter", "film", "load_style", "open_camera", "begin_roll"])
def test_what_follows_the_subjects_is_given_by_name(name: str):
    positional = [
        p for p in inspect.signature(getattr(pleinair, name)).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert len(positional) <= (3 if name == "film" else 2)


def test_the_films_defaults_are_the_commands():
    assert inspect.signature(pleinair.film).parameters["steady"].default == DEFAULT_STRENGTH


def test_a_photo_from_opencv_is_turned_to_rgb_by_the_caller(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "photo.png"), FRAME[..., ::-1])
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "photo.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(pleinair.paint(read[..., ::-1][..., ::-1]), pleinair.paint(FRAME))
