"""What can be wrong with a frame that a camera gave without complaint: blank or torn, told by its content."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pleinair.rolls.defects import defect

HEIGHT, WIDTH = 120, 160


def scene() -> np.ndarray:
    """A picture with something in every row."""
    ramp = np.add.outer(np.linspace(40, 140, HEIGHT), np.linspace(0, 80, WIDTH))[..., None] * (1.0, 0.9, 0.7)
    noise = np.random.default_rng(3).normal(0, 3, ramp.shape)
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def jpeg(share: float) -> np.ndarray:
    """The scene as a lenient decoder shows it when only a share of its JPEG file has come."""
    av = pytest.importorskip("av", reason="OpenCV refuses such a file")
    done, data = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    decoder = av.CodecContext.create("mjpeg", "r")
    (picture,) = decoder.decode(av.Packet(data.tobytes()[: round(len(data) * share)]))
    shown: np.ndarray = picture.to_ndarray(format="rgb24")
    return shown


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_jpeg_that_was_cut_off_is_torn(share):
    assert defect(jpeg(share), 100.0) == defect(jpeg(share), None) == "torn"


def test_a_whole_picture_is_none_of_it():
    assert defect(jpeg(1.0), 100.0) is None and defect(scene(), None) is None
    assert defect(cv2.GaussianBlur(scene(), (0, 0), 5), 100.0) is None


@pytest.mark.parametrize(("rows", "found"), [(2, None), (4, None), (5, "torn"), (60, "torn"), (119, "torn")])
def test_torn_from_four_hundredths_of_the_height_on(rows, found):
    """4 % of 120 rows are 4.8, so five rows; they repeat the last row that had come, or are of one colour."""
    for filling in (scene()[HEIGHT - rows], 128):
        image = scene()
        image[HEIGHT - rows :] = filling
        assert defect(image, 100.0) == found
        assert defect(np.flipud(image), 100.0) is None  # only at the bottom


def test_in_a_low_frame_three_rows_are_torn():
    image = scene()[:30]
    image[-2:] = 128
    assert defect(image, 100.0) is None
    image[-3:] = 128
    assert defect(image, 100.0) == "torn"


@pytest.mark.parametrize(
    ("level", "found"), [(0, None), (5, None), (6, "torn"), (249, "torn"), (250, None), (255, None)]
)
def test_saturated_ends_are_real(level, found):
    image = scene()
    image[-40:] = level
    assert defect(image, 100.0) == found


@pytest.mark.parametrize("before", [None, 0.0, 19.9])
def test_after_a_dark_frame_black_is_what_the_scene_is(before):
    assert defect(np.full((HEIGHT, WIDTH, 3), 19, np.uint8), before) is None
    assert defect(np.full((HEIGHT, WIDTH, 3), 20, np.uint8), before) == "blank"
    assert defect(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), before) == "blank"


def test_by_day_a_frame_of_one_colour_is_blank():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert defect(image, 20.0) == "blank"
    image[50, 50] = 4
    assert defect(image, 20.0) == "blank"
    image[50, 50] = 5
    assert defect(image, 20.0) is None
