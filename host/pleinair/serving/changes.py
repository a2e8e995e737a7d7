"""What the page changes, for who has the permit: rolls begin, go on, stop, are painted again, and a photo is painted.

::

    POST /enter                          whether the token is right
    POST /begin                          a new roll; the body is a JSON object with what NewRoll has
    POST /roll/KEY/start, /roll/KEY/stop
    POST /roll/KEY/repaint               the body is a style's name
    POST /roll/KEY/look, /roll/KEY/rest  look through the camera of a roll that nobody films; no more
    POST /photo                          the body is a photo; it is painted in every style
    GET  /photo/ID, /photo/ID/STYLE.jpg  what became of it
    GET  /styles/NAME.jpg                what a style looks like

Answers are JSON: ``{"said": SENTENCE}``, and what else there is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pleinair.cameras.opening import Driver
from pleinair.errors import CameraError, ImageError, OptionError
from pleinair.serving.deeds import DeedError, Deeds, NewRoll
from pleinair.serving.easel import LARGEST_PHOTO, Canvas, Easel, Gallery, read_photo
from pleinair.serving.focus import Finder
from pleinair.serving.permit import Permit
from pleinair.serving.shelf import Shelf, Shown

#: Bytes of other bodies at most, and seconds for a body to come.
_LARGEST, _SECONDS = 4000, 120.0
#: Seconds for a camera to give a new roll's first frame, and between two looks at that.
_CAMERA, _LOOK = 120.0, 0.2
_DEEDS = ("start", "stop", "repaint", "look", "rest")


class Changes:
    """The addresses that change something; :attr:`routes` are theirs."""

    def __init__(self, shelf: Shelf, permit: Permit, drivers: Mapping[str, Driver]) -> None:
        self._shelf, self._permit = shelf, permit
        self.deeds, self.easel, self.finder = Deeds(), Easel(), Finder(drivers)
        self.gallery = Gallery(self.easel)
        self.routes: list[BaseRoute] = [
            Route("/enter", self._guarded(self._enter), methods=["POST"]),
            *(Route(f"/roll/{{key}}/{deed}", self._guarded(self._deed), methods=["POST"]) for deed in _DEEDS),
            Route("/begin", self._guarded(self._new_roll), methods=["POST"]),
            Route("/photo", self._guarded(self._photo), methods=["POST"]),
            Route("/photo/{key}", self._painted),
            Route("/photo/{key}/{name}.jpg", self._painting),
            Route("/styles/{name}.jpg", self._thumbnail),
        ]

    @property
    def permitted(self) -> bool:
        """Whether anybody may change anything."""
        return self._permit.given

    @property
    def begins(self) -> bool:
        """Whether a roll may be begun here: the folder is no roll itself."""
        return self.permitted and not (self._shelf.folder / "roll.json").exists()

    def close(self) -> None:
        """End what is being painted, and give the camera back; what was begun for rolls goes on."""
        self.easel.close()
        self.finder.close()

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            address = request.client.host if request.client else ""
            refusal = self._permit.refusal(request.headers, address)
            if refusal is not None:
                return JSONResponse({"said": refusal[1]}, refusal[0], headers={"Connection": "close"})
            try:
                return await answer(request)
            except DeedError as error:
                return JSONResponse({"said": error.message}, 409)
            except (OptionError, CameraError) as error:
                return JSONResponse({"said": f"{error.message[:1].upper()}{error.message[1:]}."}, 409)
            except ImageError as error:
                return JSONResponse({"said": f"{error.message}."}, 422)

        return guarded

    async def _enter(self, request: Request) -> Response:
        return JSONResponse({"said": "The token is right."})

    async def _deed(self, request: Request) -> Response:
        shown = self._shelf.rolls().get(request.path_params["key"])
        if shown is None or shown.problem:
            raise HTTPException(404)
        told = (await _body(request, _LARGEST)).decode(errors="replace")
        said = await run_in_threadpool(self._do, request.url.path.rpartition("/")[2], shown, told)
        shown.look_again()
        return JSONResponse({"said": said})

    def _do(self, deed: str, shown: Shown, told: str) -> str:
        if deed == "look":
            self.finder.open(shown.folder)
            return "The camera is opened."
        if deed == "rest":
            self.finder.close()
            return "The camera is given back."
        if deed == "start":
            self.finder.close()
            return self.deeds.start(shown.folder)
        if deed == "stop":
            return self.deeds.stop(shown.folder)
        return self.deeds.repaint(shown.folder, told, self.gallery.bits(told))

    async def _new_roll(self, request: Request) -> Response:
        new = _read_new_roll(await _body(request, _LARGEST))
        folder = await run_in_threadpool(self._begin_roll, new)
        for _ in range(round(_CAMERA / _LOOK)):
            if (folder / "roll.json").exists():
                self._shelf.look_again()
                return JSONResponse({"said": f"{new.name} has begun.", "roll": f"/roll/{new.name}/"})
            told = self.deeds.told(folder)
            if told.wrong:
                raise DeedError(told.text)
            await asyncio.sleep(_LOOK)
        return JSONResponse({"said": "The camera has given no frame yet; the roll begins with the first one."})

    def _begin_roll(self, new: NewRoll) -> Path:
        if not self.begins:
            raise DeedError("The folder that is shown is a roll itself; show the one that it is in.")
        return self.deeds.begin(self._shelf.folder, new, self.gallery.bits(new.style))

    # -- a photo

    async def _photo(self, request: Request) -> Response:
        data = await _body(request, LARGEST_PHOTO)
        canvas = await run_in_threadpool(self._begin, data)
        return JSONResponse({"said": "It is painted in every style.", "photo": f"/photo/{canvas.key}"})

    def _begin(self, data: bytes) -> Canvas:
        canvas = self.easel.begin(read_photo(data))
        if canvas is None:
            raise DeedError("Another picture is being painted; one at a time.")
        return canvas

    def _canvas(self, request: Request) -> Canvas:
        canvas = self.easel.canvas
        if canvas is None or canvas.key != request.path_params["key"]:
            raise HTTPException(404)
        return canvas

    def _painted(self, request: Request) -> Response:
        canvas = self._canvas(request)
        done = canvas.done
        ready = [name for name in canvas.names if name in canvas.paintings]
        return JSONResponse({"ready": ready, "problems": dict(canvas.problems), "of": len(canvas.names), "done": done})

    def _painting(self, request: Request) -> Response:
        picture = self._canvas(request).paintings.get(request.path_params["name"])
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/jpeg")

    def _thumbnail(self, request: Request) -> Response:
        picture = self.gallery.picture(request.path_params["name"])
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/jpeg")


def _read_new_roll(body: bytes) -> NewRoll:
    """A new roll as the page sends it. Raises HTTPException."""
    try:
        told = json.loads(body)
        fields = {name: told[name].strip() for name in ("name", "camera", "style", "every")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HTTPException(400) from error
    if not all(text.isprintable() for text in fields.values()):
        raise HTTPException(400)
    return NewRoll(**fields)


async def _body(request: Request, most: int) -> bytes:
    """A request's body of bounded size, in bounded time. Raises HTTPException."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        raise HTTPException(413, f"at most {most} bytes")
    data = bytearray()

    async def read() -> None:
        async for chunk in request.stream():
            data.extend(chunk)
            if len(data) > most:
                raise HTTPException(413, f"at most {most} bytes")

    try:
        await asyncio.wait_for(read(), _SECONDS)
    except (asyncio.TimeoutError, ClientDisconnect) as error:
        raise HTTPException(408) from error
    return bytes(data)
