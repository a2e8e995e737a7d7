"""Films of days: each is made when its day is over, of the roll's own painting, beside filming.

A day is over when a later one has a frame, when the clock says so, or when all is captured. Then the piece that holds
the day's last frame is closed, and the film is cut from the day's pieces in a process of its own, at a low
priority. It waits while the machine is hot, and while the disk has no room for it; capture makes room for it as
``--keep`` allows. Frames are never left out for it. Beside the film lie the day's pictures
(:mod:`pleinair.rolls.glance`).
"""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.durable import free_bytes
from pleinair.errors import DiskFullError, PleinairError
from pleinair.films.choice import Choice
from pleinair.images import write_image
from pleinair.processes import as_child, start_child
from pleinair.rolls.capture import Capture
from pleinair.rolls.cut import Cut, Reel, cut_film
from pleinair.rolls.finish import film_tags
from pleinair.rolls.glance import glance
from pleinair.rolls.ledger import day_of
from pleinair.rolls.records import Filmed
from pleinair.rolls.retention import Retention
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Clock
from pleinair.rolls.settings import FILMS, Look

#: A film is tried so often, and again after so many seconds.
_TRIES, _AGAIN = 3, 600.0
#: What a film's making takes besides its pieces, in bytes: its first and last piece anew, and pictures.
_BESIDES = 12_000_000


@dataclass(frozen=True)
class _Done:
    """What the process that makes a film tells: how many frames it has, or what went wrong."""

    frames: int = 0
    problem: str = ""


def film_of(folder: Path, day: str) -> Path:
    """Where the film of a day is."""
    return folder / FILMS / f"{day}.mp4"


def _make(connection: Any, folder: Path, look: Look, day: str, tags: dict[str, str]) -> None:
    """The child process: makes the film of a day, and ends."""
    as_child()
    os.nice(10)
    try:
        film = film_of(folder, day)
        durable.make_folder(film.parent)
        choice = Choice(days=(datetime.date.fromisoformat(day),))
        made = cut_film([Reel(folder, look)], film, Cut(choice=choice), tags=tags, force=True)
        seen = glance(Reel(folder, look), choice)
        for name, picture in (("strip", seen.strip), ("sheet", seen.sheet), ("brightness", seen.graph)):
            write_image(film.with_name(f"{day}-{name}.png"), picture)
        connection.send(_Done(made.frames))
    except (PleinairError, OSError) as error:
        connection.send(_Done(problem=str(error) if isinstance(error, PleinairError) else str(error.strerror)))


class Daily:
    """Makes the films of a roll's days; :meth:`beat` is called a few times a second."""

    def __init__(
        self,
        roll: Roll,
        capture: Capture,
        clock: Clock,
        *,
        trouble: Callable[[str, str], None],
        made: Callable[[Filmed], None],
    ) -> None:
        """``trouble`` is told what goes wrong (what, message), ``made`` of each film when it is in the journal."""
        self._roll, self._capture, self._clock = roll, capture, clock
        self._trouble, self._made = trouble, made
        self._process: Any = None
        self._connection: Any = None
        self._day = ""
        self._failures: dict[str, int] = {}
        self._not_before = 0.0
        self._waits = False

    def day(self, over: bool) -> str | None:
        """The first day that is over and has no film; ``over`` says that all is captured."""
        ledger = self._roll.ledger
        days = list(ledger.days)
        for day in days:
            if day in ledger.films or self._failures.get(day, 0) >= _TRIES:
                continue
            now = self._clock.wall()
            if over or day < max(days) or (self._clock.sure() and day < day_of(now)):
                return day
        return None

    def closing(self, over: bool, sealed_to: int) -> int | None:
        """The number up to which pieces have to be closed for the next film; None where they are."""
        day = self.day(over)
        last = -1 if day is None else self._roll.ledger.days[day].last
        return last if last > sealed_to else None

    def beat(self, *, over: bool, sealed_to: int, rest: float) -> bool:
        """Go on; False when there is nothing to do for now. ``rest`` is 0 where the machine is cool."""
        if self._process is not None:
            self._look()
            return True
        day = self.day(over)
        if day is None:
            return False
        if self._roll.ledger.days[day].last > sealed_to or rest or time.monotonic() < self._not_before:
            return True
        need = self._need(day)
        if not self._has_room(need, over):
            self._capture.besides = need
            self._wait(day, need)
            if over:
                self._failures[day] = _TRIES
            return True
        self._waits, self._capture.besides = False, 0
        self._start(day)
        return True

    def _has_room(self, need: int, over: bool) -> bool:
        """Whether there are so many bytes of room. While frames are captured, capture makes it; then this does."""
        if over:
            with contextlib.suppress(DiskFullError, OSError):
                Retention(self._roll).make_room(need)
        return free_bytes(self._roll.folder) >= need + self._roll.settings.keep_free

    def _need(self, day: str) -> int:
        """Bytes that a day's film will take, and room to make it."""
        span = self._roll.ledger.days[day]
        total = 0
        for piece in self._roll.ledger.pieces(self._roll.settings.look.file()):
            if piece.last >= span.first and piece.first <= span.last:
                with contextlib.suppress(OSError):
                    total += (self._roll.folder / piece.file).stat().st_size
        return total + _BESIDES

    def _wait(self, day: str, need: int) -> None:
        if not self._waits:
            self._trouble("disk", f"the film of {day} waits for {need / 1e6:.0f} MB of room")
        self._waits, self._not_before = True, time.monotonic() + 5.0

    def _start(self, day: str) -> None:
        roll = self._roll
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        tags = film_tags(roll.folder, roll.settings, roll.ledger, roll.settings.look)
        tags = {**tags, "title": f"{tags['title']}, {day}"}
        arguments = theirs, roll.folder.absolute(), roll.settings.look, day, tags
        self._process = context.Process(target=_make, args=arguments, daemon=True)
        self._connection, self._day = ours, day
        try:
            start_child(self._process)
        except OSError as error:
            self._process = None
            self._fail(str(error.strerror))
        finally:
            theirs.close()

    def _look(self) -> None:
        if not self._connection.poll() and self._process.is_alive():
            return
        done = _Done(problem="the process that makes it died")
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll(1):
                done = self._connection.recv()
        self._end()
        if done.problem:
            self._fail(done.problem)
            return
        day, film = self._day, film_of(self._roll.folder, self._day)
        try:
            record = Filmed(
                day=day,
                file=f"{FILMS}/{film.name}",
                frames=done.frames,
                last=self._roll.ledger.days[day].last,
                sha256=durable.file_sha256(film),
                wall=round(self._clock.wall(), 3),
            )
            self._roll.write(record)
        except OSError as error:
            self._fail(str(error.strerror))
            return
        self._made(record)

    def _fail(self, problem: str) -> None:
        self._failures[self._day] = self._failures.get(self._day, 0) + 1
        self._not_before = time.monotonic() + _AGAIN
        last = self._failures[self._day] >= _TRIES
        self._trouble("film", f"the film of {self._day}: {problem}" + ("; given up" if last else ""))

    def _end(self) -> None:
        if self._process is not None:
            if self._process.is_alive():
                self._process.join(2)
            if self._process.is_alive():
                self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def close(self) -> None:
        """End what is being made; it is made when the roll is filmed on."""
        if self._process is not None:
            self._process.kill()
        self._end()
        for part in (self._roll.folder / FILMS).glob(f".*{durable.PART}*"):
            part.unlink(missing_ok=True)
