"""Films and frames for tests: written and read with PyAV and OpenCV alone, never with what is tested."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def frame_of(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame that its mean tells apart: ``level`` everywhere, a little texture on top."""
    texture = np.random.default_rng(level).integers(-4, 5, (height, width, 1))
    return np.clip(level + np.repeat(texture, 3, axis=2), 0, 255).astype(np.uint8)


def write_frames(folder: Path, levels: list[int], suffix: str = "png", digits: int = 4) -> list[Path]:
    """One image for each level, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"frame{i:0{digits}d}.{suffix}" for i in range(1, len(levels) + 1)]
    for path, level in zip(paths, levels, strict=True):
        assert cv2.imwrite(str(path), frame_of(level))
    return paths


def write_video(
    path: Path,
    images: list[np.ndarray],
    rate: int = 10,
    start: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of uint8 RGB images; ``start`` is the first one's time in frames."""
    import av

    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {"g": "12", "bf": "0"} if codec == "libx264" else {}
        if rotation:
            stream.set_display_rotation(rotation)
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = start + i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """All frames of a video, uint8 RGB."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def means(images: list[np.ndarray]) -> list[float]:
    """Mean brightness of each."""
    return [float(image.mean()) for image in images]
