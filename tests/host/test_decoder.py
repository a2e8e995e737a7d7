"""Decoding in a child: the same pixels, and a picture that hangs, dies or takes too much memory costs itself alone."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from pleinair import images
from pleinair.cameras.opening import open_camera
from pleinair.decoder import Decoder
from pleinair.errors import ImageError
from pleinair.images import decode_image
from pleinair.processes import MEMORY
from tests.films import write_frames

#: A child whose picture is what its bytes say.
CHILD = """
import os, time, numpy as np
from pleinair.decoder import serve
from pleinair.errors import ImageError
def decode(data):
    print("a library's chatter")
    if data == b"hang":
        time.sleep(1000)
    if data == b"die":
        os._exit(3)
    if data == b"bad":
        raise ImageError("damaged")
    if data == b"much":
        return np.zeros((1 << 40,), np.uint8), {}
    return np.full((2, 3, 3), data[0], np.uint8), {"remark": "x"}
serve(decode)
"""


@pytest.fixture
def child():
    """A decoder with that child and a short deadline."""
    made = Decoder(f"exec({CHILD!r})", deadline=5.0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"hang", "takes longer than 5 s"),
        (b"die", "its decoder died"),
        (b"bad", "damaged"),
        (b"much", "needs more than 4"),
    ],
)
def test_a_bad_picture_costs_itself_alone(child, data, told):
    for _ in range(2):
        with pytest.raises(ImageError, match=f"^image x: {told}"):
            child.decode(data, "x")
        image, said = child.decode(b"\7", "y")
        assert image.shape == (2, 3, 3) and (image == 7).all() and said["remark"] == "x"


def test_many_threads_share_a_child(child):
    found = dict[int, int]()

    def ask(number: int) -> None:
        for _ in range(5):
            found[number] = int(child.decode(bytes([number]), "x")[0][0, 0, 0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(6)}


def progressive(scans: int) -> bytes:
    """A JPEG whose last scan comes so many times more."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), (800, 600))
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * scans + b"\xff\xd9"


def test_costly_pictures_have_the_same_pixels(monkeypatch):
    data = progressive(0)
    here = decode_image(data, "x")
    monkeypatch.setattr(images, "_MUCH_WORK", 0)
    assert images._takes_long(data)
    np.testing.assert_array_equal(decode_image(data, "x"), here)
    with pytest.raises(ImageError, match="^image name: truncated"):
        decode_image(data[: len(data) // 2], "name")


def test_what_takes_long_is_known_beforehand():
    plain = cv2.imencode(".jpg", np.zeros((3000, 4000, 3), np.uint8))[1].tobytes()
    assert not images._takes_long(plain) and not images._takes_long(progressive(0))
    assert images._takes_long(progressive(600))
    for compression, long in ((1, False), (5, False), (8, False), (32773, False), (7, True)):
        data = bytearray(cv2.imencode(".tif", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1])
        at = data.index(b"\x03\x01\x03\x00\x01\x00\x00\x00\x05\x00")
        data[at + 8 : at + 10] = compression.to_bytes(2, "little")
        assert images._takes_long(bytes(data)) is long


def test_a_picture_that_takes_minutes_is_left_out_of_a_film(tmp_path, monkeypatch):
    write_frames(tmp_path, [20, 60, 100])
    (tmp_path / "frame0002b.jpg").write_bytes(progressive(90))
    monkeypatch.setattr(images, "_MUCH_WORK", 20_000_000)
    slow = Decoder("import time; time.sleep(1000)", deadline=1.0)
    monkeypatch.setattr(images, "SHARED", slow)
    began = time.monotonic()
    camera = open_camera(f"frames:{tmp_path}")
    frames = list(camera.frames())
    assert len(frames) == 3 and time.monotonic() - began < 60
    assert [line.partition(": ")[2] for line in camera.skipped] == ["takes longer than 1 s to decode"]
    slow.close()


def test_the_childs_memory_is_bounded():
    made = Decoder(
        "from pleinair.decoder import serve; import numpy as np, resource; "
        "serve(lambda data: (np.zeros((1, 1, 3), np.uint8), {'limit': resource.getrlimit(resource.RLIMIT_AS)}))"
    )
    assert made.decode(b"x", "x")[1]["limit"] == [MEMORY] * 2
    made.close()
