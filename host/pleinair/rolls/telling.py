"""Who is told of what on a roll: a command and Apprise of troubles and news, another command of films of days."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pleinair.rolls.addresses import find_notices
from pleinair.rolls.notices import Apprise
from pleinair.rolls.notify import FILM_TIMEOUT, Command, Notice, Notifier, Sender
from pleinair.rolls.roll import Roll


class Teller:
    """Tells those that a roll's settings name; nothing here waits but :meth:`close`."""

    def __init__(self, roll: Roll, failed: Callable[[str], None]) -> None:
        """``failed`` is told what went wrong with a notice. Raises OptionError for a bad command."""
        settings = roll.settings
        senders = list[Sender]()
        if settings.notify is not None:
            senders.append(Command(settings.notify))
        if addresses := find_notices(settings.notices):
            senders.append(Apprise(addresses))
        self._all = [Notifier(sender, roll.folder, failed) for sender in senders]
        self._films: Notifier | None = None
        if settings.on_film is not None:
            on_film = Command(settings.on_film, timeout=FILM_TIMEOUT, option="on_film")
            self._films = Notifier(on_film, roll.folder, failed)

    def trouble(self, what: str, message: str) -> None:
        """Something is wrong with the camera, the disk, painting ...; each kind is told once an hour."""
        self._tell(Notice(what, message))

    def first_frame(self, original: Path) -> None:
        """The roll has its first frame."""
        path = str(original.absolute())
        self._tell(Notice("first-frame", f"the first frame is there: {path}", True, {"PLEINAIR_PICTURE": path}))

    def film(self, film: Path, day: str = "") -> None:
        """A film is ready: that of a day, or of the whole roll."""
        path = str(film.absolute())
        more = {"PLEINAIR_FILM": path} | ({"PLEINAIR_DAY": day} if day else {})
        if day and self._films is not None:
            self._films.tell(Notice("film", path, True, more))
        self._tell(
            Notice("film-ready", f"the film {'of ' + day if day else 'of the roll'} is ready: {path}", True, more)
        )

    def finished(self, frames: int) -> None:
        """All is captured and painted."""
        self._tell(
            Notice("finished", f"the roll is finished, with {frames} frames", True, {"PLEINAIR_FRAMES": str(frames)})
        )

    def _tell(self, notice: Notice) -> None:
        for notifier in self._all:
            notifier.tell(notice)

    def close(self) -> None:
        """Wait for what is under way, as long as it may take; whoever tells more begins anew."""
        if self._films is not None:
            self._films.close(FILM_TIMEOUT)
        for notifier in self._all:
            notifier.close()
