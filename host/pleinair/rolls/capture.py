"""Capture: at each tick a frame from the camera onto the disk, whatever painting does meanwhile.

A frame is on the disk, synced, and in the journal before the next one is asked for, so that a power cut costs the frame
at hand and no other. Whatever goes wrong is journalled, and the next tick is taken all the same. Two things end it: a
disk without room where nothing may be deleted, and a stored camera without more frames.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pleinair.cameras.camera import AWAY, Frame, Shooter, left_out, remarks_of
from pleinair.cameras.framing import Framing
from pleinair.errors import AwayError, CameraError, DiskFullError
from pleinair.rolls.defects import defect
from pleinair.rolls.records import Captured, ClockSet, Ended, Record, Recovered, Skipped, Troubled
from pleinair.rolls.retention import Retention
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Clock, Schedule, WallWatch, wall_is_set

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Bytes of room for a frame and what is written beside it, at least.
_LEAST_NEED = 2_000_000
#: Seconds: between two looks for a source that is away, and for a disk that fails now and then.
_LONGEST_PAUSE, _DISK_PATIENCE = 60.0, 600.0
_T = TypeVar("_T")
#: After so many suspect frames in a row, the camera is believed.
_SUSPECTS_BELIEVED = 5


class Capture:
    """Fills a roll from a camera. ``seconds`` is the roll's own time so far, ``state`` how it stands."""

    def __init__(
        self,
        roll: Roll,
        shooter: Shooter,
        schedule: Schedule,
        on_trouble: Callable[[str, str], None] = lambda what, message: None,
    ) -> None:
        """``on_trouble`` is told what is journalled as trouble: (what, message)."""
        self.roll, self.shooter, self.schedule = roll, shooter, schedule
        self.state, self.reason = "running", ""
        #: Failures of the camera one after another.
        self.failures = 0
        self._on_trouble = on_trouble
        self._clock: Clock = schedule.clock
        self._framing = Framing(roll.settings.rotate, roll.settings.crop)
        self._retention = Retention(roll)
        #: Bytes of room to make besides, for the film of a day; 0 again where there is no such room.
        self.besides = 0
        self._mean: float | None = None
        self._stop = threading.Event()
        self._suspects = self._waited = 0
        schedule.follow(roll.ledger.begun, roll.ledger.wall)
        self._last_size: tuple[int, ...] = ()
        self._begun, self._offset = 0.0, 0.0

    @property
    def seconds(self) -> float:
        """The roll's own time."""
        return self._offset + self._clock.monotonic() - self._begun

    def run(self, stop: threading.Event) -> None:
        """Take frames until ``stop`` is set or there are no more to take; ``state`` says why it ended."""
        settings, roll = self.roll.settings, self.roll
        self._stop = stop
        wall, boot = self._clock.wall(), self._clock.boot()
        self._begun, self._offset = self._clock.monotonic(), roll.resumed_seconds(self._clock)
        watch = WallWatch(self._clock)
        try:
            self._retention.make_room(self._need())
            roll.begin(wall, self._offset, boot)
            if not wall_is_set(wall):
                self._trouble("clock", "the wall clock is not set; frames are told apart by their numbers")
            elif not self._clock.sure():
                self._trouble("clock", "the wall clock was not set since boot; until it is, every tick is taken")
            for tick in self.schedule.ticks(stop):
                if self._finished():
                    self.state = "complete"
                    break
                if tick.missed:
                    self._skip(tick.missed, "late")
                if (by := watch.jumped()) is not None:
                    self._write(ClockSet(by=round(by, 1), wall=self._clock.wall()))
                if not self._room():
                    continue
                if not self._take(tick.due):
                    self.state = "complete"
                    break
            else:
                self.state = "complete" if self._finished() else "stopped"
            if self.state == "complete":
                self.reason = f"{roll.ledger.frames} frames" if settings.frames else ""
        except DiskFullError as error:
            self._fill(str(error))
        except OSError as error:
            if error.errno in _NO_SPACE:
                self._fill(f"roll {roll.folder}: {error.strerror}")
            else:
                self.state, self.reason = "failed", f"roll {roll.folder}: {error.strerror}"
        finally:
            self._end()

    def _room(self) -> bool:
        """Make room for a frame; False where there will be some as soon as a piece of the film is closed.

        Raises DiskFullError where there will be none.
        """
        if self.besides:
            try:
                self._patiently(lambda: self._retention.make_room(self._need() + self.besides))
            except DiskFullError:
                self.besides = 0  # the film has to wait; frames have not
        try:
            self._patiently(lambda: self._retention.make_room(self._need()))
        except DiskFullError as error:
            settings, ledger = self.roll.settings, self.roll.ledger
            sealed_to = max((piece.last for piece in ledger.pieces(settings.look.file())), default=-1)
            # Painting closes a piece where its numbers end, and not before.
            if settings.keep == "originals" or (sealed_to + 1) // settings.piece >= (ledger.last + 1) // settings.piece:
                raise
            self._waited += 1
            if self._waited & (self._waited - 1) == 0:
                self._trouble("disk", f"{error}, until more is painted; waiting for that")
            if self.shooter.live and self.schedule.every is not None:
                self._skip(1, "disk")
            else:
                self._rest(0.5)
            return False
        self._waited = 0
        return True

    def _need(self) -> int:
        """Bytes that the next frame may take, with what is written beside it."""
        return max(_LEAST_NEED, 3 * self.roll.largest)

    def _fill(self, reason: str) -> None:
        self.state, self.reason = "full", reason
        self._on_trouble("disk", reason)

    def _end(self) -> None:
        try:
            self.roll.write(Ended(state=self.state, message=self.reason, t=self.seconds, wall=self._clock.wall()))
        except OSError:
            # No room even for this line: whoever opens the roll finds it as after a power cut.
            self.roll.ledger.state, self.roll.ledger.reason = self.state, self.reason

    def _finished(self) -> bool:
        settings = self.roll.settings
        if settings.frames is not None and self.roll.ledger.frames >= settings.frames:
            return True
        return settings.seconds is not None and self.seconds >= settings.seconds

    def _take(self, due: float) -> bool:
        """Take the frame of a tick; False when the camera has no more."""
        late = self._clock.monotonic() - due
        seconds, wall = self.seconds, self._clock.wall()
        try:
            frame = self.shooter.shoot()
            suspect = None
            if frame is not None and self.shooter.live:
                suspect = defect(frame.image, self._mean)
                if suspect:
                    # Once more, while the moment lasts.
                    frame = self.shooter.shoot()
                    suspect = None if frame is None else defect(frame.image, self._mean)
        except AwayError as error:
            self._wait_for_source(str(error))
            return True
        except CameraError as error:
            self._fail(str(error))
            return True
        self._tell_skipped()
        if frame is None:
            return False
        if self.failures:
            self._write(Recovered(what="camera", after=self.failures, wall=wall))
            self.failures = 0
        timed = self.schedule.every is not None
        record = Captured(t=round(seconds, 4), wall=round(wall, 3), late=round(late, 5) if timed else None)
        self._keep(frame, suspect, record)
        return True

    def _keep(self, frame: Frame, suspect: str | None, record: Captured) -> None:
        settings = self.roll.settings
        if self.shooter.live:
            record = replace(record, live=True, clock=None if self._clock.sure() else False)
            suspect = self._judge(suspect)
            shape = frame.image.shape
            if self._last_size and shape != self._last_size:
                old, new = ("x".join(map(str, s[1::-1])) for s in (self._last_size, shape))
                self._trouble("camera", f"its pictures were {old} and are {new} now; fitted")
            self._last_size = shape
        else:
            record = replace(record, position=frame.position)
        record = replace(record, name=frame.name or None, metadata=dict(frame.metadata) or None, suspect=suspect)
        if not suspect:
            self._mean = float(frame.image.mean())
        image = self._framing(frame.image, settings.size)
        image = np.ascontiguousarray(image)
        full = self._patiently(lambda: self.roll.keep(image, record))
        if suspect:
            self._trouble("camera", f"frame {full.seq} is {suspect}; it is kept, and left out of the film")

    def _judge(self, suspect: str | None) -> str | None:
        """After five suspect frames in a row, believe the camera."""
        self._suspects = self._suspects + 1 if suspect else 0
        return suspect if self._suspects < _SUSPECTS_BELIEVED else None

    def _wait_for_source(self, message: str) -> None:
        """A stored camera's frames wait; so no frame is missed, and the next one is asked for after a pause."""
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:
            self._trouble("camera", f"{message}; waiting for it to come back")
        self._rest(min(_LONGEST_PAUSE, 0.125 * 2.0 ** min(self.failures, 20)))

    def _rest(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0 and not self._stop.is_set():
            self.schedule.alive = self._clock.monotonic()
            self._clock.wait(min(1.0, left), self._stop)

    def _patiently(self, action: Callable[[], _T]) -> _T:
        """What a disk does that may fail for a moment: it is asked again after growing pauses, up to ten minutes."""
        pause, waited = 0.1, 0.0
        while True:
            try:
                return action()
            except OSError as error:
                if error.errno not in AWAY or waited > _DISK_PATIENCE or self._stop.is_set():
                    raise
                if not waited:
                    self._on_trouble("disk", f"{error.strerror}; trying again")
            self._rest(pause)
            waited, pause = waited + pause, min(10.0, 2 * pause)

    def _write(self, record: Record, sync: bool = True) -> None:
        self._patiently(lambda: self.roll.write(record, sync))

    def _fail(self, message: str) -> None:
        self.failures += 1
        self._skip(1, "camera")
        # The first, and then ever more rarely: a month without a camera shall not fill the journal.
        if self.failures & (self.failures - 1) == 0:
            again = f" ({self.failures} times in a row)" if self.failures > 1 else ""
            self._trouble("camera", message + again)

    def _skip(self, ticks: int, reason: str) -> None:
        self._write(Skipped(ticks=ticks, reason=reason, wall=self._clock.wall()), sync=False)

    def _tell_skipped(self) -> None:
        """Frames of a stored camera that cannot be used, and what it has to say besides."""
        remarks = remarks_of(self.shooter)
        while remarks:
            self._trouble("camera", remarks.pop(0))
        skipped = getattr(self.shooter, "skipped", None)
        while skipped:
            line = skipped.pop(0)
            self._trouble("camera", line)
            if count := left_out([line]):
                self._skip(count, "damaged")

    def _trouble(self, what: str, message: str) -> None:
        self._write(Troubled(what=what, message=message, wall=self._clock.wall()))
        self._on_trouble(what, message)
