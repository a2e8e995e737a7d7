"""A time-lapse on a roll, as one: capture in a thread, painting in a process, and what watches over both.

:func:`film_roll` runs until the frames are all there and painted, or it is told to stop; :func:`finish` and
:func:`repaint` paint what is missing and join the film; :func:`stand` tells how a roll stands, from outside.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.cameras.camera import Shooter
from pleinair.errors import OutputError, RollError
from pleinair.films.recorder import check_film
from pleinair.painting.painter import Painter
from pleinair.rolls.capture import Capture
from pleinair.rolls.darkroom import Darkroom, Developer, Event, Place, open_look
from pleinair.rolls.journal import tail
from pleinair.rolls.notify import Notifier
from pleinair.rolls.roll import Ledger, Look, Roll, check_there, free_bytes, is_running, read_ledger, read_settings
from pleinair.rolls.schedule import Daylight, Hours, Schedule
from pleinair.rolls.segments import find_segments, join, uncovered
from pleinair.rolls.systemd import tell_systemd
from pleinair.rolls.thermometer import Heat, Thermometer

_BEAT = 0.2
#: Seconds between two writings of state.json and looks at the heat.
_STATE, _HEAT = 2.0, 5.0
#: Without a sign of life from capture for so long, systemd is not told that all is well.
_LIFELESS = 180.0
#: Seconds for painting what is left and joining the film, as systemd is told.
_JOINING = 7 * 86_400
#: Attempts to paint, in vain one after another, once there is nothing left to capture.
_IN_VAIN = 3


def make_schedule(every: float | None, start: str | None, stop: str | None, daylight: str | None) -> Schedule:
    """The schedule that options name. Raises OptionError."""
    windows: list[Hours | Daylight] = []
    if start is not None or stop is not None:
        windows.append(Hours(start or "00:00", stop or "24:00"))
    if daylight is not None:
        windows.append(Daylight(daylight))
    return Schedule(every, windows)


class Timelapse:
    """A roll being filmed. :meth:`state` may be asked from any thread."""

    def __init__(
        self, roll: Roll, shooter: Shooter, schedule: Schedule,
        painter: Callable[[Look, str, int], Painter] = open_look, patience: float = 600.0,
        thermometer: Thermometer | None = None,
    ) -> None:  # fmt: skip
        """``painter`` opens what paints, in the painting process. Raises OptionError for a bad command to notify by."""
        self.roll, self.shooter, self.schedule = roll, shooter, schedule
        settings = roll.settings
        self.capture = Capture(roll, shooter, schedule, self._trouble)
        folder = roll.painting_folder(settings.look)
        place = Place(
            roll.originals.absolute(), settings.spool, folder.absolute(), settings.look, settings.backend,
            settings.threads, settings.piece,
        )  # fmt: skip
        self.darkroom = Darkroom(place, self._developed, patience, painter)
        self.painter = ""
        self.heat: Heat | None = None
        self._thermometer = thermometer
        self.errors: deque[dict[str, Any]] = deque(maxlen=20)
        self._notifier = None if settings.notify is None else Notifier(settings.notify, roll.folder, self._untold)
        self._painted_open = 0
        self._reached = -1
        self._in_vain = 0
        self._began = time.monotonic()
        self._began_frames = roll.ledger.frames
        self._durations: deque[float] = deque(maxlen=50)
        self._stop = threading.Event()
        self._mistake: BaseException | None = None

    # -- what the parts tell

    def _trouble(self, what: str, message: str) -> None:
        self.errors.append({"wall": time.time(), "what": what, "message": message})
        if self._notifier is not None:
            self._notifier.tell(what, message)

    def _untold(self, message: str) -> None:
        self.errors.append({"wall": time.time(), "what": "notify", "message": message})

    def _journal(self, record: dict[str, Any]) -> None:
        # A closed piece that the journal did not take is found when the roll is opened next.
        with contextlib.suppress(OSError):
            self.roll.write({**record, "wall": time.time()})

    def _developed(self, event: Event) -> None:
        if event.kind == "ready":
            self.painter = event.message
        elif event.kind == "painted":
            self._painted_open += 1
            self._reached, self._in_vain = event.seq, 0
            self._durations.append(event.seconds)
        elif event.kind == "sealed":
            self._painted_open = 0
            piece = f"paintings/{self.roll.settings.look.name}/{event.file}"
            self._journal(
                {"event": "sealed", "file": piece, "first": event.seq, "last": event.last, "frames": event.frames,
                 "sha256": event.sha256}
            )  # fmt: skip
        elif event.kind == "lost":
            self._reached = event.seq
            with contextlib.suppress(OSError):
                self.roll.lose(event.seq)
            self._report("painting", event.message)
        elif event.kind in ("failed", "died", "hung"):
            self._painted_open = 0
            self._in_vain += 1
            self._report("painting", event.message)
        elif event.kind == "left out":
            self._reached = event.seq
            if event.message:
                self._report("painting", event.message)

    def _report(self, what: str, message: str) -> None:
        self._journal({"event": "trouble", "what": what, "message": message})
        self._trouble(what, message)

    # -- running

    def run(self, stop: threading.Event, report: Callable[[dict[str, Any]], None] | None = None) -> str:
        """Film until done or ``stop``; the state it ended in: complete, stopped, full, failed.

        ``report`` is called in this thread a few times a second. Raises PleinairError when all is captured and
        cannot be painted.
        """
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
                    looked = now
                capturing = thread.is_alive()
                # The number before the state: a frame that comes in between is asked for next time.
                over = not capturing and self.capture.state in ("complete", "full")
                rest = round(2 * self.heat.rest()) / 2 if self.heat is not None else 0.0
                self.darkroom.work = replace(
                    self.darkroom.work, first=self.roll.oldest, last=self.roll.ledger.last, complete=over, rest=rest
                )
                if now - told >= _STATE:
                    self._write_state()
                    told = now
                if report is not None:
                    report(self.state())
                if not capturing and (not over or self.darkroom.done.is_set() or self._in_vain >= _IN_VAIN):
                    break
                if not capturing or now - self.schedule.alive < _LIFELESS:
                    tell_systemd(WATCHDOG="1", STATUS=self._line())
                (self.darkroom.done if over else stop).wait(_BEAT)
        except KeyboardInterrupt:
            stop.set()
        finally:
            ended.set()
            thread.join()
            self.darkroom.close()
            if self._notifier is not None:
                self._notifier.close()
            self._write_state()
        if self._mistake is not None:
            raise self._mistake
        if self.capture.state == "complete" and not self.darkroom.done.is_set() and not stop.is_set():
            raise RollError(f"roll {self.roll.folder}: all is captured, but {self.errors[-1]['message']}")
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
        self.heat = self._thermometer()
        troubles = self.heat.now()
        if troubles and (before is None or before.now() != troubles):
            hot = f" at {self.heat.celsius:.0f} C" if self.heat.celsius is not None else ""
            self._report("heat", f"the Pi reports {', '.join(troubles)}{hot}")

    def _line(self) -> str:
        ledger = self.roll.ledger
        return f"{ledger.frames} frames, {self.pending} to paint, {ledger.troubles} troubles"

    @property
    def pending(self) -> int:
        """Frames that wait for their painting."""
        return max(0, self.roll.ledger.last - max(self._reached, self._sealed_to()))

    def _sealed_to(self) -> int:
        segments = [
            k for k in list(self.roll.ledger.sealed) if k.startswith(f"paintings/{self.roll.settings.look.name}/")
        ]
        return max((int(Path(name).stem.partition("-")[2]) for name in segments), default=-1)

    def state(self) -> dict[str, Any]:
        """How it stands, as plain values."""
        ledger, settings = self.roll.ledger, self.roll.settings
        elapsed = max(1e-9, time.monotonic() - self._began)
        prefix = f"paintings/{settings.look.name}/"
        sealed = sum(frames for name, (_, frames) in list(ledger.sealed.items()) if name.startswith(prefix))
        running = self.capture.state == "running"
        try:
            free: int | None = free_bytes(self.roll.folder)
        except OSError:
            free = None
        return {
            "wall": time.time(), "pid": os.getpid(),
            "state": "asleep" if running and self.schedule.asleep else self.capture.state,
            "reason": self.capture.reason, "camera": self.shooter.name, "painter": self.painter,
            "look": settings.look.name, "size": list(settings.size), "every": settings.every,
            "frames": ledger.frames, "wanted": settings.frames, "painted": sealed + self._painted_open,
            "pending": self.pending, "last_wall": ledger.wall,
            "seconds": self.capture.seconds if running else ledger.seconds,
            "wanted_seconds": settings.seconds, "skipped": dict(ledger.skipped), "suspects": ledger.suspects,
            "lost": len(ledger.lost), "troubles": ledger.troubles, "camera_failures": self.capture.failures,
            "frames_per_hour": 3600 * (ledger.frames - self._began_frames) / elapsed,
            "paint_seconds": sum(self._durations) / len(self._durations) if self._durations else None,
            "free": free, "keep_free": settings.keep_free, "keep": settings.keep,
            "celsius": self.heat.celsius if self.heat else None, "heat": self.heat.now() if self.heat else [],
            "rest": self.darkroom.work.rest, "errors": list(self.errors), "lateness": list(ledger.lateness),
        }  # fmt: skip

    def _write_state(self) -> None:
        with contextlib.suppress(OSError):
            data = json.dumps(self.state()).encode()
            durable.write_file(self.roll.folder / "state.json", data, durable=False)


# -- film


def finish(
    roll: Roll, look: Look, film: Path, report: Callable[[int, int], None] = lambda done, of: None,
    painter: Callable[[Look, str, int], Painter] = open_look,
) -> int:  # fmt: skip
    """Paint what is not painted yet, look at every piece, and join the film; how many frames it has.

    ``report`` is told (numbers behind us, numbers in all). Raises OutputError, RollError, ModelError, EngineError.
    """
    check_film(film)
    # From here on there is nothing to lose, and it may take long.
    tell_systemd(WATCHDOG_USEC=str(_JOINING * 10**6))
    paint_all(roll, look, report, painter)
    for _ in range(2):
        whole = [roll.check_segment(s, look) for s in find_segments(roll.painting_folder(look))]
        if all(whole):
            break
        paint_all(roll, look, report, painter)
    segments = find_segments(roll.painting_folder(look))
    return join(segments, film, look.fps, film_tags(roll, look))


def paint_all(
    roll: Roll, look: Look, report: Callable[[int, int], None] = lambda done, of: None,
    painter: Callable[[Look, str, int], Painter] = open_look,
) -> None:  # fmt: skip
    """Paint every original that no piece holds, and close the last piece."""
    first, last = roll.oldest, roll.ledger.last
    folder = roll.painting_folder(look)
    gaps = uncovered(find_segments(folder), first, last)
    if not any(roll.has_originals(a, b, 1) for a, b in gaps):
        return
    # Nothing of the engine is loaded for a roll that is painted already.
    brush = painter(look, roll.settings.backend, roll.settings.threads)
    try:
        developer = Developer(roll.originals, roll.settings.spool, folder, look, brush, roll.settings.piece)
        try:
            for event in developer.develop(first, last, True):
                if event.kind == "lost":
                    roll.lose(event.seq)
                elif event.kind == "sealed":
                    piece = f"paintings/{look.name}/{event.file}"
                    roll.write(
                        {"event": "sealed", "file": piece, "first": event.seq, "last": event.last,
                         "frames": event.frames, "sha256": event.sha256}
                    )  # fmt: skip
                elif event.kind == "painted":
                    report(event.seq + 1 - first, last + 1 - first)
        finally:
            developer.close()
    except OSError as error:
        raise OutputError(f"roll {roll.folder}: {error.strerror}") from error
    finally:
        brush.close()


def film_tags(roll: Roll, look: Look) -> dict[str, str]:
    """What a film says of itself."""
    ledger, settings = roll.ledger, roll.settings
    tags = {
        "title": f"{Path(look.style).name}: {roll.folder.resolve().name}",
        "comment": f"painted by pleinair, {Path(look.style).name} at {look.bits} bits; camera {settings.camera}; "
        f"{ledger.frames} frames" + (f", one every {settings.every:g} s" if settings.every else ""),
    }
    if ledger.begun:
        begun = datetime.datetime.fromtimestamp(ledger.begun, datetime.timezone.utc)
        tags["date"] = tags["creation_time"] = begun.strftime("%Y-%m-%dT%H:%M:%SZ")
    return tags


def finish_running(folder: Path, film: Path) -> tuple[int, int]:
    """A film of the closed pieces of a roll that another process is filming: (frames, frames that are not in it)."""
    check_film(film)
    ledger = read_ledger(folder)
    settings = read_settings(folder, ledger)
    segments = find_segments(folder / "paintings" / settings.look.name)
    frames = join(segments, film, settings.look.fps, {"title": folder.resolve().name})
    return frames, max(0, ledger.frames - frames)


# -- state


def stand(folder: Path) -> tuple[dict[str, Any], Ledger]:
    """How a roll stands, from its files alone: plain values, and the ledger. Raises RollError."""
    check_there(folder)
    ledger = read_ledger(folder)
    settings = read_settings(folder, ledger)
    prefix = f"paintings/{settings.look.name}/"
    sealed = {name: frames for name, (_, frames) in ledger.sealed.items() if name.startswith(prefix)}
    sealed_to = max((int(Path(name).stem.partition("-")[2]) for name in sealed), default=-1)
    running = is_running(folder)
    state = ledger.state
    if state == "running" and not running:
        state = "interrupted"
    elif running and state != "running":
        state = "in use"
    values: dict[str, Any] = {
        "state": state, "reason": ledger.reason, "look": settings.look.name, "camera": settings.camera,
        "frames": ledger.frames, "painted": sum(sealed.values()), "pending": max(0, ledger.last - sealed_to),
        "sessions": ledger.sessions, "skipped": ledger.skipped, "suspects": ledger.suspects, "lost": len(ledger.lost),
        "deleted": ledger.deleted, "troubles": ledger.troubles, "last_trouble": ledger.last_trouble,
        "last_wall": ledger.wall, "begun": ledger.begun, "seconds": ledger.seconds, "damaged": ledger.damaged,
        "every": settings.every, "size": list(settings.size), "keep": settings.keep, "keep_free": settings.keep_free,
        "lateness": ledger.lateness, "paintings": sorted(p.name for p in folder.glob("paintings/*/")),
    }  # fmt: skip
    with contextlib.suppress(OSError):
        values["free"] = free_bytes(folder)
    if running:
        with contextlib.suppress(OSError, ValueError):
            live = json.loads((folder / "state.json").read_bytes())
            values.update({k: live[k] for k in ("state", "painted", "pending", "celsius", "painter", "pid", "heat")})
    return values, ledger


def journal_tail(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """The last records of a roll's journal that say something, oldest first."""
    for record in tail(folder / "journal.jsonl", count):
        record.pop("settings", None)
        yield record
