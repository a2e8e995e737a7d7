"""Colour profiles: photos of other colours come to sRGB as the standard computes it; sRGB's own stay to the bit."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair.cameras.camera import remarks_of
from pleinair.cameras.opening import open_camera
from pleinair.cli.main import main
from pleinair.images import decode_image, read_photo
from pleinair.profiles import DAMAGED, MISSING, OTHER, find_profile, is_srgb, to_srgb
from tests.films import frame_of
from tests.models import write_model
from tests.rolls import identity_network

Image = pytest.importorskip("PIL.Image", reason="converting needs Pillow")

#: Rows of red, green and blue in XYZ, adapted to D50.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def fixed(value: float) -> bytes:
    """An s15Fixed16Number."""
    return struct.pack(">i", round(value * 65536))


#: sRGB's curve as a formula (ICC.1:2010, 10.15, type 3).
SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + b"".join(map(fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))


def gamma(exponent: float) -> bytes:
    """A plain exponent."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def profile(primaries=P3, curve: bytes = SRGB_CURVE, space: bytes = b"RGB ", name: str = "made for a test") -> bytes:
    """A display profile of primaries and a curve (ICC.1:2010, 8.3)."""
    text = name.encode()
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + bytes(80)}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    tags[b"cprt"] = b"text\0\0\0\0none\0"
    if space == b"RGB ":
        for key, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
            tags[key] = b"XYZ \0\0\0\0" + b"".join(map(fixed, row))
        tags |= {key: curve for key in (b"rTRC", b"gTRC", b"bTRC")}
    else:
        tags[b"kTRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        value += bytes(-len(value) % 4)
        table += key + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    size = 132 + 12 * len(tags) + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"none", 2 << 24, b"mntr", space, b"XYZ ", bytes(12), b"acsp")
    head += bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    return head + bytes(128 - len(head)) + table + body


def colours() -> np.ndarray:
    """All corners and much between them, uint8 [16, 16, 3]."""
    steps = np.array([0, 30, 60, 100, 150, 200, 230, 255])
    grid = np.stack(np.meshgrid(steps, steps, steps[::2], indexing="ij"), 3).reshape(16, 16, 3)
    return grid.astype(np.uint8)


def expected(image: np.ndarray, primaries=P3, exponent: float | None = None) -> np.ndarray:
    """By the standards' formulas (IEC 61966-2-1): to light, to XYZ, to sRGB's light, to sRGB."""
    v = image / 255
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) if exponent is None else v**exponent
    light = np.clip(light @ np.array(primaries) @ np.linalg.inv(np.array(SRGB)), 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("primaries", "curve", "exponent"),
    [(P3, SRGB_CURVE, None), (ADOBE, gamma(2.19921875), 2.19921875), (SRGB, gamma(1.8), 1.8)],
)
def test_other_colours_come_to_srgb(primaries, curve, exponent):
    image = colours()
    converted, remark = to_srgb(image, profile(primaries, curve))
    assert remark == "" and np.abs(converted - image.astype(float)).max() > 5
    assert np.abs(converted - expected(image, primaries, exponent)).max() <= 2


def test_grey_profiles_too():
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(20, axis=0)
    converted, remark = to_srgb(image, profile(space=b"GRAY", curve=gamma(1.8)))
    assert remark == "" and np.abs(converted - expected(image, SRGB, 1.8)).max() <= 2


def test_large_pictures_are_converted_in_bands():
    image = np.random.default_rng(0).integers(0, 256, (1200, 30, 3), dtype=np.uint8)
    converted, _ = to_srgb(image, profile())
    np.testing.assert_array_equal(converted[700:], to_srgb(image[700:], profile())[0])


@pytest.mark.parametrize("made", [profile(SRGB), profile(SRGB, name="someone else's sRGB")])
def test_srgb_is_known_by_its_numbers(made):
    image = colours()
    converted, remark = to_srgb(image, made)
    assert is_srgb(made) and remark == "" and converted is image


def test_littlecms_and_tables_of_srgb_are_srgb_and_a_plain_exponent_is_not():
    from PIL import ImageCms

    assert is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = np.linspace(0, 1, 1024)
    light = np.where(places <= 0.04045, places / 12.92, ((places + 0.055) / 1.055) ** 2.4)
    table = b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.round(light * 65535).astype(">u2").tobytes()
    assert is_srgb(profile(SRGB, table))
    for other in (profile(SRGB, gamma(2.2)), profile(P3), profile(ADOBE), b"", b"x" * 300, profile(space=b"GRAY")):
        assert not is_srgb(other)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_kind_of_file_is_read_in_its_colours(tmp_path, kind):
    image = np.kron(colours(), np.ones((8, 8, 1), np.uint8))
    made = profile(name="x" * 70_000) if kind == "JPEG" else profile()  # a JPEG splits what is longer than 64 KiB
    path = tmp_path / "photo"
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(image).save(path, kind, icc_profile=made, **options)
    found = find_profile(path.read_bytes())
    assert found is not None and found.rstrip(b"\0") == made.rstrip(b"\0")
    read = read_photo(path)
    assert read.remark == ""
    assert np.abs(read.image - expected(image)).mean() < (1.5 if kind == "JPEG" else 0.6)
    Image.fromarray(image).save(path, kind, icc_profile=profile(SRGB), **options)
    assert np.abs(read_photo(path).image - image.astype(int)).mean() < (1.5 if kind == "JPEG" else 0.01)


def test_transparent_pictures_are_white_in_any_colours(tmp_path):
    image = np.zeros((20, 20, 4), np.uint8)
    image[:10] = (0, 255, 0, 255)
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=profile())
    seen = read_photo(tmp_path / "a.png").image
    assert (seen[10:] == 255).all() and np.abs(seen[0, 0] - expected(np.array([0, 255, 0]))).max() <= 2


@pytest.mark.parametrize(
    ("made", "remark"),
    [(b"damaged", DAMAGED), (profile()[:150], DAMAGED), (profile(space=b"CMYK"), OTHER), (bytes(200), DAMAGED)],
)
def test_profiles_that_do_not_serve_are_told(made, remark):
    image = colours()
    converted, told = to_srgb(image, made)
    assert told == remark and converted is image


def test_broken_profiles_do_no_harm():
    chance, image = np.random.default_rng(0), colours()
    for _ in range(300):
        broken = bytearray(profile())
        for at in chance.integers(0, len(broken), 6):
            broken[at] = chance.integers(0, 256)
        converted, _ = to_srgb(image, bytes(broken))
        assert converted.shape == image.shape and converted.dtype == np.uint8


def test_a_profile_that_is_a_bomb_is_not_unpacked():
    png = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    body = b"iCCP" + b"x\0\0" + zlib.compress(bytes(500_000_000 >> 3), 9)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    found = find_profile(png[:33] + chunk + png[33:])
    assert found is not None and len(found) <= 4 << 20


def test_without_pillow_it_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    frames = tmp_path / "frames"
    frames.mkdir()
    jpeg = cv2.imencode(".jpg", frame_of(90))[1].tobytes()
    part = b"ICC_PROFILE\0\1\1" + profile()
    for name in ("a.jpg", "b.jpg"):
        (frames / name).write_bytes(jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part + jpeg[2:])
    camera = open_camera(f"frames:{frames}")
    assert len(list(camera.frames())) == 2
    assert remarks_of(camera) == [f"image {frames / 'a.jpg'} and perhaps others: {MISSING}"]
    np.testing.assert_array_equal(decode_image((frames / "a.jpg").read_bytes(), "x"), decode_image(jpeg, "x"))
    write_model(tmp_path / "plain", identity_network(), margin=0, grain=0)
    monkeypatch.chdir(tmp_path)
    arguments = ["--style", str(Path("plain").absolute()), "--backend", "reference"]
    assert main(["paint", "frames/a.jpg", "out.png", *arguments]) == 0
    assert capsys.readouterr().err == f"image frames/a.jpg: {MISSING}\n"
