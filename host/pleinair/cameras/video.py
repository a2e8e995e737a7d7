"""A video file as a camera, decoded by PyAV."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair.cameras.camera import AWAY, Frame, LeftOut, check_size
from pleinair.cameras.framing import fit
from pleinair.damage import CHECKED, packet_fault
from pleinair.errors import AwayError, CameraError
from pleinair.painting.tiles import MIN_SIDE
from pleinair.pyav import MISSING, reformatter
from pleinair.text import one_line

#: FFmpeg's bits of a stream's disposition: what players show, and a picture that only stands for a song.
_DEFAULT, _COVER = 1, 1024
#: FFmpeg's names of files that hold a video themselves.
_KINDS = {
    *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "mjpeg", "ogg"),
    *("flv", "asf", "gif", "ivf", "y4m", "yuv4mpegpipe", "nut", "mxf", "dv", "obu", "apng", "rm", "vob"),
}
#: How playlists begin, which make FFmpeg read further files.
_LISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SmoothStreamingMedia", b"v=0")


class VideoCamera:
    """The frames of a video file: all of them, or one every ``every`` seconds of its time, upright."""

    def __init__(self, path: Path, size: tuple[int, int] | None, every: float | None, limit: int | None) -> None:
        """Raises CameraError when the file is missing or holds no video that can be decoded."""
        self.name, self.skipped = f"video {path.name}", list[str]()
        #: Encoded pictures that were found so far.
        self._packets = 0
        self._path, self._every, self._limit = path, every, limit
        with self._open() as container:
            stream = _shown(container)
            self._aspect: Fraction | None = stream.sample_aspect_ratio
            width, height = stream.codec_context.width, stream.codec_context.height
            check_size((max(width, MIN_SIDE), max(height, MIN_SIDE)), f"video:{path}")
            # Only a decoded frame tells how the video is turned, and that there is one.
            first = next((picture for picture, _ in self._pictures(container, [0])), None)
            total = stream.frames or None
            rate = float(stream.average_rate or 0)
        if first is None:
            raise CameraError(f"video:{path}: no frame of it can be decoded", option="camera")
        height, width = upright(first, reformatter(), self._aspect).shape[:2]
        self.size = size or check_size((width, height), f"video:{path}")
        if total and every and rate:
            total = max(1, math.ceil(total / rate / every))
        self.count: int | None = min(total, limit) if total and limit else total or None

    def _open(self, again: bool = False) -> Any:
        """The container; ``again`` where it was there before, so that it can only be away."""
        try:
            import av
        except ImportError as error:
            raise CameraError(f"video: {MISSING}", option="camera") from error
        try:
            self._path.stat()
            if not self._path.is_file():
                raise CameraError(f"video:{self._path}: a folder or device, not a file", option="camera")
            with self._path.open("rb") as file:
                if file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_LISTS):
                    raise CameraError(f"video:{self._path}: a list of other files, not a video", option="camera")
            # FFmpeg takes what stands before a colon for a protocol, unless the name begins with a slash.
            container = av.open(str(self._path.absolute()))
        except av.error.InvalidDataError as error:
            raise CameraError(f"video:{self._path}: not a video, or one without its end", option="camera") from error
        except (av.error.FFmpegError, OSError) as error:
            away = again and (error.errno in AWAY or error.errno == errno.ENOENT)
            raise (AwayError if away else CameraError)(
                f"video:{self._path}: {error.strerror}", option="camera"
            ) from error
        problem = ""
        if _shown(container) is None:
            problem = "holds no video stream" + (", but a picture of its cover" if container.streams.video else "")
        elif not set(container.format.name.split(",")) & _KINDS:
            problem = f"a {container.format.name}, which is no video file"
        if problem:
            container.close()
            raise CameraError(f"video:{self._path}: {problem}", option="camera")
        return container

    def _pictures(self, container: Any, damaged: list[int]) -> Iterator[tuple[Any, float]]:
        """Decoded frames with their seconds; counts packets and frames that are damaged, and goes on after."""
        import av

        stream = _shown(container)
        stream.thread_type = "AUTO"
        codec, sized = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")[:1] == b"\1"
        if codec == "mjpeg":
            # Else it makes grey of what it cannot read, and says nothing.
            stream.codec_context.options = {"err_detect": "explode"}
        packets, self._packets = container.demux(stream), 0
        number, rate, smeared = 0, float(stream.average_rate or 0) or 25.0, False
        wrong = set[int | None]()
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                if error.errno in AWAY:
                    raise AwayError(f"video:{self._path}: {error.strerror}", option="camera") from error
                damaged[0] += 1
                return
            if packet is None:
                return
            self._packets += packet.size > 0
            if packet.is_corrupt or (codec in CHECKED and packet.size and packet_fault(codec, bytes(packet), sized)):
                wrong.add(packet.pts)
                smeared |= packet.pts is None
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                damaged[0] += 1
                smeared = True
                continue
            for picture in pictures:
                seconds = float(picture.time) if picture.time is not None else number / rate
                number += 1
                if picture.is_corrupt or (picture.pts is not None and picture.pts in wrong):
                    smeared = True
                elif picture.key_frame:
                    smeared = False
                # What follows a damaged picture is drawn upon it, up to one that stands for itself.
                if smeared:
                    damaged[0] += 1
                else:
                    yield picture, seconds

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`~pleinair.cameras.camera.Camera`.

        Damage is reported in ``skipped``; all frames that can be decoded come.
        """
        index, damaged, last, due = 0, [0], 0.0, -math.inf
        with self._open(again=True) as container:
            reformat = reformatter()
            stream = _shown(container)
            for picture, seconds in self._pictures(container, damaged):
                last = seconds
                if self._every is not None:
                    if seconds + 1e-6 < due:
                        continue
                    # The grid starts at the first frame, and a gap in the video costs the frames in it.
                    due = seconds if due == -math.inf else due
                    due += self._every * (math.floor((seconds + 1e-6 - due) / self._every) + 1)
                if index >= start:
                    yield Frame(
                        fit(upright(picture, reformat, self._aspect), self.size),
                        index,
                        seconds,
                        f"{seconds:.2f} s",
                        index,
                        _about(container) if index == 0 else {},
                    )
                index += 1
                if self._limit and index >= self._limit:
                    return
            if damaged[0]:
                self.skipped.append(LeftOut(f"video {self._path}: {damaged[0]} of its frames are damaged", damaged[0]))
            end = _announced_end(container, stream)
            # As a last frame may be shown for longer than the others.
            slack = min(1.0, 4 / float(stream.average_rate or 4))
            if end is not None and last < end - max(slack, 0.02 * end):
                cut = f"video {self._path}: truncated, it ends at {last:.1f} s of {end:.1f} s"
                self.skipped.append(LeftOut(cut, 0))
            elif "mp4" in container.format.name and (missing := stream.frames - self._packets) > 0:
                # Its index knows each of them.
                cut = f"video {self._path}: truncated, its last {missing} frames are missing"
                self.skipped.append(LeftOut(cut, missing))
        if index == 0:
            raise CameraError(f"video:{self._path}: no frame could be read", option="camera")


def _shown(container: Any) -> Any:
    """The video stream that players show: the default one, else the first; None where there are covers alone."""
    moving = [stream for stream in container.streams.video if not int(stream.disposition) & _COVER]
    return next((stream for stream in moving if int(stream.disposition) & _DEFAULT), moving[0] if moving else None)


def _about(container: Any) -> dict[str, str]:
    """When and where a video was filmed, where it says so, as :func:`pleinair.exif.about` does of a photo."""
    said = {key.lower(): one_line(value)[:64] for key, value in container.metadata.items()}
    pairs = (("date", said.get("creation_time")), ("place", said.get("location")))
    return {key: value for key, value in pairs if value}


def upright(picture: Any, reformat: Callable[..., Any], aspect: Fraction | None = None) -> np.ndarray:
    """A decoded frame as uint8 [H, W, 3] RGB, as the file says that it is to be shown.

    Its pixels, of this aspect, are made square, and it is turned and mirrored.
    """
    image: np.ndarray = reformat(picture, format="rgb24").to_ndarray()
    if aspect and aspect != 1 and Fraction(1, 16) <= aspect <= 16:
        height, width = image.shape[:2]
        shown = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        image = cv2.resize(image, shown, interpolation=cv2.INTER_CUBIC)
    matrix = next((bytes(data) for data in picture.side_data if data.type.name == "DISPLAYMATRIX"), b"")
    if len(matrix) < 36:
        return np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90)))
    # Right and down of the stored picture, as x and y of the shown one (ISO/IEC 14496-12, 8.3.2).
    right, down = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2]
    if abs(right[1]) > abs(right[0]):
        image, right, down = image.transpose(1, 0, 2), down, right
    return np.ascontiguousarray(image[:: -1 if down[1] < 0 else 1, :: -1 if right[0] < 0 else 1])


def _announced_end(container: Any, stream: Any) -> float | None:
    """Seconds before which a video should not end, where it says so for this stream.

    Containers disagree on whether a late start counts, so it does not.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration) / 1e6
    return None
