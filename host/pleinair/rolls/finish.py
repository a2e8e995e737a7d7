"""Finishing a roll: paint what is not painted yet, check every piece, join the film."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from pathlib import Path

from pleinair import exif
from pleinair.errors import OutputError
from pleinair.films.recorder import check_film
from pleinair.rolls.developer import Developer, Event, OpenLook, Place, open_look
from pleinair.rolls.ledger import Ledger, read_ledger
from pleinair.rolls.roll import Roll, choose_painting, read_paintings
from pleinair.rolls.segments import find_segments, join, uncovered
from pleinair.rolls.settings import Look, Settings, check_parts, read_settings
from pleinair.rolls.systemd import tell_systemd

#: Seconds for painting what is left and joining the film, as systemd is told.
_JOINING = 7 * 86_400

#: Told how far painting is: numbers of frames done, and in all.
Report = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """Report to nobody."""


def finish(
    roll: Roll, look: Look, film: Path, *, report: Report = _silent, painter: OpenLook = open_look, force: bool = False
) -> int:
    """Join the film of a painting, after painting what is missing of it; how many frames the film has.

    A film that is there already is put aside (NAME.before-1.mp4), or overwritten by ``force``.

    Raises OutputError, RollError, ModelError, EngineError.
    """
    check_film(film)
    complete(roll, look, report=report, painter=painter)
    segments = find_segments(roll.painting_folder(look))
    tags = film_tags(roll.folder, roll.settings, roll.ledger, look)
    return join(segments, film, fps=look.fps, tags=tags, force=force)


def complete(roll: Roll, look: Look, *, report: Report = _silent, painter: OpenLook = open_look) -> None:
    """Paint what is missing of a painting, and look whether every piece of it is whole.

    Raises OutputError, RollError, ModelError, EngineError.
    """
    # From here on there is nothing to lose, and it may take long.
    tell_systemd(WATCHDOG_USEC=str(_JOINING * 10**6))
    paint_all(roll, look, report=report, painter=painter)
    for _ in range(2):
        whole = [roll.check_segment(s, look) for s in find_segments(roll.painting_folder(look))]
        if all(whole):
            break
        paint_all(roll, look, report=report, painter=painter)


def paint_all(roll: Roll, look: Look, *, report: Report = _silent, painter: OpenLook = open_look) -> None:
    """Paint every original that no piece holds, and close the last piece.

    Raises OutputError, ModelError, EngineError.
    """
    first, last = roll.oldest, roll.ledger.last
    gaps = uncovered(find_segments(roll.painting_folder(look)), first, last)
    if not any(roll.has_originals(a, b, 1) for a, b in gaps):
        return
    # Opened late: a roll that is painted already needs no engine.
    brush = painter(look, roll.settings.backend, roll.settings.threads)
    try:

        def told(event: Event) -> None:
            if event.kind == "painted":
                report(event.seq + 1 - first, last + 1 - first)

        develop_all(roll, Developer(Place.of(roll, look), brush), first, last, told)
    except OSError as error:
        raise OutputError(f"roll {roll.folder}: {error.strerror}") from error
    finally:
        brush.close()


def develop_all(roll: Roll, developer: Developer, first: int, last: int, told: Callable[[Event], None]) -> None:
    """Have a developer do originals ``first`` to ``last``, and journal what comes of it; then it is closed.

    ``told`` gets each event but closed pieces. Raises OSError, and what the developer raises.
    """
    try:
        with contextlib.closing(developer.develop(first, last, True)) as events:
            for event in events:
                if event.piece is not None:
                    roll.write(event.piece)
                    continue
                if event.kind == "lost":
                    roll.lose(event.seq)
                told(event)
    finally:
        developer.close()


def film_tags(folder: Path, settings: Settings, ledger: Ledger, look: Look) -> dict[str, str]:
    """What a film of a roll's painting says of itself."""
    every = f", one every {settings.every:.10g} s" if settings.every else ""
    tags = {
        "title": f"{Path(look.style).name}: {folder.resolve().name}",
        "comment": f"painted by pleinair, {Path(look.style).name} at {look.bits} bits; camera {settings.camera}; "
        f"{ledger.frames} frames{every}",
    }
    return {**tags, **_when_and_where(ledger)}


def _when_and_where(ledger: Ledger) -> dict[str, str]:
    """A film's tags of its first frame: of the photo or video that it was, else of when filming began."""
    metadata = (ledger.first.metadata or {}) if ledger.first is not None else {}
    told = exif.film_tags(metadata)
    if "date" not in told and ledger.begun:
        begun = datetime.datetime.fromtimestamp(ledger.begun, datetime.timezone.utc)
        told |= exif.film_tags({"date": begun.isoformat()})
    return told


def find_painting(folder: Path, style: str | None = None, bits: int | None = None) -> tuple[Look, dict[str, str]]:
    """A painting of a roll that may be being filmed, as :meth:`Roll.find_painting`, and its film's tags; no writing.

    Raises RollError, OptionError.
    """
    check_parts(folder)
    ledger = read_ledger(folder)
    settings = read_settings(folder, ledger)
    look = choose_painting(folder, read_paintings(folder, settings, ledger), style, bits)
    return look, film_tags(folder, settings, ledger, look)


def finish_running(folder: Path, film: Path, *, force: bool = False) -> tuple[int, int]:
    """A film of the closed pieces of a roll that another process is filming: (frames, frames that are not in it)."""
    check_film(film)
    ledger = read_ledger(folder)
    settings = read_settings(folder, ledger)
    segments = find_segments(folder / settings.look.file())
    frames = join(
        segments,
        film,
        fps=settings.look.fps,
        tags={"title": folder.resolve().name, **_when_and_where(ledger)},
        force=force,
    )
    return frames, max(0, ledger.frames - frames)
