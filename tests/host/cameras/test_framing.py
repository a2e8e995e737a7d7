"""Framing: the middle of any shape, turns, crops; what reaches outside is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pleinair.cameras.framing import FramedCamera, Framing, fit, parse_crop
from pleinair.cameras.opening import open_camera
from pleinair.errors import OptionError
from tests.films import write_frames
from tests.rolls import coded_frame


def test_fit_takes_the_middle():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (fit(image, (40, 40)) == 200).all()
    assert (fit(image.transpose(1, 0, 2).copy(), (20, 20)) == 200).all()
    np.testing.assert_array_equal(fit(image, (100, 40)), image)


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (3, 2), (17, 31), (481, 640)])
@pytest.mark.parametrize("size", [(64, 48), (16, 200)])
def test_fit_gives_the_size_from_any_shape(height, width, size):
    assert fit(np.full((height, width, 3), 77, np.uint8), size).shape == (size[1], size[0], 3)
    assert (fit(np.full((height, width, 3), 77, np.uint8), size) == 77).all()


@pytest.mark.parametrize(
    ("rotate", "turn"),
    [(0, None), (90, cv2.ROTATE_90_CLOCKWISE), (180, cv2.ROTATE_180), (270, cv2.ROTATE_90_COUNTERCLOCKWISE)],
)
def test_turns(rotate, turn):
    image = coded_frame(77)
    wanted = image if turn is None else cv2.rotate(image, turn)
    framing = Framing(rotate)
    assert framing.size_of((64, 48)) == (wanted.shape[1], wanted.shape[0])
    np.testing.assert_array_equal(framing(image, framing.size_of((64, 48))), wanted)


def test_a_crop_is_taken_from_the_turned_picture():
    framing, image = Framing(90, (20, 30, 5, 8)), coded_frame(9)
    assert framing.size_of((64, 48)) == (20, 30)
    wanted = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)[8:38, 5:25]
    np.testing.assert_array_equal(framing(image, (20, 30)), wanted)
    with pytest.raises(OptionError, match=r"crop '20x30\+5\+8': reaches outside the camera's 30x20"):
        framing.size_of((20, 30))
    assert framing(coded_frame(9)[:20, :20], (20, 30)).shape == (30, 20, 3)  # fitted whole


def test_a_framed_camera_gives_framed_frames(tmp_path):
    write_frames(tmp_path, [40, 80, 120])
    camera = open_camera(f"frames:{tmp_path}", framing=Framing(180, (32, 24, 0, 0)))
    plain = [frame.image for frame in open_camera(f"frames:{tmp_path}").frames()]
    assert isinstance(camera, FramedCamera) and camera.size == (32, 24) and camera.count == 3
    for frame, image in zip(camera.frames(), plain, strict=True):
        np.testing.assert_array_equal(frame.image, np.rot90(image, 2)[:24, :32])


@pytest.mark.parametrize("text", ["", "32x24", "32x24+1", "8x24+0+0", "32x24+-1+0", "wide"])
def test_a_crop_is_width_height_left_top(text):
    assert parse_crop("32x24+1+2") == (32, 24, 1, 2)
    with pytest.raises(OptionError, match="^crop .*: write WIDTHxHEIGHT"):
        parse_crop(text)
