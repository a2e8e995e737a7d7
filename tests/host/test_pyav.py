"""What cameras and films share of PyAV: a conversion of colours that needs no other thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

av = pytest.importorskip("av", reason="films need PyAV")

from pleinair.pyav import MISSING, reformatter  # noqa: E402


def grey(level: int, side: int = 64):
    """A frame of one grey."""
    return av.VideoFrame.from_ndarray(np.full((side, side, 3), level, np.uint8), format="rgb24")


def test_greys_become_limited_range_and_come_back():
    """Y' = 16 + 219 / 255 of the level, ITU-R BT.709-6, 4.6."""
    there, back = reformatter(), reformatter()
    for level in (0, 1, 100, 254, 255):
        yuv = there(grey(level), format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        assert yuv.format.name == "yuv420p"
        luma = yuv.to_ndarray()[:64]
        assert np.abs(luma - (16 + 219 / 255 * level)).max() <= 1
        rgb = back(yuv, format="rgb24", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG")
        assert np.abs(rgb.to_ndarray().astype(int) - level).max() <= 2


def test_one_converter_takes_frames_of_any_size():
    convert = reformatter()
    for side in (16, 64, 34, 64):
        assert convert(grey(9, side), format="gray").to_ndarray().shape == (side, side)


def test_no_thread_is_started():
    before = threading.active_count(), _native_threads()
    convert = reformatter()
    for _ in range(3):
        convert(grey(50, 512), format="yuv420p")
    assert (threading.active_count(), _native_threads()) == before


def _native_threads() -> int:
    """Threads of this process by the kernel's account, those of libraries with them."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Threads:"))


def test_the_remedy_is_a_command_that_works_from_a_checkout():
    assert "pip install '.[cpu]'" in MISSING
