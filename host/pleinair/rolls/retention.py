"""Retention: how a roll keeps part of the disk free."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from pleinair.durable import free_bytes
from pleinair.errors import DiskFullError
from pleinair.rolls.days import DAY
from pleinair.rolls.originals import original_path
from pleinair.rolls.records import Deleted, Unfilmed
from pleinair.rolls.roll import Roll
from pleinair.rolls.segments import find_segments
from pleinair.rolls.settings import FILMS, KEEP

#: What a frame takes with its painting, as a multiple of the largest original.
_WITH_PAINTING = 1.5


def low_room(roll: Roll, days: float = 1.0) -> str:
    """What to say where a roll that deletes nothing has room for less than so many days of frames; "" for enough.

    Raises OSError.
    """
    settings, ledger = roll.settings, roll.ledger
    if settings.keep != KEEP[0] or settings.every is None or not roll.largest:
        return ""
    room = free_bytes(roll.folder) - settings.keep_free
    frames = max(0, int(room / (_WITH_PAINTING * roll.largest)))
    wanted = days * DAY / settings.every
    if settings.frames is not None:
        wanted = min(wanted, settings.frames - ledger.frames)
    if settings.seconds is not None:
        wanted = min(wanted, (settings.seconds - ledger.seconds) / settings.every)
    if frames >= wanted:
        return ""
    return f"room for about {frames} more frames, then capture stops; {settings.keep_free / 1e6:.0f} MB are kept free"


class Retention:
    """Keeps ``keep_free`` bytes of the disk free by deleting what ``keep`` allows, the oldest first.

    ``originals``: nothing is deleted. ``painted``: originals in a closed piece of the film may go. ``none``: after
    those, closed pieces may go, too: first those whose days have their films, then the oldest films of days. The
    journal says so before anything is deleted.
    """

    #: Originals deleted together, with one line of the journal and one look at the disk.
    _BATCH = 16

    def __init__(self, roll: Roll) -> None:
        self.roll = roll

    def make_room(self, need: int) -> None:
        """Raises DiskFullError when ``need`` bytes would not leave the floor free and nothing may be deleted."""
        roll = self.roll
        floor = roll.settings.keep_free
        while (free := free_bytes(roll.folder)) < floor + need:
            if not self._delete():
                raise DiskFullError(
                    f"roll {roll.folder}: {free / 1e6:.1f} MB free; what comes next needs {need / 1e6:.1f} MB, "
                    f"{floor / 1e6:.0f} MB are to be kept free, and keep {roll.settings.keep!r} lets nothing more be "
                    "deleted"
                )

    def _delete(self) -> bool:
        roll = self.roll
        if roll.settings.keep == "originals":
            return False
        segments = find_segments(roll.painting_folder(roll.settings.look))
        doomed, position = list[Path](), roll.oldest
        for segment in segments:
            if segment.first > position and roll.has_originals(position, segment.first - 1, 1):
                break  # still to be painted
            position = segment.last + 1
            for seq in range(max(segment.first, roll.oldest), segment.last + 1):
                if (path := original_path(roll.originals, seq, roll.settings.spool)).exists():
                    doomed.append(path)
                    if len(doomed) == self._BATCH:
                        break
            if doomed:
                break
        if doomed:
            self._forget(int(doomed[-1].stem) + 1)
            for path in doomed:
                path.unlink()
            with contextlib.suppress(OSError):
                doomed[0].parent.rmdir()
            return True
        filmed = max((film.last for film in roll.ledger.films.values() if film is not None), default=-1)
        if roll.settings.keep == "none" and segments and segments[0].last > filmed and self._delete_film():
            return True
        if roll.settings.keep == "none" and len(segments) > 1:
            self._forget(segments[0].last + 1)
            segments[0].path.unlink()
            with contextlib.suppress(OSError):
                roll.forget(segments[0], roll.settings.look)
            return True
        return False

    def _delete_film(self) -> bool:
        """Delete the oldest film of a day, with the pictures beside it; whether there was one."""
        folder = self.roll.folder / FILMS
        for day, film in sorted(self.roll.ledger.films.items()):
            if film is not None:
                with contextlib.suppress(OSError):
                    self.roll.write(Unfilmed(day=day))
                for path in folder.glob(f"{day}[.-]*"):
                    path.unlink()
                return True
        return False

    def _forget(self, below: int) -> None:
        if below > self.roll.oldest:
            self.roll.oldest = below
            with contextlib.suppress(OSError):  # on a disk that is full to the last byte, deleting comes first
                self.roll.write(Deleted(below=below, wall=time.time()))
