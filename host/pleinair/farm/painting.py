"""A film's frames painted on a cluster, in order, with a bounded number of them under way.

Frames come treated (evened out and steadied), which depends on the frames before and is cheap. Painting is not cheap,
and depends on the frame and its light alone; so pieces of frames are painted in any order, on any worker. The light of
a film depends on the frames before, but only on sums of whole numbers that are metered in single frames. So a frame to
be metered is sent out as soon as it comes, many frames before it is painted; when it is due, its sums are there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pleinair.farm.orders import Order, Orders
from pleinair.farm.work import METER, Job
from pleinair.films.lighting import FilmLight
from pleinair.network.light import Light, Sums
from pleinair.painting.adaptive import LightMeter

#: Pixels in a piece of work, and the most frames: about half a second of one core, so that handing it over costs
#: little beside it.
_PIXELS, _FRAMES = 1 << 22, 120
#: Pieces under way for each that can be painted at a time, and beside those.
_AHEAD, _SPARE = 2, 2


@dataclass(frozen=True)
class Treated:
    """A frame as it is to be painted, uint8 [H, W, 3]; None for a place in the film that has no frame."""

    image: np.ndarray | None
    tag: Any = None


@dataclass(frozen=True)
class Painted:
    """A frame's painting, its tag, the workers that it and its light come from, and the film's light behind it."""

    painting: np.ndarray | None
    tag: Any
    workers: frozenset[str] = frozenset()
    light: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class _Coming:
    """A frame that has come, and its metering, where its light is to be metered."""

    frame: Treated
    metering: Order | None = None


class _Known:
    """A meter that knows the sums of the frame at hand; see :class:`~pleinair.painting.adaptive.LightMeter`."""

    def __init__(self, meter: LightMeter) -> None:
        self._meter, self.average = meter, meter.average
        self.next: tuple[Sums, ...] | None = None

    def sums(self, frame: np.ndarray) -> tuple[Sums, ...]:
        """What a worker metered in it."""
        assert self.next is not None
        return self.next

    def light_of(self, sums: tuple[Sums, ...]) -> Light:
        """The light of sums."""
        return self._meter.light_of(sums)


class FarmPainting:
    """Paints the frames of one film, or of a part of it, with the work that :class:`Orders` gives out."""

    def __init__(self, orders: Orders, job: Job, meter: LightMeter | None, light: FilmLight) -> None:
        """``job`` says network, strokes, tone and threads. ``meter`` is that of an adaptive network, else None."""
        self._orders, self._job, self._light = orders, job, light
        self._known = None if meter is None else _Known(meter)
        self._count = light.count
        #: Workers behind the sums that the present light comes from.
        self._lit_by = deque[str](maxlen=8)
        self._coming = deque[_Coming]()
        self._under_way = deque[Order | Treated]()
        #: Once this is set, nothing more is painted.
        self.stop = threading.Event()
        #: Bytes of the frames that have come and whose paintings have not gone.
        self._bytes = 0

    def paint(self, frames: Iterator[Treated]) -> Generator[Painted, None, None]:
        """The paintings of ``frames``, in their order. Raises LiedError, FarmError, and what ``frames`` raises."""
        over = False
        try:
            while not self.stop.is_set():
                room = self._has_room()
                if not over and room:
                    over = not self._take(frames)
                moved = self._submit(over)
                stuck = over or not self._has_room()
                self._orders.pump(0.5 if stuck and not moved else 0.0)
                while self._under_way and _is_over(self._under_way[0]):
                    yield from self._give(self._under_way.popleft())
                if over and not self._coming and not self._under_way:
                    return
        finally:
            self._orders.cancel()

    def _piece(self, image: np.ndarray) -> int:
        """Frames of this size in a piece of work."""
        height, width = image.shape[:2]
        return max(1, min(_FRAMES, _PIXELS // int(height * width)))

    def _has_room(self) -> bool:
        """Whether more frames may come."""
        first = next((c.frame.image for c in self._coming if c.frame.image is not None), None)
        if first is None:
            first = next((o.frames[0] for o in self._under_way if isinstance(o, Order)), None)
        if first is None:
            return True
        cluster = self._orders.cluster
        # Frames that wait for their light are as many again.
        pieces = _AHEAD * cluster.slots(self._job.threads) + _SPARE
        most = pieces * self._piece(first) * first.nbytes * (2 if self._meters() else 1)
        # A frame and its painting.
        return self._bytes + first.nbytes <= max(first.nbytes, min(most, cluster.room() // 2))

    def _meters(self) -> bool:
        return self._known is not None and not self._light.lighting.own and self._light.lighting.light != "fixed"

    def _take(self, frames: Iterator[Treated]) -> bool:
        """Let the frames of about one piece come; whether there are more."""
        taken = 0
        while True:
            frame = next(frames, None)
            if frame is None:
                return False
            coming = _Coming(frame)
            self._coming.append(coming)
            if frame.image is None:
                continue
            self._bytes += frame.image.nbytes
            if self._known is not None and self._light.lighting.meters(self._count):
                job, part = replace(self._job, kind=METER), self._orders.cluster.keep((frame.image,))
                coming.metering = self._orders.submit(Order(job, [frame.image], [part]))
            self._count += 1
            taken += 1
            if taken >= self._piece(frame.image) or not self._has_room():
                return True

    def _submit(self, over: bool) -> bool:
        """Give out the pieces whose frames have come and whose lights are known; whether there was one."""
        moved = False
        while self._coming:
            count = self._next_piece(over)
            if not count:
                return moved
            self._give_out([self._coming.popleft() for _ in range(count)])
            moved = True
        return moved

    def _next_piece(self, over: bool) -> int:
        """How many of the frames that have come make the next piece; 0 where it is not ready yet.

        A piece that is half full ends where the light changes: to set out a network in a light costs about as much as
        to paint a third of a frame, and then one worker does it.
        """
        shape, most = None, 1
        for at, coming in enumerate(self._coming):
            image = coming.frame.image
            if image is None:
                return at or 1
            if shape is None:
                shape, most = image.shape, self._piece(image)
            if image.shape != shape or (coming.metering is not None and 2 * at >= most):
                return at
            if coming.metering is not None and not coming.metering.over:
                return 0
            if at + 1 >= most:
                return at + 1
        return len(self._coming) if over or not self._has_room() else 0

    def _give_out(self, coming: list[_Coming]) -> None:
        if coming[0].frame.image is None:
            self._under_way.append(coming[0].frame)
            return
        lights, which = list[Light](), list[int]()
        images, tags, lit_by = list[np.ndarray](), list[Any](), list[frozenset[str]]()
        for one in coming:
            assert one.frame.image is not None
            images.append(one.frame.image)
            light = self._light_of(one)
            if light is not None:
                if not lights or lights[-1] != light:
                    lights.append(light)
                which.append(len(lights) - 1)
            lit_by.append(frozenset(self._lit_by))
            tags.append((one.frame.tag, self._light.state()))
        job = replace(self._job, lights=tuple(lights), which=tuple(which))
        self._under_way.append(self._orders.submit(Order(job, images, self._parts(coming), tags, lit_by)))

    def _parts(self, coming: list[_Coming]) -> list[Any]:
        """Handles of the frames of a piece. One that was metered is out already; the others go in as few as can be."""
        parts, loose = list[Any](), list[np.ndarray]()

        def bind() -> None:
            if loose:
                parts.append(self._orders.cluster.keep(tuple(loose)))
                loose.clear()

        for one in coming:
            if one.metering is not None:
                bind()
                parts += one.metering.parts
            else:
                assert one.frame.image is not None
                loose.append(one.frame.image)
        bind()
        return parts

    def _light_of(self, coming: _Coming) -> Light | None:
        """The light of the film's next frame; None for its own, and where the network has none."""
        if self._known is None:
            return None
        assert coming.frame.image is not None
        self._known.next = None
        if coming.metering is not None:
            assert coming.metering.done is not None
            self._known.next = coming.metering.done.sums[0]
            self._lit_by.append(coming.metering.worker)
        return self._light(coming.frame.image, self._known)

    def _give(self, order: Order | Treated) -> Iterator[Painted]:
        if isinstance(order, Treated):
            yield Painted(None, order.tag)
            return
        assert order.done is not None
        for image, painting, (tag, light), lit_by in zip(
            order.frames, order.done.paintings, order.tags, order.lit_by, strict=True
        ):
            self._bytes -= image.nbytes
            yield Painted(painting, tag, lit_by | {order.worker}, light)


def _is_over(order: Order | Treated) -> bool:
    return isinstance(order, Treated) or order.over
