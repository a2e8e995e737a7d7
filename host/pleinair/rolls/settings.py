"""How a roll is filmed and painted: what ``roll.json`` and ``painting.json`` hold."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pleinair import durable
from pleinair.cameras.stored import ORDERS
from pleinair.errors import OptionError, RollError
from pleinair.films.lighting import Lighting
from pleinair.films.rate import Rate, rate_to_json, read_rate
from pleinair.films.treatment import Treatment
from pleinair.painting.strokes import MOST
from pleinair.rolls.ledger import Ledger
from pleinair.rolls.originals import SUFFIXES
from pleinair.rolls.segments import LENGTH

FORMAT = "pleinair-roll"
VERSION = 1
#: What may be deleted to make room: nothing; originals that are painted; after those, pieces of the film, too.
KEEP = ("originals", "painted", "none")
#: What the folder of a roll holds that was cut off while it was made.
EMPTY = ("originals", "paintings")
#: Where the films of days are.
FILMS = "films"
#: Most bytes of roll.json, painting.json and state.json.
MOST_JSON = 1 << 20


@dataclass(frozen=True)
class Look:
    """How a painting is made."""

    style: str
    bits: int
    fps: Rate = 24
    steady: int = 0
    deflicker: int = 0
    timestamp: bool = False
    #: How the light of an adaptive network is found (:class:`~pleinair.films.lighting.Lighting`).
    light: str = "fixed"
    light_every: int = 1
    tone: float = 0.0
    #: SHA-256 of the network, so that a roll is not continued with another one.
    network: str = ""
    #: How many times as large strokes are (:mod:`pleinair.painting.strokes`).
    strokes: int = 1
    #: What the style is called on a roll that has a painting in another style of that name; "" is the style's own name.
    alias: str = ""

    @property
    def called(self) -> str:
        """What the style is called on the roll: ``starry-night``, also where it was given as a folder."""
        return self.alias or Path(self.style).name

    @property
    def name(self) -> str:
        """What the painting is called: ``starry-night-8bit``, or ``starry-night-8bit-strokes3``."""
        return f"{self.called}-{self.bits}bit" + (f"-strokes{self.strokes}" if self.strokes > 1 else "")

    def file(self, name: str = "") -> str:
        """A file of the painting, or its folder, as a path within the roll; the journal names pieces so."""
        return f"paintings/{self.name}/{name}"

    def treatment(self) -> Treatment:
        """What is done to each frame besides painting it, from the film's beginning."""
        return Treatment(
            steady=self.steady,
            deflicker=self.deflicker,
            timestamp=self.timestamp,
            lighting=Lighting(self.light, self.light_every),
            tone=self.tone,
        )

    def to_json(self) -> dict[str, object]:
        """As plain values; ``alias`` and ``strokes`` only where they are not the usual."""
        values = {**dataclasses.asdict(self), "fps": rate_to_json(self.fps)}
        if not self.alias:
            del values["alias"]
        if self.strokes == 1:
            del values["strokes"]
        return values

    @classmethod
    def from_json(cls, values: Any) -> Look:
        """From what :meth:`to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        values = dict(values)
        try:
            values["fps"] = read_rate(values["fps"])
        except OptionError as error:
            raise ValueError(str(error)) from error
        look = cls(**values)
        look._check()
        return look

    def _check(self) -> None:
        """Raises ValueError for a value that no painting of ours has; its name is a folder's."""
        texts = (self.style, self.light, self.network, self.alias)
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise ValueError("a text is none")
        if self.called in ("", ".", "..") or "/" in self.called:
            raise ValueError(f"{self.called!r} is no name of a painting")
        if not all(isinstance(number, int) for number in (self.bits, self.steady, self.deflicker, self.strokes)):
            raise ValueError("a number is none")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a roll is filmed. Times in seconds, sizes as (width, height)."""

    camera: str
    size: tuple[int, int]
    look: Look
    every: float | None = None
    frames: int | None = None
    seconds: float | None = None
    start: str | None = None
    stop: str | None = None
    daylight: str | None = None
    rotate: int = 0
    crop: tuple[int, int, int, int] | None = None
    #: Scene time between stored frames.
    step: float | None = None
    #: Of a folder's images.
    order: str = ORDERS[0]
    #: Size asked of a live camera.
    ask: tuple[int, int] | None = None
    spool: str = "jpg"
    #: Frames in a piece of the film.
    piece: int = LENGTH
    keep: str = "originals"
    #: Bytes of the disk to keep free.
    keep_free: int = 1_000_000_000
    backend: str = "cpu"
    threads: int = 0
    out: str | None = None
    notify: str | None = None
    #: Whose command it is (:mod:`pleinair.rolls.consent`).
    consent: str = ""
    #: Whether each day's film is made when the day is over, the command called with it, and whose command that is.
    daily: bool = False
    on_film: str | None = None
    film_consent: str = ""
    #: Under which mark this user's addresses of notices are kept (:mod:`pleinair.rolls.addresses`).
    notices: str = ""
    preview: int | None = None
    preview_host: str = "127.0.0.1"

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        values = {**dataclasses.asdict(self), "look": self.look.to_json()}
        for name in ("consent", "daily", "on_film", "film_consent", "notices", "order"):
            if not values[name] or (name == "order" and self.order == ORDERS[0]):
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: Any) -> Settings:
        """From what :meth:`to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        values = dict(values)
        look = Look.from_json(values.pop("look"))
        for name in ("size", "crop", "ask"):
            try:
                values[name] = None if values[name] is None else tuple(map(int, values[name]))
            except OverflowError as error:  # an infinity
                raise ValueError(f"{name} is none") from error
        settings = cls(look=look, **values)
        settings._check()
        if (
            settings.order not in ORDERS
            or settings.keep not in KEEP
            or settings.spool not in SUFFIXES
            or settings.look.bits not in (4, 8, 16, 32)
        ):
            raise ValueError("order, keep, spool or bits outside the allowed values")
        return settings

    def _check(self) -> None:
        """Raises ValueError for a value that no roll of ours has."""
        look = self.look
        bounds: list[tuple[Any, float, float]] = [
            *((value, 1e-9, _YEARS) for value in (self.every, self.seconds, self.step)),
            *((value, 1, 1e8) for value in (self.frames, self.piece)),
            *((value, 1, 1 << 16) for value in (*self.size, *(self.ask or ()), *(self.crop or ())[:2], self.preview)),
            *((value, 0, 1 << 16) for value in (self.crop or ())[2:]),
            *((value, 0, 1e15) for value in (self.keep_free, self.threads, look.steady, look.deflicker)),
            *((look.light_every, 1, 1e6), (look.tone, 0, 1), (look.strokes, 1, MOST)),
        ]
        for value, least, most in bounds:
            if value is not None and (isinstance(value, bool) or not least <= value <= most):
                raise ValueError(f"{value!r} is none of a roll's values")
        texts = (
            self.camera,
            self.consent,
            self.film_consent,
            self.notices,
            self.spool,
            self.keep,
            self.backend,
            self.preview_host,
            look.style,
            look.light,
            look.alias,
        )
        optional = (self.start, self.stop, self.daylight, self.out, self.notify, self.on_film)
        if not all(isinstance(text, str) and "\0" not in text for text in (*texts, *filter(None, optional))):
            raise ValueError("a text is none")
        if (
            self.rotate not in (0, 90, 180, 270)
            or not isinstance(self.daily, bool)
            or not re.fullmatch(r"[^/\0]+", look.called)
            or look.called in (".", "..")
        ):
            raise ValueError("rotate, or a name")


#: Seconds: no time is longer.
_YEARS = 100 * 366 * 86_400.0


def _checksum(values: Any) -> str:
    """Of settings as JSON gives them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_settings(folder: Path, settings: Settings) -> None:
    """Write roll.json. Raises OSError."""
    values = json.loads(json.dumps(settings.to_json()))
    data = {"format": FORMAT, "version": VERSION, "settings": values, "sha256": _checksum(values)}
    durable.write_file(folder / "roll.json", json.dumps(data, indent=1).encode())


def read_settings(folder: Path, ledger: Ledger) -> Settings:
    """A roll's settings, from roll.json or, when that is damaged, from the journal. Raises RollError."""
    problem = "no settings in it"
    try:
        data = json.loads(durable.read_file(folder / "roll.json", MOST_JSON))
        if data.get("format") != FORMAT or data.get("version") != VERSION:
            problem = f"not a version {VERSION} {FORMAT}"
        elif "sha256" in data and data["sha256"] != _checksum(data["settings"]):
            problem = "damaged"
        else:
            return Settings.from_json(data["settings"])
    except OSError as error:
        problem = error.strerror or str(error)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        problem = "damaged"
    try:
        return Settings.from_json(ledger.settings or {})
    except (ValueError, TypeError, KeyError):
        raise RollError(
            f"roll {folder}: {folder / 'roll.json'}: {problem}, and the journal does not hold the settings either"
        ) from None


def check_there(folder: Path) -> None:
    """Raise RollError when a folder is no roll, or one that this user may not look into."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise RollError(f"roll {folder}: {error.strerror}") from error
    if not {"roll.json", "journal.jsonl"} & set(names):
        raise RollError(f"roll {folder}: no roll there")


def check_parts(folder: Path) -> None:
    """Raise RollError where a link, pipe or device stands for a file or folder of a roll.

    A link could lead the program anywhere, and a pipe would keep it waiting. Originals are looked at when they are
    read.
    """
    parts = [folder / name for name in ("roll.json", "lock", "journal.jsonl", "state.json", *EMPTY, FILMS)]
    for name in (*EMPTY, FILMS):
        with contextlib.suppress(OSError):
            parts += (folder / name).iterdir()
    for painting in folder.glob("paintings/*/"):
        with contextlib.suppress(OSError):
            parts += painting.iterdir()
    for part in parts:
        try:
            mode = part.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            raise RollError(f"roll {folder}: {part.relative_to(folder)} is a link; a roll has none")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise RollError(f"roll {folder}: {part.relative_to(folder)} is neither a file nor a folder")
