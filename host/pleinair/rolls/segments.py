"""Segments: a painting's film in pieces, each closed for good, and the film that is joined from them.

A segment holds the paintings of up to :data:`LENGTH` originals and is named by the first and the last of them,
``00000120-00000239.mkv``. It is encoded alone (H.264, one thread, nothing random in the container), so the same
paintings give the same bytes, and a segment that was cut off is simply painted again. It gets its name when it is
whole and synced; until then it is ``segment.part``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pleinair import durable
from pleinair.errors import OutputError, RollError
from pleinair.films.encoder import MAX_SIDE, Encoder, even
from pleinair.films.rate import Rate
from pleinair.films.recorder import check_film, container_options, part_of, place_film
from pleinair.films.remux import Remuxer, read_packets
from pleinair.text import one_line

#: Originals in a segment: what a kill may cost in painting again, and five seconds of film.
LENGTH = 120
_NAME = re.compile(r"([0-9]{8,9})-([0-9]{8,9})\.mkv")
_WORKING = "segment" + durable.PART


@dataclass(frozen=True, order=True)
class Segment:
    """A closed piece: numbers of its first and last original, where it is."""

    first: int
    last: int
    path: Path


def find_segments(folder: Path) -> list[Segment]:
    """The segments of a painting, in order; of two that overlap, the later one is left out."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None and int(match[1]) <= int(match[2]):
            found.append(Segment(int(match[1]), int(match[2]), path))
    apart: list[Segment] = []
    for segment in sorted(found):
        if not apart or segment.first > apart[-1].last:
            apart.append(segment)
    return apart


def uncovered(segments: Sequence[Segment], first: int, last: int) -> list[tuple[int, int]]:
    """The runs of numbers in first .. last that no segment holds, as (first, last)."""
    gaps, position = [], first
    for segment in segments:
        if segment.last < position:
            continue
        if segment.first > position:
            gaps.append((position, min(last, segment.first - 1)))
        position = max(position, segment.last + 1)
        if position > last:
            return gaps
    return [*gaps, (position, last)] if position <= last else gaps


class UnlikeError(RollError):
    """Pieces that were encoded in different ways, so that no film can be joined from copies of them."""


class SegmentRecorder:
    """Writes one segment, from original ``first`` on. Raises OSError as the disk gives it."""

    def __init__(self, folder: Path, first: int, fps: Rate) -> None:
        self.folder, self.first, self.fps, self.frames = folder, first, fps, 0
        self._file: durable.DurableFile | None = None
        self._container: Any = None
        self._encoder: Encoder | None = None

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB. Raises OutputError for one that H.264 does not hold."""
        image = even(image)
        height, width = image.shape[:2]
        if max(height, width) > MAX_SIDE:
            raise OutputError(f"frames of {width}x{height}: H.264 holds up to {MAX_SIDE} a side")
        with self._disk_errors():
            if self._encoder is None:
                self._encoder = self._open(width, height)
            self._encoder.add(image)
        self.frames += 1

    def _open(self, width: int, height: int) -> Encoder:
        import av

        self._file = durable.DurableFile(self.folder / _WORKING)
        # Bitexact: without it the container would carry random numbers.
        options = {"fflags": "bitexact", "flush_packets": "1"}
        self._container = av.open(self._file, "w", format="matroska", options=options)
        # In one thread: the same bytes whatever the machine.
        return Encoder(self._container, width=width, height=height, fps=self.fps)

    @contextlib.contextmanager
    def _disk_errors(self) -> Any:
        """Re-raise the OSError that FFmpeg swallowed."""
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            kept = self._file.error if self._file is not None else None
            raise OSError((kept or error).errno, (kept or error).strerror) from error
        if self._file is not None and self._file.error is not None:
            raise OSError(self._file.error.errno, self._file.error.strerror)

    def seal(self, last: int) -> tuple[Segment, str] | None:
        """Close the segment for good, up to original ``last``: it and its SHA-256, or None when it has no frame."""
        if self._encoder is None or self._file is None:
            return None
        path = self.folder / f"{self.first:08d}-{last:08d}.mkv"
        with self._disk_errors():
            self._encoder.end()
            self._container.close()
            self._file.sync()
        self._file.close()
        digest = durable.file_sha256(self._file.path)
        durable.replace(self._file.path, path)
        self._container = self._encoder = None
        return Segment(self.first, last, path), digest

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._container is not None:
            with contextlib.suppress(Exception):
                self._container.close()
        if self._file is not None:
            self._file.close()
            self._file.path.unlink(missing_ok=True)
        self._container = self._encoder = self._file = None


def _readable(path: Path) -> Iterator[tuple[Any, Any]]:
    """The packets of a damaged segment with their stream, up to the first that is missing or does not decode."""
    import av

    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            for packet in container.demux(video):
                if not packet.size:
                    return
                pictures = packet.decode()
                if len(pictures) != 1 or pictures[0].is_corrupt:
                    return
                yield packet, video
    except (av.error.FFmpegError, IndexError):
        return


def salvage(segment: Segment, fps: Rate) -> int:
    """Cut a damaged segment down to the frames that can be read, or remove it; how many are left. Raises OSError."""
    import av

    part = segment.path.with_name("salvage" + durable.PART)
    try:
        with av.open(str(part), "w", format="matroska", options={"fflags": "bitexact"}) as target:
            count = Remuxer(target, fps=fps).append(_readable(segment.path))
        if count:
            durable.replace(part, segment.path)
        else:
            segment.path.unlink()
    finally:
        part.unlink(missing_ok=True)
    return count


def join(segments: Sequence[Segment], film: Path, *, fps: Rate, tags: dict[str, str], force: bool = False) -> int:
    """The segments' frames copied untouched into one film, an MP4's index first; how many frames.

    A film that is there already is put aside, or overwritten by ``force``.

    Raises OutputError when the film cannot be written, RollError when there is no frame, UnlikeError.
    """
    import av

    check_film(film)
    try:
        part = part_of(film)
    except OSError as error:
        raise OutputError(f"{film}: {error.strerror}", option="out") from error
    try:
        with av.open(str(part), "w", options=container_options(film)) as target:
            target.metadata.update({name: one_line(text) for name, text in tags.items()})
            joined = Remuxer(target, fps=fps)
            for segment in segments:
                joined.append(_alike(segment, joined))
            if joined.frames == 0:
                raise RollError(f"{film}: no frame is painted yet, so there is no film", option="out")
        place_film(part, film, force=force)
    except (av.error.FFmpegError, OSError) as error:
        raise OutputError(f"{film}: {error.strerror}", option="out") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return joined.frames


def _alike(segment: Segment, joined: Remuxer) -> Iterator[tuple[Any, Any]]:
    """A segment's encoded frames with their stream. Raises UnlikeError where they do not fit those before them."""
    for packet, stream in read_packets(segment.path):
        if not joined.takes(stream):
            raise UnlikeError(
                f"{segment.path}: encoded in another way than those before it; paint the roll with pleinair repaint"
            )
        yield packet, stream


def count_frames(path: Path) -> int | None:
    """How many frames a segment holds, every one of them decoded; None when it is not whole."""
    import av

    count = 0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                for picture in packet.decode():
                    if picture.is_corrupt:
                        return None
                    count += 1
    except (av.error.FFmpegError, IndexError):
        return None
    return count or None
