"""Beginning a roll, and beginning another painting of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pleinair.backends import Backend
from pleinair.cameras.camera import Shooter, remarks_of
from pleinair.cameras.framing import Framing
from pleinair.cameras.opening import DRIVERS, LIVE_EVERY, CameraSource, Driver, open_shooter
from pleinair.cameras.stored import ORDERS
from pleinair.errors import CameraError, OptionError, PleinairError
from pleinair.films.deflicker import DEFAULT_FRAMES
from pleinair.films.lighting import choose_lighting, default_every
from pleinair.films.rate import Rate, read_rate
from pleinair.films.recorder import check_film
from pleinair.films.steadiness import DEFAULT_STRENGTH
from pleinair.films.tone import choose_tone
from pleinair.models import DEFAULT_STYLE, absolute, load_model
from pleinair.painting.strokes import AUTO, choose_strokes
from pleinair.rolls.addresses import keep_address, keep_notices
from pleinair.rolls.consent import give_consent
from pleinair.rolls.days import DAY
from pleinair.rolls.developer import OpenLook, open_look
from pleinair.rolls.notices import parse_addresses
from pleinair.rolls.notify import parse_command
from pleinair.rolls.originals import SUFFIXES
from pleinair.rolls.roll import Roll
from pleinair.rolls.schedule import Schedule, make_schedule
from pleinair.rolls.settings import KEEP, Look, Settings
from pleinair.rolls.thermometer import Thermometer
from pleinair.rolls.timelapse import Timelapse


@dataclass(frozen=True, kw_only=True)
class _Times:
    """When frames are taken: fields of :class:`Settings`."""

    every: float | None
    step: float | None
    frames: int | None
    seconds: float | None
    start: str | None
    stop: str | None
    daylight: str | None

    @classmethod
    def of(cls, source: CameraSource, every: float | None, **rest: Any) -> _Times:
        """``every`` is the roll's own time of a live camera and of stored frames, the scene's time of the others."""
        if source.live:
            return cls(every=every or LIVE_EVERY, step=None, **rest)
        if source.timed:
            return cls(every=None, step=every, **rest)
        return cls(every=every, step=None, **rest)

    def __post_init__(self) -> None:
        """Raises OptionError for a time that is none."""
        self.schedule()

    def schedule(self) -> Schedule:
        """When frames are due."""
        return make_schedule(self.every, start=self.start, stop=self.stop, daylight=self.daylight)

    def check_due(self) -> None:
        """Raise OptionError where no frame would be due within a year."""
        if self.schedule().next_due(366 * DAY) is None:
            asked = f"{self.start or '00:00'} to {self.stop or '24:00'}"
            if self.daylight is None:
                raise OptionError(f"{asked}: no frame is due within a year", option="stop")
            raise OptionError(f"{self.daylight!r}: from {asked} there is no daylight within a year", option="daylight")


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What is kept of a roll, and who is told of it: fields of :class:`Settings`."""

    keep: str
    keep_free: int
    spool: str
    out: str | None
    notify: str | None
    consent: str
    daily: bool
    on_film: str | None
    film_consent: str
    notices: str

    @classmethod
    def checked(
        cls,
        *,
        keep: str,
        keep_free: int,
        spool: str,
        out: Path | str | None,
        notify: str | None,
        daily: bool,
        on_film: str | None,
        notices: str | None,
    ) -> _Kept:
        """Raises OptionError, OutputError for a value that is not allowed."""
        for option, value, allowed in (("keep", keep, KEEP), ("spool", spool, SUFFIXES)):
            if value not in allowed:
                raise OptionError(f"{value!r}: choose from {', '.join(allowed)}", option=option)
        if notify is not None:
            parse_command(notify)
        if on_film is not None:
            parse_command(on_film, "on_film")
            if not daily:
                raise OptionError(
                    f"{on_film!r}: is called with the film of each day; give --daily, too", option="on_film"
                )
        if out is not None:
            check_film(Path(out))
        out = None if out is None else str(Path(out).absolute())
        return cls(
            keep=keep,
            keep_free=keep_free,
            spool=spool,
            out=out,
            notify=notify,
            consent=give_consent(notify),
            daily=daily,
            on_film=on_film,
            film_consent=give_consent(on_film),
            notices="" if notices is None else keep_notices(parse_addresses(notices)),
        )


@dataclass(frozen=True)
class _Lit:
    """The light and the tone that were asked for; ``default`` is how many frames have one light by default."""

    light: str | None
    light_every: int | None
    tone: float | None
    default: int


def _create(
    folder: Path,
    source: CameraSource,
    size: tuple[int, int] | None,
    framing: Framing,
    drivers: Mapping[str, Driver],
    strokes: int | str,
    about: dict[str, Any],
) -> tuple[Roll, Shooter]:
    """A new roll and its open camera; ``about`` is what its settings are besides the camera and its pictures.

    Raises RollError; CameraError when the camera does not open, or is a live one that gives no frame; OptionError.
    """
    Roll.check_new(folder)
    ask = _size_to_ask(size, framing)
    times = {name: about[name] for name in ("step", "frames", "every", "order")}
    shooter = open_shooter(source, size=ask, drivers=drivers, **times)
    try:
        if shooter.live and shooter.shoot() is None:
            raise CameraError(f"camera {shooter.name}: gives no frame")
        filmed = size or framing.size_of(shooter.size)
        about["look"] = _stroked(about["look"], strokes, filmed)
        settings = Settings(
            camera=keep_address(source),
            size=filmed,
            ask=ask,
            rotate=framing.rotate,
            crop=framing.crop,
            **about,
        )
        return Roll.create(folder, settings), shooter
    except PleinairError:
        shooter.close()
        raise


def begin_roll(
    folder: Path | str,
    camera: CameraSource | str,
    *,
    style: str = DEFAULT_STYLE,
    bits: int = 8,
    backend: Backend | str = "cpu",
    threads: int = 0,
    every: float | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    start: str | None = None,
    stop: str | None = None,
    daylight: str | None = None,
    size: tuple[int, int] | None = None,
    framing: Framing | None = None,
    order: str = ORDERS[0],
    fps: Rate | float | str = 24,
    steady: int = DEFAULT_STRENGTH,
    deflicker: int | None = None,
    timestamp: bool = False,
    light: str | None = None,
    light_every: int | None = None,
    tone: float | None = None,
    strokes: int | str = 1,
    keep: str = "originals",
    keep_free: int = 1_000_000_000,
    spool: str = "jpg",
    out: Path | str | None = None,
    notify_cmd: str | None = None,
    notify: str | None = None,
    daily: bool = False,
    on_film: str | None = None,
    preview: int | None = None,
    preview_host: str = "127.0.0.1",
    drivers: Mapping[str, Driver] = DRIVERS,
    thermometer: Thermometer | None = None,
    painter: OpenLook = open_look,
) -> Timelapse:
    """A new roll in ``folder``, ready to be filmed; the folder is made, and must not hold anything yet.

    ``every`` is the time between frames in seconds: real time of a live camera (:data:`LIVE_EVERY` by default) or of a
    folder of frames (by default as fast as they are kept), scene time of the others. ``frames`` and ``seconds`` of the
    roll's own time end it; ``start`` and ``stop`` (``"06:30"``) and ``daylight`` (``"52.52,13.40"``) say when frames
    are taken. ``size`` is (width, height), ``order`` that of a folder's
    images: "name" or "time". ``keep`` says what may be deleted so that ``keep_free`` bytes of the disk
    stay free: see :data:`~pleinair.rolls.settings.KEEP`. ``out`` is noted for the film that is joined in the end,
    ``fps`` is its rate (:func:`~pleinair.films.rate.read_rate`).
    ``deflicker`` is by default on for live cameras. ``light``, ``light_every`` and ``tone`` are as in
    :func:`pleinair.film`. ``strokes`` is 1 to 4 or "auto": see :mod:`pleinair.painting.strokes`. With ``daily``, each
    day's film is made in ``films/`` of the roll when the day is over, and the command ``on_film`` is called with it.
    ``notify_cmd`` is a command that is told of troubles and news (:mod:`pleinair.rolls.notify`), ``notify`` are
    addresses of Apprise with blanks between.
    ``drivers`` open live cameras; ``painter`` opens what paints, in the painting process.

    Nothing is written when this raises: OptionError, ModelError, CameraError, OutputError, RollError.
    """
    source = (CameraSource.parse(camera) if isinstance(camera, str) else camera).absolute()
    kept = _Kept.checked(
        keep=keep,
        keep_free=keep_free,
        spool=spool,
        out=out,
        notify=notify_cmd,
        notices=notify,
        daily=daily,
        on_film=on_film,
    )
    times = _Times.of(source, every, frames=frames, seconds=seconds, start=start, stop=stop, daylight=daylight)
    lit = _Lit(light, light_every, tone, default_every(source, every or (LIVE_EVERY if source.live else None)))
    times.check_due()
    if daily and source.timed and not source.live:
        raise OptionError(f"{source}: its frames have no dates, so no day has a film", option="daily")
    deflicker = deflicker if deflicker is not None else DEFAULT_FRAMES if source.live else 0
    look = _look(style, bits, lit, fps=read_rate(fps), steady=steady, deflicker=deflicker, timestamp=timestamp)
    about = {"backend": _absolute(backend), "threads": threads, "preview": preview, "preview_host": preview_host}
    about |= {**asdict(times), **asdict(kept), "look": look, "order": order}
    roll, shooter = _create(Path(folder), source, size, framing or Framing(), drivers, strokes, about)
    lapse = Timelapse(roll, shooter, schedule=times.schedule(), thermometer=thermometer, painter=painter)
    lapse.warnings += taken_out(remarks_of(shooter))
    return lapse


def taken_out(lines: list[str]) -> list[str]:
    """The lines, which are there no more; for a camera's remarks."""
    taken = list(lines)
    lines.clear()
    return taken


def open_roll(folder: Path | str) -> Roll:
    """An existing roll, put in order after whatever happened to it: see :meth:`Roll.open`."""
    return Roll.open(Path(folder))


def begin_painting(
    roll: Roll,
    style: str,
    *,
    bits: int = 8,
    backend: Backend | str = "cpu",
    threads: int = 0,
    steady: int | None = None,
    deflicker: int | None = None,
    light: str | None = None,
    light_every: int | None = None,
    tone: float | None = None,
    strokes: int | str | None = None,
) -> Look:
    """Begin another painting of an open roll; what is None is as in the roll's own.

    Light and tone that are None are as in a new roll of this style, filmed by the same camera.

    Where the roll has a painting in another style whose folder is called the same, this one's name tells the network,
    too: ``posters-1a2b3c4d-8bit``.

    ``pleinair.rolls.finish`` paints it, with this backend and so many threads. Raises ModelError, OptionError, and
    RollError when the roll has a painting of that name that is made in another way.
    """
    settings = roll.settings
    own = settings.look
    every = default_every(CameraSource.parse(settings.camera), settings.step or settings.every)
    look = _look(
        style,
        bits,
        _Lit(light, light_every, tone, every),
        fps=own.fps,
        steady=own.steady if steady is None else steady,
        deflicker=own.deflicker if deflicker is None else deflicker,
        timestamp=own.timestamp,
    )
    look = _stroked(look, own.strokes if strokes is None else strokes, settings.size)
    same = roll.paintings().get(look.name)
    if same is not None and same.style != look.style and same.network != look.network:
        # Another folder of the same name.
        look = replace(look, alias=f"{look.called}-{look.network[:8]}")
    roll.settings = replace(settings, backend=_absolute(backend), threads=threads)
    roll.add_painting(look)
    return look


def _absolute(backend: Backend | str) -> str:
    """A backend as roll.json has it, found from any working folder. Raises OptionError."""
    return str((Backend.parse(backend) if isinstance(backend, str) else backend).absolute())


def _look(style: str, bits: int, lit: _Lit, **treatment: Any) -> Look:
    """A look, its style found from any working folder. Raises ModelError, OptionError."""
    model = load_model(style, bits)
    lighting = choose_lighting(
        lit.light, lit.light_every, adaptive=model.adaptive, default=lit.default, own_only=model.own_light_only
    )
    return Look(
        absolute(style),
        bits,
        light=lighting.light,
        light_every=lighting.every,
        tone=choose_tone(lit.tone, adaptive=model.adaptive),
        network=model.sha256,
        **treatment,
    )


def _stroked(look: Look, strokes: int | str, size: tuple[int, int]) -> Look:
    """A look with strokes for frames of that size. Raises OptionError, ModelError."""
    trained = load_model(look.style, look.bits).trained_side if strokes == AUTO else None
    return replace(look, strokes=choose_strokes(strokes, size, trained))


def _size_to_ask(size: tuple[int, int] | None, framing: Framing) -> tuple[int, int] | None:
    """The size to ask of a camera whose pictures become frames of ``size``; None where it may choose."""
    if size is None or framing.crop is not None:
        return None
    return size[::-1] if framing.rotate in (90, 270) else size
