"""Paints one picture in many styles for the page, in a process of its own at a low priority, one picture at a time."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pleinair import durable
from pleinair.decoder import SHARED
from pleinair.errors import ImageError, PleinairError
from pleinair.images import within
from pleinair.models import CARD, read_card, styles
from pleinair.network.floating import FLOAT_BITS
from pleinair.processes import as_child
from pleinair.serving.pictures import shrunk
from pleinair.sharing.sheet import paint_in_each, sheet_picture

#: Bytes of a photo at most, and the longer side at which it is painted, and at which styles show themselves.
LARGEST_PHOTO = 24 << 20
_SIDE, _THUMBNAIL = 800, 300
#: Seconds for a picture in one style; then the process that paints is ended.
_PATIENCE = 300.0
_LARGEST_THUMBNAIL = 1 << 20
#: Seconds until what gives way has given way.
_GIVES_WAY = 20.0

#: Called with a style's name and its JPEG.
Painted = Callable[[str, bytes], None]


@dataclass
class Canvas:
    """A picture that is being painted: JPEGs by style, and why a style did not paint it."""

    key: str
    names: Sequence[str]
    picture: bytes
    paintings: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    done: bool = False
    #: It was ended before all was painted.
    interrupted: bool = False


def read_photo(data: bytes) -> np.ndarray:
    """A photo from a stranger, decoded by the bounded child and made small, uint8 [H, W, 3] RGB. Raises ImageError."""
    if len(data) > LARGEST_PHOTO:
        raise ImageError(f"a photo of {len(data) / 1e6:.0f} MB; at most {LARGEST_PHOTO / 1e6:.0f} MB are taken")
    image, _ = SHARED.decode(data, "of yours")
    return within(image, _SIDE)


def _paint(connection: Any, picture: np.ndarray, names: Sequence[str]) -> None:
    """The child process: sends each style's name with a JPEG, or with what is wrong."""
    as_child()
    os.nice(15)
    with contextlib.suppress(OSError):
        for name, painting in paint_in_each(picture, names):
            told = str(painting) if isinstance(painting, PleinairError) else shrunk(painting, _SIDE)
            connection.send((name, told))


class Easel:
    """Paints pictures, one at a time. Safe from any thread."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._process: Any = None
        self._closed = self._gives_way = False
        #: The last photo that was given.
        self.canvas: Canvas | None = None

    def begin(self, picture: np.ndarray) -> Canvas | None:
        """Paint a photo in every style; None while another is being painted."""
        if not self._busy.acquire(blocking=False):
            if not self._gives_way:
                return None
            self._end()
            if not self._busy.acquire(timeout=_GIVES_WAY):
                return None
        self.canvas = canvas = Canvas(secrets.token_hex(8), list(styles()), shrunk(picture, _SIDE))

        def work() -> None:
            try:
                self._fill(canvas, picture, lambda name, data: None)
            finally:
                self._busy.release()

        threading.Thread(target=work, name="easel", daemon=True).start()
        return canvas

    def paint(self, picture: np.ndarray, names: Sequence[str], painted: Painted) -> Canvas:
        """Paint a picture in some styles, after those before it; it gives way to a photo, and is unfinished then.

        ``painted`` is called with each style and its JPEG.
        """
        canvas = Canvas("", names, b"")
        with self._busy:
            self._gives_way = True
            try:
                self._fill(canvas, picture, painted)
            finally:
                self._gives_way = False
        return canvas

    def _fill(self, canvas: Canvas, picture: np.ndarray, painted: Painted) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_paint, args=(theirs, picture, canvas.names), daemon=True)
        canvas.interrupted = self._closed
        try:
            if self._closed:
                return
            process.start()
            self._process = process
            theirs.close()
            while ours.poll(_PATIENCE):
                name, told = ours.recv()
                if isinstance(told, bytes):
                    canvas.paintings[name] = told
                    painted(name, told)
                else:
                    canvas.problems[name] = told
        except (EOFError, OSError):
            pass
        finally:
            canvas.interrupted |= self._process is not process
            self._process = None
            if process.pid is not None:
                process.kill()
                process.join()
            ours.close()
            for name in canvas.names:
                if name not in canvas.paintings:
                    canvas.problems.setdefault(name, "it was not painted")
            canvas.done = True

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End what is being painted."""
        self._closed = True
        self._end()


@dataclass(frozen=True)
class StyleCard:
    """A style as the page shows it.

    ``thumbnail`` says whether its picture is there, ``rolls`` whether it paints rolls.
    """

    name: str
    title: str
    thumbnail: bool
    rolls: bool = True


@dataclass(frozen=True)
class _Card:
    """What the page needs of a style's card.

    ``key`` tells its networks; ``bits`` are those that rolls are painted with, 0 where there is a float network alone.
    """

    key: str
    title: str
    bits: int


class Gallery:
    """The styles that there are, each with a small picture that it painted once. Safe from any thread."""

    def __init__(self, easel: Easel) -> None:
        self._easel = easel
        self._pictures: dict[str, bytes] = {}
        self._failed, self._keys = set[str](), dict[str, str]()
        #: The cards that were read, each with inode, time in nanoseconds and size of its file.
        self._read: dict[Path, tuple[tuple[int, int, int], _Card | None]] = {}
        self._lock, self._thread = threading.Lock(), threading.Thread()

    def cards(self) -> list[StyleCard]:
        """All styles; pictures that are missing are painted meanwhile."""
        found, missing = list[StyleCard](), dict[str, str]()
        for name, folder in styles().items():
            card = self._card(folder)
            if card is None:
                continue
            key = card.key
            if key not in self._pictures and key not in self._failed and not self._remember(key):
                missing[name] = key
            found.append(StyleCard(name, card.title, key in self._pictures, rolls=card.bits > 0))
            self._keys[name] = key
        with self._lock:
            if missing and not self._thread.is_alive():
                self._thread = threading.Thread(target=self._paint, args=(missing,), name="gallery", daemon=True)
                self._thread.start()
        return found

    def bits(self, name: str) -> int:
        """The bits with which a style paints rolls; 0 where there is none of that name, or none that does."""
        folder = styles().get(name)
        card = None if folder is None else self._card(folder)
        return 0 if card is None else card.bits

    def picture(self, name: str) -> bytes | None:
        """A style's picture as a JPEG; None where there is none yet."""
        return self._pictures.get(self._keys.get(name, ""))

    def _card(self, folder: Path) -> _Card | None:
        """A style's card, read again only when its file is another one; None where it cannot be read."""
        try:
            there = (folder / CARD).stat()
        except OSError:
            return None
        stamp = there.st_ino, there.st_mtime_ns, there.st_size
        if folder not in self._read or self._read[folder][0] != stamp:
            found = None
            with contextlib.suppress(PleinairError):
                card = read_card(folder)
                hashes = "".join(card.network_sha256(bits) for bits in sorted(card.networks))
                widths = [bits for bits in card.networks if bits != FLOAT_BITS]
                bits = 8 if 8 in widths else max(widths, default=0)
                found = _Card(hashlib.sha256(hashes.encode()).hexdigest(), card.painting.title, bits)
            self._read[folder] = stamp, found
        return self._read[folder][1]

    def _remember(self, key: str) -> bool:
        with contextlib.suppress(OSError), _kept(key).open("rb") as file:
            data = file.read(_LARGEST_THUMBNAIL)
            if data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"):
                self._pictures[key] = data
                return True
        return False

    def _paint(self, missing: dict[str, str]) -> None:
        picture = cv2.resize(sheet_picture(), (_THUMBNAIL, _THUMBNAIL * 2 // 3), interpolation=cv2.INTER_AREA)

        def painted(name: str, data: bytes) -> None:
            file = _kept(missing[name])
            self._pictures[missing[name]] = data
            with contextlib.suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                durable.write_file(file, data, durable=False)

        canvas = self._easel.paint(picture, list(missing), painted)
        if not canvas.interrupted:
            self._failed |= {key for name, key in missing.items() if name not in canvas.paintings}


def _kept(key: str) -> Path:
    """Where a style's picture is kept between two runs."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("pleinair", appauthor=False)) / "styles" / f"{key}.jpg"
