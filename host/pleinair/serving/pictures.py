"""Pictures of a roll for the page: the newest painting with the original of the same frame, and files to open and save.

A painting says in itself of which frame it is (:func:`pleinair.rolls.originals.number_in`). Nothing is read through a
link, and nothing that is no ordinary file.
"""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pleinair.errors import ImageError
from pleinair.images import decode_image, within
from pleinair.rolls.ledger import moment
from pleinair.rolls.originals import SUFFIXES, find_originals, number_in, original_path, split

#: Longer side of the pictures shown, in pixels, and of small ones.
SIDE, SMALL = 1600, 480
_QUALITY = 88
#: Pairs that are known, of which pictures may be pushed out.
_PAIRS = 512
#: Bytes of a picture at most.
LARGEST = 64 << 20


@dataclass(frozen=True)
class Pair:
    """The newest painting and the original of the same frame.

    ``tag`` names the pair in addresses, "" where there is neither picture. ``seq`` is the frame's number, -1 where the
    painting does not say it. ``wall`` is when the original was taken, None where that is not known. ``original`` and
    ``painting`` say which of the pictures there is.
    """

    tag: str
    seq: int
    wall: float | None
    original: bool
    painting: bool


def plain_file(root: Path, *parts: str) -> Path | None:
    """An ordinary file in a folder; None where there is none, or a link on the way to it."""
    path = root
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            return None
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError:
            return None
        if stat.S_ISLNK(mode):
            return None
    return path if parts and stat.S_ISREG(mode) else None


def shrunk(image: np.ndarray, side: int) -> bytes:
    """uint8 [H, W, 3] RGB as a JPEG of at most that side."""
    small = cv2.cvtColor(within(image, side), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(data.tobytes())


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError:
        return None
    return data if len(data) <= LARGEST else None


class Pictures:
    """The pictures of rolls, scaled once each; as many stay in memory as ``most`` says. Safe from any thread."""

    def __init__(self, most: int = 48) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Path, str, str, str], bytes] = OrderedDict()
        self._pairs: OrderedDict[tuple[Path, str], tuple[object, Pair]] = OrderedDict()
        self._lock = threading.Lock()

    def pair(self, roll: Path, painting: str) -> Pair:
        """The newest pair of a painting of a roll; the newest original alone where nothing is painted."""
        with self._lock:
            path = plain_file(roll, "paintings", painting, "latest.jpg")
            newest = None if path is not None else newest_original(roll)
            try:
                file = path or newest
                state: object = None if file is None else (file, file.stat().st_mtime_ns, file.stat().st_size)
            except OSError:
                state = None
            known = self._pairs.get((roll, painting))
            if known is not None and known[0] == state and self._fits(roll, known[1]):
                self._pairs.move_to_end((roll, painting))
                return known[1]
            pair = self._look(roll, painting, path, newest)
            self._pairs[roll, painting] = state, pair
            while len(self._pairs) > _PAIRS:
                self._pairs.popitem(last=False)
            return pair

    def _fits(self, roll: Path, pair: Pair) -> bool:
        """Whether the original that a pair names is still there."""
        return not pair.original or original_file(roll, pair.seq) is not None

    def _look(self, roll: Path, painting: str, path: Path | None, newest: Path | None) -> Pair:
        data = _read(path)
        image = None
        if path is not None and data is not None:
            try:
                image = decode_image(data, str(path))
            except ImageError:
                data = None
        if path is None or data is None or image is None:
            newest = newest or newest_original(roll)
            if newest is None:
                return Pair("", -1, None, original=False, painting=False)
            seq = int(newest.stem)
            return Pair(f"{seq:08d}", seq, _taken(newest), original=True, painting=False)
        number = number_in(data)
        seq = -1 if number is None else number
        tag = f"m{path.stat().st_mtime_ns}" if number is None else f"{seq:08d}"
        original = original_file(roll, seq) if number is not None else newest_original(roll)
        if number is None and original is not None:
            seq = int(original.stem)
        pair = Pair(tag, seq, _taken(original), original=original is not None, painting=True)
        self._keep((roll, painting, tag, "painting"), shrunk(image, SIDE))
        self._keep((roll, painting, tag, "small"), shrunk(image, SMALL))
        return pair

    def _keep(self, key: tuple[Path, str, str, str], data: bytes) -> bytes:
        self._kept[key] = data
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return data

    def shown(self, roll: Path, painting: str, tag: str, which: str) -> bytes | None:
        """A picture of a pair as a JPEG to show: ``original``, ``painting`` or ``small``; None where it is gone.

        ``small`` is the painting's, or the original's where there is no painting.
        """
        key, pair = (roll, painting, tag, which), self.pair(roll, painting)
        with self._lock:
            if key not in self._kept and pair.painting and which != "original" and tag == pair.tag:
                path = plain_file(roll, "paintings", painting, "latest.jpg")
                self._look(roll, painting, path, None)  # it was pushed out of memory
            if key not in self._kept:
                seq = pair.seq if tag == pair.tag else int(tag) if tag.isdecimal() else -1
                file = original_file(roll, seq)
                data = None if which == "painting" else _read(file)
                try:
                    if data is not None:
                        side = SMALL if which == "small" else SIDE
                        self._keep(key, shrunk(decode_image(data, str(file)), side))
                except ImageError:
                    return None
            return self._kept.get(key)


def _taken(original: Path | None) -> float | None:
    data = _read(original)
    record = None if data is None else split(data)[0]
    return None if record is None else moment(record)


def original_file(roll: Path, seq: int) -> Path | None:
    """The file of an original; None where there is none."""
    if seq < 0:
        return None
    for suffix in SUFFIXES:
        path = original_path(Path("originals"), seq, suffix)
        if (found := plain_file(roll, *path.parts)) is not None:
            return found
    return None


def newest_original(roll: Path) -> Path | None:
    """The file of a roll's newest original; None where there is none."""
    try:
        folders = sorted((f for f in (roll / "originals").iterdir() if f.name.isdecimal()), reverse=True)
        for folder in folders[:2]:
            first = int(folder.name) * 1000
            for suffix in SUFFIXES:
                numbers = list(find_originals(roll / "originals", suffix, first, first + 999))
                if numbers:
                    return original_file(roll, numbers[-1])
    except (OSError, ValueError):
        pass
    return None
