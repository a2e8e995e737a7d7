"""A film as a small moving picture for messages and pages: an animated WebP or GIF that plays again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair import durable
from pleinair.errors import OutputError
from pleinair.films.encoder import even
from pleinair.films.recorder import part_of
from pleinair.images import check_writable
from pleinair.pyav import reformatter

SUFFIXES = (".webp", ".gif")
#: Frames of the picture at most, how many of them are shown in a second, and its longer side in pixels.
FRAMES, RATE, SIDE = 96, 12, 480
#: A jump to another frame is worth it from so many frames on; those between are decoded otherwise.
_JUMP = 60


def check_loop(path: Path) -> None:
    """Raise OutputError when no moving picture could be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: a moving picture ends in {' or '.join(SUFFIXES)}", option="preview_image")
    check_writable(path)


def write_loop(film: Path, path: Path) -> int:
    """Write a film's moving picture: up to :data:`FRAMES` of its frames, evenly chosen; how many.

    Raises OutputError when the film cannot be read or the picture not written.
    """
    import av

    check_loop(path)
    try:
        part = part_of(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}", option="preview_image") from error
    try:
        count = 0
        with av.open(str(part), "w", options={"loop": "0"}) as target:
            write = _gif(target) if path.suffix.lower() == ".gif" else _webp(target)
            next(write)
            for image in _frames(film):
                write.send(image)
                count += 1
            write.close()
        durable.replace(part, Path(path).absolute())
    except (av.error.FFmpegError, OSError) as error:
        raise OutputError(f"{path}: {error.strerror}", option="preview_image") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return count


def _frames(film: Path) -> Iterator[np.ndarray]:
    """Some frames of a film, small, uint8 [H, W, 3]."""
    import av

    with av.open(str(film.absolute())) as container:
        stream = container.streams.video[0]
        total = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        container.seek(0)
        wanted = [total * n // min(FRAMES, total) for n in range(min(FRAMES, total))]
        reformat, at = reformatter(), -1
        frame_seconds = 1 / Fraction(stream.average_rate)
        decoded = container.decode(stream)
        for number in wanted:
            if number - at > _JUMP:
                container.seek(int(number * frame_seconds / stream.time_base), stream=stream)
                decoded = container.decode(stream)
                at = number - 1 - _JUMP
            for picture in decoded:
                at = round(picture.time / frame_seconds) if picture.time is not None else at + 1
                if at >= number:
                    rgb = reformat(picture, format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
                    yield _small(rgb.to_ndarray())
                    break


def _small(image: np.ndarray) -> np.ndarray:
    scale = SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return even(image)


def _stream(target: Any, codec: str, image: np.ndarray, pixels: str) -> Any:
    stream = target.add_stream(codec, rate=RATE)
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = pixels
    return stream


def _webp(target: Any) -> Any:
    """Takes images and encodes each as a frame of an animated WebP."""
    import av

    stream, number = None, 0
    try:
        while True:
            image = yield
            if stream is None:
                stream = _stream(target, "libwebp_anim", image, "yuv420p")
                stream.options = {"quality": "75", "compression_level": "4"}
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(frame))
            number += 1
    finally:
        if stream is not None:
            target.mux(stream.encode(None))


def _gif(target: Any) -> Any:
    """Takes images and encodes all of them, at the end, as a GIF of 256 colours that suit the whole film."""
    import av

    images = list[np.ndarray]()
    try:
        while True:
            images.append((yield))
    finally:
        if images:
            height, width = images[0].shape[:2]
            graph = av.filter.Graph()
            source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, RATE))
            split, palette, use = (graph.add(name) for name in ("split", "palettegen", "paletteuse"))
            sink = graph.add("buffersink")
            source.link_to(split)
            split.link_to(palette, 0, 0)
            split.link_to(use, 1, 0)
            palette.link_to(use, 0, 1)
            use.link_to(sink)
            graph.configure()
            for number, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                source.push(frame)
            source.push(None)
            stream = None
            for number in range(len(images)):
                frame = sink.pull()
                if stream is None:
                    stream = _stream(target, "gif", images[0], frame.format.name)
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                target.mux(stream.encode(frame))
            if stream is not None:
                target.mux(stream.encode(None))
