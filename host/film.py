"""Recorders: painted frames into a film, by PyAV (H.264, yuv420p, BT.709).

Frames go to a Matroska file beside the film first, which plays to its last frame even when the program is
killed; at the end its packets are copied into an MP4 whose index comes first, and that is renamed into place.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from host.errors import OutputError
from host.images import check_writable

_SUFFIXES = (".mp4", ".mkv", ".mov")


class Recorder(Protocol):
    """Takes painted frames of one size, in order."""

    frames: int

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB. Raises OutputError."""

    def finish(self) -> Path:
        """Complete the film and tell where it is. Raises OutputError."""

    def discard(self) -> None:
        """Leave nothing behind."""


class FilmRecorder:
    """Writes ``path`` at ``fps`` frames a second. Odd sizes gain a repeated column or row (yuv420p needs even)."""

    def __init__(self, path: Path, fps: int = 24, quality: int = 20, preset: str = "veryfast") -> None:
        """``quality`` is x264's CRF. Raises OutputError when the film could not be written there."""
        if path.suffix.lower() not in _SUFFIXES:
            raise OutputError(f"--out {path}: a film ends in {', '.join(_SUFFIXES)}")
        check_writable(path)
        self.path, self.fps, self.frames = path, fps, 0
        self._quality, self._preset = quality, preset
        self._raw = path.with_name(f".{path.name}.part.mkv")
        self._container: Any = None
        self._stream: Any = None
        self._size: tuple[int, ...] = ()

    def _open(self, width: int, height: int) -> None:
        import av

        self._container = av.open(str(self._raw), "w", options={"flush_packets": "1", "cluster_time_limit": "1000"})
        self._stream = self._container.add_stream("libx264", rate=self.fps)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(self._quality), "preset": self._preset, "bf": "0"}
        context = self._stream.codec_context
        context.time_base = Fraction(1, self.fps)
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # 16..235

    def add(self, image: np.ndarray) -> None:
        """See :class:`Recorder`. ValueError for a frame of another size than the first."""
        import av

        height, width = image.shape[:2]
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        try:
            if self._container is None:
                self._open(image.shape[1], image.shape[0])
                self._size = image.shape
            elif image.shape != self._size:
                raise ValueError(f"frame of {image.shape}, the film has {self._size}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = self.frames, Fraction(1, self.fps)
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"--out {self.path}: {error.strerror}") from error
        self.frames += 1

    def finish(self) -> Path:
        """See :class:`Recorder`."""
        import av

        if self._container is None:
            raise OutputError(f"--out {self.path}: no frame was painted, so there is no film")
        part = self.path.with_name(f".{self.path.name}.part{self.path.suffix}")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._copy(part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, self.path)
            self._raw.unlink()
        except (av.error.FFmpegError, OSError) as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"--out {self.path}: {error.strerror}; the {self.frames} frames are kept in {self._raw}"
            ) from error
        return self.path

    def _copy(self, part: Path) -> None:
        """The recorded packets, untouched, into the final container."""
        import av

        options = {} if part.suffix.lower() == ".mkv" else {"movflags": "faststart"}
        with av.open(str(self._raw)) as source, av.open(str(part), "w", options=options) as target:
            video = source.streams.video[0]
            stream = target.add_stream_from_template(video)
            for packet in source.demux(video):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)

    def discard(self) -> None:
        """See :class:`Recorder`."""
        if self._container is not None:
            self._container.close()
        self._raw.unlink(missing_ok=True)
