"""Recorders: painted frames into a film, by PyAV (H.264, yuv420p, BT.709).

Frames go to a raw Matroska file beside the film first, ``.FILM.part.mkv``; at the end its packets are copied
into an MP4 whose index comes first (``.FILM.copy.part.mp4``), and that is renamed into place. A run that is killed
(``kill -9``, power) leaves the raw file, which plays up to the last frame but one. The next run to the same
film moves it to ``FILM.interrupted-1.mkv`` and says so. The raw file is locked while its run lives, so a
second run to the same film is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import itertools
import os
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from pleinair.errors import OutputError
from pleinair.images import check_writable

#: The longest side that x264 takes.
MAX_SIDE = 16384
FILM_SUFFIXES = (".mp4", ".mkv", ".mov")
#: How painted frames are encoded. Against x264's usual veryfast at CRF 20 the same PSNR and SSIM in less than half the
#: processor time, for files 12 % larger, of which 9 % are the price of plain variable-length codes; none is held back.
ENCODING = {"preset": "superfast", "crf": "22", "coder": "vlc", "tune": "zerolatency"}


class Recorder(Protocol):
    """Takes painted frames of one size, in order."""

    frames: int

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB. Raises OutputError."""

    def finish(self) -> Path:
        """Complete the film and tell where it is. Raises OutputError."""

    def discard(self) -> None:
        """Leave nothing behind."""


def even(image: np.ndarray) -> np.ndarray:
    """The picture with even sides, as yuv420p needs: an odd one gains a repeated column or row."""
    height, width = image.shape[:2]
    if height % 2 == width % 2 == 0:
        return image
    padded: np.ndarray = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return padded


def reformatter() -> Callable[..., Any]:
    """A function that brings PyAV's frames to another format, in this thread, and keeps what it sets up for that."""
    import av
    from av.video.reformatter import VideoReformatter

    # From 16 on PyAV would wake as many threads as there are cores, for half a millisecond's work.
    threads: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 16 else {}
    return partial(VideoReformatter().reformat, **threads)


class Encoder:
    """A stream of H.264, yuv420p, BT.709, in a PyAV container. What FFmpeg says of a failure passes through."""

    def __init__(self, container: Any, width: int, height: int, fps: int, threads: int = 1) -> None:
        """``threads`` share each frame's rows."""
        self._container, self._tick, self._frames = container, Fraction(1, fps), 0
        self._reformat = reformatter()
        self._stream = container.add_stream("libx264", rate=fps)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {**ENCODING, "threads": str(threads)}
        context = self._stream.codec_context
        context.time_base = self._tick
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # 16..235

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB of the stream's size."""
        import av

        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        frame = self._reformat(picture, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = self._frames, self._tick
        self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def end(self) -> None:
        """Append what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


class FilmRecorder:
    """Writes ``path`` at ``fps`` frames a second. Odd sizes gain a repeated column or row (yuv420p needs even).

    ``aside`` names what a killed run had left at this film's raw file, None when there was nothing. ``closed``
    says that nothing more will be done to the film.
    """

    def __init__(self, path: Path, fps: int = 24) -> None:
        """Raises OutputError when the film could not be written there."""
        if path.suffix.lower() not in FILM_SUFFIXES:
            raise OutputError(f"--out {path}: a film ends in {', '.join(FILM_SUFFIXES)}")
        if importlib.util.find_spec("av") is None:
            raise OutputError(f"--out {path}: needs av (PyAV): pip install 'pleinair[cpu]'")
        check_writable(path)
        self.path, self.fps, self.frames = path, fps, 0
        self.aside: Path | None = None
        self.closed = False
        # FFmpeg takes what stands before a colon for a protocol, unless the name begins with a slash.
        folder = path.parent.absolute()
        self._raw = folder / f".{path.name}.part.mkv"
        self._part = folder / f".{path.name}.copy.part{path.suffix}"
        self._lock: int | None = None
        self._container: Any = None
        self._encoder: Encoder | None = None
        self._size: tuple[int, ...] = ()
        if os.path.exists(self._raw):  # os.path says no to a name too long; opening it says why
            self._claim()
            self._release(remove=True)

    def _claim(self) -> None:
        """Make the raw file and lock it for as long as this process lives; put aside what a dead one left."""
        while self._lock is None:
            try:
                handle = os.open(self._raw, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise OutputError(f"--out {self.path}: {error.strerror}") from error
            keep = False
            try:
                locked = self._try_lock(handle)
                left = os.fstat(handle).st_size > 0
                if not self._raw.exists() or not os.path.samestat(os.fstat(handle), self._raw.stat()):
                    continue  # its owner finished between our opening and our locking
                if left and not locked:
                    raise OutputError(f"--out {self.path}: {self._raw} is there, from another run; move it away")
                if left:
                    self.aside = self._aside()
                    os.replace(self._raw, self.aside)
                    continue
                self._lock, keep = handle, True
            except OSError as error:
                raise OutputError(f"--out {self.path}: {error.strerror}") from error
            finally:
                if not keep:
                    os.close(handle)

    def _try_lock(self, handle: int) -> bool:
        """Whether the lock is ours; False where the file system has none. Raises OutputError when it is taken."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"--out {self.path}: another run is recording this film") from error
        except OSError:
            return False
        return True

    def _aside(self) -> Path:
        numbers = itertools.count(1)
        names = (self._raw.with_name(f"{self.path.stem}.interrupted-{n}.mkv") for n in numbers)
        return next(name for name in names if not name.exists())

    def _release(self, remove: bool) -> None:
        if self._lock is not None:
            if remove:
                self._raw.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _open(self, width: int, height: int) -> Encoder:
        import av

        if max(width, height) > MAX_SIDE:
            raise OutputError(f"--out {self.path}: frames of {width}x{height}, H.264 holds up to {MAX_SIDE} a side")
        self._claim()
        # One frame to a cluster and none held back by the encoder: what was added is in the file.
        self._container = av.open(str(self._raw), "w", options={"flush_packets": "1", "cluster_time_limit": "1"})
        # Where there are cores to spare: a board's accelerator paints faster than one of its cores encodes.
        threads = max(1, min(4, len(os.sched_getaffinity(0)) // 2))
        return Encoder(self._container, width, height, self.fps, threads)

    def add(self, image: np.ndarray) -> None:
        """See :class:`Recorder`. ValueError for a frame of another size than the first."""
        import av

        image = even(image)
        try:
            if self._encoder is None:
                self._encoder = self._open(image.shape[1], image.shape[0])
                self._size = image.shape
            elif image.shape != self._size:
                raise ValueError(f"frame of {image.shape}, the film has {self._size}")
            self._encoder.add(image)
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"--out {self.path}: {error.strerror}") from error
        self.frames += 1

    def finish(self) -> Path:
        """See :class:`Recorder`. When it fails, the error names the raw file, which stays."""
        import av

        if self._encoder is None:
            raise OutputError(f"--out {self.path}: no frame was painted, so there is no film")
        try:
            try:
                self._encoder.end()
            finally:
                self._container.close()
            copied = self._copy()
            if copied != self.frames:
                raise OSError(errno.EIO, f"only {copied} of {self.frames} frames can be read back")
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self.path)
        except (av.error.FFmpegError, OSError) as error:
            self._part.unlink(missing_ok=True)
            self._release(remove=False)
            self.closed = True
            raise OutputError(f"--out {self.path}: {error.strerror}; what was recorded is in {self._raw}") from error
        self._release(remove=True)
        self.closed = True
        return self.path

    def _copy(self) -> int:
        """The recorded packets, untouched, into the final container; how many there were."""
        import av

        options = {} if self._part.suffix.lower() == ".mkv" else {"movflags": "faststart"}
        tick = Fraction(1, self.fps)
        with av.open(str(self._raw)) as source, av.open(str(self._part), "w", options=options) as target:
            video = source.streams.video[0]
            stream = target.add_stream_from_template(video)
            stream.time_base = tick
            # Matroska keeps milliseconds and no times of decoding; the film's are whole frames, for both.
            copied = 0
            for packet in source.demux(video):
                if packet.size == 0:
                    continue  # PyAV's word for the end
                packet.stream, packet.time_base = stream, tick
                packet.pts = packet.dts = copied
                packet.duration = 1
                target.mux(packet)
                copied += 1
        return copied

    def discard(self) -> None:
        """See :class:`Recorder`."""
        import av

        if self._container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
        self._release(remove=True)
        self.closed = True
