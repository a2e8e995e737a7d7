"""The page's addresses, and what each answers.

::

    /                                    all rolls, or the one there is
    /roll/KEY/                           a roll; ?painting=NAME looks at another of its paintings
    /live, /roll/KEY/live                the same parts alone, as a browser fetches them again
    /roll/KEY/state.json                 how it stands, for programs
    /roll/KEY/shown/PAINTING/TAG-original.jpg, -painting.jpg, -small.jpg  pictures to look at
    /roll/KEY/original/NUMBER            an original as it was kept
    /roll/KEY/painting/PAINTING/TAG      the newest painting in its full size
    /roll/KEY/days/2026-11-25.mp4        a day's film and its pictures
    /roll/KEY/film                       the film of the whole roll, where it lies beside the roll
    /roll/KEY/focus                      how sharp the newest picture is; focus/NUMBER-centre.jpg, -whole.jpg

What changes something is in :mod:`pleinair.serving.changes`. KEY and PAINTING are looked up among those that there
are; no path is made from what a browser sends.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from pleinair.cameras.opening import DRIVERS, Driver
from pleinair.errors import RollError
from pleinair.page import Markup
from pleinair.rolls.journal import tail
from pleinair.rolls.ledger import Ledger
from pleinair.rolls.originals import number_in
from pleinair.rolls.settings import FILMS, read_settings
from pleinair.serving.changes import Changes
from pleinair.serving.deeds import Told
from pleinair.serving.focus import Finder
from pleinair.serving.listening import Names, listen
from pleinair.serving.permit import Permit
from pleinair.serving.pictures import Pictures, original_file, plain_file
from pleinair.serving.server import Pace, Server
from pleinair.serving.shelf import Shelf, Shown
from pleinair.serving.views import RollView, document, roll_parts, shelf_parts
from pleinair.serving.words import troubles

#: Lines of the journal that are shown, and that troubles are looked for in.
_LINES, _BEFORE = 14, 200
#: Seconds for which parts that were made hold: so many viewers cost as much as one.
_HOLD = 1.0
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.(mp4)|-(strip|sheet|brightness)\.png)")
_SHOWN = re.compile(r"(m?[0-9]{1,20})-(original|painting|small)\.jpg")
#: What a film may be called to be played here.
_FILMS = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska"}
_STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "page.webmanifest": "application/manifest+json",
}
_ICONS = (180, 192, 512)


class Site:
    """Answers for some rolls; :attr:`app` is the application."""

    def __init__(self, shelf: Shelf, *, most: int = 48, changes: Changes | None = None) -> None:
        """``most`` pictures stay in memory. Without ``changes`` there are neither styles nor anything to change."""
        self._shelf, self._pictures, self._changes = shelf, Pictures(most), changes
        self._finder = changes.finder if changes else Finder({})
        self._made = dict[str, tuple[float, bytes]]()
        self._making, self._pace = threading.Lock(), Pace()
        folder = Path(__file__).with_name("page")
        self._static = {name: (folder / name).read_bytes() for name in _STATIC}
        self.app = Starlette(
            routes=[
                Route("/", self._front),
                Route("/live", self._front_live),
                Route("/state.json", self._only_state),
                Route("/favicon.ico", self._file),
                Route("/icon-{side:int}.png", self._icon),
                *(Route(f"/{name}", self._file) for name in _STATIC),
                Route("/roll/{key}/", self._roll),
                Route("/roll/{key}/live", self._roll_live),
                Route("/roll/{key}/state.json", self._state),
                Route("/roll/{key}/shown/{painting}/{name}", self._picture),
                Route("/roll/{key}/original/{seq:int}", self._original),
                Route("/roll/{key}/painting/{painting}/{tag}", self._painting),
                Route("/roll/{key}/days/{name}", self._day),
                Route("/roll/{key}/film", self._film),
                Route("/roll/{key}/focus", self._focus),
                Route("/roll/{key}/focus/{number:int}-{which}.jpg", self._seen),
                *(changes.routes if changes else ()),
            ],
            exception_handlers={RollError: _refuse, HTTPException: _plainly},
        )

    # -- pages

    def _front(self, request: Request) -> Response:
        only = self._only()
        return self._roll_page(request, only) if only else self._shelf_page()

    def _front_live(self, request: Request) -> Response:
        only = self._only()
        return self._live(self._roll_parts(request, only) if only else self._shelf_parts())

    def _only(self) -> Shown | None:
        """The roll, where there is one alone and it can be shown."""
        rolls = list(self._shelf.rolls().values())
        return rolls[0] if len(rolls) == 1 and not rolls[0].problem else None

    def _roll(self, request: Request) -> Response:
        return self._roll_page(request, self._asked(request))

    def _roll_live(self, request: Request) -> Response:
        return self._live(self._roll_parts(request, self._asked(request)))

    def _live(self, parts: bytes) -> Response:
        return Response(parts, media_type="text/html", headers={"Poll-After": f"{self._pace.next(time.monotonic()):g}"})

    def _shelf_page(self) -> Response:
        parts = Markup(self._shelf_parts().decode())
        return self._document("pleinair", parts, "/live", front=True)

    def _shelf_parts(self) -> bytes:
        def make() -> list[Markup]:
            views = list[RollView | tuple[str, str]]()
            for shown in self._shelf.rolls().values():
                try:
                    views.append((shown.name, shown.problem) if shown.problem else self._view(shown, ""))
                except RollError as error:
                    views.append((shown.name, error.message))
            cards = self._changes.gallery.cards() if self._changes else []
            return shelf_parts(views, time.time(), self._shelf.folder.name, cards)

        return self._held("", make)

    def _roll_page(self, request: Request, shown: Shown) -> Response:
        parts = Markup(self._roll_parts(request, shown).decode())
        painting = request.query_params.get("painting")
        refresh = f"/roll/{shown.key}/live" + (f"?painting={painting}" if painting else "")
        title, at = f"{shown.name} · pleinair", f"/roll/{shown.key}/"
        return self._document(title, parts, refresh, front=self._only() is not None, roll=at)

    def _document(self, title: str, parts: Markup, refresh: str, *, front: bool, roll: str = "") -> Response:
        permitted = self._changes is not None and self._changes.permitted
        styles = list[str]()
        if front and self._changes is not None and self._changes.begins:
            styles = [card.name for card in self._changes.gallery.cards() if card.rolls]
        photo = permitted and front
        data = document(title, [parts], refresh=refresh, deeds=permitted, photo=photo, begin=styles, roll=roll)
        return Response(data, media_type="text/html")

    def _roll_parts(self, request: Request, shown: Shown) -> bytes:
        wanted = request.query_params.get("painting", "")
        if wanted and wanted not in shown.status().paintings:
            raise HTTPException(404)

        def make() -> list[Markup]:
            view = self._view(shown, wanted, whole=True)
            last = self._changes.deeds.told(shown.folder) if self._changes else Told("")
            cards = self._changes.gallery.cards() if self._changes else []
            permitted = self._changes is not None and self._changes.permitted
            alone = self._only() is not None
            return roll_parts(view, time.time(), alone=alone, last=last, styles=cards, deeds=permitted)

        return self._held(f"{shown.key}/{wanted}", make)

    def _held(self, name: str, make: Callable[[], list[Markup]]) -> bytes:
        """Parts as HTML, made at most once in a while."""
        with self._making:
            known = self._made.get(name)
            if known is None or time.monotonic() - known[0] > _HOLD:
                if len(self._made) > 100:
                    self._made.clear()
                known = time.monotonic(), "\n".join(part.html for part in make()).encode()
                self._made[name] = known
            return known[1]

    def _view(self, shown: Shown, painting: str, *, whole: bool = False) -> RollView:
        """A roll as it stands; ``whole`` with what its own page shows besides. Raises RollError."""
        status, folder = shown.status(), shown.folder
        painting = painting or status.look
        view = RollView(
            key=shown.key,
            name=shown.name,
            status=status,
            painting=painting,
            pair=self._pictures.pair(folder, painting),
            troubles=(),
            journal=(),
        )
        if not whole:
            return view
        lines = tail(folder / "journal.jsonl", _BEFORE)
        films, strips = list[str](), list[str]()
        for name in _names(folder / FILMS):
            if (day := _DAY.fullmatch(name)) is not None and day[3] in (None, "strip"):
                (films if day[2] else strips).append(day[1])
        return replace(
            view,
            troubles=troubles(status, lines),
            journal=lines[-_LINES:],
            films=films,
            strips=strips,
            film=self._film_file(shown) is not None,
        )

    def _asked(self, request: Request) -> Shown:
        shown = self._shelf.rolls().get(request.path_params["key"])
        if shown is None or shown.problem:
            raise HTTPException(404)
        return shown

    # -- for programs, and files

    def _only_state(self, request: Request) -> Response:
        only = self._only()
        if only is None:
            raise HTTPException(404)
        return _as_json(only)

    def _state(self, request: Request) -> Response:
        return _as_json(self._asked(request))

    def _file(self, request: Request) -> Response:
        name = request.url.path[1:].replace("favicon.ico", "icon.svg")
        return Response(self._static[name], media_type=_STATIC[name])

    def _icon(self, request: Request) -> Response:
        side = request.path_params["side"]
        if side not in _ICONS:
            raise HTTPException(404)
        picture = np.full((side, side, 3), (239, 244, 246), np.uint8)
        cv2.circle(picture, (side // 2, side // 2), side * 3 // 8, (0, 106, 178), -1, cv2.LINE_AA)
        return Response(cv2.imencode(".png", picture)[1].tobytes(), media_type="image/png")

    def _look(self, request: Request, shown: Shown) -> str:
        painting: str = request.path_params["painting"]
        status = shown.status()
        if painting != status.look and painting not in status.paintings:
            raise HTTPException(404)
        return painting

    def _picture(self, request: Request) -> Response:
        shown, asked = self._asked(request), _SHOWN.fullmatch(request.path_params["name"])
        picture = None
        if asked is not None:
            picture = self._pictures.shown(shown.folder, self._look(request, shown), asked[1], asked[2])
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/jpeg")

    def _original(self, request: Request) -> Response:
        shown, seq = self._asked(request), request.path_params["seq"]
        file = original_file(shown.folder, seq) if seq < 10**9 else None
        if file is None:
            raise HTTPException(404)
        kind = "image/jpeg" if file.suffix == ".jpg" else "image/png"
        return _send(file, kind, f"{shown.key}-{seq:08d}{file.suffix}")

    def _painting(self, request: Request) -> Response:
        shown, tag = self._asked(request), request.path_params["tag"]
        painting = self._look(request, shown)
        pair = self._pictures.pair(shown.folder, painting)
        file = plain_file(shown.folder, "paintings", painting, "latest.jpg")
        if file is None or not pair.painting:
            raise HTTPException(404)
        data = file.read_bytes()
        number = number_in(data)
        newest = pair.tag if number is None else f"{number:08d}"
        if newest != tag:  # another was painted meanwhile
            return RedirectResponse(newest, 303)
        name = f"{shown.key}-{painting}-{tag}.jpg"
        return Response(data, media_type="image/jpeg", headers={"Content-Disposition": _inline(name)})

    def _day(self, request: Request) -> Response:
        shown, name = self._asked(request), request.path_params["name"]
        asked = _DAY.fullmatch(name)
        file = None if asked is None else plain_file(shown.folder, FILMS, name)
        if asked is None or file is None:
            raise HTTPException(404)
        return _send(file, "video/mp4" if asked[2] else "image/png", f"{shown.key}-{name}")

    def _focus(self, request: Request) -> Response:
        seen, through, problem = self._finder.newest(self._asked(request).folder)
        told = {} if seen is None else {"number": seen.number, "sharpness": round(seen.sharpness, 1)}
        return JSONResponse({**told, "camera": through, "problem": problem})

    def _seen(self, request: Request) -> Response:
        seen, _, _ = self._finder.newest(self._asked(request).folder)
        pictures = {} if seen is None else {"centre": seen.centre, "whole": seen.whole}
        picture = pictures.get(request.path_params["which"])
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/jpeg")

    def _film(self, request: Request) -> Response:
        shown = self._asked(request)
        file = self._film_file(shown)
        if file is None:
            raise HTTPException(404)
        return _send(file, _FILMS[file.suffix], file.name)

    def _film_file(self, shown: Shown) -> Path | None:
        """The film that the roll's settings name, where it lies under the folder that is served."""
        try:
            out = read_settings(shown.folder, Ledger()).out
            parts = None if out is None else Path(out).relative_to(self._shelf.folder).parts
        except (RollError, ValueError):
            return None
        file = None if parts is None else plain_file(self._shelf.folder, *parts)
        return file if file is not None and file.suffix in _FILMS else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir()) if not folder.is_symlink() else []
    except OSError:
        return []


def _as_json(shown: Shown) -> Response:
    return JSONResponse({**shown.status().to_json(), "roll": shown.name})


def _inline(name: str) -> str:
    return f'inline; filename="{re.sub("[^A-Za-z0-9._-]", "-", name)}"'


def _send(file: Path, kind: str, name: str) -> Response:
    """A file, whole or the range that is asked for."""
    headers = {"Content-Disposition": _inline(name), "Cache-Control": "no-store"}
    return FileResponse(file, media_type=kind, headers=headers)


def _refuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 404)


def _plainly(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail.lower()}\n", error.status_code, headers=error.headers)


@contextlib.contextmanager
def page_of(
    folder: Path,
    port: int,
    host: str = "127.0.0.1",
    *,
    secret: str | None = None,
    drivers: Mapping[str, Driver] = DRIVERS,
) -> Iterator[Server]:
    """The page of all rolls under a folder while the context is open; who has the ``secret`` may change something.

    Raises RollError, OptionError.
    """
    shelf, names = Shelf(folder), Names(host)
    listener = listen(names, port)
    changes = Changes(shelf, Permit(secret), drivers)
    try:
        with Server(Site(shelf, changes=changes).app, names, listener) as server:
            yield server
    finally:
        changes.close()
