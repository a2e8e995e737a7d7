"""EXIF parts: found in files, read by a second hand, carried into paintings; damaged ones do no harm."""

from __future__ import annotations

import datetime
import io
import random
import struct
import time

import cv2
import numpy as np
import pytest

from pleinair.cameras.opening import open_camera
from pleinair.cli.main import main
from pleinair.exif import about, film_tags, find_exif, for_painting, is_damaged, place_of, taken_at, when, with_exif
from pleinair.images import decode_image, encode_image, read_photo, write_image
from tests.models import write_model
from tests.rolls import identity_network


def part(order: str = "<", orientation: int = 6) -> bytes:
    """Orientation, a place's latitude and the time taken; then a directory for a small picture (EXIF 2.32, 4.6)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main_ = struct.pack(order + "H", 3)
    main_ += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    main_ += struct.pack(order + "HHII", 0x8769, 4, 1, 50)
    main_ += struct.pack(order + "HHII", 0x8825, 4, 1, 88)
    main_ += struct.pack(order + "I", 130)  # the small picture's
    more = struct.pack(order + "HHHIII", 1, 0x9003, 2, 20, 68, 0) + b"2026:05:03 14:20:07\0"
    place = struct.pack(order + "HHHI4sI", 1, 1, 2, 2, b"N\0\0\0", 0)
    whole = head + main_ + more + place
    return whole + bytes(130 - len(whole)) + struct.pack(order + "HHHIII", 1, 0x0201, 4, 1, 7, 0)


@pytest.mark.parametrize("kind", [".jpg", ".png"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_part_comes_back_as_it_was_put_in(kind, order):
    bare = cv2.imencode(kind, np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    data = with_exif(bare, part(order))
    assert find_exif(bare) is None and find_exif(data) == part(order)
    assert taken_at(part(order)) == "2026-05-03 14:20"
    assert decode_image(data, "x").shape in ((30, 20, 3), (20, 30, 3))


@pytest.mark.parametrize("order", ["<", ">"])
def test_for_a_painting_only_orientation_and_the_small_picture_change(order):
    kept = for_painting(part(order))
    changed = [i for i, (a, b) in enumerate(zip(kept, part(order), strict=True)) if a != b]
    assert changed and set(changed) <= {18, 19, 46, 47, 48, 49}
    assert kept[18:20] == struct.pack(order + "H", 1) and kept[46:50] == bytes(4)


def test_damaged_parts_do_no_harm():
    chance = np.random.default_rng(0)
    for _ in range(3000):
        broken = bytearray(part())
        for at in chance.integers(0, len(broken), 4):
            broken[at] = chance.integers(0, 256)
        taken_at(bytes(broken))
        for_painting(bytes(broken)[: int(chance.integers(0, 140))])
        find_exif(b"\xff\xd8" + bytes(broken))
        find_exif(b"\x89PNG\r\n\x1a\n" + bytes(broken))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_painting_keeps_date_and_place_and_stands_upright(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "plain", identity_network(), margin=0, grain=0)
    photo = with_exif(cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes(), part())
    (tmp_path / "photo.jpg").write_bytes(photo)
    out = f"painting{suffix}"
    assert main(["paint", "photo.jpg", out, "--style", str(tmp_path / "plain"), "--backend", "reference"]) == 0
    assert read_photo(tmp_path / out).exif == for_painting(part())
    assert decode_image((tmp_path / out).read_bytes(), out).shape == (60, 40, 3)


def test_stored_photos_have_their_own_time(tmp_path):
    photo = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(with_exif(photo, part()))
    (tmp_path / "b.jpg").write_bytes(photo)
    first, second = open_camera(f"frames:{tmp_path}").frames()
    assert first.metadata == {"taken": "2026-05-03 14:20", "date": "2026-05-03T14:20:07"} and second.metadata == {}


def camera_part(
    taken: bytes = b"2026:05:03 14:20:07\0",
    zone: bytes = b"",
    degrees: tuple[tuple[int, int], ...] = ((52, 1), (31, 1), (1234, 100)),
    sides: bytes = b"NE",
    order: str = "<",
) -> bytes:
    """A part with a time, its zone and a place, as phones write it (EXIF 2.32, 4.6.5 and 4.6.6)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    fields = [(0x9003, 2, len(taken), taken)] + ([(0x9011, 2, len(zone), zone)] if zone else [])
    rationals = b"".join(struct.pack(order + "II", *pair) for pair in degrees)
    count = len(degrees)
    place = [
        (1, 2, 2, sides[:1] + b"\0"),
        (2, 5, count, rationals),
        (3, 2, 2, sides[1:] + b"\0"),
        (4, 5, count, rationals),
    ]
    body, directories = b"", {}
    for name, entries in (("more", fields), ("place", place)):
        start = 8 + 2 + 2 * 12 + 4 + len(body)
        after = start + 2 + 12 * len(entries) + 4
        table, values = struct.pack(order + "H", len(entries)), b""
        for tag, kind, many, value in entries:
            here = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", after + len(values))
            table += struct.pack(order + "HHI", tag, kind, many) + here
            values += value if len(value) > 4 else b""
        directories[name] = start
        body += table + bytes(4) + values
    first = struct.pack(
        order + "HHHIIHHIII", 2, 0x8769, 4, 1, directories["more"], 0x8825, 4, 1, directories["place"], 0
    )
    return head + first + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_time_zone_and_place(order):
    data = camera_part(zone=b"+02:00\0", order=order)
    assert when(data) == datetime.datetime(2026, 5, 3, 14, 20, 7, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    # 52 degrees, 31 minutes, 12.34 seconds.
    assert place_of(data) == "+52.5201+052.5201/"
    assert place_of(camera_part(sides=b"SW", order=order)) == "-52.5201-052.5201/"
    tags = film_tags(about(data))
    assert tags["creation_time"] == tags["date"] == "2026-05-03T12:20:07Z" and tags["location"] == "+52.5201+052.5201/"
    assert not is_damaged(data)


def test_a_time_without_a_zone_is_this_machines(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert film_tags(about(camera_part()))["creation_time"] == "2026-05-03T05:20:07Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "place",
    [
        {"degrees": ((52, 0), (31, 1), (0, 1))},
        {"degrees": ((91, 1), (0, 1), (0, 1))},
        {"sides": b"XE"},
        {"degrees": ()},
    ],
)
def test_places_that_are_none(place):
    assert place_of(camera_part(**place)) is None


@pytest.mark.parametrize(
    ("data", "damaged"),
    [
        (camera_part(), False),
        (camera_part(taken=b"0000:00:00 00:00:00\0"), False),
        (camera_part(taken=b"    :  :     :  :  \0"), False),
        (camera_part(taken=b"2026:13:03 14:20:07\0"), True),
        (camera_part(taken=b"\xff\xfe:05:03 14:20:07\0"), True),
        (b"II*\0\xff\xff\0\0" + bytes(30), True),
        (b"nothing of the kind", True),
        (b"", True),
    ],
)
def test_damaged_parts_are_known(data, damaged):
    assert is_damaged(data) is damaged and (when(data) is None) == (data != camera_part())


@pytest.mark.parametrize(
    "told", [{}, {"date": 5}, {"date": "x"}, {"date": "9999-12-31T23:59:59-12:00"}, {"place": "here"}]
)
def test_tags_of_nothing_are_none(told):
    assert film_tags(told) == {}


def test_other_kinds_hold_such_parts_too():
    webp = cv2.imencode(".webp", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    data = webp + b"EXIF" + struct.pack("<I", len(camera_part())) + camera_part() + bytes(len(camera_part()) % 2)
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert find_exif(webp) is None and find_exif(data) == camera_part()
    tiff = cv2.imencode(".tif", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    assert find_exif(tiff) == tiff and when(tiff) is None and not is_damaged(tiff)
    assert for_painting(tiff) is None and for_painting(camera_part()) == camera_part()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_every_kind_but_bmp_keeps_what_a_photo_says_and_so_does_a_tiff(tmp_path, suffix, order):
    """Pillow reads the same of what was written, from a JPEG's part and from a TIFF's own directory."""
    Image = pytest.importorskip("PIL.Image")
    part, image = camera_part(zone=b"+02:00\0", order=order), np.full((20, 31, 3), (30, 90, 200), np.uint8)
    tiff = with_exif(encode_image(".tif", image), part)
    np.testing.assert_array_equal(decode_image(tiff, "x"), image)
    for said in (part, tiff, tiff + bytes(70_000)):
        path = tmp_path / f"painting{suffix}"
        write_image(path, image, for_painting(said))
        photo = read_photo(path)
        assert photo.exif is not None and about(photo.exif) == about(part)
        assert photo.image.shape == image.shape and np.abs(photo.image - image.astype(int)).mean() < 3
        with Image.open(path) as opened:
            seen = opened.getexif()
            assert seen.get_ifd(0x8769)[0x9003] == "2026:05:03 14:20:07" and seen.get_ifd(0x8769)[0x9011] == "+02:00"
            assert seen.get_ifd(0x8825)[2] == (52.0, 31.0, 12.34) and seen.get_ifd(0x8825)[1] == "N"
            opened.load()


def test_a_photos_tiff_of_pillow_keeps_maker_and_time_in_its_painting():
    Image = pytest.importorskip("PIL.Image")
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x010F], exif[0x0132], exif[0x8298] = "Acme", "2026:05:03 14:20:07", "somebody"
    Image.new("RGB", (30, 20)).save(file, "TIFF", exif=exif, big_endian=True)
    kept = for_painting(file.getvalue())
    assert kept is not None and len(kept) < 200 and taken_at(kept) == "2026-05-03 14:20"
    back = Image.Exif()
    back.load(b"Exif\0\0" + kept)
    assert dict(back) == {0x010F: "Acme", 0x0132: "2026:05:03 14:20:07", 0x8298: "somebody"}


def test_damaged_directories_end_in_none_or_a_part():
    whole, chance = with_exif(encode_image(".tif", np.zeros((20, 31, 3), np.uint8)), camera_part()), random.Random(0)
    for _ in range(2000):
        broken = bytearray(whole)
        for _ in range(4):
            broken[chance.randrange(4, len(broken))] = chance.choice((0, 1, 4, 5, 12, 127, 255))
        kept = for_painting(bytes(broken))
        if kept is not None:
            about(kept)
            with_exif(whole, kept)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_a_film_says_when_and_where_it_was_taken(tmp_path, suffix):
    import av

    photo = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(with_exif(photo, camera_part(zone=b"+02:00\0")))
    write_model(tmp_path / "plain", identity_network(), margin=0, grain=0)
    film, again, roll = (str(tmp_path / name) for name in (f"film.{suffix}", f"again.{suffix}", "roll"))
    arguments = ["--style", str(tmp_path / "plain"), "--backend", "reference", "--keep-free", "0"]
    assert main(["run", "--camera", f"frames:{tmp_path}", "--out", film, *arguments]) == 0
    assert main(["run", "--camera", f"video:{film}", "--out", again, "--roll", roll, *arguments]) == 0
    for path in (film, again):
        with av.open(path) as container:
            said = {key.lower(): value for key, value in container.metadata.items()}
        assert said["creation_time"].startswith("2026-05-03T12:20:07") and said["location"] == "+52.5201+052.5201/"


@pytest.mark.parametrize("end", range(2, 24))
def test_a_jpeg_that_ends_anywhere_has_no_part(end):
    data = b"\xff\xd8\xff\xfe\x00\x04ab\xff\xe1\x00\x40Exif\x00\x00MM\x00*"
    assert find_exif(data[:end]) is None
