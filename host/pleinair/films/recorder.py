"""Recorders: paintings into a film file.

Frames first go to a raw Matroska file beside the film, ``.FILM.part.mkv``. At the end its packets are copied into the
film's own container with the index first (``.FILM.copy.part.mp4``), and that file is renamed into place.

A run that is killed (``kill -9``, power) leaves the raw file, which plays up to the last frame but one. The next run
to the same film moves it to ``FILM.interrupted-1.mkv`` and says so. The raw file is locked while its run lives, so a
second run to the same film is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import importlib.util
import itertools
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pleinair import durable, pyav
from pleinair.errors import OutputError
from pleinair.films.encoder import MAX_SIDE, Encoder, even
from pleinair.films.rate import Rate
from pleinair.films.remux import Remuxer, read_packets
from pleinair.images import check_writable
from pleinair.text import one_line

#: A file's name has up to 255 bytes; while a film is made, its file's is longer by ten.
_LONGEST_NAME = 240
FILM_SUFFIXES = (".mp4", ".mkv", ".mov")


class Recorder(Protocol):
    """Takes painted frames of one size, in order. ``tags`` are what the film will say of itself, by FFmpeg's names."""

    frames: int
    tags: dict[str, str]

    def add(self, image: np.ndarray) -> None:
        """Append uint8 [H, W, 3] RGB. Raises OutputError."""

    def finish(self) -> Path:
        """Complete the film and tell where it is. Raises OutputError."""

    def discard(self) -> None:
        """Leave nothing behind."""


def check_film(film: Path) -> None:
    """Raise OutputError when no film could be written there."""
    if film.suffix.lower() not in FILM_SUFFIXES:
        raise OutputError(f"{film}: a film ends in {', '.join(FILM_SUFFIXES)}", option="out")
    if importlib.util.find_spec("av") is None:
        raise OutputError(f"{film}: {pyav.MISSING}", option="out")
    if len(os.fsencode(film.name)) > _LONGEST_NAME:
        raise OutputError(f"{film}: the name is too long, allowed are {_LONGEST_NAME} bytes", option="out")
    check_writable(film)


def container_options(film: Path) -> dict[str, str]:
    """FFmpeg's options for a film's container: the index of an MP4 or MOV comes first."""
    return {} if film.suffix.lower() == ".mkv" else {"movflags": "faststart"}


def part_of(film: Path) -> Path:
    """A new, empty file beside a film, for its making; its name cannot be guessed. Raises OSError."""
    # FFmpeg takes what stands before a colon for a protocol, unless the name begins with a slash.
    part = Path(os.path.realpath(film)).parent / f".{secrets.token_hex(8)}.part{film.suffix}"
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    return part


def place_film(part: Path, film: Path, *, force: bool) -> Path | None:
    """A film that was made, into its place, on the disk; where the one that was there is now. Raises OSError.

    The new film has the old one's mode, and where the film's name is a link, its target is the film.
    """
    film = Path(os.path.realpath(film))
    with part.open("rb") as file:
        durable.keep_mode(film, file.fileno())
        durable.sync_file(file.fileno())
    before = None if force else durable.put_aside(film)
    durable.replace(part, film)
    return before


def films_put_aside(out: Path) -> set[Path]:
    """The films of that name that made room for another."""
    return set(out.parent.glob(f"{glob.escape(out.stem)}.before-*{glob.escape(out.suffix)}"))


class FilmRecorder:
    """Records the film ``path`` at ``fps`` frames a second. Odd sizes gain a repeated column or row.

    ``aside`` is where the leavings of a killed run to this film were moved to, None when there were none. ``closed``
    says that nothing more will be done to the film.
    """

    def __init__(self, path: Path, fps: Rate = 24, *, force: bool = False) -> None:
        """A film that is there already is put aside, or overwritten by ``force``; ``before`` is where it is then.

        Raises OutputError when the film could not be written there.
        """
        check_film(path)
        self._force = force
        self.before: Path | None = None
        self.path, self.fps, self.frames = path, fps, 0
        self.aside: Path | None = None
        self.closed = False
        self.tags = dict[str, str]()
        # FFmpeg takes what stands before a colon for a protocol, unless the name begins with a slash.
        folder = path.parent.absolute()
        self._raw = folder / f".{path.name}.part.mkv"
        self._part: Path | None = None
        self._lock: int | None = None
        self._container: Any = None
        self._encoder: Encoder | None = None
        self._size: tuple[int, ...] = ()
        if os.path.exists(self._raw):  # os.path says no to a name too long; opening it says why
            self._claim()
            self._release(remove=True)

    def _error(self, cause: str | None) -> OutputError:
        return OutputError(f"{self.path}: {cause}", option="out")

    def _claim(self) -> None:
        """Make the raw file and lock it for as long as this process lives; put aside what a dead run left."""
        while self._lock is None:
            try:
                handle = os.open(self._raw, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._error(error.strerror) from error
            keep = False
            try:
                locked = self._try_lock(handle)
                left = os.fstat(handle).st_size > 0
                if not self._raw.exists() or not os.path.samestat(os.fstat(handle), self._raw.stat()):
                    continue  # its owner finished between our opening and our locking
                if left and not locked:
                    raise self._error(f"{self._raw} is there, from another run; move it away")
                if left:
                    self.aside = self._aside()
                    os.replace(self._raw, self.aside)
                    continue
                self._lock, keep = handle, True
            except OSError as error:
                raise self._error(error.strerror) from error
            finally:
                if not keep:
                    os.close(handle)

    def _try_lock(self, handle: int) -> bool:
        """Whether the lock is ours; False where the file system has none. Raises OutputError when it is taken."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._error("another run is recording this film") from error
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
            raise self._error(f"frames of {width}x{height}, H.264 holds up to {MAX_SIDE} a side")
        self._claim()
        # One frame a cluster, and the encoder holds none back: each frame that was added is in the file.
        self._container = av.open(str(self._raw), "w", options={"flush_packets": "1", "cluster_time_limit": "1"})
        # Where there are cores to spare: a board's accelerator paints faster than one of its cores encodes.
        threads = max(1, min(4, len(os.sched_getaffinity(0)) // 2))
        return Encoder(self._container, width=width, height=height, fps=self.fps, threads=threads)

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
            raise self._error(error.strerror) from error
        self.frames += 1

    def finish(self) -> Path:
        """See :class:`Recorder`. When it fails, the error names the raw file, which stays."""
        import av

        if self._encoder is None:
            raise self._error("no frame was painted, so there is no film")
        try:
            try:
                self._encoder.end()
            finally:
                self._container.close()
            self._part = part_of(self.path)
            copied = self._copy()
            if copied != self.frames:
                raise OSError(errno.EIO, f"only {copied} of {self.frames} frames can be read back")
            self.before = place_film(self._part, self.path, force=self._force)
        except (av.error.FFmpegError, OSError) as error:
            if self._part is not None:
                self._part.unlink(missing_ok=True)
            self._release(remove=False)
            self.closed = True
            raise self._error(f"{error.strerror}; what was recorded is in {self._raw}") from error
        self._release(remove=True)
        self.closed = True
        return self.path

    def _copy(self) -> int:
        """Copy the recorded frames into the final container; how many there were."""
        import av

        assert self._part is not None
        with av.open(str(self._part), "w", options=container_options(self._part)) as target:
            target.metadata.update({name: one_line(text) for name, text in self.tags.items()})
            return Remuxer(target, fps=self.fps).append(read_packets(self._raw))

    def discard(self) -> None:
        """See :class:`Recorder`."""
        import av

        if self._container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._container.close()
        self._release(remove=True)
        self.closed = True
