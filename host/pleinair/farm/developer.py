"""The developer of a farm: a roll's originals in, painted by a cluster, the film's closed pieces out.

What one machine does in turns, this one does in four threads: one reads and treats frames, one hands them out, one
steadies paintings, which workers have toned, and the caller's encodes them. Frames are read ahead over the ends of
pieces, so that workers never wait there. So what the filters remember at the end of a piece is noted by each of these
threads when the piece's last frame passes it.

Beside that, the file of what they remember tells which workers the piece before it comes from. It stays until the
painting is finished: where a worker turns out to have lied, the film is taken back to before its first frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pleinair.farm.painting import FarmPainting, Painted, Treated
from pleinair.films.lighting import FilmLight
from pleinair.films.pipeline import ReadAhead
from pleinair.painting.painter import Painter
from pleinair.rolls.developer import Developer, Event, Place, Read, filters_path, read_filters
from pleinair.rolls.segments import Segment, find_segments, uncovered

#: What the workers behind a piece are called in the file of what filters remember behind it.
_WORKERS = "farm.workers"
#: Frames that are read, and paintings that wait to be recorded, beside those under way.
_READ, _WAIT = 4, 8

#: What its four threads do, in the order in which a frame comes to them.
STAGES = ("read", "hand out", "steady", "encode")

#: Makes what paints a film, or the rest of one, in its light.
OpenPainting = Callable[[FilmLight], FarmPainting]


@dataclass(frozen=True)
class _Told:
    """A frame that was read; behind the last one of a piece, what the filters before painting remember."""

    read: Read
    memory: dict[str, np.ndarray] | None


class FarmDeveloper(Developer):
    """Paints the originals of a roll on a cluster."""

    def __init__(self, place: Place, painter: Painter, painting: OpenPainting) -> None:
        """``painter`` is this machine's own, for frames that only bring filters near what they were."""
        super().__init__(replace(place, look=replace(place.look, tone=0.0)), painter)
        self._open_painting = painting
        self._behind: dict[str, np.ndarray] = {}
        self._workers = set[str]()
        #: Processor seconds of each of the four threads.
        self.spent = dict.fromkeys(STAGES, 0.0)

    def develop(
        self,
        first: int,
        last: int,
        complete: bool,
        *,
        begin: Callable[[int], bool] = lambda seq: True,
        alone_to: int = -1,
    ) -> Generator[Event, None, None]:
        """See :class:`Developer`; the last piece is always closed, and ``begin`` and ``alone_to`` are not asked.

        Raises LiedError and FarmError, too.
        """
        for start, end in uncovered(find_segments(self._folder), first, last):
            self._begin(start)
            try:
                yield from self._stretch(start, end)
            except BaseException:
                self._discard()
                self._next = -1
                raise
        super()._forget_filters(last + 1 - self._piece)

    def _stretch(self, start: int, end: int) -> Iterator[Event]:
        began = time.thread_time()
        treated = ReadAhead(self._treated(start, end), _READ)
        painting = self._open_painting(self._treatment.light)
        painted = ReadAhead(painting.paint(iter(treated)), _WAIT)
        steadied = ReadAhead(self._steadied(iter(painted)), _WAIT)
        try:
            for one in steadied:
                told: _Told = one.tag
                read = told.read
                self._open_piece(read.seq)
                self._workers |= one.workers
                self._behind.update({f"light.{key}": value for key, value in one.light.items()})
                if one.painting is None:
                    assert read.outcome is not None
                    self._next = read.seq + 1
                    yield read.outcome
                else:
                    yield self._record(read, one.painting)
                if told.memory is not None:
                    self._behind.update(told.memory)
                    yield from self._seal()
                    self._workers.clear()
        finally:
            painting.stop.set()
            for stage in (steadied, treated, painted):
                stage.close_patiently()
            spent = (treated.spent, painted.spent, steadied.spent, time.thread_time() - began)
            for name, seconds in zip(STAGES, spent, strict=True):
                self.spent[name] += seconds

    def _steadied(self, painted: Iterator[Painted]) -> Iterator[Painted]:
        for one in painted:
            told: _Told = one.tag
            if one.painting is not None:
                one = replace(one, painting=self._treatment.after(one.painting, told.read.caption))
            if told.memory is not None:
                memory = {**told.memory, **_copied(self._treatment.state("paintings"))}
                one = replace(one, tag=replace(told, memory=memory))
            yield one

    def _treated(self, start: int, end: int) -> Iterator[Treated]:
        for seq in range(start, end + 1):
            read, image = self._read(seq)
            treated = None if image is None else self._treatment.before(image)
            memory = None
            if (seq + 1) % self._piece == 0 or seq == end:
                memory = _copied(self._treatment.state("deflicker", "frames"))
            yield Treated(treated, _Told(read, memory))

    def _begin(self, seq: int) -> None:
        super()._begin(seq)
        self._behind = self._treatment.state("light")
        self._workers.clear()

    def _memory(self) -> dict[str, np.ndarray]:
        workers = np.array(sorted(self._workers), np.str_) if self._workers else np.zeros(0, "U1")
        return {**self._behind, _WORKERS: workers}

    def _forget_filters(self, below: int) -> None:
        """Nothing is forgotten before the painting is finished."""


def _copied(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value.copy() for key, value in state.items()}


def workers_behind(place: Place, segment: Segment) -> set[str]:
    """The workers that a piece of a painting comes from, as far as that is known."""
    memory = read_filters(place.folder, segment.last + 1) or {}
    told = memory.get(_WORKERS)
    return set() if told is None or told.dtype.kind != "U" else set(told.tolist())


def tainted(place: Place, workers: set[str]) -> list[Segment]:
    """The pieces of a painting that are to be painted again where these workers lied.

    Those are the first that comes from one of them and all behind it, since filters carry a frame on to the next ones;
    and pieces before it down to one from which painting can go on exactly.
    """
    segments = find_segments(place.folder)
    first = next((i for i, segment in enumerate(segments) if workers & workers_behind(place, segment)), len(segments))
    while 0 < first < len(segments) and read_filters(place.folder, segments[first].first) is None:
        first -= 1
    return segments[first:]


def forget_behind(place: Place, first: int) -> None:
    """Delete what the filters remember behind frame ``first``."""
    for old in place.folder.glob("filters-*.npz"):
        number = old.stem.partition("-")[2]
        if number.isdigit() and int(number) > first:
            filters_path(place.folder, int(number)).unlink(missing_ok=True)
