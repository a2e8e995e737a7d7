"""Going on with a roll after a stop, a kill or a power cut: its camera, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pleinair.cameras.camera import remarks_of
from pleinair.cameras.opening import DRIVERS, CameraSource, Driver, open_shooter
from pleinair.errors import CameraError, OptionError
from pleinair.rolls.addresses import find_camera, find_notices, keep_address, keep_notices
from pleinair.rolls.beginning import taken_out
from pleinair.rolls.consent import give_consent, has_consent
from pleinair.rolls.developer import OpenLook, open_look
from pleinair.rolls.notices import parse_addresses
from pleinair.rolls.notify import parse_command
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import make_schedule
from pleinair.rolls.thermometer import Thermometer
from pleinair.rolls.timelapse import Timelapse


def resume_roll(
    roll: Roll,
    *,
    preview: int | None = None,
    preview_host: str | None = None,
    camera: CameraSource | str | None = None,
    notify_cmd: str | None = None,
    notify: str | None = None,
    on_film: str | None = None,
    drivers: Mapping[str, Driver] = DRIVERS,
    thermometer: Thermometer | None = None,
    painter: OpenLook = open_look,
) -> Timelapse | None:
    """Go on filming an open roll, with a preview elsewhere where one is given.

    ``camera`` is another live camera than the roll's, or the same one at another address; ``notify`` are addresses of
    Apprise in place of the roll's. The roll remembers both. Its commands (to notify by, and for films) are run where
    this user gave them, here or when the roll began; others are left out, and the time-lapse's ``warnings`` say so.

    None when the roll's camera is gone and is not needed any more: all was captured, and only the film is to be
    finished. Raises CameraError, OptionError.
    """
    another = None if camera is None else _another(roll, camera)
    if notify is not None:
        roll.change(replace(roll.settings, notices=keep_notices(parse_addresses(notify))))
    settings = roll.settings
    if preview is not None or preview_host is not None:
        roll.settings = settings = replace(
            settings, preview=preview or settings.preview, preview_host=preview_host or settings.preview_host
        )
    warnings = list[str]()
    if notify_cmd is not None:
        parse_command(notify_cmd)
        roll.settings = settings = replace(settings, notify=notify_cmd, consent=give_consent(notify_cmd))
    elif settings.notify is not None and not has_consent(settings.notify, settings.consent):
        warnings.append(
            f"the roll's command {settings.notify!r} was not given by this user and is not run; to allow it: "
            "pleinair resume --notify-cmd COMMAND"
        )
        roll.settings = settings = replace(settings, notify=None, consent="")
    if on_film is not None:
        parse_command(on_film, "on_film")
        roll.settings = settings = replace(settings, daily=True, on_film=on_film, film_consent=give_consent(on_film))
    elif settings.on_film is not None and not has_consent(settings.on_film, settings.film_consent):
        warnings.append(
            f"the roll's command {settings.on_film!r} was not given by this user and is not run; to allow it: "
            "pleinair resume --on-film COMMAND"
        )
        roll.settings = settings = replace(settings, on_film=None, film_consent="")
    if settings.notices and not find_notices(settings.notices):
        warnings.append(
            "the roll's addresses of notices were not given by this user; to give yours: "
            "pleinair resume --notify ADDRESSES"
        )
    schedule = make_schedule(settings.every, start=settings.start, stop=settings.stop, daylight=settings.daylight)
    try:
        shooter = open_shooter(
            another or find_camera(settings.camera),
            size=settings.ask,
            step=settings.step,
            frames=settings.frames,
            start=roll.ledger.position,
            every=settings.every,
            patient=True,
            order=settings.order,
            drivers=drivers,
        )
    except CameraError:
        # What was captured to the end can be painted without its source.
        if roll.ledger.state == "complete" and settings.out is not None:
            return None
        raise
    lapse = Timelapse(roll, shooter, schedule=schedule, thermometer=thermometer, painter=painter)
    lapse.warnings += [*warnings, *taken_out(remarks_of(shooter))]
    return lapse


def _another(roll: Roll, camera: CameraSource | str) -> CameraSource:
    """The live camera that takes the place of a roll's. Raises OptionError, RollError."""
    source = CameraSource.parse(camera) if isinstance(camera, str) else camera
    if not (source.live and CameraSource.parse(roll.settings.camera).live):
        raise OptionError(f"{str(source)!r}: only a live camera can take the place of another", option="camera")
    roll.change(replace(roll.settings, camera=keep_address(source)))
    return source
