"""A time-lapse on a roll: capture in a thread, painting in a process, and what watches over both.

::

    with begin_roll("roof", camera="v4l2:0", style="great-wave") as lapse:
        lapse.run()
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from pleinair import durable
from pleinair.cameras.camera import Shooter
from pleinair.errors import RollError
from pleinair.rolls.capture import Capture
from pleinair.rolls.daily import Daily
from pleinair.rolls.darkroom import Darkroom
from pleinair.rolls.developer import Event, OpenLook, Place, open_look
from pleinair.rolls.originals import original_path
from pleinair.rolls.records import Filmed, Sealed, Troubled
from pleinair.rolls.retention import low_room
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule
from pleinair.rolls.status import Status, Trouble, status_of
from pleinair.rolls.systemd import tell_systemd
from pleinair.rolls.telling import Teller
from pleinair.rolls.thermometer import Heat, Thermometer

_BEAT = 0.2
#: Seconds between two writings of state.json and looks at the heat.
_STATE, _HEAT = 2.0, 5.0
#: Without a sign of life from capture for so long, systemd is not told that all is well.
_LIFELESS = 180.0
#: Failures of painting, one after another, that end the run once there is nothing left to capture.
_MOST_FAILURES = 3


class Timelapse:
    """A roll being filmed; it owns roll and camera. :meth:`status` may be asked from any thread."""

    def __init__(
        self,
        roll: Roll,
        shooter: Shooter,
        *,
        schedule: Schedule,
        painter: OpenLook = open_look,
        patience: float = 600.0,
        thermometer: Thermometer | None = None,
    ) -> None:
        """``painter`` opens what paints, in the painting process; ``patience`` is :class:`Darkroom`'s.

        Painting rests as ``thermometer`` says. Raises OptionError for a bad command to notify by.
        """
        self.roll, self.shooter, self.schedule = roll, shooter, schedule
        settings = roll.settings
        self.capture = Capture(roll, shooter, schedule, self._trouble)
        place = Place.of(roll, settings.look)
        self.darkroom = Darkroom(place, self._developed, patience=patience, painter=painter)
        self.painter = ""
        #: What whoever films should know before it begins.
        self.warnings = list[str]()
        self.heat: Heat | None = None
        self.errors: deque[Trouble] = deque(maxlen=20)
        self.daily: Daily | None = None
        if settings.daily:
            self.daily = Daily(roll, self.capture, schedule.clock, trouble=self._report, made=self._filmed)
        self.teller = Teller(roll, self._notify_failed)
        self._thermometer = thermometer
        self._painted_open = 0
        self._reached = -1
        self._failures = 0
        self._began = time.monotonic()
        self._began_frames = roll.ledger.frames
        self._first_is_told = self._began_frames > 0
        self._disk_is_low = False
        self._durations: deque[float] = deque(maxlen=50)
        self._stop = threading.Event()
        self._mistake: BaseException | None = None

    def __enter__(self) -> Timelapse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give camera and roll back."""
        self.teller.close()
        self.shooter.close()
        self.roll.close()

    # -- what the parts tell

    def _trouble(self, what: str, message: str) -> None:
        self.errors.append(Trouble(time.time(), what, message))
        self.teller.trouble(what, message)

    def _notify_failed(self, message: str) -> None:
        self.errors.append(Trouble(time.time(), "notify", message))

    def _journal(self, record: Sealed | Troubled) -> None:
        # If the journal does not take a closed piece, the piece is found when the roll is opened next.
        with contextlib.suppress(OSError):
            self.roll.write(replace(record, wall=time.time()))

    def _developed(self, event: Event) -> None:
        if event.kind == "ready":
            self.painter = event.message
        elif event.kind == "painted":
            self._painted_open += 1
            self._reached, self._failures = event.seq, 0
            self._durations.append(event.seconds)
        elif event.piece is not None:
            self._painted_open = 0
            self._journal(event.piece)
        elif event.kind == "lost":
            self._reached = event.seq
            with contextlib.suppress(OSError):
                self.roll.lose(event.seq)
            self._report("painting", event.message)
        elif event.kind in ("failed", "died", "hung"):
            # What was painted and is in no closed piece is painted again.
            self._painted_open, self._reached = 0, self._sealed_to()
            self._failures += 1
            self._report("painting", event.message)
        elif event.kind == "left out":
            self._reached = event.seq
            if event.message:
                self._report("painting", event.message)

    def _filmed(self, film: Filmed) -> None:
        self.teller.film(self.roll.folder / film.file, film.day)

    def _report(self, what: str, message: str) -> None:
        self._journal(Troubled(what=what, message=message))
        self._trouble(what, message)

    # -- running

    def run(self, stop: threading.Event | None = None, *, report: Callable[[Status], None] | None = None) -> str:
        """Film until all is captured and painted, or ``stop`` is set or Ctrl-C comes.

        Returns the state it ended in: complete, stopped, full, failed. ``report`` is called in this thread a few times
        a second. Raises RollError when all is captured and cannot be painted.
        """
        stop = stop or threading.Event()
        # Set by us when anything ends the run; the caller's event is only looked at.
        ended = self._stop
        thread = threading.Thread(target=self._capture, name="capture")
        thread.start()
        tell_systemd(READY="1")
        looked = told = -1e9
        try:
            self.darkroom.start()
            while not stop.is_set():
                now = time.monotonic()
                if now - looked >= _HEAT:
                    self._look_at_heat()
                    self._look_at_disk()
                    looked = now
                self._tell_first()
                capturing = thread.is_alive()
                # The number before the state: a frame that comes in between is asked for next time.
                over = not capturing and self.capture.state in ("complete", "full")
                rest = round(2 * self.heat.rest()) / 2 if self.heat is not None else 0.0
                closed_to = self._closed_to()
                closing = None if self.daily is None else self.daily.closing(over, closed_to)
                close = closing is not None and not over
                self.darkroom.work = replace(
                    self.darkroom.work,
                    first=self.roll.oldest,
                    last=closing if closing is not None and close else self.roll.ledger.last,
                    complete=over,
                    close=close,
                    rest=rest,
                )
                filming = self.daily is not None and self.daily.beat(over=over, sealed_to=closed_to, rest=rest)
                if now - told >= _STATE:
                    self._write_status()
                    told = now
                if report is not None:
                    report(self.status())
                if not capturing and (not over or (self.darkroom.done.is_set() and not filming)):
                    break
                if not capturing and self._failures >= _MOST_FAILURES:
                    break
                if not capturing or now - self.schedule.alive < _LIFELESS:
                    tell_systemd(WATCHDOG="1", STATUS=self._line())
                (self.darkroom.done if over and not self.darkroom.done.is_set() else stop).wait(_BEAT)
        except KeyboardInterrupt:
            stop.set()
        finally:
            ended.set()
            thread.join()
            self.darkroom.close()
            if self.daily is not None:
                self.daily.close()
            self._tell_first()
            if self.capture.state == "complete" and self.darkroom.done.is_set():
                self.teller.finished(self.roll.ledger.frames)
            self.teller.close()
            self._write_status()
        if self._mistake is not None:
            raise self._mistake
        if self.capture.state == "complete" and not self.darkroom.done.is_set() and not stop.is_set():
            raise RollError(f"roll {self.roll.folder}: all is captured, but {self.errors[-1].message}")
        return self.capture.state

    def _capture(self) -> None:
        """The capture's thread; a mistake of ours is raised by :meth:`run`."""
        try:
            self.capture.run(self._stop)
        except BaseException as error:
            self._mistake = error

    def _look_at_heat(self) -> None:
        if self._thermometer is None:
            return
        before = self.heat
        try:
            self.heat = self._thermometer()
        except OSError:
            return  # no descriptor left for the moment, or none of its files any more
        troubles = self.heat.now()
        if troubles and (before is None or before.now() != troubles):
            hot = f" at {self.heat.celsius:.0f} C" if self.heat.celsius is not None else ""
            self._report("heat", f"the Pi reports {', '.join(troubles)}{hot}")

    def _tell_first(self) -> None:
        ledger = self.roll.ledger
        if not self._first_is_told and ledger.frames:
            self._first_is_told = True
            self.teller.first_frame(original_path(self.roll.originals, 0, self.roll.settings.spool))

    def _look_at_disk(self) -> None:
        """Tell once that room runs low, and again where it did after there was enough."""
        with contextlib.suppress(OSError):
            low = low_room(self.roll, 2.0 if self._disk_is_low else 1.0)
            if low and not self._disk_is_low:
                self._report("disk", low)
            self._disk_is_low = bool(low)

    def _line(self) -> str:
        ledger = self.roll.ledger
        return f"{ledger.frames} frames, {self.pending} to paint, {ledger.troubles} troubles"

    @property
    def pending(self) -> int:
        """Frames that wait for their painting."""
        return max(0, self.roll.ledger.last - max(self._reached, self._sealed_to()))

    def _sealed_to(self) -> int:
        pieces = self.roll.ledger.pieces(self.roll.settings.look.file())
        return max((piece.last for piece in pieces), default=-1)

    def _closed_to(self) -> int:
        """Up to which frame all paintings are in closed pieces; frames at the end may have none, being suspect."""
        sealed_to = self._sealed_to()
        return sealed_to if self._painted_open else max(sealed_to, self._reached)

    def status(self) -> Status:
        """How the roll stands."""
        roll, ledger, capture = self.roll, self.roll.ledger, self.capture
        status = status_of(roll.folder, roll.settings, ledger)
        elapsed = max(1e-9, time.monotonic() - self._began)
        running = capture.state == "running"
        return replace(
            status,
            state="asleep" if running and self.schedule.asleep else capture.state,
            reason=capture.reason,
            camera=self.shooter.name,
            painted=status.painted + self._painted_open,
            pending=self.pending,
            seconds=capture.seconds if running else ledger.seconds,
            pid=os.getpid(),
            wall=time.time(),
            due=self.schedule.due if running else None,
            painter=self.painter,
            camera_failures=capture.failures,
            frames_per_hour=3600 * (ledger.frames - self._began_frames) / elapsed,
            paint_seconds=sum(self._durations) / len(self._durations) if self._durations else None,
            celsius=self.heat.celsius if self.heat else None,
            heat=tuple(self.heat.now()) if self.heat else (),
            rest=self.darkroom.work.rest,
            errors=tuple(self.errors),
        )

    def _write_status(self) -> None:
        with contextlib.suppress(OSError):
            data = json.dumps(self.status().to_json()).encode()
            durable.write_file(self.roll.folder / "state.json", data, durable=False)
