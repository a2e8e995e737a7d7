"""Films cut from rolls: some of their frames, blended, split, scaled, stamped, with a title; or all of them.

A film's frames are treated in this order::

    pieces or originals -> blend -> split -> scale -> stamp -> film

Where a film shows all frames of a piece as they are, the piece's encoded frames are copied, untouched. What lies
between is decoded and encoded once more, in the way of the pieces, so that both fit in one film: of one day of a roll
these are its first and last piece. Where no piece can be copied, the film is encoded anew and finely (:data:`FINE`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pleinair.cameras.framing import fit
from pleinair.errors import OptionError, OutputError, RollError
from pleinair.films.blend import Blend
from pleinair.films.card import CARD_SECONDS, split_picture, title_card
from pleinair.films.choice import Choice, choose
from pleinair.films.encoder import FINE, MAX_SIDE, Encoder, even
from pleinair.films.rate import Rate
from pleinair.films.recorder import check_film, part_of
from pleinair.films.stamp import stamp
from pleinair.pyav import reformatter
from pleinair.rolls.originals import load_original
from pleinair.rolls.segments import Segment, UnlikeError, join
from pleinair.rolls.settings import Look
from pleinair.rolls.timeline import Shot, Timeline, read_timeline

#: Told how far a film is: numbers of frames done, and in all.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Reel:
    """A painting of a roll, in its folder."""

    folder: Path
    look: Look


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a film is cut; by itself it shows all frames as they are.

    ``seconds`` is the film's length, whose frames are then chosen evenly in time. ``fps`` None is the painting's rate,
    ``size`` (width, height) None that of the first frame. ``original`` shows originals and no paintings; ``split`` is
    one of :data:`~pleinair.films.card.SPLITS` or "". ``timestamp`` writes each frame's time on it, unless the paintings
    have it already. ``title`` is shown on a card before the film.
    """

    choice: Choice = field(default_factory=Choice)
    seconds: float | None = None
    fps: Rate | None = None
    size: tuple[int, int] | None = None
    original: bool = False
    split: str = ""
    timestamp: bool = False
    title: str = ""


@dataclass(frozen=True)
class Made:
    """A film that was made: its frames, how many of them are copies, its rate, and the first and last frame's time."""

    frames: int
    copied: int
    fps: Rate
    size: tuple[int, int]
    first: str
    last: str


def _silent(done: int, total: int) -> None:
    """Report to nobody."""


def cut_film(
    reels: Sequence[Reel],
    film: Path,
    cut: Cut,
    *,
    tags: dict[str, str],
    report: Report = _silent,
    force: bool = False,
) -> Made:
    """Cut a film from the closed pieces, or the originals, of one or more rolls; they may be being filmed meanwhile.

    A film that is there already is put aside, or overwritten by ``force``. Raises OutputError, OptionError, and
    RollError where there is no frame.
    """
    check_film(film)
    if cut.original and cut.split:
        raise OptionError(f"{cut.split}: shows the original, too; leave out --original", option="split")
    lines = [
        read_timeline(reel.folder, None if cut.original else reel.look, originals=bool(cut.split)) for reel in reels
    ]
    scenes = [(line, shot) for line in lines for shot in line.shots]
    if not scenes:
        what = "original is left" if cut.original or cut.split else "frame is painted yet"
        raise RollError(f"{film}: no {what}, so there is no film", option="out")
    if cut.choice.dated and not all(line.dated for line in lines):
        undated = next(line for line in lines if not line.dated)
        raise OptionError(f"roll {undated.folder}: its frames have no dates, so days and hours cannot be chosen")
    fps = cut.fps or reels[0].look.fps
    choice = cut.choice
    if cut.seconds is not None:
        choice = replace(choice, count=max(1, round(cut.seconds * fps)))
    rows = choose([shot.time for _, shot in scenes], choice)
    edit = _Edit(scenes, rows, cut, fps, reels[0].look.fps)
    try:
        return edit.make(film, tags, report, force=force)
    finally:
        edit.close()


@dataclass(frozen=True)
class _Stretch:
    """Rows ``first`` to ``end`` - 1 of the film: a piece to be copied, or frames to be made."""

    first: int
    end: int
    piece: Segment | None = None


class _Edit:
    """One film being cut."""

    def __init__(
        self, scenes: Sequence[tuple[Timeline, Shot]], rows: np.ndarray, cut: Cut, fps: Rate, rate: Rate
    ) -> None:
        """``rows`` are :func:`choose`'s, of ``scenes``; ``rate`` is the frames a second that the pieces have."""
        self._scenes, self._rows, self._cut, self._fps, self._rate = scenes, rows, cut, fps, rate
        self._paintings, self._readers = Blend(self._painting), dict[Path, PieceReader]()
        self._originals = Blend(self._original)
        first = self._picture(*rows[0])
        self._size = cut.size or (first.shape[1], first.shape[0])
        self._size = self._size[0] + self._size[0] % 2, self._size[1] + self._size[1] % 2
        if max(self._size) > MAX_SIDE:
            raise OutputError(f"frames of {self._size[0]}x{self._size[1]}: H.264 holds up to {MAX_SIDE} a side")
        self._parts = list[Path]()

    def make(self, film: Path, tags: dict[str, str], report: Report, *, force: bool) -> Made:
        """See :func:`cut_film`."""
        import av

        stretches = self._stretches()
        try:
            try:
                frames = self._join(stretches, film, tags, report, force)
            except UnlikeError:
                # Pieces of rolls that were encoded in another way than this machine does.
                stretches = [_Stretch(0, len(self._rows))]
                frames = self._join(stretches, film, tags, report, force)
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"{film}: {error.strerror}", option="out") from error
        copied = sum(s.end - s.first for s in stretches if s.piece is not None)
        first, last = self._ends()
        return Made(frames, copied, self._fps, self._size, first, last)

    def _untouched(self) -> bool:
        """Whether frames may be shown as they are in the pieces."""
        cut = self._cut
        stamped = cut.timestamp and not all(line.look is not None and line.look.timestamp for line, _ in self._scenes)
        return not (cut.original or cut.split or stamped or cut.choice.blend > 1)

    def _stretches(self) -> list[_Stretch]:
        rows, found, at = self._rows, list[_Stretch](), 0
        begun = 0  # the first row that is in no stretch yet
        copies = self._untouched()
        while copies and at < len(rows):
            line, shot = self._scenes[rows[at][0]]
            count = line.frames[shot.piece] if shot.piece >= 0 else 0
            whole = rows[at : at + count, 0]
            if (
                shot.place == 0
                and count
                and len(whole) == count
                and whole[-1] - whole[0] == count - 1
                and (np.diff(whole) == 1).all()
                and self._scenes[whole[-1]][1].piece == shot.piece
                and _size_of(line.pieces[shot.piece].path) == self._size
            ):
                if begun < at:
                    found.append(_Stretch(begun, at))
                found.append(_Stretch(at, at + count, line.pieces[shot.piece]))
                begun = at = at + count
            else:
                at += 1
        if begun < len(rows):
            found.append(_Stretch(begun, len(rows)))
        return found

    def _join(self, stretches: list[_Stretch], film: Path, tags: dict[str, str], report: Report, force: bool) -> int:
        copies = any(stretch.piece is not None for stretch in stretches)
        total = sum(s.end - s.first for s in stretches if s.piece is None)
        parts, done = list[Segment](), 0
        if self._cut.title:
            card = [self._card()] * round(CARD_SECONDS * self._fps)
            parts.append(self._encode(card, film, fine=not copies))
        for stretch in stretches:
            if stretch.piece is not None:
                parts.append(stretch.piece)
                continue

            def pictures(stretch: _Stretch = stretch, before: int = done) -> Iterator[np.ndarray]:
                for number in range(stretch.first, stretch.end):
                    yield self._finished(number)
                    report(before + number + 1 - stretch.first, total)

            parts.append(self._encode(pictures(), film, fine=not copies))
            done += stretch.end - stretch.first
        return join(parts, film, fps=self._fps, tags=tags, force=force)

    def _encode(self, pictures: Any, film: Path, *, fine: bool) -> Segment:
        """Pictures of the film's size, encoded in a file beside the film."""
        import av

        part = part_of(film.with_suffix(".mkv"))
        self._parts.append(part)
        # In one thread, as the pieces are, where both are joined.
        threads = max(1, min(4, len(os.sched_getaffinity(0)) // 2)) if fine else 1
        with av.open(str(part), "w", format="matroska", options={"fflags": "bitexact"}) as container:
            width, height = self._size
            # At the pieces' rate, which stands in the stream, too; joining gives each frame its time.
            encoder = Encoder(container, width=width, height=height, fps=self._rate, threads=threads)
            if fine:
                encoder.set_options(FINE)
            for picture in pictures:
                encoder.add(picture)
            encoder.end()
        return Segment(0, 0, part)

    def _ends(self) -> tuple[str, str]:
        """The times of the film's first and last frame, as people read them."""
        first, last = (self._scenes[self._rows[at][0]] for at in (0, -1))
        return first[0].caption(first[1]), last[0].caption(last[1])

    def _card(self) -> np.ndarray:
        line = ""
        if self._scenes[self._rows[0][0]][0].dated:
            first, last = (caption[:10] for caption in self._ends())
            line = first if first == last else f"{first} to {last}"
        width, height = self._size
        return title_card(width, height, self._cut.title, line)

    # -- pictures

    def _finished(self, number: int) -> np.ndarray:
        """A frame of the film as it is encoded."""
        first, end = self._rows[number].tolist()
        picture = fit(self._picture(first, end), self._size)
        line, shot = self._scenes[first + (end - 1 - first) // 2]
        marked = not self._cut.original and line.look is not None and line.look.timestamp
        return stamp(picture, line.caption(shot)) if self._cut.timestamp and not marked else picture

    def _picture(self, first: int, end: int) -> np.ndarray:
        if self._cut.original:
            return self._originals(first, end)
        painting = self._paintings(first, end)
        if not self._cut.split:
            return painting
        original = self._originals(first, end)
        if original.shape != painting.shape:
            original = fit(original, (painting.shape[1], painting.shape[0]))
        return split_picture(original, painting, self._cut.split)

    def _painting(self, number: int) -> np.ndarray:
        line, shot = self._scenes[number]
        return self._alike(self._reader(line).read(line.pieces[shot.piece].path, shot.place), number)

    def _original(self, number: int) -> np.ndarray:
        line, shot = self._scenes[number]
        return self._alike(even(load_original(line.original(shot))[1]), number)

    def _alike(self, picture: np.ndarray, number: int) -> np.ndarray:
        """A frame in the size of the film's first one, so that frames of two rolls can be blended."""
        if number == self._rows[0][0]:
            self._own = picture.shape[1], picture.shape[0]
        return fit(picture, self._own)

    def _reader(self, line: Timeline) -> PieceReader:
        return self._readers.setdefault(line.folder, PieceReader())

    def close(self) -> None:
        """Leave no file behind but the film."""
        for reader in self._readers.values():
            reader.close()
        for part in self._parts:
            with contextlib.suppress(OSError):
                part.unlink()


class PieceReader:
    """Decodes frames of pieces that are asked for in order: uint8 [H, W, 3] RGB."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._place = -1
        self._container: Any = None
        self._pictures: Iterator[Any] = iter(())
        self._last = np.zeros((0, 0, 3), np.uint8)
        self._reformat: Any = None

    def read(self, path: Path, place: int) -> np.ndarray:
        """The frame at a place of a piece. Raises RollError where it cannot be decoded."""
        import av

        try:
            if path != self._path or place < self._place:
                self._open(path)
            picture: Any = None
            while self._place < place:
                picture = next(self._pictures)
                self._place += 1
        except (av.error.FFmpegError, OSError, IndexError, StopIteration) as error:
            raise RollError(f"{path}: damaged: frame {place + 1} of it cannot be decoded") from error
        if picture is not None:
            rgb = self._reformat(picture, format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
            self._last = rgb.to_ndarray()
        return self._last

    def _open(self, path: Path) -> None:
        import av

        self.close()
        self._container = av.open(str(path.absolute()))
        self._pictures = self._container.decode(self._container.streams.video[0])
        self._reformat = self._reformat or reformatter()
        self._path, self._place = path, -1

    def close(self) -> None:
        """Give the file back."""
        if self._container is not None:
            self._container.close()
        self._container, self._path = None, None


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of a piece's frames."""
    import av

    with av.open(str(path.absolute())) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height
