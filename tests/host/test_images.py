"""Images: every kind that a camera or a hand gives is read, every damage is refused by name, files whole or not."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pleinair import exif, images
from pleinair.errors import ImageError, OutputError
from pleinair.images import (
    MAX_PIXELS,
    check_image_output,
    check_writable,
    decode_image,
    read_image,
    write_bytes,
    write_image,
)

#: A red CMYK JPEG of 16x16 with Adobe's inverted inks, made with Pillow 13.
CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAAJ/8QAFBABAAAAAAAAAAAAAAAA"
    "AAAAAP/aAA4EQwBNAFkASwAAPwCqaVSVSqYAAAD/2Q=="
)


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth and different in every corner, so that no turn or swap of channels goes unseen."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x // width, 255 * y // height, 200 - 200 * x * y // (width * height)], 2).astype(np.uint8)


def encode(suffix: str, image: np.ndarray) -> bytes:
    """As OpenCV writes it; RGB or grey."""
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 and image.shape[2] == 3 else image
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def with_exif(jpeg: bytes, payload: bytes) -> bytes:
    """The JPEG with an APP1 segment in front."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 8) + b"Exif\0\0" + payload + jpeg[2:]


def orientation(value: int) -> bytes:
    """A TIFF header with one entry, Orientation (EXIF 2.32, 4.6.4)."""
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, value, 0)


def png_header(width: int, height: int, body: bytes) -> bytes:
    """An 8-bit RGB PNG that claims a size, whatever ``body`` holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def refused(path: Path, data: bytes) -> str:
    """The one line with which ``data`` at ``path`` is refused."""
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".bmp", 0), (".tif", 0), (".jpg", 3), (".webp", 6)])
def test_formats_come_back_as_they_were(tmp_path, suffix, tolerance):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encode(suffix, picture()))
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - picture()).mean() <= tolerance


def test_grey_16_bit_and_alpha_become_rgb(tmp_path):
    plain = picture()
    deep = cv2.cvtColor(plain, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257
    clear = np.dstack([cv2.cvtColor(plain, cv2.COLOR_RGB2BGR), np.full(plain.shape[:2], 9, np.uint8)])
    grey = plain[..., 0]
    on_white = np.round((plain * 9.0 + 255 * 246) / 255).astype(np.uint8)
    for data, wanted in ((deep, plain), (clear, on_white), (grey, np.dstack([grey] * 3))):
        path = tmp_path / "photo.png"
        path.write_bytes(cv2.imencode(".png", data)[1].tobytes())
        np.testing.assert_array_equal(read_image(path), wanted)


def test_cmyk_jpeg_is_red(tmp_path):
    path = tmp_path / "red.jpg"
    path.write_bytes(CMYK)
    assert np.abs(read_image(path).astype(int) - (255, 0, 0)).max() <= 4


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    stored = picture()
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }
    for value, wanted in upright.items():
        path = tmp_path / f"turned{value}.jpg"
        path.write_bytes(with_exif(encode(".jpg", stored), orientation(value)))
        image = read_image(path)
        assert image.shape == wanted.shape, value
        assert np.abs(image.astype(int) - wanted).mean() < 3, value


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_is_refused(tmp_path, suffix, kept):
    whole = encode(suffix, np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    assert "truncated" in refused(tmp_path / f"cut{suffix}", whole[: int(len(whole) * kept)])


def test_a_thumbnail_does_not_hide_that_the_picture_is_cut(tmp_path):
    thumbnail = encode(".jpg", picture(16, 16))
    photo = with_exif(encode(".jpg", picture()), thumbnail)
    whole = tmp_path / "whole.jpg"
    whole.write_bytes(photo)
    assert read_image(whole).shape == (48, 64, 3)
    assert "truncated" in refused(tmp_path / "cut.jpg", photo[: len(photo) - 40])


def test_a_jpeg_overwritten_in_its_middle_is_refused(tmp_path):
    whole = bytearray(encode(".jpg", np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)))
    middle = len(whole) // 2
    whole[middle : middle + 2] = b"\xff\x24"
    assert f"damaged in the middle, at byte {middle}" in refused(tmp_path / "holed.jpg", bytes(whole))


def test_what_follows_the_end_does_no_harm(tmp_path):
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"photo{suffix}"
        path.write_bytes(encode(suffix, picture()) + bytes(200))
        assert read_image(path).shape == (48, 64, 3)


def test_progressive_jpeg_has_many_scans(tmp_path):
    done, data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done and data.tobytes().count(b"\xff\xda") > 1
    path = tmp_path / "progressive.jpg"
    path.write_bytes(data.tobytes())
    assert read_image(path).shape == (48, 64, 3)
    assert "truncated" in refused(path, data.tobytes()[: len(data) * 6 // 10])


def test_what_is_no_image_is_refused_by_name(tmp_path):
    assert "not an image" in refused(tmp_path / "text.jpg", b"hello\n" * 30)
    assert "empty" in refused(tmp_path / "empty.jpg", b"")
    assert "damaged" in refused(tmp_path / "short.png", png_header(100, 100, bytes(1000)))
    broken = bytearray(encode(".png", picture()))
    broken[len(broken) // 2] ^= 0xFF
    assert "damaged" in refused(tmp_path / "flipped.png", bytes(broken))


def test_a_claimed_size_is_refused_before_memory_is_taken(tmp_path):
    line = refused(tmp_path / "huge.png", png_header(60_000, 60_000, bytes(100)))
    assert "60000x60000" in line and f"{MAX_PIXELS // 1_000_000} megapixels" in line


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name, cause in (
        ("pipe.jpg", "pipe"),
        ("folder.jpg", "folder"),
        ("none.jpg", "No such file"),
        ("x" * 300, "too long"),
        ("pipe.jpg/x", "Not a directory"),
    ):
        with pytest.raises(ImageError, match=cause):
            read_image(tmp_path / name)


def test_written_image_is_read_back_by_opencv(tmp_path):
    path = tmp_path / "painting.png"
    write_image(path, picture())
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], picture())
    assert list(tmp_path.iterdir()) == [path]


def test_files_get_the_rights_that_others_do(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"abc")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_writing_fails_whole(tmp_path, monkeypatch):
    path = tmp_path / "painting.png"
    path.write_bytes(b"older")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"painting\.png: No space left"):
        write_image(path, picture())
    assert [p.name for p in tmp_path.iterdir()] == ["painting.png"] and path.read_bytes() == b"older"


def test_a_pressed_key_leaves_no_part(tmp_path, monkeypatch):
    def pressed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", pressed)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"abc")
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_are_refused_beforehand(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, cause in (
        ("nowhere/x.png", "does not exist"),
        ("folder.png", "a folder"),
        ("pipe.png", "pipe"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(OutputError, match=cause):
            check_writable(tmp_path / name)
    for name in ("painting.xyz", "painting"):
        with pytest.raises(OutputError, match=r"write \.png"):
            check_image_output(tmp_path / name)
    with pytest.raises(OutputError, match="too long"):
        write_bytes(tmp_path / ("x" * 250), b"")
    with pytest.raises(OutputError, match=r"\.webp does not hold 20000x16"):
        write_image(tmp_path / "wide.webp", np.zeros((16, 20000, 3), np.uint8))


def test_a_painting_is_written_through_a_link_and_keeps_its_mode(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "p.png"
    target.write_bytes(b"older")
    target.chmod(0o600)
    (tmp_path / "latest.png").symlink_to(target)
    write_image(tmp_path / "latest.png", np.full((20, 20, 3), 7, np.uint8))
    assert (tmp_path / "latest.png").is_symlink() and target.stat().st_mode & 0o777 == 0o600
    assert read_image(target).mean() == 7


@pytest.mark.parametrize("data", [b"GIF89a", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0 ftypavif", b"RIFF\0\0\0\0AVI "])
def test_other_kinds_are_refused_by_their_first_bytes(data):
    with pytest.raises(ImageError, match="not an image that is read here"):
        decode_image(data + bytes(100), "x")


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    done, encoded = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = encoded.tobytes()
    assert done and decode_image(data, "x").shape == (64, 64, 3)
    scan = data[data.index(b"\xff\xda") : data.index(b"\xff", data.index(b"\xff\xda") + 2)]
    many = data[:-2] + scan * 200 + b"\xff\xd9"
    with pytest.raises(ImageError, match="too long"):
        decode_image(many, "x")
    at = data.index(b"\xff\xc2") + 5
    with pytest.raises(ImageError, match="larger than 64 megapixels"):
        decode_image(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :], "x")


def scene(seed: int) -> np.ndarray:
    """A picture with broad shapes, edges and a camera's noise."""
    chance = np.random.default_rng(seed)
    height, width = (int(n) for n in chance.integers(120, 260, 2))
    coarse = chance.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
    image[height // 3 : height // 2, width // 4 : width // 2] = chance.integers(0, 256, 3)
    return (image + chance.normal(0, chance.uniform(0.5, 6), image.shape)).clip(0, 255).astype(np.uint8)


def damaged(data: bytes, seed: int, block: int = 512, grid: int = 1, first: int = 700) -> bytes:
    """A file of which a block was lost: zeros, ones, other bytes, or all from there on; it begins on a grid."""
    chance = np.random.default_rng(seed)
    at = int(chance.integers(first, max(first + 1, len(data) - block))) // grid * grid
    lost = (bytes(block), b"\xff" * block, chance.bytes(block), b"")[seed % 4]
    return data[:at] + (lost + data[at + block :] if lost else b"")


#: How the picture numbered ``seed`` is written.
KINDS: dict[str, Callable[[int], list[int]]] = {
    ".jpg": lambda seed: [
        *(cv2.IMWRITE_JPEG_QUALITY, 60 + seed % 40, cv2.IMWRITE_JPEG_OPTIMIZE, seed % 2),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, seed // 2 % 2),
    ],
    # Above 100 it is lossless.
    ".webp": lambda seed: [cv2.IMWRITE_WEBP_QUALITY, 101 if seed % 5 == 4 else 60 + seed % 40],
    ".png": lambda seed: [],
    # Bare, LZW, Deflate, PackBits.
    ".tif": lambda seed: [cv2.IMWRITE_TIFF_COMPRESSION, (1, 5, 8, 32773)[seed // 4 % 4]],
    ".bmp": lambda seed: [],
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found_by_content_and_good_pictures_stay(kind):
    """The table in docs/time-lapse.md, on fewer pictures; MEASURE=500 makes it anew."""
    count = int(os.environ.get("MEASURE", "40"))
    found, refused_good = 0, 0
    for seed in range(count):
        data = cv2.imencode(kind, scene(seed), KINDS[kind](seed))[1].tobytes()
        if kind == ".jpg" and seed % 5 == 0:
            data = data[:-2] + b"\x17\x2a" + data[-2:]  # a webcam's extraneous bytes
        try:
            decode_image(data, "good")
        except ImageError:
            refused_good += 1
        try:
            # What lies bare in its file is only known to be lost by a sector's borders.
            decode_image(damaged(data, seed, grid=512 if kind in (".tif", ".bmp") else 1), "bad")
        except ImageError:
            found += 1
    print(f"{kind}: {found} of {count} damaged found, {refused_good} of {count} good refused")
    assert refused_good <= count * 0.005
    assert found >= count * 0.95


@pytest.mark.parametrize(("name", "whole"), [("hole", False), ("zeros", False), ("noeoi", True)])
def test_holes_are_damage_and_a_missing_end_marker_is_none(name, whole):
    data = cv2.imencode(".jpg", scene(7), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    at = len(data) // 2
    data = {
        "hole": data[:at] + data[at + 700 :],
        "zeros": data[:at] + bytes(512) + data[at + 512 :],
        "noeoi": data[:-2],
    }[name]
    if whole:
        assert decode_image(data, "x").shape == scene(7).shape
    else:
        with pytest.raises(ImageError, match="damaged"):
            decode_image(data, "x")


def test_what_is_transparent_is_white_paper():
    image = np.zeros((20, 20, 4), np.uint8)
    image[..., 2] = 200
    image[:10, :, 3] = 255
    data = cv2.imencode(".png", image)[1].tobytes()
    seen = decode_image(data, "x")
    assert (seen[:10] == (200, 0, 0)).all() and (seen[10:] == 255).all()


def test_a_webp_with_exif_behind_its_picture_is_judged_as_without():
    def fault(data: bytes) -> str:
        try:
            decode_image(data, "x")
        except ImageError as error:
            return str(error)
        return ""

    for seed in range(30):
        quality = 101 if seed % 5 == 4 else 60 + seed % 40
        data = cv2.imencode(".webp", scene(seed), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        part = orientation(1) + bytes(40 + seed)
        photo = images.decode_photo(exif.with_exif(data, part), "x")
        np.testing.assert_array_equal(photo.image, decode_image(data, "x"))
        assert photo.exif == part
        bad = damaged(data, 4 * seed + 2)
        assert fault(exif.with_exif(bad, part)) == fault(bad)


def test_other_voices_on_descriptor_2_are_heard_all_the_same(capfd):
    with images._remarks() as heard:
        os.write(2, b"from elsewhere\n")
    assert heard == ["from elsewhere"] and capfd.readouterr().err == "from elsewhere\n"


def test_drawings_with_hard_lines_are_whole():
    """Bare pictures with thin lines, bars, screens and text: nothing of it is a lost sector, whatever its place."""
    for seed in range(30):
        chance = np.random.default_rng(seed)
        page = np.full((200, int(chance.integers(150, 900)), 3), 255, np.uint8)
        for _ in range(40):
            y, x, length = (int(n) for n in chance.integers(0, (200, page.shape[1], 400)))
            page[y : y + 1 + seed % 3, x : x + length] = chance.integers(0, 256, 3)
        page[::17] = 0
        page[:, :: 5 + seed] //= 2
        cv2.putText(page, "pleinair", (5, 100), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 2)
        for kind, options in ((".bmp", []), (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 1]), (".tif", []), (".webp", [])):
            assert decode_image(cv2.imencode(kind, page, options)[1].tobytes(), "x").shape == page.shape


def test_transparent_and_flat_webp_are_whole():
    night = np.zeros((3000, 3000, 3), np.uint8)
    night[900, 1000:1010] = 200
    for image in (np.full((64, 64, 4), 128, np.uint8), np.zeros((300, 300, 3), np.uint8), picture(), night):
        for quality in (1, 90, 101):
            data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
            assert decode_image(data, "x").shape == (*image.shape[:2], 3)


def test_a_tiffs_damage_is_heard_whatever_opencv_logs():
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        data = bytearray(cv2.imencode(".tif", scene(3), [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes())
        data[20_000:20_512] = bytes(512)
        with pytest.raises(ImageError, match="damaged"):
            decode_image(bytes(data), "x")
        assert log.getLogLevel() == log.LOG_LEVEL_SILENT
    finally:
        log.setLogLevel(before)


def test_odd_fields_of_a_tiff_do_no_harm():
    whole = cv2.imencode(".tif", picture(), [cv2.IMWRITE_TIFF_COMPRESSION, 8])[1].tobytes()
    chance, told = np.random.default_rng(0), set[str]()
    for _ in range(600):
        broken = bytearray(whole)
        for at in chance.integers(len(whole) - 220, len(whole), 3):  # the directory
            broken[at] = chance.integers(0, 256)
        try:
            decode_image(bytes(broken), "x")
        except ImageError as error:
            told.add(str(error)[:12])
    assert told
